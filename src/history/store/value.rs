//! What goes into a statement and comes out of it, in the same form for both databases.

use anyhow::{Context, bail};

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A text, without NUL: PostgreSQL has none in its texts.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Bytes.
    Bytes(Vec<u8>),
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

/// A statement in PostgreSQL's words, with its values: `$1` is the first one. Each value stands in it once, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The text; it holds no data.
    pub sql: String,
    /// The values.
    pub values: Vec<Value>,
}

impl Statement {
    /// From a text and the values for it.
    pub fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }
}

/// What a query has found in one row.
#[derive(Debug)]
pub struct Row(pub Vec<Value>);

impl Row {
    fn take(&mut self, column: usize) -> anyhow::Result<Value> {
        let value = self.0.get_mut(column).with_context(|| format!("the answer has no column {column}"))?;
        Ok(std::mem::replace(value, Value::Null))
    }

    /// A text, or nothing.
    ///
    /// # Errors
    /// When something else is there: the tables are not those that this program has made.
    pub fn text_or_none(&mut self, column: usize) -> anyhow::Result<Option<String>> {
        match self.take(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => bail!("column {column} holds {} and no text", other.kind()),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// When something else is there.
    pub fn text(&mut self, column: usize) -> anyhow::Result<String> {
        self.text_or_none(column)?.with_context(|| format!("column {column} is empty"))
    }

    /// A number, or nothing.
    ///
    /// # Errors
    /// When something else is there.
    pub fn number_or_none(&mut self, column: usize) -> anyhow::Result<Option<i64>> {
        match self.take(column)? {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(Some(number)),
            other => bail!("column {column} holds {} and no number", other.kind()),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// When something else is there.
    pub fn number(&mut self, column: usize) -> anyhow::Result<i64> {
        self.number_or_none(column)?.with_context(|| format!("column {column} is empty"))
    }

    /// Bytes, or nothing.
    ///
    /// # Errors
    /// When something else is there.
    pub fn bytes_or_none(&mut self, column: usize) -> anyhow::Result<Option<Vec<u8>>> {
        match self.take(column)? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            other => bail!("column {column} holds {} and no bytes", other.kind()),
        }
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Bytes(_) => "bytes",
        }
    }
}
