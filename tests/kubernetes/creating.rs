//! Creating: whose an existing object is, what a failed creation leaves, and how a wait ends that has no good
//! end.

use crate::harness::{Namespace, STRIV, client_image, kubectl_output, run_id};
use crate::history::ending;

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n---\n")
}

#[test]
fn an_object_of_somebody_else_stops_everything() {
    let namespace = Namespace::new("taken");
    let folder = &namespace.folder;
    namespace.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: taken, labels: {test-dependencies: run-of-a-colleague}}\nspec: {containers: [{name: a, image: 'python:3.11', command: [sleep, '60']}]}\n");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: taken}\nspec: {containers: [{name: a, image: 'python:3.11', command: [sleep, '60']}]}\n";
    folder.file("m.yaml", &(config_map("first-run-1") + pod));
    folder
        .call(&["up", "m.yaml", "--run-id", "run-1"])
        .fails(1)
        .says("m.yaml: document 2 (line 5): creating Pod taken: it exists already and belongs to run run-of-a-colleague")
        .says("hint: put $(context.pipelineRun.uid) into the name");
    assert!(namespace.of_run("run-1").is_empty());
    assert!(namespace.labelled("").contains(&"pod/taken".to_owned()));
    assert!(!folder.has("testing-databases.json"));
}

#[test]
fn what_the_server_refuses_takes_the_rest_along() {
    let namespace = Namespace::new("refused");
    let folder = &namespace.folder;
    // Two pods at once, of which the server takes one: containers need names.
    let pod = |name: &str, container: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-run-1}}\nspec: {{containers: [{{name: {container:?}, image: 'python:3.11', command: [sleep, '60']}}]}}\n---\n"
        )
    };
    folder.file("m.yaml", &(config_map("first-run-1") + &pod("good", "a") + &pod("bad", "NOT_A_NAME")));
    folder
        .call(&["up", "m.yaml", "--run-id", "run-1"])
        .fails(1)
        .says("m.yaml: document 3 (line 10): creating Pod bad-run-1: ")
        .says("NOT_A_NAME");
    assert!(namespace.of_run("run-1").is_empty());
}

#[test]
fn a_kind_that_the_cluster_does_not_have() {
    let namespace = Namespace::new("kind");
    let folder = &namespace.folder;
    folder.file(
        "m.yaml",
        &(config_map("first-run-1")
            + "apiVersion: example.com/v1\nkind: Unicorn\nmetadata: {name: u-run-1}\n"),
    );
    folder
        .call(&["up", "m.yaml", "--run-id", "run-1"])
        .fails(2)
        .says("m.yaml: document 2 (line 5): the cluster has no kind Unicorn in example.com/v1");
    assert!(namespace.of_run("run-1").is_empty());
}

#[test]
fn the_timeout_tells_the_last_state_and_leaves_the_run_for_a_look() {
    let namespace = Namespace::new("timeout");
    let folder = &namespace.folder;
    folder.file("striv.yaml", &STRIV.replace("mysql:9.7-visible", "mysql:no-such-tag"));
    let run_id = run_id();
    folder.call(&["up", "--with", "sqlite"]).ok();
    assert!(folder.has("testing-databases.json"));
    folder
        .call(&["up", "striv.yaml", "--run-id", &run_id, "--timeout", "12s"])
        .fails(3)
        .says("error: not ready within 12s: mysql: starting (")
        .says("Pull")
        .says(&format!("-n {} describe pods -l test-dependencies={run_id}", namespace.name))
        .says(&format!("hint: remove it:  testbed down --run-id {run_id} -n {}", namespace.name));
    assert!(!folder.has("testing-databases.json"), "an older file would say that the databases are ready");
    assert_eq!(namespace.of_run(&run_id).len(), 4);
    folder.call(&["down"]).ok();
    assert_eq!(ending(folder, &run_id), ["failed", "not-ready", "gone"]);
    assert!(namespace.of_run(&run_id).is_empty());
}

#[test]
fn an_interrupted_up_says_what_is_left() {
    let namespace = Namespace::new("interrupt");
    let folder = &namespace.folder;
    folder.file("striv.yaml", &STRIV.replace("mysql:9.7-visible", "mysql:no-such-tag"));
    let run_id = run_id();
    let up = folder.start(&["up", "striv.yaml", "--run-id", &run_id]);
    namespace.kubectl_until(
        &["get", "pods", "-o", "name", "-l", &format!("test-dependencies={run_id}")],
        |text| text.lines().count() == 2,
    );
    up.signal("TERM");
    up.wait()
        .fails(143)
        .says("error: interrupted")
        .says(&format!("testbed down --run-id {run_id} -n {}", namespace.name));
    folder.call(&["down"]).ok();
    assert!(namespace.of_run(&run_id).is_empty());
}

const HELD: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: held-run-1, finalizers: [example.com/hold]}\n";
const RELEASE: [&str; 6] = [
    "patch",
    "secret",
    "held-run-1",
    "--type=json",
    "-p",
    r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
];

/// As when a task is tried again after its timeout: what the first attempt's end has deleted is not gone yet.
#[test]
fn what_an_earlier_attempt_has_deleted_is_waited_for() {
    let namespace = Namespace::new("again");
    let folder = &namespace.folder;
    folder.file("m.yaml", &(config_map("first-run-1") + HELD));
    let up = ["up", "m.yaml", "--run-id", "run-1"];
    folder.call(&up).ok();
    folder.call(&["down", "--run-id", "run-1", "--timeout", "1s"]).fails(5);
    let doctor = folder.call(&["doctor", "m.yaml", "--run-id", "run-1"]).ok();
    assert!(
        doctor.stdout.contains("is being deleted: `up` waits until it is gone"),
        "{}",
        doctor.transcript()
    );
    folder
        .call(&[&up[..], &["--timeout", "3s"]].concat())
        .fails(3)
        .says("waiting until Secret held-run-1 of an earlier attempt is gone")
        .says("m.yaml: document 2 (line 5): creating Secret held-run-1: Secret held-run-1 (held by the finalizer example.com/hold) of an earlier attempt is still being deleted after 3s");
    assert_eq!(namespace.of_run("run-1"), ["secret/held-run-1"]);
    let mut again = folder.start(&up);
    again.until_it_says("waiting until Secret held-run-1");
    namespace.kubectl(&RELEASE);
    again.wait().ok().says("created 2 objects");
    assert_eq!(namespace.of_run("run-1"), ["secret/held-run-1", "configmap/first-run-1"]);
    namespace.kubectl(&RELEASE);
    folder.call(&["down"]).ok();
}

/// A field that is new to an API server, or not switched on there, goes without a word of it: a sidecar
/// becomes an init container that never ends.
#[test]
fn what_the_api_server_leaves_out_of_an_object_is_told() {
    let namespace = Namespace::new("left-out");
    let folder = &namespace.folder;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a-run-1}\nspec:\n  os: {name: linux}\n  containers:\n  \
               - {name: a, image: 'IMAGE', command: [sleep, '600'], lifecycle: {stopSignal: SIGKILL}}\n";
    let pod = pod.replace("IMAGE", &client_image());
    let kept = ["create", "--dry-run=server", "-o", "jsonpath={.spec.containers[0].lifecycle}", "-f", "-"];
    let kept = kubectl_output(&[&["-n", &namespace.name], &kept[..]].concat(), Some(pod.as_bytes()));
    if !kept.status.success() || !kept.stdout.is_empty() {
        eprintln!("skipped: this API server knows stop signals, or nothing of them at all");
        return;
    }
    folder.file("m.yaml", &pod);
    let told = "Pod a-run-1: the API server has left out spec.containers[a].lifecycle: its version does not have that, or not switched on";
    let doctor = folder.call(&["doctor", "m.yaml", "--run-id", "run-1"]).ok();
    assert!(doctor.stdout.contains(&format!("warning  dry-run       {told}")), "{}", doctor.transcript());
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok().says(&format!("warning: {told}"));
    folder.call(&["down", "--run-id", "run-1"]).ok();
}
