//! Signals at any moment, to every command that makes or removes databases: `make soak` sends 600 of them,
//! `make test` a few.
//!
//! What is done, in which order and when is random. A failure shows the seed; `TESTBED_TEST_SEED` repeats its
//! choices.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Local, count, until};
use crate::support::random::Random;
use crate::victims::{DATABASES, Innocent, Left, timed};

/// What the signals go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Up,
    /// `up --forward`, which stays.
    Hold,
    /// With a command that ends by itself.
    Brief,
    /// With one that the first signal ends.
    Polite,
    /// With one that takes no notice, and has children.
    Stubborn,
    Down,
}

const CALLS: [Call; 6] = [Call::Up, Call::Hold, Call::Brief, Call::Polite, Call::Stubborn, Call::Down];

/// A broken pipe is nothing that ends testbed, once it has begun.
const SIGNALS: [&str; 6] = ["INT", "TERM", "HUP", "QUIT", "KILL", "PIPE"];

fn number(signal: &str) -> i32 {
    match signal {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "KILL" => 9,
        "PIPE" => 13,
        _ => 15,
    }
}

/// How long testbed may take from a signal to its end, on a busy machine: the documentation promises five
/// seconds.
const BOUND: Duration = Duration::from_secs(10);

impl Call {
    fn args(self, id: &str) -> Vec<String> {
        let output = format!("{id}.json");
        let (name, rest): (&[&str], &[&str]) = match self {
            Self::Up => (&["up"], &[]),
            Self::Hold => (&["up", "--forward"], &[]),
            Self::Brief => (&["run"], &["--", "sleep", "0.2"]),
            Self::Polite => (&["run"], &["--", "sleep", "1000"]),
            Self::Stubborn => {
                (&["run"], &["--", "sh", "-c", "trap '' TERM INT HUP; sleep 1000 & sleep 1000; wait"])
            }
            Self::Down => return ["down", "--run-id", id].map(str::to_owned).to_vec(),
        };
        [name, &["--run-id", id, "--output", &output], &DATABASES, rest]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    fn ends_by_itself(self) -> bool {
        matches!(self, Self::Up | Self::Brief | Self::Down)
    }

    fn is_run(self) -> bool {
        matches!(self, Self::Brief | Self::Polite | Self::Stubborn)
    }

    /// What a shell may call its end when these signals were sent to it.
    fn codes(self, sent: &BTreeSet<&str>) -> BTreeSet<i32> {
        let mut codes = BTreeSet::new();
        if self.ends_by_itself() {
            codes.insert(0);
        }
        for signal in sent {
            // Before testbed listens, of which `down` on this machine has no need and `up` none for SIGQUIT;
            // and a command that the signal ends.
            codes.insert(128 + number(signal));
            // Before there is a command; and a second one, which ends it.
            match *signal {
                "INT" => drop(codes.insert(130)),
                "TERM" | "HUP" => drop(codes.insert(143)),
                "QUIT" if self.is_run() => codes.extend([143, 130]),
                _ => {}
            }
        }
        codes
    }
}

/// One victim: what is called, and what befalls it.
struct Attack {
    call: Call,
    /// What is sent at first, and after which time.
    first: (&'static str, Duration),
    /// The same of a second signal, after the first.
    second: Option<(&'static str, Duration)>,
    /// Whether the readers of its output go away, at the time of the first signal.
    is_unread: bool,
}

impl Attack {
    /// `up` and `down` are how long these take.
    fn random(random: &mut Random, up: Duration, down: Duration) -> Self {
        let call = *random.one(&CALLS);
        let whole = match call {
            Call::Up => up,
            Call::Down => down,
            _ => up + Duration::from_millis(400),
        };
        let first = (*random.one(&SIGNALS), random.below(whole));
        let wants_second = random.number(3) == 0;
        let second = wants_second.then(|| (*random.one(&SIGNALS), random.below(Duration::from_millis(400))));
        Self { call, first, second, is_unread: random.number(4) == 0 }
    }

    fn told(&self) -> String {
        let second = self
            .second
            .map(|(signal, after)| format!(", SIG{signal} {} ms later", after.as_millis()))
            .unwrap_or_default();
        let unread = if self.is_unread { ", unread" } else { "" };
        format!("{:?}: SIG{} after {} ms{second}{unread}", self.call, self.first.0, self.first.1.as_millis())
    }
}

/// How one ended.
struct End {
    status: ExitStatus,
    sent: BTreeSet<&'static str>,
    /// How many signals reached it.
    count: usize,
    /// From the last signal on.
    took: Duration,
    before: Left,
    said: String,
}

/// Whether it was there to get it.
fn send(child: &mut Child, signal: &str) -> bool {
    if child.try_wait().unwrap().is_some() {
        return false;
    }
    // It is this process's child, and stays at least as a note until that has asked for it.
    let status =
        Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().expect("kill");
    assert!(status.success());
    true
}

fn ended(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            ended => return ended,
        }
    }
}

fn attack(local: &Local, id: &str, attack: &Attack) -> End {
    let args = attack.call.args(id);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = local.command(&args);
    let output = || std::fs::File::create(local.path().join("said.txt")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(if attack.is_unread {
        Stdio::piped()
    } else {
        output().into()
    });
    let mut child = command.spawn().expect("testbed starts");
    // The moment is what is tested; nothing is waited for.
    std::thread::sleep(attack.first.1);
    let before = Left::by(local, id);
    if attack.is_unread {
        drop((child.stdout.take(), child.stderr.take()));
    }
    let mut sent = Vec::new();
    let mut last = Instant::now();
    if send(&mut child, attack.first.0) {
        sent.push(attack.first.0);
    }
    if let Some((signal, after)) = attack.second {
        std::thread::sleep(after);
        last = Instant::now();
        if send(&mut child, signal) {
            sent.push(signal);
        }
    }
    // What does not end by itself, or by what it was sent, is asked until it does: two signals of a kind may
    // be one to the system.
    let status = loop {
        let patience = if attack.call.ends_by_itself() { BOUND * 3 } else { Duration::from_secs(1) };
        if let Some(status) = ended(&mut child, patience) {
            break status;
        }
        assert!(!attack.call.ends_by_itself() && sent.len() < 20, "it does not end");
        last = Instant::now();
        if send(&mut child, "TERM") {
            sent.push("TERM");
        }
    };
    let said = std::fs::read_to_string(local.path().join("said.txt")).unwrap_or_default();
    End { status, count: sent.len(), sent: sent.into_iter().collect(), took: last.elapsed(), before, said }
}

/// The newest story of a run.
fn story(local: &Local, id: &str) -> Option<Value> {
    let answer = local.call(&["history", "show", id, "-o", "json"]);
    (answer.code == Some(0)).then(|| serde_json::from_str(&answer.stdout).unwrap())
}

fn check(local: &Local, id: &str, attacked: &Attack, end: &End, innocent: &Innocent) {
    let code = end.status.code().or_else(|| end.status.signal().map(|signal| 128 + signal)).unwrap();
    let codes = attacked.call.codes(&end.sent);
    assert!(codes.contains(&code), "{code} is none of {codes:?}\n{}", end.said);
    if end.status.signal() == Some(number("PIPE")) {
        // That was before its first instruction.
        let is_untouched =
            attacked.call == Call::Down || end.before.phase.is_none() && local.record(id).is_none();
        assert!(is_untouched, "a broken pipe has ended it");
    }
    assert!(end.took < BOUND || attacked.call.ends_by_itself(), "{:?}", end.took);

    // Who had the time to clean up needs nobody else for it: signals to `run`, and one alone to `up`.
    let has_cleaned =
        end.status.code().is_some_and(|code| code != 0) && (attacked.call.is_run() || end.count == 1);
    if has_cleaned || attacked.call.is_run() && code == 0 {
        end.before.assert_gone(local, id);
        assert!(local.record(id).is_none(), "its record is there");
    }
    let left = Left::by(local, id);
    let status = local.call(&["status"]).ok();
    let removed =
        status.stderr.contains(&format!("removed run {id}: the testbed that worked on it was killed"));
    let is_up = left.phase.as_deref() == Some("up");
    if is_up {
        assert!(!removed && status.stdout.contains(&format!("{id} ")), "{}", status.transcript());
        let databases = local.databases(&format!("{id}.json"));
        assert_eq!(databases.len(), 2);
        databases[0].assert_takes_logins();
        assert_eq!(story(local, id).unwrap()["status"], "up");
        local.call(&["down", "--run-id", id]).ok();
    } else {
        assert_eq!(removed, left.phase.is_some(), "{:?} {}", left.phase, status.transcript());
        assert!(!(code == 0 && attacked.call == Call::Up), "up has ended well, and nothing is up");
    }
    left.assert_gone(local, id);
    end.before.assert_gone(local, id);
    innocent.assert_well();

    // What the history says of it is over, and is what happened.
    let Some(story) = story(local, id) else {
        assert!(left.phase.is_none() && end.before.phase.is_none(), "it has no story");
        return;
    };
    let told = story["status"].as_str().unwrap();
    let cause = story["cause"]["kind"].as_str().unwrap_or_default();
    assert!(story["ended"].is_string(), "{story:#}");
    // Ended by a signal between the removal and the last word about it.
    let is_untold = (told, cause) == ("abandoned", "end-unknown") && end.status.signal().is_some();
    let fits = match (attacked.call, end.status.code()) {
        (Call::Down, _) if is_untold => true,
        (Call::Up | Call::Brief | Call::Down, Some(0)) => told == "done",
        // Killed in the middle of the removal of one that was up, or before that.
        (Call::Down, _) => told == "done" || (told, cause) == ("abandoned", "killed"),
        // Its end by a signal is what it is for.
        (Call::Hold, Some(_)) if end.count == 1 => {
            told == "done" || (told, cause) == ("cancelled", "interrupted")
        }
        (call, Some(_)) if call.is_run() || end.count == 1 => (told, cause) == ("cancelled", "interrupted"),
        _ if is_up => told == "done",
        // What it had told by then stays.
        _ => {
            (told, cause) == ("abandoned", "killed")
                || (told, cause) == ("cancelled", "interrupted")
                || told == "done"
        }
    };
    assert!(fits, "{told} {cause} for {code}: {story:#}");
}

#[test]
fn signals_at_any_moment_leave_nothing_and_hurt_nobody() {
    let (local, mut random) = (Local::new(), Random::new());
    let mut innocent = None;
    let whole = timed(|| innocent = Some(Innocent::up(&local)));
    let innocent = innocent.unwrap();
    local.call(&[&["up", "--run-id", "first", "--output", "first.json"][..], &DATABASES].concat()).ok();
    let down = timed(|| drop(local.call(&["down", "--run-id", "first"]).ok()));
    let wanted = count("TESTBED_TEST_SIGNALS", 12);
    let (mut sent, mut victims, mut slowest) = (0, 0, Duration::ZERO);
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    while sent < wanted {
        let id = format!("victim-{victims}");
        let mut next = Attack::random(&mut random, whole, down);
        // Not one more than wanted, as far as it is not needed for an end.
        next.second = next.second.filter(|_| sent + 1 < wanted);
        eprintln!("{id}, {sent} sent: {}", next.told());
        if next.call == Call::Down {
            local
                .call(&[&["up", "--run-id", &id, "--output", &format!("{id}.json")][..], &DATABASES].concat())
                .ok();
        }
        let end = attack(&local, &id, &next);
        check(&local, &id, &next, &end, &innocent);
        sent += end.count;
        victims += 1;
        if !next.call.ends_by_itself() {
            slowest = slowest.max(end.took);
        }
        *ends.entry(format!("{:?} {}", next.call, end.status)).or_default() += 1;
    }
    eprintln!("{sent} signals to {victims} calls; at most {slowest:?} from a signal to the end; {ends:#?}");
    local.call(&["down", "--run-id", "innocent"]).ok();
    until("the end of all of it", || local.left_but(&[]).is_empty().then_some(()));
}
