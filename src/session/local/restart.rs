//! A restart of a server of this machine. From the moment on at which it is stopped, its next one is started and
//! noted, whatever comes: what ends the wait for that ends nothing else.

use std::pin::pin;

use anyhow::anyhow;
use tokio::time::Instant;

use crate::cli::Restart;
use crate::failure::{Advise, Exit, exit_of};
use crate::output::Connection;
use crate::process;
use crate::progress::Progress;
use crate::recorder::event::Part;
use crate::recorder::{Event, Recorder};
use crate::registry::{self, Claim, Found, Place, Record, Registry, Server};
use crate::run_id::RunId;
use crate::runtime::local::{removal, restart as server};
use crate::session::restart::late;
use crate::session::which;
use crate::state::Ready;
use crate::time::Time;

/// Restarts it. Nobody else works on the run meanwhile. `interrupted` resolves when somebody will not wait.
pub(crate) async fn restart(
    run: &Record,
    database: &Connection,
    args: &Restart,
    deadline: Instant,
    interrupted: impl Future<Output = anyhow::Error>,
    recorder: &Recorder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let run_id = RunId::parse(&run.run_id)?;
    let registry = Registry::find().map(|registry| registry.by(deadline));
    let found = registry.as_ref().map_or(Ok(Found::Absent), |registry| registry.claim(&run_id))?;
    let mut claim = match found {
        Found::Free(claim) => claim,
        Found::Held(record) => return Err(record.is_held()),
        Found::Absent => return Err(which::unknown(registry.as_ref(), &run_id, "it is gone")),
    };
    let recording = removal::recording(recorder, &claim);
    let Some(local) = claim.record.local() else {
        return Err(anyhow!("run {run_id} is not on this machine"));
    };
    let redactor = local.redactor(&run.run_id);
    let before = of(&mut claim, database)?.clone();
    server::check(&claim, &before)?;
    if Instant::now() >= deadline {
        return Err(late(database, args.timeout)).hint("nothing was stopped");
    }
    let mut interrupted = pin!(interrupted);
    progress.stage(&before.name, "stopping", &before.server);
    let interruption = tokio::select! {
        () = server::ask(&before, &run.run_id, deadline) => None,
        error = interrupted.as_mut() => Some(error),
    };
    server::end(&before, &run.run_id).await?;
    let at = Time::now();
    progress.stage(&before.name, "starting", &before.server);
    let mut restarted = server::start(&before, &run.run_id)?;
    let process = restarted.process;
    // The others of the run have ended, if they were another container's.
    claim.record.namespace = process::namespace();
    let server = of(&mut claim, database)?;
    server.process = process;
    server.restarts.push(registry::Restart { was_ready: server.ready.at, at });
    claim.save()?;
    let wait = server::until_ready(&before, &mut restarted, &redactor, deadline, args.timeout);
    let ready = match interruption {
        Some(error) => Err(error),
        None => tokio::select! {
            ready = wait => ready,
            error = interrupted => Err(error),
        },
    };
    let server = of(&mut claim, database)?;
    if ready.is_ok() {
        let detail =
            format!("the server that was restarted (process {}) takes the tests' login", process.pid);
        server.ready = Ready { evidence: server.ready.evidence.clone(), detail, at: Time::now() };
    }
    let part = Part { databases: vec![removal::database(server)], ..Part::default() };
    recording.on(Event::Collected { parts: vec![(recording.id(), part)], notes: Vec::new() });
    let name = &before.name;
    match ready {
        Ok(()) => claim.save(),
        Err(error) if exit_of(&error) == Exit::Never => Err(error),
        Err(error) => Err(error).hint(format!(
            "{name} was started again, and may take logins later: testbed logs {name} tells more"
        )),
    }
}

/// The server of a database, which may have several.
fn of<'c>(claim: &'c mut Claim, database: &Connection) -> anyhow::Result<&'c mut Server> {
    let run_id = claim.record.run_id.clone();
    let servers = match &mut claim.record.place {
        Place::Local(local) => local.servers.as_mut_slice(),
        Place::Kubernetes(_) => &mut [],
    };
    let found = servers.iter_mut().find(|server| Some(server.port) == database.port);
    found.ok_or_else(|| anyhow!("run {run_id} has no server of {} any more", database.name))
}
