//! Ready means ready: set-up servers that linger, servers that restart, stay silent, refuse for now or for
//! ever.
//!
//! Who may read logs and who may not is a ServiceAccount's Role; without the right to port-forward the probe
//! goes to the Services' own addresses, as it does inside the cluster.

use std::time::Instant;

use serde_json::Value;

use crate::audit;
use crate::credentials::account;
use crate::databases::{Db, PASSWORD, manifest};
use crate::harness::{Namespace, reaches_services};
use crate::history::ending;
use crate::support::{Called, Folder};

const PIPELINE: &str =
    "[{apiGroups: [''], resources: [pods, services, configmaps], verbs: [create, delete, get, list, watch]}]";
const PIPELINE_WITH_LOGS: &str = "[{apiGroups: [''], resources: [pods, services, configmaps], verbs: [create, delete, get, list, watch]}, {apiGroups: [''], resources: [pods/log], verbs: [get]}]";

/// How long set-up servers stay, in seconds: longer than the settling window. `make soak` asks for a minute.
fn linger() -> u64 {
    std::env::var("TESTBED_TEST_LINGER")
        .map_or(9, |text| text.parse().expect("a number in TESTBED_TEST_LINGER"))
}

/// A namespace, and a folder whose calls have only the rights of these rules.
struct Limited {
    namespace: Namespace,
    folder: Folder,
    _config: Folder,
}

impl Limited {
    fn new(prefix: &str, rules: &str) -> Option<Self> {
        if !reaches_services() {
            return None;
        }
        let namespace = Namespace::new(prefix);
        let config = Folder::new();
        let folder = namespace.folder_as(&account(&namespace, &config, rules));
        Some(Self { namespace, folder, _config: config })
    }

    fn up(&self, databases: &[Db], args: &[&str]) -> Called {
        self.folder.file("m.yaml", &manifest(databases));
        self.folder.call(&[&["up", "m.yaml", "--run-id", "run-1", "-v"], args].concat()).keeps(PASSWORD)
    }
}

/// The final server is what runs now as process 1 of the database's container: `up` has not come back too
/// early.
fn is_final(namespace: &Namespace, name: &str) {
    let process = namespace.kubectl(&["exec", &format!("{name}-run-1"), "--", "cat", "/proc/1/comm"]);
    assert!(["mysqld", "mariadbd", "postgres"].contains(&process.trim()), "{name}: process 1 is {process}");
}

fn evidence(up: &Called, name: &str) -> String {
    let start = format!("{name}: ready by ");
    let line = up
        .stderr
        .lines()
        .find_map(|line| line.split_once(&start))
        .unwrap_or_else(|| panic!("{}", up.transcript()));
    line.1.split(':').next().unwrap_or_default().to_owned()
}

/// Without the right to read logs: as an administrator, and as a user without privileges beside an
/// administrator in the manifest.
#[test]
fn a_lingering_set_up_server_fools_nobody_who_may_ask_for_the_process_id() {
    let Some(limited) = Limited::new("linger", PIPELINE) else { return };
    let databases = [
        Db::new("mysql", "mysql:9.7").lingering(linger()),
        Db::new("mysql-app", "mysql:9.7").app_user().lingering(linger()),
        Db::new("mariadb", "mariadb:11.8").lingering(linger()),
        Db::new("mariadb-app", "mariadb:10.11").app_user().lingering(linger()),
        // The older way to know the process id, which newer servers allow in this folder only.
        Db::new("mariadb-proc", "mariadb:11.8").arg("--secure-file-priv=/proc").lingering(linger()),
        Db::new("mariadb-bare", "mariadb:11.8").optionless().lingering(linger()),
        Db::new("postgres", "postgres:17").lingering(linger()),
    ];
    let up = limited.up(&databases, &[]).ok().says("of its container; the final one is process 1");
    for name in ["mysql", "mysql-app", "mariadb", "mariadb-app", "mariadb-proc", "mariadb-bare", "postgres"] {
        is_final(&limited.namespace, name);
        assert_eq!(evidence(&up, name), "process-1", "{}", up.transcript());
    }
    // Which way that was, for images of today.
    let says = |name: &str, detail: &str| {
        assert!(
            up.stderr.contains(&format!("{name}: ready by process-1: {detail}\n")),
            "{}",
            up.transcript()
        );
    };
    says("mariadb", "the server is process 1 of its container, as its pid file says");
    says("mariadb-proc", "the server is process 1 of its container");
}

/// As a user without privileges, nobody else to ask, and no log: what the set-up server was started with is
/// held against it for longer than the settling window.
#[test]
fn a_lingering_set_up_server_with_options_of_its_own_fools_nobody() {
    let Some(limited) = Limited::new("options", PIPELINE) else { return };
    let databases = [
        Db::new("mysql", "mysql:9.7").app_user_alone().lingering(linger()),
        Db::new("mariadb", "mariadb:11.8").app_user_alone().lingering(linger()),
        Db::new("mariadb-args", "mariadb:10.11")
            .app_user_alone()
            .arg("--max-connections=50")
            .lingering(linger()),
        // From version 16 on the first user cannot be demoted.
        Db::new("postgres", "postgres:15").app_user_alone().lingering(linger()),
    ];
    let up = limited.up(&databases, &[]).ok();
    for (name, option) in [
        ("mysql", "bind_address"),
        ("mariadb", "BIND_ADDRESS"),
        ("mariadb-args", "BIND_ADDRESS"),
        ("postgres", "listen_addresses"),
    ] {
        is_final(&limited.namespace, name);
        assert_eq!(evidence(&up, name), "settled", "{}", up.transcript());
        let told = up.stderr.lines().any(|line| {
            line.contains(&format!("{name}: initialising (a set-up server answers: its command line has "))
                && line.contains(option)
        });
        assert!(told, "{name}: {}", up.transcript());
    }
}

/// The final server of an image whose own arguments are more than the manifest says is not taken for a set-up
/// server, once the user says so.
#[test]
fn an_option_that_the_manifest_does_not_name_is_outweighed_by_the_users_word() {
    let Some(limited) = Limited::new("word", PIPELINE) else { return };
    // The variable stands for an image that adds to the final server's command line: arguments that refer to
    // variables are not looked into.
    let database = || {
        Db::new("mysql", "mysql:9.7")
            .app_user_alone()
            .env("MORE", "--port=3306")
            .env("MYSQL_INITDB_SKIP_TZINFO", 1)
    };
    let up = limited.up(&[database().arg("$(MORE)")], &[]).ok();
    assert_eq!(evidence(&up, "mysql"), "settled", "{}", up.transcript());
    limited.folder.call(&["down", "--run-id", "run-1"]).ok();
    // Lingering, so that its options are there to be seen, and to be overruled.
    let up = limited.up(&[database().lingering(linger())], &["--settle", "5s"]).ok();
    assert_eq!(evidence(&up, "mysql"), "settled", "{}", up.transcript());
}

/// A port-forward is an upgraded GET: with the right to create alone each of them would be refused, for ever.
#[test]
fn half_the_right_to_port_forward_is_none() {
    let rules = PIPELINE.trim_end_matches(']').to_owned()
        + ", {apiGroups: [''], resources: [pods/portforward], verbs: [create]}]";
    let Some(limited) = Limited::new("half-forward", &rules) else { return };
    let up = limited.up(&[Db::new("postgres", "postgres:17")], &["--timeout", "1m"]).ok();
    up.says(
        "no right to port-forward (create and get on pods/portforward): trying the Services' own addresses",
    );
}

/// Somebody else's 1 in the pid file of a set-up server: the options, or the log, speak against it.
#[test]
fn a_forged_pid_file_fools_nobody() {
    let forge = "echo 1 > /run/mysqld/mysqld.pid\n";
    for (prefix, rules, database) in [
        ("forged-options", PIPELINE, Db::new("mariadb", "mariadb:11.8")),
        ("forged-log", PIPELINE_WITH_LOGS, Db::new("mariadb", "mariadb:11.8").optionless()),
    ] {
        let Some(limited) = Limited::new(prefix, rules) else { return };
        let up = limited.up(&[database.script("forge.sh", forge).lingering(linger())], &[]).ok();
        is_final(&limited.namespace, "mariadb");
        assert_eq!(evidence(&up, "mariadb"), "process-1", "{}", up.transcript());
    }
}

/// As a user without privileges, and nobody else to ask: the log tells.
#[test]
fn a_lingering_set_up_server_fools_nobody_who_may_read_the_log() {
    let Some(limited) = Limited::new("linger-log", PIPELINE_WITH_LOGS) else { return };
    let databases = [
        Db::new("mysql", "mysql:9.7").app_user_alone().lingering(linger()).keeping_its_data(),
        Db::new("mariadb", "mariadb:11.8")
            .app_user_alone()
            .optionless()
            .lingering(linger())
            .keeping_its_data(),
        // From version 16 on the first user cannot be demoted.
        Db::new("postgres", "postgres:15").app_user_alone().lingering(linger()).keeping_its_data(),
    ];
    let up = limited.up(&databases, &[]).ok().says("the log says that the set-up goes on");
    for name in ["mysql", "mariadb", "postgres"] {
        is_final(&limited.namespace, name);
        assert_eq!(evidence(&up, name), "log", "{}", up.transcript());
    }

    // A data folder that is there already: the log of the second container is another one, and says that
    // there is nothing to set up.
    for name in ["mysql-run-1", "mariadb-run-1", "postgres-run-1"] {
        limited.namespace.kubectl(&["exec", name, "--", "bash", "-c", "kill -TERM 1"]);
    }
    let restarted = |text: &str| text.split_whitespace().filter(|count| *count == "1").count() == 3;
    let counts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}";
    limited.namespace.kubectl_until(&["get", "pods", "-l", "db", "-o", counts], restarted);
    let up = limited.up(&databases, &["--settle", "never"]).ok();
    for name in ["mysql", "mariadb", "postgres"] {
        assert_eq!(evidence(&up, name), "log", "{}", up.transcript());
    }
}

/// As a user without privileges, nobody else to ask, and no log: the settling window is all there is, and has
/// to be long enough.
#[test]
fn a_settling_window_longer_than_the_set_up_is_right_too() {
    let Some(limited) = Limited::new("settle", PIPELINE) else { return };
    let databases = [
        Db::new("mariadb", "mariadb:11.8").app_user_alone().lingering(4).annotation("testbed/settle", "6s"),
        Db::new("postgres", "postgres:15").app_user_alone().lingering(4),
    ];
    let up = limited
        .up(&databases, &["--settle", "7s"])
        .ok()
        .says("mariadb: settling (")
        .says("postgres: settling (");
    for name in ["mariadb", "postgres"] {
        is_final(&limited.namespace, name);
        assert_eq!(evidence(&up, name), "settled", "{}", up.transcript());
    }
}

/// The restarts go below the probe: every attempt through the port-forward finds the server that runs then.
#[test]
fn a_set_up_server_that_restarts_three_times() {
    let namespace = Namespace::new("restarts");
    let folder = &namespace.folder;
    let restarting = |db: Db| db.lingering(1).env("TESTBED_SETUP_RESTARTS", 3);
    folder.file(
        "m.yaml",
        &manifest(&[
            restarting(Db::new("mysql", "mysql:9.7")),
            restarting(Db::new("mariadb", "mariadb:11.8")),
            restarting(Db::new("postgres", "postgres:17")),
        ]),
    );
    let up = folder.call(&["up", "m.yaml", "--run-id", "run-1", "-v"]).ok();
    for name in ["mysql", "mariadb", "postgres"] {
        is_final(&namespace, name);
        assert_eq!(evidence(&up, name), "process-1", "{}", up.transcript());
    }
    // What proved it, and when, can be asked for later.
    let status: Value = serde_json::from_str(&folder.call(&["status", "-o", "json"]).ok().stdout).unwrap();
    for row in status.as_array().unwrap() {
        assert_eq!(row["ready"]["evidence"], "process-1", "{status}");
        assert!(row["ready"]["at"].as_str().unwrap().ends_with('Z'), "{status}");
    }
    assert_eq!(folder.call(&["status", "-v"]).ok().stdout.matches("process-1 at ").count(), 3);
}

#[test]
fn a_database_that_restarts_while_another_one_is_starting_is_waited_for_again() {
    let namespace = Namespace::new("again");
    let folder = &namespace.folder;
    folder.file(
        "m.yaml",
        &manifest(&[Db::new("mysql", "mysql:9.7").lingering(10), Db::new("postgres", "postgres:17")]),
    );
    let mut up = folder.start(&["up", "m.yaml", "--run-id", "run-1", "-v"]);
    up.until_it_says("postgres: ready\n");
    let killed = Instant::now();
    namespace.kubectl(&["exec", "postgres-run-1", "--", "bash", "-c", "kill -INT 1"]);
    // The kubelet may report the next container at once, without a word of the pause between them.
    up.until_it_says("postgres: initialising (");
    up.until_it_says("postgres: ready\n");
    let again = killed.elapsed();
    let up = up.wait().ok();
    // Not found out only when the slow one was ready.
    let slow = up.stderr.find("mysql: ready\n").expect("MySQL's line");
    assert!(
        up.stderr.rfind("postgres: ready\n").expect("PostgreSQL's line") < slow,
        "{again:?}\n{}",
        up.transcript()
    );
    is_final(&namespace, "postgres");
}

/// The kernel accepts for a stopped server, which says nothing.
#[test]
fn a_server_that_accepts_and_says_nothing_does_not_stall_the_wait() {
    let Some(limited) = Limited::new("silent", PIPELINE) else { return };
    let stop = |server: &str, seconds: &str| {
        format!("pkill -STOP -x {server}; sleep {seconds}; pkill -CONT -x {server}; sleep 1\n")
    };
    let silent = |name, image, server: &str, seconds| {
        Db::new(name, image).lingering(0).script("stop.sh", stop(server, seconds))
    };
    let databases = [
        silent("mariadb", "mariadb:11.8", "mariadbd", "5"),
        silent("postgres", "postgres:17", "postgres", "5"),
    ];
    let up = limited.up(&databases, &[]).ok();
    for name in ["mariadb", "postgres"] {
        up.stderr
            .find(&format!("{name}: initialising (connected, and no answer within 3 s)"))
            .unwrap_or_else(|| panic!("{}", up.transcript()));
        is_final(&limited.namespace, name);
        assert_eq!(evidence(&up, name), "process-1");
    }
    limited.folder.call(&["down", "--run-id", "run-1"]).ok();

    // On a busy machine its set-up alone takes six seconds.
    let for_ever = [silent("postgres", "postgres:17", "postgres", "3600")];
    limited
        .up(&for_ever, &["--timeout", "20s"])
        .fails(3)
        .says("not ready within 20s: postgres: initialising (connected, and no answer within 3 s)");
}

/// The manifest says one thing, and the server's own set-up another.
#[test]
fn a_login_that_is_wrong_for_ever_ends_the_wait() {
    for (case, databases, says) in [
        (
            "password",
            [
                Db::new("mysql", "mysql:9.7")
                    .app_user()
                    .script("x.sql", "ALTER USER app@'%' IDENTIFIED BY 'another';"),
                Db::new("mariadb", "mariadb:11.8")
                    .app_user()
                    .script("x.sql", "ALTER USER app@'%' IDENTIFIED BY 'another';"),
                Db::new("postgres", "postgres:17").script("x.sql", "ALTER ROLE app PASSWORD 'another';"),
            ],
            [
                "Access denied for user 'app'@'",
                "Access denied for user 'app'@'",
                "password authentication failed for user \"app\" (SQLSTATE 28P01)",
            ],
        ),
        (
            "database",
            [
                Db::new("mysql", "mysql:9.7").script("x.sql", "DROP DATABASE shop;"),
                Db::new("mariadb", "mariadb:11.8").script("x.sql", "DROP DATABASE shop;"),
                Db::new("postgres", "postgres:17").script("x.sql", "\\c postgres\nDROP DATABASE shop;"),
            ],
            [
                "Unknown database 'shop' (error 1049)",
                "Unknown database 'shop' (error 1049)",
                "database \"shop\" does not exist (SQLSTATE 3D000)",
            ],
        ),
    ] {
        let Some(limited) = Limited::new(&format!("wrong-{case}"), PIPELINE_WITH_LOGS) else { return };
        for (database, says) in databases.into_iter().zip(says) {
            let up = limited
                .up(&[database], &[])
                .fails(4)
                .says("can never become ready: its server (Pod/")
                .says(says)
                .says("hint: ");
            assert!(up.stderr.contains("testbed down --run-id run-1"), "{}", up.transcript());
            // Within two seconds of being certain: the log's or the final server's first word.
            let seconds =
                |line: &str| line.trim_start().split('s').next().and_then(|text| text.parse::<f64>().ok());
            let refused: Vec<f64> = up
                .stderr
                .lines()
                .filter(|line| line.contains("initialising (") && line.contains(says))
                .filter_map(seconds)
                .collect();
            assert!(!refused.is_empty(), "{}", up.transcript());
            assert!(!limited.folder.has("testing-databases.json"));
            limited.folder.call(&["down", "--run-id", "run-1"]).ok().keeps("another");
            assert_eq!(ending(&limited.folder, "run-1"), ["failed", "refused", "gone"]);
        }
    }
}

#[test]
fn too_many_connections_are_waited_out() {
    let Some(limited) = Limited::new("full", PIPELINE) else { return };
    let client = limited.namespace.client("default");
    let database = [Db::new("mysql", "mysql:9.7")
        .app_user()
        .arg("--max-connections=2")
        .arg("--mysqlx-max-connections=1")];
    limited.up(&database, &[]).ok();
    // Two connections, until somebody makes the file.
    client.copy(limited.folder.read("testing-databases.json").as_bytes(), "testing-databases.json");
    let hold = "import json, mysql.connector, os, sys\n\
                entry = json.load(open('testing-databases.json'))[0][1]\n\
                held = [mysql.connector.connect(**entry) for _ in range(2)]\n\
                print('held', flush=True)\n\
                sys.stdin.read()\n";
    client.copy(hold.as_bytes(), "hold.py");
    let mut holder = client.start("python3 hold.py");
    holder.wait_for("held");
    let mut up = limited.folder.start(&["up", "m.yaml", "--run-id", "run-1", "-v"]);
    up.until_it_says("mysql: initialising (Too many connections (error 1040))");
    holder.end();
    let up = up.wait().ok();
    assert_eq!(evidence(&up, "mysql"), "process-1");
}

/// TLS where a server wants it, and none where it has none: MySQL's password check then asks for the server's
/// key, its cache being cold.
#[test]
fn servers_that_want_tls_and_servers_without_it() {
    let Some(limited) = Limited::new("tls", PIPELINE) else { return };
    let certificate = "set -e; cd \"$PGDATA\"\n\
                       openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=db -keyout server.key -out server.crt 2>/dev/null\n\
                       chmod 600 server.key\n\
                       printf 'ssl=on\\n' >> postgresql.conf\n\
                       sed -i 's/^host /hostssl /' pg_hba.conf\n";
    let databases = [
        Db::new("required", "mysql:9.7").app_user().arg("--require-secure-transport=ON"),
        Db::new("without", "mysql:9.7").app_user().arg("--tls-version="),
        Db::new("user", "mariadb:11.8").app_user().script("x.sql", "ALTER USER app@'%' REQUIRE SSL;"),
        Db::new("postgres", "postgres:17").script("tls.sh", certificate),
    ];
    let up = limited.up(&databases, &[]).ok();
    for name in ["required", "without", "user", "postgres"] {
        assert_eq!(evidence(&up, name), "process-1", "{}", up.transcript());
    }
}

/// The API server's own log counts: one list and one watch of pods, one log a database, and nothing again and
/// again.
#[test]
fn waiting_asks_the_api_server_for_nothing_in_a_loop() {
    let Some(limited) = Limited::new("audit", PIPELINE_WITH_LOGS) else { return };
    limited.up(&[Db::new("mysql", "mysql:9.7").lingering(5), Db::new("postgres", "postgres:17")], &[]).ok();
    let requests = audit::requests_of(&limited.namespace, "limited").expect("the audit log");
    let count = |verb: &str, resource: &str, subresource: Option<&str>| {
        let fits = |request: &&Value| {
            let object = &request["objectRef"];
            request["verb"] == verb
                && object["resource"] == resource
                && object["subresource"].as_str() == subresource
        };
        requests.iter().filter(fits).count()
    };
    assert_eq!(count("create", "pods", None), 2, "{requests:#?}");
    // One look for what an earlier call of this run id has made, whose record this one would go on with, and
    // the watch's list.
    assert_eq!((count("list", "pods", None), count("list", "services", None)), (2, 1), "{requests:#?}");
    assert!(count("watch", "pods", None) <= 1, "{requests:#?}");
    assert_eq!(count("get", "pods", Some("log")), 2, "{requests:#?}");
    let lists_and_gets =
        requests.iter().filter(|request| request["verb"] == "list" || request["verb"] == "get").count();
    // These three, the two logs, and the events that this user may not list.
    assert!(lists_and_gets <= 6, "{requests:#?}");
}

/// Whoever connects and hangs up is counted, and in the end blocked: the servers' logs know of nobody who
/// did.
#[test]
fn every_attempt_is_a_whole_login() {
    let Some(limited) = Limited::new("whole", PIPELINE) else { return };
    let verbose = Db::new("mysql", "mysql:9.7").arg("--log-error-verbosity=3");
    let connections = Db::new("postgres", "postgres:17").arg("-c").arg("log_connections=on");
    limited.up(&[verbose.app_user().lingering(2), connections.lingering(2)], &[]).ok();
    let log = |pod: &str| limited.namespace.kubectl(&["logs", pod]);
    let (mysql, postgres) = (log("mysql-run-1"), log("postgres-run-1"));
    for broken in ["Aborted connection", "Bad handshake", "error reading communication packets"] {
        assert!(!mysql.contains(broken), "{mysql}");
    }
    assert!(postgres.contains("connection received: host="), "{postgres}");
    for broken in ["incomplete startup packet", "could not receive data from client", "permission denied"] {
        assert!(!postgres.contains(broken), "{postgres}");
    }
    // A connection that is dropped half-way is one of these as well.
    let count = "mysql -uroot -p\"$MYSQL_ROOT_PASSWORD\" -N -e \"SHOW GLOBAL STATUS LIKE 'Aborted_connects'\" 2>/dev/null";
    assert_eq!(
        limited.namespace.kubectl(&["exec", "mysql-run-1", "--", "bash", "-c", count]).trim(),
        "Aborted_connects\t0"
    );
}

/// The probe of `up`, for servers that somebody else has made.
#[test]
fn wait_takes_urls() {
    let Some(limited) = Limited::new("wait", PIPELINE) else { return };
    let databases = [Db::new("mysql", "mysql:9.7").lingering(7), Db::new("postgres", "postgres:17")];
    limited.namespace.apply(&manifest(&databases).replace("$(context.pipelineRun.uid)", "run-1"));
    let address =
        |name: &str| limited.namespace.kubectl(&["get", "service", name, "-o", "jsonpath={.spec.clusterIP}"]);
    let (mysql, postgres) = (address("mysql-run-1"), address("postgres-run-1"));
    let urls = [format!("mysql://root@{mysql}/shop"), format!("postgres://app@{postgres}/shop")];
    let folder = &limited.folder;
    let password = folder.file("password", &format!("{PASSWORD}\n")).display().to_string();
    let wait = |args: &[&str]| {
        folder.call(&[&["wait", "--password-file", &password], args].concat()).keeps(PASSWORD)
    };

    let waited = wait(&[&urls[0], &urls[1], "--settle", "never", "-o", "json"]).ok();
    is_final(&limited.namespace, "mysql");
    let found: Value = serde_json::from_str(&waited.stdout).unwrap();
    assert_eq!(found[0]["evidence"]["kind"], "process-1", "{found}");
    assert_eq!(
        (&found[1]["name"], &found[1]["address"]),
        (&"postgres".into(), &format!("{postgres}:5432").into())
    );

    wait(&[&format!("mysql://root:wrong@{mysql}"), "--settle", "1s"])
        .fails(4)
        .says("(error 1045)")
        .keeps("wrong");
    wait(&[&format!("postgres://app@{postgres}/shops"), "--settle", "never"])
        .fails(4)
        .says("(SQLSTATE 3D000)");
    wait(&["mysql://root@127.0.0.1:1", "--timeout", "1s"]).fails(3).says("connection refused");
    wait(&["mysql://root@192.0.2.1:port"]).fails(2).says("a URL is broken");
}
