//! The runs of a namespace as rows of `testbed status`, as their labels and pods tell.

use k8s_openapi::api::core::v1::{Pod, Service};

use crate::cli::Status;
use crate::database::discover::discover_workloads;
use crate::database::service::selects;
use crate::database::{Data, Workload};
use crate::output::{Entry, Model};
use crate::progress::Progress;
use crate::registry::{Record, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::collect::noted_ready;
use crate::runtime::kubernetes::list::{self, Run};
use crate::runtime::kubernetes::pods::made_by;
use crate::runtime::kubernetes::{Choice, Cluster};
use crate::session::status::Row;
use crate::state::Ready;

use tokio::time::Instant;

/// The state of what a Service leads to whose pod is not there.
const NO_POD: &str = "no pod";

/// The rows of all runs of the namespace, or of one.
pub(crate) async fn rows(
    run_id: Option<&RunId>,
    choice: &Choice,
    args: &Status,
    deadline: Instant,
    progress: &Progress,
) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::connect(choice).await?;
    let runs = cluster.by(deadline, args.timeout, list::runs(&cluster, run_id)).await?;
    // It adds to what the pods tell, and takes nothing away.
    let noted = |id: &str| Registry::find().and_then(|registry| registry.read(id).ok()?);
    let rows: Vec<Row> = runs.iter().flat_map(|(id, run)| rows_of(id, run, noted(id).as_ref())).collect();
    if rows.is_empty() {
        let which = run_id.map_or_else(|| "no runs".to_owned(), |run_id| format!("run {run_id} has no pods"));
        progress.say(&format!("{which} in namespace {}", cluster.namespace));
    }
    Ok(rows)
}

/// A row for each database, and for each pod that holds none.
fn rows_of(id: &str, run: &Run, noted: Option<&Record>) -> Vec<Row> {
    let Ok(run_id) = RunId::parse(id) else { return Vec::new() };
    let mut rows = Vec::new();
    for pod in &run.pods {
        let found =
            discover_workloads(vec![Workload::from_pod(pod)], &run.services, &run_id, &Data::default());
        let databases = found.map(|found| found.databases).unwrap_or_default();
        for database in &databases {
            // With the further ones of its server.
            let entry = Entry::Server(database, &database.host, database.port);
            rows.extend(Model::new(&run_id, &[entry], &[], None).databases.into_iter().map(|one| Row {
                name: one.name,
                engine: database.engine.to_string(),
                address: format!("{}:{}", database.host, database.port),
                database: one.database,
                user: one.user,
                ready: proof(pod, &database.container, noted),
                ..plain(id, pod)
            }));
        }
        if databases.is_empty() {
            rows.push(plain(id, pod));
        }
    }
    rows.extend(
        run.services
            .iter()
            .filter(|service| lacks_its_pod(service, &run.pods))
            .map(|service| left_alone(id, service)),
    );
    rows
}

/// Whether a Service leads to pods, and the run has none of these: nobody makes the pod of a manifest anew
/// that was evicted or deleted.
fn lacks_its_pod(service: &Service, pods: &[Pod]) -> bool {
    let leads_to_pods = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .is_some_and(|selector| !selector.is_empty());
    leads_to_pods
        && !pods.iter().any(|pod| pod.metadata.labels.as_ref().is_some_and(|labels| selects(service, labels)))
}

fn left_alone(id: &str, service: &Service) -> Row {
    let name = service.metadata.name.clone().unwrap_or_default();
    let port = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_ref()?.first())
        .map(|port| format!(":{}", port.port));
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

/// What proved that a database was ready: noted on its pod, else on the machine of the `up` that made the run.
fn proof(pod: &Pod, container: &str, noted: Option<&Record>) -> Option<Ready> {
    noted_ready(pod, container).or_else(|| noted?.ready.get(made_by(pod)?)?.get(container).cloned())
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
    let waiting =
        containers.iter().find_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    waiting.or_else(|| status.and_then(|status| status.phase.clone())).unwrap_or_else(|| "Unknown".into())
}
