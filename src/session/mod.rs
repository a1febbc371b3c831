//! The life of a run: [`up()`] and [`run()`] make one, [`down()`] and [`gc()`] remove it, [`status()`] tells
//! of it. [`exec()`], [`connect_client()`], [`attach()`], [`env()`] and [`logs()`] use one that is up, [`restart()`] restarts a
//! server of it, [`restore()`] puts its data back, [`snapshot()`] keeps
//! it, and [`fork()`] makes copies.
//!
//! A run of this machine and one of a cluster go the same way. What differs between the two is a [`Backend`],
//! and the flows know no more of it.

pub(crate) mod abandoned;
pub(crate) mod archiving;
mod attach;
pub(crate) mod attend;
pub(crate) mod chosen;
mod client;
pub(crate) mod cluster;
mod config;
mod down;
mod env;
mod exec;
mod fork;
mod gc;
mod leftovers;
mod local;
mod logs;
pub(crate) mod plan;
pub(crate) mod pooled;
pub(crate) mod program;
mod reached;
mod restart;
mod restore;
mod run;
mod seed;
mod signals;
mod snapshot;
mod standing;
mod status;
mod up;
pub(crate) mod waits;
pub(crate) mod which;
mod work;

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::time::Instant;

pub(crate) use self::attach::attach;
use self::chosen::Chosen;
pub(crate) use self::client::connect as connect_client;
use self::config::Config;
pub(crate) use self::down::{connect, down};
pub(crate) use self::env::env;
pub(crate) use self::exec::exec;
pub(crate) use self::fork::fork;
pub(crate) use self::gc::gc;
pub(crate) use self::logs::logs;
use self::plan::Plan;
pub(crate) use self::restart::restart;
pub(crate) use self::restore::restore;
pub(crate) use self::run::run;
pub(crate) use self::seed::seed;
pub use self::signals::survive_limits_on_files;
pub(crate) use self::signals::{Signals, hand_over, interrupted};
pub(crate) use self::snapshot::snapshot;
pub(crate) use self::status::status;
pub(crate) use self::up::up;
use crate::cli::{Making, OnFailure, Run, Up};
use crate::deadline;
use crate::failure::{Exit, exit_of};
use crate::manifest::lifetime::Lifetime;
use crate::output::Model;
use crate::progress::Progress;
use crate::recorder::event::Asked;
use crate::recorder::{Recorder, Recording};
use crate::registry::{Claim, Phase, Place, Record};
use crate::time::Time;

/// Resolves, with an error of exit code 130 or 143, when somebody ends the call.
type Stop<'a> = Pin<&'a mut dyn Future<Output = anyhow::Error>>;

#[derive(Clone, Copy)]
enum Maker<'a> {
    Up(&'a Up),
    Run(&'a Run),
}

impl<'a> Maker<'a> {
    fn name(self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Run(_) => "run",
        }
    }

    fn making(self) -> &'a Making {
        match self {
            Self::Up(args) => &args.making,
            Self::Run(args) => &args.making,
        }
    }

    /// Whether the user wants to look at what did not become ready.
    fn keeps(self, error: &anyhow::Error) -> bool {
        matches!(exit_of(error), Exit::NotReady | Exit::Never)
            && self.making().on_failure == Some(OnFailure::Keep)
    }
}

/// A call that is about to make a run.
struct Call<'a> {
    maker: Maker<'a>,
    plan: Plan,
    config: Config,
    recorder: &'a Recorder,
    progress: &'a Progress,
    deadline: Instant,
    /// The folder of the project.
    project: PathBuf,
    /// Whether the user has chosen the run's id.
    is_named: bool,
}

/// A run that this process makes, from the moment on at which it is noted.
struct Session<'a> {
    call: Call<'a>,
    /// What is noted of it on this machine.
    claim: Claim,
    recording: Recording<'a>,
    /// Whether an earlier call has made the run: it is not this one's to remove.
    is_adopted: bool,
}

/// Why there are no databases.
enum Failed {
    /// Nothing that this call has made exists.
    Before(anyhow::Error),
    /// Some of the run is there, or all.
    Amid(anyhow::Error),
}

/// Where a run's databases are: what a cluster and this machine do each in their own way.
trait Backend: Sized {
    /// What names the place.
    type Place;
    type Up;

    /// Says which run this is, checks what can be checked before anything exists, and notes the run. Runs
    /// that were left behind go first.
    async fn begin<'a>(
        place: Self::Place,
        call: Call<'a>,
        stop: Stop<'_>,
    ) -> anyhow::Result<(Self, Session<'a>)>;

    /// Creates everything, and waits until every database is ready.
    async fn make(&mut self, session: &mut Session<'_>, stop: Stop<'_>) -> Result<Self::Up, Failed>;

    /// What becomes of a run that did not come up; the error says what is left of it.
    /// `insisted` resolves when somebody will not wait for a removal.
    async fn give_up(
        self,
        session: Session<'_>,
        failed: Failed,
        insisted: impl Future<Output = ()>,
    ) -> anyhow::Error;

    /// What the tests get to know.
    fn model<'u>(&self, up: &'u Self::Up) -> &'u Model;

    /// Leaves the proof of readiness where `testbed status` finds it.
    async fn publish(&self, call: &Call<'_>, up: &Self::Up);

    /// Takes down what happens to the databases while a command uses them, for ever.
    async fn follow(&self, call: &Call<'_>, recording: &Recording<'_>, up: &Self::Up) -> Infallible;

    /// Tells which databases ended while a command used them: a test that failed for that should not look
    /// like any other failure.
    async fn tell_losses(&self, session: &Session<'_>, up: &mut Self::Up);

    /// What `up --forward` says while it holds something open; `None` where there is nothing to hold.
    fn holds(&self, up: &Self::Up) -> Option<&'static str>;

    /// Tells of each database that goes or comes back meanwhile, for ever.
    async fn hold(&self, session: &Session<'_>, up: &Self::Up) -> Infallible;

    /// Collects what there is to know of a run that stays.
    async fn collect(&self, session: &Session<'_>);

    /// From now on the run is up until somebody removes it.
    fn keep(&mut self, session: &mut Session<'_>) -> anyhow::Result<()>;

    /// How to reach the databases without testbed, and how to look at them: lines for a person.
    fn how_to_use(&self, session: &Session<'_>, up: &Self::Up) -> Vec<String>;

    fn down_command(&self, session: &Session<'_>) -> String;

    /// What becomes of a run that `up` could not tell of once it was ready; the error says what is left of
    /// it.
    async fn abandon(self, session: Session<'_>, error: anyhow::Error) -> anyhow::Error;

    /// Removes all of the run, and forgets it; what is left stays noted for the next command. `insisted`
    /// resolves when somebody will not wait for it.
    async fn remove(
        self,
        session: Session<'_>,
        asked: Asked,
        insisted: impl Future<Output = ()>,
    ) -> anyhow::Result<()>;
}

impl Session<'_> {
    /// Notes that the run is up until somebody removes it.
    fn stays_up(&mut self) -> anyhow::Result<()> {
        self.claim.record.phase = Phase::Up;
        self.claim.save()
    }
}

impl<'a> Call<'a> {
    fn new(
        maker: Maker<'a>,
        mut plan: Plan,
        config: Config,
        recorder: &'a Recorder,
        progress: &'a Progress,
        project: PathBuf,
    ) -> Self {
        let deadline = deadline::after(maker.making().timeout);
        let is_named = maker.making().source.run_id.is_some();
        config.tell_seeds(&mut plan);
        Self { maker, plan, config, recorder, progress, deadline, project, is_named }
    }

    /// Refuses what the place does not take, and a run without a database.
    fn check_at(&self, place: &Chosen) -> anyhow::Result<()> {
        let Plan { discovery, warnings_in_cluster, .. } = &self.plan;
        let is_in_cluster = place.is_cluster();
        if is_in_cluster {
            self.plan.check_in_cluster()?;
        }
        // What is read in the cluster may tell of more.
        if !is_in_cluster || (discovery.missing.is_empty() && discovery.telling.is_empty()) {
            self.plan.refuse_nothing(self.maker.making().allow_none)?;
        }
        warnings_in_cluster.iter().filter(|_| is_in_cluster).for_each(|warning| self.progress.warn(warning));
        Ok(())
    }

    /// What is noted of the run that it is about to make.
    fn record(&self, place: Place) -> Record {
        let lifetime = match place {
            Place::Local(_) => self.maker.making().source.lifetime,
            Place::Kubernetes(_) => self.maker.making().source.lifetime.or(Some(Lifetime::IN_CLUSTER)),
        };
        Record {
            project: self.project.clone(),
            is_named: self.is_named,
            expires: lifetime.and_then(|lifetime| lifetime.end(Time::now())),
            ..Record::new(&self.plan.run_id, place)
        }
    }
}

/// The error of a call that a signal has ended.
fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(exit_of(error), Exit::Interrupted | Exit::Terminated)
}

/// The exit code of what goes on until somebody ends it: that is no error, and is told by the code alone.
fn ended(error: anyhow::Error) -> anyhow::Result<u8> {
    if is_interruption(&error) { Ok(exit_of(&error).code()) } else { Err(error) }
}
