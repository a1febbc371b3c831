//! Records as testbed writes them.

use serde_json::json;
use testbed::history::log::Log;
use testbed::history::record::{
    Cause, Command, Database, Event, LogInfo, Moment, Origin, Record, Status, What,
};
use testbed::state::Ready;
use testbed::time::Time;

/// The moment that the samples begin at.
pub const BEGIN: i64 = 1_790_000_000_000;

/// A record with something in every field.
pub fn full(run_id: &str) -> Record {
    let at = |seconds: i64| Time::from_millis(BEGIN + 1000 * seconds);
    let moment = |what, seconds, detail: &str| Moment { what, at: at(seconds), detail: detail.into() };
    Record {
        name: "orders-ci-x7k2p".into(),
        status: Status::Failed,
        cause: Some(Cause {
            kind: "ErrImagePull".into(),
            database: Some("mysql".into()),
            text: "no \"such\" image: größe\n".into(),
        }),
        began: at(0),
        ready: Some(at(9)),
        ended: Some(at(30)),
        origin: Origin {
            called: "up".into(),
            host: Some("ci-1".into()),
            user: Some("root".into()),
            folder: Some("/workspace".into()),
            cluster: Some("https://10.0.0.1:6443".into()),
            namespace: Some("ci".into()),
            pipeline_run: Some("orders-ci-x7k2p".into()),
            pipeline_run_uid: Some(run_id.into()),
            task_run: Some("orders-ci-x7k2p-test".into()),
            git_commit: Some("0a1b2c3d".into()),
        },
        command: Some(Command {
            program: "pytest".into(),
            exit_code: Some(3),
            began: Some(at(10)),
            ended: Some(at(20)),
        }),
        databases: vec![database("mysql"), database("postgres"), database("mysql")],
        timeline: vec![moment(What::Created, 0, ""), moment(What::Deleted, 30, "by down")],
        objects: vec![
            json!({"kind": "Pod", "metadata": {"name": "mysql-1", "labels": {}}, "spec": {"n": 18_446_744_073_709_551_615_u64}}),
        ],
        events: vec![Event {
            at: Some(at(3)),
            warning: true,
            object: "Pod/mysql-1".into(),
            reason: "Failed".into(),
            message: "Back-off pulling image".into(),
            count: 3,
        }],
        notes: vec!["the logs of Pod mysql-2 may not be read".into()],
        ..Record::begin(run_id, "kubernetes")
    }
}

/// A database that became ready.
pub fn database(engine: &str) -> Database {
    Database {
        name: engine.into(),
        engine: engine.into(),
        image: Some(format!("{engine}:latest")),
        version: Some("17.2".into()),
        workload: Some(format!("Pod/{engine}-1")),
        container: Some(engine.into()),
        address: Some(format!("{engine}-1:5432")),
        user: Some("striv".into()),
        database: Some("striv_test".into()),
        evidence: Some(Ready {
            evidence: "process-1".into(),
            detail: "its process id is 1".into(),
            at: Time::parse("2026-01-01T00:00:00Z").expect("RFC 3339"),
        }),
        restarts: 1,
        timeline: vec![Moment {
            what: What::Ready,
            at: Time::from_millis(BEGIN + 9000),
            detail: String::new(),
        }],
    }
}

/// A log of a container.
pub fn log(source: &str, container: &str, previous: bool, text: &str) -> Log {
    let info = LogInfo {
        source: source.into(),
        container: container.into(),
        previous,
        database: Some(source.into()),
        bytes: 2 * text.len() as u64,
        cut: Some("the first half".into()),
        ..LogInfo::default()
    };
    Log::new(info, text)
}
