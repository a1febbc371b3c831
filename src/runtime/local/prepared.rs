//! Data folders that are made once and copied for each run: one entry of the cache for each server build and
//! settings.
//!
//! An entry is made aside and renamed into its place, under an exclusive lock; it is copied under a shared
//! one. What is in it belongs to the caller, also where the servers' user made it, and is compared with a
//! list of names, lengths and times, so that one that was changed is made anew.

mod limit;
mod spare;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use super::account::{self, Account};
use super::copy::{self, Size};
use super::sealed::{Sealed, Sealing};
use super::{processes, room};
use crate::background;
use crate::failure::Advise;
use crate::registry::{Registry, Source};
use crate::state::{CACHE_HINT, STATE_HINT};
use crate::{files, state};

pub use limit::{Kept, SeedLimit, keep_within, kept};
use spare::remove_spares;

/// Changes with the way in which folders are prepared: entries of another way are not used.
const RECIPE: &str = "3";

/// An entry that nobody has used for this long goes when a new one is made: its server was probably replaced
/// by a newer one.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// An entry's own file; without it the entry is not complete.
const ENTRY: &str = "entry.json";

#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    /// The administrator's password in the prepared folder, until a run sets its own.
    pub password: String,
    pub size: Size,
    /// What [`copy::manifest`] tells of it.
    manifest: String,
    /// The hash of what is noted of the seed that is in it.
    #[serde(default)]
    sealed: Option<String>,
}

pub struct Placed {
    /// The administrator's password in it.
    pub password: String,
    /// Where it came from, if it can go back there.
    pub source: Option<Source>,
    /// What has been put into it has the run's logins: those of them that each run gives its own password besides
    /// the usual ones. `None` where nothing has been put in yet.
    pub logins: Option<Vec<Sealing>>,
}

pub struct Stage<'a> {
    /// The programs work here; the server's user may not write to it.
    pub folder: &'a Path,
    /// The data folder, to be made for the server's user.
    pub data: PathBuf,
    /// The password to give to the administrator.
    pub password: &'a str,
}

pub struct Prepared<'a> {
    cache: &'a Path,
    key: String,
}

impl<'a> Prepared<'a> {
    /// The entry for a recipe: a text that tells everything that shapes the folder.
    pub fn new(cache: &'a Path, recipe: &str) -> Self {
        Self { cache, key: digest(&format!("{RECIPE}\n{recipe}"), 24) }
    }

    /// The entry that a data folder came from.
    pub fn of(source: &'a Source) -> Self {
        Self { cache: &source.cache, key: source.key.clone() }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.cache.join(&self.key)
    }

    pub fn cache(&self) -> &'a Path {
        self.cache
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Puts a spare or a copy of the prepared folder at `to`, and makes the prepared folder first where there
    /// is none.
    pub async fn place_at(
        &self,
        to: &Path,
        account: Option<&Account>,
        make: impl AsyncFn(Stage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Placed> {
        // Once more after each of: there was none, there was a damaged one.
        for _ in 0..3 {
            match self.place_kept_at(to, account).await? {
                Some(placed) => return Ok(placed),
                None => self.make(account, &make).await?,
            }
        }
        Err(anyhow!("the prepared data folder {} does not stay as it was made", self.folder().display()))
            .hint("remove it, and see what else works in there")
    }

    /// The same where there is one already that is not damaged; a damaged one is removed.
    async fn place_kept_at(&self, to: &Path, account: Option<&Account>) -> anyhow::Result<Option<Placed>> {
        let lock = self.lock(false).await?;
        let Some(entry) = self.entry() else { return Ok(None) };
        let source = Source::new(self.cache, &self.key, &entry);
        let is_placed = source.take_spare(&entry, to, account).await
            || self.is_sound(&entry).await? && {
                let copied = match self.copy(to, account).await {
                    Err(_) if !self.folder().join("data").exists() => Size::default(),
                    copied => copied?,
                };
                copied == entry.size
            };
        if is_placed {
            // The time of the last use; without it the entry merely lives shorter.
            let _ = lock.set_modified(SystemTime::now());
            let logins = Sealed::read(&self.folder()).map(|sealed| sealed.logins);
            return Ok(Some(Placed { password: entry.password, source: Some(source), logins }));
        }
        drop(lock);
        remove(to)?;
        self.discard(&entry).await?;
        Ok(None)
    }

    pub(super) async fn is_sound(&self, entry: &Entry) -> anyhow::Result<bool> {
        let (data, manifest) = (self.folder().join("data"), entry.manifest.clone());
        background::run(move || is_as_made(&data, None, &manifest)).await
    }

    pub(super) async fn copy(&self, to: &Path, account: Option<&Account>) -> anyhow::Result<Size> {
        let (source, target, owner) = (self.folder().join("data"), to.to_owned(), account.cloned());
        let work =
            background::run(move || copy::copy(&source, account::owner(None), &target, owner.as_ref()));
        room::copied(work.await?, format!("copying the prepared data folder to {}", to.display()), STATE_HINT)
    }

    /// Removes the entry, unless somebody else has replaced it by now.
    pub async fn discard_as_broken(&self) -> anyhow::Result<()> {
        match self.entry() {
            Some(entry) => self.discard(&entry).await,
            None => Ok(()),
        }
    }

    async fn discard(&self, seen: &Entry) -> anyhow::Result<()> {
        let _lock = self.lock(true).await?;
        if self.entry().is_some_and(|entry| entry.password == seen.password) {
            remove(&self.folder())?;
            remove_spares(self.cache, &self.key)?;
        }
        Ok(())
    }

    async fn make(
        &self,
        account: Option<&Account>,
        make: &impl AsyncFn(Stage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let lock = self.lock(true).await?;
        if self.entry().is_some() {
            return Ok(());
        }
        let making = self.begin(lock).await?;
        let outcome = async {
            make(making.stage()).await?;
            making.finish(account, &[Sealed::file(&making.folder)]).await
        };
        let outcome = outcome.await;
        if outcome.is_err() {
            let _ = making.give_up().await;
        } else {
            remove_unused(self.cache);
        }
        outcome
    }

    /// Begins an entry, under its lock. One that is there is replaced when this one is finished.
    pub(super) async fn begin(&self, lock: File) -> anyhow::Result<InMaking> {
        let is_there = self.entry().is_some();
        if !is_there {
            remove(&self.folder())?;
        }
        remove_spares(self.cache, &self.key)?;
        let folder = self.cache.join(format!("{}.making", self.key));
        // One that was left by a process that was killed.
        remove_aside(&folder).await?;
        let context = || format!("making the folder {}", folder.display());
        files::make_folder(&folder).with_context(context).hint(CACHE_HINT)?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        Ok(InMaking { folder, place: self.folder(), password, is_there, _lock: lock })
    }

    pub(super) fn entry(&self) -> Option<Entry> {
        Entry::read(&self.folder())
    }

    /// Waits for the entry's lock. It ends with the file handle, also when the process is killed.
    pub(super) async fn lock(&self, is_exclusive: bool) -> anyhow::Result<File> {
        let path = self.cache.join(format!("{}.lock", self.key));
        let context = || format!("locking {}", path.display());
        let file = files::open_lock(&path).with_context(context).hint(CACHE_HINT)?;
        let attempt = if is_exclusive { file.try_lock() } else { file.try_lock_shared() };
        if attempt.is_ok() {
            return Ok(file);
        }
        let wait = move || if is_exclusive { file.lock() } else { file.lock_shared() }.map(|()| file);
        background::run_aside(wait).await?.with_context(context)
    }
}

impl Source {
    /// Whether a seed is in it.
    pub fn is_seeded(&self) -> bool {
        Sealed::read(&self.cache.join(&self.key)).is_some()
    }

    /// Puts a spare or a copy of the prepared folder at `to`, and tells what is known of the seed in it.
    ///
    /// # Errors
    /// It is not there any more, or cannot be copied.
    pub(super) async fn place_at(
        &self,
        to: &Path,
        account: Option<&Account>,
    ) -> anyhow::Result<Option<Vec<Sealing>>> {
        let prepared = Prepared { cache: &self.cache, key: self.key.clone() };
        let placed = prepared.place_kept_at(to, account).await?;
        let gone = || anyhow!("the prepared data folder {} is gone", prepared.folder().display());
        placed.map(|placed| placed.logins).ok_or_else(gone).hint("make the run anew")
    }
}

/// Whether a data folder, prepared or a copy for the account, has what its entry says, and nobody has written
/// to it.
fn is_as_made(data: &Path, account: Option<&Account>, manifest: &str) -> bool {
    copy::manifest(data, account::owner(account))
        .is_ok_and(|found| found.is_some_and(|found| found == manifest))
}

/// The entry's lock where nobody is to wait: `None` while another process has it.
fn try_lock_shared(cache: &Path, key: &str) -> Option<File> {
    let file = files::open_lock(&cache.join(format!("{key}.lock"))).ok()?;
    file.try_lock_shared().is_ok().then_some(file)
}

/// An entry that is being made.
pub(super) struct InMaking {
    /// The folder in which it is made.
    pub folder: PathBuf,
    /// Where it will be.
    place: PathBuf,
    password: String,
    /// Whether it takes the place of another one.
    is_there: bool,
    _lock: File,
}

impl InMaking {
    pub(super) fn stage(&self) -> Stage<'_> {
        Stage { folder: &self.folder, data: self.folder.join("made"), password: &self.password }
    }

    /// Puts it into its place, with these of its files beside the data.
    pub(super) async fn finish(&self, account: Option<&Account>, beside: &[PathBuf]) -> anyhow::Result<()> {
        let folder = &self.folder;
        let writing = || format!("making the prepared data folder {}", folder.display());
        // What the server's user has made, it may still hold open: the entry is a copy.
        let (own, owner) = (account::owner(None), account::owner(account));
        let (from, data) = (self.stage().data, folder.join("data"));
        let to = data.clone();
        let copied = background::run(move || copy::copy(&from, owner, &to, None)).await?;
        let size = room::copied(copied, writing(), CACHE_HINT)?;
        remove_but(folder, &[std::slice::from_ref(&data), beside].concat()).with_context(writing)?;
        let manifest = copy::manifest(&data, own)
            .with_context(writing)?
            .ok_or_else(|| anyhow!("it is changed while it is made"));
        let manifest = manifest.with_context(writing)?;
        let entry = Entry { password: self.password.clone(), size, manifest, sealed: Sealed::hash(folder) };
        files::write(&folder.join(ENTRY), &serde_json::to_string(&entry)?, 0o600)?;
        if !self.is_there {
            return std::fs::rename(folder, &self.place).with_context(writing);
        }
        files::exchange(folder, &self.place).with_context(writing)?;
        remove(folder)
    }

    /// Removes what was made of it, and whoever works on that.
    pub(super) async fn give_up(&self) -> anyhow::Result<()> {
        remove_aside(&self.folder).await
    }
}

impl Entry {
    /// `None` as well where what was noted of its seed is damaged or gone: it would be taken for a folder without
    /// a seed, and all be put in twice.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let entry: Self =
            serde_json::from_slice(&files::read(&folder.join(ENTRY), files::MOST).ok()?).ok()?;
        (entry.sealed == Sealed::hash(folder)).then_some(entry)
    }

    /// Tells this folder from another one that was made by the same recipe.
    fn id(&self) -> String {
        digest(&self.password, 8)
    }
}

/// A name of so many letters for a text.
fn digest(text: &str, length: usize) -> String {
    let mut name = state::hash(text.as_bytes());
    name.truncate(length);
    name
}

/// What was left in the cache by processes that were killed while they made an entry.
pub async fn sweep(cache: &Path) {
    for (path, key) in names(cache, ".making") {
        let lock = files::open_lock(&cache.join(format!("{key}.lock")));
        // Held until the folder is gone, so that nobody makes it anew meanwhile.
        if let Ok(lock) = lock
            && lock.try_lock().is_ok()
        {
            let _ = remove_aside(&path).await;
        }
    }
}

/// Removes a folder whose maker is gone, after the programs that it has started and that do not know.
async fn remove_aside(aside: &Path) -> anyhow::Result<()> {
    let found = processes::preparing(aside);
    processes::quit_postgres(&found, Duration::from_secs(2)).await;
    let seeding = processes::seeding(aside);
    let find = || processes::preparing(aside).into_iter().chain(processes::with_variable(&seeding)).collect();
    let ended = processes::end(find).await;
    ended.map_err(|left| anyhow!("processes that work in {} do not end: {left:?}", aside.display()))?;
    remove(aside)
}

/// Removes entries that nobody has used for a month, and tells how many.
pub fn remove_unused(cache: &Path) -> usize {
    let is_old = |path: &Path| {
        let used = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        used.is_ok_and(|used| used.elapsed().is_ok_and(|age| age > UNUSED))
    };
    let in_use = in_use();
    let is_unused = |(path, key): &(PathBuf, String)| is_old(path) && !in_use.contains(key);
    let old: Vec<_> = names(cache, ".lock").into_iter().filter(is_unused).collect();
    let mut count = 0;
    for (path, key) in old {
        // Held until the entry is gone, so that nobody copies half of it. The lock's own file stays: another
        // one of the same name would be another lock.
        let lock = files::open_lock(&path);
        if lock.is_ok_and(|lock| {
            lock.try_lock().is_ok()
                && cache.join(&key).exists()
                && remove(&cache.join(&key)).and_then(|()| remove_spares(cache, &key)).is_ok()
        }) {
            count += 1;
        }
    }
    count
}

/// The entries that servers came from whose runs are there: who restores one needs them again.
fn in_use() -> BTreeSet<String> {
    let records = Registry::find().and_then(|registry| registry.records().ok());
    let records = records.map(|(records, _)| records).unwrap_or_default();
    let servers = records.iter().filter_map(|record| record.local()).flat_map(|local| &local.servers);
    servers.filter_map(|server| server.source.as_ref()).map(|source| source.key.clone()).collect()
}

pub(super) fn names(cache: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            Some((entry.path(), entry.file_name().to_str()?.strip_suffix(ending)?.to_owned()))
        })
        .collect()
}

/// Removes what was needed to make an entry, and is no part of it.
fn remove_but(folder: &Path, kept: &[PathBuf]) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if kept.contains(&path) {
            continue;
        }
        files::remove_all(&path)?;
    }
    Ok(())
}

/// Removes a folder that may not be there.
pub(super) fn remove(folder: &Path) -> anyhow::Result<()> {
    let removed = files::if_there(files::remove_all(folder)).map(drop);
    removed.with_context(|| format!("removing {}", folder.display())).hint(CACHE_HINT)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn make(stage: Stage<'_>, made: &Cell<usize>) -> anyhow::Result<()> {
        made.set(made.get() + 1);
        std::fs::create_dir(&stage.data)?;
        Ok(std::fs::write(stage.data.join("file"), "content")?)
    }

    #[tokio::test]
    async fn an_entry_is_made_once_and_again_when_it_is_damaged() {
        let cache = tempfile::tempdir().unwrap();
        let made = Cell::new(0);
        let prepared = Prepared::new(cache.path(), "recipe");
        let copy = async |name: &str| {
            let to = cache.path().join(name);
            let placed = prepared
                .place_at(&to, None, async |stage: Stage<'_>| make(stage, &made).await)
                .await
                .unwrap();
            (std::fs::read_to_string(to.join("file")).unwrap(), placed.password)
        };
        let first = copy("one").await;
        assert_eq!(first, copy("two").await);
        assert_eq!(made.get(), 1);
        std::fs::write(prepared.folder().join("data/file"), "cut").unwrap();
        assert_eq!(copy("three").await.0, "content");
        assert_eq!(made.get(), 2);
        std::fs::remove_file(prepared.folder().join(ENTRY)).unwrap();
        copy("four").await;
        assert_eq!(made.get(), 3);
        assert_eq!(Prepared::new(cache.path(), "recipe").folder(), prepared.folder());
        assert_ne!(Prepared::new(cache.path(), "other").folder(), prepared.folder());
    }

    #[tokio::test]
    async fn an_entry_whose_seed_is_not_what_was_noted_of_it_is_made_again() {
        let cache = tempfile::tempdir().unwrap();
        let made = Cell::new(0);
        let prepared = Prepared::new(cache.path(), "recipe");
        let noted = |stage: &Stage<'_>| std::fs::write(Sealed::file(stage.folder), "{\"made\": 1}");
        let place = async |name: &str| {
            let work = async |stage: Stage<'_>| {
                noted(&stage)?;
                make(stage, &made).await
            };
            prepared.place_at(&cache.path().join(name), None, work).await.unwrap();
            made.get()
        };
        assert_eq!((place("one").await, place("two").await), (1, 1));
        let file = Sealed::file(&prepared.folder());
        std::fs::write(&file, "{").unwrap();
        assert_eq!((place("three").await, place("four").await), (2, 2));
        std::fs::remove_file(&file).unwrap();
        assert_eq!((place("five").await, place("six").await), (3, 3));
        assert!(file.exists());
    }

    #[tokio::test]
    async fn a_used_folder_is_a_spare_for_the_next_run() {
        let cache = tempfile::tempdir().unwrap();
        let made = Cell::new(0);
        let prepared = Prepared::new(cache.path(), "recipe");
        let place = async |name: &str| {
            let to = cache.path().join(name);
            let placed = prepared
                .place_at(&to, None, async |stage: Stage<'_>| make(stage, &made).await)
                .await
                .unwrap();
            (to, placed)
        };
        let (one, placed) = place("one").await;
        std::fs::write(one.join("file"), "of a run").unwrap();
        std::fs::write(one.join("other"), "of a run").unwrap();
        placed.source.as_ref().unwrap().keep(&one, None).await;
        assert!(!one.exists());
        let [spare] = &placed.source.as_ref().unwrap().spares()[..] else { panic!("one spare") };
        assert_eq!(std::fs::read_dir(spare).unwrap().count(), 1);
        // Nobody is meant to touch it there; it does no harm.
        std::fs::write(spare.join("file"), "touched").unwrap();
        let (two, again) = place("two").await;
        assert_eq!(std::fs::read_to_string(two.join("file")).unwrap(), "content");
        let spares = again.source.unwrap().spares().len();
        assert_eq!((&again.password, spares, made.get()), (&placed.password, 0, 1));
        // One of an entry that was replaced meanwhile is of no use to the new one.
        prepared.discard_as_broken().await.unwrap();
        let (_three, _) = place("three").await;
        let source = placed.source.unwrap();
        source.keep(&two, None).await;
        assert!(two.exists() && source.spares().is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_made_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let prepared = Prepared::new(cache.path(), "recipe");
        let to = cache.path().join("to");
        let error =
            prepared.place_at(&to, None, async |_: Stage<'_>| Err(anyhow!("no"))).await.err().unwrap();
        assert_eq!(error.to_string(), "no");
        let left: Vec<_> =
            std::fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [format!("{}.lock", prepared.key).as_str()]);
    }
}
