//! The command of `testbed lock run`: started, attended to, and ended in time when the lock is lost.

use std::ffi::OsString;
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;

use super::launch::Gate;
use super::words;
use crate::bug;
use crate::lock::clock::{now, until};
use crate::lock::guard::{Dog, Guard};
use crate::lock::holding::{Loss, News};
use crate::lock::keep::Keeper;
use crate::lock::object::Target;
use crate::lock::worker::Worker;
use crate::output::Environment;
use crate::progress::Progress;
use crate::run_id::RunId;
use crate::runtime::local::processes;
use crate::session::Signals;
use crate::session::attend::{self, Running};
use crate::session::program::Cannot;

/// How long the command has to end once the lock's object was deleted and put back: so long, nobody else can
/// hold it. Also how long what it leaves behind may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// What is to run, and under which lock.
pub(super) struct Work<'a> {
    pub target: &'a Target,
    pub environment: Environment,
    pub session: &'a str,
    pub command: &'a [OsString],
    pub run_id: &'a RunId,
    pub progress: &'a Progress,
}

pub(super) enum Ended {
    /// Until the command's end; its exit code.
    Kept(anyhow::Result<u8>),
    Lost(Loss),
}

impl Work<'_> {
    pub(super) async fn run(&self, mut keeper: Keeper, signals: &mut Signals) -> Ended {
        let (mut running, mut guard, _gate) = match self.start(&keeper, signals).await {
            Ok(Ok(started)) => started,
            Ok(Err(cannot)) => return Ended::Kept(Ok(cannot.report(&self.command[0]))),
            Err(error) => return Ended::Kept(Err(error)),
        };
        // A panic is a failure like others: the command is ended, and the lock is given back.
        let attended =
            bug::caught(async { Ok(self.attend(&mut running, &mut keeper, &mut guard, signals).await) })
                .await;
        let outcome = attended.unwrap_or_else(|error| Ended::Kept(Err(error)));
        match &outcome {
            Ended::Kept(Ok(_)) => self.clear(&keeper, &guard).await,
            // It was killed; its processes in other groups were not.
            Ended::Kept(Err(_)) => self.kill(guard.worker()).await,
            Ended::Lost(loss) => self.end(&mut running, &mut keeper, &mut guard, loss, signals).await,
        }
        guard.dismiss().await;
        outcome
    }

    /// Starts the command and its watchdog, and lets the command begin once it is watched.
    async fn start(
        &self,
        keeper: &Keeper,
        signals: &mut Signals,
    ) -> anyhow::Result<Result<(Running, Guard, Gate), Cannot>> {
        let dog = Dog::start().await?;
        let mut gate = Gate::new()?;
        let mut running =
            match attend::start(&gate.before(self.command), &self.environment, self.run_id.as_str(), signals)
                .await
            {
                Ok(running) => running,
                Err(cannot) => return Ok(Err(cannot)),
            };
        let guard = match running.noted {
            Some(command) => {
                let worker = Worker { command, session: self.session.to_owned() };
                Guard::over(dog, worker, keeper.holding.last_moment()).await
            }
            None => Err(anyhow!("finding the command's process in /proc")),
        };
        match guard.and_then(|guard| gate.open().map(|()| guard)) {
            Ok(guard) => Ok(Ok((running, guard, gate))),
            Err(error) => {
                // It has not become the command, and ends when it sees that it never will.
                drop(gate);
                let _ = running.wait().await;
                Err(error)
            }
        }
    }

    /// Waits for the command's end while the lock is kept.
    async fn attend(
        &self,
        running: &mut Running,
        keeper: &mut Keeper,
        guard: &mut Guard,
        signals: &mut Signals,
    ) -> Ended {
        let mut code = pin!(running.attend(signals, self.progress));
        let mut is_watched = true;
        loop {
            tokio::select! {
                biased;
                news = keeper.next() => match news {
                    News::Renewed => guard.extend(keeper.holding.last_moment()),
                    News::Trouble(why) => self.tell_trouble(&why),
                    News::Lost(loss) => return Ended::Lost(loss),
                },
                code = &mut code => return Ended::Kept(code),
                error = guard.mind(), if is_watched => {
                    is_watched = false;
                    let what = "nobody ends the command in time should testbed itself be killed or stopped";
                    self.progress.warn(&format!("{what}: {error:#}"));
                }
            }
        }
    }

    /// Ends what the command has left behind, unless it is ending anyway, such as a `tee` of its output.
    async fn clear(&self, keeper: &Keeper, guard: &Guard) {
        let until = keeper.holding.kill_at().into_iter().chain([now() + GRACE]).min().unwrap_or_default();
        let mut left = Vec::new();
        for process in guard.worker().marked() {
            if !processes::gone(process, until.saturating_sub(now())).await {
                left.push(process.pid);
            }
        }
        if !left.is_empty() {
            self.kill(guard.worker()).await;
            self.progress.say(&format!(
                "killed what the command has left behind, as the lock goes on to others: processes {left:?}"
            ));
        }
    }

    /// Ends the command: it is asked, and killed when its time is over.
    async fn end(
        &self,
        running: &mut Running,
        keeper: &mut Keeper,
        guard: &mut Guard,
        loss: &Loss,
        signals: &mut Signals,
    ) {
        let worker = guard.worker().clone();
        let kill_at = allowed_until(keeper, loss);
        if kill_at > now() {
            worker.ask();
        }
        self.progress.say(&format!("{}; ending the command", words::loss(self.target, loss)));
        let ended = async {
            let _ = running.wait().await;
            // A shell goes at once, and leaves those that clean up behind.
            worker.ended().await;
        };
        tokio::select! {
            biased;
            () = self.time_is_over(kill_at, keeper, guard) => {}
            () = ended => {}
            // Somebody does not want to wait.
            _ = signals.next() => {}
        }
        self.kill(&worker).await;
        let _ = running.wait().await;
    }

    /// Keeps the lock as far as possible until the command's time is over, which a worse loss makes shorter.
    async fn time_is_over(&self, mut kill_at: Duration, keeper: &mut Keeper, guard: &mut Guard) {
        loop {
            tokio::select! {
                biased;
                () = until(Some(kill_at)) => return,
                news = keeper.next() => match news {
                    News::Renewed => guard.extend(keeper.holding.last_moment()),
                    News::Trouble(why) => self.tell_trouble(&why),
                    News::Lost(loss) => kill_at = kill_at.min(allowed_until(keeper, &loss)),
                }
            }
        }
    }

    fn tell_trouble(&self, why: &str) {
        self.progress.explain(&format!("{}: not renewed: {why}; trying again", self.target));
    }

    async fn kill(&self, worker: &Worker) {
        if let Err(left) = worker.kill().await {
            self.progress.warn(&format!("processes of the command do not end even when killed: {left:?}"));
        }
    }
}

/// Until when a command may still run.
fn allowed_until(keeper: &Keeper, loss: &Loss) -> Duration {
    let grace = match loss {
        Loss::Silence { .. } => None,
        Loss::Deleted { can_return: true } => Some(GRACE),
        Loss::Deleted { can_return: false } | Loss::Removed(_) => Some(Duration::ZERO),
    };
    let time = now();
    grace.map(|grace| time + grace).into_iter().chain(keeper.holding.kill_at()).min().unwrap_or(time)
}
