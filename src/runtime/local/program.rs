//! Starts a server's programs: as its user, in a clean environment that says which run they belong to, at UTC
//! as in a container unless told otherwise.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::account::Account;
use crate::failure::Advise;

/// An argument such as `--datadir=PATH`.
pub(super) fn argument(flag: &str, path: &Path) -> OsString {
    [OsStr::new(flag), path.as_os_str()].into_iter().collect()
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    /// The user; `None` for the caller.
    pub account: Option<&'a Account>,
    pub run_id: &'a str,
}

impl Setting<'_> {
    /// A program that has yet to be started, in a folder and a process group of its own: a Ctrl-C at the
    /// terminal is not for it.
    pub(super) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear().stdin(Stdio::null()).process_group(0);
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZDIR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        // A user without a name of the system's gets one by this.
        if std::env::var_os("NSS_WRAPPER_PASSWD").is_some() {
            for name in ["LD_PRELOAD", "NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP"] {
                command.envs(std::env::var_os(name).map(|value| (name, value)));
            }
        }
        command.env("LC_ALL", "C").env("TZ", "UTC").env("HOME", folder).env("TESTBED_RUN_ID", self.run_id);
        // The caller's own place for temporary files may be closed to the server's user.
        if self.account.is_none() {
            command.envs(std::env::var_os("TMPDIR").map(|value| ("TMPDIR", value)));
        }
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Runs a program to its end, with a text as its input.
    pub(super) async fn run(
        &self,
        program: &Path,
        args: &[OsString],
        folder: &Path,
        input: &str,
    ) -> anyhow::Result<()> {
        let mut command = self.command(program, folder);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        finish(command, program, input.as_bytes()).await
    }
}

/// Waits for the program's own end: what it leaves in the background may have its output open for as long as it
/// likes.
pub(super) async fn finish(mut command: Command, program: &Path, input: &[u8]) -> anyhow::Result<()> {
    let name = program.display();
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that ends early says why by itself.
            let _ = stdin.write_all(input).await;
        }
    };
    let mut output = Output { from: child.stdout.take(), said: Vec::new() };
    let mut error = Output { from: child.stderr.take(), said: Vec::new() };
    let talk = async {
        futures::join!(feed, output.read(), error.read());
        std::future::pending().await
    };
    let status = tokio::select! {
        status = child.wait() => status,
        never = talk => never,
    };
    let status = status.with_context(|| format!("running {name}"))?;
    if status.success() {
        return Ok(());
    }
    let said = [output.all(), error.all()].concat();
    let said = last_lines(&String::from_utf8_lossy(&said), LINES);
    Err(anyhow!("{name} failed ({status})")).detail(format!("what it said last:\n{said}"))
}

/// What a program says, by one of its outputs.
struct Output<R> {
    from: Option<R>,
    /// The last of it.
    said: Vec<u8>,
}

impl<R: AsyncRead + AsFd + Unpin> Output<R> {
    /// Reads until nobody can say anything any more.
    async fn read(&mut self) {
        let Some(from) = &mut self.from else { return };
        read_tail(from, &mut self.said).await;
    }

    /// All that is said by now. As much as a pipe holds may not be read yet.
    fn all(mut self) -> Vec<u8> {
        let mut rest = vec![0; PIPE];
        if let Some(from) = &self.from
            && let Ok(count) = rustix::io::read(from, &mut rest)
        {
            self.said.extend_from_slice(&rest[..count]);
        }
        self.said
    }
}

/// Reads to the end, and keeps the last of it.
pub(in crate::runtime) async fn read_tail(from: &mut (impl AsyncRead + Unpin), tail: &mut Vec<u8>) {
    let mut buffer = [0; 8 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..length]);
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
}

/// How much of what a program says is kept.
const TAIL: usize = 64 << 10;

/// The bytes that Linux lets a pipe hold.
const PIPE: usize = 64 << 10;

/// How much of a log an error shows.
pub(super) const LINES: usize = 20;

/// The last lines of a text that are not blank.
pub(in crate::runtime) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_of_what_is_said_is_kept() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "seq 1 1000000; echo last; exit 3"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let error = finish(command, Path::new("sh"), b"").await.unwrap_err();
        let said = crate::failure::details_of(&error).concat();
        assert!(said.ends_with("1000000\nlast") && said.lines().count() == LINES + 1, "{said}");
        let (said, mut tail) = (vec![b'x'; 10 * TAIL], Vec::new());
        read_tail(&mut &said[..], &mut tail).await;
        assert_eq!(tail.len(), TAIL);
    }
}
