//! Lone TaskRuns, which no PipelineRun gives a run id, and tasks that run twice.

use std::collections::BTreeMap;

use super::pod::TaskRun;
use super::run::PipelineRun;
use super::site::Site;
use crate::tekton_catalog::documents::Content;
use crate::tekton_catalog::model::{Param, ParamValue};

/// The TaskRun of a file of the catalog.
pub fn task_run<'a>(site: &'a Site, file: &str, attempt: u32) -> TaskRun<'a> {
    let run = site.catalog.in_file(file).find_map(|document| match &document.content {
        Content::TaskRun(run) => Some(run.clone()),
        _ => None,
    });
    let run = run.unwrap_or_else(|| panic!("no TaskRun in {file}"));
    let referred = run
        .spec
        .task_ref
        .as_ref()
        .and_then(|reference| site.catalog.task(&reference.name))
        .map(|task| &task.spec);
    let mut task = referred.or(run.spec.task_spec.as_ref()).expect("a Task").clone();
    let mut params = run.spec.params.clone();
    if task.params.iter().any(|param| param.name == "image") {
        params.push(Site::image());
    }
    for step in task.steps.iter_mut().filter(|step| step.reference.is_some()) {
        step.params.push(Site::image());
    }
    TaskRun {
        site,
        name: format!("{}{attempt}", run.metadata.generate_name),
        task,
        params,
        workspaces: run.spec.workspaces.iter().map(|workspace| (workspace.name.clone(), None)).collect(),
        service_account: run.spec.service_account_name,
        security_context: run.spec.pod_template.and_then(|template| template.security_context),
        labels: BTreeMap::new(),
    }
}

#[test]
fn lone_task_runs_find_their_run_by_a_param() {
    let Some(site) = Site::new("lone") else { return };
    for (kind, run_id) in [("task", "lone-task-run"), ("stepaction", "lone-step")] {
        let up = task_run(&site, &format!("{kind}/testbed-up/tests/run.yaml"), 0).run().ok(kind);
        assert_eq!(up.results["config"], "/workspace/source/testing-databases.json");
        assert_eq!(site.namespace.of_run(run_id).len(), 3, "{}", up.log());
        // Once to remove it, and once more.
        for attempt in 0..2 {
            let down =
                task_run(&site, &format!("{kind}/testbed-down/tests/run.yaml"), attempt).run().ok(kind);
            let said = if attempt == 0 { "is gone (3 objects)" } else { "nothing to do" };
            assert!(down.log().contains(said), "{}", down.log());
        }
        assert_eq!(site.namespace.of_run(run_id), Vec::<String>::new());
    }
}

#[test]
fn a_lone_task_run_without_a_run_id_is_told_what_to_do() {
    let Some(site) = Site::new("no-run-id") else { return };
    for (file, step) in
        [("task/testbed-up/tests/run.yaml", "up"), ("task/testbed-down/tests/run.yaml", "down")]
    {
        let mut run = task_run(&site, file, 0);
        run.params.retain(|param| param.name != "run-id");
        let ended = run.run();
        assert!(
            !ended.succeeded && ended.reason == "Failed" && ended.exit_code(step) == Some(2),
            "{}",
            ended.log()
        );
        assert!(ended.log().contains("the param run-id"), "{}", ended.log());
        assert!(ended.results.is_empty());
    }
    assert!(site.namespace.labelled("test-dependencies").is_empty());
}

/// As `retries` makes it happen, when the first attempt has got as far as it can get.
#[test]
fn a_second_attempt_takes_over_what_the_first_has_made() {
    let Some(site) = Site::new("retried") else { return };
    let run = PipelineRun::create(&site, "task/testbed-up/samples/try-it.yaml");
    let first = run.single("up").run().ok("first attempt");
    let before =
        (site.namespace.of_run(&run.uid), site.keep(&format!("cat {}/.env.testbed", run.folder("shared"))));
    // Whatever becomes of `finally`, the PipelineRun takes them along when it goes.
    let owners = [
        "get",
        "pods,services,secrets",
        "-l",
        "test-dependencies",
        "-o",
        "jsonpath={.items[*].metadata.ownerReferences[*].uid}",
    ];
    assert_eq!(site.namespace.kubectl(&owners), [run.uid.as_str(); 3].join(" "));
    let mut second = run.single("up");
    second.name += "-again";
    let second = second.run().ok("second attempt");
    assert!(second.log().contains("exist already"), "{}", second.log());
    assert_eq!(first.results, second.results);
    let after =
        (site.namespace.of_run(&run.uid), site.keep(&format!("cat {}/.env.testbed", run.folder("shared"))));
    assert_eq!(before, after);
    remove(&site, &run.uid);
    assert_eq!(site.namespace.of_run(&run.uid), Vec::<String>::new());
    // The other sample's run is nobody's here: nothing to remove is no failure.
    let other =
        task_run(&site, "task/testbed-down/samples/remove-a-run.yaml", 0).run().ok("the sample's TaskRun");
    assert!(other.log().contains("nothing to do"), "{}", other.log());
}

/// Removes a run as the StepAction's sample does, by hand.
fn remove(site: &Site, run_id: &str) {
    let said = of_task(site, "remove-a-run", run_id, "testbed").run().ok("the sample's Task").log();
    assert!(said.contains(&format!("removed {run_id}")), "{said}");
}

/// A lone TaskRun of a sample's Task, with a run id.
pub fn of_task<'a>(site: &'a Site, name: &str, run_id: &str, service_account: &str) -> TaskRun<'a> {
    let task = site.catalog.task(name).expect("the sample's Task").spec.clone();
    let mut params = Site::images(&task.params);
    params.push(Param { name: "run-id".into(), value: ParamValue::Text(run_id.into()) });
    TaskRun {
        site,
        name: name.into(),
        task,
        params,
        workspaces: BTreeMap::new(),
        service_account: Some(service_account.into()),
        security_context: None,
        labels: BTreeMap::new(),
    }
}
