//! `testbed run`: a command with the databases' addresses, and nothing left afterwards, however it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::Value;

use crate::harness::{Namespace, PIPELINE_ROLE, STRIV, kubectl, run_id};
use crate::proxy::Proxy;
use crate::support::{Called, Folder, Started};

/// A command that tells its variables, and then waits to be told its exit code; it has a child that would
/// outlive it.
const WAITS: &str = r#"mkfifo go
sleep 1000 &
printf '%s\n' "$!" "$TESTBED_CONFIG"
env | sed -n 's/_URL=/ /p'
echo .
read -r code < go
kill $!
exit "$code""#;

/// `testbed run` around such a command.
struct Around<'a> {
    folder: &'a Folder,
    testbed: Started,
    child: u32,
    config: String,
    urls: BTreeMap<String, String>,
}

impl<'a> Around<'a> {
    /// Waits until the command runs.
    fn start(folder: &'a Folder, args: &[&str]) -> Self {
        let _ = std::fs::remove_file(folder.path().join("go"));
        let mut testbed = folder.start(&[&["run"], args, &["--", "sh", "-c", WAITS]].concat());
        let mut lines = BufReader::new(testbed.child.stdout.take().expect("a pipe")).lines();
        let Some(Ok(child)) = lines.next() else { panic!("{}", testbed.wait().transcript()) };
        let config = lines.next().expect("a line").expect("UTF-8");
        let urls = lines.map(|line| line.expect("UTF-8")).take_while(|line| line != ".");
        let urls = urls
            .filter_map(|line| line.split_once(' ').map(|(name, url)| (name.to_owned(), url.to_owned())))
            .collect();
        Self { folder, child: child.parse().expect("a process id"), testbed, config, urls }
    }

    fn url(&self, name: &str) -> &str {
        self.urls.get(name).unwrap_or_else(|| panic!("{name} is not in {:?}", self.urls))
    }

    /// Tells the command its exit code, and waits for testbed's end.
    fn end(self, code: u8) -> Called {
        let mut go = std::fs::File::options()
            .write(true)
            .open(self.folder.path().join("go"))
            .expect("the command waits");
        writeln!(go, "{code}").expect("the command reads");
        self.testbed.wait()
    }
}

/// Logs in, and tells when the server was started.
fn login(url: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let attempt = async {
            if url.starts_with("mysql:") {
                use mysql_async::prelude::Queryable;
                let mut connection =
                    mysql_async::Conn::from_url(url).await.map_err(|error| error.to_string())?;
                let answer = connection.query_first::<String, _>("SELECT CAST(@@port AS CHAR)").await;
                return answer.map_err(|error| error.to_string())?.ok_or("no answer".into());
            }
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
                .await
                .map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            let row = client
                .query_one("SELECT pg_postmaster_start_time()::text", &[])
                .await
                .map_err(|error| error.to_string())?;
            Ok(row.get(0))
        };
        tokio::time::timeout(Duration::from_secs(10), attempt)
            .await
            .unwrap_or_else(|_| Err("no answer in 10 s".into()))
    })
}

/// Repeats until it holds.
/// Does something while a server has more to say on a connection than anything on its way has room for.
fn with_an_unread_answer<T>(url: &str, work: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_client, _connection, _rows) = runtime.block_on(async {
        let (client, mut connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a login");
        let rows = {
            let first = async {
                let query = "SELECT repeat('x', 100000) FROM generate_series(1, 10000)";
                let mut rows = Box::pin(client.query_raw::<_, i32, _>(query, []).await.expect("an answer"));
                assert!(rows.next().await.is_some_and(|row| row.is_ok()));
                rows
            };
            tokio::select! {
                rows = first => rows,
                ended = &mut connection => panic!("{ended:?}"),
            }
        };
        (client, connection, rows)
    });
    work()
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool, String>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let last = holds();
        if last == Ok(true) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} never came: {last:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn runs(process: u32) -> bool {
    // One that has ended and is not yet waited for has no command line.
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn assert_nothing_is_left(namespace: &Namespace, run_id: &str) {
    assert_eq!(namespace.of_run(run_id), Vec::<String>::new());
    let noted =
        std::fs::read_dir(namespace.folder.path().join("state/testbed/runs")).into_iter().flatten().flatten();
    let noted: Vec<_> = noted.map(|entry| entry.file_name()).filter(|name| name != ".lock").collect();
    assert!(noted.is_empty(), "{noted:?}");
}

#[test]
fn a_command_gets_addresses_that_work_and_its_exit_code_counts() {
    let namespace = Namespace::new("around");
    let run_id = run_id();
    let around =
        Around::start(&namespace.folder, &["--with", "postgres", "--with", "mysql", "--run-id", &run_id]);
    for name in ["POSTGRES", "MYSQL"] {
        assert!(around.url(name).contains("@127.0.0.1:"), "{:?}", around.urls);
        login(around.url(name)).unwrap();
    }
    let config = around.config.clone();
    assert_eq!(std::fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        config.contains(&run_id) && std::fs::read_to_string(&config).unwrap().contains("127.0.0.1"),
        "{config}"
    );
    let ended = around.end(7).says("run ").says("is gone");
    assert_eq!(ended.code, Some(7), "{}", ended.transcript());
    assert!(!ended.stderr.contains("did not stay up"), "{}", ended.transcript());
    assert!(!Path::new(&config).exists() && !namespace.folder.has("testing-databases.json"));
    assert_nothing_is_left(&namespace, &run_id);
}

#[test]
fn what_fails_leaves_nothing() {
    let namespace = Namespace::new("failing");
    let folder = &namespace.folder;
    let run_id = run_id();
    let run = |more: &[&'static str]| -> Vec<String> {
        let args = ["run", "--with", "postgres", "--run-id", &run_id];
        args.iter().copied().chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let call = |more: &[&'static str]| folder.call(&run(more).iter().map(String::as_str).collect::<Vec<_>>());

    // Not worth any database.
    call(&["--", "no-such-program"]).fails(127).says("no-such-program: no such program");
    // One that only the system can tell.
    let script = folder.file("script", "#!/no/such/interpreter\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    call(&["--", "./script"]).fails(127).says("created 3 objects").says("is gone");
    assert_nothing_is_left(&namespace, &run_id);

    call(&["--timeout", "1s", "--", "touch", "it-ran"]).fails(3).says("not ready within 1s").says("is gone");
    assert_nothing_is_left(&namespace, &run_id);

    let start =
        |more: &[&'static str]| folder.start(&run(more).iter().map(String::as_str).collect::<Vec<_>>());
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let mut unwritten = start(&["--output", "sub/config.json", "--", "touch", "it-ran"]);
    unwritten.until_it_says("created 3 objects");
    std::fs::remove_dir(folder.path().join("sub")).unwrap();
    unwritten.wait().fails(1).says("writing sub/config.json").says("is gone");
    assert_nothing_is_left(&namespace, &run_id);

    let mut interrupted = start(&["--", "touch", "it-ran"]);
    interrupted.until_it_says("created 3 objects");
    interrupted.signal("INT");
    interrupted.wait().fails(130).says("is gone");
    assert_nothing_is_left(&namespace, &run_id);
    assert!(!folder.has("it-ran"));
}

#[test]
fn a_signal_reaches_all_of_the_command_and_then_everything_goes() {
    let namespace = Namespace::new("signal");
    let run_id = run_id();
    let around = Around::start(
        &namespace.folder,
        &["--with", "postgres", "--run-id", &run_id, "--output", "here.json"],
    );
    assert_eq!(Path::new(&around.config), namespace.folder.path().join("here.json"));
    let child = around.child;
    assert!(runs(child));
    around.testbed.signal("TERM");
    let ended = around.testbed.wait();
    assert_eq!(ended.code, Some(143), "{}", ended.transcript());
    until("the end of the command's child", || Ok(!runs(child)));
    assert!(!namespace.folder.has("here.json"));
    assert_nothing_is_left(&namespace, &run_id);
}

#[test]
fn down_asks_the_testbed_that_works_on_the_run() {
    let namespace = Namespace::new("asked");
    let folder = &namespace.folder;
    let run_id = run_id();
    let around = Around::start(folder, &["--with", "postgres", "--run-id", &run_id]);
    folder
        .call(&["run", "--with", "postgres", "--run-id", &run_id, "--", "true"])
        .fails(1)
        .says("another testbed");
    login(around.url("POSTGRES")).unwrap();
    folder
        .call(&["down", "--run-id", &run_id])
        .ok()
        .says("asking it to end")
        .says(&format!("run {run_id} is gone"));
    assert_nothing_is_left(&namespace, &run_id);
    assert_eq!(around.testbed.wait().code, Some(143));
}

/// In whatever folder, and whatever cluster is named there: here none.
#[test]
fn the_next_command_removes_what_a_killed_testbed_has_left() {
    let namespace = Namespace::new("killed");
    let folder = Folder::new().env("TESTBED_NAMESPACE", &namespace.name).env("KUBECONFIG", "users:clusters");
    let mut users: Value =
        serde_json::from_str(&kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"]))
            .unwrap();
    let mut clusters = users.clone();
    users["clusters"] = Value::Null;
    clusters["users"] = Value::Null;
    folder.file("users", &users.to_string());
    folder.file("clusters", &clusters.to_string());
    let run_id = run_id();
    let mut around = Around::start(&folder, &["--with", "postgres", "--run-id", &run_id]);
    let (child, config) = (around.child, around.config.clone());
    around.testbed.signal("KILL");
    // Not the end of its output, which the command goes on to hold open.
    assert_eq!(around.testbed.child.wait().unwrap().code(), None);
    assert!(runs(child) && !namespace.of_run(&run_id).is_empty());
    let state = folder.path().join("state");
    let elsewhere =
        Folder::new().env("XDG_STATE_HOME", state.to_str().unwrap()).env("TESTBED_RUNTIME", "local");
    let status = elsewhere.call(&["status"]).ok();
    let status = status.says(&format!("removed run {run_id}: the testbed that worked on it was killed"));
    assert_eq!(status.stdout, "");
    until("the end of the command's child", || Ok(!runs(child)));
    assert!(!Path::new(&config).exists());
    assert_eq!(namespace.of_run(&run_id), Vec::<String>::new());
    assert!(elsewhere.call(&["status"]).ok().stderr.lines().all(|line| !line.contains(&run_id)));
}

#[test]
fn a_failed_run_stays_up_on_request() {
    let namespace = Namespace::new("kept");
    let folder = &namespace.folder;
    let run_id = run_id();
    let args = ["--with", "postgres", "--run-id", &run_id, "--keep-on-failure"];
    let around = Around::start(folder, &args);
    let (config, port) = (
        around.config.clone(),
        around.url("POSTGRES").rsplit_once(':').unwrap().1.split('/').next().unwrap().to_owned(),
    );
    let ended = around.end(9);
    assert_eq!(ended.code, Some(9), "{}", ended.transcript());
    let ended = ended.says(&format!("run {run_id} stays up, as --keep-on-failure asks for")).says(&config);
    let ended = ended.says(&format!("postgres on postgres-{run_id}:5432 in the cluster"));
    let ended = ended.says(&format!("port-forward pod/postgres-{run_id} {port}:5432"));
    ended.says(&format!("remove it: testbed down --run-id {run_id} -n {}", namespace.name));
    // It is nobody's to remove.
    assert!(folder.call(&["status"]).ok().stdout.contains(&run_id));
    let again = folder.call(&[&["run"], &args[..], &["--", "true"]].concat()).ok();
    again.says(&format!("run {run_id} stays up, as it was before"));
    assert!(Path::new(&config).exists() && namespace.of_run(&run_id).len() == 3);
    folder.call(&["down"]).ok().says("is gone (3 objects)");
    assert!(!Path::new(&config).exists());
    assert_nothing_is_left(&namespace, &run_id);

    let late = [&["run"], &args[..], &["--timeout", "1s", "--", "true"]].concat();
    folder.call(&late).fails(3).says("look at it: kubectl").says("remove it:  testbed down");
    assert_eq!(namespace.of_run(&run_id).len(), 3);
    folder.call(&["down", "--run-id", &run_id]).ok();
    assert_nothing_is_left(&namespace, &run_id);
}

#[test]
fn a_removal_that_does_not_end_is_left_to_the_next_command() {
    let namespace = Namespace::new("stuck");
    let folder = &namespace.folder;
    folder.file(
        "m.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held-run-1, finalizers: [example.com/hold]}\n",
    );
    let mut testbed = folder.start(&["run", "m.yaml", "--run-id", "run-1", "--", "true"]);
    testbed.until_it_says("deleting 1 ConfigMap");
    testbed.signal("INT");
    testbed.until_it_says("Ctrl-C once more");
    testbed.signal("INT");
    testbed
        .wait()
        .fails(5)
        .says("error: its removal was interrupted")
        .says("hint: remove it:  testbed down --run-id run-1");
    namespace.kubectl(&[
        "patch",
        "configmap",
        "held-run-1",
        "--type=json",
        "-p",
        r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
    ]);
    folder.call(&["status"]).ok().says("removed run run-1");
    assert_nothing_is_left(&namespace, "run-1");
}

/// A port of this machine leads to whatever server there is: one that was started again, one of another pod,
/// over another connection.
#[test]
fn ports_lead_to_a_database_that_comes_back() {
    let namespace = Namespace::new("healing");
    let proxy = Proxy::start();
    let folder = namespace.folder_as(&proxy.kubeconfig(&namespace.folder));
    // A database in a plain pod, and one of a StatefulSet.
    let manifest = include_str!("manifests/kinds.yaml");
    let wanted = |part: &&str| part.contains("kind: Secret") || part.contains("name: set-");
    let manifest: Vec<&str> = manifest.split("---\n").filter(wanted).collect();
    folder.file("set.yaml", &manifest.join("---\n"));
    let run_id = run_id();
    let around = Around::start(&folder, &["set.yaml", "--with", "postgres", "--run-id", &run_id]);
    let (plain, set) = (around.url("POSTGRES").to_owned(), around.url("SET").to_owned());

    with_an_unread_answer(&plain, || login(&plain).expect("a login beside an answer that nobody reads"));

    let another = |url: &str, before: &str| until("another server", || login(url).map(|now| now != before));
    let before = login(&plain).unwrap();
    namespace.kubectl(&["exec", &format!("postgres-{run_id}"), "--", "sh", "-c", "kill -INT 1"]);
    another(&plain, &before);

    let before = login(&set).unwrap();
    namespace.kubectl(&["delete", "pod", &format!("set-{run_id}-0"), "--grace-period=1"]);
    another(&set, &before);

    // What was cut is not taken for a way that is open, however soon the next connection comes.
    for _ in 0..20 {
        assert!(proxy.cut() > 0);
        login(&plain).unwrap();
        login(&set).unwrap();
    }

    let ended = around.end(0).ok();
    ended
        .says("postgres did not stay up while the command ran: its container was started again")
        .says("set did not stay up");
    assert_nothing_is_left(&namespace, &run_id);
}

/// In a pod, under a ServiceAccount with the original Role; with and without a folder to note the run in.
#[test]
fn in_a_pod_a_command_gets_the_addresses_of_the_services() {
    let namespace = Namespace::new("within");
    namespace.apply(PIPELINE_ROLE);
    let client = namespace.client("test-dependencies-deployer");
    client.install_testbed();
    client.copy(STRIV.as_bytes(), "striv.yaml");
    let postgres: Vec<&str> =
        STRIV.split("---\n").filter(|document| document.contains("name: postgres-")).collect();
    client.copy(postgres.join("---\n").as_bytes(), "postgres.yaml");
    let command = "sh -c 'python3 logins.py \"$TESTBED_CONFIG\" 20 && echo \"$TESTBED_CONFIG $POSTGRES_HOST $MYSQL_HOST\"; exit 7'";
    let unwritable = "env -u XDG_STATE_HOME HOME=/proc/nowhere";
    let cases = [
        (String::new(), "/work/.local/state/testbed/runs/", "striv.yaml"),
        (format!("{unwritable} "), "/tmp/testbed-", "postgres.yaml"),
        (format!("{unwritable} TMPDIR=/nowhere "), "/work/out.json", "postgres.yaml --output out.json"),
    ];
    for (environment, place, what) in cases {
        let run_id = run_id();
        let script = format!("{environment}./testbed run {what} --run-id {run_id} -- {command}");
        let output = client.shell(&script);
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(7), "{script}\n{said}\n{errors}");
        let last = said.lines().last().unwrap_or_default();
        assert!(said.starts_with("failures: 0\n") && last.starts_with(place), "{script}\n{said}\n{errors}");
        let mysql = if what == "striv.yaml" { format!("mysql-{run_id}") } else { String::new() };
        assert!(last.ends_with(&format!(" postgres-{run_id} {mysql}")), "{said}");
        assert_eq!(namespace.of_run(&run_id), Vec::<String>::new());
        assert_eq!(
            client.shell_ok("ls -d /tmp/testbed-* out.json .local/state/testbed/runs/* 2>/dev/null || true"),
            ""
        );
    }
    let nowhere = client.shell(&format!("{unwritable} TMPDIR=/nowhere ./testbed run striv.yaml -- true"));
    let errors = String::from_utf8_lossy(&nowhere.stderr);
    assert!(
        nowhere.status.code() == Some(1)
            && errors.contains("hint: name a file in a folder that can be written with --output"),
        "{errors}"
    );
}

#[test]
fn a_projects_port_scripts_and_databases_are_there() {
    let namespace = Namespace::new("set-up");
    let folder = &namespace.folder;
    let run_id = run_id();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::fs::create_dir(folder.path().join("seeds")).unwrap();
    folder.file("schema.sql", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);\n");
    // INSERT INTO a VALUES (20);
    let packed =
        std::process::Command::new("sh").args(["-c", "echo 'INSERT INTO a VALUES (20);' | gzip -c"]).output();
    std::fs::write(folder.path().join("seeds/1.sql.gz"), packed.unwrap().stdout).unwrap();
    folder.file("seeds/2.sh", "echo 'INSERT INTO a VALUES (300);' | docker_process_sql\n");
    let settings = format!(
        "databases:
  orders:
    use: postgres
    port: {port}
    init: [schema.sql, seeds]
    extensions: [plpgsql]
    users: [bob]
    databases: [{{name: audit, owner: alice}}, plain]
  shop:
    use: mariadb
    user: app
    init: [schema.sql, seeds]
    databases: [{{name: au_dit, owner: alice}}, plain]
"
    );
    folder.file("testbed.yaml", &settings);
    folder
        .call(&["run", "--run-id", &run_id, "--", "true"])
        .fails(2)
        .says(&format!("error: orders: the port {port} of 127.0.0.1 is taken by "))
        .says("hint: nothing was created");
    assert_nothing_is_left(&namespace, &run_id);
    drop(listener);

    let shown = "set -e
test \"$ORDERS_PORT\" = \"$PGPORT\"
echo $ORDERS_PORT $ORDERS_AUDIT_USER
psql -XAtc 'SELECT sum(n) FROM a'
psql -XAt \"$ORDERS_AUDIT_URL\" -c 'CREATE TABLE own (n int)' -c 'SELECT current_user'
PGUSER=bob psql -XAtc 'SELECT current_user'
mariadb -Ne 'SELECT sum(n) FROM a' test
mariadb -ualice -Ne 'CREATE TABLE own (n int); SELECT database()' au_dit
mariadb -uapp -Ne 'CREATE TABLE own (n int); SELECT database()' plain";
    let run = folder.call(&["run", "--run-id", &run_id, "--", "sh", "-c", shown]).ok();
    assert_eq!(run.stdout, format!("{port} alice\n321\nCREATE TABLE\nalice\nbob\n321\nau_dit\nplain\n"));
    assert_nothing_is_left(&namespace, &run_id);
}

#[test]
fn a_set_up_script_that_fails_ends_the_run_with_the_servers_message() {
    let namespace = Namespace::new("set-up-fails");
    let folder = &namespace.folder;
    let run_id = run_id();
    folder.file("good.sql", "SELECT 1;\n");
    folder.file("bad.sql", "SELECT 1;\nSELECT no_such_column;\n");
    for (engine, message) in [
        ("postgres", "column \"no_such_column\" does not exist"),
        ("mariadb", "Unknown column 'no_such_column'"),
    ] {
        let args =
            ["run", "--with", engine, "--param", "init=good.sql bad.sql", "--run-id", &run_id, "--", "true"];
        folder
            .call(&args)
            .fails(4)
            .says("/docker-entrypoint-initdb.d/002-bad.sql")
            .says(message)
            .says("is gone");
        assert_nothing_is_left(&namespace, &run_id);
    }
}
