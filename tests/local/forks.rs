//! `testbed fork`: further databases of a run with what one of them holds.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Database, Local, count, until, working_below};
use crate::support::random::Random;

const ENGINES: [&str; 2] = ["postgres", "mariadb"];

/// The fork as it is printed.
fn read(urls: &str, of: &Database) -> Vec<Database> {
    let port = |url: &str| {
        assert!(url.contains(&format!("://{}:{}@127.0.0.1:", of.user, of.password)), "{url}");
        let (_, place) = url.rsplit_once("@127.0.0.1:").unwrap();
        place.split('/').next().unwrap().parse().unwrap()
    };
    urls.lines().map(|url| Database { port: port(url), ..of.clone() }).collect()
}

fn states(local: &Local) -> Vec<String> {
    let rows: Value = serde_json::from_str(&local.call(&["status", "-o", "json"]).ok().stdout).unwrap();
    let state = |row: &Value| format!("{} {}", row["name"].as_str().unwrap(), row["state"].as_str().unwrap());
    rows.as_array().unwrap().iter().map(state).collect()
}

#[test]
fn each_has_what_was_there_and_a_life_of_its_own() {
    for engine in ENGINES {
        let local = Local::new();
        let (_, databases) = local.up(&["--with", &format!("{engine}=orders"), "--run-id", "r"]);
        let orders = &databases[0];
        orders.query("CREATE TABLE a AS SELECT 7 AS n").unwrap();
        if engine == "postgres" {
            orders.query("CREATE UNLOGGED TABLE u AS SELECT 5 AS n").unwrap();
        }
        let config = local.read("testing-databases.json");
        let fork = local.call(&["fork", "--count", "2"]).ok();
        assert!(!fork.stderr.contains(&orders.password));
        let forks = read(&fork.stdout, orders);
        let [one, other] = &forks[..] else { panic!("{}", fork.stdout) };
        assert!(one.port != other.port && one.port != orders.port);
        for fork in [one, other] {
            assert_eq!(fork.value("SELECT n FROM a"), "7", "{engine}");
            if engine == "postgres" {
                assert_eq!(fork.value("SELECT n FROM u"), "5");
            }
        }
        one.query("DELETE FROM a").unwrap();
        orders.query("INSERT INTO a VALUES (8)").unwrap();
        assert_eq!(other.query("SELECT n FROM a").unwrap(), ["7"]);
        assert!(one.query("SELECT n FROM a").unwrap().is_empty());
        assert_eq!(states(&local), ["orders Running", "orders-1 Running", "orders-2 Running"]);

        // The run's own variables are as before, and the forks have theirs.
        let shell = "echo $DATABASE_URL | grep -c :$ORDERS_PORT/; echo $ORDERS_1_PORT";
        let exec = local.call(&["exec", "--", "sh", "-c", shell]).ok();
        assert_eq!(exec.stdout, format!("1\n{}\n", one.port), "{}", exec.transcript());
        let exec = local.call(&["exec", "orders-2", "--", "sh", "-c", "echo $DATABASE_URL"]).ok();
        assert!(exec.stdout.contains(&format!(":{}/", other.port)), "{}", exec.stdout);
        assert_eq!(local.read("testing-databases.json"), config);
        local.call(&["up", "--with", &format!("{engine}=orders"), "--run-id", "r"]).ok();
        assert_eq!(local.read("testing-databases.json"), config, "up goes on with it");

        // A fork of a fork, and what else works with one.
        local.call(&["restart", "orders-1"]).ok();
        let json = local.call(&["fork", "orders-1", "-o", "json"]).ok().stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["kind"], &json["databases"][0]["name"]),
            (&Value::from("Run"), &Value::from("orders-3"))
        );
        assert_eq!(json["environment"]["DATABASE_URL"], json["databases"][0]["url"]);
        let third = Database {
            port: json["databases"][0]["port"].as_u64().unwrap().try_into().unwrap(),
            ..orders.clone()
        };
        assert!(third.query("SELECT n FROM a").unwrap().is_empty(), "{engine}");
        local.call(&["restore", "orders-1"]).fails(2).says("orders-1 is a fork of orders");
        local.call(&["logs", "orders-3", "--tail", "1"]).ok();
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn further_databases_and_users_are_in_it_and_tls_is_verified() {
    let local = Local::new();
    let settings = "databases:\n  orders: {use: postgres, tls: true, user: app, databases: [{name: audit, owner: alice}]}\n";
    local.file("testbed.yaml", settings);
    local.call(&["up", "--run-id", "r"]).ok();
    let made = "psql -qXc 'CREATE TABLE b AS SELECT 9 AS n' \"$ORDERS_AUDIT_URL\"";
    local.call(&["exec", "--", "sh", "-c", made]).ok();
    let fork = local.call(&["fork", "orders"]).ok();
    assert_eq!(fork.stdout.lines().count(), 2, "{}", fork.stdout);
    assert!(fork.stdout.contains("sslmode=verify-full"), "{}", fork.stdout);
    let look = "psql -XAtc 'SELECT n FROM b' \"$ORDERS_1_AUDIT_URL\"";
    assert_eq!(local.call(&["exec", "--", "sh", "-c", look]).ok().stdout, "9\n");
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn who_is_connected_keeps_it_from_being_made_unless_it_is_forced() {
    for engine in ENGINES {
        let local = Local::new();
        let (_, databases) = local.up(&["--with", engine, "--run-id", "r"]);
        let database = &databases[0];
        let sleeps = if engine == "postgres" { "SELECT pg_sleep(60)" } else { "SELECT SLEEP(60)" };
        std::thread::scope(|scope| {
            let connected = scope.spawn(|| database.query(sleeps));
            let fork = until("a refusal", || {
                let fork = local.call(&["fork"]);
                (fork.code != Some(0)).then_some(fork)
            });
            let own = format!("(process {})", std::process::id());
            fork.fails(1).says(&format!("{engine}: ")).says(&own).says("is connected").says("--force");
            assert!(!connected.is_finished(), "nobody was ended");
            local.call(&["fork", "--force"]).ok();
            connected.join().unwrap().expect_err("it was ended");
        });
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn what_cannot_be_forked_is_told() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres=orders", "--with", "sqlite", "--run-id", "r"]).ok();
    local.call(&["fork", "orders", "--count", "0"]).fails(2).says("--count");
    local.call(&["fork", "sqlite"]).fails(2).says("sqlite is sqlite, in memory");
    local.call(&["fork", "users"]).fails(2).says("no database users");
    local.call(&["fork", "orders", "--timeout", "0s"]).fails(3).says("no fork was made");
    assert_eq!(states(&local).len(), 2, "only the run's own");
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn one_that_is_killed_goes_with_the_run_or_with_the_next() {
    let mut random = Random::new();
    for number in 0..count("TESTBED_TEST_KILLS", 4) {
        let engine = ENGINES[number % 2];
        let local = Local::new();
        let (_, databases) = local.up(&["--with", engine, "--run-id", "r"]);
        let database = &databases[0];
        database.query("CREATE TABLE a AS SELECT 7 AS n").unwrap();
        let mut fork = local.start(&["fork", "--count", "2"]);
        std::thread::sleep(random.below(Duration::from_millis(if engine == "postgres" {
            800
        } else {
            2500
        })));
        let _ = fork.child.kill();
        fork.child.wait().unwrap();
        if local.call(&["exec", "--", "true"]).code != Some(0) {
            local.call(&["restart"]).ok();
        }
        assert_eq!(until("a login", || database.query("SELECT n FROM a").ok()), ["7"], "{engine}");
        if number % 2 == 0 {
            let next = local.call(&["fork", "--force"]).ok();
            assert_eq!(read(&next.stdout, database)[0].value("SELECT n FROM a"), "7");
            let servers = states(&local).len();
            let folders: std::collections::BTreeSet<_> =
                working_below(&local.state()).into_iter().map(|(_, folder)| folder).collect();
            assert_eq!(folders.len(), servers, "{folders:?}");
        }
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}

#[test]
fn two_at_once_make_two() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r"]).ok();
    let [one, other] = [(), ()].map(|()| local.start(&["fork"]));
    let urls = [one.wait().ok().stdout, other.wait().ok().stdout];
    assert_ne!(urls[0], urls[1]);
    assert_eq!(states(&local), ["postgres Running", "postgres-1 Running", "postgres-2 Running"]);
    local.call(&["down"]).ok();
}
