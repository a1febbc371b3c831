//! `testbed status`: the runs of a namespace and their databases, as their labels and pods tell, and what `up` found to prove that they
//! were ready. Never shows a password.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::runtime::runtime;
use super::table::table;
use super::{archiving, choice, local, progress, reap, warn};
use crate::cli::{Global, Runtime, Status, StatusFormat};
use crate::console;
use crate::database::discover::discover_workloads;
use crate::database::service::selects;
use crate::database::{Data, Workload};
use crate::deadline;
use crate::manifest::stamp::WORKLOAD_ANNOTATION;
use crate::progress::Progress;
use crate::registry::{Registry, Unreadable};
use crate::run_id::RunId;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::collect::READY_ANNOTATION;
use crate::runtime::kubernetes::list::{self, Run};
use crate::state::{Ready, Remembered};

/// The state of what a Service leads to whose pod is not there.
const NO_POD: &str = "no pod";

/// One line of the table.
#[derive(Default)]
pub(super) struct Row {
    pub run: String,
    pub runtime: &'static str,
    pub name: String,
    pub engine: String,
    pub address: String,
    pub database: Option<String>,
    pub user: Option<String>,
    /// In a cluster: the pod.
    pub pod: Option<String>,
    /// On this machine: what serves the database, its main process and its log.
    pub server: Option<String>,
    pub process: Option<u32>,
    pub log: Option<String>,
    pub state: String,
    pub restarts: i32,
    pub created: Option<String>,
    pub ready: Option<Ready>,
}

pub(super) async fn status(args: Status, global: &Global) -> anyhow::Result<()> {
    let progress = progress(global);
    let deadline = deadline::after(args.timeout);
    let run_id = args.run_id.as_deref().map(RunId::parse).transpose()?;
    let registry = Registry::find().map(|registry| registry.by(deadline));
    if let Some(registry) = &registry {
        let recorder = archiving::of_removal(&args.archiving, &progress);
        reap::reap(registry, &recorder, args.timeout / 2, &progress).await;
        recorder.finish(&progress).await;
    }
    let (runtime, why) = runtime(global)?;
    let (here, unreadable) = local::status::rows(registry.as_ref(), run_id.as_ref())?;
    // A run that is asked for by its id is shown wherever it is.
    let is_found_here = run_id.is_some() && !here.is_empty() && global.runtime.is_none();
    let rows = if runtime == Runtime::Local || is_found_here {
        if here.is_empty() && unreadable.is_empty() {
            let which = run_id.map_or_else(|| "no runs".to_owned(), |run_id| format!("no run {run_id}"));
            progress.say(&format!("{which} on this machine ({why})"));
        }
        here
    } else {
        in_cluster(run_id.as_ref(), global, deadline, args.timeout, &progress).await?
    };
    match args.output {
        StatusFormat::Table => console::show(&columns(&rows, global.verbose))?,
        StatusFormat::Json => console::print(&json(&rows)?)?,
    }
    let mut errors = unreadable.iter().map(Unreadable::error);
    let Some(last) = errors.next() else { return Ok(()) };
    errors.for_each(|error| warn(&error, &progress));
    Err(last)
}

async fn in_cluster(
    run_id: Option<&RunId>,
    global: &Global,
    deadline: Instant,
    timeout: Duration,
    progress: &Progress,
) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::connect(&choice(global)).await?;
    let runs = cluster.by(deadline, timeout, list::runs(&cluster, run_id)).await?;
    // It adds to what the pods tell, and takes nothing away.
    let remembered = Remembered::here().unwrap_or_else(|error| {
        warn(&error, progress);
        None
    });
    let rows: Vec<Row> = runs.iter().flat_map(|(id, run)| rows(id, run, remembered.as_ref())).collect();
    if rows.is_empty() {
        let which = run_id.map_or_else(|| "no runs".to_owned(), |run_id| format!("run {run_id} has no pods"));
        progress.say(&format!("{which} in namespace {}", cluster.namespace));
    }
    Ok(rows)
}

/// A row for each database, and for each pod that holds none.
fn rows(id: &str, run: &Run, remembered: Option<&Remembered>) -> Vec<Row> {
    let Ok(run_id) = RunId::parse(id) else { return Vec::new() };
    let mut rows = Vec::new();
    for pod in &run.pods {
        let found = discover_workloads(vec![Workload::from_pod(pod)], &run.services, &run_id, &Data::default());
        let databases = found.map(|found| found.databases).unwrap_or_default();
        for database in &databases {
            rows.push(Row {
                name: database.name.clone(),
                engine: database.engine.to_string(),
                address: format!("{}:{}", database.host, database.port),
                database: database.login.database.clone(),
                user: Some(database.login.user.clone()),
                ready: proof(pod, &database.container, remembered.filter(|remembered| remembered.run_id == id)),
                ..plain(id, pod)
            });
        }
        if databases.is_empty() {
            rows.push(plain(id, pod));
        }
    }
    rows.extend(run.services.iter().filter(|service| lacks_its_pod(service, &run.pods)).map(|service| left_alone(id, service)));
    rows
}

/// Whether a Service leads to pods, and the run has none of these: nobody makes the pod of a manifest anew that was evicted or deleted.
fn lacks_its_pod(service: &Service, pods: &[Pod]) -> bool {
    let leads_to_pods = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty());
    leads_to_pods && !pods.iter().any(|pod| pod.metadata.labels.as_ref().is_some_and(|labels| selects(service, labels)))
}

fn left_alone(id: &str, service: &Service) -> Row {
    let name = service.metadata.name.clone().unwrap_or_default();
    let port = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()?.first()).map(|port| format!(":{}", port.port));
    Row {
        run: id.into(),
        runtime: "kubernetes",
        address: format!("{name}{}", port.unwrap_or_default()),
        name,
        engine: "-".into(),
        state: NO_POD.into(),
        created: service.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        ..Row::default()
    }
}

/// What proved that a database was ready: noted on its pod, else in the memory of the `up` that made the run.
fn proof(pod: &Pod, container: &str, remembered: Option<&Remembered>) -> Option<Ready> {
    let annotation = |key: &str| pod.metadata.annotations.as_ref()?.get(key);
    let noted = annotation(READY_ANNOTATION).and_then(|text| serde_json::from_str::<BTreeMap<String, Ready>>(text).ok());
    noted
        .and_then(|mut noted| noted.remove(container))
        .or_else(|| remembered?.ready.get(annotation(WORKLOAD_ANNOTATION)?)?.get(container).cloned())
}

fn plain(id: &str, pod: &Pod) -> Row {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let name = pod.metadata.name.clone().unwrap_or_default();
    Row {
        run: id.into(),
        runtime: "kubernetes",
        name: name.clone(),
        engine: "-".into(),
        address: "-".into(),
        pod: Some(name),
        state: state(pod),
        restarts: containers.iter().map(|container| container.restart_count).sum(),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        ..Row::default()
    }
}

/// As kubectl's STATUS column: deletion first, then what a container waits for, then the phase.
fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".into();
    }
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let waiting = containers.iter().find_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    waiting.or_else(|| status.and_then(|status| status.phase.clone())).unwrap_or_else(|| "Unknown".into())
}

fn columns(rows: &[Row], verbose: bool) -> String {
    let proof = |row: &Row| match &row.ready {
        None => "-".to_owned(),
        Some(ready) if verbose => format!("{} at {}: {}", ready.evidence, ready.at, ready.detail),
        Some(ready) => ready.evidence.clone(),
    };
    let lines = rows.iter().map(|row| {
        let Row { run, name, engine, address, state, restarts, .. } = row;
        [run.clone(), name.clone(), engine.clone(), address.clone(), state.clone(), restarts.to_string(), proof(row)]
    });
    table(["RUN", "DATABASE", "ENGINE", "ADDRESS", "STATE", "RESTARTS", "READY BY"], lines)
}

fn json(rows: &[Row]) -> anyhow::Result<String> {
    let items: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "runId": row.run, "runtime": row.runtime, "name": row.name, "engine": row.engine, "address": row.address, "user": row.user,
                "database": row.database, "pod": row.pod, "server": row.server, "process": row.process, "log": row.log, "state": row.state, "restarts": row.restarts, "created": row.created,
                "ready": row.ready,
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&items)? + "\n")
}
