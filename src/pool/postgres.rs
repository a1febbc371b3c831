//! Databases of a PostgreSQL server: templates that let nobody in, and copies of them.
//!
//! `CREATE DATABASE ... TEMPLATE` refuses while anybody is logged in to the source, autovacuum and the workers of
//! extensions included, and waits five seconds before it says so. So a template takes no logins from the moment
//! on at which it is finalized, and whoever is in it is ended before each copy.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::core::{Closed, Id, Removed, Way};
use super::names::{PREFIX, pool_of};
use crate::background;
use crate::files;
use crate::output::{Connection, Secured};
use crate::ports;
use crate::postgres::{Bounds, Connector, Fault};
use crate::trust::{Name, Trust};

/// What the run's own server may send.
const BOUNDS: Bounds = Bounds { message: 1 << 20, answer: 8 << 20 };
/// The database from which others are made and removed.
const MAINTENANCE: &str = "postgres";
/// How long one statement may take, and how long a server may take that is being restarted.
const PATIENCE: Duration = Duration::from_mins(1);
/// How soon it is looked again whether those have left who were told to.
const AGAIN: Duration = Duration::from_millis(10);

/// Servers from this version on copy file by file only when told so.
const HAS_STRATEGY: u32 = 15;
/// From this one on they can end the sessions of a database that is dropped.
const HAS_FORCE: u32 = 13;
/// From this one on they can let the file system share what is copied.
const HAS_CLONES: u32 = 18;

/// Ends the sessions of that name but this one.
const END_NAMED: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 \
                         AND pid <> pg_backend_pid() AND usename = current_user";
/// The sessions of all pools, by the ports that they come from.
const OF_POOLS: &str = "SELECT pid, client_port, pid = pg_backend_pid() FROM pg_stat_activity \
                        WHERE left(application_name, length($1)) = $1 AND usename = current_user AND client_port > 0";
/// Ends those of them that have these processes.
const END_OF_POOLS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY($2) \
                            AND left(application_name, length($1)) = $1 AND usename = current_user";
/// Ends who is logged in to a database, as far as this user may.
const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() \
                   AND (usename = current_user OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))";
const ANYBODY: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' \
     AND pid <> pg_backend_pid()";
const PREPARED: &str = "SELECT gid FROM pg_prepared_xacts WHERE database = $1 LIMIT 1";
/// What belongs to a database and is not in it: `CREATE DATABASE` leaves that out.
const HAS_OWN_SETTINGS: &str = "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND (datacl IS NOT NULL \
                                OR datdba <> (SELECT oid FROM pg_roles WHERE rolname = current_user) OR datconnlimit <> -1 \
                                OR EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = pg_database.oid)), \
                                pg_database_size(oid) FROM pg_database WHERE datname = $1";
/// What gives a copy the owner and the limit of connections. An owner is noted in several places.
const OWNER: &str = "SELECT format('ALTER DATABASE %1$I OWNER TO %2$I; ALTER DATABASE %1$I CONNECTION LIMIT %3$s', $2::text, \
                     pg_get_userbyid(datdba), datconnlimit) FROM pg_database WHERE datname = $1";
const COPY_SETTINGS: &str = "INSERT INTO pg_db_role_setting SELECT copy.oid, setrole, setconfig FROM pg_database source \
                             JOIN pg_db_role_setting ON setdatabase = source.oid, pg_database copy \
                             WHERE source.datname = $1 AND copy.datname = $2";
const COPY_RIGHTS: &str = "UPDATE pg_database copy SET datacl = source.datacl FROM pg_database source \
                           WHERE source.datname = $1 AND copy.datname = $2";

/// A server.
pub(super) struct Server {
    pub connection: Connection,
    /// The name of all sessions that are opened here, by which others find them.
    pub sessions: String,
    /// Whether it is a process of this machine.
    pub is_here: bool,
}

/// A session from which databases are made and removed.
pub(super) struct Session {
    client: Client,
    /// Has no sender any more once the connection has ended.
    ended: watch::Receiver<()>,
    version: u32,
    /// The tests' own database.
    database: String,
    /// Its port where it is a process of this machine.
    here: Option<u16>,
}

impl Server {
    /// A session in the maintenance database.
    pub(super) async fn session(&self) -> anyhow::Result<Session> {
        let connected = match self.connect(MAINTENANCE).await {
            Err(error) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) => {
                self.connect(self.connection.database.as_deref().unwrap_or(MAINTENANCE)).await
            }
            other => other,
        };
        let (client, ended) = connected.with_context(|| format!("logging in to {}", self.connection.name))?;
        let row = client.query_one("SELECT current_setting('server_version_num')::int / 10000", &[]).await?;
        let version = u32::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default();
        if version >= HAS_CLONES {
            // Where the server was built without, it copies as ever.
            let _ = client.batch_execute("SET file_copy_method = clone").await;
        }
        let database = self.connection.database.clone().unwrap_or_default();
        let here = self.connection.port.filter(|_| self.is_here);
        Ok(Session { client, ended, version, database, here })
    }

    /// One login, after which the database has the file that all later ones read instead of its catalogs: a copy
    /// has that too.
    async fn log_in_once(&self, database: &str) -> Result<(), Error> {
        self.connect(database).await?.0.batch_execute("SELECT 1").await
    }

    async fn connect(&self, database: &str) -> Result<(Client, watch::Receiver<()>), Error> {
        let Connection { host, port, user, password, .. } = &self.connection;
        let mut config = Config::new();
        config
            .host(host.as_deref().unwrap_or_default())
            .port(port.unwrap_or(5432))
            .user(user.as_deref().unwrap_or_default())
            .password(password.as_deref().unwrap_or_default())
            .dbname(database)
            .application_name(&self.sessions)
            .connect_timeout(PATIENCE)
            .ssl_mode(SslMode::Disable);
        let tls = self.tls();
        if tls.is_some() {
            config.ssl_mode(SslMode::Require);
        }
        let connector = Connector::new(&mut config, tls, BOUNDS, Fault::default());
        let (client, connection) = config.connect(connector).await?;
        let (ends, ended) = watch::channel(());
        // Ends by itself once the client is gone.
        tokio::spawn(async move {
            let _ = connection.await;
            drop(ends);
        });
        Ok((client, ended))
    }

    fn tls(&self) -> Option<MakeRustlsConnect> {
        let trust = match self.connection.secured() {
            Secured::No => return None,
            Secured::Unverified => Trust::Any,
            Secured::Verified(ca) => {
                let text = files::read(std::path::Path::new(ca), files::MOST).unwrap_or_default();
                Trust::in_pem(&text, Name::Right).ok()?
            }
        };
        Some(MakeRustlsConnect::new(trust.client().ok()?))
    }
}

impl Session {
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn closed(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Marks the pool as one that is in use, as long as this session lasts.
    pub(super) async fn mark(&self, pool: &str) -> anyhow::Result<bool> {
        let row = self.client.query_one("SELECT pg_try_advisory_lock($1)", &[&key(pool)]).await?;
        Ok(row.try_get(0)?)
    }

    pub(super) async fn unmark(&self, pool: &str) -> anyhow::Result<()> {
        self.client.execute("SELECT pg_advisory_unlock($1)", &[&key(pool)]).await?;
        Ok(())
    }

    /// Ends the sessions of pools whose testbed is gone from this machine. A server that is at a statement for one
    /// notices that late, and its mark stays until then.
    pub(super) async fn end_gone(&self) -> anyhow::Result<()> {
        let Some(port) = self.here else { return Ok(()) };
        let rows = self.client.query(OF_POOLS, &[&PREFIX]).await?;
        // After the server was asked: who has come since is there.
        let here = background::run(move || ports::clients(port)).await?;
        let (mut gone, mut is_own_here) = (Vec::new(), false);
        for row in rows {
            let (pid, from, is_own): (i32, i32, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            match u16::try_from(from).is_ok_and(|from| here.contains(&from)) {
                true => is_own_here |= is_own,
                false => gone.push(pid),
            }
        }
        // Else this machine does not tell who is connected.
        if !is_own_here {
            return Ok(());
        }
        self.end(END_OF_POOLS, &[&PREFIX, &gone]).await.context("ending the sessions of pools that are gone")
    }

    /// The databases whose names begin like that.
    pub(super) async fn named(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let sql = "SELECT datname::text FROM pg_database WHERE left(datname::text, length($1)) = $1";
        let rows = self.client.query(sql, &[&prefix]).await?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }

    /// Removes a pool's databases, and tells those that the server does not let go. Nobody makes one any more, but a
    /// server goes on with what a client that is gone has asked it for.
    pub(super) async fn clear(&self, pool: &str) -> anyhow::Result<Vec<String>> {
        self.end(END_NAMED, &[&pool]).await.with_context(|| format!("ending the sessions of {pool}"))?;
        let (mut left, mut removed) = (Vec::new(), Ok(()));
        for name in self.named(pool).await?.into_iter().filter(|name| pool_of(name) == Some(pool)) {
            // What is in the way of one is not in that of the others.
            match self.remove(&name, Way::Forced).await {
                Ok(Removed::Gone) => {}
                Ok(_) => left.push(name),
                Err(error) => removed = removed.and(Err(error)),
            }
        }
        removed.map(|()| left)
    }

    /// An empty database, for a template.
    pub(super) async fn create(&self, name: &str) -> anyhow::Result<()> {
        self.client.batch_execute(&self.creation(name, "template0")).await.map_err(|error| explain(&error))
    }

    fn creation(&self, name: &str, template: &str) -> String {
        let strategy = if self.version >= HAS_STRATEGY { " STRATEGY file_copy" } else { "" };
        format!("CREATE DATABASE {} TEMPLATE {}{strategy}", identifier(name), identifier(template))
    }

    /// From now on nobody gets in, and nobody is in.
    pub(super) async fn close(&self, server: &Server, name: &str) -> anyhow::Result<Closed> {
        server.log_in_once(name).await.map_err(|error| explain(&error))?;
        let locked = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", identifier(name));
        self.client.batch_execute(&locked).await.map_err(|error| explain(&error))?;
        self.empty(name).await?;
        if let Some(row) = self.client.query_opt(PREPARED, &[&name]).await? {
            let gid: String = row.try_get(0)?;
            let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(name));
            self.client.batch_execute(&open).await?;
            return Err(anyhow!(
                "the template has a prepared transaction, {gid:?}, and cannot be copied: COMMIT PREPARED or ROLLBACK PREPARED it, and finalize again"
            ));
        }
        let row = self.client.query_one(HAS_OWN_SETTINGS, &[&name]).await?;
        let size = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default();
        Ok(Closed { size, has_settings: row.try_get(0)? })
    }

    /// Ends who is in the database, and waits until they have left.
    async fn empty(&self, name: &str) -> anyhow::Result<()> {
        self.end(END, &[&name]).await.with_context(|| format!("ending who is in the database {name}"))
    }

    /// Ends those whom a statement of that kind finds, and waits until it finds none any more.
    async fn end(&self, statement: &str, whom: &[&(dyn ToSql + Sync)]) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.client.query(statement, whom).await {
                Ok(found) if found.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(self.failed(&error).await),
            }
            anyhow::ensure!(Instant::now() < deadline, "somebody does not leave");
            sleep(AGAIN).await;
        }
    }

    /// The same for the tests' own database.
    pub(super) async fn empty_own(&self) -> anyhow::Result<()> {
        self.empty(&self.database).await
    }

    /// A copy of the tests' own database, in which nobody may be.
    pub(super) async fn copy_own(&self, name: &str) -> anyhow::Result<()> {
        let own = &self.database;
        let anybody: i64 = self.client.query_one(ANYBODY, &[own]).await?.try_get(0)?;
        anyhow::ensure!(anybody == 0, "{}", super::was_in_use(own));
        let has_settings = self.client.query_one(HAS_OWN_SETTINGS, &[own]).await?.try_get(0)?;
        self.copy(own, name, has_settings).await
    }

    /// A copy of a template that is closed.
    pub(super) async fn copy(&self, template: &str, name: &str, has_settings: bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let creation = self.creation(name, template);
        loop {
            // What a worker of an extension or autovacuum has begun meanwhile.
            self.empty(template).await?;
            match timeout_at(deadline, self.client.batch_execute(&creation)).await {
                Ok(Ok(())) => break,
                // It came between the two.
                Ok(Err(error)) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {}
                Ok(Err(error)) => return Err(self.failed(&error).await),
                Err(_) => return Err(anyhow!("a copy of {template} was not made within a minute")),
            }
            anyhow::ensure!(Instant::now() < deadline, "somebody does not leave the database {template}");
        }
        if has_settings {
            let row =
                self.client.query_one(OWNER, &[&template, &name]).await.map_err(|error| explain(&error))?;
            self.client.batch_execute(row.try_get(0)?).await.map_err(|error| explain(&error))?;
            self.client.execute(COPY_SETTINGS, &[&template, &name]).await.map_err(|error| explain(&error))?;
            self.client.execute(COPY_RIGHTS, &[&template, &name]).await.map_err(|error| explain(&error))?;
        }
        Ok(())
    }

    /// What the server has said. Where it ends this session with that, the session is closed afterwards.
    async fn failed(&self, error: &Error) -> anyhow::Error {
        if ends_session(error) {
            let _ = timeout(PATIENCE, self.closed()).await;
        }
        explain(error)
    }

    pub(super) async fn remove(&self, name: &str, way: Way) -> anyhow::Result<Removed> {
        let lock = |allowed: bool| format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", identifier(name));
        if way == Way::Locked {
            self.client.batch_execute(&lock(false)).await?;
        }
        if way != Way::Forced {
            let anybody: i64 = self.client.query_one(ANYBODY, &[&name]).await?.try_get(0)?;
            if anybody > 0 {
                if way == Way::Locked {
                    self.client.batch_execute(&lock(true)).await?;
                }
                return Ok(Removed::Busy);
            }
        }
        let force = match way {
            // Who has come in between goes on.
            Way::Locked => "",
            _ if self.version >= HAS_FORCE => " WITH (FORCE)",
            _ => {
                self.client.query(END, &[&name]).await?;
                ""
            }
        };
        let removal = format!("DROP DATABASE IF EXISTS {}{force}", identifier(name));
        let mut removed = self.client.batch_execute(&removal).await;
        if matches!(&removed, Err(error) if error.code() == Some(&SqlState::WRONG_OBJECT_TYPE)) {
            // A test has made a template of it.
            let ordinary = format!("ALTER DATABASE {} IS_TEMPLATE false", identifier(name));
            self.client.batch_execute(&ordinary).await?;
            removed = self.client.batch_execute(&removal).await;
        }
        match removed {
            Ok(()) => Ok(Removed::Gone),
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                if way == Way::Locked {
                    self.client.batch_execute(&lock(true)).await?;
                }
                Ok(Removed::Busy)
            }
            Err(error) if error.as_db_error().is_some() && !ends_session(&error) => Ok(Removed::Stuck),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// Those that somebody is logged in to, and those that anybody has ever been.
    pub(super) async fn look(&self, databases: &[(Id, String)]) -> anyhow::Result<(Vec<Id>, Vec<Id>)> {
        let sql = "SELECT datname::text, numbackends > 0, xact_commit + xact_rollback > 0 \
                   FROM pg_stat_database WHERE datname = ANY($1)";
        let names: Vec<&str> = databases.iter().map(|(_, name)| name.as_str()).collect();
        let (mut used, mut ever) = (Vec::new(), Vec::new());
        for row in self.client.query(sql, &[&names]).await? {
            let name: String = row.try_get(0)?;
            let Some((id, _)) = databases.iter().find(|(_, known)| *known == name) else { continue };
            used.extend(row.try_get::<_, bool>(1)?.then_some(*id));
            ever.extend(row.try_get::<_, bool>(2)?.then_some(*id));
        }
        Ok((used, ever))
    }
}

/// The number of a pool's mark.
fn key(pool: &str) -> i64 {
    let id = pool.strip_prefix(PREFIX).and_then(|id| u64::from_str_radix(id, 16).ok());
    id.unwrap_or_default().cast_signed()
}

/// Whether it is the last that the server says in a session: about itself, and not about what it was asked for.
fn ends_session(error: &Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    severity.is_some_and(|severity| matches!(severity, Severity::Fatal | Severity::Panic))
}

/// What the server has said, without the driver's own words around it.
fn explain(error: &Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(said) => match said.detail() {
            Some(detail) => anyhow!("{}: {detail}", said.message()),
            None => anyhow!("{}", said.message()),
        },
        None => anyhow!("{}", crate::failure::innermost(error)),
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
