//! `testbed lock` on the real API server.

mod attack;
mod handover;
mod lives;
mod lone;
mod outages;
mod pools;
mod replicas;
mod rights;
mod run;

use serde_json::Value;

use crate::harness::Namespace;

/// A Lease's lock, as its annotation has it; nothing where there is no such Lease.
fn state(namespace: &Namespace, name: &str) -> Option<Value> {
    parsed(&namespace.kubectl(&get_state(name)))
}

/// What to ask kubectl for that.
fn get_state(name: &str) -> [&str; 6] {
    ["get", "lease", name, "--ignore-not-found", "-o", "jsonpath={.metadata.annotations.testbed/lock}"]
}

fn parsed(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[test]
fn a_lock_goes_from_one_run_to_the_next() {
    let namespace = Namespace::new("lock");
    let folder = &namespace.folder;
    let first = folder.call(&["lock", "acquire", "db", "--run-id", "one"]).ok();
    assert_eq!(first.stdout, "db\n");
    assert_eq!(namespace.kubectl(&["get", "lease", "db", "-o", "jsonpath={.spec.holderIdentity}"]), "one");
    // The retry of a task.
    folder.call(&["lock", "acquire", "db", "--run-id", "one"]).ok().says("held already by run one");
    folder
        .call(&["lock", "acquire", "db", "--run-id", "two", "--no-wait"])
        .fails(6)
        .says("held by run one since");
    let mut second = folder.start(&["lock", "acquire", "db", "--run-id", "two"]);
    second.until_it_says("1st of 1 in the queue; held by run one since");
    // Somebody else's clean-up.
    folder
        .call(&["lock", "release", "db", "--run-id", "three"])
        .ok()
        .says("left alone, it is not held by run three, but by run one");
    folder.call(&["lock", "release", "db", "--run-id", "three", "--strict"]).fails(1);
    folder.call(&["lock", "release", "db", "--run-id", "one"]).ok().says("released; next is run two");
    assert_eq!(second.wait().ok().stdout, "db\n");
    let lock = state(&namespace, "db").expect("it is held");
    assert_eq!((&lock["holders"][0]["id"], &lock["queue"]), (&Value::from("two"), &Value::Array(Vec::new())));
    folder.call(&["lock", "release", "db", "--run-id", "two"]).ok();
    assert!(state(&namespace, "db").is_none(), "the Lease goes with its last holder");
    folder.call(&["lock", "release", "db", "--run-id", "two"]).ok().says("nobody holds it");
}

#[test]
fn who_gives_up_leaves_the_queue() {
    let namespace = Namespace::new("lock-timeout");
    let folder = &namespace.folder;
    folder.call(&["lock", "acquire", "db", "--run-id", "one"]).ok();
    folder
        .call(&["lock", "acquire", "db", "--run-id", "two", "--timeout", "1s"])
        .fails(6)
        .says("not to be had within 1s");
    let three = folder.start(&["lock", "acquire", "db", "--run-id", "three"]);
    namespace.kubectl_until(&["get", "lease", "db", "-o", "yaml"], |text| text.contains("three"));
    three.signal("TERM");
    three.wait().fails(143);
    assert_eq!(state(&namespace, "db").expect("it is held")["queue"], Value::Array(Vec::new()));
}
