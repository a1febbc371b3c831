//! The way into a pod from outside the cluster, through the API server: a port on this machine's loopback, and the probe's own connections.
//!
//! Each connection goes to whichever pod serves at that moment, so a restarted container or a replaced pod only ends the connections that were open:
//! the next one works again. A [`Tunnel`] whose connection is over carries the next one, so that a probe's many attempts are one request.

mod spdy;
mod tunnel;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use self::tunnel::Tunnel;
use super::access::{self, Right};
use super::pods::{Pods, serving};
use super::{Cluster, explain};
use crate::database::Database;
use crate::probe::{Connection, Dial};

/// Between two attempts to accept a connection.
const REPEAT: Duration = Duration::from_millis(100);
/// How long the opening of a tunnel may take.
const OPENING: Duration = Duration::from_secs(10);
/// As many tunnels as wait for their next connection.
const SPARE: usize = 4;
/// What is on its way to a probe, in bytes.
const ON_THE_WAY: usize = 64 << 10;
/// As much as is told of what a node says, in characters.
const LONGEST: usize = 300;

/// A forwarded port; it is closed when this is dropped.
pub struct Forward {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The same way, for whoever needs no port.
    pub way: Arc<dyn Dial>,
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
        let (workload, server_port) = (database.workload.clone(), database.server_port);
        let way = Way { cluster: cluster.clone(), workload, port: server_port, pods, spare: Arc::default() };
        let task = tokio::spawn(serve(listener, way.clone()));
        Ok(Self { port, way: Arc::new(way), task })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, way: Way) {
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
                let _ = client.set_nodelay(true);
                let way = way.clone();
                // When the pod's side cannot be opened the client sees its connection closed, as with a server that is down.
                connections.spawn(async move {
                    if let Ok((pod, tunnel)) = way.tunnel().await {
                        let _ = way.carry(pod, tunnel, client).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The way to a database's port.
#[derive(Clone)]
struct Way {
    cluster: Cluster,
    workload: String,
    port: u16,
    pods: watch::Receiver<Pods>,
    /// Tunnels that carry nothing, and the pods that they lead to.
    spare: Arc<Mutex<Vec<(String, Tunnel)>>>,
}

impl Way {
    /// A tunnel that carries nothing, and the pod that it leads to.
    async fn tunnel(&self) -> io::Result<(String, Tunnel)> {
        let pod = serving(&self.pods.borrow(), &self.workload).map(str::to_owned);
        let pod = pod.ok_or_else(|| io::Error::new(io::ErrorKind::ConnectionRefused, "there is no pod to connect to"))?;
        while let Some((leads_to, mut tunnel)) = self.take() {
            if leads_to == pod && tunnel.is_open().await {
                return Ok((pod, tunnel));
            }
        }
        let Cluster { client, namespace, .. } = &self.cluster;
        let opened = timeout(OPENING, Tunnel::open(client, namespace, &pod)).await;
        let opened = opened.map_err(|_| broken(&format!("is not opened within {} s", OPENING.as_secs())))?;
        let tunnel = opened.map_err(|error| broken(&format!("is not opened: {:#}", explain(&self.cluster, error, &format!("pod {pod}")))))?;
        Ok((pod, tunnel))
    }

    fn take(&self) -> Option<(String, Tunnel)> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Carries one connection, and keeps the tunnel for the next.
    async fn carry(&self, pod: String, mut tunnel: Tunnel, near: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let ended = tunnel.carry(self.port, near).await.map_err(|error| broken(&format!("has ended: {error}")))?;
        if ended.is_usable {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            spare.truncate(SPARE - 1);
            spare.push((pod, tunnel));
        }
        match ended.refused {
            None => Ok(()),
            // A node tells at length which of its parts told which other one that nobody listens.
            Some(said) if said.contains("refused") => Err(io::ErrorKind::ConnectionRefused.into()),
            Some(said) => Err(broken(&format!("leads nowhere: {}", said.chars().take(LONGEST).collect::<String>()))),
        }
    }
}

/// Why a port-forward is none: nothing that a server could have said.
fn broken(why: &str) -> io::Error {
    io::Error::other(format!("the port-forward {why}"))
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("workload", &self.workload).field("port", &self.port).finish_non_exhaustive()
    }
}

/// The probe's side of a connection.
struct Near {
    stream: DuplexStream,
    /// Carries the other side, and knows why there is none.
    carried: Option<JoinHandle<io::Result<()>>>,
}

impl Dial for Way {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send + '_>> {
        Box::pin(async {
            let (pod, tunnel) = self.tunnel().await?;
            let (stream, other) = duplex(ON_THE_WAY);
            let way = self.clone();
            let carried = tokio::spawn(async move { way.carry(pod, tunnel, other).await });
            Ok(Box::new(Near { stream, carried: Some(carried) }) as Box<dyn Connection>)
        })
    }
}

impl AsyncRead for Near {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let Some(carried) = self.carried.as_mut().filter(|_| buffer.filled().len() == before) else { return Poll::Ready(Ok(())) };
        let ended = ready!(Pin::new(carried).poll(context));
        self.carried = None;
        Poll::Ready(ended.unwrap_or(Ok(())))
    }
}

impl AsyncWrite for Near {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
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
