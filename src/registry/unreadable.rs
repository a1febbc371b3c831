//! A run whose record is there and cannot be read: it is told by its name, and never taken for a run that is
//! not there.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rustix::io::Errno;
use serde_json::Value;

use crate::failure::Advise;
use crate::files;

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub run_id: String,
    /// Where the run is noted.
    pub folder: PathBuf,
    pub why: String,
    /// Whether it stays like that: what is only in the way now is no reason to remove a run.
    pub is_damaged: bool,
    /// What a `testbed down` of the run has to be told, where the record says at least that the run was in a
    /// cluster.
    pub in_cluster: Option<String>,
}

impl Unreadable {
    /// The system does not let it be read.
    pub fn new(folder: &Path, error: &io::Error) -> Self {
        let passing =
            [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::ACCESS, Errno::PERM, Errno::INTR];
        let is_damaged = !Errno::from_io_error(error).is_some_and(|error| passing.contains(&error));
        Self::of(folder, error.to_string(), is_damaged)
    }

    /// What is in it is no record.
    pub fn damaged(folder: &Path, error: &serde_json::Error, bytes: &[u8]) -> Self {
        Self { in_cluster: in_cluster(bytes), ..Self::of(folder, files::damage(error), true) }
    }

    /// It is that of another run.
    pub fn of_another(folder: &Path, run_id: &str, bytes: &[u8]) -> Self {
        let why = format!("it is damaged: it says that it is of run {run_id:?}");
        Self { in_cluster: in_cluster(bytes), ..Self::of(folder, why, true) }
    }

    /// A link or a file is in the place of its folder.
    pub fn no_folder(folder: &Path) -> Self {
        Self::of(folder, "it is no folder".to_owned(), true)
    }

    fn of(folder: &Path, why: String, is_damaged: bool) -> Self {
        let run_id = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { run_id, folder: folder.to_owned(), why, is_damaged, in_cluster: None }
    }

    /// The error of a command that needs it.
    pub fn error(&self) -> anyhow::Error {
        let hint = if self.is_damaged {
            "testbed gc removes what is left of it"
        } else {
            "see to that, and call testbed again"
        };
        let error = anyhow!(
            "the record of run {} in {} cannot be read: {}",
            self.run_id,
            self.folder.display(),
            self.why
        );
        error.hint(hint)
    }
}

/// The flags that lead to a run's cluster and namespace, as far as what is left of its record tells; `None`
/// if it tells of no cluster.
fn in_cluster(bytes: &[u8]) -> Option<String> {
    let Ok(record) = serde_json::from_slice::<Value>(bytes) else {
        return String::from_utf8_lossy(bytes).contains(r#""kubernetes":{"#).then(String::new);
    };
    let location = record.get("place")?.get("kubernetes")?;
    let flag = |flag: &str, field: &str| {
        location.get(field).and_then(Value::as_str).map(|value| format!(" {flag} {value}"))
    };
    Some([flag("--context", "context"), flag("-n", "namespace")].into_iter().flatten().collect())
}
