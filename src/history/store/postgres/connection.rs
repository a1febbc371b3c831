//! Connections: how one is made, kept for the next question, and given up.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::address::Address;
use super::explain::{explain, is_about_tls};
use crate::failure::Advise;
use crate::history::store::value::MOST;
use crate::postgres::{Bounds, Connector, Fault, Watched};

/// What a server may send. A log and a story are kept in one value each, far below this; the answers to all
/// that is asked in one go are read row by row, each to its own bound.
const BOUNDS: Bounds = Bounds { message: 32 << 20, answer: 2 * MOST };

/// How long a used connection may take to show that it is still one: what stands between may forget it.
const ALIVE: Duration = Duration::from_secs(3);

/// One that was used so short a time ago is not asked.
const JUST_NOW: Duration = Duration::from_secs(1);

pub(super) struct Server {
    /// What errors call it.
    pub name: String,
    address: Address,
    tls: MakeRustlsConnect,
    /// What the server has done that ended a connection.
    fault: Fault,
    /// The connection, and when it was used last; `None` where there is none, and while it is used.
    idle: Mutex<Option<(Client, Instant)>>,
}

/// A connection that nobody else uses meanwhile. Not to give it back, as something went wrong, ends it.
pub(super) struct Lent<'a> {
    pub client: Client,
    place: MutexGuard<'a, Option<(Client, Instant)>>,
}

impl Lent<'_> {
    /// Keeps the connection for the next question.
    pub(super) fn give_back(mut self) {
        *self.place = Some((self.client, Instant::now()));
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl Server {
    /// Reads a URL; `name` is what it is called without its password. Connects to nobody yet.
    pub(super) fn new(url: &Url, name: String) -> anyhow::Result<Self> {
        let address = Address::new(url)?;
        let tls = MakeRustlsConnect::new(address.trust.clone().client()?);
        Ok(Self { name, address, tls, fault: Fault::default(), idle: Mutex::new(None) })
    }

    /// The connection, as soon as nobody else uses it; in no transaction.
    pub(super) async fn client(&self) -> anyhow::Result<Lent<'_>> {
        let mut place = self.idle.lock().await;
        if let Some((client, used)) = place.take().filter(|(client, _)| !client.is_closed())
            && (used.elapsed() < JUST_NOW
                || matches!(timeout(ALIVE, client.check_connection()).await, Ok(Ok(()))))
        {
            return Ok(Lent { client, place });
        }
        let client = self.within(self.address.timeout, self.connect()).await?;
        Ok(Lent { client, place })
    }

    /// Waits for something at most so long, and explains what goes wrong.
    pub(super) async fn within<T>(
        &self,
        most: Duration,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        match timeout(most, work).await {
            // The driver knows only that the connection is closed.
            Ok(Err(_)) if self.fault.seen().is_some() => self.blame(),
            Ok(outcome) => outcome.or_else(|error| explain(error, &self.name)),
            Err(_) => Err(anyhow!("{} has not answered for {}", self.name, humantime::format_duration(most)))
                .hint("is it the right address, and may this machine connect to it?"),
        }
    }

    /// The error of a server that has sent what none of its kind does.
    fn blame<T>(&self) -> anyhow::Result<T> {
        let fault = self.fault.seen().unwrap_or("it has broken a rule");
        Err(anyhow!("{}: {fault}", self.name))
            .hint("is this really a PostgreSQL server, and is the store testbed's?")
    }

    async fn connect(&self) -> anyhow::Result<Client> {
        let config = &self.address.config;
        match self.connect_as(config).await {
            // The server has TLS, and it does not work. Whoever only prefers it goes on without.
            Err(error) if config.get_ssl_mode() == SslMode::Prefer && is_about_tls(&error) => {
                Ok(self.connect_as(config.clone().ssl_mode(SslMode::Disable)).await?)
            }
            other => Ok(other?),
        }
    }

    async fn connect_as(&self, config: &Config) -> Result<Client, tokio_postgres::Error> {
        if let Some(client) = self.connect_here(config).await {
            return client;
        }
        let mut config = config.clone();
        if config.get_hosts().is_empty() {
            // The driver has TLS only for a host that has a name, be it its address.
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        let connector = Connector::new(&mut config, Some(self.tls.clone()), BOUNDS, self.fault.clone());
        let (client, connection) = config.connect(connector).await?;
        // Ends by itself once the client is gone, or with the process.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Connects to a socket of this machine, if that is the only host: the driver has no TLS there, which is
    /// where it lets others see the bytes.
    async fn connect_here(&self, config: &Config) -> Option<Result<Client, tokio_postgres::Error>> {
        let ([Host::Unix(folder)], []) = (config.get_hosts(), config.get_hostaddrs()) else { return None };
        let port = config.get_ports().first().unwrap_or(&5432);
        // What cannot be opened is the driver's to explain.
        let socket = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await.ok()?;
        let socket = Watched::new(socket, BOUNDS, self.fault.clone());
        let connected = config.connect_raw(socket, NoTls).await;
        Some(connected.map(|(client, connection)| {
            tokio::spawn(connection);
            client
        }))
    }
}
