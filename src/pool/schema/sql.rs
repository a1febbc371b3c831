//! How statements are sent and answers read: a name in any text, an answer in whatever bytes.

use anyhow::{Context, anyhow};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row, Value};

/// Numbers of errors, named as in the servers' references without their `ER_`.
pub(super) const NO_SUCH_THREAD: u16 = 1094;
pub(super) const NO_SUCH_TABLE: u16 = 1146;
pub(super) const LOCK_WAIT_TIMEOUT: u16 = 1205;
pub(super) const SP_DOES_NOT_EXIST: u16 = 1305;
pub(super) const VIEW_INVALID: u16 = 1356;

/// One row of an answer.
pub(super) struct Values(Vec<Value>);

impl Values {
    /// A value as the server has sent it.
    pub(super) fn bytes(&self, index: usize) -> anyhow::Result<&[u8]> {
        match self.0.get(index) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            Some(Value::NULL) => Err(anyhow!("the server does not tell it: this login may not see all")),
            _ => Err(anyhow!("the server's answer has another form")),
        }
    }

    pub(super) fn text(&self, index: usize) -> anyhow::Result<String> {
        String::from_utf8(self.bytes(index)?.to_vec()).context("the server's answer is no text")
    }

    /// The same, and nothing where there is nothing.
    pub(super) fn text_if_any(&self, index: usize) -> anyhow::Result<String> {
        match self.0.get(index) {
            Some(Value::NULL) => Ok(String::new()),
            _ => self.text(index),
        }
    }

    pub(super) fn number(&self, index: usize) -> anyhow::Result<u64> {
        self.text(index)?.parse().context("the server's answer is no number")
    }
}

/// All rows of an answer, which the relay bounds.
pub(super) async fn rows(session: &mut Conn, sql: &str) -> anyhow::Result<Vec<Values>> {
    let rows: Vec<Row> = session.query(sql).await.map_err(|error| explain(&error))?;
    Ok(rows.into_iter().map(|row| Values(row.unwrap())).collect())
}

/// The first row, which there has to be.
pub(super) async fn row(session: &mut Conn, sql: &str) -> anyhow::Result<Values> {
    rows(session, sql).await?.into_iter().next().context("the server's answer is empty")
}

pub(super) async fn run(session: &mut Conn, sql: impl AsRef<[u8]>) -> anyhow::Result<()> {
    session.query_drop(sql.as_ref()).await.map_err(|error| explain(&error))
}

/// The number of what the server has refused with.
pub(super) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Server(said) => Some(said.code),
        _ => None,
    }
}

/// What the server has said, without the driver's own words around it.
pub(super) fn explain(error: &Error) -> anyhow::Error {
    match error {
        Error::Server(said) => anyhow!("{}", said.message),
        other => anyhow!("{}", crate::failure::innermost(other)),
    }
}

pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A database's name where `_` and `%` would stand for others.
pub(super) fn pattern(name: &str) -> String {
    name.replace('_', "\\_").replace('%', "\\%")
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0"))
}
