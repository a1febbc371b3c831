//! A server that is killed while many write to it: what a write was confirmed for is there when the server is
//! back, and the same store goes on.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use testbed::history::store::Store;

use crate::harness::{Fresh, Kind, block_on, count};
use crate::samples::{full, log};
use crate::server::Server;

/// How long a write may take to notice.
const BOUND: Duration = Duration::from_secs(20);

/// A server as it was started, so that it can be started again.
struct Running {
    pid: u32,
    command: Vec<String>,
    data: PathBuf,
    account: (u32, u32),
}

impl Running {
    async fn of(server: &Server) -> Self {
        let data = server.data().await;
        let note = std::fs::read_to_string(data.join("postmaster.pid")).expect("its note");
        let pid = note.lines().next().and_then(|line| line.parse().ok()).expect("its process id");
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).expect("its command");
        let command = words
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8(word.to_vec()).expect("UTF-8"))
            .filter(|word| !word.is_empty());
        let owner = std::fs::metadata(format!("/proc/{pid}")).expect("its owner");
        Self { pid, command: command.collect(), data, account: (owner.uid(), owner.gid()) }
    }

    /// The main process dies at once, and the others when they notice.
    fn kill(&self) {
        let killed = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status().expect("kill");
        assert!(killed.success());
        // Also for the system, which the next one asks.
        until("no process of the server is left", || {
            working_in(&self.data).is_empty() && !Path::new(&format!("/proc/{}", self.pid)).exists()
        });
    }

    /// Whether the process with this id has said that it takes connections. The note of the one that was
    /// killed is there until then.
    fn is_ready(&self, pid: u32) -> bool {
        let note = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        note.lines().next() == Some(&pid.to_string()) && note.contains("ready")
    }

    /// Ends by itself when the run is removed.
    fn start_again(&self) -> Child {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(&self.data).uid(self.account.0).gid(self.account.1);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts")
    }
}

fn working_in(folder: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    processes
        .filter(|process| std::fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(folder)))
        .collect()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes until the server is gone, and notes what was confirmed.
async fn write_until_it_fails(store: Store, name: String, confirmed: &Mutex<BTreeSet<String>>) {
    for number in 0.. {
        let record = full(&format!("{name}-{number}"));
        let run = record.run_id.clone();
        let began = Instant::now();
        let written = store.put(record, vec![log("mysql", "mysql", false, "ERROR: the story")]).await;
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
        if let Err(error) = written {
            let error = format!("{error:#}");
            assert!(error.contains("127.0.0.1"), "{error}");
            return;
        }
        confirmed.lock().unwrap().insert(run);
    }
}

#[test]
fn what_was_confirmed_is_there_after_a_sigkill() {
    let fresh = Fresh::postgres();
    let Kind::Postgres(server) = &fresh.kind else { unreachable!("it is one") };
    block_on(async {
        let store = fresh.store().await;
        let confirmed = Mutex::new(BTreeSet::new());
        for round in 0..count("TESTBED_TEST_KILLS", 2) {
            let running = Running::of(server).await;
            let before = confirmed.lock().unwrap().len();
            let writers = (0..8)
                .map(|writer| write_until_it_fails(store.clone(), format!("r{round}-w{writer}"), &confirmed));
            let kill = async {
                // In the middle of it, and not always at the same point.
                while confirmed.lock().unwrap().len() < before + 20 + 7 * round {
                    tokio::task::yield_now().await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                running.kill();
            };
            futures::future::join(futures::future::join_all(writers), kill).await;
            let mut child = running.start_again();
            until("the server is back", || running.is_ready(child.id()));
            let runs: Vec<String> = confirmed.lock().unwrap().iter().cloned().collect();
            eprintln!("round {round}: {} confirmed", runs.len());
            for run in &runs {
                let found = store.find(run).await.unwrap();
                assert!(
                    found.len() == 1 && store.logs(&found[0].id).await.unwrap().len() == 1,
                    "{run} is lost"
                );
            }
            std::thread::spawn(move || child.wait());
        }
    });
}
