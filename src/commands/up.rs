//! `testbed up`: creates databases, waits until every one is ready, and writes the config file.

use super::config::Config;
use super::plan::Plan;
use super::runtime::runtime;
use super::{archiving, choice, cluster, local, progress};
use crate::cli::{Global, Runtime, Up};
use crate::failure::usage;
use crate::output::ResultFile;

pub(super) async fn up(args: Up, global: &Global) -> anyhow::Result<()> {
    let progress = progress(global);
    let (runtime, why) = runtime(global)?;
    let recorder = archiving::open(&args.making.archiving)?;
    let config = Config::new(&args.making)?;
    if config.path().is_none() && args.result.iter().any(ResultFile::needs_config_file) {
        return Err(usage("--result config=FILE tells where the config file is, and --output - writes none"));
    }
    args.result.iter().try_for_each(ResultFile::check)?;
    let plan = Plan::make(&args.making.source)?;
    config.check(&plan)?;
    plan.warnings.iter().for_each(|warning| progress.warn(warning));
    let outcome = match runtime {
        Runtime::Local => local::up::up(args, config, plan, why, &recorder, &progress).await,
        Runtime::Kubernetes => {
            plan.refused.check()?;
            cluster::up::up(args, config, plan, choice(global), &recorder, &progress).await
        }
    };
    recorder.finish(&progress).await;
    outcome
}
