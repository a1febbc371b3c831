//! Deletes objects that were found, what makes pods before the pods, and waits until they are gone.

use std::collections::BTreeMap;

use anyhow::anyhow;
use futures::future::{join_all, try_join_all};
use kube::api::DynamicObject;
use kube::{Error, ResourceExt};
use tokio::time::timeout_at;

use super::part::{Deletion, Part, delete, delete_if};
use super::{Timeout, wait};
use crate::deadline;
use crate::failure::Advise;
use crate::run_id::Selector;
use crate::runtime::kubernetes::{Cluster, explain};

/// How often an object is looked at again whose every version is outdated by the time of its deletion: a
/// pod's status changes a few times while its containers start or end.
const LOOKS: usize = 10;

pub struct Removal<'a> {
    pub selector: &'a Selector,
    /// Seconds that pods get to stop.
    pub grace: u32,
    pub time: Timeout,
    pub scope: Scope,
}

#[derive(Clone, Copy)]
pub enum Scope {
    /// Those that were found, and pods that appear later.
    All,
    /// Those that were found, and no other.
    Found,
    /// The same, each as long as it is like the one that was found; the first that is not ends it.
    Unchanged(fn(&DynamicObject, &DynamicObject) -> bool),
}

#[derive(Default)]
pub struct Removed {
    pub deleted: usize,
    /// What has changed since it was found, and stays.
    pub changed: Vec<String>,
    pub failures: Vec<anyhow::Error>,
}

/// Deletes the objects of all parts, calls `asked` once all deletions are asked for, and waits until they are
/// gone. One that cannot be deleted does not keep the others.
pub async fn remove(
    cluster: &Cluster,
    parts: &[Part],
    removal: &Removal<'_>,
    asked: impl FnOnce(),
) -> Removed {
    let mut removed = Removed::default();
    let mut pending: Vec<Pending> =
        parts.iter().map(|part| Pending { part, left: BTreeMap::new() }).collect();
    let until = deadline::before(removal.time.deadline, removal.time.told);
    let deletion = async {
        // What makes pods goes before the pods, which it would make anew.
        for core in [false, true] {
            let group = pending.iter_mut().filter(|pending| pending.part.is_core() == core);
            join_all(group.map(|pending| pending.delete(cluster, removal)))
                .await
                .into_iter()
                .for_each(|part| removed.add(part));
            if !removed.changed.is_empty() {
                break;
            }
        }
    };
    if timeout_at(until, deletion).await.is_err() {
        // Of what was asked for just now nobody knows whether it is on its way out.
        let all: Vec<Pending> = parts.iter().map(|part| Pending { part, left: uids(part) }).collect();
        removed.failures.extend(look_again(cluster, &all, removal).await);
        return removed;
    }
    asked();
    pending.retain(|pending| !pending.left.is_empty());
    let gone = try_join_all(
        pending.iter().map(|Pending { part, left }| wait::gone(cluster, part, left.clone(), removal)),
    );
    match timeout_at(until, gone).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => removed.failures.push(error),
        Err(_) => removed.failures.extend(look_again(cluster, &pending, removal).await),
    }
    removed
}

fn uids(part: &Part) -> BTreeMap<String, String> {
    part.objects.iter().map(|object| (object.name_any(), object.uid().unwrap_or_default())).collect()
}

/// What is there when the time is over; where that cannot be seen any more, what was there before.
async fn look_again(
    cluster: &Cluster,
    pending: &[Pending<'_>],
    removal: &Removal<'_>,
) -> Option<anyhow::Error> {
    if let Ok(left) = timeout_at(removal.time.deadline, still_there(cluster, pending, removal)).await {
        return left;
    }
    let names = pending
        .iter()
        .flat_map(|Pending { part, left }| left.keys().map(|name| format!("{} {name}", part.kind.1)));
    let names = names.collect::<Vec<_>>().join(", ");
    Some(cluster.late(removal.time.told).hint(format!("these may be left: {names}; {}", again(removal))))
}

fn again(removal: &Removal<'_>) -> String {
    let command = if matches!(removal.scope, Scope::Unchanged(_)) { "gc" } else { "down" };
    format!("deletion goes on in the cluster; testbed {command} waits longer")
}

impl Removed {
    fn add(&mut self, other: Self) {
        self.deleted += other.deleted;
        self.changed.extend(other.changed);
        self.failures.extend(other.failures);
    }
}

/// The deleted objects of a part that exist for a while yet.
struct Pending<'a> {
    part: &'a Part,
    /// Their UIDs, by their names.
    left: BTreeMap<String, String>,
}

impl Pending<'_> {
    async fn delete(&mut self, cluster: &Cluster, removal: &Removal<'_>) -> Removed {
        let part = self.part;
        let outcomes = join_all(part.objects.iter().map(|object| delete_one(part, object, removal))).await;
        let mut removed = Removed::default();
        for (object, outcome) in part.objects.iter().zip(outcomes) {
            let name = object.name_any();
            match outcome {
                Ok(Deletion::Gone) => removed.deleted += 1,
                Ok(Deletion::Absent) => {}
                Ok(Deletion::Changed) => removed.changed.push(format!("{} {name}", part.kind.1)),
                Ok(Deletion::Pending) => {
                    removed.deleted += 1;
                    self.left.insert(name, object.uid().unwrap_or_default());
                }
                Err(error) => removed.failures.push(explain(
                    cluster,
                    error,
                    &format!("deleting {} {name}", part.kind.1),
                )),
            }
        }
        removed
    }
}

/// Deletes the version that was looked at, as long as it is like the one that was found.
async fn delete_one(part: &Part, object: &DynamicObject, removal: &Removal<'_>) -> Result<Deletion, Error> {
    let Part { kind, api, .. } = part;
    let is_like = |now: &DynamicObject| match removal.scope {
        Scope::All | Scope::Found => true,
        Scope::Unchanged(is_like) => is_like(object, now),
    };
    let mut seen = object.clone();
    for _ in 0..LOOKS {
        let outcome = delete_if(api, &kind.1, &seen, removal.grace, seen.resource_version()).await?;
        if outcome != Deletion::Changed {
            return Ok(outcome);
        }
        let now = Part::list(api, kind.clone(), removal.selector).await?;
        match now.objects.into_iter().find(|now| now.uid() == object.uid()) {
            None => return Ok(Deletion::Absent),
            Some(now) if is_like(&now) => seen = now,
            Some(_) => return Ok(Deletion::Changed),
        }
    }
    match removal.scope {
        // It changes all the time, and had the label a moment ago.
        Scope::All | Scope::Found => delete(api, &kind.1, &seen, removal.grace).await,
        Scope::Unchanged(_) => Ok(Deletion::Changed),
    }
}

/// What is there when the time is over, as an error; `None` if all of it has gone by now.
async fn still_there(
    cluster: &Cluster,
    pending: &[Pending<'_>],
    removal: &Removal<'_>,
) -> Option<anyhow::Error> {
    let mut left = Vec::new();
    for Pending { part, left: known } in pending {
        let now = match Part::list(&part.api, part.kind.clone(), removal.selector).await {
            Ok(now) => now,
            Err(error) => return Some(explain(cluster, error, "looking for what is left of the run")),
        };
        let is_meant = |object: &&DynamicObject| {
            matches!(removal.scope, Scope::All)
                || known.values().any(|uid| object.uid().as_ref() == Some(uid))
        };
        left.extend(now.objects.iter().filter(is_meant).map(|object| describe(&part.kind.1, object)));
    }
    if left.is_empty() {
        return None;
    }
    let message = anyhow!("still there after {} s: {}", removal.time.told.as_secs(), left.join("; "));
    Some(message.hint(again(removal)))
}

/// An object that is still there, and what holds it back.
pub fn describe(kind: &str, object: &impl ResourceExt) -> String {
    let name = format!("{kind} {}", object.name_any());
    match object.finalizers() {
        [] => name,
        finalizers => format!("{name} (held by the finalizer {})", finalizers.join(", ")),
    }
}
