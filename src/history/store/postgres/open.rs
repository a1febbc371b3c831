//! How the tables come to be, and up to date: in a schema of their own, step by step, by whoever is first.

use std::pin::pin;

use anyhow::{Context, anyhow};
use futures::TryStreamExt;
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::failure::Advise;
use crate::history::store::schema::MIGRATIONS;

/// Whoever makes tables holds this lock: `testbed` in ASCII.
const LOCK: i64 = 0x0074_6573_7462_6564;

/// Both ask the catalogs themselves: a function such as `to_regclass` may tell, out of a session's cache,
/// what was so before the lock was there.
const HAS_VERSION: &str =
    "SELECT count(*) > 0 FROM pg_catalog.pg_tables WHERE schemaname = 'testbed' AND tablename = 'version'";
const HAS_SCHEMA: &str = "SELECT count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = 'testbed'";

/// Brings the tables up to date. Where there are none, and `makes` does not ask for them: `false`.
pub(super) async fn prepare(client: &Client, name: &str, makes: bool) -> anyhow::Result<bool> {
    let version = version(client, name).await?;
    if version == 0 && !makes {
        return Ok(false);
    }
    if version < MIGRATIONS.len() {
        migrate(client, name).await?;
    }
    Ok(true)
}

/// How many migrations the tables have seen.
async fn version(client: &Client, name: &str) -> anyhow::Result<usize> {
    if !is_there_a(client, HAS_VERSION).await? {
        return Ok(0);
    }
    let version: Option<i64> =
        first(client, "SELECT max(version) FROM testbed.version", "version").await?.flatten();
    let version =
        usize::try_from(version.unwrap_or_default()).context("reading the version of the tables")?;
    if version > MIGRATIONS.len() {
        let error = anyhow!(
            "{name}: the tables are of version {version}, and this testbed knows none after {}",
            MIGRATIONS.len()
        );
        return Err(error).hint("a newer testbed has made them: use that one, or another database");
    }
    Ok(version)
}

async fn is_there_a(client: &Client, question: &str) -> anyhow::Result<bool> {
    Ok(first(client, question, "there are tables").await?.unwrap_or_default())
}

/// The one value of an answer, if there is one. Nothing after it is kept: a server may send rows without end.
async fn first<T: for<'a> FromSql<'a>>(
    client: &Client,
    question: &str,
    what: &str,
) -> anyhow::Result<Option<T>> {
    let mut rows = pin!(client.query_typed_raw(question, Vec::<(&(dyn ToSql + Sync), Type)>::new()).await?);
    let Some(row) = rows.try_next().await? else { return Ok(None) };
    let value = row
        .try_get(0)
        .ok()
        .with_context(|| format!("the answer to a question ({what}) is of another type"))?;
    while rows.try_next().await?.is_some() {}
    Ok(Some(value))
}

/// All in one transaction: a crash leaves what was there before.
async fn migrate(client: &Client, name: &str) -> anyhow::Result<()> {
    client.batch_execute("BEGIN").await?;
    client.execute_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    let seen = version(client, name).await?;
    // Somebody who may not make a schema can have been given one.
    if !is_there_a(client, HAS_SCHEMA).await? {
        client.batch_execute("CREATE SCHEMA testbed").await?;
    }
    client.batch_execute("CREATE TABLE IF NOT EXISTS testbed.version (version bigint NOT NULL)").await?;
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(seen) {
        client.batch_execute(migration).await?;
        client.batch_execute(&format!("INSERT INTO testbed.version VALUES ({})", index + 1)).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}
