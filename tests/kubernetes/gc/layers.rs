//! The layers of clean-up below the task that tears down: what they catch when that one never runs.

use crate::credentials::account;
use crate::harness::Namespace;
use crate::pipeline_runs::{self, PipelineRuns};
use crate::support::Folder;

const TASK: &str = "[{apiGroups: [''], resources: [pods, services, secrets], verbs: [create, delete, get, list, watch]}]";

/// Two runs from a pod, as a pipeline's task makes them, one of which has an owner, and a neighbour that goes on.
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

    let up = "./testbed up --with postgres --lifetime 20s";
    let owned = client.shell_ok(&format!("TESTBED_PIPELINE_RUN=build-17 TESTBED_PIPELINE_RUN_UID={uid} {up}"));
    assert_eq!(owned.trim(), uid);
    client.shell_ok(&format!("{up} --run-id alone"));
    for run in [uid.as_str(), "alone"] {
        assert_eq!(namespace.of_run(run).len(), 3);
        let status = "jsonpath={.items[*].status.phase} {.items[*].status.reason}";
        let selector = format!("test-dependencies={run}");
        namespace.kubectl_until(&["get", "pods", "-l", &selector, "-o", status], |text| text == "Failed DeadlineExceeded");
    }

    // Whoever prunes PipelineRuns takes along what belongs to them.
    pipeline_runs.wait_for_the_collector();
    assert_eq!(namespace.of_run(&uid).len(), 3);
    pipeline_runs.delete("build-17");
    namespace.kubectl_until(&["get", "pods,services,secrets", "-l", &format!("test-dependencies={uid}"), "-o", "name"], str::is_empty);
    assert_eq!(namespace.of_run("alone").len(), 3);

    let gc = folder.call(&["gc", "--pipeline-runs"]).ok();
    let gc = gc.says(&format!("removed run alone in namespace {} (3 objects): expired ", namespace.name));
    assert_eq!(namespace.of_run("alone"), Vec::<String>::new(), "{}", gc.transcript());
    assert_eq!(namespace.of_run("neighbour"), neighbour);
    assert!(client.shell_ok("python3 logins.py neighbour.json 20").ends_with("failures: 0\n"));
}
