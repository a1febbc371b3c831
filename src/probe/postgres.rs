//! PostgreSQL: a login, the server's uptime, and its process id where the user may read the server's files.

use std::error::Error as _;
use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::refusal::{Kind, Refusal};
use super::{Answer, ProcessId, Target, relay};
use crate::database::{Arguments, Engine, Login};
use crate::postgres::{Connector, Fault};
use crate::trust::{Name, Trust};

/// The uptime (its function is there since 8.1), and whether this user may read the server's files: a query
/// that is refused would leave an error in the server's log at every attempt.
const UPTIME: &str = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8, \
                      coalesce(has_function_privilege(to_regprocedure('pg_read_file(text)'), 'EXECUTE'), false)";
/// The first line is the process id of the server's main process, the third the second in which that started:
/// it has to be this server that wrote the file. Needs a superuser or `pg_read_server_files`.
const PROCESS_ID: &str = "SELECT CASE WHEN abs(split_part(file, E'\\n', 3)::bigint - extract(epoch FROM pg_postmaster_start_time())) <= 5 \
                          THEN split_part(file, E'\\n', 1) END FROM pg_read_file('postmaster.pid') AS file";
const FIRST_PROCESS: &str = "SELECT pg_read_file('/proc/1/comm')";
/// The settings that the command line has made, which anybody may ask for.
const OPTIONS: &str = "SELECT name FROM pg_settings WHERE source = 'command line'";

/// One login at a port of this machine, and what the server says of itself.
pub(super) async fn ask(
    target: &Target,
    port: u16,
    login: &Login,
    over_tls: bool,
) -> Result<Answer, Refusal> {
    let mut config = Config::new();
    config
        .host(&target.host)
        .hostaddr(Ipv4Addr::LOCALHOST.into())
        .port(port)
        .user(&login.user)
        .application_name("testbed");
    config.password(login.password.reveal());
    config.dbname(login.database.as_deref().unwrap_or(&login.user));
    config.ssl_mode(if over_tls { SslMode::Require } else { SslMode::Disable });
    let tls = over_tls.then(|| connector(target)).transpose()?;
    let connector = Connector::new(&mut config, tls, relay::BOUNDS, Fault::default());
    converse(&config, connector, target.arguments.as_ref()).await
}

/// TLS with whatever certificate the server has, unless it is known by whom to verify it: most throw-away
/// servers sign their own.
fn connector(target: &Target) -> Result<MakeRustlsConnect, Refusal> {
    let trust = match &target.authority {
        None => Ok(Trust::Any),
        Some(authority) => Trust::in_pem(authority.as_bytes(), Name::Right),
    };
    let config = trust.and_then(Trust::client);
    let config = config.map_err(|error| Refusal::unfit(error.to_string()))?;
    Ok(MakeRustlsConnect::new(config))
}

async fn converse(
    config: &Config,
    connector: Connector,
    arguments: Option<&Arguments>,
) -> Result<Answer, Refusal> {
    let (client, connection) = config.connect(connector).await.map_err(|error| explain(&error))?;
    // The connection works only while it is polled, and ends by itself once the client is gone.
    let version = connection.parameter("server_version").map(str::to_owned);
    let mut connection = pin!(connection);
    let closed = || Refusal::plain(Kind::Reset, "the server closed the connection");
    let answer = tokio::select! {
        answer = questions(&client, arguments) => answer.map(|answer| Answer { version, ..answer }),
        ended = &mut connection => return Err(ended.err().map_or_else(closed, |error| explain(&error))),
    };
    // A proper goodbye, so that the server's log stays clean.
    drop(client);
    let _ = connection.await;
    answer
}

async fn questions(client: &Client, arguments: Option<&Arguments>) -> Result<Answer, Refusal> {
    let row = client.query_one(UPTIME, &[]).await.map_err(|error| explain(&error))?;
    // What a server sends is whatever it likes.
    let (Ok(seconds), Ok(may_read)) = (row.try_get::<_, f64>(0), row.try_get::<_, bool>(1)) else {
        return Err(Refusal::unfit("the server does not tell its uptime"));
    };
    let uptime = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let mut answer = Answer { uptime, ..Answer::default() };
    if may_read {
        answer.process_id =
            text(client, PROCESS_ID).await.and_then(|text| text.parse().ok()).map(ProcessId::Own);
        if answer.process_id.is_some_and(|id| id.number() != 1) {
            answer.first_process = text(client, FIRST_PROCESS).await;
        }
    }
    if let Some(arguments) = arguments
        && answer.process_id != Some(ProcessId::Own(1))
    {
        // A set-up server that is being stopped has not said that it has none.
        let rows = client.query(OPTIONS, &[]).await.map_err(|error| explain(&error))?;
        let options: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        answer.set_up_option = arguments.set_up_option(Engine::Postgres, &options).map(str::to_owned);
    }
    Ok(answer)
}

async fn text(client: &Client, query: &str) -> Option<String> {
    let row = client.query_one(query, &[]).await.ok()?;
    row.try_get::<_, String>(0).ok().map(|text| text.trim().to_owned())
}

fn explain(error: &Error) -> Refusal {
    if let Some(db) = error.as_db_error() {
        if *db.code() == SqlState::CANNOT_CONNECT_NOW {
            return Refusal::postgres(db.code().code(), "the server is starting up");
        }
        return Refusal::postgres(db.code().code(), db.message());
    }
    if let Some(error) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return Refusal::network(error);
    }
    if error.is_closed() {
        return Refusal::plain(Kind::Reset, "the server closed the connection");
    }
    // The driver has no other sign of it.
    if error.to_string().contains("performing TLS handshake")
        && crate::failure::innermost(error).contains("does not support TLS")
    {
        return Refusal::plain(Kind::NoTls, "the server offers no TLS");
    }
    // An unknown kind of authentication, bytes of another protocol.
    Refusal::unfit(crate::failure::innermost(error))
}
