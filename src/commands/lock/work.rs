//! The command of `testbed lock run`: started, attended to while the lock is kept, and ended in time when the lock is lost.

use std::ffi::OsString;
use std::pin::pin;
use std::time::Duration;

use super::lost;
use crate::commands::attend::{self, Running, Signals};
use crate::lock::clock::{now, until};
use crate::lock::keep::{Keeper, Loss, News};
use crate::lock::object::Target;
use crate::lock::worker::Worker;
use crate::progress::Progress;
use crate::run_id::RunId;

/// How long the command has to end once the lock's object was deleted and put back: so long, nobody else can hold it.
const GRACE: Duration = Duration::from_secs(1);

/// What is to run, and under which lock.
pub struct Work<'a> {
    pub target: &'a Target,
    pub environment: Vec<(String, String)>,
    pub session: &'a str,
    pub command: &'a [OsString],
    pub run_id: &'a RunId,
    pub progress: &'a Progress,
}

/// How it ended.
pub enum Ended {
    /// The lock was held until the command's end; the command's exit code.
    Kept(anyhow::Result<u8>),
    /// The lock was lost, and the command was ended.
    Lost(Loss),
}

impl Work<'_> {
    /// Runs the command, and does not return before it has ended.
    pub async fn run(&self, mut keeper: Keeper, signals: &mut Signals) -> Ended {
        let mut running = match attend::start(self.command, &self.environment, self.run_id.as_str()) {
            Ok(running) => running,
            Err(cannot) => return Ended::Kept(Ok(cannot.report(&self.command[0]))),
        };
        let loss = {
            let mut code = pin!(running.attend(signals, self.progress));
            loop {
                tokio::select! {
                    biased;
                    news = keeper.next() => match news {
                        News::Renewed => {}
                        News::Lost(loss) => break loss,
                    },
                    code = &mut code => return Ended::Kept(code),
                }
            }
        };
        self.end(&mut running, &mut keeper, &loss, signals).await;
        Ended::Lost(loss)
    }

    /// Ends the command: it is asked, and killed when its time is over, which a worse loss makes shorter.
    async fn end(&self, running: &mut Running, keeper: &mut Keeper, loss: &Loss, signals: &mut Signals) {
        let Some(command) = running.noted else { return };
        let worker = Worker { command, session: self.session.to_owned() };
        let mut kill_at = allowed_until(keeper, loss);
        if kill_at > now() {
            worker.ask();
        }
        self.progress.say(&format!("{}; ending the command", lost::what(self.target, loss)));
        loop {
            tokio::select! {
                biased;
                () = until(Some(kill_at)) => break,
                news = keeper.next() => match news {
                    News::Renewed => {}
                    News::Lost(loss) => kill_at = kill_at.min(allowed_until(keeper, &loss)),
                },
                _ = running.wait() => break,
                _ = signals.next() => break,
            }
        }
        if let Err(left) = worker.kill().await {
            self.progress.warn(&format!("processes of the command do not end even when killed: {left:?}"));
        }
        let _ = running.wait().await;
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
    grace.map(|grace| time + grace).into_iter().chain(keeper.kill_at()).min().unwrap_or(time)
}
