//! A Deployment or StatefulSet that lives in a cluster without any run: which pods are its own.

use std::fmt;

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::DynamicObject;
use kube::core::Selector;
use kube::{Resource, ResourceExt};
use serde::Deserialize;

/// The label by which a Deployment tells its ReplicaSets apart: the end of their names.
const HASH_LABEL: &str = "pod-template-hash";

#[derive(Debug, Clone)]
pub struct Maker {
    /// `Deployment` or `StatefulSet`.
    pub kind: String,
    pub name: String,
    pub selector: Selector,
    uid: String,
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Maker {
    /// Fails where the object does not select pods by their labels.
    pub fn read(kind: &str, object: &DynamicObject) -> anyhow::Result<Self> {
        let (kind, name) = (kind.to_owned(), object.name_any());
        let context = || format!("reading spec.selector of {kind} {name}");
        let selector = LabelSelector::deserialize(&object.data["spec"]["selector"]).with_context(context)?;
        let selector = Selector::try_from(selector).with_context(context)?;
        if selector.selects_all() {
            return Err(anyhow!("it selects every pod of the namespace")).with_context(context);
        }
        Ok(Self { selector, uid: object.uid().unwrap_or_default(), kind, name })
    }

    /// `Kind/name`
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// Whether a pod with the right labels is one of its own: another workload with the same labels has made
    /// those that say so. One without a controller counts: it does the same work in the same place.
    pub fn has_made(&self, pod: &Pod) -> bool {
        let controller =
            pod.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        controller.is_none_or(|owner| self.is_behind(owner, pod))
    }

    fn is_behind(&self, owner: &OwnerReference, pod: &Pod) -> bool {
        if self.kind != "Deployment" {
            return owner.uid == self.uid;
        }
        // Its ReplicaSets need not be read: their names tell.
        let hash = pod.labels().get(HASH_LABEL);
        owner.kind == "ReplicaSet" && hash.is_some_and(|hash| owner.name == format!("{}-{hash}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn maker(kind: &str, selector: Value) -> anyhow::Result<Maker> {
        let object = json!({"metadata": {"name": "db", "uid": "1"}, "spec": {"selector": selector}});
        Maker::read(kind, &serde_json::from_value(object).unwrap())
    }

    fn pod(owner: Value) -> Pod {
        let owners = if owner.is_null() { json!([]) } else { json!([owner]) };
        let metadata = json!({"name": "p", "labels": {"app": "db", "pod-template-hash": "5d4f"}, "ownerReferences": owners});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn owner(kind: &str, name: &str, uid: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
    }

    #[test]
    fn pods_are_told_by_who_makes_them() {
        let labels = json!({"matchLabels": {"app": "db"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]});
        let deployment = maker("Deployment", labels.clone()).unwrap();
        assert!(
            ["app=db", "tier notin (a)"].iter().all(|part| deployment.selector.to_string().contains(part)),
            "{}",
            deployment.selector
        );
        let stateful_set = maker("StatefulSet", labels).unwrap();
        for (owner, of_deployment, of_stateful_set) in [
            (owner("ReplicaSet", "db-5d4f", "7"), true, false),
            (owner("ReplicaSet", "db-web-5d4f", "7"), false, false),
            (owner("StatefulSet", "db", "1"), false, true),
            (owner("StatefulSet", "db", "2"), false, false),
            (owner("Job", "db-5d4f", "3"), false, false),
            (Value::Null, true, true),
        ] {
            let found =
                (deployment.has_made(&pod(owner.clone())), stateful_set.has_made(&pod(owner.clone())));
            assert_eq!(found, (of_deployment, of_stateful_set), "{owner}");
        }
    }

    #[test]
    fn a_workload_that_selects_everything_is_refused() {
        assert!(maker("Deployment", json!({})).is_err());
        assert!(maker("Deployment", Value::Null).is_err());
    }
}
