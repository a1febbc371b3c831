//! How much space the tables take, and how it is given back.
//!
//! `VACUUM` makes the place of what was deleted fit for new rows, which is all that a store needs that is
//! pruned every day. `VACUUM FULL` gives it back to the file system by writing the table anew, and keeps
//! everybody away from it meanwhile: that is done where it is worth it, and where little is left to write.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Postgres, ask};
use crate::history::store::value::{Statement, number};

/// The tables, and what a row of them takes, indexes left out. The columns of a story and a log are outside
/// the row, where they may be large, and a sum over the rows themselves would fetch them.
const TABLES: [(&str, &str); 4] = [
    ("runs", "pg_column_size(t)"),
    ("engines", "pg_column_size(t)"),
    ("stories", "pg_column_size(t.story) + coalesce(pg_column_size(t.details), 0) + 64"),
    ("logs", "pg_column_size(t.info) + pg_column_size(t.gzip) + 128"),
];

/// The most that is written anew, in bytes: a matter of seconds.
const LITTLE: i64 = 1 << 30;
/// The least, in bytes, for which it is worth while.
const MUCH: i64 = 1 << 20;

/// How long all of it may take: a matter of minutes where there is very much, and a server that says nothing
/// is not waited for without an end.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// How long to wait for a table that somebody works with. Whoever comes later waits as well meanwhile.
const WAIT: &str = "SET lock_timeout = '2s'";

impl Postgres {
    /// In bytes, indexes included.
    pub(in crate::history::store) async fn size(&self) -> anyhow::Result<u64> {
        let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
                   WHERE c.relnamespace = to_regnamespace('testbed') AND c.relkind = 'r'";
        Ok(number(self.read(&Statement::new(sql, Vec::new())).await?)?.try_into()?)
    }

    /// Gives the space of what was deleted back, as far as that keeps nobody waiting for long.
    pub(in crate::history::store) async fn give_back(&self) -> anyhow::Result<()> {
        // A connection with a setting of its own is not used again.
        let lent = self.server.client().await?;
        let client = &lent.client;
        let work = async {
            client.batch_execute(WAIT).await?;
            for (table, _) in TABLES {
                vacuum(client, &format!("VACUUM (ANALYZE) testbed.{table}")).await?;
            }
            for (table, row) in TABLES {
                if is_worth_it(client, table, row).await? {
                    vacuum(client, &format!("VACUUM (FULL, ANALYZE) testbed.{table}")).await?;
                }
            }
            Ok(())
        };
        self.server.within(TIMEOUT, work).await
    }
}

/// Whether more than half of a table is empty, and what is not is little.
async fn is_worth_it(client: &Client, table: &str, row: &str) -> anyhow::Result<bool> {
    let sql = format!("SELECT pg_table_size('testbed.{table}')");
    let size = number(ask(client, &Statement::new(sql, Vec::new())).await?)?;
    if size < MUCH {
        return Ok(false);
    }
    let sql = format!("SELECT coalesce(sum({row}), 0)::bigint FROM testbed.{table} t");
    let used = number(ask(client, &Statement::new(sql, Vec::new())).await?)?;
    // Pages are never quite full.
    Ok(used < LITTLE && used + used / 8 < size / 2)
}

/// Somebody else may be at it, and this user may not be the one who may do it: neither is a reason to fail.
async fn vacuum(client: &Client, sql: &str) -> anyhow::Result<()> {
    match client.batch_execute(sql).await {
        Err(error)
            if [Some(&SqlState::LOCK_NOT_AVAILABLE), Some(&SqlState::INSUFFICIENT_PRIVILEGE)]
                .contains(&error.code()) =>
        {
            Ok(())
        }
        other => Ok(other?),
    }
}
