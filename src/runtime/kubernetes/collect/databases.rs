//! A run's databases as its pods and Services tell of them: for a record that has none, or gaps.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, Service};

use crate::database::discover::discover_workloads;
use crate::database::{Data, Workload};
use crate::history::record::{Database, Moment, What};
use crate::recorder::timeline;
use crate::redact::Redactor;
use crate::run_id::RunId;
use crate::runtime::kubernetes::events::Note;
use crate::runtime::kubernetes::pods::{container_status, made_by, name, uid};
use crate::runtime::kubernetes::timeline::{Sign, signs};
use crate::state::Ready;

/// On a pod: for each database container, what proved that it was ready, and when.
pub const READY_ANNOTATION: &str = "testbed/ready";

pub(super) struct Found {
    pub pod: String,
    pub database: Database,
}

/// The databases that are found in the pods, each once. `notes` are the events about them.
pub(super) fn find(
    pods: &[Pod],
    services: &[Service],
    run_id: &RunId,
    notes: &[Note],
    redactor: &Redactor,
) -> Vec<Found> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for pod in pods {
        let workload =
            Workload { id: made_by(pod).unwrap_or_default().to_owned(), ..Workload::from_pod(pod) };
        let discovered = discover_workloads(vec![workload], services, run_id, &Data::default());
        let about: Vec<Note> = notes
            .iter()
            .filter(|note| note.kind == "Pod" && note.name == name(pod) && note.uid == uid(pod))
            .cloned()
            .collect();
        for database in discovered.map(|discovered| discovered.databases).unwrap_or_default() {
            let mut database = describe(&database, redactor);
            if known.insert((database.workload.clone(), database.container.clone())) {
                fill(&mut database, pod, &about);
                found.push(Found { pod: name(pod).to_owned(), database });
            }
        }
    }
    found
}

/// What a record tells of a database.
pub fn describe(database: &crate::database::Database, redactor: &Redactor) -> Database {
    Database {
        name: database.name.clone(),
        engine: database.engine.to_string(),
        image: Some(database.image.clone()),
        workload: Some(database.workload.clone()),
        container: Some(database.container.clone()),
        address: Some(format!("{}:{}", database.host, database.port)),
        // They may come from a Secret.
        user: Some(redactor.redact(&database.login.user)),
        database: database.login.database.as_deref().map(|name| redactor.redact(name)),
        ..Database::default()
    }
}

/// What is noted on a pod that proved a database in it ready.
pub fn noted_ready(pod: &Pod, container: &str) -> Option<Ready> {
    let text = pod.metadata.annotations.as_ref()?.get(READY_ANNOTATION)?;
    serde_json::from_str::<BTreeMap<String, Ready>>(text).ok()?.remove(container)
}

/// Adds what the pod tells of its life.
fn fill(database: &mut Database, pod: &Pod, events: &[Note]) {
    let container = database.container.clone().unwrap_or_default();
    for Sign { what, nth, at, detail } in signs(pod, &container, events) {
        if let Some(at) = at {
            timeline::add(&mut database.timeline, nth, Moment { what, at, detail });
        }
    }
    let status = container_status(pod, &container);
    database.restarts =
        status.and_then(|status| u32::try_from(status.restart_count).ok()).unwrap_or_default();
    if let Some(ready) = noted_ready(pod, &container) {
        timeline::add(
            &mut database.timeline,
            1,
            Moment { what: What::Ready, at: ready.at, detail: ready.detail.clone() },
        );
        database.evidence = Some(ready);
    }
}
