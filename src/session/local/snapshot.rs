//! A snapshot of a database of this machine: its server is stopped for a copy of its data, and goes on before that is
//! looked at.

use std::pin::pin;

use anyhow::anyhow;

use super::restart::{Task, Work};
use super::restore::{beside, for_it};
use crate::failure::{Advise, Exit};
use crate::registry::Record;
use crate::runtime::local::area::Area;
use crate::runtime::local::as_made::AsMade;
use crate::runtime::local::snapshot::Snapshot;
use crate::runtime::local::{prepared, taking};

/// Takes it. `interrupted` resolves when somebody will not wait.
pub(crate) async fn take(
    run: &Record,
    task: Task<'_>,
    name: &str,
    replaces: bool,
    interrupted: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<String> {
    let mut interrupted = pin!(interrupted);
    let mut work = Work::begin(run, task, interrupted.as_mut()).await?;
    let as_made = AsMade::read(work.server()?)?;
    let area = Area::open()?;
    // What was left by those that were killed.
    prepared::sweep(&area.snapshots()).await;
    let (folder, database) = (work.local()?.data.clone(), work.server()?.origin().to_owned());
    let planned = &as_made.planned;
    let snapshot =
        Snapshot::of((&planned.database, &planned.installed), (&database, name), &run.project, &run.run_id);
    work.note_work(true)?;
    let begin = tokio::time::timeout_at(work.task.deadline, taking::begin(snapshot, &area, replaces));
    let begun = tokio::select! {
        begun = begin => begun.unwrap_or_else(|_| Err(anyhow!("another testbed takes this snapshot")).exit(Exit::NotReady)),
        error = interrupted.as_mut() => Err(error),
    };
    let taking = match begun {
        Ok(taking) => taking,
        Err(error) => return work.note_work(false).and(Err(error)),
    };
    let copy = async |server: &mut _, is_clean: bool| {
        if !is_clean {
            return Err(unclean(server));
        }
        taking.copy(server, planned.account.as_ref()).await
    };
    let run = for_it(run, &work.task, &folder, &area);
    let copied = work.restart(copy, interrupted.as_mut()).await;
    let report = beside(&database, work.task.progress);
    let taken = match copied {
        Ok(()) => tokio::select! {
            taken = taking.finish(&as_made, run, &report) => taken,
            error = interrupted => Err(error),
        },
        Err(error) => Err(error),
    };
    let Err(error) = taken else { return work.note_work(false).map(|()| database.clone()) };
    Err(match taking.give_up().await.and_then(|()| work.note_work(false)) {
        Ok(()) => error.hint("no snapshot was kept"),
        Err(left) => {
            error.hint(format!("no snapshot was kept, and not all of it could be removed: {left:#}"))
        }
    })
}

/// The error about data that cannot be copied as it is.
pub(super) fn unclean(server: &crate::registry::Server) -> anyhow::Error {
    let name = &server.name;
    anyhow!("{name}: its server had not ended cleanly, so that its data is not as it should be").hint(
        format!("it was started again: call it once more, when it is ready; testbed logs {name} tells more"),
    )
}
