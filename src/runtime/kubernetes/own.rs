//! What the cluster says of the pod that testbed itself runs in.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use tokio::time::timeout;

use super::{Choice, Cluster};
use crate::environment::{is_in_pod, variable};

/// How long it may take: no more than a name depends on it.
const LOOK: Duration = Duration::from_secs(2);

/// Tekton Results' watcher puts these on a TaskRun's pod a moment after it was made: the Result's full name,
/// and the record's, which begins with it.
const RESULT: &str = "results.tekton.dev/result";
const RECORD: &str = "results.tekton.dev/record";

/// The Result that the TaskRun of this pod belongs to, as `NAMESPACE/results/NAME`; `None` outside of pods,
/// for other pods, and where this one may not be looked at.
pub async fn result() -> Option<String> {
    timeout(LOOK, look()).await.ok()?
}

async fn look() -> Option<String> {
    // A pod's host name is its own.
    let name = variable("HOSTNAME").filter(|_| is_in_pod())?;
    let cluster = Cluster::connect(&Choice::default()).await.ok().filter(|cluster| cluster.inside)?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), cluster.home.as_ref()?);
    let annotations = pods.get_metadata(&name).await.ok()?.metadata.annotations?;
    let of_record = || annotations.get(RECORD)?.split_once("/records/").map(|(result, _)| result);
    let result = annotations.get(RESULT).map(String::as_str).or_else(of_record)?;
    (result.matches('/').count() == 2 && result.contains("/results/")).then(|| result.to_owned())
}
