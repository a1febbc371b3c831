//! Databases that nothing gets to: a server that has ended, and a machine whose loopback device is down.

use std::process::{Command, Stdio};

use crate::account::is_root;
use crate::harness::{Local, is_alive, until};
use crate::support::{Called, binary};

#[test]
fn a_server_that_has_ended_is_told_with_where_its_log_is() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "r"]);
    let pid = local.record("r").unwrap()["place"]["local"]["servers"][0]["process"]["pid"].to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    until("the server's end", || (!is_alive(pid.parse().unwrap())).then_some(()));
    for args in [&["exec", "--", "true"][..], &["connect"], &["env"]] {
        let called = local.call(args).fails(1).says("error: the server of postgres in run r has ended");
        let _ = called.says("hint: testbed logs postgres --run-id r tells why");
    }
    let log = local.call(&["logs", "postgres", "--run-id", "r"]).ok().stdout;
    assert!(log.contains("database system is ready"), "{log}");
    let port = databases[0].port;
    let url = format!("postgres://postgres@127.0.0.1:{port}/test");
    let waited = local.call(&["wait", &url, "--timeout", "200ms"]).fails(3).says("connection refused");
    let _ = waited.says(&format!(
        "hint: port {port} is that of postgres in run r, whose server has ended: testbed logs postgres --run-id r tells why"
    ));
    local.call(&["down"]).ok();
    local.call(&["wait", &url, "--timeout", "200ms"]).fails(3).keeps("hint: port");
}

/// Calls testbed in a network namespace of its own, in which nothing is set up.
fn in_new_network(local: &Local, script: &str, args: &[&str]) -> Called {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--net", "sh", "-c", script, binary()]).args(args);
    let testbed = local.command(&[]);
    command
        .current_dir(local.path())
        .env_clear()
        .envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Called::new(args, command.stdin(Stdio::null()).output().expect("unshare"))
}

#[test]
fn a_loopback_device_that_is_down_is_told_at_once() {
    let local = Local::new();
    let may = in_new_network(&local, "true", &[]);
    if may.code != Some(0) {
        eprintln!("skipped: no network namespace can be made here: {}", may.stderr);
        return;
    }
    let call = |args: &[&str]| in_new_network(&local, "exec \"$0\" \"$@\"", args);
    let down = "the loopback device (lo) is down";
    let how = "set it up in this network namespace, as root: ip link set lo up";
    for engine in ["postgres", "mariadb"] {
        let run = call(&["run", "--with", engine, "--", "true"]).fails(4);
        let _ = run.says(&format!("error: {down}")).says(how).keeps("preparing");
    }
    let doctor = call(&["doctor", "--with", "postgres"]);
    assert!(
        doctor.code == Some(1) && doctor.stdout.contains(down) && doctor.stdout.contains(how),
        "{}",
        doctor.transcript()
    );
    let wait = call(&["wait", "postgres://postgres@localhost:5432/x", "--timeout", "100ms"]).fails(3);
    let _ = wait.says(&format!("hint: {down}: {how}"));
    call(&["run", "--with", "sqlite", "--", "true"]).ok();
    if is_root() {
        let up = "ip link set lo up && exec \"$0\" \"$@\"";
        in_new_network(&local, up, &["run", "--with", "postgres", "--", "psql", "-c", "SELECT 1"]).ok();
    }
}
