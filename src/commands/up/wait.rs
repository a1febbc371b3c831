//! The wait for everything at once: databases by their probes, other pods by Kubernetes' word.

use std::time::Duration;

use futures::future::{join, join_all};

use crate::commands::plan::Plan;
use crate::probe::{self, Evidence, Readiness, Stage, Target};
use crate::progress::{Progress, READY};
use crate::runtime::kubernetes::observe::Observer;

/// Waits until all databases and all other pods are ready at the same time. `settle` is the settling window of databases without one of
/// their own.
pub async fn wait(plan: &Plan, settle: Duration, targets: &[Target], observer: &Observer, progress: &Progress) -> Vec<Evidence> {
    let databases = &plan.discovery.databases;
    let mut readiness: Vec<Readiness> = databases.iter().map(|database| Readiness::new(database.settle.unwrap_or(settle))).collect();
    let mut containers = observer.containers();
    loop {
        let probes = databases.iter().zip(targets).zip(readiness.iter_mut().zip(containers.iter_mut()));
        let probes = probes.map(|((database, target), (readiness, container))| async move {
            let name = &database.name;
            let report = |stage: Stage| match stage {
                Stage::Starting(why) => progress.stage(name, "starting", &why),
                Stage::Initialising(why) => progress.stage(name, "initialising", &why),
                Stage::Settling(left) => progress.stage(name, "settling", &format!("{:.0} s more", left.as_secs_f64().ceil())),
            };
            let outcome = probe::until_ready(target, readiness, container, report).await;
            progress.stage(name, READY, "");
            outcome
        });
        // A database's own line tells of its pod.
        let has_line = |workload: &str| databases.iter().any(|database| database.workload == workload);
        let others = observer.all_ready(&plan.discovery.workloads, |workload, ready| {
            if !has_line(workload) {
                progress.stage(workload, if ready { READY } else { "waiting for its pods" }, "");
            }
        });
        let (outcomes, ()) = join(join_all(probes), others).await;
        // While one was waited for, another may have restarted: only when each is ready at the first look are all of them at once.
        if outcomes.iter().all(|(_, attempts)| *attempts == 1) {
            return outcomes.into_iter().map(|(evidence, _)| evidence).collect();
        }
    }
}
