//! The story of a run that `up` or `run` makes in a cluster, for the archive: from before its first object on.

use std::cell::{Cell, RefCell};

use kube::api::DynamicObject;

use super::farewell::Farewell;
use super::ready::Records;
use super::session::Session;
use crate::cli::Source;
use crate::commands::archive::{Archive, Which};
use crate::commands::plan::Plan;
use crate::commands::run::work::Worked;
use crate::commands::story;
use crate::history::chronicle::{self, Chronicle};
use crate::history::record::{Cause, Database, Moment, Record, Status, What};
use crate::history::time::Time;
use crate::manifest::stamp;
use crate::runtime::kubernetes::collect::{self, Known, describe};
use crate::runtime::kubernetes::create::Created;
use crate::runtime::kubernetes::{Cluster, list};

/// A story that goes on.
pub struct Story<'a> {
    archive: &'a Archive,
    /// Where the run is.
    pub cluster: &'a Cluster,
    /// As it is when it begins.
    record: RefCell<Record>,
    /// Takes down what happens.
    pub chronicle: Chronicle,
    /// Whether another call has begun it: then it is not for this one to say that it is over.
    is_joined: Cell<bool>,
    has_begun: Cell<bool>,
}

impl<'a> Story<'a> {
    /// Of a run that is about to be made by `called`. Its objects get the record's id: the one of an earlier call where that has made some of
    /// the run already.
    pub async fn open(archive: &'a Archive, cluster: &'a Cluster, called: &str, source: &Source, plan: &mut Plan) -> anyhow::Result<Self> {
        let mut record = story::begin(called, plan.run_id.as_str(), "kubernetes", &source.pipeline_run);
        record.origin.cluster = Some(cluster.server.clone());
        record.origin.namespace = Some(cluster.namespace.clone());
        let mut is_joined = false;
        if archive.is_on() {
            // A run id of its own making is nobody else's.
            if source.run_id.is_some()
                && let Some(earlier) = earlier(cluster, plan).await
            {
                record.id = earlier;
                is_joined = true;
            }
            stamp::note_record(&mut plan.objects, &record.id)?;
        }
        let (record, is_joined) = (RefCell::new(record), Cell::new(is_joined));
        Ok(Self { archive, cluster, record, chronicle: Chronicle::default(), is_joined, has_begun: Cell::new(false) })
    }

    /// The record's id, if there is to be one.
    pub fn id(&self) -> Option<String> {
        self.archive.is_on().then(|| self.record.borrow().id.clone())
    }

    /// Writes that the run is being made.
    pub fn begin(&self, plan: &Plan) {
        if !self.archive.is_on() {
            return;
        }
        let redactor = plan.redactor();
        let mut record = self.record.borrow_mut();
        record.databases = plan.discovery.databases.iter().map(|database| describe(database, &redactor)).collect();
        self.has_begun.set(true);
        if !self.is_joined.get() {
            self.archive.begin(record.clone());
        }
    }

    /// Takes note of what was created. What another call has made meanwhile belongs to that one's story, and so does all of the run.
    pub fn created(&self, plan: &Plan, created: &Created) {
        let now = Time::now();
        plan.discovery.databases.iter().filter(|_| created.adopted.is_empty()).for_each(|database| {
            self.chronicle.note(&database.name, What::Created, now, "");
        });
        let theirs = created.adopted.iter().find_map(|object: &DynamicObject| collect::record(object));
        let mut record = self.record.borrow_mut();
        if let Some(theirs) = theirs.filter(|theirs| *theirs != record.id) {
            let joined = format!("another call made the run at the same time: record {theirs} tells of it");
            self.archive.change(&record.id, Vec::new(), None, move |record| {
                record.status = Status::Cancelled;
                record.cause = Some(Cause { kind: "joined".into(), database: None, text: joined });
                record.ended = Some(now);
            });
            record.id = theirs;
            self.is_joined.set(true);
        }
    }

    /// Writes that all databases are ready.
    pub fn is_up(&self, plan: &Plan, session: &Session) {
        let ready = Time::now();
        let proofs: Vec<(Option<String>, Time)> = session.found.iter().map(|found| (found.version.clone(), Time::from(found.at))).collect();
        let databases: Vec<Database> = self.so_far(plan, &session.ready);
        let databases: Vec<Database> = databases
            .into_iter()
            .zip(proofs)
            .map(|(mut database, (version, at))| {
                database.version = version;
                chronicle::add(&mut database.timeline, 1, Moment { what: What::Ready, at, detail: String::new() });
                database
            })
            .collect();
        self.change(move |record| {
            story::take_over(record, databases);
            if !record.is_over() {
                (record.status, record.cause, record.ready) = (Status::Up, None, Some(ready));
            }
        });
    }

    /// The databases with what has happened to them until now.
    fn so_far(&self, plan: &Plan, ready: &Records) -> Vec<Database> {
        let mut databases = self.record.borrow().databases.clone();
        for (known, database) in databases.iter_mut().zip(&plan.discovery.databases) {
            known.timeline = self.chronicle.of(&database.name);
            known.evidence = ready.get(&database.workload).and_then(|containers| containers.get(&database.container)).cloned();
        }
        databases
    }

    /// Writes that it failed, or was interrupted.
    pub fn failed(&self, plan: &Plan, error: &anyhow::Error) {
        let change = self.failure(plan, error);
        self.change(change);
    }

    fn failure(&self, plan: &Plan, error: &anyhow::Error) -> impl FnOnce(&mut Record) + Clone + Send + use<> {
        let (redactor, failed) = (plan.redactor(), story::failed(error));
        let databases = self.so_far(plan, &Records::new());
        move |record: &mut Record| {
            story::take_over(record, databases);
            failed(record);
            record.cause.iter_mut().for_each(|cause| cause.text = redactor.redact_text(&cause.text));
        }
    }

    /// Writes that nothing was made of it, or nothing is left.
    pub fn not_made(&self, plan: &Plan, error: &anyhow::Error) {
        if !self.has_begun.get() {
            return;
        }
        let failure = self.failure(plan, error);
        let is_joined = self.is_joined.get();
        let now = Time::now();
        self.change(move |record| {
            if is_joined {
                let mut other = Record::default();
                failure(&mut other);
                let text = other.cause.map(|cause| cause.text).unwrap_or_default();
                return record.notes.push(format!("a later call for the same run failed: {text}"));
            }
            failure(record);
            record.ended = Some(now);
        });
    }

    /// Writes what became of the command of `run`, and of the databases meanwhile.
    pub fn worked(&self, plan: &Plan, session: &Session, worked: &Worked) {
        let (redactor, told) = (plan.redactor(), worked.told());
        let databases = self.so_far(plan, &session.ready);
        self.change(move |record| {
            story::take_over(record, databases);
            told(record);
            record.cause.iter_mut().for_each(|cause| cause.text = redactor.redact_text(&cause.text));
        });
    }

    /// Changes the record.
    fn change(&self, change: impl FnOnce(&mut Record) + Send + 'static) {
        let record = self.record.borrow();
        if self.has_begun.get() {
            self.archive.change_which(Which::Id(record.id.clone()), Vec::new(), Some(record.clone()), change);
        }
    }

    /// Before the run is removed.
    pub fn farewell(&self, plan: &Plan) -> Farewell<'a> {
        Farewell::new(self.archive, self.cluster, &plan.run_id).of_record(self.id()).knowing(known(plan))
    }
}

/// What a plan knows of a run's secrets.
fn known(plan: &Plan) -> Known {
    Known { redactor: plan.redactor(), secrets: plan.data.secret_names().map(str::to_owned).collect() }
}

/// The record of a run that an earlier call has begun to make.
async fn earlier(cluster: &Cluster, plan: &Plan) -> Option<String> {
    // Without this look, the run has one more record: no reason to fail.
    let runs = list::runs(cluster, Some(&plan.run_id)).await.ok()?;
    let run = runs.into_values().next()?;
    let metadata = run.pods.iter().map(|pod| &pod.metadata).chain(run.services.iter().map(|service| &service.metadata));
    metadata.filter_map(|metadata| metadata.annotations.as_ref()?.get(stamp::RECORD_ANNOTATION)).next().cloned()
}
