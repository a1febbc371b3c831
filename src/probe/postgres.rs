//! PostgreSQL: a login, the server's uptime, and its process id where the user may read the server's files.

use std::pin::pin;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::{Answer, NotYet, Target, innermost};
use crate::database::Login;

/// Present since 8.1.
const UPTIME: &str = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8";
/// The first line is the process id of the server's main process. Needs a superuser or `pg_read_server_files`.
const PROCESS_ID: &str = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";

/// One login, and what the server says of itself.
pub async fn ask(target: &Target, login: &Login) -> Result<Answer, NotYet> {
    let mut config = Config::new();
    config.host(&target.host).port(target.port).user(&login.user).application_name("testbed");
    config.password(login.password.reveal());
    config.dbname(login.database.as_deref().unwrap_or(&login.user));
    let (client, connection) = config.connect(NoTls).await.map_err(|error| explain(&error))?;
    // The connection works only while it is polled, and ends by itself once the client is gone.
    let mut connection = pin!(connection);
    let answer = tokio::select! {
        answer = questions(&client) => answer,
        ended = &mut connection => return Err(ended.err().map_or_else(|| "the connection was closed".into(), |error| explain(&error))),
    };
    // A proper goodbye, so that the server's log stays clean.
    drop(client);
    let _ = connection.await;
    answer
}

async fn questions(client: &Client) -> Result<Answer, NotYet> {
    let row = client.query_one(UPTIME, &[]).await.map_err(|error| explain(&error))?;
    let uptime = Duration::try_from_secs_f64(row.get::<_, f64>(0)).unwrap_or_default();
    Ok(Answer { process_id: process_id(client).await, uptime })
}

async fn process_id(client: &Client) -> Option<u32> {
    let row = client.query_one(PROCESS_ID, &[]).await.ok()?;
    row.get::<_, Option<String>>(0)?.trim().parse().ok()
}

fn explain(error: &tokio_postgres::Error) -> NotYet {
    match error.as_db_error() {
        Some(db) if *db.code() == SqlState::CANNOT_CONNECT_NOW => "the server is starting up".into(),
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => innermost(error),
    }
}
