//! `testbed down`: deletes one run's objects and waits until they are gone.

use super::{choice, interrupted, progress};
use crate::cli::{Down, Global};
use crate::failure::{Advise, usage};
use crate::run_id::RunId;
use crate::runtime::kubernetes::{Choice, Cluster, teardown};
use crate::state::Remembered;

pub async fn down(args: Down, global: &Global) -> anyhow::Result<()> {
    let progress = progress(global);
    let remembered = Remembered::here();
    let run_id = match (&args.run_id, &remembered) {
        (Some(given), _) => RunId::parse(given)?,
        (None, Some(remembered)) => RunId::parse(&remembered.run_id)?,
        (None, None) => return Err(usage("no `up` in this folder is remembered")).hint("pass --run-id; testbed status lists the runs"),
    };
    let ours = remembered.filter(|remembered| remembered.run_id == run_id.as_str());
    let cluster = Cluster::connect(&with_memory(choice(global), ours.as_ref())).await?;
    progress.explain(&format!("run {run_id} in namespace {} of {} ({})", cluster.namespace, cluster.server, cluster.source));

    let work = teardown::tear_down(&cluster, &run_id, args.grace_period, args.timeout, |text| progress.say(text));
    let count = tokio::select! {
        count = work => count?,
        error = interrupted() => return Err(error).hint(format!("some of the run may be left; run testbed down --run-id {run_id} again")),
    };
    Remembered::forget_run(&run_id);
    progress.say(&match count {
        0 => format!("run {run_id} has no objects in namespace {}: nothing to do", cluster.namespace),
        _ => format!("run {run_id} is gone ({count} objects)"),
    });
    Ok(())
}

/// Flags win; what is not given comes from the `up` that made the run.
fn with_memory(choice: Choice, remembered: Option<&Remembered>) -> Choice {
    let Some(remembered) = remembered else { return choice };
    let same_cluster = choice.kubeconfig.is_none() && choice.context.is_none();
    Choice {
        kubeconfig: choice.kubeconfig.or_else(|| remembered.kubeconfig.clone().filter(|_| same_cluster)),
        context: choice.context.or_else(|| remembered.context.clone().filter(|_| same_cluster)),
        namespace: choice.namespace.or_else(|| Some(remembered.namespace.clone()).filter(|_| same_cluster)),
    }
}
