//! `testbed snapshot`: what was in a database is kept by a name, and runs start with it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Database, Local, count, until, working_below};
use crate::support::random::Random;

const ENGINES: [&str; 2] = ["postgres", "mariadb"];

fn kept(local: &Local) -> Vec<Value> {
    serde_json::from_str(&local.call(&["snapshot", "-o", "json"]).ok().stdout).unwrap()
}

fn names(local: &Local) -> Vec<String> {
    kept(local)
        .iter()
        .map(|one| format!("{}={}", one["database"].as_str().unwrap(), one["name"].as_str().unwrap()))
        .collect()
}

/// What is there beside snapshots that are whole, and locks.
fn half_made(local: &Local) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(local.state().join("snapshots")).into_iter().flatten().flatten();
    let is_whole = |path: &PathBuf| path.join("snapshot.json").exists() && path.join("entry.json").exists();
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "lock");
    entries.map(|entry| entry.path()).filter(|path| !is_lock(path) && !is_whole(path)).collect()
}

/// Who works in what is half made.
fn working_in(local: &Local) -> Vec<(u32, PathBuf)> {
    let snapshots = local.state().canonicalize().unwrap().join("snapshots");
    working_below(&local.state()).into_iter().filter(|(_, at)| at.starts_with(&snapshots)).collect()
}

fn one(databases: &[Database]) -> &Database {
    let [one, ..] = databases else { panic!("a database") };
    one
}

#[test]
fn a_run_starts_with_what_was_kept_and_its_own_passwords() {
    for engine in ENGINES {
        let local = Local::new();
        local.file("init.sql", "CREATE TABLE a (n int);\n");
        let settings = format!(
            "databases:\n  orders: {{use: {engine}, user: app, users: [bob], databases: [{{name: audit, owner: alice}}], init: init.sql}}\n"
        );
        local.file("testbed.yaml", &settings);
        let (_, databases) = local.up(&["--run-id", "r"]);
        let [orders, audit] = &databases[..] else { panic!("{databases:?}") };
        orders.query("INSERT INTO a VALUES (20)").unwrap();
        if engine == "postgres" {
            orders.query("CREATE UNLOGGED TABLE u AS SELECT 5 AS n").unwrap();
        }
        audit.query("CREATE TABLE b (n int)").unwrap();
        let snapshot = local.call(&["snapshot", "orders", "loaded"]).ok();
        snapshot.says("the snapshot is kept: testbed up --from orders=loaded").keeps(&orders.password);
        // The run goes on as it was.
        assert_eq!(orders.value("SELECT n FROM a"), "20", "{engine}");
        orders.query("INSERT INTO a VALUES (1)").unwrap();
        let [shown] = &kept(&local)[..] else { panic!("one") };
        assert_eq!((shown["runId"].as_str(), shown["engine"].as_str()), (Some("r"), Some(engine)));
        assert!(shown["size"].as_u64().unwrap() > 1 << 20 && shown["made"].is_string());
        let table = local.call(&["snapshot"]).ok();
        assert!(
            table.stdout.contains("orders     loaded") || table.stdout.contains("loaded"),
            "{}",
            table.stdout
        );
        local.call(&["down"]).ok();
        for from in ["loaded", "orders=loaded"] {
            local.file("init.sql", "CREATE TABLE never (n int);\n");
            let (_, again) = local.up(&["--run-id", "s", "--from", from]);
            let [again, further] = &again[..] else { panic!("{again:?}") };
            assert_eq!(again.query("SELECT n FROM a").unwrap(), ["20"], "{engine}");
            if engine == "postgres" {
                assert_eq!(again.value("SELECT n FROM u"), "5");
            }
            assert_ne!(again.password, orders.password);
            again.as_user("app", &orders.password).refusal();
            further.as_user("alice", &orders.password).refusal();
            assert!(further.query("SELECT n FROM b").unwrap().is_empty());
            let other = if engine == "postgres" { "postgres" } else { "information_schema" };
            again.as_user("bob", &again.password).to_database(other).assert_takes_logins();
            // Back to what `up` had made: the snapshot.
            again.query("DROP TABLE a").unwrap();
            local.call(&["restore", "orders"]).ok();
            assert_eq!(again.query("SELECT n FROM a").unwrap(), ["20"], "{engine}");
            local.call(&["down"]).ok();
        }
        local.file("testbed.yaml", &settings.replace("init:", "from: loaded, init:"));
        let (_, again) = local.up(&["--run-id", "s"]);
        assert_eq!(one(&again).query("SELECT n FROM a").unwrap(), ["20"]);
        let up = local.call(&["up", "--run-id", "s", "--from", "other"]).fails(2);
        up.says("was asked for otherwise: orders (its snapshot)");
        local.call(&["down"]).ok();
        local.call(&["snapshot", "rm", "loaded"]).ok().says("removed the snapshot orders=loaded");
        assert!(kept(&local).is_empty() && half_made(&local).is_empty());
        local.assert_nothing_left();
    }
}

#[test]
fn a_run_that_is_up_is_put_back_to_a_snapshot() {
    for engine in ENGINES {
        let local = Local::new();
        let (_, databases) = local.up(&["--with", engine, "--run-id", "r"]);
        let database = one(&databases);
        database.query("CREATE TABLE a (n int)").unwrap();
        local.call(&["snapshot", "one"]).ok();
        database.query("INSERT INTO a VALUES (1)").unwrap();
        local.call(&["snapshot", engine, "two"]).ok();
        for (name, rows) in [("one", 0), ("two", 1), ("one", 0)] {
            local
                .call(&["restore", "--from", name])
                .ok()
                .says(&format!("{engine} is as in the snapshot {name}"));
            assert_eq!(database.query("SELECT n FROM a").unwrap().len(), rows, "{engine} {name}");
        }
        let wrong = local.call(&["restore", "--from", "three"]).fails(2);
        wrong.says(&format!("{engine} has no snapshot three")).says(&format!("{engine}=two, {engine}=one"));
        local.call(&["snapshot", "one"]).fails(2).says("has a snapshot one already").says("--replace");
        database.query("INSERT INTO a VALUES (2), (3)").unwrap();
        local.call(&["snapshot", "one", "--replace"]).ok();
        assert_eq!((names(&local).len(), half_made(&local)), (2, vec![]));
        local.call(&["restore"]).ok();
        database.query("SELECT n FROM a").unwrap_err();
        local.call(&["restore", "--from", "one"]).ok();
        assert_eq!(database.query("SELECT n FROM a").unwrap(), ["2", "3"]);
        local.call(&["down"]).ok();
        local.call(&["snapshot", "rm", "one", &format!("{engine}=two")]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn what_does_not_fit_is_told_before_anything_starts() {
    let local = Local::new();
    let up = ["up", "--with", "postgres=orders", "--run-id", "r"];
    local
        .call(&[&up[..], &["--from", "a"]].concat())
        .fails(2)
        .says("orders has no snapshot a in this project");
    local.call(&[&up[..], &["--from", "a b"]].concat()).fails(2).says("\"a b\" is no name for a snapshot");
    local
        .call(&[&up[..], &["--from", "users=a"]].concat())
        .fails(2)
        .says("there is no built-in server users");
    local.call(&up).ok();
    local.call(&["snapshot", "orders"]).fails(2).says("what is the snapshot of orders to be called?");
    local.call(&["snapshot", "users", "a"]).fails(2).says("no database users");
    local.call(&["snapshot", "orders", "../a"]).fails(2).says("\"../a\" is no name for a snapshot");
    local.call(&["snapshot", "orders", "a"]).ok();
    local.call(&["down"]).ok();
    for (args, said) in [
        (&["--with", "mariadb=orders"][..], "was written by PostgreSQL"),
        (&["--with", "postgres=orders", "--param", "user=other"], "and the user other and the database test"),
        (&["--with", "postgres=orders", "--param", "database=other"], "and the database other are asked for"),
    ] {
        let up = local.call(&[&["up", "--run-id", "r", "--from", "a"][..], args].concat()).fails(2);
        up.says("orders: the snapshot orders=a").says(said);
        assert!(local.record("r").is_none());
    }
    let cluster =
        ["--runtime", "kubernetes", "--context", "none", "--with", "postgres=orders", "--from", "a"];
    local.call(&[&["up"][..], &cluster].concat()).fails(2).says("a snapshot is for servers of this machine");
    // Another project has none of it.
    std::fs::create_dir(local.path().join("other")).unwrap();
    local.file("other/testbed.yaml", "databases: {orders: postgres}\n");
    let mut elsewhere = local.command(&["up", "--from", "a"]);
    let output = elsewhere.current_dir(local.path().join("other")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    local.call(&["snapshot", "rm", "b"]).fails(1).says("no snapshot b").says("there is orders=a");
    // One that somebody has changed is not used, and stays to be removed.
    let folder = std::fs::read_dir(local.state().join("snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    std::fs::write(folder.join("data/postgresql.auto.conf"), "other\n").unwrap();
    let up = local.call(&[&up[..], &["--from", "a"]].concat()).fails(1);
    up.says("was changed since it was made").says("testbed snapshot rm orders=a");
    assert!(local.record("r").is_none());
    local.call(&["snapshot", "rm", "a"]).ok();
    local.assert_nothing_left();
}

#[test]
fn one_that_is_killed_is_never_used_and_the_run_goes_on() {
    let mut random = Random::new();
    for number in 0..count("TESTBED_TEST_KILLS", 4) * 2 {
        let engine = ENGINES[number % 2];
        let local = Local::new();
        let (_, databases) = local.up(&["--with", engine, "--run-id", "r"]);
        let database = one(&databases);
        database.query("CREATE TABLE a AS SELECT 7 AS n").unwrap();
        let mut snapshot = local.start(&["snapshot", "half"]);
        std::thread::sleep(random.below(Duration::from_millis(if engine == "postgres" {
            1000
        } else {
            3000
        })));
        let _ = snapshot.child.kill();
        snapshot.child.wait().unwrap();
        let is_there = !names(&local).is_empty();
        if local.call(&["exec", "--", "true"]).code != Some(0) {
            local.call(&["restart"]).ok();
        }
        assert_eq!(until("a login", || database.query("SELECT n FROM a").ok()), ["7"], "{engine}");
        // The next command takes away what is left.
        assert_eq!((half_made(&local), working_in(&local)), (vec![], vec![]));
        local.call(&["snapshot", "half", "--replace"]).ok();
        local.call(&["down"]).ok();
        let (_, again) = local.up(&["--with", engine, "--run-id", "s", "--from", "half"]);
        assert_eq!(one(&again).value("SELECT n FROM a"), "7", "{engine} {is_there}");
        local.call(&["down"]).ok();
        local.call(&["snapshot", "rm", "half"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn two_at_once_of_one_name_are_one() {
    let local = Local::new();
    local.up(&["--with", "postgres", "--run-id", "r"]);
    let [one, other] = [(), ()].map(|()| local.start(&["snapshot", "a"]));
    let mut codes = [one.wait().code, other.wait().code];
    codes.sort_unstable();
    assert_eq!((codes, names(&local)), ([Some(0), Some(2)], vec!["postgres=a".to_owned()]));
    local.call(&["down"]).ok();
    // No limit takes it, and no clean-up.
    local.call(&["gc", "--seed-limit", "1"]).ok();
    assert_eq!(names(&local).len(), 1);
    local.call(&["snapshot", "rm", "a"]).ok();
}
