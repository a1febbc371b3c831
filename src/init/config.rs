//! A `testing-databases.json` that the project keeps: a list of `[driver, connection arguments]`.

use anyhow::Context;
use serde_json::Value;

use super::service::{is_default_user, name};
use super::{Findings, Found, Place};
use crate::database::Engine;

/// Reads a config file. No value of it is in an error.
pub fn read(file: &str, text: &str) -> anyhow::Result<Findings> {
    let entries: Vec<Value> =
        serde_json::from_str(text).with_context(|| format!("{file} is no JSON list"))?;
    let mut findings = Findings::default();
    for (index, entry) in entries.iter().enumerate() {
        let text = format!("{file}: entry {}", index + 1);
        let Some((engine, arguments)) =
            entry.get(0).and_then(Value::as_str).and_then(engine).zip(entry.get(1))
        else {
            findings.notes.push(format!("{text} names no database that testbed knows"));
            continue;
        };
        let argument = |key: &str| {
            arguments
                .get(key)
                .and_then(Value::as_str)
                .filter(|_| engine != Engine::Sqlite)
                .map(ToOwned::to_owned)
        };
        findings.found.push(Found {
            user: argument("user").filter(|user| !is_default_user(engine, user)),
            database: argument("dbname").or_else(|| argument("database")).or_else(|| argument("db")),
            has_password: arguments.get("password").is_some(),
            ..Found::new(name(engine.name(), engine), engine, Place { group: file.into(), text })
        });
    }
    Ok(findings)
}

fn engine(driver: &str) -> Option<Engine> {
    match driver {
        "psycopg" | "psycopg2" | "pg" | "pgsql" => Some(Engine::Postgres),
        "sqlite3" => Some(Engine::Sqlite),
        "pymysql" | "mysql.connector" => Some(Engine::Mysql),
        name => Engine::parse(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_databases() {
        let text = r#"[
  ["sqlite", {"database": ":memory:"}],
  ["mysql", {"user": "root", "password": "hush", "host": "h", "database": "striv_test", "create_database": true}],
  ["postgres", {"user": "striv", "dbname": "striv_test"}],
  ["oracle", {}], 5]"#;
        let Findings { found, notes, .. } = read("t.json", text).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.engine, found.user.as_deref(), found.database.as_deref(), found.has_password))
            .collect();
        let expected = [
            (Engine::Sqlite, None, None, false),
            (Engine::Mysql, None, Some("striv_test"), true),
            (Engine::Postgres, Some("striv"), Some("striv_test"), false),
        ];
        assert_eq!(shown, expected);
        assert_eq!(notes.len(), 2);
        assert!(!format!("{:#}", read("t.json", "{\"hush\": 1}").unwrap_err()).contains("hush"));
    }
}
