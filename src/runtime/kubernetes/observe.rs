//! The pods of a run or of a workload, and what they say about each database's container.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Cluster;
use super::disruption::Disruption;
use super::follow::follow_log;
use super::pods::{Failure, PodWatch, Pods, Whose, condition, container_status, made_by, phase, pods_of};
use crate::database::{Database, Workload};
use crate::probe::{Container, Log, Outside, change};

pub struct Observer {
    watch: PodWatch,
    outsides: Vec<watch::Receiver<Outside>>,
    _logs: JoinSet<()>,
}

impl Observer {
    pub fn start(cluster: &Cluster, whose: Whose, databases: &[Database]) -> (Self, Failure) {
        let channel = |database: &Database| {
            let (to, from) = watch::channel(Outside::waiting("waiting for its pod"));
            ((database.clone(), to), from)
        };
        let (wanted, outsides): (Vec<_>, Vec<_>) = databases.iter().map(channel).unzip();
        let noted = wanted.clone();
        let note = move |pods: &Pods| noted.iter().for_each(|(database, to)| note(pods, database, to));
        let (watch, failure) = PodWatch::start(cluster, whose, note);
        let mut following = JoinSet::new();
        for (database, to) in wanted.into_iter().filter(|(database, _)| database.entrypoint_is_known) {
            following.spawn(follow_log(cluster.clone(), database, watch.pods(), to));
        }
        (Self { watch, outsides, _logs: following }, failure)
    }

    /// What is seen of each database's container, in the order in which the databases were given.
    pub fn outsides(&self) -> Vec<watch::Receiver<Outside>> {
        self.outsides.clone()
    }

    pub fn pods(&self) -> watch::Receiver<Pods> {
        self.watch.pods()
    }

    /// Waits until every workload has its pods ready, as Kubernetes sees it; `report` hears which ones have.
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
        let pods = self.pods();
        let pods = pods.borrow();
        workloads.iter().filter_map(|workload| unready(&pods, workload)).collect()
    }
}

fn note(pods: &Pods, database: &Database, to: &watch::Sender<Outside>) {
    let now = container_state(pods, &database.workload, &database.container);
    to.send_if_modified(|outside| {
        let changed = outside.container != now;
        if changed {
            // The log of another container is another one.
            *outside = Outside { container: now, log: Log::Unread };
        }
        changed
    });
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
    waiting.unwrap_or_else(|| Container::Waiting(without_pod(pods, workload)))
}

fn without_pod(pods: &Pods, workload: &str) -> String {
    let Some(going) = pods.values().find(|pod| made_by(pod) == Some(workload)) else {
        return "waiting for its pod".into();
    };
    match Disruption::of(going) {
        Some(disruption) => format!("its pod {}: {}", disruption.what(), disruption.reason),
        None => "its pod was deleted".into(),
    }
}

fn state_in(pod: &Pod, container: &str) -> Container {
    match container_status(pod, container) {
        Some(ContainerStatus {
            state: Some(ContainerState { running: Some(_), .. }),
            container_id: Some(id),
            ..
        }) => Container::Running(id.clone()),
        Some(ContainerStatus { state: Some(ContainerState { terminated: Some(ended), .. }), .. }) => {
            Container::Waiting(format!(
                "its container ended with code {} ({})",
                ended.exit_code,
                ended.reason.as_deref().unwrap_or("no reason")
            ))
        }
        Some(ContainerStatus { state: Some(ContainerState { waiting: Some(waiting), .. }), .. }) => {
            let message =
                waiting.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            match waiting.reason.as_deref() {
                // Volumes and network come first, and the condition, where there is one (Kubernetes 1.29 and
                // later), tells when these are done.
                None | Some("ContainerCreating")
                    if condition(pod, "PodReadyToStartContainers")
                        .is_some_and(|(status, _)| status != "True") =>
                {
                    Container::Waiting(format!(
                        "scheduled{}, preparing its volumes and its network",
                        on_node(pod)
                    ))
                }
                None | Some("ContainerCreating") => Container::Waiting(format!(
                    "scheduled{}, pulling the image, creating the container",
                    on_node(pod)
                )),
                Some("PodInitializing") => Container::Waiting("its init containers are running".into()),
                Some(reason) => Container::Waiting(format!("{reason}{message}")),
            }
        }
        _ => unscheduled(pod),
    }
}

fn on_node(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.map(|node| format!(" on {node}")).unwrap_or_default()
}

fn unscheduled(pod: &Pod) -> Container {
    let condition = condition(pod, "PodScheduled");
    match condition {
        Some((status, message)) if status != "True" && !message.is_empty() => {
            Container::Waiting(format!("not scheduled: {message}"))
        }
        Some(("True", _)) => Container::Waiting(format!("scheduled{}", on_node(pod))),
        _ => Container::Waiting("waiting for a node".into()),
    }
}

/// What a workload still lacks; `None` when it is ready.
fn unready(pods: &Pods, workload: &Workload) -> Option<String> {
    let is_done = |pod: &Pod| {
        let succeeded = phase(pod) == Some("Succeeded");
        let ready = condition(pod, "Ready").is_some_and(|(status, _)| status == "True");
        if workload.ends { succeeded } else { ready || (succeeded && workload.id.starts_with("Pod/")) }
    };
    let done = pods_of(pods, &workload.id).filter(|pod| is_done(pod)).count();
    let verb = if workload.ends { "done" } else { "ready" };
    (done < workload.replicas)
        .then(|| format!("{}: {done} of {} pods {verb}", workload.id, workload.replicas))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use crate::manifest::stamp::WORKLOAD_ANNOTATION;

    fn pods(pod: Value) -> Pods {
        let mut pods = Pods::new();
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        pod.metadata.name = Some("p".into());
        pod.metadata.annotations = Some([(WORKLOAD_ANNOTATION.to_owned(), "Pod/db".to_owned())].into());
        pods.insert("p".into(), pod);
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
        assert_eq!(
            container_state(&with_state(json!({"running": {}})), "Pod/db", "db"),
            Container::Running("c1".into())
        );
    }

    #[test]
    fn what_keeps_a_container_is_told() {
        assert_eq!(waiting(&Pods::new()), "waiting for its pod");
        assert_eq!(
            waiting(&with_state(json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}))),
            "ErrImagePull: not found"
        );
        let mut creating = with_state(json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(waiting(&creating), "scheduled on node-1, pulling the image, creating the container");
        for (status, expected) in [
            ("False", "preparing its volumes and its network"),
            ("True", "pulling the image, creating the container"),
        ] {
            let condition = json!([{"type": "PodReadyToStartContainers", "status": status}]);
            let pod = creating.get_mut("p").unwrap();
            pod.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
            assert_eq!(waiting(&creating), format!("scheduled on node-1, {expected}"));
        }
        assert_eq!(
            waiting(&with_state(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))),
            "its container ended with code 137 (OOMKilled)"
        );
        let scheduled = |status: &str, message: &str| {
            pods(
                json!({"status": {"conditions": [{"type": "PodScheduled", "status": status, "message": message}]}}),
            )
        };
        assert_eq!(
            waiting(&scheduled("False", "0/1 nodes are available")),
            "not scheduled: 0/1 nodes are available"
        );
        assert_eq!(waiting(&scheduled("True", "")), "scheduled");
    }

    #[test]
    fn a_pod_that_goes_away_no_longer_counts() {
        let mut pods = with_state(json!({"running": {}}));
        let pod = pods.get_mut("p").unwrap();
        pod.metadata = serde_json::from_value(
            json!({"name": "p", "deletionTimestamp": "2020-01-01T00:00:00Z", "annotations": {WORKLOAD_ANNOTATION: "Pod/db"}}),
        )
        .unwrap();
        assert_eq!(waiting(&pods), "its pod was deleted");
        let pod = pods.get_mut("p").unwrap();
        let condition =
            json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"});
        pod.status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
        assert_eq!(waiting(&pods), "its pod was evicted (as by a drain of its node): EvictionByEvictionAPI");
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
        let ready = |status: &str| {
            pods(json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}}))
        };
        let done = pods(
            json!({"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}}),
        );
        assert_eq!(unready(&ready("True"), &workload(false)), None);
        assert_eq!(unready(&ready("False"), &workload(false)), Some("Pod/db: 0 of 1 pods ready".into()));
        assert_eq!(unready(&ready("True"), &workload(true)), Some("Pod/db: 0 of 1 pods done".into()));
        assert_eq!(unready(&done, &workload(true)), None);
    }
}
