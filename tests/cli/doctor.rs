//! `testbed doctor` without a cluster that answers: bad usage, and the settings of the project.

use crate::support::Folder;

/// A kubeconfig of a server that is not there.
fn nowhere() -> Folder {
    let folder = Folder::new();
    let path = folder.file(
        "kubeconfig",
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u}]\n\
         clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n",
    );
    let path = path.display().to_string();
    folder.env("TESTBED_KUBECONFIG", path)
}

#[test]
fn bad_usage_is_told_as_by_up() {
    let folder = nowhere();
    folder.file("m.yaml", "a: $(params.size)\n");
    for (args, part) in [
        (&["doctor", "m.yaml"][..], "m.yaml:1: $(params.size) is not defined; pass --param size=VALUE"),
        (&["doctor", "--with", "oracle"], "\"oracle\" is no engine"),
        (&["doctor", "-o", "yaml"], "invalid value 'yaml'"),
        (&["doctor", "--with", "postgres", "--run-id", &"x".repeat(53)], "has 53 characters"),
    ] {
        folder.call(args).fails(2).says(part);
    }
}

#[test]
fn a_server_that_does_not_answer_is_a_problem_and_the_rest_is_skipped() {
    let called = nowhere().call(&["doctor", "--with", "postgres"]).ends(1);
    let lines: Vec<&str> = called.stdout.lines().collect();
    assert!(
        lines[0].starts_with("problem  api  ") && lines[0].contains("http://127.0.0.1:9: "),
        "{}",
        called.transcript()
    );
    assert!(
        lines[0].contains("refused") && lines[1].trim_start().starts_with("-> is the cluster running"),
        "{}",
        called.transcript()
    );
    assert_eq!(lines[2..], ["skipped  all  every other check needs the API server"]);
    assert_eq!(called.stderr, "");
}

#[test]
fn the_projects_settings_name_what_is_looked_for() {
    let folder = nowhere();
    folder.file(
        "testbed.yaml",
        "databases: {orders: 'postgres:17'}\nruntime: kubernetes\nparams: {memry: 1Gi}\n",
    );
    let called = folder.call(&["doctor"]).ends(1);
    assert!(
        called.stdout.starts_with(
            "warning  manifest  no built-in database takes the parameter memry; did you mean memory?\n"
        ),
        "{}",
        called.transcript()
    );
    assert_eq!(called.stderr, "", "something is named");
    folder.call(&["doctor", "--settings", "none"]).ends(1).says("looking for what --with postgres needs");
}
