//! A server that is started on a prepared data folder, until it takes the tests' login: for a run, and for
//! what is seeded.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::fs::OFlags;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use super::planned::{Planned, Run};
use super::prepared::Placed;
use super::program::{LINES, Setting, last_lines};
use super::{logs, mysql, postgres, processes};
use crate::database::{Engine, Login};
use crate::failure::{Advise, Exit};
use crate::history::record::What;
use crate::ports;
use crate::process::Process;
use crate::redact::Redactor;
use crate::runtime::seeding;
use crate::state::STATE_HINT;

/// Between two looks at a server that starts. It takes logins tens of milliseconds after its start, and a
/// refused connection costs microseconds.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// How long a server may go on refusing logins that were made for it.
const REFUSED: Duration = Duration::from_secs(3);

/// Below the ports that systems give to outgoing connections, so that none of those takes a port between its
/// choice and its use.
const PORTS: std::ops::Range<u16> = 15000..30000;

/// How often a server is started again because its port was taken meanwhile.
const PORT_ATTEMPTS: usize = 10;

pub enum Told<'a> {
    /// What is being done now, and more about it.
    Stage(&'static str, &'a str),
    /// What has happened, and more about it.
    Moment(What, &'a str),
}

/// A server that takes the tests' login.
pub(super) struct Serving {
    /// To be waited for.
    pub child: Child,
    pub process: Process,
    pub port: u16,
    /// The administrator.
    pub root: Login,
}

enum Failed {
    /// Its port was taken by another process.
    Port,
    Error(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The cause in the chain of an error about a server that ended by itself.
#[derive(Debug)]
struct Died {
    status: String,
    /// Whether its log says that it did not like its arguments: its data has no part in that.
    over_arguments: bool,
}

/// What the servers say about arguments that they do not take.
const ARGUMENTS: [&str; 7] = [
    "unrecognized configuration parameter",
    "invalid value for parameter",
    "invalid argument",
    "unknown option",
    "unknown variable",
    "ambiguous option",
    "Error while setting value",
];

impl std::fmt::Display for Died {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it ended while it started ({})", self.status)
    }
}

impl std::error::Error for Died {}

/// Whether the data may be the reason why a server ended by itself.
pub(super) fn died_of_its_data(error: &anyhow::Error) -> bool {
    error.chain().any(|link| link.downcast_ref::<Died>().is_some_and(|died| !died.over_arguments))
}

pub(super) fn is_postgres(planned: &Planned) -> bool {
    planned.installed.engine == Engine::Postgres
}

/// Starts the server, on another port where the first one is taken meanwhile, and brings it to where it takes
/// the tests' login.
///
/// # Errors
/// The end of its log.
pub(super) async fn serve(
    planned: &Planned,
    run: Run<'_>,
    data: &Path,
    setting: Setting<'_>,
    placed: &Placed,
    report: &dyn Fn(Told<'_>),
) -> anyhow::Result<Serving> {
    report(Told::Stage("starting", &planned.installed.to_string()));
    for _ in 0..PORT_ATTEMPTS {
        let port = planned.port.map_or_else(|| free_port(run.ports), Ok)?;
        report(Told::Moment(What::Started, ""));
        match serve_on(planned, run, data, setting, placed, port).await {
            Ok(serving) => return Ok(serving),
            Err(Failed::Error(error)) => return Err(error),
            Err(Failed::Port) if planned.port.is_some() => {
                return Err(ports::taken(port, &planned.database.name));
            }
            Err(Failed::Port) => report(Told::Stage(
                "starting",
                &format!("port {port} was taken meanwhile, trying another one"),
            )),
        }
    }
    Err(anyhow!(
        "{}: {PORT_ATTEMPTS} ports in a row were taken between their choice and their use",
        planned.database.name
    ))
}

/// Starts the server on a port and brings it to where it takes the tests' login.
async fn serve_on(
    planned: &Planned,
    run: Run<'_>,
    data: &Path,
    setting: Setting<'_>,
    placed: &Placed,
    port: u16,
) -> Result<Serving, Failed> {
    let root = if is_postgres(planned) {
        planned.database.admin.clone().unwrap_or_else(|| planned.database.login.clone())
    } else {
        mysql::write_init_file(planned, data, placed, setting)?
    };
    let log = data.with_file_name("log");
    let mut child = spawn(planned, data, &log, setting, port)?;
    let process = child.id().and_then(Process::with_id);
    let taken = tokio::select! {
        biased;
        taken = until_it_takes_logins(planned, data, port, placed) => taken,
        status = child.wait() => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(ended(planned, &log, &status));
        }
        () = tokio::time::sleep_until(run.deadline) => return Err(Failed::Error(too_late(planned, run, &log))),
    };
    if let Err(error) = taken {
        let what = format!(
            "{}: {} refuses the login of {}",
            planned.database.name, planned.installed, planned.database.login.user
        );
        let error = error.context(what).detail(format!("the end of its log:\n{}", log_end(planned, &log)));
        return Err(error.exit(Exit::Never).kind("refused", Some(&planned.database.name)).into());
    }
    let Some(process) = process else { return Err(ended(planned, &log, "gone")) };
    if !is_postgres(planned) {
        std::fs::remove_file(mysql::init_file(data)).context("removing the file with the logins")?;
    }
    Ok(Serving { child, process, port, root })
}

/// Ends a server cleanly, whoever is connected to it, and whatever else works in the folder above its data: what
/// scripts have left running.
///
/// # Errors
/// It does not end in time ([`Exit::NotReady`]), or not cleanly.
pub(super) async fn end(
    planned: &Planned,
    serving: &mut Serving,
    folder: &Path,
    deadline: Instant,
) -> anyhow::Result<()> {
    let signal = if is_postgres(planned) { Signal::INT } else { Signal::TERM };
    serving.process.signal(signal);
    let status = tokio::time::timeout_at(deadline, serving.child.wait()).await;
    let status = status.map_err(|_| anyhow!("it does not end")).exit(Exit::NotReady)??;
    if !status.success() {
        return Err(anyhow!("it did not end cleanly ({status})")).exit(Exit::Never);
    }
    let ended = processes::end(|| processes::preparing(folder)).await;
    ended.map_err(|left| anyhow!("processes that work in {} do not end: {left:?}", folder.display()))
}

pub(super) fn arguments(
    planned: &Planned,
    data: &Path,
    setting: Setting<'_>,
    port: u16,
) -> anyhow::Result<Vec<OsString>> {
    if is_postgres(planned) {
        return Ok(postgres::arguments(planned, data, port));
    }
    let mut arguments = vec!["--no-defaults".into(), mysql::own_temporary_folder(data, setting)?];
    arguments.extend(mysql::arguments(planned, data, port));
    Ok(arguments)
}

fn spawn(
    planned: &Planned,
    data: &Path,
    log: &Path,
    setting: Setting<'_>,
    port: u16,
) -> anyhow::Result<Child> {
    let program = &planned.installed.program;
    // Each line at its end: somebody may empty it.
    let flags = (OFlags::NOFOLLOW | OFlags::TRUNC).bits().cast_signed();
    let file = File::options().create(true).append(true).mode(0o600).custom_flags(flags).open(log);
    let file = file.with_context(|| format!("making {}", log.display())).hint(STATE_HINT)?;
    logs::hold(&file);
    let mut command = setting.command(program, data);
    command.args(arguments(planned, data, setting, port)?);
    command.envs(planned.zone.as_ref().map(|zone| ("TZ", zone)));
    command.stdout(Stdio::from(file.try_clone().context("sharing the log")?)).stderr(Stdio::from(file));
    let reach = planned.account.as_ref().map(|account| {
        format!("the user {} has to be able to run it, and to get to {}", account.name, data.display())
    });
    let started = command.spawn().with_context(|| format!("starting {}", program.display()));
    match reach {
        Some(hint) => started.hint(hint),
        None => started,
    }
}

/// Tries until the run's logins are made and the tests' login works.
///
/// # Errors
/// What the server says when it goes on refusing the login: something about the logins went wrong, and
/// waiting does not mend it.
async fn until_it_takes_logins(
    planned: &Planned,
    data: &Path,
    port: u16,
    placed: &Placed,
) -> anyhow::Result<()> {
    if is_postgres(planned) {
        while !postgres::is_up(data) {
            sleep(PAUSE).await;
        }
        until(|| postgres::settle(planned, data, port, placed), postgres::is_refusal).await?;
        until(|| postgres::log_in(planned, data, port), postgres::is_refusal).await
    } else {
        until(|| mysql::log_in(planned, data, port), mysql::is_refusal).await
    }
}

/// Repeats until it works, or until a server has gone on refusing it.
pub(super) async fn until<F: Future<Output = anyhow::Result<()>>>(
    attempt: impl Fn() -> F,
    is_refusal: fn(&anyhow::Error) -> bool,
) -> anyhow::Result<()> {
    let mut refused_since: Option<Instant> = None;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(error) if is_refusal(&error) => {
                if refused_since.get_or_insert_with(Instant::now).elapsed() > REFUSED {
                    return Err(error);
                }
            }
            Err(_) => refused_since = None,
        }
        sleep(PAUSE).await;
    }
}

/// A free port of this machine's loopback address, by chance: processes that choose at the same time rarely
/// choose alike. `kept` are for other servers of the run.
pub(super) fn free_port(kept: &[u16]) -> anyhow::Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if !kept.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(anyhow!("no port between {} and {} of 127.0.0.1 is free", PORTS.start, PORTS.end))
}

fn log_end(planned: &Planned, log: &Path) -> String {
    let text = logs::read(log).map(|clipped| clipped.text).unwrap_or_default();
    let lines = last_lines(&text, LINES);
    redactor(planned, &planned.database.login).redact_lines(&lines)
}

fn redactor(planned: &Planned, root: &Login) -> Redactor {
    let mut redactor = Redactor::new("");
    for login in [&planned.database.login, root].into_iter().chain(&planned.database.admin) {
        let password = login.password.reveal();
        redactor.add(password);
        // As a statement has it.
        redactor.add(&password.replace('\'', "''"));
        redactor.add(&password.replace('\\', "\\\\").replace('\'', "''"));
    }
    for (name, value) in &planned.variables {
        redactor.add_variable(name, value);
    }
    redactor
}

/// An error whose closer views may show passwords, without them.
pub(super) fn redacted(planned: &Planned, root: &Login, error: &anyhow::Error, kind: &str) -> anyhow::Error {
    seeding::redacted(&redactor(planned, root), error, kind, &planned.database.name)
}

fn ended(planned: &Planned, log: &Path, status: &str) -> Failed {
    let said = log_end(planned, log);
    if is_port_taken(&said) {
        return Failed::Port;
    }
    let what = format!("{}: {}", planned.database.name, planned.installed);
    let over_arguments = ARGUMENTS.iter().any(|words| said.contains(words));
    let error = anyhow::Error::new(Died { status: status.to_owned(), over_arguments }).context(what);
    let error = error.detail(format!("the end of its log:\n{said}")).exit(Exit::Never);
    Failed::Error(error.kind("server-ended", Some(&planned.database.name)))
}

/// As the C libraries say it, and so the servers.
pub(super) fn is_port_taken(log: &str) -> bool {
    ["Address already in use", "Address in use"].iter().any(|words| log.contains(words))
}

fn too_late(planned: &Planned, run: Run<'_>, log: &Path) -> anyhow::Error {
    let time = humantime::format_duration(run.timeout);
    let what =
        anyhow!("not ready within {time}: {}: {} takes no logins", planned.database.name, planned.installed);
    what.detail(format!("the end of its log:\n{}", log_end(planned, log)))
        .exit(Exit::NotReady)
        .kind("not-ready", Some(&planned.database.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_is_taken_counts_as_one() {
        for (log, expected) in [
            ("LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use", true),
            ("[ERROR] Can't start server: Bind on TCP/IP port: Address already in use", true),
            ("LOG:  could not bind IPv4 address \"127.0.0.1\": Address in use", true),
            ("FATAL:  could not access file \"in use\": No such file or directory", false),
            ("FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use", false),
            ("LOG:  could not bind IPv4 address \"127.0.0.1\": Permission denied", false),
        ] {
            assert_eq!(is_port_taken(log), expected, "{log}");
        }
    }
}
