//! As an ordinary user: where the tests run as root, the main job once more as somebody who is not.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use crate::harness::{Local, working_below};
use crate::support::{Called, Folder, binary};

const NOBODY: u32 = 65534;

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A folder of that user's own, with nothing set but HOME.
pub fn home() -> Local {
    let folder = Folder::new();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    Local::of(folder.env("TESTBED_RUNTIME", "local"))
}

pub fn as_nobody(local: &Local, args: &[&str]) -> Called {
    as_user(local, NOBODY, args)
}

fn as_user(local: &Local, uid: u32, args: &[&str]) -> Called {
    let testbed = local.command(&[]);
    let mut command = Command::new("setpriv");
    let ids = ["--reuid", "--regid"].map(|id| format!("{id}={uid}"));
    command.args(ids).args(["--clear-groups", binary()]).args(args);
    command
        .current_dir(local.path())
        .env_clear()
        .envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Called::new(args, command.output().expect("setpriv"))
}

/// As of a shell whose files are nobody else's business, and of a testbed that made its folders in one.
#[test]
fn a_strict_umask_keeps_no_server_out() {
    for umask in ["077", "027"] {
        let local = Local::with_cold_cache();
        let run = |umask: &str, engine: &str| {
            let args = ["run", "--with", engine, "--", "true"];
            let testbed = local.command(&[]);
            let mut command = Command::new("sh");
            command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), binary()]).args(args);
            command.current_dir(local.path()).env_clear();
            command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
            Called::new(&args, command.output().expect("sh"))
        };
        let _ = run(umask, "postgres").ok();
        let _ = run(umask, "mariadb").ok();
        for folder in ["state/testbed", "state/testbed/data", "cache/testbed", "cache/testbed/prepared"] {
            let folder = local.path().join(folder);
            assert!(folder.is_dir(), "{}", folder.display());
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let _ = run("022", "postgres").ok();
    }
}

/// As `unshare --map-root-user` or a container without further users: root, and nobody else.
#[test]
fn a_user_namespace_without_the_servers_user_is_told() {
    const ALONE: [&str; 2] = ["--user", "--map-root-user"];
    let can = Command::new("unshare").args(ALONE).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: unshare makes no namespace of users here");
        return;
    }
    let local = Local::new();
    let testbed = local.command(&[]);
    for args in [&["run", "--with", "postgres", "--", "true"][..], &["doctor", "--with", "postgres"]] {
        let mut command = Command::new("unshare");
        command.args(ALONE).arg(binary()).args(args).current_dir(local.path()).env_clear();
        command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let called = Called::new(args, command.output().expect("unshare"));
        let said = "this user namespace does not have the user ";
        assert!(called.transcript().contains(said), "{}", called.transcript());
        assert_eq!(called.code, Some(1), "{}", called.transcript());
        assert!(called.transcript().contains("--map-auto"), "{}", called.transcript());
    }
}

/// PostgreSQL's programs ask the system for their user's name. As in a cluster that gives each pod a user of its own.
#[test]
fn a_user_without_a_name_is_told_what_to_do() {
    if !is_root() {
        eprintln!("skipped: only root can be somebody whom nobody knows");
        return;
    }
    let folder = Folder::new();
    chown(folder.path(), Some(UNKNOWN), Some(UNKNOWN)).unwrap();
    let local = Local::of(folder.env("TESTBED_RUNTIME", "local"));
    let said = "the user 123456 has no entry in /etc/passwd";
    for (args, code) in
        [(&["run", "--with", "postgres", "--", "true"][..], 4), (&["doctor", "--with", "postgres"], 1)]
    {
        let called = as_user(&local, UNKNOWN, args);
        assert_eq!(called.code, Some(code), "{}", called.transcript());
        assert!(called.transcript().contains(said), "{}", called.transcript());
        assert!(called.transcript().contains("nss_wrapper"), "{}", called.transcript());
    }
}

const UNKNOWN: u32 = 123_456;

#[test]
fn an_ordinary_user_has_servers_of_its_own() {
    if !is_root() {
        eprintln!("skipped: the other tests run as an ordinary user already");
        return;
    }
    let local = home();
    // The program itself may be where only its owner gets.
    let is_reachable = std::path::Path::new(binary())
        .ancestors()
        .all(|part| std::fs::metadata(part).unwrap().mode() & 0o001 != 0);
    if !is_reachable {
        eprintln!("skipped: {} is in a folder that is closed to others", binary());
        return;
    }
    as_nobody(&local, &["up", "--with", "postgres", "--with", "mariadb", "--run-id", "r"]).ok();
    for database in local.databases("testing-databases.json") {
        database.assert_takes_logins();
    }
    let servers = working_below(local.path());
    assert!(servers.len() >= 2);
    for (pid, _) in servers {
        assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), NOBODY);
    }
    for folder in ["state/testbed", "state/testbed/data", "state/testbed/runs", ".cache/testbed/prepared"] {
        let metadata = std::fs::metadata(local.path().join(folder)).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (NOBODY, 0o700), "{folder}");
    }
    assert!(as_nobody(&local, &["status"]).ok().stdout.contains("Running"));
    as_nobody(&local, &["down"]).ok();
    local.assert_nothing_left();
    as_nobody(&local, &["run", "--with", "postgres", "--", "sh", "-c", "psql -c 'SELECT 1' && exit 7"])
        .ends(7);
}

#[test]
fn an_ordinary_user_whose_state_folder_is_closed() {
    if !is_root() {
        eprintln!("skipped: this needs another user");
        return;
    }
    let local = Local::new();
    // Root's folder, with root's files.
    let up = as_nobody(&local, &["up", "--with", "mariadb", "--output", "/tmp/testbed-never-written.json"])
        .fails(1);
    up.says("making the state folder")
        .says("Permission denied")
        .says("hint: set XDG_STATE_HOME to a folder that can be written");
}
