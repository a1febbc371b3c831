//! `testbed history show`

mod text;

use super::{Kept, html, which};
use crate::cli::{HistoryFormat, HistoryShow};
use crate::console;
use crate::history::page;
use crate::progress::Progress;
use crate::time::Time;

/// Prints one run's record.
///
/// # Errors
/// There is no such run; a store that cannot be read.
pub(super) async fn show(args: &HistoryShow, kept: &Kept, progress: &Progress) -> anyhow::Result<()> {
    let run = args.run.as_deref();
    let Some(store) = kept.store().await? else { return Err(which::missing(None, kept)) };
    let record = which::record(run, &store, kept, progress).await?;
    if let Some(path) = &args.html {
        let logs = store.logs(&record.id).await?;
        return html::write(path, &page::run(&record, &logs)?, progress);
    }
    match args.output {
        HistoryFormat::Text => console::show(&text::text(&record, Time::now())),
        HistoryFormat::Json => console::print(&(serde_json::to_string_pretty(&record)? + "\n")),
    }
}
