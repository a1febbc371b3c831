//! One watch on pods, those of a run or of a workload that lives without one, and whose they are.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::watcher::Config;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use super::maker::Maker;
use super::updates::{Update, updates};
use super::{Cluster, explain};
use crate::manifest::stamp::WORKLOAD_ANNOTATION;
use crate::run_id::RunId;

/// Pods by name; among them those that are being deleted, and those of the manifest that are gone.
pub type Pods = BTreeMap<String, Pod>;

#[derive(Debug, Clone)]
pub enum Whose {
    /// Those with the run's label; an annotation on each tells its workload.
    Run(RunId),
    /// Those of one workload. Each gets that annotation here, in what was read of it. One that had ended
    /// before the first look is a record that nobody has cleared away, and is left out.
    Maker(Maker),
}

impl Whose {
    fn selector(&self) -> String {
        match self {
            Self::Run(run_id) => run_id.selector().as_str().to_owned(),
            Self::Maker(maker) => maker.selector.to_string(),
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Run(_) => "watching the run's pods".into(),
            Self::Maker(maker) => format!("watching the pods of {maker}"),
        }
    }

    /// Whether the pod is meant. Notes on it whose it is.
    fn claim(&self, pod: &mut Pod) -> bool {
        let Self::Maker(maker) = self else { return true };
        let id = maker.id();
        pod.metadata.annotations.get_or_insert_default().insert(WORKLOAD_ANNOTATION.into(), id);
        maker.has_made(pod)
    }
}

/// The watch, running in the background until it is dropped.
pub struct PodWatch {
    pods: watch::Receiver<Pods>,
    task: AbortHandle,
}

/// Resolves when the watch cannot go on.
pub struct Failure(JoinHandle<anyhow::Error>, String);

impl Failure {
    pub async fn reason(&mut self) -> anyhow::Error {
        match (&mut self.0).await {
            Ok(error) => error,
            Err(error) => anyhow::Error::new(error).context(self.1.clone()),
        }
    }
}

impl PodWatch {
    /// Begins to watch. `changed` hears of every change.
    pub fn start(
        cluster: &Cluster,
        whose: Whose,
        changed: impl FnMut(&Pods) + Send + 'static,
    ) -> (Self, Failure) {
        let (to, pods) = watch::channel(Pods::new());
        let what = whose.what();
        let task = tokio::spawn(follow(cluster.clone(), whose, to, changed));
        (Self { pods, task: task.abort_handle() }, Failure(task, what))
    }

    /// The pods; nothing has changed before their first complete list.
    pub fn pods(&self) -> watch::Receiver<Pods> {
        self.pods.clone()
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    cluster: Cluster,
    whose: Whose,
    to: watch::Sender<Pods>,
    mut changed: impl FnMut(&Pods),
) -> anyhow::Error {
    let api = cluster.api::<Pod>();
    let mut updates = updates(api, Config::default().labels(&whose.selector()), Some);
    let mut past: Option<BTreeSet<String>> = None;
    let is_past = |past: &Option<BTreeSet<String>>, pod: &Pod| {
        past.as_ref().is_some_and(|past| past.contains(uid(pod)))
    };
    while let Some(update) = updates.next().await {
        match update {
            Ok(Update::All(all)) => {
                let mut pods = Pods::new();
                all.into_iter().for_each(|pod| insert(&mut pods, pod, &whose));
                let over = |pod: &&Pod| matches!(whose, Whose::Maker(_)) && is_record(pod);
                past.get_or_insert_with(|| {
                    pods.values().filter(over).map(|pod| uid(pod).to_owned()).collect()
                });
                pods.retain(|_, pod| !is_past(&past, pod));
                to.send_replace(pods);
            }
            Ok(Update::Changed(pod)) if is_past(&past, &pod) => continue,
            Ok(Update::Changed(pod)) => to.send_modify(|pods| insert(pods, pod, &whose)),
            Ok(Update::Deleted(pod)) => to.send_modify(|pods| leave(pods, pod, &whose)),
            Ok(Update::Interrupted(_)) => continue,
            Err(error) => return explain(&cluster, error, &whose.what()),
        }
        changed(&to.borrow());
    }
    anyhow::anyhow!("{}: it ended", whose.what())
}

fn insert(pods: &mut Pods, mut pod: Pod, whose: &Whose) {
    if whose.claim(&mut pod) {
        pods.insert(name(&pod).to_owned(), pod);
    } else {
        pods.remove(name(&pod));
    }
}

/// Takes out a pod that is gone. One that nobody makes anew stays, as one that is being deleted, for what it
/// tells of its end: an eviction may say why it comes and take the pod away within the same moment.
fn leave(pods: &mut Pods, mut pod: Pod, whose: &Whose) {
    pods.remove(name(&pod));
    if made_by(&pod).is_some_and(|workload| workload.starts_with("Pod/")) {
        pod.metadata.deletion_timestamp.get_or_insert_with(|| Time(Timestamp::now()));
        insert(pods, pod, whose);
    }
}

pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// What tells a pod from a later one of the same name.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Whether all of the pod's containers have ended for good.
pub fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), Some("Failed" | "Succeeded"))
}

/// Whether nothing is left of the pod but what the cluster tells of it, such as one that its node has
/// evicted. One that is being deleted is on its way to not even that.
pub fn is_record(pod: &Pod) -> bool {
    is_over(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Its status and message.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, found.message.as_deref().unwrap_or_default()))
}

/// What is told of a pod's container: one of its own, or one that comes before them, such as a sidecar.
pub fn container_status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == container)
}

/// The workload that has made a pod, as `Kind/name`.
pub fn made_by(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(WORKLOAD_ANNOTATION).map(String::as_str)
}

/// The pods that a workload has made, those that are going away left out.
pub fn pods_of<'a>(pods: &'a Pods, workload: &str) -> impl Iterator<Item = &'a Pod> {
    pods.values()
        .filter(move |pod| made_by(pod) == Some(workload) && pod.metadata.deletion_timestamp.is_none())
}

/// The pod of a workload that can take connections: one that is ready, else any that has not ended. An
/// evicted one stays listed beside the one that a controller makes in its place.
pub fn serving<'a>(pods: &'a Pods, workload: &str) -> Option<&'a Pod> {
    let is_ready = |pod: &&Pod| condition(pod, "Ready").is_some_and(|(status, _)| status == "True");
    pods_of(pods, workload).filter(|pod| !is_over(pod)).max_by_key(is_ready)
}

/// The pod of a workload in which a container of this id runs.
pub fn running<'a>(pods: &'a Pods, workload: &str, container: &str, id: &str) -> Option<&'a str> {
    let runs = |pod: &&Pod| {
        container_status(pod, container).is_some_and(|status| {
            status.container_id.as_deref() == Some(id)
                && status.state.as_ref().is_some_and(|state| state.running.is_some())
        })
    };
    pods_of(pods, workload).find(runs)?.metadata.name.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(phase: &str, ready: &str) -> Pod {
        let status = json!({"phase": phase, "conditions": [{"type": "Ready", "status": ready}]});
        serde_json::from_value(
            json!({"metadata": {"annotations": {WORKLOAD_ANNOTATION: "Pod/db"}}, "status": status}),
        )
        .unwrap()
    }

    fn named(all: &[(&str, &Pod)]) -> Pods {
        let rename = |(name, pod): &(&str, &Pod)| {
            let mut pod = (*pod).clone();
            pod.metadata.name = Some((*name).into());
            ((*name).to_owned(), pod)
        };
        all.iter().map(rename).collect()
    }

    #[test]
    fn connections_go_to_the_pod_that_takes_them() {
        let (evicted, starting, ready) =
            (pod("Failed", "False"), pod("Running", "False"), pod("Running", "True"));
        let name = |pods: &[(&str, &Pod)], workload| {
            serving(&named(pods), workload).and_then(|pod| pod.metadata.name.clone())
        };
        assert_eq!(name(&[("a", &ready), ("b", &starting)], "Pod/db").as_deref(), Some("a"));
        assert_eq!(name(&[("a", &evicted), ("b", &starting)], "Pod/db").as_deref(), Some("b"));
        assert_eq!(name(&[("a", &evicted)], "Pod/db"), None);
        assert_eq!(name(&[("a", &ready)], "Pod/other"), None);
    }
}
