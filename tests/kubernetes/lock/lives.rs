//! Holders that live as long as their PipelineRun.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::state;
use crate::credentials::account;
use crate::harness::Namespace;
use crate::pipeline_runs::{self, PipelineRuns};
use crate::proxy::Altering;
use crate::support::{Called, Folder, Started};

const LEASES: &str = "{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch, create, patch, delete]}";

/// A namespace for locks and PipelineRuns; `None` on a cluster that would carry these out.
fn namespace(prefix: &str) -> Option<Namespace> {
    pipeline_runs::install().then(|| Namespace::new(prefix))
}

/// Lets a PipelineRun hold a lock.
fn hold(namespace: &Namespace, lock: &str, pipeline_run: &str, more: &[&str]) {
    let holder = format!("pipelinerun/{pipeline_run}");
    let args = ["lock", "acquire", lock, "--run-id", "one", "--holder", &holder];
    namespace.folder.call(&[&args[..], more].concat()).ok();
}

/// Somebody who waits for it by now.
fn wait_for(folder: &Folder, lock: &str, run_id: &str, held_by: &str) -> Started {
    let mut waiter = folder.start(&["lock", "acquire", lock, "--run-id", run_id, "--heartbeat", "300ms"]);
    waiter.until_it_says(&format!("1 in the queue; held by {held_by} since"));
    waiter
}

/// The waiter has to have the lock within a second of now.
fn within_a_second(waiter: Started, what: &str) -> Called {
    let start = Instant::now();
    let called = waiter.wait().ok();
    let took = start.elapsed();
    eprintln!("{what}: taken over after {} ms", took.as_millis());
    assert!(took < Duration::from_secs(1), "{what}: {took:?}\n{}", called.transcript());
    called.says("taken from run one, which has abandoned it")
}

/// Gives the holder a shorter ttl, for which it has not asked: the default is too long for a test.
fn shorten_ttl(namespace: &Namespace, lock: &str) {
    let mut lock_state = state(namespace, lock).expect("it is held");
    assert_eq!(
        (&lock_state["holders"][0]["ttlMillis"], &lock_state["holders"][0]["ttlIsAskedFor"]),
        (&json!(3_600_000), &json!(false))
    );
    lock_state["holders"][0]["ttlMillis"] = 1000.into();
    namespace.kubectl(&["annotate", "lease", lock, "--overwrite", &format!("testbed/lock={lock_state}")]);
}

#[test]
fn a_lock_is_free_once_its_pipeline_run_is_over() {
    let Some(namespace) = namespace("lock-over") else { return };
    let pipeline_runs = PipelineRuns(&namespace);
    let ended = |status: &str| json!({"conditions": [{"type": "Succeeded", "status": status}]});
    let going_on = json!({"conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]});
    let ends: [(&str, Option<Value>); 4] = [
        ("deleted", None),
        ("completed", Some(json!({"completionTime": "2026-01-01T00:00:00Z"}))),
        ("succeeded", Some(ended("True"))),
        ("failed", Some(ended("False"))),
    ];
    for (end, status) in ends {
        pipeline_runs.create(end);
        pipeline_runs.tell(end, &going_on);
        hold(&namespace, end, end, &[]);
        let waiter = wait_for(&namespace.folder, end, "two", &format!("run one of PipelineRun {end}"));
        match status {
            None => pipeline_runs.delete(end),
            Some(status) => pipeline_runs.tell(end, &status),
        }
        assert_eq!(within_a_second(waiter, end).stdout, format!("{end}\n"));
    }
}

#[test]
fn while_it_runs_only_a_ttl_that_was_asked_for_counts() {
    let Some(namespace) = namespace("lock-runs") else { return };
    let pipeline_runs = PipelineRuns(&namespace);
    pipeline_runs.create("build");
    hold(&namespace, "db", "build", &[]);
    shorten_ttl(&namespace, "db");
    let waiter = wait_for(&namespace.folder, "db", "two", "run one of PipelineRun build");
    // What the waiter has measured, three times the ttl.
    let idle =
        |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["holders"][0]["idleMillis"].as_u64();
    let lock = ["get", "lease", "db", "-o", "jsonpath={.metadata.annotations.testbed/lock}"];
    let text = namespace.kubectl_until(&lock, |text| idle(text).is_some_and(|idle| idle > 3000));
    let lock: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&lock["holders"][0]["id"], &lock["queue"][0]["id"]),
        (&json!("one"), &json!("two")),
        "{text}"
    );
    // Nor does the clock count for somebody who comes only now.
    namespace
        .folder
        .call(&["lock", "acquire", "db", "--run-id", "three", "--no-wait"])
        .fails(6)
        .says("held by run one");
    pipeline_runs.delete("build");
    within_a_second(waiter, "long after the ttl");

    pipeline_runs.create("slow");
    hold(&namespace, "asked", "slow", &["--ttl", "2s"]);
    let waiter = wait_for(&namespace.folder, "asked", "two", "run one of PipelineRun slow");
    waiter.wait().ok().says("taken from run one, which has abandoned it");
    namespace.kubectl(&["get", "pipelineruns.tekton.dev", "slow"]);
}

#[test]
fn another_pipeline_run_of_the_same_name_is_not_the_holder() {
    let Some(namespace) = namespace("lock-again") else { return };
    let pipeline_runs = PipelineRuns(&namespace);
    pipeline_runs.create("build");
    hold(&namespace, "db", "build", &[]);
    let folder = &namespace.folder;
    folder
        .call(&["lock", "acquire", "db", "--run-id", "two", "--no-wait"])
        .fails(6)
        .says("held by run one of PipelineRun build since");
    pipeline_runs.delete("build");
    pipeline_runs.create("build");
    // Who does not want to wait still looks whether the holder is there.
    folder
        .call(&["lock", "acquire", "db", "--run-id", "two", "--no-wait"])
        .ok()
        .says("taken from run one, which has abandoned it");
}

#[test]
fn the_first_one_in_the_queue_that_lives_takes_over() {
    let Some(namespace) = namespace("lock-dead-first") else { return };
    let pipeline_runs = PipelineRuns(&namespace);
    pipeline_runs.create("build");
    hold(&namespace, "db", "build", &[]);
    let first = wait_for(&namespace.folder, "db", "two", "run one of PipelineRun build");
    let mut second =
        namespace.folder.start(&["lock", "acquire", "db", "--run-id", "three", "--heartbeat", "300ms"]);
    second.until_it_says("2nd of 2 in the queue");
    first.signal("KILL");
    assert_eq!(first.wait().signal, Some(9));
    pipeline_runs.delete("build");
    // Its patience with the first one is three beats of 300 ms; the time to live would be minutes.
    let start = Instant::now();
    let second = second.wait().ok().says("taken from run one, which has abandoned it");
    assert!(start.elapsed() < Duration::from_secs(20), "{}", second.transcript());
}

#[test]
fn who_may_not_look_says_so_once_and_goes_by_the_ttl() {
    let Some(namespace) = namespace("lock-blind") else { return };
    let config = Folder::new();
    let blind = namespace.folder_as(&account(&namespace, &config, &format!("[{LEASES}]")));
    let pipeline_runs = PipelineRuns(&namespace);
    pipeline_runs.create("build");
    let user = format!("--as=system:serviceaccount:{}:limited", namespace.name);
    namespace.kubectl_until(&["auth", "can-i", "watch", "leases.coordination.k8s.io", &user], |answer| {
        answer.trim() == "yes"
    });

    // As a waiter.
    hold(&namespace, "db", "build", &[]);
    shorten_ttl(&namespace, "db");
    let waiter = blind.call(&["lock", "acquire", "db", "--run-id", "two", "--heartbeat", "300ms"]).ok();
    let said = "warning: PipelineRuns may not be watched here (list and watch on pipelineruns): only the ttl tells whether a lock is abandoned";
    assert_eq!(
        waiter.story().into_iter().filter(|line| line.starts_with("warning")).collect::<Vec<_>>(),
        [said]
    );
    let waiter = waiter.says("taken from run one, which has abandoned it");
    assert!(waiter.stderr.contains("1st of 1 in the queue"), "{}", waiter.transcript());

    // As a holder: others who may look go by the name.
    let holder = ["lock", "acquire", "other", "--run-id", "one", "--holder", "pipelinerun/build"];
    blind.call(&holder).ok().says("warning: PipelineRun build may not be read here (get on pipelineruns): whoever waits goes by its name");
    let waiter = wait_for(&namespace.folder, "other", "two", "run one of PipelineRun build");
    pipeline_runs.delete("build");
    within_a_second(waiter, "by its name");
}

/// By the API server's answers to questions for a group that it really does not have.
#[test]
fn a_cluster_without_pipeline_runs() {
    let Some(namespace) = namespace("lock-plain") else { return };
    let config = Folder::new();
    let way = Altering::start(|sent| sent.replace("/apis/tekton.dev/", "/apis/absent.test/"), str::to_owned);
    let plain = namespace.folder_as(&way.kubeconfig(&config));
    PipelineRuns(&namespace).create("build");
    hold(&namespace, "db", "build", &[]);
    shorten_ttl(&namespace, "db");
    let waiter = plain.call(&["lock", "acquire", "db", "--run-id", "two", "--heartbeat", "300ms"]).ok();
    let waiter = waiter
        .says("warning: the cluster has no PipelineRuns: only the ttl tells whether a lock is abandoned");
    assert_eq!(waiter.stderr.matches("warning").count(), 1, "{}", waiter.transcript());
    plain
        .call(&["lock", "acquire", "other", "--run-id", "one", "--holder", "pipelinerun/build"])
        .fails(2)
        .says("error: --holder pipelinerun/build: the cluster has no PipelineRuns");
}

/// The variables that the catalog's tasks set from their pod's labels.
#[test]
fn the_pods_labels_name_the_holder_and_its_pipeline_run() {
    let Some(namespace) = namespace("lock-labels") else { return };
    let pipeline_runs = PipelineRuns(&namespace);
    let uid = pipeline_runs.create("build");
    let task = |uid: &str| {
        let folder = namespace.folder_as(crate::harness::kubeconfig());
        folder.env("TESTBED_PIPELINE_RUN", "build").env("TESTBED_PIPELINE_RUN_UID", uid)
    };
    task(&uid).call(&["lock", "acquire", "db"]).ok().says(&format!("held by run {uid}"));
    let holder = &state(&namespace, "db").expect("it is held")["holders"][0];
    assert_eq!((&holder["id"], &holder["pipelineRun"]), (&json!(uid), &json!({"name": "build", "uid": uid})));
    let waiter = namespace.folder.start(&["lock", "acquire", "db", "--run-id", "two"]);
    task(&uid).call(&["lock", "release", "db"]).ok().says("released");
    waiter.wait().ok();

    // Where those who wait would look, there is no such PipelineRun: it would count as gone at once.
    let elsewhere = "5f0c9c0e-2f5e-4d6c-8f0a-6f1d7c8b9a10";
    let other = task(elsewhere).call(&["lock", "acquire", "other"]).ok();
    other.says(&format!(
        "warning: PipelineRun build of namespace {} is another one, with another uid: only the ttl tells",
        namespace.name
    ));
    let holder = &state(&namespace, "other").expect("it is held")["holders"][0];
    assert_eq!((&holder["id"], &holder["pipelineRun"]), (&json!(elsewhere), &Value::Null));
    let none = format!(
        "error: --holder pipelinerun/none-such: namespace {} has no PipelineRun none-such",
        namespace.name
    );
    namespace
        .folder
        .call(&["lock", "acquire", "third", "--holder", "pipelinerun/none-such"])
        .fails(2)
        .says(&none);
    assert!(state(&namespace, "third").is_none());
}

/// A deleted PipelineRun can be there for minutes yet: neither does it hold a lock then, nor does it get one.
#[test]
fn a_pipeline_run_that_is_being_deleted_is_gone() {
    let Some(namespace) = namespace("lock-deleted") else { return };
    let pipeline_runs = PipelineRuns(&namespace);
    pipeline_runs.create("holding");
    pipeline_runs.create("waiting");
    hold(&namespace, "db", "holding", &[]);
    let folder = &namespace.folder;
    let mut waiting = folder.start(&[
        "lock",
        "acquire",
        "db",
        "--run-id",
        "two",
        "--holder",
        "pipelinerun/waiting",
        "--heartbeat",
        "300ms",
    ]);
    waiting.until_it_says("1 in the queue; held by run one of PipelineRun holding since");
    pipeline_runs.delete_and_keep("waiting");
    pipeline_runs.delete_and_keep("holding");
    waiting
        .wait()
        .fails(1)
        .says("error: ")
        .says("its turn has come, but PipelineRun waiting, for which it waited, is over or deleted");
    folder
        .call(&["lock", "acquire", "db", "--run-id", "three", "--no-wait"])
        .ok()
        .says("taken from run one, which has abandoned it");
    pipeline_runs.let_go("waiting");
    pipeline_runs.let_go("holding");
}
