//! The bars and marks of a run: which there are, and where on the [`Axis`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::axis::{Axis, Break, Tick, rounded};
use super::phase::{Phase, Span, phases};
use super::times::words;
use crate::history::record::{Database, Moment, Record, What};
use crate::time::Time;
use crate::words::{brief, named};

/// The part of the axis that is left for what goes on when nothing is known of its end.
const OPEN: i64 = 12;
/// Marks nearer to each other than this, in percent, would cover each other.
const CLOSE: f64 = 2.0;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Timeline {
    /// One for each database, in their order, and one for the command.
    pub tracks: Vec<Track>,
    pub ticks: Vec<Tick>,
    pub breaks: Vec<Break>,
    /// Whether there is a bar without an end.
    pub has_open: bool,
    /// When all were ready.
    pub ready: Option<Guide>,
    pub bars: Vec<Key>,
    pub marks: Vec<Key>,
}

/// A vertical line through all tracks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Guide {
    pub left: f64,
    pub label: String,
    /// Whether its words have room on its left side only.
    pub is_right: bool,
}

/// A line of the legend, for what is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Key {
    /// The style's class, or the symbol.
    pub class: &'static str,
    pub words: &'static str,
}

/// The line of one database, or of the command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Track {
    pub name: String,
    /// More about it, such as engine and version.
    pub kind: String,
    pub outcome: String,
    pub bars: Vec<Bar>,
    pub marks: Vec<Mark>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Bar {
    pub class: &'static str,
    pub left: f64,
    pub width: f64,
    /// Whether nothing is known of its end.
    pub is_open: bool,
    /// What is written on it if there is room.
    pub label: String,
    /// What it is, from when to when.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Mark {
    pub class: &'static str,
    pub left: f64,
    /// Whether another mark is so near that this one is drawn above it.
    pub is_up: bool,
    /// What happened, and when.
    pub text: String,
}

/// What the axis spans, and how times on it are told.
struct Scale {
    axis: Axis,
    start: Time,
    end: Time,
    is_over: bool,
}

pub(super) fn timeline(record: &Record) -> Timeline {
    let databases: Vec<Vec<Span>> =
        record.databases.iter().map(|database| phases(database, record.ended)).collect();
    let start = start(record);
    let end = end(record, start);
    let axis = Axis::new(start, end, &quiet(&databases, start, end));
    let scale = Scale { axis, start, end, is_over: record.is_over() };
    let of_databases =
        record.databases.iter().zip(&databases).map(|(database, spans)| scale.database(database, spans));
    let mut tracks: Vec<Track> = of_databases.collect();
    tracks.extend(scale.command(record));
    if tracks.is_empty() {
        tracks.push(scale.run(record));
    }
    let marked: BTreeSet<&str> =
        tracks.iter().flat_map(|track| &track.marks).map(|mark| mark.class).collect();
    // In the order of a start.
    let phases: BTreeSet<Phase> = databases.iter().flatten().map(|span| span.phase).collect();
    let phases = phases.into_iter().map(|phase| Key { class: phase.name(), words: phase.words() });
    let others = [Key { class: COMMAND, words: "the command" }, Key { class: RUN, words: "the run" }];
    let is_used = |key: &Key| tracks.iter().flat_map(|track| &track.bars).any(|bar| bar.class == key.class);
    Timeline {
        ticks: scale.axis.ticks(),
        breaks: scale.axis.breaks(),
        ready: record.ready.filter(|_| !record.databases.is_empty()).map(|ready| scale.guide(ready)),
        bars: phases.chain(others.into_iter().filter(is_used)).collect(),
        has_open: tracks.iter().flat_map(|track| &track.bars).any(|bar| bar.is_open),
        marks: MARKS.map(mark).into_iter().filter(|key| marked.contains(key.class)).collect(),
        tracks,
    }
}

/// The classes of bars that are no database's.
const COMMAND: &str = "command";
const RUN: &str = "run";

/// What is marked, in the legend's order.
const MARKS: [What; 4] = [What::SetUpServer, What::Restarted, What::Ended, What::Ready];

fn mark(what: What) -> Key {
    Key { class: what.name(), words: words(what) }
}

fn moments(record: &Record) -> impl Iterator<Item = Time> {
    let databases = record.databases.iter().flat_map(|database| &database.timeline);
    let command = record.command.iter().flat_map(|command| [command.began, command.ended]).flatten();
    databases
        .chain(&record.timeline)
        .map(|moment| moment.at)
        .chain(command)
        .chain(record.ready)
        .chain(record.ended)
}

/// When the run began; also of moments a little earlier, because the cluster counts whole seconds.
pub(super) fn start(record: &Record) -> Time {
    let second = Time::from_millis(record.began.millis() - 1000);
    let first = moments(record).chain([record.began]).min().unwrap_or_default();
    if first < second { first } else { record.began }
}

fn end(record: &Record, start: Time) -> Time {
    let last = moments(record).max().unwrap_or(start).max(start);
    let rest = if record.is_over() { 0 } else { ((last.millis() - start.millis()) / OPEN).max(1) };
    Time::from_millis(last.millis() + rest)
}

/// When databases were in use and nothing else went on.
fn quiet(databases: &[Vec<Span>], start: Time, end: Time) -> Vec<(Time, Time)> {
    // How many more are in use from a moment on, and how many more do anything else.
    let mut changes: BTreeMap<Time, (i64, i64)> = BTreeMap::from([(start, (0, 0)), (end, (0, 0))]);
    for span in databases.iter().flatten() {
        for (at, by) in [(Some(span.from), 1), (span.to, -1)] {
            let Some(at) = at else { continue };
            let (used, busy) = changes.entry(at.clamp(start, end)).or_default();
            *(if span.phase == Phase::InUse { used } else { busy }) += by;
        }
    }
    let edges: Vec<(Time, (i64, i64))> = changes.into_iter().collect();
    let mut quiet: Vec<(Time, Time)> = Vec::new();
    let (mut all_used, mut all_busy) = (0, 0);
    for pair in edges.windows(2) {
        let ((from, (used, busy)), (to, _)) = (pair[0], pair[1]);
        (all_used, all_busy) = (all_used + used, all_busy + busy);
        if all_used == 0 || all_busy > 0 {
            continue;
        }
        match quiet.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => quiet.push((from, to)),
        }
    }
    quiet
}

impl Scale {
    fn after(&self, at: Time) -> String {
        brief(at.since(self.start))
    }

    fn guide(&self, ready: Time) -> Guide {
        let left = self.axis.position(ready);
        Guide { left, label: format!("all ready after {}", self.after(ready)), is_right: left > 50.0 }
    }

    fn bar(&self, class: &'static str, label: &str, words: &str, from: Time, to: Option<Time>) -> Bar {
        let left = self.axis.position(from);
        let times = match to {
            Some(to) => {
                format!("from {} to {} ({})", self.after(from), self.after(to), brief(to.since(from)))
            }
            None => format!("since {}, and still when this was written", self.after(from)),
        };
        Bar {
            class,
            left,
            width: rounded(self.axis.position(to.unwrap_or(self.end)) - left),
            is_open: to.is_none(),
            label: label.to_owned(),
            text: format!("{words}, {times}"),
        }
    }

    fn database(&self, database: &Database, spans: &[Span]) -> Track {
        let bar = |span: &Span| {
            self.bar(span.phase.name(), span.phase.label(), span.phase.words(), span.from, span.to)
        };
        let version = database.version.as_deref().unwrap_or_default();
        Track {
            name: named(&database.name).to_owned(),
            kind: if database.name == database.engine {
                version.to_owned()
            } else {
                format!("{} {version}", database.engine).trim().to_owned()
            },
            outcome: self.outcome(database),
            bars: joined(spans).iter().map(bar).collect(),
            marks: self.marks(&database.timeline),
        }
    }

    fn outcome(&self, database: &Database) -> String {
        match database.first(What::Ready) {
            Some(ready) => format!("ready after {}", self.after(ready)),
            None if self.is_over => "never ready".to_owned(),
            None => "not ready yet".to_owned(),
        }
    }

    fn marks(&self, moments: &[Moment]) -> Vec<Mark> {
        let mut moments: Vec<&Moment> = moments.iter().collect();
        moments.sort_by_key(|moment| (moment.at, moment.what));
        let mut marks: Vec<Mark> = Vec::new();
        for moment in moments {
            let Some(key) = MARKS.into_iter().find(|what| *what == moment.what).map(mark) else { continue };
            let left = self.axis.position(moment.at);
            let is_up = marks.last().is_some_and(|last| left - last.left < CLOSE && !last.is_up);
            let detail =
                if moment.detail.is_empty() { String::new() } else { format!(": {}", moment.detail) };
            marks.push(Mark {
                class: key.class,
                left,
                is_up,
                text: format!("{} at {}{detail}", key.words, self.after(moment.at)),
            });
        }
        marks
    }

    fn command(&self, record: &Record) -> Option<Track> {
        let command = record.command.as_ref()?;
        let outcome = match command.exit_code {
            Some(code) => format!("exit code {code}"),
            None => "no exit code".to_owned(),
        };
        let bar = |from| {
            self.bar(COMMAND, &command.program, &command.program, from, command.ended.or(record.ended))
        };
        let kind = "command".to_owned();
        Some(Track {
            name: command.program.clone(),
            kind,
            outcome,
            bars: command.began.map(bar).into_iter().collect(),
            marks: Vec::new(),
        })
    }

    /// Where there is nothing else to show.
    fn run(&self, record: &Record) -> Track {
        let bar = self.bar(RUN, "the run", "the run", record.began, record.ended);
        Track {
            name: "the run".into(),
            kind: String::new(),
            outcome: record.status.name().into(),
            bars: vec![bar],
            marks: Vec::new(),
        }
    }
}

/// Phases that follow each other and are the same are one bar.
fn joined(spans: &[Span]) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if last.phase == span.phase && last.to == Some(span.from) => last.to = span.to,
            _ => joined.push(*span),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
