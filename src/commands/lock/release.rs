//! `testbed lock release`: gives back what this run holds, and nothing else.

use anyhow::anyhow;

use super::acquire::key;
use super::which::{connect, targets};
use super::words;
use crate::cli::{Global, LockRelease};
use crate::deadline;
use crate::failure::{Advise, usage};
use crate::lock::memory::Memory;
use crate::lock::object::{Kind, Target};
use crate::lock::release::{Released, release as give_back};
use crate::lock::replicas::{emptied, scaled_by_hand};
use crate::lock::state::Identity;
use crate::progress::Progress;
use crate::run_id::RunId;

/// Fails with exit code 5 when pods of a workload are not gone in time.
pub(super) async fn release(args: LockRelease, global: &Global) -> anyhow::Result<()> {
    let progress = global.progress();
    let deadline = deadline::after(args.timeout);
    let cluster = connect(global).await?;
    let key = key(&args.locked);
    let memory = Memory::of(&[&cluster.server, &cluster.namespace, &key]);
    let remembered = Memory::load_unless(args.run_id.as_ref(), memory.as_ref())?;
    let Some(id) = args.run_id.clone().or(remembered) else {
        let error = usage(format!("whose lock? this folder remembers no `testbed lock acquire {key}`"));
        return Err(error).hint("pass --run-id; testbed lock show tells who holds what");
    };
    let id = RunId::parse(&id)?;
    let targets = cluster.by(deadline, args.timeout, targets(&cluster, &args.locked)).await?;
    // What a command of the run holds, `lock run` gives back itself, once the command has ended.
    let run = Identity { id: id.as_str().to_owned(), session: None };
    let mut released = 0;
    let mut left = Vec::new();
    for target in &targets {
        let release = async { give_back(target, |lock| lock.remove(|identity| *identity == run)).await };
        let outcome = cluster.by(deadline, args.timeout, release).await?;
        released += usize::from(matches!(outcome, Released::Done(_)));
        tell(target, &id, &outcome, &progress);
        if let Released::Done(before) = outcome
            && before.lock.holder(&run).is_some()
        {
            left.push((target, before));
        }
    }
    if let Some(memory) =
        memory.filter(|memory| memory.load().is_ok_and(|known| known.as_deref() == Some(id.as_str())))
    {
        memory.forget();
    }
    if released == 0 && args.strict {
        return Err(anyhow!("run {id} held none of it: {key}")).hint("without --strict that is no error");
    }
    for (target, before) in left.into_iter().filter(|(target, _)| target.kind != Kind::Lease) {
        emptied(target, &before, deadline, args.timeout).await?;
        progress.say(&format!("{target}: its pods are gone"));
    }
    Ok(())
}

/// Says what has become of a lock.
pub(super) fn tell(target: &Target, id: &RunId, outcome: &Released, progress: &Progress) {
    match outcome {
        Released::Absent => progress.say(&format!("{target}: nobody holds it")),
        Released::NotOurs(version) if version.lock.holders.is_empty() => {
            progress.say(&format!("{target}: nobody holds it"));
        }
        Released::NotOurs(version)
            if version.lock.holders.iter().any(|holder| holder.identity.id == id.as_str()) =>
        {
            progress.say(&format!("{target}: left alone, it is held by a `testbed lock run` of run {id}, which gives it back itself"));
        }
        Released::NotOurs(version) => {
            progress.say(&format!(
                "{target}: left alone, it is not held by run {id}, but by {}",
                words::holders(&version.lock)
            ));
        }
        Released::Done(version) => {
            let was_held = version.lock.holders.iter().any(|holder| holder.identity.id == id.as_str());
            let next = version.lock.queue.iter().find(|waiter| waiter.identity.id != id.as_str());
            let next =
                next.map(|waiter| format!("; next is {}", words::name(&waiter.identity))).unwrap_or_default();
            let what = if was_held { "released" } else { "taken out of the queue" };
            if let Some(scaled) = scaled_by_hand(version).filter(|_| was_held) {
                progress.say(&format!("{target}: {scaled}; it is set to 0"));
            }
            progress.say(&format!("{target}: {what}{next}"));
        }
    }
}
