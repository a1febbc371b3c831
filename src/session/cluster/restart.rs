//! A restart of a database's container: its process 1 is asked to end, and the kubelet starts it again in the
//! same pod, with the pod's volumes. Without a word to the pod's maker there is no other way: a pod that is
//! deleted takes its data with it.

use std::cell::Cell;
use std::time::Duration;

use anyhow::anyhow;
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::standing::{self, cluster, databases, gone, of};
use crate::cli::Global;
use crate::database::{Database, Engine, Login, Password};
use crate::failure::{Advise, usage};
use crate::location::Location;
use crate::output::{Connection, Model};
use crate::probe::{Pace, Prober, Target, Tls, change};
use crate::progress::Progress;
use crate::registry::Record;
use crate::run_id::RunId;
use crate::runtime::kubernetes::pods::{PodWatch, Whose, container_status, name, serving};
use crate::runtime::kubernetes::{Cluster, explain, list};
use crate::session::restart::late;

/// How long the container may take to hear that it is to end.
const ASKED: Duration = Duration::from_secs(10);

/// Between two logins at a server that starts.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the images of the engines keep their data.
const DATA: [&str; 3] = ["/var/lib/mysql", "/var/lib/postgresql", "/bitnami"];

/// Restarts the database's container, and waits until its server takes the tests' login.
pub(in crate::session) async fn restart(
    location: &Location,
    record: &Record,
    database: &Connection,
    (deadline, within): (Instant, Duration),
    interrupted: impl Future<Output = anyhow::Error>,
    global: &Global,
    progress: &Progress,
) -> anyhow::Result<()> {
    let is_asked = Cell::new(false);
    let work = async {
        let cluster = cluster(location, global).await?;
        let model = Model { run_id: record.run_id.clone(), databases: vec![database.clone()] };
        let reached = standing::reach(location, &model, global, progress).await?;
        let connection = reached.as_ref().map_or(database, |(model, _)| &model.databases[0]);
        again(&cluster, &model.run_id, database, connection, &is_asked, progress).await
    };
    let error = tokio::select! {
        restarted = work => return restarted,
        () = sleep_until(deadline) => late(database, within),
        error = interrupted => error,
    };
    let name = &database.name;
    Err(error).hint(if is_asked.get() {
        format!("Kubernetes starts {name} again, and it may take logins later: testbed logs {name} tells")
    } else {
        "nothing was stopped".to_owned()
    })
}

async fn again(
    cluster: &Cluster,
    run_id: &str,
    database: &Connection,
    connection: &Connection,
    is_asked: &Cell<bool>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let run_id = RunId::parse(run_id)?;
    let run = list::runs(cluster, Some(&run_id)).await?.remove(run_id.as_str()).unwrap_or_default();
    let found = databases(&run, &run_id);
    let lost = || gone(cluster, run_id.as_str(), &database.name);
    let found = of(&found, database).ok_or_else(lost)?;
    let (watch, mut failure) = PodWatch::start(cluster, Whose::Run(run_id.clone()), |_| {});
    let mut pods = watch.pods();
    let work = async {
        change(&mut pods).await;
        let pod = serving(&pods.borrow_and_update(), &found.workload).cloned().ok_or_else(lost)?;
        check(&pod, found)?;
        let before = container_id(&pod, &found.container);
        progress.stage(&database.name, "stopping", name(&pod));
        is_asked.set(true);
        let said = end(cluster, &pod, found).await?;
        let mut patience = std::pin::pin!(sleep(ASKED));
        loop {
            let now = serving(&pods.borrow_and_update(), &found.workload)
                .and_then(|pod| container_id(pod, &found.container));
            if now.is_some() && now != before {
                break;
            }
            tokio::select! {
                () = change(&mut pods) => {}
                // Nothing has happened, and somebody has said why.
                () = &mut patience, if said.is_some() && now == before => {
                    return Err(anyhow!("{} does not end: {}", database.name, said.unwrap_or_default()));
                }
            }
        }
        progress.stage(&database.name, "starting", name(&pod));
        let mut prober = Prober::new(target(found.engine, connection));
        while prober.attempt().await.login.is_err() {
            sleep(PAUSE).await;
        }
        Ok(())
    };
    tokio::select! {
        done = work => done,
        error = failure.reason() => Err(error),
    }
}

/// Refuses what would not come back, or not with its data.
fn check(pod: &Pod, database: &Database) -> anyhow::Result<()> {
    let (pod_name, spec) = (name(pod), pod.spec.clone().unwrap_or_default());
    let anew = "its data goes with it: make the run anew with testbed down and testbed up";
    if spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always") {
        let policy = spec.restart_policy.unwrap_or_default();
        return Err(usage(format!("pod {pod_name} is not started again: its restartPolicy is {policy}")))
            .hint(anew);
    }
    if spec.share_process_namespace == Some(true) {
        return Err(usage(format!(
            "pod {pod_name} has one process namespace for all containers: nothing tells its server's first process"
        )))
        .hint(anew);
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mounts = containers
        .filter(|container| container.name == database.container)
        .flat_map(|container| container.volume_mounts.iter().flatten());
    let mut paths = mounts.map(|mount| mount.mount_path.as_str());
    if !paths.any(|path| DATA.iter().any(|data| path.starts_with(data))) {
        return Err(usage(format!(
            "pod {pod_name} has no volume at {}: the data would go with the container",
            DATA.join(" or ")
        )))
        .hint("mount an emptyDir there, as the built-in databases do");
    }
    Ok(())
}

fn container_id(pod: &Pod, container: &str) -> Option<String> {
    let status = container_status(pod, container)?;
    status.state.as_ref()?.running.as_ref()?;
    status.container_id.clone()
}

/// Asks the container's first process to end. Tells what was said where that did not work: of one that ends
/// the word may not come through.
async fn end(cluster: &Cluster, pod: &Pod, database: &Database) -> anyhow::Result<Option<String>> {
    // PostgreSQL would wait for its clients' end at SIGTERM.
    let signal = if database.engine == Engine::Postgres { "INT" } else { "TERM" };
    let params =
        AttachParams::default().container(&database.container).stdin(false).stdout(true).stderr(true);
    let command = ["sh", "-c", &format!("kill -s {signal} 1")].map(str::to_owned);
    let asked = cluster.api::<Pod>().exec(name(pod), command, &params).await;
    let mut asked = asked.map_err(|error| {
        explain(
            cluster,
            error,
            &format!("ending the server in pod {} (create and get on pods/exec)", name(pod)),
        )
    })?;
    let Some(status) = asked.take_status() else { return Ok(None) };
    let status = timeout(ASKED, status).await.ok().flatten();
    Ok(status.filter(|status| status.status.as_deref() == Some("Failure")).and_then(|status| status.message))
}

fn target(engine: Engine, connection: &Connection) -> Target {
    Target {
        engine,
        host: connection.host.clone().unwrap_or_default(),
        port: connection.port.unwrap_or_else(|| engine.port()),
        way: None,
        login: Login {
            user: connection.user.clone().unwrap_or_default(),
            password: Password::new(connection.password.as_deref().unwrap_or_default()),
            database: connection.database.clone(),
        },
        admin: None,
        arguments: None,
        tls: Tls::AsNeeded,
        authority: None,
        may_reveal: true,
        pace: Pace { usual: PAUSE, setting_up: PAUSE },
    }
}
