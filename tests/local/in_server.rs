//! Fresh databases of MariaDB within one server, as a cluster has them: a run of this machine is served as if it were
//! somewhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use serde_json::{Value, json};
use testbed::database::{Login, Password};
use testbed::output::{Environment, Model, Names};
use testbed::pool::{self, Size};
use testbed::registry::Record;
use tokio::sync::oneshot;

use crate::harness::{Database, Local, until};
use crate::integresql::{Client, database};
use crate::support::pages::root;

/// A database with one of everything.
const EVERYTHING: &str = "tests/local/in_server/schema.sql";

/// A pool that is served here.
struct Pool {
    url: String,
    ends: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Pool {
    /// The pool of run `r`, whose tests log in as this user.
    fn start(
        local: &Local,
        user: &Database,
        admin: Option<&Database>,
        is_seeded: bool,
    ) -> Result<Self, String> {
        let mut record = local.record("r").expect("a record");
        record["place"] = json!({"kubernetes": {"access": "pod", "context": null, "namespace": "none"}});
        record["seeded"] = if is_seeded { json!(["mariadb"]) } else { json!([]) };
        record["databases"][0]["user"] = json!(user.user);
        record["databases"][0]["password"] = json!(user.password);
        let record: Record = serde_json::from_value(record).expect("a record");
        let model = Model { run_id: "r".to_owned(), databases: record.databases.clone() };
        let login = |one: &Database| Login {
            user: one.user.clone(),
            password: Password::new(one.password.clone()),
            database: None,
        };
        let admin = admin.map(login);
        let (tell, told) = std::sync::mpsc::channel();
        let (ends, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let admins: BTreeMap<&str, &Login> = admin.iter().map(|admin| ("mariadb", admin)).collect();
                let served =
                    pool::serve(Size::parse("2").ok(), &model, &Names::default(), &record, &admins).await;
                let served = served.map_err(|error| format!("{error:#}"))?.expect("a pool");
                let mut environment = Environment { set: Vec::new(), removed: Vec::new() };
                served.tell(&mut environment);
                tell.send(environment.set[0].1.clone()).expect("somebody listens");
                match ended.await {
                    Ok(()) => served.clear().await.map_err(|error| format!("{error:#}")),
                    // All that it has goes with the runtime, as with a process that is killed.
                    Err(_) => Ok(()),
                }
            })
        });
        match told.recv() {
            Ok(url) => Ok(Self { url, ends: Some(ends), thread: Some(thread) }),
            Err(_) => Err(thread.join().expect("no panic").expect_err("why there is none")),
        }
    }

    fn of_root(local: &Local, root: &Database) -> Self {
        Self::start(local, root, None, false).expect("a pool")
    }

    fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Ends as the command of a run that stays does.
    fn end(mut self) {
        self.ends.take().expect("it runs").send(()).expect("it runs");
        self.thread.take().expect("it runs").join().expect("no panic").expect("all is removed");
    }

    /// Ends without a word, in the middle of whatever it does.
    fn kill(mut self) {
        drop(self.ends.take());
        self.thread.take().expect("it runs").join().expect("no panic").expect("no failure");
    }
}

fn of_mysql(answer: &Value) -> Database {
    Database { driver: "mysql".to_owned(), ..database(answer) }
}

fn initialise(client: &mut Client, hash: &str) -> Database {
    let (status, answer) = client.initialise(hash);
    assert_eq!(status, 200, "{answer}");
    of_mysql(&answer)
}

fn get(client: &mut Client, hash: &str) -> (Database, u64) {
    let (status, answer) = client.ask("GET", &format!("/templates/{hash}/tests"), "");
    assert_eq!(status, 200, "{answer}");
    (of_mysql(&answer), answer["id"].as_u64().expect("a number"))
}

fn template(client: &mut Client, hash: &str, statements: &[&str]) {
    let template = initialise(client, hash);
    statements
        .iter()
        .for_each(|sql| drop(template.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))));
    assert_eq!(client.status("PUT", &format!("/templates/{hash}")), 204);
}

/// A program of MariaDB's, logged in.
fn program(name: &str, database: &Database) -> Command {
    let mut command = Command::new(name);
    command.arg("--no-defaults").args(["--host", &database.host, "--user", &database.user]);
    command.arg(format!("--port={}", database.port)).env("MYSQL_PWD", &database.password);
    command
}

fn load(database: &Database, file: &Path) {
    let mut command = program("mariadb", database);
    command.args(["--default-character-set=utf8mb4", "--database"]).arg(database.database.as_ref().unwrap());
    let output = command.stdin(File::open(file).unwrap()).output().expect("mariadb");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All of a database, with another name in the place of its own.
fn dump(database: &Database) -> String {
    let name = database.database.as_deref().unwrap();
    let mut command = program("mariadb-dump", database);
    command.args([
        "--routines",
        "--events",
        "--triggers",
        "--skip-comments",
        "--skip-dump-date",
        "--hex-blob",
    ]);
    command.args(["--dump-history", "--databases", name]);
    let output = command.output().expect("mariadb-dump");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).replace(&format!("`{name}`"), "`itself`")
}

/// Where two texts differ first.
fn assert_same(one: &str, other: &str) {
    let difference = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert!(difference.is_none(), "{difference:#?}");
    assert_eq!(one.len(), other.len());
}

fn names(root: &Database) -> Vec<String> {
    root.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'testbed%'")
        .unwrap()
}

/// A server, the login of its root, and what the database with everything needs around it.
fn server() -> (Local, Database) {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "mariadb", "--run-id", "r"]);
    let root = databases[0].clone();
    for sql in [
        "CREATE DATABASE elsewhere",
        "CREATE TABLE elsewhere.far (id int PRIMARY KEY)",
        "INSERT INTO elsewhere.far VALUES (5)",
        "CREATE USER app@'%' IDENTIFIED BY 'secret'",
        "GRANT ALL ON test.* TO app@'%'",
    ] {
        root.query(sql).unwrap();
    }
    (local, root)
}

#[test]
fn a_copy_in_the_server_is_the_template_to_the_byte() {
    let (local, root) = server();
    let pool = Pool::of_root(&local, &root);
    let mut client = pool.client();
    let template = initialise(&mut client, "a");
    load(&template, &root_file());
    let name = template.database.clone().unwrap();
    for sql in [
        "CREATE ROLE reader",
        &format!("GRANT SELECT ON `{name}`.* TO reader"),
        &format!("GRANT SELECT (id, name), INSERT ON `{name}`.customer TO reader WITH GRANT OPTION"),
        &format!("GRANT EXECUTE ON PROCEDURE `{name}`.note TO reader"),
    ] {
        root.query(sql).unwrap();
    }
    let expected = dump(&template);
    for part in [
        "DEFAULT nextval(`itself`.`numbers`)",
        "`itself`.`abroad`",
        "PACKAGE BODY",
        "FULLTEXT",
        "EVENT `once`",
        "Übel 🦀",
        "no JSON",
    ] {
        assert!(expected.contains(part), "{part} in\n{expected}");
    }
    let (status, answer) = client.ask("PUT", "/templates/a", "");
    assert_eq!(status, 204, "{answer}");
    assert!(template.refusal().contains("Unknown database"), "the template is out of reach");
    let (first, _) = get(&mut client, "a");
    let (second, _) = get(&mut client, "a");
    assert_same(&dump(&first), &expected);
    // What one test does is not in the other's.
    first.query("INSERT INTO customer (name, town) VALUES ('new', '')").unwrap();
    assert_eq!(
        first.value("SELECT concat(id, town, initial, loud) FROM customer WHERE name = 'new'"),
        "100012nNEW"
    );
    assert_eq!(first.value("SELECT count(*) FROM log WHERE what = 'new'"), "2");
    assert_eq!(first.value("SELECT group_concat(name) FROM v1"), "Übel 🦀,broken,new");
    assert_eq!(first.value("SELECT count(*) FROM abroad_view"), "1");
    assert_eq!(first.value("INSERT INTO numbered (what) VALUES (2) RETURNING n"), "35");
    assert_eq!(
        first.value("SELECT amount FROM price FOR SYSTEM_TIME AS OF '2020-06-01' WHERE item = 1"),
        "1.50"
    );
    assert!(first.query("INSERT INTO abroad VALUES (2, 6)").unwrap_err().contains("foreign key"));
    assert_same(&dump(&second), &expected);
    let rights = "SELECT group_concat(concat_ws(' ', TABLE_NAME, PRIVILEGE_TYPE, IS_GRANTABLE) ORDER BY 1) FROM \
                  information_schema.TABLE_PRIVILEGES WHERE GRANTEE = \"'reader'@''\" AND TABLE_SCHEMA = database()";
    assert_eq!(second.value(rights), "customer INSERT YES");
    assert_eq!(
        second.value("SELECT count(*) FROM mysql.procs_priv WHERE User = 'reader' AND Db = database()"),
        "1"
    );
    pool.end();
    assert_eq!(names(&root), [""; 0]);
    let rights = "SELECT count(*) FROM information_schema.SCHEMA_PRIVILEGES WHERE TABLE_SCHEMA LIKE 'testbed%pool%_test%'";
    assert_eq!(root.value(rights), "0");
    local.call(&["down", "--run-id", "r"]).ok();
    local.assert_nothing_left();
}

fn root_file() -> std::path::PathBuf {
    root().join(EVERYTHING)
}

#[test]
fn what_a_seed_has_put_in_is_copied_in_the_server() {
    let (local, root) = server();
    load(&root, &root_file());
    let expected = dump(&root);
    let pool = Pool::start(&local, &root, None, true).expect("a pool");
    let mut client = pool.client();
    let (copy, _) = get(&mut client, "testbed");
    assert_same(&dump(&copy), &expected);
    assert_same(&dump(&root), &expected);
    pool.end();
    // A procedure that names its database would write into the seed.
    root.query("CREATE PROCEDURE leads_back() INSERT INTO test.a_first VALUES (7, 7)").unwrap();
    let pool = Pool::start(&local, &root, None, true).expect("a pool");
    let (status, answer) = pool.client().ask("GET", "/templates/testbed/tests", "");
    assert_eq!(status, 503);
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("procedure `leads_back` names its own database, test,"), "{message}");
    pool.end();
    assert_eq!(names(&root), [""; 0]);
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn what_leads_back_into_the_template_is_refused() {
    let (local, root) = server();
    let pool = Pool::of_root(&local, &root);
    let mut client = pool.client();
    let template = initialise(&mut client, "a");
    let name = template.database.clone().unwrap();
    template.query("CREATE TABLE t (n int)").unwrap();
    template.query(&format!("CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW SET @a = '{name}'")).unwrap();
    let (status, answer) = client.ask("PUT", "/templates/a", "");
    let message = answer["message"].as_str().unwrap();
    assert!(status == 503 && message.contains("trigger `g` names its own database"), "{message}");
    // Its maker can mend it, and nothing of the attempt is left.
    assert_eq!(names(&root), std::slice::from_ref(&name));
    template.query("DROP TRIGGER g").unwrap();
    // A view of a view that is gone is no more than its maker has left, either.
    template.query("CREATE VIEW w AS SELECT 1 AS n").unwrap();
    template.query("CREATE VIEW v AS SELECT n FROM w").unwrap();
    template.query("DROP VIEW w").unwrap();
    let (status, answer) = client.ask("PUT", "/templates/a", "");
    let message = answer["message"].as_str().unwrap();
    assert!(status == 503 && message.contains("making view `v`: "), "{message}");
    template.query("DROP VIEW v").unwrap();
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    get(&mut client, "a");
    pool.end();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn nobody_writes_into_a_template_once_it_is_finalized() {
    let (local, root) = server();
    let pool = Pool::of_root(&local, &root);
    let mut client = pool.client();
    let template = initialise(&mut client, "a");
    template.query("CREATE TABLE t (n int)").unwrap();
    // Somebody who has forgotten to leave, in the middle of a transaction.
    let straggler = template.clone();
    let busy = std::thread::spawn(move || {
        straggler.query("INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2); SELECT sleep(20)")
    });
    until("it is at work", || {
        (root.value("SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%sleep(20)'")
            == "1")
            .then_some(())
    });
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    assert!(busy.join().unwrap().is_err());
    assert_eq!(get(&mut client, "a").0.value("SELECT group_concat(n) FROM t"), "1");
    // What would fire by itself does not, in what the copies are made of.
    root.query("SET GLOBAL event_scheduler = ON").unwrap();
    let template = initialise(&mut client, "b");
    template.query("CREATE TABLE t (n int)").unwrap();
    template.query("CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(client.status("PUT", "/templates/b"), 204);
    let enabled = "SELECT group_concat(DISTINCT EVENT_SCHEMA LIKE '%_closed') FROM information_schema.EVENTS WHERE EVENT_SCHEMA LIKE 'testbed%'";
    let (copy, _) = get(&mut client, "b");
    assert_eq!(root.value(enabled), "0");
    until("it fires in the copy", || (copy.value("SELECT count(*) > 1 FROM t") == "1").then_some(()));
    pool.end();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn eight_workers_at_once_have_databases_of_their_own_in_the_server() {
    let (local, root) = server();
    let pool = Pool::of_root(&local, &root);
    template(&mut pool.client(), "a", &["CREATE TABLE t (n int PRIMARY KEY)", "INSERT INTO t VALUES (1)"]);
    let seen: Vec<String> = std::thread::scope(|scope| {
        let work = |worker: usize| {
            let mut client = pool.client();
            let mut seen = Vec::new();
            for turn in 0..5 {
                let (database, id) = get(&mut client, "a");
                let inserted = database.query(&format!("INSERT INTO t VALUES ({})", 10 * worker + turn + 2));
                inserted.expect("a database of its own");
                assert_eq!(database.value("SELECT count(*) FROM t"), "2");
                seen.extend(database.database);
                assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/recreate")), 204);
            }
            seen
        };
        let workers: Vec<_> = (0..8).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 40);
    until("what was given back is gone", || (names(&root).len() == 3).then_some(()));
    pool.end();
    assert_eq!(names(&root), [""; 0]);
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn what_a_killed_pool_leaves_in_the_server_the_next_one_removes() {
    let (local, root) = server();
    let app = root.as_user("app", "secret");
    let pool = Pool::start(&local, &app, Some(&root), false).expect("a pool");
    let other = Pool::start(&local, &app, Some(&root), false).expect("a pool");
    let mut client = pool.client();
    let tables: Vec<String> = (0..60).map(|table| format!("CREATE TABLE t{table} (n int)")).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    template(&mut client, "a", &tables);
    template(&mut other.client(), "a", &["CREATE TABLE t (n int)"]);
    let (kept, _) = get(&mut other.client(), "a");
    let half_made = initialise(&mut client, "b").database.unwrap();
    // In the middle of copies.
    until("one is half made", || {
        let counts = root.query("SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA LIKE 'testbed%_test_%' GROUP BY TABLE_SCHEMA");
        counts.unwrap().iter().any(|count| count != "60" && count != "1").then_some(())
    });
    pool.kill();
    assert!(names(&root).len() > 5);
    // A server ends a statement before it looks for who has sent it.
    let mark = format!("SELECT IS_FREE_LOCK('{}')", &half_made[..29]);
    until("its mark is gone", || (root.value(&mark) == "1").then_some(()));
    let rights = || {
        root.value("SELECT count(DISTINCT TABLE_SCHEMA) FROM information_schema.SCHEMA_PRIVILEGES WHERE TABLE_SCHEMA LIKE 'testbed%'")
    };
    assert_eq!(rights(), "2");
    let next = Pool::start(&local, &app, Some(&root), false).expect("a pool");
    assert_eq!(rights(), "2");
    let own = kept.database.as_ref().unwrap().get(..29).unwrap().to_owned();
    assert!(names(&root).iter().all(|name| name.starts_with(&own)), "{:?}", names(&root));
    assert_eq!(kept.value("SELECT count(*) FROM t"), "0", "that of a pool that goes on stays");
    next.end();
    other.end();
    assert_eq!((names(&root), rights()), (vec![], "0".to_owned()));
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn the_tests_user_needs_an_administrator_for_databases_in_the_server() {
    let (local, root) = server();
    let app = root.as_user("app", "secret");
    let Err(refused) = Pool::start(&local, &app, None, false) else { panic!("a pool") };
    assert!(
        refused.contains("making a database on mariadb as app: Access denied for user 'app'@'%'"),
        "{refused}"
    );
    // With one it has in its databases what it may in the run's.
    let pool = Pool::start(&local, &app, Some(&root), false).expect("a pool");
    let mut client = pool.client();
    template(&mut client, "a", &["CREATE TABLE t (n int)", "CREATE VIEW v AS SELECT n FROM t"]);
    let (copy, _) = get(&mut client, "a");
    assert_eq!(copy.user, "app");
    copy.query("INSERT INTO v VALUES (1)").unwrap();
    copy.query("CREATE TABLE u (n int)").unwrap();
    pool.end();
    // So it has where it may make them itself.
    root.query(r"GRANT ALL ON `testbed\_pool\_%`.* TO app@'%'").unwrap();
    let pool = Pool::start(&local, &app, None, false).expect("a pool");
    let mut client = pool.client();
    template(&mut client, "a", &["CREATE TABLE t (n int)", "CREATE VIEW v AS SELECT n FROM t"]);
    get(&mut client, "a").0.query("INSERT INTO v VALUES (1)").unwrap();
    pool.end();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn a_pool_in_the_server_outlives_a_restart_of_that() {
    let (local, root) = server();
    let pool = Pool::of_root(&local, &root);
    let mut client = pool.client();
    template(&mut client, "a", &["CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)"]);
    let (before, _) = get(&mut client, "a");
    local.call(&["restart", "--run-id", "r"]).ok();
    // The pool marks itself again, or this one would take it for that of a testbed that was killed.
    let other = Pool::of_root(&local, &root);
    assert_eq!(before.value("SELECT count(*) FROM t"), "1");
    for _ in 0..4 {
        assert_eq!(get(&mut client, "a").0.value("SELECT count(*) FROM t"), "1");
    }
    other.end();
    pool.end();
    assert_eq!(names(&root), [""; 0]);
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn what_others_call_alike_stays_and_no_right_of_a_template_does() {
    let (local, root) = server();
    let others = ["testbed_pool_0123456789abcdef_mine", "testbed_pool_archive"];
    others.iter().for_each(|name| drop(root.query(&format!("CREATE DATABASE {name}")).unwrap()));
    let pool = Pool::start(&local, &root, Some(&root), false).expect("a pool");
    let mut client = pool.client();
    let template = initialise(&mut client, "a");
    let name = template.database.clone().unwrap();
    template.query("CREATE TABLE t (n int)").unwrap();
    root.query("CREATE USER bob@'%'").unwrap();
    for spelt in [name.replace('_', "\\_"), name] {
        root.query(&format!("GRANT SELECT ON `{spelt}`.* TO bob@'%'")).unwrap();
    }
    assert_eq!(client.ask("PUT", "/templates/a", "").0, 204);
    let _ = get(&mut client, "a");
    pool.end();
    let mut left = names(&root);
    left.sort();
    assert_eq!(left, others);
    assert_eq!(root.value("SELECT COUNT(*) FROM mysql.db WHERE Db LIKE 'testbed%'"), "0");
    local.call(&["down", "--run-id", "r"]).ok();
}
