//! testbed at a terminal: the command of `run` can ask its user, and Ctrl-C is for the command. What is for a
//! terminal alone is shown nowhere else.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Local, until};
use crate::support::Folder;
use crate::support::terminal::Terminal;

/// A terminal with `testbed run` in its foreground.
fn run(local: &Local, script: &str) -> Terminal {
    Terminal::open(local, &["run", "-v", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", script])
}

/// From then on whoever waits for the command knows that it is there.
fn until_it_is_noted(local: &Local) {
    until("the command is noted", || local.record("r").filter(|record| !record["command"].is_null()));
}

#[test]
fn the_command_reads_what_is_typed() {
    let local = Local::new();
    let mut terminal =
        run(&local, "printf 'name? '; read name; echo \"hello $name\"; test -t 0 && test -t 1 && exit 5");
    terminal.until_it_shows(&["name? "]);
    terminal.type_in("Ada\n");
    let (code, shown) = terminal.end();
    assert!(code == Some(5) && shown.contains("hello Ada"), "{code:?}\n{shown}");
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let local = Local::new();
    let script = "trap 'n=$((n+1)); echo \"got $n\"' INT; n=0; echo at work; while ! test -e go; do sleep 0.05; done; echo \"in all $n\"; exit 6";
    let mut terminal = run(&local, script);
    terminal.until_it_shows(&["at work"]);
    until_it_is_noted(&local);
    terminal.type_in("\u{3}");
    terminal.until_it_shows(&["got 1", "Ctrl-C is for the command"]);
    local.file("go", "");
    let (code, shown) = terminal.end();
    assert!(code == Some(6) && shown.contains("in all 1"), "{code:?}\n{shown}");
}

#[test]
fn ctrl_c_twice_ends_a_command_that_takes_no_notice() {
    let local = Local::new();
    let mut terminal = run(&local, "trap '' INT TERM; echo at work; sleep 1000; sleep 1000");
    terminal.until_it_shows(&["at work"]);
    until_it_is_noted(&local);
    terminal.type_in("\u{3}");
    terminal.until_it_shows(&["Ctrl-C is for the command"]);
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert!(code == Some(130) && shown.contains("the command was killed"), "{code:?}\n{shown}");
    local.assert_nothing_left();
}

#[test]
fn ctrl_c_while_the_databases_start() {
    let local = Local::new();
    let mut terminal = run(&local, "echo never");
    terminal.until_it_shows(&["preparing"]);
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert!(
        code == Some(130) && !shown.contains("never") && shown.contains("error: interrupted"),
        "{code:?}\n{shown}"
    );
    local.assert_nothing_left();
}

/// Between the databases and the command: the terminal sends it to those processes that there are.
#[test]
fn ctrl_c_just_before_the_command_starts() {
    let local = Local::new();
    let mut terminal = run(&local, "exec sleep 1000");
    terminal.until_it_shows(&["mariadb: ready"]);
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert!(code == Some(130), "{code:?}\n{shown}");
    local.assert_nothing_left();
}

/// Between the line that says so and the command's own first moment.
#[test]
fn ctrl_c_while_the_command_is_started() {
    let local = Local::new();
    let args = ["run", "--with", "sqlite", "--run-id", "r", "--history", "none", "--", "sleep", "1000"];
    for _ in 0..20 {
        let mut terminal = Terminal::open(&local, &args);
        terminal.until_it_shows(&["running sleep"]);
        terminal.type_in("\u{3}");
        let (code, shown) = terminal.end();
        assert!(code == Some(130), "{code:?}\n{shown}");
    }
    local.assert_nothing_left();
}

/// What is long goes to the terminal as it is, and elsewhere no line is ever changed: in CI nobody presses a key, and
/// a spinner would be thousands of lines.
#[test]
fn there_is_no_pager_and_elsewhere_no_live_line() {
    let folder = Folder::local();
    let pager = folder.file("pager", "#!/bin/sh\n: > \"$0.started\"\nexec cat\n");
    std::fs::set_permissions(&pager, Permissions::from_mode(0o755)).unwrap();
    let pager = pager.display().to_string();
    let folder = ["PAGER", "TESTBED_PAGER", "MANPAGER", "GIT_PAGER"]
        .iter()
        .fold(folder.env("TERM", "xterm"), |folder, name| folder.env(name, pager.clone()));
    let local = Local::of(folder);
    let plain = |args: &[&str]| {
        let called = local.call(args).ok();
        let all = format!("{}{}", called.stdout, called.stderr);
        assert!(!all.contains(['\u{1b}', '\r', '\u{8}']), "{}", called.transcript());
    };
    plain(&["up", "--with", "postgres", "--run-id", "r"]);
    for args in [
        &["history", "show", "r"][..],
        &["history", "logs", "r"],
        &["history", "list"],
        &["logs"],
        &["status", "-v"],
        &["run", "--help"],
    ] {
        plain(args);
        let (code, shown) = Terminal::open(&local, args).end();
        assert_eq!(code, Some(0), "{args:?}\n{shown}");
    }
    plain(&["down"]);
    assert!(!local.has("pager.started"));
}
