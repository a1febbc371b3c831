//! Runs that belong to PipelineRuns, on clusters with and without that kind.

use super::run::{Leftover, ago, hence, minutes_ago, sorted};
use super::told;
use crate::harness::Namespace;
use crate::pipeline_runs::{self, PipelineRuns};
use crate::proxy::Altering;
use crate::support::Folder;

#[test]
fn runs_of_pipeline_runs_that_are_over() {
    let namespace = Namespace::new("gc-tekton");
    if !pipeline_runs::install() {
        return;
    }
    let folder = &namespace.folder;
    let pipeline_runs = PipelineRuns(&namespace);
    for (name, expires) in
        [("runs", ago(3)), ("finished", hence(1)), ("lately", hence(1)), ("again", hence(1))]
    {
        let uid = pipeline_runs.create(name);
        namespace.apply(
            &Leftover::new(&format!("of-{name}"))
                .expires(&expires)
                .owner("tekton.dev/v1", name, &uid)
                .manifest(),
        );
    }
    pipeline_runs.finish("finished", &minutes_ago(25));
    pipeline_runs.finish("lately", &minutes_ago(3));
    // In a version that the cluster does not have any more, so that its own garbage collector passes over
    // them: one of a PipelineRun that is gone, and one of another PipelineRun of the same name.
    let gone = "00000000-0000-4000-8000-000000000000";
    namespace.apply(
        &Leftover::new("of-gone").expires(&hence(1)).owner("tekton.dev/v1beta1", "gone", gone).manifest(),
    );
    namespace.apply(
        &Leftover::new("of-replaced")
            .expires(&hence(1))
            .owner("tekton.dev/v1beta1", "again", gone)
            .manifest(),
    );
    namespace.apply(&Leftover::new("expired").expires(&ago(3)).manifest());

    let reasons = |args: &[&str]| -> Vec<String> {
        let gc = folder.call(&[&["gc", "--dry-run", "--pipeline-runs", "-o", "json"], args].concat()).ok();
        told(&gc)
            .iter()
            .map(|item| format!("{} {}: {}", item["runId"], item["reason"], item["because"]).replace('"', ""))
            .collect()
    };
    let expired = "expired expired: expired 3 h ago";
    let finished = "of-finished pipeline-run-finished: its PipelineRun finished finished 25 min ago";
    let gone = "of-gone pipeline-run-gone: its PipelineRun gone is gone";
    let lately = "of-lately pipeline-run-finished: its PipelineRun lately finished 3 min ago";
    let replaced = "of-replaced pipeline-run-gone: its PipelineRun again is gone";
    assert_eq!(reasons(&[]), [expired, finished, gone, replaced]);
    assert_eq!(reasons(&["--grace", "2m"]), [expired, finished, gone, lately, replaced]);
    assert_eq!(reasons(&["--grace", "1h"]), [expired, gone, replaced]);
    // Without a look at PipelineRuns the expiry alone counts.
    let blind = folder.call(&["gc", "--dry-run"]).ok();
    let would = |run: &str| {
        format!("would remove run {run} in namespace {} (3 objects): expired 3 h ago", namespace.name)
    };
    assert_eq!(blind.story(), [would("expired"), would("of-runs")]);

    let gc = folder.call(&["gc", "--pipeline-runs", "-v"]).ok();
    gc.says("run of-runs in namespace").says("stays: its PipelineRun runs goes on");
    let left: Vec<String> = namespace.labelled("test-dependencies");
    let expected = ["again", "lately", "runs"];
    let expected: Vec<String> = ["secret", "service", "configmap"]
        .iter()
        .flat_map(|kind| expected.iter().map(move |run| format!("{kind}/{kind}-of-{run}")))
        .collect();
    assert_eq!(sorted(left), sorted(expected));
}

/// By the API server's answers to questions for a group that it really does not have.
#[test]
fn a_cluster_without_pipeline_runs() {
    let namespace = Namespace::new("gc-plain");
    let owner = "00000000-0000-4000-8000-000000000000";
    namespace
        .apply(&Leftover::new("old").expires(&ago(3)).owner("tekton.dev/v1beta1", "x", owner).manifest());
    namespace
        .apply(&Leftover::new("live").expires(&hence(1)).owner("tekton.dev/v1beta1", "x", owner).manifest());
    let config = Folder::new();
    let way = Altering::start(|sent| sent.replace("/apis/tekton.dev/", "/apis/absent.test/"), str::to_owned);
    let folder = namespace.folder_as(&way.kubeconfig(&config));
    let gc = folder.call(&["gc", "--pipeline-runs"]).ok();
    let removed = format!("removed run old in namespace {} (3 objects): expired 3 h ago", namespace.name);
    assert_eq!(
        gc.story(),
        ["this cluster has no PipelineRuns of tekton.dev: only the expiry counts", &removed]
    );
    assert_eq!(namespace.of_run("live").len(), 3);
}
