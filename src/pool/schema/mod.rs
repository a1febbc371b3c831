//! Databases of MySQL and MariaDB within one server, for where no server can be put beside it: a copy is made of
//! statements, as the server itself writes them.
//!
//! Neither has a way to let nobody into a database. So a template is moved out of reach as it is finalized: what is in it
//! is made once more in a database that nobody was told of, where nothing happens by itself and of which all copies are
//! made, and the one that its maker knows is dropped. That shows at once, too, whether it can be copied.

mod definition;
mod grants;
mod names;
mod sql;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::definition::{Definition, Extent};
use self::grants::Grants;
use self::sql::{identifier, literal, row, rows, run};
use super::core::{Closed, Id, Removed, Way};
use super::names::{CLOSED, PREFIX, PROBE, pool_of};
use crate::database::{Login, Password};
use crate::failure::Advise;
use crate::files;
use crate::output::{Connection, Secured};
use crate::probe::session::{self, Lasting, Reached};

/// How long those who were told to leave may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long sessions may stay whose clients have gone.
const LEAVING: Duration = Duration::from_secs(3);
/// How soon it is looked again whether those have left who were told to.
const AGAIN: Duration = Duration::from_millis(10);

/// What every session is told, which has to work.
const SETTINGS: [&str; 3] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET character_set_results = binary, sql_quote_show_create = 1, autocommit = 1",
    "SET foreign_key_checks = 0, unique_checks = 0, lock_wait_timeout = 30, innodb_lock_wait_timeout = 30",
];
/// What makes copies exact or fast where a server knows it and a user may set it.
const WISHES: [&str; 6] = [
    "SET check_constraint_checks = 0",
    "SET innodb_strict_mode = 0",
    "SET character_set_collations = ''",
    "SET sql_generate_invisible_primary_key = 0",
    "SET sql_require_primary_key = 0",
    "SET sql_log_bin = 0",
];

/// A server.
pub(super) struct Server {
    pub connection: Connection,
    /// Who makes and removes databases.
    login: Login,
    /// What is known of templates that are finalized, by their names.
    templates: Mutex<BTreeMap<String, Arc<Definition>>>,
    /// Those that somebody was seen in.
    used: Mutex<BTreeSet<Id>>,
}

/// A session from which databases are made and removed.
pub(super) struct Session {
    server: Arc<Server>,
    conn: tokio::sync::Mutex<Conn>,
    /// Has no sender any more once the connection has ended.
    ended: watch::Receiver<()>,
    /// Whether rows of the past can be written.
    has_history: bool,
}

impl Server {
    /// `admin` is the server's administrator, where one is known.
    pub(super) fn new(connection: Connection, admin: Option<&Login>) -> Self {
        let own = || Login {
            user: connection.user.clone().unwrap_or_default(),
            password: Password::new(connection.password.clone().unwrap_or_default()),
            database: None,
        };
        let login = admin.cloned().unwrap_or_else(own);
        Self { connection, login, templates: Mutex::default(), used: Mutex::default() }
    }

    fn templates(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Definition>>> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of_tests(&self) -> bool {
        Some(&self.login.user) == self.connection.user.as_ref()
    }

    pub(super) async fn session(self: &Arc<Self>) -> anyhow::Result<Session> {
        let ca = match self.connection.secured() {
            Secured::No => None,
            Secured::Unverified => Some(String::new()),
            Secured::Verified(ca) => {
                let text = files::read(std::path::Path::new(ca), files::MOST)
                    .context("reading the server's authority")?;
                Some(String::from_utf8(text).context("reading the server's authority")?)
            }
        };
        let reached = Reached {
            host: self.connection.host.as_deref().unwrap_or_default(),
            port: self.connection.port.unwrap_or(3306),
            tls: ca.as_deref(),
        };
        let opened = session::open(&reached, &self.login).await;
        let Lasting { session: mut conn, ended } =
            opened.with_context(|| format!("logging in to {}", self.connection.name))?;
        for setting in SETTINGS {
            run(&mut conn, setting).await?;
        }
        for wish in WISHES {
            let _ = conn.query_drop(wish).await;
        }
        // What is sent from now on has backslashes.
        definition::settle(&mut conn).await?;
        let has_history = conn.query_drop("SET system_versioning_insert_history = 1").await.is_ok();
        Ok(Session { server: Arc::clone(self), conn: tokio::sync::Mutex::new(conn), ended, has_history })
    }
}

impl Session {
    pub(super) fn is_closed(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    pub(super) async fn closed(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Marks the pool as one that is in use, as long as this session lasts.
    pub(super) async fn mark(&self, pool: &str) -> anyhow::Result<bool> {
        let conn = &mut *self.conn.lock().await;
        Ok(row(conn, &format!("SELECT COALESCE(GET_LOCK({}, 0), 0)", literal(pool))).await?.number(0)? == 1)
    }

    pub(super) async fn unmark(&self, pool: &str) -> anyhow::Result<()> {
        run(&mut *self.conn.lock().await, format!("DO RELEASE_LOCK({})", literal(pool))).await
    }

    /// The databases whose names begin like that.
    pub(super) async fn named(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        named(&mut *self.conn.lock().await, prefix).await
    }

    /// Sees to it that databases can be made, and that the tests' user has its rights in those of the pool.
    pub(super) async fn begin(&self, prefix: &str) -> anyhow::Result<()> {
        let conn = &mut *self.conn.lock().await;
        let probe = identifier(&format!("{prefix}_{PROBE}"));
        let made = match run(conn, format!("CREATE DATABASE {probe}")).await {
            Ok(()) => run(conn, format!("DROP DATABASE {probe}")).await,
            Err(error) => Err(error),
        };
        made.with_context(|| format!("making a database on {} as {}", self.server.connection.name, self.server.login.user))
            .hint(format!(
                "--pool makes databases there: name the root password in the manifest (MARIADB_ROOT_PASSWORD or \
                 MYSQL_ROOT_PASSWORD) for testbed run, or let the user make them: GRANT ALL ON `{}%`.* TO ...",
                sql::pattern(PREFIX)
            ))?;
        let Some(own) = &self.server.connection.database else { return Ok(()) };
        let given = Grants::in_effect(conn, own).await?.give(conn, &all_of(prefix), "").await;
        // Who may make them without an administrator has its rights there.
        if self.server.is_of_tests() { Ok(()) } else { given.context("giving the tests' users their rights") }
    }

    /// Removes a pool's databases. Nobody makes one any more, but a server goes on with what a client that is gone has
    /// asked it for.
    pub(super) async fn clear(&self, pool: &str) -> anyhow::Result<()> {
        let conn = &mut *self.conn.lock().await;
        end(conn, |process| process.makes(pool))
            .await
            .with_context(|| format!("ending the sessions of {pool}"))?;
        let mut removed = Ok(());
        for name in named(conn, pool).await?.into_iter().filter(|name| pool_of(name) == Some(pool)) {
            // What is in the way of one is not in that of the others.
            removed = removed.and(drop_database(conn, &name).await);
            Grants::read(conn, &name).await?.take(conn, &sql::pattern(&name), &name).await;
        }
        if let Some(own) = &self.server.connection.database {
            Grants::in_effect(conn, own).await?.take(conn, &all_of(pool), "").await;
        }
        removed
    }

    /// An empty database, for a template, made like that of the run.
    pub(super) async fn create(&self, name: &str) -> anyhow::Result<()> {
        let conn = &mut *self.conn.lock().await;
        let like = match &self.server.connection.database {
            Some(own) => definition::creation(conn, own).await.unwrap_or_default(),
            None => String::new(),
        };
        run(conn, format!("CREATE DATABASE {}{like}", identifier(name))).await
    }

    /// A template of what a seed has put into the run's database, in which nobody may be.
    pub(super) async fn create_seeded(&self, name: &str) -> anyhow::Result<()> {
        let conn = &mut *self.conn.lock().await;
        let own = self.server.connection.database.as_deref().context("the run names no database")?;
        // A server does not notice at once that the client of a session has gone, such as the seed's.
        let deadline = Instant::now() + LEAVING;
        while has_users(conn, own).await? {
            anyhow::ensure!(Instant::now() < deadline, "{}", super::was_in_use(own));
            sleep(AGAIN).await;
        }
        self.settle(conn, own, name).await
    }

    /// Makes what all copies of a template are made of.
    async fn settle(&self, conn: &mut Conn, database: &str, template: &str) -> anyhow::Result<()> {
        definition::settle(conn).await?;
        let settled = self.settle_within(conn, database, &closed(template)).await;
        // Nobody is to be found in a database only because it was made from here.
        let left = definition::settle(conn).await;
        match settled {
            Ok(definition) => {
                self.server.templates().insert(template.to_owned(), Arc::new(definition));
                left
            }
            Err(error) => {
                let _ = drop_database(conn, &closed(template)).await;
                Err(error)
            }
        }
    }

    async fn settle_within(
        &self,
        conn: &mut Conn,
        database: &str,
        closed: &str,
    ) -> anyhow::Result<Definition> {
        let mut definition = Definition::read(conn, database, self.has_history).await?;
        definition::settle(conn).await?;
        let made = definition.make(conn, closed, database, Extent::Passive).await?;
        definition.put_in_order(&made);
        Ok(definition)
    }

    /// From now on nobody gets in, and nobody is in.
    pub(super) async fn close(&self, name: &str) -> anyhow::Result<Closed> {
        if !self.server.templates().contains_key(name) {
            let conn = &mut *self.conn.lock().await;
            let closed = async {
                empty(conn, name).await?;
                self.settle(conn, name, name).await?;
                drop_database(conn, name).await?;
                if self.server.templates().get(name).is_some_and(|template| template.has_grants()) {
                    Grants::read(conn, name).await?.take(conn, &sql::pattern(name), name).await;
                }
                Ok(())
            };
            if let Err(error) = closed.await {
                self.server.templates().remove(name);
                let _ = drop_database(conn, &self::closed(name)).await;
                return Err(explained(conn, error).await);
            }
        }
        let size = self.server.templates().get(name).map(|definition| definition.size);
        Ok(Closed { size: size.unwrap_or_default(), has_settings: false })
    }

    /// A copy of a template that is closed.
    pub(super) async fn copy(&self, template: &str, name: &str) -> anyhow::Result<()> {
        let definition = self.server.templates().get(template).cloned();
        let definition = definition.context("the template is gone")?;
        let conn = &mut *self.conn.lock().await;
        definition::settle(conn).await?;
        let made = definition.make(conn, name, &closed(template), Extent::Copy).await;
        // Nobody is to be found in a database only because it was made from here.
        let left = definition::settle(conn).await;
        made.map(drop).and(left)
    }

    pub(super) async fn remove(&self, name: &str, way: Way) -> anyhow::Result<Removed> {
        let conn = &mut *self.conn.lock().await;
        if way != Way::Forced && has_users(conn, name).await? {
            return Ok(Removed::Busy);
        }
        let (template, has_grants) = {
            let mut templates = self.server.templates();
            (templates.remove(name), templates.values().any(|template| template.has_grants()))
        };
        let mut names = vec![name.to_owned()];
        names.extend(template.map(|_| closed(name)));
        for name in names {
            match drop_now(conn, &name).await {
                Ok(()) => {}
                Err(error) if sql::code(&error) == Some(sql::LOCK_WAIT_TIMEOUT) => return Ok(Removed::Busy),
                Err(error) if sql::code(&error).is_some() => return Ok(Removed::Stuck),
                Err(error) => return Err(sql::explain(&error)),
            }
        }
        if has_grants {
            Grants::read(conn, name).await?.take(conn, &sql::pattern(name), name).await;
        }
        Ok(Removed::Gone)
    }

    /// Those that somebody is logged in to, and those that anybody was ever seen in.
    pub(super) async fn look(&self, databases: &[(Id, String)]) -> anyhow::Result<(Vec<Id>, Vec<Id>)> {
        let conn = &mut *self.conn.lock().await;
        let all: BTreeSet<String> =
            processes(conn).await?.into_iter().map(|process| process.database).collect();
        let used: Vec<Id> =
            databases.iter().filter(|(_, name)| all.contains(name)).map(|(id, _)| *id).collect();
        let mut ever = self.server.used.lock().unwrap_or_else(PoisonError::into_inner);
        ever.extend(&used);
        ever.retain(|id| databases.iter().any(|(known, _)| known == id));
        Ok((used, ever.iter().copied().collect()))
    }
}

/// What all copies of a template are made of.
fn closed(template: &str) -> String {
    format!("{template}{CLOSED}")
}

/// All databases of a pool, as rights name them.
fn all_of(prefix: &str) -> String {
    format!("{}%", sql::pattern(&format!("{prefix}_")))
}

/// The databases whose names begin like that.
async fn named(conn: &mut Conn, prefix: &str) -> anyhow::Result<Vec<String>> {
    let prefix = literal(prefix);
    let sql = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE LEFT(SCHEMA_NAME, CHAR_LENGTH({prefix})) = {prefix}"
    );
    rows(conn, &sql).await?.iter().map(|row| row.text(0)).collect()
}

/// A session that is not this one.
struct Process {
    id: u64,
    /// Empty where it is in none.
    database: String,
    /// What it does, as far as the server tells.
    statement: Vec<u8>,
}

impl Process {
    /// Whether it makes a database of a pool.
    fn makes(&self, pool: &str) -> bool {
        let name = self.statement.strip_prefix(b"CREATE DATABASE `");
        name.is_some_and(|name| name.starts_with(pool.as_bytes()))
    }
}

async fn processes(conn: &mut Conn) -> anyhow::Result<Vec<Process>> {
    let own = u64::from(conn.id());
    let mut processes = Vec::new();
    // The number, the user, the host, the database, the command, the time, the state and the statement.
    for row in rows(conn, "SHOW PROCESSLIST").await? {
        let (id, database) = (row.number(0)?, row.text_if_any(3)?);
        // Most are in none.
        let statement = row.bytes(7).unwrap_or_default().to_vec();
        processes.push(Process { id, database, statement });
    }
    processes.retain(|process| process.id != own);
    Ok(processes)
}

async fn has_users(conn: &mut Conn, database: &str) -> anyhow::Result<bool> {
    Ok(processes(conn).await?.iter().any(|process| process.database == database))
}

/// Ends sessions, and waits until they have left.
async fn end(conn: &mut Conn, is_meant: impl Fn(&Process) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut meant = processes(conn).await?;
        meant.retain(&is_meant);
        if meant.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "somebody does not leave");
        for Process { id, .. } in meant {
            match conn.query_drop(format!("KILL {id}")).await {
                Err(error) if sql::code(&error) != Some(sql::NO_SUCH_THREAD) => {
                    return Err(sql::explain(&error));
                }
                _ => {}
            }
        }
        sleep(AGAIN).await;
    }
}

/// Ends who is in a database.
async fn empty(conn: &mut Conn, database: &str) -> anyhow::Result<()> {
    let ended = end(conn, |process| process.database == database).await;
    ended.with_context(|| format!("ending who is in the database {database}"))
}

async fn drop_now(conn: &mut Conn, database: &str) -> Result<(), mysql_async::Error> {
    conn.query_drop(format!("DROP DATABASE IF EXISTS {}", identifier(database))).await
}

/// Removes a database with whoever is in it.
async fn drop_database(conn: &mut Conn, database: &str) -> anyhow::Result<()> {
    empty(conn, database).await?;
    drop_now(conn, database).await.map_err(|error| sql::explain(&error))
}

/// Why a template cannot be finalized: who waits in vain for a lock may wait for nobody's session.
async fn explained(conn: &mut Conn, error: anyhow::Error) -> anyhow::Error {
    let Ok(prepared) = rows(conn, "XA RECOVER").await else { return error };
    let name = prepared
        .first()
        .and_then(|row| row.bytes(3).ok().map(|name| String::from_utf8_lossy(name).into_owned()));
    match name {
        Some(name) if format!("{error:#}").contains("Lock wait timeout") => anyhow!(
            "the server has a prepared transaction, {name:?}, and it may hold what cannot be locked: XA COMMIT or XA \
             ROLLBACK it, and finalize again ({error:#})"
        ),
        _ => error,
    }
}
