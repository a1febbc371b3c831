//! The logs of a run that is still there.

use std::time::Duration;

use super::Found;
use crate::background;
use crate::cli::Global;
use crate::history::record::Record;
use crate::progress::Progress;
use crate::registry::{self, Registry, Unreadable};
use crate::run_id::RunId;
use crate::runtime::kubernetes::{Cluster, collect};
use crate::runtime::local::logs;
use crate::session;
use crate::session::chosen::Chosen;

/// How long the reading of pods' logs may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Of a run of this machine: `run` is what the user typed, and `record` what is kept of it.
pub(super) async fn on_this_machine(
    run: Option<&str>,
    record: Option<&Record>,
) -> anyhow::Result<Option<Found>> {
    let Some(noted) = noted(run, record)? else { return Ok(None) };
    let Some(local) = noted.local().cloned() else { return Ok(None) };
    let redactor = local.redactor(&noted.run_id);
    let (logs, _) = background::run(move || logs::collect(&local, &redactor)).await?;
    let record = record.map(|record| record.id.clone()).or(noted.history);
    // What was removed meanwhile was told to the store before.
    Ok((!logs.is_empty()).then_some(Found { run_id: noted.run_id, record, is_live: true, logs }))
}

/// What is noted of the run, unless what is kept is about an older one with the same id.
fn noted(run: Option<&str>, record: Option<&Record>) -> anyhow::Result<Option<registry::Record>> {
    let Some(registry) = Registry::find() else { return Ok(None) };
    let Some(record) = record else {
        let (mut records, unreadable) = registry.records()?;
        let is_meant = |noted: &registry::Record| {
            run.is_none_or(|run| noted.run_id == run || noted.history.as_deref() == Some(run))
        };
        records.retain(is_meant);
        let may_be_meant = |unreadable: &&Unreadable| run.is_none_or(|run| unreadable.run_id == run);
        return match (records.pop(), unreadable.iter().find(may_be_meant)) {
            (None, Some(unreadable)) => Err(unreadable.error()),
            (noted, _) => Ok(noted),
        };
    };
    // Of a run that is over, all is kept.
    if record.is_over() {
        return Ok(None);
    }
    let noted = registry.read(&record.run_id)?;
    Ok(noted.filter(|noted| noted.history.as_ref().is_none_or(|id| *id == record.id)))
}

/// Of a run in a cluster: one that is kept and not over, or, where nothing is kept of it, in the cluster that
/// is named. `None` where there is nothing of it to be read; why that is so is told.
pub(super) async fn in_cluster(
    run: Option<&str>,
    record: Option<&Record>,
    global: &Global,
    progress: &Progress,
) -> Option<Found> {
    let run_id = match (record, run) {
        (Some(record), _) if record.is_over() || record.runtime != "kubernetes" => return None,
        (Some(record), _) => &record.run_id,
        (None, Some(run)) if matches!(Chosen::of(global), Ok(Chosen::Cluster(_))) => run,
        (None, _) => return None,
    };
    let Ok(run_id) = RunId::parse(run_id) else { return None };
    let read = async {
        let cluster = connect(&run_id, record, global).await?;
        collect::live_logs(&cluster, &run_id, TIMEOUT).await
    };
    let (logs, notes) = match read.await {
        Ok(read) => read,
        Err(error) => {
            let what = if record.is_some() {
                "its pods cannot be read, and this is what was kept before"
            } else {
                "no cluster can be asked"
            };
            progress.warn_of(&error.context(what));
            return None;
        }
    };
    notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
    let record = record.map(|record| record.id.clone());
    (!logs.is_empty()).then(|| Found { run_id: run_id.to_string(), record, is_live: true, logs })
}

/// The cluster that flags name; without any, where the run was made.
async fn connect(run_id: &RunId, record: Option<&Record>, global: &Global) -> anyhow::Result<Cluster> {
    let mut choice = global.choice();
    let noted = Registry::find().map_or(Ok(None), |registry| registry.read(run_id.as_str()))?;
    let location = noted.as_ref().and_then(registry::Record::location);
    if location.is_none() {
        choice.namespace = choice.namespace.or_else(|| record?.origin.namespace.clone());
    }
    session::connect(choice, location).await
}
