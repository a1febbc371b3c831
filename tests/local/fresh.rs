//! Fresh databases of MariaDB, each on a server of its own: that a copy is exact, that no two tests get one, and
//! that nothing of them is left. What the interface answers is in `integresql.rs`.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;

use serde_json::json;

use crate::examples::is_missing;
use crate::harness::{Database, Local, command_line, listens, until, working_below};
use crate::integresql::{Client, Serving, database};

const RUN: [&str; 4] = ["run", "--with", "mariadb", "--pool"];

/// One of everything that a database can have in it.
const ALL: [&str; 21] = [
    "CREATE TABLE places (
        id int AUTO_INCREMENT PRIMARY KEY,
        name varchar(80) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL,
        slug varchar(90) AS (concat(name, '-x')) STORED,
        shout varchar(80) AS (upper(name)) VIRTUAL,
        story text,
        at point NOT NULL,
        price decimal(8,2) NOT NULL DEFAULT 0,
        made timestamp DEFAULT '2026-01-02 03:04:05',
        CONSTRAINT not_free CHECK (price >= 0),
        UNIQUE KEY (slug), KEY shouted (shout), FULLTEXT KEY (story), SPATIAL KEY (at)
    ) AUTO_INCREMENT = 41",
    "CREATE TABLE tickets (
        id bigint AUTO_INCREMENT PRIMARY KEY, place int NOT NULL, seat varchar(10) COLLATE utf8mb4_bin,
        CONSTRAINT at_a_place FOREIGN KEY (place) REFERENCES places (id) ON DELETE CASCADE ON UPDATE CASCADE
    )",
    "CREATE TABLE sold (n int NOT NULL DEFAULT 0, at datetime)",
    "CREATE TABLE years (y int NOT NULL, n int, KEY (n)) PARTITION BY RANGE (y) (
        PARTITION old VALUES LESS THAN (2000), PARTITION new VALUES LESS THAN MAXVALUE)",
    "CREATE TABLE notes (n int PRIMARY KEY, t text) ENGINE = MyISAM",
    "CREATE TABLE drafts (n int PRIMARY KEY, t text) ENGINE = Aria",
    "CREATE TABLE squeezed (n int PRIMARY KEY, t text) ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 8",
    "CREATE TABLE history (n int PRIMARY KEY, t text) WITH SYSTEM VERSIONING",
    "CREATE TABLE `odd ``name` (`a b` json, c blob, e enum('x', 'y''z'))",
    "CREATE SEQUENCE numbers START WITH 100 INCREMENT BY 10 NOCACHE",
    "CREATE VIEW cheap AS SELECT id, name FROM places WHERE price < 10",
    "CREATE VIEW cheaper AS SELECT name FROM cheap WITH CHECK OPTION",
    "CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n * 2",
    "CREATE PROCEDURE sell(IN at_place int, IN in_seat varchar(10))
     BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
        START TRANSACTION;
        INSERT INTO tickets (place, seat) VALUES (at_place, in_seat);
        COMMIT;
     END",
    "CREATE TRIGGER counted AFTER INSERT ON tickets FOR EACH ROW UPDATE sold SET n = n + 1",
    "CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM sold WHERE n > 1000",
    "INSERT INTO places (name, story, at, price) VALUES ('Käse', 'once upon a time', POINT(1, 2), 4.50), \
     ('Opera', 'and then', POINT(3, 4), 90)",
    "INSERT INTO sold (n) VALUES (0)",
    "INSERT INTO years VALUES (1999, 1), (2026, 2)",
    "INSERT INTO notes VALUES (1, 'a'); INSERT INTO drafts VALUES (1, 'b'); INSERT INTO squeezed VALUES (1, 'c'); \
     INSERT INTO history VALUES (1, 'd'); UPDATE history SET t = 'e'; \
     INSERT INTO `odd ``name` VALUES ('[1]', x'00ff', 'y''z')",
    "CALL sell(41, 'A1'); SELECT nextval(numbers)",
];

/// A template with all of that, and where it is.
fn template(client: &mut Client, hash: &str) -> Database {
    let (status, answer) = client.initialise(hash);
    assert_eq!(status, 200, "{answer}");
    let template = database(&answer);
    for statement in ALL {
        template.query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    template
}

fn dump(database: &Database) -> String {
    let mut command = Command::new("mariadb-dump");
    let Database { host, port, user, .. } = database;
    command.args(["--no-defaults", "--protocol=tcp", "-h", host, "-P", &port.to_string(), "-u", user]);
    command.args(["--routines", "--events", "--triggers", "--skip-dump-date", "--hex-blob"]);
    command.arg(database.database.as_ref().unwrap()).env("MYSQL_PWD", &database.password);
    let output = command.output().expect("mariadb-dump");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a dump")
}

/// The servers of the pools in a folder.
fn servers(local: &Local) -> usize {
    working_below(local.path()).iter().filter(|(_, at)| at.to_string_lossy().contains("/pool/")).count()
}

#[test]
fn a_copy_is_the_template_byte_for_byte() {
    if is_missing("mariadb-dump", Command::new("mariadb-dump").arg("--version")) {
        return;
    }
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let whole = dump(&template(&mut client, "a"));
    for part in
        ["at_a_place", "not_free", "FULLTEXT", "SPATIAL", "PARTITION", "EVENT `tidy`", "`twice`", "`sell`"]
    {
        assert!(whole.contains(part), "{part} is not in {whole}");
    }
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    let (one, _) = client.get("a");
    let (other, _) = client.get("a");
    assert_eq!(dump(&one), whole);
    one.query("DROP TABLE tickets").unwrap();
    assert_eq!(dump(&other), whole);
    serving.end().ok();
    local.assert_nothing_left();
}

#[test]
fn a_test_has_a_mariadb_for_itself_in_which_all_goes_on() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let filled = template(&mut client, "a");
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    let ((one, _), (other, _)) = (client.get("a"), client.get("a"));
    assert_ne!(one.port, other.port);
    // Names in statements, and in the code under test, mean what they mean in the run.
    assert_eq!(one.database, filled.database);
    one.query("CALL sell(42, 'B2')").unwrap();
    one.query("INSERT INTO places (name, at) VALUES ('Zoo', POINT(5, 6))").unwrap();
    let values = |database: &Database| {
        let sql = "SELECT concat_ws(' ', (SELECT n FROM sold), (SELECT max(id) FROM places), (SELECT count(*) FROM \
                   tickets), nextval(numbers), twice(4))";
        database.value(sql)
    };
    assert_eq!((values(&one), values(&other)), ("2 43 2 110 8".into(), "1 42 1 110 8".into()));
    assert!(one.query("INSERT INTO tickets (place) VALUES (7)").unwrap_err().contains("at_a_place"));
    assert!(one.query("UPDATE places SET price = -1").unwrap_err().contains("not_free"));
    assert_eq!(one.value("SELECT name FROM places WHERE match (story) against ('time')"), "Käse");
    // Another hash is another template.
    let (status, answer) = client.initialise("b");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(database(&answer).query("SHOW TABLES").unwrap(), Vec::<String>::new());
    serving.end().ok();
    local.assert_nothing_left();
}

#[test]
fn no_end_of_a_server_is_lost() {
    // Whoever looks after what the command leaves behind takes note of each child that ends; those of the pool are
    // waited for by the pool, and a template that has ended cleanly is one.
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", "mariadb", "--pool=2"]);
    let mut client = serving.client();
    for hash in 0..8 {
        client.template(&format!("{hash}"));
    }
    serving.end().ok();
}

#[test]
fn what_is_unlocked_may_come_again_and_what_is_recreated_is_gone() {
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", "mariadb", "--pool=2"]);
    let mut client = serving.client();
    client.template("a");
    let (unchanged, id) = client.get("a");
    assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/unlock")), 204);
    assert_eq!(client.get("a").0, unchanged);
    for _ in 0..6 {
        let (database, id) = client.get("a");
        assert_eq!(database.value("SELECT count(*) FROM t"), "1");
        database.query("DELETE FROM t").unwrap();
        assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/recreate")), 204);
        until("its server is gone", || (!listens(database.port)).then_some(()));
    }
    // Those that are kept ready, and the one that is held.
    until("as many are left", || (servers(&local) == 3).then_some(()));
    assert_eq!(client.status("DELETE", "/admin/templates"), 204);
    until("all are gone", || (servers(&local) == 0).then_some(()));
    serving.end().ok();
}

#[test]
fn workers_at_once_never_share_a_mariadb() {
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", "mariadb", "--pool=4"]);
    let seen = Mutex::new(BTreeSet::new());
    let mut made = 0;
    std::thread::scope(|scope| {
        let worker = |worker: usize| {
            let mut client = serving.client();
            let (status, answer) = client.initialise("shared");
            if status == 200 {
                database(&answer).query("CREATE TABLE mine (worker int)").unwrap();
                assert_eq!(client.status("PUT", "/templates/shared"), 204);
            } else {
                assert_eq!(status, 423, "{answer}");
            }
            for test in 0..3 {
                let (database, id) = client.get("shared");
                let port = database.port;
                database.query(&format!("INSERT INTO mine VALUES ({worker})")).unwrap();
                assert_eq!(database.value("SELECT count(*) FROM mine"), "1");
                assert!(seen.lock().unwrap().insert(port), "{database:?} was given out twice");
                // Some are never given back.
                if test != 2 {
                    let path = format!("/templates/shared/tests/{id}/recreate");
                    assert_eq!(client.status("POST", &path), 204);
                }
            }
            usize::from(status == 200)
        };
        let workers: Vec<_> = (0..8).map(|number| scope.spawn(move || worker(number))).collect();
        made = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    });
    assert_eq!((made, seen.lock().unwrap().len()), (1, 24));
    serving.end().ok();
    local.assert_nothing_left();
}

#[test]
fn nobody_is_in_a_template_of_mariadb_once_it_is_finalized() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let (_, answer) = client.initialise("a");
    let template = database(&answer);
    template.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").unwrap();
    let stay = template.clone();
    // A client that forgets to log out, with a row that nobody is ever to see.
    let straggler = std::thread::spawn(move || {
        stay.query("START TRANSACTION; INSERT INTO t VALUES (2); SELECT SLEEP(60)")
    });
    let sleeps = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'";
    until("it is in", || (template.value(sleeps) == "1").then_some(()));
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    assert!(straggler.join().unwrap().is_err() || !listens(template.port));
    assert!(template.refusal().contains("refused"), "{}", template.refusal());
    assert_eq!(client.get("a").0.value("SELECT count(*) FROM t"), "1");
    serving.end().ok();
}

#[test]
fn a_prepared_transaction_is_not_copied() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let (_, answer) = client.initialise("a");
    let template = database(&answer);
    template.query("CREATE TABLE t (n int)").unwrap();
    template.query("XA START 'mine'; INSERT INTO t VALUES (1); XA END 'mine'; XA PREPARE 'mine'").unwrap();
    let (status, answer) = client.ask("PUT", "/templates/a", "");
    assert_eq!(status, 503, "{answer}");
    let told = answer["message"].as_str().unwrap();
    assert!(told.contains("prepared transaction, \"mine\""), "{told}");
    template.query("XA ROLLBACK 'mine'").unwrap();
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    client.get("a").0.query("DROP TABLE t").unwrap();
    serving.end().ok();
}

#[test]
fn tests_that_give_nothing_back_do_not_fill_the_memory() {
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", "mariadb", "--pool=2"]);
    let mut client = serving.client();
    client.template("a");
    for _ in 0..24 {
        client.get("a").0.query("INSERT INTO t VALUES (2)").unwrap();
    }
    until("they are fewer", || (servers(&local) <= 16 + 2).then_some(()));
    assert_eq!(client.get("a").0.value("SELECT count(*) FROM t"), "1");
    serving.end().ok();
    local.assert_nothing_left();
}

#[test]
fn one_that_has_ended_is_not_given_out() {
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", "mariadb", "--pool=2"]);
    let mut client = serving.client();
    client.template("a");
    until("two are ready", || (servers(&local) == 2).then_some(()));
    let (held, id) = client.get("a");
    assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/unlock")), 204);
    // It is the next to be given out.
    for (pid, _) in working_below(local.path()) {
        if command_line(pid).contains(&format!("--port={}", held.port)) {
            Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
        }
    }
    until("it has ended", || (!listens(held.port)).then_some(()));
    let (next, _) = client.get("a");
    assert_ne!(next, held);
    assert_eq!(next.value("SELECT count(*) FROM t"), "1");
    serving.end().ok();
}

#[test]
fn a_testbed_that_is_killed_leaves_no_server_of_its_pool() {
    let local = Local::new();
    let mut killed = Serving::start(&local, &["run", "--run-id", "victim", "--with", "mariadb", "--pool=2"]);
    killed.client().template("a");
    killed.client().get("a");
    killed.client().initialise("b");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(servers(&local) > 0);
    let status = local.call(&["status"]).ok();
    assert!(status.stderr.contains("removed run victim"), "{}", status.transcript());
    local.assert_nothing_left();
}

#[test]
fn a_run_that_stays_up_keeps_no_server_of_a_pool() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "mariadb", "--run-id", "r"]);
    let exec = ["exec", "--run-id", "r", "--pool=2"];
    let (one, other) = (Serving::start(&local, &exec), Serving::start(&local, &exec));
    // Two commands on one run have pools of their own.
    let (mut first, mut second) = (one.client(), other.client());
    first.template("a");
    second.template("a");
    assert_ne!(first.get("a").0.port, second.get("a").0.port);
    one.end().ok();
    second.get("a").0.query("DELETE FROM t").unwrap();
    other.end().ok();
    let pool = || local.left_but(&[]).into_iter().filter(|left| left.contains("/pool")).collect::<Vec<_>>();
    assert_eq!(pool(), Vec::<String>::new());
    // One that was killed leaves its servers to the next.
    let mut killed = Serving::start(&local, &exec);
    killed.client().template("a");
    killed.client().get("a");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(servers(&local) > 0);
    let next = Serving::start(&local, &exec);
    assert_eq!(servers(&local), 0);
    next.end().ok();
    assert_eq!(pool(), Vec::<String>::new());
    databases[0].assert_takes_logins();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn a_mariadb_with_tls_has_copies_with_tls() {
    let local = Local::new();
    let serving = Serving::start(&local, &[&RUN[..], &["--param", "mariadb.tls=true"]].concat());
    let mut client = serving.client();
    let (status, answer) = client.initialise("a");
    assert_eq!(status, 200, "{answer}");
    let params = &answer["database"]["config"]["additionalParams"];
    assert_eq!(params["ssl-mode"], "VERIFY_IDENTITY");
    assert!(std::path::Path::new(params["ssl-ca"].as_str().unwrap()).exists());
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    let (copy, _) = client.get("a");
    copy.query("SELECT 1").expect_err("without TLS");
    let mut command = Command::new("mariadb");
    let Database { host, port, user, .. } = &copy;
    command.args([
        "--no-defaults",
        "-h",
        host,
        "-P",
        &port.to_string(),
        "-u",
        user,
        "-N",
        "-e",
        "SHOW STATUS LIKE 'Ssl_cipher'",
    ]);
    command.args(["--ssl-verify-server-cert", &format!("--ssl-ca={}", params["ssl-ca"].as_str().unwrap())]);
    let output = command.env("MYSQL_PWD", &copy.password).output().expect("mariadb");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("TLS"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serving.end().ok();
}

#[test]
fn databases_with_pools_go_by_their_names() {
    let local = Local::new();
    let args = [
        "run",
        "--with",
        "mariadb",
        "--with",
        "mariadb=audit",
        "--with",
        "postgres=orders",
        "--with",
        "sqlite",
    ];
    let serving = Serving::start(&local, &[&args[..], &["--pool=2"]].concat());
    let mut client = serving.client();
    // Without a name, that of PostgreSQL.
    client.template("a");
    assert_eq!(client.get("a").0.driver, "postgres");
    let own = client.path.clone();
    let mut ports = BTreeSet::new();
    for name in ["mariadb", "audit", "orders"] {
        client.path = own.replace("/api/", &format!("/{name}/api/"));
        if name != "orders" {
            assert_eq!(client.status("GET", "/templates/a/tests"), 404, "{name} has templates of its own");
            client.template("a");
        }
        ports.insert(client.get("a").0.port);
    }
    assert_eq!(ports.len(), 3);
    client.path = own.replace("/api/", "/sqlite/api/");
    let (status, answer) = client.ask("GET", "/templates/a/tests", "");
    let told = "sqlite is of sqlite: only databases of PostgreSQL, MariaDB and MySQL have a pool";
    assert_eq!((status, &answer["message"]), (404, &json!(told)));
    serving.end().ok();
    local.assert_nothing_left();
}

/// A project whose seed has put two people into each of its databases.
fn seeded(databases: &str) -> Local {
    let local = Local::new();
    local.file("people.sql", "CREATE TABLE people (id int PRIMARY KEY, name varchar(20));\nINSERT INTO people VALUES (1, 'Ada'), (2, 'Bob');\n");
    local.file("testbed.yaml", databases);
    local
}

const MARIADB: &str = "databases:\n  shop:\n    use: mariadb\n    seed: people.sql\npool: 2\n";

#[test]
fn a_seed_needs_no_template_of_the_tests_own() {
    for engine in ["mariadb", "postgres"] {
        let local = seeded(&MARIADB.replace("mariadb", engine));
        let serving = Serving::start(&local, &["run"]);
        let mut client = serving.client();
        let ((one, id), (other, _)) = (client.get("testbed"), client.get("testbed"));
        one.query("DELETE FROM people").unwrap();
        assert_eq!(other.value("SELECT name FROM people WHERE id = 2"), "Bob");
        assert_eq!(client.status("POST", &format!("/templates/testbed/tests/{id}/recreate")), 204);
        assert_eq!(client.initialise("testbed").0, 423, "it is there already");
        // Others are beside it, and are forgotten without it.
        let (_, answer) = client.initialise("a");
        assert!(database(&answer).query("SELECT * FROM people").is_err());
        for discarded in ["/admin/templates", "/templates/testbed"] {
            assert_eq!(client.status("DELETE", discarded), 204);
            assert_eq!(client.initialise("testbed").0, 423, "nobody takes its place");
            assert_eq!(client.get("testbed").0.value("SELECT name FROM people WHERE id = 1"), "Ada");
        }
        serving.end().ok();
        local.assert_nothing_left();
    }
}

#[test]
fn a_run_that_stays_up_has_its_seed_too() {
    let local = seeded(&MARIADB.replace("pool: 2\n", ""));
    let (_, databases) = local.up(&["--run-id", "r"]);
    databases[0].query("DELETE FROM people").unwrap();
    let serving = Serving::start(&local, &["exec", "--run-id", "r", "--pool=2"]);
    assert_eq!(serving.client().get("testbed").0.value("SELECT count(*) FROM people"), "2");
    serving.end().ok();
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}

#[test]
fn without_a_seed_its_template_is_not_there() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let (status, answer) = client.ask("GET", "/templates/testbed/tests", "");
    assert_eq!(status, 404, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("has no seed: `seed` in testbed.yaml"), "{answer}");
    // Then it is a hash like any other.
    client.template("testbed");
    client.get("testbed");
    serving.end().ok();
}

#[test]
fn a_seed_is_not_copied_from_under_its_users() {
    let local = seeded(&MARIADB.replace("mariadb", "postgres").replace("pool: 2\n", ""));
    let (_, databases) = local.up(&["--run-id", "r"]);
    let stay = databases[0].clone();
    let straggler = std::thread::spawn(move || stay.query("SELECT pg_sleep(60)"));
    let maintenance = databases[0].to_database("postgres");
    let inside = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    until("it is in", || (maintenance.value(inside) == "1").then_some(()));
    let serving = Serving::start(&local, &["exec", "--run-id", "r", "--pool=2"]);
    let (status, answer) = serving.client().ask("GET", "/templates/testbed/tests", "");
    assert_eq!(status, 503, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("somebody was logged in to"), "{answer}");
    assert_eq!(maintenance.value(inside), "1", "it goes on");
    serving.end().ok();
    local.call(&["down", "--run-id", "r"]).ok();
    assert!(straggler.join().unwrap().is_err());
}

/// What a server with a snapshot's data was made from is not there to be copied.
#[test]
fn a_command_that_asks_for_no_copy_has_none_of_a_snapshot_either() {
    let local = Local::new();
    local.call(&["up", "--with", "mariadb", "--run-id", "r"]).ok();
    let kept = local.call(&["snapshot", "mariadb", "s"]).ok();
    let ask = ["--", "sh", "-c", "curl -sS $INTEGRESQL_CLIENT_BASE_URL/v1/templates/testbed/tests"];
    let asked = |what: &[&str]| local.call(&[what, &ask[..]].concat()).ok().stdout;
    // A fork takes no part in it.
    local.call(&["fork", "mariadb"]).ok();
    let _ = kept.says("testbed up --from mariadb=s starts with it");
    local.call(&["snapshot", "mariadb-1", "s2"]).ok().says("testbed up --from mariadb=s2 starts with it");
    let told = asked(&["exec", "--pool=1"]);
    assert!(told.contains("has no seed"), "{told}");
    local.call(&["restore", "mariadb", "--from", "s"]).ok();
    for what in [&["exec", "--pool=1"][..], &["run", "--with", "mariadb", "--from", "s", "--pool=1"]] {
        let told = asked(what);
        assert!(told.contains("mariadb has no pool: mariadb: what it was made from is not kept"), "{told}");
    }
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}
