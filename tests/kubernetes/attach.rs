//! `testbed attach`: a container's own terminal, seen from a real terminal here; and what has none.

use std::process::Command;

use crate::credentials::account;
use crate::harness::{Namespace, reaches_services};
use crate::support::terminal::Terminal;
use crate::support::{Folder, binary};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: 'db-{{ context.pipelineRun.uid }}', labels: {db: x}, annotations: {testbed/settle: 1s}}
spec:
  containers:
  - name: db
    image: postgres:17
    OPTIONS
    command: [bash, -c, 'docker-entrypoint.sh postgres > /tmp/log 2>&1 < /dev/null & PROGRAM']
    env: [{name: POSTGRES_PASSWORD, value: hush-hush}]
    ports: [{containerPort: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: 'db-{{ context.pipelineRun.uid }}'}
spec: {selector: {db: x}, ports: [{port: 5432}]}
";

/// A namespace with a PostgreSQL beside a program that has the container's standard input.
fn with_program(options: &str, program: &str) -> Namespace {
    let namespace = Namespace::new("attach");
    namespace.folder.file("db.yaml", &POD.replace("OPTIONS", options).replace("PROGRAM", program));
    namespace.folder.call(&["up", "db.yaml", "--run-id", "r"]).ok();
    namespace
}

/// The testbed that is attached in a folder.
fn attached(folder: &Folder) -> String {
    let here = folder.path().canonicalize().expect("a folder");
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let is_it = |pid: &String| {
        let at = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
        at("cwd") == here && at("exe").ends_with("testbed")
    };
    let mut pids = all.filter_map(|entry| entry.file_name().into_string().ok());
    pids.find(is_it).expect("testbed runs")
}

#[test]
fn a_terminal_is_the_containers_own_and_comes_back() {
    let namespace = with_program("stdin: true\n    tty: true", "exec bash --norc");
    let folder = &namespace.folder;
    let script = format!(
        "stty rows 33 cols 99; was=$(stty -g)
         (while ! test -e resize; do sleep 0.1; done; stty rows 44 cols 77) < /dev/tty &
         attach() {{ {testbed} attach -it db; code=$?; test \"$was\" = \"$(stty -g)\" && echo \"$1: $code.\"; }}
         attach left
         attach asked
         TESTBED_TEST_PANIC=attached-thread attach 'panic elsewhere'
         TESTBED_TEST_PANIC=attached attach 'panic here'
         attach ended",
        testbed = binary()
    );
    let mut terminal = Terminal::of(folder, &["sh", "-c", &script]);
    terminal.until_it_shows(&["attached to container db of pod db-r: Ctrl-P Ctrl-Q leaves it"]);
    // What a terminal obeys is not taken out.
    terminal.type_in("printf '\\033[32m%s-colour\\n' a\n");
    terminal.until_it_shows(&["\u{1b}[32ma-colour"]);
    terminal.type_in("stty size\n");
    terminal.until_it_shows(&["33 99"]);
    folder.file("resize", "");
    terminal.type_in("until test \"$(stty size)\" = '44 77'; do sleep 0.1; done; echo now: $(stty size)\n");
    terminal.until_it_shows(&["now: 44 77"]);
    terminal.type_in("echo begun-$((40 + 2)); sleep 1000\n");
    terminal.until_it_shows(&["begun-42"]);
    terminal.type_in("\u{3}");
    terminal.type_in("echo interrupted: $?\n");
    terminal.until_it_shows(&["interrupted: 130"]);
    // Ctrl-P alone is the container's as well: the line before.
    terminal.type_in("\u{10}\u{10} again-$((40 + 3))\n");
    terminal.until_it_shows(&["again-43"]);
    terminal.type_in("\u{10}\u{11}");
    terminal.until_it_shows(&["left: 0."]);

    terminal.type_in("echo once more-$((40 + 4))\n");
    terminal.until_it_shows(&["more-44"]);
    let killed = Command::new("kill").args(["-TERM", &attached(folder)]).status().expect("kill");
    assert!(killed.success());
    terminal.until_it_shows(&[
        "asked: 143.",
        "panic elsewhere: 1.",
        "panic here: 1.",
        "this is a bug in testbed",
    ]);
    terminal.type_in("echo and last-$((40 + 5))\n");
    terminal.until_it_shows(&["last-45"]);
    // None of it was the container's end.
    assert_eq!(namespace.json(&["pod", "db-r"])["status"]["containerStatuses"][0]["restartCount"], 0);
    terminal.type_in("exit\n");
    terminal.until_it_shows(&["container db of pod db-r has ended", "ended: 0."]);
    let (_, shown) = terminal.end();
    assert!(!shown.contains("on purpose") && !shown.contains("error: interrupted"), "{shown}");
    folder.call(&["down"]).ok();
}

#[test]
fn without_a_terminal_lines_are_passed_on() {
    let options = "stdin: true\n    stdinOnce: true";
    let program = "while read -r line; do echo \"got $line\"; done; echo the end of it; exec sleep 1000";
    let namespace = with_program(options, program);
    let mut terminal = Terminal::open(&namespace.folder, &["attach", "-it", "db"]);
    terminal.until_it_shows(&[
        "note: going on without -t: container db of pod db-r has no terminal",
        "attached to container db of pod db-r: Ctrl-C leaves it",
    ]);
    terminal.type_in("hush-hush, hello\n");
    terminal.until_it_shows(&["got ***, hello"]);
    // The end of the input is passed on, and is not the end of the output.
    terminal.type_in("\u{4}");
    terminal.until_it_shows(&["the end of it"]);
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert!(code == Some(130) && !shown.contains("error:"), "{code:?}\n{shown}");
    namespace.folder.call(&["down"]).ok();
}

#[test]
fn a_server_that_reads_nothing_is_looked_at() {
    let namespace = Namespace::new("attach-log");
    let folder = &namespace.folder;
    folder.call(&["up", "--with", "postgres", "--run-id", "r"]).ok();
    let env = folder.call(&["env", "-o", "json"]).ok();
    let env: serde_json::Value = serde_json::from_str(&env.stdout).expect("JSON");
    let password = env["environment"]["PGPASSWORD"].as_str().expect("a password");
    let mut attached = folder.start(&["attach"]);
    attached.until_it_says("attached to container postgres of pod postgres-r: Ctrl-C leaves it\n");
    // Its name is offered where a shell completes it; within 45 ms, so that a busy machine may need another try.
    let offered = || folder.call(&["__complete", "values", "attach", ""]).ok().stdout == "postgres\n";
    assert!((0..20).any(|_| offered()));
    // What is written before the node has opened it is not shown.
    let script = format!(
        "until test -e heard; do psql -c \"ALTER ROLE nobody PASSWORD '{password}'\" 2> /dev/null; sleep 0.1; done"
    );
    let writing = folder.start(&["exec", "--", "sh", "-c", &script]);
    attached.until_it_says("ALTER ROLE nobody PASSWORD '***'\n");
    folder.file("heard", "");
    writing.wait().ok();
    attached.signal("INT");
    let attached = attached.wait().keeps(password).ends(130);
    assert!(!attached.stderr.contains("error:"), "{}", attached.transcript());
    let refused = folder.call(&["attach", "-i"]).fails(2);
    refused
        .says("container postgres of pod postgres-r reads nothing")
        .says("testbed connect postgres opens a client");
    folder
        .call(&["attach", "nothing"])
        .fails(2)
        .says("run r has no container of nothing")
        .says("those of postgres");
    // The end of the run is the container's.
    let mut attached = folder.start(&["attach"]);
    attached.until_it_says("attached to");
    folder.call(&["down"]).ok();
    attached.wait().ok().says("container postgres of pod postgres-r has ended");
}

#[test]
fn who_may_not_attach_is_told_the_right() {
    if !reaches_services() {
        return;
    }
    let (namespace, config) = (Namespace::new("attach-right"), Folder::new());
    let rules = "[{apiGroups: [''], resources: [pods, services, secrets, configmaps], verbs: [create, delete, get, list, watch]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    folder.call(&["up", "--with", "postgres", "--run-id", "r"]).ok();
    let attach = folder.call(&["attach"]).fails(1);
    attach.says("attaching to container postgres of pod postgres-r (create and get on pods/attach)");
    folder.call(&["down"]).ok();
}
