//! Runs as the archive would tell them: what went well, what did not, and what could not be worse.

use testbed::history::log::Log;
use testbed::history::record::{
    Cause, Command, Database, Event, LogInfo, Moment, Origin, Record, Status, What,
};
use testbed::state::Ready;
use testbed::time::Time;

use What::{
    Created, Deleted, Deleting, Ended, Prepared, Pulled, Ready as IsReady, Restarted, Scheduled, SetUpServer,
    Started,
};

/// A Wednesday.
pub const BEGAN: i64 = 1_762_948_803_217;

pub fn at(after: i64) -> Time {
    Time::from_millis(BEGAN + after)
}

/// A run and its logs, by the name of its page.
pub struct Story {
    pub name: &'static str,
    pub record: Record,
    pub logs: Vec<Log>,
}

pub fn all() -> Vec<Story> {
    vec![
        succeeded(),
        failed(),
        unscheduled(),
        local(),
        up(),
        twelve(),
        without_databases(),
        bare(),
        hostile(),
    ]
}

fn moments(moments: &[(What, i64, &str)]) -> Vec<Moment> {
    moments
        .iter()
        .map(|(what, after, detail)| Moment { what: *what, at: at(*after), detail: (*detail).to_owned() })
        .collect()
}

fn in_cluster(name: &str, engine: &str, image: &str, version: &str, timeline: Vec<Moment>) -> Database {
    let port = if engine == "postgres" { 5432 } else { 3306 };
    let ready = timeline.iter().find(|moment| moment.what == IsReady).map(|moment| Ready {
        evidence: "process-1".into(),
        detail: "the server is process 1 of its container".into(),
        at: moment.at,
    });
    Database {
        name: name.into(),
        engine: engine.into(),
        image: Some(image.into()),
        version: (!version.is_empty()).then(|| version.into()),
        workload: Some(format!("Pod/{name}-4f1c9a2e-7b1d-4c55-9c0f-0d5c1a5f3b77")),
        container: Some(engine.into()),
        address: Some(format!("{name}-4f1c9a2e-7b1d-4c55-9c0f-0d5c1a5f3b77:{port}")),
        user: Some("striv".into()),
        database: Some("striv_test".into()),
        evidence: ready,
        restarts: 0,
        timeline,
    }
}

fn of_cluster(status: Status) -> Record {
    Record {
        id: "019a7849-2a91-7d3e-b1c4-55d1f0a7c9e2".into(),
        name: "striv-integration-x7k2q".into(),
        status,
        began: at(0),
        origin: Origin {
            called: "up".into(),
            host: Some("striv-integration-x7k2q-databases-pod".into()),
            user: Some("uid 65532".into()),
            folder: Some("/workspace/source".into()),
            cluster: Some("https://10.96.0.1:443".into()),
            namespace: Some("striv-ci".into()),
            pipeline_run: Some("striv-integration-x7k2q".into()),
            pipeline_run_uid: Some("4f1c9a2e-7b1d-4c55-9c0f-0d5c1a5f3b77".into()),
            task_run: Some("striv-integration-x7k2q-databases".into()),
            git_commit: Some("9be2f4d0c1a8e37755aa12f0d94c1b6e8f20d3c4".into()),
        },
        ..Record::begin("4f1c9a2e-7b1d-4c55-9c0f-0d5c1a5f3b77", "kubernetes")
    }
}

fn event(after: i64, warning: bool, object: &str, reason: &str, message: &str, count: u32) -> Event {
    Event {
        at: Some(at(after)),
        warning,
        object: object.into(),
        reason: reason.into(),
        message: message.into(),
        count,
    }
}

fn pod(name: &str, image: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "striv-ci", "labels": {"test-dependencies": "4f1c9a2e-7b1d-4c55-9c0f-0d5c1a5f3b77"}},
        "spec": {"containers": [{"name": "server", "image": image, "env": [{"name": "MYSQL_ROOT_PASSWORD", "value": "***"}],
            "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}}}], "restartPolicy": "Always"},
        "status": {"phase": "Running", "podIP": "10.244.1.17", "hostIP": "172.18.0.3"}
    })
}

fn log(source: &str, container: &str, database: &str, previous: bool, text: &str) -> Log {
    let database = (!database.is_empty()).then(|| database.to_owned());
    let info = LogInfo {
        source: source.into(),
        container: container.into(),
        previous,
        database,
        bytes: text.len() as u64,
        ..LogInfo::default()
    };
    Log::new(info, text)
}

fn mysql_log(lines: usize) -> String {
    let mut text = "2025-11-12 12:00:07+00:00 [Note] [Entrypoint]: Entrypoint script for MySQL Server 8.4.3-1.el9 started.\n\
        2025-11-12 12:00:07+00:00 [Note] [Entrypoint]: Initializing database files\n\
        2025-11-12T12:00:12.118214Z 6 [Warning] [MY-010453] [Server] root@localhost is created with an empty password !\n\
        2025-11-12 12:00:14+00:00 [Note] [Entrypoint]: Temporary server started.\n"
        .to_owned();
    for n in 0..lines {
        text += &format!(
            "2025-11-12T12:01:{:02}.{:06}Z {} [Note] [MY-011946] [Server] Checkpoint {n} of the log is done\n",
            n % 60,
            n,
            n % 40
        );
    }
    text + "2025-11-12T12:00:18.502934Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections. Version: '8.4.3'  port: 3306\n"
}

/// Both databases ready, tests for nearly two hours, everything gone.
fn succeeded() -> Story {
    let end = 7_083_000;
    let mysql = [
        (Created, 412, ""),
        (Scheduled, 431, "node worker-2"),
        (Pulled, 3_900, "docker.io/library/mysql:8.4 in 3.4 s"),
        (Started, 4_300, ""),
        (SetUpServer, 7_120, "its socket answers, its port does not"),
        (IsReady, 15_480, ""),
        (Deleting, end, ""),
        (Deleted, end + 1_840, ""),
    ];
    let postgres = [
        (Created, 415, ""),
        (Scheduled, 440, "node worker-1"),
        (Pulled, 640, "already there"),
        (Started, 1_050, ""),
        (SetUpServer, 1_900, ""),
        (Restarted, 2_950, "OOMKilled"),
        (IsReady, 5_230, ""),
        (Deleting, end, ""),
        (Deleted, end + 1_310, ""),
    ];
    let mut databases = vec![
        in_cluster("mysql", "mysql", "docker.io/library/mysql:8.4", "8.4.3", moments(&mysql)),
        in_cluster("postgres", "postgres", "docker.io/library/postgres:17", "17.2", moments(&postgres)),
    ];
    databases[1].restarts = 1;
    let record = Record {
        ready: Some(at(15_480)),
        ended: Some(at(end + 1_840)),
        command: Some(Command {
            program: "pytest".into(),
            exit_code: Some(0),
            began: Some(at(15_530)),
            ended: Some(at(end - 40)),
        }),
        databases,
        timeline: moments(&[
            (Created, 380, ""),
            (IsReady, 15_480, ""),
            (Deleting, end, ""),
            (Deleted, end + 1_840, ""),
        ]),
        objects: vec![
            pod("mysql-4f1c9a2e", "docker.io/library/mysql:8.4"),
            pod("postgres-4f1c9a2e", "docker.io/library/postgres:17"),
        ],
        events: vec![
            event(
                431,
                false,
                "Pod/mysql-4f1c9a2e",
                "Scheduled",
                "Successfully assigned striv-ci/mysql-4f1c9a2e to worker-2",
                1,
            ),
            event(
                500,
                false,
                "Pod/mysql-4f1c9a2e",
                "Pulling",
                "Pulling image \"docker.io/library/mysql:8.4\"",
                1,
            ),
            event(
                3_900,
                false,
                "Pod/mysql-4f1c9a2e",
                "Pulled",
                "Successfully pulled image \"docker.io/library/mysql:8.4\" in 3.4s",
                1,
            ),
            event(2_940, true, "Pod/postgres-4f1c9a2e", "BackOff", "Back-off restarting failed container", 2),
        ],
        ..of_cluster(Status::Done)
    };
    let text = "LOG:  database system was shut down at 2025-11-12 12:00:06 UTC\nLOG:  database system is ready to accept connections\n";
    let logs = vec![
        log("mysql-4f1c9a2e", "mysql", "mysql", false, &mysql_log(200)),
        log("postgres-4f1c9a2e", "postgres", "postgres", false, text),
    ];
    Story { name: "succeeded", record, logs }
}

/// A server that ends again and again.
fn failed() -> Story {
    let broken = [
        (Created, 300, ""),
        (Scheduled, 320, "node worker-1"),
        (Pulled, 900, "already there"),
        (Started, 1_400, ""),
        (Ended, 4_100, "exit code 1"),
        (Restarted, 5_300, "exit code 1"),
        (Ended, 8_000, "exit code 1"),
        (Restarted, 22_500, "exit code 1"),
        (Ended, 25_100, "exit code 1"),
        (Deleting, 31_000, ""),
        (Deleted, 32_200, ""),
    ];
    let fine = [
        (Created, 302, ""),
        (Scheduled, 330, "node worker-2"),
        (Pulled, 800, ""),
        (Started, 1_200, ""),
        (IsReady, 4_900, ""),
    ];
    let fine = [fine.as_slice(), &[(Deleting, 31_000, ""), (Deleted, 32_000, "")]].concat();
    let mut databases = vec![
        in_cluster(
            "orders",
            "postgres",
            "registry.example/databases/postgres-with-extensions:17.2-bookworm",
            "",
            moments(&broken),
        ),
        in_cluster("mysql", "mysql", "docker.io/library/mysql:8.4", "8.4.3", moments(&fine)),
    ];
    databases[0].restarts = 2;
    let text = "postgres orders can never become ready: its container postgres ended 3 times, the last time with exit code 1\n\
                the last lines of its log:\n  FATAL:  could not load library \"/usr/lib/postgresql/17/lib/timescaledb.so\": No such file or directory";
    let mut lines: String = (0..60)
        .map(|n| format!("2025-11-12 12:00:0{} UTC [{n}] LOG:  starting step {n}\n", n % 10))
        .collect();
    lines.insert_str(0, "2025-11-12 12:00:00 UTC [1] ERROR:  parameter \"shared_preload_libraries\" names a library that is not there\n");
    lines += "2025-11-12 12:00:25 UTC [1] FATAL:  could not load library \"/usr/lib/postgresql/17/lib/timescaledb.so\": No such file or directory\n\
              2025-11-12 12:00:25 UTC [1] LOG:  database system is shut down\n";
    let mut cut = log("orders-4f1c9a2e", "postgres", "orders", true, &lines);
    cut.info.cut = Some("384 KiB in its middle, because 1 MiB is kept of a log".into());
    let record = Record {
        ended: Some(at(32_200)),
        cause: Some(Cause { kind: "CrashLoopBackOff".into(), database: Some("orders".into()), text: text.into() }),
        databases,
        events: vec![
            event(320, false, "Pod/orders-4f1c9a2e", "Scheduled", "Successfully assigned striv-ci/orders-4f1c9a2e to worker-1", 1),
            event(
                26_000,
                true,
                "Pod/orders-4f1c9a2e",
                "BackOff",
                "Back-off restarting failed container postgres in pod orders-4f1c9a2e_striv-ci",
                7,
            ),
        ],
        objects: vec![pod("orders-4f1c9a2e", "registry.example/databases/postgres-with-extensions:17.2-bookworm")],
        notes: vec!["the log of Pod/mysql-4f1c9a2e: pods \"mysql-4f1c9a2e\" is forbidden: cannot get resource \"pods/log\"".into()],
        ..of_cluster(Status::Failed)
    };
    Story {
        name: "failed",
        record,
        logs: vec![cut, log("orders-4f1c9a2e", "postgres", "orders", false, &lines)],
    }
}

/// It failed before a node was found.
fn unscheduled() -> Story {
    let timeline = moments(&[(Created, 250, ""), (Deleting, 120_300, ""), (Deleted, 120_900, "")]);
    let cause = "mysql was not ready within 2 min: its pod waits for a node: 0/3 nodes are available: 3 Insufficient memory";
    let record = Record {
        ended: Some(at(120_900)),
        cause: Some(Cause { kind: "not-ready".into(), database: Some("mysql".into()), text: cause.into() }),
        databases: vec![in_cluster("mysql", "mysql", "mysql:8.4", "", timeline)],
        events: vec![event(
            400,
            true,
            "Pod/mysql",
            "FailedScheduling",
            "0/3 nodes are available: 3 Insufficient memory.",
            9,
        )],
        ..of_cluster(Status::Failed)
    };
    Story { name: "unscheduled", record, logs: Vec::new() }
}

/// One second on a developer's machine, around a command that failed.
pub fn local() -> Story {
    let timeline = [
        (Created, 20, ""),
        (Prepared, 170, "copied from the cache"),
        (Started, 190, "process 4711"),
        (IsReady, 520, ""),
        (Deleting, 900, ""),
        (Deleted, 1_000, ""),
    ];
    let database = Database {
        name: "postgres".into(),
        engine: "postgres".into(),
        version: Some("15.14 (Debian 15.14-0+deb12u1)".into()),
        address: Some("127.0.0.1:38217".into()),
        user: Some("test".into()),
        database: Some("test".into()),
        timeline: moments(&timeline),
        ..Database::default()
    };
    let record = Record {
        name: "shop".into(),
        status: Status::Failed,
        cause: Some(Cause {
            kind: "command".into(),
            database: None,
            text: "cargo ended with exit code 101".into(),
        }),
        began: at(0),
        ready: Some(at(520)),
        ended: Some(at(1_000)),
        command: Some(Command {
            program: "cargo".into(),
            exit_code: Some(101),
            began: Some(at(530)),
            ended: Some(at(890)),
        }),
        origin: Origin {
            called: "run".into(),
            folder: Some("/home/ada/shop".into()),
            user: Some("ada".into()),
            ..Origin::default()
        },
        databases: vec![database],
        ..Record::begin("5d0c6b0e-60a6-4b3c-8f1f-0a4f3d6f8a11", "local")
    };
    let text = "LOG:  starting PostgreSQL 15.14\nERROR:  relation \"orders\" does not exist at character 15\nSTATEMENT:  SELECT * FROM orders\n";
    Story { name: "local", record, logs: vec![log("postgres", "", "postgres", false, text)] }
}

/// Nobody has removed it yet.
fn up() -> Story {
    let timeline = [
        (Created, 30, ""),
        (Prepared, 2_100, "made for the first time"),
        (Started, 2_150, ""),
        (IsReady, 3_400, ""),
    ];
    let database = Database {
        name: "mariadb".into(),
        engine: "mariadb".into(),
        version: Some("10.11.6-MariaDB".into()),
        timeline: moments(&timeline),
        ..Database::default()
    };
    let record = Record {
        status: Status::Up,
        name: "shop".into(),
        began: at(0),
        ready: Some(at(3_400)),
        databases: vec![database],
        ..Record::begin("shop-1", "local")
    };
    Story { name: "up", record, logs: Vec::new() }
}

/// As many as anybody has asked for.
pub fn twelve() -> Story {
    let database = |n: i64| {
        let engine = ["mysql", "postgres", "mariadb"][usize::try_from(n % 3).unwrap_or_default()];
        let ready = 4_000 + n * 700;
        let timeline = [
            (Created, 100 + n * 10, ""),
            (Scheduled, 300 + n * 150, "node worker-1"),
            (Pulled, 900 + n * 300, ""),
            (Started, 1_200 + n * 320, ""),
            (SetUpServer, 2_600 + n * 400, ""),
            (IsReady, ready, ""),
            (Deleting, 15_000, ""),
            (Deleted, 15_400 + n * 100, ""),
        ];
        in_cluster(
            &format!("{engine}-of-service-{n}"),
            engine,
            &format!("{engine}:latest"),
            "8.4.3",
            moments(&timeline),
        )
    };
    let record = Record {
        ready: Some(at(11_700)),
        ended: Some(at(16_500)),
        databases: (0..12).map(database).collect(),
        ..of_cluster(Status::Done)
    };
    Story { name: "twelve", record, logs: Vec::new() }
}

/// It failed before any database was known.
fn without_databases() -> Story {
    let cause = Cause {
        kind: "usage".into(),
        database: None,
        text: "the manifest db.yaml has no database in it".into(),
    };
    let record = Record { ended: Some(at(40)), cause: Some(cause), ..of_cluster(Status::Failed) };
    Story { name: "without-databases", record, logs: Vec::new() }
}

/// Every optional thing is missing.
fn bare() -> Story {
    Story {
        name: "bare",
        record: Record { databases: vec![Database::default()], ..Record::default() },
        logs: Vec::new(),
    }
}

/// Names and logs that want to be something else.
fn hostile() -> Story {
    let text = "</script></style></title>'\"><img src=https://attacker.example/x.png onerror=alert(document.domain)><script>alert(1)</script>{{ 7 * 7 }}";
    let long = "x".repeat(300);
    let Story { mut record, .. } = succeeded();
    record.name = format!("{text}{long}");
    record.status = Status::Abandoned;
    record.cause =
        Some(Cause { kind: text.into(), database: Some(long.clone()), text: format!("{text}\n{long}") });
    record.databases[0].name = format!("\"><b onmouseover=alert(1)>{long}");
    record.databases[0].version = Some(text.into());
    record.databases[0].timeline[0].detail = format!("{text}{long}");
    record.events[0].message = format!("{text}{long}");
    record.events[0].object = long.clone();
    record.notes = vec![format!("{text}{long}")];
    record.objects.push(serde_json::json!({"kind": text, "metadata": {"name": long}, "data": {text: text}}));
    let lines = format!("\u{1b}[31mERROR\u{1b}[0m {text}\n{long}\nnul \0 and \u{202e}turned\n");
    Story { name: "hostile", record, logs: vec![log(&long, text, "mysql", false, &lines)] }
}
