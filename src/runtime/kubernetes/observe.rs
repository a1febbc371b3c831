//! One watch on the run's pods, and what it says about each database's container.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::explain::is_forbidden;
use super::follow::follow_log;
use super::{Cluster, explain};
use crate::database::{Database, Workload};
use crate::manifest::stamp::WORKLOAD_ANNOTATION;
use crate::probe::{Container, Log, Outside, change};
use crate::run_id::RunId;

/// The run's pods by name.
pub type Pods = BTreeMap<String, Pod>;

/// The watch, running in the background until it is dropped.
pub struct Observer {
    pods: watch::Receiver<Pods>,
    outsides: Vec<watch::Receiver<Outside>>,
    task: AbortHandle,
    _logs: JoinSet<()>,
}

/// Resolves when the watch cannot go on.
pub struct Failure(JoinHandle<anyhow::Error>);

impl Failure {
    /// The reason why the watch cannot go on.
    pub async fn reason(self) -> anyhow::Error {
        match self.0.await {
            Ok(error) => error,
            Err(error) => anyhow::Error::new(error).context("watching the run's pods"),
        }
    }
}

impl Observer {
    /// Begins to watch.
    pub fn start(cluster: &Cluster, run_id: &RunId, databases: &[Database]) -> (Self, Failure) {
        let (pods_to, pods) = watch::channel(Pods::new());
        let mut wanted = Vec::new();
        let mut outsides = Vec::new();
        let mut following = JoinSet::new();
        for database in databases {
            let (to, from) = watch::channel(Outside::waiting("waiting for its pod"));
            if database.entrypoint_is_known {
                following.spawn(follow_log(cluster.clone(), database.clone(), pods.clone(), to.clone()));
            }
            wanted.push(Wanted { workload: database.workload.clone(), container: database.container.clone(), to });
            outsides.push(from);
        }
        let task = tokio::spawn(follow(cluster.clone(), run_id.clone(), pods_to, wanted));
        (Self { pods, outsides, task: task.abort_handle(), _logs: following }, Failure(task))
    }

    /// What is seen of each database's container, in the order in which the databases were given.
    pub fn outsides(&self) -> Vec<watch::Receiver<Outside>> {
        self.outsides.clone()
    }

    /// The run's pods.
    pub fn pods(&self) -> watch::Receiver<Pods> {
        self.pods.clone()
    }

    /// Waits until every workload has its pods ready, as Kubernetes sees it. `report` hears of each workload whether it is.
    pub async fn all_ready(&self, workloads: &[Workload], mut report: impl FnMut(&str, bool)) {
        let mut pods = self.pods();
        loop {
            let all = {
                let pods = pods.borrow_and_update();
                workloads.iter().fold(true, |all, workload| {
                    let ready = unready(&pods, workload).is_none();
                    report(&workload.id, ready);
                    all && ready
                })
            };
            if all {
                return;
            }
            change(&mut pods).await;
        }
    }

    /// What the workloads lack that are not ready, in words.
    pub fn unready(&self, workloads: &[Workload]) -> Vec<String> {
        let pods = self.pods.borrow();
        workloads.iter().filter_map(|workload| unready(&pods, workload)).collect()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Wanted {
    workload: String,
    container: String,
    to: watch::Sender<Outside>,
}

/// Follows the watch until it cannot go on. Lost connections are taken up again, with increasing pauses.
async fn follow(cluster: Cluster, run_id: RunId, pods_to: watch::Sender<Pods>, wanted: Vec<Wanted>) -> anyhow::Error {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let config = watcher::Config::default().labels(run_id.selector().as_str());
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut listed = Pods::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => insert(&mut listed, pod),
            Ok(watcher::Event::InitDone) => {
                pods_to.send_replace(std::mem::take(&mut listed));
            }
            Ok(watcher::Event::Apply(pod)) => pods_to.send_modify(|pods| insert(pods, pod)),
            Ok(watcher::Event::Delete(pod)) => pods_to.send_modify(|pods| drop(pods.remove(&name(&pod)))),
            Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) if is_forbidden(&error) => {
                return explain(&cluster, error, "watching the run's pods");
            }
            // The watcher comes back by itself; what it missed arrives with its next list.
            Err(_) => continue,
        }
        let pods = pods_to.borrow();
        for Wanted { workload, container, to } in &wanted {
            let now = container_state(&pods, workload, container);
            to.send_if_modified(|outside| {
                let changed = outside.container != now;
                if changed {
                    // The log of another container is another one.
                    *outside = Outside { container: now, log: Log::Unread };
                }
                changed
            });
        }
    }
    anyhow::anyhow!("the watch on the run's pods ended")
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn insert(pods: &mut Pods, mut pod: Pod) {
    // Most of a pod's size, and of no use here.
    pod.metadata.managed_fields = None;
    pods.insert(name(&pod), pod);
}

/// The pods that a workload has made, those that are going away left out.
pub fn pods_of<'a>(pods: &'a Pods, workload: &str) -> impl Iterator<Item = &'a Pod> {
    pods.values().filter(move |pod| {
        let made_by = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(WORKLOAD_ANNOTATION));
        made_by.is_some_and(|id| id == workload) && pod.metadata.deletion_timestamp.is_none()
    })
}

/// The pod of a workload that can take connections: one that is ready, else any that has not ended. An evicted one stays listed beside the
/// one that a controller makes in its place.
pub fn serving<'a>(pods: &'a Pods, workload: &str) -> Option<&'a str> {
    let has_ended = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Failed" | "Succeeded"))
    };
    let is_ready = |pod: &&Pod| condition(pod, "Ready").is_some_and(|(status, _)| status == "True");
    pods_of(pods, workload).filter(|pod| !has_ended(pod)).max_by_key(is_ready)?.metadata.name.as_deref()
}

/// The pod of a workload in which a container of this id runs.
pub fn pod_running<'a>(pods: &'a Pods, workload: &str, container: &str, id: &str) -> Option<&'a str> {
    let found = pods_of(pods, workload).find(|pod| state_in(pod, container) == Container::Running(id.to_owned()))?;
    found.metadata.name.as_deref()
}

/// The state of a workload's container: running in any of its pods, else why not.
fn container_state(pods: &Pods, workload: &str, container: &str) -> Container {
    let mut waiting = None;
    for pod in pods_of(pods, workload) {
        match state_in(pod, container) {
            running @ Container::Running(_) => return running,
            other => waiting = Some(other),
        }
    }
    waiting.unwrap_or_else(|| Container::Waiting("waiting for its pod".into()))
}

fn state_in(pod: &Pod, container: &str) -> Container {
    match status_of(pod, container) {
        Some(ContainerStatus { state: Some(ContainerState { running: Some(_), .. }), container_id: Some(id), .. }) => {
            Container::Running(id.clone())
        }
        Some(ContainerStatus { state: Some(ContainerState { terminated: Some(ended), .. }), .. }) => Container::Waiting(format!(
            "its container ended with code {} ({})",
            ended.exit_code,
            ended.reason.as_deref().unwrap_or("no reason")
        )),
        Some(ContainerStatus { state: Some(ContainerState { waiting: Some(waiting), .. }), .. }) => {
            let message = waiting.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            match waiting.reason.as_deref() {
                None | Some("ContainerCreating") => {
                    Container::Waiting(format!("scheduled{}, pulling the image, creating the container", on_node(pod)))
                }
                Some("PodInitializing") => Container::Waiting("its init containers are running".into()),
                Some(reason) => Container::Waiting(format!("{reason}{message}")),
            }
        }
        _ => unscheduled(pod),
    }
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == container)
}

fn on_node(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.map(|node| format!(" on {node}")).unwrap_or_default()
}

fn unscheduled(pod: &Pod) -> Container {
    let condition = condition(pod, "PodScheduled");
    match condition {
        Some((status, message)) if status != "True" && !message.is_empty() => Container::Waiting(format!("not scheduled: {message}")),
        Some(("True", _)) => Container::Waiting(format!("scheduled{}", on_node(pod))),
        _ => Container::Waiting("waiting for a node".into()),
    }
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, found.message.as_deref().unwrap_or_default()))
}

/// What a workload still lacks; `None` when it is ready.
fn unready(pods: &Pods, workload: &Workload) -> Option<String> {
    let is_done = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let succeeded = phase == Some("Succeeded");
        let ready = condition(pod, "Ready").is_some_and(|(status, _)| status == "True");
        if workload.ends { succeeded } else { ready || (succeeded && workload.id.starts_with("Pod/")) }
    };
    let done = pods_of(pods, &workload.id).filter(|pod| is_done(pod)).count();
    let verb = if workload.ends { "done" } else { "ready" };
    (done < workload.replicas).then(|| format!("{}: {done} of {} pods {verb}", workload.id, workload.replicas))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pods(pod: Value) -> Pods {
        let mut pods = Pods::new();
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        pod.metadata.name = Some("p".into());
        pod.metadata.annotations = Some([(WORKLOAD_ANNOTATION.to_owned(), "Pod/db".to_owned())].into());
        insert(&mut pods, pod);
        pods
    }

    fn with_state(state: Value) -> Pods {
        pods(json!({
            "spec": {"containers": [], "nodeName": "node-1"},
            "status": {"containerStatuses": [{"name": "db", "image": "", "imageID": "", "ready": true, "restartCount": 0, "containerID": "c1", "state": state}]},
        }))
    }

    fn waiting(pods: &Pods) -> String {
        match container_state(pods, "Pod/db", "db") {
            Container::Waiting(why) => why,
            Container::Running(id) => panic!("{id} runs"),
        }
    }

    #[test]
    fn a_running_container_is_known_by_its_id() {
        assert_eq!(container_state(&with_state(json!({"running": {}})), "Pod/db", "db"), Container::Running("c1".into()));
    }

    #[test]
    fn what_keeps_a_container_is_told() {
        assert_eq!(waiting(&Pods::new()), "waiting for its pod");
        assert_eq!(waiting(&with_state(json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}))), "ErrImagePull: not found");
        assert!(waiting(&with_state(json!({"waiting": {"reason": "ContainerCreating"}}))).starts_with("scheduled on node-1"));
        assert_eq!(
            waiting(&with_state(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))),
            "its container ended with code 137 (OOMKilled)"
        );
        let scheduled = |status: &str, message: &str| {
            pods(json!({"status": {"conditions": [{"type": "PodScheduled", "status": status, "message": message}]}}))
        };
        assert_eq!(waiting(&scheduled("False", "0/1 nodes are available")), "not scheduled: 0/1 nodes are available");
        assert_eq!(waiting(&scheduled("True", "")), "scheduled");
    }

    #[test]
    fn connections_go_to_the_pod_that_takes_them() {
        let with = |phase: &str, ready: &str| {
            pods(json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})).remove("p").unwrap()
        };
        let named = |all: &[(&str, Pod)]| -> Pods {
            let rename = |(name, pod): &(&str, Pod)| {
                let mut pod = pod.clone();
                pod.metadata.name = Some((*name).into());
                ((*name).to_owned(), pod)
            };
            all.iter().map(rename).collect()
        };
        let (evicted, starting, ready) = (with("Failed", "False"), with("Running", "False"), with("Running", "True"));
        assert_eq!(serving(&named(&[("a", ready.clone()), ("b", starting.clone())]), "Pod/db"), Some("a"));
        assert_eq!(serving(&named(&[("a", evicted.clone()), ("b", starting)]), "Pod/db"), Some("b"));
        assert_eq!(serving(&named(&[("a", evicted)]), "Pod/db"), None);
        assert_eq!(serving(&named(&[("a", ready)]), "Pod/other"), None);
    }

    #[test]
    fn a_pod_that_goes_away_no_longer_counts() {
        let mut pods = with_state(json!({"running": {}}));
        let pod = pods.get_mut("p").unwrap();
        pod.metadata = serde_json::from_value(
            json!({"name": "p", "deletionTimestamp": "2020-01-01T00:00:00Z", "annotations": {WORKLOAD_ANNOTATION: "Pod/db"}}),
        )
        .unwrap();
        assert_eq!(waiting(&pods), "waiting for its pod");
    }

    #[test]
    fn pods_have_to_be_ready_and_jobs_done() {
        let workload = |ends| Workload {
            id: "Pod/db".into(),
            place: String::new(),
            replicas: 1,
            ends,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec: k8s_openapi::api::core::v1::PodSpec::default(),
        };
        let ready = |status: &str| pods(json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}}));
        let done = pods(json!({"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}}));
        assert_eq!(unready(&ready("True"), &workload(false)), None);
        assert_eq!(unready(&ready("False"), &workload(false)), Some("Pod/db: 0 of 1 pods ready".into()));
        assert_eq!(unready(&ready("True"), &workload(true)), Some("Pod/db: 0 of 1 pods done".into()));
        assert_eq!(unready(&done, &workload(true)), None);
    }
}
