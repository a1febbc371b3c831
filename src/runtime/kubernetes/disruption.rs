//! Why the cluster itself takes a pod away, by its condition `DisruptionTarget` (Kubernetes 1.26 and later).

use k8s_openapi::api::core::v1::Pod;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disruption {
    /// Kubernetes' own word for it, such as `EvictionByEvictionAPI`.
    pub reason: String,
    pub message: String,
}

impl Disruption {
    /// The one that a pod tells of. It may go on all the same: an eviction may fail.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let condition = conditions
            .iter()
            .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True")?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Some(Self { reason: text(&condition.reason), message: text(&condition.message) })
    }

    /// What happened to the pod, as the rest of a sentence about it.
    pub(super) fn what(&self) -> &'static str {
        match self.reason.as_str() {
            "EvictionByEvictionAPI" => "was evicted (as by a drain of its node)",
            "PreemptionByScheduler" => "was stopped to make room for a pod of higher priority",
            "DeletionByTaintManager" => "was taken from its node (for a taint that it does not tolerate)",
            "DeletionByPodGC" => "was deleted (its node is gone)",
            "TerminationByKubelet" => "was stopped by its node",
            _ => "was taken away by the cluster",
        }
    }
}
