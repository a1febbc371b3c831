//! A PipelineRun as the cluster has it, and whether it goes on. One answer for all who ask: the locks that it
//! holds, and the runs that it owns.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Error;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::Value;
use tokio::time::timeout;

use super::backoff::Pauses;
use super::explain::{is_absent, is_forbidden, is_object_absent};
use super::{Cluster, explain};

/// The versions in which a cluster may have them, the one to use first.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// A request that is longer under way is tried again.
const REQUEST: Duration = Duration::from_secs(10);

/// How often a request is tried that fails for a reason that can pass.
const TRIES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    Running,
    /// It has ended, or is being deleted, since then if that is told.
    Over(Option<Timestamp>),
    /// There is none of that name and UID.
    Gone,
    /// Nobody has looked yet.
    Unasked,
    /// It cannot be known: the PipelineRun may not be read, or there is nothing of the kind.
    Unreadable,
}

impl Life {
    /// What a PipelineRun's own words mean. One that is deleted is over, however long a finalizer keeps it
    /// (that of Tekton Results does for minutes).
    pub fn of(found: Option<&DynamicObject>, uid: Option<&str>) -> Self {
        let Some(found) = found.filter(|found| uid.is_none() || found.metadata.uid.as_deref() == uid) else {
            return Self::Gone;
        };
        let status = &found.data["status"];
        let has_ended = |condition: &Value| {
            condition["type"] == "Succeeded"
                && (condition["status"] == "True" || condition["status"] == "False")
        };
        let end =
            status["conditions"].as_array().into_iter().flatten().find(|condition| has_ended(condition));
        let time = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let completed = &status["completionTime"];
        let deleted = found.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        match completed.is_string() || end.is_some() || deleted.is_some() {
            true => Self::Over(time(completed).or_else(|| time(&end?["lastTransitionTime"])).or(deleted)),
            false => Self::Running,
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, Self::Over(_) | Self::Gone)
    }

    /// What the cluster says of one now. Without a UID, of whatever has the name.
    pub async fn look(cluster: &Cluster, name: &str, uid: Option<&str>) -> Self {
        match find(cluster, name).await {
            Ok(Found::There(found)) => Self::of(Some(&found), uid),
            Ok(Found::Nowhere) => Self::Gone,
            Ok(Found::NoKind | Found::Forbidden) | Err(_) => Self::Unreadable,
        }
    }
}

pub enum Found {
    There(Box<DynamicObject>),
    Nowhere,
    /// The cluster has nothing of the kind.
    NoKind,
    Forbidden,
}

/// Looks for a PipelineRun by its name, in the cluster's namespace.
pub async fn find(cluster: &Cluster, name: &str) -> anyhow::Result<Found> {
    for version in VERSIONS {
        return match read(cluster, version, name).await {
            Ok(found) => Ok(found.map_or(Found::Nowhere, |found| Found::There(Box::new(found)))),
            Err(error) if is_absent(&error) => continue,
            Err(error) if is_forbidden(&error) => Ok(Found::Forbidden),
            Err(error) => Err(explain(cluster, error, &format!("reading PipelineRun {name}"))),
        };
    }
    Ok(Found::NoKind)
}

/// The same in one version. An error that says "absent" says it of the kind.
pub async fn read(cluster: &Cluster, version: &str, name: &str) -> Result<Option<DynamicObject>, Error> {
    let api = api(cluster, version);
    let answer = |answer| match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_object_absent(&error, name) => Ok(None),
        Err(error) => Err(error),
    };
    for pause in Pauses::default().take(TRIES) {
        match timeout(REQUEST, api.get(name)).await {
            Ok(Ok(found)) => return Ok(Some(found)),
            Ok(Err(Error::Api(status))) if status.code < 500 => return answer(Err(Error::Api(status))),
            Ok(Err(_)) | Err(_) => tokio::time::sleep(pause).await,
        }
    }
    answer(api.get(name).await)
}

pub fn api(cluster: &Cluster, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tekton.dev", version, "PipelineRun");
    let resource = ApiResource::from_gvk_with_plural(&kind, "pipelineruns");
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pipeline_run_lives_until_it_says_otherwise() {
        let life = |metadata: Value, status: Value| {
            let body = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": metadata, "status": status});
            Life::of(Some(&serde_json::from_value(body).unwrap()), Some("u"))
        };
        let own = || json!({"name": "p", "uid": "u"});
        let condition = |status: &str| json!({"conditions": [{"type": "Succeeded", "status": status}]});
        let (text, time) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z".parse().ok());
        assert_eq!(Life::of(None, Some("u")), Life::Gone);
        assert_eq!(life(own(), Value::Null), Life::Running);
        assert_eq!(life(own(), condition("Unknown")), Life::Running);
        assert_eq!(life(own(), condition("False")), Life::Over(None));
        assert_eq!(life(own(), json!({"completionTime": text})), Life::Over(time));
        assert_eq!(life(own(), json!({"completionTime": "once"})), Life::Over(None));
        assert_eq!(life(json!({"name": "p", "uid": "another"}), Value::Null), Life::Gone);
        let kept = json!({"name": "p", "uid": "u", "finalizers": ["a/b"], "deletionTimestamp": text});
        assert_eq!(life(kept.clone(), Value::Null), Life::Over(time));
        assert_eq!(
            life(kept, json!({"completionTime": "2025-01-01T00:00:00Z"})),
            Life::Over("2025-01-01T00:00:00Z".parse().ok())
        );
    }
}
