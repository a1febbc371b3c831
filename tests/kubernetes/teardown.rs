//! `testbed down`: at any moment, any number of times, and nothing but the run's own.

use std::time::{Duration, Instant};

use crate::credentials::account;
use crate::harness::{Namespace, STRIV, run_id};
use crate::history::ending;
use crate::support::Folder;

#[test]
fn a_run_that_does_not_exist_is_no_failure() {
    let namespace = Namespace::new("nothing");
    let folder = &namespace.folder;
    let said = format!("run no-such-run has no objects in namespace {}: nothing to do", namespace.name);
    folder.call(&["down", "--run-id", "no-such-run"]).ok().says(&said);
}

/// A set-up shell is process 1 and ignores SIGTERM: without a short grace period this takes 30 s.
#[test]
fn down_does_not_wait_for_a_database_that_is_setting_itself_up() {
    let namespace = Namespace::new("early");
    let folder = &namespace.folder;
    let lingering = "    - name: TESTBED_SETUP_LINGER\n      value: \"120\"\n    - name: MYSQL_ROOT_PASSWORD";
    folder.file("striv.yaml", &STRIV.replace("    - name: MYSQL_ROOT_PASSWORD", lingering));
    let run_id = run_id();
    let up = folder.start(&["up", "striv.yaml", "--run-id", &run_id]);
    let selector = format!("mysql={run_id}");
    namespace.kubectl_until(
        &[
            "get",
            "pods",
            "-l",
            &selector,
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].state.running.startedAt}",
        ],
        |text| !text.is_empty(),
    );
    let start = Instant::now();
    folder.call(&["down", "--run-id", &run_id]).ok();
    // Far from the 30 s of a full grace period, and generous to a busy machine; the figure itself is the
    // benchmark's.
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(namespace.of_run(&run_id).is_empty());
    // It was asked to end first.
    up.wait().fails(143).says("interrupted");
    folder.call(&["down", "--run-id", &run_id]).ok().says("nothing to do");
}

#[test]
fn two_at_once_do_not_hinder_each_other() {
    let namespace = Namespace::new("both");
    let folder = &namespace.folder;
    let up = folder.call(&["up", "--with", "postgres"]).ok();
    let run_id = up.stdout.trim();
    let down = || folder.start(&["down", "--run-id", run_id]);
    let (one, two) = (down(), down());
    one.wait().ok();
    two.wait().ok();
    assert!(namespace.of_run(run_id).is_empty());
}

/// Also where testbed may not watch the kind, and where nothing else is left that tells what kinds the run
/// has.
#[test]
fn a_finalizer_is_named_until_it_is_gone() {
    let namespace = Namespace::new("held");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}, \
                 {apiGroups: [''], resources: [secrets, configmaps], verbs: [create, delete, get, list]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    for (kind, rest) in [("ConfigMap", ""), ("Secret", ""), ("Service", "spec: {ports: [{port: 1}]}\n")] {
        folder.file(
            "m.yaml",
            &format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: held-run-1, finalizers: [example.com/hold]}}\n{rest}"),
        );
        folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
        let held = format!(
            "error: still there after 2 s: {kind} held-run-1 (held by the finalizer example.com/hold)"
        );
        for _ in 0..2 {
            folder
                .call(&["down", "--timeout", "2s"])
                .fails(5)
                .says(&held)
                .says("hint: deletion goes on in the cluster");
            assert_eq!(ending(&folder, "run-1")[2], "still there", "{kind}");
        }
        let mut down = folder.start(&["down"]);
        down.until_it_says(&format!("deleting 1 {kind}"));
        namespace.kubectl(&[
            "patch",
            kind,
            "held-run-1",
            "--type=json",
            "-p",
            r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
        ]);
        down.wait().ok().says("run run-1 is gone");
        assert!(namespace.of_run("run-1").is_empty());
    }
}

#[test]
fn the_original_selector_deletes_a_run_of_testbed_as_well() {
    let namespace = Namespace::new("kubectl");
    let folder = &namespace.folder;
    let up = folder.call(&["up", "--with", "postgres"]).ok();
    let selector = format!("test-dependencies={}", up.stdout.trim());
    namespace.kubectl(&["delete", "pods,services", "-l", &selector, "--grace-period=1"]);
    // What the original commands do not know is found all the same.
    folder.call(&["down"]).ok().says("deleting 1 Secret");
    assert!(namespace.of_run(up.stdout.trim()).is_empty());
}
