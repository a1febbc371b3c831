//! `testbed down`: removes one run, of this machine or of a cluster, and waits until all of it is gone.

use anyhow::anyhow;
use tokio::time::Instant;

use super::chosen::Chosen;
use super::{abandoned, archiving, interrupted, local, which};
use crate::cli::{Down, Global};
use crate::deadline;
use crate::environment::{is_in_pod, is_set};
use crate::failure::{Advise, Exit, exit_of, usage};
use crate::location::{Beyond, Location};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::recorder::event::Asked;
use crate::registry::{Claim, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::removal::{self, Limit, Removal};
use crate::runtime::kubernetes::teardown::Timeout;
use crate::runtime::kubernetes::{Choice, Cluster};
use crate::runtime::local::remove;

use local::down::Known;

/// Removes a run wherever it is.
///
/// # Errors
/// What is left of it; exit code 5.
pub(crate) async fn down(args: Down, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let recorder = archiving::of_removal(&args.archiving, progress);
    let outcome = take_down(&args, global, &recorder, progress).await;
    recorder.finish(progress).await;
    outcome
}

async fn take_down(
    args: &Down,
    global: &Global,
    recorder: &Recorder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let deadline = deadline::after(args.timeout);
    let registry = Registry::find().map(|registry| registry.by(deadline));
    if let Some(registry) = &registry {
        abandoned::remove(registry, recorder, args.timeout / 2, progress).await;
    }
    let run_ids = match &args.run_id {
        Some(given) => vec![which::to_remove(registry.as_ref(), given)?],
        None => {
            let here = which::here(registry.as_ref(), global)
                .hint("pass --run-id and where the run is, or delete that file")
                .exit(Exit::TeardownIncomplete)?;
            here.iter().map(|record| RunId::parse(&record.run_id)).collect::<Result<_, _>>()?
        }
    };
    if run_ids.is_empty() {
        // A pod remembers nothing of what another one has made.
        if is_in_pod() {
            return Err(usage("no `up` in this folder is remembered"))
                .hint("pass --run-id; testbed status lists the runs");
        }
        // A clean-up may be called twice.
        progress.say(&which::nothing_here(registry.as_ref()));
    }
    let mut outcome = Ok(());
    for run_id in run_ids {
        let removed = remove(&run_id, args, global, registry.as_ref(), recorder, deadline, progress).await;
        // One that cannot be removed keeps no other from it.
        if let (Err(error), Err(earlier)) = (&removed, &outcome) {
            progress.warn_of(earlier);
            if matches!(exit_of(error), Exit::Interrupted | Exit::Terminated) {
                return removed;
            }
        }
        outcome = removed.and(outcome);
    }
    outcome
}

async fn remove(
    run_id: &RunId,
    args: &Down,
    global: &Global,
    registry: Option<&Registry>,
    recorder: &Recorder,
    deadline: Instant,
    progress: &Progress,
) -> anyhow::Result<()> {
    let noted = match registry {
        Some(registry) => {
            local::down::down(run_id, args, registry, global.runtime, recorder, progress).await?
        }
        None => Known::Nothing,
    };
    let noted = match noted {
        Known::Gone => return Ok(()),
        Known::InCluster(claim) => Some(claim),
        Known::Nothing => match Chosen::of(global)? {
            Chosen::Cluster(_) => None,
            Chosen::Local(why) => return is_nowhere(run_id, args, global, registry, why, progress).await,
        },
    };
    let said = Beyond {
        namespaces: args.also_namespace.iter().cloned().collect(),
        cluster_scoped: args.cluster_scoped,
    };
    let location = noted.as_ref().and_then(|claim| claim.record.location());
    let cluster = connect(global.choice(), location).await?.with_beyond(said);
    progress.explain(&format!(
        "run {run_id} in namespace {} of {} ({})",
        cluster.namespace, cluster.server, cluster.source
    ));

    let record = noted.as_ref().and_then(|claim| claim.record.history.clone());
    let recording =
        removal::recording(recorder, &cluster, run_id, record, archiving::pipeline_run(&args.pipeline_run));
    let removal = Removal::new(&cluster, run_id, &recording).within(deadline::left(deadline) / 2);
    let limit = Limit::By(Timeout { told: args.timeout, deadline });
    let work = removal.tear_down(Asked::Down, args.grace_period, limit, |text| progress.say(text));
    let count = tokio::select! {
        count = work => count?,
        error = interrupted() => return Err(error).hint(format!("some of the run may be left; {} goes on", cluster.down_command(run_id))),
    };
    if let Some(claim) = noted
        && (count > 0
            || claim.record.location().is_some_and(|location| location.is_same_place(&cluster.location)))
    {
        forget(*claim).await?;
    }
    progress.say(&match count {
        0 => format!("run {run_id} has no objects in namespace {}: nothing to do", cluster.namespace),
        _ => format!("run {run_id} is gone ({count} objects)"),
    });
    Ok(())
}

/// A run that is not noted on this machine, where no cluster is named: one that was removed before is no error, for
/// a clean-up may be called twice.
async fn is_nowhere(
    run_id: &RunId,
    args: &Down,
    global: &Global,
    registry: Option<&Registry>,
    why: &str,
    progress: &Progress,
) -> anyhow::Result<()> {
    if local::gc::remove_orphans_of(run_id).await? {
        progress.say(&format!("run {run_id} is gone; it was not noted any more"));
        return Ok(());
    }
    if is_set("KUBECONFIG") && !global.is_local() {
        return Err(anyhow!("run {run_id} is not on this machine, and may be in a cluster: {why}"))
            .hint(format!(
                "testbed down --run-id {run_id} --runtime kubernetes looks there, or --context NAME"
            ))
            .exit(Exit::TeardownIncomplete);
    }
    if archiving::knows(&args.archiving, run_id).await {
        progress.say(&format!("run {run_id} is gone already: nothing to do"));
        return Ok(());
    }
    let unknown = which::unknown(registry, run_id, why);
    Err(if global.is_local() { unknown } else { unknown.hint("--context NAME looks for it in a cluster") })
}

/// The cluster that flags name; without any, where the run is noted to be.
///
/// # Errors
/// A usage error about the kubeconfig; a failed request.
pub(crate) async fn connect(given: Choice, noted: Option<&Location>) -> anyhow::Result<Cluster> {
    let Some(noted) = noted else { return Cluster::connect(&given).await };
    if given.kubeconfig.is_some() || given.context.is_some() {
        return Ok(Cluster::connect(&given).await?.with_beyond(noted.beyond.clone()));
    }
    let namespace = given.namespace.unwrap_or_else(|| noted.namespace.clone());
    Cluster::connect_to(Location { namespace, ..noted.clone() }).await
}

/// Removes what is noted of a run whose databases are gone.
async fn forget(claim: Claim) -> anyhow::Result<()> {
    remove::end_commands(&claim).await?;
    claim.record.remove_outputs();
    claim.forget()
}
