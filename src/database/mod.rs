//! A database as the tests see it: engine, address, login. Found in the objects of a manifest by
//! [`discover`](mod@discover).
//!
//! Nothing here talks to a server or to a cluster.

pub mod discover;
mod login;
mod options;
pub mod program;
pub mod service;
mod variables;
mod workload;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::authority;
pub use crate::engine::Engine;
pub use discover::{Discovery, Other, discover};
pub use login::{Plain, check_name, of_image, of_variables};
pub use options::Arguments;
pub use variables::{Data, DataKind, Files, Reference, Variables};
pub use workload::{Workload, is_sidecar};

/// A password: it never shows in debug output, and has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes a password in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for a login or for the config file.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A password in a file that its owner alone reads: nothing else writes one by accident.
mod revealed {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Password;

    pub(super) fn serialize<S: Serializer>(password: &Password, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(password.reveal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Password, D::Error> {
        String::deserialize(deserializer).map(Password)
    }
}

/// Who logs in, with what, to which database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    pub user: String,
    /// The password; empty where the server asks for none.
    #[serde(with = "revealed")]
    pub password: Password,
    /// The database to use; `None` where the manifest names none (MySQL allows that).
    pub database: Option<String>,
}

/// What a server speaks TLS with, as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// By which clients know the server's certificate.
    pub authority: String,
    pub certificate: String,
    #[serde(with = "revealed")]
    pub key: Password,
}

impl Certificate {
    /// The authority's as Java takes it.
    pub fn keystore(&self) -> anyhow::Result<Vec<u8>> {
        authority::keystore(&self.authority)
    }
}

/// What the user says about staying up as evidence: a duration, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// It never counts.
    Never,
    /// It counts after this long, for any server.
    For(Duration),
}

impl Settling {
    /// Reads `10s` or `never`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        crate::deadline::parse(text)
            .map(Self::For)
            .map_err(|error| format!("{error}; write a duration such as 10s, or never"))
    }
}

/// A further database on a server, whose users all have the password of the tests' own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Further {
    pub name: String,
    /// Who logs in to it; the tests' own user where none is named.
    pub user: Option<String>,
}

impl Further {
    /// The login to it, beside the one to the server's first database.
    pub fn login(&self, tests: &Login) -> Login {
        Login {
            user: self.user.clone().unwrap_or_else(|| tests.user.clone()),
            password: tests.password.clone(),
            database: Some(self.name.clone()),
        }
    }
}

/// A database server of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// What progress lines and `--connarg` call it: its Service's name without the run id.
    pub name: String,
    pub engine: Engine,
    /// The Service's name, which is the host name that the tests use.
    pub host: String,
    /// The port of that Service.
    pub port: u16,
    /// The port that the server listens on inside its pod.
    pub server_port: u16,
    /// The manifest's object that makes the pod, such as `Pod/mysql-42`.
    pub workload: String,
    /// The container in that pod.
    pub container: String,
    /// The container's image as the manifest names it.
    pub image: String,
    /// The tests' user.
    pub login: Login,
    /// The server's administrator, where the manifest tells the password: may look at what proves the final
    /// server.
    pub admin: Option<Login>,
    /// Whether it copies another server.
    #[serde(skip)]
    pub is_replica: bool,
    /// Whether the container runs the entrypoint of an image whose log can be read for the course of its
    /// set-up.
    pub entrypoint_is_known: bool,
    /// Whether the final server can be told by its process id: not where processes of the pod share one
    /// namespace, nor below a command of the manifest's own.
    pub becomes_process_1: bool,
    /// What the final server's command line says, where that is known: for an image that is official by its
    /// name, with its own entrypoint.
    #[serde(skip)]
    pub arguments: Option<Arguments>,
    /// Further databases on the server, from the annotation `testbed/databases`.
    pub further: Vec<Further>,
    /// Whether staying up counts as evidence (`testbed/settle`).
    #[serde(skip)]
    pub settle: Option<Settling>,
    /// Where it takes logins over TLS alone (`testbed/tls`).
    pub tls: Option<Certificate>,
    /// Extra arguments for the config file, from the annotation `testbed/connargs`.
    pub connargs: Map<String, Value>,
}
