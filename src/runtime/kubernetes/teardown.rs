//! Deletes one run's objects, and waits until they are gone. Needs nothing but the run id.
//!
//! Pods and Services are always looked at; the other kinds are those that the run's own objects record.
//! Everything is deleted by name with its UID and version as preconditions, so an object that was replaced or
//! has lost the label in between is left alone. Other namespaces are looked at only where the caller has
//! named them, whatever the objects say.

pub mod part;
pub mod remove;
pub mod wait;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use kube::ResourceExt;
use kube::api::DynamicObject;
use tokio::time::{Instant, timeout_at};

use super::explain::{is_absent, is_forbidden};
use super::kinds::{self, KindName, Kinds};
use super::mark::Mark;
use super::rules::Rules;
use super::{Cluster, explain};
use crate::failure::{Advise, Exit};
use crate::run_id::{RunId, Selector};
use crate::words::count;

use part::{Part, recorded};
use remove::{Removal, Scope};

/// Seconds that a pod gets to stop. The data is thrown away, and an entrypoint's shell that is still setting
/// the database up ignores SIGTERM as process 1, so waiting longer buys nothing.
pub const DEFAULT_GRACE: u32 = 1;

/// How long something may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeout {
    /// As the user has said it.
    pub told: Duration,
    /// When it is over.
    pub deadline: Instant,
}

pub(super) struct Taken {
    pub count: usize,
    /// Whether other calls have objects of the run, which stay.
    pub has_others: bool,
}

/// Deletes everything that carries the run's label in the namespace; with `made_by` only what one call has
/// made, by the hash that its objects carry: beside it others may be at work on the same run.
///
/// One object that cannot be deleted, or one kind that may not be listed, does not keep the others from being
/// deleted. When the time is over, the error has exit code 5, what is left and the finalizers that hold it.
pub(super) async fn take_away(
    cluster: &Cluster,
    run_id: &RunId,
    grace: u32,
    time: Timeout,
    made_by: Option<&str>,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<Taken> {
    let hint = || {
        format!(
            "some or all of run {run_id} may be left in namespace {}; {} goes on",
            cluster.namespace,
            cluster.down_command(run_id)
        )
    };
    // A request that fails is a failure; one for which there is no time leaves the run where it is.
    let found = timeout_at(time.deadline, find(cluster, run_id)).await;
    let found =
        found.unwrap_or_else(|_| Err(cluster.late(time.told)).exit(Exit::TeardownIncomplete).hint(hint()));
    let Found { mut parts, mut failures, left } = found?;
    let has_others = made_by.is_some_and(|hash| keep_others(hash, &mut parts));
    left.iter().for_each(|left| tell(left));
    let count = parts.iter().map(|part| part.objects.len()).sum();
    // Not before: nobody may be there to be told.
    let asked = || {
        if count > 0 {
            tell(&format!("deleting {}", summary(&parts)));
        }
    };
    // A pod that appears later can be somebody else's then.
    let scope = if has_others { Scope::Found } else { Scope::All };
    let removal = Removal { selector: &run_id.selector(), grace, time, scope };
    failures.extend(remove::remove(cluster, &parts, &removal, asked).await.failures);
    match failures.into_iter().next() {
        None => Ok(Taken { count, has_others }),
        Some(error) => Err(error).exit(Exit::TeardownIncomplete),
    }
}

/// Takes those objects out that another call has made, and says whether there are any.
fn keep_others(own: &str, parts: &mut [Part]) -> bool {
    let hash = |object: &DynamicObject| Mark::of(&object.metadata).hash().map(str::to_owned);
    if !objects(parts).any(|(_, object)| hash(object).is_some_and(|hash| hash != own)) {
        return false;
    }
    parts.iter_mut().for_each(|part| part.objects.retain(|object| hash(object).as_deref() == Some(own)));
    true
}

fn summary(parts: &[Part]) -> String {
    let counts: Vec<String> = parts
        .iter()
        .filter(|part| !part.objects.is_empty())
        .map(|part| count(part.objects.len(), &part.kind.1))
        .collect();
    counts.join(", ")
}

pub struct Found {
    pub parts: Vec<Part>,
    pub failures: Vec<anyhow::Error>,
    /// What is left alone, and why, in words.
    pub left: Vec<String>,
}

/// Everything of the run in its namespace, and in those places beyond it that the caller has named.
pub async fn find(cluster: &Cluster, run_id: &RunId) -> anyhow::Result<Found> {
    let mut kinds = Kinds::new(cluster);
    let selector = run_id.selector();
    let core = [("v1".to_owned(), "Pod".to_owned()), ("v1".to_owned(), "Service".to_owned())];
    let lists = core.into_iter().map(|kind| list(cluster, &kinds, kind, &selector));
    let mut parts: Vec<Part> = try_join_all(lists).await?.into_iter().flatten().collect();
    let mut wanted = recorded(objects(&parts));
    if parts.iter().all(|part| part.objects.is_empty()) {
        // A teardown that was cut off may have left what it does not look at first.
        let swept = sweep(cluster, &kinds, &selector).await?;
        wanted = recorded(objects(&swept));
        parts.extend(swept);
    }
    wanted = wanted.into_iter().map(|kind| kinds.normal(kind)).collect();
    for part in &parts {
        wanted.remove(&part.kind);
    }
    let mut found = Found { parts, failures: Vec::new(), left: Vec::new() };
    let mut known = Vec::new();
    for kind in wanted {
        if let Some(out_of_reach) = kinds::namespace(&kind)
            .filter(|namespace| !cluster.location.beyond.namespaces.contains(*namespace))
        {
            found.left.push(format!(
                "objects of run {run_id} say that it has more of kind {} in namespace {out_of_reach}, where this call does not look: if that is \
                 so, pass --also-namespace {out_of_reach}",
                kinds::plain(&kind).1
            ));
            continue;
        }
        match kinds.resolve(&kind).await {
            Ok(true)
                if kinds.is_cluster_scoped(&kinds::plain(&kind))
                    && !cluster.location.beyond.cluster_scoped =>
            {
                found.left.push(format!(
                    "objects of run {run_id} say that it has some of kind {}, which are of no namespace: if that is so, pass --cluster-scoped",
                    kind.1
                ));
            }
            Ok(true) => known.push(kind),
            // A kind whose definition is gone has no objects either.
            Ok(false) => {}
            Err(error) => found.failures.push(error),
        }
    }
    let (mut own, mut beyond) = (Vec::new(), Vec::new());
    for (kind, outcome) in join_all(
        known.into_iter().map(|kind| async { (kind.clone(), list(cluster, &kinds, kind, &selector).await) }),
    )
    .await
    {
        let is_beyond = kinds::namespace(&kind).is_some() || kinds.is_cluster_scoped(&kind);
        match outcome {
            Ok(part) => (if is_beyond { &mut beyond } else { &mut own }).extend(part),
            Err(error) => found.failures.push(error),
        }
    }
    found.parts.extend(own);
    let left = keep_own(&found.parts, &mut beyond);
    found.left.extend(
        left.into_iter()
            .map(|object| format!("{object} is left: it was made for another run of the id {run_id}")),
    );
    found.parts.extend(beyond);
    Ok(found)
}

/// Beyond the run's namespace another run may have the same id: what carries the mark of a content that none
/// of the run's own objects carries is not its own. Returns what that is.
fn keep_own(own: &[Part], beyond: &mut [Part]) -> Vec<String> {
    let marks: BTreeSet<Mark> = objects(own).map(|(_, object)| Mark::of(&object.metadata)).collect();
    let mut left = Vec::new();
    for part in beyond {
        let (kind, namespace) = (kinds::plain(&part.kind).1, kinds::namespace(&part.kind));
        let is_own = |object: &DynamicObject| {
            let mark = Mark::of(&object.metadata);
            marks.is_empty() || mark.hash().is_none() || marks.contains(&mark)
        };
        part.objects.retain(|object| {
            let is_own = is_own(object);
            if !is_own {
                let place =
                    namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
                left.push(format!("{kind} {}{place}", object.name_any()));
            }
            is_own
        });
    }
    left
}

fn objects(parts: &[Part]) -> impl Iterator<Item = (&KindName, &DynamicObject)> {
    parts.iter().flat_map(|part| part.objects.iter().map(|object| (&part.kind, object)))
}

async fn sweep(cluster: &Cluster, kinds: &Kinds, selector: &Selector) -> anyhow::Result<Vec<Part>> {
    // Without the right to list a kind, this user has not created any of it either.
    let rules = Rules::ask(cluster).await;
    let may_list =
        |kind: &KindName| kinds.resource(kind).is_some_and(|resource| !rules.forbid("list", resource));
    let swept = kinds::sweep().into_iter().filter(may_list);
    let lists = swept.filter_map(|kind| Some((kinds.api(&kind)?, kind))).map(|(api, kind)| async move {
        match Part::list(&api, kind, selector).await {
            Ok(part) => Ok(Some(part)),
            Err(error) if is_forbidden(&error) || is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let found = try_join_all(lists)
        .await
        .map_err(|error| explain(cluster, error, "looking for what is left of the run"))?;
    Ok(found.into_iter().flatten().collect())
}

async fn list(
    cluster: &Cluster,
    kinds: &Kinds,
    kind: KindName,
    selector: &Selector,
) -> anyhow::Result<Option<Part>> {
    let Some(api) = kinds.api(&kind) else { return Ok(None) };
    let action = format!("listing the run's objects of kind {}", kind.1);
    Part::list(&api, kind, selector).await.map(Some).map_err(|error| explain(cluster, error, &action))
}
