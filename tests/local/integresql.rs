//! Fresh databases by IntegreSQL's interface, as its documentation has it: what each request is answered, and
//! that no two tests ever get one database. Its published clients are in `integresql/`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::integresql::{ConnectionSettings, DbManager, IntegresqlError};
use serde_json::{Value, json};

use crate::examples::{is_without_packages, packages};
use crate::harness::{Database, Local, count, until};
use crate::support::Called;
use crate::support::pages::root;

/// A command of testbed whose fresh databases are asked for from here.
pub struct Serving {
    args: Vec<String>,
    pub child: Child,
    /// What the command has in its environment.
    pub url: String,
}

impl Serving {
    pub fn start(local: &Local, args: &[&str]) -> Self {
        let _ = std::fs::remove_file(local.path().join("url"));
        let tell = "printf %s \"$INTEGRESQL_CLIENT_BASE_URL\" > url.new && mv url.new url && cat";
        let args = [args, &["--", "sh", "-c", tell]].concat();
        let mut command = local.command(&args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("testbed starts");
        let url =
            until("the command has an address", || std::fs::read_to_string(local.path().join("url")).ok());
        Self { args: args.iter().map(|arg| (*arg).to_owned()).collect(), child, url }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Lets the command end.
    pub fn end(mut self) -> Called {
        drop(self.child.stdin.take());
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Called::new(&args, self.child.wait_with_output().expect("testbed ends"))
    }
}

/// A client that knows nothing but HTTP, with one connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    pub path: String,
    agent: &'static str,
}

impl Client {
    pub fn new(url: &str) -> Self {
        Self::connect(url).expect("a connection")
    }

    pub fn connect(url: &str) -> std::io::Result<Self> {
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        Ok(Self { stream: BufReader::new(stream), path: format!("/{path}/v1"), agent: "test" })
    }

    pub fn send(&mut self, method: &str, path: &str, body: &str) {
        self.try_send(method, path, body).expect("the server reads");
    }

    fn try_send(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<()> {
        let length = body.len();
        let text = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {}\r\nContent-Length: {length}\r\n\r\n{body}",
            self.path, self.agent
        );
        self.stream.get_mut().write_all(text.as_bytes())
    }

    pub fn receive(&mut self) -> (u16, Value) {
        self.try_receive().expect("an answer")
    }

    fn try_receive(&mut self) -> std::io::Result<(u16, Value)> {
        let (mut status, mut length, mut line) = (None, 0, String::new());
        while self.stream.read_line(&mut line)? > 2 {
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            } else if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.send(method, path, body);
        self.receive()
    }

    /// The same where the server may be gone.
    pub fn try_ask(&mut self, method: &str, path: &str) -> std::io::Result<(u16, Value)> {
        self.try_send(method, path, "")?;
        self.try_receive()
    }

    pub fn status(&mut self, method: &str, path: &str) -> u16 {
        self.ask(method, path, "").0
    }

    pub fn initialise(&mut self, hash: &str) -> (u16, Value) {
        self.ask("POST", "/templates", &json!({"hash": hash}).to_string())
    }

    /// A template with one table.
    pub fn template(&mut self, hash: &str) {
        let (status, answer) = self.initialise(hash);
        assert_eq!(status, 200, "{answer}");
        database(&answer).query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(self.status("PUT", &format!("/templates/{hash}")), 204);
    }

    /// A test's database, and its number.
    pub fn get(&mut self, hash: &str) -> (Database, u64) {
        let (status, answer) = self.ask("GET", &format!("/templates/{hash}/tests"), "");
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["database"]["templateHash"], hash);
        (database(&answer), answer["id"].as_u64().expect("a number"))
    }
}

/// What an answer says of a database. Only PostgreSQL's databases have names of their own.
pub fn database(answer: &Value) -> Database {
    let config = &answer["database"]["config"];
    let text = |name: &str| config[name].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned();
    Database {
        driver: if text("database").starts_with("testbed_pool_") { "postgres" } else { "mysql" }.into(),
        user: text("username"),
        password: text("password"),
        host: text("host"),
        port: config["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port"),
        database: Some(text("database")),
    }
}

const RUN: [&str; 4] = ["run", "--with", "postgres", "--pool"];

#[test]
fn a_test_gets_a_copy_of_the_template_for_itself() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    client.template("a");
    let (one, _) = client.get("a");
    let (other, _) = client.get("a");
    assert_ne!(one, other);
    one.query("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(
        (one.value("SELECT count(*)::text FROM t"), other.value("SELECT count(*)::text FROM t")),
        ("2".into(), "1".into())
    );
    // Another hash is another template.
    let (status, answer) = client.initialise("b");
    assert_eq!(status, 200);
    assert!(database(&answer).query("SELECT * FROM t").unwrap_err().contains("does not exist"));
    serving.end().ok();
    local.assert_nothing_left();
}

#[test]
fn each_request_is_answered_as_documented() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    assert_eq!(client.status("GET", "/templates/a/tests"), 404, "nobody has initialised it");
    assert_eq!(client.status("PUT", "/templates/a"), 404);
    assert_eq!(client.status("DELETE", "/templates/a"), 404);
    assert_eq!(client.status("POST", "/templates/a/tests/1/recreate"), 404);
    let (status, answer) = client.initialise("a");
    assert_eq!((status, &answer["database"]["templateHash"]), (200, &json!("a")));
    assert_eq!(client.initialise("a").0, 423, "somebody is doing it");
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    assert_eq!(client.status("PUT", "/templates/a"), 204, "a second time it is done already");
    assert_eq!(client.initialise("a").0, 423, "somebody has done it");
    let (_, id) = client.get("a");
    assert_eq!(client.status("POST", "/templates/a/tests/x/unlock"), 400);
    assert_eq!(client.status("POST", "/templates/a/tests/4000000000/unlock"), 404);
    assert_eq!(client.status("POST", "/templates/a/tests/4000000000/recreate"), 404);
    assert_eq!(
        client.status("DELETE", &format!("/templates/a/tests/{id}")),
        204,
        "the older word for unlock"
    );
    let (_, id) = client.get("a");
    assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/recreate")), 204);
    assert_eq!(
        client.status("POST", &format!("/templates/a/tests/{id}/recreate")),
        204,
        "it is gone already"
    );
    assert_eq!(client.status("DELETE", "/templates/a"), 204);
    assert_eq!(client.status("GET", "/templates/a/tests"), 410, "it is discarded");
    assert_eq!(client.initialise("a").0, 200, "and made anew");
    assert_eq!(client.status("DELETE", "/admin/templates"), 204);
    assert_eq!(client.status("GET", "/templates/a/tests"), 404, "all are forgotten");
    assert_eq!(client.status("PATCH", "/templates"), 405);
    serving.end().ok();
    local.assert_nothing_left();
}

/// What somebody sees who calls it by hand.
#[test]
fn a_request_that_is_none_is_told_what_there_is() {
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", "postgres=orders", "--with", "sqlite", "--pool"]);
    let mut client = serving.client();
    let with_token = client.path.clone();
    let before_api = with_token.strip_suffix("/api/v1").unwrap().to_owned();
    for path in ["/nothing", "/templates/a/b", ""] {
        let (status, answer) = client.ask("GET", path, "");
        let told = answer["message"].as_str().unwrap();
        assert_eq!(status, 404, "{told}");
        assert!(told.starts_with("Not Found: ") && told.contains("POST api/v1/templates, "), "{told}");
    }
    for path in ["/other/api/v1", "/templates", ""] {
        client.path = format!("{before_api}{path}");
        let (status, answer) = client.ask("POST", "", "");
        let told = answer["message"].as_str().unwrap();
        assert!(
            status == 404 && told.contains("POST api/v1/templates, ") && told.ends_with("before api: orders"),
            "{told}"
        );
    }
    // Who does not know the token is told nothing.
    client.path = "/wrong".into();
    assert_eq!(client.ask("POST", "/api/v1/nothing", ""), (404, json!({"message": "Not Found"})));
    // As curl -d sends it, which is a form that JSON is no part of.
    client.path = with_token;
    let body = r#"{"hash": "a"}"#;
    let mut form = |body: &str| {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let (path, length) = (&client.path, body.len());
        let text = format!(
            "POST {path}/templates HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        client.stream.get_mut().write_all(text.as_bytes()).expect("the server reads");
        client.receive()
    };
    let (status, answer) = form(body);
    let told = answer["message"].as_str().unwrap();
    assert!(
        status == 400
            && told.starts_with("hash is required, ")
            && told.contains("Content-Type: application/json"),
        "{told}"
    );
    assert_eq!(form("hash=a").0, 200);
    assert_eq!(
        client.ask("POST", "/templates", r#"{"hash": ""}"#),
        (400, json!({"message": "hash is required"}))
    );
    serving.end().ok();
}

#[test]
fn what_is_unlocked_may_be_given_out_again_and_what_is_recreated_never() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    client.template("a");
    let (unchanged, id) = client.get("a");
    assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/unlock")), 204);
    assert_eq!(client.get("a").0, unchanged);
    let mut seen = BTreeSet::from([unchanged.database.clone()]);
    for _ in 0..20 {
        let (database, id) = client.get("a");
        assert!(seen.insert(database.database.clone()), "{database:?} comes twice");
        database.query("DELETE FROM t").unwrap();
        assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/recreate")), 204);
    }
    // They go, one after another.
    until("what was given back is gone", || {
        let names = "SELECT count(*)::text FROM pg_database WHERE datname LIKE '%\\_test\\_%'";
        let left: usize = unchanged.value(names).parse().unwrap();
        (left <= 4).then_some(())
    });
    serving.end().ok();
}

#[test]
fn who_asks_waits_for_the_template_and_is_told_when_it_is_discarded() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut maker = serving.client();
    let (_, answer) = maker.initialise("a");
    let mut waiting = serving.client();
    waiting.send("GET", "/templates/a/tests", "");
    let mut gone = serving.client();
    gone.send("GET", "/templates/a/tests", "");
    drop(gone);
    database(&answer).query("CREATE TABLE t (n int)").unwrap();
    assert_eq!(maker.status("PUT", "/templates/a"), 204);
    let (status, answer) = waiting.receive();
    assert_eq!(status, 200, "{answer}");
    database(&answer).query("SELECT * FROM t").unwrap();
    maker.initialise("b");
    waiting.send("GET", "/templates/b/tests", "");
    // What is half made is never used.
    assert_eq!(maker.status("DELETE", "/templates/b"), 204);
    assert_eq!(waiting.receive().0, 410);
    serving.end().ok();
}

#[test]
fn any_connection_of_a_client_with_several_finalizes_what_another_one_has_begun() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let (mut one, mut other) = (serving.client(), serving.client());
    assert_eq!(one.initialise("a").0, 200);
    assert_eq!(other.initialise("a").0, 423);
    assert_eq!(other.status("PUT", "/templates/a"), 204);
    one.get("a");
    serving.end().ok();
}

#[test]
fn the_client_for_python_that_finalizes_what_another_one_makes_waits_for_that() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let (mut maker, mut other) = (serving.client(), serving.client());
    (maker.agent, other.agent) = ("python-requests/2.34.2", "python-requests/2.34.2");
    let (_, answer) = maker.initialise("a");
    assert_eq!(other.initialise("a").0, 423);
    other.send("PUT", "/templates/a", "");
    other.stream.get_ref().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(other.stream.fill_buf().is_err(), "the maker is at work");
    other.stream.get_ref().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    database(&answer).query("CREATE TABLE t (n int)").unwrap();
    assert_eq!(maker.status("PUT", "/templates/a"), 204);
    assert_eq!(other.receive().0, 204);
    other.get("a").0.query("SELECT * FROM t").unwrap();
    // Where the other one gives up, it is this one's turn.
    maker.initialise("b");
    assert_eq!(other.initialise("b").0, 423);
    assert_eq!(maker.status("DELETE", "/templates/b"), 204);
    other.template("b");
    other.get("b");
    serving.end().ok();
}

#[test]
fn sixty_four_workers_at_once_never_share_a_database() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let each = count("TESTBED_TEST_POOL_TESTS", 3);
    let (made, seen) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for worker in 0..64 {
            let (serving, made, seen) = (&serving, &made, &seen);
            scope.spawn(move || {
                let mut client = serving.client();
                match client.initialise("shared") {
                    (200, answer) => {
                        made.fetch_add(1, Ordering::SeqCst);
                        database(&answer).query("CREATE TABLE mine (worker int)").unwrap();
                        assert_eq!(client.status("PUT", "/templates/shared"), 204);
                    }
                    (status, answer) => assert_eq!(status, 423, "{answer}"),
                }
                for test in 0..each {
                    let (database, id) = client.get("shared");
                    let name = database.database.clone().unwrap();
                    assert!(seen.lock().unwrap().insert(name.clone()), "{name} was given out twice");
                    let others = "SELECT count(*)::text FROM mine";
                    assert_eq!(database.value(&format!("INSERT INTO mine VALUES ({worker}); {others}")), "1");
                    // Some are never given back.
                    if test % 4 != 3 {
                        let path = format!("/templates/shared/tests/{id}/recreate");
                        assert_eq!(client.status("POST", &path), 204);
                    }
                }
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1, "one of them makes the template");
    assert_eq!(seen.lock().unwrap().len(), 64 * each);
    serving.end().ok();
    local.assert_nothing_left();
}

#[test]
fn nobody_gets_into_a_template_and_whoever_is_in_it_is_ended() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let (_, answer) = client.initialise("a");
    let template = database(&answer);
    let stay = template.clone();
    // A client that forgets to log out, in a transaction of its own.
    let straggler = std::thread::spawn(move || stay.query("BEGIN; SELECT pg_sleep(60)"));
    let name = template.database.clone().unwrap();
    let maintenance = template.to_database("postgres");
    let inside = format!(
        "SELECT count(*)::text FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'PgSleep'"
    );
    until("it is in", || (maintenance.value(&inside) == "1").then_some(()));
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    assert!(straggler.join().unwrap().is_err());
    assert!(template.refusal().contains("not currently accepting connections"), "{}", template.refusal());
    client.get("a");
    serving.end().ok();
}

#[test]
fn autovacuum_is_in_nobodys_way() {
    let local = Local::new();
    let settings = "-c autovacuum_naptime=1 -c autovacuum_vacuum_threshold=1 -c autovacuum_vacuum_scale_factor=0 \
                    -c autovacuum_vacuum_cost_delay=100 -c autovacuum_vacuum_cost_limit=1";
    let serving =
        Serving::start(&local, &[&RUN[..], &["--param", &format!("postgres.args={settings}")]].concat());
    let mut client = serving.client();
    let (_, answer) = client.initialise("a");
    let template = database(&answer);
    template.query("CREATE TABLE t AS SELECT n FROM generate_series(1, 50000) n; DELETE FROM t").unwrap();
    let name = template.database.clone().unwrap();
    let maintenance = template.to_database("postgres");
    let workers = "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'";
    let inside = format!("{workers} AND datname = '{name}'");
    until("autovacuum is in", || (maintenance.value(&inside) != "0").then_some(()));
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let (_, id) = client.get("a");
        assert_eq!(client.status("POST", &format!("/templates/a/tests/{id}/recreate")), 204);
    }
    serving.end().ok();
}

#[test]
fn what_a_template_is_set_to_its_copies_are() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let (_, answer) = client.initialise("a");
    let (template, name) = (database(&answer), database(&answer).database.unwrap());
    template
        .query(&format!("ALTER DATABASE \"{name}\" SET search_path = \"$user\", \"odd name\", public"))
        .unwrap();
    template.query(&format!("REVOKE ALL ON DATABASE \"{name}\" FROM PUBLIC")).unwrap();
    template.query("CREATE ROLE \"Odd role\"").unwrap();
    template.query(&format!("ALTER DATABASE \"{name}\" OWNER TO \"Odd role\"")).unwrap();
    template.query(&format!("ALTER DATABASE \"{name}\" CONNECTION LIMIT 7")).unwrap();
    let rights = "SELECT datacl::text || pg_get_userbyid(datdba) || datconnlimit FROM pg_database WHERE datname = current_database()";
    let (path, own) = (template.value("SHOW search_path"), template.value(rights));
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    let (copy, _) = client.get("a");
    assert_eq!((copy.value("SHOW search_path"), copy.value(rights)), (path, own));
    serving.end().ok();
}

#[test]
fn a_template_that_cannot_be_copied_says_why() {
    let local = Local::new();
    let args = [&RUN[..], &["--param", "postgres.args=-c max_prepared_transactions=2"]].concat();
    let serving = Serving::start(&local, &args);
    let mut client = serving.client();
    let (_, answer) = client.initialise("a");
    let template = database(&answer);
    template.query("BEGIN; CREATE TABLE t (n int); PREPARE TRANSACTION 'mine'").unwrap();
    let (status, answer) = client.ask("PUT", "/templates/a", "");
    assert_eq!(status, 503);
    let told = answer["message"].as_str().unwrap();
    assert!(told.contains("prepared transaction, \"mine\""), "{told}");
    template.query("COMMIT PREPARED 'mine'").unwrap();
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    client.get("a").0.query("SELECT * FROM t").unwrap();
    serving.end().ok();
}

#[test]
fn more_tests_than_there_may_be_databases_go_on_when_nothing_is_given_back() {
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", "postgres", "--pool=2"]);
    let mut client = serving.client();
    client.template("a");
    let mut held = Vec::new();
    for _ in 0..100 {
        let (database, _) = client.get("a");
        database.query("INSERT INTO t VALUES (2)").unwrap();
        held.push(database);
    }
    let all = "SELECT count(*)::text FROM pg_database WHERE datname LIKE '%\\_test\\_%'";
    let maintenance = held[0].to_database("postgres");
    // Those that were used and are not used any more go, so that a long run of tests has an end on disk.
    until("they are fewer", || (maintenance.value(all).parse::<usize>().unwrap() <= 64 + 2).then_some(()));
    // And no more than that: parallel tests pause between two logins.
    let last = &held[40..];
    assert!(last.iter().all(|database| database.value("SELECT count(*)::text FROM t") == "2"));
    let (fresh, _) = client.get("a");
    assert_eq!(fresh.value("SELECT count(*)::text FROM t"), "1");
    serving.end().ok();
}

#[test]
fn what_is_no_request_is_refused_and_others_are_served_meanwhile() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut client = serving.client();
    let odd = "x'; DROP DATABASE postgres; --\"/../%00";
    for (body, expected) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("{\"hash\": \"\"}", 400),
        ("{\"hash\": 7}", 400),
        ("{\"hash\": \"a\\u0000b\"}", 400),
        (&json!({"hash": "x".repeat(513)}).to_string(), 400),
        (&json!({"hash": odd}).to_string(), 200),
    ] {
        let (status, answer) = client.ask("POST", "/templates", body);
        assert_eq!(status, expected, "{body}: {answer}");
    }
    assert_eq!(client.status("GET", "/templates/%00/tests"), 400);
    assert_eq!(client.status("GET", "/templates/%ff/tests"), 400);
    let spelt: String = odd.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(client.status("PUT", &format!("/templates/{spelt}")), 204);
    assert_eq!(client.status("GET", &format!("/templates/{spelt}/tests")), 200);
    let mut large = serving.client();
    assert_eq!(large.ask("POST", "/templates", &json!({"hash": "x".repeat(70_000)}).to_string()).0, 413);
    // A form is as good as JSON: one of the clients sends it.
    let kind = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9";
    let text =
        format!("POST {}/templates HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n\r\nhash=f%25", client.path);
    client.stream.get_mut().write_all(text.as_bytes()).unwrap();
    assert_eq!(client.receive().0, 200);
    assert_eq!(client.status("PUT", "/templates/f%25"), 204);
    // Whoever does not know the token is told nothing.
    let mut stranger = serving.client();
    for path in ["/api/v1", "", "/00000000000000000000000000000000/api/v1"] {
        stranger.path = path.to_owned();
        assert_eq!(stranger.status("DELETE", "/admin/templates"), 404, "{path}");
    }
    // Half a request keeps nobody else waiting.
    let mut slow: Vec<Client> = (0..100).map(|_| serving.client()).collect();
    slow.iter_mut().for_each(|one| one.stream.get_mut().write_all(b"GET / HT").unwrap());
    let began = Instant::now();
    assert_eq!(client.status("GET", "/nothing"), 404);
    assert!(began.elapsed() < Duration::from_secs(5));
    serving.end().ok();
}

#[test]
fn whoever_connects_without_the_token_keeps_nobody_out() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let (address, _) = serving.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut strangers = Vec::new();
    let mut client = serving.client();
    client.template("a");
    for _ in 0..700 {
        strangers.push(TcpStream::connect(address).expect("a connection"));
    }
    let began = Instant::now();
    let mut late = serving.client();
    late.get("a");
    client.get("a");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    serving.end().ok();
}

#[test]
fn several_may_finalize_a_template_at_once() {
    let local = Local::new();
    let serving = Serving::start(&local, &RUN);
    let mut clients: Vec<Client> = (0..4).map(|_| serving.client()).collect();
    for at in 0..10 {
        assert_eq!(clients[0].initialise(&at.to_string()).0, 200);
        clients.iter_mut().for_each(|one| one.send("PUT", &format!("/templates/{at}"), ""));
        for one in &mut clients {
            let (status, answer) = one.receive();
            assert_eq!(status, 204, "{answer}");
        }
    }
    serving.end().ok();
}

#[test]
fn who_goes_while_its_template_is_made_leaves_it_to_the_next() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "r"]);
    let count =
        || databases[0].value("SELECT count(*)::text FROM pg_database WHERE datname LIKE 'testbed_pool_%'");
    let serving = Serving::start(&local, &["exec", "--run-id", "r", "--pool"]);
    for at in 0..5 {
        let mut gone = serving.client();
        gone.send("POST", "/templates", &json!({"hash": at.to_string()}).to_string());
        drop(gone);
        until("somebody else may make it", || {
            (serving.client().initialise(&at.to_string()).0 == 200).then_some(())
        });
    }
    // And one that is discarded meanwhile.
    let mut other = serving.client();
    other.send("POST", "/templates", &json!({"hash": "d"}).to_string());
    until("it is known", || (serving.client().status("DELETE", "/templates/d") == 204).then_some(()));
    other.receive();
    until("only what is known is there", || (count() == "5").then_some(()));
    serving.end().ok();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn a_second_command_leaves_what_the_first_one_has_after_a_restart() {
    let local = Local::new();
    local.up(&["--with", "postgres", "--run-id", "r"]);
    let exec = ["exec", "--run-id", "r", "--pool=2"];
    let first = Serving::start(&local, &exec);
    let mut client = first.client();
    client.template("a");
    let (database, _) = client.get("a");
    local.call(&["restart", "--run-id", "r"]).ok();
    let second = Serving::start(&local, &exec);
    assert_eq!(database.value("SELECT count(*)::text FROM t"), "1");
    second.end().ok();
    assert_eq!(database.value("SELECT count(*)::text FROM t"), "1");
    first.end().ok();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn without_a_database_that_can_be_copied_there_is_no_pool() {
    let local = Local::new();
    let refused = local.call(&["run", "--with", "sqlite", "--pool", "--", "true"]);
    refused
        .fails(2)
        .says("--pool copies databases of PostgreSQL, MariaDB and MySQL, and this run has sqlite");
    let refused = local.call(&["run", "--with", "postgres", "--pool=65", "--", "true"]);
    refused.fails(2).says("0 (no pool) to 64, or auto");
}

#[test]
fn a_run_that_stays_up_keeps_nothing_of_it() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "r"]);
    let names = || databases[0].query("SELECT datname FROM pg_database ORDER BY 1").unwrap();
    let before = names();
    let exec = ["exec", "--run-id", "r", "--pool=2"];
    // The server is still at the next copies when the command ends.
    for ends in [true, false] {
        let mut serving = Serving::start(&local, &exec);
        let mut client = serving.client();
        let (_, answer) = client.initialise("large");
        database(&answer).query("CREATE TABLE t AS SELECT generate_series(1, 1000000) AS n").unwrap();
        assert_eq!(client.status("PUT", "/templates/large"), 204);
        client.get("large");
        if ends {
            serving.end().ok();
        } else {
            serving.child.kill().unwrap();
            serving.child.wait().unwrap();
            Serving::start(&local, &exec).end().ok();
        }
        assert_eq!(names(), before);
    }
    let (one, other) = (Serving::start(&local, &exec), Serving::start(&local, &exec));
    // Two commands on one run have pools of their own.
    let (mut first, mut second) = (one.client(), other.client());
    first.template("a");
    second.template("a");
    assert_ne!(first.get("a").0, second.get("a").0);
    one.end().ok();
    second.get("a");
    other.end().ok();
    assert_eq!(names(), before);
    // One that was killed leaves its databases to the next.
    let mut killed = Serving::start(&local, &exec);
    killed.client().template("a");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_ne!(names(), before);
    Serving::start(&local, &exec).end().ok();
    assert_eq!(names(), before);
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn what_a_test_has_made_of_its_database_keeps_none_silently() {
    let local = Local::new();
    let settings = "databases:\n  db:\n    use: postgres\n    args: [-c, max_prepared_transactions=5]\n";
    local.file("testbed.yaml", settings);
    let (_, databases) = local.up(&["--run-id", "r"]);
    let names = || databases[0].query("SELECT datname FROM pg_database ORDER BY 1").unwrap();
    let before = names();
    let exec = ["exec", "--run-id", "r", "--pool=1"];
    let serving = Serving::start(&local, &exec);
    let mut client = serving.client();
    client.template("a");
    let (template, _) = client.get("a");
    template
        .query(&format!("ALTER DATABASE {} IS_TEMPLATE true", template.database.as_deref().unwrap()))
        .unwrap();
    let (prepared, _) = client.get("a");
    prepared.query("BEGIN; DELETE FROM t; PREPARE TRANSACTION 'p'").unwrap();
    let told = serving.end().ok();
    let name = prepared.database.as_deref().unwrap();
    let _ = told.says(&format!("{name} cannot be dropped, for a prepared transaction"));
    assert_eq!(names().len(), before.len() + 1, "{:?}", names());
    // Nobody else is kept from a pool by it.
    Serving::start(&local, &exec).end().ok();
    prepared.query("COMMIT PREPARED 'p'").unwrap();
    Serving::start(&local, &exec).end().ok();
    assert_eq!(names(), before);
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn a_server_that_is_restarted_goes_on_with_its_pool() {
    let local = Local::new();
    local.up(&["--with", "postgres", "--run-id", "r"]);
    let serving = Serving::start(&local, &["exec", "--run-id", "r", "--pool=2"]);
    let mut client = serving.client();
    client.template("a");
    let (before, _) = client.get("a");
    local.call(&["restart", "--run-id", "r"]).ok();
    let mut seen = BTreeSet::from([before.database]);
    for _ in 0..6 {
        let (database, _) = client.get("a");
        assert_eq!(database.value("SELECT count(*)::text FROM t"), "1");
        assert!(seen.insert(database.database.clone()), "{database:?} comes twice");
    }
    serving.end().ok();
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn servers_with_tls_are_told_as_such() {
    let local = Local::new();
    let serving = Serving::start(&local, &[&RUN[..], &["--param", "postgres.tls=true"]].concat());
    let mut client = serving.client();
    let (status, answer) = client.initialise("a");
    assert_eq!(status, 200, "{answer}");
    let params = &answer["database"]["config"]["additionalParams"];
    assert_eq!(params["sslmode"], "verify-full");
    assert!(std::path::Path::new(params["sslrootcert"].as_str().unwrap()).exists());
    assert_eq!(client.status("PUT", "/templates/a"), 204);
    let database = &client.ask("GET", "/templates/a/tests", "").1["database"];
    let (url, environment) = (database["url"].as_str().unwrap(), &database["environment"]);
    let name = database["config"]["database"].as_str().unwrap();
    assert!(url.contains(&format!("/{name}?sslmode=verify-full&sslrootcert=")), "{url}");
    assert_eq!(
        (&environment["DATABASE_URL"], &environment["PGSSLMODE"]),
        (&json!(url), &json!("verify-full"))
    );
    serving.end().ok();
}

#[test]
fn a_copy_of_mariadb_with_tls_is_told_with_its_authority() {
    let local = Local::new();
    let args = ["run", "--with", "mariadb", "--param", "mariadb.tls=true", "--pool"];
    let serving = Serving::start(&local, &args);
    let (status, answer) = serving.client().initialise("a");
    assert_eq!(status, 200, "{answer}");
    let told = &answer["database"];
    let ca = told["config"]["additionalParams"]["ssl-ca"].as_str().unwrap();
    assert_eq!(told["environment"]["MARIADB_CA"], ca);
    let jdbc = told["jdbcUrl"].as_str().unwrap();
    assert!(jdbc.ends_with(&format!("?sslMode=verify-full&serverSslCert={ca}")), "{jdbc}");
    let port = &told["config"]["port"];
    let seen = by_client(&local, "mariadb", told, "SELECT @@port; SHOW STATUS LIKE 'Ssl_cipher'");
    assert!(seen.starts_with(&format!("{port}\nSsl_cipher\tTLS_")), "{seen}");
    serving.end().ok();
}

/// What an engine's own client finds that is told where a database is by the variables of an answer alone.
fn by_client(local: &Local, client: &str, told: &Value, sql: &str) -> String {
    let flags: &[&str] =
        if client == "psql" { &["-qAtc"] } else { &["--batch", "--skip-column-names", "-e"] };
    let environment = told["environment"].as_object().expect("variables");
    let mut command = Command::new(client);
    command.args(flags).arg(sql).stdin(Stdio::null()).env("HOME", local.path());
    command.envs(environment.iter().map(|(name, value)| (name, value.as_str().expect("a text"))));
    let output = command.output().expect("a client");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a text")
}

#[test]
fn a_login_is_told_as_each_driver_and_client_takes_it() {
    for (engine, client) in [("postgres", "psql"), ("mariadb", "mariadb")] {
        let local = Local::new();
        let args =
            ["run", "--with", &format!("{engine}=shop"), "--env", "MINE={{ shop.port }}/{{ shop.database }}"];
        let serving = Serving::start(&local, &[&args[..], &["--preset", "rails", "--pool"]].concat());
        let mut asked = serving.client();
        asked.template("a");
        let (status, answer) = asked.ask("GET", "/templates/a/tests", "");
        assert_eq!(status, 200, "{answer}");
        let reached = database(&answer);
        let Database { user, password, host, port, database, .. } = &reached;
        let name = database.as_deref().unwrap();
        let place = format!("{host}:{port}/{name}");
        let (scheme, of_rails, dsn) = match engine {
            "postgres" => (
                "postgresql",
                "postgresql",
                format!("postgresql://{user}:{password}@{place}?sslmode=disable"),
            ),
            _ => ("mysql", "mysql2", format!("{user}:{password}@tcp({host}:{port})/{name}")),
        };
        let told = &answer["database"];
        assert_eq!(told["engine"], engine);
        assert_eq!(told["url"], format!("{scheme}://{user}:{password}@{place}"));
        let jdbc = if engine == "postgres" { "postgresql" } else { engine };
        assert_eq!(told["jdbcUrl"], format!("jdbc:{jdbc}://{place}"));
        assert_eq!(told["dsn"], dsn);
        let environment = told["environment"].as_object().unwrap();
        assert_eq!(environment["DATABASE_URL"], format!("{of_rails}://{user}:{password}@{place}"));
        assert_eq!((&environment["SHOP_URL"], &environment["SHOP_DSN"]), (&told["url"], &told["dsn"]));
        assert_eq!(environment["MINE"], format!("{port}/{name}"));
        // Its own clients get there, and to nothing that the run's command would.
        assert_eq!(by_client(&local, client, told, "SELECT n FROM t"), "1\n");
        serving.end().ok();
    }
}

/// Runs a client's own suite, in a copy of its folder.
fn suite(name: &str, engine: &str, prepare: impl FnOnce(&std::path::Path), command: &[&str]) -> Called {
    let local = Local::new();
    let source = root().join("tests/integresql").join(name);
    let copied = Command::new("cp").arg("-r").arg(source).arg(local.path()).status().expect("cp");
    assert!(copied.success(), "{name}");
    let folder = local.path().join(name);
    prepare(&folder);
    let args = [&["run", "--with", engine, "--pool", "--"], command].concat();
    let output = local.command(&args).current_dir(folder).env("ENGINE", engine).stdin(Stdio::null()).output();
    let called = Called::new(&args, output.expect("testbed starts")).ok();
    local.assert_nothing_left();
    called
}

#[test]
fn the_client_for_node_js_works_unchanged() {
    if is_without_packages("integresql-node", "node_modules") {
        return;
    }
    let packages = packages("integresql-node").join("node_modules");
    let link = |folder: &std::path::Path| {
        std::os::unix::fs::symlink(&packages, folder.join("node_modules")).expect("a link");
    };
    for engine in ["postgres", "mariadb"] {
        let called = suite("node", engine, link, &["node", "--test", "--test-reporter=tap"]);
        assert!(called.stdout.contains("# pass 5\n# fail 0"), "{}", called.transcript());
    }
}

#[test]
fn the_client_for_python_works_unchanged() {
    if is_without_packages("integresql-python", "integresql_client_python") {
        return;
    }
    let path = format!("PYTHONPATH={}", packages("integresql-python").display());
    let command =
        ["env", &path, "PYTHONDONTWRITEBYTECODE=1", "/usr/bin/python3", "-m", "unittest", "test_client"];
    for engine in ["postgres", "mariadb"] {
        let called = suite("python", engine, |_| {}, &command);
        assert!(called.stderr.contains("Ran 6 tests"), "{}", called.transcript());
    }
}

#[test]
fn the_client_for_rust_works_unchanged() {
    for engine in ["postgres", "mariadb"] {
        client_for_rust(engine);
    }
}

fn client_for_rust(engine: &str) {
    let local = Local::new();
    let serving = Serving::start(&local, &["run", "--with", engine, "--pool"]);
    let manager = DbManager::new(serving.url.parse().unwrap(), Duration::from_secs(6));
    let reach = |settings: &ConnectionSettings| Database {
        driver: if engine == "postgres" { "postgres" } else { "mysql" }.into(),
        user: settings.username.clone(),
        password: settings.password.clone(),
        host: settings.host.clone(),
        port: settings.port,
        database: Some(settings.database.clone()),
    };
    let made = AtomicUsize::new(0);
    let template = || {
        manager.get_template_db_sync("people", |settings: ConnectionSettings| {
            made.fetch_add(1, Ordering::SeqCst);
            reach(&settings).query("CREATE TABLE people (name text); INSERT INTO people VALUES ('Ada')")?;
            Ok(())
        })
    };
    let people = template().unwrap();
    template().unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 1);
    let (one, other) = (people.get_writable_test_db().unwrap(), people.get_writable_test_db().unwrap());
    reach(&one).query("DELETE FROM people").unwrap();
    assert_eq!(reach(&other).value("SELECT name FROM people"), "Ada");
    // What has been written to is never given out again; what was only read may be.
    let written = reach(&one);
    drop(one);
    let read = reach(&people.get_readonly_test_db().unwrap());
    assert_eq!(reach(&people.get_readonly_test_db().unwrap()), read);
    let seen: Vec<Database> = (0..10).map(|_| reach(&people.get_writable_test_db().unwrap())).collect();
    assert!(!seen.contains(&written));
    let failing = manager.get_template_db_sync("failing", |_| Err("the migration is wrong".into()));
    assert!(matches!(failing, Err(IntegresqlError::SetupError(_))));
    manager.discard_template("people").unwrap();
    assert!(people.get_writable_test_db().is_err());
    drop(other);
    template().unwrap();
    manager.clear_db_tracking().unwrap();
    assert!(matches!(people.get_writable_test_db(), Err(IntegresqlError::NotFound)));
    serving.end().ok();
}
