//! How much room the seeds may take: those that were used last stay.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Entry, in_use, names, remove, remove_spares};
use crate::files;
use crate::manifest::quantity::Quantity;
use crate::runtime::local::room;
use crate::runtime::local::sealed::Sealed;
use crate::time::Time;

/// What all seeds together may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedLimit(u64);

impl SeedLimit {
    /// Reads `500Mi`, `10Gi` or `2G`.
    ///
    /// # Errors
    /// It is no size.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = Quantity::parse(text).and_then(Quantity::count);
        bytes.map(Self).ok_or_else(|| "write a size such as 500Mi or 10Gi".to_owned())
    }

    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// A seed in the cache.
pub struct Kept {
    pub key: String,
    pub sealed: Sealed,
    /// How much a copy takes that shares no blocks, in bytes.
    pub own: u64,
    /// Its own size and that of the copies that are kept ready and share no blocks with it, in bytes.
    pub size: u64,
    pub used: Time,
}

/// All seeds, the one that was used last first.
pub fn kept(cache: &Path) -> Vec<Kept> {
    let shares_blocks = room::why_not_shared(cache, cache).is_ok_and(|why_not| why_not.is_none());
    let seed = |(lock, key): (PathBuf, String)| {
        let folder = cache.join(&key);
        let (sealed, entry) = (Sealed::read(&folder)?, Entry::read(&folder)?);
        let prefix = format!("{key}.{}{}", entry.id(), super::spare::SPARE);
        let spares = std::fs::read_dir(cache).ok()?.flatten();
        let spares = spares.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).count();
        let copies = if shares_blocks { 1 } else { 1 + u64::try_from(spares).unwrap_or_default() };
        let used = std::fs::metadata(lock).and_then(|metadata| metadata.modified()).ok()?;
        let used = Timestamp::try_from(used).ok()?.into();
        let own = entry.size.bytes;
        Some(Kept { key, sealed, own, size: own.saturating_mul(copies), used })
    };
    let mut seeds: Vec<Kept> = names(cache, ".lock").into_iter().filter_map(seed).collect();
    seeds.sort_by_key(|seed| std::cmp::Reverse(seed.used));
    seeds
}

/// Removes seeds until the others take no more than told, those first that nobody has used for the longest
/// time. One that somebody works with, those of runs that are there, and the one that was used last, stay. Tells
/// how many went.
pub fn keep_within(cache: &Path, limit: u64) -> usize {
    let in_use = in_use();
    let mut sum = 0_u64;
    let mut count = 0;
    for (index, seed) in kept(cache).into_iter().enumerate() {
        sum = sum.saturating_add(seed.size);
        if index == 0 || sum <= limit || in_use.contains(&seed.key) {
            continue;
        }
        let Ok(lock) = files::open_lock(&cache.join(format!("{}.lock", seed.key))) else { continue };
        let is_gone = lock.try_lock().is_ok()
            && remove(&cache.join(&seed.key)).and_then(|()| remove_spares(cache, &seed.key)).is_ok();
        if is_gone {
            sum -= seed.size;
            count += 1;
        }
    }
    count
}
