//! The runs of this user on this machine that somebody has to remove: one folder each below the state folder,
//! with a record and a lock.
//!
//! The process that makes, uses or removes a run holds its lock, which the system takes back when the process
//! ends, however that happens. A run whose lock is free although nobody has said that it is up was abandoned,
//! and the next command removes it.

mod execs;
mod pooled;
mod record;
mod unreadable;

use std::fs::{File, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::time::Instant;

use crate::failure::Advise;
use crate::run_id::RunId;
use crate::state::STATE_HINT;
use crate::time::Time;
use crate::{deadline, files, process, state};

pub use execs::Exec;
pub use pooled::{POOL_OF, Pooled, Way};
pub use record::{Abandoned, Command, LocalRun, OWNER, Phase, Place, Record, Restart, Server, Source, Start};
pub use unreadable::Unreadable;

/// The name of a run's record in its folder.
const RECORD: &str = "run.json";
/// Before the name of a folder that is being deleted.
const GONE: &str = ".gone-";
/// Before the name of a project's lock.
const TURN: &str = ".turn-";

/// How long the lock on all runs is waited for at most, which others hold for moments only.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The right to make the run of a project that `up` goes on with: no two calls make one each. It ends with the
/// process, however that does.
pub struct Turn {
    path: PathBuf,
    _lock: File,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // While it is locked, so that nobody has it; whoever waits for it looks for the file again.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// All runs of this user.
#[derive(Debug, Clone)]
pub struct Registry {
    runs: PathBuf,
    /// When the command has to be done: no lock is waited for any longer.
    deadline: Option<Instant>,
}

/// What was found under a run id.
pub enum Found {
    Absent,
    /// A run that another process works on.
    Held(Box<Record>),
    /// A run that nobody works on; from now on the caller does.
    Free(Box<Claim>),
}

/// The abandoned runs that are free, and why others could not be looked at.
type Swept = (Vec<(Claim, Abandoned)>, Vec<anyhow::Error>);

impl Registry {
    /// The registry of this user; `None` where there is no state folder, so that no run was ever noted.
    pub fn find() -> Option<Self> {
        Some(Self { runs: state::folder()?.join("runs"), deadline: None })
    }

    /// The same for a command that has to be done by then.
    pub fn by(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// The same, to note a new run within this time.
    pub fn open(within: Duration) -> anyhow::Result<Self> {
        let registry = Self::find()
            .ok_or_else(|| anyhow!("there is no state folder: neither XDG_STATE_HOME nor HOME is set"));
        let registry = registry.hint("set HOME")?.by(deadline::after(within));
        files::check_names(&[
            &registry.runs,
            &std::env::current_dir().context("finding the current folder")?,
        ])?;
        files::make_folder(&registry.runs)
            .with_context(|| format!("making the state folder {}", registry.runs.display()))
            .hint(STATE_HINT)?;
        // Nobody else has to get there, also where an older testbed has let them.
        let _ = std::fs::set_permissions(&registry.runs, Permissions::from_mode(0o700));
        // A folder that is there may still be one that cannot be written.
        drop(registry.guard()?);
        Ok(registry)
    }

    /// Takes the turn of a project; `None` if another process has it by the end of that time.
    pub fn turn(&self, project: &Path, within: Duration) -> anyhow::Result<Option<Turn>> {
        let name = state::hash(project.as_os_str().as_encoded_bytes());
        let path = self.runs.join(format!("{TURN}{name}"));
        let context = || format!("locking {}", path.display());
        let deadline = deadline::after(within);
        loop {
            let file = files::open_lock(&path).with_context(context).hint(STATE_HINT)?;
            let lock = match file.try_lock() {
                Ok(()) => file,
                Err(TryLockError::Error(error)) => return Err(error).with_context(context),
                Err(TryLockError::WouldBlock) => match files::lock(file, deadline::left(deadline)) {
                    Ok(lock) => lock,
                    Err(_) if deadline::left(deadline).is_zero() => return Ok(None),
                    Err(error) => return Err(error).with_context(context),
                },
            };
            if is_still_at(&lock, &path).with_context(context)? {
                return Ok(Some(Turn { path, _lock: lock }));
            }
        }
    }

    pub fn folder(&self, run_id: &str) -> PathBuf {
        self.runs.join(run_id)
    }

    pub fn add(&self, record: Record) -> anyhow::Result<Claim> {
        let folder = self.folder(&record.run_id);
        let context = || format!("noting the run in {}", folder.display());
        let guard = self.guard()?;
        if folder.exists() {
            return Err(anyhow!("run {} is there already", record.run_id))
                .hint(format!("testbed down --run-id {}", record.run_id));
        }
        files::make_folder(&folder).with_context(context).hint(STATE_HINT)?;
        let noted =
            lock_file(&folder).and_then(|lock| files::lock(lock, self.timeout())).with_context(context);
        drop(guard);
        let claim = Claim { record, home: Some(Home { folder: folder.clone(), _lock: noted? }) };
        let saved = claim.save();
        if saved.is_err() {
            let _ = files::remove_all(&folder);
        }
        saved.hint(STATE_HINT)?;
        Ok(claim)
    }

    pub fn claim(&self, run_id: &RunId) -> anyhow::Result<Found> {
        let folder = self.folder(run_id.as_str());
        match folder.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Absent),
            Ok(found) if !found.is_dir() => return Err(Unreadable::no_folder(&folder).error()),
            _ => {}
        }
        let _guard = self.guard()?;
        Ok(match Claim::take(&folder)? {
            Taken::Free(claim) => Found::Free(claim),
            Taken::Held => read(&folder)
                .map_err(|unreadable| unreadable.error())?
                .map_or(Found::Absent, |record| Found::Held(Box::new(record))),
            Taken::Unreadable(unreadable, _) => return Err(unreadable.error()),
            Taken::Nothing => Found::Absent,
        })
    }

    /// Waits until nobody works on a run, and tells whether it came to that within this time. Somebody else may be
    /// first all the same.
    pub fn wait(&self, run_id: &RunId, within: Duration) -> bool {
        let lock = files::if_there(lock_file(&self.folder(run_id.as_str())));
        match lock {
            Ok(Some(lock)) => files::lock(lock, within).is_ok(),
            // It is gone, or what is wrong is told by whoever takes it.
            Ok(None) | Err(_) => true,
        }
    }

    /// What is noted about a run, whoever works on it.
    pub fn read(&self, run_id: &str) -> anyhow::Result<Option<Record>> {
        read(&self.folder(run_id)).map_err(|unreadable| unreadable.error())
    }

    /// Whether a testbed that was killed has left its command on a run that stays.
    pub fn has_stray_command(&self, record: &Record) -> bool {
        let is_left = || record.has_stray_command() || !Exec::left(&self.folder(&record.run_id)).is_empty();
        !record.is_elsewhere() && is_left()
    }

    /// Whether a run is not noted whose record in the archive has this id. One that cannot be read is not
    /// lost.
    pub fn has_lost(&self, run_id: &str, history: &str) -> bool {
        match read(&self.folder(run_id)) {
            Ok(record) => record.is_none_or(|record| record.history.as_deref() != Some(history)),
            Err(_) => false,
        }
    }

    /// All runs, in the order of their making, and those whose record is there and cannot be read.
    pub fn records(&self) -> anyhow::Result<(Vec<Record>, Vec<Unreadable>)> {
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for (folder, is_folder) in self.entries()? {
            let is_hidden = folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            match read(&folder) {
                _ if is_hidden => {}
                _ if !is_folder => unreadable.push(Unreadable::no_folder(&folder)),
                Ok(record) => records.extend(record),
                Err(found) => unreadable.push(found),
            }
        }
        records.sort_by(|one, other| (&one.made, &one.run_id).cmp(&(&other.made, &other.run_id)));
        Ok((records, unreadable))
    }

    /// Takes a run whose record is of no use, to remove what is left of it; `None` while another process
    /// works on it, or if it can be read by now.
    pub fn take_unreadable(&self, found: &Unreadable) -> anyhow::Result<Option<DamagedRun>> {
        let _guard = self.guard()?;
        if found.folder.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            return Ok(Some(DamagedRun { folder: found.folder.clone(), _lock: None }));
        }
        Ok(match Claim::take(&found.folder)? {
            Taken::Unreadable(now, lock) if now.is_damaged => {
                Some(DamagedRun { folder: now.folder, _lock: Some(lock) })
            }
            _ => None,
        })
    }

    /// The runs that are up of the nearest of these folders that has any, in the order of their making.
    ///
    /// # Errors
    /// The record that cannot be read, where it may be the one that is looked for.
    pub fn of_folders(&self, folders: &[PathBuf]) -> anyhow::Result<Vec<Record>> {
        let (records, unreadable) = self.records()?;
        let mut up: Vec<Record> = records.into_iter().filter(|record| record.phase == Phase::Up).collect();
        let of = |folder: &PathBuf, record: &Record| {
            *folder == record.project
                || (record.project.as_os_str().is_empty() && *folder == record.called_in)
        };
        let nearest = folders.iter().find(|folder| up.iter().any(|record| of(folder, record)));
        if let (None, Some(unreadable)) = (nearest, unreadable.first()) {
            return Err(unreadable.error());
        }
        up.retain(|record| nearest.is_some_and(|folder| of(folder, record)));
        Ok(up)
    }

    /// Claims the runs that nobody needs any more, and deletes what is left of deletions. Tells what keeps runs from
    /// being looked at, which is no reason to leave the others.
    pub fn abandoned(&self) -> anyhow::Result<Swept> {
        let (folders, others): (Vec<_>, Vec<_>) =
            self.entries()?.into_iter().partition(|(_, is_folder)| *is_folder);
        for (path, _) in others {
            // That of an `up` that was killed.
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(TURN.as_bytes())) {
                drop(free_turn(path));
            }
        }
        if folders.is_empty() {
            return Ok(Default::default());
        }
        let _guard = self.guard()?;
        let (boot, now) = (process::boot_id()?, Time::now());
        let (mut claims, mut untaken) = (Vec::new(), Vec::new());
        for (folder, _) in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(GONE) {
                let _ = files::remove_all(&folder);
                continue;
            }
            match Claim::take(&folder) {
                Ok(Taken::Free(claim)) => {
                    let why = claim.record.is_abandoned(&boot, now);
                    claims.extend(why.map(|why| (*claim, why)));
                }
                Ok(_) => {}
                Err(error) => untaken.push(error),
            }
        }
        Ok((claims, untaken))
    }

    /// What is there, and whether it is a folder.
    fn entries(&self) -> anyhow::Result<Vec<(PathBuf, bool)>> {
        let context = || format!("looking for runs in {}", self.runs.display());
        let entries = files::if_there(std::fs::read_dir(&self.runs)).with_context(context)?;
        let entries = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir()))));
        entries.collect::<Result<_, _>>().with_context(context)
    }

    fn timeout(&self) -> Duration {
        self.deadline.map_or(TIMEOUT, |deadline| deadline::left(deadline).min(TIMEOUT))
    }

    /// Held while a run's folder is made or looked at, so that nobody takes one that is half made for
    /// abandoned.
    fn guard(&self) -> anyhow::Result<File> {
        let path = self.runs.join(".lock");
        let context = || format!("locking {}", path.display());
        let file = files::open_lock(&path).with_context(context).hint(STATE_HINT)?;
        files::lock(file, self.timeout())
            .with_context(context)
            .hint("end the process that holds it: fuser tells which")
    }
}

/// `None` where nothing is noted.
fn read(folder: &Path) -> Result<Option<Record>, Unreadable> {
    let bytes = files::if_there(files::read(&folder.join(RECORD), files::MOST))
        .map_err(|error| Unreadable::new(folder, &error))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| Unreadable::damaged(folder, &error, &bytes))?;
    // What it says would be done to another run.
    if folder.file_name().is_none_or(|name| name != record.run_id.as_str()) {
        return Err(Unreadable::of_another(folder, &record.run_id, &bytes));
    }
    Ok(Some(record))
}

/// Whether a lock is what it was opened as: it may have been deleted since, and another one made in its place.
fn is_still_at(lock: &File, path: &Path) -> std::io::Result<bool> {
    let there = files::if_there(std::fs::symlink_metadata(path))?;
    let own = lock.metadata()?;
    Ok(there.is_some_and(|there| there.ino() == own.ino()))
}

/// A turn that nobody has; it is gone when this is.
fn free_turn(path: PathBuf) -> Option<Turn> {
    let lock = files::open(&path).ok()?;
    lock.try_lock().ok()?;
    is_still_at(&lock, &path).is_ok_and(|is| is).then_some(Turn { path, _lock: lock })
}

fn lock_file(folder: &Path) -> std::io::Result<File> {
    files::open_lock(&folder.join("lock"))
}

enum Taken {
    Free(Box<Claim>),
    Held,
    Unreadable(Unreadable, File),
    Nothing,
}

/// A run whose record is of no use, and that this process removes.
pub struct DamagedRun {
    folder: PathBuf,
    _lock: Option<File>,
}

impl DamagedRun {
    /// Where the run was noted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets the run, of which nothing is left.
    pub fn forget(self) -> anyhow::Result<()> {
        files::remove_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }
}

/// A run that this process works on.
pub struct Claim {
    /// What is noted; [`Claim::save`] makes changes lasting.
    pub record: Record,
    /// Where; nowhere if nothing can be written.
    home: Option<Home>,
}

/// A run's folder, and the lock in it that says whose the run is.
struct Home {
    folder: PathBuf,
    _lock: File,
}

impl Claim {
    fn take(folder: &Path) -> anyhow::Result<Taken> {
        let context = || format!("claiming {}", folder.display());
        let lock = files::if_there(lock_file(folder)).with_context(context).hint(STATE_HINT)?;
        let Some(lock) = lock else { return Ok(Taken::Nothing) };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(Taken::Held),
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
            Ok(()) => {}
        }
        if !is_still_at(&lock, &folder.join("lock")).with_context(context)? {
            return Ok(Taken::Nothing);
        }
        let record = match read(folder) {
            Ok(record) => record,
            Err(unreadable) => return Ok(Taken::Unreadable(unreadable, lock)),
        };
        if let Some(record) = record {
            let home = Home { folder: folder.to_owned(), _lock: lock };
            return Ok(Taken::Free(Box::new(Self { record, home: Some(home) })));
        }
        // Its maker was killed before it had noted anything. What else is in there is somebody's own.
        let _ = std::fs::remove_file(folder.join("lock"));
        let _ = std::fs::remove_dir(folder);
        Ok(Taken::Nothing)
    }

    /// A run that only this process knows of, where nothing can be written: nobody finds it when the process
    /// is killed.
    pub fn unnoted(record: Record) -> Self {
        Self { record, home: None }
    }

    /// The run's folder, if it is noted.
    pub fn folder(&self) -> Option<&Path> {
        self.home.as_ref().map(|home| home.folder.as_path())
    }

    /// Makes changes of the record lasting.
    pub fn save(&self) -> anyhow::Result<()> {
        let Some(folder) = self.folder() else { return Ok(()) };
        files::write(&folder.join(RECORD), &serde_json::to_string(&self.record)?, 0o600)
    }

    /// Forgets the run, of which nothing is left: its folder vanishes in one step.
    pub fn forget(self) -> anyhow::Result<()> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let name = format!("{GONE}{}-{}", self.record.run_id, std::process::id());
        let gone = folder.with_file_name(name);
        std::fs::rename(folder, &gone).with_context(|| format!("removing {}", folder.display()))?;
        // What is left of it is deleted by the next command.
        let _ = files::remove_all(&gone);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(folder: &Path) -> Registry {
        let runs = folder.join("runs");
        files::make_folder(&runs).unwrap();
        Registry { runs, deadline: None }
    }

    fn record(run_id: &str) -> Record {
        let local = LocalRun {
            boot: process::boot_id().unwrap(),
            data: "/nonexistent".into(),
            ..LocalRun::default()
        };
        Record::new(&RunId::parse(run_id).unwrap(), Place::Local(local))
    }

    #[test]
    fn a_run_is_claimed_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(folder.path());
        let id = RunId::parse("run-1").unwrap();
        let mut claim = registry.add(record("run-1")).unwrap();
        assert!(registry.add(record("run-1")).is_err());
        assert!(matches!(registry.claim(&id).unwrap(), Found::Held(_)));
        assert!(registry.abandoned().unwrap().0.is_empty());
        claim.record.phase = Phase::Up;
        claim.save().unwrap();
        drop(claim);
        assert!(registry.abandoned().unwrap().0.is_empty(), "one that is up is nobody's");
        let Found::Free(claim) = registry.claim(&id).unwrap() else { panic!("it is free") };
        assert_eq!(claim.record.phase, Phase::Up);
        claim.forget().unwrap();
        assert!(matches!(registry.claim(&id).unwrap(), Found::Absent));
        assert!(registry.entries().unwrap().iter().all(|(_, is_folder)| !is_folder));
    }

    #[test]
    fn what_its_maker_did_not_finish_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(folder.path());
        drop(registry.add(record("run-1")).unwrap());
        std::fs::create_dir(registry.folder("run-2")).unwrap();
        std::fs::create_dir(registry.folder(".gone-run-3-1")).unwrap();
        let mut rebooted = record("run-4");
        rebooted.phase = Phase::Up;
        if let Place::Local(local) = &mut rebooted.place {
            local.boot = "another".into();
        }
        drop(registry.add(rebooted).unwrap());
        let (mut claims, _) = registry.abandoned().unwrap();
        claims.sort_by(|(one, _), (other, _)| one.record.run_id.cmp(&other.record.run_id));
        assert_eq!(
            claims.iter().map(|(claim, _)| claim.record.run_id.as_str()).collect::<Vec<_>>(),
            ["run-1", "run-4"]
        );
        claims.into_iter().for_each(|(claim, _)| claim.forget().unwrap());
        assert!(registry.entries().unwrap().iter().all(|(_, is_folder)| !is_folder));
    }
}
