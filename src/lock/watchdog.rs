//! A second process that kills a command in time when testbed itself cannot: because it was killed, or
//! stopped, alone or together with the command.
//!
//! It is testbed once more, in a session of its own, so that no signal of a terminal or a process group
//! reaches it. It waits for words on its standard input and for one moment; both wake it, so that it costs
//! nothing meanwhile. When the words end without a [`Word::Done`], testbed is gone.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::setsid;
use serde::{Deserialize, Serialize};

use super::clock::{alarm, now};
use super::worker::Worker;
use crate::console;

/// What testbed is called with to be the watchdog.
pub const NAME: &str = "lock-watchdog";
/// What it ends with after it has killed the command.
pub const KILLED: u8 = 1;

/// What testbed tells its watchdog, one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// This is the command. Answered with one byte.
    Watch(Worker),
    /// It has to be dead at this time, in nanoseconds of [`now`]'s clock.
    Until(u64),
    Done,
}

#[derive(Debug, Default)]
struct Watch {
    worker: Option<Worker>,
    until: Option<Duration>,
    is_done: bool,
    /// The beginning of a word.
    rest: Vec<u8>,
}

/// Answers one byte once it can be told something.
pub fn run() -> std::io::Result<u8> {
    setsid()?;
    let mut words = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut watch = Watch::default();
    answer()?;
    loop {
        let has_ended = wait(&words, watch.until)? && !watch.hear(&mut words)?;
        if watch.is_done {
            return Ok(0);
        }
        if has_ended || watch.until.is_some_and(|until| until <= now()) {
            watch.kill();
            return Ok(KILLED);
        }
    }
}

fn answer() -> std::io::Result<()> {
    console::answer(b".")
}

/// Waits for a word, or for the moment, and tells whether there is a word.
fn wait(words: &File, until: Option<Duration>) -> std::io::Result<bool> {
    let alarm = until.map(alarm).transpose()?;
    let mut awaited = vec![PollFd::new(words, PollFlags::IN)];
    awaited.extend(alarm.iter().map(|alarm| PollFd::new(alarm, PollFlags::IN)));
    match poll(&mut awaited, None) {
        // It was stopped, and goes on.
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(!awaited[0].revents().is_empty()),
    }
}

impl Watch {
    /// Takes in what was said; `false` if nothing more will be.
    fn hear(&mut self, words: &mut impl Read) -> std::io::Result<bool> {
        let mut buffer = [0; 4096];
        let count = words.read(&mut buffer)?;
        self.rest.extend(&buffer[..count]);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            match serde_json::from_slice(&line)? {
                Word::Watch(worker) => {
                    self.worker = Some(worker);
                    answer()?;
                }
                Word::Until(nanos) => self.until = Some(Duration::from_nanos(nanos)),
                Word::Done => self.is_done = true,
            }
        }
        Ok(count > 0)
    }

    fn kill(&self) {
        let Some(worker) = &self.worker else { return };
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            let _ = runtime.block_on(worker.kill());
        }
    }
}
