//! Copies on file systems that share blocks, and on those that do not: each is made in a file for the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::harness::{Local, making, until, working_below};
use crate::support::{Called, Folder, open_for_passing};

/// More than a data folder without a seed has, several times.
const LITTLE: u64 = 150 << 20;

/// A new file system that goes with the test.
struct Mounted {
    at: PathBuf,
    _folder: TempDir,
}

impl Mounted {
    /// `None` where none can be mounted, which is said.
    fn new(kind: &str, size: u64) -> Option<Self> {
        // The image goes once nobody has it mounted. It may be larger than what is in memory.
        let image = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        image.as_file().set_len(size).unwrap();
        let folder = tempfile::tempdir().unwrap();
        open_for_passing(folder.path());
        let at = folder.path().join(kind);
        std::fs::create_dir(&at).unwrap();
        let call = |program: &str, args: &[&Path]| {
            let output =
                Command::new(program).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(args).output();
            let output = output.map_err(|error| format!("{program}: {error}"))?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
        };
        let made = call(&format!("mkfs.{kind}"), &[Path::new("-q"), image.path()])
            .and_then(|()| call("mount", &[Path::new("-oloop"), image.path(), &at]));
        if let Err(why) = made {
            eprintln!("skipped: no {kind} can be made and mounted here: {why}");
            return None;
        }
        open_for_passing(&at);
        Some(Self { at, _folder: folder })
    }

    /// How many bytes of it are in use.
    fn used(&self) -> u64 {
        assert!(Command::new("sync").arg("-f").arg(&self.at).status().unwrap().success());
        let output = Command::new("df").args(["-B1", "--output=used"]).arg(&self.at).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().nth(1).unwrap().trim().parse().unwrap()
    }

    /// What a piece of work adds to that.
    fn added(&self, work: impl FnOnce()) -> u64 {
        let before = self.used();
        work();
        self.used().saturating_sub(before)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also where a test that failed has left somebody in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

/// A project whose seed is a table of about so many MiB, to which nobody writes any more.
fn project(local: &Local, mebibytes: u64) {
    let sql = format!(
        "CREATE TABLE a AS SELECT n, repeat('x', 980) AS padding FROM generate_series(1, {}) n;\n\
         VACUUM (FREEZE, ANALYZE) a;\n",
        mebibytes * 1024
    );
    local.file("seed.sql", &sql);
    // What is made in one transaction needs no log then.
    let settings = "databases:\n  shop: {use: postgres, seed: seed.sql, args: [-c, wal_level=minimal, -c, max_wal_senders=0]}\n";
    local.file("testbed.yaml", settings);
}

fn shown(local: &Local) -> Value {
    let rows = local.call(&["seed", "--show", "-o", "json"]).ok().stdout;
    serde_json::from_str::<Value>(&rows).unwrap()[0].clone()
}

/// Without the copies of runs before, which are taken by a rename.
fn forget_copies(cache: &Path) {
    let entries = std::fs::read_dir(cache.join("testbed/prepared")).unwrap().flatten();
    let is_copy = |path: &PathBuf| path.to_string_lossy().contains(".spare-");
    entries.map(|entry| entry.path()).filter(is_copy).for_each(|path| std::fs::remove_dir_all(path).unwrap());
}

/// The data folders of a run.
fn data(local: &Local, run: &str) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(local.state().join("data")).into_iter().flatten().flatten();
    let is_own = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{run}."));
    let folders = runs.map(|entry| entry.path()).filter(is_own);
    let servers = folders.flat_map(|run| std::fs::read_dir(run).into_iter().flatten().flatten());
    servers.map(|entry| entry.path().join("data")).filter(|data| data.is_dir()).collect()
}

/// The files of a folder that are as large as a table.
fn large(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            large(&entry.path(), found);
        } else if entry.metadata().is_ok_and(|metadata| metadata.len() > 20 << 20) {
            found.push(entry.path());
        }
    }
}

/// How many of the extents of a run's table are shared, and how many there are, as the file system itself tells.
fn extents(local: &Local, run: &str) -> (usize, usize) {
    let mut files = Vec::new();
    data(local, run).iter().for_each(|data| large(data, &mut files));
    let output = Command::new("/usr/sbin/filefrag").arg("-v").args(&files).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let extents: Vec<&str> =
        told.lines().filter(|line| line.contains("..") && line.matches(':').count() > 3).collect();
    (extents.iter().filter(|line| line.contains("shared")).count(), extents.len())
}

/// Whatever copies a gigabyte takes next to no room, and each copy is somebody's own.
fn shares_a_gigabyte(kind: &str) {
    let Some(disk) = Mounted::new(kind, 8 << 30) else { return };
    let local = Local::of(Folder::local_on(&disk.at));
    project(&local, 1024);
    let made = disk.added(|| drop(local.call(&["seed"]).ok()));
    assert!(made > 1 << 30, "{made}");
    assert!(made < 3 << 29, "the seed itself, and none of its copies: {made}");
    let row = shown(&local);
    assert_eq!((&row["isCopiedByReference"], &row["whyNot"]), (&true.into(), &Value::Null));
    let size = row["size"].as_u64().unwrap();
    assert!((1 << 30..3 << 29).contains(&size), "a copy that is kept ready takes no more: {size}");
    local.call(&["seed", "--show"]).ok().says("copied by reference: ");
    let doctor = local.call(&["doctor", "--with", "postgres"]).ok();
    assert!(doctor.stdout.contains("copied by reference: "), "{}", doctor.transcript());

    forget_copies(&disk.at);
    let taken = |what: &str, args: &[&str]| {
        let added = disk.added(|| drop(local.call(args).ok()));
        assert!(added < LITTLE, "{what} takes {added} bytes");
    };
    taken("a run", &["up", "--run-id", "a"]);
    taken("another one", &["up", "--run-id", "b", "--output", "b.json"]);
    for run in ["a", "b"] {
        let (shared, all) = extents(&local, run);
        assert!(all > 0 && shared == all, "{run}: {shared} of {all} extents are shared");
    }
    let one = |name: &str| local.databases(name)[0].clone();
    one("b.json").query("DELETE FROM a WHERE n <= 8; CHECKPOINT").unwrap();
    taken("a snapshot", &["snapshot", "shop", "less", "--run-id", "b"]);
    taken("forks", &["fork", "shop", "--count", "2", "--run-id", "b"]);
    assert_eq!(data(&local, "b").len(), 3);
    taken("to restore", &["restore", "shop", "--run-id", "b"]);
    taken("a start from a snapshot", &["up", "--run-id", "c", "--from", "less", "--output", "c.json"]);
    let count = |name: &str| one(name).value("SELECT count(*) FROM a WHERE n <= 80");
    assert_eq!(["testing-databases.json", "b.json", "c.json"].map(count), ["80", "80", "72"]);
    for run in ["a", "b", "c"] {
        local.call(&["down", "--run-id", run]).ok();
    }
}

#[test]
fn a_gigabyte_is_copied_by_reference_on_xfs() {
    shares_a_gigabyte("xfs");
}

#[test]
fn a_gigabyte_is_copied_by_reference_on_btrfs() {
    shares_a_gigabyte("btrfs");
}

#[test]
fn subvolumes_share_blocks_and_no_copies_that_are_ready() {
    let Some(disk) = Mounted::new("btrfs", 2 << 30) else { return };
    for name in ["cache", "state"] {
        let made = Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(disk.at.join(name)).status();
        assert!(made.unwrap().success());
        open_for_passing(&disk.at.join(name));
    }
    let state = disk.at.join("state");
    let folder = Folder::local_on(&disk.at.join("cache"));
    // The state folder that the harness looks into leads there.
    std::os::unix::fs::symlink(&state, folder.path().join("state")).unwrap();
    let local = Local::of(folder);
    project(&local, 200);
    local.call(&["seed"]).ok();
    assert_eq!(shown(&local)["isCopiedByReference"], true);
    // Nothing but to try tells this one, which writes its blocks in place.
    let in_place = disk.at.join("in-place");
    std::fs::create_dir(&in_place).unwrap();
    open_for_passing(&in_place);
    assert!(Command::new("chattr").arg("+C").arg(&in_place).status().unwrap().success());
    let own = Local::of(Folder::local_on(&in_place).env("XDG_CACHE_HOME", disk.at.display().to_string()));
    project(&own, 1);
    assert!(shown(&own)["whyNot"].as_str().unwrap().contains(" share no blocks with those in "));
    let added = disk.added(|| drop(local.call(&["up", "--run-id", "a"]).ok()));
    assert!(added < LITTLE, "{added}");
    local.call(&["down", "--run-id", "a"]).ok();
}

#[test]
fn where_blocks_cannot_be_shared_that_is_told() {
    let Some(disk) = Mounted::new("ext4", 1 << 30) else { return };
    let local = Local::of(Folder::local_on(&disk.at));
    project(&local, 60);
    local.call(&["seed"]).ok();
    let row = shown(&local);
    let cache = disk.at.join("testbed/prepared");
    let why = format!("the file system of {} shares no blocks", cache.display());
    assert_eq!((&row["isCopiedByReference"], &row["whyNot"]), (&false.into(), &why.as_str().into()));
    assert!(row["size"].as_u64().unwrap() > 160 << 20, "the copy that is ready counts: {row}");
    let told = local.call(&["seed", "--show"]).ok();
    let _ = told.says(&format!("MiB for a run that finds no copy ready: {why}"));

    let Some(other) = Mounted::new("xfs", 1 << 30) else { return };
    let cache = other.at.join("testbed/prepared");
    let local = Local::of(Folder::local_on(&disk.at).env("XDG_CACHE_HOME", other.at.display().to_string()));
    project(&local, 10);
    let told = |row: &Value| row["whyNot"].as_str().unwrap().to_owned();
    let data = local.state().join("data");
    let why = format!("{} and {} are on two file systems", cache.display(), data.display());
    assert_eq!(told(&shown(&local)), why);
    let doctor = local.call(&["doctor", "--with", "postgres"]).ok();
    assert!(doctor.stdout.contains(&format!("byte by byte: {why}")), "{}", doctor.transcript());
    let sums = local.call(&["run", "--", "psql", "-XAtc", "SELECT count(*) FROM a"]).ok();
    assert_eq!(sums.stdout, "10240\n");
    let settings = local.read("testbed.yaml").replace("use: postgres", "use: postgres, medium: Memory");
    local.file("testbed.yaml", &settings);
    assert_eq!(told(&shown(&local)), format!("{} and /dev/shm are on two file systems", cache.display()));
}

/// Fills the disk but for so many MiB.
fn fill(disk: &Mounted, left: u64) {
    let output = Command::new("df").args(["-Bm", "--output=avail"]).arg(&disk.at).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let room: u64 = text.lines().nth(1).unwrap().trim().trim_end_matches('M').parse().unwrap();
    let size = format!("{}M", room.checked_sub(left).expect("so much room"));
    let ballast = Command::new("fallocate").args(["-l", &size]).arg(disk.at.join("ballast")).status();
    assert!(ballast.unwrap().success());
}

#[test]
fn where_there_is_no_room_the_seed_stays_and_nothing_else_does() {
    let Some(disk) = Mounted::new("ext4", 1 << 30) else { return };
    let local = Local::of(Folder::local_on(&disk.at));
    project(&local, 100);
    local.call(&["seed"]).ok();
    forget_copies(&disk.at);
    let made = shown(&local)["made"].clone();
    let size = shown(&local)["size"].as_u64().unwrap() >> 20;
    let no_room = |called: Called| called.says("make room: testbed gc --seed-limit 1Gi removes the seeds");
    // Not for the copy; or for that alone, which may take what is kept for root: then the server dies, and has no room
    // to say why.
    for (left, code) in [(size / 2, 1), (size - 10, 4)] {
        fill(&disk, left);
        let before = disk.used();
        let called = no_room(local.call(&["up", "--run-id", "b"]).fails(code));
        assert_eq!(called.stderr.matches("seeding").count(), 0, "{}", called.transcript());
        assert!(disk.used() <= before + (1 << 20), "something is left");
        local.assert_nothing_left();
        assert_eq!(shown(&local)["made"], made, "with {left} MiB");
        std::fs::remove_file(disk.at.join("ballast")).unwrap();
    }

    // What is up goes on.
    local.call(&["up", "--run-id", "a"]).ok();
    fill(&disk, size / 2);
    let database = local.databases("testing-databases.json")[0].clone();
    for args in [&["restore", "shop"][..], &["fork", "shop"], &["snapshot", "shop", "one"]] {
        let before = disk.used();
        let _ = no_room(local.call(args).fails(1));
        assert!(disk.used() <= before + (1 << 20), "{args:?} has left something");
        assert_eq!(database.value("SELECT count(*) FROM a"), "102400", "{args:?}");
    }
    assert_eq!(local.call(&["snapshot", "-o", "json"]).ok().stdout, "[]\n");
    local.call(&["down"]).ok();
    std::fs::remove_file(disk.at.join("ballast")).unwrap();
    local.call(&["run", "--", "true"]).ok();
    assert_eq!(shown(&local)["made"], made);
}

#[test]
fn one_that_is_killed_while_it_copies_leaves_nothing() {
    let Some(disk) = Mounted::new("ext4", 2 << 30) else { return };
    let local = Local::of(Folder::local_on(&disk.at));
    project(&local, 300);
    local.call(&["seed"]).ok();
    forget_copies(&disk.at);
    let made = shown(&local)["made"].clone();
    let before = disk.used();
    for (number, remove) in [&["gc"][..], &["status"], &["down", "--run-id", "a"]].into_iter().enumerate() {
        let run = local.start(&["up", "--run-id", "a"]);
        let half = until("a copy that has begun", || {
            let mut found = Vec::new();
            data(&local, "a").iter().for_each(|data| large(data, &mut found));
            found.pop()
        });
        run.signal(if number == 1 { "INT" } else { "KILL" });
        let called = run.wait();
        assert_ne!(called.code, Some(0), "it was too late: {}", half.display());
        local.call(remove).ok();
        local.assert_nothing_left();
        assert_eq!((making(&disk.at), working_below(&disk.at)), (vec![], vec![]));
        forget_copies(&disk.at);
        assert!(disk.used() <= before + (1 << 20), "something is left");
    }
    assert_eq!(shown(&local)["made"], made);
    local.call(&["run", "--", "true"]).ok();
}
