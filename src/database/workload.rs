//! The parts of a manifest that make pods, and the Services in front of them, as typed values.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::Advise;
use crate::manifest::{Object, images};

/// The folder of a container with the certificate of a server that takes logins over TLS alone.
pub(super) const TLS_ANNOTATION: &str = "testbed/tls";

/// An object that is a pod or makes pods.
#[derive(Debug, Clone)]
pub struct Workload {
    /// `Kind/name`: the value of the annotation that its pods carry.
    pub id: String,
    /// Where it was written, or what stands for it: the start of error messages.
    pub place: String,
    /// How many pods have to be ready.
    pub replicas: usize,
    /// Whether its pods are meant to end (a Job): done counts as ready.
    pub ends: bool,
    pub labels: BTreeMap<String, String>,
    /// The pods' annotations, joined with the object's own.
    pub annotations: BTreeMap<String, String>,
    pub spec: PodSpec,
}

/// What nearly always explains a boolean where there should be a text.
const BOOLEAN: &str = "without quotes y, yes, on, n, no and off are booleans to Kubernetes, as true and false are: quote what is meant as a text";

impl Workload {
    /// Reads an object that is or makes pods; `None` for any other.
    pub fn read(object: &Object) -> anyhow::Result<Option<Self>> {
        let context = || format!("{}: {} is not shaped like one", object.origin, object.label());
        let own: ObjectMeta = part(object.body.get("metadata")).with_context(context)?.unwrap_or_default();
        let template: PodTemplateSpec =
            if (object.api_version.as_str(), object.kind.as_str()) == ("v1", "Pod") {
                PodTemplateSpec {
                    metadata: Some(own.clone()),
                    spec: part(object.body.get("spec")).with_context(context)?,
                }
            } else {
                match part(object.pod_template()).with_context(context)? {
                    Some(template) => template,
                    None => return Ok(None),
                }
            };
        let workload = Self::from_template(&object.kind, &object.name, template, replicas(object));
        Ok(Some(Self {
            place: format!("{}: {}", object.origin, object.label()),
            ends: object.kind == "Job",
            annotations: own
                .annotations
                .unwrap_or_default()
                .into_iter()
                .chain(workload.annotations)
                .collect(),
            ..workload
        }))
    }

    /// The containers that go on side by side: its own, and sidecars in their native form, which are init
    /// containers that are always restarted.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.spec
            .containers
            .iter()
            .chain(self.spec.init_containers.iter().flatten().filter(|container| is_sidecar(container)))
    }

    /// A container's image as the manifest names it: what is in it, wherever it comes from.
    pub fn image<'a>(&'a self, container: &'a Container) -> &'a str {
        // A template of OpenShift's has a space for one that its server fills in.
        let image = container.image.as_deref().unwrap_or_default().trim();
        let noted = self.annotations.get(images::ORIGINALS_ANNOTATION);
        noted.and_then(|noted| images::original(noted, &container.name, image)).unwrap_or(image)
    }

    /// What lives in a cluster and makes pods like this one, of which so many have to be ready.
    pub fn from_template(kind: &str, name: &str, template: PodTemplateSpec, replicas: usize) -> Self {
        let metadata = template.metadata.unwrap_or_default();
        Self {
            id: format!("{kind}/{name}"),
            place: format!("{kind} {name}"),
            replicas,
            ends: false,
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            spec: template.spec.unwrap_or_default(),
        }
    }

    /// A pod that lives in a cluster, as a workload of its own.
    pub fn from_pod(pod: &Pod) -> Self {
        let template = PodTemplateSpec { metadata: Some(pod.metadata.clone()), spec: pod.spec.clone() };
        let mut own =
            Self::from_template("Pod", pod.metadata.name.as_deref().unwrap_or_default(), template, 1);
        // Its certificates are in a Secret that nobody reads for that.
        own.annotations.remove(TLS_ANNOTATION);
        own
    }
}

/// Whether an init container stays, beside those that come after it.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// How many pods the object keeps at once, by the kinds' own rules. A DaemonSet's number is the cluster's
/// affair: one has to be there.
fn replicas(object: &Object) -> usize {
    let spec = object.body.get("spec");
    let number = |field: &str| {
        spec.and_then(|spec| spec.get(field)).and_then(Value::as_u64).map(|number| number as usize)
    };
    match object.kind.as_str() {
        "Job" => number("completions").unwrap_or(1),
        "CronJob" => 0,
        "DaemonSet" => 1,
        _ => number("replicas").unwrap_or(1),
    }
}

/// The Service in an object; `None` for any other kind.
pub(super) fn service(object: &Object) -> anyhow::Result<Option<Service>> {
    if (object.api_version.as_str(), object.kind.as_str()) != ("v1", "Service") {
        return Ok(None);
    }
    let context = || format!("{}: {} is not shaped like one", object.origin, object.label());
    let metadata: ObjectMeta = part(object.body.get("metadata")).with_context(context)?.unwrap_or_default();
    Ok(Some(Service { metadata, spec: part(object.body.get("spec")).with_context(context)?, status: None }))
}

/// Reads a part of an object without copying it.
fn part<'a, T: Deserialize<'a>>(value: Option<&'a Value>) -> anyhow::Result<Option<T>> {
    match value.map(T::deserialize).transpose() {
        Err(error) if error.to_string().contains("boolean") => Err(error).hint(BOOLEAN),
        part => Ok(part?),
    }
}
