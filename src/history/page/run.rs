//! The page of one run.

use serde::Serialize;
use serde_json::Value;

use super::logs::{LogView, views};
use super::template::fill;
use super::timeline::{Timeline, start, timeline};
use super::times::{Times, times};
use crate::history::log::Log;
use crate::history::record::{Event, Record, Status};
use crate::time::Time;
use crate::words::{brief, named, size};
use crate::yaml;

/// How much of one object a page holds, in bytes: what is asked of them is mostly in their first lines.
const OBJECT: usize = 16 * 1024;
/// And of all objects together.
const OBJECTS: usize = 64 * 1024;

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    title: String,
    record: &'a Record,
    words: &'static str,
    tone: &'static str,
    /// Labels and values.
    figures: Vec<(&'static str, String)>,
    timeline: Timeline,
    logs: Vec<LogView>,
    events: Vec<Row<'a>>,
    times: Vec<Times>,
    objects: Vec<Object>,
}

#[derive(Serialize)]
struct Row<'a> {
    after: String,
    event: &'a Event,
}

#[derive(Serialize)]
struct Object {
    name: String,
    size: String,
    text: String,
    cut: Option<String>,
}

pub fn run(record: &Record, logs: &[Log]) -> anyhow::Result<String> {
    let start = start(record);
    let view = View {
        name: title(record),
        title: format!("{}: {}", title(record), record.status.name()),
        record,
        words: words(record),
        tone: tone(record.status),
        figures: figures(record),
        timeline: timeline(record),
        logs: views(record, logs)?,
        events: record.events.iter().map(|event| row(event, start)).collect(),
        times: times(record, start),
        objects: objects(&record.objects)?,
    };
    fill("run.html", &view)
}

fn title(record: &Record) -> &str {
    if record.name.is_empty() { named(&record.run_id) } else { &record.name }
}

fn words(record: &Record) -> &'static str {
    match record.status {
        Status::Starting => "It was being made when this was written.",
        Status::Up => "Its databases are ready, and nobody has removed it yet.",
        Status::Done => "Its databases were ready, and it was removed.",
        Status::Failed if record.databases.is_empty() => "It failed before any database was known.",
        Status::Failed if record.ready.is_none() => "Not all of its databases became ready.",
        Status::Failed => "Its databases were ready, and what was done with them failed.",
        Status::Cancelled => "Somebody interrupted it.",
        Status::Abandoned => "Whoever made it did not remove it.",
    }
}

/// The style's class of a status.
pub(super) fn tone(status: Status) -> &'static str {
    match status {
        Status::Up | Status::Done => "good",
        Status::Failed => "bad",
        Status::Cancelled | Status::Abandoned => "odd",
        Status::Starting => "open",
    }
}

fn figures(record: &Record) -> Vec<(&'static str, String)> {
    let mut figures = Vec::new();
    let mut add = |label, value: Option<String>| figures.extend(value.map(|value| (label, value)));
    let since = |to: Time, from: Time| brief(to.since(from));
    if !record.databases.is_empty() {
        match record.ready {
            Some(ready) => add("All ready after", Some(since(ready, record.began))),
            None => add("All ready", Some(if record.is_over() { "never" } else { "not yet" }.to_owned())),
        }
    }
    add("Lasted", record.ended.map(|ended| since(ended, record.began)));
    if let Some(command) = &record.command {
        add("Command took", command.began.zip(command.ended).map(|(began, ended)| since(ended, began)));
        add("Exit code", command.exit_code.map(|code| code.to_string()));
    }
    add("Databases", Some(record.databases.len().to_string()));
    let restarts: u32 = record.databases.iter().map(|database| database.restarts).sum();
    add("Restarts", (restarts > 0).then(|| restarts.to_string()));
    figures
}

fn row(event: &Event, start: Time) -> Row<'_> {
    Row { after: event.at.map_or_else(|| "no time".to_owned(), |at| brief(at.since(start))), event }
}

fn objects(objects: &[Value]) -> anyhow::Result<Vec<Object>> {
    let mut room = OBJECTS;
    let mut shown = Vec::new();
    for value in objects {
        let object = object(value, room.min(OBJECT))?;
        room -= object.text.len();
        shown.push(object);
    }
    Ok(shown)
}

fn object(object: &Value, room: usize) -> anyhow::Result<Object> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let yaml = yaml::write(object)?;
    let shown = yaml.floor_char_boundary(room.min(yaml.len()));
    let left = yaml.len() - shown;
    Ok(Object {
        name: format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"])),
        size: size(yaml.len() as u64),
        text: yaml[..shown].to_owned(),
        cut: (left > 0).then(|| format!("{} more are left out here", size(left as u64))),
    })
}

#[cfg(test)]
mod tests;
