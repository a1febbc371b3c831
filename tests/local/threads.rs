//! The system may refuse a thread: at the start that is an error, and amid a run no reason to leave anything
//! behind.

use std::os::unix::fs::chown;
use std::process::Command;

use crate::account::is_root;
use crate::harness::Local;
use crate::support::{Called, Folder, binary};

/// A folder of a user's own, and a user that nobody else is.
fn home(user: u32) -> Option<Local> {
    let is_reachable = std::path::Path::new(binary()).ancestors().all(|part| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(part).unwrap().mode() & 0o001 != 0
    });
    if !is_root() || !is_reachable {
        eprintln!("skipped: this needs a user of its own, for whom {} can be reached", binary());
        return None;
    }
    let folder = Folder::new();
    chown(folder.path(), Some(user), Some(user)).unwrap();
    Some(Local::of(folder.env("TESTBED_RUNTIME", "local")))
}

fn call(local: &Local, user: u32, limit: &[&str], args: &[&str]) -> Called {
    let testbed = local.command(&[]);
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"])
        .args(limit)
        .arg(binary())
        .args(args);
    command
        .current_dir(local.path())
        .env_clear()
        .envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Called::new(args, command.output().expect("setpriv"))
}

#[test]
fn without_a_thread_nothing_is_started() {
    let user = 54321;
    let Some(local) = home(user) else { return };
    for args in [
        &["up", "--with", "mariadb", "--run-id", "r"][..],
        &["run", "--with", "mariadb", "--", "true"],
        &["down", "--run-id", "r"],
    ] {
        let called = call(&local, user, &["prlimit", "--nproc=1"], args).fails(1);
        called
            .says("error: starting up: starting a thread: Resource temporarily unavailable")
            .says("hint: ")
            .says("ulimit -u");
    }
    local.assert_nothing_left();
}

#[test]
fn a_limit_amid_a_run_leaves_nothing() {
    let user = 54322;
    let Some(local) = home(user) else { return };
    let script = "prlimit --pid $PPID --nproc=1 && exit 7";
    let args =
        ["run", "--with", "mariadb", "--with", "mariadb=other", "--run-id", "r", "--", "sh", "-c", script];
    for _ in 0..3 {
        call(&local, user, &[], &args).ends(7);
        local.assert_nothing_left();
    }
}
