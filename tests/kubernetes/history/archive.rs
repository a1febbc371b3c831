//! An archive that fails in the middle of a teardown: a real PostgreSQL on this machine that is killed, or
//! hangs.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::story;
use crate::harness::Namespace;
use crate::support::Folder;

/// An archive, in a PostgreSQL that the program under test has started.
struct Archive {
    folder: Folder,
    url: String,
    server: u64,
}

impl Archive {
    fn new() -> Self {
        let folder = Folder::local();
        folder.call(&["up", "--with", "postgres", "--run-id", "archive", "--history", "none"]).ok();
        let databases: Value =
            serde_json::from_str(&folder.read("testing-databases.json")).expect("the config file");
        let login = &databases[0][1];
        let text = |name: &str| login[name].as_str().expect("a text");
        let url = format!(
            "postgres://{}:{}@127.0.0.1:{}/{}",
            text("user"),
            text("password"),
            login["port"],
            text("dbname")
        );
        let status: Value =
            serde_json::from_str(&folder.call(&["status", "-o", "json"]).ok().stdout).expect("JSON");
        Self { server: status[0]["process"].as_u64().expect("a process"), url, folder }
    }

    fn password(&self) -> &str {
        self.url.split([':', '@']).nth(2).expect("a password")
    }

    /// Sends a signal to the server and to all processes that it has made.
    fn signal(&self, name: &str) {
        let parent = self.server.to_string();
        let children = Command::new("pgrep").args(["-P", &parent]).output().expect("pgrep").stdout;
        let children = String::from_utf8(children).expect("numbers");
        // The children of a killed server see that themselves; killed with it, they see nothing.
        for process in std::iter::once(parent.as_str()).chain(children.split_whitespace()) {
            // One may have ended since.
            let _ = Command::new("kill").args([&format!("-{name}"), process]).status().expect("kill");
        }
    }

    /// Kills it as a power failure would. Tells how to start it again on what it has left.
    fn kill(&self) -> Command {
        let process = Path::new("/proc").join(self.server.to_string());
        let words = std::fs::read_to_string(process.join("cmdline")).expect("its command");
        let words: Vec<&str> = words.split_terminator('\0').collect();
        let owner = std::fs::metadata(&process).expect("its process");
        let mut again = Command::new(std::fs::read_link(process.join("exe")).expect("its program"));
        again.args(&words[1..]).uid(owner.uid()).gid(owner.gid()).stdout(Stdio::null()).stderr(Stdio::null());
        let data = words.iter().skip_while(|word| **word != "-D").nth(1).expect("its data folder");
        let lock = Path::new(data).join("postmaster.pid");
        self.signal("KILL");
        // It names a process that nobody may have waited for yet, and that would count as one that runs.
        std::fs::remove_file(lock).expect("its lock");
        again
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.signal("CONT");
        let called = self.folder.call(&["down", "--run-id", "archive", "--history", "none"]);
        assert!(std::thread::panicking() || called.code == Some(0), "{}", called.transcript());
    }
}

/// A run whose removal waits for a finalizer, so that something can happen in the middle of it.
fn held(namespace: &Namespace, folder: &Folder) {
    let held =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held-run-1, finalizers: [example.com/hold]}\n";
    folder.file("m.yaml", held);
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    assert_eq!(namespace.of_run("run-1"), ["configmap/held-run-1"]);
}

fn let_go(namespace: &Namespace) {
    namespace.kubectl(&[
        "patch",
        "configmap",
        "held-run-1",
        "--type=json",
        "-p",
        r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
    ]);
}

#[test]
fn an_archive_that_is_killed_in_the_middle_keeps_nothing_from_going_and_loses_nothing() {
    let archive = Archive::new();
    let namespace = Namespace::new("killed-archive");
    let folder = Namespace::folder_for(&namespace.name, crate::harness::kubeconfig())
        .env("TESTBED_HISTORY", archive.url.clone());
    held(&namespace, &folder);
    let mut down = folder.start(&["down", "--run-id", "run-1"]);
    down.until_it_says("deleting 1 ConfigMap");
    let mut again = archive.kill();
    let_go(&namespace);
    let down = down
        .wait()
        .ok()
        .says("warning: the run's story is not complete in the archive")
        .keeps(archive.password());
    assert!(namespace.of_run("run-1").is_empty(), "{}", down.transcript());

    let mut again = again.spawn().expect("the server starts again");
    let deadline = Instant::now() + Duration::from_secs(30);
    while folder.call(&["history", "list"]).code != Some(0) {
        assert!(Instant::now() < deadline, "PostgreSQL does not come back");
    }
    // What was committed before is there: what was collected, and not yet that it is gone.
    let story = story(&folder, "run-1");
    assert_eq!(
        (&story["status"], &story["objects"][0]["metadata"]["name"]),
        (&"up".into(), &"held-run-1".into()),
        "{story:#}"
    );
    assert!(story["ended"].is_null(), "{story:#}");
    // The next one that asks for the run's removal closes it.
    folder.call(&["down", "--run-id", "run-1"]).ok().says("nothing to do");
    assert!(super::story(&folder, "run-1")["ended"].is_string());
    again.kill().and_then(|()| again.wait()).expect("it ends");
}

#[test]
fn an_archive_that_hangs_is_waited_for_no_longer_than_asked() {
    let archive = Archive::new();
    let namespace = Namespace::new("hanging-archive");
    let folder = Namespace::folder_for(&namespace.name, crate::harness::kubeconfig())
        .env("TESTBED_HISTORY", archive.url.clone());
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c-run-1}\n";
    folder.file("m.yaml", manifest);
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    archive.signal("STOP");
    let began = Instant::now();
    let down = folder.call(&["down", "--run-id", "run-1", "--archive-timeout", "2s"]).ok();
    let took = began.elapsed();
    let down = down.says("it took longer than 2s (--archive-timeout)").keeps(archive.password());
    assert!(namespace.of_run("run-1").is_empty(), "{}", down.transcript());
    // Two seconds for the archive, and a few for the cluster and a busy machine; without a bound it would be
    // for ever.
    assert!((2..8).contains(&took.as_secs()), "{took:?}\n{}", down.transcript());

    // An `up` has written its file long before it gives up.
    let mut up = folder.start(&[
        "up",
        "m.yaml",
        "--run-id",
        "run-1",
        "--archive-timeout",
        "3s",
        "--output",
        "hanging.json",
    ]);
    up.until_it_says("hanging.json");
    assert!(folder.has("hanging.json"));
    assert!(up.child.try_wait().expect("a child").is_none(), "it still waits for the archive");
    up.wait().ok().says("it took longer than 3s");
    folder.call(&["down", "--run-id", "run-1", "--history", "none"]).ok();
    archive.signal("CONT");
}
