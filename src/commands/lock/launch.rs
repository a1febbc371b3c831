//! The command's first moments: it is testbed once more, which becomes the command once that is watched.
//!
//! So there is no time in which a command runs that nobody would end: before the gate opens, a testbed that
//! is killed or stopped leaves a process that does nothing; afterwards there is the watchdog. Should both be
//! killed at once, the system still kills the command's first process.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::console;
use crate::session::program::Cannot;

/// What testbed is called with to become a command.
pub(super) const NAME: &str = "lock-launch";

/// What a command waits at before it begins.
pub(super) struct Gate {
    /// Opened by the process that waits, by its name in this one.
    reader: PipeReader,
    writer: PipeWriter,
}

impl Gate {
    /// A closed one.
    pub(super) fn new() -> anyhow::Result<Self> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        Ok(Self { reader, writer })
    }

    /// What to start so that the command waits at this gate.
    pub(super) fn before(&self, command: &[OsString]) -> Vec<OsString> {
        let caller = [std::process::id().to_string(), self.reader.as_raw_fd().to_string()];
        let launcher = ["/proc/self/exe".into(), NAME.into()].into_iter().chain(caller.map(OsString::from));
        launcher.chain(command.iter().cloned()).collect()
    }

    /// Lets the command begin. The gate has to be kept until it has ended: it may not have come to it yet.
    pub(super) fn open(&mut self) -> anyhow::Result<()> {
        self.writer.write_all(b".").context("letting the command begin")
    }
}

/// Waits at the gate and becomes the command. Returns the exit code if it cannot, or if the gate never opens.
pub(super) fn run(args: &[OsString]) -> u8 {
    let [caller, gate, command @ ..] = args else { return 2 };
    if command.is_empty() || !opens(caller, gate) {
        return 1;
    }
    let error = Command::new(&command[0]).args(&command[1..]).exec();
    Cannot::from_error(&error).report(&command[0])
}

fn opens(caller: &OsStr, gate: &OsStr) -> bool {
    // Before the look at the parent, which may be gone. Where this cannot be had, the watchdog has to do.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let parent = getppid().map(Pid::as_raw_nonzero).map(|parent| parent.to_string());
    if parent.as_deref().map(OsStr::new) != Some(caller) {
        return false;
    }
    let path = format!("/proc/{}/fd/{}", caller.display(), gate.display());
    match File::open(&path) {
        Ok(mut gate) => gate.read_exact(&mut [0]).is_ok(),
        Err(error) => {
            console::say(&format!("error: starting the command: opening {path}: {error}"));
            false
        }
    }
}
