//! `testbed wait`: the same probes for servers that testbed did not create, named by URLs.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::watch;
use url::Url;

use crate::cli::{Global, Wait, WaitFormat};
use crate::console;
use crate::database::{Engine, Login, Password};
use crate::failure::{Advise, Exit, usage};
use crate::output::authority;
use crate::ports;
use crate::probe::{self, Found, Outside, Pace, Prober, Readiness, Settle, Target, Tls, WINDOW, Watched};
use crate::progress::Progress;
use crate::reading;
use crate::registry::Registry;
use crate::session::waits::{Waits, never};
use crate::session::{hand_over, interrupted};

/// Each attempt costs a login.
const PACE: Pace = Pace { usual: Duration::from_millis(50), setting_up: Duration::from_millis(50) };

pub async fn wait(args: Wait, global: &Global) -> anyhow::Result<()> {
    let progress = global.progress();
    let password = args.password_file.as_deref().map(read_password).transpose()?;
    let mut servers: Vec<Server> =
        args.urls.iter().map(|url| Server::parse(url, password.as_ref())).collect::<Result<_, _>>()?;
    servers.iter_mut().for_each(|server| server.target.may_reveal |= args.insecure);
    let names = names(&servers);
    let settle = args.settle.map_or(Settle::Any(WINDOW), Settle::from);
    let waits = Waits::default();
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(args.timeout, until_ready(&servers, &names, settle, &waits, &progress)) => outcome,
        error = interrupted() => Ok(Err(error)),
    };
    progress.finish();
    let found = outcome.map_err(|_| {
        let error = waits.in_vain(args.timeout, &progress.unfinished().join("; "));
        servers.iter().filter_map(why_nobody).fold(error, Advise::hint)
    })??;
    match args.output {
        WaitFormat::Text => hand_over(console::clean(&text(&servers, &names, &found, &progress))).await,
        WaitFormat::Json => hand_over(json_list(&servers, &names, &found, &progress)?).await,
    }
}

async fn until_ready(
    servers: &[Server],
    names: &[String],
    settle: Settle,
    waits: &Waits,
    progress: &Progress,
) -> anyhow::Result<Vec<Found>> {
    // Nobody looks at these servers from outside: they run in a container that never changes.
    let (_outside, seen) = watch::channel(Outside::running("unknown"));
    let watch = |server: &Server| Watched {
        prober: Prober::new(server.target.clone()),
        readiness: Readiness::new(settle, Instant::now()),
        outside: seen.clone(),
    };
    let mut watched: Vec<Watched> = servers.iter().map(watch).collect();
    let report = |index: usize, stage| {
        let Target { engine, login, .. } = &servers[index].target;
        waits.note(progress, &names[index], *engine, login, stage);
    };
    let outcome = probe::all_ready(&mut watched, report, || std::future::ready(())).await;
    outcome.map_err(|(index, refusal)| {
        let Target { engine, login, .. } = &servers[index].target;
        never(&names[index], "the server", *engine, login, &refusal)
    })
}

/// What is known of a server of this machine that nothing comes from.
fn why_nobody(Server { target, .. }: &Server) -> Option<String> {
    let address: IpAddr =
        if target.host == "localhost" { Ipv4Addr::LOCALHOST.into() } else { target.host.parse().ok()? };
    if !address.is_loopback() {
        return None;
    }
    if ports::is_loopback_down() {
        return Some(format!("the loopback device (lo) is down: {}", ports::LOOPBACK_HINT));
    }
    let (records, _) = Registry::find()?.records().ok()?;
    records.iter().filter(|record| !record.is_elsewhere()).find_map(|record| {
        let servers = &record.local()?.servers;
        let ended = servers.iter().find(|one| one.port == target.port && !one.process.is_alive())?;
        let (name, run_id) = (&ended.name, &record.run_id);
        Some(format!(
            "port {} is that of {name} in run {run_id}, whose server has ended: testbed logs {name} --run-id {run_id} tells why",
            ended.port
        ))
    })
}

/// A server to wait for.
pub struct Server {
    /// What to log in to.
    pub target: Target,
    /// Host and port, as people are told them.
    pub address: String,
}

impl Server {
    /// Reads `mysql://user:password@host:port/database`. A password that it does not have comes from the file
    /// or from the variable that the engine's own client reads.
    ///
    /// # Errors
    /// A usage error, in which no part of a password is.
    pub fn parse(text: &str, password: Option<&Password>) -> anyhow::Result<Self> {
        // The URL may hold a password, so that no message shows it.
        let url = Url::parse(text).map_err(|error| usage(format!("a URL is broken: {error}"))).hint(SHAPE)?;
        let (engine, default_user, variable) = match url.scheme() {
            "mysql" => (Engine::Mysql, "root", "MYSQL_PWD"),
            "mariadb" => (Engine::Mariadb, "root", "MYSQL_PWD"),
            "postgres" | "postgresql" => (Engine::Postgres, "postgres", "PGPASSWORD"),
            other => return Err(usage(format!("no engine has URLs that begin with {other}://"))).hint(SHAPE),
        };
        let host = match url.host() {
            None => "127.0.0.1".to_owned(),
            // Without the brackets that an address of version 6 has in a URL.
            Some(url::Host::Ipv6(address)) => address.to_string(),
            Some(host) => decode(&host.to_string())?,
        };
        let port = url.port().unwrap_or(engine.port());
        let user = if url.username().is_empty() { default_user.to_owned() } else { decode(url.username())? };
        let given = url.password().map(decode).transpose()?.map(Password::new);
        let password =
            given.or_else(|| password.cloned()).or_else(|| std::env::var(variable).ok().map(Password::new));
        let path = decode(url.path().trim_start_matches('/'))?;
        let database = Some(path).filter(|path| !path.is_empty());
        let login = Login { user, password: password.unwrap_or_else(|| Password::new("")), database };
        let tls = tls(&url)?;
        let address = authority(&host, port);
        Ok(Self {
            target: Target {
                engine,
                host,
                port,
                way: None,
                login,
                admin: None,
                arguments: None,
                tls,
                authority: None,
                may_reveal: tls == Tls::Never,
                pace: PACE,
            },
            address,
        })
    }
}

const SHAPE: &str = "write mysql://USER@HOST:PORT/DATABASE, mariadb://… or postgres://…";

fn decode(text: &str) -> anyhow::Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| usage("a URL has %-escapes that are no UTF-8"))
}

/// `sslmode` as libpq spells it, `ssl-mode` as MySQL does.
fn tls(url: &Url) -> anyhow::Result<Tls> {
    let mut tls = Tls::AsNeeded;
    for (key, value) in url.query_pairs() {
        tls = match (key.as_ref(), value.to_lowercase().as_str()) {
            ("sslmode" | "ssl-mode", "disable" | "disabled") => Tls::Never,
            ("sslmode" | "ssl-mode", "allow" | "prefer" | "preferred") => Tls::AsNeeded,
            ("sslmode" | "ssl-mode", "require" | "required") => Tls::Always,
            ("sslmode" | "ssl-mode", other) => {
                return Err(usage(format!(
                    "{key}={other}: known are disable, prefer and require; certificates are not verified"
                )));
            }
            (other, _) => return Err(usage(format!("a URL has the parameter {other}; known is sslmode"))),
        };
    }
    Ok(tls)
}

fn read_password(path: &Path) -> anyhow::Result<Password> {
    let text = reading::text(path, reading::MOST)
        .with_context(|| format!("reading --password-file {}", path.display()))
        .exit(Exit::Usage)?;
    Ok(Password::new(text.trim_end_matches(['\r', '\n'])))
}

/// What the progress lines call each server: its engine, and its address where that is not enough.
fn names(servers: &[Server]) -> Vec<String> {
    let engines: HashSet<&str> = servers.iter().map(|server| server.target.engine.name()).collect();
    let unique = engines.len() == servers.len();
    let name = |server: &Server| {
        let engine = server.target.engine.name();
        if unique { engine.to_owned() } else { format!("{engine} {}", server.address) }
    };
    servers.iter().map(name).collect()
}

fn text(servers: &[Server], names: &[String], found: &[Found], progress: &Progress) -> String {
    let seconds = progress.elapsed().as_secs_f64();
    let line = |((server, name), found): ((&Server, &String), &Found)| {
        let address =
            if name.contains(&server.address) { String::new() } else { format!(" at {}", server.address) };
        format!("{name}{address} is ready after {seconds:.1} s: {}\n", found.evidence)
    };
    servers.iter().zip(names).zip(found).map(line).collect()
}

fn json_list(
    servers: &[Server],
    names: &[String],
    found: &[Found],
    progress: &Progress,
) -> anyhow::Result<String> {
    let items = servers.iter().zip(names).zip(found).map(|((server, name), found)| {
        json!({
            "name": name, "engine": server.target.engine.name(), "address": server.address,
            "evidence": {"kind": found.evidence.kind(), "detail": found.evidence.to_string()},
            "at": found.at,
            "after": (progress.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        })
    });
    Ok(serde_json::to_string_pretty(&items.collect::<Vec<_>>())? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::parse(url, None).unwrap()
    }

    #[test]
    fn a_url_says_everything() {
        let Server { target, address } =
            server("postgresql://us%40er:p%2Fw@db.example:6000/shop?sslmode=require");
        assert_eq!(
            (target.engine, address.as_str(), target.tls),
            (Engine::Postgres, "db.example:6000", Tls::Always)
        );
        assert_eq!(
            target.login,
            Login { user: "us@er".into(), password: Password::new("p/w"), database: Some("shop".into()) }
        );
        let Server { target, address } = server("postgres://[::1]/x");
        assert_eq!((target.host.as_str(), address.as_str()), ("::1", "[::1]:5432"));
    }

    #[test]
    fn a_url_may_say_little() {
        let Server { target, address } = server("mariadb://127.0.0.1");
        assert_eq!(
            (target.engine, address.as_str(), target.tls),
            (Engine::Mariadb, "127.0.0.1:3306", Tls::AsNeeded)
        );
        assert_eq!((target.login.user.as_str(), target.login.database), ("root", None));
        let filed = Server::parse("mysql://app@h", Some(&Password::new("from the file"))).unwrap();
        assert_eq!(filed.target.login.password.reveal(), "from the file");
    }

    #[test]
    fn a_broken_url_is_refused_without_showing_it() {
        for url in [
            "mysql",
            "http://u:secret@h",
            "mysql://u:secret@h:port",
            "mysql://u:secret@h?sslmode=verify-ca",
            "mysql://u:secret@h/?x=secret",
        ] {
            let error = Server::parse(url, None).err().unwrap();
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
    }

    #[test]
    fn names_are_as_long_as_they_have_to_be() {
        assert_eq!(names(&[server("mysql://h"), server("postgres://h")]), ["mysql", "postgres"]);
        assert_eq!(names(&[server("mysql://a"), server("mysql://b")]), ["mysql a:3306", "mysql b:3306"]);
    }
}
