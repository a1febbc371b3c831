//! `testbed run`: what the command gets, what becomes of its exit code, and that the databases always go.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Local, is_alive, listens, read_config};

/// `run` with a MariaDB around a shell script.
fn shell(script: &str) -> Vec<&str> {
    vec!["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", script]
}

#[test]
fn the_command_is_told_where_its_databases_are() {
    let local = Local::new();
    let script = "cat \"$TESTBED_CONFIG\" && env | grep -E '^(PG|MARIADB|SHOP|TESTBED_R|DATABASE)' | sort; ls -d \"$TESTBED_CONFIG\" >&2";
    let run = local
        .call(&[
            "run",
            "--with",
            "postgres=shop",
            "--with",
            "mariadb",
            "--run-id",
            "r",
            "--",
            "sh",
            "-c",
            script,
        ])
        .ok();
    let (config, variables) = run.stdout.split_once("]\n]\n").expect("a config file");
    let databases = read_config(&format!("{config}]\n]\n"));
    let [shop, mariadb] = databases.as_slice() else { panic!("{databases:?}") };
    let (own, other) = (&shop.password, &mariadb.password);
    let (port, second) = (shop.port, mariadb.port);
    let expected = format!(
        "MARIADB_DATABASE=test\nMARIADB_DSN=root:{other}@tcp(127.0.0.1:{second})/test\nMARIADB_HOST=127.0.0.1\n\
         MARIADB_JDBC_URL=jdbc:mariadb://127.0.0.1:{second}/test\nMARIADB_PASSWORD={other}\nMARIADB_PORT={second}\n\
         MARIADB_URL=mysql://root:{other}@127.0.0.1:{second}/test\nMARIADB_USER=root\n\
         PGDATABASE=test\nPGHOST=127.0.0.1\nPGPASSWORD={own}\nPGPORT={port}\nPGSSLMODE=disable\nPGUSER=postgres\n\
         SHOP_DATABASE=test\nSHOP_DSN=postgresql://postgres:{own}@127.0.0.1:{port}/test?sslmode=disable\nSHOP_HOST=127.0.0.1\n\
         SHOP_JDBC_URL=jdbc:postgresql://127.0.0.1:{port}/test\nSHOP_PASSWORD={own}\nSHOP_PORT={port}\n\
         SHOP_URL=postgresql://postgres:{own}@127.0.0.1:{port}/test\nSHOP_USER=postgres\nTESTBED_RUNTIME=local\nTESTBED_RUN_ID=r\n"
    );
    assert_eq!(variables, expected);
    let path = run.stderr.lines().last().unwrap();
    assert!(path.starts_with(local.path().to_str().unwrap()), "{path}");
    assert!(!std::path::Path::new(path).exists() && !local.has("testing-databases.json"));
    assert!(!listens(port) && !listens(second));
    local.assert_nothing_left();
    run.says("ready after ");
}

#[test]
fn one_database_is_also_the_usual_one() {
    let local = Local::new();
    let run =
        local.call(&shell("psql --version > /dev/null; test \"$DATABASE_URL\" = \"$MARIADB_URL\" && echo same; echo ${PGHOST-none}")).ok();
    assert_eq!(run.stdout, "same\nnone\n");
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let local = Local::new();
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)]
    {
        let run = local.call(&shell(script)).ends(code);
        assert!(!run.stderr.contains("error:") && !run.stderr.contains("warning:"), "{}", run.transcript());
        let logs = run.stderr.contains("the databases' logs: testbed history logs r\n");
        assert_eq!(logs, code != 0, "{}", run.transcript());
        local.assert_nothing_left();
    }
    assert!(!local.call(&["history", "logs", "r"]).ok().stdout.is_empty());
}

#[test]
fn a_command_that_cannot_be_started_starts_no_databases() {
    let local = Local::new();
    let file = local.file("file", "text");
    let file = file.to_str().unwrap();
    for (command, code, part) in [
        ("no-such-program", 127, "error: starting the command: no-such-program: no such program"),
        ("./no/such/program", 127, "no such program"),
        (file, 126, "it may not be executed"),
        (".", 126, "it is a folder"),
    ] {
        let run = local.call(&["run", "--with", "mariadb", "--", command]).fails(code).says(part);
        assert!(!run.stderr.contains("preparing"), "{}", run.transcript());
    }
    // It looks like a program, and the system knows better.
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(file, [0x7f, b'E', b'L', b'F', 0]).unwrap();
    local.call(&["run", "--with", "mariadb", "--", file]).fails(126).says("error: starting the command");
    local.call(&["run", "--with", "mariadb"]).ends(2);
}

#[test]
fn the_config_file_goes_where_the_user_wants_it() {
    let local = Local::new();
    let script = "test \"$TESTBED_CONFIG\" = \"$PWD/own.json\" && cat own.json";
    let run =
        local.call(&["run", "--with", "mariadb", "--output", "own.json", "--", "sh", "-c", script]).ok();
    assert_eq!(read_config(&run.stdout).len(), 1);
    assert!(!local.has("own.json"));
    // Somebody else's content stays.
    local
        .call(&["run", "--with", "mariadb", "--output", "own.json", "--", "sh", "-c", "echo mine > own.json"])
        .ok();
    assert_eq!(local.read("own.json"), "mine\n");
}

#[test]
fn a_config_file_that_cannot_be_written_ends_the_run() {
    let local = Local::new();
    std::fs::create_dir(local.path().join("gone")).unwrap();
    let mut run = local.start(&[
        "run",
        "--with",
        "mariadb",
        "--output",
        "gone/x.json",
        "--run-id",
        "r",
        "--",
        "sh",
        "-c",
        "echo never",
    ]);
    run.until_it_says("preparing");
    std::fs::remove_dir(local.path().join("gone")).unwrap();
    run.wait().fails(1).says("gone/x.json").says("No such file or directory");
    local.assert_nothing_left();
}

#[test]
fn a_run_whose_command_failed_stays_if_the_user_wants_a_look() {
    let local = Local::new();
    let run = |script: &str| {
        local.call(&[
            "run",
            "--with",
            "mariadb",
            "--run-id",
            "look",
            "--keep-on-failure",
            "--",
            "sh",
            "-c",
            script,
        ])
    };
    run("exit 0").ok();
    local.assert_nothing_left();
    let kept =
        run("cat $TESTBED_CONFIG; exit 3").ends(3).says("run look stays up, as --keep-on-failure asks for:");
    let database = read_config(&kept.stdout).remove(0);
    let kept = kept
        .says(&format!("mariadb on 127.0.0.1:{} as root; log ", database.port))
        .says("remove it: testbed down --run-id look");
    let path = kept.stderr.lines().find_map(|line| line.split_once("logins are in ")).expect("a path").1;
    assert_eq!(read_config(&std::fs::read_to_string(path).unwrap()), std::slice::from_ref(&database));
    database.assert_takes_logins();
    local.call(&["down"]).ok().says("run look is gone (1 server)");
    assert!(!std::path::Path::new(path).exists() && !listens(database.port));
}

#[test]
fn a_server_that_ends_during_the_command_is_told_of() {
    let local = Local::new();
    let run = local.call(&shell("pid=$(for p in /proc/[0-9]*; do case $(readlink $p/exe) in */mariadbd) case $(readlink $p/cwd) in \"$PWD\"/*) echo ${p#/proc/};; esac;; esac; done); kill -KILL $pid; while grep -q 'State:.[^Z]' /proc/$pid/status; do sleep 0.01; done; exit 9"));
    run.ends(9).says("warning: mariadb ended by itself while the command ran (signal: 9 (SIGKILL))");
}

#[test]
fn down_from_elsewhere_ends_a_run() {
    let local = Local::new();
    let mut run = local.start(&shell("echo started >&2; exec sleep 1000"));
    run.until_it_says("started");
    local
        .call(&["up", "--with", "mariadb", "--run-id", "r"])
        .fails(1)
        .says("another testbed (process ")
        .says("works on run r");
    local.call(&["down", "--run-id", "r"]).ok().says("run r belongs to a testbed that still runs");
    run.wait().ends(143);
}

/// Scripts that leave a process behind and print its id, whatever they do to get it out of sight.
const BACKGROUND: [&str; 6] = [
    "sleep 1000 >/dev/null 2>&1 & echo $!",
    "setsid -f sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1'",
    "env -i setsid -f sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1'",
    "setsid -f sh -c 'trap \"\" INT TERM HUP; echo $$; cd /; exec >/dev/null 2>&1; while :; do sleep 1000; done'",
    // Its name is no text.
    "cp /bin/sleep \"$(printf 'x\\377')\"; setsid -f sh -c \"echo \\$\\$; exec ./$(printf 'x\\377') 1000 >/dev/null 2>&1\"",
    // It has testbed's own pipes, which nobody would see the end of.
    "setsid -f sh -c 'echo $$; exec sleep 1000'",
];

#[test]
fn what_the_command_leaves_running_ends_with_the_run() {
    let local = Local::new();
    for script in BACKGROUND {
        let script = format!("{script}; exit 7");
        let run =
            local.call(&shell(&script)).ends(7).says("ending what the command has left running: process ");
        let pid: u32 = run.stdout.trim().parse().unwrap();
        assert!(!is_alive(pid), "{script}");
        local.assert_nothing_left();
    }
    // What is about to end may do so.
    let run = local.call(&shell("setsid -f sh -c 'sleep 0.1; echo all of it > log'; exit 7")).ends(7);
    assert!(!run.stderr.contains("ending what"), "{}", run.transcript());
    assert_eq!(local.read("log"), "all of it\n");
}

#[test]
fn what_the_command_leaves_running_goes_also_when_it_is_interrupted() {
    let local = Local::new();
    let mut run =
        local.start(&shell("setsid -f sleep 1000 >/dev/null 2>&1; echo started >&2; exec sleep 1000"));
    run.until_it_says("started");
    run.signal("TERM");
    run.wait().ends(143);
    local.assert_nothing_left();
}

#[test]
fn another_run_that_the_command_has_made_stays() {
    let local = Local::new();
    let up = format!("{} up --with mariadb --run-id other --output other.json >&2", crate::support::binary());
    let run = local.call(&shell(&up)).ok();
    assert!(!run.stderr.contains("ending what"), "{}", run.transcript());
    local.databases("other.json")[0].assert_takes_logins();
    local.call(&["down", "--run-id", "other"]).ok();
}

#[test]
fn processes_that_end_while_the_command_runs_are_let_go_of() {
    let local = Local::new();
    // Testbed is their parent by then.
    let script = "for i in 1 2 3; do setsid -f true; done; for i in $(seq 500); do \
        cat /proc/[0-9]*/stat 2>/dev/null | grep -q \") Z $PPID \" || exit 0; sleep 0.02; done; exit 9";
    local.call(&shell(script)).ok();
}
