//! Removes a run of this machine: collects its servers' logs, ends them and deletes what there is of it, and
//! tells both to its recording. However the recorder does, the run is removed.

use tokio::time::{Instant, timeout_at};

use super::{logs, remove};
use crate::background;
use crate::history::log::Log;
use crate::history::record::{Database, Moment, Record, Status, What};
use crate::recorder::event::{Asked, Part};
use crate::recorder::origin::PipelineRun;
use crate::recorder::{Event, Recorder, Recording};
use crate::registry::{self, Claim, LocalRun, Server};

/// The recording of a run that an earlier call has made.
pub fn recording<'a>(recorder: &'a Recorder, claim: &Claim) -> Recording<'a> {
    let run = &claim.record;
    let Some(local) = run.local() else {
        return Recording::of_remover(recorder, Record::default(), None, PipelineRun::default());
    };
    let record = noted(run, local);
    let id = Some(record.id.clone());
    let recording = Recording::of_remover(recorder, record, id, PipelineRun::default());
    recording.know(local.redactor(&run.run_id));
    recording
}

/// What is known of a server that takes logins.
pub fn database(server: &Server) -> Database {
    Database {
        name: server.name.clone(),
        engine: server.engine.clone(),
        version: server.server.split_once(' ').map(|(_, version)| version.to_owned()),
        address: Some(format!("127.0.0.1:{}", server.port)),
        user: Some(server.user.clone()),
        database: server.database.clone(),
        evidence: server.proof().cloned(),
        timeline: timeline(server),
        restarts: server.restarts.len().try_into().unwrap_or(u32::MAX),
        ..Database::default()
    }
}

/// When it was ready, and was restarted.
fn timeline(server: &Server) -> Vec<Moment> {
    let moment = |what, at| Moment { what, at, detail: String::new() };
    let mut moments: Vec<Moment> = Vec::new();
    for restart in &server.restarts {
        // Not since the restart before, of which nobody has waited for the end.
        if moments.last().is_none_or(|last| last.at <= restart.was_ready) {
            moments.push(moment(What::Ready, restart.was_ready));
        }
        moments.push(moment(What::Restarted, restart.at));
    }
    moments.extend(server.proof().map(|ready| moment(What::Ready, ready.at)));
    moments
}

/// A record of a run that has none, or whose record was not written: from what is noted of it on this
/// machine.
fn noted(run: &registry::Record, local: &LocalRun) -> Record {
    let mut record = Record { began: run.made, ..Record::begin(&run.run_id, "local") };
    record.id = run.history.clone().unwrap_or(record.id);
    record.name = run
        .called_in
        .file_name()
        .map_or_else(|| run.run_id.clone(), |name| name.to_string_lossy().into_owned());
    record.origin.folder = Some(run.called_in.display().to_string());
    record.databases = local.servers.iter().map(database).collect();
    let is_up = run.phase == registry::Phase::Up || !local.servers.is_empty();
    if is_up && local.servers.len() >= local.logs.len() {
        record.status = Status::Up;
        record.ready = record.databases.iter().filter_map(|database| database.first(What::Ready)).max();
    }
    record
}

/// Removes a run, and tells how many servers it had.
pub async fn remove(claim: Claim, recording: &Recording<'_>, asked: Asked) -> anyhow::Result<usize> {
    recording.on(Event::RemovalAsked(asked));
    let deadline = collect(&claim, recording).await;
    let recorder = recording.recorder();
    let settled = async {
        if let Some(deadline) = deadline {
            recorder.settle(deadline.saturating_duration_since(Instant::now())).await;
            recorder
                .took(recorder.timeout().saturating_sub(deadline.saturating_duration_since(Instant::now())));
        }
    };
    let removed = remove::remove(claim, settled).await;
    recording.on(Event::of_removal(&removed));
    removed
}

/// Collects the logs of a run, which is removed next or kept for a look. Tells until when a removal may wait
/// for them to be written; `None` where there is nothing to write.
pub async fn collect(claim: &Claim, recording: &Recording<'_>) -> Option<Instant> {
    let recorder = recording.recorder();
    let local = claim.record.local().filter(|_| recorder.is_on())?;
    let deadline = Instant::now() + recorder.timeout();
    let (logs, notes) = read_logs(local.clone(), &claim.record.run_id, deadline).await;
    recording.on(Event::Collected { parts: vec![(recording.id(), Part { logs, ..Part::default() })], notes });
    Some(deadline)
}

/// A file system may hang, and nobody is to wait for it longer than that.
async fn read_logs(local: LocalRun, run_id: &str, deadline: Instant) -> (Vec<Log>, Vec<String>) {
    let redactor = local.redactor(run_id);
    let work = background::run(move || logs::collect(&local, &redactor));
    let too_late = || (Vec::new(), vec!["the logs could not be read in time".to_owned()]);
    timeout_at(deadline, work).await.ok().and_then(Result::ok).unwrap_or_else(too_late)
}
