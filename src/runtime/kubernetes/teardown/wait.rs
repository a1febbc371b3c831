//! Waits until deleted objects are gone, and helps pods along whose record outlives them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use kube::{Error, ResourceExt};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::part::{Part, delete};
use super::remove::{Removal, Scope};
use crate::run_id::Selector;
use crate::runtime::kubernetes::contact::pause;
use crate::runtime::kubernetes::explain::is_forbidden;
use crate::runtime::kubernetes::{Cluster, explain};

/// What the kubelet gets on top of the grace period to report the end of a pod in which nothing runs. One
/// whose deletion meets the start of its containers, for example, is taken down at once and reported up to a
/// minute later.
const REPORT: Duration = Duration::from_secs(3);

/// Watches one kind until none of the run's objects is left; where that is not allowed, lists it again and
/// again. `left` are the UIDs of those that were deleted, by their names.
pub async fn gone(
    cluster: &Cluster,
    part: &Part,
    left: BTreeMap<String, String>,
    removal: &Removal<'_>,
) -> anyhow::Result<()> {
    let (names, uids) = left.into_iter().unzip();
    let only = (!matches!(removal.scope, Scope::All)).then_some(uids);
    let mut wait = Wait {
        part,
        selector: removal.selector,
        grace: removal.grace,
        only,
        left: names,
        idle: BTreeMap::new(),
    };
    wait.watch().await.map_err(|error| {
        let action = format!("waiting until the run's objects of kind {} are gone", part.kind.1);
        explain(cluster, error, &action)
    })
}

struct Wait<'a> {
    part: &'a Part,
    selector: &'a Selector,
    grace: u32,
    /// The UIDs of the objects that are meant, unless all are.
    only: Option<BTreeSet<String>>,
    /// The names.
    left: BTreeSet<String>,
    /// Deleted pods in which nothing runs, and when their record is removed without the kubelet's word.
    idle: BTreeMap<String, (Instant, DynamicObject)>,
}

impl Wait<'_> {
    async fn watch(&mut self) -> Result<(), Error> {
        let Part { kind, api, resource_version, .. } = self.part;
        let params = WatchParams::default().labels(self.selector.as_str());
        let mut version = resource_version.clone();
        let mut lists = 0;
        while !self.left.is_empty() {
            match api.watch(&params, &version).await {
                Ok(events) => self.follow(events.boxed()).await?,
                Err(error) if is_forbidden(&error) => {
                    sleep(pause(lists)).await;
                    self.remove_idle().await?;
                    lists += 1;
                }
                Err(error) => return Err(error),
            }
            if self.left.is_empty() {
                break;
            }
            // The watch ended (servers end them every few minutes): take stock and go on.
            let now = Part::list(api, kind.clone(), self.selector).await?;
            version = now.resource_version;
            self.left.clear();
            let idle = std::mem::take(&mut self.idle);
            for object in now.objects {
                self.see(object).await?;
            }
            // Since when a pod has been idle, a list does not tell.
            for (name, (deadline, _)) in idle {
                if let Some((later, _)) = self.idle.get_mut(&name) {
                    *later = deadline.min(*later);
                }
            }
        }
        Ok(())
    }

    /// Takes note of what happens until nothing is left, or the watch ends.
    async fn follow(
        &mut self,
        mut events: impl Stream<Item = Result<WatchEvent<DynamicObject>, Error>> + Unpin,
    ) -> Result<(), Error> {
        while !self.left.is_empty() {
            let next = self.idle.values().map(|(deadline, _)| *deadline).min();
            let event = tokio::select! {
                event = events.try_next() => event,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    self.remove_idle().await?;
                    continue;
                }
            };
            match event {
                Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    self.see(object).await?;
                }
                Ok(Some(WatchEvent::Deleted(object))) => {
                    self.idle.remove(&object.name_any());
                    self.left.remove(&object.name_any());
                }
                Ok(Some(WatchEvent::Bookmark(_))) => {}
                // 410: the version is too old to go on from.
                Ok(Some(WatchEvent::Error(status))) if status.code != 410 => return Err(Error::Api(status)),
                Ok(Some(WatchEvent::Error(_)) | None) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// Takes note of an object that is still there, and deletes it again if that moves it on.
    async fn see(&mut self, object: DynamicObject) -> Result<(), Error> {
        let Part { kind, api, .. } = self.part;
        if !self.selector.selects(object.labels()) {
            return Ok(());
        }
        if self.only.as_ref().is_some_and(|only| object.uid().is_none_or(|uid| !only.contains(&uid))) {
            return Ok(());
        }
        let name = object.name_any();
        if let Some(grace) = next_grace(&kind.1, &object, self.grace) {
            delete(api, &kind.1, &object, grace).await?;
        }
        if kind.1 == "Pod" && is_idle(&object) {
            let deadline = Instant::now() + Duration::from_secs(self.grace.into()) + REPORT;
            self.idle.entry(name.clone()).or_insert((deadline, object));
        } else {
            self.idle.remove(&name);
        }
        self.left.insert(name);
        Ok(())
    }

    async fn remove_idle(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let over: Vec<_> = self.idle.extract_if(.., |_, (deadline, _)| *deadline <= now).collect();
        for (_, (_, pod)) in over {
            delete(&self.part.api, &self.part.kind.1, &pod, 0).await?;
        }
        Ok(())
    }
}

/// The grace period of one more deletion that moves the object on; `None` where only waiting helps.
///
/// A pod that appeared late has not been deleted yet, and one that its owner's deletion took along may have
/// got a longer grace period of its own. A pod whose containers have all stopped is nothing but a record: the
/// kubelet removes it with a period of 0 as well, but only when it next looks, up to ten seconds later.
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

/// Whether no container of the pod runs, and none is on its way to.
fn has_stopped(pod: &DynamicObject) -> bool {
    let mut containers = containers(pod).peekable();
    containers.peek().is_some() && containers.all(is_stopped)
}

/// A container of a deleted pod is not started again: it has stopped when it has ended, now or before, or
/// waits for something that failed, such as its image. (One that the kubelet loses sight of during the
/// deletion is reported as `ContainerCreating` again, with its end in `lastState`.)
fn is_stopped(container: &Value) -> bool {
    let Some(state) = container.get("state") else { return false };
    let ended = |state: &Value| state.get("terminated").is_some();
    match state.get("waiting") {
        None => ended(state),
        Some(waiting) => {
            let reason = waiting.get("reason").and_then(Value::as_str);
            container.get("lastState").is_some_and(ended)
                || reason.is_some_and(|reason| !["ContainerCreating", "PodInitializing"].contains(&reason))
        }
    }
}

/// Whether the pod is being deleted, and the kubelet does not say that any container of it runs.
fn is_idle(pod: &DynamicObject) -> bool {
    let runs = |container: &Value| container.get("state").is_some_and(|state| state.get("running").is_some());
    pod.metadata.deletion_timestamp.is_some()
        && pod.metadata.deletion_grace_period_seconds != Some(0)
        && !containers(pod).any(runs)
}

fn containers(pod: &DynamicObject) -> impl Iterator<Item = &Value> {
    let status = pod.data.get("status");
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    lists.into_iter().filter_map(move |list| status?.get(list)?.as_array()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(grace: Option<i64>, states: &[&str]) -> DynamicObject {
        let state = |text: &str| match text {
            "running" | "terminated" => serde_json::json!({"state": {text: {}}}),
            "lost" => {
                serde_json::json!({"state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {"terminated": {}}})
            }
            reason => serde_json::json!({"state": {"waiting": {"reason": reason}}, "lastState": {}}),
        };
        let statuses: Vec<Value> = states.iter().map(|text| state(text)).collect();
        let deleted = grace.map(|_| "2020-01-01T00:00:00Z");
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "deletionGracePeriodSeconds": grace, "deletionTimestamp": deleted},
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
        assert_eq!(next_grace("Pod", &pod(Some(1), &["lost"]), 1), Some(0));
        assert_eq!(next_grace("Pod", &pod(Some(1), &["ContainerCreating"]), 1), None);
        // Ended, but nobody has asked for its deletion yet: it may be restarted at any moment.
        assert_eq!(next_grace("Pod", &pod(None, &["terminated"]), 1), Some(1));
    }

    #[test]
    fn a_deleted_pod_is_idle_until_its_record_is_being_removed() {
        assert!(is_idle(&pod(Some(1), &["ContainerCreating"])));
        assert!(is_idle(&pod(Some(1), &[])));
        assert!(!is_idle(&pod(None, &["ContainerCreating"])));
        assert!(!is_idle(&pod(Some(1), &["ContainerCreating", "running"])));
        assert!(!is_idle(&pod(Some(0), &["ContainerCreating"])));
    }
}
