//! The story of a run of this machine, for the archive: taken down while its servers start, and told to the end when the run is removed.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::background;
use crate::cli::PipelineRun;
use crate::commands::archive::Archive;
use crate::commands::plan::Plan;
use crate::commands::story::{self, happens_to_all};
pub use crate::commands::story::{abandoned, down};
use crate::history::chronicle::{self, Chronicle};
use crate::history::log::Log;
use crate::history::record::{Database, Moment, Record, Status, What};
use crate::history::time::Time;
use crate::redact::Redactor;
use crate::registry::{self, Claim, LocalRun, Server};
use crate::runtime::local::plan::{LocalPlan, Planned};
use crate::runtime::local::{logs, remove};

/// The story of a run that is being made.
pub struct Story<'a> {
    archive: &'a Archive,
    /// As it is when it begins.
    record: Record,
    chronicle: Chronicle,
    /// The manifest's objects, and what is secret in them.
    objects: Arc<Vec<Value>>,
    redactor: Redactor,
}

impl<'a> Story<'a> {
    /// Of a run that is about to be made by `called`.
    pub fn new(archive: &'a Archive, called: &str, plan: &Plan, servers: &LocalPlan, pipeline_run: &PipelineRun) -> Self {
        let databases = servers.servers.iter().map(planned).collect();
        let record = story::begin(called, plan.run_id.as_str(), "local", pipeline_run);
        let told = plan.objects.iter().filter(|_| archive.is_on());
        let objects: Vec<Value> = told.map(|object| Value::Object(object.body.clone())).collect();
        let redactor = plan.redactor();
        Self { archive, record: Record { databases, ..record }, chronicle: Chronicle::default(), objects: objects.into(), redactor }
    }

    /// What must not be shown, for whoever removes the run.
    pub fn secrets(&self) -> Vec<String> {
        self.redactor.texts().to_vec()
    }

    /// The record's id, if there will be a record.
    pub fn id(&self) -> Option<String> {
        self.archive.is_on().then(|| self.record.id.clone())
    }

    /// Writes that the run is being made.
    pub fn begin(&self) {
        self.archive.begin(self.record.clone());
    }

    /// Takes down what happens.
    pub fn note(&self, database: &str, what: What, detail: &str) {
        self.chronicle.note(database, what, Time::now(), detail);
    }

    /// Writes that all servers take logins.
    pub fn is_up(&self, servers: &[Server]) {
        let known: Vec<Database> = servers.iter().map(database).collect();
        let ready = known.iter().filter_map(|database| database.first(What::Ready)).max().unwrap_or_else(Time::now);
        let so_far = self.so_far();
        let change = move |record: &mut Record| {
            so_far(record);
            story::take_over(record, known);
            record.status = Status::Up;
            record.ready = Some(ready);
        };
        self.archive.change(&self.record.id, Vec::new(), Some(self.record.clone()), change);
    }

    /// What became of it, as far as this process knows: to be put into its record.
    fn so_far(&self) -> impl FnOnce(&mut Record) + Send + use<> {
        let (chronicle, objects, redactor) = (self.chronicle.clone(), Arc::clone(&self.objects), self.redactor.clone());
        move |record| {
            record.objects = objects.to_vec();
            record.objects.iter_mut().for_each(|object| redactor.redact_object(object));
            for database in &mut record.databases {
                chronicle::merge(&mut database.timeline, chronicle.of(&database.name));
            }
        }
    }

    /// The same of one that failed or was interrupted.
    pub fn failed(&self, error: &anyhow::Error) -> impl FnOnce(&mut Record) + Send + use<> {
        let so_far = self.so_far();
        let failed = story::failed(error);
        move |record| {
            so_far(record);
            failed(record);
        }
    }
}

fn planned(server: &Planned) -> Database {
    Database {
        name: server.database.name.clone(),
        engine: server.database.engine.name().to_owned(),
        version: Some(server.installed.version.to_string()),
        user: Some(server.database.login.user.clone()),
        database: server.database.login.database.clone(),
        ..Database::default()
    }
}

fn database(server: &Server) -> Database {
    let ready = Time::parse(&server.ready.at);
    let moment = |at: Time| Moment { what: What::Ready, at, detail: String::new() };
    Database {
        name: server.name.clone(),
        engine: server.engine.clone(),
        version: server.server.split_once(' ').map(|(_, version)| version.to_owned()),
        address: Some(format!("127.0.0.1:{}", server.port)),
        user: Some(server.user.clone()),
        database: server.database.clone(),
        evidence: Some(server.ready.clone()),
        timeline: ready.map(moment).into_iter().collect(),
        ..Database::default()
    }
}

/// A record of a run that has none, or whose record was not written: from what is noted of it on this machine.
fn noted(run: &registry::Record, local: &LocalRun) -> Record {
    let began = Time::parse(&run.made).unwrap_or_else(Time::now);
    let mut record = Record { began, ..Record::begin(&run.run_id, "local") };
    record.id = run.history.clone().unwrap_or(record.id);
    record.name = run.called_in.file_name().map_or_else(|| run.run_id.clone(), |name| name.to_string_lossy().into_owned());
    record.origin.folder = Some(run.called_in.display().to_string());
    record.databases = local.servers.iter().map(database).collect();
    let is_up = run.phase == registry::Phase::Up || !local.servers.is_empty();
    if is_up && local.servers.len() >= local.logs.len() {
        record.status = Status::Up;
        record.ready = record.databases.iter().filter_map(|database| database.first(What::Ready)).max();
    }
    record
}

/// A server ended although nobody had asked for it: what was seen of its end.
pub fn has_ended(record: &mut Record, database: &str, end: Moment) {
    if let Some(database) = record.databases.iter_mut().find(|known| known.name == database) {
        chronicle::add(&mut database.timeline, 1, end);
    }
}

/// Collects the logs, removes the run, and tells both to the archive; `change` says what became of the run. However the archive does, the
/// run is removed.
///
/// # Errors
/// What is left, as [`remove::remove`] tells it.
pub async fn remove(claim: Claim, archive: &Archive, change: impl FnOnce(&mut Record) + Send + 'static) -> anyhow::Result<usize> {
    let asked = Time::now();
    let change = move |record: &mut Record| {
        change(record);
        happens_to_all(record, What::Deleting, asked);
    };
    let told = keep(&claim, archive, change).await;
    let settled = async {
        if let Some(Told { deadline, .. }) = &told {
            archive.settle(deadline.saturating_duration_since(Instant::now())).await;
            archive.took(archive.patience().saturating_sub(deadline.saturating_duration_since(Instant::now())));
        }
    };
    let removed = remove::remove(claim, settled).await;
    let Some(Told { id, .. }) = told else { return removed };
    let left = removed.as_ref().err().map(|left| format!("it could not be removed: {left:#}"));
    archive.change(&id, Vec::new(), None, move |record| match left {
        None => {
            let gone = Time::now();
            happens_to_all(record, What::Deleted, gone);
            record.ended = Some(gone);
        }
        Some(left) => record.notes.push(left),
    });
    removed
}

/// What was told to the archive.
pub struct Told {
    /// The record's id.
    id: String,
    /// Until when a removal may wait for its being written.
    deadline: Instant,
}

/// Collects the logs of a run and tells them to the archive, with what became of it, so that it may be removed, or be kept for a look. `None`
/// where there is no archive.
pub async fn keep(claim: &Claim, archive: &Archive, change: impl FnOnce(&mut Record) + Send + 'static) -> Option<Told> {
    let local = claim.record.local().filter(|_| archive.is_on())?;
    let deadline = Instant::now() + archive.patience();
    let record = noted(&claim.record, local);
    let id = record.id.clone();
    let redactor = local.redactor(&claim.record.run_id);
    let (logs, mut notes) = collect(local.clone(), &claim.record.run_id, deadline).await;
    archive.change(&id, logs, Some(record), move |record| {
        change(record);
        record.notes.append(&mut notes);
        if let Some(cause) = &mut record.cause {
            cause.text = redactor.redact_lines(&cause.text);
        }
    });
    Some(Told { id, deadline })
}

/// A file system may hang, and nobody is to wait for it longer than that.
async fn collect(local: LocalRun, run_id: &str, deadline: Instant) -> (Vec<Log>, Vec<String>) {
    let redactor = local.redactor(run_id);
    let work = background::run(move || logs::collect(&local, &redactor));
    let too_late = || (Vec::new(), vec!["the logs could not be read in time".to_owned()]);
    timeout_at(deadline, work).await.ok().and_then(Result::ok).unwrap_or_else(too_late)
}
