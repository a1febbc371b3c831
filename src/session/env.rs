//! `testbed env`: prints the variables of a run that is up, for the shell that reads them.

use super::standing::Standing;
use super::{pooled, work};
use crate::cli::{Env, Global};
use crate::console;
use crate::environment::is_in_pod;
use crate::output;
use crate::progress::Progress;

/// Prints what a command of `exec` would get.
pub(crate) async fn env(args: &Env, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let run = Standing::find(&args.which, global)?;
    let model = run.model(&args.databases)?;
    let names = run.names(&args.own, &model, progress)?;
    let mut environment = work::variables(&model, &names, run.config(), Some(&run.folder_for(&model)?))?;
    pooled::tell(None, Some(run.folder()), &run.record.run_id, &mut environment);
    let told = output::json::Told { model: &model, location: run.record.location(), config: run.config() };
    console::print(&args.format.text(&environment, &told)?)?;
    if let Some(location) = run.record.location()
        && !is_in_pod()
    {
        progress.say(&format!(
            "note: these addresses are for pods in namespace {}; from here `testbed exec` and `testbed connect` get there",
            location.namespace
        ));
    }
    Ok(())
}
