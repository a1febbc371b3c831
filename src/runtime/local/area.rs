//! Where the local runtime keeps things: data folders below the state folder, prepared ones below the cache.
//! When testbed runs as root its servers run as another user, who has to be able to reach both.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::failure::Advise;
use crate::state::{CACHE_HINT, STATE_HINT};
use crate::{files, state};

/// Root's folders where its own cannot be reached by others.
const SHARED: (&str, &str) = ("/var/lib/testbed", "/var/cache/testbed");

/// The folders of this user, made when they are asked for.
#[derive(Debug, Clone)]
pub struct Area {
    /// Data folders, one folder a run.
    pub data: PathBuf,
    /// Prepared data folders, and what is known of the installed servers.
    pub cache: PathBuf,
}

/// The folder of what can be made again, whether it is there or not.
pub fn cache() -> Option<PathBuf> {
    Some(choose(state::cache_folder()?, SHARED.1).join("prepared"))
}

/// The folder of snapshots, whether it is there or not.
pub fn snapshots() -> Option<PathBuf> {
    Some(choose(state::folder()?, SHARED.0).join(SNAPSHOTS))
}

/// Beside the data of runs.
const SNAPSHOTS: &str = "snapshots";

/// A folder of this user's own, or in its place one that the servers' user can reach.
fn choose(own: PathBuf, shared: &str) -> PathBuf {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || is_reachable(&own) { own } else { PathBuf::from(shared) }
}

impl Area {
    /// Below `XDG_STATE_HOME` and `XDG_CACHE_HOME`; for root below `/var` where these cannot be reached by
    /// the servers' user.
    ///
    /// # Errors
    /// When neither these variables nor `HOME` are set, or a folder cannot be made.
    pub fn open() -> anyhow::Result<Self> {
        let (state, cache) = (state::folder(), state::cache_folder());
        let (Some(state), Some(cache)) = (state, cache) else {
            return Err(anyhow!(
                "there is no folder for the data: neither XDG_STATE_HOME and XDG_CACHE_HOME nor HOME are set"
            ))
            .hint("set HOME");
        };
        files::check_names(&[&state, &cache])?;
        let area = Self {
            data: choose(state, SHARED.0).join("data"),
            cache: choose(cache, SHARED.1).join("prepared"),
        };
        files::make_folder(&area.data)
            .and_then(|()| files::let_servers_pass(&area.data))
            .with_context(|| format!("making the state folder {}", area.data.display()))
            .hint(STATE_HINT)?;
        files::make_folder(&area.cache)
            .and_then(|()| files::let_servers_pass(&area.cache))
            .with_context(|| format!("making the cache folder {}", area.cache.display()))
            .hint(CACHE_HINT)?;
        Ok(area)
    }
}

impl Area {
    /// Where snapshots are, whether it is there or not.
    pub fn snapshots(&self) -> PathBuf {
        self.data.with_file_name(SNAPSHOTS)
    }
}

/// The file in a run's folder that tells where the run is noted.
const NOTE: &str = "registry";

/// Notes in a run's folder where the run is noted, for whoever finds the folder without its record.
pub fn note_registry(run: &Path, registry: &Path) -> anyhow::Result<()> {
    let text = registry.to_str().with_context(|| format!("{} is no UTF-8", registry.display()))?;
    crate::files::write(&run.join(NOTE), text, 0o600)
}

/// Where the run of a data folder is noted, if it says so.
pub fn registry_of(run: &Path) -> anyhow::Result<Option<PathBuf>> {
    let note = run.join(NOTE);
    let path =
        files::if_there(files::read(&note, 4096)).with_context(|| format!("reading {}", note.display()))?;
    let path = path.and_then(|path| String::from_utf8(path).ok());
    Ok(path.map(PathBuf::from).filter(|path| path.is_absolute()))
}

impl Area {
    /// The folders of runs, on disk and in memory.
    pub fn runs(&self) -> anyhow::Result<Vec<PathBuf>> {
        let in_memory = own_memory();
        let is_own = in_memory
            .symlink_metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw());
        let places = [Some(&self.data), is_own.then_some(&in_memory)];
        let mut runs = Vec::new();
        for place in places.into_iter().flatten() {
            let context = || format!("looking for data in {}", place.display());
            for entry in std::fs::read_dir(place).with_context(context)? {
                let entry = entry.with_context(context)?;
                if entry.file_type().with_context(context)?.is_dir() {
                    runs.push(entry.path());
                }
            }
        }
        Ok(runs)
    }
}

/// The machine's file system in memory, where it has one.
const MEMORY: &str = "/dev/shm";

/// Less than this is a container's default, which one server's data would fill.
const ENOUGH: u64 = 256 << 20;

/// The machine's memory, where that has room.
pub fn memory() -> anyhow::Result<&'static Path> {
    let room = rustix::fs::statvfs(MEMORY).with_context(|| format!("looking at {MEMORY}"))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    anyhow::ensure!(free >= ENOUGH, "{MEMORY} has only {} MiB free", free >> 20);
    Ok(Path::new(MEMORY))
}

/// A folder of this user in the machine's memory.
pub fn in_memory() -> anyhow::Result<PathBuf> {
    memory()?;
    let own = own_memory();
    files::make_folder(&own).with_context(|| format!("making {}", own.display()))?;
    // Anybody can make a folder of this name there.
    let found = std::fs::symlink_metadata(&own).with_context(|| format!("looking at {}", own.display()))?;
    anyhow::ensure!(
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw(),
        "{} belongs to somebody else",
        own.display()
    );
    Ok(own)
}

fn own_memory() -> PathBuf {
    Path::new(MEMORY).join(format!("testbed-{}", rustix::process::geteuid().as_raw()))
}

/// Takes this user's folder in memory away with the last run in it: unlike a cache it is in everybody's
/// sight, and of no use by itself.
pub fn leave_memory(run: &Path) {
    if let Some(own) = run.parent().filter(|own| own.starts_with(MEMORY)) {
        let _ = std::fs::remove_dir(own);
    }
}

/// Whether any user may pass through every folder that exists on the way.
fn is_reachable(folder: &Path) -> bool {
    folder
        .ancestors()
        .all(|folder| std::fs::metadata(folder).map_or(true, |metadata| metadata.mode() & 0o001 != 0))
}
