//! Removes a run that was left behind: looks once more, and deletes only what has not changed since.

use std::collections::BTreeSet;

use futures::future::join_all;
use kube::ResourceExt;
use kube::api::DynamicObject;

use super::statements::{Statements, Verdict};
use super::survey::Run;
use super::verdict::{Facts, Measure, Reason, Stays};
use crate::run_id::Selector;
use crate::runtime::kubernetes::kinds::{KindName, Kinds};
use crate::runtime::kubernetes::mark::Mark;
use crate::runtime::kubernetes::teardown::part::Part;
use crate::runtime::kubernetes::teardown::remove::{Removal, Scope, remove};
use crate::runtime::kubernetes::teardown::{DEFAULT_GRACE, Timeout};
use crate::runtime::kubernetes::{Cluster, explain};

pub enum Outcome {
    /// This call has removed so many objects of it, and nothing is left.
    Removed(Reason, usize),
    /// Somebody else has removed it.
    Vanished,
    /// It stays: it is not what it was when it was found.
    Stays(Stays),
    /// Somebody has changed these objects in the meantime, and the rest of the run stays with them.
    Changed(Vec<String>),
    /// Something could not be deleted, or is still there.
    Failed(Reason, usize, anyhow::Error),
}

/// Removes a run if it still counts as left behind, and waits until it is gone, at most until the deadline.
pub async fn remove_run(
    cluster: &Cluster,
    kinds: &Kinds,
    run: &Run,
    measure: &Measure,
    time: Timeout,
) -> anyhow::Result<Outcome> {
    let cluster = cluster.in_namespace(&run.namespace);
    let selector = run.run_id.selector_of_ours();
    let mut parts = list(&cluster, kinds, &run.kinds, &selector).await?;
    if parts.iter().all(|part| part.objects.is_empty()) {
        return Ok(Outcome::Vanished);
    }
    let statements =
        Statements::of(parts.iter().flat_map(|part| part.objects.iter().map(|object| (&part.kind, object))));
    let Verdict { reason, uids, .. } = match statements.judge(measure) {
        Ok(verdict) => verdict,
        Err(stay) => return Ok(Outcome::Stays(stay)),
    };
    parts
        .iter_mut()
        .for_each(|part| part.objects.retain(|object| object.uid().is_some_and(|uid| uids.contains(&uid))));
    let removal =
        Removal { selector: &selector, grace: DEFAULT_GRACE, time, scope: Scope::Unchanged(says_the_same) };
    let removed = remove(&cluster, &parts, &removal, || {}).await;
    Ok(match removed.failures.into_iter().next() {
        Some(error) => Outcome::Failed(reason, removed.deleted, error),
        None if !removed.changed.is_empty() => Outcome::Changed(removed.changed),
        None if removed.deleted == 0 => Outcome::Vanished,
        None => Outcome::Removed(reason, removed.deleted),
    })
}

/// Whether an object says of its run's end what it said before: another status is no reason to let it stay.
fn says_the_same(before: &DynamicObject, now: &DynamicObject) -> bool {
    Facts::of(&before.metadata) == Facts::of(&now.metadata)
        && Mark::of(&before.metadata) == Mark::of(&now.metadata)
}

async fn list(
    cluster: &Cluster,
    kinds: &Kinds,
    wanted: &BTreeSet<KindName>,
    selector: &Selector,
) -> anyhow::Result<Vec<Part>> {
    let apis =
        wanted.iter().filter_map(|kind| Some((kinds.namespaced(kind, Some(&cluster.namespace))?, kind)));
    let lists = apis.map(|(api, kind)| async move {
        let action = format!("listing the run's objects of kind {}", kind.1);
        Part::list(&api, kind.clone(), selector).await.map_err(|error| explain(cluster, error, &action))
    });
    join_all(lists).await.into_iter().collect()
}
