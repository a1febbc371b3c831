//! Scheduling, volumes, and the end of whole pods.

use super::super::super::events::tests::note;
use super::*;

fn unscheduled(message: &str) -> Pod {
    let condition =
        json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
    pod(json!({}), json!({"phase": "Pending", "conditions": [condition]}))
}

#[test]
fn what_the_scheduler_says_decides_about_patience() {
    for (message, seconds) in [
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity.", 20),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: }, 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            20,
        ),
        ("0/1 nodes are available: 1 persistentvolumeclaim \"nope\" not found.", 20),
        ("0/2 nodes are available: 1 node(s) had untolerated taint {gpu: }, 1 Insufficient cpu.", 60),
        ("0/8 nodes are available: 8 Insufficient cpu, 8 Insufficient memory", 60),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.", 60),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", 120),
        ("no nodes available to schedule pods", 60),
    ] {
        assert_eq!(budget(&unscheduled(message), &[]), Some(seconds), "{message}");
    }
}

#[test]
fn the_autoscalers_word_decides() {
    let pod = unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity.");
    let yes = note("TriggeredScaleUp", "pod triggered scale-up: [{group 1->2 (max: 3)}]", 2);
    let no = note(
        "NotTriggerScaleUp",
        "pod didn't trigger scale-up: 4 node(s) didn't match Pod's node affinity/selector",
        1,
    );
    assert_eq!(budget(&pod, std::slice::from_ref(&yes)), None);
    assert_eq!(budget(&pod, &[no.clone(), yes]), None);
    assert!(matches!(look(&pod, &database("Pod/db"), &[no]), Health::Doomed(_)));
}

#[test]
fn volumes_are_told_of_by_events_alone() {
    let mut creating = waiting("ContainerCreating", "");
    creating.spec.as_mut().unwrap().volumes = serde_json::from_value(
        json!([{"name": "v", "secret": {"secretName": "have"}}, {"name": "w", "configMap": {"name": "map"}}]),
    )
    .unwrap();
    assert_eq!(database_health(&creating), Health::Fine);
    for (message, what, seconds) in [
        (
            "MountVolume.SetUp failed for volume \"v\" : secret \"nope\" not found",
            "it needs the Secret nope for its volume v, which does not exist",
            20,
        ),
        (
            "MountVolume.SetUp failed for volume \"v\" : references non-existent secret key: k",
            "it needs the key k of the Secret have for its volume v, which does not exist",
            20,
        ),
        (
            "MountVolume.SetUp failed for volume \"w\" : configmap references non-existent config key: k",
            "it needs the key k of the ConfigMap map for its volume w, which does not exist",
            20,
        ),
        (
            "Multi-Attach error for volume \"pvc-1\" Volume is already used by pod(s) other",
            "its node cannot mount a volume of it",
            120,
        ),
    ] {
        let mount = Note { count: 2, ..note("FailedMount", message, 1) };
        let summary =
            note("FailedMount", "Unable to attach or mount volumes: timed out waiting for the condition", 2);
        let events = [mount, summary];
        let Health::Wait { why, .. } =
            look(&creating, &database("Pod/db"), &events[..if seconds == 20 { 2 } else { 1 }])
        else {
            panic!()
        };
        assert_eq!((why.as_str(), budget(&creating, &events)), (what, Some(seconds)));
        // Mounted after all.
        let pulling = note("Pulling", "Pulling image", 3);
        assert_eq!(look(&creating, &database("Pod/db"), &[events[0].clone(), pulling]), Health::Fine);
    }
    assert_eq!(
        budget(&creating, &[note("FailedCreatePodSandBox", "failed to setup network for sandbox", 1)]),
        Some(60)
    );
    // CRI-O's words; containerd's come from a real one.
    creating.spec.as_mut().unwrap().runtime_class_name = Some("kata".into());
    let no_handler = note(
        "FailedCreatePodSandBox",
        "Failed to create pod sandbox: failed to find runtime handler kata from runtime list",
        1,
    );
    assert!(
        cause(look(&creating, &database("Pod/db"), &[no_handler]))
            .what
            .contains("handler of its RuntimeClass kata")
    );
}

#[test]
fn pods_that_end_as_a_whole() {
    let failed = |reason: &str, message: &str| {
        pod(json!({}), json!({"phase": "Failed", "reason": reason, "message": message}))
    };
    for (reason, message, what, advice) in [
        (
            "Evicted",
            "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ",
            "its node evicted it",
            "sizeLimit",
        ),
        (
            "Evicted",
            "The node was low on resource: memory.",
            "its node evicted it",
            "resources.requests.memory",
        ),
        (
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline",
            "activeDeadlineSeconds",
            "activeDeadlineSeconds",
        ),
        (
            "Preempting",
            "Preempted in order to admit critical pod",
            "room for a pod of higher priority",
            "priorityClassName",
        ),
        ("OutOfmemory", "Node didn't have enough resource", "did not take it", "another node"),
        ("Shutdown", "Node is shutting down", "node is shutting down", "another node"),
    ] {
        let cause = cause(database_health(&failed(reason, message)));
        assert!(cause.what.contains(what) && cause.advice.contains(advice), "{cause:?}");
    }
    let lost = pod(
        json!({}),
        json!({"phase": "Running", "reason": "NodeLost", "message": "Node n is unresponsive"}),
    );
    assert_eq!(budget(&lost, &[]), Some(60));
}

#[test]
fn a_pod_that_is_deleted_is_gone_unless_somebody_makes_it_anew() {
    let mut going = with_state(json!({"running": {}}), json!({}), 0);
    going.metadata = serde_json::from_value(
        json!({"name": "db", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
    )
    .unwrap();
    assert!(cause(database_health(&going)).what.contains("by somebody or something else"));
    assert_eq!(look(&going, &database("StatefulSet/db"), &[]), Health::Fine);
    let mut owned = going.clone();
    let owner =
        json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "nightly", "uid": "2"}]);
    owned.metadata.owner_references = serde_json::from_value(owner).unwrap();
    let owned = cause(database_health(&owned));
    assert!(
        owned.what.contains("with PipelineRun nightly")
            && owned.advice.contains("if PipelineRun nightly is gone"),
        "{owned:?}"
    );
    let preempted = note("Preempted", "Preempted by a/b on node n", 1);
    assert!(cause(look(&going, &database("Pod/db"), &[preempted])).what.contains("the cluster took it away"));
    // Since 1.26 the pod itself tells.
    for (reason, what, advice) in [
        ("EvictionByEvictionAPI", "it was evicted (as by a drain of its node) while", "PodDisruptionBudget"),
        ("PreemptionByScheduler", "room for a pod of higher priority", "priorityClassName"),
        ("DeletionByTaintManager", "a taint that it does not tolerate", "another node"),
        ("DeletionByPodGC", "its node is gone", "another node"),
        ("TerminationByKubelet", "it was stopped by its node", "conditions"),
        ("SomethingNew", "taken away by the cluster", "another node"),
    ] {
        let condition =
            json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "said"});
        let disrupted = Pod {
            status: serde_json::from_value(json!({"conditions": [condition]})).unwrap(),
            ..going.clone()
        };
        let cause = cause(database_health(&disrupted));
        assert!(cause.what.contains(what) && cause.advice.contains(advice), "{cause:?}");
        assert_eq!((cause.reason.as_str(), cause.why.as_str(), cause.word()), (reason, "said", Some(reason)));
    }
}
