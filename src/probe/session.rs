//! A session of MySQL's or MariaDB's that lasts, at a server that may be anybody's: behind the same relay as an
//! attempt.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::address;
use super::dial::Way;
use super::refusal::Refusal;
use super::relay::{self, Protocol, Rules};
use crate::bug;
use crate::database::Login;

/// How long a login may take, also at a server that is being restarted.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest packet either side may send: a definition, or a statement with one in it.
const PACKET: usize = 16 << 20;
/// The longest time that a server lets a session do nothing, in seconds.
const IDLE: usize = 31_536_000;

/// How a server is reached.
pub struct Reached<'a> {
    pub host: &'a str,
    pub port: u16,
    /// What has to have signed the server's certificate, as PEM: `None` without TLS, and empty where nobody knows.
    pub tls: Option<&'a str>,
}

/// A session, and a watch whose sender goes once the server has hung up.
pub struct Lasting {
    pub session: Conn,
    pub ended: watch::Receiver<()>,
}

/// Logs in.
///
/// # Errors
/// Nobody answers at any of the host's addresses, or the server does not let this user in.
pub async fn open(reached: &Reached<'_>, login: &Login) -> anyhow::Result<Lasting> {
    let addresses = address::addresses(reached.host, reached.port, None, PATIENCE).await;
    let mut refusals = Vec::new();
    for address in addresses.map_err(|refusal| told(&refusal))? {
        let way = Way::Address(SocketAddr::new(address, reached.port));
        match timeout(PATIENCE, way.connect()).await {
            Ok(Ok(server)) => return open_at(way, server, reached, login).await,
            Ok(Err(error)) => refusals.push(Refusal::network(&error)),
            Err(_) => return Err(anyhow!("{} does not answer", reached.host)),
        }
    }
    Err(told(&address::worst(refusals)))
}

async fn open_at(
    way: Way,
    server: Box<dyn super::Connection>,
    reached: &Reached<'_>,
    login: &Login,
) -> anyhow::Result<Lasting> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("opening a port for the way to the server")?;
    let port = listener.local_addr()?.port();
    let password = login.password.reveal();
    let rules = Rules { protocol: Protocol::Mysql, may_reveal: true, password: password.len(), lasts: true };
    let (ends, ended) = watch::channel(());
    let (tell, mut stopped) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let _ = tell.send(relay::keep(&listener, server, &way, rules).await);
        drop(ends);
    });
    let tls = reached.tls.map(|authority| {
        // The relay's address is no name of the server's.
        let tls = SslOpts::default().with_danger_skip_domain_validation(true);
        match authority {
            "" => tls.with_danger_accept_invalid_certs(true),
            authority => tls
                .with_root_certs(vec![authority.as_bytes().to_vec().into()])
                .with_disable_built_in_roots(true),
        }
    });
    let options = OptsBuilder::default()
        .ip_or_hostname(Ipv4Addr::LOCALHOST.to_string())
        .tcp_port(port)
        .user(Some(&login.user))
        .pass(Some(password))
        .ssl_opts(tls)
        .max_allowed_packet(Some(PACKET))
        .wait_timeout(Some(IDLE))
        .prefer_socket(false);
    let session = match timeout(PATIENCE, bug::apart(Conn::new(options))).await {
        Ok(Ok(Ok(session))) => session,
        Ok(Ok(Err(Error::Server(said)))) => return Err(anyhow!("{}", said.message)),
        Ok(Ok(Err(error))) => {
            // What the relay has against the server is why the library knows no more.
            return Err(match stopped.try_recv() {
                Ok(Some(refusal)) => told(&refusal),
                _ => anyhow!("{}", crate::failure::innermost(&error)),
            });
        }
        Ok(Err(place)) => return Err(anyhow!("testbed cannot read the server's answer ({place})")),
        Err(_) => return Err(anyhow!("the server has not answered within {} s", PATIENCE.as_secs())),
    };
    Ok(Lasting { session, ended })
}

fn told(refusal: &Refusal) -> anyhow::Error {
    anyhow!("{}", refusal.message)
}
