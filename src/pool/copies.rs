//! The databases of a pool on one server: made before somebody asks, handed out, taken back. [`core`](super::core) decides.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::core::{Closed, Core, Got, Id, Limits, Refusal, Removed, Work};
use super::names::{PREFIX, SEED};
use super::server::{Server, Session};
use super::{mysql, postgres, schema};
use crate::database::Login;
use crate::output::{Connection, Environment, Model, Names};
use crate::process::Process;
use crate::registry::Record;
use crate::runtime::local::processes;

/// How many databases of a pool there may be on a server.
const MOST: usize = 500;
/// The same where each has a server of its own, which takes memory: at least so many, and twice as many as are
/// kept ready.
const MOST_SERVERS: usize = 64;
/// What the copies of one template may take on disk.
const BYTES: u64 = 8 << 30;
/// How long somebody waits for a template to be finalized, or for a database.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many databases are looked at whose servers have ended, before somebody is told.
const ATTEMPTS: usize = 100;
/// How soon a server that cannot be reached is called again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a server of this machine may take from its end until it listens again.
const RESTARTING: Duration = Duration::from_secs(5);

/// The databases on one server.
pub(super) struct Pool {
    pub(super) server: Server,
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
    pub(super) fn new(
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
            let is_here = run.local().is_some();
            let server = postgres::Server { connection: connection.clone(), sessions: name.clone(), is_here };
            (Server::Postgres(Box::new(server)), MOST)
        } else if run.local().is_none() {
            (Server::Schemas(Arc::new(schema::Server::new(connection.clone(), admin))), MOST)
        } else {
            let server = mysql::Server::new(connection.clone(), run)?;
            (Server::Mysql(Arc::new(server)), MOST_SERVERS.max(2 * ready))
        };
        let names = names.of(&Model::of(&run.run_id, connection.clone()));
        // Tests of today's parallel runners pause for seconds between two logins. A server takes memory for each.
        let kept = if matches!(server, Server::Mysql(_)) { 16 } else { 64 };
        let limits = Limits { ready, soft: (4 * ready).max(kept), most, bytes: BYTES };
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

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that marks the pool, once what earlier ones have left is gone.
    pub(super) async fn first_session(&self) -> anyhow::Result<Session> {
        let session = self.server.session().await?;
        let prefix = self.core().prefix().to_owned();
        Box::pin(session.begin(&prefix)).await?;
        Ok(session)
    }

    pub(super) async fn clear(&self) -> anyhow::Result<()> {
        let mut creating = std::mem::take(&mut *self.creating());
        while creating.join_next().await.is_some() {}
        let session = self.server.session().await?;
        let prefix = self.core().prefix().to_owned();
        let left = session.clear(&prefix).await?;
        anyhow::ensure!(
            left.is_empty(),
            "{} cannot be dropped, for a prepared transaction, a replication slot or a subscription in there",
            left.join(", ")
        );
        Ok(())
    }

    /// Does what there is to do, for ever. The session that marks the pool marks it again when it has to be
    /// made anew.
    pub(super) async fn make(self: Arc<Self>, mut session: Option<Session>) {
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
    pub(super) async fn watch(self: Arc<Self>, process: Process) {
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
    pub(super) async fn initialise(self: &Arc<Self>, hash: &str) -> Result<String, Refusal> {
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
    pub(super) async fn offer_seed(self: Arc<Self>, name: Result<String, Refusal>) {
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
    pub(super) fn template(&self, hash: &str) -> Option<String> {
        self.core().template(hash)
    }

    /// Finalizes it, or waits for whoever is at it.
    pub(super) async fn finalize(&self, hash: &str) -> Result<(), Refusal> {
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
    pub(super) async fn until_finalized(&self, hash: &str) -> Result<(), Refusal> {
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

    pub(super) fn discard(&self, hash: &str) -> Result<(), Refusal> {
        self.core().discard(hash, Instant::now())?;
        self.settled.notify_waiters();
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn reset(&self) {
        self.core().reset(Instant::now());
        self.settled.notify_waiters();
        self.changed.notify_one();
    }

    /// A database for one test, as soon as there is one whose server runs.
    pub(super) async fn get(&self, hash: &str) -> Result<(Id, Connection), Refusal> {
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

    pub(super) fn unlock(&self, hash: &str, id: Id) -> Result<(), Refusal> {
        self.core().unlock(hash, id, Instant::now())
    }

    pub(super) fn recreate(&self, hash: &str, id: Id) -> Result<(), Refusal> {
        self.core().recreate(hash, id, Instant::now())?;
        self.changed.notify_one();
        Ok(())
    }

    /// The variables of a command that has this database alone.
    pub(super) fn environment(
        &self,
        reached: &Connection,
    ) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
        let model = Model::of(&self.run_id, reached.clone());
        let Environment { set, .. } =
            Environment::new(&model, &self.names, None, reached.option_folder.as_deref())?;
        Ok(set.into_iter().map(|(name, value)| (name, value.into())).collect())
    }

    /// Where a test's database is; `None` where its server has ended.
    pub(super) fn reach(&self, id: Id) -> Option<Connection> {
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
