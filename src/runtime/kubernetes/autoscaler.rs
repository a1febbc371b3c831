//! HorizontalPodAutoscalers, which set replicas whatever anybody else wants.

use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use kube::api::ListParams;
use kube::{Error, ResourceExt};

use super::Cluster;

/// The name of the one that scales an object. Asks for version 1, which all servers have.
pub async fn of(cluster: &Cluster, kind: &str, name: &str) -> Result<Option<String>, Error> {
    let api = cluster.api::<HorizontalPodAutoscaler>();
    let all = api.list(&ListParams::default()).await?;
    let scales = |autoscaler: &&HorizontalPodAutoscaler| {
        let target = &autoscaler.spec.scale_target_ref;
        target.kind == kind && target.name == name
    };
    Ok(all.items.iter().find(scales).map(ResourceExt::name_any))
}
