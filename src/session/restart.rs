//! `testbed restart`: stops a database's server and starts it again, with its data.

use super::standing::Standing;
use super::{archiving, cluster, interrupted, local};
use crate::cli::{Global, Restart};
use crate::deadline;
use crate::failure::usage;
use crate::progress::Progress;
use crate::registry::Place;

/// Restarts it wherever it is, and waits until it takes the tests' login.
///
/// # Errors
/// It is no server, or cannot be stopped; why it does not come back.
pub(crate) async fn restart(args: Restart, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let run = Standing::find(&args.which, global)?;
    let database = run.one(args.database.as_deref(), "restart")?;
    if database.host.is_none() {
        return Err(usage(format!("{} is {}, which has no server", database.name, database.engine)));
    }
    let deadline = deadline::after(args.timeout);
    let restarted = match &run.record.place {
        Place::Local(_) => {
            let recorder = archiving::open(&args.archiving)?;
            let restart =
                local::restart::restart(&run.record, &database, &args, deadline, &recorder, progress);
            let restarted = tokio::select! {
                restarted = restart => restarted,
                error = interrupted() => Err(error),
            };
            recorder.finish(progress).await;
            restarted
        }
        Place::Kubernetes(location) => {
            let restart = cluster::restart::restart(
                location,
                &run.record,
                &database,
                (deadline, args.timeout),
                global,
                progress,
            );
            tokio::select! {
                restarted = restart => restarted,
                error = interrupted() => Err(error),
            }
        }
    };
    progress.finish();
    restarted?;
    progress.say(&format!("{} is ready again", database.name));
    Ok(())
}
