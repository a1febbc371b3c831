//! Weeks of runs, for the report.

use testbed::history::page::report::Report;
use testbed::history::record::{Cause, Database, Moment, Record, Status, What};
use testbed::time::Time;

use super::stories::{BEGAN, at, local};

const HOUR: i64 = 3_600_000;

/// Reports by the names of their pages.
pub fn all() -> Vec<(&'static str, Report)> {
    let (since, now) = (Time::from_millis(BEGAN - 7 * 24 * HOUR), Time::from_millis(BEGAN));
    let week: Vec<Record> = (0..168).filter(|hour| hour % 24 > 6).map(run).collect();
    let one = vec![local().record];
    vec![
        ("report", Report::of(&week, since, now)),
        ("report-one", Report::of(&one, at(-HOUR), at(HOUR))),
        ("report-empty", Report::of(&[], since, now)),
    ]
}

/// A number from 0 to 999 that looks like chance and is the same every time.
fn chance(seed: i64) -> i64 {
    (seed.wrapping_mul(2_654_435_761) >> 7).rem_euclid(1000)
}

fn run(hour: i64) -> Record {
    let began = BEGAN - (168 - hour) * HOUR + chance(hour) * 3_000;
    let is_local = hour % 5 == 0;
    let status = match chance(hour + 7) {
        0..90 => Status::Failed,
        90..110 => Status::Cancelled,
        110..130 => Status::Abandoned,
        _ => Status::Done,
    };
    let is_ready = status == Status::Done;
    let mysql = database("mysql", began, hour, is_local, is_ready);
    let postgres = database("postgres", began, hour + 1000, is_local, true);
    Record {
        id: format!("019a-{hour}"),
        name: format!("striv-integration-{hour}"),
        status,
        cause: cause(status, hour),
        began: Time::from_millis(began),
        databases: vec![mysql, postgres],
        ..Record::begin(
            &format!("4f1c9a2e-7b1d-4c55-9c0f-{hour:012}"),
            if is_local { "local" } else { "kubernetes" },
        )
    }
}

fn cause(status: Status, hour: i64) -> Option<Cause> {
    let (kind, text) = match status {
        Status::Failed if hour % 3 == 0 => (
            "ErrImagePull",
            "mysql can never become ready: rpc error: toomanyrequests: You have reached your pull rate limit",
        ),
        Status::Failed => (
            "not-ready",
            "mysql was not ready within 2 min: its pod waits for a node:\n0/3 nodes are available: 3 Insufficient memory",
        ),
        Status::Cancelled => ("interrupted", "SIGTERM"),
        Status::Abandoned => ("expired", "its testbed ended without a word, and its lifetime of 2 h is over"),
        _ => return None,
    };
    Some(Cause { kind: kind.into(), database: Some("mysql".into()), text: text.into() })
}

fn database(engine: &str, began: i64, seed: i64, is_local: bool, is_ready: bool) -> Database {
    let pull = if chance(seed) > 850 { 5_000 + chance(seed + 1) * 20 } else { 150 + chance(seed + 2) / 5 };
    let start = if engine == "mysql" { 7_000 } else { 1_400 } + chance(seed + 3) * 2;
    let steps = if is_local {
        vec![
            (What::Created, 10),
            (What::Prepared, 200 + chance(seed) / 4),
            (What::Started, 30),
            (What::Ready, start / 8),
        ]
    } else {
        vec![
            (What::Created, 300),
            (What::Scheduled, 40),
            (What::Pulled, pull),
            (What::Started, 400),
            (What::SetUpServer, start / 3),
            (What::Ready, start),
        ]
    };
    let mut now = began;
    let mut timeline = Vec::new();
    for (what, took) in steps {
        now += took;
        if what != What::Ready || is_ready {
            timeline.push(Moment { what, at: Time::from_millis(now), detail: String::new() });
        }
    }
    let image = (!is_local).then(|| format!("{engine}:latest"));
    Database { name: engine.into(), engine: engine.into(), image, timeline, ..Database::default() }
}
