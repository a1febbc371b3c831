//! Databases of MySQL and MariaDB on this machine: each is a server of its own, on a copy of the data folder of
//! its template's server, which has ended. So a copy is exact whatever is in it, and takes no longer for what
//! a statement would have to make anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::time::sleep;

use super::core::{Closed, Id, Removed, Way};
use super::noted;
use crate::background;
use crate::files;
use crate::output::{self, Connection, Model};
use crate::registry::Record;
use crate::runtime::local::beside::{Beside, Original, POOLS};
use crate::runtime::local::remove;

/// What the name of a pool's lock ends with, which its testbed holds as long as it lives.
const LOCK: &str = ".lock";
/// How long a folder may take to go into which something is still being written.
const GOING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);

/// All servers of a pool.
pub(super) struct Server {
    pub connection: Connection,
    original: Original,
    run_id: String,
    programs: Vec<PathBuf>,
    folder: PathBuf,
    servers: Mutex<BTreeMap<String, Running>>,
    lock: Mutex<Option<File>>,
}

#[derive(Clone)]
struct Running {
    server: Arc<Beside>,
    was_used: bool,
}

impl Server {
    pub(super) fn new(connection: Connection, run: &Record) -> anyhow::Result<Self> {
        let local = run.local().cloned().unwrap_or_default();
        let noted = noted(run, &connection);
        let noted = noted.with_context(|| format!("{} has no server on this machine", connection.name))?;
        let original = Original::new(noted, &run.run_id)?;
        let connection = connection.in_database(original.database());
        Ok(Self {
            connection,
            original,
            run_id: run.run_id.clone(),
            programs: local.programs,
            folder: local.data.join(POOLS),
            servers: Mutex::default(),
            lock: Mutex::default(),
        })
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Option<Arc<Beside>> {
        self.servers().get(name).map(|running| Arc::clone(&running.server))
    }

    /// Marks the pool as one that is in use for as long as this process lives, and removes what others have left
    /// whose testbed was killed.
    pub(super) async fn begin(&self, prefix: &str) -> anyhow::Result<()> {
        make_folder(&self.folder)?;
        // It has its name only once it is held.
        let (new, own) = (self.folder.join(format!("{prefix}.new")), self.lock_file(prefix));
        let lock = files::open_lock(&new).with_context(|| format!("making {}", new.display()))?;
        lock.try_lock().with_context(|| format!("locking {}", new.display()))?;
        std::fs::rename(&new, &own).with_context(|| format!("making {}", own.display()))?;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        for name in names(&self.folder)? {
            let Some(other) = name.strip_suffix(LOCK).filter(|other| *other != prefix) else { continue };
            let Ok(lock) = files::open_lock(&self.folder.join(&name)) else { continue };
            if lock.try_lock().is_ok() {
                self.remove_all(other).await?;
            }
        }
        Ok(())
    }

    fn lock_file(&self, prefix: &str) -> PathBuf {
        self.folder.join(format!("{prefix}{LOCK}"))
    }

    /// Removes a pool, whoever has made it.
    async fn remove_all(&self, prefix: &str) -> anyhow::Result<()> {
        for name in names(&self.folder)?.iter().filter(|name| name.starts_with(&format!("{prefix}_"))) {
            remove::remove_server(&self.folder.join(name), &self.run_id, &self.programs).await?;
        }
        let lock = self.lock_file(prefix);
        files::if_there(std::fs::remove_file(&lock))
            .with_context(|| format!("removing {}", lock.display()))?;
        // Where it was the last one.
        let _ = std::fs::remove_dir(&self.folder);
        Ok(())
    }

    /// Removes this pool from a run that stays.
    pub(super) async fn clear(&self, prefix: &str) -> anyhow::Result<()> {
        self.end().await;
        self.remove_all(prefix).await
    }

    /// Ends all servers.
    pub(super) async fn end(&self) {
        let servers: Vec<Running> = std::mem::take(&mut *self.servers()).into_values().collect();
        futures::future::join_all(servers.iter().map(|running| running.server.kill())).await;
    }

    /// Where a database is; `None` where it is gone, or its server has ended by itself.
    pub(super) fn reach(&self, name: &str) -> Option<Connection> {
        let server = self.find(name).filter(|server| server.is_alive())?;
        Some(self.at(name, &server))
    }

    fn at(&self, name: &str, server: &Beside) -> Connection {
        let moved = self.connection.moved_to("127.0.0.1", server.port);
        Connection { option_folder: Some(self.folder.join(name)), ..moved }
    }

    /// A database for a template: an empty one, or what a seed has put into that of the run.
    pub(super) async fn create(&self, name: &str, is_empty: bool) -> anyhow::Result<()> {
        let server = self.original.first(&self.folder.join(name), is_empty).await?;
        self.know(name, server)
    }

    fn know(&self, name: &str, server: Beside) -> anyhow::Result<()> {
        // What is in the run's own file counts for more with clients than a variable does.
        let own = self.at(name, &server);
        let file = self.folder.join(name).join("my.cnf");
        if let Some(text) = output::option_file(&Model::of(&self.run_id, own)) {
            files::write(&file, &text, 0o600)?;
        }
        let running = Running { server: Arc::new(server), was_used: false };
        self.servers().insert(name.to_owned(), running);
        Ok(())
    }

    /// Ends the template's server, with whoever is logged in.
    pub(super) async fn close(&self, name: &str) -> anyhow::Result<Closed> {
        let server = self.find(name).ok_or_else(|| anyhow!("the template's server is gone"))?;
        if let Some(prepared) = server.prepared_transaction().await? {
            return Err(anyhow!(
                "the template has a prepared transaction, {prepared:?}, and cannot be copied: XA COMMIT or XA \
                 ROLLBACK it, and finalize again"
            ));
        }
        let size = server.close().await?;
        self.servers().remove(name);
        Ok(Closed { size, has_settings: false })
    }

    pub(super) async fn copy(&self, template: &str, name: &str) -> anyhow::Result<()> {
        let server = self.original.copy(&self.folder.join(template), &self.folder.join(name)).await?;
        self.know(name, server)
    }

    pub(super) async fn remove(&self, name: &str, way: Way) -> anyhow::Result<Removed> {
        // A template has none once it is finalized.
        if let Some(server) = self.find(name) {
            if way != Way::Forced && server.is_alive() && is_used(&server, way).await? {
                return Ok(Removed::Busy);
            }
            server.kill().await;
            self.servers().remove(name);
        }
        delete(&self.folder.join(name)).await?;
        Ok(Removed::Gone)
    }

    /// Those that somebody is logged in to, and those that anybody has ever been.
    pub(super) async fn look(&self, databases: &[(Id, String)]) -> anyhow::Result<(Vec<Id>, Vec<Id>)> {
        let (mut used, mut ever) = (Vec::new(), Vec::new());
        for (id, name) in databases {
            let Some(server) = self.find(name) else { continue };
            // One that has ended is not used any more.
            let look = match server.look().await {
                Ok(look) => look,
                Err(_) if !server.is_alive() => {
                    ever.push(*id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            used.extend(look.is_used.then_some(*id));
            let mut servers = self.servers();
            let Some(running) = servers.get_mut(name) else { continue };
            running.was_used |= look.is_used || look.was_used;
            ever.extend(running.was_used.then_some(*id));
        }
        Ok((used, ever))
    }
}

/// Whether anybody is logged in; where nobody is to come in before the removal, nobody can from then on.
async fn is_used(server: &Beside, way: Way) -> anyhow::Result<bool> {
    if way == Way::Locked {
        server.let_in(false).await?;
    }
    let is_used = server.look().await?.is_used;
    if way == Way::Locked && is_used {
        server.let_in(true).await?;
    }
    Ok(is_used)
}

/// The servers' user passes through it.
fn make_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(folder);
    made.with_context(|| format!("making {}", folder.display()))
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let context = || format!("looking into {}", folder.display());
    let Some(entries) = files::if_there(std::fs::read_dir(folder)).with_context(context)? else {
        return Ok(Vec::new());
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Deletes a folder into which a server that was killed, or a copy that was given up, may have written its last.
async fn delete(folder: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + GOING;
    loop {
        let doomed = folder.to_owned();
        match background::run(move || files::if_there(files::remove_all(&doomed))).await? {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("removing {}", folder.display()));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}
