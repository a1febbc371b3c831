//! What a server is started from: the plan of one server, and the run that it belongs to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::time::Instant;

use super::account::Account;
use super::area::Area;
use super::find::Installed;
use super::snapshot::Snapshot;
use crate::database::Database;
use crate::manifest::seed::Seed;
use crate::output::Environment;

/// A database and the server for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Planned {
    /// What the manifest says.
    pub database: Database,
    /// The server's folder below that of the run.
    pub folder: String,
    pub installed: Installed,
    /// As whom it runs; `None` for the caller.
    pub account: Option<Account>,
    /// The manifest's arguments that it takes here too.
    pub args: Vec<String>,
    /// The container's variables, as far as they are known: set-up scripts read them.
    pub variables: BTreeMap<String, String>,
    /// The manifest's set-up scripts, in their order.
    pub scripts: Vec<Script>,
    /// What is put in once.
    #[serde(skip)]
    pub seed: Option<Seed>,
    /// The snapshot that it starts with, in the place of scripts and seed.
    pub from: Option<Snapshot>,
    /// The port that it has to have; `None` for any that is free.
    pub port: Option<u16>,
    /// Which names of time zones a MySQL or MariaDB is to know; `None` for none.
    pub zones: Option<String>,
    /// The time zone that the manifest sets with `TZ`.
    pub zone: Option<String>,
    /// Whether the manifest keeps its data in memory.
    pub in_memory: bool,
    /// What the manifest says about a PostgreSQL.
    pub postgres: Options,
}

impl Planned {
    pub fn log(&self, run: &Path) -> PathBuf {
        run.join(&self.folder).join("log")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// As its user calls it.
    pub name: String,
    /// As it is called in a container.
    pub file: String,
    #[serde(serialize_with = "in_base64", deserialize_with = "of_base64")]
    pub bytes: Vec<u8>,
}

fn in_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn of_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// What a manifest says about a PostgreSQL beyond its logins.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Options {
    /// `POSTGRES_INITDB_ARGS`
    pub initdb: Vec<String>,
    /// `POSTGRES_HOST_AUTH_METHOD`
    pub auth_method: Option<String>,
    /// How often a password is hashed at each login; without, as often as a server does by itself.
    #[serde(default)]
    pub scram_iterations: Option<u32>,
}

/// The run that a server is started for.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub run_id: &'a str,
    /// The folder above the servers' data folders.
    pub folder: &'a Path,
    /// Where prepared folders are.
    pub area: &'a Area,
    /// The ports that servers of the run have to have.
    pub ports: &'a [u16],
    pub deadline: Instant,
    /// The time that this is, as the user said it.
    pub timeout: Duration,
    /// The folder of the project.
    pub project: &'a Path,
    /// The variables of a seed's command: of one database, at a port, with a folder for files that they name.
    pub environment: &'a dyn Fn(&Database, u16, &Path) -> anyhow::Result<Environment>,
    /// How many bytes all seeds together may take.
    pub seed_limit: u64,
}
