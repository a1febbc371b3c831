//! `testbed run`: databases up, a command with their addresses in its environment, and always down again.

mod kubernetes;
mod leftovers;
mod local;
mod note;
pub(super) mod work;

use super::config::Config;
use super::plan::Plan;
use super::runtime::runtime;
use super::{archiving, choice, program, progress};
use crate::cli::{Global, OnFailure, Run, Runtime};
use crate::output;

use super::attend::Signals;

/// The exit code is the command's own.
pub(super) async fn run(mut args: Run, global: &Global) -> anyhow::Result<u8> {
    let progress = progress(global);
    let (runtime, why) = runtime(global)?;
    if args.keep_on_failure {
        args.making.on_failure.get_or_insert(OnFailure::Keep);
    }
    let recorder = archiving::open(&args.making.archiving)?;
    let config = Config::for_run(&args.making)?;
    let plan = Plan::make(&args.making.source)?;
    config.check(&plan)?;
    output::check_names(&config.model(&plan, |_, database| (&database.host, database.port)).names())?;
    // Not after half a minute of creating databases.
    if let Err(cannot) = program::look_up(&args.command[0]) {
        return Ok(cannot.report(&args.command[0]));
    }
    plan.warnings.iter().for_each(|warning| progress.warn(warning));
    let signals = Signals::new()?;
    let outcome = match runtime {
        Runtime::Local => local::run(&args, config, plan, why, signals, &recorder, &progress).await,
        Runtime::Kubernetes => {
            plan.refused.check()?;
            kubernetes::run(&args, config, plan, &choice(global), signals, &recorder, &progress).await
        }
    };
    recorder.finish(&progress).await;
    outcome
}
