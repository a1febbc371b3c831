//! The sample's CronJob: the very pod that it makes, under its own account.

use serde_json::json;

use super::run::PipelineRun;
use super::site::Site;
use crate::audit;
use crate::harness::image;
use crate::pipeline_runs::PipelineRuns;

const FILE: &str = "samples/gc.yaml";

#[test]
fn the_cron_job_removes_what_outlived_its_pipeline_run() {
    let Some(site) = Site::new("cron") else { return };
    let namespace = &site.namespace;
    for document in site.catalog.in_file(FILE).filter(|document| document.value["kind"] != "CronJob") {
        namespace.apply(&document.value.to_string());
    }
    // `finally` has run for neither of them: one is over, the other goes on.
    let [over, running] = [(); 2].map(|()| PipelineRun::create(&site, "task/testbed-up/samples/try-it.yaml"));
    over.single("up").run().ok("up");
    running.single("up").run().ok("up");
    let before = namespace.of_run(&running.uid);
    assert_eq!((namespace.of_run(&over.uid).len(), before.len()), (3, 3));
    PipelineRuns(namespace).finish(&over.name, "2020-01-01T00:00:00Z");

    let cron =
        site.catalog.in_file(FILE).find(|document| document.value["kind"] == "CronJob").expect("a CronJob");
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "gc"}, "spec": cron.value["spec"]["jobTemplate"]["spec"]});
    job["spec"]["template"]["spec"]["containers"][0]["image"] = image().into();
    namespace.apply(&job.to_string());
    namespace.kubectl_until(&["get", "job", "gc", "-o", "jsonpath={.status.conditions[*].type}"], |types| {
        !types.is_empty()
    });
    let said = namespace.kubectl(&["logs", "job/gc"]);
    assert!(said.contains(&format!("removed run {}", over.uid)), "{said}");
    assert_eq!(namespace.kubectl(&["get", "job", "gc", "-o", "jsonpath={.status.succeeded}"]), "1", "{said}");
    assert_eq!(namespace.of_run(&over.uid), Vec::<String>::new(), "{said}");
    assert_eq!(namespace.of_run(&running.uid), before, "{said}");
    if let Some(requests) = audit::requests_of(namespace, "testbed-gc") {
        assert!(
            !requests.is_empty() && audit::denied(&requests).is_empty(),
            "{:#?}",
            audit::denied(&requests)
        );
    }
    running.single("down").run().ok("down");
}
