//! The processes of a command that runs while a lock is held: all have to be gone before others hold it.
//!
//! A process group is not all of them: `timeout`, shells with job control and servers make groups of their
//! own. So they are known by a variable of the environment as well, which every process passes on to those
//! that it starts.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::registry::Command;
use crate::runtime::local::processes;

/// The variable that marks the processes of one command.
pub const MARK: &str = "TESTBED_LOCK_SESSION";

/// How long to wait for one process before all are looked for again.
const LOOK: Duration = Duration::from_secs(10);

/// A command, and how to know its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    pub command: Command,
    /// The value of [`MARK`] in the environment of all.
    pub session: String,
}

impl Worker {
    pub fn ask(&self) {
        let mut found = self.marked();
        found.extend(self.first().filter(|first| !found.contains(first)));
        found.iter().for_each(|process| process.signal(Signal::TERM));
    }

    /// Waits until all processes have ended.
    pub async fn ended(&self) {
        while let Some(process) = self.marked().into_iter().next() {
            processes::gone(process, LOOK).await;
        }
    }

    /// Kills all processes, and waits until they are gone.
    ///
    /// # Errors
    /// The ids of those that are still there after ten seconds.
    pub async fn kill(&self) -> Result<(), Vec<u32>> {
        self.strike();
        processes::end(|| self.marked()).await
    }

    /// Kills the first process together with its group.
    fn strike(&self) {
        let Some(first) = self.first() else { return };
        match i32::try_from(first.pid).ok().and_then(Pid::from_raw).filter(|_| self.command.has_group) {
            // In one step, so that none of it can start another one meanwhile.
            Some(group) => drop(kill_process_group(group, Signal::KILL)),
            None => first.signal(Signal::KILL),
        }
    }

    /// The first process, while nobody else can have its number: if it has ended, nobody was told so far.
    fn first(&self) -> Option<Process> {
        Process::with_id(self.command.process.pid).filter(|process| *process == self.command.process)
    }

    /// Those that run, whoever their parent is by now.
    pub fn marked(&self) -> Vec<Process> {
        processes::with_variable(&format!("{MARK}={}", self.session))
    }
}
