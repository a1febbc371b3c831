//! How long a hand-over takes, and what a wait costs. How fast it is, `tests/bench locks` tells; here it is
//! proved that nothing polls.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::state;
use crate::audit::{requests_of, verbs};
use crate::credentials::account;
use crate::harness::Namespace;
use crate::support::{Folder, Started};

/// How many wait, and how often the lock goes on to the next of them.
const WAITERS: usize = 10;
const HAND_OVERS: usize = 24;
/// That of `lock acquire`, where nobody says otherwise.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Somebody who waits; the moment at which the lock's name is on standard output goes into a channel.
struct Waiter {
    id: String,
    started: Started,
    held_at: Receiver<Instant>,
}

impl Waiter {
    /// Starts it, and returns once it is in the queue.
    fn start(namespace: &Namespace, number: usize) -> Self {
        let id = format!("run-{number}");
        let mut started =
            namespace.folder.start(&["lock", "acquire", "db", "--timeout", "3m", "--run-id", &id]);
        let (tell, held_at): (Sender<Instant>, _) = channel();
        let output = started.child.stdout.take().expect("a pipe");
        std::thread::spawn(move || {
            let line = BufReader::new(output).lines().next();
            if line.is_some_and(|line| line.is_ok_and(|line| line == "db")) {
                let _ = tell.send(Instant::now());
            }
        });
        started.until_it_says("in the queue; held by");
        Self { id, started, held_at }
    }

    fn held_at(&self) -> Instant {
        self.held_at
            .recv_timeout(Duration::from_secs(60))
            .unwrap_or_else(|error| panic!("{} never held the lock: {error}", self.id))
    }
}

/// Measured from the line with which the releasing process says that the API server has answered, to the line
/// with which the next one says that the lock is its own.
#[test]
fn a_lock_goes_on_at_once() {
    let namespace = Namespace::new("lock-handover");
    let folder = &namespace.folder;
    folder.call(&["lock", "acquire", "db", "--run-id", "run-0"]).ok();
    let mut holder = "run-0".to_owned();
    let mut waiters: std::collections::VecDeque<Waiter> =
        (1..=WAITERS).map(|number| Waiter::start(&namespace, number)).collect();
    let mut times = Vec::new();
    for number in 1..=HAND_OVERS {
        let mut release = folder.start(&["lock", "release", "db", "--run-id", &holder]);
        release.until_it_says(": released");
        let released_at = Instant::now();
        let next = waiters.pop_front().expect("ten of them");
        times.push(next.held_at().saturating_duration_since(released_at));
        release.wait().ok().says(&format!("next is run {}", next.id));
        next.started.wait().ok();
        holder = next.id;
        waiters.push_back(Waiter::start(&namespace, WAITERS + number));
    }
    for waiter in &waiters {
        waiter.started.signal("TERM");
    }
    for waiter in waiters {
        waiter.started.wait().fails(143);
    }
    times.sort();
    println!(
        "{HAND_OVERS} hand-overs with {WAITERS} waiters: median {:?}, longest {:?}",
        times[HAND_OVERS / 2],
        times[HAND_OVERS - 1]
    );
    assert!(times[HAND_OVERS - 1] < HEARTBEAT / 2, "nobody may wait for a beat: {times:?}");
}

/// Once the audit log has them all: the watch is there as soon as it is over.
fn finished_requests(namespace: &Namespace) -> Option<Vec<Value>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let requests = requests_of(namespace, "limited")?;
        if requests.iter().any(|request| request["verb"] == "watch") {
            return Some(requests);
        }
        assert!(Instant::now() < deadline, "the audit log never tells of the watch's end");
        sleep(Duration::from_millis(100));
    }
}

/// Whoever waits may not even read the Lease in another way.
#[test]
fn a_wait_costs_a_watch_and_its_beats() {
    let namespace = Namespace::new("lock-requests");
    let config = Folder::new();
    let limited = account(
        &namespace,
        &config,
        "[{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [list, watch, patch]}]",
    );
    let limited = namespace.folder_as(&limited);
    let folder = &namespace.folder;
    folder.call(&["lock", "acquire", "db", "--run-id", "holder"]).ok();
    let wait = |folder: &Folder, id: &str| {
        let mut started =
            folder.start(&["lock", "acquire", "db", "--heartbeat", "1s", "--timeout", "3m", "--run-id", id]);
        started.until_it_says("in the queue; held by");
        started
    };
    let counted = wait(&limited, "counted");
    // They want to write at the same time, and one of two that do is in vain.
    let others = ["other-1", "other-2"].map(|id| wait(folder, id));
    let beats = |lock: &Value| lock["queue"][0]["beats"].as_u64().expect("a number");
    let path = "jsonpath={.metadata.annotations.testbed/lock}";
    namespace.kubectl_until(&["get", "lease", "db", "-o", path], |text| {
        serde_json::from_str(text)
            .is_ok_and(|lock: Value| lock["queue"][0]["id"] == "counted" && beats(&lock) >= 6)
    });
    let beaten = beats(&state(&namespace, "db").expect("it is held"));
    folder.call(&["lock", "release", "db", "--run-id", "holder"]).ok();
    counted.wait().ok();
    for other in others {
        other.signal("TERM");
        other.wait().fails(143);
    }

    let Some(requests) = finished_requests(&namespace) else { return };
    assert_eq!(verbs(&requests), ["list leases", "patch leases", "watch leases"]);
    let count = |verb: &str, code: u64| {
        let is_meant =
            |request: &&Value| request["verb"] == verb && request["responseStatus"]["code"] == code;
        requests.iter().filter(is_meant).count() as u64
    };
    let (written, lost) = (count("patch", 200), count("patch", 409));
    println!("a wait of {beaten} beats: {} requests, of which {lost} met another waiter's", requests.len());
    assert_eq!((count("list", 200), count("watch", 200), written + lost + 2), (1, 1, requests.len() as u64));
    // Into the queue, the beats, out of the queue; there is time for three more beats between the look at
    // them and the release.
    assert!((beaten + 2..=beaten + 5).contains(&written), "{written} writes for {beaten} beats");
    assert!(lost <= written, "{lost} conflicts, {written} writes");
}
