//! A port on this machine's loopback that leads into a pod, through the API server.
//!
//! Each accepted connection gets a stream of its own to whichever pod runs at that moment, so a restarted container or a replaced pod
//! only ends the connections that were open: the next one works again.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::access::{self, Right};
use super::pods::{Pods, serving};
use super::{Cluster, explain};
use crate::database::Database;

/// Between two attempts to accept a connection.
const REPEAT: Duration = Duration::from_millis(100);

/// A forwarded port; it is closed when this is dropped.
pub struct Forward {
    /// The port on 127.0.0.1.
    pub port: u16,
    task: JoinHandle<()>,
}

impl Forward {
    /// Opens a free port on loopback that leads to the database's server port.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn open(cluster: &Cluster, database: &Database, pods: watch::Receiver<Pods>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("opening a port on 127.0.0.1 for the port-forward")?;
        let port = listener.local_addr().context("reading the port of the port-forward")?.port();
        let api = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let task = tokio::spawn(serve(listener, api, database.workload.clone(), database.server_port, pods));
        Ok(Self { port, task })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, api: Api<Pod>, workload: String, port: u16, pods: watch::Receiver<Pods>) {
    // The open connections end together with the listener.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else {
                    // No more files can be opened: one that is closed makes room.
                    sleep(REPEAT).await;
                    continue;
                };
                let pod = serving(&pods.borrow(), &workload).map(str::to_owned);
                if let Some(pod) = pod {
                    connections.spawn(connect(client, api.clone(), pod, port));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection. When the pod's side cannot be opened the client sees its connection closed, as with a server that is down.
async fn connect(mut client: TcpStream, api: Api<Pod>, pod: String, port: u16) {
    let Ok(mut forwarder) = api.portforward(&pod, &[port]).await else { return };
    let Some(mut stream) = forwarder.take_stream(port) else { return };
    let _ = client.set_nodelay(true);
    let _ = copy_bidirectional(&mut client, &mut stream).await;
    drop(stream);
    forwarder.abort();
}

/// The rights that open port-forwards in the namespace: they are upgraded GET requests, and Kubernetes is on its way to ask for the other verb
/// as well, which is what SPDY's requests always needed.
pub fn rights() -> [Right; 2] {
    ["create", "get"].map(|verb| Right::core("pods/portforward", verb))
}

/// Whether this user may open port-forwards in the namespace.
///
/// # Errors
/// A failed request, explained.
pub async fn is_allowed(cluster: &Cluster) -> anyhow::Result<bool> {
    let answer = access::missing(cluster, rights()).await.map(|missing| missing.is_empty());
    answer.map_err(|error| explain(cluster, error, "asking whether port-forwards are allowed"))
}
