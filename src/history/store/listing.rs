//! Questions about many runs: which ones, from the newest to the oldest, a page at a time.

use anyhow::Context;

use super::value::{Row, Statement, Value};
use crate::history::query::{Cursor, Filter, Summary};
use crate::history::record::Status;
use crate::time::Time;

/// The columns that [`summary`] reads.
const SUMMARY: &str = "r.id, r.run_id, r.name, r.status, r.cause, r.runtime, r.namespace, r.pipeline_run, r.engines, r.began, r.ready, r.ended";

pub(super) fn page(filter: &Filter, after: Option<&Cursor>, limit: usize) -> Statement {
    select(SUMMARY, "", filter, after, limit)
}

/// Asks for whole records, without their objects and events.
pub(super) fn whole(filter: &Filter, limit: usize) -> Statement {
    select("r.id, s.story", "JOIN testbed.stories s ON s.id = r.id", filter, None, limit)
}

/// A page is found by where it begins, not by how many come before: a late one is as fast as the first.
fn select(columns: &str, join: &str, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Statement {
    let mut conditions = Conditions::default();
    let is_narrowed =
        !filter.status.is_empty() || filter.namespace.is_some() || filter.pipeline_run.is_some();
    let (from, by) = match &filter.engine {
        // Goes along the order of the engine's own runs: there may be none for a long time among all of them.
        Some(engine) if !is_narrowed => {
            conditions.add(|n| format!("e.engine = ${n}"), engine.as_str());
            ("testbed.engines e JOIN testbed.runs r ON r.id = e.id", "e")
        }
        // Goes along the order of what narrows it, and not from table to table, which would be slower.
        Some(engine) => {
            conditions.add(
                |n| format!("strpos(r.engines, ${n}) > 0"),
                serde_json::Value::from(engine.as_str()).to_string().as_str(),
            );
            ("testbed.runs r", "r")
        }
        None => ("testbed.runs r", "r"),
    };
    if let Some(since) = filter.since {
        conditions.add(|n| format!("{by}.began >= ${n}"), since.millis());
    }
    if let Some(Cursor { began, id }) = after {
        let first = conditions.value(began.millis());
        conditions.add(|n| format!("({by}.began, {by}.id) < (${first}, ${n})"), id.as_str());
    }
    if !filter.status.is_empty() {
        let statuses: Vec<String> =
            filter.status.iter().map(|status| format!("${}", conditions.value(status.name()))).collect();
        conditions.texts.push(format!("r.status IN ({})", statuses.join(", ")));
    }
    if let Some(namespace) = &filter.namespace {
        conditions.add(|n| format!("r.namespace = ${n}"), namespace.as_str());
    }
    if let Some(pipeline_run) = &filter.pipeline_run {
        let name = conditions.value(pipeline_run.as_str());
        conditions.add(
            |n| format!("(r.pipeline_run = ${name} OR r.pipeline_run_uid = ${n})"),
            pipeline_run.as_str(),
        );
    }
    let limit = conditions.value(i64::try_from(limit).unwrap_or(i64::MAX));
    let texts = if conditions.texts.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.texts.join(" AND "))
    };
    let sql = format!(
        "SELECT {columns} FROM {from} {join} {texts} ORDER BY {by}.began DESC, {by}.id DESC LIMIT ${limit}"
    );
    Statement::new(sql, conditions.values)
}

/// Asks for the newest records whose id, or whose run's id, begins with these letters.
pub(super) fn beginning(letters: &str) -> Statement {
    let end = format!("{letters}{}", char::MAX);
    let sql = format!(
        "SELECT {SUMMARY} FROM testbed.runs r WHERE (r.id >= $1 AND r.id < $2) OR (r.run_id >= $3 AND r.run_id < $4) \
         ORDER BY r.began DESC, r.id DESC LIMIT 100"
    );
    Statement::new(sql, vec![letters.into(), end.as_str().into(), letters.into(), end.as_str().into()])
}

/// Runs of this machine that have no end. Of those of old, only the few that were not over by their status.
pub(super) fn open_here(since: Time) -> Statement {
    let sql = format!(
        "SELECT {SUMMARY} FROM testbed.runs r WHERE r.ended IS NULL AND r.runtime = $1 AND (r.began >= $2 OR r.status IN ($3, $4)) \
         ORDER BY r.began DESC, r.id DESC LIMIT 100"
    );
    Statement::new(
        sql,
        vec!["local".into(), since.millis().into(), Status::Starting.name().into(), Status::Up.name().into()],
    )
}

#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a value, and tells its number.
    fn value(&mut self, value: impl Into<Value>) -> usize {
        self.values.push(value.into());
        self.values.len()
    }

    fn add(&mut self, text: impl FnOnce(usize) -> String, value: impl Into<Value>) {
        let number = self.value(value);
        self.texts.push(text(number));
    }
}

pub(super) fn summary(mut row: Row) -> anyhow::Result<Summary> {
    let id = row.text(0).context("reading a record")?;
    columns(&mut row, &id).with_context(|| format!("reading record {id}"))
}

fn columns(row: &mut Row, id: &str) -> anyhow::Result<Summary> {
    let status = row.text(3)?;
    let unreadable =
        |what: &str| format!("record {id} has {what} that this version of testbed does not know");
    Ok(Summary {
        run_id: row.text(1)?,
        name: row.text(2)?,
        status: Status::parse(&status).with_context(|| unreadable(&format!("the status {status}")))?,
        cause: row
            .text_or_none(4)?
            .map(|json| serde_json::from_str(&json))
            .transpose()
            .with_context(|| unreadable("a cause"))?,
        runtime: row.text(5)?,
        namespace: row.text_or_none(6)?,
        pipeline_run: row.text_or_none(7)?,
        engines: serde_json::from_str(&row.text(8)?).with_context(|| unreadable("engines"))?,
        began: Time::from_millis(row.number(9)?),
        ready: row.number_or_none(10)?.map(Time::from_millis),
        ended: row.number_or_none(11)?.map(Time::from_millis),
        id: id.to_owned(),
    })
}
