//! A run whose record cannot be read is told by its name, and is not taken for one that is not there.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Local, listens, working_below};
use crate::support::{Called, binary};

/// Ways to make a record that nobody can read.
type Damage = fn(&Path);

#[test]
fn a_record_that_cannot_be_read_is_told_and_gc_removes_what_is_left_of_its_run() {
    let damages: [(&str, Damage); 6] = [
        ("damaged", |record| std::fs::write(record, "{\"run_id\":").unwrap()),
        ("another version", |record| {
            let text = std::fs::read_to_string(record).unwrap();
            std::fs::write(record, text.replace("\"phase\":\"up\"", "\"phase\":\"flying\"")).unwrap();
        }),
        ("another's", |record| {
            let text = std::fs::read_to_string(record).unwrap();
            std::fs::write(record, text.replace("\"run_id\":\"r\"", "\"run_id\":\"other\"")).unwrap();
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

/// Every place of a document, as JSON Pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| places(value, &format!("{at}/{}", escaped(key)), found));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Of another type, size or meaning than testbed writes: it is told or passed over, and nobody else suffers.
#[test]
fn nothing_in_a_record_is_taken_on_trust() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    let whole = local.record("r").unwrap();
    let mut all = Vec::new();
    places(&whole, "", &mut all);
    let hostile = [
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("../../.."),
        json!("\u{1b}[2J\u{0}\n"),
        json!("9999-12-31T23:59:59.999Z"),
        json!("x".repeat(1 << 20)),
        json!([[[]]]),
        json!({"": null}),
    ];
    let commands = [
        &["status"][..],
        &["env"],
        &["logs", "--tail", "1"],
        &["gc", "--dry-run"],
        &["status", "-o", "json"],
    ];
    for (number, place) in all.iter().enumerate() {
        // Another one is a machine that has been restarted, and the run is removed.
        if place == "/place/local/boot" {
            continue;
        }
        for step in 0..2 {
            let number = 2 * number + step;
            local.change_record("r", |record| {
                *record.pointer_mut(place).unwrap() = hostile[number % hostile.len()].clone();
            });
            let called = local.call(commands[number % commands.len()]);
            let what = format!(
                "{place} is {:.40}: {}",
                hostile[number % hostile.len()].to_string(),
                called.transcript()
            );
            assert!(matches!(called.code, Some(0..=2)) && !called.stderr.contains("panicked"), "{what}");
            assert!(!called.stderr.contains('\u{1b}') && called.stderr.len() < 100_000, "{what}");
            local.change_record("r", |record| *record = whole.clone());
        }
    }
    // A folder of the run's name is not its own for that.
    let victim = local.path().join("r.victim");
    for note in [None, Some("/nowhere/runs/r")] {
        std::fs::create_dir_all(victim.join("precious")).unwrap();
        note.iter().for_each(|note| std::fs::write(victim.join("registry"), note).unwrap());
        local.change_record("r", |record| record["place"]["local"]["data"] = json!(victim));
        local.call(&["down"]).fails(5).says("is damaged: run r has no data in ");
        assert!(victim.join("precious").is_dir());
        local.change_record("r", |record| *record = whole.clone());
    }
    let databases = whole["databases"][0]["port"].as_u64().unwrap();
    assert!(listens(databases.try_into().unwrap()), "the server is still there");
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

/// Calls a testbed that may have so many files open.
fn call_with_open_files(local: &Local, limit: usize, command: &[&str]) -> Called {
    let mut limited = Command::new("prlimit");
    let testbed = local.command(&[]);
    limited.arg(format!("--nofile={limit}")).arg(binary()).args(command).args(["--history", "none"]);
    limited
        .current_dir(local.path())
        .env_clear()
        .envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Called::new(command, limited.output().unwrap())
}

#[test]
fn too_few_open_files_are_no_reason_to_forget_a_run() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    for limit in 3..40 {
        call_with_open_files(&local, limit, &["gc"]);
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
fn data_of_a_run_that_is_noted_nowhere_goes_with_down() {
    let local = Local::new();
    for lost in ["runs/r/run.json", "runs/r"] {
        local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
        local.call(&["up", "--with", "postgres", "--run-id", "r.1", "--output", "-"]).fails(2);
        let lost = local.state().join(lost);
        if lost.is_dir() { std::fs::remove_dir_all(lost) } else { std::fs::remove_file(lost) }.unwrap();
        local.call(&["down", "--run-id", "r"]).ok().says("it was not noted any more");
        local.assert_nothing_left();
    }
}

#[test]
fn what_somebody_keeps_beside_records_stays() {
    let local = Local::new();
    local.call(&["up", "--with", "sqlite", "--run-id", "r", "--output", "-"]).ok();
    let notes = local.state().join("runs/notes");
    std::fs::create_dir(&notes).unwrap();
    std::fs::write(notes.join("mine.txt"), "mine").unwrap();
    local.call(&["down", "--run-id", "r"]).ok();
    local.call(&["gc"]).ok();
    assert_eq!(std::fs::read_to_string(notes.join("mine.txt")).unwrap(), "mine");
    std::fs::remove_dir_all(notes).unwrap();
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
        assert!(
            called.stderr.contains("odd-") && called.stderr.contains("is no UTF-8"),
            "{variable}: {}",
            called.stderr
        );
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
    command
        .args(["--mount", "sh", "-c", FULL, crate::support::binary()])
        .current_dir(local.path())
        .env_clear();
    let output =
        command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?)))).output().unwrap();
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

#[test]
fn what_a_run_of_an_unreadable_record_has_in_a_cluster_is_told() {
    let local = Local::new();
    let whole =
        r#"{"run_id":"c","phase":"flying","place":{"kubernetes":{"context":"prod","namespace":"ci"}}}"#;
    for (text, down) in
        [(whole, "testbed down --run-id c --context prod -n ci"), (&whole[..80], "testbed down --run-id c")]
    {
        let folder = local.state().join("runs/c");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("run.json"), text).unwrap();
        local.call(&["gc", "--dry-run"]).ok().says("would remove run c");
        local.call(&["gc"]).fails(5).says("what it has in a cluster is still there").says(down);
        local.call(&["gc"]).ok();
        // Where nothing tells, both are possible.
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("run.json"), "").unwrap();
        local.call(&["gc"]).ok().says("if it was in a cluster").says("testbed down --run-id c");
    }
    local.assert_nothing_left();
}

#[test]
fn data_that_would_be_swept_is_told() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    std::fs::remove_dir_all(local.state().join("runs/r")).unwrap();
    local
        .call(&["gc", "--dry-run"])
        .ok()
        .says("would remove ")
        .says("the run that it belongs to is not noted any more");
    assert!(!working_below(local.path()).is_empty());
    local.call(&["gc"]).ok();
    let _ = local.call(&["down"]);
    local.assert_nothing_left();
}

#[test]
fn a_record_that_cannot_be_read_may_be_that_of_the_folders_run() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    let record = local.state().join("runs/r/run.json");
    let text = std::fs::read(&record).unwrap();
    std::fs::write(&record, "{").unwrap();
    let told = local.call(&["down"]).fails(5).says("cannot be read").says("--run-id");
    assert!(told.stderr.contains(local.state().join("runs/r").to_str().unwrap()), "{}", told.stderr);
    std::fs::write(&record, text).unwrap();
    local.call(&["down", "--run-id", "r"]).ok().says("run r is gone");
}

#[test]
fn logs_of_a_run_whose_record_cannot_be_read_are_not_said_to_be_none() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    let record = local.state().join("runs/r/run.json");
    let text = std::fs::read(&record).unwrap();
    std::fs::write(&record, "{").unwrap();
    for args in [&["history", "logs", "r"][..], &["history", "logs"]] {
        local.call(args).fails(1).says("the record of run r in").says("cannot be read");
    }
    std::fs::write(&record, text).unwrap();
    local.call(&["history", "logs", "r"]).ok();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn with_too_few_open_files_nothing_is_said_to_be_absent() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    for command in [&["status"][..], &["gc"], &["down"]] {
        for limit in 3..30 {
            let called = call_with_open_files(&local, limit, command);
            if called.code == Some(0) {
                // It had enough, and knows of the run.
                let knows = called.stdout.contains("127.0.0.1")
                    || called.stderr.contains("run r is gone")
                    || command == ["gc"];
                assert!(knows, "with {limit} open files: {}", called.transcript());
                break;
            }
            // Below that not even the program itself can be loaded.
            let is_loader =
                called.code == Some(127) && called.stderr.contains("error while loading shared libraries");
            let is_told = matches!(called.code, Some(1 | 5))
                && called.stderr.contains("error:")
                && called.stderr.contains("open files");
            assert!(is_loader || is_told, "with {limit} open files: {}", called.transcript());
            assert!(local.record("r").is_some(), "with {limit} open files: {}", called.transcript());
        }
    }
    let _ = local.call(&["down", "--run-id", "r"]);
    local.assert_nothing_left();
}

#[test]
fn a_lock_is_waited_for_no_longer_than_the_timeout() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-"]).ok();
    let lock = std::fs::File::options().append(true).open(local.state().join("runs/.lock")).unwrap();
    lock.lock().unwrap();
    for command in [&["down", "--run-id", "r"][..], &["gc"]] {
        let began = Instant::now();
        let called = local.call(&[command, &["--timeout", "1s"]].concat());
        called.says("another process has held it");
        assert!(began.elapsed() < Duration::from_secs(4), "{command:?} took {:?}", began.elapsed());
    }
    drop(lock);
    local.call(&["down", "--run-id", "r"]).ok();
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

/// What ends with its call takes no other run's place in the folder's memory.
#[test]
fn an_up_that_is_held_leaves_the_earlier_one_remembered() {
    let local = Local::new();
    local.call(&["up", "--with", "mariadb", "--run-id", "stays"]).ok();
    let mut held =
        local.start(&["up", "--with", "mariadb", "--run-id", "held", "--forward", "--output", "held.json"]);
    held.until_it_says("the databases stay up until Ctrl-C");
    held.signal("INT");
    assert_eq!(held.wait().code, Some(130));
    local.call(&["down"]).ok().says("run stays is gone");
    local.assert_nothing_left();
}

#[test]
fn a_restart_and_logs_leave_alone_what_is_not_the_runs() {
    let local = Local::new();
    for id in ["one", "two"] {
        local.call(&["up", "--with", "postgres", "--run-id", id, "--output", "-"]).ok();
    }
    let (whole, other) = (local.record("one").unwrap(), local.record("two").unwrap());
    let server = |record: &Value| record["place"]["local"]["servers"][0].clone();
    let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.id())).unwrap();
    let start: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let secret = local.file("secret", "secret\n");
    let data = server(&other)["data"].as_str().unwrap().to_owned();
    let damage = |field: &str, value: &Value, says: &str| {
        local.change_record("one", |record| {
            *record = whole.clone();
            record["place"]["local"]["servers"][0][field] = value.clone();
        });
        if says.is_empty() {
            local.call(&["restart", "--run-id", "one"]).ok();
        } else {
            local.call(&["restart", "--run-id", "one"]).fails(1).says(says);
        }
    };
    damage("data", &json!(data), "the record of run one is damaged: ");
    damage("log", &json!(secret), "the record of run one is damaged: ");
    damage("log", &json!(format!("{data}/../../../../x")), "the record of run one is damaged: ");
    local.change_record("one", |record| {
        *record = whole.clone();
        record["place"]["local"]["logs"] = json!([["postgres", secret]]);
    });
    let logs = local.call(&["logs", "--run-id", "one"]).fails(1).says("the record of run one is damaged: ");
    assert_eq!(logs.stdout, "");
    local.change_record("one", |record| {
        *record = whole.clone();
        record["place"]["local"]["boot"] = json!("another");
    });
    local.call(&["restart", "--run-id", "one"]).fails(1).says("the machine was restarted");
    // Another's process is no reason to do nothing.
    damage("process", &json!({"pid": sleeper.id(), "start": start}), "");
    let now = local.record("one").unwrap();
    local.change_record("one", |record| {
        record["place"]["local"]["servers"][0]["process"] = server(&other)["process"].clone();
    });
    local.call(&["restart", "--run-id", "one"]).ok();
    assert_ne!(server(&now)["process"], server(&local.record("one").unwrap())["process"]);
    assert_eq!(sleeper.try_wait().unwrap(), None);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let pid = server(&other)["process"]["pid"].as_u64().unwrap();
    assert!(
        crate::harness::is_alive(pid.try_into().unwrap()) && Path::new(&data).join("postmaster.pid").exists()
    );
    assert_eq!(local.read("secret"), "secret\n");
    for id in ["one", "two"] {
        local.call(&["down", "--run-id", id]).ok();
    }
    local.assert_nothing_left();
}
