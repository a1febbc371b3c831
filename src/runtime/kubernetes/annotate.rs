//! Notes on pods that exist. Needs `patch` on `pods`, which nothing else here does.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Cluster, FIELD_MANAGER, explain};

/// Sets one annotation on each of the pods, given by name and value.
pub async fn annotate(cluster: &Cluster, key: &str, values: &[(String, String)]) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let requests = values.iter().map(|(pod, value)| {
        let (api, params) = (&api, &params);
        async move {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
            let answer = api.patch_metadata(pod, params, &patch).await;
            answer.map_err(|error| explain(cluster, error, &format!("annotating Pod {pod}")))
        }
    });
    try_join_all(requests).await.map(drop)
}
