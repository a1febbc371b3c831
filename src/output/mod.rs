//! The config file: what the tests read to find their databases. Its presence means that all of them are ready, so it is written last
//! and in one step.

mod file;

use anyhow::anyhow;
use serde_json::{Map, Value, json};

pub use file::write;

use crate::database::{Database, Engine};
use crate::failure::usage;

/// An entry of the config file before its address is known: a server of the run, or SQLite.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A server, reached at this host and port.
    Server(&'a Database, &'a str, u16),
    /// SQLite in memory, which needs no server.
    Sqlite,
}

/// One `--connarg [DATABASE.]KEY=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnArg {
    /// The database's name or its engine's; `None` for all servers.
    scope: Option<String>,
    key: String,
    value: Value,
}

impl ConnArg {
    /// Reads `create_database=true` or `mysql.charset="utf8"`. The value is JSON where it parses as JSON, else a text.
    ///
    /// # Errors
    /// A usage error when there is no `=` or no key.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (key, value) = text.split_once('=').ok_or_else(|| usage(format!("--connarg {text}: write [DATABASE.]KEY=VALUE")))?;
        let (scope, key) = key.split_once('.').map_or((None, key), |(scope, key)| (Some(scope.to_owned()), key));
        if key.is_empty() || scope.as_deref() == Some("") {
            return Err(usage(format!("--connarg {text}: write [DATABASE.]KEY=VALUE")));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        Ok(Self { scope, key: key.into(), value })
    }

    fn is_for(&self, database: &Database) -> bool {
        self.scope.as_deref().is_none_or(|scope| scope == database.name || scope == database.engine.name())
    }
}

/// Refuses a `--connarg` for a database that the run does not have.
///
/// # Errors
/// A usage error that lists the databases.
pub fn check_connargs(connargs: &[ConnArg], databases: &[Database]) -> anyhow::Result<()> {
    match connargs.iter().find(|arg| !databases.iter().any(|database| arg.is_for(database))) {
        None => Ok(()),
        Some(arg) => {
            let known: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
            let scope = arg.scope.as_deref().unwrap_or("all");
            Err(usage(format!("--connarg {scope}.{}: the run has no database {scope:?}; it has: {}", arg.key, known.join(", "))))
        }
    }
}

/// The default format: a JSON list of `[driver, connection arguments]`, one entry a line. The arguments are those of Python's drivers:
/// `mysql.connector.connect(**arguments)`, `psycopg2.connect(**arguments)`, `sqlite3.connect(**arguments)`.
pub fn testing_databases(entries: &[Entry], connargs: &[ConnArg]) -> anyhow::Result<String> {
    let lines: Vec<String> = entries.iter().map(|entry| line(&entry_value(entry, connargs))).collect::<Result<_, _>>()?;
    Ok(if lines.is_empty() { "[]\n".into() } else { format!("[\n  {}\n]\n", lines.join(",\n  ")) })
}

fn entry_value(entry: &Entry, connargs: &[ConnArg]) -> Value {
    let Entry::Server(database, host, port) = entry else { return json!(["sqlite", {"database": ":memory:"}]) };
    let login = &database.login;
    let mut arguments = Map::new();
    arguments.insert("user".into(), login.user.as_str().into());
    arguments.insert("password".into(), login.password.reveal().into());
    arguments.insert("host".into(), (*host).into());
    arguments.insert("port".into(), (*port).into());
    // MariaDB is reached with MySQL's driver, so that is what its entry names.
    let (driver, database_key) = match database.engine {
        Engine::Mysql | Engine::Mariadb => ("mysql", "database"),
        Engine::Postgres => ("postgres", "dbname"),
        Engine::Sqlite => ("sqlite", "database"),
    };
    if let Some(name) = &login.database {
        arguments.insert(database_key.into(), name.as_str().into());
    }
    arguments.extend(database.connargs.clone());
    arguments.extend(connargs.iter().filter(|arg| arg.is_for(database)).map(|arg| (arg.key.clone(), arg.value.clone())));
    json!([driver, arguments])
}

/// JSON on one line, with a space after each colon and comma.
fn line(value: &Value) -> anyhow::Result<String> {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
    value.serialize(&mut serializer)?;
    String::from_utf8(bytes).map_err(|error| anyhow!(error))
}

struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Login, Password};

    fn database(engine: Engine) -> Database {
        Database {
            entrypoint_is_known: true,
            becomes_process_1: true,
            name: engine.name().into(),
            engine,
            host: format!("{engine}-run-1"),
            port: engine.port(),
            server_port: engine.port(),
            workload: format!("Pod/{engine}-run-1"),
            container: "db".into(),
            image: String::new(),
            login: Login { user: "striv".into(), password: Password::new("p\"w"), database: Some("striv_test".into()) },
            admin: None,
            settle: None,
            connargs: Map::new(),
        }
    }

    fn entry(database: &Database) -> Entry<'_> {
        Entry::Server(database, &database.host, database.port)
    }

    #[test]
    fn the_file_is_a_list_of_driver_and_arguments() {
        let (mysql, postgres) = (database(Engine::Mysql), database(Engine::Postgres));
        let text = testing_databases(&[Entry::Sqlite, entry(&mysql), entry(&postgres)], &[]).unwrap();
        let expected = r#"[
  ["sqlite", {"database": ":memory:"}],
  ["mysql", {"user": "striv", "password": "p\"w", "host": "mysql-run-1", "port": 3306, "database": "striv_test"}],
  ["postgres", {"user": "striv", "password": "p\"w", "host": "postgres-run-1", "port": 5432, "dbname": "striv_test"}]
]
"#;
        assert_eq!(text, expected);
        assert_eq!(testing_databases(&[], &[]).unwrap(), "[]\n");
    }

    #[test]
    fn mariadb_goes_by_mysqls_driver_and_no_database_is_no_argument() {
        let mut mariadb = database(Engine::Mariadb);
        mariadb.login.database = None;
        let text = testing_databases(&[entry(&mariadb)], &[]).unwrap();
        assert!(text.contains("[\"mysql\", ") && !text.contains("\"database\""), "{text}");
    }

    #[test]
    fn extra_arguments_are_json_or_text_and_can_be_for_one_database() {
        let (mysql, postgres) = (database(Engine::Mysql), database(Engine::Postgres));
        let connargs: Vec<_> = ["mysql.create_database=true", "application_name=me"].map(|text| ConnArg::parse(text).unwrap()).into();
        let text = testing_databases(&[entry(&mysql), entry(&postgres)], &connargs).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].ends_with(r#""create_database": true, "application_name": "me"}],"#), "{text}");
        assert!(lines[2].ends_with(r#""dbname": "striv_test", "application_name": "me"}]"#), "{text}");
    }

    #[test]
    fn a_connarg_for_nobody_is_refused() {
        for text in ["novalue", "=1", ".a=1"] {
            assert!(ConnArg::parse(text).is_err(), "{text}");
        }
        let arg = ConnArg::parse("oracle.a=1").unwrap();
        let error = check_connargs(&[arg], &[database(Engine::Mysql)]).unwrap_err();
        assert!(format!("{error:#}").contains("it has: mysql"));
    }
}
