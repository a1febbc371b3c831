//! The logs of a run that is still there.

use super::Found;
use crate::history::record::Record;
use crate::registry::{self, Registry};
use crate::runtime::local::logs;

/// Of a run of this machine: `run` is what the user typed, and `record` what is kept of it.
pub async fn on_this_machine(run: Option<&str>, record: Option<&Record>) -> Option<Found> {
    let noted = noted(run, record)?;
    let local = noted.local()?.clone();
    let redactor = local.redactor(&noted.run_id);
    let (logs, _) = tokio::task::spawn_blocking(move || logs::collect(&local, &redactor)).await.ok()?;
    let record = record.map(|record| record.id.clone()).or(noted.history);
    // What was removed meanwhile was told to the store before.
    (!logs.is_empty()).then_some(Found { run_id: noted.run_id, record, is_live: true, logs })
}

/// What is noted of the run, unless what is kept is about an older one with the same id.
fn noted(run: Option<&str>, record: Option<&Record>) -> Option<registry::Record> {
    let registry = Registry::find()?;
    let Some(record) = record else {
        return match run {
            Some(run) => registry.records().into_iter().find(|noted| noted.run_id == run || noted.history.as_deref() == Some(run)),
            None => registry.records().pop(),
        };
    };
    let noted = registry.read(&record.run_id)?;
    noted.history.as_ref().is_none_or(|id| *id == record.id).then_some(noted)
}
