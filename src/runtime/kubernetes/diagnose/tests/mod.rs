//! Pods as real clusters show them, and what they are taken for.

mod containers;
mod makers;
mod pods;
mod pulls;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;

const BUDGETS: Budgets = Budgets { pull: Duration::from_secs(120), capacity: Duration::from_secs(60) };

fn database(workload: &str) -> Subject {
    Subject {
        workload: workload.into(),
        databases: vec!["db".into()],
        kubectl: "kubectl -n ns".into(),
        replicas: 1,
        ..Subject::default()
    }
}

fn pod(spec: Value, status: Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] =
            json!([{"name": "db", "image": "mysql:9.7", "resources": {"limits": {"memory": "64Mi"}}}]);
    }
    serde_json::from_value(json!({"metadata": {"name": "db", "uid": "1"}, "spec": spec, "status": status}))
        .unwrap()
}

/// A pod whose container `db` is in a state, after a number of restarts.
fn with_state(state: Value, last: Value, restarts: i32) -> Pod {
    let status = json!({"name": "db", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last});
    pod(json!({}), json!({"phase": "Pending", "containerStatuses": [status]}))
}

fn waiting(reason: &str, message: &str) -> Pod {
    with_state(json!({"waiting": {"reason": reason, "message": message}}), json!({}), 0)
}

fn look(pod: &Pod, subject: &Subject, events: &[Note]) -> Health {
    diagnose(&Case { pod, subject, events, budgets: BUDGETS }, &mut History::default(), Instant::now())
}

fn database_health(pod: &Pod) -> Health {
    look(pod, &database("Pod/db"), &[])
}

fn cause(health: Health) -> Cause {
    match health {
        Health::Doomed(cause) => cause,
        other => panic!("{other:?}"),
    }
}

/// How many seconds a fault gets that is seen for the first time.
fn budget(pod: &Pod, events: &[Note]) -> Option<u64> {
    let now = Instant::now();
    let subject = database("Pod/db");
    match diagnose(&Case { pod, subject: &subject, events, budgets: BUDGETS }, &mut History::default(), now) {
        Health::Wait { until, .. } => until.map(|until| (until - now).as_secs()),
        other => panic!("{other:?}"),
    }
}
