//! SQLite: a file that many processes may write to at once. All work is done on threads that may block.

mod explain;
mod open;
mod space;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior, params_from_iter};

pub use explain::NO_SPACE;

use crate::background;

use super::schema::for_sqlite;
use super::value::{MOST, Row, Statement, Value};

/// How long the end of a command may wait for the file to be closed.
const CLOSING: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(super) struct Sqlite {
    path: PathBuf,
    connection: Arc<Connected>,
}

#[derive(Debug)]
struct Connected(Mutex<Option<Connection>>);

/// To close the file is to bring what is in its write-ahead log home, and may take as long as the disk likes:
/// whoever is the last to use it does not wait for that. What is cut short is done by whoever opens the file
/// next.
impl Drop for Connected {
    fn drop(&mut self) {
        let connection = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let (is_closed, closed) = mpsc::channel::<()>();
        // Without a thread it is closed right here.
        let _ = std::thread::Builder::new().spawn(move || {
            drop(connection);
            drop(is_closed);
        });
        let _ = closed.recv_timeout(CLOSING);
    }
}

/// Its errors name the file, what is wrong with it, and what to do.
impl Sqlite {
    /// Brings the tables up to date; `None` where nothing was ever written, unless `makes` says to make them.
    pub(super) async fn open(path: &Path, makes: bool) -> anyhow::Result<Option<Self>> {
        let connection = blocking(path, move |path| open::open(path, makes)).await?;
        let connected = |connection| Self {
            path: path.to_owned(),
            connection: Arc::new(Connected(Mutex::new(Some(connection)))),
        };
        Ok(connection.map(connected))
    }

    pub(super) async fn read(&self, statement: Statement) -> anyhow::Result<Vec<Row>> {
        self.with(move |connection| ask(connection, &statement)).await
    }

    /// Asks questions and then does what follows from the answers, while nobody else writes. Whether there
    /// was anything to do. Where it fails, also by what `then` says, nothing is written.
    pub(super) async fn write<F>(&self, questions: Vec<Statement>, then: F) -> anyhow::Result<bool>
    where
        F: FnOnce(Vec<Vec<Row>>) -> anyhow::Result<Vec<Statement>> + Send + 'static,
    {
        self.with(move |connection| {
            let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
            let answers = questions
                .iter()
                .map(|question| ask(&transaction, question))
                .collect::<anyhow::Result<_>>()?;
            let statements = then(answers)?;
            for statement in &statements {
                run(&transaction, statement)?;
            }
            transaction.commit()?;
            Ok(!statements.is_empty())
        })
        .await
    }

    /// Deletes the runs that a question finds, until it finds none. How many they were.
    pub(super) async fn delete(&self, which: &Statement) -> anyhow::Result<u64> {
        let step = Statement::new(
            format!("DELETE FROM testbed.runs WHERE id IN ({})", which.sql),
            which.values.clone(),
        );
        self.with(move |connection| {
            let mut all = 0;
            space::in_steps(|| {
                let count = run(connection, &step)?;
                all += count as u64;
                Ok(count > 0)
            })?;
            Ok(all)
        })
        .await
    }

    pub(super) async fn size(&self) -> anyhow::Result<u64> {
        blocking(&self.path, |path| Ok(space::size(path))).await
    }

    pub(super) async fn give_back(&self) -> anyhow::Result<()> {
        self.with(|connection| space::give_back(connection)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let connection = Arc::clone(&self.connection);
        let work = move |_: &Path| {
            // What a panic has left behind was rolled back.
            let mut connection = connection.0.lock().unwrap_or_else(PoisonError::into_inner);
            work(connection.as_mut().context("the file is closed")?)
        };
        blocking(&self.path, work).await
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let path = path.to_owned();
    let work = move || work(&path).map_err(|error| explain::explain(error, &path));
    background::run(work).await?
}

fn ask(connection: &Connection, statement: &Statement) -> anyhow::Result<Vec<Row>> {
    let mut prepared = connection.prepare(&for_sqlite(&statement.sql))?;
    let names: Arc<[String]> = prepared.column_names().map(str::to_owned).collect();
    let mut found = prepared.query(params_from_iter(&statement.values))?;
    let (mut rows, mut room) = (Vec::new(), MOST);
    while let Some(row) = found.next()? {
        let values: Vec<Value> = (0..names.len())
            .map(|column| Ok(value(row.get_ref(column)?)))
            .collect::<rusqlite::Result<_>>()?;
        let size = values.iter().map(Value::size).sum();
        room =
            room.checked_sub(size).with_context(|| format!("an answer has more than {} MiB", MOST >> 20))?;
        rows.push(Row::new(values, &names));
    }
    Ok(rows)
}

/// Does one statement, and tells how many rows it has changed.
fn run(connection: &Connection, statement: &Statement) -> rusqlite::Result<usize> {
    connection.execute(&for_sqlite(&statement.sql), params_from_iter(&statement.values))
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Number(number),
        ValueRef::Real(_) => Value::Other("a fraction".into()),
        ValueRef::Text(text) => match str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Other("bytes that are no text".into()),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null | Self::Other(_) => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
