//! A run whose record cannot be read is told by its name, and is not taken for one that is not there.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Local, working_below};

/// Ways to make a record that nobody can read.
type Damage = fn(&Path);

#[test]
fn a_record_that_cannot_be_read_is_told_and_gc_removes_what_is_left_of_its_run() {
    let damages: [(&str, Damage); 5] = [
        ("damaged", |record| std::fs::write(record, "{\"run_id\":").unwrap()),
        ("another version", |record| {
            let text = std::fs::read_to_string(record).unwrap();
            std::fs::write(record, text.replace("\"phase\":\"up\"", "\"phase\":\"flying\"")).unwrap();
        }),
        ("a link loop", |record| {
            std::fs::remove_file(record).unwrap();
            symlink(record, record).unwrap();
        }),
        ("endless", |record| {
            std::fs::remove_file(record).unwrap();
            symlink("/dev/zero", record).unwrap();
        }),
        ("a folder", |record| {
            std::fs::remove_file(record).unwrap();
            std::fs::create_dir(record).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let local = Local::new();
        local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
        damage(&local.state().join("runs/r/run.json"));
        let says = |called: crate::support::Called| {
            assert!(
                called.stderr.contains("the record of run r in") && called.stderr.contains("cannot be read"),
                "{what}: {}",
                called.stderr
            );
        };
        says(local.call(&["status"]).fails(1));
        says(local.call(&["down", "--run-id", "r"]).fails(5));
        says(local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).fails(1));
        local.call(&["gc", "--dry-run"]).ok().says("would remove run r");
        assert!(!working_below(local.path()).is_empty(), "{what}: the server is still there");
        local.call(&["gc"]).ok().says("removed run r: its record could not be read");
        assert!(working_below(local.path()).is_empty(), "{what}");
        local.assert_nothing_left();
    }
}

#[test]
fn too_few_open_files_are_no_reason_to_forget_a_run() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    for limit in 3..40 {
        let mut command = std::process::Command::new("prlimit");
        let testbed = local.command(&[]);
        command.arg(format!("--nofile={limit}")).arg(crate::support::binary()).args(["gc", "--history", "none"]);
        command.current_dir(local.path()).env_clear().envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.output().unwrap();
        assert!(local.record("r").is_some(), "with {limit} open files");
    }
    assert!(!working_below(local.path()).is_empty());
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn data_of_a_run_that_is_noted_nowhere_is_swept() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    std::fs::remove_dir_all(local.state().join("runs/r")).unwrap();
    local.call(&["gc"]).ok().says("the run that it belongs to is not noted any more");
    let _ = local.call(&["down"]);
    local.assert_nothing_left();
}

#[test]
fn folders_that_are_no_utf_8_are_refused_by_name() {
    let local = Local::new();
    let odd = local.path().join(std::ffi::OsStr::from_bytes(b"odd-\xff"));
    std::fs::create_dir(&odd).unwrap();
    for variable in ["XDG_STATE_HOME", "XDG_CACHE_HOME", "PWD"] {
        let mut command = local.command(&["up", "--with", "postgres"]);
        if variable == "PWD" {
            command.current_dir(&odd)
        } else {
            command.env(variable, &odd)
        };
        let called = crate::support::Called::new(&[variable], command.output().unwrap()).fails(2);
        assert!(called.stderr.contains("odd-") && called.stderr.contains("is no UTF-8"), "{variable}: {}", called.stderr);
    }
    assert!(std::fs::read_dir(&odd).unwrap().next().is_none());
}

/// A disk of its own that is full while the run is removed.
const FULL: &str = r#"mkdir -p state && mount -t tmpfs -o size=96M,mode=755 none state || exit 77
"$0" up --with postgres --run-id r --output - > said 2>&1 || { cat said; exit 1; }
cat /dev/zero > state/fill 2> errors
"$0" down --run-id r || exit 1
rm state/fill
"$0" history list; code=$?
umount -l state; rmdir state; exit $code"#;

#[test]
fn an_end_that_a_full_disk_did_not_take_is_told_and_written_by_a_later_command() {
    let local = Local::new();
    let testbed = local.command(&[]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", FULL, crate::support::binary()]).current_dir(local.path()).env_clear();
    let output = command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?)))).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) || text.contains("unshare failed") {
        eprintln!("skipped: this user may not mount anything: {text}");
        return;
    }
    let called = crate::support::Called::new(&["down"], output);
    // What fits into what the file has already is written, and there is nothing to tell.
    let is_told = called.stderr.contains("the run's story is not complete in the archive");
    assert!(is_told || called.stdout.contains(" done "), "{}{}", called.stderr, called.stdout);
    assert!(!called.stdout.contains(" up "), "{}", called.stdout);
    called.ok();
}

/// Between the removal of a run and the last word about it.
#[test]
fn an_end_that_a_killed_down_did_not_tell_is_written_by_a_later_command() {
    let local = Local::new();
    local.call(&["up", "--with", "mariadb", "--run-id", "r"]).ok();
    local.call(&["down"]).ok();
    let file = local.state().join("history.db");
    let sql = "UPDATE runs SET ended = NULL; UPDATE stories SET story = json_set(story, '$.ended', NULL)";
    rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
    let answer = local.call(&["history", "show", "r", "-o", "json"]).ok();
    let story: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(story["status"], "done");
    assert!(story["ended"].is_string(), "{story:#}");
}
