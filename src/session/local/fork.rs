//! Forks of a database of this machine: its server is stopped for a copy of its data, and further servers of the run
//! are started with that.

use std::pin::pin;

use anyhow::anyhow;
use futures::future::try_join_all;

use super::restart::{Task, Work};
use super::restore::for_it;
use super::snapshot::unclean;
use crate::failure::{Advise, Exit};
use crate::output::{self, Connection};
use crate::ports;
use crate::progress::READY;
use crate::registry::{LocalRun, Place, Pooled, Record, Server};
use crate::runtime::local::area::Area;
use crate::runtime::local::as_made::AsMade;
use crate::runtime::local::fork::Fork;
use crate::runtime::local::planned::Run;
use crate::runtime::local::remove;
use crate::runtime::local::start::{Started, Told};

/// Makes so many, and tells how they are reached. `force` ends whoever is connected. `interrupted` resolves when
/// somebody will not wait.
pub(crate) async fn fork(
    run: &Record,
    task: Task<'_>,
    count: usize,
    force: bool,
    interrupted: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<Vec<Connection>> {
    let mut interrupted = pin!(interrupted);
    let mut work = Work::begin(run, task, interrupted.as_mut()).await?;
    let source = work.server()?.clone();
    let as_made = AsMade::read(&source)?;
    let area = Area::open()?;
    let folder = work.local()?.data.clone();
    if !force {
        check_nobody(&source, work.claim.folder().and_then(Pooled::of))?;
    }
    let origin = source.origin();
    let names = free_names(&work.claim.record, origin, count);
    let mut all: Vec<&str> = work.claim.record.databases.iter().map(|one| one.name.as_str()).collect();
    all.extend(names.iter().map(String::as_str));
    output::check_names(&all)?;
    let forks: Vec<Fork> = names.into_iter().map(|name| Fork::of(&as_made, name)).collect();
    // Before they are there, so that whoever comes next knows of them.
    let local = local(&mut work.claim.record)?;
    local.logs.extend(forks.iter().map(|fork| (fork.name.clone(), fork.folder(&folder).join("log"))));
    work.note_work(true)?;
    let progress = work.task.progress;
    let run = for_it(run, &work.task, &folder, &area);
    let copy = async |server: &mut Server, is_clean: bool| {
        if !is_clean {
            return Err(unclean(server));
        }
        forks[0].copy(&server.data, run).await
    };
    let copied = work.restart(copy, interrupted.as_mut()).await;
    let report = |name: &str, told: Told<'_>| {
        if let Told::Stage(stage, detail) = told {
            progress.stage(name, stage, detail);
        }
    };
    let started = match copied {
        Ok(()) => tokio::select! {
            started = start(&forks, run, &report) => started,
            error = interrupted => Err(error),
        },
        Err(error) => Err(error),
    };
    let started = match started {
        Ok(started) => started,
        Err(error) => {
            let left = remove::remove_strays(self::local(&mut work.claim.record)?, run.run_id).await;
            return Err(match left.and_then(|()| work.note_work(false)) {
                Ok(()) => error.hint("no fork was made"),
                Err(left) => {
                    error.hint(format!("no fork was made, and not all of it could be removed: {left:#}"))
                }
            });
        }
    };
    let mut made = Vec::new();
    for Started { mut server, .. } in started {
        progress.stage(&server.name, READY, &format!("{} on 127.0.0.1:{}", server.server, server.port));
        server.fork_of = Some(origin.to_owned());
        work.tell(&server);
        made.extend(connections(&work.claim.record, &source, &server));
        self::local(&mut work.claim.record)?.servers.push(server);
    }
    work.claim.record.databases.extend(made.iter().cloned());
    work.note_work(false).map(|()| made)
}

/// Starts them side by side; all but the first are copied from that one before.
async fn start(
    forks: &[Fork],
    run: Run<'_>,
    report: &impl Fn(&str, Told<'_>),
) -> anyhow::Result<Vec<Started>> {
    let data = forks[0].folder(run.folder).join("data");
    for fork in &forks[1..] {
        fork.copy(&data, run).await?;
    }
    try_join_all(forks.iter().map(|fork| fork.start(run, |told| report(&fork.name, told)))).await
}

/// Nobody is to lose a connection for it, but for the testbed that serves the run's pool: that is ended, and begun again.
fn check_nobody(server: &Server, pool: Option<Pooled>) -> anyhow::Result<()> {
    let mut connected = ports::connected(server.port);
    if let Some(Pooled { process, .. }) = pool {
        connected.retain(|who| !who.ends_with(&format!("(process {})", process.pid)));
    }
    if connected.is_empty() {
        return Ok(());
    }
    let (name, who) = (&server.name, connected.join(", "));
    Err(anyhow!("{name}: {who} is connected, and its server would have to be stopped for a moment"))
        .hint("end it first; --force makes the fork all the same, and ends whoever is connected")
        .exit(Exit::Failure)
}

/// The first names with a number that nothing has in the run.
fn free_names(record: &Record, origin: &str, count: usize) -> Vec<String> {
    let servers = record.local().map(|local| local.servers.as_slice()).unwrap_or_default();
    let is_free = |name: &String| {
        !record.databases.iter().any(|one| one.name == *name) && !servers.iter().any(|one| one.name == *name)
    };
    (1..).map(|number: usize| format!("{origin}-{number}")).filter(is_free).take(count).collect()
}

fn local(record: &mut Record) -> anyhow::Result<&mut LocalRun> {
    match &mut record.place {
        Place::Local(local) => Ok(local),
        Place::Kubernetes(_) => Err(anyhow!("run {} is not on this machine", record.run_id)),
    }
}

/// How a fork is reached: as the server that it is a copy of, at another port, by other names.
fn connections(record: &Record, source: &Server, fork: &Server) -> Vec<Connection> {
    let of_source = record.databases.iter().filter(|one| one.port == Some(source.port));
    let renamed = |one: &Connection| {
        let mut moved = one.moved_to("127.0.0.1", fork.port);
        let further = one.name.strip_prefix(source.name.as_str()).unwrap_or_default();
        moved.name = format!("{}{further}", fork.name);
        moved.is_fork = true;
        moved
    };
    of_source.map(renamed).collect()
}
