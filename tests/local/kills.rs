//! A testbed that is killed at any moment leaves nothing that the next command does not take away, and nobody else suffers.
//!
//! The moments are random. A failure shows the seed; `TESTBED_TEST_SEED` repeats its moments.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{Database, Local, count, listens, making, ports_below, until};

/// Random numbers that can be had again (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos().into();
        let seed = std::env::var("TESTBED_TEST_SEED").map_or_else(|_| now(), |text| text.parse().expect("a number in TESTBED_TEST_SEED"));
        eprintln!("TESTBED_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        end.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

fn kills() -> usize {
    count("TESTBED_TEST_KILLS", 4)
}

/// A run that nobody kills.
struct Innocent(Vec<Database>);

impl Innocent {
    fn up(local: &Local) -> Self {
        local.call(&["up", "--with", "mariadb", "--with", "postgres", "--run-id", "innocent", "--output", "innocent.json"]).ok();
        Self(local.databases("innocent.json"))
    }

    fn assert_well(&self) {
        self.0.iter().for_each(Database::assert_takes_logins);
    }
}

/// The folder of the servers of a run.
fn data_of(local: &Local, id: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(local.state().join("data")).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{id}."))))
}

/// The System V shared memory of the PostgreSQL servers below a folder, by the servers' own notes.
fn shared_memory(folder: &Path) -> Vec<String> {
    let servers = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let notes = servers.filter_map(|entry| std::fs::read_to_string(entry.path().join("data/postmaster.pid")).ok());
    notes.filter_map(|note| Some(note.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())).collect()
}

fn has_shared_memory(id: &str) -> bool {
    let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    segments.lines().any(|line| line.split_whitespace().nth(1) == Some(id))
}

/// What a killed testbed has left, as far as a folder does not show it.
struct Left {
    ports: BTreeSet<u16>,
    memory: Vec<String>,
    phase: Option<String>,
}

impl Left {
    fn by(local: &Local, id: &str) -> Self {
        let data = data_of(local, id);
        Self {
            ports: data.iter().flat_map(|data| ports_below(data)).collect(),
            memory: data.iter().flat_map(|data| shared_memory(data)).collect(),
            phase: local.record(id).map(|record| record["phase"].as_str().unwrap().to_owned()),
        }
    }

    /// After the next command.
    fn assert_gone(&self, local: &Local, id: &str) {
        let left = local.left_but(&["innocent"]);
        assert!(left.is_empty(), "left of {id}: {left:#?}");
        assert!(!local.has(&format!("{id}.json")), "the config file of {id} is there");
        assert!(self.ports.iter().all(|port| !listens(*port)), "{:?}", self.ports);
        let memory: Vec<_> = self.memory.iter().filter(|id| has_shared_memory(id)).collect();
        assert!(memory.is_empty(), "shared memory of {id}: {memory:?}");
    }
}

/// Kills the call after the time; its output so far is of no interest.
fn kill_after(local: &Local, args: &[&str], delay: Duration) {
    let mut call = local.start(args);
    // The moment is what is tested; nothing is waited for.
    std::thread::sleep(delay);
    let _ = call.child.kill();
    call.child.wait().unwrap();
}

/// One victim: killed in `args`, then `status`, which takes away what is left.
fn kill(local: &Local, id: &str, args: &[&str], delay: Duration, innocent: &Innocent) {
    kill_after(local, args, delay);
    let left = Left::by(local, id);
    let status = local.call(&["status"]).ok();
    let removed = status.stderr.contains(&format!("removed run {id}: the testbed that worked on it was killed"));
    match left.phase.as_deref() {
        // It had done its work, or had not begun to undo it.
        Some("up") => {
            assert!(!removed && status.stdout.contains(&format!("{id} ")), "{}", status.transcript());
            local.databases(&format!("{id}.json"))[0].assert_takes_logins();
            local.call(&["down", "--run-id", id]).ok();
        }
        Some(_) => assert!(removed, "{}", status.transcript()),
        None => assert!(!removed, "{}", status.transcript()),
    }
    left.assert_gone(local, id);
    innocent.assert_well();
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

const DATABASES: [&str; 4] = ["--with", "mariadb", "--with", "postgres"];

#[test]
fn up_is_killed() {
    let (local, mut random) = (Local::new(), Random::new());
    let mut whole = Duration::ZERO;
    let innocent = {
        let mut innocent = None;
        whole += timed(|| innocent = Some(Innocent::up(&local)));
        innocent.unwrap()
    };
    for number in 0..kills() {
        let id = format!("victim-{number}");
        let output = format!("{id}.json");
        let args = [&["up", "--run-id", &id, "--output", &output][..], &DATABASES].concat();
        kill(&local, &id, &args, random.below(whole), &innocent);
    }
    local.call(&["down", "--run-id", "innocent"]).ok();
}

#[test]
fn run_is_killed() {
    let (local, mut random) = (Local::new(), Random::new());
    let mut innocent = None;
    let whole = timed(|| innocent = Some(Innocent::up(&local))) + Duration::from_millis(200);
    let innocent = innocent.unwrap();
    for number in 0..kills() {
        let id = format!("victim-{number}");
        let output = format!("{id}.json");
        let command = ["--", "sh", "-c", "trap '' TERM INT; sleep 1000 & sleep 1000; wait"];
        let args = [&["run", "--run-id", &id, "--output", &output][..], &DATABASES, &command].concat();
        kill(&local, &id, &args, random.below(whole), &innocent);
    }
    local.call(&["down", "--run-id", "innocent"]).ok();
}

#[test]
fn down_is_killed() {
    let (local, mut random) = (Local::new(), Random::new());
    let innocent = Innocent::up(&local);
    let mut whole = Duration::from_millis(100);
    for number in 0..kills() {
        let id = format!("victim-{number}");
        let output = format!("{id}.json");
        let up = || local.call(&[&["up", "--run-id", &id, "--output", &output][..], &DATABASES].concat()).ok();
        up();
        if number == 0 {
            whole = timed(|| drop(local.call(&["down", "--run-id", &id]).ok()));
            up();
        }
        kill(&local, &id, &["down", "--run-id", &id], random.below(whole), &innocent);
    }
    local.call(&["down", "--run-id", "innocent"]).ok();
}

/// The smallest gap that matters most: the file says that the databases are ready.
#[test]
fn up_is_killed_when_its_config_file_appears() {
    let local = Local::new();
    for number in 0..kills() {
        let id = format!("victim-{number}");
        let mut up = local.start(&["up", "--with", "mariadb", "--run-id", &id]);
        let path = local.path().join("testing-databases.json");
        while !path.exists() {
            assert!(up.child.try_wait().unwrap().is_none() || path.exists(), "up has ended without a config file");
        }
        let _ = up.child.kill();
        up.child.wait().unwrap();
        local.call(&["status"]).ok();
        let is_up = local.record(&id).is_some();
        assert_eq!(path.exists(), is_up, "a config file is there exactly as long as its run");
        let entries = std::fs::read_dir(local.path()).unwrap().flatten().map(|entry| entry.file_name());
        let hidden: Vec<_> = entries.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(hidden.is_empty(), "half a config file: {hidden:?}");
        if is_up {
            local.call(&["down", "--run-id", &id]).ok();
        }
        local.assert_nothing_left();
        assert!(!path.exists());
    }
}

#[test]
fn a_killed_preparation_of_a_data_folder_is_taken_away() {
    let mut random = Random::new();
    for number in 0..kills().div_ceil(2) {
        let local = Local::with_cold_cache();
        let cache = local.path().join("cache");
        let engine = if number % 2 == 0 { "mariadb" } else { "postgres" };
        let mut up = local.start(&["up", "--with", engine, "--run-id", "victim"]);
        until("a folder that is being prepared", || making(&cache).pop());
        std::thread::sleep(random.below(Duration::from_secs(1)));
        let _ = up.child.kill();
        up.child.wait().unwrap();
        local.call(&["status"]).ok();
        // It may have come up before it was killed.
        local.call(&["down", "--run-id", "victim"]).ok();
        local.assert_nothing_left();
        local.call(&["run", "--with", engine, "--", "true"]).ok();
    }
}

#[test]
fn an_interrupted_preparation_of_a_data_folder_is_taken_away() {
    for engine in ["mariadb", "postgres"] {
        let local = Local::with_cold_cache();
        let cache = local.path().join("cache");
        let mut up = local.start(&["up", "--with", engine, "--run-id", "victim"]);
        until("a folder that is being prepared", || making(&cache).pop().filter(|path| path.join("data").exists()));
        up.signal("INT");
        assert_eq!(up.child.wait().unwrap().code(), Some(130));
        local.assert_nothing_left();
    }
}
