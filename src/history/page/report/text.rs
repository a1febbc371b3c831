//! The report on a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::{Failure, Report, Starts};
use crate::table::table;
use crate::words::{brief, count};

const WIDTH: usize = 100;

impl Report {
    /// For people: the numbers of runs, a table of starts and one of causes. Ends with a line break.
    pub fn text(&self) -> String {
        let statuses = self
            .statuses
            .iter()
            .filter(|count| count.runs > 0)
            .map(|count| format!("{} {}", count.runs, count.status.name()));
        let statuses = statuses.collect::<Vec<_>>().join(", ");
        let mut text = format!("{} since {}", count(self.runs, "run"), self.since);
        let _ = writeln!(text, "{}{statuses}", if statuses.is_empty() { "" } else { ": " });
        let header = ["ENGINE", "RUNTIME", "READY", "MEDIAN", "P95", "MAX", "MOST TIME GOES INTO"];
        add(&mut text, &table(header, self.starts.iter().map(start)));
        let header = ["CAUSE", "RUNS", "LATEST", "RUN ID", "ERROR"];
        add(&mut text, &table(header, self.failures.iter().map(failure)));
        text
    }
}

fn add(text: &mut String, table: &str) {
    if !table.is_empty() {
        text.push('\n');
        text.push_str(table);
    }
}

fn start(starts: &Starts) -> [String; 7] {
    let time = |millis: Option<u64>| {
        millis.map_or_else(|| "-".to_owned(), |millis| brief(Duration::from_millis(millis)))
    };
    let slowest = starts.phases.iter().find(|time| Some(time.phase) == starts.slowest_phase);
    let slowest = slowest.map_or_else(
        || "-".to_owned(),
        |time| format!("{} ({:.0} %)", time.phase.words(), time.share * 100.0),
    );
    [
        starts.engine.clone(),
        starts.runtime.clone(),
        format!("{}/{}", starts.ready, starts.databases),
        time(starts.median_millis),
        time(starts.p95_millis),
        time(starts.max_millis),
        slowest,
    ]
}

fn failure(failure: &Failure) -> [String; 5] {
    let latest = &failure.latest;
    let line = latest.text.lines().next().unwrap_or_default();
    let is_whole = line.len() == latest.text.trim_end().len() && line.chars().count() <= WIDTH;
    let error = line.chars().filter(|c| !c.is_control()).take(WIDTH).collect::<String>()
        + if is_whole { "" } else { " ..." };
    [failure.kind.clone(), failure.runs.to_string(), latest.began.to_string(), latest.run_id.clone(), error]
}
