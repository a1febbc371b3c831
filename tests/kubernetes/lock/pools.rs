//! One of several locks, locks with several permits, and what is shown of them.

use serde_json::{Value, json};

use super::state;
use crate::harness::Namespace;

/// The runs that hold a lock, as its Lease says.
fn holders(namespace: &Namespace, name: &str) -> Vec<String> {
    let holders = state(namespace, name).map(|lock| lock["holders"].clone()).unwrap_or_default();
    let ids = holders.as_array().into_iter().flatten().filter_map(|holder| holder["id"].as_str());
    ids.map(Into::into).collect()
}

#[test]
fn a_pool_gives_what_is_free_and_is_fair() {
    let namespace = Namespace::new("lock-pool");
    let folder = &namespace.folder;
    let acquire = |run: &'static str| ["lock", "acquire", "--one-of", "b,a", "--run-id", run];
    // The first one named is preferred.
    assert_eq!(folder.call(&acquire("one")).ok().stdout, "b\n");
    assert_eq!(folder.call(&acquire("two")).ok().stdout, "a\n");
    // Somebody's retry gets what they have.
    assert_eq!(folder.call(&acquire("two")).ok().stdout, "a\n");
    folder.call(&[&acquire("three")[..], &["--no-wait"]].concat()).fails(6);
    let mut three = folder.start(&acquire("three"));
    three.until_it_says("lock b: waiting (1st of 1 in the queue");
    let mut four = folder.start(&acquire("four"));
    four.until_it_says("lock b: waiting (2nd of 2 in the queue");
    folder.call(&["lock", "release", "a", "--run-id", "two"]).ok();
    assert_eq!(three.wait().ok().stdout, "a\n");
    // Nobody waits in a queue whose lock they do not want any more.
    namespace.kubectl_until(&["get", "leases", "-o", "yaml"], |text| !text.contains("three\\\",\\\"ticket"));
    folder
        .call(&["lock", "release", "--one-of", "a,b", "--run-id", "one"])
        .ok()
        .says("lock b: released; next is run four")
        .says("lock a: left alone");
    assert_eq!(four.wait().ok().stdout, "b\n");
    for run in ["three", "four"] {
        folder.call(&["lock", "release", "--one-of", "a,b", "--run-id", run]).ok();
    }
    assert_eq!(leases(&namespace), "");
}

#[test]
fn a_pool_by_label_keeps_its_leases() {
    let namespace = Namespace::new("lock-label");
    let folder = &namespace.folder;
    folder
        .call(&["lock", "acquire", "-l", "pool=db", "--run-id", "one"])
        .fails(2)
        .says("no Lease in namespace");
    for name in ["db1", "db2"] {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "labels": {"pool": "db"}}});
        namespace.apply(&lease.to_string());
    }
    let acquire = |run: &'static str| ["lock", "acquire", "-l", "pool=db", "--run-id", run];
    assert_eq!(folder.call(&acquire("one")).ok().stdout, "db1\n");
    assert_eq!(folder.call(&acquire("two")).ok().stdout, "db2\n");
    for run in ["one", "two"] {
        folder.call(&["lock", "release", "-l", "pool=db", "--run-id", run]).ok();
    }
    // They are somebody's, and are there for the next one.
    assert_eq!(leases(&namespace), "db1 db2");
    assert_eq!(holders(&namespace, "db1"), [""; 0]);
    let first: u64 = fence(&folder.call(&[&acquire("three")[..], &["-o", "json"]].concat()).ok().stdout);
    folder.call(&["lock", "release", "db1", "--run-id", "three"]).ok();
    let second = fence(&folder.call(&[&acquire("four")[..], &["-o", "json"]].concat()).ok().stdout);
    assert!(second > first, "{second} {first}");
}

/// The Leases that there are.
fn leases(namespace: &Namespace) -> String {
    namespace.kubectl(&["get", "leases", "-o", "jsonpath={.items[*].metadata.name}"])
}

fn fence(text: &str) -> u64 {
    let told: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    told["fence"].as_u64().expect("a number")
}

#[test]
fn permits_let_several_in_and_no_more() {
    let namespace = Namespace::new("lock-permits");
    let folder = &namespace.folder;
    for run in ["one", "two"] {
        folder.call(&["lock", "acquire", "licence", "--permits", "2", "--run-id", run]).ok();
    }
    assert_eq!(
        namespace.kubectl(&["get", "lease", "licence", "-o", "jsonpath={.spec.holderIdentity}"]),
        "one, two"
    );
    folder
        .call(&["lock", "acquire", "licence", "--run-id", "three", "--no-wait"])
        .fails(6)
        .says("2 of 2 permits taken");
    folder
        .call(&["lock", "acquire", "licence", "--permits", "3", "--run-id", "three"])
        .fails(2)
        .says("in use with 2 permits");
    let mut three = folder.start(&["lock", "acquire", "licence", "--run-id", "three"]);
    three.until_it_says("1st of 1 in the queue");
    let shown = folder.call(&["lock", "show", "-o", "json"]).ok();
    let shown: Value =
        serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown.transcript()));
    assert_eq!((&shown[0]["name"], &shown[0]["permits"]), (&json!("licence"), &json!(2)));
    let ids = |key: &str| {
        shown[0][key].as_array().expect("a list").iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((ids("holders"), ids("queue")), (vec![json!("one"), json!("two")], vec![json!("three")]));
    folder.call(&["lock", "release", "licence", "--run-id", "one"]).ok();
    three.wait().ok();
    assert_eq!(holders(&namespace, "licence"), ["two", "three"]);
    for run in ["two", "three"] {
        folder.call(&["lock", "release", "licence", "--run-id", run]).ok();
    }
    assert_eq!(folder.call(&["lock", "show"]).ok().says("no locks in namespace").stdout, "");
}

#[test]
fn a_lock_of_somebody_else_is_refused() {
    let namespace = Namespace::new("lock-foreign");
    let folder = &namespace.folder;
    let spec = json!({"holderIdentity": "controller-0", "leaseDurationSeconds": 15});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}, "spec": spec});
    namespace.apply(&lease.to_string());
    folder
        .call(&["lock", "acquire", "leader", "--run-id", "one"])
        .fails(2)
        .says("held by controller-0, and is no lock of testbed");
    folder.call(&["lock", "release", "leader", "--run-id", "one"]).fails(2);
    assert_eq!(folder.call(&["lock", "show"]).ok().stdout, "");
    namespace.kubectl(&["annotate", "lease", "leader", "testbed/lock={"]);
    folder
        .call(&["lock", "acquire", "leader", "--run-id", "one"])
        .fails(1)
        .says("annotation testbed/lock of Lease leader");
}
