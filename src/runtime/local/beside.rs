//! Servers beside one of a run's, for databases that are copies of each other: the same program with the same
//! settings and the tests' login, each with a data folder and a port of its own. MySQL and MariaDB alone:
//! PostgreSQL copies databases within one server.
//!
//! They work below the run's folder, so that whoever removes the run ends them too.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::account::{self, Account};
use super::processes::Awaited;
use super::program::{LINES, Setting, argument, last_lines};
use super::serve::{free_port, is_port_taken, until};
use super::start::make_folder;
use super::{copy, logs, mysql};
use crate::background;
use crate::database::Engine;
use crate::failure::Advise;
use crate::process::Process;
use crate::registry::{Server, Source, Start};

/// Where those of a run's pools are, below the run's folder. Each pool knows its own, and removes those of pools whose
/// testbed is gone.
pub const POOLS: &str = "pool";
/// How long one may take until it takes logins, and until it has ended.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often one is started again because its port was taken meanwhile.
const ATTEMPTS: usize = 10;
/// How many ports are remembered: fewer than there are to choose from.
const PORTS: usize = 10_000;
/// What the database is called where the manifest names none.
const DATABASE: &str = "testbed";

/// What the one before has read is not read again before somebody asks for it.
const COLD: [&str; 2] =
    ["--innodb-buffer-pool-dump-at-shutdown=OFF", "--innodb-buffer-pool-load-at-startup=OFF"];

/// Who is logged in, besides who asks.
const ANYBODY: &str = "SELECT CONNECTION_ID(), (SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                       WHERE USER NOT IN ('system user', 'event_scheduler') AND ID <> CONNECTION_ID())";

/// A server of a run, which others are made like.
pub struct Original {
    server: Server,
    start: Start,
    source: Source,
    run_id: String,
    account: Option<Account>,
    /// The password of the root of those beside it, which takes logins by their sockets alone.
    root: String,
    /// The ports that were used: who comes late to one of them finds nobody there.
    ports: std::sync::Mutex<VecDeque<u16>>,
}

/// A server beside it.
pub struct Beside {
    folder: PathBuf,
    pub port: u16,
    process: Process,
    child: Mutex<Child>,
    _awaited: Option<Awaited>,
    /// The last connection that is known not to be somebody else's.
    last: AtomicU64,
    root: String,
    user: String,
}

/// Who uses a server.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub is_used: bool,
    /// Whether anybody has logged in since the look before.
    pub was_used: bool,
}

impl Original {
    /// # Errors
    /// An older testbed has made it, and did not note how.
    pub fn new(server: &Server, run_id: &str) -> anyhow::Result<Self> {
        let engine = server.engine().unwrap_or(Engine::Mysql);
        let (Some(start), Some(source)) = (server.start.clone(), server.source.clone()) else {
            return Err(anyhow!("{}: what it was made from is not kept: it has the data of a snapshot, or an older testbed has made it", server.name))
                .hint("make the run anew without a snapshot: testbed down, then testbed up");
        };
        Ok(Self {
            server: server.clone(),
            start,
            source,
            run_id: run_id.to_owned(),
            account: account::for_server(engine)?,
            root: uuid::Uuid::new_v4().simple().to_string(),
            ports: std::sync::Mutex::default(),
        })
    }

    /// The database that the tests use in each of them.
    pub fn database(&self) -> &str {
        self.server.database.as_deref().unwrap_or(DATABASE)
    }

    /// Starts one that has the tests' login and an empty database, or what a seed has put into it.
    ///
    /// # Errors
    /// Why it takes no logins, with the end of its log.
    pub async fn first(&self, folder: &Path, is_empty: bool) -> anyhow::Result<Beside> {
        self.make_folder(folder)?;
        let data = folder.join("data");
        let kept = self.source.place_at(&data, self.account.as_ref()).await?;
        let logins = mysql::init_file(&data);
        let empty = is_empty.then(|| self.database());
        let text = mysql::statements_beside(&self.server, &self.root, kept.as_deref(), empty);
        crate::files::write(&logins, &text, 0o600)?;
        account::hand_over(&logins, self.account.as_ref())?;
        let beside = self.start(folder, Some(&logins)).await?;
        std::fs::remove_file(&logins).context("removing the file with the logins")?;
        Ok(beside)
    }

    /// Starts one on a copy of the data of another one, which has ended.
    ///
    /// # Errors
    /// Why it cannot be copied or takes no logins.
    pub async fn copy(&self, from: &Path, folder: &Path) -> anyhow::Result<Beside> {
        self.make_folder(folder)?;
        let (source, target) = (from.join("data"), folder.join("data"));
        let account = self.account.clone();
        let copying =
            move || copy::copy(&source, account::owner(account.as_ref()), &target, account.as_ref());
        background::run(copying).await?.with_context(|| format!("copying {}", from.display()))?;
        self.start(folder, None).await
    }

    fn make_folder(&self, folder: &Path) -> anyhow::Result<()> {
        make_folder(folder, self.setting()).with_context(|| format!("making {}", folder.display()))?;
        let tls = self.server.data.with_file_name("tls");
        if tls.is_dir() {
            std::os::unix::fs::symlink(&tls, folder.join("tls")).context("finding the certificate")?;
        }
        Ok(())
    }

    fn setting(&self) -> Setting<'_> {
        Setting { account: self.account.as_ref(), run_id: &self.run_id }
    }

    async fn start(&self, folder: &Path, logins: Option<&Path>) -> anyhow::Result<Beside> {
        for _ in 0..ATTEMPTS {
            if let Some(beside) = self.start_on(folder, self.port()?, logins).await? {
                return Ok(beside);
            }
        }
        Err(anyhow!("{ATTEMPTS} ports in a row were taken between their choice and their use"))
    }

    /// A free port that none of them has had, as long as there are such.
    fn port(&self) -> anyhow::Result<u16> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let port = free_port(ports.make_contiguous())?;
        ports.push_back(port);
        if ports.len() > PORTS {
            ports.pop_front();
        }
        Ok(port)
    }

    /// `None` where the port was taken meanwhile.
    async fn start_on(
        &self,
        folder: &Path,
        port: u16,
        logins: Option<&Path>,
    ) -> anyhow::Result<Option<Beside>> {
        let (data, log) = (folder.join("data"), folder.join("log"));
        let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&log);
        let file = file.with_context(|| format!("making {}", log.display()))?;
        let mut command = self.setting().command(&self.start.program, &data);
        command.args(self.arguments(&data, port)?).kill_on_drop(true);
        command.args(logins.map(mysql::init_file_argument));
        command.stdout(Stdio::from(file.try_clone().context("sharing the log")?)).stderr(Stdio::from(file));
        let mut child =
            command.spawn().with_context(|| format!("starting {}", self.start.program.display()))?;
        let awaited = child.id().map(Awaited::new);
        let said = || last_lines(&logs::read(&log).map(|clipped| clipped.text).unwrap_or_default(), LINES);
        let process = child.id().and_then(Process::with_id);
        let Server { user, password, .. } = &self.server;
        let log_in = || mysql::log_in_as(user, password, Some(self.database()), &data, port);
        let taken = tokio::select! {
            biased;
            taken = until(log_in, mysql::is_refusal) => taken,
            status = child.wait() => {
                let said = said();
                if is_port_taken(&said) {
                    return Ok(None);
                }
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(anyhow!("the server has ended while it started ({status}): {said}"));
            }
            () = sleep(PATIENCE) => return Err(anyhow!("the server takes no logins: {}", said())),
        };
        taken.with_context(|| format!("the server refuses the login of {user}"))?;
        let process = process.context("the server has ended while it started")?;
        let beside = Beside {
            folder: folder.to_owned(),
            port,
            process,
            child: Mutex::new(child),
            _awaited: awaited,
            last: AtomicU64::new(0),
            root: self.root.clone(),
            user: user.clone(),
        };
        // From here on others are told from testbed itself.
        beside.look().await?;
        Ok(Some(beside))
    }

    /// Those of the original, with its own folders and port.
    fn arguments(&self, data: &Path, port: u16) -> anyhow::Result<Vec<OsString>> {
        let own = [
            ("--tmpdir=", mysql::own_temporary_folder(data, self.setting())?),
            ("--datadir=", argument("--datadir=", data)),
            ("--port=", format!("--port={port}").into()),
        ];
        let changed = |argument: &String| {
            let own = own.iter().find(|(flag, _)| argument.starts_with(flag));
            own.map_or_else(|| argument.into(), |(_, own)| own.clone())
        };
        Ok(self.start.arguments.iter().map(changed).chain(COLD.map(OsString::from)).collect())
    }
}

impl Beside {
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    async fn root(&self) -> anyhow::Result<Conn> {
        mysql::log_in_as_root(&self.folder.join("data"), &self.root).await
    }

    /// # Errors
    /// The server takes no login, or does not answer.
    pub async fn look(&self) -> anyhow::Result<Look> {
        let mut root = self.root().await?;
        let row: Option<(u64, u64)> = root.query_first(ANYBODY).await?;
        root.disconnect().await.context("saying goodbye")?;
        let (own, others) = row.context("the server does not say who is logged in")?;
        let before = self.last.swap(own, Ordering::Relaxed);
        Ok(Look { is_used: others > 0, was_used: own > before + 1 })
    }

    /// Whether the tests' user may log in from now on; who is in stays.
    ///
    /// # Errors
    /// What the server says.
    pub async fn let_in(&self, is_allowed: bool) -> anyhow::Result<()> {
        let mut root = self.root().await?;
        root.query_drop(mysql::account_lock(&self.user, !is_allowed)).await?;
        root.disconnect().await.context("saying goodbye")
    }

    /// A transaction that every copy would have in it, and keep locked what that has changed.
    ///
    /// # Errors
    /// What the server says.
    pub async fn prepared_transaction(&self) -> anyhow::Result<Option<String>> {
        let mut root = self.root().await?;
        let row: Option<mysql_async::Row> = root.query_first("XA RECOVER").await?;
        root.disconnect().await.context("saying goodbye")?;
        let data = row.and_then(|row| row.get::<Vec<u8>, _>("data"));
        Ok(data.map(|data| String::from_utf8_lossy(&data).into_owned()))
    }

    /// Ends it cleanly, with whoever is logged in, and tells how many bytes its data has.
    ///
    /// # Errors
    /// It does not end, or not as it should: then its data is of no use.
    pub async fn close(&self) -> anyhow::Result<u64> {
        self.process.signal(Signal::TERM);
        let ended = timeout(PATIENCE, async { self.child.lock().await.wait().await }).await;
        let Ok(ended) = ended else {
            self.kill().await;
            return Err(anyhow!("its server does not end"));
        };
        let status = ended.context("waiting for the server's end")?;
        anyhow::ensure!(status.success(), "its server has not ended cleanly ({status})");
        let data = self.folder.join("data");
        background::run(move || copy::measure(&data)).await?.map(|size| size.bytes).context("measuring it")
    }

    /// Ends it at once: nobody needs its data any more.
    pub async fn kill(&self) {
        let mut child = self.child.lock().await;
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
}
