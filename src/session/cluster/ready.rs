//! The proof of readiness, left where `testbed status` finds it: on the pod, where this user may patch pods, and in the state folder.

use std::collections::BTreeMap;

use serde_json::json;

use crate::probe::Found;
use crate::progress::Progress;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::annotate::annotate;
use crate::runtime::kubernetes::collect::READY_ANNOTATION;
use crate::runtime::kubernetes::observe::Observer;
use crate::runtime::kubernetes::pods::pods_of;
use crate::session::plan::Plan;
use crate::state::Ready;

/// What is told of each database, by its workload and container.
pub(crate) type Records = BTreeMap<String, BTreeMap<String, Ready>>;

/// Puts into words what was found.
pub(crate) fn records(plan: &Plan, found: &[Found]) -> Records {
    let mut records = Records::new();
    for (database, found) in plan.discovery.databases.iter().zip(found) {
        let ready = Ready { evidence: found.evidence.kind().into(), detail: found.evidence.to_string(), at: found.at };
        records.entry(database.workload.clone()).or_default().insert(database.container.clone(), ready);
    }
    records
}

/// Annotates the pods. That a Role does not allow it is no failure: nothing depends on it.
pub(crate) async fn publish(plan: &Plan, cluster: &Cluster, observer: &Observer, records: &Records, progress: &Progress) {
    let pods = observer.pods();
    let patches: Vec<(String, String)> = records
        .iter()
        .flat_map(|(workload, containers)| {
            let names: Vec<String> = pods_of(&pods.borrow(), workload).filter_map(|pod| pod.metadata.name.clone()).collect();
            let value = json!(containers).to_string();
            names.into_iter().map(move |name| (name, value.clone()))
        })
        .collect();
    if let Err(error) = annotate(cluster, READY_ANNOTATION, &patches).await {
        progress.explain(&format!("run {}: what proved readiness is not noted on the pods: {error:#}", plan.run_id));
    }
}
