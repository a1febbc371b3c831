//! What the command leaves behind: processes in the background, which would outlive the databases that they
//! use, and hold whatever waits for the end of all that was started.
//!
//! Whatever group or session they are in, and whoever has started them: testbed has the system hand them over
//! when their parent ends.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::process::Process;
use crate::progress::Progress;
use crate::registry::Record;
use crate::runtime::local::processes;

/// How long what is ending anyway, such as a `tee` of the command's output, may take.
const ENDING: Duration = Duration::from_millis(500);

/// How long the others get once they are asked to end.
const ASKED: Duration = Duration::from_secs(1);

/// The processes of one command, whoever their parent is by now.
pub(crate) struct Leftovers {
    /// What testbed had started before the command: the servers.
    before: Vec<u32>,
    run_id: String,
    /// Where the servers work, and what a server that was killed leaves: that goes with the run.
    data: Option<PathBuf>,
}

impl Leftovers {
    /// Looks after a command that is about to be started.
    pub(crate) fn of_next_command(record: &Record) -> Self {
        // Where this cannot be had, what a signal to the command's group ends has to do.
        let _ = set_child_subreaper(Some(getpid()));
        let data = record.local().map(|local| local.data.clone());
        Self { before: processes::children(), run_id: record.run_id.clone(), data }
    }

    /// Takes note of each that ends while the command runs, or the system would keep it. `command` is waited
    /// for elsewhere.
    pub(crate) async fn tend<T>(&self, command: Option<u32>) -> T {
        let awaited: Vec<u32> = self.before.iter().copied().chain(command).collect();
        if let Ok(mut ended) = signal(SignalKind::child()) {
            // Some may have ended before anybody listened.
            loop {
                processes::forget_ended_but(&awaited);
                if ended.recv().await.is_none() {
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// Ends all that is left, once the command has ended or is to end: `has_ended` says which.
    pub(crate) async fn end(&self, has_ended: bool, progress: &Progress) {
        let left = if has_ended { self.wait(ENDING).await } else { self.find() };
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|process| process.signal(Signal::TERM));
        if has_ended {
            let ids: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
            progress.say(&format!("ending what the command has left running: process {}", ids.join(", ")));
        }
        self.wait(ASKED).await;
        if let Err(left) = processes::end(|| self.find()).await {
            progress.warn(&format!("processes of the command do not end even when killed: {left:?}"));
        }
    }

    /// Waits until there is none, at most as long as told, and tells what is left then.
    async fn wait(&self, within: Duration) -> Vec<Process> {
        let deadline = Instant::now() + within;
        loop {
            let left = self.find();
            let Some(process) = left.first() else { return left };
            if !processes::gone(*process, deadline.saturating_duration_since(Instant::now())).await {
                return self.find();
            }
        }
    }

    /// A database that an `up` among the command's processes has made is another run's, and stays, as does a pool;
    /// and so does what another user has started.
    fn find(&self) -> Vec<Process> {
        let is_servers = |pid| self.data.as_ref().is_some_and(|data| processes::works_in(pid, data));
        let is_others = |pid| {
            processes::is_of_another_run(pid, &self.run_id)
                || processes::serves_a_pool(pid)
                || !processes::may_be_ended(pid)
        };
        processes::below_me(|pid| !self.before.contains(&pid) && !is_servers(pid) && !is_others(pid))
    }
}
