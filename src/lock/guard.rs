//! Starts the [watchdog](super::watchdog), tells it what it has to know, and replaces it should it end.

use std::io::{PipeWriter, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::fs::{OFlags, fcntl_setfl};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::watchdog::{KILLED, NAME, Word};
use super::worker::Worker;

/// How long a process of this machine may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

pub struct Guard {
    dog: Option<Dog>,
    worker: Worker,
    until: Option<Duration>,
}

impl Guard {
    /// Returns once the command is watched, which has to be dead at `until`, or else when testbed ends.
    pub async fn over(dog: Dog, worker: Worker, until: Option<Duration>) -> anyhow::Result<Self> {
        let mut guard = Self { dog: Some(dog), worker, until };
        guard.instruct().await?;
        Ok(guard)
    }

    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The command may live until then. Without an effect where the watchdog is gone: its successor is told.
    pub fn extend(&mut self, until: Option<Duration>) {
        self.until = until;
        if let (Some(dog), Some(until)) = (&mut self.dog, until) {
            let _ = dog.tell(&deadline(until));
        }
    }

    /// Replaces the watchdog whenever it ends, as long as it is polled; resolves when there is none to be had.
    pub async fn mind(&mut self) -> anyhow::Error {
        loop {
            if let Some(dog) = &mut self.dog {
                let status = dog.child.wait().await;
                self.dog = None;
                if status.is_ok_and(has_killed) {
                    // So is the command, and whoever waits for that sees it.
                    return std::future::pending().await;
                }
            }
            // A dog that knows no command does nothing if it is left.
            match Dog::start().await {
                Ok(dog) => self.dog = Some(dog),
                Err(error) => return error,
            }
            if let Err(error) = self.instruct().await {
                self.dog = None;
                return error;
            }
        }
    }

    async fn instruct(&mut self) -> anyhow::Result<()> {
        let Some(dog) = &mut self.dog else { return Ok(()) };
        if let Some(until) = self.until {
            dog.tell(&deadline(until))?;
        }
        dog.tell(&Word::Watch(self.worker.clone()))?;
        dog.answer().await
    }

    pub async fn dismiss(self) {
        let Some(mut dog) = self.dog else { return };
        let _ = dog.tell(&Word::Done);
        if timeout(ANSWER, dog.child.wait()).await.is_err() {
            let _ = dog.child.kill().await;
        }
    }
}

fn deadline(until: Duration) -> Word {
    Word::Until(until.as_nanos().try_into().unwrap_or(u64::MAX))
}

fn has_killed(status: ExitStatus) -> bool {
    status.code() == Some(KILLED.into()) && status.signal().is_none()
}

pub struct Dog {
    child: Child,
    /// Its standard input: when this is closed, it knows that testbed has ended.
    words: PipeWriter,
    answers: ChildStdout,
}

impl Dog {
    /// Starts one, and returns once it listens.
    pub async fn start() -> anyhow::Result<Self> {
        let mut dog = Self::spawn().context("starting the watchdog")?;
        dog.answer().await?;
        Ok(dog)
    }

    fn spawn() -> anyhow::Result<Self> {
        let (reader, words) = std::io::pipe()?;
        // One that does not listen is not to hold testbed up.
        fcntl_setfl(&words, OFlags::NONBLOCK)?;
        let mut command = Command::new("/proc/self/exe");
        // Without the environment, by which the processes of a command are known.
        command.arg0("testbed").arg(NAME).env_clear().current_dir("/");
        command.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let answers = child.stdout.take().ok_or_else(|| anyhow!("it has no standard output"))?;
        Ok(Self { child, words, answers })
    }

    fn tell(&mut self, word: &Word) -> anyhow::Result<()> {
        let line = format!("{}\n", serde_json::to_string(word)?);
        self.words.write_all(line.as_bytes()).context("telling the watchdog")
    }

    async fn answer(&mut self) -> anyhow::Result<()> {
        let answer = timeout(ANSWER, self.answers.read_u8())
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        answer.map(drop).context("waiting for the watchdog")
    }
}
