//! Pods as real clusters show them, and what they are taken for.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::events::Note;
use super::super::events::tests::note;
use super::*;

const BUDGETS: Budgets = Budgets { pull: Duration::from_secs(120), capacity: Duration::from_secs(60) };

fn database(workload: &str) -> Subject {
    Subject { workload: workload.into(), databases: vec!["db".into()], namespace: "ns".into(), replicas: 1, ..Subject::default() }
}

fn pod(spec: Value, status: Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "db", "image": "mysql:9.7", "resources": {"limits": {"memory": "64Mi"}}}]);
    }
    serde_json::from_value(json!({"metadata": {"name": "db", "uid": "1"}, "spec": spec, "status": status})).unwrap()
}

/// A pod whose container `db` is in a state, after a number of restarts.
fn with_state(state: Value, last: Value, restarts: i32) -> Pod {
    let status =
        json!({"name": "db", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last});
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

#[test]
fn pulls_that_cannot_succeed() {
    for (message, what) in [
        // containerd
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/mysql:nope\": failed to resolve reference \"docker.io/library/mysql:nope\": docker.io/library/mysql:nope: not found",
            "does not have the image",
        ),
        (
            "failed to pull and unpack image \"docker.io/image/doesnotexist:latest\": failed to resolve reference \"docker.io/image/doesnotexist:latest\": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            "does not let this pod pull",
        ),
        (
            "rpc error: code = Unknown desc = failed to pull and unpack image \"127.0.0.1:5000/a:1\": failed to resolve reference \"127.0.0.1:5000/a:1\": pulling from host 127.0.0.1:5000 failed with status code [manifests 1]: 401 Unauthorized",
            "does not let this pod pull",
        ),
        (
            "failed to resolve reference \"registry.example/a:1\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://registry.example/jwt/auth?service=container_registry: 403 Forbidden",
            "does not let this pod pull",
        ),
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/a:1\": no match for platform in manifest: not found",
            "does not exist for the node's kind of processor",
        ),
        // A name may say anything.
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/timeout:429\": failed to resolve reference \"registry.example/timeout:429\": registry.example/timeout:429: not found",
            "does not have the image",
        ),
        // CRI-O
        (
            "rpc error: code = Unknown desc = Error reading manifest latest in registry.example/image: manifest unknown: manifest unknown",
            "does not have the image",
        ),
        (
            "rpc error: code = Unknown desc = reading manifest latest in registry.example/team/app: unauthorized: access to the requested resource is not authorized",
            "does not let this pod pull",
        ),
        (
            "Error reading manifest latest in docker.io/crio/busybox: errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required",
            "does not let this pod pull",
        ),
        // dockershim
        (
            "rpc error: code = Unknown desc = Error response from daemon: pull access denied for auth, repository does not exist or may require 'docker login'",
            "does not let this pod pull",
        ),
        (
            "rpc error: code = Unknown desc = Error response from daemon: manifest for mysql:9.7 not found: manifest unknown: manifest unknown",
            "does not have the image",
        ),
    ] {
        let cause = cause(database_health(&waiting("ErrImagePull", message)));
        assert!(cause.what.contains(what), "{message}\n{}", cause.what);
        assert!(cause.what.contains("mysql:9.7 of container db"), "{}", cause.what);
    }
    assert!(cause(database_health(&waiting("InvalidImageName", "x"))).what.contains("is not valid"));
    assert!(cause(database_health(&waiting("ErrImageNeverPull", "x"))).what.contains("imagePullPolicy: Never forbids"));
}

#[test]
fn pulls_that_may_succeed_later() {
    for (message, why) in [
        (
            "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry.example/v2/a/manifests/sha256:9538: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.",
            "limits the rate",
        ),
        ("reading manifest 1.13 in docker.io/library/nginx: toomanyrequests: You have reached your pull rate limit.", "limits the rate"),
        (
            "failed to authorize: failed to fetch anonymous token: Get \"https://registry.example/token?scope=a\": dial tcp 192.0.2.1:443: i/o timeout",
            "does not answer in time",
        ),
        (
            "Error response from daemon: Get https://registry.example/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            "does not answer in time",
        ),
        ("Get \"https://registry.example/v2/\": net/http: TLS handshake timeout", "does not answer in time"),
        (
            "error pinging docker registry registry.example: Get \"https://registry.example/v2/\": proxyconnect tcp: dial tcp: lookup http: Temporary failure in name resolution",
            "cannot be resolved",
        ),
        ("dial tcp: lookup registry.example on 10.0.0.10:53: no such host", "cannot be resolved"),
        (
            "failed to do request: Head \"http://127.0.0.1:5001/v2/x/manifests/1\": dial tcp 127.0.0.1:5001: connect: connection refused",
            "cannot be reached",
        ),
        ("dial udp 10.255.255.53:53: connect: network is unreachable", "cannot be reached"),
        ("read tcp 10.0.0.1:4->192.0.2.1:443: read: connection reset by peer", "connection to the registry breaks"),
        ("failed to fetch anonymous token: Get \"https://registry.example/token\": EOF", "connection to the registry breaks"),
        (
            "failed to resolve reference \"a\": pulling from host a failed with status code [manifests 1]: 503 Service Unavailable",
            "error of its own",
        ),
        ("failed to authorize: failed to fetch anonymous token: unexpected status: 502 Bad Gateway", "error of its own"),
        // A broken snapshot on the node, not an absent image.
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"a\": failed to prepare extraction snapshot \"extract-1 sha256:9\": parent snapshot sha256:0 does not exist: not found",
            "could not pull it",
        ),
        ("something new", "could not pull it"),
    ] {
        let pod = waiting("ErrImagePull", message);
        let Health::Wait { why: said, .. } = database_health(&pod) else { panic!("{message}: {:?}", database_health(&pod)) };
        assert!(said.contains(why), "{message}\n{said}");
        assert_eq!(budget(&pod, &[]), Some(120));
    }
}

#[test]
fn a_pull_is_given_up_when_its_budget_is_over_whatever_the_message_says_meanwhile() {
    let (subject, start) = (database("Pod/db"), Instant::now());
    let mut history = History::default();
    let mut look = |pod: &Pod, events: &[Note], after: u64| {
        let now = start + Duration::from_secs(after);
        diagnose(&Case { pod, subject: &subject, events, budgets: BUDGETS }, &mut history, now)
    };
    let refused = waiting("ErrImagePull", "connection refused");
    let back_off = waiting("ImagePullBackOff", "Back-off pulling image \"mysql:9.7\"");
    let until = |health: Health| match health {
        Health::Wait { until, .. } => until.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(until(look(&refused, &[], 0)), start + BUDGETS.pull);
    assert_eq!(until(look(&back_off, &[], 60)), start + BUDGETS.pull);
    assert_eq!(until(look(&waiting("ErrImagePull", "i/o timeout"), &[], 100)), start + BUDGETS.pull);
    let cause = cause(look(&back_off, &[], 120));
    assert_eq!(cause.what, "the image mysql:9.7 of container db still cannot be pulled after 2m: the registry does not answer in time");
    // A pod that has got its image has a fresh budget for the next fault.
    assert_eq!(look(&with_state(json!({"running": {}}), json!({}), 0), &[], 121), Health::Fine);
    assert_eq!(until(look(&refused, &[], 200)), start + Duration::from_secs(200) + BUDGETS.pull);
}

#[test]
fn the_reason_of_a_pull_is_found_in_the_events_too() {
    let back_off = waiting("ImagePullBackOff", "Back-off pulling image \"mysql:9.7\"");
    let failed = note("Failed", "Failed to pull image \"mysql:9.7\": manifest unknown", 1);
    assert!(cause(look(&back_off, &database("Pod/db"), &[failed])).what.contains("does not have the image"));
    // New kubelets say it in the state.
    let told = waiting(
        "ImagePullBackOff",
        "Back-off pulling image \"mysql:9.7\": ErrImagePull: rpc error: code = Unknown desc = manifest unknown",
    );
    assert!(cause(database_health(&told)).what.contains("does not have the image"));
}

#[test]
fn what_a_container_refers_to_is_named() {
    for (message, what) in [
        ("secret \"nope\" not found", "container db needs the Secret nope, which does not exist"),
        ("configmap \"nope\" not found", "container db needs the ConfigMap nope, which does not exist"),
        ("couldn't find key k in Secret ns/have", "container db needs the key k of the Secret have, which does not exist"),
        ("couldn't find key k in ConfigMap ns/have", "container db needs the key k of the ConfigMap have, which does not exist"),
        ("container has runAsNonRoot and image will run as root", "the settings of container db cannot be used"),
    ] {
        let pod = waiting("CreateContainerConfigError", message);
        assert_eq!(budget(&pod, &[]), Some(20), "somebody may create it yet");
        let mut history = History::default();
        let (subject, now) = (database("Pod/db"), Instant::now());
        let case = Case { pod: &pod, subject: &subject, events: &[], budgets: BUDGETS };
        diagnose(&case, &mut history, now);
        assert_eq!(cause(diagnose(&case, &mut history, now + Duration::from_secs(20))).what, what);
    }
}

#[test]
fn commands_that_do_not_exist() {
    let message =
        "failed to create containerd task: OCI runtime create failed: exec: \"nosuchthing\": executable file not found in $PATH: unknown";
    let cause = cause(database_health(&waiting("RunContainerError", message)));
    assert_eq!(cause.what, "container db cannot be started: its image mysql:9.7 has no such program");
    assert_eq!(budget(&waiting("CreateContainerError", "context deadline exceeded"), &[]), Some(45));
    let end = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "strange"}});
    let again = with_state(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}), end, 1);
    assert!(matches!(database_health(&again), Health::Doomed(cause) if cause.why == "strange"));
}

fn exited(code: i32) -> Value {
    json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}})
}

fn backing_off() -> Value {
    json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}})
}

#[test]
fn the_second_exit_of_a_database_is_one_too_many() {
    assert_eq!(database_health(&with_state(exited(1), json!({}), 0)), Health::Fine);
    assert_eq!(database_health(&with_state(json!({"running": {}}), exited(1), 1)), Health::Fine);
    for pod in [with_state(exited(1), exited(1), 1), with_state(backing_off(), exited(1), 1)] {
        let cause = cause(database_health(&pod));
        assert_eq!((cause.what.as_str(), cause.log), ("container db ended twice, last with exit code 1", Some(Log::Latest)));
    }
    for (code, what) in [
        (137, "container db ended twice, last with exit code 137, killed by SIGKILL"),
        (139, "container db ended twice, last with exit code 139, killed by SIGSEGV"),
        (0, "container db ended twice without an error (exit code 0), but has to go on running"),
    ] {
        assert_eq!(cause(database_health(&with_state(exited(code), exited(code), 1))).what, what);
    }
}

#[test]
fn others_get_more_exits_because_they_may_wait_for_a_database() {
    let other = Subject { workload: "Deployment/app".into(), replicas: 1, ..Subject::default() };
    assert_eq!(look(&with_state(backing_off(), exited(1), 3), &other, &[]), Health::Fine);
    assert!(cause(look(&with_state(backing_off(), exited(1), 4), &other, &[])).what.contains("5 times"));
}

#[test]
fn without_restarts_the_first_exit_counts() {
    let never = |code| {
        let mut pod = with_state(exited(code), json!({}), 0);
        pod.spec.as_mut().unwrap().restart_policy = Some("Never".into());
        pod.status.as_mut().unwrap().phase = Some(if code == 0 { "Succeeded" } else { "Failed" }.into());
        pod
    };
    assert_eq!(cause(database_health(&never(1))).what, "container db ended with exit code 1");
    assert!(cause(database_health(&never(0))).what.contains("has to go on running"));
    let helper = Subject { workload: "Pod/db".into(), replicas: 1, ..Subject::default() };
    assert_eq!(look(&never(0), &helper, &[]), Health::Fine);
    assert!(matches!(look(&never(1), &helper, &[]), Health::Doomed(_)));
    let job = Subject { workload: "Job/db".into(), ends: true, replicas: 1, ..Subject::default() };
    assert_eq!(look(&never(1), &job, &[]), Health::Fine);
}

#[test]
fn restarts_from_before_the_first_look_do_not_count() {
    let (subject, now) = (database("Pod/db"), Instant::now());
    let mut history = History::default();
    let mut look = |pod: &Pod| diagnose(&Case { pod, subject: &subject, events: &[], budgets: BUDGETS }, &mut history, now);
    let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    assert_eq!(look(&with_state(json!({"running": {}}), killed, 3)), Health::Fine);
    assert_eq!(look(&with_state(exited(1), json!({}), 3)), Health::Fine);
    assert!(matches!(look(&with_state(backing_off(), exited(1), 4)), Health::Doomed(_)));
}

#[test]
fn a_database_that_ran_out_of_memory_is_not_tried_again() {
    let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let first = cause(database_health(&with_state(killed.clone(), json!({}), 0)));
    assert_eq!(first.what, "container db was killed because it needed more memory than its limit, 64Mi");
    let seen_late = with_state(json!({"waiting": {"reason": "CrashLoopBackOff"}}), killed, 1);
    assert!(matches!(database_health(&seen_late), Health::Doomed(_)));
}

#[test]
fn init_containers_are_called_so() {
    let status = |code: i32, restarts: i32| {
        let state = json!({"name": "prepare", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": exited(code), "lastState": {}});
        let spec = json!({"containers": [{"name": "db"}], "initContainers": [{"name": "prepare", "image": "a"}]});
        pod(spec, json!({"phase": "Pending", "initContainerStatuses": [state]}))
    };
    assert_eq!(cause(database_health(&status(3, 1))).what, "init container prepare ended twice, last with exit code 3");
    assert_eq!(database_health(&status(3, 0)), Health::Fine);
    assert_eq!(database_health(&status(0, 0)), Health::Fine);
}

fn unscheduled(message: &str) -> Pod {
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
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
    let no = note("NotTriggerScaleUp", "pod didn't trigger scale-up: 4 node(s) didn't match Pod's node affinity/selector", 1);
    assert_eq!(budget(&pod, std::slice::from_ref(&yes)), None);
    assert_eq!(budget(&pod, &[no.clone(), yes]), None);
    assert!(matches!(look(&pod, &database("Pod/db"), &[no]), Health::Doomed(_)));
}

#[test]
fn volumes_are_told_of_by_events_alone() {
    let mut creating = waiting("ContainerCreating", "");
    creating.spec.as_mut().unwrap().volumes =
        serde_json::from_value(json!([{"name": "v", "secret": {"secretName": "have"}}, {"name": "w", "configMap": {"name": "map"}}]))
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
        ("Multi-Attach error for volume \"pvc-1\" Volume is already used by pod(s) other", "its node cannot mount a volume of it", 120),
    ] {
        let mount = note("FailedMount", message, 1);
        let summary = note("FailedMount", "Unable to attach or mount volumes: timed out waiting for the condition", 2);
        let events = [mount, summary];
        let Health::Wait { why, .. } = look(&creating, &database("Pod/db"), &events[..if seconds == 20 { 2 } else { 1 }]) else { panic!() };
        assert_eq!((why.as_str(), budget(&creating, &events)), (what, Some(seconds)));
        // Mounted after all.
        let pulling = note("Pulling", "Pulling image", 3);
        assert_eq!(look(&creating, &database("Pod/db"), &[events[0].clone(), pulling]), Health::Fine);
    }
    assert_eq!(budget(&creating, &[note("FailedCreatePodSandBox", "failed to setup network for sandbox", 1)]), Some(60));
}

#[test]
fn pods_that_end_as_a_whole() {
    let failed = |reason: &str, message: &str| pod(json!({}), json!({"phase": "Failed", "reason": reason, "message": message}));
    for (reason, message, what, advice) in [
        ("Evicted", "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ", "its node evicted it", "sizeLimit"),
        ("Evicted", "The node was low on resource: memory.", "its node evicted it", "resources.requests.memory"),
        (
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline",
            "activeDeadlineSeconds",
            "activeDeadlineSeconds",
        ),
        ("Preempting", "Preempted in order to admit critical pod", "room for a pod of higher priority", "priorityClassName"),
        ("OutOfmemory", "Node didn't have enough resource", "did not take it", "another node"),
        ("Shutdown", "Node is shutting down", "node is shutting down", "another node"),
    ] {
        let cause = cause(database_health(&failed(reason, message)));
        assert!(cause.what.contains(what) && cause.advice.contains(advice), "{cause:?}");
    }
    let lost = pod(json!({}), json!({"phase": "Running", "reason": "NodeLost", "message": "Node n is unresponsive"}));
    assert_eq!(budget(&lost, &[]), Some(60));
}

#[test]
fn a_pod_that_is_deleted_is_gone_unless_somebody_makes_it_anew() {
    let mut going = with_state(json!({"running": {}}), json!({}), 0);
    going.metadata = serde_json::from_value(json!({"name": "db", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"})).unwrap();
    assert!(cause(database_health(&going)).what.contains("by somebody or something else"));
    assert_eq!(look(&going, &database("StatefulSet/db"), &[]), Health::Fine);
    let preempted = note("Preempted", "Preempted by a/b on node n", 1);
    assert!(cause(look(&going, &database("Pod/db"), &[preempted])).what.contains("the cluster took it away"));
}
