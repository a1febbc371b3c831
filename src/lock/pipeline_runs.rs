//! PipelineRuns as the API server has them, in the namespace of the locks.

use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Error, ResourceExt};
use serde_json::Value;
use tokio::time::timeout;

use super::abandonment::PipelineRunStatus;
use super::backoff::Pauses;
use super::object::REQUEST;
use super::state::{PipelineRun, Terms};
use crate::runtime::kubernetes::explain::{is_absent, is_forbidden};
use crate::runtime::kubernetes::{Cluster, explain};

/// The versions in which a cluster may have them, the one to use first.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// How often a request is tried that fails for a reason that can pass.
const TRIES: usize = 8;

/// What the API server says of a PipelineRun.
pub enum Found {
    /// There is one of that name.
    There(Box<DynamicObject>),
    /// There is none.
    Nowhere,
    /// The cluster has nothing of the kind.
    NoKind,
    /// It may not be read.
    Forbidden,
}

/// Looks for a PipelineRun by its name.
///
/// # Errors
/// A request that failed again and again, explained.
pub async fn find(cluster: &Cluster, name: &str) -> anyhow::Result<Found> {
    for version in VERSIONS {
        return match get(&api(cluster, version), name).await {
            Ok(found) => Ok(Found::There(Box::new(found))),
            Err(Error::Api(status)) if status.code == 404 && status.details.as_ref().is_some_and(|details| details.name == name) => {
                Ok(Found::Nowhere)
            }
            // Said of the path.
            Err(error) if is_absent(&error) => continue,
            Err(error) if is_forbidden(&error) => Ok(Found::Forbidden),
            Err(error) => Err(explain(cluster, error, &format!("reading PipelineRun {name}"))),
        };
    }
    Ok(Found::NoKind)
}

async fn get(api: &Api<DynamicObject>, name: &str) -> Result<DynamicObject, Error> {
    for pause in Pauses::default().take(TRIES) {
        match timeout(REQUEST, api.get(name)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(Error::Api(status))) if status.code < 500 => return Err(Error::Api(status)),
            Ok(Err(_)) | Err(_) => tokio::time::sleep(pause).await,
        }
    }
    api.get(name).await
}

/// The PipelineRuns of the namespace, in one of the versions.
pub fn api(cluster: &Cluster, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tekton.dev", version, "PipelineRun");
    let resource = ApiResource::from_gvk_with_plural(&kind, "pipelineruns");
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
}

/// What the PipelineRun does just now of somebody who holds or waits.
pub async fn look(cluster: &Cluster, terms: &Terms) -> PipelineRunStatus {
    let Some(pipeline_run) = &terms.pipeline_run else { return PipelineRunStatus::Unreadable };
    match find(cluster, &pipeline_run.name).await {
        Ok(Found::There(found)) => status_of(Some(&found), pipeline_run),
        Ok(Found::Nowhere) => PipelineRunStatus::Over,
        Ok(Found::NoKind | Found::Forbidden) | Err(_) => PipelineRunStatus::Unreadable,
    }
}

/// What a PipelineRun's own words mean. One that is deleted is over, however long a finalizer keeps it (that of Tekton Results does for minutes).
pub fn status_of(found: Option<&DynamicObject>, wanted: &PipelineRun) -> PipelineRunStatus {
    let Some(found) = found else { return PipelineRunStatus::Over };
    if wanted.uid.is_some() && found.uid() != wanted.uid {
        return PipelineRunStatus::Over;
    }
    if found.metadata.deletion_timestamp.is_some() {
        return PipelineRunStatus::Over;
    }
    let status = &found.data["status"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_ended =
        |condition: &Value| condition["type"] == "Succeeded" && (condition["status"] == "True" || condition["status"] == "False");
    if status["completionTime"].is_string() || conditions.iter().any(has_ended) {
        PipelineRunStatus::Over
    } else {
        PipelineRunStatus::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_run_lives_until_it_says_otherwise() {
        let wanted = PipelineRun { name: "p".into(), uid: Some("u".into()) };
        let status = |uid: &str, status: Value| {
            let body = serde_json::json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "p", "uid": uid}, "status": status});
            status_of(Some(&serde_json::from_value(body).unwrap()), &wanted)
        };
        let condition = |status: &str| serde_json::json!({"conditions": [{"type": "Succeeded", "status": status}]});
        assert_eq!(status_of(None, &wanted), PipelineRunStatus::Over);
        assert_eq!(status("u", Value::Null), PipelineRunStatus::Running);
        assert_eq!(status("u", condition("Unknown")), PipelineRunStatus::Running);
        assert_eq!(status("u", condition("False")), PipelineRunStatus::Over);
        assert_eq!(status("u", serde_json::json!({"completionTime": "2026-01-01T00:00:00Z"})), PipelineRunStatus::Over);
        assert_eq!(status("another", Value::Null), PipelineRunStatus::Over);
        let kept =
            serde_json::json!({"metadata": {"name": "p", "uid": "u", "finalizers": ["a/b"], "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(status_of(Some(&serde_json::from_value(kept).unwrap()), &wanted), PipelineRunStatus::Over);
    }
}
