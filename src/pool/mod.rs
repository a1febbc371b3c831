//! Fresh databases for tests: copies of templates that the tests' own side has filled, ready before somebody
//! asks. [`core`] decides; [`postgres`], and [`mysql`] on this machine or else [`schema`], make and remove; [`integresql`]
//! is how clients ask.

mod copies;
mod core;
mod integresql;
mod mysql;
mod names;
mod postgres;
mod schema;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::copies::Pool;
use self::names::SEED;
use self::server::Server;
use crate::database::Login;
use crate::failure::{Advise, usage};
use crate::output::{Connection, Environment, Model, Names, pool_url};
use crate::registry::{self, Record, Source};

/// How long the databases of a pool may take to go from a server that stays.
const CLEARING: Duration = Duration::from_secs(10);
/// The same where a server has to remove each of their tables.
const CLEARING_TABLES: Duration = Duration::from_mins(1);

/// How many databases are kept ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(usize);

impl Size {
    /// Reads a number of databases, or `auto`: one a processor, at least two. 0 is no pool.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => {
                let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
                Ok(Self(processors.clamp(2, Self::MOST)))
            }
            _ => match text.parse() {
                Ok(size) if size <= Self::MOST => Ok(Self(size)),
                _ => Err(format!(
                    "write how many databases are kept ready, 0 (no pool) to {}, or auto",
                    Self::MOST
                )),
            },
        }
    }

    const MOST: usize = 64;

    /// Whether there is to be no pool.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The pools of a run, which are served as long as this lives.
pub struct Served {
    address: SocketAddr,
    token: String,
    pools: Arc<[Arc<Pool>]>,
    tasks: JoinSet<()>,
}

/// Whether databases of an engine can be copied.
pub fn is_copied(engine: &str) -> bool {
    ["postgres", "mysql", "mariadb"].contains(&engine)
}

/// Whether there can be pools, before anything is made.
///
/// # Errors
/// A usage error where none of the databases is of an engine whose databases can be copied.
pub fn check<'a>(size: Option<Size>, engines: impl IntoIterator<Item = &'a str>) -> anyhow::Result<()> {
    if size.is_none_or(Size::is_none) {
        return Ok(());
    }
    let engines: Vec<&str> = engines.into_iter().collect();
    if engines.iter().any(|engine| is_copied(engine)) {
        return Ok(());
    }
    let others = if engines.is_empty() { "nothing".to_owned() } else { engines.join(", ") };
    let copied = "PostgreSQL, MariaDB and MySQL";
    Err(usage(format!("--pool copies databases of {copied}, and this run has {others}")))
        .hint("leave out --pool (or pool in testbed.yaml), or add such a database")
}

/// Serves the pools of a run's servers; `None` where nobody asks for that. `names` are those of the command's
/// variables, and `admins` the administrators of those that the manifest tells, by the databases' names.
///
/// # Errors
/// A server takes no login, or there is no port to be had.
pub async fn serve(
    size: Option<Size>,
    model: &Model,
    names: &Names,
    run: &Record,
    admins: &BTreeMap<&str, &Login>,
) -> anyhow::Result<Option<Served>> {
    let Some(Size(ready)) = size.filter(|size| !size.is_none()) else { return Ok(None) };
    let all = model.databases.iter();
    let mut servers: Vec<_> =
        all.filter(|one| is_copied(one.engine) && !one.is_further && !one.is_fork).collect();
    // The interface is made for PostgreSQL: who names no database means that.
    servers.sort_by_key(|one| one.engine != "postgres");
    let others = model.databases.iter().filter(|one| !is_copied(one.engine));
    let mut others: BTreeMap<String, String> =
        others.map(|one| (one.name.clone(), integresql::not_copied(one))).collect();
    let mut tasks = JoinSet::new();
    let (mut pools, mut refused) = (Vec::new(), None);
    for connection in servers {
        let admin = admins.get(connection.name.as_str()).copied();
        let why_not = |error: &anyhow::Error| format!("{} has no pool: {error:#}", connection.name);
        // The command may want fresh databases of the others alone, or none, and is told about this one if it asks.
        let pool = match Pool::new(connection, ready, names, run, admin) {
            Ok(pool) => Arc::new(pool),
            Err(error) => {
                others.insert(connection.name.clone(), why_not(&error));
                continue;
            }
        };
        let first = match pool.first_session().await {
            Ok(first) => first,
            Err(error) if matches!(pool.server, Server::Schemas(_)) => {
                others.insert(connection.name.clone(), why_not(&error));
                refused = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        if is_seeded(run, connection) {
            let offer = Box::pin(Arc::clone(&pool).offer_seed(pool.core().initialise_seed(SEED)));
            match pool.server {
                // Once the command runs, it can change what is copied here.
                Server::Postgres(_) | Server::Schemas(_) => offer.await,
                Server::Mysql(_) => drop(tasks.spawn(offer)),
            }
        }
        let makers = std::thread::available_parallelism().map_or(1, NonZero::get).clamp(2, 4);
        tasks.spawn(Arc::clone(&pool).make(Some(first)));
        (1..makers).for_each(|_| drop(tasks.spawn(Arc::clone(&pool).make(None))));
        // Copies of the others have servers of their own.
        if let (Server::Postgres(_), Some(server)) = (&pool.server, noted(run, connection)) {
            tasks.spawn(Arc::clone(&pool).watch(server.process));
        }
        pools.push(pool);
    }
    if let Some(refused) = refused.filter(|_| pools.is_empty()) {
        return Err(refused);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("opening a port for the pool")?;
    let address = listener.local_addr()?;
    // Others on this machine may not get in with the databases' passwords.
    let token = uuid::Uuid::new_v4().simple().to_string();
    let pools: Arc<[Arc<Pool>]> = pools.into();
    tasks.spawn(integresql::listen(listener, integresql::Api::new(&token, Arc::clone(&pools), others)));
    Ok(Some(Served { address, token, pools, tasks }))
}

/// Ends whoever is in a PostgreSQL server's own database, so that it can be copied: a session may not have noticed yet
/// that its client has gone.
///
/// # Errors
/// The server takes no login, or somebody does not leave.
pub async fn leave_nobody(connection: &Connection) -> anyhow::Result<()> {
    let server =
        postgres::Server { connection: connection.clone(), sessions: "testbed".to_owned(), is_here: true };
    server.session().await?.empty_own().await
}

/// Why there is no template of what was in use.
fn was_in_use(database: &str) -> String {
    format!(
        "somebody was logged in to {database} when the pool began: begin the command anew, or the pool of testbed up by \
         --pool=0 and then --pool"
    )
}

/// Whether a seed of the project is in a database.
fn is_seeded(run: &Record, connection: &Connection) -> bool {
    run.seeded.contains(&connection.name)
        || noted(run, connection).and_then(|server| server.source.as_ref()).is_some_and(Source::is_seeded)
}

/// What is noted of a server of this machine.
fn noted<'a>(run: &'a Record, connection: &Connection) -> Option<&'a registry::Server> {
    run.local()?.servers.iter().find(|server| Some(server.port) == connection.port)
}

impl Served {
    /// Tells a command where it is, by the names that published clients know, unless the project gives these
    /// another meaning.
    pub fn tell(&self, environment: &mut Environment) {
        pool_url::tell(&format!("http://{}/{}/api", self.address, self.token), environment);
    }

    /// Makes and hands out nothing more. What there is goes with the run.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
        for pool in self.pools.iter() {
            pool.server.end().await;
        }
    }

    /// Removes the databases from a run that stays.
    pub async fn clear(mut self) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        for pool in self.pools.iter() {
            let limit = if matches!(pool.server, Server::Schemas(_)) { CLEARING_TABLES } else { CLEARING };
            let cleared = timeout(limit, Box::pin(pool.clear())).await;
            let cleared = cleared.unwrap_or_else(|_| Err(anyhow!("it has taken too long")));
            cleared.with_context(|| {
                format!("removing the pool's databases from {}", pool.server.connection().name)
            })?;
        }
        Ok(())
    }
}
