//! `testbed restore`: a database of a run that is up becomes what it was when `up` had made it, or when a snapshot was
//! taken.

use super::standing::Standing;
use super::{archiving, interrupted, local};
use crate::cli::{Global, Restore};
use crate::deadline;
use crate::progress::Progress;

/// Restores it, and waits until it takes the tests' login.
///
/// # Errors
/// It is no server of this machine; why it could not be made anew, or does not come back.
pub(crate) async fn restore(args: Restore, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let run = Standing::find(&args.which, global)?;
    let database = run.server_here(args.database.as_deref(), "restore")?;
    let recorder = archiving::open(&args.archiving)?;
    let task = local::restart::Task {
        command: "restore",
        database: &database,
        deadline: deadline::after(args.timeout),
        timeout: args.timeout,
        recorder: &recorder,
        progress,
    };
    let restored = local::restore::restore(&run.record, task, args.from.as_deref(), interrupted()).await;
    recorder.finish(progress).await;
    progress.finish();
    restored?;
    match args.from {
        Some(name) => progress.say(&format!("{} is as in the snapshot {name}", database.name)),
        None => progress.say(&format!("{} is as it was made", database.name)),
    }
    Ok(())
}
