//! What tests need that end a testbed in the middle: a run beside it that has to stay well, and all that may
//! be left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{Database, Local, listens, ports_below};

/// What each victim is made of.
pub const DATABASES: [&str; 4] = ["--with", "mariadb", "--with", "postgres"];

/// A run that nobody kills.
pub struct Innocent(Vec<Database>);

impl Innocent {
    pub fn up(local: &Local) -> Self {
        local
            .call(&[
                "up",
                "--with",
                "mariadb",
                "--with",
                "postgres",
                "--run-id",
                "innocent",
                "--output",
                "innocent.json",
            ])
            .ok();
        Self(local.databases("innocent.json"))
    }

    pub fn assert_well(&self) {
        self.0.iter().for_each(Database::assert_takes_logins);
    }
}

/// The folder of the servers of a run.
fn data_of(local: &Local, id: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(local.state().join("data")).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{id}.")))
    })
}

/// The System V shared memory of the PostgreSQL servers below a folder, by the servers' own notes.
fn shared_memory(folder: &Path) -> Vec<String> {
    let servers = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let notes =
        servers.filter_map(|entry| std::fs::read_to_string(entry.path().join("data/postmaster.pid")).ok());
    notes.filter_map(|note| Some(note.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())).collect()
}

fn has_shared_memory(id: &str) -> bool {
    let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    segments.lines().any(|line| line.split_whitespace().nth(1) == Some(id))
}

/// What a killed testbed has left, as far as a folder does not show it.
pub struct Left {
    pub ports: BTreeSet<u16>,
    pub memory: Vec<String>,
    pub phase: Option<String>,
}

impl Left {
    pub fn by(local: &Local, id: &str) -> Self {
        let data = data_of(local, id);
        Self {
            ports: data.iter().flat_map(|data| ports_below(data)).collect(),
            memory: data.iter().flat_map(|data| shared_memory(data)).collect(),
            phase: local.record(id).map(|record| record["phase"].as_str().unwrap().to_owned()),
        }
    }

    /// After the next command.
    pub fn assert_gone(&self, local: &Local, id: &str) {
        let left = local.left_but(&["innocent"]);
        assert!(left.is_empty(), "left of {id}: {left:#?}");
        assert!(!local.has(&format!("{id}.json")), "the config file of {id} is there");
        assert!(self.ports.iter().all(|port| !listens(*port)), "{:?}", self.ports);
        let memory: Vec<_> = self.memory.iter().filter(|id| has_shared_memory(id)).collect();
        assert!(memory.is_empty(), "shared memory of {id}: {memory:?}");
    }
}

pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
