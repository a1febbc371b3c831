//! Whoever reads what testbed says may go away, be full, or never have been there: runs go on, and are
//! removed all the same.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::harness::{Local, read_config, until, working_below};
use crate::support::terminal::Terminal;
use crate::support::{Called, binary};

/// A pipe that nobody reads any more.
fn unread() -> Stdio {
    std::io::pipe().expect("a pipe").1.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

fn call(local: &Local, args: &[&str], out: Stdio, err: Stdio) -> Called {
    let mut command = local.command(args);
    let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("testbed starts");
    Called::new(args, child.wait_with_output().expect("testbed ends"))
}

/// `run` with a command that says when it is at work, by a file.
const AT_WORK: [&str; 10] = [
    "run",
    "-v",
    "--with",
    "mariadb",
    "--run-id",
    "r",
    "--",
    "sh",
    "-c",
    "touch at-work; sleep 1000 & wait; sleep 1000",
];

#[test]
fn a_run_whose_reader_has_gone_ends_with_all_that_it_has_started() {
    let local = Local::new();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut run = local.start(&AT_WORK);
        run.until_it_says("run r on this machine");
        drop((run.child.stderr.take(), run.child.stdout.take()));
        until("the command at work", || local.has("at-work").then_some(()));
        run.signal(signal);
        let status = run.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{status}");
        std::fs::remove_file(local.path().join("at-work")).unwrap();
        local.assert_nothing_left();
    }
}

#[test]
fn up_and_down_need_no_reader() {
    let local = Local::new();
    let up = ["up", "-v", "--with", "mariadb", "--run-id", "r"];
    let down = ["down", "-v", "--run-id", "r"];
    // A pipe without a reader, and nothing at all.
    call(&local, &up, unread(), unread()).ok();
    local.databases("testing-databases.json")[0].assert_takes_logins();
    call(&local, &["status", "-v"], unread(), unread()).ok();
    call(&local, &down, unread(), unread()).ok();
    local.assert_nothing_left();
    for args in [&up[..], &["status"], &["status", "-o", "json"], &down] {
        let closed = [&["-c", "exec \"$@\" <&- >&- 2>&-", "sh", binary()], args].concat();
        let testbed = local.command(&[]);
        let mut command = Command::new("sh");
        command.args(&closed).current_dir(local.path()).env_clear();
        command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        assert_eq!(command.status().expect("sh").code(), Some(0), "{args:?}");
    }
    local.assert_nothing_left();
}

#[test]
fn what_cannot_be_told_is_no_failure_and_a_result_that_cannot_be_written_is_one() {
    let local = Local::new();
    let up = ["up", "--with", "mariadb", "--run-id", "r"];
    call(&local, &up, Stdio::piped(), full()).ok();
    call(&local, &["down"], Stdio::piped(), full()).ok();
    local.assert_nothing_left();
    // Nobody gets to know the run's id: it does not stay.
    let failed = call(&local, &up, full(), Stdio::piped()).fails(1);
    failed.says("error: writing to standard output: No space left on device");
    local.assert_nothing_left();
    for args in [&["--help"][..], &["render", "--with", "mysql"], &["history", "list", "-o", "json"]] {
        call(&local, args, full(), Stdio::piped()).fails(1).says("error: writing to standard output");
        call(&local, args, unread(), Stdio::piped()).ok();
    }
    call(&local, &["--no-such-flag"], Stdio::piped(), unread()).ends(2);
}

/// Calls testbed in the foreground of a terminal that goes away as soon as a file is there, and tells how it
/// ends.
fn until_the_terminal_goes(local: &Local, sign: &str, args: &[&str]) -> i32 {
    let script = "\
import os, pty, select, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
while not os.path.exists(sys.argv[1]):
    if select.select([terminal], [], [], 0.01)[0]:
        os.read(terminal, 1000)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let testbed = local.command(&[]);
    let mut command = Command::new("python3");
    command.args(["-c", script, sign, binary()]).args(args).current_dir(local.path()).env_clear();
    command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.stderr(Stdio::inherit()).output().expect("python3");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("how it ended")
}

#[test]
fn a_terminal_that_is_closed_ends_the_run() {
    let local = Local::new();
    assert_eq!(until_the_terminal_goes(&local, "at-work", &AT_WORK), 129);
    local.assert_nothing_left();
    // And an `up` that is about to start its servers.
    let data = "state/testbed/runs/r";
    for loud in [&["-v"][..], &[]] {
        let up =
            [&["up", "--with", "mariadb", "--with", "postgres", "--run-id", "r", "--forward"], loud].concat();
        assert_eq!(until_the_terminal_goes(&local, data, &up), 143);
        local.assert_nothing_left();
    }
}

#[test]
fn a_run_that_was_started_to_outlive_its_terminal_does() {
    let local = Local::new();
    let mut command = Command::new("nohup");
    let testbed = local.command(&[]);
    command.arg(binary()).args(["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c"]);
    command
        .arg("touch at-work; while ! test -e go; do sleep 0.05; done; exit 7")
        .current_dir(local.path())
        .env_clear();
    command.envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = crate::support::Started::new(&["run"], command);
    until("the command at work", || local.has("at-work").then_some(()));
    run.signal("HUP");
    local.file("go", "");
    run.wait().ends(7);
}

/// A pipe that is full: its reader is there, and does not read.
fn stopped() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = fcntl_getfl(&writer).expect("flags");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("flags");
    while writer.write(&[b' '; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).expect("flags");
    (reader, writer)
}

/// Asks a child to end, and waits no longer than is promised.
fn end(mut child: Child) -> ExitStatus {
    let began = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill").success());
    let status = child.wait().expect("testbed ends");
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    status
}

#[test]
fn a_reader_that_stops_holds_nothing_up() {
    let local = Local::new();
    let start = |args: &[&str], out: Stdio, err: Stdio| {
        local.command(args).stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("testbed starts")
    };
    let (reader, writer) = stopped();
    let run = start(&AT_WORK, writer.try_clone().unwrap().into(), writer.try_clone().unwrap().into());
    until("the command at work", || local.has("at-work").then_some(()));
    assert_eq!(end(run).code(), Some(143));
    local.assert_nothing_left();
    // What was made is removed, and the words about it are left out.
    let up = ["up", "-v", "--with", "mariadb", "--run-id", "r"];
    call(&local, &up, Stdio::piped(), writer.try_clone().unwrap().into()).ok();
    call(&local, &["down", "-v"], Stdio::piped(), writer.try_clone().unwrap().into()).ok();
    local.assert_nothing_left();
    // A result is never left out: it is waited for until somebody ends that.
    let up = [&up[..], &["--output", "-"]].concat();
    let waiting = start(&up, writer.into(), Stdio::null());
    until("the run to be up", || {
        local.record("r").is_some_and(|record| record["phase"] == "up").then_some(())
    });
    assert_eq!(end(waiting).code(), Some(143));
    local.assert_nothing_left();
    drop(reader);
}

#[test]
fn a_slow_reader_gets_the_whole_result() {
    let local = Local::new();
    let (mut reader, writer) = stopped();
    let mut command = local.command(&["up", "--with", "mariadb", "--run-id", "r", "--output", "-"]);
    let mut up = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .expect("testbed starts");
    drop(command);
    until("the run to be up", || {
        local.record("r").is_some_and(|record| record["phase"] == "up").then_some(())
    });
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("what testbed says");
    assert_eq!(up.wait().expect("testbed ends").code(), Some(0), "{text}");
    assert!(text.contains("run r on this machine"), "{text}");
    let config: String =
        text.lines().filter(|line| line.starts_with(['[', ' ', ']']) && !line.contains("s ")).collect();
    read_config(config.trim())[0].assert_takes_logins();
    local.call(&["down"]).ok();
}

#[test]
fn a_terminal_that_is_stopped_holds_nothing_up() {
    let local = Local::new();
    let mut terminal = Terminal::open(
        &local,
        &["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", "touch at-work; sleep 1000"],
    );
    terminal.type_in("\u{13}");
    until("the command at work", || local.has("at-work").then_some(()));
    let is_testbed = |pid: &u32| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == std::path::Path::new(binary()))
    };
    let pids: Vec<u32> =
        working_below(local.path()).into_iter().map(|(pid, _)| pid).filter(is_testbed).collect();
    let began = Instant::now();
    for pid in &pids {
        assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().expect("kill").success());
    }
    assert_eq!(terminal.end().0, Some(143));
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    local.assert_nothing_left();
}
