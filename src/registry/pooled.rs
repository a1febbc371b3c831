//! The pool of a run that is up, which a testbed in the background serves: noted in the run's folder for as long as it is
//! served.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::process::Process;

/// Its note. Holds the pool's token: the file is for its owner alone.
const NOTE: &str = "pool.json";
const LOG: &str = "pool.log";
/// The variable by which the processes are told that serve a run's pool.
pub const POOL_OF: &str = "TESTBED_POOL_OF";

/// How a pool is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// How many databases are kept ready.
    pub size: String,
    /// The databases of the run that there were.
    pub databases: Vec<String>,
    /// The folder of the project, whose settings name the variables.
    pub project: PathBuf,
    /// Those that count in the place of the project's own.
    pub settings: Option<OsString>,
}

/// A pool that is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pooled {
    /// The testbed that serves it.
    pub process: Process,
    /// Where it is.
    pub url: String,
    pub way: Way,
}

impl Pooled {
    /// The variable by which the processes are told that serve a run's pool: its name and value.
    pub fn mark(run: &Path) -> (&'static str, PathBuf) {
        (POOL_OF, run.canonicalize().unwrap_or_else(|_| run.to_owned()))
    }

    /// What the testbed says that serves a run's pool, or has.
    pub fn log(run: &Path) -> PathBuf {
        run.join(LOG)
    }

    /// That of a run; `None` where there is none, or its testbed is gone.
    pub fn of(run: &Path) -> Option<Self> {
        Self::noted(run).filter(|pooled| pooled.process.is_alive())
    }

    /// Whether the pool at this address is a run's.
    pub fn is_at(run: &Path, url: &str) -> bool {
        Self::noted(run).is_some_and(|pooled| pooled.url == url)
    }

    fn noted(run: &Path) -> Option<Self> {
        serde_json::from_slice(&files::read(&run.join(NOTE), files::MOST).ok()?).ok()
    }

    /// # Errors
    /// It cannot be written, as where the run is gone.
    pub fn note(&self, run: &Path) -> anyhow::Result<()> {
        files::write(&run.join(NOTE), &serde_json::to_string(self)?, 0o600)
    }

    /// Whoever serves it ends once it is noted no more.
    pub fn forget(run: &Path) {
        let _ = std::fs::remove_file(run.join(NOTE));
    }
}
