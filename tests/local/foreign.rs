//! What others have named or written is shown, and not obeyed by the terminal that shows it.

use std::process::Stdio;

use crate::harness::Local;
use crate::support::Called;
use crate::support::terminal::Terminal;

/// Clears the screen, renames the window, and turns the text around; and how that is shown.
const EVIL: &str = "a\u{1b}[2Jb\u{1b}]0;owned\u{7}c\u{9b}2Jd\u{202e}e";
const SHOWN: &str = "ab]0;owned\\u{7}c\\u{9b}2Jd\\u{202e}e";

fn is_harmless(text: &str) -> bool {
    !text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'])
}

fn is_safe(called: &Called) {
    assert!(
        is_harmless(&called.stderr) && is_harmless(&called.stdout),
        "{:?}\n{:?}",
        called.stdout,
        called.stderr
    );
}

#[test]
fn a_folders_name_is_harmless() {
    let local = Local::new();
    let folder = local.path().join(EVIL);
    std::fs::create_dir(&folder).unwrap();
    let call = |args: &[&str]| {
        let mut command = local.command(args);
        let called = Called::new(args, command.current_dir(&folder).stdin(Stdio::null()).output().unwrap());
        is_safe(&called);
        called
    };
    let output = folder.join("x.json");
    call(&["up", "-v", "--with", "mariadb", "--run-id", "r", "--output", output.to_str().unwrap()])
        .ok()
        .says(SHOWN);
    call(&["status", "-v"]).ok();
    assert!(call(&["history", "show", "r"]).ok().stdout.contains(SHOWN));
    call(&["history", "list"]).ok();
    call(&["down"]).ok();
    call(&["render", EVIL]).fails(2).says(SHOWN);
}

#[test]
fn what_was_typed_is_harmless() {
    let local = Local::new();
    for args in
        [&["down", "--run-id", EVIL][..], &["up", "--with", EVIL], &[EVIL], &["status", "--output", EVIL]]
    {
        let called = local.call(args);
        assert_ne!(called.code, Some(0));
        is_safe(&called.says("\\u{202e}e"));
    }
    is_safe(&local.call(&["run", "--with", "mariadb", "--", EVIL]).fails(127).says(SHOWN));
    // With colours as well.
    for typed in [EVIL, "\u{1b}[2J", "\u{1b}]0;owned\u{1b}\\\u{1b}[31m"] {
        let (code, shown) = Terminal::open(&local, &["status", "--output", typed]).end();
        assert!(code == Some(2) && shown.contains("invalid value") && is_harmless(&shown), "{shown:?}");
    }
}

#[test]
fn a_log_keeps_its_bytes_in_a_pipe_and_is_harmless_on_a_terminal() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "r"]);
    databases[0].query(&format!("SELECT \"{EVIL}\"")).unwrap_err();
    for is_up in [true, false] {
        let logs = local.call(&["history", "logs", "r"]).ok();
        assert!(logs.stdout.contains(EVIL), "{:?}", logs.stdout);
        for args in [
            &["history", "logs", "r"][..],
            &["history", "logs", "r", "-o", "json"],
            &["history", "show", "r"],
        ] {
            let (code, shown) = Terminal::open(&local, args).end();
            assert!(code == Some(0) && is_harmless(&shown), "{args:?}: {shown:?}");
        }
        if is_up {
            local.call(&["down"]).ok();
        }
    }
}

#[test]
fn nobody_elses_line_reads_like_one_of_testbeds_own() {
    let local = Local::new();
    let forged = "r\nerror: forged\nhint: obey";
    for args in [
        &["down", "--run-id", forged][..],
        &["up", "--with", "mariadb", "--run-id", forged],
        &["render", forged],
    ] {
        let called = local.call(args).fails(2).says("obey");
        assert!(!called.stderr.lines().any(|line| line.starts_with("hint: obey")), "{}", called.transcript());
    }
}
