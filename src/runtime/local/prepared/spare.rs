//! Spares: a copy that a run has used is put back as it was and kept, and the next run takes it by a rename,
//! which is a hundred times faster than making a thousand files.

use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Entry, is_as_made, remove, try_lock_shared};
use crate::background;
use crate::files;
use crate::registry::Source;
use crate::runtime::local::account::{Account, hand_over};
use crate::runtime::local::restore;

/// Between an entry's name and a spare's.
pub(super) const SPARE: &str = ".spare-";

/// How many spares an entry has at most: runs side by side need more than one.
fn most_spares() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(4)
}

impl Source {
    pub(super) fn new(cache: &Path, key: &str, entry: &Entry) -> Self {
        Self { cache: cache.to_owned(), key: key.to_owned(), id: entry.id() }
    }

    /// What the names of its spares begin with.
    fn prefix(&self) -> String {
        format!("{}.{}{SPARE}", self.key, self.id)
    }

    pub(super) fn spares(&self) -> Vec<PathBuf> {
        let prefix = self.prefix();
        let entries = std::fs::read_dir(&self.cache).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect()
    }

    /// Takes a spare for a run, if there is one that can be moved there. What somebody may have done to it in
    /// the cache is undone, unless the prepared folder was changed as well.
    pub(super) async fn take_spare(&self, entry: &Entry, to: &Path, account: Option<&Account>) -> bool {
        if !self.spares().iter().any(|spare| std::fs::rename(spare, to).is_ok()) {
            return false;
        }
        let (prepared, data, owner) =
            (self.cache.join(&self.key).join("data"), to.to_owned(), account.cloned());
        let manifest = entry.manifest.clone();
        let work = background::run(move || {
            let is_whole = is_as_made(&data, owner.as_ref(), &manifest)
                || is_as_made(&prepared, None, &manifest)
                    && restore::restore(&prepared, &data, owner.as_ref()).is_ok();
            let is_taken = is_whole && hand_over(&data, owner.as_ref()).is_ok();
            if !is_taken {
                let _ = files::remove_all(&data);
            }
            is_taken
        });
        work.await.unwrap_or(false)
    }

    /// Keeps a data folder that no server uses any more as a spare, put back as it was prepared. It stays
    /// where it is when there are spares enough, its prepared folder is gone, or it cannot be moved.
    pub async fn keep(&self, data: &Path, account: Option<&Account>) {
        let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
        if self.spares().len() >= most_spares() || device(data) != device(&self.cache) {
            return;
        }
        // Whoever works on the entry is not waited for: the run goes all the same.
        let Some(_lock) = try_lock_shared(&self.cache, &self.key) else { return };
        let prepared = self.cache.join(&self.key);
        if Entry::read(&prepared).is_none_or(|entry| entry.id() != self.id) {
            return;
        }
        let name = format!("{}{}", self.prefix(), &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let (spare, data, owner) = (self.cache.join(name), data.to_owned(), account.cloned());
        let work = move || {
            restore::restore(&prepared.join("data"), &data, owner.as_ref())?;
            std::fs::rename(&data, &spare)
        };
        let _ = background::run(work).await;
    }
}

/// Removes all spares of an entry, whichever of its states they come from.
pub(super) fn remove_spares(cache: &Path, key: &str) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let is_spare = |name: &str| name.strip_prefix(key).is_some_and(|rest| rest.contains(SPARE));
    entries
        .filter(|entry| is_spare(&entry.file_name().to_string_lossy()))
        .try_for_each(|entry| remove(&entry.path()))
}
