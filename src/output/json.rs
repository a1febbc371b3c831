//! What `-o json` tells of a run, by `up` and by `env`: all that its tests need, as one object. Its shape is that
//! of `docs/src/reference/output.schema.json`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Connection, Environment, Model};
use crate::console;
use crate::location::Location;

/// The version of the JSON, which is the history's as well.
const VERSION: u32 = 1;

/// A run that is ready, or some of its databases.
pub struct Told<'a> {
    pub model: &'a Model,
    /// In a cluster: where it is.
    pub location: Option<&'a Location>,
    /// The config file's absolute path.
    pub config: Option<&'a Path>,
}

impl Told<'_> {
    /// The run as one JSON object, with the variables of a command that uses it.
    ///
    /// # Errors
    /// None that this user could cause.
    pub fn json(&self, environment: &Environment) -> anyhow::Result<String> {
        let variable = |(name, value): &(String, String)| (name.clone(), Value::from(value.as_str()));
        console::json(&json!({
            "version": VERSION,
            "kind": "Run",
            "runId": self.model.run_id,
            "runtime": if self.location.is_some() { "kubernetes" } else { "local" },
            "namespace": self.location.map(|location| &location.namespace),
            "config": self.config.and_then(Path::to_str),
            "databases": self.model.databases.iter().map(database).collect::<Vec<_>>(),
            "environment": environment.set.iter().map(variable).collect::<Map<_, _>>(),
            "removed": environment.removed,
        }))
    }
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
