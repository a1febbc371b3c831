//! PostgreSQL: one database that many pipelines write to at once.

mod address;
mod connection;
mod explain;
mod open;
mod password;
mod space;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::TryStreamExt;
use futures::future::try_join_all;
use sha2::{Digest, Sha256};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row as Found};
use url::Url;

use self::address::Address;
use self::connection::Server;
use super::value::{MOST, Row, Statement, Value, number};

/// How long the server may take for a question, or for all that is written at once.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A write begins like this. Whoever waits for a lock gives up at some time, and whoever stands still gives
/// his locks back. What was committed is on the disk, also where the server is set up for speed, as those are
/// that testbed itself starts.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = '60s'; \
                     SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";

/// A database. Clones share a connection, which they use one after the other: a server has not many of them.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    server: Arc<Server>,
}

pub(super) fn check(url: &Url) -> anyhow::Result<()> {
    Address::new(url).map(drop)
}

/// Its errors name the server, what is wrong with it, and what to do; never a password.
impl Postgres {
    /// Brings the tables up to date; `None` where nothing was ever written, unless `makes` says to make them.
    pub(super) async fn open(url: &Url, name: String, makes: bool) -> anyhow::Result<Option<Self>> {
        let server = Arc::new(Server::new(url, name)?);
        let lent = server.client().await?;
        if !server.within(TIMEOUT, open::prepare(&lent.client, &server.name, makes)).await? {
            return Ok(None);
        }
        lent.give_back();
        Ok(Some(Self { server }))
    }

    pub(super) async fn read(&self, statement: &Statement) -> anyhow::Result<Vec<Row>> {
        let lent = self.server.client().await?;
        let rows = self.server.within(TIMEOUT, ask(&lent.client, statement)).await?;
        lent.give_back();
        Ok(rows)
    }

    /// Deletes and counts the runs that a question finds, but for those that somebody writes.
    pub(super) async fn delete(&self, which: &Statement) -> anyhow::Result<u64> {
        // The question is asked once for each step, whatever plan the server makes.
        let sql =
            format!("DELETE FROM testbed.runs WHERE id = ANY (ARRAY({} FOR UPDATE SKIP LOCKED))", which.sql);
        let step = Statement::new(sql, which.values.clone());
        let lent = self.server.client().await?;
        // A server that goes on for ever to say that there was something is not believed.
        let sql = "SELECT count(*) FROM testbed.runs";
        let there =
            number(self.server.within(TIMEOUT, ask(&lent.client, &Statement::new(sql, Vec::new()))).await?)?;
        let there = u64::try_from(there).unwrap_or_default();
        let mut all = 0_u64;
        while all < there {
            let work = async { Ok(lent.client.execute_typed(&step.sql, &typed(&step)).await?) };
            match self.server.within(TIMEOUT, work).await? {
                0 => break,
                count => all = all.saturating_add(count),
            }
        }
        lent.give_back();
        Ok(all)
    }

    /// Asks questions and then does what follows from the answers, while nobody else writes the record with
    /// that id. Whether there was anything to do. Where it fails, also by what `then` says, nothing is
    /// written.
    pub(super) async fn write<F>(&self, id: &str, questions: Vec<Statement>, then: F) -> anyhow::Result<bool>
    where
        F: FnOnce(Vec<Vec<Row>>) -> anyhow::Result<Vec<Statement>> + Send,
    {
        let lent = self.server.client().await?;
        let client = &lent.client;
        // Whatever fails: the connection is dropped then, and with it goes what was not committed.
        let work = async {
            client.batch_execute(BEGIN).await?;
            let locks = lock(id);
            // Sent in one go, done one after the other.
            let mut answers =
                try_join_all(locks.iter().chain(&questions).map(|question| ask(client, question))).await?;
            let statements = then(answers.split_off(locks.len()))?;
            try_join_all(statements.iter().map(|statement| ask(client, statement))).await?;
            client.batch_execute("COMMIT").await?;
            Ok(!statements.is_empty())
        };
        let has_written = self.server.within(TIMEOUT, work).await?;
        lent.give_back();
        Ok(has_written)
    }
}

/// Keeps others away from a record, also from one that is not there yet, and keeps `prune` away from its row.
fn lock(id: &str) -> [Statement; 2] {
    let mut key = [0; 8];
    key.copy_from_slice(&Sha256::digest(id)[..8]);
    [
        Statement::new("SELECT pg_advisory_xact_lock($1)", vec![i64::from_be_bytes(key).into()]),
        Statement::new("SELECT id FROM testbed.runs WHERE id = $1 FOR UPDATE", vec![id.into()]),
    ]
}

/// Asks without a prepared statement: a pooler between testbed and the server may give the next question to
/// another session. Row by row: an answer may be without end.
async fn ask(client: &Client, statement: &Statement) -> anyhow::Result<Vec<Row>> {
    let mut found = pin!(client.query_typed_raw(&statement.sql, typed(statement)).await?);
    let (mut rows, mut room, mut names) = (Vec::new(), MOST, None);
    while let Some(row) = found.try_next().await? {
        let size = row.raw_size_bytes() + size_of::<Row>() + row.len() * size_of::<Value>();
        room =
            room.checked_sub(size).with_context(|| format!("an answer has more than {} MiB", MOST >> 20))?;
        let names = names.get_or_insert_with(|| {
            row.columns().iter().map(|column| column.name().to_owned()).collect::<Arc<[String]>>()
        });
        rows.push(Row::new(
            row.columns()
                .iter()
                .enumerate()
                .map(|(index, column)| value(&row, index, column.type_()))
                .collect(),
            names,
        ));
    }
    Ok(rows)
}

fn typed(statement: &Statement) -> Vec<(&(dyn ToSql + Sync), Type)> {
    let typed = statement.values.iter().map(|value| -> (&(dyn ToSql + Sync), Type) {
        match value {
            // Of the type of the column that it goes to.
            Value::Null | Value::Other(_) => (&None::<&str>, Type::UNKNOWN),
            Value::Text(text) => (text, Type::TEXT),
            Value::Number(number) => (number, Type::INT8),
            Value::Bytes(bytes) => (bytes, Type::BYTEA),
        }
    });
    typed.collect()
}

fn value(found: &Found, index: usize, kind: &Type) -> Value {
    let read = match *kind {
        Type::TEXT => {
            found.try_get::<_, Option<String>>(index).map(|text| text.map_or(Value::Null, Value::Text))
        }
        Type::INT8 => found.try_get::<_, Option<i64>>(index).map(Into::into),
        Type::BYTEA => found.try_get::<_, Option<Vec<u8>>>(index).map(Into::into),
        // A lock's answer.
        Type::VOID => return Value::Null,
        _ => return Value::Other(format!("a value of the type {}", kind.name())),
    };
    read.unwrap_or_else(|_| Value::Other(format!("what is no {}", kind.name())))
}
