//! `testbed up`: creates databases, waits until every one is ready, and writes the config file.

use super::config::Config;
use super::plan::Plan;
use super::runtime::runtime;
use super::{choice, cluster, local, progress};
use crate::cli::{Global, Runtime, Up};

pub async fn up(args: Up, global: &Global) -> anyhow::Result<()> {
    let progress = progress(global);
    let (runtime, why) = runtime(global)?;
    let config = Config::new(&args)?;
    let plan = Plan::make(&args.source)?;
    config.check(&plan)?;
    plan.warnings.iter().for_each(|warning| progress.warn(warning));
    match runtime {
        Runtime::Local => local::up::up(args, config, plan, why, &progress).await,
        Runtime::Kubernetes => cluster::up::up(args, config, plan, choice(global), &progress).await,
    }
}
