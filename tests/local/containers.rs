//! Containers of one machine that share a user's folders, as those of development with one home do: it is the same
//! time of running of the machine, and no process of the one is seen in the other.

use std::process::Command;

use serde_json::Value;

use crate::harness::Local;
use crate::support::{Called, binary};

const APART: [&str; 3] = ["--pid", "--fork", "--mount-proc"];

/// Calls testbed where no other process is seen; all that it starts ends with it.
fn elsewhere(local: &Local, args: &[&str]) -> Called {
    let mut apart = Command::new("unshare");
    let testbed = local.command(&[]);
    apart.args(APART).arg(binary()).args(args).current_dir(local.path()).env_clear();
    apart.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Called::new(args, apart.output().unwrap())
}

fn cannot_be_apart() -> bool {
    let can = Command::new("unshare").args(APART).arg("true").output();
    let cannot = !can.is_ok_and(|output| output.status.success());
    if cannot {
        eprintln!("skipped: unshare makes no namespace of processes here");
    }
    cannot
}

fn states(called: &Called) -> Vec<String> {
    let rows: Vec<Value> = serde_json::from_str(&called.stdout).unwrap();
    rows.iter().map(|row| format!("{} {}", row["runId"], row["state"]).replace('"', "")).collect()
}

#[test]
fn a_run_of_another_container_is_told_and_left_alone() {
    if cannot_be_apart() {
        return;
    }
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--with", "mariadb", "--run-id", "r"]);
    let status = ["status", "-o", "json"];
    assert_eq!(states(&elsewhere(&local, &status).ok()), ["r Elsewhere", "r Elsewhere"]);
    let _ = elsewhere(&local, &["gc", "--dry-run"]).ok().keeps("would ");
    let _ = elsewhere(&local, &["gc"]).ok().keeps("removed ");
    for (args, code) in [
        (&["down"][..], 5),
        (&["down", "--run-id", "r"], 5),
        (&["restart", "postgres"], 1),
        (&["exec", "--", "true"], 1),
        (&["env"], 1),
        (&["up", "--with", "postgres", "--with", "mariadb", "--run-id", "r"], 1),
    ] {
        elsewhere(&local, args)
            .fails(code)
            .says("run r is of another container of this machine, whose processes cannot be seen from here")
            .says("hint: call testbed in that container; if it is gone for good, delete ");
    }
    databases.iter().for_each(|database| database.assert_takes_logins());
    // Each has the server that a restart has started, too.
    local.call(&["restart", "postgres"]).ok();
    local.call(&["restart", "mariadb"]).ok();
    assert_eq!(states(&elsewhere(&local, &status).ok()), ["r Elsewhere", "r Elsewhere"]);
    assert_eq!(states(&local.call(&status).ok()), ["r Running", "r Running"]);
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn one_that_a_testbed_works_on_in_another_container_is_not_asked_to_end() {
    if cannot_be_apart() {
        return;
    }
    let local = Local::new();
    let command = ["--", "sh", "-c", "echo ready >&2; read line < go"];
    assert!(Command::new("mkfifo").arg(local.path().join("go")).status().unwrap().success());
    let mut run = local.start(&[&["run", "--with", "postgres", "--run-id", "r"][..], &command].concat());
    run.until_it_says("ready\n");
    let _ = elsewhere(&local, &["status"]).ok().keeps("removed ");
    elsewhere(&local, &["down", "--run-id", "r"]).fails(5).says("run r is of another container");
    std::fs::write(local.path().join("go"), "\n").unwrap();
    let _ = run.wait().ok();
    local.assert_nothing_left();
}

#[test]
fn what_a_container_has_left_that_has_ended_is_removed() {
    if cannot_be_apart() {
        return;
    }
    let local = Local::new();
    for remove in [&["gc"][..], &["down", "--run-id", "r"]] {
        elsewhere(&local, &["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
        assert_eq!(states(&local.call(&["status", "-o", "json"]).ok()), ["r Ended"]);
        local.call(remove).ok();
        local.assert_nothing_left();
    }
}

/// As of what `docker exec` or `nsenter` starts: no process of the session, nor of the group, is in the container.
#[test]
fn whose_session_and_group_are_of_outside_a_container_works_as_any() {
    if cannot_be_apart() {
        return;
    }
    let local = Local::new();
    std::fs::write(local.path().join("a.sql"), "CREATE TABLE a (i int)").unwrap();
    std::fs::write(local.path().join("a.sh"), "setsid sleep 1000 >/dev/null 2>&1 &\n").unwrap();
    let project = "databases:\n  shop: {use: postgres, seed: {files: [a.sql], run: sh a.sh}}\n";
    std::fs::write(local.path().join("testbed.yaml"), project).unwrap();
    let command = ["run", "--", "psql", "-Atc", r"\dt"];
    let listed = elsewhere(&local, &command).ok();
    assert!(listed.stdout.starts_with("public|a|table|"), "{}", listed.stdout);
    elsewhere(&local, &["up"]).ok();
    elsewhere(&local, &["gc"]).ok();
    local.assert_nothing_left();
}
