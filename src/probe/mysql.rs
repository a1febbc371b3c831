//! MySQL and MariaDB: a login, the server's uptime, and its process id where the user may see it.

use std::net::IpAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, IoError, OptsBuilder, SslOpts};

use super::refusal::{Kind, Refusal};
use super::{Answer, Target};
use crate::database::{Engine, Login};

/// MySQL 5.7 and later: the operating system's id of the main thread is the process id inside the container.
const MYSQL_PROCESS_ID: &str = "SELECT THREAD_OS_ID FROM performance_schema.threads WHERE NAME = 'thread/sql/main'";

/// One login at one of the host's addresses, and what the server says of itself.
pub async fn ask(target: &Target, address: IpAddr, login: &Login, over_tls: bool) -> Result<Answer, Refusal> {
    let tls = SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
    let options = OptsBuilder::default()
        .ip_or_hostname(target.host.clone())
        .resolved_ips(Some(vec![address]))
        .tcp_port(target.port)
        .user(Some(login.user.clone()))
        .pass(Some(login.password.reveal()))
        .db_name(login.database.clone())
        .ssl_opts(over_tls.then_some(tls))
        // Known values save the driver a query of its own at each login.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60))
        .prefer_socket(false);
    let mut connection = Conn::new(options).await.map_err(|error| explain(&error))?;
    let answer = questions(&mut connection, target.engine, login).await;
    // A proper goodbye: the server counts connections that just vanish against the client's host.
    let _ = connection.disconnect().await;
    answer
}

async fn questions(connection: &mut Conn, engine: Engine, login: &Login) -> Result<Answer, Refusal> {
    let uptime = connection.query_first::<(String, u64), _>("SHOW GLOBAL STATUS LIKE 'Uptime'").await;
    let uptime = uptime.map_err(|error| explain(&error))?;
    let (_, seconds) = uptime.ok_or_else(|| Refusal::plain(Kind::Unfit, "the server does not tell its uptime"))?;
    let (major, minor, patch) = connection.server_version();
    let version = Some(format!("{major}.{minor}.{patch}"));
    let mut answer = Answer { process_id: None, first_process: None, uptime: Duration::from_secs(seconds), version };
    if engine == Engine::Mariadb {
        mariadb_processes(connection, login, &mut answer).await;
    } else {
        answer.process_id = connection.query_first(MYSQL_PROCESS_ID).await.ok().flatten();
    }
    Ok(answer)
}

/// MariaDB has its performance_schema off by default; with the FILE privilege the server reads files below /proc for us. The first
/// word of `stat` is the process id, `comm` is a process's name.
async fn mariadb_processes(connection: &mut Conn, login: &Login, answer: &mut Answer) -> Option<()> {
    if login.database.is_none() {
        // A temporary table needs a database to be in; only this session ever sees it.
        connection.query_drop("USE mysql").await.ok()?;
    }
    connection.query_drop("CREATE TEMPORARY TABLE testbed_process (line TEXT)").await.ok()?;
    let stat = mariadb_file(connection, "/proc/self/stat").await?;
    let process_id = stat.split_whitespace().next()?.parse().ok()?;
    answer.process_id = Some(process_id);
    if process_id != 1 {
        answer.first_process = mariadb_file(connection, "/proc/1/comm").await;
    }
    Some(())
}

/// The only line of a file.
async fn mariadb_file(connection: &mut Conn, path: &str) -> Option<String> {
    let load = format!("LOAD DATA INFILE '{path}' INTO TABLE testbed_process FIELDS TERMINATED BY '\\n' (line)");
    connection.query_drop(load).await.ok()?;
    let line = connection.query_first("SELECT line FROM testbed_process").await.ok()?;
    connection.query_drop("DELETE FROM testbed_process").await.ok()?;
    line
}

fn explain(error: &Error) -> Refusal {
    match error {
        Error::Server(server) => Refusal::mysql(server.code, &server.message),
        Error::Io(IoError::Io(error)) => Refusal::network(error),
        Error::Driver(DriverError::ConnectionClosed) => Refusal::plain(Kind::Reset, "the server closed the connection"),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => Refusal::plain(Kind::NoTls, "the server offers no TLS"),
        // MySQL asks for a plugin at random when it does not know the user, so that nobody can find out who exists.
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
            Refusal::plain(Kind::Denied, format!("the server does not know the user, or wants the login plugin {name}"))
        }
        Error::Driver(DriverError::MysqlOldPasswordDisabled | DriverError::CleartextPluginDisabled) => {
            Refusal::plain(Kind::Denied, "the server does not know the user, or wants a login plugin that is not safe")
        }
        // Whatever else the driver or TLS makes of the server's bytes: not a server that speaks with us.
        other => Refusal::plain(Kind::Unfit, crate::failure::innermost(other)),
    }
}
