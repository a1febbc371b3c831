//! The Secrets and ConfigMaps that pods refer to, and what is in those that a manifest does not bring along.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, PodSpec, Secret};

use super::explain::{is_absent, is_forbidden};
use super::{Cluster, explain};
use crate::database::{Data, DataKind, Reference};
use crate::failure::Advise;

/// Reads each referenced object into `data`; one that does not exist is noted as absent.
pub async fn fetch(
    cluster: &Cluster,
    references: &BTreeSet<Reference>,
    data: &mut Data,
) -> anyhow::Result<()> {
    for reference in references {
        let name = &reference.name;
        let outcome = match reference.kind {
            DataKind::Secret => cluster.api::<Secret>().get(name).await.map(|secret| data.add_secret(secret)),
            DataKind::ConfigMap => {
                cluster.api::<ConfigMap>().get(name).await.map(|map| data.add_config_map(map))
            }
        };
        match outcome {
            Ok(()) => {}
            Err(error) if is_absent(&error) => data.add_absent(reference.clone()),
            Err(error) => {
                let forbidden = is_forbidden(&error);
                let error = Err(explain(
                    cluster,
                    error,
                    &format!("reading {:?} {name}, which a database's login comes from", reference.kind),
                ));
                return if forbidden {
                    error.hint("put the object into the manifest, or allow its reading")
                } else {
                    error
                };
            }
        }
    }
    Ok(())
}

/// What a pod's variables and volumes refer to, and whether the pod starts without it.
pub fn of_pod(spec: &PodSpec) -> BTreeMap<Reference, bool> {
    let mut found: BTreeMap<Reference, bool> = BTreeMap::new();
    let mut add = |kind, name: &str, optional: Option<bool>| {
        if !name.is_empty() {
            *found.entry(Reference { kind, name: name.to_owned() }).or_insert(true) &= optional == Some(true);
        }
    };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            source.secret_key_ref.iter().for_each(|key| add(DataKind::Secret, &key.name, key.optional));
            source
                .config_map_key_ref
                .iter()
                .for_each(|key| add(DataKind::ConfigMap, &key.name, key.optional));
        }
        for source in container.env_from.iter().flatten() {
            source.secret_ref.iter().for_each(|secret| add(DataKind::Secret, &secret.name, secret.optional));
            source.config_map_ref.iter().for_each(|map| add(DataKind::ConfigMap, &map.name, map.optional));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        let secret =
            volume.secret.iter().filter_map(|secret| Some((secret.secret_name.as_deref()?, secret.optional)));
        secret.for_each(|(name, optional)| add(DataKind::Secret, name, optional));
        volume.config_map.iter().for_each(|map| add(DataKind::ConfigMap, &map.name, map.optional));
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            source.secret.iter().for_each(|secret| add(DataKind::Secret, &secret.name, secret.optional));
            source.config_map.iter().for_each(|map| add(DataKind::ConfigMap, &map.name, map.optional));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_a_pod_refers_to_is_found() {
        let spec: PodSpec = serde_json::from_value(json!({
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "bulk", "optional": true}}, {"configMapRef": {"name": "map"}}]}],
            "containers": [{"name": "c", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "key", "key": "l", "optional": true}}},
            ]}],
            "volumes": [
                {"name": "v", "secret": {"secretName": "volume"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "projected"}}, {"serviceAccountToken": {"path": "t"}}]}},
            ],
        }))
        .unwrap();
        let found = of_pod(&spec);
        let secrets: Vec<(&str, bool)> = found
            .iter()
            .filter(|(reference, _)| reference.kind == DataKind::Secret)
            .map(|(reference, optional)| (reference.name.as_str(), *optional))
            .collect();
        assert_eq!(secrets, [("bulk", true), ("key", false), ("projected", false), ("volume", false)]);
        assert_eq!(found.len(), 5);
    }
}
