//! Runs that are over and still there: they take the place of this one.

use std::time::Duration;

use crate::doctor::Verdict;
use crate::runtime::kubernetes::gc::survey::survey;
use crate::runtime::kubernetes::gc::verdict::Measure;
use crate::runtime::kubernetes::{Cluster, clock};

pub const CHECK: &str = "leftovers";

/// Looks for runs of the namespace that have expired, as `testbed gc` does.
pub async fn check(cluster: &Cluster) -> Vec<Verdict> {
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
    let measure = Measure { now, grace: Duration::ZERO, states: None };
    let expired: Vec<&str> = runs.iter().filter(|run| run.words.judge(&measure).is_ok()).map(|run| run.run_id.as_str()).collect();
    let namespace = &cluster.namespace;
    vec![match expired.as_slice() {
        [] => Verdict::ok(CHECK, format!("no run in namespace {namespace} is over and still there")),
        expired => Verdict::warning(CHECK, format!("these runs in namespace {namespace} have expired: {}", expired.join(", ")))
            .remedy(format!("remove them: testbed gc{}", cluster.kubectl.trim_start_matches("kubectl"))),
    }]
}
