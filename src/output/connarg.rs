//! `--connarg`: what the user adds to the connection arguments of a database.

use serde_json::Value;

use crate::database::Database;
use crate::failure::usage;

/// One `--connarg [DATABASE.]KEY=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnArg {
    /// The database's name or its engine's; `None` for all servers.
    scope: Option<String>,
    key: String,
    value: Value,
}

impl ConnArg {
    /// Reads `create_database=true` or `mysql.charset="utf8"`. The value is JSON where it parses as JSON,
    /// else a text.
    ///
    /// # Errors
    /// A usage error when there is no `=` or no key.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| usage(format!("--connarg {text}: write [DATABASE.]KEY=VALUE")))?;
        let (scope, key) =
            key.split_once('.').map_or((None, key), |(scope, key)| (Some(scope.to_owned()), key));
        if key.is_empty() || scope.as_deref() == Some("") {
            return Err(usage(format!("--connarg {text}: write [DATABASE.]KEY=VALUE")));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        Ok(Self { scope, key: key.into(), value })
    }

    /// Whether the argument goes to this database.
    pub fn is_for(&self, database: &Database) -> bool {
        self.scope.as_deref().is_none_or(|scope| scope == database.name || scope == database.engine.name())
    }

    /// The argument as a pair.
    pub fn pair(&self) -> (String, Value) {
        (self.key.clone(), self.value.clone())
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
            let (key, scope) = (&arg.key, arg.scope.as_deref());
            Err(usage(match scope.filter(|_| !known.is_empty()) {
                Some(name) => format!(
                    "--connarg {name}.{key}: the run has no database {name:?}; it has: {}",
                    known.join(", ")
                ),
                None => {
                    let written = scope.map_or_else(|| key.clone(), |name| format!("{name}.{key}"));
                    format!(
                        "--connarg {written}: the run has no database server, and only those take connection arguments"
                    )
                }
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::database;
    use super::*;
    use crate::database::Engine;

    #[test]
    fn a_connarg_for_nobody_is_refused() {
        for text in ["novalue", "=1", ".a=1"] {
            assert!(ConnArg::parse(text).is_err(), "{text}");
        }
        let arg = ConnArg::parse("oracle.a=1").unwrap();
        let error = check_connargs(&[arg], &[database(Engine::Mysql)]).unwrap_err();
        assert!(format!("{error:#}").contains("it has: mysql"));
        // SQLite's files are none of the databases here.
        for text in ["one.timeout=5", "timeout=5"] {
            let error = check_connargs(&[ConnArg::parse(text).unwrap()], &[]).unwrap_err();
            let said = format!("--connarg {}: the run has no database server", text.trim_end_matches("=5"));
            assert!(format!("{error:#}").contains(&said), "{error:#}");
        }
    }
}
