//! `testbed logs -f` over what becomes of the logs' files, as `tail -F` has it.

use std::fs::File;
use std::path::PathBuf;

use crate::harness::Local;
use crate::support::terminal::Reader;

/// The file of the only server's log.
fn log(local: &Local) -> PathBuf {
    local.record("r").unwrap()["place"]["local"]["servers"][0]["log"].as_str().unwrap().into()
}

/// Has the server write a line.
fn say(local: &Local, text: &str) {
    let script = format!("psql -c 'SELECT {text}' 2> /dev/null; true");
    local.call(&["exec", "--", "sh", "-c", &script]).ok();
}

#[test]
fn a_log_that_is_emptied_or_renamed_is_followed() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r"]).ok();
    let mut follow = local.start(&["logs", "-f", "--tail", "0"]);
    let mut shown = Reader::new(follow.child.stdout.take().unwrap());
    // What comes with the server's first answer: from then on it is followed.
    say(&local, "before");
    shown.until(&["STATEMENT:  SELECT before\n"]);
    let log = log(&local);
    File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    say(&local, "emptied");
    shown.until(&["STATEMENT:  SELECT emptied\n"]);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains('\0') && !text.contains("before"), "{text:?}");

    std::fs::rename(&log, log.with_extension("1")).unwrap();
    // The server has it open, and the one that is started next makes its own.
    say(&local, "renamed");
    shown.until(&["STATEMENT:  SELECT renamed\n"]);
    local.call(&["restart"]).ok();
    say(&local, "restarted");
    let text = shown.until(&["STATEMENT:  SELECT restarted\n"]);
    for part in ["received fast shutdown request", "database system is ready to accept connections"] {
        assert_eq!(text.matches(part).count(), 1, "{part}\n{text}");
    }
    assert!(!std::fs::read_to_string(&log).unwrap().contains("SELECT renamed"));
    // A rotation that puts another file in its place at once.
    let other = log.with_extension("2");
    std::fs::write(&other, "another file\n").unwrap();
    std::fs::rename(&other, &log).unwrap();
    let text = shown.until(&["another file\n"]);
    assert!(text.lines().all(|line| !line.contains('\0')), "{text:?}");
    for word in ["before", "emptied", "renamed", "restarted"] {
        assert_eq!(text.matches(&format!("STATEMENT:  SELECT {word}\n")).count(), 1, "{word}\n{text}");
    }
    local.call(&["down"]).ok();
    follow.wait().ok();
    local.assert_nothing_left();
}
