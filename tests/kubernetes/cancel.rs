//! `up` that is ended by a signal before everything is ready: it says what is left, or removes it, and does
//! not keep anybody waiting.

use std::time::{Duration, Instant};

use crate::harness::{Namespace, run_id};
use crate::history::ending;
use crate::support::{Called, Started};

/// A database whose set-up takes longer than any test.
const SLOW: [&str; 4] = ["--with", "mysql:9.7-visible", "--with", "postgres"];

/// What a cancelled TaskRun's step gets. The bound is what the documentation promises.
fn cancel(up: Started) -> Called {
    let start = Instant::now();
    up.signal("TERM");
    let ended = up.wait();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}\n{}", start.elapsed(), ended.transcript());
    assert!(ended.stdout.is_empty());
    ended.ends(143).says("error: interrupted")
}

#[test]
fn what_was_made_stays_and_is_named() {
    let namespace = Namespace::new("cancelled");
    let folder = &namespace.folder;
    let run_id = run_id();
    let mut up = folder.start(&[&["up", "--run-id", &run_id], &SLOW[..]].concat());
    up.until_it_says("mysql: starting");
    let ended = cancel(up);
    let ended = ended.says(&format!("hint: left in namespace {}: Secret mysql-{run_id}, ", namespace.name));
    ended.says(&format!("hint: remove it:  testbed down --run-id {run_id} -n {}", namespace.name));
    assert_eq!(namespace.of_run(&run_id).len(), 6);
    assert!(!folder.has("testing-databases.json"));
    assert_eq!(ending(folder, &run_id), ["cancelled", "interrupted", "still there"]);
    folder.call(&["down"]).ok();
    assert_eq!(ending(folder, &run_id), ["cancelled", "interrupted", "gone"]);
    assert_eq!(namespace.of_run(&run_id), Vec::<String>::new());
}

#[test]
fn all_of_it_goes_if_that_is_wanted() {
    let namespace = Namespace::new("unwanted");
    let folder = &namespace.folder;
    namespace.apply(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: near, labels: {test-dependencies: neighbour}}\n",
    );
    for moment in ["in namespace", "created 6 objects", "mysql: starting"] {
        let run_id = run_id();
        let mut up =
            folder.start(&[&["up", "--run-id", &run_id, "--on-cancel", "delete"], &SLOW[..]].concat());
        up.until_it_says(moment);
        let ended = cancel(up);
        let ends = [
            "hint: nothing was created",
            "was removed, as --on-cancel delete asks for",
            "; deletion goes on in the cluster",
        ];
        assert!(ends.iter().any(|end| ended.stderr.contains(end)), "{}", ended.transcript());
        // A pod whose containers are being made takes some seconds to go, without anybody's help.
        namespace.kubectl_until(
            &["get", "all,secrets", "-o", "name", "-l", &format!("test-dependencies={run_id}")],
            str::is_empty,
        );
    }
    assert_eq!(namespace.of_run("neighbour"), ["configmap/near"]);
}

/// A finalizer holds an object back: the cancellation ends in time all the same, and says what is left.
#[test]
fn what_cannot_be_removed_in_time_is_named() {
    let namespace = Namespace::new("clinging");
    let folder = &namespace.folder;
    folder.file(
        "m.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held-run-1, finalizers: [example.com/hold]}\n",
    );
    let mut up =
        folder.start(&[&["up", "m.yaml", "--run-id", "run-1", "--on-cancel", "delete"], &SLOW[..]].concat());
    up.until_it_says("mysql: starting");
    cancel(up)
        .says("ConfigMap held-run-1 (held by the finalizer example.com/hold)")
        .says("hint: remove it:  testbed down --run-id run-1");
    namespace.kubectl(&[
        "patch",
        "configmap",
        "held-run-1",
        "--type=json",
        "-p",
        r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
    ]);
    folder.call(&["down", "--run-id", "run-1"]).ok();
    assert_eq!(namespace.of_run("run-1"), Vec::<String>::new());
}
