//! What goes wrong on a machine: one clear error each, and nothing left.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::account::is_root;
use crate::harness::{Local, is_alive, until};
use crate::manifests::manifest;
use crate::support::{Called, Folder, binary};

#[test]
fn a_server_that_dies_at_its_start_shows_the_end_of_its_log() {
    let local = Local::new();
    for (engine, args, part) in [
        ("postgres", "-c shared_buffers=none", "invalid value for parameter \"shared_buffers\""),
        ("mariadb", "--no-such-setting=hush-hush", "unknown variable 'no-such-setting=***'"),
    ] {
        let param = format!("args={args}");
        let up = local
            .call(&[
                "up",
                "-v",
                "--with",
                engine,
                "--run-id",
                "r",
                "--param",
                &param,
                "--param",
                "password=hush-hush",
            ])
            .fails(4);
        let up = up
            .says(&format!("error: {engine}: "))
            .says(" ended while it started (exit status: ")
            .says("the end of its log:")
            .says(part)
            .keeps("hush-hush");
        assert!(up.stderr.matches("for the first time").count() <= 1, "its data folder is not to blame");
        local.assert_nothing_left();
    }
}

#[test]
fn one_database_that_fails_takes_the_others_with_it() {
    let local = Local::new();
    local.file("m.yaml", &manifest("mariadb", "", &[("1.sh", "exit 1")]));
    local
        .call(&["up", "m.yaml", "--with", "postgres", "--run-id", "r"])
        .fails(4)
        .says("error: db: the set-up script 1.sh");
    local.assert_nothing_left();
}

/// A PostgreSQL whose first start finds its port taken: another process has come first between testbed's
/// choice and the server's.
#[test]
fn a_port_that_is_taken_meanwhile_is_another_one_the_next_time() {
    let local = Local::new();
    let marks = local.path().join("bin/marks");
    std::fs::create_dir_all(&marks).unwrap();
    std::fs::set_permissions(&marks, std::fs::Permissions::from_mode(0o777)).unwrap();
    let param = local.in_place_of_postgres(|program| {
        format!(
            "import os, socket, subprocess, sys
words = sys.argv[1:]
if '-p' in words and not os.path.exists('{marks}/taken'):
    taken = socket.socket()
    taken.bind(('127.0.0.1', int(words[words.index('-p') + 1])))
    taken.listen()
    open('{marks}/taken', 'w').write(words[words.index('-p') + 1])
    sys.exit(subprocess.call(['{program}'] + words))
os.execv('{program}', ['{program}'] + words)
",
            marks = marks.display()
        )
    });
    let run = local
        .call(&[
            "run",
            "-v",
            "--with",
            "postgres",
            "--param",
            &param,
            "--",
            "sh",
            "-c",
            "psql -XAtc 'SELECT 7'",
        ])
        .ok();
    let taken = local.read("bin/marks/taken");
    assert_eq!(run.stdout, "7\n");
    run.says(&format!("postgres: starting (port {taken} was taken meanwhile, trying another one)"));
    local.assert_nothing_left();
}

#[test]
fn data_of_another_time_of_the_machine_goes_without_a_signal_to_anybody() {
    let local = Local::new();
    local.call(&["up", "--with", "mariadb", "--run-id", "r"]).ok();
    let pid = u32::try_from(
        local.record("r").unwrap()["place"]["local"]["servers"][0]["process"]["pid"].as_u64().unwrap(),
    )
    .unwrap();
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    until("the server's end", || (!is_alive(pid)).then_some(()));
    // Somebody else has the number now.
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let start = std::fs::read_to_string(format!("/proc/{}/stat", other.id())).unwrap();
    let start: u64 = start.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    local.change_record("r", |record| {
        let local = &mut record["place"]["local"];
        local["boot"] = "another".into();
        local["servers"][0]["process"] = serde_json::json!({"pid": other.id(), "start": start});
    });
    local
        .call(&["status"])
        .ok()
        .says("removed run r: the testbed that worked on it was killed, or the machine restarted");
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(!local.has("testing-databases.json"));
}

#[test]
fn a_number_that_is_used_again_is_nobody_of_the_run() {
    let local = Local::new();
    local.call(&["up", "--with", "mariadb", "--run-id", "r"]).ok();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    local.change_record("r", |record| {
        record["place"]["local"]["servers"][0]["process"]["pid"] = other.id().into();
    });
    assert!(local.call(&["status"]).ok().stdout.contains(" Ended "));
    local.call(&["down"]).ok();
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_cancelled_wait_tells_what_was_not_ready() {
    let local = Local::new();
    let up = local.call(&["up", "--with", "mariadb", "--run-id", "r", "--timeout", "1ms"]).fails(3);
    up.says("error: not ready within 1ms: mariadb");
    local.assert_nothing_left();
}

/// Runs testbed where a folder of the test is a small file system of its own, which only root can make.
fn on_small_disk(local: &Local, folder: &str, options: &str, args: &[&str]) -> Called {
    let path = local.path().join(folder);
    std::fs::create_dir_all(&path).unwrap();
    let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && shift 2 && \"$@\"; code=$?
        mount -o remount,rw \"$0\" 2>/dev/null; find \"$0\" -type f ! -name .lock ! -name '*.lock' ! -name servers.json; exit $code";
    let testbed = local.command(&[]);
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "sh",
            "-c",
            script,
            path.to_str().unwrap(),
            options,
            path.to_str().unwrap(),
            binary(),
        ])
        .args(args);
    command
        .current_dir(local.path())
        .env_clear()
        .envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Called::new(args, command.output().expect("unshare"))
}

#[test]
fn what_is_mounted_in_a_runs_folder_stays() {
    if skipped() {
        return;
    }
    let local = Local::new();
    local.up(&["--with", "postgres", "--run-id", "r"]);
    let record = local.record("r").expect("a record");
    let data = record["place"]["local"]["servers"][0]["data"].as_str().unwrap().to_owned();
    let mounted = format!("{data}/mnt");
    std::fs::create_dir(&mounted).unwrap();
    std::fs::create_dir(local.path().join("mine")).unwrap();
    local.file("mine/file", "");
    let testbed = local.command(&[]);
    let args = ["down", "--run-id", "r"];
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(local.path().join("mine")).args([&mounted, binary()]);
    command.args(args).current_dir(local.path()).env_clear();
    command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let called = Called::new(&args, command.output().expect("unshare"));
    called.fails(5).says("something is mounted on the folder mnt in it: unmount it");
    assert!(local.has("mine/file"));
    local.call(&args).ok();
    local.assert_nothing_left();
}

fn skipped() -> bool {
    let skipped = !is_root();
    if skipped {
        eprintln!("skipped: only root can make a file system");
    }
    skipped
}

#[test]
fn a_full_disk_for_the_data_is_told_and_left_empty() {
    if skipped() {
        return;
    }
    for (engine, size) in [("postgres", "10m"), ("mariadb", "10m"), ("mariadb", "21m")] {
        let local = Local::new();
        let up = on_small_disk(
            &local,
            "state",
            &format!("size={size},mode=755"),
            &["up", "--with", engine, "--run-id", "r", "--timeout", "20s"],
        );
        let codes = [Some(1), Some(3), Some(4)];
        let errors = up.stderr.lines().filter(|line| line.starts_with("error:")).count();
        let left = up.stdout.lines().filter(|path| !path.contains("/testbed/history.db")).count();
        assert!(codes.contains(&up.code) && errors == 1 && left == 0, "{engine} {size}: {}", up.transcript());
        assert!(!up.stderr.contains("not all of it"), "{}", up.transcript());
        let is_told =
            ["No space left on device", "out of disk space"].iter().any(|words| up.stderr.contains(words));
        assert!(is_told, "{}", up.transcript());
        local.assert_nothing_left();
    }
}

#[test]
fn a_full_disk_for_the_cache_is_told_and_left_empty() {
    if skipped() {
        return;
    }
    let local = Local::with_cold_cache();
    let up =
        on_small_disk(&local, "cache", "size=10m,mode=755", &["up", "--with", "postgres", "--run-id", "r"])
            .fails(4);
    up.says("error: preparing a data folder: ").says("No space left on device");
}

#[test]
fn a_state_folder_that_cannot_be_written_is_told() {
    if skipped() {
        return;
    }
    let local = Local::new();
    let up =
        on_small_disk(&local, "state", "ro,size=1m,mode=755", &["up", "--with", "mariadb", "--run-id", "r"])
            .fails(1);
    up.says("making the state folder ")
        .says("Read-only file system")
        .says("hint: set XDG_STATE_HOME to a folder that can be written");
}

#[test]
fn no_home_at_all_is_told() {
    let folder = Folder::new().env("TESTBED_RUNTIME", "local").env("HOME", "").env("XDG_STATE_HOME", "");
    let local = Local::of(folder);
    local.call(&["up", "--with", "mariadb"]).fails(1).says("there is no state folder").says("hint: set HOME");
}
