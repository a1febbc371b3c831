//! The command line as typed: clap types and their help, nothing else.

mod groups;
mod help;
mod history;
mod lock;
mod running;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::database::Settling;
use crate::deadline;
use crate::output::{ResultFile, RunFact};
use crate::pool::Size;
use crate::progress::{Loudness, Progress};
use crate::runtime::kubernetes::Choice;
use crate::runtime::local::prepared::SeedLimit;

pub use groups::{Archiving, Making, OfProject, OwnNames, PipelineRun, Pooling, Source};
pub use help::laid_out;
use history::HISTORY_EXAMPLES;
pub use history::{
    Asking, History, HistoryFormat, HistoryList, HistoryLogs, HistoryPrune, HistoryReport, HistoryShow,
    Wanted,
};
use lock::LOCK_EXAMPLES;
pub use lock::{Lock, LockAcquire, LockFormat, LockRelease, LockRun, LockShow, Locked, Locking};
pub use running::{
    Attach, Connect, Env, Exec, Fork, ForkFormat, Logs, LogsFormat, Restart, Restore, Snapshot, SnapshotList,
    SnapshotRm, Snapshots, Which,
};

/// The headings under which the help shows flags. Those of clusters and of Tekton are left out of `-h` where no
/// cluster is in play.
const DATABASES: &str = "Databases";
const CONFIG_FILE: &str = "Config file";
const CLUSTER: &str = "Cluster";
const TEKTON: &str = "Tekton";
const HISTORY: &str = "History";
const GLOBAL: &str = "Global options";

const EXAMPLES: &str = "\
Examples:
  testbed run --with postgres -- pytest    databases up, tests, databases gone
  testbed up && pytest; testbed down       the same in steps
  testbed init                             writes this project's testbed.yaml

Exit codes:
  0 done   1 failure   2 wrong usage or manifest   3 not ready in time
  4 can never become ready   5 teardown incomplete   6 lock not acquired
  7 lock lost   130/143 interrupted";

/// Real throw-away databases for tests: up fast, ready means ready, leave no trace.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub global: Global,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Where the databases run.
    ///
    /// As Pods of a cluster, or as plain server processes of this machine [default: kubernetes in a pod or with
    /// --kubeconfig or --context, else local; KUBECONFIG alone asks for no cluster]
    #[arg(long, global = true, value_name = "WHERE", env = "TESTBED_RUNTIME", help_heading = CLUSTER)]
    pub runtime: Option<Runtime>,

    /// The kubeconfig file of the cluster
    #[arg(long, global = true, value_name = "FILE", env = "TESTBED_KUBECONFIG", help_heading = CLUSTER)]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context [default: its current one]
    #[arg(long, global = true, value_name = "NAME", env = "TESTBED_CONTEXT", help_heading = CLUSTER)]
    pub context: Option<String>,

    /// The namespace, instead of the context's own
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        env = "TESTBED_NAMESPACE",
        help_heading = CLUSTER
    )]
    pub namespace: Option<String>,

    /// The project's settings; none for no file.
    ///
    /// [default: the nearest testbed.yaml, up to the repository's root]
    #[arg(long, global = true, value_name = "FILE", env = "TESTBED_SETTINGS", help_heading = GLOBAL)]
    pub settings: Option<OsString>,

    /// Say more.
    ///
    /// Why each database is not ready yet, and what proved that it is.
    #[arg(short, long, global = true, env = "TESTBED_VERBOSE", value_parser = FalseyValueParser::new(), help_heading = GLOBAL)]
    pub verbose: bool,

    /// Print errors, warnings and results only.
    ///
    /// Whatever --verbose says.
    #[arg(short, long, global = true, env = "TESTBED_QUIET", value_parser = FalseyValueParser::new(), help_heading = GLOBAL)]
    pub quiet: bool,
}

impl Global {
    /// What is shown of a command's progress.
    pub fn progress(&self) -> Progress {
        Progress::new(match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (_, true) => Loudness::Verbose,
            _ => Loudness::Normal,
        })
    }

    /// Whether this machine is asked for by name.
    pub fn is_local(&self) -> bool {
        self.runtime == Some(Runtime::Local)
    }

    /// The cluster that the flags name.
    pub fn choice(&self) -> Choice {
        Choice {
            kubeconfig: self.kubeconfig.clone(),
            context: said(&self.context),
            namespace: said(&self.namespace),
        }
    }
}

/// What a flag says. A pipeline's parameter with an empty default says nothing.
pub fn said(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// Where the databases of a run live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Pods of a cluster.
    Kubernetes,
    /// Server processes of this machine.
    Local,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create databases, and write the config file once they are ready
    #[command(after_help = UP_EXAMPLES)]
    Up(Up),
    /// Run a command with databases up, and always remove them.
    ///
    /// The databases' addresses are in the command's environment.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Make what a project puts into its databases once, or show it
    #[command(after_help = SEED_EXAMPLES)]
    Seed(Seed),
    /// Run a command with the addresses of databases that are up
    #[command(after_help = running::EXEC_EXAMPLES)]
    Exec(Exec),
    /// Open a database's own client: psql, mariadb, mysql or sqlite3
    #[command(after_help = running::CONNECT_EXAMPLES)]
    Connect(Connect),
    /// Print the variables of a run that is up, for a shell
    #[command(after_help = running::ENV_EXAMPLES)]
    Env(Env),
    /// Show what the servers of a run that is up write
    #[command(after_help = running::LOGS_EXAMPLES)]
    Logs(Logs),
    /// Attach to a database's container in a cluster
    #[command(after_help = running::ATTACH_EXAMPLES)]
    Attach(Attach),
    /// Restart a database's server, with its data
    #[command(after_help = running::RESTART_EXAMPLES)]
    Restart(Restart),
    /// Put a database back to what it was when `up` had made it
    #[command(after_help = running::RESTORE_EXAMPLES)]
    Restore(Restore),
    /// Keep what is in a database now, to start with it later
    #[command(after_help = running::SNAPSHOT_EXAMPLES)]
    Snapshot(Snapshot),
    /// Make further databases with what one holds now
    #[command(after_help = running::FORK_EXAMPLES)]
    Fork(Fork),
    /// Remove a run and wait until all of it is gone
    #[command(after_help = DOWN_EXAMPLES)]
    Down(Down),
    /// Print the objects that `up` would create
    #[command(after_help = RENDER_EXAMPLES)]
    Render(Render),
    /// Tell what would fail, before a first run
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Wait until servers are ready that testbed did not create
    #[command(after_help = WAIT_EXAMPLES)]
    Wait(Wait),
    /// Show runs and their databases
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Remove what runs have left behind.
    ///
    /// On this machine, and in the cluster where one is asked for.
    #[command(after_help = GC_EXAMPLES)]
    Gc(Gc),
    /// Take turns at a database that runs have to share
    #[command(subcommand, after_help = LOCK_EXAMPLES)]
    Lock(Lock),
    /// Tell what became of runs, also of those that are gone
    #[command(after_help = HISTORY_EXAMPLES)]
    History(History),
    /// Write a testbed.yaml from what the project says already.
    ///
    /// In its compose file, CI and other files about its databases.
    #[command(after_help = INIT_EXAMPLES)]
    Init(Init),
    /// Print what completes command lines in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one a command
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The folder; it is made where there is none
        folder: PathBuf,
    },
}

const UP_EXAMPLES: &str = "\
Examples:
  testbed up --with postgres:17 --with mysql       two built-in databases
  testbed up --with postgres:17=orders --param orders.database=shop
  testbed up --with postgres@5433 --param init=schema.sql
  testbed up databases.yaml --run-id pr-17         the manifest of your own
  testbed up --with postgres --forward             until Ctrl-C
  testbed up --with postgres --format dotenv       set -a; . ./.env.testbed
  testbed up --with postgres -o json               all of the run, for programs

A manifest is a multi-document YAML file. Its variables are
{{ context.pipelineRun.uid }} (the run id) and {{ params.NAME }}, or
$(context.pipelineRun.uid) and $(params.NAME) as Tekton spells them, and
{{ generated_password }}, a random password of the run.

A FORMAT is testing-databases, dotenv, urls or tera:FILE. A template has
{{ run_id }}, {{ database.NAME.url }} and {% for d in databases %}; a database
has name, engine, driver, host, port, user, password, database, url, jdbc_url,
dsn, ca and arguments.

Standard output is the run id; progress goes to standard error.

A testbed.yaml in the project's root can say what these flags say, and they win
over it: testbed init writes one.";

const RUN_EXAMPLES: &str = "\
Examples:
  testbed run --with postgres -- pytest      $DATABASE_URL, PGHOST, ... are set
  testbed run --with postgres --with mariadb -- sh -c 'psql \"$POSTGRES_URL\"'
  testbed run databases.yaml --keep-on-failure -- make integration-test
  testbed run --with mysql --preset rails -- bin/rails test
  testbed run --with postgres --pool -- pytest -n 8     a database for each test

The command gets TESTBED_RUN_ID, TESTBED_CONFIG (the config file) and, for each
database, NAME_URL, NAME_HOST, NAME_PORT, NAME_USER, NAME_PASSWORD,
NAME_DATABASE, NAME_JDBC_URL and NAME_DSN (for Go); DATABASE_URL where there is
one database, and libpq's PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE
where there is one PostgreSQL. The config file is written to the run's own
folder unless --output names another place.

Ctrl-C and signals go to the command; a second one ends it at once (at a
terminal, two in a row). The databases are removed in any case, and testbed ends
with the command's own exit code (127 where there is no such command, 126 where
it cannot be started, 128 + N where signal N has ended it).";

const SEED_EXAMPLES: &str = "\
Examples:
  testbed seed                     makes what is not kept yet
  testbed seed --show              what is kept, and why it was made anew

The key seed of a database in testbed.yaml, or --seed, says what is put in.";

const GC_EXAMPLES: &str = "\
Examples:
  testbed gc --dry-run                 what would go, and why
  testbed gc -n ci --pipeline-runs     also those whose PipelineRun is over
  testbed gc -A -o json                in all namespaces

On this machine: runs whose testbed was killed or whose servers have all ended,
runs whose lifetime is over, prepared data that nobody has used for a month, and
seeds for which there is no room. In the cluster, where testbed runs in a pod or
one is named: what has the labels of a run and
app.kubernetes.io/managed-by=testbed, once the annotation testbed/expires of all
of the run's Pods and workloads is in the past, by the API server's clock.
Another text there, such as never, keeps the run.

Anybody may call it at any time.";

const DOWN_EXAMPLES: &str = "\
Examples:
  testbed down                     all runs that an `up` in this folder made
  testbed down --run-id pr-17";

const RENDER_EXAMPLES: &str = "\
Examples:
  testbed render --with postgres --template > databases.yaml
                                            the start of a manifest of your own
  testbed render databases.yaml --run-id test -o json";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  testbed doctor                                  this machine
  testbed doctor --with postgres:17 --context ci  rights, quotas, policies
  testbed doctor databases.yaml -o json

One line a check: ok, warning (it works, but worse), problem (it would fail; the
remedy is below it) or skipped (what the check would need). In JSON, a list of
{check, object, status, message, remedy}.

Nothing is created: the API server is asked to take each object in a dry run.
Exit code 1 if there is a problem.";

const WAIT_EXAMPLES: &str = "\
Examples:
  MYSQL_PWD=... testbed wait mysql://root@127.0.0.1:3306/shop
  testbed wait postgres://app@db:5432/shop --password-file password.txt
  testbed wait mysql://root@172.17.0.2 --settle never   believe only process 1

A URL is mysql://, mariadb:// or
postgres://USER[:PASSWORD]@HOST[:PORT][/DATABASE][?sslmode=MODE], and a MODE is
disable, prefer or require.
As libpq's sslmode=require does, TLS verifies no certificate: a server that asks
for the password in clear text within it gets it.

A password that it does not hold comes from --password-file, MYSQL_PWD or
PGPASSWORD; in a URL others can see it in the process list. Certificates are not
verified.";

const STATUS_EXAMPLES: &str = "\
Examples:
  testbed status                   all of this machine, or of the namespace
  testbed status --run-id pr-17 -o json";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(testbed completions bash)    in ~/.bashrc, and zsh in ~/.zshrc
  testbed completions fish | source     in ~/.config/fish/config.fish

They ask testbed for what there is on this machine: the ids of runs, their
databases, and the versions of servers that are installed. For PowerShell and
elvish there are the flags and commands alone.";

const MAN_EXAMPLES: &str = "\
Examples:
  testbed man ~/.local/share/man/man1      then: man testbed-run";

const INIT_EXAMPLES: &str = "\
Examples:
  testbed init                     looks at compose and CI files
  testbed init --print             shows the file and writes nothing
  testbed init --with postgres:17=orders

It looks at compose files, the services of GitHub workflows and GitLab CI, and
testing-databases.json. No password is copied: each run makes random ones. A
testbed.yaml that is there is never overwritten.";

/// `testbed up`
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub making: Making,

    /// Serve fresh copies of databases.
    ///
    /// As `run` and `exec` do for a command: on this machine, in the background, until the run is removed. The address
    /// is in INTEGRESQL_CLIENT_BASE_URL of `exec` and `env`
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
        value_parser = Size::parse,
        help_heading = DATABASES
    )]
    pub pool: Option<Size>,

    /// Hold the run up until Ctrl-C.
    ///
    /// Write addresses on this machine, hold them open, and tear the run down on Ctrl-C.
    #[arg(long, env = "TESTBED_FORWARD", value_parser = FalseyValueParser::new())]
    pub forward: bool,

    /// What becomes of the objects when `up` is interrupted.
    ///
    /// Those in a cluster, when SIGTERM or Ctrl-C ends `up` before everything is ready.
    #[arg(long, value_name = "WHAT", env = "TESTBED_ON_CANCEL", default_value = "keep", help_heading = CLUSTER)]
    pub on_cancel: OnCancel,

    /// What is printed: id or json.
    ///
    /// The run's id, or all of the run as a JSON object: addresses, logins, passwords and variables.
    #[arg(
        short = 'o',
        long = "print",
        value_name = "FORMAT",
        env = "TESTBED_PRINT",
        default_value = "id",
        hide_possible_values = true
    )]
    pub print: UpFormat,

    /// Write a fact to a file, for Tekton's results.
    ///
    /// The config file's path (config=FILE) or the number of databases (databases=FILE).
    #[arg(long, value_name = "NAME=FILE", value_parser = ResultFile::<RunFact>::parse, help_heading = TEKTON, hide_short_help = true)]
    pub result: Vec<ResultFile>,
}

/// A format for `up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UpFormat {
    /// The run's id.
    Id,
    /// A JSON object.
    Json,
}

/// What happens to the objects of an `up` that is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnCancel {
    /// They stay.
    Keep,
    /// They are removed, all of the run.
    Delete,
}

/// What happens to the objects of a run that does not become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// They stay, to be looked at.
    Keep,
    /// They are removed, if this call has made them.
    Delete,
}

/// `testbed run`
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub making: Making,

    /// Leave the run up when the command fails.
    ///
    /// And tell how to reach and remove it.
    #[arg(long, env = "TESTBED_KEEP_ON_FAILURE", value_parser = FalseyValueParser::new())]
    pub keep_on_failure: bool,

    #[command(flatten)]
    pub pooling: Pooling,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<OsString>,
}

/// `testbed seed`
#[derive(Debug, Args)]
pub struct Seed {
    #[command(flatten)]
    pub making: Making,

    /// Only show what is kept, and why it was made, or will be
    #[arg(long, env = "TESTBED_SHOW", value_parser = FalseyValueParser::new())]
    pub show: bool,

    /// How it is shown: table or json
    #[arg(
        short = 'o',
        long = "print",
        value_name = "FORMAT",
        env = "TESTBED_SEED_FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    pub print: SeedFormat,
}

/// A format for `seed --show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeedFormat {
    /// Columns for people.
    Table,
    /// A JSON list.
    Json,
}

/// `testbed gc`
#[derive(Debug, Args)]
pub struct Gc {
    /// Only tell what would be removed
    #[arg(long, env = "TESTBED_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,

    /// Look at all namespaces of the cluster, whatever --namespace says
    #[arg(short = 'A', long, env = "TESTBED_ALL_NAMESPACES", value_parser = FalseyValueParser::new(), help_heading = CLUSTER)]
    pub all_namespaces: bool,

    /// Look at the runs' PipelineRuns as well.
    ///
    /// It needs get on pipelineruns. A run goes with its PipelineRun, and stays as long as that goes on.
    #[arg(long, env = "TESTBED_PIPELINE_RUNS", value_parser = FalseyValueParser::new(), help_heading = CLUSTER)]
    pub pipeline_runs: bool,

    /// How much the seeds that are kept on this machine may take; those go first that nobody has used for the
    /// longest time
    #[arg(long, value_name = "SIZE", env = "TESTBED_SEED_LIMIT", default_value = "10Gi", value_parser = SeedLimit::parse, hide_short_help = true)]
    pub seed_limit: SeedLimit,

    /// How long a run may outlive the end of its PipelineRun, with --pipeline-runs
    #[arg(long, value_name = "DURATION", env = "TESTBED_GRACE", default_value = "10m", value_parser = deadline::parse, help_heading = CLUSTER)]
    pub grace: Duration,

    /// How long all of it may take in the cluster.
    ///
    /// Waiting until the objects are gone included.
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "1m", value_parser = deadline::parse, help_heading = CLUSTER)]
    pub timeout: Duration,

    /// How to tell what was removed, or would be
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_GC_FORMAT", default_value = "text")]
    pub output: GcFormat,

    #[command(flatten)]
    pub archiving: Archiving,
}

/// A format for `gc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GcFormat {
    /// Lines on standard error.
    Text,
    /// The same, and a JSON list on standard output.
    Json,
}

/// `testbed down`
#[derive(Debug, Args)]
pub struct Down {
    /// The run's id [default: this folder's].
    ///
    /// Or the first letters of one that testbed has made up. In a PipelineRun its uid is the default, else all runs
    /// of `up` in this folder.
    #[arg(long, value_name = "ID", env = "TESTBED_RUN_ID")]
    pub run_id: Option<String>,

    #[command(flatten)]
    pub pipeline_run: PipelineRun,

    /// Another namespace in which the run has objects.
    ///
    /// As `up --allow namespace` makes them; what the objects say of that is not followed [default: where the `up`
    /// made some]
    #[arg(
        long,
        value_name = "NAME",
        env = "TESTBED_ALSO_NAMESPACE",
        value_delimiter = ',',
        help_heading = CLUSTER
    )]
    pub also_namespace: Vec<String>,

    /// Also remove objects that are in no namespace.
    ///
    /// As `up --allow cluster-scoped` makes them.
    #[arg(long, env = "TESTBED_CLUSTER_SCOPED", value_parser = FalseyValueParser::new(), help_heading = CLUSTER)]
    pub cluster_scoped: bool,

    /// Seconds that pods get to stop.
    ///
    /// Then they are killed; their data is thrown away.
    #[arg(long, value_name = "SECONDS", env = "TESTBED_GRACE_PERIOD", default_value_t = crate::runtime::kubernetes::teardown::DEFAULT_GRACE, help_heading = CLUSTER)]
    pub grace_period: u32,

    /// How long all of it may take.
    ///
    /// Waiting until everything is gone included.
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "1m", value_parser = deadline::parse)]
    pub timeout: Duration,

    #[command(flatten)]
    pub archiving: Archiving,
}

/// `testbed render`
#[derive(Debug, Args)]
pub struct Render {
    #[command(flatten)]
    pub source: Source,

    /// Print built-in databases as a manifest of your own.
    ///
    /// With variables for the run id and a random password.
    #[arg(long)]
    pub template: bool,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_RENDER_FORMAT", default_value = "yaml")]
    pub output: Format,
}

/// A format for objects.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// Multi-document YAML.
    Yaml,
    /// A JSON List.
    Json,
}

/// `testbed doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub source: Source,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_DOCTOR_FORMAT", default_value = "text")]
    pub output: DoctorFormat,
}

/// A format for `doctor`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DoctorFormat {
    /// A line for each check, and what to do about problems.
    Text,
    /// A JSON list.
    Json,
}

/// `testbed wait`
#[derive(Debug, Args)]
pub struct Wait {
    /// The servers, as URLs
    #[arg(value_name = "URL", required = true)]
    pub urls: Vec<String>,

    /// How long to wait until all of them are ready
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "5m", value_parser = deadline::parse)]
    pub timeout: Duration,

    /// How long a server has to stay up [default: 6s].
    ///
    /// One that is not process 1 of a container; never to believe only that.
    #[arg(long, value_name = "DURATION", env = "TESTBED_SETTLE", value_parser = Settling::parse)]
    pub settle: Option<Settling>,

    /// A file with the password of the URLs that have none
    #[arg(long, value_name = "FILE", env = "TESTBED_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,

    /// Give the password away without TLS.
    ///
    /// Also to a server on another machine that asks for it in clear text, or under a key of its own.
    #[arg(long, env = "TESTBED_INSECURE", value_parser = FalseyValueParser::new())]
    pub insecure: bool,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_WAIT_FORMAT", default_value = "text")]
    pub output: WaitFormat,
}

/// A format for `wait`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WaitFormat {
    /// A line for each server.
    Text,
    /// A JSON list.
    Json,
}

/// `testbed status`
#[derive(Debug, Args)]
pub struct Status {
    /// Only this run
    #[arg(long, value_name = "ID", env = "TESTBED_RUN_ID")]
    pub run_id: Option<String>,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_STATUS_FORMAT", default_value = "table")]
    pub output: StatusFormat,

    /// How long the API server may take to answer
    #[arg(long, value_name = "DURATION", env = "TESTBED_TIMEOUT", default_value = "30s", value_parser = deadline::parse, help_heading = CLUSTER)]
    pub timeout: Duration,

    /// Where the stories are kept of runs that a killed testbed has left on this machine, and that are
    /// removed for it.
    #[command(flatten)]
    pub archiving: Archiving,
}

/// A format for `status`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StatusFormat {
    /// Columns for people.
    Table,
    /// JSON for programs.
    Json,
}

/// `testbed init`
#[derive(Debug, Args)]
pub struct Init {
    /// The project's folder
    #[arg(default_value = ".")]
    pub folder: PathBuf,

    /// A database that the project needs, whatever else is found
    #[arg(short, long, value_name = "ENGINE[:TAG][@PORT][=NAME]", value_delimiter = ',')]
    pub with: Vec<String>,

    /// Print the file instead of writing it
    #[arg(long)]
    pub print: bool,

    /// Where to write the file; - for standard output.
    ///
    /// [default: testbed.yaml in the project's folder]
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    pub output: Option<PathBuf>,
}
