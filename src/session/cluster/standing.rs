//! The way from outside a cluster to the databases of a run that is up.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use k8s_openapi::api::core::v1::Service;

use crate::cli::Global;
use crate::database::discover::discover_workloads;
use crate::database::{Data, Database, Workload};
use crate::deadline;
use crate::failure::Advise;
use crate::location::Location;
use crate::output::{Connection, Model};
use crate::probe::change;
use crate::progress::Progress;
use crate::run_id::RunId;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::forward::{self, Forward};
use crate::runtime::kubernetes::list::{self, Run};
use crate::runtime::kubernetes::pods::{PodWatch, Whose, made_by, serving};
use crate::session::connect;

/// How long the cluster may take to tell where the databases are.
pub(in crate::session) const TIMEOUT: Duration = Duration::from_secs(30);

/// What leads to the databases, for as long as this lives.
pub(in crate::session) struct Ways {
    _forwards: Vec<Forward>,
    _watch: Option<PodWatch>,
}

/// The cluster of a run, and whether this is a pod of it.
pub(in crate::session) async fn cluster(location: &Location, global: &Global) -> anyhow::Result<Cluster> {
    connect(global.choice(), Some(location)).await
}

/// The databases by addresses of this machine; `None` inside the cluster, where their own will do.
///
/// # Errors
/// A failed request, explained; a database whose pod is not there.
pub(in crate::session) async fn reach(
    location: &Location,
    model: &Model,
    global: &Global,
    progress: &Progress,
) -> anyhow::Result<Option<(Model, Ways)>> {
    let cluster = cluster(location, global).await?;
    if cluster.inside {
        return Ok(None);
    }
    let deadline = deadline::after(TIMEOUT);
    cluster.by(deadline, TIMEOUT, open(&cluster, model, progress)).await.map(Some)
}

async fn open(cluster: &Cluster, model: &Model, progress: &Progress) -> anyhow::Result<(Model, Ways)> {
    let run_id = RunId::parse(&model.run_id)?;
    let run = list::runs(cluster, Some(&run_id)).await?.remove(run_id.as_str()).unwrap_or_default();
    let found = databases(&run, &run_id);
    let mut model = model.clone();
    if !forward::is_allowed(cluster).await? {
        progress.say("no right to port-forward (create and get on pods/portforward): trying the Services' own addresses");
        for connection in &mut model.databases {
            let of = |service: &&Service| service.metadata.name == connection.host;
            let service = run.services.iter().find(of).and_then(|service| service.spec.as_ref());
            let address = service.and_then(|spec| spec.cluster_ip.clone()).filter(|ip| ip != "None");
            if let (Some(address), Some(port)) = (address, connection.port) {
                *connection = connection.moved_to(&address, port);
            }
        }
        return Ok((model, Ways { _forwards: Vec::new(), _watch: None }));
    }
    let (watch, mut failure) = PodWatch::start(cluster, Whose::Run(run_id), |_| {});
    let mut forwards = Vec::new();
    // Databases of one server have one way.
    let mut open = BTreeMap::new();
    for connection in model.databases.iter_mut().filter(|connection| connection.host.is_some()) {
        let there = (connection.host.clone(), connection.port);
        if let Some(port) = open.get(&there) {
            *connection = connection.moved_to("127.0.0.1", *port);
            continue;
        }
        let database =
            of(&found, connection).ok_or_else(|| gone(cluster, &model.run_id, &connection.name))?;
        let mut pods = watch.pods();
        while serving(&pods.borrow_and_update(), &database.workload).is_none() {
            tokio::select! {
                () = change(&mut pods) => {}
                error = failure.reason() => return Err(error),
            }
        }
        let forward = Forward::open(cluster, database, None, watch.pods()).await?;
        *connection = connection.moved_to("127.0.0.1", forward.port);
        open.insert(there, forward.port);
        forwards.push(forward);
    }
    Ok((model, Ways { _forwards: forwards, _watch: Some(watch) }))
}

/// The databases that a run's pods hold, as its workloads' own.
pub(super) fn databases(run: &Run, run_id: &RunId) -> Vec<Database> {
    let of = |pod| {
        let workload =
            Workload { id: made_by(pod).unwrap_or_default().to_owned(), ..Workload::from_pod(pod) };
        let found = discover_workloads(vec![workload], &run.services, run_id, &Data::default());
        found.map(|found| found.databases).unwrap_or_default()
    };
    run.pods.iter().flat_map(of).collect()
}

/// The one that is noted: names need not be unique, and a name with its port is. A further database of a server
/// has its address.
pub(super) fn of<'a>(found: &'a [Database], noted: &Connection) -> Option<&'a Database> {
    let named = || found.iter().filter(|database| database.name == noted.name);
    named().find(|database| Some(database.port) == noted.port).or_else(|| named().next()).or_else(|| {
        found
            .iter()
            .find(|database| (Some(&database.host), Some(database.port)) == (noted.host.as_ref(), noted.port))
    })
}

pub(super) fn gone(cluster: &Cluster, run_id: &str, name: &str) -> anyhow::Error {
    anyhow!("run {run_id} has no pod of {name} in namespace {}", cluster.namespace)
        .hint(format!("testbed status --run-id {run_id} shows what there is of it"))
}
