//! Signals to `testbed run`: they reach every process of the command, and the databases go whatever it does
//! about them.

use crate::harness::{Local, is_alive, until};
use crate::support::Started;

/// A command that notes each signal that it or its grandchild gets, and ends by itself after the first.
const POLITE: &str = "\
trap 'echo child INT >&2; exit 41' INT
trap 'echo child TERM >&2; exit 42' TERM
trap 'echo child HUP >&2; exit 43' HUP
trap 'echo child QUIT >&2; exit 44' QUIT
sh -c 'for signal in INT TERM HUP QUIT; do trap \"echo grandchild $signal >&2; exit\" $signal; done
echo ready >&2; while :; do sleep 0.05; done'";

/// One that takes no notice, with a grandchild of the same mind.
const STUBBORN: &str = "trap '' INT TERM HUP; sh -c 'echo pid $$ >&2; sleep 1000' & wait; sleep 1000";

fn run(local: &Local, script: &str) -> Started {
    local.start(&["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", script])
}

#[test]
fn a_signal_reaches_all_of_the_command() {
    let local = Local::new();
    for (signal, code) in [("INT", 41), ("TERM", 42), ("HUP", 43), ("QUIT", 44)] {
        let mut run = run(&local, POLITE);
        run.until_it_says("ready\n");
        run.signal(signal);
        let run =
            run.wait().ends(code).says("waiting for the command to end; a second signal ends it at once");
        for who in ["child", "grandchild"] {
            assert_eq!(
                run.stderr.lines().filter(|line| *line == format!("{who} {signal}")).count(),
                1,
                "{}",
                run.transcript()
            );
        }
        local.assert_nothing_left();
    }
}

#[test]
fn a_command_that_dies_of_the_signal_says_so_by_its_code() {
    let local = Local::new();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        // In a shell's background SIGINT and SIGQUIT would be ignored.
        let mut run = run(&local, "echo ready >&2; exec sleep 1000");
        run.until_it_says("ready\n");
        run.signal(signal);
        run.wait().ends(code);
        local.assert_nothing_left();
    }
}

/// A program that listens for none of them would die, and leave all that it has started.
#[test]
fn a_signal_that_asks_for_no_end_is_the_commands() {
    let local = Local::new();
    for (signal, code) in [
        ("USR1", 138),
        ("USR2", 140),
        ("ALRM", 142),
        ("VTALRM", 154),
        ("PROF", 155),
        ("IO", 157),
        ("PWR", 158),
        ("XCPU", 152),
    ] {
        let mut run = run(&local, "echo ready >&2; exec sleep 1000");
        run.until_it_says("ready\n");
        run.signal(signal);
        run.wait().ends(code);
        local.assert_nothing_left();
    }
    let mut run = run(
        &local,
        "trap 'echo told >&2' USR1; echo ready >&2; while ! test -e go; do sleep 0.02; done; true",
    );
    run.until_it_says("ready\n");
    for _ in 0..2 {
        run.signal("USR1");
        run.until_it_says("told\n");
    }
    local.file("go", "");
    run.wait().ok();
    local.assert_nothing_left();
}

#[test]
fn a_limit_on_the_size_of_files_leaves_nothing() {
    let local = Local::new();
    // Not before testbed has noted the command, which takes a file.
    let script = "until grep -q '\"command\": *{' \"${TESTBED_CONFIG%/*}/run.json\"; do sleep 0.01; done; \
                  prlimit --pid $PPID --fsize=0; echo ready >&2; exec sleep 1000";
    let mut run = local.start(&["run", "--with", "mariadb", "--", "sh", "-c", script]);
    run.until_it_says("ready\n");
    run.signal("XFSZ");
    run.signal("TERM");
    run.wait().ends(143);
    local.assert_nothing_left();
}

#[test]
fn a_second_signal_kills_what_takes_no_notice() {
    let local = Local::new();
    for (first, second, code) in [("INT", "INT", 130), ("TERM", "TERM", 143), ("HUP", "INT", 130)] {
        let mut run = run(&local, STUBBORN);
        run.until_it_says("pid ");
        run.signal(first);
        run.until_it_says("waiting for the command to end");
        run.signal(second);
        let run = run.wait();
        assert_eq!(run.code, Some(code), "{}", run.transcript());
        run.says("error: the command was killed: a second signal came while it was ending");
        local.assert_nothing_left();
    }
}

#[test]
fn a_command_that_ignores_the_signal_keeps_its_databases() {
    let local = Local::new();
    let script = "trap '' INT; echo ready >&2; while ! test -e go; do sleep 0.02; done; mariadb -h \"$MARIADB_HOST\" -P \"$MARIADB_PORT\" -uroot -p\"$MARIADB_PASSWORD\" -Ne 'SELECT 42'";
    let mut run = run(&local, script);
    run.until_it_says("ready\n");
    run.signal("INT");
    run.until_it_says("waiting for the command to end");
    local.file("go", "");
    assert_eq!(run.wait().ok().stdout, "42\n");
}

#[test]
fn a_signal_while_the_databases_start_ends_the_run_before_the_command() {
    let local = Local::new();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 143), ("USR1", 143)] {
        let mut run = run(&local, "echo never");
        run.until_it_says("preparing");
        run.signal(signal);
        let run = run.wait();
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{}", run.transcript());
        run.says("error: interrupted");
        local.assert_nothing_left();
    }
}

#[test]
fn the_commands_processes_go_with_a_testbed_that_is_killed() {
    let local = Local::new();
    let mut run = run(&local, STUBBORN);
    run.until_it_says("pid ");
    run.until_it_says("\n");
    let noted = || local.record("r")?["command"]["process"]["pid"].as_u64();
    let leader = u32::try_from(until("a note of the command", noted)).unwrap();
    run.signal("KILL");
    assert_eq!(run.child.wait().unwrap().code(), None);
    assert!(is_alive(leader));
    local
        .call(&["status"])
        .ok()
        .says("removed run r: the testbed that worked on it was killed, or the machine restarted");
    until("the command's end", || (!is_alive(leader)).then_some(()));
    local.assert_nothing_left();
}

#[test]
fn what_has_left_the_commands_group_goes_with_a_testbed_that_is_killed() {
    let local = Local::new();
    let other = format!(
        "{} up --with mariadb --run-id other --output other.json >/dev/null 2>&1",
        crate::support::binary()
    );
    let mut run = run(
        &local,
        &format!("{other}; setsid -f sleep 1000 >/dev/null 2>&1; echo ready >&2; exec sleep 1000"),
    );
    run.until_it_says("ready\n");
    until("a note of the command", || local.record("r")?["command"]["process"]["pid"].as_u64());
    run.signal("KILL");
    run.child.wait().unwrap();
    local.call(&["status"]).ok().says("removed run r: ");
    let left = local.left_but(&["other", "other.json"]);
    assert!(left.is_empty(), "{left:?}");
    local.databases("other.json")[0].assert_takes_logins();
    local.call(&["down", "--run-id", "other"]).ok();
}
