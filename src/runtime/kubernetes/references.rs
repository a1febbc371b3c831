//! Secrets and ConfigMaps of the cluster that a manifest refers to without bringing them along.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use super::explain::{is_absent, is_forbidden};
use super::{Cluster, explain};
use crate::database::{Data, DataKind, Reference};
use crate::failure::Advise;

/// Reads each referenced object into `data`; one that does not exist is noted as absent.
///
/// # Errors
/// A refused or failed request, explained, with what it was needed for.
pub async fn fetch(cluster: &Cluster, references: &BTreeSet<Reference>, data: &mut Data) -> anyhow::Result<()> {
    for reference in references {
        let name = &reference.name;
        let outcome = match reference.kind {
            DataKind::Secret => {
                Api::<Secret>::namespaced(cluster.client.clone(), &cluster.namespace).get(name).await.map(|secret| data.add_secret(secret))
            }
            DataKind::ConfigMap => {
                Api::<ConfigMap>::namespaced(cluster.client.clone(), &cluster.namespace).get(name).await.map(|map| data.add_config_map(map))
            }
        };
        match outcome {
            Ok(()) => {}
            Err(error) if is_absent(&error) => data.add_absent(reference.clone()),
            Err(error) => {
                let forbidden = is_forbidden(&error);
                let error =
                    Err(explain(cluster, error, &format!("reading {:?} {name}, which a database's login comes from", reference.kind)));
                return if forbidden { error.hint("put the object into the manifest, or allow its reading") } else { error };
            }
        }
    }
    Ok(())
}
