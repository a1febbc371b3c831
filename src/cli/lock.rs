//! `testbed lock` as typed.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::{PipelineRun, StatusFormat, TEKTON};
use crate::deadline;
use crate::lock::terms::{self, Ttl};
use crate::output::{LockFact, ResultFile};

/// `testbed lock`
#[derive(Debug, Subcommand)]
pub enum Lock {
    /// Wait for a lock and take it; it is held until it is released
    #[command(override_usage = "testbed lock acquire [OPTIONS] <NAME>", after_help = LOCK_ACQUIRE_EXAMPLES)]
    Acquire(LockAcquire),
    /// Release a lock of this run; somebody else's is left alone
    #[command(override_usage = "testbed lock release [OPTIONS] <NAME>", after_help = LOCK_RELEASE_EXAMPLES)]
    Release(LockRelease),
    /// Hold a lock while a command runs
    #[command(override_usage = "testbed lock run [OPTIONS] <NAME> -- <COMMAND>...", after_help = LOCK_RUN_EXAMPLES)]
    Run(LockRun),
    /// Show who holds locks, and who waits for them
    #[command(after_help = LOCK_SHOW_EXAMPLES)]
    Show(LockShow),
}

pub(super) const LOCK_EXAMPLES: &str = "\
Examples:
  testbed lock run staging-db -- make integration-test    held while it runs
  testbed lock acquire staging-db                         held until its release
  testbed lock show                                       all in the namespace";

const LOCK_ACQUIRE_EXAMPLES: &str = "\
Examples:
  testbed lock acquire staging-db -n ci --run-id pr-17 --timeout 20m --ttl 1h
  testbed lock acquire db --holder pipelinerun/build-7   as long as that runs
  testbed lock acquire --one-of db1,db2,db3     whichever is free first
  testbed lock acquire licence --permits 3      three at a time
  testbed lock acquire --on deployment/builder  its one replica

The lock is a Lease of that name in the namespace. First come, first served. The
same run id acquires it again at once.

Standard output is the name of the lock. Exit code 6: somebody else has it, and
the time was up or --no-wait was given.";

const LOCK_RELEASE_EXAMPLES: &str = "\
Examples:
  testbed lock release staging-db           what this folder's last acquire took
  testbed lock release staging-db --run-id pr-17
  testbed lock release --one-of db1,db2,db3 whichever of them this run has

Somebody else's lock, or none, is told and is no error: a clean-up step may call
it at any time.";

const LOCK_RUN_EXAMPLES: &str = "\
Examples:
  testbed lock run staging-db -- make integration-test
  testbed lock run --one-of db1,db2 -- sh -c 'pytest --database \"$TESTBED_LOCK\"'

The command gets TESTBED_LOCK (the lock's name), TESTBED_LOCK_FENCE (a number
that grows with every holder) and TESTBED_RUN_ID.

testbed ends with the command's own exit code. If the lock is lost (the API
server cannot be reached for as long as --ttl, somebody deletes the Lease), the
command is ended before anyone else can have it, and the exit code is 7.";

const LOCK_SHOW_EXAMPLES: &str = "\
Examples:
  testbed lock show                all locks in the namespace
  testbed lock show staging-db -o json";

/// Which lock, or which of several.
#[derive(Debug, Clone, Args)]
#[group(id = "what", required = true, multiple = false)]
pub struct Locked {
    /// The lock's name: that of a Lease
    #[arg(value_name = "NAME", env = "TESTBED_LOCK_NAME")]
    pub lock: Option<String>,

    /// Several locks, any of which will do.
    ///
    /// The first one is preferred.
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "TESTBED_LOCK_ONE_OF")]
    pub one_of: Vec<String>,

    /// The same by label: those Leases that are there
    #[arg(short = 'l', long, value_name = "KEY=VALUE", env = "TESTBED_LOCK_SELECTOR")]
    pub selector: Option<String>,

    /// A workload whose one replica is the lock.
    ///
    /// A Deployment or StatefulSet: deployment/NAME or statefulset/NAME.
    #[arg(long, value_name = "KIND/NAME", env = "TESTBED_LOCK_ON")]
    pub on: Option<String>,
}

/// Who wants a lock, and how.
#[derive(Debug, Clone, Args)]
pub struct Locking {
    #[command(flatten)]
    pub locked: Locked,

    /// How many may hold it [default: as it is, else 1]
    #[arg(long, value_name = "N", env = "TESTBED_LOCK_PERMITS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub permits: Option<u32>,

    /// How long to wait for it.
    ///
    /// All requests to the API server included.
    #[arg(long, value_name = "DURATION", env = "TESTBED_LOCK_TIMEOUT", default_value = "1h", value_parser = deadline::parse)]
    pub timeout: Duration,

    /// Do not wait at all
    #[arg(long, env = "TESTBED_LOCK_NO_WAIT", value_parser = FalseyValueParser::new())]
    pub no_wait: bool,

    /// How often to say, while waiting, that it is still there.
    ///
    /// Whoever misses three in a row loses the place in the queue.
    #[arg(hide_short_help = true, long, value_name = "DURATION", env = "TESTBED_LOCK_HEARTBEAT", default_value = "5s", value_parser = deadline::parse)]
    pub heartbeat: Duration,

    /// How long to wait until the pods of --on are ready
    #[arg(hide_short_help = true, long, value_name = "DURATION", env = "TESTBED_LOCK_READY_TIMEOUT", default_value = "5m", value_parser = deadline::parse)]
    pub ready_timeout: Duration,

    #[command(flatten)]
    pub pipeline_run: PipelineRun,
}

/// `testbed lock acquire`
#[derive(Debug, Args)]
pub struct LockAcquire {
    #[command(flatten)]
    pub locking: Locking,

    /// Who holds it: the run's id [default: a fresh one].
    ///
    /// In a PipelineRun its uid is the default, else a fresh one that this folder remembers for the release.
    #[arg(long, value_name = "ID", env = "TESTBED_RUN_ID")]
    pub run_id: Option<String>,

    /// Hold it as long as this PipelineRun goes on.
    ///
    /// Whatever the clock says (pipelinerun/NAME); none to go by the ttl alone [default: the PipelineRun of
    /// --pipeline-run]
    #[arg(long, value_name = "pipelinerun/NAME", env = "TESTBED_LOCK_HOLDER", hide_short_help = true)]
    pub holder: Option<String>,

    /// After how long it counts as abandoned.
    ///
    /// Without another `lock acquire` of the same run, even while its PipelineRun goes on; none for never
    /// [default: 1h, where no PipelineRun tells]
    #[arg(long, value_name = "DURATION", env = "TESTBED_LOCK_TTL", value_parser = Ttl::parse)]
    pub ttl: Option<Ttl>,

    /// The format of what is printed
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_LOCK_FORMAT", default_value = "name")]
    pub output: LockFormat,

    /// Write a fact to a file, for Tekton's results.
    ///
    /// The lock's name (lock=FILE) or the fencing number (fence=FILE).
    #[arg(long, value_name = "NAME=FILE", value_parser = ResultFile::<LockFact>::parse, help_heading = TEKTON, hide_short_help = true)]
    pub result: Vec<ResultFile<LockFact>>,
}

/// A format for `lock acquire`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LockFormat {
    /// The lock's name.
    Name,
    /// A JSON object.
    Json,
}

/// `testbed lock release`
#[derive(Debug, Args)]
pub struct LockRelease {
    #[command(flatten)]
    pub locked: Locked,

    /// Whose lock: the run's id [default: this folder's].
    ///
    /// In a PipelineRun its uid is the default, else what this folder remembers.
    #[arg(long, value_name = "ID", env = "TESTBED_RUN_ID")]
    pub run_id: Option<String>,

    #[command(flatten)]
    pub pipeline_run: PipelineRun,

    /// Somebody else's lock, or none, is an error
    #[arg(long, env = "TESTBED_STRICT", value_parser = FalseyValueParser::new())]
    pub strict: bool,

    /// How long all of it may take.
    ///
    /// Waiting until the pods of --on are gone included.
    #[arg(long, value_name = "DURATION", env = "TESTBED_LOCK_TIMEOUT", default_value = "1m", value_parser = deadline::parse)]
    pub timeout: Duration,
}

/// `testbed lock run`
#[derive(Debug, Args)]
pub struct LockRun {
    #[command(flatten)]
    pub locking: Locking,

    /// Who holds it: the run's id [default: a fresh one].
    ///
    /// In a PipelineRun its uid is the default. If the run has the lock already, the command runs at once and it
    /// stays held.
    #[arg(long, value_name = "ID", env = "TESTBED_RUN_ID")]
    pub run_id: Option<String>,

    /// After how long the lock may be somebody else's.
    ///
    /// Without a renewal; it is renewed three times as often.
    #[arg(long, value_name = "DURATION", env = "TESTBED_LOCK_TTL", default_value = "30s", value_parser = terms::parse)]
    pub ttl: Duration,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<OsString>,
}

/// `testbed lock show`
#[derive(Debug, Args)]
pub struct LockShow {
    /// Only these
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Only those Leases with this label
    #[arg(short = 'l', long, value_name = "KEY=VALUE", conflicts_with_all = ["names", "on"])]
    pub selector: Option<String>,

    /// The replicas of a workload instead.
    ///
    /// Of a Deployment or StatefulSet: deployment/NAME or statefulset/NAME.
    #[arg(long, value_name = "KIND/NAME", conflicts_with = "names")]
    pub on: Option<String>,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_STATUS_FORMAT", default_value = "table")]
    pub output: StatusFormat,
}
