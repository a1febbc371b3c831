//! How a record and its logs become rows, and come back from them.

use std::collections::BTreeSet;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::value::{Row, Statement, Value};
use crate::history::log::{self, Log};
use crate::history::record::{Event, LogInfo, Record};

/// The most records that one question for a run is answered with.
const MOST: i64 = 100;

/// What [`record`] reads.
const WHOLE: &str =
    "SELECT r.id, s.story, s.details FROM testbed.runs r JOIN testbed.stories s ON s.id = r.id";

/// What is stored apart from the rest, because only one who looks at a single run wants to see it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Details {
    objects: Vec<Json>,
    events: Vec<Event>,
}

pub(super) fn one(id: &str) -> Statement {
    Statement::new(format!("{WHOLE} WHERE r.id = $1"), vec![id.into()])
}

pub(super) fn find(run: &str) -> Statement {
    let sql = format!("{WHOLE} WHERE r.id = $1 OR r.run_id = $2 ORDER BY r.began DESC, r.id DESC LIMIT $3");
    Statement::new(sql, vec![run.into(), run.into(), MOST.into()])
}

pub(super) fn unfinished(run_id: &str, namespace: &str) -> Statement {
    let sql = format!(
        "{WHOLE} WHERE r.run_id = $1 AND r.runtime = $2 AND r.namespace = $3 AND r.ended IS NULL \
         ORDER BY r.began DESC, r.id DESC LIMIT 1"
    );
    Statement::new(sql, vec![run_id.into(), "kubernetes".into(), namespace.into()])
}

/// Asks for the logs of a record, an older one of a container before the newer.
pub(super) fn logs(id: &str) -> Statement {
    let sql = "SELECT info, gzip FROM testbed.logs WHERE id = $1 ORDER BY source, container, previous DESC";
    Statement::new(sql, vec![id.into()])
}

pub(super) fn log_infos(id: &str) -> Statement {
    let sql = "SELECT info FROM testbed.logs WHERE id = $1 ORDER BY source, container, previous DESC";
    Statement::new(sql, vec![id.into()])
}

pub(super) fn record(mut row: Row) -> anyhow::Result<Record> {
    let details = row.bytes_or_none(2);
    let mut record = without_details(row)?;
    let details = details.with_context(|| format!("reading the objects of record {}", record.id))?;
    if let Some(gzip) = details {
        let json = log::decompress(&gzip)
            .with_context(|| format!("the objects of record {} are damaged", record.id))?;
        let details: Details = serde_json::from_slice(&json)
            .with_context(|| format!("reading the objects of record {}", record.id))?;
        (record.objects, record.events) = (details.objects, details.events);
    }
    Ok(record)
}

pub(super) fn without_details(mut row: Row) -> anyhow::Result<Record> {
    let id = row.text(0).context("reading a record")?;
    let story = row.text(1).with_context(|| format!("reading record {id}"))?;
    serde_json::from_str(&story)
        .with_context(|| format!("reading record {id}, which a newer testbed may have written"))
}

pub(super) fn log(mut row: Row) -> anyhow::Result<Log> {
    let info = log_info(&mut row)?;
    let gzip = row.bytes_or_none(1).with_context(|| format!("reading the stored log of {}", info.source))?;
    Ok(Log { info, gzip: gzip.unwrap_or_default() })
}

pub(super) fn log_info(row: &mut Row) -> anyhow::Result<LogInfo> {
    let read = row.text(0).and_then(|text| Ok(serde_json::from_str(&text)?));
    read.context("reading what a log is about")
}

/// Writes a record and adds logs. Afterwards the record names all logs that are stored with it.
pub(super) fn write(
    mut record: Record,
    logs: Vec<Log>,
    stored: Vec<LogInfo>,
) -> anyhow::Result<Vec<Statement>> {
    for info in stored.into_iter().chain(logs.iter().map(|log| log.info.clone())) {
        match record.logs.iter_mut().find(|known| is_same(known, &info)) {
            Some(known) => *known = info,
            None => record.logs.push(info),
        }
    }
    let engines: BTreeSet<&str> = record.databases.iter().map(|database| database.engine.as_str()).collect();
    let mut statements = vec![
        summary(&record, &engines)?,
        Statement::new("DELETE FROM testbed.engines WHERE id = $1", vec![record.id.as_str().into()]),
    ];
    statements.extend(engines.into_iter().map(|engine| {
        let sql = "INSERT INTO testbed.engines (id, engine, began) VALUES ($1, $2, $3)";
        Statement::new(sql, vec![record.id.as_str().into(), engine.into(), record.began.millis().into()])
    }));
    for log in logs {
        statements.push(insert_log(&record.id, log)?);
    }
    statements.push(insert_story(record)?);
    Ok(statements)
}

fn is_same(one: &LogInfo, other: &LogInfo) -> bool {
    (&one.source, &one.container, one.previous) == (&other.source, &other.container, other.previous)
}

fn summary(record: &Record, engines: &BTreeSet<&str>) -> anyhow::Result<Statement> {
    let cause = record.cause.as_ref().map(serde_json::to_string).transpose()?;
    let columns: [(&str, Value); 13] = [
        ("id", record.id.as_str().into()),
        ("run_id", record.run_id.as_str().into()),
        ("name", record.name.as_str().into()),
        ("status", record.status.name().into()),
        ("cause", cause.as_deref().into()),
        ("runtime", record.runtime.as_str().into()),
        ("namespace", record.origin.namespace.as_deref().into()),
        ("pipeline_run", record.origin.pipeline_run.as_deref().into()),
        ("pipeline_run_uid", record.origin.pipeline_run_uid.as_deref().into()),
        ("engines", serde_json::to_string(engines)?.as_str().into()),
        ("began", record.began.millis().into()),
        ("ready", record.ready.map(crate::time::Time::millis).into()),
        ("ended", record.ended.map(crate::time::Time::millis).into()),
    ];
    Ok(upsert("testbed.runs", &["id"], columns))
}

fn insert_story(mut record: Record) -> anyhow::Result<Statement> {
    let details =
        Details { objects: std::mem::take(&mut record.objects), events: std::mem::take(&mut record.events) };
    let is_empty = details.objects.is_empty() && details.events.is_empty();
    let gzip = if is_empty { None } else { Some(log::compress(&serde_json::to_vec(&details)?)) };
    let story = serde_json::to_string(&record)?;
    let columns =
        [("id", record.id.as_str().into()), ("story", story.as_str().into()), ("details", gzip.into())];
    Ok(upsert("testbed.stories", &["id"], columns))
}

fn insert_log(id: &str, Log { info, gzip }: Log) -> anyhow::Result<Statement> {
    let columns = [
        ("id", id.into()),
        ("source", info.source.as_str().into()),
        ("container", info.container.as_str().into()),
        ("previous", i64::from(info.previous).into()),
        ("info", serde_json::to_string(&info)?.as_str().into()),
        ("gzip", gzip.into()),
    ];
    Ok(upsert("testbed.logs", &["id", "source", "container", "previous"], columns))
}

/// Inserts a row, or replaces the one with that key.
fn upsert<const N: usize>(table: &str, key: &[&str], columns: [(&str, Value); N]) -> Statement {
    let names = columns.each_ref().map(|(name, _)| *name);
    let numbers: Vec<String> = (1..=N).map(|number| format!("${number}")).collect();
    let changed: Vec<String> = names
        .iter()
        .filter(|name| !key.contains(name))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let (names, numbers, key, changed) =
        (names.join(", "), numbers.join(", "), key.join(", "), changed.join(", "));
    let sql = format!(
        "INSERT INTO {table} ({names}) VALUES ({numbers}) ON CONFLICT ({key}) DO UPDATE SET {changed}"
    );
    Statement::new(sql, columns.into_iter().map(|(_, value)| value).collect())
}
