//! What a URL says about a server, in the words of libpq:
//! <https://www.postgresql.org/docs/current/libpq-connect.html>.
//!
//! The driver reads most of it. What it does not know, and libpq does, is read here: which certificates are
//! taken, and where the password is.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use url::Url;

use super::password;
use crate::environment::variable;
use crate::failure::{Advise, Exit, usage};
use crate::reading;
use crate::trust::{Name, Trust};

/// How long it may take to connect and to log in, unless the URL says it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// After this time without a word, the system asks whether the server is still there.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) struct Address {
    pub config: Config,
    pub trust: Trust,
    pub timeout: Duration,
}

impl Address {
    /// Reads a URL, and what the environment says about passwords and certificates. An error never holds a
    /// value, which may be a password.
    pub(super) fn new(url: &Url) -> anyhow::Result<Self> {
        Self::with(url, variable)
    }

    fn with(url: &Url, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let (url, tls) = TlsWords::take(url, &variable)?;
        let mut config: Config = url.as_str().parse().map_err(|error| usage(refusal(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(usage("--history: the URL names no host")).hint("postgres://USER@HOST/DATABASE");
        }
        let (mode, trust) = tls.read(&config)?;
        config.ssl_mode(mode);
        // Else the driver asks the system who this is, as libpq does.
        if let Some(user) = variable("PGUSER").filter(|_| config.get_user().is_none()) {
            config.user(user);
        }
        if config.get_application_name().is_none() {
            config.application_name("testbed");
        }
        if config.get_password().is_none()
            && let Some(password) = variable("PGPASSWORD").or_else(|| password::from_file(&config, &variable))
        {
            config.password(password);
        }
        let timeout = config.get_connect_timeout().copied().unwrap_or(TIMEOUT);
        config
            .connect_timeout(timeout)
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE / 3)
            .keepalives_retries(3);
        Ok(Self { config, trust, timeout })
    }
}

/// What is wrong with a URL. An unknown option's name may be a part of a password that was not encoded.
fn refusal(error: &tokio_postgres::Error) -> String {
    let text = crate::failure::innermost(error);
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    match text.split('`').nth(1) {
        Some(name) if !is_plain(name) => "--history: the URL has an option that is unknown".into(),
        _ => format!("--history: {text} in the URL"),
    }
}

/// The options that the driver does not know.
#[derive(Debug, Default)]
struct TlsWords {
    mode: Option<String>,
    roots: Option<String>,
}

impl TlsWords {
    /// Takes them out of a URL; the environment stands in.
    fn take(url: &Url, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<(Url, Self)> {
        let mut words = Self::default();
        let mut rest = Vec::new();
        for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "sslmode" => words.mode = Some(value()),
                "sslrootcert" => words.roots = Some(value()),
                "sslcert" | "sslkey" | "sslpassword" => {
                    return Err(usage(format!(
                        "--history: {name} is not supported: testbed logs in with a password"
                    )));
                }
                // No other way to encrypt is known here, which is what both of its usual values come to.
                "gssencmode" => {}
                _ => rest.push(pair),
            }
        }
        words.mode = words.mode.or_else(|| variable("PGSSLMODE"));
        words.roots = words.roots.or_else(|| variable("PGSSLROOTCERT"));
        let mut url = url.clone();
        let rest = rest.join("&");
        url.set_query((!rest.is_empty()).then_some(rest.as_str()));
        Ok((url, words))
    }

    fn read(self, config: &Config) -> anyhow::Result<(SslMode, Trust)> {
        // Neither libpq nor a server knows TLS on a socket of this machine.
        if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
            && config.get_hostaddrs().is_empty()
        {
            return Ok((SslMode::Disable, Trust::Any));
        }
        let roots = self.roots.as_deref();
        match self.mode.as_deref().unwrap_or("prefer") {
            "disable" => Ok((SslMode::Disable, Trust::Any)),
            "allow" | "prefer" => Ok((SslMode::Prefer, Trust::Any)),
            // Whoever names an authority wants it to be asked.
            "require" if roots.is_some() => Ok((SslMode::Require, trust(roots, Name::Any)?)),
            "require" => Ok((SslMode::Require, Trust::Any)),
            "verify-ca" => Ok((SslMode::Require, trust(roots, Name::Any)?)),
            "verify-full" => Ok((SslMode::Require, trust(roots, Name::Right)?)),
            _ => Err(usage(
                "--history: sslmode is none of disable, allow, prefer, require, verify-ca and verify-full",
            )),
        }
    }
}

fn trust(roots: Option<&str>, name: Name) -> anyhow::Result<Trust> {
    let Some(file) = roots.filter(|file| *file != "system") else { return Ok(Trust::System(name)) };
    let read = || Trust::in_pem(&reading::bytes(Path::new(file), reading::MOST)?, name);
    read().with_context(|| format!("--history: reading sslrootcert {file}")).exit(Exit::Usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> anyhow::Result<Address> {
        Address::with(&Url::parse(url).unwrap(), |_| None)
    }

    #[test]
    fn a_url_says_what_libpq_reads_in_it() {
        let mode = |options: &str| {
            let address = address(&format!("postgres://u:p@h/d?{options}")).unwrap();
            (address.config.get_ssl_mode(), address.trust)
        };
        assert_eq!(mode(""), (SslMode::Prefer, Trust::Any));
        assert_eq!(mode("sslmode=disable"), (SslMode::Disable, Trust::Any));
        assert_eq!(mode("sslmode=require"), (SslMode::Require, Trust::Any));
        assert_eq!(mode("sslmode=verify-ca"), (SslMode::Require, Trust::System(Name::Any)));
        assert_eq!(
            mode("connect_timeout=3&sslmode=verify-full&sslrootcert=system"),
            (SslMode::Require, Trust::System(Name::Right))
        );
        let full = address("postgres://u:p%40+@h:1/d?connect_timeout=3&application_name=mine").unwrap();
        assert_eq!(
            (full.timeout, full.config.get_application_name()),
            (Duration::from_secs(3), Some("mine"))
        );
        assert_eq!((full.config.get_password(), full.config.get_ports()), (Some(&b"p@+"[..]), &[1][..]));
        let socket = address("postgres://u@%2Frun%2Fpostgresql/d?sslmode=require").unwrap();
        assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn an_error_never_shows_a_value() {
        for (url, part) in [
            ("postgres://u:hush@h/d?sslmode=hush", "sslmode is none of"),
            ("postgres://u:hush@h/d?sslcert=hush", "sslcert is not supported"),
            ("postgres://u:p@h/d?Hush=1", "an option that is unknown"),
            ("postgres://u:hush@h/d?pasword=hush", "unknown option `pasword` in the URL"),
            ("postgres://u:hush@h/d?port=hush", "`port` in the URL"),
            ("postgres:///d?password=hush", "names no host"),
        ] {
            let error = format!("{:#}", address(url).err().unwrap_or_else(|| panic!("{url} is taken")));
            assert!(error.contains(part) && !error.to_lowercase().contains("hush"), "{url}: {error}");
        }
        let error = format!(
            "{:#}",
            address("postgres://u:hush@h/d?sslmode=verify-ca&sslrootcert=/no/file").err().unwrap()
        );
        assert!(error.starts_with("--history: reading sslrootcert /no/file: "), "{error}");
    }
}
