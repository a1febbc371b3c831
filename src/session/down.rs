//! `testbed down`: removes one run, of this machine or of a cluster, and waits until all of it is gone.

use anyhow::anyhow;
use tokio::time::Instant;

use super::chosen::Chosen;
use super::{abandoned, archiving, interrupted, local};
use crate::cli::{Down, Global, Runtime};
use crate::deadline;
use crate::environment::is_set;
use crate::failure::{Advise, Exit, usage};
use crate::location::Beyond;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::recorder::event::Asked;
use crate::registry::{Claim, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::removal::{self, Limit, Removal};
use crate::runtime::kubernetes::teardown::Timeout;
use crate::runtime::kubernetes::{Choice, Cluster};
use crate::runtime::local::remove;
use crate::state::{self, Remembered};

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
    let mut unreadable = None;
    let remembered = Remembered::here()
        .hint("pass --run-id and where the run is, or delete that file")
        .exit(Exit::TeardownIncomplete);
    let remembered = match (&args.run_id, remembered) {
        // The run may be elsewhere.
        (Some(_), Err(error)) => {
            unreadable = Some(error);
            None
        }
        (_, remembered) => remembered?,
    };
    let run_id = match (&args.run_id, &remembered) {
        (Some(given), _) => RunId::parse(given)?,
        (None, Some(remembered)) => RunId::parse(&remembered.run_id)?,
        (None, None) => {
            return Err(usage("no `up` in this folder is remembered"))
                .hint("pass --run-id; testbed status lists the runs");
        }
    };
    let ours = remembered.filter(|remembered| remembered.run_id == run_id.as_str());
    let noted = match look_here(&run_id, args, global, ours.as_ref(), recorder, deadline, progress).await? {
        Here::Done => {
            Remembered::forget_run(&run_id);
            return Ok(());
        }
        Here::Unknown(why) => {
            // A memory that cannot be read may be the only one that knows where it is.
            unreadable.map_or(Ok(()), Err)?;
            if is_set("KUBECONFIG") && !global.is_local() {
                return Err(anyhow!("run {run_id} is not on this machine, and may be in a cluster: {why}"))
                    .hint(format!(
                        "testbed down --run-id {run_id} --runtime kubernetes looks there, or --context NAME"
                    ))
                    .exit(Exit::TeardownIncomplete);
            }
            progress.say(&format!("run {run_id} is not on this machine ({why}): nothing to do"));
            Remembered::forget_run(&run_id);
            return Ok(());
        }
        Here::InCluster(noted) => noted,
    };
    let said = Beyond {
        namespaces: args.also_namespace.iter().cloned().collect(),
        cluster_scoped: args.cluster_scoped,
    };
    let cluster = connect(global.choice(), noted.as_deref(), ours.as_ref()).await?.with_beyond(said);
    progress.explain(&format!(
        "run {run_id} in namespace {} of {} ({})",
        cluster.namespace, cluster.server, cluster.source
    ));

    let record = noted.as_ref().and_then(|claim| claim.record.history.clone());
    let recording =
        removal::recording(recorder, &cluster, &run_id, record, archiving::pipeline_run(&args.pipeline_run));
    let removal = Removal::new(&cluster, &run_id, &recording).within(deadline::left(deadline) / 2);
    let limit = Limit::By(Timeout { told: args.timeout, deadline });
    let work = removal.tear_down(Asked::Down, args.grace_period, limit, |text| progress.say(text));
    let count = tokio::select! {
        count = work => count?,
        error = interrupted() => return Err(error).hint(format!("some of the run may be left; {} goes on", cluster.down_command(&run_id))),
    };
    if count == 0 && noted.is_none() {
        unreadable.map_or(Ok(()), Err)?;
    }
    Remembered::forget_run(&run_id);
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

/// What is done on this machine, before any cluster is asked.
enum Here {
    /// Everything.
    Done,
    /// Nothing: it is not here, and no cluster is named. Why this machine was looked at.
    Unknown(&'static str),
    /// What can be: the rest is for a cluster, in which a `testbed run` of this machine may have left the
    /// run.
    InCluster(Option<Box<Claim>>),
}

async fn look_here(
    run_id: &RunId,
    args: &Down,
    global: &Global,
    remembered: Option<&Remembered>,
    recorder: &Recorder,
    deadline: Instant,
    progress: &Progress,
) -> anyhow::Result<Here> {
    if let Some(registry) = Registry::find().map(|registry| registry.by(deadline)) {
        abandoned::remove(&registry, recorder, args.timeout / 2, progress).await;
        match local::down::down(run_id, args, &registry, global.runtime, recorder, progress).await? {
            Known::Gone => return Ok(Here::Done),
            Known::InCluster(claim) => return Ok(Here::InCluster(Some(claim))),
            Known::Nothing => {}
        }
    }
    // One that was made in a cluster is there, whatever is named now.
    let in_cluster =
        remembered.is_some_and(|remembered| !remembered.local) && global.runtime != Some(Runtime::Local);
    if in_cluster {
        return Ok(Here::InCluster(None));
    }
    Ok(match Chosen::of(global)? {
        Chosen::Local(why) => Here::Unknown(why),
        Chosen::Cluster(_) => Here::InCluster(None),
    })
}

/// The cluster that flags name; without any, where the run is noted to be.
async fn connect(
    given: Choice,
    noted: Option<&Claim>,
    remembered: Option<&Remembered>,
) -> anyhow::Result<Cluster> {
    match noted.and_then(|claim| claim.record.location()) {
        Some(location) if given == Choice::default() => Cluster::connect_to(location.clone()).await,
        _ => {
            let beyond = remembered.map(|remembered| remembered.beyond.clone()).unwrap_or_default();
            Ok(Cluster::connect(&with_memory(given, remembered)).await?.with_beyond(beyond))
        }
    }
}

/// Removes what is noted of a run whose databases are gone.
async fn forget(claim: Claim) -> anyhow::Result<()> {
    remove::end_command(&claim.record).await?;
    state::remove_written(claim.record.output.as_ref());
    claim.forget()
}

/// Flags win; what is not given comes from the `up` that made the run.
pub(crate) fn with_memory(choice: Choice, remembered: Option<&Remembered>) -> Choice {
    let Some(remembered) = remembered else { return choice };
    let same_cluster = choice.kubeconfig.is_none() && choice.context.is_none();
    Choice {
        kubeconfig: choice.kubeconfig.or_else(|| remembered.kubeconfig.clone().filter(|_| same_cluster)),
        context: choice.context.or_else(|| remembered.context.clone().filter(|_| same_cluster)),
        namespace: choice.namespace.or_else(|| Some(remembered.namespace.clone()).filter(|_| same_cluster)),
    }
}
