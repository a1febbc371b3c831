//! Runs that are over and still there: they take the place of this one.

use std::time::Duration;

use crate::doctor::Verdict;
use crate::runtime::kubernetes::gc::survey::survey;
use crate::runtime::kubernetes::gc::verdict::Measure;
use crate::runtime::kubernetes::{Cluster, clock};

pub(super) const CHECK: &str = "leftovers";

/// Looks for runs of the namespace that have expired, as `testbed gc` does.
pub(super) async fn check(cluster: &Cluster) -> Vec<Verdict> {
    let skipped = |error: anyhow::Error| vec![Verdict::skipped(CHECK, format!("{error:#}"))];
    // Before the lists, so that nothing looks older than it is.
    let now = match clock::now(cluster).await {
        Ok(now) => now,
        Err(error) => return skipped(error),
    };
    let runs = match survey(cluster, false).await {
        Ok(survey) => survey.runs,
        Err(error) => return skipped(error),
    };
    let measure = Measure { now, grace: Duration::ZERO, lives: None };
    let expired: Vec<_> = runs.iter().filter(|run| run.statements.judge(&measure).is_ok()).collect();
    let namespace = &cluster.namespace;
    if expired.is_empty() {
        return vec![Verdict::ok(CHECK, format!("no run in namespace {namespace} is over and still there"))];
    }
    let names: Vec<&str> = expired.iter().map(|run| run.run_id.as_str()).collect();
    let gc = format!("testbed gc{}", cluster.kubectl.trim_start_matches("kubectl"));
    let remedy = match expired.iter().all(|run| run.statements.owners().is_empty()) {
        true => format!("remove them: {gc}"),
        // The time of their databases is over, but the PipelineRun may still have its last words to say.
        false => format!("remove those whose PipelineRun is over: {gc} --pipeline-runs"),
    };
    vec![
        Verdict::warning(
            CHECK,
            format!("these runs in namespace {namespace} have expired: {}", names.join(", ")),
        )
        .remedy(remedy),
    ]
}
