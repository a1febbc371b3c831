//! Connections: how one is made, kept for the next question, and given up.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::Explain;
use super::address::Address;
use crate::failure::Advise;

/// How long a connection that was used before may take to show that it is still one: what stands between may have forgotten it.
const ALIVE: Duration = Duration::from_secs(3);

/// One that was used so short a time ago is not asked.
const JUST_NOW: Duration = Duration::from_secs(1);

/// A server, and the one connection to it.
pub struct Server {
    /// What errors call it.
    pub name: String,
    address: Address,
    tls: MakeRustlsConnect,
    /// The connection, and when it was used last; `None` where there is none, and while it is used.
    idle: Mutex<Option<(Client, Instant)>>,
}

/// A connection that nobody else uses meanwhile. Whoever does not give it back, because something went wrong, ends it.
pub struct Lent<'a> {
    pub client: Client,
    place: MutexGuard<'a, Option<(Client, Instant)>>,
}

impl Lent<'_> {
    /// Keeps the connection for the next question.
    pub fn give_back(mut self) {
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
    pub fn new(url: &Url, name: String) -> anyhow::Result<Self> {
        let address = Address::new(url)?;
        let tls = MakeRustlsConnect::new(address.trust.clone().client()?);
        Ok(Self { name, address, tls, idle: Mutex::new(None) })
    }

    /// The connection, as soon as nobody else uses it; in no transaction.
    pub async fn client(&self) -> anyhow::Result<Lent<'_>> {
        let mut place = self.idle.lock().await;
        if let Some((client, used)) = place.take().filter(|(client, _)| !client.is_closed())
            && (used.elapsed() < JUST_NOW || matches!(timeout(ALIVE, client.check_connection()).await, Ok(Ok(()))))
        {
            return Ok(Lent { client, place });
        }
        let client = self.within(self.address.patience, self.connect()).await?;
        Ok(Lent { client, place })
    }

    /// Waits for something at most so long, and explains what goes wrong.
    pub async fn within<T>(&self, patience: Duration, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        match timeout(patience, work).await {
            Ok(outcome) => outcome.explain(&self.name),
            Err(_) => Err(anyhow!("{} has not answered for {}", self.name, humantime::format_duration(patience)))
                .hint("is it the right address, and may this machine connect to it?"),
        }
    }

    async fn connect(&self) -> anyhow::Result<Client> {
        let config = &self.address.config;
        match self.connect_as(config).await {
            // The server has TLS, and it does not work. Whoever only prefers it goes on without.
            Err(error) if config.get_ssl_mode() == SslMode::Prefer && super::explain::is_about_tls(&error) => {
                Ok(self.connect_as(config.clone().ssl_mode(SslMode::Disable)).await?)
            }
            other => Ok(other?),
        }
    }

    async fn connect_as(&self, config: &Config) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = config.connect(self.tls.clone()).await?;
        // Ends by itself once the client is gone, or with the process.
        tokio::spawn(connection);
        Ok(client)
    }
}
