//! Deletes one run's objects, and waits until they are gone. Needs nothing but the run id.
//!
//! Pods and Services are always looked at; the other kinds are those that the run's own objects record. Everything is deleted by name
//! with its UID as precondition, so an object that was replaced in between is left alone.

mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::anyhow;
use futures::future::{join_all, try_join_all};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Preconditions, PropagationPolicy};
use kube::{Error, ResourceExt};
use tokio::time::timeout;

use super::explain::{is_absent, is_forbidden};
use super::kinds::{self, KindName, Kinds};
use super::{Cluster, explain};
use crate::failure::{Advise, Exit};
use crate::manifest::stamp::KINDS_ANNOTATION;
use crate::run_id::{RunId, Selector};

/// Seconds that a pod gets to stop. The data is thrown away, and an entrypoint's shell that is still setting the database up ignores
/// SIGTERM as process 1, so waiting longer buys nothing.
pub const DEFAULT_GRACE: u32 = 1;

/// One kind's part of a run.
struct Part {
    kind: KindName,
    api: Api<DynamicObject>,
    objects: Vec<DynamicObject>,
    resource_version: String,
}

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
    mut tell: impl FnMut(&str),
) -> anyhow::Result<usize> {
    let (parts, mut failures) = find(cluster, run_id).await?;
    let count = parts.iter().map(|part| part.objects.len()).sum();
    if count > 0 {
        tell(&format!("deleting {}", summary(&parts)));
    }
    let mut pending: BTreeMap<&KindName, BTreeSet<String>> = BTreeMap::new();
    // What makes pods goes before the pods, which it would make anew.
    let (makers, rest): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| !is_core(&part.kind));
    for group in [makers, rest] {
        let deletions = group.into_iter().flat_map(|part| part.objects.iter().map(move |object| (part, object)));
        let deletions = deletions.map(|(part, object)| async move {
            let outcome = delete(&part.api, &part.kind.1, object, grace).await;
            (part, object.name_any(), outcome)
        });
        for (part, name, outcome) in join_all(deletions).await {
            match outcome {
                Ok(Deletion::Gone) => {}
                Ok(Deletion::Pending) => {
                    pending.entry(&part.kind).or_default().insert(name);
                }
                Err(error) => failures.push(explain(cluster, error, &format!("deleting {} {name}", part.kind.1))),
            }
        }
    }
    let selector = run_id.selector();
    let waits = parts.iter().filter_map(|part| Some((part, pending.remove(&part.kind)?)));
    let gone = try_join_all(waits.map(|(part, left)| wait::gone(cluster, part, left, &selector, grace)));
    match timeout(patience, gone).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => failures.push(error),
        Err(_) => failures.push(still_there(cluster, run_id, patience).await),
    }
    match failures.into_iter().next() {
        None => Ok(count),
        Some(error) => Err(error).exit(Exit::TeardownIncomplete),
    }
}

fn is_core((version, kind): &KindName) -> bool {
    version == "v1" && (kind == "Pod" || kind == "Service")
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
async fn find(cluster: &Cluster, run_id: &RunId) -> anyhow::Result<(Vec<Part>, Vec<anyhow::Error>)> {
    let mut kinds = Kinds::new(cluster);
    let selector = run_id.selector();
    let core = [("v1".to_owned(), "Pod".to_owned()), ("v1".to_owned(), "Service".to_owned())];
    let lists = core.into_iter().map(|kind| list(cluster, &kinds, kind, &selector));
    let mut parts: Vec<Part> = try_join_all(lists).await?.into_iter().flatten().collect();
    let mut wanted = recorded(&parts);
    if parts.iter().all(|part| part.objects.is_empty()) {
        // A teardown that was cut off may have left what it does not look at first.
        let swept = sweep(cluster, &kinds, &selector).await?;
        wanted = recorded(&swept);
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

fn recorded(parts: &[Part]) -> BTreeSet<KindName> {
    let objects = parts.iter().flat_map(|part| &part.objects);
    let annotations = objects.filter_map(|object| object.annotations().get(KINDS_ANNOTATION));
    annotations.flat_map(|text| text.split(',')).filter_map(kinds::parse).collect()
}

async fn sweep(cluster: &Cluster, kinds: &Kinds, selector: &Selector) -> anyhow::Result<Vec<Part>> {
    let lists = kinds::sweep().into_iter().filter_map(|kind| Some((kinds.api(&kind)?, kind))).map(|(api, kind)| async move {
        match list_part(&api, kind, selector).await {
            Ok(part) => Ok(Some(part)),
            // Without the right to list a kind, this user has not created any of it either.
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
    list_part(&api, kind, selector).await.map(Some).map_err(|error| explain(cluster, error, &action))
}

async fn list_part(api: &Api<DynamicObject>, kind: KindName, selector: &Selector) -> Result<Part, Error> {
    let list = api.list(&ListParams::default().labels(selector.as_str())).await?;
    Ok(Part { kind, api: api.clone(), objects: list.items, resource_version: list.metadata.resource_version.unwrap_or_default() })
}

/// How a deletion request ended.
pub enum Deletion {
    /// The object is gone, or another one has taken its name.
    Gone,
    /// It goes on existing for a while: a grace period, a finalizer.
    Pending,
}

/// Deletes one object, if it is still the same one. Pods get `grace` seconds; what makes pods stays until they are gone.
///
/// # Errors
/// A failed request; an object that is gone or was replaced is no failure.
pub async fn delete(api: &Api<DynamicObject>, kind: &str, object: &DynamicObject, grace: u32) -> Result<Deletion, Error> {
    let spec = object.data.get("spec");
    let makes_pods = spec.is_some_and(|spec| spec.get("template").is_some() || spec.get("jobTemplate").is_some());
    let params = DeleteParams {
        propagation_policy: makes_pods.then_some(PropagationPolicy::Foreground),
        grace_period_seconds: (kind == "Pod").then_some(grace),
        preconditions: Some(Preconditions { uid: object.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&object.name_any(), &params).await {
        // The API server answers with a status once the object is gone, and with the object while it lingers.
        Ok(answer) => Ok(if answer.is_left() { Deletion::Pending } else { Deletion::Gone }),
        Err(error) if is_absent(&error) => Ok(Deletion::Gone),
        // The UID is another one: somebody made a new object under the name.
        Err(Error::Api(status)) if status.code == 409 && status.message.contains("recondition") => Ok(Deletion::Gone),
        Err(error) => Err(error),
    }
}

async fn still_there(cluster: &Cluster, run_id: &RunId, patience: Duration) -> anyhow::Error {
    let parts = match find(cluster, run_id).await {
        Ok((parts, _)) => parts,
        Err(error) => return error,
    };
    let left: Vec<String> = parts.iter().flat_map(|part| part.objects.iter().map(|object| describe(&part.kind.1, object))).collect();
    let message = anyhow!("still there after {} s: {}", patience.as_secs(), left.join("; "));
    Err::<(), _>(message).hint("deletion goes on in the cluster; testbed down waits longer").unwrap_err()
}

fn describe(kind: &str, object: &DynamicObject) -> String {
    let name = format!("{kind} {}", object.name_any());
    match object.finalizers() {
        [] => name,
        finalizers => format!("{name} (held by the finalizer {})", finalizers.join(", ")),
    }
}
