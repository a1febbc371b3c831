//! The runs of a namespace, from the labels on their pods and Services.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;

use super::{Cluster, explain};
use crate::run_id::{RUN_LABEL, RunId, every_run};

#[derive(Default)]
pub struct Run {
    pub pods: Vec<Pod>,
    pub services: Vec<Service>,
}

/// By run id.
pub async fn runs(cluster: &Cluster, run_id: Option<&RunId>) -> anyhow::Result<BTreeMap<String, Run>> {
    let selector = run_id.map_or_else(every_run, |run_id| run_id.selector().as_str().to_owned());
    let params = ListParams::default().labels(&selector);
    let pods = cluster.api::<Pod>();
    let services = cluster.api::<Service>();
    let (pods, services) = futures::future::try_join(pods.list(&params), services.list(&params))
        .await
        .map_err(|error| explain(cluster, error, "listing runs"))
        .with_context(|| format!("looking at namespace {}", cluster.namespace))?;
    let mut runs: BTreeMap<String, Run> = BTreeMap::new();
    for pod in pods.items {
        runs.entry(run_of(&pod.metadata)).or_default().pods.push(pod);
    }
    for service in services.items {
        runs.entry(run_of(&service.metadata)).or_default().services.push(service);
    }
    Ok(runs)
}

fn run_of(metadata: &ObjectMeta) -> String {
    metadata.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL)).cloned().unwrap_or_default()
}
