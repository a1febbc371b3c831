//! The Secrets and ConfigMaps that a run's pods refer to: what they hold may stand in the pods' logs.
//!
//! Where a Secret cannot be read, nobody knows what to take out of a log, and the pod's logs are left out.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::database::{DataKind, Reference};
use crate::failure::innermost;
use crate::redact::Redactor;
use crate::runtime::kubernetes::explain::{is_absent, is_forbidden};
use crate::runtime::kubernetes::pods::name;
use crate::runtime::kubernetes::references::of_pod;
use crate::runtime::kubernetes::{AT_ONCE, Cluster};

#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// For each pod, by name, why some of its secrets are not known.
    unknown: BTreeMap<String, Vec<String>>,
}

impl Secrets {
    /// Whether all secrets of a pod are known.
    pub(super) fn are_known(&self, pod: &str) -> bool {
        !self.unknown.contains_key(pod)
    }

    /// What is left out because of those that are not.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |(pod, reasons): (&String, &Vec<String>)| {
            format!("the logs of Pod {pod} are left out: {}", reasons.join("; "))
        };
        self.unknown.iter().map(note).collect()
    }
}

enum Outcome {
    Read,
    Absent,
    Unread(String),
}

/// Reads what the pods refer to, and takes the secrets in it in. Of the Secrets in `known` they are known.
pub(super) async fn read(
    cluster: &Cluster,
    pods: &[Pod],
    known: BTreeSet<String>,
    redactor: &mut Redactor,
    deadline: Instant,
) -> Secrets {
    let referred: Vec<(String, BTreeMap<Reference, bool>)> = pods
        .iter()
        .map(|pod| (name(pod).to_owned(), pod.spec.as_ref().map(of_pod).unwrap_or_default()))
        .collect();
    let wanted: BTreeSet<Reference> =
        referred.iter().flat_map(|(_, references)| references.keys().cloned()).collect();
    let wanted = wanted
        .into_iter()
        .filter(|reference| reference.kind == DataKind::ConfigMap || !known.contains(&reference.name));
    let reads = wanted.map(|reference| async move {
        let outcome = timeout_at(deadline, read_one(cluster, &reference)).await;
        (reference, outcome.unwrap_or_else(|_| (None, Outcome::Unread("was not there in time".into()))))
    });
    let mut outcomes = BTreeMap::new();
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some((reference, (object, outcome))) = reads.next().await {
        object.iter().filter_map(Value::as_object).for_each(|object| redactor.add_object(object));
        outcomes.insert(reference, outcome);
    }
    let mut secrets = Secrets::default();
    for (pod, references) in referred {
        let reasons = references
            .iter()
            .filter(|(reference, _)| reference.kind == DataKind::Secret)
            .filter_map(|(reference, optional)| {
                let name = &reference.name;
                match outcomes.get(reference)? {
                    Outcome::Read => None,
                    Outcome::Absent if *optional => None,
                    Outcome::Absent => Some(format!(
                        "the Secret {name} that it refers to is gone, and nobody knows what to keep secret"
                    )),
                    Outcome::Unread(why) => Some(format!(
                        "the Secret {name} that it refers to {why}, and nobody knows what to keep secret"
                    )),
                }
            });
        let reasons: Vec<String> = reasons.collect();
        if !reasons.is_empty() {
            secrets.unknown.insert(pod, reasons);
        }
    }
    secrets
}

async fn read_one(cluster: &Cluster, reference: &Reference) -> (Option<Value>, Outcome) {
    let name = &reference.name;
    let read = match reference.kind {
        DataKind::Secret => {
            cluster.api::<Secret>().get(name).await.map(|secret| serde_json::to_value(secret).ok())
        }
        DataKind::ConfigMap => {
            cluster.api::<ConfigMap>().get(name).await.map(|map| serde_json::to_value(map).ok())
        }
    };
    match read {
        Ok(value) => (value, Outcome::Read),
        Err(error) if is_absent(&error) => (None, Outcome::Absent),
        Err(error) if is_forbidden(&error) => {
            (None, Outcome::Unread("may not be read (verb get on secrets)".into()))
        }
        Err(error) => (None, Outcome::Unread(format!("could not be read ({})", innermost(&error)))),
    }
}
