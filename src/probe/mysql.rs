//! MySQL and MariaDB: a login, the server's uptime, and its process id where the user may see it.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use super::{Answer, NotYet, Target, innermost};
use crate::database::{Engine, Login};

/// MySQL 5.7 and later: the operating system's id of the main thread is the process id inside the container.
const MYSQL_PROCESS_ID: &str = "SELECT THREAD_OS_ID FROM performance_schema.threads WHERE NAME = 'thread/sql/main'";
/// MariaDB has its performance_schema off by default; with the FILE privilege the server reads its own process's state for us. The
/// first word of the line is the process id.
const MARIADB_PROCESS_ID: [&str; 2] = [
    "CREATE TEMPORARY TABLE testbed_process (stat TEXT)",
    "LOAD DATA INFILE '/proc/self/stat' INTO TABLE testbed_process FIELDS TERMINATED BY '\\n' (stat)",
];

/// One login, and what the server says of itself.
pub async fn ask(target: &Target, login: &Login) -> Result<Answer, NotYet> {
    let options = OptsBuilder::default()
        .ip_or_hostname(target.host.clone())
        .tcp_port(target.port)
        .user(Some(login.user.clone()))
        .pass(Some(login.password.reveal()))
        .db_name(login.database.clone())
        // Known values save the driver a query of its own at each login.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60))
        .prefer_socket(false);
    let mut connection = Conn::new(options).await.map_err(|error| explain(&error))?;
    let uptime: Option<(String, u64)> =
        connection.query_first("SHOW GLOBAL STATUS LIKE 'Uptime'").await.map_err(|error| explain(&error))?;
    let process_id = match target.engine {
        Engine::Mariadb => mariadb_process_id(&mut connection, login).await,
        _ => connection.query_first::<u32, _>(MYSQL_PROCESS_ID).await.ok().flatten(),
    };
    // A proper goodbye: the server counts connections that just vanish against the client's host.
    let _ = connection.disconnect().await;
    let (_, seconds) = uptime.ok_or_else(|| NotYet::from("the server does not tell its uptime"))?;
    Ok(Answer { process_id, uptime: Duration::from_secs(seconds) })
}

async fn mariadb_process_id(connection: &mut Conn, login: &Login) -> Option<u32> {
    if login.database.is_none() {
        // A temporary table needs a database to be in; only this session ever sees it.
        connection.query_drop("USE mysql").await.ok()?;
    }
    for query in MARIADB_PROCESS_ID {
        connection.query_drop(query).await.ok()?;
    }
    let line: String = connection.query_first("SELECT stat FROM testbed_process").await.ok()??;
    line.split_whitespace().next()?.parse().ok()
}

fn explain(error: &mysql_async::Error) -> NotYet {
    match error {
        mysql_async::Error::Server(server) => format!("{} (error {})", server.message, server.code),
        mysql_async::Error::Driver(mysql_async::DriverError::ConnectionClosed) => "the server closed the connection".into(),
        _ => innermost(error),
    }
}
