//! The pool of a run that stays up: who finds it, what it survives, and that it ends with the run.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Database, Local, command_line, is_alive, until, working_below};
use crate::integresql::Client;

const VARIABLE: &str = "INTEGRESQL_CLIENT_BASE_URL";

/// Where `exec` and `env` find the pool.
fn address(local: &Local) -> Option<String> {
    let environment = local.call(&["env", "-o", "json"]).ok().stdout;
    let environment: Value = serde_json::from_str(&environment).unwrap();
    let url = environment["environment"][VARIABLE].as_str().map(str::to_owned);
    let script = format!("printf %s \"${VARIABLE}\"");
    let command = local.call(&["exec", "--", "sh", "-c", &script]).ok().stdout;
    assert_eq!(url.clone().unwrap_or_default(), command);
    url
}

/// The testbed that serves it.
fn server(local: &Local) -> u32 {
    let note = std::fs::read_to_string(local.state().join("runs/r/pool.json")).expect("a note");
    let note: Value = serde_json::from_str(&note).unwrap();
    note["process"]["pid"].as_u64().unwrap().try_into().unwrap()
}

fn fresh(url: &str) -> Database {
    let (database, _) = Client::new(url).get("testbed");
    assert_eq!(database.value("SELECT count(*) FROM people"), "2");
    database
}

fn seeded(engine: &str) -> Local {
    let local = Local::new();
    local.file("people.sql", "CREATE TABLE people (n int); INSERT INTO people VALUES (1), (2);");
    local.file(
        "testbed.yaml",
        &format!("databases:\n  shop: {{use: {engine}, seed: {{files: [people.sql]}}}}\n"),
    );
    local
}

#[test]
fn an_up_serves_a_pool_until_the_run_is_gone() {
    for engine in ["postgres", "mariadb"] {
        let local = seeded(engine);
        let up = local.call(&["up", "--run-id", "r", "--pool=2", "-o", "json"]).ok();
        let up = up.says("fresh databases for tests").says(VARIABLE);
        let told: Value = serde_json::from_str(&up.stdout).unwrap();
        let url = address(&local).expect("an address");
        assert!(local.call(&["status"]).ok().stdout.contains("Running, pool"));
        assert_eq!(told["environment"][VARIABLE], url);
        let (one, other) = (fresh(&url), fresh(&url));
        assert_ne!((one.port, &one.database), (other.port, &other.database));
        one.query("DELETE FROM people").unwrap();
        fresh(&url);
        if engine == "mariadb" {
            // PostgreSQL's are in the run's server, which is stopped for a fork.
            local.call(&["fork", "shop", "--timeout", "0s"]).fails(3).says("no fork was made");
            assert_eq!(other.value("SELECT count(*) FROM people"), "2");
            fresh(&url);
        }
        let status: Value = serde_json::from_str(&local.call(&["status", "-o", "json"]).ok().stdout).unwrap();
        assert_eq!(status[0]["pool"], 2);
        // A secret of its owner alone.
        let note = std::fs::metadata(local.state().join("runs/r/pool.json")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&note.permissions()) & 0o777, 0o600);
        let before = server(&local);
        for pid in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(pid.path().join("cmdline")).unwrap_or_default();
            let token = url.rsplit('/').nth(1).unwrap();
            assert!(!String::from_utf8_lossy(&line).contains(token), "{pid:?}");
        }
        // The same again changes nothing, another size does.
        local.call(&["up", "--run-id", "r", "--pool=2"]).ok();
        assert_eq!(address(&local).as_ref(), Some(&url));
        local.call(&["up", "--run-id", "r"]).ok();
        assert_eq!(address(&local).as_ref(), Some(&url));
        local.call(&["up", "--run-id", "r", "--pool=3"]).ok();
        assert!(!is_alive(before) && server(&local) != before);
        let url = address(&local).expect("an address");
        fresh(&url);
        // Nor does another folder of the project.
        std::fs::create_dir_all(local.path().join("below")).unwrap();
        let mut below = local.command(&["up", "--run-id", "r", "--pool=3"]);
        assert!(below.current_dir(local.path().join("below")).output().unwrap().status.success());
        assert_eq!(address(&local).as_ref(), Some(&url));
        local.call(&["restore", "--from", "nosuch"]).fails(2);
        assert_eq!(address(&local).as_ref(), Some(&url));
        // What is copied of the server has none of the pool's databases.
        local.call(&["fork", "--run-id", "r"]).ok();
        local.call(&["snapshot", "shop", "s", "--run-id", "r"]).ok();
        local.call(&["restore", "shop-1", "--from", "s", "--run-id", "r"]).ok();
        if engine == "postgres" {
            let count = "SELECT count(*) FROM pg_database WHERE datname LIKE 'testbed_pool%'";
            let psql = ["exec", "shop-1", "--", "psql", "-Atc", count];
            assert_eq!(local.call(&psql).ok().stdout, "0\n");
        }
        fresh(&address(&local).expect("an address"));
        // The databases of a server that is made anew go with it.
        local.call(&["restore", "--run-id", "r"]).ok();
        let url = address(&local).expect("an address");
        fresh(&url);
        local.call(&["snapshot", "rm", "s"]).ok();
        local.call(&["restart", "--run-id", "r"]).ok();
        fresh(&address(&local).expect("an address"));
        local.call(&["down", "--run-id", "r"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn a_pool_whose_testbed_is_killed_is_told_to_nobody_and_served_anew() {
    let local = seeded("postgres");
    let (_, databases) = local.up(&["--run-id", "r", "--pool=2"]);
    let before = server(&local);
    fresh(&address(&local).expect("an address"));
    kill(before);
    assert_eq!(address(&local), None);
    local.call(&["up", "--run-id", "r", "--pool=2"]).ok();
    fresh(&address(&local).expect("an address"));
    let names = databases[0].value("SELECT count(DISTINCT substr(datname, 1, 29))::text FROM pg_database WHERE datname LIKE 'testbed\\_pool\\_%'");
    assert_eq!(names, "1", "what the killed one has left is gone");
    // Whose note is deleted by hand ends, and removes its databases.
    let next = server(&local);
    std::fs::remove_file(local.state().join("runs/r/pool.json")).unwrap();
    until("it is gone", || (!is_alive(next)).then_some(()));
    assert_eq!(
        databases[0].value("SELECT count(*)::text FROM pg_database WHERE datname LIKE 'testbed\\_pool\\_%'"),
        "0"
    );
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}

#[test]
fn a_pool_that_cannot_be_leaves_no_run() {
    let local = Local::new();
    local.call(&["up", "--with", "sqlite", "--pool"]).fails(2).says("--pool copies databases of");
    local.assert_nothing_left();
    local.call(&["up", "--pool", "--runtime", "kubernetes"]).fails(2);
    local.call(&["up", "--with", "postgres", "--pool", "4"]).fails(2).says("hint: --pool=4");
}

#[test]
fn a_project_may_give_the_clients_names_another_meaning() {
    let local = seeded("postgres");
    let settings = std::fs::read_to_string(local.path().join("testbed.yaml")).unwrap();
    let env = "env: {INTEGRESQL_BASE_URL: 'http://other', INTEGRESQL_CLIENT_BASE_URL: 'x {{ shop.host }}'}\n";
    local.file("testbed.yaml", &format!("{settings}{env}"));
    local.up(&["--run-id", "r", "--pool=2"]);
    let script = "echo $INTEGRESQL_BASE_URL; echo $TESTBED_POOL_URL";
    let told = local.call(&["exec", "--", "sh", "-c", script]).ok().stdout;
    let (other, own) = told.trim().split_once('\n').unwrap();
    assert_eq!(other, "http://other");
    fresh(own);
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}

/// The testbeds that serve a pool, or are about to.
fn serving(local: &Local) -> Vec<u32> {
    let all = working_below(local.path()).into_iter();
    all.map(|(pid, _)| pid).filter(|pid| command_line(*pid).contains("--pool=")).collect()
}

/// Whatever stands in the place of the note: nobody takes it for the note of the next one.
#[test]
fn no_pool_is_left_beside_another_one() {
    let local = seeded("postgres");
    local.up(&["--run-id", "r", "--pool=2"]);
    let note = local.state().join("runs/r/pool.json");
    let attempt = |what: &str| {
        for milliseconds in [40, 80, 120, 160, 200, 300] {
            let up = local.start(&["up", "--run-id", "r", "--pool=2"]);
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            up.signal("INT");
            let _ = up.wait();
            let noted = usize::from(address(&local).is_some());
            until(what, || (serving(&local).len() <= noted).then_some(()));
        }
        local.call(&["up", "--run-id", "r", "--pool=2"]).ok();
        fresh(&address(&local).expect("an address"));
        assert_eq!(serving(&local).len(), 1, "{what}");
    };
    kill(server(&local));
    attempt("the note of one that was killed");
    std::fs::write(&note, "{\"x").unwrap();
    attempt("a damaged note");
    std::fs::remove_file(&note).unwrap();
    until("it has ended", || serving(&local).is_empty().then_some(()));
    std::fs::create_dir(&note).unwrap();
    local.call(&["up", "--run-id", "r", "--pool=2"]).fails(1).says("noting the pool");
    assert!(serving(&local).is_empty());
    std::fs::remove_dir(&note).unwrap();
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}

#[test]
fn a_pool_is_ended_and_begun_by_up_alone() {
    let local = seeded("postgres");
    local.up(&["--run-id", "r"]);
    // A command of the run may ask for it.
    let script = format!("\"{}\" up --run-id r --pool=2", env!("CARGO_BIN_EXE_testbed"));
    local.call(&["exec", "--run-id", "r", "--", "sh", "-c", &script]).ok();
    let url = address(&local).expect("an address");
    // A command that would have one has this one.
    let script = "printf %s $INTEGRESQL_CLIENT_BASE_URL";
    assert_eq!(local.call(&["exec", "--pool=5", "--", "sh", "-c", script]).ok().stdout, url);
    // A database that comes later has a pool as well.
    local.call(&["up", "--run-id", "r", "--with", "postgres=other", "--pool=2"]).ok();
    let url = address(&local).expect("an address");
    let other = url.replace("/api", "/other/api");
    Client::new(&other).template("x");
    local.call(&["up", "--run-id", "r", "--pool=0"]).ok();
    assert_eq!((address(&local), serving(&local)), (None, Vec::new()));
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}

#[test]
fn nobody_is_led_to_the_pool_of_another_run() {
    let local = seeded("postgres");
    local.up(&["--run-id", "r"]);
    let address = format!("http://127.0.0.1:1234/{}/api", "0".repeat(32));
    let called = |args: &[&str], url: &str| {
        let output = local.command(args).env(VARIABLE, url).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let script = ["--", "sh", "-c", "echo \"<$INTEGRESQL_CLIENT_BASE_URL>\""];
    for args in [&["exec"][..], &["run", "--run-id", "other"]] {
        let args = [args, &script].concat();
        assert_eq!(called(&args, &address), "<>\n");
        // A server of the user's own is none of testbed's.
        assert_eq!(called(&args, "http://localhost:5000/api"), "<http://localhost:5000/api>\n");
    }
    let env = called(&["env"], &address);
    assert!(env.lines().any(|line| line.starts_with("unset ") && line.contains(VARIABLE)), "{env}");
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}

fn kill(pid: u32) {
    let id = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(id, Signal::KILL).unwrap();
    until("it is gone", || (!is_alive(pid)).then_some(()));
}

/// An `up` among the processes of another run's command makes a run of its own, which outlives that.
#[test]
fn a_pool_outlives_the_command_that_has_asked_for_it() {
    let local = seeded("postgres");
    let script = format!("\"{}\" up --run-id r --pool=2", env!("CARGO_BIN_EXE_testbed"));
    local.call(&["run", "--with", "mariadb", "--run-id", "outer", "--", "sh", "-c", &script]).ok();
    fresh(&address(&local).expect("an address"));
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}
