//! Deletes one run's objects, and waits until they are gone. Needs nothing but the run id.
//!
//! Pods and Services are always looked at; the other kinds are those that the run's own objects record. Everything is deleted by name
//! with its UID as precondition, so an object that was replaced in between is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::anyhow;
use futures::future::{join_all, try_join_all};
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Preconditions, PropagationPolicy, WatchEvent, WatchParams};
use kube::{Error, ResourceExt};
use serde_json::Value;
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
/// # Errors
/// A failed request, explained; exit code 5 with what is left, and the finalizers that hold it, when `patience` is over.
pub async fn tear_down(
    cluster: &Cluster,
    run_id: &RunId,
    grace: u32,
    patience: Duration,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<usize> {
    let parts = find(cluster, run_id).await?;
    let count = parts.iter().map(|part| part.objects.len()).sum();
    if count == 0 {
        return Ok(0);
    }
    tell(&format!("deleting {}", summary(&parts)));
    let mut pending: BTreeMap<KindName, BTreeSet<String>> = BTreeMap::new();
    // What makes pods goes before the pods, which it would make anew.
    let (makers, rest): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| !is_core(&part.kind));
    for group in [makers, rest] {
        let deletions = group.into_iter().flat_map(|part| part.objects.iter().map(move |object| (part, object)));
        let outcomes =
            join_all(deletions.map(|(part, object)| async move { (part, object, delete(&part.api, &part.kind.1, object, grace).await) }))
                .await;
        for (part, object, outcome) in outcomes {
            let action = || format!("deleting {} {}", part.kind.1, object.name_any());
            match outcome.map_err(|error| explain(cluster, error, &action())).exit(Exit::TeardownIncomplete)? {
                Deletion::Gone => {}
                Deletion::Pending => {
                    pending.entry(part.kind.clone()).or_default().insert(object.name_any());
                }
            }
        }
    }
    let selector = run_id.selector();
    let waits = parts.iter().filter_map(|part| Some((part, pending.remove(&part.kind)?)));
    let gone = try_join_all(waits.map(|(part, left)| wait_gone(cluster, part, left, &selector, grace)));
    match timeout(patience, gone).await {
        Ok(outcome) => outcome.map(|_| count).exit(Exit::TeardownIncomplete),
        Err(_) => Err(still_there(cluster, run_id, patience).await),
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

/// Everything of the run, by kind.
async fn find(cluster: &Cluster, run_id: &RunId) -> anyhow::Result<Vec<Part>> {
    let mut kinds = Kinds::new(cluster);
    let selector = run_id.selector();
    let core = [("v1".to_owned(), "Pod".to_owned()), ("v1".to_owned(), "Service".to_owned())];
    let mut parts: Vec<Part> =
        try_join_all(core.into_iter().map(|kind| list(cluster, &kinds, kind, &selector))).await?.into_iter().flatten().collect();
    let mut wanted = recorded(&parts);
    if parts.iter().all(|part| part.objects.is_empty()) {
        // A teardown that was cut off may have left what it does not look at first.
        let swept = sweep(cluster, &kinds, &selector).await?;
        wanted = recorded(&swept);
        parts.extend(swept);
    }
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
    let others = try_join_all(known.into_iter().map(|kind| list(cluster, &kinds, kind, &selector))).await?;
    parts.extend(others.into_iter().flatten());
    Ok(parts)
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
        Err(Error::Api(status)) if status.code == 409 => Ok(Deletion::Gone),
        Err(error) => Err(error),
    }
}

/// The grace period of one more deletion that moves the object on; `None` where waiting is all there is to do.
///
/// A pod that appeared late has not been deleted yet, and one that its owner's deletion took along got the long grace period of its own
/// spec. A pod whose containers have all stopped is nothing but a record: the kubelet removes it with a period of 0 as well, but only
/// when it next looks, up to ten seconds later.
fn next_grace(kind: &str, object: &DynamicObject, grace: u32) -> Option<u32> {
    if kind != "Pod" {
        return None;
    }
    match object.metadata.deletion_grace_period_seconds {
        Some(0) => None,
        Some(_) if has_stopped(object) => Some(0),
        Some(seconds) if seconds <= i64::from(grace) => None,
        _ => Some(grace),
    }
}

/// Whether no container of the pod runs, and none is on its way to: each has ended, or waits for something that failed, such as its
/// image.
fn has_stopped(pod: &DynamicObject) -> bool {
    let status = |field: &str| pod.data.get("status")?.get(field)?.as_array();
    let all_stopped = |field: &str| status(field).is_none_or(|containers| containers.iter().all(is_stopped));
    status("containerStatuses").is_some_and(|containers| !containers.is_empty())
        && ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"].into_iter().all(all_stopped)
}

fn is_stopped(container: &Value) -> bool {
    let Some(state) = container.get("state") else { return false };
    let reason = state.get("waiting").and_then(|waiting| waiting.get("reason")).and_then(Value::as_str);
    state.get("terminated").is_some() || reason.is_some_and(|reason| !["ContainerCreating", "PodInitializing"].contains(&reason))
}

/// Watches one kind until none of the run's objects is left.
async fn wait_gone(cluster: &Cluster, part: &Part, mut left: BTreeSet<String>, selector: &Selector, grace: u32) -> anyhow::Result<()> {
    let Part { kind, api, resource_version, .. } = part;
    let failed = |error| explain(cluster, error, &format!("waiting until the run's objects of kind {} are gone", kind.1));
    let mut version = resource_version.clone();
    while !left.is_empty() {
        let params = WatchParams::default().labels(selector.as_str());
        let mut events = api.watch(&params, &version).await.map_err(failed)?.boxed();
        loop {
            match events.try_next().await {
                Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    if let Some(grace) = next_grace(&kind.1, &object, grace) {
                        delete(api, &kind.1, &object, grace).await.map_err(failed)?;
                    }
                    left.insert(object.name_any());
                }
                Ok(Some(WatchEvent::Deleted(object))) => {
                    left.remove(&object.name_any());
                    if left.is_empty() {
                        return Ok(());
                    }
                }
                Ok(Some(WatchEvent::Bookmark(_))) => {}
                // 410: the version is too old to go on from.
                Ok(Some(WatchEvent::Error(status))) if status.code != 410 => return Err(failed(Error::Api(status))),
                Ok(Some(WatchEvent::Error(_)) | None) | Err(_) => break,
            }
        }
        // The watch ended (servers end them every few minutes): take stock and go on.
        let now = list_part(api, kind.clone(), selector).await.map_err(failed)?;
        version = now.resource_version;
        left = now.objects.iter().map(ResourceExt::name_any).collect();
    }
    Ok(())
}

async fn still_there(cluster: &Cluster, run_id: &RunId, patience: Duration) -> anyhow::Error {
    let parts = match find(cluster, run_id).await {
        Ok(parts) => parts,
        Err(error) => return error,
    };
    let left: Vec<String> = parts.iter().flat_map(|part| part.objects.iter().map(|object| describe(&part.kind.1, object))).collect();
    let message = anyhow!("still there after {} s: {}", patience.as_secs(), left.join("; "));
    Err::<(), _>(message)
        .exit(Exit::TeardownIncomplete)
        .hint("deletion goes on in the cluster; run the same command again to wait longer")
        .unwrap_err()
}

fn describe(kind: &str, object: &DynamicObject) -> String {
    let name = format!("{kind} {}", object.name_any());
    match object.finalizers() {
        [] => name,
        finalizers => format!("{name} (held by the finalizer {})", finalizers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(grace: Option<i64>, states: &[&str]) -> DynamicObject {
        let state = |text: &str| match text {
            "running" | "terminated" => serde_json::json!({text: {}}),
            reason => serde_json::json!({"waiting": {"reason": reason}}),
        };
        let statuses: Vec<Value> = states.iter().map(|text| serde_json::json!({"state": state(text)})).collect();
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "deletionGracePeriodSeconds": grace},
            "status": {"containerStatuses": statuses},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_deleted_until_its_grace_period_is_short_enough() {
        assert_eq!(next_grace("Pod", &pod(None, &["running"]), 1), Some(1));
        assert_eq!(next_grace("Pod", &pod(Some(30), &["running"]), 1), Some(1));
        assert_eq!(next_grace("Pod", &pod(Some(1), &["running"]), 1), None);
        assert_eq!(next_grace("Service", &pod(None, &[]), 1), None);
    }

    #[test]
    fn the_record_of_a_stopped_pod_is_removed_once() {
        assert_eq!(next_grace("Pod", &pod(Some(1), &["terminated", "terminated"]), 1), Some(0));
        assert_eq!(next_grace("Pod", &pod(Some(1), &["terminated", "running"]), 1), None);
        assert_eq!(next_grace("Pod", &pod(Some(1), &[]), 1), None);
        assert_eq!(next_grace("Pod", &pod(Some(0), &["terminated"]), 1), None);
        assert_eq!(next_grace("Pod", &pod(Some(1), &["ImagePullBackOff"]), 1), Some(0));
        assert_eq!(next_grace("Pod", &pod(Some(1), &["ContainerCreating"]), 1), None);
        // Ended, but nobody has asked for its deletion yet: it may be restarted at any moment.
        assert_eq!(next_grace("Pod", &pod(None, &["terminated"]), 1), Some(1));
    }
}
