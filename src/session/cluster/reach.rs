//! How each database is reached from where testbed runs: by its Service's name inside the cluster, through a
//! port-forward outside.

use std::time::Duration;

use crate::database::Database;
use crate::probe::{Pace, Target, Tls};
use crate::progress::Progress;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::create::Created;
use crate::runtime::kubernetes::forward::{self, Forward};
use crate::runtime::kubernetes::observe::Observer;
use crate::session::plan::Plan;

/// An attempt inside the cluster costs a TCP connection.
const DIRECT: Pace = Pace { usual: Duration::from_millis(50), setting_up: Duration::from_millis(50) };
/// An attempt through a port-forward goes by way of the API server and the node, inside a connection that is
/// there.
const FORWARDED: Pace = Pace { usual: Duration::from_millis(20), setting_up: Duration::from_millis(200) };

pub(super) struct Reach {
    /// What to probe, in the order of the plan's databases.
    pub targets: Vec<Target>,
    pub forwards: Vec<Forward>,
}

/// Opens what is needed. With `forward`, through port-forwards wherever testbed runs. The ports of those that
/// stay open for somebody are the ones that are asked for.
pub(super) async fn reach(
    plan: &Plan,
    cluster: &Cluster,
    created: &Created,
    forward: bool,
    stays_open: bool,
    observer: &Observer,
    progress: &Progress,
) -> anyhow::Result<Reach> {
    let databases = &plan.discovery.databases;
    let mut reach = Reach { targets: Vec::new(), forwards: Vec::new() };
    let outside = !cluster.inside && !databases.is_empty();
    let forwarded = forward || (outside && forward::is_allowed(cluster).await?);
    if outside && !forwarded {
        progress.say("no right to port-forward (create and get on pods/portforward): trying the Services' own addresses");
    }
    for database in databases {
        let (host, port, way, pace) = if forwarded {
            let port = plan.asked.get(&database.name).and_then(|asked| asked.port).filter(|_| stays_open);
            let forward = Forward::open(cluster, database, port, observer.pods()).await?;
            let (port, way) = (forward.port, forward.way.clone());
            reach.forwards.push(forward);
            ("127.0.0.1".to_owned(), port, Some(way), FORWARDED)
        } else if outside {
            (
                created.cluster_ip(&database.host).unwrap_or(&database.host).to_owned(),
                database.port,
                None,
                DIRECT,
            )
        } else {
            (database.host.clone(), database.port, None, DIRECT)
        };
        let Database { engine, login, admin, arguments, .. } = database;
        let (login, admin, arguments) = (login.clone(), admin.clone(), arguments.clone());
        reach.targets.push(Target {
            engine: *engine,
            host,
            port,
            way,
            login,
            admin,
            arguments,
            tls: if database.tls.is_some() { Tls::Always } else { Tls::AsNeeded },
            authority: database.tls.as_ref().map(|certificate| certificate.authority.clone()),
            may_reveal: true,
            pace,
        });
    }
    Ok(reach)
}
