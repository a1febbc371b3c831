//! A testbed that is killed at any moment leaves nothing that the next command does not take away, and nobody
//! else suffers.
//!
//! The moments are random. A failure shows the seed; `TESTBED_TEST_SEED` repeats its moments.

use std::time::Duration;

use crate::harness::{Local, count, is_alive, making, until};
use crate::support::random::Random;
use crate::victims::{DATABASES, Innocent, Left, timed};

fn kills() -> usize {
    count("TESTBED_TEST_KILLS", 4)
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
    let removed =
        status.stderr.contains(&format!("removed run {id}: the testbed that worked on it was killed"));
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

/// The command is there, and perhaps nobody has noted it yet.
#[test]
fn run_is_killed_by_the_first_that_its_command_does() {
    let local = Local::new();
    let script = "echo $$ > pid; kill -KILL $PPID; exec sleep 1000 >/dev/null 2>&1";
    let run = ["run", "--run-id", "victim", "--with", "postgres", "--", "sh", "-c", script];
    for stays in [false, true] {
        if stays {
            local.up(&["--run-id", "victim", "--with", "postgres"]);
        }
        for _ in 0..kills() {
            assert_eq!(local.call(&run).signal, Some(9));
            let told = if stays {
                "ended what a killed testbed was running on run victim"
            } else {
                "removed run victim: "
            };
            local.call(&["status"]).ok().says(told);
            let command = local.read("pid").trim().parse().unwrap();
            assert!(!is_alive(command), "the command goes on");
        }
    }
    local.call(&["down", "--run-id", "victim"]).ok();
    local.assert_nothing_left();
}

#[test]
fn down_is_killed() {
    let (local, mut random) = (Local::new(), Random::new());
    let innocent = Innocent::up(&local);
    let mut whole = Duration::from_millis(100);
    for number in 0..kills() {
        let id = format!("victim-{number}");
        let output = format!("{id}.json");
        let up =
            || local.call(&[&["up", "--run-id", &id, "--output", &output][..], &DATABASES].concat()).ok();
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
            assert!(
                up.child.try_wait().unwrap().is_none() || path.exists(),
                "up has ended without a config file"
            );
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
        until("a folder that is being prepared", || {
            making(&cache).pop().filter(|path| path.join("data").exists())
        });
        up.signal("INT");
        assert_eq!(up.child.wait().unwrap().code(), Some(130));
        local.assert_nothing_left();
    }
}
