//! `testbed lock acquire`: takes a lock that no process keeps, until it is released in the run's name.

use std::pin::pin;
use std::time::Duration;

use serde_json::json;

use super::hold::{Taken, Wish, hold, not_in_time};
use super::holder::pipeline_run;
use super::replica::Replica;
use super::which::connect_until;
use crate::cli::{Global, LockAcquire, LockFormat, Locked};
use crate::console;
use crate::deadline;
use crate::lock::memory::Memory;
use crate::lock::state::{Identity, Terms, millis};
use crate::lock::terms::Ttl;
use crate::output::ResultFile;
use crate::progress::Progress;
use crate::run_id::RunId;
use crate::runtime::kubernetes::Cluster;
use crate::session::{hand_over, interrupted};

/// Where no PipelineRun tells that a holder is gone: longer than a test run, shorter than a working day.
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

/// Fails with exit code 6 when the lock cannot be had.
pub(super) async fn acquire(args: LockAcquire, global: &Global) -> anyhow::Result<()> {
    args.result.iter().try_for_each(ResultFile::check)?;
    let progress = global.progress();
    let mut interrupted = pin!(interrupted());
    let deadline = deadline::after(args.locking.timeout);
    let cluster = connect_until(global, deadline, interrupted.as_mut()).await?;
    let key = key(&args.locking.locked);
    let memory = Memory::of(&[&cluster.server, &cluster.namespace, &key]);
    let remembered = Memory::load_unless(args.run_id.as_ref(), memory.as_ref())?;
    let (id, is_made_up) = match (&args.run_id, &remembered) {
        (Some(id), _) => (RunId::parse(id)?, false),
        (None, Some(id)) => (RunId::parse(id)?, true),
        (None, None) => (RunId::generate(), true),
    };
    let identity = Identity { id: id.as_str().to_owned(), session: None };
    let terms = tokio::select! {
        error = &mut interrupted => return Err(error),
        terms = cluster.by(deadline, args.locking.timeout, terms(&args, &cluster, &progress)) => {
            terms.map_err(|error| not_in_time(error, deadline))?
        }
    };
    if is_made_up && let Some(memory) = &memory {
        // Before there is anything to forget.
        memory.save(id.as_str())?;
    }
    let wish = Wish { cluster: &cluster, args: &args.locking, identity, terms, deadline };
    let taken = match hold(&wish, interrupted.as_mut(), &progress).await {
        Ok(taken) => usable(taken, args.locking.ready_timeout, interrupted.as_mut(), &progress).await,
        Err(error) => Err(error),
    };
    // What was held before is still held.
    if let (Err(_), true, None, Some(memory)) = (&taken, is_made_up, &remembered, &memory) {
        memory.forget();
    }
    let taken = taken?;
    if is_made_up && let Some(memory) = Memory::of(&[&cluster.server, &cluster.namespace, &taken.target.name])
    {
        // One of several may be released by its own name, which was printed.
        memory.save(id.as_str())?;
    }
    hand_over(tell(&taken, &id, &args, &progress)?).await
}

/// Waits until what was taken can be used; else it is given back.
async fn usable(
    taken: Taken,
    timeout: Duration,
    interrupted: impl Future<Output = anyhow::Error>,
    progress: &Progress,
) -> anyhow::Result<Taken> {
    let Some(replica) = Replica::of(&taken.target, &taken.held) else { return Ok(taken) };
    let outcome = tokio::select! {
        outcome = replica.ready(timeout, progress) => outcome,
        error = interrupted => Err(error),
    };
    match outcome {
        Ok(()) => Ok(taken),
        Err(error) => Err(replica.give_back(error, progress).await),
    }
}

/// What the flags say of the lock, as one text.
pub(super) fn key(locked: &Locked) -> String {
    let Locked { lock, one_of, selector, on } = locked;
    let texts = [lock.as_deref(), selector.as_deref(), on.as_deref()].into_iter().flatten();
    texts.chain(one_of.iter().map(String::as_str)).collect::<Vec<_>>().join(",")
}

/// Says what was taken, and returns what is for programs.
fn tell(taken: &Taken, id: &RunId, args: &LockAcquire, progress: &Progress) -> anyhow::Result<String> {
    let Taken { target, held } = taken;
    let again = if held.is_again { "held already" } else { "held" };
    progress.say(&format!("{target}: {again} by run {id}, number {}", held.fence));
    for result in &args.result {
        result.write(&target.name, held.fence)?;
    }
    match args.output {
        LockFormat::Name => Ok(format!("{}\n", target.name)),
        LockFormat::Json => {
            let holder = held.version.lock.holders.iter().find(|holder| holder.fence == held.fence);
            console::json(&json!({
                "name": target.name,
                "object": target.object_name(),
                "holder": id.as_str(),
                "fence": held.fence,
                "since": holder.map(|holder| holder.since.to_string()),
                "ttlSeconds": holder.and_then(|holder| holder.terms.ttl()).map(|ttl| ttl.as_secs_f64()),
                "pipelineRun": holder.and_then(|holder| holder.terms.pipeline_run.as_ref()).map(|run| &run.name),
                "heldAlready": held.is_again,
                "waitedSeconds": progress.elapsed().as_secs_f64(),
            }))
        }
    }
}

async fn terms(args: &LockAcquire, cluster: &Cluster, progress: &Progress) -> anyhow::Result<Terms> {
    let pipeline_run =
        pipeline_run(args.holder.as_deref(), &args.locking.pipeline_run, cluster, progress).await?;
    let ttl = match args.ttl {
        Some(Ttl::Never) => None,
        Some(Ttl::After(ttl)) => Some(ttl),
        None => Some(DEFAULT_TTL),
    };
    Ok(Terms { ttl_millis: ttl.map(millis), ttl_is_asked_for: args.ttl.is_some(), pipeline_run })
}
