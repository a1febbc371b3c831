//! Connections: how one is made, kept for the next question, and given up.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
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

/// A server, and a connection to it that nobody is using.
pub struct Server {
    /// What errors call it.
    pub name: String,
    address: Address,
    tls: MakeRustlsConnect,
    idle: Mutex<Option<Client>>,
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

    /// A connection that is in no transaction. Whoever does not give it back, because something went wrong, ends it.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(client) = idle.filter(|client| !client.is_closed())
            && matches!(timeout(ALIVE, client.check_connection()).await, Ok(Ok(())))
        {
            return Ok(client);
        }
        self.within(self.address.patience, self.connect()).await
    }

    /// Keeps a connection for the next question.
    pub fn give_back(&self, client: Client) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
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
