//! `testbed fork`: further databases of a run that is up, copies of what one of them holds now.

use super::standing::Standing;
use super::{archiving, interrupted, local, work};
use crate::cli::{Fork, ForkFormat, Global};
use crate::console;
use crate::deadline;
use crate::output::json::Told;
use crate::output::{Model, Names};
use crate::progress::Progress;

/// Makes them, and prints how they are reached.
///
/// # Errors
/// It is no server of this machine; somebody is connected to it; why a fork does not start.
pub(crate) async fn fork(args: Fork, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let run = Standing::find(&args.which, global)?;
    let database = run.server_here(args.database.as_deref(), "fork")?;
    let recorder = archiving::open(&args.archiving)?;
    let task = local::restart::Task {
        command: "fork",
        database: &database,
        deadline: deadline::after(args.timeout),
        timeout: args.timeout,
        recorder: &recorder,
        progress,
    };
    let made = local::fork::fork(&run.record, task, usize::from(args.count), args.force, interrupted()).await;
    recorder.finish(progress).await;
    progress.finish();
    let mut databases = made?;
    // Beside nothing else they are not aside.
    databases.iter_mut().for_each(|database| database.is_fork = false);
    let model = Model { run_id: run.record.run_id.clone(), databases };
    if args.output == ForkFormat::Json {
        let environment = work::variables(&model, &Names::default(), None, Some(&run.folder_for(&model)?))?;
        return console::print(&Told { model: &model, location: None, config: None }.json(&environment)?);
    }
    let urls = model.databases.iter().map(|database| format!("{}\n", database.url));
    console::print(&urls.collect::<String>())
}
