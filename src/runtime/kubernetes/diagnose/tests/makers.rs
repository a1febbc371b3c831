//! Whole runs: workloads without pods, workloads whose pods end, and pods that are gone.

use super::super::super::events::Events;
use super::super::super::events::tests::{events, note};
use super::super::super::pods::Pods;
use super::super::run::{Findings, Run};
use super::*;
use crate::manifest::stamp::WORKLOAD_ANNOTATION;

fn made_by(workload: &str, name: &str, status: Value) -> (String, Pod) {
    let metadata = json!({"name": name, "uid": name, "annotations": {WORKLOAD_ANNOTATION: workload}});
    (
        name.into(),
        serde_json::from_value(
            json!({"metadata": metadata, "spec": {"containers": [{"name": "db"}]}, "status": status}),
        )
        .unwrap(),
    )
}

fn run(workload: &str) -> Run {
    Run::new(vec![database(workload)], BUDGETS)
}

fn look_at(run: &mut Run, pods: &[(String, Pod)], events: &Events) -> Findings {
    run.examine(&Pods::from_iter(pods.iter().cloned()), events, Instant::now())
}

fn about(kind: &str, name: &str, reason: &str, message: &str) -> Events {
    events([Note { kind: kind.into(), name: name.into(), ..note(reason, message, 1) }])
}

#[test]
fn a_controller_that_is_refused_its_pods_is_told_of() {
    let too_big = "create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: exceeded quota: small, requested: limits.memory=1Gi, used: limits.memory=0, limited: limits.memory=64Mi";
    let found =
        look_at(&mut run("StatefulSet/db"), &[], &about("StatefulSet", "db", "FailedCreate", too_big));
    assert_eq!(
        found.lost[0].cause.what,
        "its pods cannot be created: it asks for more limits.memory than the whole quota small allows"
    );
    let full = too_big.replace(
        "requested: limits.memory=1Gi, used: limits.memory=0",
        "requested: limits.memory=1Mi, used: limits.memory=64Mi",
    );
    let found =
        look_at(&mut run("Deployment/db"), &[], &about("ReplicaSet", "db-5d4f8c7b9", "FailedCreate", &full));
    assert!(found.lost.is_empty() && found.next().is_some(), "others may free some of it");
    // A controller that has its pods has got over it.
    let running = made_by("StatefulSet/db", "db-0", json!({"phase": "Running"}));
    assert!(
        look_at(&mut run("StatefulSet/db"), &[running], &about("StatefulSet", "db", "FailedCreate", too_big))
            .lost
            .is_empty()
    );
}

#[test]
fn a_job_says_itself_when_it_is_over() {
    let mut run = Run::new(vec![Subject { ends: true, ..database("Job/db") }], BUDGETS);
    let failed = made_by("Job/db", "db-x", json!({"phase": "Failed", "reason": "Evicted"}));
    assert!(look_at(&mut run, std::slice::from_ref(&failed), &Events::default()).lost.is_empty());
    let over = about("Job", "db", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    assert_eq!(
        look_at(&mut run, &[failed], &over).lost[0].cause.what,
        "its pods have failed, and it starts no more of them"
    );
}

#[test]
fn a_controller_may_replace_one_pod() {
    let mut run = run("StatefulSet/db");
    let evicted = |name: &str| {
        let (key, mut pod) = made_by(
            "StatefulSet/db",
            "db-0",
            json!({"phase": "Failed", "reason": "Evicted", "message": "too big"}),
        );
        pod.metadata.uid = Some(name.into());
        (key, pod)
    };
    let first = look_at(&mut run, &[evicted("one")], &Events::default());
    assert_eq!((first.lost.len(), first.waiting.len()), (0, 1));
    assert_eq!(
        look_at(&mut run, &[evicted("two")], &Events::default()).lost[0].cause.what,
        "its node evicted it"
    );
}

#[test]
fn a_pod_of_the_manifest_that_is_not_there_is_gone() {
    let lost = look_at(&mut run("Pod/db"), &[], &Events::default()).lost;
    assert!(lost[0].cause.gone && lost[0].name == "db");
    assert!(look_at(&mut run("Deployment/db"), &[], &Events::default()).lost.is_empty());
}
