//! What is told of a run in a cluster before it is removed, and afterwards: by whoever removes it.
//!
//! First it is collected and written what is there, within the archive's patience; then the run goes, whatever came of that; then its record
//! is closed. Nothing here fails or keeps the removal waiting for longer.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::cli::PipelineRun;
use crate::commands::archive::{Archive, Which};
use crate::commands::story::{self, happens_to_all};
use crate::deadline;
use crate::history::chronicle;
use crate::history::record::{Database, Event, Moment, Record, Status, What};
use crate::history::time::Time;
use crate::run_id::RunId;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::collect::{Collected, Known, Part, collect};

/// How long it may take where the API server is in trouble.
const IN_TROUBLE: Duration = Duration::from_millis(750);

/// A run that is about to be removed.
pub struct Farewell<'a> {
    archive: &'a Archive,
    cluster: &'a Cluster,
    run_id: RunId,
    known: Known,
    /// The record, where the caller knows it.
    id: Option<String>,
    /// The PipelineRun that the caller works for.
    pipeline_run: PipelineRun,
    within: Duration,
}

/// The records of a run that is being removed.
pub struct Ending<'a> {
    archive: &'a Archive,
    records: Vec<Which>,
    /// When its end began.
    asked: Time,
    /// Whether there was anything left of the run.
    was_there: bool,
}

impl<'a> Farewell<'a> {
    /// Of a run of which no more is known than its id.
    pub fn new(archive: &'a Archive, cluster: &'a Cluster, run_id: &RunId) -> Self {
        let (known, pipeline_run) = (Known::nothing(run_id), PipelineRun::default());
        Self { archive, cluster, run_id: run_id.clone(), known, id: None, pipeline_run, within: archive.patience() }
    }

    /// The same with the record known that objects belong to which carry none.
    #[must_use]
    pub fn of_record(self, id: Option<String>) -> Self {
        Self { id, ..self }
    }

    /// The same for a PipelineRun, which objects in another namespace than its own do not tell.
    #[must_use]
    pub fn for_pipeline_run(self, pipeline_run: &PipelineRun) -> Self {
        Self { pipeline_run: pipeline_run.clone(), ..self }
    }

    /// The same with its secrets known.
    #[must_use]
    pub fn knowing(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// The same in a hurry.
    #[must_use]
    pub fn within(self, most: Duration) -> Self {
        Self { within: self.within.min(most), ..self }
    }

    /// Collects, removes, and closes the record: `change` says what became of the run.
    ///
    /// # Errors
    /// Those of the removal, and no others.
    pub async fn remove<T>(
        self,
        removal: impl Future<Output = anyhow::Result<T>>,
        change: impl FnOnce(&mut Record) + Clone + Send + 'static,
    ) -> anyhow::Result<T> {
        let ending = self.collect().await;
        let removed = removal.await;
        match &removed {
            Ok(_) => ending.gone(change),
            Err(left) => ending.left(left),
        }
        removed
    }

    /// Collects and writes what is there, whether the run is removed next or stays.
    pub async fn collect(self) -> Ending<'a> {
        let Self { archive, cluster, run_id, known, id, pipeline_run, within } = self;
        let mut ending = Ending { archive, records: Vec::new(), asked: Time::now(), was_there: false };
        if !archive.is_on() {
            return ending;
        }
        let begun = Instant::now();
        // From a server that does not answer there is nothing to be had.
        let within = if cluster.trouble().is_some() { within.min(IN_TROUBLE) } else { within };
        let deadline = deadline::after(within);
        let unfinished = || Which::Unfinished {
            run_id: run_id.as_str().to_owned(),
            cluster: cluster.server.clone(),
            namespace: cluster.namespace.clone(),
        };
        let Collected { parts, notes } = collect(cluster, &run_id, known, deadline).await;
        for (noted, mut part) in parts {
            let noted = noted.or(id.clone());
            let which = noted.clone().map_or_else(unfinished, Which::Id);
            let logs = std::mem::take(&mut part.logs);
            let mut otherwise = found(&part, noted, cluster, &run_id);
            story::belongs_to(&mut otherwise.origin, &pipeline_run);
            let (notes, pipeline_run) = (notes.clone(), pipeline_run.clone());
            archive.change_which(which.clone(), logs, Some(otherwise), move |record| {
                story::belongs_to(&mut record.origin, &pipeline_run);
                take_over(record, part, notes);
            });
            ending.records.push(which);
            ending.was_there = true;
        }
        if ending.records.is_empty() {
            // There are no objects, or they could not be read: there may be a record all the same.
            let which = id.map_or_else(unfinished, Which::Id);
            ending.was_there = !notes.is_empty();
            archive.change_which(which.clone(), Vec::new(), None, |record| add_notes(record, notes));
            ending.records.push(which);
        }
        archive.settle(deadline::left(deadline)).await;
        archive.took(begun.elapsed());
        ending
    }
}

impl Ending<'_> {
    /// The run is gone.
    pub fn gone(&self, change: impl FnOnce(&mut Record) + Clone + Send + 'static) {
        let (asked, gone, was_there) = (self.asked, Time::now(), self.was_there);
        for which in &self.records {
            let change = change.clone();
            self.archive.change_which(which.clone(), Vec::new(), None, move |record| {
                if record.is_over() {
                    return;
                }
                change(record);
                if was_there {
                    happens_to_all(record, What::Deleting, asked);
                    happens_to_all(record, What::Deleted, gone);
                } else {
                    add_notes(record, vec!["its objects were gone already when it was to be removed".to_owned()]);
                }
                record.ended = Some(gone);
            });
        }
    }

    /// Some of it is left.
    pub fn left(&self, left: &anyhow::Error) {
        let note = format!("it could not be removed: {left:#}");
        for which in &self.records {
            let note = note.clone();
            self.archive.change_which(which.clone(), Vec::new(), None, move |record| add_notes(record, vec![note]));
        }
    }
}

/// A record of a run that has none, from what was found of it.
fn found(part: &Part, id: Option<String>, cluster: &Cluster, run_id: &RunId) -> Record {
    let mut record = Record::begin(run_id.as_str(), "kubernetes");
    record.id = id.unwrap_or(record.id);
    record.began = part.began.unwrap_or(record.began);
    let (name, uid) = part.pipeline_run.clone().unzip();
    record.name = name.clone().unwrap_or_else(|| run_id.as_str().to_owned());
    record.origin.cluster = Some(cluster.server.clone());
    record.origin.namespace = Some(cluster.namespace.clone());
    (record.origin.pipeline_run, record.origin.pipeline_run_uid) = (name, uid);
    if part.objects.iter().filter(|object| object["kind"] == "Pod").all(is_ready) {
        record.status = Status::Up;
        record.ready = part.databases.iter().filter_map(|database| database.first(What::Ready)).max();
    }
    record
}

/// Whether a pod is ready, as Kubernetes sees it.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        || pod["status"]["phase"] == "Succeeded"
}

/// Puts what was found into its place in a record.
fn take_over(record: &mut Record, part: Part, notes: Vec<String>) {
    let Part { objects, events, databases, .. } = part;
    if !objects.is_empty() {
        record.objects = objects;
    }
    add_events(&mut record.events, events);
    databases.into_iter().for_each(|database| take_over_database(record, database));
    add_notes(record, notes);
}

fn take_over_database(record: &mut Record, found: Database) {
    let is_it = |known: &&mut Database| known.workload == found.workload && known.container == found.container;
    let Some(known) = record.databases.iter_mut().find(is_it) else { return record.databases.push(found) };
    known.restarts = known.restarts.max(found.restarts);
    known.evidence = known.evidence.take().or(found.evidence);
    let rounded = found.timeline.into_iter().map(|moment| in_order(&known.timeline, moment)).collect();
    chronicle::merge(&mut known.timeline, rounded);
}

/// Kubernetes tells whole seconds, so that a pull can seem to come before what is known to have come before it in the same second.
fn in_order(timeline: &[Moment], moment: Moment) -> Moment {
    let same_second = |known: &&Moment| known.what < moment.what && known.at.millis() / 1000 == moment.at.millis() / 1000;
    let before = timeline.iter().filter(same_second).filter(|_| moment.what <= What::Started).map(|known| known.at).max();
    Moment { at: before.map_or(moment.at, |before| before.max(moment.at)), ..moment }
}

/// The cluster forgets events after an hour. One that was said again is told as it was said last.
fn add_events(known: &mut Vec<Event>, found: Vec<Event>) {
    let said = |event: &Event| (event.object.clone(), event.reason.clone(), event.message.clone());
    known.retain(|known| !found.iter().any(|event| said(event) == said(known)));
    known.extend(found);
    known.sort_by_key(|event| event.at);
}

fn add_notes(record: &mut Record, notes: Vec<String>) {
    for note in notes {
        if !record.notes.contains(&note) {
            record.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(what: What, at: i64) -> Moment {
        Moment { what, at: Time::from_millis(at), detail: String::new() }
    }

    fn database(timeline: Vec<Moment>) -> Database {
        Database { workload: Some("Pod/db".into()), container: Some("db".into()), timeline, ..Database::default() }
    }

    #[test]
    fn what_kubernetes_tells_fills_the_gaps() {
        let mut record = Record::default();
        record
            .databases
            .push(Database { name: "db".into(), ..database(vec![moment(What::Created, 10_100), moment(What::Scheduled, 10_400)]) });
        let told =
            [moment(What::Scheduled, 10_000), moment(What::Pulled, 10_000), moment(What::Started, 12_000), moment(What::Ended, 15_000)];
        take_over_database(&mut record, Database { restarts: 1, ..database(told.to_vec()) });
        let timeline: Vec<(What, i64)> = record.databases[0].timeline.iter().map(|moment| (moment.what, moment.at.millis())).collect();
        let expected =
            [(What::Created, 10_100), (What::Scheduled, 10_400), (What::Pulled, 10_400), (What::Started, 12_000), (What::Ended, 15_000)];
        assert_eq!((timeline.as_slice(), record.databases.len(), record.databases[0].restarts), (&expected[..], 1, 1));
        take_over_database(&mut record, Database { workload: Some("Pod/other".into()), ..Database::default() });
        assert_eq!(record.databases.len(), 2);
    }

    #[test]
    fn an_event_that_was_said_again_is_told_once() {
        let event = |reason: &str, count, at| Event { reason: reason.into(), count, at: Some(Time::from_millis(at)), ..Event::default() };
        let mut known = vec![event("Pulled", 1, 1), event("BackOff", 1, 2)];
        add_events(&mut known, vec![event("BackOff", 7, 9), event("Killing", 1, 8)]);
        let told: Vec<(&str, u32)> = known.iter().map(|event| (event.reason.as_str(), event.count)).collect();
        assert_eq!(told, [("Pulled", 1), ("Killing", 1), ("BackOff", 7)]);
    }

    #[test]
    fn notes_are_told_once() {
        let mut record = Record::default();
        add_notes(&mut record, vec!["a".into(), "b".into()]);
        add_notes(&mut record, vec!["b".into(), "c".into()]);
        assert_eq!(record.notes, ["a", "b", "c"]);
    }
}
