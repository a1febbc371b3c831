//! What befalls testbed itself leaves nothing in the cluster: readers that go away, and panics, which
//! `TESTBED_TEST_PANIC` makes happen in a build for tests.

use std::process::Stdio;

use crate::harness::{Namespace, run_id};

/// A pipe that nobody reads any more.
fn unread() -> Stdio {
    std::io::pipe().expect("a pipe").1.into()
}

#[test]
fn up_and_down_need_no_reader() {
    let namespace = Namespace::new("unread");
    let run_id = run_id();
    let call = |args: &[&str]| {
        let mut command = namespace.folder.command(args);
        let status =
            command.stdin(Stdio::null()).stdout(unread()).stderr(unread()).status().expect("testbed starts");
        assert_eq!(status.code(), Some(0), "{args:?}: {status}");
    };
    call(&["up", "-v", "--with", "postgres", "--run-id", &run_id]);
    assert_eq!(namespace.of_run(&run_id).len(), 3);
    call(&["status", "-v"]);
    call(&["down", "-v", "--run-id", &run_id]);
    assert!(namespace.of_run(&run_id).is_empty());
}

#[test]
fn a_run_whose_reader_has_gone_is_removed() {
    let namespace = Namespace::new("gone");
    let run_id = run_id();
    let mut run = namespace.folder.start(&[
        "run",
        "-v",
        "--with",
        "postgres",
        "--run-id",
        &run_id,
        "--",
        "sh",
        "-c",
        "touch at-work; sleep 1000",
    ]);
    run.until_it_says("created 3 objects");
    drop((run.child.stderr.take(), run.child.stdout.take()));
    namespace.kubectl_until(&["get", "pods"], |_| namespace.folder.has("at-work"));
    run.signal("INT");
    assert_eq!(run.child.wait().expect("testbed ends").code(), Some(130));
    assert!(namespace.of_run(&run_id).is_empty());
}

#[test]
fn a_panic_removes_what_there_is() {
    for place in ["ready", "work", "work-task", "work-thread"] {
        let namespace = Namespace::new("panic");
        let run_id = run_id();
        let making = ["--with", "postgres", "--run-id", &run_id];
        let command = ["--", "sh", "-c", "setsid -f sleep 1000; sleep 1000"];
        let run = [&["run"], &making[..], &command].concat();
        let up = [&["up"], &making[..]].concat();
        for args in [run, up].iter().filter(|args| args[0] == "run" || place == "ready") {
            let mut call = namespace.folder.command(args);
            let called = crate::support::Called::new(
                args,
                call.env("TESTBED_TEST_PANIC", place).output().expect("testbed starts"),
            );
            let called = called.fails(1).keeps("on purpose");
            called.says("error: this is a bug in testbed, please report it: panic at src/");
            assert!(namespace.of_run(&run_id).is_empty(), "{args:?}");
        }
    }
}
