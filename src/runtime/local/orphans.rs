//! What the commands and scripts of seeds leave running in another session and without a variable of testbed's:
//! the system hands it to this process when its parent ends.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Signal, getpid, set_child_subreaper};

use super::processes;
use crate::process::Process;

/// The seeds that are being filled.
static FILLED: Mutex<Filled> = Mutex::new(Filled { count: 0, before: Vec::new() });

struct Filled {
    count: usize,
    /// The children that this process had before the first of them.
    before: Vec<u32>,
}

/// One seed that is being filled. Nobody can tell which of several an orphan comes from: they are ended with the
/// last of these.
pub(super) struct Orphans;

impl Orphans {
    pub(super) fn of_a_seed() -> Self {
        // Where this cannot be had, the variable that all are given has to do.
        let _ = set_child_subreaper(Some(getpid()));
        let mut filled = FILLED.lock().unwrap_or_else(PoisonError::into_inner);
        if filled.count == 0 {
            filled.before = processes::children();
        }
        filled.count += 1;
        Self
    }

    /// # Errors
    /// As for [`processes::end`].
    pub(super) async fn end(self) -> Result<(), Vec<u32>> {
        processes::end(|| Self::found(1)).await
    }

    /// Those that are there, unless more seeds than so many are being filled.
    fn found(count: usize) -> Vec<Process> {
        let filled = FILLED.lock().unwrap_or_else(PoisonError::into_inner);
        if filled.count > count { Vec::new() } else { processes::orphans(&filled.before) }
    }
}

impl Drop for Orphans {
    /// For a seed that nobody waits for any more.
    fn drop(&mut self) {
        FILLED.lock().unwrap_or_else(PoisonError::into_inner).count -= 1;
        Self::found(0).into_iter().for_each(|process| process.signal(Signal::KILL));
    }
}
