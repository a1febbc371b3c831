//! Starts the command, passes signals on to all of its processes, and waits for its end.
//!
//! The command gets a process group of its own, which takes every signal that testbed gets. Only where it
//! would lose the terminal by that, in the foreground of an interactive shell, it stays in testbed's group:
//! the terminal itself then sends Ctrl-C to all of them.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};

use super::Signals;
use super::leftovers::Leftovers;
use super::program::Cannot;
use super::signals::MESSAGES;
use crate::failure::{Advise, Exit};
use crate::output::Environment;
use crate::process::{Process, Stat};
use crate::progress::Progress;
use crate::registry;
use crate::runtime::local::processes;

/// How soon after another a Ctrl-C at the terminal is the second of two.
const IN_A_ROW: Duration = Duration::from_secs(2);

pub(crate) struct Running {
    child: Child,
    /// When it was last asked to end.
    asked: Option<Instant>,
    pub noted: Option<registry::Command>,
    run_id: String,
}

pub(crate) async fn start(
    command: &[OsString],
    environment: &Environment,
    run_id: &str,
    signals: &mut Signals,
) -> Result<Running, Cannot> {
    let has_group = !is_in_foreground();
    let mut prepared = Command::new(&command[0]);
    prepared.args(&command[1..]);
    for name in &environment.removed {
        prepared.env_remove(name);
    }
    prepared.envs(environment.set.iter().map(|(name, value)| (name, value)));
    if has_group {
        prepared.process_group(0);
    }
    let child = prepared.spawn().map_err(|error| Cannot::from_error(&error))?;
    let process = child.id().and_then(Process::with_id);
    let noted = process.map(|process| registry::Command { process, has_group });
    let mut running = Running { child, asked: None, noted, run_id: run_id.to_owned() };
    // What the terminal has sent before the command was there has not reached it.
    if !has_group && let Some(signal) = signals.already().await {
        running.end(signal).await;
        running.asked = Some(Instant::now()).filter(|_| !MESSAGES.contains(&signal));
    }
    Ok(running)
}

/// Whether the terminal on standard input listens to this process group.
fn is_in_foreground() -> bool {
    let group = Stat::of_this_process().map(|me| me.group);
    tcgetpgrp(std::io::stdin()).is_ok_and(|foreground| group == Some(foreground.as_raw_pid().cast_unsigned()))
}

impl Running {
    /// Waits for the command's end while signals are passed on to it; a second one ends all of it at once.
    ///
    /// # Errors
    /// An interruption, when the command did not end by itself.
    pub(crate) async fn attend(&mut self, signals: &mut Signals, progress: &Progress) -> anyhow::Result<u8> {
        loop {
            let signal = tokio::select! {
                code = self.wait() => return code,
                signal = signals.next() => signal,
            };
            if MESSAGES.contains(&signal) {
                self.end(signal).await;
                continue;
            }
            let at_terminal = self.is_sent_by_terminal(signal);
            // An interactive program makes its own use of Ctrl-C; only two in a row are meant for testbed as
            // well.
            let is_second = self.asked.is_some_and(|at| !at_terminal || at.elapsed() < IN_A_ROW);
            if is_second && signal != Signal::HUP {
                self.end(Signal::KILL).await;
                let _ = self.child.wait().await;
                let exit = if signal == Signal::TERM { Exit::Terminated } else { Exit::Interrupted };
                return Err(anyhow!("the command was killed: a second signal came while it was ending"))
                    .exit(exit);
            }
            self.asked = Some(Instant::now());
            if at_terminal {
                progress.explain("Ctrl-C is for the command; one more within two seconds ends it at once");
            } else {
                self.end(signal).await;
                progress.say("waiting for the command to end; a second signal ends it at once");
            }
        }
    }

    /// The same while note is taken of what the command leaves behind.
    pub(crate) async fn attend_with(
        &mut self,
        leftovers: &Leftovers,
        signals: &mut Signals,
        progress: &Progress,
    ) -> anyhow::Result<u8> {
        let command = self.noted.map(|noted| noted.process.pid);
        tokio::select! {
            biased;
            code = self.attend(signals, progress) => code,
            code = leftovers.tend(command) => code,
        }
    }

    /// Waits for the end of a client that somebody types in: what the terminal sends is the client's own, and
    /// other signals are passed on.
    pub(crate) async fn attend_client(&mut self, signals: &mut Signals) -> anyhow::Result<u8> {
        loop {
            let signal = tokio::select! {
                code = self.wait() => return code,
                signal = signals.next() => signal,
            };
            if !self.is_sent_by_terminal(signal) {
                self.end(signal).await;
            }
        }
    }

    /// Whether a signal came while it was waited for.
    pub(crate) fn was_asked_to_end(&self) -> bool {
        self.asked.is_some()
    }

    /// Waits for the command's end alone, and tells its exit code.
    pub(crate) async fn wait(&mut self) -> anyhow::Result<u8> {
        Ok(code(self.child.wait().await.context("waiting for the command")?))
    }

    /// Whether the command's processes have this signal from the terminal already; a second one would stop a
    /// test runner's own clean-up.
    fn is_sent_by_terminal(&self, signal: Signal) -> bool {
        self.noted.is_some_and(|noted| !noted.has_group) && matches!(signal, Signal::INT | Signal::QUIT)
    }

    /// Sends a signal to all processes of the command.
    async fn end(&self, signal: Signal) {
        let Some(noted) = self.noted else { return };
        if noted.has_group {
            if let Some(group) = i32::try_from(noted.process.pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, signal);
            }
        } else {
            for process in processes::of_command(noted.process, false, &self.run_id) {
                process.signal(signal);
            }
        }
    }
}

/// As shells tell the end of a command.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
