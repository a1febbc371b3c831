//! `testbed history report`

use std::time::Duration;

use super::{Kept, list, write_page};
use crate::cli::{Global, HistoryFormat, HistoryReport};
use crate::console;
use crate::history::page::report::{self, Report};
use crate::history::query::Filter;
use crate::progress::Progress;
use crate::time::Time;

const MOST: usize = 10_000;

/// How far back a report goes unless told.
const USUAL: Duration = Duration::from_hours(7 * 24);

pub(super) async fn report(
    args: &HistoryReport,
    global: &Global,
    kept: &Kept,
    progress: &Progress,
) -> anyhow::Result<()> {
    let now = Time::now();
    let filter = list::filter(&args.wanted, global, now);
    let since = filter.since.unwrap_or_else(|| now.before(USUAL));
    let records = match kept.store_or_tell(progress).await? {
        Some(store) => store.whole(&Filter { since: Some(since), ..filter }, MOST).await?,
        None => Vec::new(),
    };
    if records.len() == MOST {
        progress.say(&format!("only the newest {MOST} runs are counted"));
    }
    let report = Report::of(&records, since, now);
    if let Some(path) = &args.html {
        return write_page(path, &report::html(&report)?, progress);
    }
    match args.output {
        HistoryFormat::Text => console::show(&report.text()),
        HistoryFormat::Json => console::print(&console::json(&report)?),
    }
}
