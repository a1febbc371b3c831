//! The way into a pod from outside the cluster: a port on loopback, and the probe's own connections.
//!
//! Each connection goes to whichever pod serves at that moment, so a restarted container or a replaced pod
//! only ends the connections that were open: the next one works again. A [`Tunnel`] whose connection is over
//! carries the next one, so that a probe's many attempts are one request.

mod spdy;
mod tunnel;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::Error;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, duplex, join, split};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use self::tunnel::Tunnel;
use super::access::{self, Right};
use super::contact::pause;
use super::pods::{Pods, serving};
use super::{Cluster, explain};
use crate::database::Database;
use crate::ports;
use crate::probe::{Connection, Dial};

/// Between two attempts to accept a connection.
const REPEAT: Duration = Duration::from_millis(100);
/// How long the opening of a tunnel may take.
const OPENING: Duration = Duration::from_secs(10);
/// How long a probe's goodbye may hold up the next connection: about as long as a new tunnel takes.
const ENDING: Duration = Duration::from_millis(25);
/// As many tunnels as wait for their next connection.
const SPARE: usize = 4;
/// In bytes.
const ON_THE_WAY: usize = 64 << 10;
/// As much as is told of what a node says, in characters.
const LONGEST: usize = 300;

/// A forwarded port; it is closed when this is dropped.
pub struct Forward {
    pub port: u16,
    /// The same way, for whoever needs no port.
    pub way: Arc<dyn Dial>,
    _task: JoinSet<()>,
}

impl Forward {
    /// Opens a port on loopback that leads to the database's server port: the one that it has to have, or a
    /// free one.
    pub async fn open(
        cluster: &Cluster,
        database: &Database,
        port: Option<u16>,
        pods: watch::Receiver<Pods>,
    ) -> anyhow::Result<Self> {
        let listener = match (TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or_default())).await, port)
        {
            (Err(error), Some(port)) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(ports::taken(port, &database.name));
            }
            (listener, _) => listener.context("opening a port on 127.0.0.1 for the port-forward")?,
        };
        let port = listener.local_addr().context("reading the port of the port-forward")?.port();
        let (workload, server_port) = (database.workload.clone(), database.server_port);
        let way = Way {
            cluster: cluster.clone(),
            workload,
            port: server_port,
            pods,
            tunnels: Arc::default(),
            over: Arc::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(serve(listener, way.clone()));
        Ok(Self { port, way: Arc::new(way), _task: task })
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
                // Else the client sees its connection closed, as with a server that is down.
                connections.spawn(async move {
                    if let Ok(taken) = way.tunnel().await {
                        let _ = taken.carry(client).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

#[derive(Clone)]
struct Way {
    cluster: Cluster,
    workload: String,
    port: u16,
    pods: watch::Receiver<Pods>,
    tunnels: Arc<Mutex<Tunnels>>,
    /// Told of each tunnel that is given back.
    over: Arc<Notify>,
}

#[derive(Default)]
struct Tunnels {
    /// Those that carry nothing, and their pods' uids: another pod may have the name of one that is gone.
    spare: Vec<(String, Tunnel)>,
    taken: usize,
    /// Why there was none the last time.
    failed: Option<Failed>,
}

struct Failed {
    uid: String,
    why: String,
    before: u32,
    again: Instant,
}

impl Way {
    /// A tunnel that carries nothing. After one that could not be opened, the next is tried with growing
    /// pauses.
    async fn tunnel(&self) -> io::Result<Taken> {
        let of = |pod: &Pod| Some((pod.metadata.name.clone()?, pod.metadata.uid.clone()?));
        let pod = serving(&self.pods.borrow(), &self.workload).and_then(of);
        let (pod, uid) = pod.ok_or_else(|| {
            io::Error::new(io::ErrorKind::ConnectionRefused, "there is no pod to connect to")
        })?;
        loop {
            let Some((leads_to, tunnel)) = self.tunnels().spare.pop() else { break };
            let mut taken = self.taken(leads_to, tunnel);
            if taken.uid == uid && taken.answers().await {
                return Ok(taken);
            }
            taken.tunnel = None;
        }
        let before = match &self.tunnels().failed {
            Some(failed) if failed.uid == uid && Instant::now() < failed.again => {
                return Err(broken(&failed.why));
            }
            Some(failed) if failed.uid == uid => failed.before + 1,
            _ => 0,
        };
        let Cluster { client, namespace, .. } = &self.cluster;
        let opening = async {
            match Tunnel::open(client, namespace, &pod).await {
                // A connection that was kept from an earlier request may have been cut since.
                Err(Error::HyperError(_) | Error::Service(_)) => Tunnel::open(client, namespace, &pod).await,
                opened => opened,
            }
        };
        let why = match timeout(OPENING, opening).await {
            Ok(Ok(tunnel)) => {
                self.tunnels().failed = None;
                return Ok(self.taken(uid, tunnel));
            }
            Ok(Err(error)) => {
                format!("is not opened: {:#}", explain(&self.cluster, error, &format!("pod {pod}")))
            }
            Err(_) => format!("is not opened within {} s", OPENING.as_secs()),
        };
        let error = broken(&why);
        self.tunnels().failed = Some(Failed { uid, why, before, again: Instant::now() + pause(before) });
        Err(error)
    }

    fn taken(&self, uid: String, tunnel: Tunnel) -> Taken {
        self.tunnels().taken += 1;
        Taken { way: self.clone(), uid, tunnel: Some(tunnel) }
    }

    fn tunnels(&self) -> MutexGuard<'_, Tunnels> {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a moment for a tunnel whose connection is about to be over: that is sooner than a new one.
    async fn spare(&self) {
        let over = self.over.notified();
        let is_worth_it = {
            let tunnels = self.tunnels();
            tunnels.spare.is_empty() && tunnels.taken > 0
        };
        if is_worth_it {
            let _ = timeout(ENDING, over).await;
        }
    }
}

/// A tunnel that nobody else has. It is given back when this is dropped.
struct Taken {
    way: Way,
    uid: String,
    /// `None` once it is of no more use.
    tunnel: Option<Tunnel>,
}

impl Taken {
    async fn answers(&mut self) -> bool {
        match &mut self.tunnel {
            Some(tunnel) => tunnel.answers().await,
            None => false,
        }
    }

    /// Carries one connection.
    async fn carry(mut self, near: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let mut tunnel = self.tunnel.take().ok_or(io::ErrorKind::NotConnected)?;
        let ended = tunnel.carry(self.way.port, near).await;
        let ended = ended.map_err(|error| broken(&format!("has ended: {error}")))?;
        let answer = match &ended.refused {
            // A node tells at length which of its parts told which other one that nobody listens.
            None => Ok(()),
            Some(said) if said.contains("refused") => Err(io::ErrorKind::ConnectionRefused.into()),
            // Such as that the pod's network is gone, and with it all that this tunnel leads to.
            Some(said) => {
                let said: String = said.chars().take(LONGEST).collect();
                return Err(broken(&format!("leads nowhere: {said}")));
            }
        };
        self.tunnel = ended.is_usable.then_some(tunnel);
        answer
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut tunnels = self.way.tunnels();
        tunnels.taken -= 1;
        if let Some(tunnel) = self.tunnel.take() {
            tunnels.spare.truncate(SPARE - 1);
            tunnels.spare.push((std::mem::take(&mut self.uid), tunnel));
        }
        drop(tunnels);
        self.way.over.notify_waiters();
    }
}

/// Why a port-forward is none: nothing that a server could have said.
fn broken(why: &str) -> io::Error {
    io::Error::other(format!("the port-forward {why}"))
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Way to port {} of {}", self.port, self.workload)
    }
}

/// What the probe reads of a connection.
struct Near {
    stream: ReadHalf<DuplexStream>,
    /// Carries the other side, and knows why there is none.
    carried: Option<JoinHandle<io::Result<()>>>,
}

impl Dial for Way {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            self.spare().await;
            // A probe that does not wait for it any more leaves it to the next attempt.
            let (way, (found, finds)) = (self.clone(), oneshot::channel());
            tokio::spawn(async move { found.send(way.tunnel().await) });
            let taken = finds.await.map_err(io::Error::other)??;
            let (near, other) = duplex(ON_THE_WAY);
            let (stream, to_server) = split(near);
            let carried = tokio::spawn(taken.carry(other));
            Ok(Box::new(join(Near { stream, carried: Some(carried) }, to_server)) as Box<dyn Connection>)
        })
    }
}

impl AsyncRead for Near {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let Some(carried) = self.carried.as_mut().filter(|_| buffer.filled().len() == before) else {
            return Poll::Ready(Ok(()));
        };
        let ended = ready!(Pin::new(carried).poll(context));
        self.carried = None;
        Poll::Ready(ended.unwrap_or(Ok(())))
    }
}

/// The rights that open port-forwards in the namespace: they are upgraded GET requests, and Kubernetes is on
/// its way to ask for the other verb as well, which is what SPDY's requests always needed.
pub fn rights() -> [Right; 2] {
    ["create", "get"].map(|verb| Right::core("pods/portforward", verb))
}

pub async fn is_allowed(cluster: &Cluster) -> anyhow::Result<bool> {
    let answer = access::missing(cluster, rights()).await.map(|missing| missing.is_empty());
    answer.map_err(|error| explain(cluster, error, "asking whether port-forwards are allowed"))
}
