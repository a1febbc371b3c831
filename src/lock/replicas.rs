//! The one replica of a workload as a lock: 0 is free, 1 is taken, and anything else is somebody's doing.
//!
//! Whoever takes it gets a pod that nobody has used: the replicas are 0 and every pod of before is gone. That
//! is looked at again for each time that the spec changes, with a list that begins after the change was seen.
//! A pod that an earlier holder has used was there before that holder let go; so either the list has it, or
//! it was gone by then.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::object::{Kind, Request, Target, Version, WatchEvent, until_done};
use crate::failure::{Advise, Exit};
use crate::probe::change;
use crate::runtime::kubernetes::maker::Maker;
use crate::runtime::kubernetes::pods::{Failure, PodWatch, Pods, Whose, is_record};
use crate::runtime::kubernetes::teardown::remove::describe;

/// The number of pods that a workload is to have; `None` for a Lease.
pub fn replicas(version: &Version) -> Option<u64> {
    version.object.data["spec"]["replicas"].as_u64()
}

/// What somebody has done to a workload's replicas past its lock; `None` for a Lease, and where they fit.
pub fn scaled_by_hand(version: &Version) -> Option<String> {
    let count = replicas(version)?;
    let holders = &version.lock.holders;
    if count == holders.len() as u64 {
        return None;
    }
    let has = if count == 1 { "1 replica".to_owned() } else { format!("{count} replicas") };
    let held = holders
        .first()
        .map_or("no holder".to_owned(), |holder| format!("is held by run {}", holder.identity.id));
    Some(format!("it has {has} and {held}: somebody has scaled it by hand"))
}

/// Whether a workload that nobody holds can be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vacancy {
    Vacant,
    /// Its pods have not been looked at yet.
    Unknown,
    /// It cannot, for this reason; nothing is said of one that is held.
    Occupied(Option<String>),
}

impl Vacancy {
    /// Why something that nobody holds cannot be taken.
    pub fn obstacle(&self) -> Option<&str> {
        if let Self::Occupied(why) = self { why.as_deref() } else { None }
    }
}

/// The pods of a workload, followed while it is free and somebody is about to take it.
#[derive(Default)]
pub struct WorkloadPods {
    followed: Option<Followed>,
}

struct Followed {
    /// The object and its spec.
    of: (String, Option<i64>),
    pods: watch::Receiver<Pods>,
    is_listed: bool,
    failure: Failure,
    _watch: PodWatch,
}

impl WorkloadPods {
    /// What is known for this version of the object. `is_next` says whether the asking one would take it.
    pub fn vacancy(&mut self, target: &Target, version: &Version, is_next: bool) -> anyhow::Result<Vacancy> {
        if target.kind == Kind::Lease {
            return Ok(Vacancy::Vacant);
        }
        if !is_next || !version.lock.holders.is_empty() {
            self.followed = None;
            return Ok(Vacancy::Occupied(None));
        }
        if let Some(what) = scaled_by_hand(version) {
            self.followed = None;
            return Ok(Vacancy::Occupied(Some(format!("{what}; free it: {}", how_to_free(target)))));
        }
        let of = (version.uid.clone(), version.object.metadata.generation);
        if self.followed.as_ref().is_none_or(|followed| followed.of != of) {
            let (watch, failure) = follow(target, version)?;
            self.followed =
                Some(Followed { of, pods: watch.pods(), is_listed: false, failure, _watch: watch });
        }
        Ok(self.followed.as_ref().map_or(Vacancy::Unknown, Followed::vacancy))
    }

    /// Resolves when that may have changed.
    pub async fn change(&mut self) -> anyhow::Result<()> {
        let Some(Followed { pods, is_listed, failure, .. }) = &mut self.followed else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = change(pods) => *is_listed = true,
            error = failure.reason() => return Err(error),
        }
        Ok(())
    }
}

impl Followed {
    fn vacancy(&self) -> Vacancy {
        if !self.is_listed {
            return Vacancy::Unknown;
        }
        let left = left(&self.pods.borrow());
        match left.as_slice() {
            [] => Vacancy::Vacant,
            left => Vacancy::Occupied(Some(format!("{} of before is not gone yet", left.join(" and ")))),
        }
    }
}

/// Somebody else's change of a workload that is held, as its holder sees it.
#[derive(Debug)]
pub enum Change {
    /// It is not held any more under this number.
    Lost,
    /// Somebody has scaled it, in words.
    Scaled(String),
}

/// Whether the controller of a workload that is held has seen that it was taken; else what has become of it.
pub fn is_seen(version: &Version, fence: u64, since_generation: Option<i64>) -> Result<bool, Change> {
    if !version.lock.holders.iter().any(|holder| holder.fence == fence) {
        return Err(Change::Lost);
    }
    if let Some(what) = scaled_by_hand(version) {
        return Err(Change::Scaled(what));
    }
    Ok(version.object.data["status"]["observedGeneration"].as_i64() >= since_generation)
}

/// Gives a workload that is held its replica again, where somebody has scaled it to 0.
pub async fn scale_up(target: &Target, fence: u64) -> anyhow::Result<Option<Arc<Version>>> {
    until_done(&format!("scaling {target}"), async || {
        let Some(version) = target.answer(&Request::Read).await? else { return Ok(None) };
        let is_held = version.lock.holders.iter().any(|holder| holder.fence == fence);
        if !is_held || replicas(&version) != Some(0) {
            return Ok(Some(version));
        }
        target.scale(&version, 1).await
    })
    .await
}

/// Waits until the pods are gone of a workload that was just released, or somebody else has it, who has
/// waited for that. `before` is how it was before.
/// Exit code 5 with what is left at the deadline, which is that of a whole command with this timeout.
pub async fn emptied(
    target: &Target,
    before: &Version,
    deadline: Instant,
    timeout: Duration,
) -> anyhow::Result<()> {
    let (watch, mut failure) = follow(target, before)?;
    let mut pods = watch.pods();
    let mut events = target.watch();
    let mut scaled = None;
    let mut over = pin!(sleep_until(deadline));
    loop {
        tokio::select! {
            () = change(&mut pods) => if left(&pods.borrow_and_update()).is_empty() {
                return Ok(());
            },
            Some(event) = events.next() => if let WatchEvent::There(version) = event? {
                if version.lock.holders.iter().any(|holder| holder.fence > before.lock.fence) {
                    return Ok(());
                }
                scaled = scaled_by_hand(&version);
            },
            error = failure.reason() => return Err(error),
            () = &mut over => break,
        }
    }
    let seconds = timeout.as_secs();
    let left = left(&pods.borrow());
    let error = if left.is_empty() {
        anyhow!("{target} is released; what is left of its pods was not told within {seconds} s")
    } else {
        anyhow!("{target} is released, and still there after {seconds} s: {}", left.join("; "))
    };
    let error = Err(error).exit(Exit::TeardownIncomplete).hint("whoever is next waits for that as well");
    match scaled {
        Some(what) => error.hint(format!("{what}; free it: {}", how_to_free(target))),
        None => error,
    }
}

/// The command that frees a workload which somebody has scaled by hand.
pub fn how_to_free(target: &Target) -> String {
    format!("{} scale {target} --replicas=0", target.cluster.kubectl)
}

pub fn follow(target: &Target, version: &Version) -> anyhow::Result<(PodWatch, Failure)> {
    let whose = Whose::Maker(Maker::read(target.kind.name(), &version.object)?);
    Ok(PodWatch::start(&target.cluster, whose, |_| ()))
}

/// The pods that are still there, each with what holds it back.
pub fn left(pods: &Pods) -> Vec<String> {
    pods.values().filter(|pod| !is_record(pod)).map(|pod| describe("Pod", pod)).collect()
}
