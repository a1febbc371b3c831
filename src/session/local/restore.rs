//! A database of this machine goes back to what it was when `up` had made it: its data folder is made anew beside the
//! server, which goes on meanwhile, and takes the place of its own.

use std::path::Path;
use std::pin::pin;

use anyhow::anyhow;

use super::restart::{Task, Work};
use crate::database::Database;
use crate::failure::{Advise, usage};
use crate::progress::Progress;
use crate::registry::Record;
use crate::runtime::local::area::Area;
use crate::runtime::local::as_made::AsMade;
use crate::runtime::local::planned::Run;
use crate::runtime::local::start::Told;
use crate::runtime::local::{aside, snapshot};

/// Restores it. `interrupted` resolves when somebody will not wait.
pub(crate) async fn restore(
    run: &Record,
    task: Task<'_>,
    from: Option<&str>,
    interrupted: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<()> {
    let mut interrupted = pin!(interrupted);
    let mut work = Work::begin(run, task, interrupted.as_mut()).await?;
    let name = work.server()?.name.clone();
    let mut as_made = AsMade::read(work.server()?)?;
    let area = Area::open()?;
    if let (Some(origin), None) = (&work.server()?.fork_of, from) {
        return Err(usage(format!("{name} is a fork of {origin}, and what that was then is not kept")))
            .hint(format!("testbed fork {origin} makes another one; --from takes a snapshot of {origin}"));
    }
    if let Some(name) = from {
        let planned = &mut as_made.planned;
        let found = snapshot::find(&area, &run.project, work.server()?.origin(), name)?;
        found.check(&planned.database, &planned.installed)?;
        (planned.from, as_made.seed) = (Some(found), None);
    }
    let folder = work.local()?.data.clone();
    let progress = work.task.progress;
    let report = beside(&name, progress);
    let run = for_it(run, &work.task, &folder, &area);
    work.note_work(true)?;
    let made = tokio::select! {
        made = aside::make(&as_made, run, &report) => made,
        error = interrupted.as_mut() => Err(error),
    };
    let mut aside = match made {
        Ok(aside) => aside,
        Err(error) => {
            let removed = aside::remove(&as_made, run).await;
            let error = error.hint(format!("{name} was not touched"));
            return Err(match removed.and_then(|()| work.note_work(false)) {
                Ok(()) => error,
                Err(left) => error.hint(format!("not all of it could be removed again: {left:#}")),
            });
        }
    };
    let restored = work.restart(async |server, _| aside.exchange(server), interrupted).await;
    match aside.close(run).await {
        Ok(()) => restored.and(work.note_work(false)),
        Err(left) => {
            progress.warn_of(&left);
            restored
        }
    }
}

/// Tells what is done beside a server.
pub(super) fn beside<'a>(name: &'a str, progress: &'a Progress) -> impl Fn(Told<'_>) + 'a {
    move |told| {
        if let Told::Stage(stage, detail) = told {
            progress.stage(name, stage, detail);
        }
    }
}

/// What servers beside those of a run are started for.
pub(super) fn for_it<'a>(run: &'a Record, task: &Task<'_>, folder: &'a Path, area: &'a Area) -> Run<'a> {
    Run {
        run_id: &run.run_id,
        folder,
        area,
        ports: &[],
        deadline: task.deadline,
        timeout: task.timeout,
        project: &run.project,
        environment: &|_: &Database, _: u16, _: &Path| Err(anyhow!("a seed is made by up and run alone")),
        seed_limit: u64::MAX,
    }
}
