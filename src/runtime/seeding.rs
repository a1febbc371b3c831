//! What puts a seed into a database, wherever its server is: the seed's command, which is called where testbed is,
//! and what is told of one that fails.

use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

use super::local::processes;
use super::local::program::{last_lines, read_tail};
use crate::failure::{Advise, Exit, details_of, exit_of, hints_of};
use crate::output::{Environment, pool_url};
use crate::redact::Redactor;

/// What runs the commands of seeds.
pub const SHELL: &str = "/bin/sh";

/// How much of what a command has said an error shows, in lines: many tools tell the reason first, and then the way
/// to it.
const LINES: usize = 100;

/// The exit code by which a shell tells that it has not found a program.
const NOT_FOUND: i32 = 127;

/// How long the rest of what a command has said may take, once it and all that it has started have ended.
const REST: Duration = Duration::from_secs(1);

/// Runs a command to its end, and ends what it has left running: nobody is to be connected to a seed. `mark` is the
/// variable that tells what it has started. Beside a cluster nothing else is ended: what has lost that variable may be
/// of a program by which `kubectl`'s configuration logs in.
///
/// # Errors
/// How it failed, with the end of what it has said.
pub async fn run(
    command: &str,
    folder: &Path,
    mut environment: Environment,
    mark: &str,
) -> anyhow::Result<()> {
    // What copies the seed is made of is nobody's pool.
    pool_url::remove(&mut environment);
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    let mut shell = Command::new(SHELL);
    shell.arg("-c").arg(command).current_dir(folder).process_group(0).kill_on_drop(true);
    shell.stdin(Stdio::null());
    shell.stdout(writer.try_clone().context("sharing the pipe")?).stderr(writer);
    for name in &environment.removed {
        shell.env_remove(name);
    }
    shell.envs(environment.set).envs(mark.split_once('='));
    // Of a command that nobody waits for any more, the shell alone would end.
    let _marked = processes::Marked(mark);
    let child = shell.spawn().with_context(|| format!("starting it in {}", folder.display()));
    // Its own ends of the pipe go with it.
    drop(shell);
    let mut child = child?;
    let mut pipe = pipe::Receiver::from_owned_fd(reader.into()).context("reading what it says")?;
    let mut tail = Vec::new();
    let status = {
        let mut reading = pin!(read_tail(&mut pipe, &mut tail));
        let status = tokio::select! {
            status = child.wait() => status,
            () = &mut reading => child.wait().await,
        };
        let left = processes::end(|| processes::with_variable(mark)).await;
        left.map_err(|left| anyhow!("processes that it has started do not end: {left:?}"))?;
        status.context("waiting for it")?
    };
    let _ = timeout(REST, read_tail(&mut pipe, &mut tail)).await;
    told(status, &tail)
}

fn told(status: ExitStatus, said: &[u8]) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    let said = last_lines(&String::from_utf8_lossy(said), LINES);
    let error = anyhow!("it failed ({status})");
    let error = if said.is_empty() { error } else { error.detail(format!("what it said last:\n{said}")) };
    Err(match status.code() {
        Some(NOT_FOUND) => error.hint(
            "a program that it calls is not found: the command runs beside testbed, on this machine or in this container",
        ),
        _ => error,
    })
}

/// The error of a seed or a script, whose closer views may show passwords, without them: it can never be right.
pub fn redacted(redactor: &Redactor, error: &anyhow::Error, kind: &str, database: &str) -> anyhow::Error {
    let exit = exit_of(error);
    let exit = if exit == Exit::Failure { Exit::Never } else { exit };
    let plain = anyhow!("{}", redactor.redact(&format!("{error:#}"))).exit(exit).kind(kind, Some(database));
    let detailed =
        details_of(error).iter().fold(plain, |plain, detail| plain.detail(redactor.redact_lines(detail)));
    hints_of(error).iter().fold(detailed, |detailed, hint| detailed.hint(*hint))
}

/// The line and the message in what psql or the clients of MySQL say of an error.
pub fn located(said: &str) -> Option<(&str, &str)> {
    if let Some(rest) = said.strip_prefix("psql:") {
        // psql:/docker-entrypoint-initdb.d/001-a.sql:2: ERROR:  column "x" does not exist
        let (place, message) = rest.split_once(": ")?;
        let (_, line) = place.rsplit_once(':')?;
        let is_note = ["NOTICE", "WARNING", "INFO"].iter().any(|word| message.starts_with(word));
        return (!is_note && is_number(line)).then_some((line, message));
    }
    // ERROR 1054 (42S22) at line 2: Unknown column 'x' in 'SELECT'
    let (code, rest) = said.strip_prefix("ERROR ")?.split_once(" at line ")?;
    let (line, message) = rest.split_once(": ")?;
    (!message.is_empty() && is_number(code.split(' ').next().unwrap_or_default())).then_some((line, message))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_error_is_told() {
        for (said, expected) in [
            (
                "psql:<stdin>:2: ERROR:  column \"a: b\" does not exist",
                Some(("2", "ERROR:  column \"a: b\" does not exist")),
            ),
            ("psql:/docker-entrypoint-initdb.d/001-a.sql:7: ERROR:  x", Some(("7", "ERROR:  x"))),
            ("psql:<stdin>:1: NOTICE:  x", None),
            ("psql: error: connection to server failed", None),
            ("ERROR 1054 (42S22) at line 2: Unknown column 'x'", Some(("2", "Unknown column 'x'"))),
            ("ERROR 2002 (HY000): Can't connect", None),
            ("LINE 1: SELECT x;", None),
        ] {
            assert_eq!(located(said), expected, "{said}");
        }
    }
}
