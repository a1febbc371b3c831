//! The main job: the original pipeline's manifest goes in, a config file comes out, and from that moment
//! every login works.

use serde_json::Value;

use crate::harness::{Namespace, PIPELINE_ROLE, STRIV, run_id};

/// How many runs follow each other; `make soak` asks for more.
fn runs() -> usize {
    std::env::var("TESTBED_TEST_RUNS").map_or(1, |text| text.parse().expect("a number in TESTBED_TEST_RUNS"))
}

/// In the pipeline: in a pod, under a ServiceAccount with exactly the original Role, with a set-up server
/// that shows its port.
#[test]
fn a_pipeline_task_gets_databases_that_never_refuse_a_login() {
    let namespace = Namespace::new("pipeline");
    namespace.apply(PIPELINE_ROLE);
    let client = namespace.client("test-dependencies-deployer");
    client.install_testbed();
    client.copy(STRIV.as_bytes(), "striv.yaml");
    for _ in 0..runs() {
        let run_id = run_id();
        let up = format!(
            "./testbed up striv.yaml --run-id {run_id} -v && python3 logins.py testing-databases.json 200"
        );
        let said = client.shell_ok(&up);
        assert!(said.starts_with(&format!("{run_id}\n")) && said.ends_with("failures: 0\n"), "{said}");

        let config: Value = serde_json::from_str(&client.shell_ok("cat testing-databases.json")).unwrap();
        assert_eq!(
            config,
            serde_json::json!([
                ["mysql", {"user": "root", "password": run_id, "host": format!("mysql-{run_id}"), "port": 3306, "database": "striv_test"}],
                ["postgres", {"user": "striv", "password": run_id, "host": format!("postgres-{run_id}"), "port": 5432, "dbname": "striv_test"}],
            ])
        );
        assert_eq!(
            client.shell_ok("python3 tables.py testing-databases.json write"),
            "mysql ok\npostgres ok\n"
        );

        client.shell_ok(&format!("./testbed down --run-id {run_id}"));
        assert!(namespace.of_run(&run_id).is_empty());
    }
}

/// From a developer's machine: probing goes through port-forwards, and what is written is the address in the
/// cluster.
#[test]
fn a_developer_outside_the_cluster_gets_the_addresses_inside() {
    let namespace = Namespace::new("outside");
    let client = namespace.client("default");
    let folder = &namespace.folder;
    folder.file("striv.yaml", STRIV);
    for _ in 0..runs() {
        let run_id = run_id();
        let up = folder.call(&["up", "striv.yaml", "--run-id", &run_id]).ok();
        client.copy(folder.read("testing-databases.json").as_bytes(), "testing-databases.json");
        assert!(client.shell_ok("python3 logins.py testing-databases.json 200").ends_with("failures: 0\n"));
        assert_eq!(up.stdout, format!("{run_id}\n"));
        folder.call(&["down"]).ok().says(&format!("run {run_id} is gone (4 objects)"));
        assert!(namespace.of_run(&run_id).is_empty());
        assert!(!folder.has("testing-databases.json"));
    }
}

#[test]
fn two_runs_share_a_namespace_and_not_their_fate() {
    let namespace = Namespace::new("neighbours");
    let client = namespace.client("default");
    let folder = &namespace.folder;
    folder.file("striv.yaml", STRIV);
    // What carries no label, and what carries another one, is nobody's business.
    namespace.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: unlabelled}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: other, labels: {test-dependencies: other}}\nspec: {ports: [{port: 1}]}\n");
    let (first, second) = (run_id(), run_id());
    let up = |run_id: &str, output: &str| {
        folder.start(&["up", "striv.yaml", "--run-id", run_id, "--output", output])
    };
    let (one, two) = (up(&first, "one.json"), up(&second, "two.json"));
    one.wait().ok();
    two.wait().ok();
    client.copy(folder.read("two.json").as_bytes(), "two.json");
    client.shell_ok("python3 tables.py two.json write");
    let before = namespace.of_run(&second);

    folder.call(&["down", "--run-id", &first]).ok();
    assert!(namespace.of_run(&first).is_empty());
    assert_eq!(namespace.of_run(&second), before);
    assert_eq!(client.shell_ok("python3 tables.py two.json read"), "mysql ok\npostgres ok\n");
    assert_eq!(namespace.labelled("test-dependencies=other"), ["service/other"]);
    assert!(namespace.labelled("").contains(&"configmap/unlabelled".to_owned()));

    let status = folder.call(&["status", "-o", "json"]).ok();
    let rows: Value = serde_json::from_str(&status.stdout).unwrap();
    let runs: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["runId"].as_str().unwrap()).collect();
    assert_eq!(runs, [&second, &second]);
    status.keeps("password");
    assert!(folder.call(&["status"]).ok().stdout.starts_with("RUN "));
}

#[test]
fn up_twice_is_up_once() {
    let namespace = Namespace::new("twice");
    let folder = &namespace.folder;
    let run_id = run_id();
    // With a generated password, which the second call has to find out.
    let up = ["up", "--with", "postgres", "--with", "sqlite", "--run-id", &run_id];
    folder.call(&up).ok();
    let uids = || {
        namespace.kubectl(&[
            "get",
            "pods,services,secrets",
            "-l",
            &format!("test-dependencies={run_id}"),
            "-o",
            "jsonpath={.items[*].metadata.uid}",
        ])
    };
    let (config, before) = (folder.read("testing-databases.json"), uids());
    folder.call(&up).ok().says("all 3 objects").keeps("password");
    assert_eq!((folder.read("testing-databases.json"), uids()), (config, before));

    folder
        .call(&["up", "--with", "postgres", "--run-id", &run_id, "--param", "database=other"])
        .fails(1)
        .says("made from another content");
    assert_eq!(namespace.of_run(&run_id).len(), 3);
}

/// Every built-in database, with a user of its own that may not see any proof itself.
#[test]
fn built_in_databases_come_up_and_python_logs_in() {
    let namespace = Namespace::new("builtin");
    let client = namespace.client("default");
    let folder = &namespace.folder;
    let args = [
        "up",
        "--with",
        "sqlite",
        "--with",
        "mysql",
        "--with",
        "mariadb",
        "--with",
        "mariadb:10.11=old",
        "--with",
        "postgres",
        "--with",
        "postgres:15=orders",
    ];
    let params = [
        "--param",
        "user=app",
        "--param",
        "orders.database=shop",
        "--connarg",
        "mysql.connection_timeout=5",
        "--mode",
        "640",
        "-v",
    ];
    let up = folder.call(&[&args[..], &params].concat()).ok();
    let text = folder.read("testing-databases.json");
    let config: Vec<(String, Value)> = serde_json::from_str(&text).unwrap();
    let drivers: Vec<&str> = config.iter().map(|(driver, _)| driver.as_str()).collect();
    assert_eq!(drivers, ["sqlite", "mysql", "mysql", "mysql", "postgres", "postgres"]);
    assert_eq!(config[1].1["connection_timeout"], 5);
    assert_eq!((&config[5].1["dbname"], &config[5].1["user"]), (&"shop".into(), &"app".into()));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.path().join("testing-databases.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o640);
    // The evidence was the best there is, for each engine.
    assert_eq!(
        up.stderr.matches("the server is process 1 of its container").count(),
        5,
        "{}",
        up.transcript()
    );
    for (_, arguments) in &config[1..] {
        assert!(!up.stderr.contains(arguments["password"].as_str().unwrap()), "a password shows");
    }
    client.copy(text.as_bytes(), "testing-databases.json");
    client.shell_ok("python3 tables.py testing-databases.json write");
    folder.call(&["down"]).ok();
    assert_eq!(namespace.of_run(up.stdout.trim()), Vec::<String>::new());
}

/// A person whose tests run on their own machine.
#[test]
fn forwarded_addresses_work_until_ctrl_c() {
    use std::io::{BufRead, BufReader};

    let namespace = Namespace::new("forward");
    let folder = &namespace.folder;
    let run_id = run_id();
    let mut up =
        folder.start(&["up", "--with", "postgres", "--with", "mysql", "--run-id", &run_id, "--forward"]);
    // Standard output is the run id, printed once the config file is there.
    let mut line = String::new();
    BufReader::new(up.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("{run_id}\n"));
    let config: Vec<(String, Value)> = serde_json::from_str(&folder.read("testing-databases.json")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (driver, arguments) in &config {
        assert_eq!(arguments["host"], "127.0.0.1");
        let text = |key: &str| arguments[key].as_str().unwrap().to_owned();
        let port = u16::try_from(arguments["port"].as_u64().unwrap()).unwrap();
        runtime.block_on(async {
            if driver == "postgres" {
                let mut options = tokio_postgres::Config::new();
                options
                    .host("127.0.0.1")
                    .port(port)
                    .user(text("user"))
                    .password(text("password"))
                    .dbname(text("dbname"));
                let (client, connection) = options.connect(tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                assert_eq!(client.query_one("SELECT 42", &[]).await.unwrap().get::<_, i32>(0), 42);
            } else {
                use mysql_async::prelude::Queryable;
                let options = mysql_async::OptsBuilder::default()
                    .ip_or_hostname("127.0.0.1")
                    .tcp_port(port)
                    .user(Some(text("user")));
                let options = options.pass(Some(text("password"))).db_name(Some(text("database")));
                let mut connection = mysql_async::Conn::new(options).await.unwrap();
                assert_eq!(connection.query_first::<i32, _>("SELECT 42").await.unwrap(), Some(42));
                connection.disconnect().await.unwrap();
            }
        });
    }
    up.signal("INT");
    let ended = up.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.transcript());
    assert!(namespace.of_run(&run_id).is_empty());
    assert!(!folder.has("testing-databases.json"));
}
