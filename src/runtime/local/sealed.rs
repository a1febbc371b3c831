//! What is noted of a seed beside its prepared folder: what it is made of, why it was made, and the logins that
//! each run gives its own password.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::manifest::seed::Part;
use crate::state;
use crate::time::Time;

/// In the folder of an entry of the cache.
const FILE: &str = "seed.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub made: Time,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// The folder of the project that it was made for first.
    pub project: PathBuf,
    pub database: String,
    /// Which step it ends with, from 1, and of how many.
    pub step: usize,
    pub steps: usize,
    pub parts: Vec<Part>,
    /// Why it was made.
    pub because: Vec<String>,
    pub logins: Vec<Sealing>,
}

/// A login that has one of the passwords of the run that made the seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealing {
    pub user: String,
    /// From where, as MySQL and MariaDB have it.
    pub host: Option<String>,
    /// Whether it has the administrator's password, or the tests' own.
    pub is_root: bool,
}

impl Sealed {
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&files::read(&Self::file(folder), files::MOST).ok()?).ok()
    }

    /// Of what is noted in a folder, whatever that is.
    pub fn hash(folder: &Path) -> Option<String> {
        files::read(&Self::file(folder), files::MOST).ok().map(|bytes| state::hash(&bytes))
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        files::write(&Self::file(folder), &serde_json::to_string(self)?, 0o600)
    }
}
