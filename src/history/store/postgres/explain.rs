//! What an error of the server's or of the way there means, in words that name the server and what to do.

use anyhow::anyhow;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::failure::{Advise, innermost};

/// Says which server it is and what helps, where the server or the way there is at fault.
pub(super) fn explain<T>(error: anyhow::Error, name: &str) -> anyhow::Result<T> {
    match error.downcast_ref::<Error>() {
        None => Err(error),
        Some(error) => match error.as_db_error() {
            Some(answer) => of_the_server(answer, name),
            None => of_the_way(error, name),
        },
    }
}

/// Whether a connection has failed because of TLS. The driver has no other sign of it.
pub(super) fn is_about_tls(error: &Error) -> bool {
    error.to_string().contains("performing TLS handshake")
}

fn of_the_way<T>(error: &Error, name: &str) -> anyhow::Result<T> {
    let why = innermost(error);
    if is_about_tls(error) {
        return Err(anyhow!("no TLS connection to {name}: {why}"))
            .hint("the URL's sslmode and sslrootcert say what is asked of its certificate");
    }
    if error.is_closed() {
        return Err(anyhow!("{name} has closed the connection")).hint("its log tells why");
    }
    Err(anyhow!("no connection to {name}: {why}"))
        .hint("is it the right address, and may this machine connect to it?")
}

const PASSWORD: &str = "the password is that of the URL, else of PGPASSWORD, else of PGPASSFILE or ~/.pgpass";
const HINTS: [(SqlState, &str); 8] = [
    (SqlState::INVALID_PASSWORD, PASSWORD),
    (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, PASSWORD),
    (SqlState::INVALID_CATALOG_NAME, "testbed makes tables, but no database: createdb makes one"),
    (
        SqlState::INSUFFICIENT_PRIVILEGE,
        "the user has to own the schema testbed: CREATE SCHEMA testbed AUTHORIZATION its name, as a superuser",
    ),
    (SqlState::TOO_MANY_CONNECTIONS, "raise the server's max_connections, or put a pooler in front of it"),
    (SqlState::DISK_FULL, "`testbed history prune --older-than 30d` makes room"),
    (SqlState::READ_ONLY_SQL_TRANSACTION, "the server only reads: name the one that it follows"),
    (SqlState::LOCK_NOT_AVAILABLE, "somebody else holds a lock: pg_stat_activity shows who"),
];
fn of_the_server<T>(answer: &DbError, name: &str) -> anyhow::Result<T> {
    let error = Err(anyhow!("{name}: {}", answer.message()));
    match HINTS.iter().find(|(code, _)| code == answer.code()) {
        Some((_, hint)) => error.hint(*hint),
        None => error,
    }
}
