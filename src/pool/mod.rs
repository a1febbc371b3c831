//! Fresh databases for tests: copies of templates that the tests' own side has filled, ready before somebody
//! asks. [`core`] decides; [`postgres`], and [`mysql`] on this machine or else [`schema`], make and remove; [`integresql`]
//! is how clients ask.

mod core;
mod integresql;
mod mysql;
mod postgres;
mod schema;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use self::core::{Closed, Core, Got, Id, Limits, Refusal, Removed, Work};
use self::server::{Server, Session};
use crate::database::Login;
use crate::environment::variable;
use crate::failure::{Advise, usage};
use crate::output::{Connection, Environment, Model, Names};
use crate::process::Process;
use crate::registry::{self, Record, Source};
use crate::runtime::local::processes;

/// What the names of all pools' databases begin with.
const PREFIX: &str = "testbed_pool_";
/// The hash of the template that a seed of the run has made.
const SEED: &str = "testbed";
/// Where published clients look for the address, and a name that no project can give another meaning.
pub const VARIABLES: [&str; 3] = ["INTEGRESQL_CLIENT_BASE_URL", "INTEGRESQL_BASE_URL", OWN_VARIABLE];
pub const OWN_VARIABLE: &str = "TESTBED_POOL_URL";
/// How many databases of a pool there may be on a server.
const MOST: usize = 500;
/// The same where each has a server of its own, which takes memory: at least so many, and twice as many as are
/// kept ready.
const MOST_SERVERS: usize = 64;
/// What the copies of one template may take on disk.
const BYTES: u64 = 8 << 30;
/// How long somebody waits for a template to be finalized, or for a database.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long the databases of a pool may take to go from a server that stays.
const CLEARING: Duration = Duration::from_secs(10);
/// The same where a server has to remove each of their tables.
const CLEARING_TABLES: Duration = Duration::from_mins(1);
/// How many databases are looked at whose servers have ended, before somebody is told.
const ATTEMPTS: usize = 100;
/// How soon a server that cannot be reached is called again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a server of this machine may take from its end until it listens again.
const RESTARTING: Duration = Duration::from_secs(5);

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
fn is_copied(engine: &str) -> bool {
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
    let server = postgres::Server { connection: connection.clone(), sessions: "testbed".to_owned() };
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

/// Tells a command where a pool is, as [`Served::tell`] does.
pub fn tell(url: &str, environment: &mut Environment) {
    for name in VARIABLES {
        if !environment.set.iter().any(|(set, _)| set == name) {
            environment.set.push((name.to_owned(), url.to_owned()));
        }
    }
}

/// Sees to it that a command of this run is not led to the pool of another one, which its caller has.
pub fn lead_nowhere(run_id: &str, environment: &mut Environment) {
    // A command of the run itself may go on with what that was told.
    if variable("TESTBED_RUN_ID").is_some_and(|of| of == run_id) {
        return;
    }
    for name in VARIABLES {
        let is_set = environment.set.iter().any(|(set, _)| set == name);
        if !is_set && variable(name).is_some_and(|url| is_address(&url)) {
            environment.removed.push(name.to_owned());
        }
    }
}

/// Whether an address is one that testbed gives its pools.
fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/api"));
    rest.and_then(|rest| rest.split_once('/')).is_some_and(|(port, token)| {
        port.parse::<u16>().is_ok() && token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

impl Served {
    /// Tells a command where it is, by the names that published clients know, unless the project gives these
    /// another meaning.
    pub fn tell(&self, environment: &mut Environment) {
        tell(&format!("http://{}/{}/api", self.address, self.token), environment);
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

/// The databases on one server.
struct Pool {
    server: Server,
    run_id: String,
    /// Those of the command's variables that this database alone makes up.
    names: Names,
    core: Mutex<Core>,
    /// There may be something to do.
    changed: Notify,
    /// A template is finalized or discarded.
    settled: Notify,
    /// Templates that have settings of their own.
    has_settings: Mutex<Vec<String>>,
    /// Why the template of the seed is not there.
    no_seed: OnceLock<Refusal>,
    /// Who creates templates, which goes on where the client goes.
    creating: Mutex<JoinSet<()>>,
}

impl Pool {
    fn new(
        connection: &Connection,
        ready: usize,
        names: &Names,
        run: &Record,
        admin: Option<&Login>,
    ) -> anyhow::Result<Self> {
        // Marks what belongs to this pool on a server that has others as well.
        let id = u64::from_be_bytes(uuid::Uuid::new_v4().into_bytes()[..8].try_into().unwrap_or_default());
        let name = format!("{PREFIX}{id:016x}");
        let (server, most) = if connection.engine == "postgres" {
            let server = postgres::Server { connection: connection.clone(), sessions: name.clone() };
            (Server::Postgres(Box::new(server)), MOST)
        } else if run.local().is_none() {
            (Server::Schemas(Arc::new(schema::Server::new(connection.clone(), admin))), MOST)
        } else {
            let server = mysql::Server::new(connection.clone(), run)?;
            (Server::Mysql(Arc::new(server)), MOST_SERVERS.max(2 * ready))
        };
        let names = names.of(&Model::of(&run.run_id, connection.clone()));
        let limits = Limits { ready, soft: (4 * ready).max(16), most, bytes: BYTES };
        Ok(Self {
            server,
            run_id: run.run_id.clone(),
            names,
            core: Mutex::new(Core::new(limits, name)),
            changed: Notify::new(),
            settled: Notify::new(),
            has_settings: Mutex::default(),
            no_seed: OnceLock::new(),
            creating: Mutex::default(),
        })
    }

    fn creating(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that marks the pool, once what earlier ones have left is gone.
    async fn first_session(&self) -> anyhow::Result<Session> {
        let session = self.server.session().await?;
        let prefix = self.core().prefix().to_owned();
        Box::pin(session.begin(&prefix)).await?;
        Ok(session)
    }

    async fn clear(&self) -> anyhow::Result<()> {
        let mut creating = std::mem::take(&mut *self.creating());
        while creating.join_next().await.is_some() {}
        let session = self.server.session().await?;
        let prefix = self.core().prefix().to_owned();
        session.clear(&prefix).await
    }

    /// Does what there is to do, for ever. The session that marks the pool marks it again when it has to be
    /// made anew.
    async fn make(self: Arc<Self>, mut session: Option<Session>) {
        let is_first = session.is_some();
        let prefix = self.core().prefix().to_owned();
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let work = self.core().next_work(now);
            // The others log in once there is something for them to do.
            if (is_first || work.is_some()) && session.as_ref().is_none_or(Session::is_closed) {
                session = self.server.session().await.ok();
                if let Some(session) = session.as_ref().filter(|_| is_first) {
                    let _ = session.mark(&prefix).await;
                }
            }
            let Some(work) = work else {
                let wakes = self.core().wakes(now);
                let woken = async {
                    match wakes {
                        Some(wakes) => drop(timeout_at(wakes.into(), changed).await),
                        None => changed.await,
                    }
                };
                match session.as_ref().filter(|_| is_first) {
                    // Others that begin would take a pool without its mark for one whose testbed was killed.
                    Some(session) => tokio::select! {
                        () = woken => {}
                        () = session.closed() => {}
                    },
                    None if is_first => tokio::time::sleep(AGAIN).await,
                    None => woken.await,
                }
                continue;
            };
            // Others may find something as well.
            self.changed.notify_one();
            let outcome = match &session {
                Some(session) => self.work_on(session, &work).await,
                None => Err(anyhow!("the server takes no logins")),
            };
            if let Err(error) = outcome {
                let is_reached = session.as_ref().is_some_and(|session| !session.is_closed());
                self.failed(&work, &error, is_reached);
                // A server that is being restarted comes back.
                tokio::time::sleep(AGAIN).await;
            }
            self.changed.notify_one();
        }
    }

    async fn work_on(&self, session: &Session, work: &Work) -> anyhow::Result<()> {
        match work {
            Work::Copy { hash, template, id, name } => {
                let has_settings = self.settings().contains(template);
                session.copy(template, name, has_settings).await?;
                self.core().copied(hash, template, *id, Ok(()), Instant::now());
            }
            Work::Remove { name, way } => {
                let removed = session.remove(name, *way).await?;
                self.core().removed(name, removed, Instant::now());
            }
            Work::Look(databases) => {
                let (used, ever) = session.look(databases).await?;
                self.core().seen(&used, &ever, Instant::now());
            }
        }
        Ok(())
    }

    fn failed(&self, work: &Work, error: &anyhow::Error, is_reached: bool) {
        let now = Instant::now();
        match work {
            Work::Copy { hash, template, id, .. } if !is_reached => {
                self.core().postponed(hash, template, *id, now);
            }
            Work::Copy { hash, template, id, .. } => {
                let refusal = Refusal::Failed(format!("making a copy of the template: {error:#}"));
                self.core().copied(hash, template, *id, Err(refusal), now);
            }
            Work::Remove { name, .. } if !is_reached => self.core().removed(name, Removed::Unasked, now),
            Work::Remove { name, .. } => self.core().removed(name, Removed::Busy, now),
            Work::Look(_) => self.core().not_seen(now),
        }
    }

    /// Tells whoever waits once the server has ended: on this machine it does not come back by itself.
    async fn watch(self: Arc<Self>, process: Process) {
        while !processes::gone(process, PATIENCE).await {
            tokio::time::sleep(AGAIN).await;
        }
        let Connection { name, host, port, .. } = self.server.connection();
        let address = (host.as_deref().unwrap_or_default(), port.unwrap_or_default());
        let ended = Instant::now();
        while let Err(error) = TcpStream::connect(address).await {
            if ended.elapsed() >= RESTARTING {
                let why = format!("{name} takes no logins any more: {error}; testbed logs {name} tells more");
                self.core().refuse_waiting(&Refusal::Failed(why));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn settings(&self) -> MutexGuard<'_, Vec<String>> {
        self.has_settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new template: the name of its empty database.
    async fn initialise(self: &Arc<Self>, hash: &str) -> Result<String, Refusal> {
        let name = self.core().initialise(hash)?;
        let (tell, told) = oneshot::channel();
        let (pool, hash) = (Arc::clone(self), hash.to_owned());
        let creating = async move {
            let created = async { pool.server.session().await?.create(&name).await }.await;
            let gone = || Refusal::Failed("who was to make the template has gone".to_owned());
            let refusal = match created {
                Ok(()) => {
                    pool.core().created(&hash, &name, Instant::now());
                    tell.send(Ok(name.clone())).is_err().then(gone)
                }
                Err(error) => {
                    let refusal = Refusal::Failed(format!("making a template: {error:#}"));
                    let _ = tell.send(Err(refusal.clone()));
                    Some(refusal)
                }
            };
            if let Some(refusal) = refusal {
                pool.core().not_created(&hash, &name, &refusal, Instant::now());
            }
            pool.changed.notify_one();
        };
        {
            let mut all = self.creating();
            while all.try_join_next().is_some() {}
            all.spawn(creating);
        }
        told.await.unwrap_or(Err(Refusal::Discarded))
    }

    /// Makes the template of what a seed has put into the run's database.
    async fn offer_seed(self: Arc<Self>, name: Result<String, Refusal>) {
        let Ok(name) = name else { return };
        let made = async {
            let session = self.server.session().await?;
            session.create_seeded(&name).await?;
            session.close(&self.server, &name).await
        };
        match made.await {
            Ok(closed) => drop(self.finalized(SEED, &name, closed)),
            Err(error) => {
                let refusal = Refusal::Failed(format!("making a template of the seed: {error:#}"));
                self.core().not_created(SEED, &name, &refusal, Instant::now());
                let _ = self.no_seed.set(refusal);
            }
        }
    }

    fn finalized(&self, hash: &str, name: &str, closed: Closed) -> Result<(), Refusal> {
        if closed.has_settings {
            self.settings().push(name.to_owned());
        }
        self.core().finalized(hash, name, closed.size)?;
        self.settled.notify_waiters();
        self.changed.notify_one();
        Ok(())
    }

    /// What the database of a template is called that is there.
    fn template(&self, hash: &str) -> Option<String> {
        self.core().template(hash)
    }

    /// Finalizes it, or waits for whoever is at it.
    async fn finalize(&self, hash: &str) -> Result<(), Refusal> {
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            if self.core().is_finalized(hash)? {
                return Ok(());
            }
            let closing = self.core().begin_closing(hash).map(|name| Closing { pool: self, hash, name });
            let Some(closing) = closing else {
                settled.await;
                continue;
            };
            let name = &closing.name;
            let closed = async { self.server.session().await?.close(&self.server, name).await };
            let closed = closed.await.map_err(|error| Refusal::Failed(format!("finalizing: {error:#}")))?;
            return self.finalized(hash, name, closed);
        }
    }

    /// Waits until the template's maker has finalized it.
    async fn until_finalized(&self, hash: &str) -> Result<(), Refusal> {
        let wait = async {
            loop {
                let settled = self.settled.notified();
                if self.core().is_finalized(hash)? {
                    return Ok(());
                }
                settled.await;
            }
        };
        let waited = timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| Err(Refusal::Failed(self.core().why_not(hash))))
    }

    fn discard(&self, hash: &str) -> Result<(), Refusal> {
        self.core().discard(hash, Instant::now())?;
        self.settled.notify_waiters();
        self.changed.notify_one();
        Ok(())
    }

    fn reset(&self) {
        self.core().reset(Instant::now());
        self.settled.notify_waiters();
        self.changed.notify_one();
    }

    /// A database for one test, as soon as there is one whose server runs.
    async fn get(&self, hash: &str) -> Result<(Id, Connection), Refusal> {
        for _ in 0..ATTEMPTS {
            let id = self.get_any(hash).await?;
            if let Some(reached) = self.reach(id) {
                return Ok((id, reached));
            }
            self.recreate(hash, id)?;
        }
        Err(Refusal::Failed("the servers of the copies end by themselves".to_owned()))
    }

    async fn get_any(&self, hash: &str) -> Result<Id, Refusal> {
        let got = self.core().get(hash, Instant::now());
        self.changed.notify_one();
        let receiver = match got {
            Got::Now(id) => return Ok(id),
            Got::Never(Refusal::Unknown) if hash == SEED => {
                return Err(self.no_seed.get().cloned().unwrap_or(Refusal::Unseeded));
            }
            Got::Never(refusal) => return Err(refusal),
            Got::Later(receiver) => receiver,
        };
        let mut waiting = Waiting { pool: self, hash, receiver };
        match timeout(PATIENCE, &mut waiting.receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Refusal::Discarded),
            Err(_) => Err(Refusal::Failed(format!("none within a minute: {}", self.core().why_not(hash)))),
        }
    }

    fn unlock(&self, hash: &str, id: Id) -> Result<(), Refusal> {
        self.core().unlock(hash, id, Instant::now())
    }

    fn recreate(&self, hash: &str, id: Id) -> Result<(), Refusal> {
        self.core().recreate(hash, id, Instant::now())?;
        self.changed.notify_one();
        Ok(())
    }

    /// The variables of a command that has this database alone.
    fn environment(
        &self,
        reached: &Connection,
    ) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
        let model = Model::of(&self.run_id, reached.clone());
        let Environment { set, .. } =
            Environment::new(&model, &self.names, None, reached.option_folder.as_deref())?;
        Ok(set.into_iter().map(|(name, value)| (name, value.into())).collect())
    }

    /// Where a test's database is; `None` where its server has ended.
    fn reach(&self, id: Id) -> Option<Connection> {
        let name = self.core().name(id);
        self.server.reach(&name)
    }
}

/// Somebody who closes a template. Where that ends before it is closed, somebody else can.
struct Closing<'a> {
    pool: &'a Pool,
    hash: &'a str,
    name: String,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.pool.core().not_closed(self.hash, &self.name);
        self.pool.settled.notify_waiters();
    }
}

/// Somebody who waits. Where that ends while there is something for it on the way, nobody has it.
struct Waiting<'a> {
    pool: &'a Pool,
    hash: &'a str,
    receiver: oneshot::Receiver<Result<Id, Refusal>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok(id)) = self.receiver.try_recv() {
            let _ = self.pool.unlock(self.hash, id);
        }
        self.pool.changed.notify_one();
    }
}

/// The name of the pool that a database belongs to.
fn pool_of(name: &str) -> Option<&str> {
    let (id, kind) = name.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = kind.strip_prefix("test_").or_else(|| kind.strip_prefix("template_"));
    let number = number.map(|number| number.strip_suffix(schema::CLOSED).unwrap_or(number));
    let is_number = number.is_some_and(|number| number.parse::<Id>().is_ok());
    let is_own = is_id && (is_number || kind == schema::PROBE);
    name.get(..PREFIX.len() + id.len()).filter(|_| is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pools_have_made_is_a_pools() {
        for kind in ["test_1", "template_23", "template_4_closed", "probe"] {
            let pool = "testbed_pool_00000000000000ff";
            assert_eq!(pool_of(&format!("{pool}_{kind}")), Some(pool), "{kind}");
        }
        for name in [
            "testbed_pool_archive",
            "testbed_pool_00000000000000ff",
            "testbed_pool_00000000000000ff_mine",
            "testbed_pool_00000000000000ff_test_x",
            "testbed_pool_00000000000000ff_test_1_mine",
            "testbed_pool_00000000000000FF_test_1",
            "testbed_pool_+0000000000000ff_test_1",
            "TESTBED_POOL_00000000000000ff_test_1",
            "testbed_pool_0ff_test_1",
        ] {
            assert_eq!(pool_of(name), None, "{name}");
        }
    }
}
