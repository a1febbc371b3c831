//! What goes into a statement and comes out of it, in the same form for both databases.

use std::sync::Arc;

use anyhow::{Context, bail};

/// The most that one question is answered with, in bytes.
pub(super) const MOST: usize = 128 << 20;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    /// A text, without NUL: PostgreSQL has none in its texts.
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
    /// What no table of testbed's holds, in words: a value of another type, bytes that are no text.
    Other(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.replace('\0', "\u{fffd}"))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// In PostgreSQL's words, with its values: `$1` is the first one. Each stands in it once, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    /// The text; it holds no data.
    pub sql: String,
    pub values: Vec<Value>,
}

impl Statement {
    pub(super) fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }
}

#[derive(Debug)]
pub(super) struct Row {
    values: Vec<Value>,
    names: Arc<[String]>,
}

impl Row {
    /// The values and the names of their columns.
    pub(super) fn new(values: Vec<Value>, names: &Arc<[String]>) -> Self {
        Self { values, names: Arc::clone(names) }
    }

    fn take(&mut self, column: usize) -> anyhow::Result<Value> {
        let value = self
            .values
            .get_mut(column)
            .with_context(|| format!("the answer has no column {}", column + 1))?;
        Ok(std::mem::replace(value, Value::Null))
    }

    fn name(&self, column: usize) -> &str {
        self.names.get(column).map_or("", String::as_str)
    }

    pub(super) fn text_or_none(&mut self, column: usize) -> anyhow::Result<Option<String>> {
        match self.take(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => bail!("the column {} holds {} and no text", self.name(column), other.kind()),
        }
    }

    pub(super) fn text(&mut self, column: usize) -> anyhow::Result<String> {
        self.text_or_none(column)?.with_context(|| format!("the column {} is empty", self.name(column)))
    }

    pub(super) fn number_or_none(&mut self, column: usize) -> anyhow::Result<Option<i64>> {
        match self.take(column)? {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(Some(number)),
            other => bail!("the column {} holds {} and no number", self.name(column), other.kind()),
        }
    }

    pub(super) fn number(&mut self, column: usize) -> anyhow::Result<i64> {
        self.number_or_none(column)?.with_context(|| format!("the column {} is empty", self.name(column)))
    }

    pub(super) fn bytes_or_none(&mut self, column: usize) -> anyhow::Result<Option<Vec<u8>>> {
        match self.take(column)? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            other => bail!("the column {} holds {} and no bytes", self.name(column), other.kind()),
        }
    }
}

/// The number that an answer of one row begins with; none is 0.
pub(super) fn number(rows: Vec<Row>) -> anyhow::Result<i64> {
    Ok(rows.into_iter().next().map(|mut row| row.number(0)).transpose()?.unwrap_or_default())
}

impl Value {
    /// In bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Other(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Null | Self::Number(_) => size_of::<i64>(),
        }
    }

    fn kind(&self) -> &str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Bytes(_) => "bytes",
            Self::Other(what) => what,
        }
    }
}
