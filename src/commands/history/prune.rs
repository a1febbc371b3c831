//! `testbed history prune`

use serde_json::json;

use super::Kept;
use crate::cli::{HistoryFormat, HistoryPrune};
use crate::console;
use crate::failure::{Advise, usage};
use crate::history::query::{Pruned, Retention};
use crate::history::record::VERSION;
use crate::progress::Progress;
use crate::words::{count, size};

pub(super) async fn prune(args: &HistoryPrune, kept: &Kept, progress: &Progress) -> anyhow::Result<()> {
    let retention = Retention { older_than: args.older_than, keep: args.keep };
    if retention.older_than.is_none() && retention.keep.is_none() {
        return Err(usage("there is no rule for what goes"))
            .hint("pass --older-than 30d, --keep 1000, or both");
    }
    let pruned = match kept.store_or_tell(progress).await? {
        Some(store) => store.prune(&retention, args.dry_run).await?,
        None => Pruned::default(),
    };
    match args.output {
        HistoryFormat::Text => progress.say(&sentence(&pruned, args.dry_run)),
        HistoryFormat::Json => {
            let mut answer = json!({"version": VERSION, "dryRun": args.dry_run});
            if let (Some(answer), serde_json::Value::Object(pruned)) =
                (answer.as_object_mut(), serde_json::to_value(pruned)?)
            {
                answer.extend(pruned);
            }
            console::print(&console::json(&answer)?)?;
        }
    }
    Ok(())
}

fn sentence(pruned: &Pruned, dry_run: bool) -> String {
    let verb = if dry_run { "would forget" } else { "forgot" };
    let verb_rest = if dry_run { "would stay" } else { if pruned.left == 1 { "stays" } else { "stay" } };
    let space = match (pruned.bytes_before, pruned.bytes_after) {
        (Some(before), Some(after)) if !dry_run => {
            format!("; {} given back, {} in use", size(before.saturating_sub(after)), size(after))
        }
        _ => String::new(),
    };
    format!(
        "{verb} {}, {} {verb_rest}{space}",
        count(usize::try_from(pruned.records).unwrap_or(usize::MAX), "run"),
        pruned.left
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_and_what_stays_is_told() {
        let pruned = Pruned { records: 1, left: 2, bytes_before: Some(8 << 20), bytes_after: Some(1 << 20) };
        assert_eq!(sentence(&pruned, false), "forgot 1 run, 2 stay; 7 MiB given back, 1 MiB in use");
        assert_eq!(sentence(&pruned, true), "would forget 1 run, 2 would stay");
        assert_eq!(
            sentence(&Pruned { records: 3, left: 1, ..Pruned::default() }, false),
            "forgot 3 runs, 1 stays"
        );
    }
}
