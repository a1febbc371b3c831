//! Which run is meant by what a user types: the run's id, its record's id, the first letters of either, or nothing for the newest.

use anyhow::anyhow;

use super::{Kept, words};
use crate::failure::Advise;
use crate::history::query::Filter;
use crate::history::record::Record;
use crate::history::store::Store;
use crate::history::time::Time;
use crate::progress::Progress;

/// From so many letters on they may stand for the whole id.
const LETTERS: usize = 8;

/// What a question about a run that is not there fails with.
const HINT: &str = "testbed history list shows the runs that are kept";

/// The record that is meant. Tells of others with the same run id.
///
/// # Errors
/// There is none, or the letters fit several runs.
pub async fn record(run: Option<&str>, store: &Store, kept: &Kept, progress: &Progress) -> anyhow::Result<Record> {
    match find(run, store, progress).await? {
        Some(record) => Ok(record),
        None => Err(missing(run, kept)),
    }
}

/// The same where there may be none.
///
/// # Errors
/// The letters fit several runs.
pub async fn find(run: Option<&str>, store: &Store, progress: &Progress) -> anyhow::Result<Option<Record>> {
    let Some(run) = run else {
        let newest = store.list(&Filter::default(), None, 1).await?;
        return match newest.first() {
            Some(newest) => Ok(store.find(&newest.id).await?.into_iter().next()),
            None => Ok(None),
        };
    };
    let mut found = store.find(run).await?.into_iter();
    let Some(record) = found.next() else { return Ok(None) };
    let others: Vec<Record> = found.collect();
    if !others.is_empty() {
        progress.say(&of_others(&record, &others, Time::now()));
    }
    Ok(Some(record))
}

/// The error about a run that is not kept.
pub fn missing(run: Option<&str>, kept: &Kept) -> anyhow::Error {
    let error = match run {
        None => anyhow!("{}", kept.nothing()),
        Some(run) => anyhow!("run {run} is not in {}", kept.place),
    };
    Err::<(), _>(error).hint(HINT).unwrap_err()
}

fn of_others(record: &Record, others: &[Record], now: Time) -> String {
    let each: Vec<String> = others.iter().take(5).map(|other| format!("{} ({})", other.id, words::ago(other.began, now))).collect();
    let more = if others.len() > each.len() { ", ..." } else { "" };
    format!("this is the newest run with the id {}; older: {}{more}", record.run_id, each.join(", "))
}
