//! MySQL and MariaDB: a login, the server's uptime, and its process id where the user may see it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, IoError, OptsBuilder, Row, SslOpts};

use super::refusal::{Kind, Refusal};
use super::{Answer, ProcessId, Target};
use crate::database::{Engine, Login};

/// MySQL 5.7 and later: the operating system's id of the main thread is the process id inside the container.
const MYSQL_PROCESS_ID: &str =
    "SELECT THREAD_OS_ID FROM performance_schema.threads WHERE NAME = 'thread/sql/main'";
/// What the command line has set, which anybody may ask for (MySQL 8.0, MariaDB 10.1 and later).
const MYSQL_OPTIONS: &str =
    "SELECT VARIABLE_NAME FROM performance_schema.variables_info WHERE VARIABLE_SOURCE = 'COMMAND_LINE'";
const MARIADB_OPTIONS: &str = "SELECT VARIABLE_NAME FROM information_schema.SYSTEM_VARIABLES WHERE GLOBAL_VALUE_ORIGIN = 'COMMAND-LINE'";
/// Numbers of errors, named as in the servers' references without their `ER_`.
const OPTION_PREVENTS_STATEMENT: u16 = 1290;
const BAD_DB: u16 = 1049;
const UNKNOWN_TABLE: u16 = 1109;
const TABLEACCESS_DENIED: u16 = 1142;
const NO_SUCH_TABLE: u16 = 1146;

/// One login at a port of this machine, and what the server says of itself.
pub(super) async fn ask(
    target: &Target,
    port: u16,
    login: &Login,
    over_tls: bool,
) -> Result<Answer, Refusal> {
    // The relay's address is no name of the server's.
    let tls = SslOpts::default().with_danger_skip_domain_validation(true);
    let tls = match &target.authority {
        None => tls.with_danger_accept_invalid_certs(true),
        Some(authority) => {
            tls.with_root_certs(vec![authority.clone().into_bytes().into()]).with_disable_built_in_roots(true)
        }
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(Ipv4Addr::LOCALHOST.to_string())
        .tcp_port(port)
        .user(Some(login.user.clone()))
        .pass(Some(login.password.reveal()))
        .db_name(login.database.clone())
        .ssl_opts(over_tls.then_some(tls))
        // Known values save the driver a query of its own at each login.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60))
        .prefer_socket(false);
    let mut connection = Conn::new(options).await.map_err(|error| explain(&error))?;
    let answer = questions(&mut connection, target, login).await;
    // A proper goodbye: the server counts connections that just vanish against the client's host.
    let _ = connection.disconnect().await;
    answer
}

async fn questions(connection: &mut Conn, target: &Target, login: &Login) -> Result<Answer, Refusal> {
    let uptime =
        row(connection, "SHOW GLOBAL STATUS LIKE 'Uptime'").await.map_err(|error| explain(&error))?;
    let seconds = uptime.as_ref().and_then(|row| column(row, 1)).and_then(|text| text.parse().ok());
    let seconds = seconds.ok_or_else(|| Refusal::unfit("the server does not tell its uptime"))?;
    let (major, minor, patch) = connection.server_version();
    let mut answer = Answer {
        uptime: Duration::from_secs(seconds),
        connection: Some(connection.id()),
        version: Some(format!("{major}.{minor}.{patch}")),
        ..Answer::default()
    };
    if target.engine == Engine::Mariadb {
        mariadb_processes(connection, login, &mut answer).await;
    } else {
        answer.process_id = number(connection, MYSQL_PROCESS_ID).await.map(ProcessId::Own);
    }
    if let Some(arguments) = &target.arguments
        && answer.process_id != Some(ProcessId::Own(1))
    {
        let question = if target.engine == Engine::Mariadb { MARIADB_OPTIONS } else { MYSQL_OPTIONS };
        let rows: Vec<Row> = match connection.query(question).await {
            // An older server, which does not tell.
            Err(Error::Server(error))
                if [BAD_DB, TABLEACCESS_DENIED, UNKNOWN_TABLE, NO_SUCH_TABLE].contains(&error.code) =>
            {
                Vec::new()
            }
            // A set-up server that is being stopped has not said that it has none.
            answer => answer.map_err(|error| explain(&error))?,
        };
        let options: Vec<String> = rows.iter().filter_map(|row| column(row, 0)).collect();
        answer.set_up_option = arguments.set_up_option(target.engine, &options).map(str::to_owned);
    }
    Ok(answer)
}

/// MariaDB has its performance_schema off by default; with the FILE privilege the server reads files for us.
/// The first word of `stat` is the process id, `comm` is a process's name. Since the security updates of
/// autumn 2026 (10.11.19, 11.8.9) files below /proc are refused like those outside of secure_file_priv; the
/// file to which the server writes its process id is not.
async fn mariadb_processes(connection: &mut Conn, login: &Login, answer: &mut Answer) -> Option<()> {
    if login.database.is_none() {
        // A temporary table needs a database to be in; only this session ever sees it.
        connection.query_drop("USE mysql").await.ok()?;
    }
    connection.query_drop("CREATE TEMPORARY TABLE testbed_process (line TEXT)").await.ok()?;
    match mariadb_file(connection, "/proc/self/stat").await {
        Ok(stat) => {
            let process_id = stat?.split_whitespace().next()?.parse().ok()?;
            answer.process_id = Some(ProcessId::Own(process_id));
            if process_id != 1 {
                answer.first_process = mariadb_file(connection, "/proc/1/comm").await.ok()?;
            }
        }
        Err(Error::Server(error)) if error.code == OPTION_PREVENTS_STATEMENT => {
            let row = row(connection, "SELECT @@pid_file, @@datadir").await.ok()??;
            let path = Path::new(&column(&row, 1)?).join(column(&row, 0)?);
            let id = mariadb_file(connection, path.to_str()?).await.ok()??;
            answer.process_id = id.trim().parse().ok().map(ProcessId::File);
        }
        // Without the privilege there is no file to read.
        Err(_) => {}
    }
    Some(())
}

/// The only line of a file.
async fn mariadb_file(connection: &mut Conn, path: &str) -> Result<Option<String>, Error> {
    let path = path.replace('\\', r"\\").replace('\'', r"\'");
    let load =
        format!("LOAD DATA INFILE '{path}' INTO TABLE testbed_process FIELDS TERMINATED BY '\\n' (line)");
    connection.query_drop(load).await?;
    let line = row(connection, "SELECT line FROM testbed_process LIMIT 1").await?;
    connection.query_drop("DELETE FROM testbed_process").await?;
    Ok(line.and_then(|row| column(&row, 0)))
}

async fn row(connection: &mut Conn, question: &str) -> Result<Option<Row>, Error> {
    connection.query_first(question).await
}

/// A value, if it is there and text: what a server sends is whatever it likes.
fn column(row: &Row, index: usize) -> Option<String> {
    row.get_opt(index)?.ok()
}

async fn number(connection: &mut Conn, question: &str) -> Option<u32> {
    row(connection, question).await.ok()??.get_opt(0)?.ok()
}

fn explain(error: &Error) -> Refusal {
    match error {
        Error::Server(server) => Refusal::mysql(server.code, &server.message),
        Error::Io(IoError::Io(error)) => Refusal::network(error),
        Error::Driver(DriverError::ConnectionClosed) => {
            Refusal::plain(Kind::Reset, "the server closed the connection")
        }
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            Refusal::plain(Kind::NoTls, "the server offers no TLS")
        }
        // MySQL asks for a plugin at random when it does not know the user: nobody is to find out who exists.
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => Refusal::plain(
            Kind::Denied,
            format!("the server does not know the user, or wants the login plugin {name}"),
        ),
        Error::Driver(DriverError::MysqlOldPasswordDisabled | DriverError::CleartextPluginDisabled) => {
            Refusal::plain(
                Kind::Denied,
                "the server does not know the user, or wants a login plugin that is not safe",
            )
        }
        // Whatever else the driver or TLS makes of the server's bytes: not a server that speaks with us.
        other => Refusal::unfit(crate::failure::innermost(other)),
    }
}
