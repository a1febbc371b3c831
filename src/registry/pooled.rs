//! The pool of a run that is up, which a testbed in the background serves: noted in the run's folder for as long as it is
//! served.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::process::Process;

/// Its note. Holds the pool's token, and what variables may hold: the file is for its owner alone.
const NOTE: &str = "pool.json";
const LOG: &str = "pool.log";

/// How the testbed is called that serves a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    pub arguments: Vec<OsString>,
    /// What it has in its environment beside its caller's: no other process sees that.
    pub variables: Vec<(String, String)>,
    pub folder: PathBuf,
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
    pub fn mark(run: &Path) -> (&'static str, &Path) {
        ("TESTBED_POOL_OF", run)
    }

    /// What the testbed says that serves a run's pool, or has.
    pub fn log(run: &Path) -> PathBuf {
        run.join(LOG)
    }

    pub fn is_noted(run: &Path) -> bool {
        run.join(NOTE).exists()
    }

    /// That of a run; `None` where there is none, or its testbed is gone.
    pub fn of(run: &Path) -> Option<Self> {
        let bytes = files::read(&run.join(NOTE), files::MOST).ok()?;
        let pooled: Self = serde_json::from_slice(&bytes).ok()?;
        pooled.process.is_alive().then_some(pooled)
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
