//! `testbed exec`: runs a command with the addresses of a run that is up, and leaves that as it is.

use std::collections::BTreeMap;

use super::leftovers::Leftovers;
use super::reached::Reached;
use super::standing::Standing;
use super::{Signals, attend, pooled, program, work};
use crate::bug;
use crate::cli::{Exec, Global};
use crate::pool;
use crate::progress::Progress;
use crate::registry;

/// The exit code is the command's own.
pub(crate) async fn exec(args: Exec, global: &Global, progress: &Progress) -> anyhow::Result<u8> {
    let program = &args.command[0];
    if let Err(cannot) = program::look_up(program) {
        return Ok(cannot.report(program));
    }
    let run = Standing::find(&args.which, global)?;
    let model = run.model(&args.databases)?;
    let names = run.names(&args.own, &model, progress)?;
    let engines = model.databases.iter().map(|one| one.engine);
    pool::check(args.pooling.pool, engines)?;
    let mut signals = Signals::new()?;
    let reached = tokio::select! {
        reached = Reached::open(&run, model, global, progress) => reached?,
        error = signals.interrupted() => return Err(error),
    };
    let mut environment = reached.environment(&run, &names, progress)?;
    // The manifest is not here to tell any.
    let admins = BTreeMap::new();
    let size = pooled::unless_served(args.pooling.pool, Some(run.folder()));
    let served = tokio::select! {
        served = pool::serve(size, &reached.model, &names, &run.record, &admins) => served?,
        error = signals.interrupted() => return Err(error),
    };
    pooled::tell(served.as_ref(), Some(run.folder()), &run.record.run_id, &mut environment);
    let leftovers = Leftovers::of_next_command(&run.record);
    // Whoever comes next ends the command, if this process is killed.
    let noted = registry::Exec::note(run.folder());
    let mark = noted.as_ref().and_then(|noted| noted.mark.split_once('='));
    environment.set.extend(mark.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let running = async {
        match attend::start(&args.command, &environment, &run.record.run_id, &mut signals).await {
            Ok(mut running) => running.attend_with(&leftovers, &mut signals, progress).await,
            Err(cannot) => Ok(cannot.report(program)),
        }
    };
    let outcome = bug::caught(running).await;
    leftovers.end(outcome.is_ok(), progress).await;
    noted.into_iter().for_each(registry::Exec::forget);
    if let Some(served) = served {
        work::clear(served, progress).await;
    }
    outcome
}
