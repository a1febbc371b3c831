//! `testbed restore`: a database is again what it was when `up` had made it, or what it was before, and never
//! anything in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Database, Local, count, is_alive, until, working_below};
use crate::support::random::Random;

const ENGINES: [&str; 2] = ["postgres", "mariadb"];

/// The only database of a run.
fn only(databases: Vec<Database>) -> Database {
    let [one] = <[Database; 1]>::try_from(databases).expect("one database");
    one
}

fn row(local: &Local) -> Value {
    let rows: Value = serde_json::from_str(&local.call(&["status", "-o", "json"]).ok().stdout).unwrap();
    rows[0].clone()
}

/// The tables that are there, by their first letters.
fn tables(database: &Database) -> String {
    let schema = if database.driver == "postgres" { "public" } else { "test" };
    let all = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' ORDER BY 1"
    );
    database.query(&all).unwrap().concat()
}

#[test]
fn an_empty_database_is_empty_again_with_its_port_and_logins() {
    for engine in ENGINES {
        let local = Local::new();
        let (_, databases) = local.up(&["--with", engine, "--run-id", "r", "--param", "user=app"]);
        let database = only(databases);
        database.query("CREATE TABLE a (n int)").unwrap();
        let before = row(&local);
        let restore = local.call(&["restore"]).ok().says(&format!("{engine} is as it was made"));
        restore.keeps(&database.password);
        assert_eq!(tables(&database), "", "{engine}");
        let after = row(&local);
        for kept in ["address", "user", "database", "log"] {
            assert_eq!(before[kept], after[kept], "{engine} {kept}");
        }
        assert_ne!(before["process"], after["process"]);
        assert_eq!((&after["state"], &after["restarts"]), (&Value::from("Running"), &Value::from(1)));
        // What is left of the old data serves nobody in the run.
        let data = std::fs::read_dir(local.state().join("data")).unwrap().next().unwrap().unwrap().path();
        let inside = std::fs::read_dir(data).unwrap().count();
        assert_eq!(inside, 2, "the server's folder and the note of the registry");
        // Again, and it is used as before.
        database.query("CREATE TABLE b (n int)").unwrap();
        local.call(&["restore", engine]).ok();
        assert_eq!(tables(&database), "");
        assert_eq!(
            local.call(&["exec", "--", "sh", "-c", "echo $DATABASE_URL"]).ok().stdout.lines().count(),
            1
        );
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn scripts_and_seeds_are_those_of_then_and_not_of_now() {
    for engine in ENGINES {
        let local = Local::with_cold_cache();
        for folder in ["init.sql", "seed.sql"] {
            local.file(folder, &format!("CREATE TABLE {} (n int);\n", &folder[..1]));
        }
        let settings = format!(
            "databases:\n  scripts: {{use: {engine}, init: init.sql, users: [bob], databases: [more]}}\n  \
             seeds: {{use: {engine}, seed: seed.sql, init: init.sql}}\nseed-limit: 1\n"
        );
        local.file("testbed.yaml", &settings);
        let (_, databases) = local.up(&["--run-id", "r"]);
        let [scripts, more, seeds] = &databases[..] else { panic!("{databases:?}") };
        assert_eq!((tables(scripts), tables(seeds)), ("i".into(), "is".into()), "{engine}");
        for database in [scripts, seeds] {
            database.query("CREATE TABLE x (n int)").unwrap();
            database.query("DROP TABLE i").unwrap();
        }
        local.file("init.sql", "CREATE TABLE other (n int);\n");
        std::fs::remove_file(local.path().join("seed.sql")).unwrap();
        // For which there is no room, and which the run still needs.
        local.file("testbed.yaml", "seed-limit: 1\n");
        local.call(&["gc"]).ok();
        for name in ["scripts", "seeds"] {
            local.call(&["restore", name]).ok();
        }
        assert_eq!((tables(scripts), tables(seeds)), ("i".into(), "is".into()), "{engine}");
        more.assert_takes_logins();
        let other = if engine == "postgres" { "postgres" } else { "information_schema" };
        scripts.as_user("bob", &scripts.password).to_database(other).assert_takes_logins();
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn who_is_connected_is_ended_and_nobody_sees_half_of_it() {
    for engine in ENGINES {
        let local = Local::new();
        let pause = if engine == "postgres" { "SELECT pg_sleep(0.4)" } else { "DO SLEEP(0.4)" };
        local.file("init.sql", &format!("CREATE TABLE a (n int);\n{pause};\nCREATE TABLE b (n int);\n"));
        let (_, databases) = local.up(&["--with", engine, "--run-id", "r", "--param", "init=init.sql"]);
        let database = only(databases);
        database.query("CREATE TABLE c (n int)").unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut seen = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let schema = if engine == "postgres" { "public" } else { "test" };
                    let all = format!(
                        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' ORDER BY 1"
                    );
                    // One that is refused or ended has seen nothing.
                    seen.extend(database.query(&all).map(|rows| rows.concat()));
                    seen.dedup();
                }
                seen
            });
            let sleeps = if engine == "postgres" { "SELECT pg_sleep(60)" } else { "SELECT SLEEP(60)" };
            let connected = scope.spawn(|| database.query(sleeps));
            local.call(&["restore"]).ok();
            connected.join().unwrap().expect_err("it was ended");
            assert_eq!(tables(&database), "ab");
            done.store(true, Ordering::Relaxed);
            let seen = watcher.join().unwrap();
            assert!(seen.iter().all(|tables| ["abc", "ab"].contains(&tables.as_str())), "{engine}: {seen:?}");
            assert!(seen.starts_with(&["abc".to_owned()]), "it went on meanwhile: {seen:?}");
        });
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn one_that_is_killed_leaves_a_whole_database_and_a_run_that_goes() {
    let mut random = Random::new();
    for number in 0..count("TESTBED_TEST_KILLS", 4) * 2 {
        let engine = ENGINES[number % 2];
        let local = Local::new();
        local.file("init.sql", "CREATE TABLE a (n int);\nCREATE TABLE b (n int);\n");
        let (_, databases) = local.up(&["--with", engine, "--run-id", "r", "--param", "init=init.sql"]);
        let database = only(databases);
        database.query("CREATE TABLE c (n int)").unwrap();
        let mut restore = local.start(&["restore"]);
        std::thread::sleep(random.below(Duration::from_millis(if engine == "postgres" {
            700
        } else {
            2500
        })));
        let _ = restore.child.kill();
        restore.child.wait().unwrap();
        // Whatever was made beside it goes with the next command, and so does who works in it.
        local.call(&["status"]).ok();
        let beside = working_below(&local.state()).into_iter().filter(|(_, at)| {
            at.components().any(|part| part.as_os_str().to_string_lossy().ends_with(".aside"))
        });
        assert_eq!(beside.collect::<Vec<_>>(), []);
        let exec = local.call(&["exec", "--", "true"]);
        if exec.code != Some(0) {
            let exec = exec.fails(1);
            exec.says("a testbed restore was stopping the server of").says("testbed restart");
            local.call(&["restart"]).ok();
        }
        let found = until("a database that takes logins", || {
            database.query("SELECT 1").ok().map(|_| tables(&database))
        });
        assert!(["abc", "ab"].contains(&found.as_str()), "{engine}: {found}");
        if number % 3 == 0 {
            local.call(&["restore"]).ok();
            assert_eq!(tables(&database), "ab");
        }
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn two_at_once_wait_for_each_other() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "r"]);
    let database = only(databases);
    database.query("CREATE TABLE a (n int)").unwrap();
    let [one, other] = [(), ()].map(|()| local.start(&["restore"]));
    let waited = [one.wait().ok(), other.wait().ok()];
    assert!(waited.iter().any(|called| called.stderr.contains("another testbed works on the run")));
    assert_eq!((tables(&database), row(&local)["restarts"].as_i64()), (String::new(), Some(2)));
    local.call(&["down"]).ok();
}

#[test]
fn what_cannot_be_restored_is_told_and_not_touched() {
    let local = Local::new();
    local.call(&["restore"]).fails(2).says("no run is up in this folder");
    local.call(&["up", "--with", "postgres=orders", "--with", "sqlite", "--run-id", "r"]).ok();
    local.call(&["restore"]).fails(2).says("several databases: orders, sqlite");
    local.call(&["restore", "ordesr"]).fails(2).says("no database ordesr").says("it has orders, sqlite");
    local.call(&["restore", "sqlite"]).fails(2).says("sqlite is sqlite, in memory");
    let late = local.call(&["restore", "orders", "--timeout", "1ms"]).fails(3);
    late.says("hint: orders was not touched");
    // As an older testbed has left it.
    let server = local.record("r").unwrap()["place"]["local"]["servers"][0].clone();
    let made = std::path::Path::new(server["data"].as_str().unwrap()).with_file_name("made.json");
    std::fs::remove_file(made).unwrap();
    local.call(&["restore", "orders"]).fails(1).says("orders: an older testbed has made it");
    assert!(is_alive(server["process"]["pid"].as_u64().unwrap().try_into().unwrap()));
    let place = local.record("r").unwrap()["place"].clone();
    local.change_record("r", |record| {
        let location = serde_json::json!({"access": "pod", "context": null, "namespace": "ci"});
        record["place"] = serde_json::json!({"kubernetes": location});
    });
    let restore = local.call(&["restore", "orders"]).fails(2);
    restore
        .says("testbed restore is for databases of this machine, and run r is in namespace ci of a cluster");
    local.change_record("r", |record| record["place"] = place);
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}
