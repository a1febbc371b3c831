//! `testbed gc`: what was left behind goes, and a dry run only tells.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Local, is_alive, until};

#[test]
fn gc_removes_what_nobody_needs_and_nothing_else() {
    let local = Local::new();
    for args in [&["gc"][..], &["gc", "--dry-run"]] {
        assert_eq!(local.call(args).ok().story(), ["nothing to remove on this machine"]);
    }
    for id in ["alive", "dead"] {
        local.call(&["up", "--with", "mariadb", "--run-id", id, "--output", &format!("{id}.json")]).ok();
    }
    let mut killed = local.start(&[
        "run",
        "--with",
        "mariadb",
        "--run-id",
        "killed",
        "--",
        "sh",
        "-c",
        "echo ready >&2; exec sleep 1000",
    ]);
    killed.until_it_says("ready\n");
    local.call(&["gc", "--dry-run"]).ok().keeps("would remove");
    killed.signal("KILL");
    killed.child.wait().unwrap();
    let pid = local.record("dead").unwrap()["place"]["local"]["servers"][0]["process"]["pid"].to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    until("the server's end", || (!is_alive(pid.parse().unwrap())).then_some(()));

    let mut would =
        local.call(&["gc", "--dry-run"]).ok().story().iter().map(ToString::to_string).collect::<Vec<_>>();
    would.sort_unstable();
    let reasons = [
        "would remove run dead: its servers have ended",
        "would remove run killed: the testbed that worked on it was killed, or the machine restarted",
    ];
    assert_eq!(would, reasons);
    assert!(local.has("dead.json") && local.record("killed").is_some());

    let gc = local
        .call(&["gc", "-o", "json"])
        .ok()
        .says("removed run killed: the testbed that worked on it was killed")
        .says("removed run dead: its servers have ended");
    let found: Vec<Value> = serde_json::from_str(&gc.stdout).unwrap();
    let found: Vec<String> = found
        .iter()
        .map(|item| {
            format!("{} {} {} {}", item["runId"], item["runtime"], item["reason"], item["removed"])
                .replace('"', "")
        })
        .collect();
    assert_eq!(found, ["killed local abandoned true", "dead local servers-ended true"]);
    assert_eq!(local.left_but(&["alive"]), Vec::<String>::new());
    assert!(!local.has("dead.json"));
    local.databases("alive.json")[0].assert_takes_logins();
    assert_eq!(local.call(&["gc"]).ok().story(), ["nothing to remove on this machine"]);
    local.call(&["down", "--run-id", "alive"]).ok();
}

#[test]
fn gc_removes_prepared_folders_that_nobody_uses() {
    let local = Local::with_cold_cache();
    local.call(&["run", "--with", "mariadb", "--", "true"]).ok();
    let prepared = local.path().join("cache/testbed/prepared");
    let entry = || {
        std::fs::read_dir(&prepared)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.join("entry.json").exists())
    };
    let kept = entry().expect("a prepared folder");
    local.call(&["gc"]).ok();
    assert!(kept.exists());
    assert!(
        Command::new("touch")
            .args(["-d", "40 days ago"])
            .arg(kept.with_extension("lock"))
            .status()
            .unwrap()
            .success()
    );
    local.call(&["gc"]).ok().says("removed 1 prepared data folder that nobody has used for a month");
    assert!(!kept.exists());
}

#[test]
fn a_run_that_cannot_be_looked_at_keeps_no_other_from_its_removal() {
    let local = Local::new();
    let odd = local.state().join("runs/odd");
    let make_odd = || {
        std::fs::create_dir_all(&odd).unwrap();
        assert!(Command::new("mkfifo").arg(odd.join("lock")).status().unwrap().success());
    };
    for (command, code) in [("status", 0), ("gc", 1)] {
        let args = [
            "run",
            "--with",
            "postgres",
            "--run-id",
            "killed",
            "--",
            "sh",
            "-c",
            "echo ready >&2; exec sleep 1000",
        ];
        let mut killed = local.start(&args);
        killed.until_it_says("ready\n");
        // It is noted a moment after its start.
        until("the command is noted", || {
            local.record("killed").filter(|record| !record["command"].is_null())
        });
        make_odd();
        killed.signal("KILL");
        killed.child.wait().unwrap();
        let called = local.call(&[command]);
        assert_eq!(called.code, Some(code), "{}", called.transcript());
        called
            .says("looking for runs that were left behind: claiming ")
            .says("runs/odd")
            .says("removed run killed: the testbed that worked on it was killed");
        std::fs::remove_dir_all(&odd).unwrap();
        local.assert_nothing_left();
    }
}
