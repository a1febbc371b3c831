//! Databases for the tests of this folder.

use serde_json::Map;

use super::{Entry, Model};
use crate::database::{Database, Engine, Login, Password};
use crate::run_id::RunId;

/// A server that goes by its engine's name, with the user `striv` and an awkward password.
pub(super) fn database(engine: Engine) -> Database {
    Database {
        is_replica: false,
        entrypoint_is_known: true,
        becomes_process_1: true,
        arguments: None,
        name: engine.name().into(),
        engine,
        host: format!("{engine}-run-1"),
        port: engine.port(),
        server_port: engine.port(),
        workload: format!("Pod/{engine}-run-1"),
        container: "db".into(),
        image: String::new(),
        login: Login {
            user: "striv".into(),
            password: Password::new("p\"w"),
            database: Some("striv_test".into()),
        },
        admin: None,
        further: Vec::new(),
        settle: None,
        tls: None,
        connargs: Map::new(),
    }
}

/// The same under another name.
pub(super) fn named(engine: Engine, name: &str) -> Database {
    Database { name: name.into(), host: format!("{name}-run-1"), ..database(engine) }
}

/// A run of these servers.
pub(super) fn model(databases: &[&Database]) -> Model {
    let entries: Vec<Entry> =
        databases.iter().map(|database| Entry::Server(database, &database.host, database.port)).collect();
    Model::new(&RunId::parse("run-1").expect("a run id"), &entries, &[], None)
}

/// A run of SQLite and these servers.
pub(super) fn mixed(databases: &[&Database]) -> Model {
    let servers = databases.iter().map(|database| Entry::Server(database, &database.host, database.port));
    let entries: Vec<Entry> = std::iter::once(Entry::Sqlite("sqlite")).chain(servers).collect();
    Model::new(&RunId::parse("run-1").expect("a run id"), &entries, &[], None)
}
