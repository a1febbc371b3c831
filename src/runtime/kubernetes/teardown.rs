//! Deletes one run's objects, and waits until they are gone. Needs nothing but the run id.
//!
//! Pods and Services are always looked at; the other kinds are those that the run's own objects record. Everything is deleted by name
//! with its UID as precondition, so an object that was replaced in between is left alone.

pub mod part;
pub mod remove;
mod wait;

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use kube::api::DynamicObject;

use super::explain::{is_absent, is_forbidden};
use super::kinds::{self, KindName, Kinds};
use super::rules::Rules;
use super::{Cluster, explain};
use crate::failure::{Advise, Exit};
use crate::run_id::{RunId, Selector};

use part::{Part, recorded};
use remove::{Removal, Scope};

/// Seconds that a pod gets to stop. The data is thrown away, and an entrypoint's shell that is still setting the database up ignores
/// SIGTERM as process 1, so waiting longer buys nothing.
pub const DEFAULT_GRACE: u32 = 1;

/// Deletes everything that carries the run's label in the namespace. Returns how many objects there were.
///
/// One object that cannot be deleted, or one kind that may not be listed, does not keep the others from being deleted.
///
/// # Errors
/// A failed request, explained; exit code 5 with what is left, and the finalizers that hold it, when `patience` is over.
pub async fn tear_down(
    cluster: &Cluster,
    run_id: &RunId,
    grace: u32,
    patience: Duration,
    tell: impl FnOnce(&str),
) -> anyhow::Result<usize> {
    let (parts, mut failures) = find(cluster, run_id).await?;
    let count = parts.iter().map(|part| part.objects.len()).sum();
    // Not before: nobody may be there to be told.
    let asked = || {
        if count > 0 {
            tell(&format!("deleting {}", summary(&parts)));
        }
    };
    let removal = Removal { selector: &run_id.selector(), grace, patience, scope: Scope::All };
    failures.extend(remove::remove(cluster, &parts, &removal, asked).await.failures);
    match failures.into_iter().next() {
        None => Ok(count),
        Some(error) => Err(error).exit(Exit::TeardownIncomplete),
    }
}

fn summary(parts: &[Part]) -> String {
    let counts: Vec<String> = parts
        .iter()
        .filter(|part| !part.objects.is_empty())
        .map(|part| format!("{} {}{}", part.objects.len(), part.kind.1, if part.objects.len() == 1 { "" } else { "s" }))
        .collect();
    counts.join(", ")
}

/// Everything of the run, by kind, and what could not be looked at.
///
/// # Errors
/// A failed request, explained.
pub async fn find(cluster: &Cluster, run_id: &RunId) -> anyhow::Result<(Vec<Part>, Vec<anyhow::Error>)> {
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
    let mut known = Vec::new();
    for kind in wanted {
        // A kind whose definition is gone has no objects either.
        if kinds.resolve(&kind).await? {
            known.push(kind);
        }
    }
    let mut failures = Vec::new();
    for outcome in join_all(known.into_iter().map(|kind| list(cluster, &kinds, kind, &selector))).await {
        match outcome {
            Ok(part) => parts.extend(part),
            Err(error) => failures.push(error),
        }
    }
    Ok((parts, failures))
}

fn objects(parts: &[Part]) -> impl Iterator<Item = &DynamicObject> {
    parts.iter().flat_map(|part| &part.objects)
}

async fn sweep(cluster: &Cluster, kinds: &Kinds, selector: &Selector) -> anyhow::Result<Vec<Part>> {
    // Without the right to list a kind, this user has not created any of it either.
    let rules = Rules::ask(cluster).await;
    let may_list = |kind: &KindName| kinds.resource(kind).is_some_and(|resource| !rules.forbid("list", resource));
    let swept = kinds::sweep().into_iter().filter(may_list);
    let lists = swept.filter_map(|kind| Some((kinds.api(&kind)?, kind))).map(|(api, kind)| async move {
        match Part::list(&api, kind, selector).await {
            Ok(part) => Ok(Some(part)),
            Err(error) if is_forbidden(&error) || is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let found = try_join_all(lists).await.map_err(|error| explain(cluster, error, "looking for what is left of the run"))?;
    Ok(found.into_iter().flatten().collect())
}

async fn list(cluster: &Cluster, kinds: &Kinds, kind: KindName, selector: &Selector) -> anyhow::Result<Option<Part>> {
    let Some(api) = kinds.api(&kind) else { return Ok(None) };
    let action = format!("listing the run's objects of kind {}", kind.1);
    Part::list(&api, kind, selector).await.map(Some).map_err(|error| explain(cluster, error, &action))
}
