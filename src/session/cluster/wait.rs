//! The wait for everything at once: databases by their probes, other pods by Kubernetes' word.

use std::time::Instant;

use crate::database::{Database, Settling};
use crate::history::record::{Moment, What};
use crate::probe::{self, Found, Prober, Readiness, Reason, Settle, Stage, Target, WINDOW, Watched};
use crate::progress::{Progress, READY};
use crate::recorder::{Event, Recording};
use crate::runtime::kubernetes::observe::Observer;
use crate::session::plan::Plan;
use crate::session::waits::{Waits, never};
use crate::time::Time;

/// Waits until all databases and all other pods are ready at the same time. `settle` is for databases without
/// an annotation of their own.
///
/// # Errors
/// `Exit::Never` when a database's final server refuses the tests' login.
pub(super) async fn wait(
    plan: &Plan,
    settle: Option<Settling>,
    targets: &[Target],
    observer: &Observer,
    waits: &Waits,
    recording: &Recording<'_>,
    progress: &Progress,
) -> anyhow::Result<Vec<Found>> {
    let databases = &plan.discovery.databases;
    let outsides = databases.iter().zip(observer.outsides());
    let mut watched: Vec<Watched> = outsides
        .zip(targets)
        .map(|((database, outside), target)| Watched {
            prober: Prober::new(believing(target, database.settle.or(settle))),
            readiness: Readiness::new(rule(database, settle), Instant::now()),
            outside,
        })
        .collect();
    let report = |index: usize, stage: Stage| {
        let Database { name, engine, login, .. } = &databases[index];
        if let Stage::Waiting(
            reason @ (Reason::SettingUp | Reason::NotProcess1(_) | Reason::SetUpOption(_)),
        ) = &stage
        {
            let moment = Moment { what: What::SetUpServer, at: Time::now(), detail: reason.to_string() };
            recording.on(Event::Database { name: name.clone(), nth: 1, moment });
        }
        waits.note(progress, name, *engine, login, stage);
    };
    // A database's own line tells of its pod.
    let has_line = |workload: &str| databases.iter().any(|database| database.workload == workload);
    let others = || {
        observer.all_ready(&plan.discovery.workloads, |workload, ready| {
            if !has_line(workload) {
                progress.stage(workload, if ready { READY } else { "waiting for its pods" }, "");
            }
        })
    };
    let outcome = probe::all_ready(&mut watched, report, others).await;
    outcome.map_err(|(index, refusal)| {
        let Database { name, engine, login, workload, container, .. } = &databases[index];
        never(name, &format!("its server ({workload}, container {container})"), *engine, login, &refusal)
    })
}

/// The target, whose command line is not held against it where the user says how long a server has to stay
/// up: that holds for any server.
fn believing(target: &Target, settle: Option<Settling>) -> Target {
    let arguments = target.arguments.clone().filter(|_| !matches!(settle, Some(Settling::For(_))));
    Target { arguments, ..target.clone() }
}

fn rule(database: &Database, settle: Option<Settling>) -> Settle {
    let unless_told = if database.becomes_process_1 { Settle::Untold(WINDOW) } else { Settle::Any(WINDOW) };
    database.settle.or(settle).map_or(unless_told, Settle::from)
}
