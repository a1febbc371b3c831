//! Containers that are not made, and containers that end.

use super::*;

#[test]
fn what_a_container_refers_to_is_named() {
    for (message, what) in [
        ("secret \"nope\" not found", "container db needs the Secret nope, which does not exist"),
        ("configmap \"nope\" not found", "container db needs the ConfigMap nope, which does not exist"),
        (
            "couldn't find key k in Secret ns/have",
            "container db needs the key k of the Secret have, which does not exist",
        ),
        (
            "couldn't find key k in ConfigMap ns/have",
            "container db needs the key k of the ConfigMap have, which does not exist",
        ),
        (
            "container has runAsNonRoot and image will run as root",
            "the settings of container db cannot be used",
        ),
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
fn a_kubelet_that_has_not_read_the_secrets_yet_is_not_worth_a_word() {
    let message = "failed to sync secret cache: timed out waiting for the condition";
    let health = database_health(&waiting("CreateContainerConfigError", message));
    assert!(matches!(health, Health::Wait { why, until: Some(_) } if why.is_empty()));
}

#[test]
fn commands_that_do_not_exist() {
    let message = "failed to create containerd task: OCI runtime create failed: exec: \"nosuchthing\": executable file not found in $PATH: unknown";
    let cause = cause(database_health(&waiting("RunContainerError", message)));
    assert_eq!(cause.what, "container db cannot be started: its image mysql:9.7 has no such program");
    assert_eq!(budget(&waiting("CreateContainerError", "context deadline exceeded"), &[]), Some(90));
    let end = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "strange"}});
    let again =
        with_state(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}), end, 1);
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
        assert_eq!(
            (cause.what.as_str(), cause.log),
            ("container db ended twice, last with exit code 1", Some(Log::Latest))
        );
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
    let lasting = Subject { stays: true, ..other };
    assert_eq!(look(&with_state(backing_off(), exited(1), 1), &lasting, &[]), Health::Fine);
    assert!(cause(look(&with_state(backing_off(), exited(1), 2), &lasting, &[])).what.contains("3 times"));
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
    let mut look = |pod: &Pod| {
        diagnose(&Case { pod, subject: &subject, events: &[], budgets: BUDGETS }, &mut history, now)
    };
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
fn what_happens_to_a_pod_that_is_being_replaced_does_not_matter() {
    let mut going = with_state(backing_off(), exited(1), 4);
    going.metadata = serde_json::from_value(
        json!({"name": "db", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
    )
    .unwrap();
    assert_eq!(look(&going, &database("Deployment/db"), &[]), Health::Fine);
}

#[test]
fn init_containers_are_called_so() {
    let status = |code: i32, restarts: i32| {
        let state = json!({"name": "prepare", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": exited(code), "lastState": {}});
        let spec =
            json!({"containers": [{"name": "db"}], "initContainers": [{"name": "prepare", "image": "a"}]});
        pod(spec, json!({"phase": "Pending", "initContainerStatuses": [state]}))
    };
    assert_eq!(
        cause(database_health(&status(3, 1))).what,
        "init container prepare ended twice, last with exit code 3"
    );
    assert_eq!(database_health(&status(3, 0)), Health::Fine);
    assert_eq!(database_health(&status(0, 0)), Health::Fine);
}

#[test]
fn a_sidecar_is_started_again_whatever_its_pod_says() {
    let status = |own: Value| {
        let state = json!({"name": "mesh", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": exited(7), "lastState": {}});
        let mut sidecar = json!({"name": "mesh", "image": "a"});
        sidecar["restartPolicy"] = own;
        let spec =
            json!({"restartPolicy": "Never", "containers": [{"name": "db"}], "initContainers": [sidecar]});
        pod(spec, json!({"phase": "Pending", "initContainerStatuses": [state]}))
    };
    assert_eq!(database_health(&status("Always".into())), Health::Fine);
    assert_eq!(
        cause(database_health(&status(Value::Null))).what,
        "init container mesh ended with exit code 7"
    );
}
