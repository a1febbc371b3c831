//! The record of one run: takes its events, keeps what is known, and has the recorder write what changes.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::Value;

use super::event::{Asked, Event, Failure, Part};
use super::merge::{self, Source};
use super::origin::{PipelineRun, belongs_to};
use super::timeline;
use super::{Job, Recorder, Which};
use crate::history::log::Log;
use crate::history::record::{self, Cause, Database, Moment, Record, Status, What};
use crate::manifest::owner::Owner;
use crate::redact::Redactor;
use crate::time::Time;

/// A run's record, from its first event to its last. Of no use, and no trouble, where no history is kept.
pub struct Recording<'a> {
    recorder: &'a Recorder,
    state: RefCell<State>,
}

struct State {
    /// The record as this call knows it, which is written where no store has it.
    record: Record,
    /// The stored records that events change; none before the begin, several where several calls made it.
    targets: Vec<Which>,
    /// Whether this call makes the run: then its record is written where no store has one.
    is_maker: bool,
    /// Whether another call has begun it: then it is not for this one to say that it is over.
    is_joined: bool,
    /// Finds the record of a run whose objects carry none.
    unfinished: Option<Which>,
    pipeline_run: PipelineRun,
    redactor: Option<Redactor>,
    asked: Asked,
    /// When its removal was asked for first.
    asked_at: Option<Time>,
    /// Whether there was anything of the run when its removal began.
    was_there: bool,
}

impl<'a> Recording<'a> {
    /// Of a run that somebody else has made, and that is removed now. `record` is what is known of it, and
    /// `id` its record's, where that is known.
    pub fn of_remover(
        recorder: &'a Recorder,
        record: Record,
        id: Option<String>,
        pipeline_run: PipelineRun,
    ) -> Self {
        let mut recording = Self::of_maker(recorder, record, pipeline_run);
        let state = recording.state.get_mut();
        (state.is_maker, state.targets) = (false, id.map(Which::Id).into_iter().collect());
        recording
    }

    /// Takes in what is secret in the run.
    pub fn know(&self, redactor: Redactor) {
        self.state.borrow_mut().redactor = Some(redactor);
    }

    /// Of a run that this call makes.
    pub fn of_maker(recorder: &'a Recorder, record: Record, pipeline_run: PipelineRun) -> Self {
        let unfinished = match (&record.origin.cluster, &record.origin.namespace) {
            (Some(cluster), Some(namespace)) => Some(Which::Unfinished {
                run_id: record.run_id.clone(),
                cluster: cluster.clone(),
                namespace: namespace.clone(),
            }),
            _ => None,
        };
        let state = State {
            record,
            targets: Vec::new(),
            is_maker: true,
            is_joined: false,
            unfinished,
            pipeline_run,
            redactor: None,
            asked: Asked::ByMaker,
            asked_at: None,
            was_there: true,
        };
        Self { recorder, state: RefCell::new(state) }
    }

    /// An earlier call has begun to make the run, under this record.
    pub fn join(&self, id: String) {
        let mut state = self.state.borrow_mut();
        state.record.id = id;
        state.is_joined = true;
    }

    /// The record's id, if there is to be a record.
    pub fn id(&self) -> Option<String> {
        self.recorder.is_on().then(|| self.state.borrow().record.id.clone())
    }

    pub fn recorder(&self) -> &'a Recorder {
        self.recorder
    }

    pub fn on(&self, event: Event) {
        if !self.recorder.is_on() {
            return;
        }
        let mut state = self.state.borrow_mut();
        match event {
            Event::Begun { objects, databases, redactor } => {
                self.begin(&mut state, objects, databases, redactor);
            }
            Event::Created { is_fresh, record } => self.created(&mut state, is_fresh, record),
            Event::Database { name, nth, moment } => state.add(&name, nth, moment),
            Event::Ready { databases, at } => {
                merge::databases(&mut state.record.databases, databases, Source::Maker);
                self.change(&state, move |record| {
                    if !record.is_over() {
                        (record.status, record.cause, record.ready) = (Status::Up, None, Some(at));
                    }
                });
            }
            Event::Failed(failure) => self.change(&state, move |record| failure.clone().put_into(record)),
            Event::NotMade(failure) => self.not_made(&state, failure),
            Event::CommandEnded { command, failure, was_asked_to_end } => {
                self.change(&state, move |record| {
                    command_ended(record, command.clone(), failure.clone(), was_asked_to_end);
                });
            }
            Event::Collected { parts, notes } => self.collected(&mut state, parts, notes),
            Event::RemovalAsked(asked) => {
                state.asked = asked;
                state.asked_at.get_or_insert_with(Time::now);
            }
            Event::Removed => self.removed(&state),
            Event::LeftOver(why) => {
                let note = [format!("it could not be removed: {why}")];
                self.send(&state, move |record| merge::notes(record, &note));
            }
        }
    }

    fn begin(&self, state: &mut State, objects: Vec<Value>, databases: Vec<Database>, redactor: Redactor) {
        state.record.databases = databases;
        state.targets = vec![Which::Id(state.record.id.clone())];
        if !state.is_joined {
            let (record, redactor) = (Box::new(state.record.clone()), Box::new(redactor.clone()));
            self.recorder.send(Job::Begin { record, objects, redactor });
        }
        state.redactor = Some(redactor);
    }

    /// What another call has made meanwhile belongs to that one's record, and so does all of the run.
    fn created(&self, state: &mut State, is_fresh: bool, theirs: Option<String>) {
        let now = Time::now();
        if is_fresh {
            let created = Moment { what: What::Created, at: now, detail: String::new() };
            state
                .record
                .databases
                .iter_mut()
                .for_each(|database| timeline::add(&mut database.timeline, 1, created.clone()));
        }
        let Some(theirs) = theirs.filter(|theirs| *theirs != state.record.id && !state.targets.is_empty())
        else {
            return;
        };
        let joined = format!("another call made the run at the same time: record {theirs} tells of it");
        let change = move |record: &mut Record| {
            record.status = Status::Cancelled;
            record.cause = Some(Cause { kind: "joined".into(), database: None, text: joined.clone() });
            record.ended = Some(now);
        };
        self.send(state, change);
        state.record.id.clone_from(&theirs);
        (state.targets, state.is_joined) = (vec![Which::Id(theirs)], true);
    }

    fn not_made(&self, state: &State, failure: Failure) {
        let now = Time::now();
        if state.is_joined {
            let text = state
                .redactor
                .as_ref()
                .map(|redactor| redactor.redact_lines(failure.text()))
                .unwrap_or_default();
            let note = [format!("a later call for the same run failed: {text}")];
            return self.change(state, move |record| record.notes.extend(note.clone()));
        }
        self.change(state, move |record| {
            failure.clone().put_into(record);
            record.ended = Some(now);
        });
    }

    fn collected(&self, state: &mut State, parts: Vec<(Option<String>, Part)>, notes: Vec<String>) {
        let own = state.targets.pop();
        state.was_there = !parts.is_empty() || !notes.is_empty();
        for (id, mut part) in parts {
            let Some(which) = id.clone().map(Which::Id).or(own.clone()).or(state.unfinished.clone()) else {
                continue;
            };
            let logs = std::mem::take(&mut part.logs);
            let otherwise = if state.is_maker { state.record.clone() } else { state.found(&part, id) };
            let (notes, pipeline_run) = (notes.clone(), state.pipeline_run.clone());
            let change = move |record: &mut Record| {
                belongs_to(&mut record.origin, &pipeline_run);
                merge::part(record, part);
                merge::notes(record, &notes);
            };
            self.write(state, which.clone(), logs, Some(otherwise), change);
            state.targets.push(which);
        }
        if state.targets.is_empty() {
            // There are no objects, or they could not be read: there may be a record all the same.
            state.targets.extend(own.or(state.unfinished.clone()));
            self.send(state, move |record| merge::notes(record, &notes));
        }
    }

    fn removed(&self, state: &State) {
        let (asked, gone, was_there) = (state.asked.clone(), Time::now(), state.was_there);
        let at = state.asked_at.unwrap_or(gone);
        let change = move |record: &mut Record| {
            if record.is_over() {
                return;
            }
            asked.clone().put_into(record);
            if was_there {
                merge::happens_to_all(record, What::Deleting, at);
                merge::happens_to_all(record, What::Deleted, gone);
            } else {
                merge::notes(record, &["its objects were gone already when it was to be removed".to_owned()]);
            }
            record.ended = Some(gone);
        };
        self.send(state, change);
    }

    /// Changes the record, and brings its databases up to date.
    fn change(&self, state: &State, change: impl Fn(&mut Record) + Send + Sync + 'static) {
        let databases = state.record.databases.clone();
        self.send(state, move |record| {
            merge::databases(&mut record.databases, databases.clone(), Source::Maker);
            change(record);
        });
    }

    fn send(&self, state: &State, change: impl Fn(&mut Record) + Send + Sync + 'static) {
        let change: Arc<dyn Fn(&mut Record) + Send + Sync> = Arc::new(change);
        for which in &state.targets {
            let change = Arc::clone(&change);
            self.write(
                state,
                which.clone(),
                Vec::new(),
                state.is_maker.then(|| state.record.clone()),
                move |record| change(record),
            );
        }
    }

    /// Has it written, without secrets in what the run failed of.
    fn write(
        &self,
        state: &State,
        which: Which,
        logs: Vec<Log>,
        otherwise: Option<Record>,
        change: impl FnOnce(&mut Record) + Send + 'static,
    ) {
        let redactor = state.redactor.clone();
        let change = move |record: &mut Record| {
            change(record);
            if let (Some(redactor), Some(cause)) = (redactor, &mut record.cause) {
                cause.text = redactor.redact_lines(&cause.text);
            }
        };
        self.recorder.send(Job::Change {
            which,
            change: Box::new(change),
            logs,
            otherwise: otherwise.map(Box::new),
        });
    }
}

impl State {
    fn add(&mut self, database: &str, nth: usize, moment: Moment) {
        if let Some(database) = self.record.databases.iter_mut().find(|known| known.name == database) {
            timeline::add(&mut database.timeline, nth, moment);
        }
    }

    /// The record of a run that has none, from what was found of it.
    fn found(&self, part: &Part, id: Option<String>) -> Record {
        let mut record = self.record.clone();
        record.id = id.unwrap_or(record.id);
        if record.runtime == "kubernetes" {
            record.began = part.began.unwrap_or(record.began);
            if let Some(Owner { name, uid }) = &part.pipeline_run {
                record.name.clone_from(name);
                (record.origin.pipeline_run, record.origin.pipeline_run_uid) =
                    (Some(name.clone()), Some(uid.clone()));
            }
            if part.objects.iter().filter(|object| object["kind"] == "Pod").all(is_ready) {
                record.status = Status::Up;
                record.ready = part.databases.iter().filter_map(|database| database.first(What::Ready)).max();
            }
        }
        belongs_to(&mut record.origin, &self.pipeline_run);
        record
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        || pod["status"]["phase"] == "Succeeded"
}

fn command_ended(
    record: &mut Record,
    command: record::Command,
    failure: Option<Failure>,
    was_asked_to_end: bool,
) {
    if let Some(failure) = failure {
        failure.put_into(record);
    } else if let Some(code) = command.exit_code {
        let text = format!("{} ended with exit code {code}", command.program);
        let cause = |kind: &str| Some(Cause { kind: kind.to_owned(), database: None, text });
        (record.status, record.cause) = match code {
            0 => (Status::Done, None),
            _ if was_asked_to_end => (Status::Cancelled, cause("interrupted")),
            _ => (Status::Failed, cause("command")),
        };
    }
    record.command = Some(command);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;
    use futures::FutureExt;

    use super::*;
    use crate::history::place::Place;
    use crate::history::store::Store;
    use crate::recorder::Sinks;

    const LONG: Duration = Duration::from_secs(60);

    fn begun() -> Event {
        let mut redactor = Redactor::new("run-1");
        redactor.add("hush-hush");
        let database = Database { name: "db".into(), engine: "postgres".into(), ..Database::default() };
        let objects = vec![serde_json::json!({"kind": "Pod", "spec": {"note": "hush-hush"}})];
        Event::Begun { objects, databases: vec![database], redactor }
    }

    fn moment(what: What, at: i64) -> Moment {
        Moment { what, at: Time::from_millis(at), detail: String::new() }
    }

    #[tokio::test]
    async fn a_run_is_recorded_from_its_begin_to_its_end_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Sqlite(folder.path().join("history.db"));
        let sinks = Sinks {
            named: Some(Some(place.clone())),
            results: None,
            own_result: || std::future::ready(None).boxed(),
        };
        let recorder = Recorder::open(sinks, LONG);
        let stored = async || {
            recorder.settle(LONG).await;
            Store::open(&place).await.unwrap().find("run-1").await.unwrap().pop().unwrap()
        };
        let maker = Recording::of_maker(&recorder, Record::begin("run-1", "local"), PipelineRun::default());
        let id = maker.id().unwrap();
        maker.on(begun());
        maker.on(Event::Database { name: "db".into(), nth: 1, moment: moment(What::Started, 1) });
        maker.on(Event::Ready {
            databases: vec![Database {
                name: "db".into(),
                version: Some("17".into()),
                ..Database::default()
            }],
            at: Time::from_millis(2),
        });
        let up = stored().await;
        let (database, objects) = (&up.databases[0], serde_json::to_string(&up.objects).unwrap());
        assert_eq!(
            (up.status, database.version.as_deref(), database.engine.as_str()),
            (Status::Up, Some("17"), "postgres")
        );
        assert_eq!(
            (database.first(What::Started), objects.contains("hush")),
            (Some(Time::from_millis(1)), false),
            "{objects}"
        );

        // A later call for the same run, which comes to nothing, leaves the record as it is.
        let other = Recording::of_maker(&recorder, Record::begin("run-1", "local"), PipelineRun::default());
        other.join(id.clone());
        other.on(begun());
        other.on(Event::NotMade(Failure::of(&anyhow!("password hush-hush is wrong"))));
        let joined = stored().await;
        assert_eq!((&joined.id, joined.status, joined.notes.len()), (&id, Status::Up, 1));
        assert!(joined.notes[0].contains("password *** is wrong"), "{:?}", joined.notes);

        maker.on(Event::Failed(Failure::of(&anyhow!("hush-hush"))));
        maker.on(Event::RemovalAsked(Asked::ByMaker));
        maker.on(Event::Collected { parts: vec![(Some(id), Part::default())], notes: Vec::new() });
        maker.on(Event::LeftOver("a process".into()));
        assert!(!stored().await.is_over());
        maker.on(Event::Removed);
        let gone = stored().await;
        assert_eq!(
            (gone.status, gone.cause.as_ref().map(|cause| cause.text.as_str())),
            (Status::Failed, Some("***"))
        );
        assert!(
            gone.is_over()
                && gone.timeline.iter().map(|moment| moment.what).eq([What::Deleting, What::Deleted]),
            "{:?}",
            gone.timeline
        );
        assert!(
            gone.notes.iter().any(|note| note.contains("could not be removed: a process")),
            "{:?}",
            gone.notes
        );
    }
}
