//! A command that holds a lock.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::state;
use crate::harness::Namespace;
use crate::support::{Called, Folder};

/// A script under the lock `db`.
fn run(folder: &Folder, flags: &[&str], script: &str) -> crate::support::Started {
    folder.start(&[&["lock", "run", "db"], flags, &["--", "sh", "-c", script]].concat())
}

fn holders(namespace: &Namespace) -> Vec<Value> {
    state(namespace, "db").and_then(|lock| lock["holders"].as_array().cloned()).unwrap_or_default()
}

/// Waits until a file of the folder is there, and returns what it says.
fn file(folder: &Folder, name: &str) -> String {
    until(name, || folder.has(name).then(|| folder.read(name)).filter(|text| text.ends_with('\n')))
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The processes that have a variable of the test in their environment.
fn processes(mark: &str) -> Vec<String> {
    let is_marked = |pid: &String| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let all = std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| entry.file_name().into_string().ok());
    all.filter(is_marked).collect()
}

fn lost(called: Called, why: &str) {
    let called = called.says(why);
    assert_eq!(called.code, Some(7), "{}", called.transcript());
}

#[test]
fn the_command_runs_while_the_lock_is_held() {
    let namespace = Namespace::new("lock-run");
    let folder = &namespace.folder;
    let script =
        "echo $TESTBED_LOCK $TESTBED_LOCK_FENCE $TESTBED_RUN_ID; touch started; until test -e go; do sleep 0.05; done; cat; exit 5";
    let mut command = folder.command(&["lock", "run", "db", "--run-id", "one", "--", "sh", "-c", script]);
    command.stdin(std::fs::File::open(folder.file("input", "from standard input\n")).expect("the file"));
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("testbed starts");
    until("the command", || folder.has("started").then_some(()));
    let holder = holders(&namespace).pop().expect("it is held");
    assert_eq!((&holder["id"], &holder["ttlMillis"], &holder["ttlIsAskedFor"]), (&"one".into(), &30_000.into(), &true.into()));
    // Another process of the same run is excluded as well; only `lock acquire` speaks for the run.
    folder.call(&["lock", "run", "db", "--run-id", "one", "--no-wait", "--", "true"]).fails(6).says("held by run one since");
    let second = run(folder, &["--run-id", "one"], "echo second");
    namespace.kubectl_until(&["get", "lease", "db", "-o", "yaml"], |text| text.contains(r#""queue":[{"#));
    folder.file("go", "");
    let called = Called::new(&["lock", "run"], child.wait_with_output().expect("testbed ends")).ends(5);
    assert_eq!(called.stdout, format!("db {} one\nfrom standard input\n", holder["fence"]));
    let [held, released] = called.story()[..] else { panic!("{}", called.transcript()) };
    assert_eq!(held, format!("lock db: held by run one, number {}; running sh", holder["fence"]));
    assert!(released.starts_with("lock db: released"), "{released}");
    assert_eq!(second.wait().ends(0).stdout, "second\n");
    assert_eq!(holders(&namespace), Vec::<Value>::new());
}

#[test]
fn a_signal_is_for_the_command_and_the_lock_is_released() {
    let namespace = Namespace::new("lock-signal");
    let folder = &namespace.folder;
    let started = run(folder, &[], "trap 'echo ended; exit 9' TERM; echo > started; sleep 1000 & wait");
    file(folder, "started");
    // Who waits gives up.
    let waiting = run(folder, &["--run-id", "two"], "echo never");
    namespace.kubectl_until(&["get", "lease", "db", "-o", "yaml"], |text| text.contains(r#""queue":[{"#));
    waiting.signal("INT");
    waiting.wait().fails(130);
    assert_eq!(state(&namespace, "db").expect("it is held")["queue"], Value::Array(Vec::new()));
    started.signal("TERM");
    assert_eq!(started.wait().ends(9).stdout, "ended\n");
    assert!(state(&namespace, "db").is_none());
}

#[test]
fn within_what_the_run_holds_it_stays_held() {
    let namespace = Namespace::new("lock-nested");
    let folder = &namespace.folder;
    folder.call(&["lock", "acquire", "db", "--run-id", "one", "--ttl", "2s"]).ok();
    let before = holders(&namespace).pop().expect("it is held");
    let waiting = folder.start(&["lock", "acquire", "db", "--run-id", "two"]);
    // Longer than the ttl: the command keeps what the run holds.
    let called = run(folder, &["--run-id", "one"], "sleep 3; echo $TESTBED_LOCK_FENCE; exit 4").wait().ends(4);
    let after = holders(&namespace).pop().expect("it is held");
    assert_eq!(called.stdout, format!("{}\n", before["fence"]));
    assert_eq!((&after["fence"], &after["ttlMillis"], &after["id"]), (&before["fence"], &2_000.into(), &"one".into()));
    assert!(after["renewals"].as_u64() > before["renewals"].as_u64().map(|renewals| renewals + 2), "{after}");
    called.says("held already by run one").keeps("released");
    // And no longer than that once nobody keeps it.
    waiting.wait().ok().says("taken from run one, which has abandoned it");
}

#[test]
fn a_renewed_lock_outlives_its_ttl() {
    let namespace = Namespace::new("lock-renewed");
    let folder = &namespace.folder;
    let started = run(folder, &["--ttl", "1500ms", "--run-id", "one"], "echo > started; sleep 8; echo done");
    file(folder, "started");
    let waiting = folder.start(&["lock", "acquire", "db", "--run-id", "two", "--heartbeat", "200ms"]);
    assert_eq!(started.wait().ends(0).stdout, "done\n");
    waiting.wait().ok().keeps("abandoned");
}

#[test]
fn a_deleted_lease_comes_back_until_the_command_has_ended() {
    let namespace = Namespace::new("lock-deleted");
    let folder = &namespace.folder;
    // One that makes use of the time it is given.
    let started = run(folder, &["--run-id", "one"], "trap 'sleep 0.5; date +%s%N > ended; exit' TERM; echo > started; sleep 1000 & wait");
    file(folder, "started");
    let waiting = run(folder, &["--run-id", "two"], "date +%s%N");
    namespace.kubectl_until(&["get", "lease", "db", "-o", "yaml"], |text| text.contains(r#""queue":[{"#));
    namespace.kubectl(&["delete", "lease", "db"]);
    lost(started.wait(), "somebody has deleted Lease db");
    let next = waiting.wait().ends(0).stdout;
    let time = |text: &str| text.trim().parse::<u64>().expect("a time");
    assert!(time(&folder.read("ended")) < time(&next));
}

#[test]
fn nobody_else_is_there_when_a_lease_is_deleted() {
    let namespace = Namespace::new("lock-deleted");
    let folder = &namespace.folder;
    let started = run(folder, &["--run-id", "one"], "trap '' TERM; echo > started; exec sleep 1000");
    file(folder, "started");
    namespace.kubectl(&["delete", "lease", "db"]);
    // The first one that comes finds it held, by a command that takes no notice and is killed.
    let next = folder.start(&["lock", "acquire", "db", "--run-id", "two"]);
    lost(started.wait(), "somebody has deleted Lease db");
    next.wait().ok();
    assert_eq!(holders(&namespace).len(), 1);
}

#[test]
fn somebody_elses_release_ends_the_command() {
    let namespace = Namespace::new("lock-released");
    let folder = &namespace.folder;
    // With a process that has made a group of its own.
    let started = run(folder, &["--run-id", "one"], "trap '' TERM; echo > started; MARK=released timeout 1000 sleep 1000");
    file(folder, "started");
    until("the processes", || (processes("MARK=released").len() == 2).then_some(()));
    folder.call(&["lock", "release", "db", "--run-id", "one"]).ok();
    lost(started.wait(), "somebody has released it");
    assert_eq!(processes("MARK=released"), Vec::<String>::new());
}
