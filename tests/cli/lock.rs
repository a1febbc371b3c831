//! `testbed lock` without a cluster: what it refuses before any request.

use crate::support::Folder;

/// A folder whose kubeconfig names a server that nobody runs: to ask it is to fail with another code than 2.
fn folder() -> Folder {
    let folder = Folder::new();
    let kubeconfig = "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u}]\n\
                      clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n";
    let path = folder.file("kubeconfig", kubeconfig).display().to_string();
    folder.env("TESTBED_KUBECONFIG", path)
}

#[test]
fn a_lock_needs_a_cluster() {
    Folder::new()
        .call(&["lock", "acquire", "db"])
        .fails(2)
        .says("no cluster is named")
        .says("hint: pass --kubeconfig");
    folder().call(&["lock", "acquire", "db", "--runtime", "local"]).fails(2).says("locks are in a cluster");
    folder().call(&["lock", "acquire", "db", "--run-id", "a"]).fails(1).says("127.0.0.1:9");
}

#[test]
fn one_lock_or_several_are_named_in_one_way() {
    let folder = folder();
    folder.call(&["lock", "acquire"]).fails(2).says("required");
    folder.call(&["lock", "acquire", "db", "--one-of", "a,b"]).fails(2).says("cannot be used with");
    folder.call(&["lock", "release", "db", "--on", "deployment/x"]).fails(2).says("cannot be used with");
    for name in ["DB", "a_b", "-", "a..b", "a/b"] {
        folder
            .call(&["lock", "acquire", "--run-id", "r", "--", name])
            .fails(2)
            .says("a name has lower-case letters");
    }
    for on in ["builder", "pod/x", "daemonset/x"] {
        folder
            .call(&["lock", "acquire", "--run-id", "r", "--on", on])
            .fails(2)
            .says("write deployment/NAME or statefulset/NAME");
    }
}

#[test]
fn wrong_flags_are_named() {
    let folder = folder();
    let refused = |args: &[&str], part: &str| {
        folder.call(&[&["lock", "acquire", "db", "--run-id", "r"], args].concat()).fails(2).says(part);
    };
    refused(&["--ttl", "10ms"], "write 1s or more, or none");
    refused(&["--ttl", "soon"], "write a duration such as 1h, or none");
    refused(&["--heartbeat", "0s"], "--heartbeat 0s");
    refused(&["--permits", "0"], "--permits");
    refused(&["--holder", "pod/x"], "write pipelinerun/NAME, or none");
    refused(&["--result", "password=f"], "write lock=FILE or fence=FILE");
    folder
        .call(&["lock", "acquire", "db", "--run-id", "$(context.pipelineRun.uid)"])
        .fails(2)
        .says("Tekton substitutes it in a Pipeline");
    folder.call(&["lock", "run", "db"]).fails(2).says("COMMAND");
    folder.call(&["lock", "run", "db", "--ttl", "10ms", "--", "true"]).fails(2).says("write 1s or more\n");
    folder.call(&["lock", "run", "db", "--heartbeat", "0s", "--", "true"]).fails(2).says("--heartbeat 0s");
    folder
        .call(&["lock", "release", "db"])
        .fails(2)
        .says("this folder remembers no `testbed lock acquire db`");
}

#[test]
fn a_task_of_no_pipeline_run_needs_a_run_id() {
    let folder = folder().env("TESTBED_PIPELINE_RUN", "").env("TESTBED_PIPELINE_RUN_UID", "");
    for command in ["acquire", "release"] {
        let said = folder.call(&["lock", command, "db"]).fails(2).says("belongs to no PipelineRun");
        said.says("the same for testbed-lock-acquire and testbed-lock-release");
    }
}

#[test]
fn the_projects_settings_tell_the_namespace_and_never_stop_a_release() {
    let folder = folder();
    folder.file("testbed.yaml", "namespace: ci\ntimeout: 1s\nruntime: local\n");
    folder.call(&["lock", "release", "db", "--run-id", "r", "-v"]).fails(1).says("settings from");
    folder.file("testbed.yaml", "namespce: ci\n");
    folder
        .call(&["lock", "release", "db", "--run-id", "r"])
        .fails(1)
        .says("going on without the project's settings");
    folder.call(&["lock", "acquire", "db", "--run-id", "r"]).fails(2).says("namespce");
}

#[test]
fn a_command_that_cannot_be_started_is_not_waited_for() {
    let folder = folder();
    folder.file("a-file", "");
    folder
        .call(&["lock", "run", "db", "--", "no-such-program"])
        .fails(127)
        .says("no-such-program: no such program");
    folder.call(&["lock", "run", "db", "--", "./a-file"]).fails(126).says("./a-file: it may not be executed");
}

/// Somebody else's process cannot be made to wait for a gate, and a command that nobody watches does not
/// begin.
#[test]
fn what_testbed_calls_itself_for_does_nothing_for_others() {
    let folder = folder();
    for caller in ["1", &std::process::id().to_string()] {
        let called = folder.call(&["lock-launch", caller, "1000000", "touch", "begun"]);
        assert!(called.code == Some(1) && !folder.has("begun"), "{}", called.transcript());
    }
    let called = folder.call(&["lock-watchdog"]);
    assert!(called.code == Some(1) && called.stdout == ".", "{}", called.transcript());
}
