//! Objects that say what is not so: anybody who may create a ConfigMap can give it the labels and annotations
//! of any run.

use serde_json::{Value, json};

use crate::gc::run::{Leftover, ago, hence, labels, minutes_ago};
use crate::harness::{Namespace, kubectl};
use crate::pipeline_runs::{self, PipelineRuns};
use crate::proxy::Altering;
use crate::support::Folder;

fn config_map(run_id: &str, annotations: &Value, owners: &Value) -> String {
    let metadata = json!({"name": "forged", "labels": labels(run_id), "annotations": annotations, "ownerReferences": owners});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).to_string()
}

/// An old expiry, and the end of somebody's PipelineRun: the run says neither.
#[test]
fn a_config_map_ends_no_run() {
    let namespace = Namespace::new("forged");
    let folder = &namespace.folder;
    folder.call(&["up", "--with", "postgres", "--lifetime", "none", "--run-id", "victim"]).ok();
    let made = namespace.of_run("victim");
    namespace.apply(&config_map(
        "victim",
        &json!({"testbed/expires": ago(3), "testbed/kinds": "v1/ConfigMap"}),
        &json!([]),
    ));
    folder
        .call(&["gc", "-v"])
        .ok()
        .says("nothing to remove")
        .says("stays: no testbed/expires on its objects");
    namespace.kubectl(&["delete", "configmap", "forged"]);
    if pipeline_runs::install() {
        let pipeline_runs = PipelineRuns(&namespace);
        let uid = pipeline_runs.create("old");
        pipeline_runs.finish("old", &minutes_ago(25));
        let owner =
            json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "old", "uid": uid}]);
        namespace.apply(&config_map("victim", &json!({}), &owner));
        folder.call(&["gc", "--pipeline-runs", "--grace", "0s"]).ok().says("nothing to remove");
        namespace.kubectl(&["delete", "configmap", "forged"]);
    }
    assert_eq!(namespace.of_run("victim"), made);
    folder.call(&["down"]).ok();
}

/// What is left of a run that is over, and what only has its labels: a record of somebody else's, or a word
/// against it.
#[test]
fn what_contradicts_a_run_is_told_of_and_left() {
    let namespace = Namespace::new("forged-left");
    let folder = &namespace.folder;
    folder.call(&["up", "--with", "postgres", "--run-id", "over"]).ok();
    let expire = |expires: &str| {
        let expires = format!("testbed/expires={expires}");
        namespace.kubectl(&[
            "annotate",
            "--overwrite",
            "pods,services,secrets",
            "-l",
            "test-dependencies=over",
            &expires,
        ])
    };
    expire(&ago(3));
    namespace.apply(&config_map(
        "over",
        &json!({"testbed/expires": ago(3), "testbed/record": "another"}),
        &json!([]),
    ));
    let gc = folder.call(&["gc"]).ok();
    let left = format!(
        "warning: run over in namespace {}: ConfigMap forged is left: it has the labels of the run",
        namespace.name
    );
    gc.says(&left).says("removed run over in namespace").says("(3 objects)");
    assert_eq!(namespace.of_run("over"), ["configmap/forged"]);
    // By its id, it goes all the same.
    folder.call(&["down", "--run-id", "over"]).ok();
    assert!(namespace.of_run("over").is_empty());
}

/// Two namespaces with a run of the same id each.
#[test]
fn down_goes_nowhere_that_nobody_has_named() {
    let (home, other) = (Namespace::new("forged-home"), Namespace::new("forged-other"));
    other.folder.call(&["up", "--with", "postgres", "--run-id", "pr-17"]).ok();
    let made = other.of_run("pr-17");
    let kinds: Vec<String> =
        ["Pod", "Service", "Secret"].iter().map(|kind| format!("v1/{kind}@{}", other.name)).collect();
    let kinds =
        format!("{},v1/ConfigMap,no kind,///,x/@,rbac.authorization.k8s.io/v1/ClusterRole", kinds.join(","));
    let role = format!("forged-{}", home.name);
    kubectl(&["create", "clusterrole", &role, "--verb=get", "--resource=pods"]);
    kubectl(&["label", "clusterrole", &role, "test-dependencies=pr-17"]);
    home.apply(&config_map("pr-17", &json!({"testbed/kinds": kinds}), &json!([])));
    let down = home.folder.call(&["down", "--run-id", "pr-17"]).ok();
    let is_there = kubectl(&["get", "clusterrole", &role, "-o", "name", "--ignore-not-found"]);
    kubectl(&["delete", "clusterrole", &role, "--ignore-not-found"]);
    assert!(!is_there.is_empty(), "{}", down.transcript());
    down.says(&format!(
        "has more of kind Pod in namespace {0}, where this call does not look: if that is so, pass --also-namespace {0}",
        other.name
    ))
    .says("has some of kind ClusterRole, which are of no namespace: if that is so, pass --cluster-scoped")
    .says("(1 objects)");
    assert_eq!((home.of_run("pr-17"), other.of_run("pr-17")), (Vec::new(), made.clone()));
    // Named by mistake: the objects there were made for another run.
    home.apply(&config_map("pr-17", &json!({"testbed/kinds": kinds}), &json!([])));
    let down = home.folder.call(&["down", "--run-id", "pr-17", "--also-namespace", &other.name]).ok();
    down.says(&format!(
        "Pod postgres-pr-17 in namespace {} is left: it was made for another run of the id pr-17",
        other.name
    ));
    assert_eq!(other.of_run("pr-17"), made);
    other.folder.call(&["down"]).ok();
}

/// As `--allow namespace` makes it: the folder knows, and elsewhere a flag says it.
#[test]
fn another_namespace_is_reached_where_the_caller_names_it() {
    let (home, other) = (Namespace::new("named-home"), Namespace::new("named-other"));
    let there = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: there-run-1, namespace: {}}}\n",
        other.name
    );
    let up = || {
        home.folder.file(
            "m.yaml",
            &format!("{there}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: here-run-1}}\n"),
        );
        home.folder.call(&["up", "m.yaml", "--run-id", "run-1", "--allow", "namespace"]).ok();
    };
    up();
    let elsewhere = Namespace::folder_for(&home.name, crate::harness::kubeconfig());
    elsewhere.call(&["down", "--run-id", "run-1", "--also-namespace", &other.name]).ok().says("(2 objects)");
    up();
    home.folder.call(&["down"]).ok().says("(2 objects)");
    assert_eq!((home.of_run("run-1"), other.of_run("run-1")), (Vec::new(), Vec::new()));
}

/// Somebody takes an object for themselves when its deletion is on its way.
#[test]
fn what_has_lost_the_label_in_the_meantime_stays() {
    let namespace = Namespace::new("forged-label");
    // Objects of a testbed that knew no marks: the run's id is enough for a teardown.
    namespace.apply(&Leftover::new("run-1").expires(&hence(1)).with_pod().manifest());
    let config = Folder::new();
    let (once, name) = (std::sync::Once::new(), namespace.name.clone());
    let way = Altering::start(
        move |sent| {
            if sent.starts_with("DELETE ") {
                once.call_once(|| {
                    drop(kubectl(&["-n", &name, "label", "configmap,secret", "--all", "test-dependencies-"]));
                });
            }
            sent.to_owned()
        },
        str::to_owned,
    );
    namespace.folder_as(&way.kubeconfig(&config)).call(&["down", "--run-id", "run-1"]).ok();
    assert!(namespace.of_run("run-1").is_empty());
    let left = namespace.kubectl(&["get", "configmap/configmap-run-1", "secret/secret-run-1", "-o", "name"]);
    assert_eq!(left.lines().count(), 2, "{left}");
}
