//! The report as a page.

use std::time::Duration;

use serde::Serialize;

use super::super::axis::rounded;
use super::super::run::tone;
use super::super::template::fill;
use super::{Count, Failure, PhaseTime, Point, Report, Starts};
use crate::time::Time;
use crate::words::{brief, count};

/// More points than this cannot be told apart, and make the page large.
const POINTS: usize = 400;

/// How near to each other two labels of a scale may be, in percent of its height.
const ROOM: f64 = 12.0;

#[derive(Serialize)]
struct View<'a> {
    title: String,
    length: String,
    until: Time,
    runs: usize,
    statuses: Vec<Share>,
    starts: Vec<Chart>,
    failures: Vec<Row<'a>>,
    bad: usize,
    /// The two ends of the time.
    days: [String; 2],
}

#[derive(Serialize)]
struct Share {
    name: &'static str,
    tone: &'static str,
    runs: usize,
    width: f64,
}

#[derive(Serialize)]
struct Row<'a> {
    failure: &'a Failure,
    width: f64,
    text: String,
}

#[derive(Serialize)]
struct Chart {
    name: String,
    place: &'static str,
    ready: usize,
    databases: usize,
    median: String,
    p95: String,
    max: String,
    slowest: &'static str,
    phases: Vec<Part>,
    dots: Vec<Dot>,
    left_out: usize,
    lines: [Line; 3],
    middle: Option<Line>,
    summary: String,
}

#[derive(Serialize)]
struct Part {
    class: &'static str,
    label: &'static str,
    words: &'static str,
    left: f64,
    width: f64,
    percent: String,
    median: String,
    starts: usize,
}

#[derive(Serialize)]
struct Dot {
    left: f64,
    bottom: f64,
    text: String,
}

/// A horizontal line with a label.
#[derive(Serialize)]
struct Line {
    at: f64,
    label: String,
}

pub fn html(report: &Report) -> anyhow::Result<String> {
    let most = report.failures.iter().map(|failure| failure.runs).max().unwrap_or_default();
    let view = View {
        title: format!("Runs since {} UTC", day(report.since)),
        until: report.until,
        runs: report.runs,
        length: brief(report.until.since(report.since)),
        statuses: report
            .statuses
            .iter()
            .filter(|count| count.runs > 0)
            .map(|count| share(count, report.runs))
            .collect(),
        starts: report.starts.iter().map(|starts| chart(starts, report)).collect(),
        failures: report.failures.iter().map(|failure| row(failure, most)).collect(),
        bad: report.failures.iter().map(|failure| failure.runs).sum(),
        days: [day(report.since), day(report.until)],
    };
    fill("report.html", &view)
}

fn share(Count { status, runs }: &Count, all: usize) -> Share {
    Share { name: status.name(), tone: tone(*status), runs: *runs, width: percent(*runs as u64, all as u64) }
}

fn row(failure: &Failure, most: usize) -> Row<'_> {
    Row { failure, width: percent(failure.runs as u64, most as u64), text: count(failure.runs, "run") }
}

fn chart(starts: &Starts, report: &Report) -> Chart {
    let time = |millis: Option<u64>| millis.map_or_else(|| "none".to_owned(), shown);
    let top = top(starts.max_millis.unwrap_or_default());
    let points = thinned(&starts.points);
    let slowest = starts.phases.iter().find(|time| Some(time.phase) == starts.slowest_phase);
    Chart {
        name: starts.engine.clone(),
        place: if starts.runtime == "local" { "on this machine" } else { "in a cluster" },
        ready: starts.ready,
        databases: starts.databases,
        median: time(starts.median_millis),
        p95: time(starts.p95_millis),
        max: time(starts.max_millis),
        slowest: slowest.map(|time| time.phase.words()).unwrap_or_default(),
        phases: parts(&starts.phases),
        left_out: starts.points.len() - points.len(),
        dots: points.iter().map(|point| dot(point, report, top)).collect(),
        lines: lines(top, starts.median_millis),
        middle: starts.median_millis.map(|median| Line { at: percent(median, top), label: shown(median) }),
        summary: format!("{} between {} and {}", count(starts.ready, "start"), report.since, report.until),
    }
}

fn parts(phases: &[PhaseTime]) -> Vec<Part> {
    let mut left = 0.0;
    let part = |time: &PhaseTime| {
        let width = rounded(time.share * 100.0);
        let part = Part {
            class: time.phase.name(),
            label: time.phase.label(),
            words: time.phase.words(),
            left: rounded(left),
            width,
            percent: format!("{width:.0} %"),
            median: shown(time.median_millis),
            starts: time.starts,
        };
        left += width;
        part
    };
    phases.iter().map(part).collect()
}

/// Where there are too many, the slowest of each so many: what is out of the ordinary stays.
fn thinned(points: &[Point]) -> Vec<&Point> {
    let size = points.len().div_ceil(POINTS).max(1);
    points.chunks(size).filter_map(|chunk| chunk.iter().max_by_key(|point| point.millis)).collect()
}

fn dot(point: &Point, report: &Report, top: u64) -> Dot {
    let text =
        format!("{}, {} of run {}: {}", point.began, point.database, point.run_id, shown(point.millis));
    Dot { left: across(point.began, report), bottom: percent(point.millis, top), text }
}

fn across(at: Time, report: &Report) -> f64 {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    percent(millis(at.since(report.since)), millis(report.until.since(report.since))).min(100.0)
}

/// The upper end of the scale: a round number that is not less, and has a half.
fn top(millis: u64) -> u64 {
    // A clock that was wrong by thousands of years.
    let millis = millis.min(1_000_000_000_000_000);
    let mut power = 10;
    loop {
        if let Some(top) =
            [1, 2, 3, 4, 5, 6, 8].into_iter().map(|times| times * power).find(|top| *top >= millis)
        {
            return top;
        }
        power *= 10;
    }
}

/// The scale's lines; where the median's label is, they have none.
fn lines(top: u64, median: Option<u64>) -> [Line; 3] {
    [(0.0, "0".to_owned()), (50.0, scale(top, 2)), (100.0, scale(top, 1))].map(|(at, label)| {
        let is_free = median.is_none_or(|median| (percent(median, top) - at).abs() > ROOM);
        Line { at, label: if is_free { label } else { String::new() } }
    })
}

/// A part of a round number, without needless digits.
fn scale(top: u64, part: u64) -> String {
    match top / part {
        value @ ..1000 => format!("{value} ms"),
        value if value % 1000 == 0 => format!("{} s", value / 1000),
        value => format!("{}.{} s", value / 1000, value % 1000 / 100),
    }
}

fn day(time: Time) -> String {
    let text = time.to_string();
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

fn shown(millis: u64) -> String {
    brief(Duration::from_millis(millis))
}

#[expect(clippy::cast_precision_loss, reason = "three digits are kept")]
fn percent(part: u64, whole: u64) -> f64 {
    rounded(part as f64 * 100.0 / whole.max(1) as f64)
}
