//! A command that holds a lock.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::state;
use crate::harness::Namespace;
use crate::proxy::{Proxy, Way};
use crate::support::terminal::Terminal;
use crate::support::{Called, Folder, Started};

/// A script under the lock `db`.
fn run(folder: &Folder, flags: &[&str], script: &str) -> Started {
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
    let all = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    all.filter(is_marked).collect()
}

/// The exit code of a lock that was lost, for this reason.
fn lost(called: Called, why: &str) {
    let called = called.says(why);
    assert_eq!(called.code, Some(7), "{}", called.transcript());
}

#[test]
fn the_command_runs_while_the_lock_is_held() {
    let namespace = Namespace::new("lock-run");
    let folder = &namespace.folder;
    let script = "echo $TESTBED_LOCK $TESTBED_LOCK_FENCE $TESTBED_RUN_ID; touch started; until test -e go; do sleep 0.05; done; cat; exit 5";
    let mut command = folder.command(&["lock", "run", "db", "--run-id", "one", "--", "sh", "-c", script]);
    command.stdin(std::fs::File::open(folder.file("input", "from standard input\n")).expect("the file"));
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("testbed starts");
    until("the command", || folder.has("started").then_some(()));
    let holder = holders(&namespace).pop().expect("it is held");
    assert_eq!(
        (&holder["id"], &holder["ttlMillis"], &holder["ttlIsAskedFor"]),
        (&"one".into(), &30_000.into(), &true.into())
    );
    // Another process of the same run is excluded as well; only `lock acquire` speaks for the run.
    folder
        .call(&["lock", "run", "db", "--run-id", "one", "--no-wait", "--", "true"])
        .fails(6)
        .says("held by run one since");
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
    folder.call(&["lock", "acquire", "db", "--run-id", "one", "--ttl", "3s"]).ok();
    let before = holders(&namespace).pop().expect("it is held");
    let waiting = folder.start(&["lock", "acquire", "db", "--run-id", "two"]);
    // Longer than the ttl: the command keeps what the run holds.
    let called =
        run(folder, &["--run-id", "one"], "sleep 4; echo $TESTBED_LOCK_FENCE; exit 4").wait().ends(4);
    let after = holders(&namespace).pop().expect("it is held");
    assert_eq!(called.stdout, format!("{}\n", before["fence"]));
    assert_eq!(
        (&after["fence"], &after["ttlMillis"], &after["id"]),
        (&before["fence"], &3_000.into(), &"one".into())
    );
    assert!(after["renewals"].as_u64() > before["renewals"].as_u64().map(|renewals| renewals + 2), "{after}");
    called.says("held already by run one").keeps("released");
    // And no longer than that once nobody keeps it.
    waiting.wait().ok().says("taken from run one, which has abandoned it");
}

#[test]
fn a_renewed_lock_outlives_its_ttl() {
    let namespace = Namespace::new("lock-renewed");
    let folder = &namespace.folder;
    let started = run(folder, &["--ttl", "3s", "--run-id", "one"], "echo > started; sleep 10; echo done");
    file(folder, "started");
    let waiting = folder.start(&["lock", "acquire", "db", "--run-id", "two", "--heartbeat", "200ms"]);
    assert_eq!(started.wait().ends(0).stdout, "done\n");
    waiting.wait().ok().keeps("abandoned");
}

#[test]
fn a_deleted_lease_comes_back_until_the_command_has_ended() {
    let namespace = Namespace::new("lock-deleted");
    let folder = &namespace.folder;
    // One that makes use of the time it is given, below a shell that goes at once. It is asked twice:
    // `timeout` passes on what it is asked.
    let work = r#"timeout 1000 sh -c "trap 'trap : TERM; sleep 0.2; date +%s%N > ended; exit' TERM; echo > started; sleep 1000 & wait"; true"#;
    let started = run(folder, &["--run-id", "one"], work);
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
fn somebody_who_takes_the_holder_out_ends_the_command() {
    let namespace = Namespace::new("lock-released");
    let folder = &namespace.folder;
    // With a process that has made a group of its own.
    let started = run(
        folder,
        &["--run-id", "one"],
        "trap '' TERM; echo > started; MARK=released timeout 1000 sleep 1000",
    );
    file(folder, "started");
    until("the processes", || (processes("MARK=released").len() == 2).then_some(()));
    // A clean-up step of the same run does not: others would hold the lock while the command still runs.
    folder
        .call(&["lock", "release", "db", "--run-id", "one"])
        .ok()
        .says("left alone, it is held by a `testbed lock run` of run one");
    folder.call(&["lock", "release", "db", "--run-id", "one", "--strict"]).fails(1);
    assert_eq!(processes("MARK=released").len(), 2);
    namespace.kubectl(&["annotate", "lease", "db", "--overwrite", "testbed/lock={}"]);
    lost(started.wait(), "somebody has taken it out");
    assert_eq!(processes("MARK=released"), Vec::<String>::new());
}

/// A command that takes no notice of SIGTERM, and writes down again and again that it runs, by the clock that
/// testbed goes by; it has a process in a group of its own.
const STUBBORN: &str = r#"
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "1000"], start_new_session=True)
with open("beats", "w") as beats:
    while True:
        beats.write(f"{os.getpid()} {time.clock_gettime(time.CLOCK_BOOTTIME):.3f}\n")
        beats.flush()
        time.sleep(0.002)
"#;

/// Which processes of the stubborn command are there, and what time it is on the same clock.
const CENSUS: &str = "cat /proc/uptime; grep -slz '^STUBBORN=x$' /proc/[0-9]*/environ; true";

/// A holder that takes no notice, and somebody who waits for its end.
struct Rivals {
    namespace: Namespace,
    holder: Started,
    next: Started,
    mark: String,
}

impl Rivals {
    /// `way` is where the holder finds the API server.
    fn new(way: Option<&Proxy>, ttl: &str) -> Self {
        let namespace = Namespace::new("lock-rivals");
        let mark = format!("STUBBORN={}", namespace.name);
        let folder = &namespace.folder;
        folder.file("stubborn.py", STUBBORN);
        let script = format!("{mark} exec python3 stubborn.py");
        let args = ["lock", "run", "db", "--run-id", "one", "--ttl", ttl, "-v", "--", "sh", "-c", &script];
        let mut command = folder.command(&args);
        if let Some(proxy) = way {
            command.env("TESTBED_KUBECONFIG", proxy.kubeconfig(folder));
        }
        let holder = Started::new(&args, command);
        until("both processes", || (processes(&mark).len() == 2 && folder.has("beats")).then_some(()));
        let next =
            run(folder, &["--run-id", "two", "--heartbeat", "300ms"], &CENSUS.replace("STUBBORN=x", &mark));
        namespace.kubectl_until(&["get", "lease", "db", "-o", "yaml"], |text| text.contains(r#""queue":[{"#));
        Self { namespace, holder, next, mark }
    }

    /// The command's first process, which leads its group, and when it was last there.
    fn last_beat(&self) -> (String, f64) {
        let text = self.namespace.folder.read("beats");
        let beat = text
            .lines()
            .rev()
            .find_map(|line| Some((line.split_once(' ')?.0, line.split_once(' ')?.1.parse().ok()?)));
        let (pid, time) = beat.expect("a whole line");
        (pid.to_owned(), time)
    }

    /// Waits until the next one has the lock: then nothing of the command may be there any more.
    fn next_has_it(&mut self) {
        let next =
            std::mem::replace(&mut self.next, self.namespace.folder.start(&["--version"])).wait().ends(0);
        let mut lines = next.stdout.lines();
        let began: f64 = lines.next().and_then(|line| line.split(' ').next()?.parse().ok()).expect("a time");
        assert_eq!(
            lines.next(),
            None,
            "processes of the command were there while somebody else held the lock"
        );
        let (_, last) = self.last_beat();
        assert!(last < began, "it ran until {last}, and somebody else began at {began}");
        eprintln!("the command was gone {:.3} s before the next one began", began - last);
    }

    /// The process that watches the command.
    fn watchdog(&self) -> Option<String> {
        let parent = self.holder.child.id().to_string();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
            .expect("testbed's children");
        let is_watchdog = |pid: &&str| {
            let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words == "testbed\0lock-watchdog\0"
        };
        children.split_whitespace().find(is_watchdog).map(Into::into)
    }
}

fn signal(name: &str, process: &str) {
    let status =
        std::process::Command::new("kill").args([&format!("-{name}"), "--", process]).status().expect("kill");
    assert!(status.success(), "{process} has ended already");
}

/// Waits until a process has ended, whether anybody has asked for its exit code or not.
fn ended(pid: &str) {
    let runs =
        || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    until("the end of the process", || (!runs()).then_some(()));
}

#[test]
fn a_lock_that_cannot_be_renewed_is_lost_in_time() {
    for way in [Way::Refused, Way::Lost] {
        let proxy = Proxy::start();
        let mut rivals = Rivals::new(Some(&proxy), "3s");
        proxy.set(way);
        rivals.next_has_it();
        assert_eq!(processes(&rivals.mark), Vec::<String>::new());
        lost(rivals.holder.wait(), "lock db is lost: no renewal was taken for 2.");
    }
}

#[test]
fn an_interruption_that_is_shorter_does_not_matter() {
    let namespace = Namespace::new("lock-interrupted");
    let folder = &namespace.folder;
    let proxy = Proxy::start();
    let args = [
        "lock",
        "run",
        "db",
        "--ttl",
        "4s",
        "-v",
        "--",
        "sh",
        "-c",
        "echo > started; until test -e go; do sleep 0.05; done; exit 3",
    ];
    let mut command = folder.command(&args);
    command.env("TESTBED_KUBECONFIG", proxy.kubeconfig(folder));
    let mut started = Started::new(&args, command);
    file(folder, "started");
    for way in [Way::Refused, Way::Lost] {
        let renewals = || holders(&namespace).pop().expect("it is held")["renewals"].as_u64();
        proxy.set(way);
        started.until_it_says("not renewed: ");
        let before = renewals();
        proxy.set(Way::Open);
        until("a renewal", || (renewals() > before).then_some(()));
    }
    folder.file("go", "");
    let _ = started.wait().ends(3);
}

#[test]
fn the_command_goes_with_a_testbed_that_is_killed() {
    let mut rivals = Rivals::new(None, "3s");
    let watchdog = rivals.watchdog().expect("a watchdog");
    let start = Instant::now();
    rivals.holder.signal("KILL");
    until("the command's end", || processes(&rivals.mark).is_empty().then_some(()));
    let elapsed = start.elapsed();
    eprintln!("killed together with testbed within {elapsed:?}");
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    ended(&watchdog);
    rivals.next_has_it();
}

#[test]
fn a_watchdog_that_is_killed_is_replaced() {
    let rivals = Rivals::new(None, "10s");
    let first = rivals.watchdog().expect("a watchdog");
    signal("KILL", &first);
    let second = until("another watchdog", || rivals.watchdog().filter(|pid| *pid != first));
    assert_eq!(processes(&rivals.mark).len(), 2);
    // It knows the command once testbed waits for nothing but events.
    until("a renewal", || (holders(&rivals.namespace).pop()?["renewals"].as_u64()? > 0).then_some(()));
    rivals.holder.signal("KILL");
    until("the command's end", || processes(&rivals.mark).is_empty().then_some(()));
    ended(&second);
    rivals.next.signal("TERM");
    let _ = rivals.next.wait().ends(143);
}

#[test]
fn a_testbed_that_is_stopped_loses_the_lock_in_time() {
    let mut rivals = Rivals::new(None, "3s");
    let watchdog = rivals.watchdog().expect("a watchdog");
    rivals.holder.signal("STOP");
    rivals.next_has_it();
    assert_eq!(processes(&rivals.mark), Vec::<String>::new());
    ended(&watchdog);
    rivals.holder.signal("CONT");
    lost(rivals.holder.wait(), "testbed was stopped");
}

#[test]
fn a_command_that_is_stopped_as_well_does_not_go_on_later() {
    let mut rivals = Rivals::new(None, "3s");
    let (group, _) = rivals.last_beat();
    rivals.holder.signal("STOP");
    signal("STOP", &format!("-{group}"));
    rivals.next_has_it();
    let (_, last) = rivals.last_beat();
    signal("CONT", &rivals.holder.child.id().to_string());
    lost(rivals.holder.wait(), "testbed was stopped");
    assert_eq!(
        (processes(&rivals.mark), rivals.namespace.folder.read("beats").ends_with(&format!(" {last:.3}\n"))),
        (Vec::new(), true)
    );
}

#[test]
fn nobody_else_is_there_when_a_lease_is_deleted() {
    let mut rivals = Rivals::new(None, "30s");
    rivals.namespace.kubectl(&["delete", "lease", "db"]);
    rivals.next_has_it();
    lost(rivals.holder.wait(), "somebody has deleted Lease db");
}

/// With nobody in the queue who knows of the holder and could put it back.
#[test]
fn who_comes_to_a_lease_that_was_put_back_waits_for_the_commands_end() {
    let namespace = Namespace::new("lock-deleted");
    let folder = &namespace.folder;
    let mark = format!("MARK={}", namespace.name);
    let mut started =
        run(folder, &["--run-id", "one"], &format!("trap '' TERM; echo > started; {mark} exec sleep 1000"));
    file(folder, "started");
    namespace.kubectl(&["delete", "lease", "db"]);
    started.until_it_says("ending the command");
    let next = run(folder, &["--run-id", "two"], &CENSUS.replace("STUBBORN=x", &mark)).wait().ends(0);
    assert_eq!(next.stdout.lines().count(), 1, "{}", next.transcript());
    lost(started.wait(), "somebody has deleted Lease db");
}

/// That is how a person frees what a run has acquired; only a command that runs within it keeps it until its
/// end.
#[test]
fn a_deleted_lease_frees_what_the_run_had() {
    let namespace = Namespace::new("lock-deleted");
    let folder = &namespace.folder;
    folder.call(&["lock", "acquire", "db", "--run-id", "one"]).ok();
    let started = run(folder, &["--run-id", "one"], "trap '' TERM; echo > started; exec sleep 1000");
    file(folder, "started");
    namespace.kubectl(&["delete", "lease", "db"]);
    lost(started.wait(), "somebody has deleted Lease db");
    assert!(state(&namespace, "db").is_none());
}

#[test]
fn at_a_terminal_the_command_has_it_and_ctrl_c() {
    let namespace = Namespace::new("lock-terminal");
    let folder = &namespace.folder;
    let script = "trap 'n=$((n+1)); echo \"got $n\"' INT; test -t 0 && echo at work; until test -e go; do sleep 0.05; done; echo \"in all $n\"; exit 6";
    let mut terminal =
        Terminal::open(folder, &["lock", "run", "db", "--ttl", "3s", "-v", "--", "sh", "-c", script]);
    terminal.until_it_shows(&["at work"]);
    terminal.type_in("\u{3}");
    terminal.until_it_shows(&["got 1", "Ctrl-C is for the command"]);
    // The watchdog is none of those that got it.
    until("a renewal", || (holders(&namespace).pop()?["renewals"].as_u64()? > 1).then_some(()));
    folder.file("go", "");
    let (code, shown) = terminal.end();
    assert!(code == Some(6) && shown.contains("in all 1"), "{code:?}\n{shown}");
    assert!(state(&namespace, "db").is_none());
}

/// There, the command is in testbed's own process group, and what a shell's Ctrl-Z stops is both.
#[test]
fn at_a_terminal_a_job_that_is_stopped_for_too_long_loses_the_lock() {
    let namespace = Namespace::new("lock-terminal");
    let folder = &namespace.folder;
    let mark = format!("MARK={}", namespace.name);
    let script = format!("echo at work; {mark} sleep 1000; echo never");
    let mut terminal =
        Terminal::open(folder, &["lock", "run", "db", "--ttl", "3s", "--", "sh", "-c", &script]);
    terminal.until_it_shows(&["at work"]);
    until("the process", || (processes(&mark).len() == 1).then_some(()));
    // A real Ctrl-Z takes a shell to which the terminal goes.
    let python = terminal.child.id().to_string();
    let testbed =
        std::fs::read_to_string(format!("/proc/{python}/task/{python}/children")).expect("its children");
    let group = format!("-{}", testbed.trim());
    signal("STOP", &group);
    let next = run(folder, &["--run-id", "two"], &CENSUS.replace("STUBBORN=x", &mark)).wait().ends(0);
    assert_eq!(next.stdout.lines().count(), 1, "{}", next.transcript());
    signal("CONT", &group);
    let (code, shown) = terminal.end();
    assert!(
        code == Some(7) && shown.contains("testbed was stopped") && !shown.contains("never"),
        "{code:?}\n{shown}"
    );
}
