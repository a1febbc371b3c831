//! The proof of readiness, left where `testbed status` finds it: on the pod, where this user may patch pods,
//! and in the state folder.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::probe::Found;
use crate::progress::Progress;
use crate::runtime::kubernetes::collect::READY_ANNOTATION;
use crate::runtime::kubernetes::observe::Observer;
use crate::runtime::kubernetes::pods::pods_of;
use crate::runtime::kubernetes::{Cluster, FIELD_MANAGER, explain};
use crate::session::plan::Plan;
use crate::state::Ready;

/// What is told of each database, by its workload and container.
pub(crate) type Records = BTreeMap<String, BTreeMap<String, Ready>>;

/// Puts into words what was found.
pub(crate) fn records(plan: &Plan, found: &[Found]) -> Records {
    let mut records = Records::new();
    for (database, found) in plan.discovery.databases.iter().zip(found) {
        let ready = Ready {
            evidence: found.evidence.kind().into(),
            detail: found.evidence.to_string(),
            at: found.at,
        };
        records.entry(database.workload.clone()).or_default().insert(database.container.clone(), ready);
    }
    records
}

/// Annotates the pods. That a Role does not allow it is no failure: nothing depends on it.
pub(crate) async fn publish(
    plan: &Plan,
    cluster: &Cluster,
    observer: &Observer,
    records: &Records,
    progress: &Progress,
) {
    let pods = observer.pods();
    let patches: Vec<(String, String)> = records
        .iter()
        .flat_map(|(workload, containers)| {
            let names: Vec<String> =
                pods_of(&pods.borrow(), workload).filter_map(|pod| pod.metadata.name.clone()).collect();
            let value = json!(containers).to_string();
            names.into_iter().map(move |name| (name, value.clone()))
        })
        .collect();
    if let Err(error) = annotate(cluster, &patches).await {
        progress.explain(&format!(
            "run {}: what proved readiness is not noted on the pods: {error:#}",
            plan.run_id
        ));
    }
}

/// Needs `patch` on `pods`, which nothing else does.
async fn annotate(cluster: &Cluster, values: &[(String, String)]) -> anyhow::Result<()> {
    let api = cluster.api::<Pod>();
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let requests = values.iter().map(async |(pod, value)| {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {READY_ANNOTATION: value}}}));
        let answer = api.patch_metadata(pod, &params, &patch).await;
        answer.map_err(|error| explain(cluster, error, &format!("annotating Pod {pod}")))
    });
    try_join_all(requests).await.map(drop)
}
