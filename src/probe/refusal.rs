//! Why a login did not work, by the protocol's code: wait, or give up and say what to change.

use std::fmt;
use std::io;

use crate::database::{Engine, Login};

/// What a refused login says about waiting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing listens, or the name or the network does not lead there.
    Refused,
    /// The connection ended in the middle.
    Reset,
    /// Connected, and no answer came in time.
    Silent,
    /// The server says that it cannot serve right now.
    NotYet,
    /// User, password or database are not known: for now on a set-up server, for ever on the final one.
    Denied,
    /// The login cannot work in this way: locked, expired, or no common protocol.
    Unfit,
    /// TLS was asked for, and the server has none.
    NoTls,
    /// The server wants to be told the password in a way that others could read.
    Reveals,
}

impl Kind {
    /// Whether no server answers. A connection that ends in the middle may be a server's way to say no.
    pub fn means_gone(self) -> bool {
        matches!(self, Self::Refused | Self::Silent)
    }

    /// Whether a server that is there for good would go on refusing.
    pub fn may_be_for_ever(self) -> bool {
        matches!(self, Self::Denied | Self::Unfit | Self::NoTls | Self::Reveals)
    }
}

/// A login that did not work. Never holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: Kind,
    /// The protocol's code: MySQL's error number, PostgreSQL's SQLSTATE.
    pub code: Option<String>,
    /// What the server or the system said, in one line.
    pub message: String,
}

impl Refusal {
    /// Without a code of the protocol.
    pub fn plain(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into() }
    }

    /// Of a server that does not speak as it should.
    pub fn unfit(message: impl Into<String>) -> Self {
        Self::plain(Kind::Unfit, message)
    }
    pub fn network(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Kind::Reset,
            io::ErrorKind::TimedOut => Kind::Silent,
            // Bytes that are not the protocol's.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Kind::Unfit,
            _ => Kind::Refused,
        };
        Self::plain(kind, one_line(&crate::failure::innermost(error)).to_lowercase())
    }

    pub fn mysql(code: u16, message: &str) -> Self {
        Self { kind: mysql_kind(code), code: Some(format!("error {code}")), message: one_line(message) }
    }

    /// An ErrorResponse of PostgreSQL.
    pub fn postgres(code: &str, message: &str) -> Self {
        Self {
            kind: postgres_kind(code, message),
            code: Some(format!("SQLSTATE {code}")),
            message: one_line(message),
        }
    }

    /// Whether the database is what is not there, rather than the user.
    pub fn is_about_database(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("error 1049" | "error 1044" | "SQLSTATE 3D000" | "SQLSTATE 42501" | "SQLSTATE 55000")
        )
    }

    /// What to change, where the final server goes on refusing.
    pub fn remedy(&self, engine: Engine, login: &Login) -> String {
        let user = &login.user;
        let database = login.database.as_deref().unwrap_or("(none)");
        if self.is_about_database() {
            return format!(
                "the server runs, and does not have the database {database} for {user}: correct its name, or whatever makes it \
                 (a variable, an init script, a data folder that was there before)"
            );
        }
        match self.code.as_deref() {
            Some("error 1130") => format!("the server knows {user} from other hosts only: create it as '{user}'@'%'"),
            Some("error 1129") => "the server has blocked this host after too many broken connections: TRUNCATE TABLE performance_schema.host_cache on it unblocks".into(),
            Some("error 3118" | "error 4151") => format!("unlock it: ALTER USER '{user}' ACCOUNT UNLOCK"),
            Some("error 1820" | "error 1862") => {
                format!("give {user} a password that does not expire: ALTER USER ... PASSWORD EXPIRE NEVER")
            }
            Some("error 3159") => {
                "the server wants TLS and offers none that works: configure its certificate, or drop require_secure_transport".into()
            }
            Some("SQLSTATE 28000") if self.message.contains("pg_hba") => {
                format!("add a line for {user} and {database} to the server's pg_hba.conf (POSTGRES_HOST_AUTH_METHOD writes one)")
            }
            _ if self.kind == Kind::Reveals => {
                "give the server a certificate, or allow it by name where nobody listens: --insecure, or sslmode=disable in the URL".into()
            }
            _ if self.kind == Kind::NoTls => "configure a certificate for the server, or do not ask for TLS".into(),
            _ if self.kind == Kind::Unfit => {
                format!("is this really a {engine} server, and can {user} log in with a password? See what it speaks with its own client")
            }
            _ => format!(
                "the server runs, and does not take {user} with this password: variables for users and passwords count only while the \
                 data folder is empty, and init scripts can change what they made"
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            None => f.write_str(&self.message),
            Some(code) => write!(f, "{} ({code})", self.message),
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Error numbers of MySQL's and MariaDB's server error references.
fn mysql_kind(code: u16) -> Kind {
    match code {
        // Access denied (to a database, to a user, without a password), unknown database, host not allowed,
        // host blocked.
        1044 | 1045 | 1049 | 1129 | 1130 | 1698 => Kind::Denied,
        // No common authentication, password to be changed or expired, account locked, TLS wanted, plugin not
        // loaded.
        1251 | 1524 | 1820 | 1862 | 3118 | 3159 | 4151 => Kind::Unfit,
        // Too many connections (1040, 1203, 1226), shutdown in progress (1053), offline (3032), not available
        // (3168), and what is not known to be lasting.
        _ => Kind::NotYet,
    }
}

/// SQLSTATE codes of PostgreSQL's appendix "Error Codes".
fn postgres_kind(code: &str, message: &str) -> Kind {
    match code {
        // No line of pg_hba.conf fits: that is how the server is configured.
        "28000" if message.contains("pg_hba") => Kind::Unfit,
        // Wrong password, no such role or not allowed to log in, no such database, no right to it, database
        // takes no connections.
        "28P01" | "28000" | "3D000" | "42501" | "55000" => Kind::Denied,
        // The server does not speak this version of the protocol.
        "0A000" | "08P01" => Kind::Unfit,
        // Starting up or shutting down (57P0x), too many connections (53300), and what is not known to be
        // lasting.
        _ => Kind::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_to_wait() {
        for code in [1040, 1053, 1203, 3032, 3168, 1142] {
            assert_eq!(Refusal::mysql(code, "").kind, Kind::NotYet, "{code}");
        }
        for code in [1044, 1045, 1049, 1130, 1698] {
            assert_eq!(Refusal::mysql(code, "").kind, Kind::Denied, "{code}");
        }
        for code in [1251, 1820, 1862, 3118, 3159, 4151] {
            assert_eq!(Refusal::mysql(code, "").kind, Kind::Unfit, "{code}");
        }
        for code in ["57P01", "57P02", "57P03", "53300"] {
            assert_eq!(Refusal::postgres(code, "").kind, Kind::NotYet, "{code}");
        }
        for code in ["28P01", "28000", "3D000"] {
            assert_eq!(Refusal::postgres(code, "").kind, Kind::Denied, "{code}");
        }
        assert_eq!(
            Refusal::postgres("28000", "no pg_hba.conf entry for host \"10.0.0.1\"").kind,
            Kind::Unfit
        );
    }

    #[test]
    fn the_network_is_never_for_ever() {
        for (error, kind) in [
            (io::ErrorKind::ConnectionRefused, Kind::Refused),
            (io::ErrorKind::HostUnreachable, Kind::Refused),
            (io::ErrorKind::ConnectionReset, Kind::Reset),
            (io::ErrorKind::UnexpectedEof, Kind::Reset),
            (io::ErrorKind::TimedOut, Kind::Silent),
        ] {
            let refusal = Refusal::network(&error.into());
            assert_eq!(refusal.kind, kind);
            assert!(!refusal.kind.may_be_for_ever());
        }
    }

    #[test]
    fn a_refusal_is_one_line_with_its_code() {
        let refusal = Refusal::mysql(1045, "Access denied for user 'a'@'b'\nsecond line");
        assert_eq!(refusal.to_string(), "Access denied for user 'a'@'b' (error 1045)");
    }
}
