//! `testbed restart`: stops a database's server and starts it again, with its data.

use std::time::Duration;

use anyhow::anyhow;

use super::standing::Standing;
use super::{archiving, cluster, interrupted, local};
use crate::cli::{Global, Restart};
use crate::deadline;
use crate::failure::{Advise, Exit, usage};
use crate::output::Connection;
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
            let task = local::restart::Task {
                command: "restart",
                database: &database,
                deadline,
                timeout: args.timeout,
                recorder: &recorder,
                progress,
            };
            let restarted = local::restart::restart(&run.record, task, interrupted()).await;
            recorder.finish(progress).await;
            restarted
        }
        Place::Kubernetes(location) => {
            cluster::restart::restart(
                location,
                &run.record,
                &database,
                (deadline, args.timeout),
                interrupted(),
                global,
                progress,
            )
            .await
        }
    };
    progress.finish();
    restarted?;
    progress.say(&format!("{} is ready again", database.name));
    Ok(())
}

/// The error of a restart whose time is over.
pub(super) fn late(database: &Connection, within: Duration) -> anyhow::Error {
    let time = humantime::format_duration(within);
    anyhow!("{} is not ready again within {time}", database.name).exit(Exit::NotReady)
}
