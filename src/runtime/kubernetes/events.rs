//! One watch on the namespace's events, and of these only what is said about certain objects.
//!
//! The smallest Role that `up` works with may not read events. Then there are none, which is no failure:
//! messages say that they could not be read.

use std::collections::BTreeMap;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::runtime::watcher::Config;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Cluster;
use super::updates::{Update, updates};

/// How many events are kept about one object: the latest ones.
const KEPT: usize = 16;

/// How much of a message is kept, in characters. Kubernetes itself allows 1024 bytes.
const MESSAGE: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub kind: String,
    pub name: String,
    pub uid: String,
    /// The container in a pod that it is about.
    pub container: Option<String>,
    /// `Warning`, as opposed to `Normal`.
    pub warning: bool,
    pub reason: String,
    pub message: String,
    pub count: i32,
    /// When it happened last, by the cluster's clock.
    pub at: Option<Timestamp>,
    pub first: Option<Timestamp>,
}

/// What the events of before mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// They tell of what is there now.
    Counts,
    /// What they say about the makers of pods is of earlier times: these have lived long, and only what is
    /// said from now on tells of what they do now. Pods are told apart by their UIDs.
    IsPast,
}

#[derive(Debug, Clone, Default)]
pub struct Events {
    /// By the events' own names.
    notes: BTreeMap<String, Note>,
    pub forbidden: bool,
}

impl Events {
    /// What is said about one object, from old to new. Without a UID, about whatever had the name.
    pub fn about(&self, kind: &str, name: &str, uid: Option<&str>) -> Vec<Note> {
        self.select(|note| note.kind == kind && note.name == name && uid.is_none_or(|uid| note.uid == uid))
    }

    /// What is said about an object that makes pods, and about a Deployment's ReplicaSets.
    pub fn about_maker(&self, kind: &str, name: &str) -> Vec<Note> {
        let through =
            |note: &Note| kind == "Deployment" && note.kind == "ReplicaSet" && is_part(&note.name, name);
        self.select(|note| (note.kind == kind && note.name == name) || through(note))
    }

    fn select(&self, fits: impl Fn(&Note) -> bool) -> Vec<Note> {
        let mut found: Vec<Note> = self.notes.values().filter(|note| fits(note)).cloned().collect();
        found.sort_by_key(|note| note.at);
        found
    }

    fn add(&mut self, id: String, note: Note) {
        let (kind, name) = (note.kind.clone(), note.name.clone());
        self.notes.insert(id, note);
        let same = self.notes.iter().filter(|(_, note)| note.kind == kind && note.name == name);
        if same.clone().count() > KEPT
            && let Some(oldest) = same.min_by_key(|(_, note)| note.at).map(|(id, _)| id.clone())
        {
            self.notes.remove(&oldest);
        }
    }
}

/// The watch, running in the background until it is dropped.
pub struct EventWatch {
    events: watch::Receiver<Events>,
    _task: JoinSet<()>,
}

impl EventWatch {
    /// `names` are those of pods and of what makes pods: the names of what they make begin with theirs.
    pub fn start(cluster: &Cluster, names: Vec<String>, past: Past) -> Self {
        let (to, events) = watch::channel(Events::default());
        let mut task = JoinSet::new();
        task.spawn(follow(cluster.clone(), names, past, to));
        Self { events, _task: task }
    }

    pub fn events(&self) -> watch::Receiver<Events> {
        self.events.clone()
    }
}

async fn follow(cluster: Cluster, names: Vec<String>, past: Past, to: watch::Sender<Events>) {
    let api = cluster.api::<Event>();
    let mut updates = updates(api, Config::default(), move |event| read(event, &names));
    let mut old: Option<BTreeMap<String, Note>> = (past == Past::Counts).then(BTreeMap::new);
    while let Some(update) = updates.next().await {
        match update {
            Ok(Update::All(all)) => {
                let mut listed = Events::default();
                all.into_iter().for_each(|(id, note)| listed.add(id, note));
                let old = old.get_or_insert_with(|| listed.notes.clone());
                // One that has come again since is another one.
                listed.notes.retain(|id, note| note.kind == "Pod" || old.get(id) != Some(note));
                to.send_replace(listed);
            }
            Ok(Update::Changed((id, note))) => to.send_modify(|events| events.add(id, note)),
            // Events are forgotten after an hour, which makes what they said no less true.
            Ok(Update::Deleted(_) | Update::Interrupted(_)) => {}
            Err(_) => {
                to.send_modify(|events| events.forbidden = true);
                break;
            }
        }
    }
    // Whoever listens goes on listening, to what will never come.
    to.closed().await;
}

fn read(event: Event, names: &[String]) -> Option<(String, Note)> {
    let name = event.involved_object.name.as_ref()?;
    names.iter().any(|known| known == name || is_part(name, known)).then(|| note(event))?
}

/// What matters of an event, and its own name; `None` for one about no object.
pub fn note(event: Event) -> Option<(String, Note)> {
    let object = event.involved_object;
    let name = object.name?;
    let series = event.series.as_ref();
    let at = series
        .and_then(|series| series.last_observed_time.as_ref())
        .or(event.event_time.as_ref())
        .map(|time| time.0);
    let made = event.metadata.creation_timestamp.map(|time| time.0);
    let first =
        event.first_timestamp.map(|time| time.0).or(event.event_time.as_ref().map(|time| time.0)).or(made);
    let at = event.last_timestamp.map(|time| time.0).or(at).or(made);
    let count = series.and_then(|series| series.count).or(event.count).unwrap_or(1);
    let message: Vec<&str> = event.message.as_deref().unwrap_or_default().split_whitespace().collect();
    let container = object.field_path.as_deref().and_then(|path| path.split_once('{')?.1.strip_suffix('}'));
    let note = Note {
        kind: object.kind.unwrap_or_default(),
        name,
        uid: object.uid.unwrap_or_default(),
        container: container.map(Into::into),
        warning: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.unwrap_or_default(),
        message: message.join(" ").chars().take(MESSAGE).collect(),
        count,
        at,
        first,
    };
    Some((event.metadata.name.unwrap_or_default(), note))
}

/// Whether one of this name can have been made by the other: `db-0` and `db-5d4f8c7b9-x2x7k` by `db`.
pub fn is_part(name: &str, maker: &str) -> bool {
    name.strip_prefix(maker).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An event about a pod, for tests of what reads them.
    pub fn note(reason: &str, message: &str, at: i64) -> Note {
        let (kind, name, uid) = ("Pod".to_owned(), "db".to_owned(), "1".to_owned());
        let at = Timestamp::from_second(at).ok();
        Note {
            kind,
            name,
            uid,
            container: None,
            warning: true,
            reason: reason.into(),
            message: message.into(),
            count: 1,
            at,
            first: at,
        }
    }

    /// Events with these notes, for tests of what reads them.
    pub fn events(notes: impl IntoIterator<Item = Note>) -> Events {
        let mut events = Events::default();
        notes.into_iter().enumerate().for_each(|(id, note)| events.add(id.to_string(), note));
        events
    }

    fn event(name: &str, message: &str, second: u8) -> Event {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": format!("{name}.{second}")},
            "involvedObject": {"kind": "Pod", "name": name, "uid": "1", "fieldPath": "spec.containers{db}"},
            "type": "Warning", "reason": "Failed", "message": message, "count": 3,
            "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        }))
        .unwrap()
    }

    #[test]
    fn only_the_runs_objects_and_their_latest_events_are_kept() {
        let names = vec!["db".to_owned()];
        assert!(read(event("other", "", 1), &names).is_none());
        assert!(read(event("dbx", "", 1), &names).is_none());
        let mut events = Events::default();
        for second in 0..40 {
            let (id, note) = read(event("db", "a\n  b", second), &names).unwrap();
            events.add(id, note);
        }
        let kept = events.about("Pod", "db", Some("1"));
        assert_eq!(
            (kept.len(), kept[0].message.as_str(), kept[0].count, kept[0].container.as_deref()),
            (KEPT, "a b", 3, Some("db"))
        );
        assert!(
            kept.is_sorted_by_key(|note| note.at)
                && kept[0].at > read(event("db", "", 20), &names).unwrap().1.at
        );
        assert!(events.about("Pod", "db", Some("2")).is_empty());
    }

    #[test]
    fn a_deployment_is_told_of_by_its_replica_sets() {
        let events = events([Note {
            kind: "ReplicaSet".into(),
            name: "db-5d4f8c7b9".into(),
            ..note("FailedCreate", "no", 1)
        }]);
        assert_eq!(events.about_maker("Deployment", "db").len(), 1);
        assert!(events.about_maker("StatefulSet", "db").is_empty());
    }
}
