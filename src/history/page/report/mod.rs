//! What many runs tell together: how long databases take to start, what that goes into, and why runs fail.

mod text;
mod view;

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use super::phase::{Phase, phases};
use crate::history::record::{Cause, Database, Record, Status, What};
use crate::time::Time;

pub use self::view::html;

/// The version of the JSON.
pub const VERSION: u32 = 1;

/// The report of a time. Holds no secret, because no record does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub version: u32,
    /// Runs that began then or later are in it.
    pub since: Time,
    pub until: Time,
    pub runs: usize,
    /// How many of them have each status; the statuses in the order of a run's life, those without runs too.
    pub statuses: Vec<Count>,
    /// The starts of each engine, by engine and runtime.
    pub starts: Vec<Starts>,
    /// The most frequent cause first.
    pub failures: Vec<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    pub status: Status,
    pub runs: usize,
}

/// How the databases of one engine started, in one runtime: a pod and a process are no match for each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Starts {
    /// `mysql`, `mariadb` or `postgres`.
    pub engine: String,
    /// `kubernetes` or `local`.
    pub runtime: String,
    /// How many databases were asked for.
    pub databases: usize,
    /// How many of them became ready; the times are those of these.
    pub ready: usize,
    /// The time from the making of the object, or of the folder, until the database was ready, in
    /// milliseconds: half of the starts took no longer. `None` where none became ready.
    pub median_millis: Option<u64>,
    /// 95 of 100 took no longer.
    pub p95_millis: Option<u64>,
    pub max_millis: Option<u64>,
    /// Where the time goes, in the order of a start.
    pub phases: Vec<PhaseTime>,
    /// The phase that takes the largest part of all starts together.
    pub slowest_phase: Option<Phase>,
    /// Each start, from old to new.
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseTime {
    pub phase: Phase,
    /// In how many starts it was seen.
    pub starts: usize,
    /// Half of these took no longer for it, in milliseconds.
    pub median_millis: u64,
    /// Its part of the time of all starts together, from 0 to 1.
    pub share: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The record's id.
    pub record: String,
    pub run_id: String,
    pub database: String,
    pub began: Time,
    pub millis: u64,
}

/// A cause that runs failed for, were cancelled for, or were abandoned for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The cause's word, as in a record; `unknown` where no cause was written.
    pub kind: String,
    pub runs: usize,
    /// The newest of them.
    pub latest: Example,
}

/// A run that shows what a cause means: these fields of its record and of its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// The record's id.
    pub record: String,
    pub run_id: String,
    pub name: String,
    pub status: Status,
    pub began: Time,
    pub database: Option<String>,
    pub text: String,
}

impl Report {
    /// Counts. The order of the records does not matter; those that began before `since` are left out.
    pub fn of(records: &[Record], since: Time, now: Time) -> Self {
        let mut records: Vec<&Record> = records.iter().filter(|record| record.began >= since).collect();
        records.sort_by(|a, b| (a.began, &a.id).cmp(&(b.began, &b.id)));
        Self {
            version: VERSION,
            since,
            until: now,
            runs: records.len(),
            statuses: Status::value_variants().iter().map(|status| counted(&records, *status)).collect(),
            starts: starts(&records),
            failures: failures(&records),
        }
    }
}

fn counted(records: &[&Record], status: Status) -> Count {
    Count { status, runs: records.iter().filter(|record| record.status == status).count() }
}

fn failures(records: &[&Record]) -> Vec<Failure> {
    let mut by_kind: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.status.is_bad()) {
        let kind = record.cause.as_ref().map(|cause| cause.kind.as_str()).filter(|kind| !kind.is_empty());
        by_kind.entry(kind.unwrap_or("unknown")).or_default().push(record);
    }
    let failure = |(kind, records): (&str, Vec<&Record>)| {
        let latest = example(records.last()?);
        Some(Failure { kind: kind.to_owned(), runs: records.len(), latest })
    };
    let mut failures: Vec<Failure> = by_kind.into_iter().filter_map(failure).collect();
    failures.sort_by_key(|failure| std::cmp::Reverse((failure.runs, failure.latest.began)));
    failures
}

fn example(record: &Record) -> Example {
    let Cause { database, text, .. } = record.cause.clone().unwrap_or_default();
    let Record { id, run_id, name, status, began, .. } = record.clone();
    Example { record: id, run_id, name, status, began, database, text }
}

fn starts(records: &[&Record]) -> Vec<Starts> {
    let mut groups: BTreeMap<(&str, &str), Vec<(&Record, &Database)>> = BTreeMap::new();
    for record in records {
        for database in &record.databases {
            groups.entry((&database.engine, &record.runtime)).or_default().push((record, database));
        }
    }
    groups.into_iter().map(|((engine, runtime), databases)| start(engine, runtime, &databases)).collect()
}

fn start(engine: &str, runtime: &str, databases: &[(&Record, &Database)]) -> Starts {
    let points: Vec<Point> =
        databases.iter().filter_map(|(record, database)| point(record, database)).collect();
    let mut times: Vec<u64> = points.iter().map(|point| point.millis).collect();
    times.sort_unstable();
    let phases = phase_times(databases.iter().map(|(_, database)| *database));
    let slowest = phases.iter().max_by(|a, b| a.share.total_cmp(&b.share));
    Starts {
        engine: engine.to_owned(),
        runtime: runtime.to_owned(),
        databases: databases.len(),
        ready: points.len(),
        median_millis: median(&times),
        p95_millis: of_hundred(&times, 95),
        max_millis: times.last().copied(),
        slowest_phase: slowest.filter(|slowest| slowest.share > 0.0).map(|slowest| slowest.phase),
        phases,
        points,
    }
}

/// From its making until it was ready for the first time.
fn point(record: &Record, database: &Database) -> Option<Point> {
    let ready = database.first(What::Ready)?;
    let created = database.first(What::Created).unwrap_or(record.began);
    // A cluster counts whole seconds: the object seems to be made before anybody had asked for it.
    let created = if record.began <= ready { created.max(record.began) } else { created };
    Some(Point {
        record: record.id.clone(),
        run_id: record.run_id.clone(),
        database: database.name.clone(),
        began: record.began,
        millis: millis(ready, created),
    })
}

fn millis(to: Time, from: Time) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

/// The phases of the databases that became ready, up to then.
fn phase_times<'a>(databases: impl Iterator<Item = &'a Database>) -> Vec<PhaseTime> {
    let mut times: BTreeMap<Phase, Vec<u64>> = BTreeMap::new();
    for database in databases.filter(|database| database.first(What::Ready).is_some()) {
        let mut own: BTreeMap<Phase, u64> = BTreeMap::new();
        for span in phases(database, None).iter().take_while(|span| span.phase != Phase::InUse) {
            *own.entry(span.phase).or_default() += span.to.map_or(0, |to| millis(to, span.from));
        }
        own.into_iter().for_each(|(phase, time)| times.entry(phase).or_default().push(time));
    }
    let total: u64 = times.values().flatten().sum();
    let phase_time = |(phase, mut times): (Phase, Vec<u64>)| {
        times.sort_unstable();
        PhaseTime {
            phase,
            starts: times.len(),
            median_millis: median(&times).unwrap_or_default(),
            share: share(times.iter().sum(), total),
        }
    };
    times.into_iter().map(phase_time).collect()
}

/// To the thousandth: what is printed is the same everywhere.
fn share(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "three digits are kept")]
    let share = part as f64 / whole.max(1) as f64;
    (share * 1000.0).round() / 1000.0
}

/// The middle one of sorted times; between two, their mean.
fn median(sorted: &[u64]) -> Option<u64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(u64::midpoint(sorted[middle - 1], upper))
}

/// The smallest of sorted times that so many of a hundred do not exceed (the nearest rank).
fn of_hundred(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests;
