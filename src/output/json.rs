//! What `-o json` tells of a run: all that its tests need, as one object. Its shape is that of
//! `docs/src/reference/output.schema.json`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Connection, Model, Names, environment};
use crate::console;

/// The version of the JSON, which is the history's as well.
pub(super) const VERSION: u32 = 1;

/// A run as one JSON object. `config` is the config file's absolute path.
///
/// # Errors
/// As [`Names::variables`].
pub fn run(
    model: &Model,
    names: &Names,
    runtime: &str,
    namespace: Option<&str>,
    config: Option<&Path>,
) -> anyhow::Result<String> {
    let environment = object(&environment::variables(model, names, config)?);
    console::json(&json!({
        "version": VERSION,
        "kind": "Run",
        "runId": model.run_id,
        "runtime": runtime,
        "namespace": namespace,
        "config": config.and_then(Path::to_str),
        "databases": model.databases.iter().map(database).collect::<Vec<_>>(),
        "environment": environment,
    }))
}

/// Variables by their names.
pub(super) fn object(variables: &[(String, String)]) -> Map<String, Value> {
    variables.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

fn database(connection: &Connection) -> Value {
    json!({
        "name": connection.name,
        "engine": connection.engine,
        "driver": connection.driver,
        "host": connection.host,
        "port": connection.port,
        "user": connection.user,
        "password": connection.password,
        "database": connection.database,
        "url": connection.url,
        "jdbcUrl": connection.jdbc_url,
        "dsn": connection.dsn,
        "ca": connection.ca,
        "arguments": connection.arguments,
    })
}
