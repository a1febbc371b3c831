//! The layers of clean-up below the task that tears down: what they catch when that one never runs.

use serde_json::json;

use crate::credentials::account;
use crate::harness::{Namespace, client_image};
use crate::pipeline_runs::{self, PipelineRuns};
use crate::support::Folder;

const TASK: &str = "[{apiGroups: [''], resources: [pods, services, secrets], verbs: [create, delete, get, list, watch]}, \
                     {apiGroups: [apps], resources: [statefulsets], verbs: [create, delete, get, list, watch]}]";

/// It has no deadline of its own, and makes a claim that nobody else looks after.
fn stateful_set() -> String {
    let template = json!({
        "metadata": {"labels": {"app": "$(context.pipelineRun.uid)"}},
        "spec": {"containers": [{"name": "c", "image": client_image(), "command": ["sleep", "3600"]}]},
    });
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    });
    let spec = json!({
        "selector": {"matchLabels": {"app": "$(context.pipelineRun.uid)"}}, "serviceName": "none", "template": template,
        "volumeClaimTemplates": [claim],
    });
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "set-$(context.pipelineRun.uid)"}, "spec": spec})
        .to_string()
}

/// Two runs from a pod, as a pipeline's task makes them, one of which has an owner, and a neighbour that goes
/// on.
#[test]
fn when_finally_never_runs() {
    let namespace = Namespace::new("layers");
    if !pipeline_runs::install() {
        return;
    }
    let pipeline_runs = PipelineRuns(&namespace);
    let uid = pipeline_runs.create("build-17");
    account(&namespace, &Folder::new(), TASK);
    let client = namespace.client("limited");
    client.install_testbed();
    let folder = &namespace.folder;
    folder.call(&["up", "--with", "postgres", "--run-id", "neighbour"]).ok();
    let neighbour = namespace.of_run("neighbour");
    client.copy(folder.read("testing-databases.json").as_bytes(), "neighbour.json");

    client.copy(stateful_set().as_bytes(), "set.yaml");
    let up = "./testbed up --with postgres --lifetime 30s";
    let owner = format!("TESTBED_PIPELINE_RUN=build-17 TESTBED_PIPELINE_RUN_UID={uid}");
    assert_eq!(client.shell_ok(&format!("{owner} {up} set.yaml")).trim(), uid);
    client.shell_ok(&format!("{up} --run-id alone"));
    for run in [uid.as_str(), "alone"] {
        let status = "jsonpath={.status.phase} {.status.reason}";
        namespace.kubectl_until(&["get", "pod", &format!("postgres-{run}"), "-o", status], |text| {
            text == "Failed DeadlineExceeded"
        });
    }

    // Whoever prunes PipelineRuns takes along what belongs to them.
    pipeline_runs.wait_for_the_collector();
    let made = namespace.of_run(&uid);
    for name in [
        "persistentvolumeclaim/data-set-",
        "statefulset.apps/set-",
        "secret/postgres-",
        "service/postgres-",
        "pod/postgres-",
    ] {
        assert!(made.iter().any(|made| made.starts_with(name)), "{name} is not in {made:?}");
    }
    pipeline_runs.delete("build-17");
    let kinds = "pods,services,secrets,statefulsets,controllerrevisions,pvc";
    namespace.kubectl_until(
        &["get", kinds, "-l", &format!("test-dependencies={uid}"), "-o", "name"],
        str::is_empty,
    );
    assert_eq!(namespace.of_run("alone").len(), 3);

    let gc = folder.call(&["gc", "--pipeline-runs"]).ok();
    let gc = gc.says(&format!("removed run alone in namespace {} (3 objects): expired ", namespace.name));
    assert_eq!(namespace.of_run("alone"), Vec::<String>::new(), "{}", gc.transcript());
    assert_eq!(namespace.of_run("neighbour"), neighbour);
    assert!(client.shell_ok("python3 logins.py neighbour.json 20").ends_with("failures: 0\n"));
}
