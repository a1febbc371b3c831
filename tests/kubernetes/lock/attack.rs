//! Mutual exclusion under attack: many processes want one lock of a real API server, and are killed, stopped
//! and cut off while they wait and while they hold it; some have clocks that are hours off. What happened is
//! in a log to which every holder appends, and in the Lease's own history; the [`checks`] look at both
//! afterwards.

mod checks;
mod history;
mod log;
mod plan;
mod turn;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use history::{Observer, Version};
use log::Log;
use plan::{Chance, Plan, plans};
use turn::{Arena, LOCK, MARK, Turn};

use super::lone::LoneApiServer;
use crate::harness::{Namespace, has_parts_of_cluster, kubeconfig};
use crate::support::Folder;

/// How many acquisitions; `make soak` asks for more.
fn count() -> usize {
    number("TESTBED_TEST_LOCKS").map_or(60, |count| usize::try_from(count).expect("a number of turns"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("a number in {name}")))
}

/// Where the attack takes place: an API server that may be ended, or somebody's own, which may not.
enum Site {
    Lone(Mutex<LoneApiServer>),
    Shared(Namespace),
}

impl Site {
    fn new() -> Self {
        if has_parts_of_cluster() {
            Self::Lone(Mutex::new(LoneApiServer::start()))
        } else {
            Self::Shared(Namespace::new("lock-attack"))
        }
    }

    fn folder(&self) -> Folder {
        match self {
            Self::Lone(server) => {
                Namespace::folder_for("default", server.lock().expect("no panic").kubeconfig())
            }
            Self::Shared(namespace) => namespace.folder_as(kubeconfig()),
        }
    }

    fn server(&self) -> Option<&Mutex<LoneApiServer>> {
        if let Self::Lone(server) = self { Some(server) } else { None }
    }

    fn observer(&self) -> Observer {
        match self {
            Self::Lone(server) => {
                Observer::start(server.lock().expect("no panic").kubeconfig(), "default", LOCK)
            }
            Self::Shared(namespace) => Observer::start(kubeconfig(), &namespace.name, LOCK),
        }
    }
}

/// The library that makes a process' clock be off.
fn skew(folder: &Folder) -> PathBuf {
    let (source, library) =
        (folder.file("skew.c", include_str!("attack/skew.c")), folder.path().join("skew.so"));
    let status = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status()
        .expect("gcc");
    assert!(status.success());
    library
}

/// Plays all turns, so many at a time. A turn that was killed before it had the lock is tried again without
/// any hardship.
fn play(arena: &Arena, plans: &[Plan], workers: usize, seed: u64) -> Vec<Turn> {
    let (next, turns) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((number, plan)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|number| Some((number, plans.get(number)?)))
        {
            let mut chance = Chance::new(seed ^ (number as u64) << 32);
            let turn = arena.play(&format!("t{number}"), *plan, &mut chance);
            let has_entered = turn.waited.is_some();
            turns.lock().expect("no panic").push(turn);
            if !has_entered {
                let again = arena.play(&format!("t{number}-again"), plan.spared(), &mut chance);
                turns.lock().expect("no panic").push(again);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    turns.into_inner().expect("no panic")
}

/// Somebody who comes last takes out all that the dead have left, and leaves nothing.
fn clear(folder: &Folder, patience: Duration) {
    let timeout = format!("{}s", patience.as_secs());
    folder
        .call(&["lock", "acquire", LOCK, "--run-id", "last", "--timeout", &timeout, "--heartbeat", "1s"])
        .ok();
    folder.call(&["lock", "release", LOCK, "--run-id", "last", "--strict"]).ok();
    folder.call(&["lock", "release", LOCK, "--run-id", "last"]).ok().says("nobody holds it");
}

/// The processes that a test has started, and theirs, whoever is their parent by now.
fn processes(mark: &str) -> Vec<String> {
    let mark = format!("{MARK}={mark}");
    let is_marked = |environment: Vec<u8>| {
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let folders = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).map(|entry| entry.path());
    let marked = folders.filter(|folder| std::fs::read(folder.join("environ")).is_ok_and(is_marked));
    marked
        .map(|folder| std::fs::read_to_string(folder.join("cmdline")).unwrap_or_default().replace('\0', " "))
        .collect()
}

/// What is wrong with clocks that should have been off. The holder's own clock tells since when it holds the
/// lock.
fn clocks(history: &[Version], turns: &[Turn]) -> Vec<String> {
    let skews: BTreeMap<&str, i32> = turns.iter().map(|turn| (turn.id.as_str(), turn.plan.skew)).collect();
    let mut off: BTreeMap<i32, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (holder, version) in
        history.iter().flat_map(|version| version.state.holders.iter().map(move |holder| (holder, version)))
    {
        let Some(skew) = skews.get(holder.id.as_str()) else { continue };
        let hours = (holder.since.as_second() - version.seen_at.as_second()) as f64 / 3_600.0;
        if (hours - f64::from(*skew)).abs() > 0.1 {
            wrong.push(format!("the clock of {} is off by {hours:.1} hours, and not by {skew}", holder.id));
        }
        *off.entry(*skew).or_default() += 1;
    }
    if off.len() < 3 {
        wrong.push(format!("only these clocks were off: {off:?}"));
    }
    wrong
}

/// The figures.
fn report(turns: &[Turn], history: &[Version], length: Duration) {
    let mut hardships: BTreeMap<String, usize> = BTreeMap::new();
    for hardship in turns.iter().filter_map(|turn| turn.plan.hardship) {
        *hardships.entry(format!("{hardship:?}")).or_default() += 1;
    }
    let waits = turns.iter().filter_map(|turn| Some((turn.waited?, &turn.id)));
    let acquisitions = waits.clone().count();
    println!(
        "{acquisitions} acquisitions in {length:?}, {} versions of the Lease; done to them: {hardships:?}",
        history.len()
    );
    println!(
        "longest wait {:?}; outages {:?}",
        waits.max(),
        turns.iter().filter_map(|turn| turn.outage).collect::<Vec<_>>()
    );
}

#[test]
fn one_holder_at_a_time_and_everybody_in_turn() {
    let (count, seed) = (
        count(),
        number("TESTBED_TEST_SEED").unwrap_or_else(|| Chance::by_the_clock().below(1_000_000) as u64),
    );
    let workers = (count / 20).clamp(8, 50);
    println!("TESTBED_TEST_SEED={seed}: {count} acquisitions by {workers} processes at a time");
    let site = Site::new();
    let folder = site.folder();
    for (name, script) in
        [("holder.sh", include_str!("attack/holder.sh")), ("taker.sh", include_str!("attack/taker.sh"))]
    {
        folder.file(name, script);
    }
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().expect("mkfifo").success());
    let (log, observer) = (Log::new(&folder.path().join("log")), site.observer());
    // As if all others died with the lock in their hands, one after the other.
    let patience = Duration::from_secs(60) + plan::TAKE_TTL * u32::try_from(workers).expect("a small number");
    let arena = Arena {
        folder: &folder,
        log: &log,
        server: site.server(),
        skew: skew(&folder),
        heartbeat: plan::heartbeat(workers),
        patience,
    };
    let start = Instant::now();
    let turns = play(&arena, &plans(seed, count, site.server().is_some()), workers, seed);
    let length = start.elapsed();
    clear(&folder, patience);
    let history = observer.stop();
    let lines = log.lines();
    report(&turns, &history, length);

    let mut wrong: Vec<String> = turns.iter().filter_map(Turn::wrong).collect();
    for check in [
        checks::exclusion(&lines),
        checks::holders(&history),
        checks::order(&history, &lines),
        checks::places_are_kept(&history, &lines),
    ] {
        wrong.extend(check);
    }
    wrong.extend(clocks(&history, &turns));
    if log::entered(&lines).len() < count {
        wrong.push(format!("{} of {count} acquisitions have happened", log::entered(&lines).len()));
    }
    wrong.dedup();
    assert!(
        wrong.is_empty(),
        "{} things are wrong:\n{}{}",
        wrong.len(),
        wrong[..wrong.len().min(50)].join("\n"),
        evidence(&arena, &wrong)
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes(&folder.path().display().to_string()).is_empty() {
        assert!(Instant::now() < deadline, "{:?} are left", processes(&folder.path().display().to_string()));
        sleep(Duration::from_millis(50));
    }
}

/// What those have said with whom something is wrong.
fn evidence(arena: &Arena, wrong: &[String]) -> String {
    let names = wrong
        .iter()
        .flat_map(|text| text.split([' ', ',']))
        .filter(|word| word.starts_with('t') && arena.words(word).exists());
    let names: std::collections::BTreeSet<&str> = names.collect();
    let words = |name: &&str| std::fs::read_to_string(arena.words(name)).unwrap_or_default();
    names.iter().take(10).map(|name| format!("\n--- {name}\n{}", words(name))).collect()
}
