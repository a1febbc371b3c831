//! The pool of a run that stays up: who finds it, what it survives, and that it ends with the run.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Database, Local, is_alive, until};
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
        assert_eq!(told["environment"][VARIABLE], url);
        let (one, other) = (fresh(&url), fresh(&url));
        assert_ne!((one.port, &one.database), (other.port, &other.database));
        one.query("DELETE FROM people").unwrap();
        fresh(&url);
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
        // The databases of a server that is made anew go with it.
        local.call(&["restore", "--run-id", "r"]).ok();
        let url = address(&local).expect("an address");
        fresh(&url);
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
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(before.cast_signed()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    until("it is gone", || (!is_alive(before)).then_some(()));
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
