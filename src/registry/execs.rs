//! The commands of `exec`, of which any number use a run side by side: each is noted by a file of its own in the
//! run's folder, so that the command of one that was killed can be ended.

use std::path::{Path, PathBuf};

use super::record::mark;
use crate::files;
use crate::process::Process;

/// Before the process of an `exec` in the name of its note.
const EXEC: &str = "exec-";

/// An `exec` that runs a command on a run.
pub struct Exec {
    note: PathBuf,
    /// The variable by which the command's processes are told, `NAME=value`.
    pub mark: String,
}

impl Exec {
    /// Notes that this process is one; `None` where nothing can be noted.
    pub fn note(run: &Path) -> Option<Self> {
        let process = Process::with_id(std::process::id())?;
        let note = run.join(format!("{EXEC}{}.{}", process.pid, process.start));
        files::write(&note, "", 0o600).ok()?;
        Some(Self { note, mark: mark(process) })
    }

    /// Those of a run whose testbed is gone.
    pub fn left(run: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(run).into_iter().flatten().flatten();
        let left = entries.filter_map(|entry| {
            let name = entry.file_name();
            let (pid, start) = name.to_str()?.strip_prefix(EXEC)?.split_once('.')?;
            let process = Process { pid: pid.parse().ok()?, start: start.parse().ok()? };
            (!process.is_alive()).then(|| Self { note: entry.path(), mark: mark(process) })
        });
        left.collect()
    }

    /// Its command has ended.
    pub fn forget(self) {
        let _ = std::fs::remove_file(&self.note);
    }
}
