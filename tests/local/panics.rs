//! A panic is a failure like any other: it is told in one line, and nothing stays. `TESTBED_TEST_PANIC` makes
//! one happen, in a build for tests.

use crate::harness::{Local, until};
use crate::support::{Called, Folder};

/// A folder in which each call panics at this place.
fn panics(place: &str) -> Local {
    Local::of(Folder::local().env("TESTBED_TEST_PANIC", place))
}

fn is_told(called: Called) {
    let called = called.ends(1).keeps("on purpose");
    let line = "error: this is a bug in testbed, please report it: panic at src/";
    assert_eq!(called.stderr.matches("error:").count(), 1, "{}", called.transcript());
    assert_eq!(called.stderr.matches(line).count(), 1, "{line}\n{}", called.transcript());
}

#[test]
fn a_panic_after_the_databases_are_up_removes_them() {
    for place in ["ready", "written"] {
        let local = panics(place);
        is_told(local.call(&["up", "--with", "mariadb", "--with", "postgres", "--run-id", "r"]));
        assert!(!local.has("testing-databases.json"));
        local.assert_nothing_left();
    }
}

#[test]
fn a_panic_on_any_thread_ends_a_run_and_its_command() {
    for place in ["ready", "ready-task", "ready-thread", "work", "work-task", "work-thread"] {
        let local = panics(place);
        let script = "setsid -f sleep 1000; trap '' HUP INT; sleep 1000; sleep 1000";
        is_told(local.call(&["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", script]));
        local.assert_nothing_left();
    }
}

#[test]
fn a_panic_amid_the_removal_is_made_good() {
    let local = panics("removal");
    is_told(local.call(&["run", "--with", "mariadb", "--run-id", "r", "--", "true"]));
    local.assert_nothing_left();
    local.call(&["up", "--with", "mariadb", "--run-id", "r"]).ok();
    is_told(local.call(&["down", "--run-id", "r"]));
    local.assert_nothing_left();
}

#[test]
fn a_panic_while_databases_are_held_removes_them() {
    let local = panics("held-thread");
    is_told(local.call(&["up", "--forward", "--with", "mariadb", "--run-id", "r"]));
    until("the end of all of it", || local.left_but(&[]).is_empty().then_some(()));
}
