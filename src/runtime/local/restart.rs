//! Stops a server of a run and starts it again as it was: in its data folder, on its port, with its logins.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::fs::OFlags;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::Instant;

use super::processes::{self, Mark};
use super::program::{LINES, Setting, last_lines};
use super::serve::until;
use super::{account, logs, mysql, postgres, remove};
use crate::database::Engine;
use crate::deadline;
use crate::failure::{Advise, Exit};
use crate::files;
use crate::process::{self, Process};
use crate::redact::Redactor;
use crate::registry::{Claim, Server, Start};
use crate::state::STATE_HINT;

/// How long PostgreSQL gets to end without a checkpoint, where there was no time for one.
const QUITTING: Duration = Duration::from_secs(2);

/// How long a server may take at least to end by itself before it is killed, and with that to write down what it has
/// committed: neither somebody who interrupts nor a short time ends that.
const WRITING: Duration = Duration::from_secs(10);
/// The part of the time that it may take if that is longer.
const ENDING: u32 = 2;

/// In its data folder as long as PostgreSQL runs.
const POSTGRES_FILE: &str = "postmaster.pid";

/// Fails where the server could not be started again, and so is not to be stopped, and where what is noted of it is
/// damaged.
pub fn check(claim: &Claim, server: &Server) -> anyhow::Result<()> {
    let run_id = &claim.record.run_id;
    claim.record.check_is_here()?;
    let Some(local) = claim.record.local() else {
        return Err(anyhow!("run {run_id} is not on this machine"));
    };
    if local.boot != process::boot_id()? {
        return Err(anyhow!("{}: it has ended, for the machine was restarted", server.name))
            .hint("make the run anew: testbed down, then testbed up");
    }
    remove::check_place(claim, local)?;
    [&server.data, &server.log].into_iter().try_for_each(|path| local.check(run_id, path))?;
    start_of(server)?;
    open_log(&server.log).map(drop)
}

/// Asks the server to end, and waits for that. `interrupted` resolves when somebody will not wait: its error, where it
/// does so meanwhile.
pub async fn ask(
    server: &Server,
    run_id: &str,
    deadline: Instant,
    interrupted: impl Future<Output = anyhow::Error>,
) -> Option<anyhow::Error> {
    // What is noted may be another's process.
    if !processes_of(server, run_id).contains(&server.process) {
        return None;
    }
    // It ends at once for PostgreSQL, which would wait for its clients' end otherwise.
    let signal = if is_postgres(server) { Signal::INT } else { Signal::TERM };
    server.process.signal(signal);
    let interruption = tokio::select! {
        _ = processes::gone(server.process, WRITING.max(deadline::left(deadline) / ENDING)) => return None,
        error = interrupted => error,
    };
    processes::gone(server.process, WRITING).await;
    Some(interruption)
}

/// Whether a server that is not there any more has ended cleanly: then it has taken its file away.
pub fn has_ended_cleanly(server: &Server) -> bool {
    let file = if is_postgres(server) { POSTGRES_FILE } else { "server.pid" };
    !server.process.is_alive() && !server.data.join(file).exists()
}

/// Ends the server, unless it has ended already, with all that it has started.
///
/// # Errors
/// Processes that do not end.
pub async fn end(server: &Server, run_id: &str) -> anyhow::Result<()> {
    processes::quit_postgres(&processes_of(server, run_id), QUITTING).await;
    let ended = processes::end(|| processes_of(server, run_id)).await;
    ended.map_err(|left| anyhow!("{}: server processes do not end: {left:?}", server.name))?;
    // Nobody was overlooked.
    process::check()?;
    // One that was killed leaves it, and the next one does not start while the system still lists the process.
    let lock = server.data.join(POSTGRES_FILE);
    files::if_there(std::fs::remove_file(&lock)).with_context(|| format!("removing {}", lock.display()))?;
    Ok(())
}

fn processes_of(server: &Server, run_id: &str) -> Vec<Process> {
    let programs: Vec<_> = server.start.iter().map(|start| start.program.clone()).collect();
    processes::of_run(Mark { folder: folder(server), run_id, programs: &programs })
}

fn start_of(server: &Server) -> anyhow::Result<&Start> {
    server
        .start
        .as_ref()
        .ok_or_else(|| anyhow!("{}: an older testbed has made it, which did not note how", server.name))
        .hint("make the run anew: testbed down, then testbed up")
}

/// A server that was started again, and may not take logins yet.
pub struct Restarted {
    child: Child,
    pub process: Process,
}

/// Starts it.
///
/// # Errors
/// The system's reason, or that it has ended at once.
pub fn start(server: &Server, run_id: &str) -> anyhow::Result<Restarted> {
    let Start { program, arguments, time_zone } = start_of(server)?;
    let engine = server.engine().unwrap_or(Engine::Mysql);
    let account = account::for_server(engine)?;
    let setting = Setting { account: account.as_ref(), run_id };
    let log = open_log(&server.log)?;
    logs::hold(&log);
    let mut command = setting.command(program, &server.data);
    command
        .args(arguments)
        .envs(time_zone.as_ref().map(|zone| ("TZ", zone)))
        .stdout(Stdio::from(log.try_clone().context("sharing the log")?))
        .stderr(Stdio::from(log));
    let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let process = child.id().and_then(Process::with_id);
    let process = process.with_context(|| format!("{}: it ended while it started", server.name))?;
    Ok(Restarted { child, process })
}

/// Waits until it takes the tests' login.
///
/// # Errors
/// Why it does not come back, with the end of its log.
pub async fn until_ready(
    server: &Server,
    Restarted { child, process }: &mut Restarted,
    redactor: &Redactor,
    deadline: Instant,
    timeout: Duration,
) -> anyhow::Result<()> {
    let failed = |why: String| {
        let text = logs::read(&server.log).map(|clipped| clipped.text).unwrap_or_default();
        anyhow!("{}: {}: {why}", server.name, server.server)
            .detail(format!("the end of its log:\n{}", redactor.redact_lines(&last_lines(&text, LINES))))
    };
    let taken = tokio::select! {
        biased;
        taken = until_it_takes_logins(server, process.pid) => taken,
        status = child.wait() => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(failed(format!("it ended while it started ({status})"))).exit(Exit::Never);
        }
        () = tokio::time::sleep_until(deadline) => {
            let time = humantime::format_duration(timeout);
            return Err(failed(format!("it takes no logins within {time}"))).exit(Exit::NotReady);
        }
    };
    taken
        .map_err(|error| failed(format!("it refuses the login of {}: {error:#}", server.user)))
        .exit(Exit::Never)
}

async fn until_it_takes_logins(server: &Server, process: u32) -> anyhow::Result<()> {
    let Server { user, password, port, data, .. } = server;
    let database = server.database.as_deref();
    if is_postgres(server) {
        let log_in = || postgres::log_in_as(user, password, database, data, process, *port);
        until(log_in, postgres::is_refusal).await
    } else {
        until(|| mysql::log_in_as(user, password, database, data, *port), mysql::is_refusal).await
    }
}

fn is_postgres(server: &Server) -> bool {
    server.engine() == Some(Engine::Postgres)
}

/// The folder of a server's log and data.
fn folder(server: &Server) -> &Path {
    server.data.parent().unwrap_or(&server.data)
}

/// The log goes on: whoever follows it sees the restart.
fn open_log(path: &Path) -> anyhow::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let log = File::options().create(true).append(true).mode(0o600).custom_flags(flags).open(path);
    log.with_context(|| format!("opening {}", path.display())).hint(STATE_HINT)
}
