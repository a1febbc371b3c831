//! The state and cache folders of this user, and what several of testbed's files in them have in common.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files;
use crate::time::Time;

/// What to do about a state folder that cannot be used.
pub const STATE_HINT: &str = "set XDG_STATE_HOME to a folder that can be written";
/// What to do about a cache folder that cannot be used.
pub const CACHE_HINT: &str = "set XDG_CACHE_HOME to a folder that can be written";

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

/// The folder of the user's own settings; `None` where neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub fn config_folder() -> Option<PathBuf> {
    xdg("XDG_CONFIG_HOME", ".config")
}

fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))?;
    Some(base.join("testbed"))
}

/// The hash under which a config file is remembered.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a config file, by the hash of what was written, unless somebody has changed it since. What is no
/// regular file is not one that was written.
///
/// # Errors
/// What kept it from being removed.
pub fn remove_written(path: &Path, written: &str) -> std::io::Result<()> {
    let is_written = files::read(path, files::MOST).is_ok_and(|bytes| hash(&bytes) == written);
    // Another `testbed up` in the folder may be faster.
    if is_written { files::if_there(std::fs::remove_file(path)).map(drop) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_file_is_removed_unless_it_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("testing-databases.json");
        std::fs::write(&file, "[]").unwrap();
        remove_written(&file, &hash(b"other")).unwrap();
        assert!(file.exists());
        remove_written(&file, &hash(b"[]")).unwrap();
        assert!(!file.exists());
        remove_written(&file, &hash(b"[]")).unwrap();
    }
}
