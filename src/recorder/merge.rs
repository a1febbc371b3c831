//! Puts what was learnt of a run into its record; what is told twice stands there once.

use serde_json::{Map, Value};

use super::event::Part;
use super::timeline;
use crate::history::record::{Database, Event, Moment, Record, What};
use crate::time::Time;

/// Who tells of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Whoever has made it: what it tells now counts.
    Maker,
    /// The cluster, in whole seconds: it fills the gaps.
    Cluster,
}

pub(super) fn databases(known: &mut Vec<Database>, told: Vec<Database>, source: Source) {
    for told in told {
        // On this machine nothing but the name tells them apart.
        let is_it = |other: &&mut Database| {
            other.workload == told.workload
                && other.container == told.container
                && (told.workload.is_some() || other.name == told.name)
        };
        match known.iter_mut().find(is_it) {
            None => known.push(told),
            Some(known) => database(known, told, source),
        }
    }
}

fn database(known: &mut Database, mut told: Database, source: Source) {
    let moments = std::mem::take(&mut told.timeline);
    let mut timeline = std::mem::take(&mut known.timeline);
    let rounded = moments
        .into_iter()
        .map(|moment| if source == Source::Cluster { in_order(&timeline, moment) } else { moment })
        .collect();
    timeline::merge(&mut timeline, rounded);
    if source == Source::Maker {
        std::mem::swap(known, &mut told);
    }
    known.timeline = timeline;
    known.restarts = known.restarts.max(told.restarts);
    if known.engine.is_empty() {
        known.engine = told.engine;
    }
    let fields = [
        (&mut known.image, told.image),
        (&mut known.version, told.version),
        (&mut known.address, told.address),
        (&mut known.user, told.user),
        (&mut known.database, told.database),
    ];
    fields.into_iter().for_each(|(known, told)| *known = known.take().or(told));
    known.evidence = known.evidence.take().or(told.evidence);
}

/// Kubernetes tells whole seconds, so that a pull can seem to come before what came before it.
fn in_order(timeline: &[Moment], moment: Moment) -> Moment {
    let same_second =
        |known: &&Moment| known.what < moment.what && known.at.millis() / 1000 == moment.at.millis() / 1000;
    let before = timeline
        .iter()
        .filter(same_second)
        .filter(|_| moment.what <= What::Started)
        .map(|known| known.at)
        .max();
    Moment { at: before.map_or(moment.at, |before| before.max(moment.at)), ..moment }
}

/// How long a file of a ConfigMap may be to be kept.
const LONGEST: usize = 64 << 10;

/// Tells of the large files in ConfigMaps their sizes only: each run of a project would keep all of its scripts.
pub(super) fn shorten(objects: &mut [Value]) {
    for object in objects.iter_mut().filter(|object| object["kind"] == "ConfigMap") {
        for part in ["data", "binaryData"] {
            let files = object.get_mut(part).and_then(Value::as_object_mut);
            for file in files.into_iter().flat_map(Map::values_mut) {
                if let Some(length) = file.as_str().map(str::len).filter(|length| *length > LONGEST) {
                    *file = format!("({length} bytes, which are not kept)").into();
                }
            }
        }
    }
}

/// Puts what was found of a run into its place in a record.
pub(super) fn part(record: &mut Record, Part { mut objects, events: found, databases: told, .. }: Part) {
    if !objects.is_empty() {
        shorten(&mut objects);
        record.objects = objects;
    }
    events(&mut record.events, found);
    databases(&mut record.databases, told, Source::Cluster);
}

/// The cluster forgets events after an hour. One that was said again is told as it was said last.
fn events(known: &mut Vec<Event>, found: Vec<Event>) {
    let said = |event: &Event| (event.object.clone(), event.reason.clone(), event.message.clone());
    known.retain(|known| !found.iter().any(|event| said(event) == said(known)));
    known.extend(found);
    known.sort_by_key(|event| event.at);
}

/// Notes what could not be collected, or is to be known besides.
pub(super) fn notes(record: &mut Record, notes: &[String]) {
    for note in notes {
        if !record.notes.contains(note) {
            record.notes.push(note.clone());
        }
    }
}

/// Notes what happens to all databases at once, and to the run as a whole.
pub(super) fn happens_to_all(record: &mut Record, what: What, at: Time) {
    let timelines = record.databases.iter_mut().map(|database| &mut database.timeline);
    for timeline in timelines.chain([&mut record.timeline]) {
        timeline::add(timeline, 1, Moment { what, at, detail: String::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(what: What, at: i64) -> Moment {
        Moment { what, at: Time::from_millis(at), detail: String::new() }
    }

    fn database(timeline: Vec<Moment>) -> Database {
        Database {
            workload: Some("Pod/db".into()),
            container: Some("db".into()),
            timeline,
            ..Database::default()
        }
    }

    #[test]
    fn what_kubernetes_tells_fills_the_gaps() {
        let mut known = vec![Database {
            name: "db".into(),
            version: Some("17".into()),
            ..database(vec![moment(What::Created, 10_100), moment(What::Scheduled, 10_400)])
        }];
        let told = [
            moment(What::Scheduled, 10_000),
            moment(What::Pulled, 10_000),
            moment(What::Started, 12_000),
            moment(What::Ended, 15_000),
        ];
        let told = Database {
            restarts: 1,
            version: Some("other".into()),
            image: Some("postgres:17".into()),
            ..database(told.to_vec())
        };
        databases(&mut known, vec![told], Source::Cluster);
        let timeline: Vec<(What, i64)> =
            known[0].timeline.iter().map(|moment| (moment.what, moment.at.millis())).collect();
        let expected = [
            (What::Created, 10_100),
            (What::Scheduled, 10_400),
            (What::Pulled, 10_400),
            (What::Started, 12_000),
            (What::Ended, 15_000),
        ];
        assert_eq!((timeline.as_slice(), known.len(), known[0].restarts), (&expected[..], 1, 1));
        assert_eq!(
            (known[0].version.as_deref(), known[0].image.as_deref(), known[0].name.as_str()),
            (Some("17"), Some("postgres:17"), "db")
        );
        databases(
            &mut known,
            vec![Database { workload: Some("Pod/other".into()), ..Database::default() }],
            Source::Cluster,
        );
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn what_the_maker_tells_now_counts_and_takes_nothing_away() {
        let mut known = vec![Database {
            version: Some("16".into()),
            address: Some("db:1".into()),
            restarts: 2,
            ..database(vec![moment(What::Created, 1)])
        }];
        let told = Database {
            version: Some("17".into()),
            ..database(vec![moment(What::Created, 2), moment(What::Ready, 3)])
        };
        databases(&mut known, vec![told], Source::Maker);
        let Database { version, address, restarts, timeline, .. } = &known[0];
        assert_eq!((version.as_deref(), address.as_deref(), *restarts), (Some("17"), Some("db:1"), 2));
        assert_eq!(*timeline, [moment(What::Created, 1), moment(What::Ready, 3)]);
    }

    #[test]
    fn an_event_that_was_said_again_is_told_once() {
        let event = |reason: &str, count, at| Event {
            reason: reason.into(),
            count,
            at: Some(Time::from_millis(at)),
            ..Event::default()
        };
        let mut known = vec![event("Pulled", 1, 1), event("BackOff", 1, 2)];
        events(&mut known, vec![event("BackOff", 7, 9), event("Killing", 1, 8)]);
        let told: Vec<(&str, u32)> = known.iter().map(|event| (event.reason.as_str(), event.count)).collect();
        assert_eq!(told, [("Pulled", 1), ("Killing", 1), ("BackOff", 7)]);
    }

    #[test]
    fn notes_are_told_once() {
        let mut record = Record::default();
        notes(&mut record, &["a".into(), "b".into()]);
        notes(&mut record, &["b".into(), "c".into()]);
        assert_eq!(record.notes, ["a", "b", "c"]);
    }
}
