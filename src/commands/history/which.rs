//! Which run is meant: by its id or its record's, the first letters of either, or nothing for the newest.

use std::collections::BTreeSet;

use anyhow::anyhow;

use super::{Kept, words};
use crate::failure::Advise;
use crate::history::query::{Filter, Summary};
use crate::history::record::Record;
use crate::history::store::Store;
use crate::progress::Progress;
use crate::time::Time;

/// From so many letters on they may stand for the whole id.
const LETTERS: usize = 4;

/// What a question about a run that is not there fails with.
const HINT: &str = "testbed history list shows the runs that are kept";

/// Tells of others with the same run id; fails where the letters fit several runs.
pub(super) async fn find(
    run: Option<&str>,
    store: &Store,
    progress: &Progress,
) -> anyhow::Result<Option<Record>> {
    let Some(run) = run else {
        let newest = store.list(&Filter::default(), None, 1).await?;
        return match newest.first() {
            Some(newest) => Ok(store.find(&newest.id).await?.into_iter().next()),
            None => Ok(None),
        };
    };
    let mut found = store.find(run).await?;
    if found.is_empty() && run.chars().count() >= LETTERS {
        match meant(run, &store.beginning(run).await?)? {
            Some(id) => found = store.find(&id).await?,
            None => return Ok(None),
        }
    }
    let mut found = found.into_iter();
    let Some(record) = found.next() else { return Ok(None) };
    let others: Vec<Record> = found.collect();
    if !others.is_empty() {
        progress.say(&of_others(&record, &others, Time::now()));
    }
    Ok(Some(record))
}

/// The id of the run, or of the record, that these letters are the beginning of.
fn meant(letters: &str, found: &[Summary]) -> anyhow::Result<Option<String>> {
    let ids = found.iter().map(|run| if run.run_id.starts_with(letters) { &run.run_id } else { &run.id });
    let ids: BTreeSet<&String> = ids.collect();
    if ids.len() > 1 {
        let some: Vec<&str> = ids.iter().take(5).map(|id| id.as_str()).collect();
        let more = if ids.len() > some.len() { ", ..." } else { "" };
        return Err(anyhow!("{letters} is the beginning of several: {}{more}", some.join(", ")))
            .hint("write more of the one that is meant");
    }
    Ok(ids.first().map(ToString::to_string))
}

pub(super) fn missing(run: Option<&str>, kept: &Kept) -> anyhow::Error {
    match run {
        None => anyhow!("{}", kept.nothing()),
        Some(run) => anyhow!("run {run} is not in {}", kept.place).hint(HINT),
    }
}

fn of_others(record: &Record, others: &[Record], now: Time) -> String {
    let each: Vec<String> = others
        .iter()
        .take(5)
        .map(|other| format!("{} ({})", other.id, words::ago(other.began, now)))
        .collect();
    let more = if others.len() > each.len() { ", ..." } else { "" };
    format!("this is the newest run with the id {}; older: {}{more}", record.run_id, each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, run_id: &str) -> Summary {
        Summary { id: id.into(), run_id: run_id.into(), ..Summary::default() }
    }

    #[test]
    fn letters_stand_for_one_run() {
        let twice = [run("0198c0de-1", "build-17"), run("0198c0de-2", "build-17")];
        assert_eq!(meant("build-1", &twice).unwrap().as_deref(), Some("build-17"), "it is the same run");
        assert_eq!(meant("0198c0de-1", &twice[..1]).unwrap().as_deref(), Some("0198c0de-1"));
        assert_eq!(meant("build-1", &[]).unwrap(), None);
        let error = meant("0198c0de", &twice).unwrap_err();
        assert_eq!(format!("{error:#}"), "0198c0de is the beginning of several: 0198c0de-1, 0198c0de-2");
    }
}
