//! Whether the namespace is there, and what its labels say about the pods in it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use tokio::time::timeout;

use super::DEADLINE;
use crate::doctor::Verdict;
use crate::runtime::kubernetes::explain::{is_absent, is_forbidden};
use crate::runtime::kubernetes::{Cluster, explain};

const CHECK: &str = "namespace";

/// The labels of the namespace; `None` where this user may not look at it.
pub(super) type Labels = Option<BTreeMap<String, String>>;

/// Looks at the namespace, which a Role in it can allow.
pub(super) async fn check(cluster: &Cluster) -> Result<Labels, Verdict> {
    let name = &cluster.namespace;
    let action = format!("looking at namespace {name}");
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let Ok(answer) = timeout(DEADLINE, api.get(name)).await else {
        return Err(Verdict::problem(CHECK, format!("{action}: no answer within {} s", DEADLINE.as_secs()))
            .remedy("see whether the API server is overloaded"));
    };
    let namespace = match answer {
        Ok(namespace) => namespace,
        Err(error) if is_forbidden(&error) => return Ok(None),
        Err(error) if is_absent(&error) => {
            return Err(Verdict::problem(CHECK, format!("the namespace {name} does not exist"))
                .on(format!("Namespace {name}"))
                .remedy(format!("create it (kubectl create namespace {name}) or pass --namespace")));
        }
        Err(error) => return Err(Verdict::from_error(CHECK, &explain(cluster, error, &action))),
    };
    if namespace.metadata.deletion_timestamp.is_some() {
        let look = format!("{} get namespace {name} -o yaml", cluster.kubectl);
        return Err(Verdict::problem(CHECK, format!("the namespace {name} is being deleted"))
            .on(format!("Namespace {name}"))
            .remedy(format!("wait until it is gone and create it anew, or pass another --namespace ({look} tells what holds it)")));
    }
    Ok(Some(namespace.metadata.labels.unwrap_or_default()))
}
