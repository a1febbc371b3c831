//! Who holds a lock for whom nobody has given an id: the folder remembers it, so that a plain `testbed lock
//! release` in the same folder works. One small file a lock, below the state folder.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::failure::Advise;
use crate::files;
use crate::reading;
use crate::state;

/// Where the holder of one lock is remembered.
pub struct Memory(PathBuf);

impl Memory {
    /// The memory of the current folder for locks that are told apart by `names`, such as server, namespace
    /// and name. `None` where there is no state folder.
    pub fn of(names: &[&str]) -> Option<Self> {
        let here = std::env::current_dir().ok()?;
        Some(Self::below(&state::folder()?, &here, names))
    }

    fn below(state: &Path, here: &Path, names: &[&str]) -> Self {
        let mut key = here.as_os_str().as_encoded_bytes().to_vec();
        for name in names {
            key.push(0);
            key.extend(name.as_bytes());
        }
        Self(state.join("locks").join(state::hash(&key)))
    }

    /// The run id.
    pub fn load(&self) -> anyhow::Result<Option<String>> {
        let text = files::if_there(reading::text(&self.0, reading::MOST));
        let text =
            text.with_context(|| format!("reading whose lock this folder remembers, {}", self.0.display()));
        Ok(text.hint("pass --run-id")?.filter(|text| !text.is_empty()))
    }

    /// The same where it is needed: not for a run id that was `given`, nor where nothing can be remembered.
    pub fn load_unless(given: Option<&String>, memory: Option<&Self>) -> anyhow::Result<Option<String>> {
        memory.filter(|_| given.is_none()).map_or(Ok(None), Self::load)
    }

    pub fn save(&self, run_id: &str) -> anyhow::Result<()> {
        if let Some(folder) = self.0.parent() {
            files::make_folder(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        files::write(&self.0, run_id, 0o600)
    }

    pub fn forget(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_remembers_each_lock_by_itself() {
        let state = tempfile::tempdir().unwrap();
        let memory =
            |folder: &str, name: &str| Memory::below(state.path(), Path::new(folder), &["server", name]);
        memory("/a", "db").save("run-1").unwrap();
        assert_eq!(memory("/a", "db").load().unwrap().as_deref(), Some("run-1"));
        assert_eq!((memory("/b", "db").load().unwrap(), memory("/a", "other").load().unwrap()), (None, None));
        memory("/a", "db").forget();
        assert_eq!(memory("/a", "db").load().unwrap(), None);
        std::fs::create_dir(&memory("/a", "db").0).unwrap();
        assert!(memory("/a", "db").load().is_err(), "what cannot be read is not absent");
    }
}
