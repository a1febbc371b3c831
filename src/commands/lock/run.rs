//! `testbed lock run`: a command that runs while a lock is held, and not a moment longer.

use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;

use super::hold::{Taken, Wish, hold};
use super::release::tell;
use super::replica::Replica;
use super::which::connect_until;
use super::words;
use super::work::{Ended, Work};
use crate::cli::{Global, LockRun};
use crate::deadline;
use crate::failure::hints_of;
use crate::lock::clock::now;
use crate::lock::holding::{Loss, News};
use crate::lock::keep::Keeper;
use crate::lock::object::Target;
use crate::lock::release::{Released, release};
use crate::lock::state::{Identity, Terms, millis};
use crate::lock::worker::MARK;
use crate::output::Environment;
use crate::progress::Progress;
use crate::run_id::RunId;
use crate::session::Signals;
use crate::session::program;

/// How long to try to give a lock back that is lost anyway: it becomes free by itself once its ttl is over.
const LOST: Duration = Duration::from_secs(2);

/// The exit code is the command's own; 6 when the lock cannot be had, 7 when it was lost.
pub(super) async fn run(args: LockRun, global: &Global) -> anyhow::Result<u8> {
    let progress = global.progress();
    // Not after an hour in the queue.
    if let Err(cannot) = program::look_up(&args.command[0]) {
        return Ok(cannot.report(&args.command[0]));
    }
    let mut signals = Signals::new()?;
    let id = match &args.run_id {
        Some(id) => RunId::parse(id)?,
        None => RunId::generate(),
    };
    let session = session();
    let deadline = deadline::after(args.locking.timeout);
    let cluster = connect_until(global, deadline, signals.interrupted()).await?;
    let identity = Identity { id: id.as_str().to_owned(), session: Some(session.clone()) };
    let terms = Terms { ttl_millis: Some(millis(args.ttl)), ttl_is_asked_for: true, pipeline_run: None };
    let wish = Wish { cluster: &cluster, args: &args.locking, identity: identity.clone(), terms, deadline };
    let Taken { target, held } = hold(&wish, signals.interrupted(), &progress).await?;
    let fence = held.fence;
    let is_nested = held.version.lock.holder(&identity).is_none();
    let replica = Replica::of(&target, &held);
    let mut keeper = Keeper::new(&target, held)
        .ok_or_else(|| anyhow!("{target} was taken, and its holder is not in it"))?;
    let holder = if is_nested { Identity { session: None, ..identity } } else { identity };
    let how = if is_nested { "held already" } else { "held" };
    let command = args.command[0].display();
    let work = Work {
        target: &target,
        environment: environment(&target, fence, &id, &session),
        session: &session,
        command: &args.command,
        run_id: &id,
        progress: &progress,
    };
    let too_early = match &replica {
        Some(replica) => {
            until_ready(replica.ready(args.locking.ready_timeout, &progress), &mut keeper, &mut signals).await
        }
        None => match keeper.holding.overdue(now()) {
            Some(loss) => Some(Ended::Lost(loss)),
            None => signals.already_interrupted().await.map(|error| Ended::Kept(Err(error))),
        },
    };
    let has_run = too_early.is_none();
    let outcome = match too_early {
        Some(ended) => ended,
        None => {
            progress.say(&format!("{target}: {how} by run {id}, number {fence}; running {command}"));
            work.run(keeper, &mut signals).await
        }
    };
    let back = GiveBack { target: &target, holder: &holder, id: &id, progress: &progress };
    match outcome {
        Ended::Kept(code) if is_nested => code,
        Ended::Kept(code) => back.after(code).await,
        Ended::Lost(loss) => {
            // What the run had before stays, unless it was lost and put back for the command alone.
            if !is_nested || matches!(loss, Loss::Deleted { .. }) {
                back.after_loss(&loss).await;
            }
            Err(words::lost(&target, &loss, if has_run { "ended" } else { "not started" }))
        }
    }
}

/// Keeps the lock until what was taken can be used. `Some`: it cannot.
async fn until_ready(
    ready: impl Future<Output = anyhow::Result<()>>,
    keeper: &mut Keeper,
    signals: &mut Signals,
) -> Option<Ended> {
    let mut ready = pin!(ready);
    loop {
        tokio::select! {
            biased;
            news = keeper.next() => if let News::Lost(loss) = news {
                return Some(Ended::Lost(loss));
            },
            error = signals.interrupted() => return Some(Ended::Kept(Err(error))),
            outcome = &mut ready => return outcome.err().map(|error| Ended::Kept(Err(error))),
        }
    }
}

/// Tells this process from every other of the same run.
fn session() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(8);
    id
}

fn environment(target: &Target, fence: u64, id: &RunId, session: &str) -> Environment {
    let variables = [
        ("TESTBED_LOCK", target.name.clone()),
        ("TESTBED_LOCK_FENCE", fence.to_string()),
        ("TESTBED_RUN_ID", id.as_str().to_owned()),
        (MARK, session.to_owned()),
    ];
    Environment { set: variables.map(|(name, value)| (name.to_owned(), value)).into(), removed: Vec::new() }
}

struct GiveBack<'a> {
    target: &'a Target,
    holder: &'a Identity,
    id: &'a RunId,
    progress: &'a Progress,
}

impl GiveBack<'_> {
    async fn give(&self) -> anyhow::Result<Released> {
        let released = release(self.target, |lock| lock.remove(|identity| identity == self.holder)).await?;
        if let Released::Done(_) = released {
            tell(self.target, self.id, &released, self.progress);
        }
        Ok(released)
    }

    /// The command's end counts, unless only the release has failed.
    async fn after(&self, code: anyhow::Result<u8>) -> anyhow::Result<u8> {
        let error = match self.give().await {
            Ok(Released::Done(_)) => return code,
            // In the moment after the command's end: nothing was lost by it.
            Ok(Released::Absent | Released::NotOurs(_)) => {
                self.progress.say(&format!("{}: it is released already", self.target));
                return code;
            }
            Err(error) => error,
        };
        let target = self.target;
        self.progress.warn(&format!(
            "{target} could not be released, and stays held until its ttl is over: {error:#}"
        ));
        hints_of(&error).iter().for_each(|hint| self.progress.say(&format!("  {hint}")));
        code.map(|code| code.max(1))
    }

    async fn after_loss(&self, loss: &Loss) {
        let is_released = match timeout(LOST, self.give()).await {
            Ok(Ok(released)) => matches!(released, Released::Done(_)),
            _ => false,
        };
        if !is_released && matches!(loss, Loss::Silence { .. }) {
            self.progress.say(&format!("{}: not released; it is free once its ttl is over", self.target));
        }
    }
}
