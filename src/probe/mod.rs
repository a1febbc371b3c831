//! Is a database ready? Knows addresses and logins, and no Kubernetes.
//!
//! An [`attempt`](attempt::Prober::attempt) logs in and asks the server who it is; [`Readiness`] turns the
//! answers of many attempts, and what is seen of the container from outside, into a verdict; [`all_ready`]
//! repeats attempts until every database is ready at once.

mod address;
mod attempt;
mod dial;
mod key;
pub mod marker;
mod mysql;
mod postgres;
mod readiness;
mod refusal;
mod relay;
pub mod session;
mod together;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use attempt::{Answer, Outcome, Prober, ProcessId};
pub use dial::{Connection, Dial};
pub use readiness::{Evidence, Readiness, Reason, Settle, Verdict, WINDOW};
pub use refusal::{Kind, Refusal};
pub use together::{Found, Stage, Watched, all_ready};

use crate::database::{Arguments, Engine, Login};

#[derive(Debug, Clone)]
pub struct Target {
    pub engine: Engine,
    pub host: String,
    pub port: u16,
    /// What connects to it, where its address is not to be used.
    pub way: Option<Arc<dyn Dial>>,
    pub login: Login,
    /// An administrator, asked for evidence where the tests' user may not see it.
    pub admin: Option<Login>,
    /// What the final server's command line says, where that is known.
    pub arguments: Option<Arguments>,
    pub tls: Tls,
    /// What has to have signed the server's certificate, as PEM; `None` takes any.
    pub authority: Option<String>,
    /// Whether the password may be sent without TLS in clear text, or under a key that the server sends.
    pub may_reveal: bool,
    pub pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// While the server may become ready at any moment.
    pub usual: Duration,
    /// While the log says that the set-up goes on: its next line ends the pause at once.
    pub setting_up: Duration,
}

/// Whether logins go over TLS. Certificates are verified where [`Target::authority`] says by what: most
/// throw-away servers sign their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Without; over TLS where the server refuses that.
    AsNeeded,
    Never,
    Always,
}

/// The state of the container behind a database, as far as it matters to probing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    /// Not running, and why.
    Waiting(String),
    /// Running; the id changes when the container is restarted.
    Running(String),
}

/// What the log of the running container tells of its set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Nothing so far: it may not be read, or it is not the log of a known image.
    Unread,
    /// Set-up has begun and is not over.
    SettingUp,
    /// Set-up is over (or there was none): the text that says so.
    Final(&'static str),
}

/// What is seen of a database without talking to its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    pub container: Container,
    pub log: Log,
}

impl Outside {
    pub fn waiting(why: impl Into<String>) -> Self {
        Self { container: Container::Waiting(why.into()), log: Log::Unread }
    }

    /// A container that has just started, its log unread.
    pub fn running(id: impl Into<String>) -> Self {
        Self { container: Container::Running(id.into()), log: Log::Unread }
    }
}

/// Waits for the next change. Never returns once the watch is over: whoever owns both reports why.
pub async fn change<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
