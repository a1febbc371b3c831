//! The moments of a run to the millisecond: the picture in numbers.

use serde::Serialize;

use crate::history::record::{Moment, Record, What};
use crate::time::Time;
use crate::words::{exact, named};

/// The moments of the run, of a database or of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Times {
    pub name: String,
    /// From old to new.
    pub moments: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub what: String,
    pub detail: String,
    /// Since the run began.
    pub after: String,
    /// Since the moment before; empty for the first.
    pub took: String,
    /// The time of day, UTC.
    pub clock: String,
    /// The whole time.
    pub at: Time,
}

/// First the run, then the databases in their order, then the command. `start` is where the axis begins.
pub(super) fn times(record: &Record, start: Time) -> Vec<Times> {
    let of = |what: &str, at: Option<Time>| at.map(|at| (at, what.to_owned(), String::new()));
    let told = |moment: &Moment| (moment.at, words(moment.what).to_owned(), moment.detail.clone());
    let said = |what: What| record.timeline.iter().any(|moment| moment.what == what);
    let mut run: Vec<_> = record.timeline.iter().map(told).collect();
    run.extend(of("began", Some(record.began)));
    run.extend(of("all ready", record.ready.filter(|_| !said(What::Ready))));
    run.extend(of("gone", record.ended.filter(|_| !said(What::Deleted))));
    let mut all = vec![group("The run".to_owned(), run, start)];
    for database in &record.databases {
        all.push(group(
            named(&database.name).to_owned(),
            database.timeline.iter().map(told).collect(),
            start,
        ));
    }
    if let Some(command) = &record.command {
        let moments =
            [of("began", command.began), of("ended", command.ended)].into_iter().flatten().collect();
        all.push(group(format!("The command ({})", command.program), moments, start));
    }
    all.retain(|times| !times.moments.is_empty());
    all
}

fn group(name: String, mut moments: Vec<(Time, String, String)>, start: Time) -> Times {
    moments.sort_by_key(|(at, ..)| *at);
    let before = std::iter::once(None).chain(moments.iter().map(|(at, ..)| Some(*at)));
    let row = |((at, what, detail), before): (&(Time, String, String), Option<Time>)| Row {
        what: what.clone(),
        detail: detail.clone(),
        after: exact(at.since(start)),
        took: before.map(|before| exact(at.since(before))).unwrap_or_default(),
        clock: at.to_string().get(11..23).unwrap_or_default().to_owned(),
        at: *at,
    };
    Times { moments: moments.iter().zip(before).map(row).collect(), name }
}

pub(super) fn words(what: What) -> &'static str {
    match what {
        What::Created => "created",
        What::Scheduled => "node found",
        What::Prepared => "data folder there",
        What::Pulled => "image there",
        What::Started => "started",
        What::SetUpServer => "set-up server seen",
        What::Restarted => "restarted",
        What::Ready => "ready",
        What::Ended => "ended by itself",
        What::Deleting => "removal asked for",
        What::Deleted => "gone",
    }
}
