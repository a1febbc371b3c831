//! The default format: a JSON list of `[driver, connection arguments]`, one entry a line.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Model;

/// The text of the file. The arguments are those of Python's drivers; see
/// [`Connection::arguments`](super::Connection::arguments).
pub(super) fn testing_databases(model: &Model) -> anyhow::Result<String> {
    let entries =
        model.databases.iter().map(|connection| line(&json!([connection.driver, connection.arguments])));
    let lines: Vec<String> = entries.collect::<Result<_, _>>()?;
    Ok(if lines.is_empty() { "[]\n".into() } else { format!("[\n  {}\n]\n", lines.join(",\n  ")) })
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
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed};
    use super::*;
    use crate::database::Engine;
    use crate::run_id::RunId;

    #[test]
    fn the_file_is_a_list_of_driver_and_arguments() {
        let (mysql, postgres) = (database(Engine::Mysql), database(Engine::Postgres));
        let expected = r#"[
  ["sqlite", {"database": ":memory:"}],
  ["mysql", {"user": "striv", "password": "p\"w", "host": "mysql-run-1", "port": 3306, "database": "striv_test"}],
  ["postgres", {"user": "striv", "password": "p\"w", "host": "postgres-run-1", "port": 5432, "dbname": "striv_test"}]
]
"#;
        assert_eq!(testing_databases(&mixed(&[&mysql, &postgres])).unwrap(), expected);
        let empty = Model::new(&RunId::parse("run-1").unwrap(), &[], &[], None);
        assert_eq!(testing_databases(&empty).unwrap(), "[]\n");
    }
}
