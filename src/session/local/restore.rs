//! A database of this machine goes back to what it was when `up` had made it: its data folder is made anew beside the
//! server, which goes on meanwhile, and takes the place of its own.

use std::path::Path;
use std::pin::pin;

use anyhow::anyhow;

use super::restart::{Task, Work};
use crate::database::Database;
use crate::failure::Advise;
use crate::registry::Record;
use crate::runtime::local::area::Area;
use crate::runtime::local::as_made::AsMade;
use crate::runtime::local::aside;
use crate::runtime::local::planned::Run;
use crate::runtime::local::start::Told;

/// Restores it. `interrupted` resolves when somebody will not wait.
pub(crate) async fn restore(
    run: &Record,
    task: Task<'_>,
    interrupted: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<()> {
    let mut interrupted = pin!(interrupted);
    let mut work = tokio::select! {
        work = Work::begin(run, task) => work?,
        error = interrupted.as_mut() => return Err(error),
    };
    let as_made = AsMade::read(work.server()?)?;
    let area = Area::open()?;
    let folder = work.local()?.data.clone();
    let (name, progress) = (work.server()?.name.clone(), work.task.progress);
    let report = |told: Told<'_>| {
        if let Told::Stage(stage, detail) = told {
            progress.stage(&name, stage, detail);
        }
    };
    let run = Run {
        run_id: &run.run_id,
        folder: &folder,
        area: &area,
        ports: &[],
        deadline: work.task.deadline,
        timeout: work.task.timeout,
        project: &run.project,
        environment: &|_: &Database, _: u16, _: &Path| Err(anyhow!("a seed is made by up and run alone")),
        seed_limit: u64::MAX,
    };
    let made = tokio::select! {
        made = aside::make(&as_made, run, &report) => made,
        error = interrupted.as_mut() => Err(error),
    };
    let mut aside = match made {
        Ok(aside) => aside,
        Err(error) => {
            let removed = aside::remove(&as_made, run).await;
            let error = error.hint(format!("{name} was not touched"));
            return Err(match removed {
                Ok(()) => error,
                Err(left) => error.hint(format!("not all of it could be removed again: {left:#}")),
            });
        }
    };
    let restored = work.restart(async |server| aside.exchange(server), interrupted).await;
    if let Err(left) = aside.close(run).await {
        progress.warn_of(&left);
    }
    restored
}
