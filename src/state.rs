//! What the last `up` in a folder made, so that a plain `down` in the same folder finds it: one small file a
//! folder, below `$XDG_STATE_HOME/testbed` (`~/.local/state/testbed`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files;
use crate::location::Beyond;
use crate::run_id::RunId;
use crate::time::Time;

/// What to do about a state folder that cannot be used.
pub const STATE_HINT: &str = "set XDG_STATE_HOME to a folder that can be written";
/// What to do about a cache folder that cannot be used.
pub const CACHE_HINT: &str = "set XDG_CACHE_HOME to a folder that can be written";

/// A remembered run. Holds no password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The folder that `up` was called in.
    pub folder: PathBuf,
    pub run_id: String,
    /// Whether it is on this machine.
    #[serde(default)]
    pub local: bool,
    /// `--kubeconfig`, as an absolute path.
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub namespace: String,
    /// Where else in the cluster it has objects.
    #[serde(default)]
    pub beyond: Beyond,
    /// The config file that was written, and the hash of its content.
    pub output: Option<(PathBuf, String)>,
    /// What proved that each database was ready, by its workload (`Kind/name`) and container.
    #[serde(default)]
    pub ready: BTreeMap<String, BTreeMap<String, Ready>>,
}

/// What proved that a database was ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The kind of evidence: `process-1`, `log` or `settled`.
    pub evidence: String,
    pub detail: String,
    /// When.
    pub at: Time,
}

/// The state folder; `None` where neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn folder() -> Option<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state")
}

/// The cache folder; `None` where neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache_folder() -> Option<PathBuf> {
    xdg("XDG_CACHE_HOME", ".cache")
}

fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))?;
    Some(base.join("testbed"))
}

fn file_for(state: &Path, folder: &Path) -> PathBuf {
    state.join("folders").join(format!("{}.json", hash(folder.as_os_str().as_encoded_bytes())))
}

/// The hash under which a config file is remembered.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a config file, by its path and the hash of what was written, unless somebody has changed it since.
pub fn remove_written(output: Option<&(PathBuf, String)>) {
    if let Some((path, written)) = output {
        let _ = remove_written_file(path, written);
    }
}

/// The same, and tells what kept it from being removed. What is no regular file is not one that was written.
pub fn remove_written_file(path: &Path, written: &str) -> std::io::Result<()> {
    let is_written = files::read(path, files::MOST).is_ok_and(|bytes| hash(&bytes) == written);
    // Another `testbed up` in the folder may be faster.
    if is_written { files::if_there(std::fs::remove_file(path)).map(drop) } else { Ok(()) }
}

/// The config files that are remembered, in whatever folder they were asked for.
pub fn outputs() -> Vec<(PathBuf, String)> {
    folder()
        .into_iter()
        .flat_map(|state| Remembered::all(&state))
        .filter_map(|remembered| remembered.output)
        .collect()
}

impl Remembered {
    /// Notes it for a later command in its folder: a convenience, which nobody misses where nothing can be
    /// written.
    pub fn note(&self) {
        if let Some(state) = folder() {
            let _ = self.save(&state);
        }
    }

    pub fn save(&self, state: &Path) -> anyhow::Result<()> {
        let path = file_for(state, &self.folder);
        let parent = path.parent().unwrap_or(state);
        files::make_folder(parent).with_context(|| format!("making {}", parent.display()))?;
        files::write(&path, &serde_json::to_string(self)?, 0o600)
    }

    /// Reads the memory of a folder; `None` if there is none.
    pub fn load(state: &Path, folder: &Path) -> anyhow::Result<Option<Self>> {
        Self::read(&file_for(state, folder))
    }

    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let context =
            || format!("what this folder remembers of its last run, {}, cannot be read", path.display());
        let Some(bytes) = files::if_there(files::read(path, files::MOST)).with_context(context)? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes).map_err(|error| anyhow!(files::damage(&error)));
        read.map(Some).with_context(context)
    }

    /// Those of all folders that can be read.
    fn all(state: &Path) -> impl Iterator<Item = Self> + use<> {
        let entries = std::fs::read_dir(state.join("folders")).into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::read(&entry.path()).ok()?)
    }

    /// The memory of the current folder.
    pub fn here() -> anyhow::Result<Option<Self>> {
        // A current folder that was deleted remembers nothing.
        let (Some(state), Ok(here)) = (folder(), std::env::current_dir()) else { return Ok(None) };
        Self::load(&state, &here)
    }

    /// Forgets a run that is gone, if it is the one that the current folder remembers. What cannot be read
    /// stays, and is told to whoever needs it.
    pub fn forget_run(run_id: &RunId) {
        if let Ok(here) = std::env::current_dir() {
            Self::forget_run_of(&here, run_id.as_str());
        }
    }

    /// The same for another folder.
    pub fn forget_run_of(called_in: &Path, run_id: &str) {
        if let Some(state) = folder()
            && let Ok(Some(remembered)) = Self::load(&state, called_in)
            && remembered.run_id == run_id
        {
            remembered.forget(&state);
        }
    }

    /// The same for a run of this machine that is known by nothing but its id.
    pub fn forget_local_run(run_id: &str) {
        let Some(state) = folder() else { return };
        let is_meant = |remembered: &Self| remembered.local && remembered.run_id == run_id;
        Self::all(&state).filter(is_meant).for_each(|remembered| remembered.forget(&state));
    }

    /// Forgets the run, and removes the config file that it left unless somebody has changed it since.
    fn forget(&self, state: &Path) {
        remove_written(self.output.as_ref());
        let _ = std::fs::remove_file(file_for(state, &self.folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(output: Option<(PathBuf, String)>) -> Remembered {
        let folder = PathBuf::from("/project");
        Remembered {
            folder,
            run_id: "run-1".into(),
            namespace: "default".into(),
            output,
            ..Remembered::default()
        }
    }

    #[test]
    fn a_folder_remembers_until_it_forgets() {
        let state = tempfile::tempdir().unwrap();
        let run = remembered(None);
        run.save(state.path()).unwrap();
        assert_eq!(Remembered::load(state.path(), Path::new("/project")).unwrap(), Some(run.clone()));
        assert_eq!(Remembered::load(state.path(), Path::new("/other")).unwrap(), None);
        run.forget(state.path());
        assert_eq!(Remembered::load(state.path(), Path::new("/project")).unwrap(), None);
    }

    #[test]
    fn forgetting_removes_the_config_file_unless_it_was_changed() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("testing-databases.json");
        std::fs::write(&file, "[]").unwrap();
        remembered(Some((file.clone(), hash(b"other")))).forget(state.path());
        assert!(file.exists());
        remembered(Some((file.clone(), hash(b"[]")))).forget(state.path());
        assert!(!file.exists());
    }
}
