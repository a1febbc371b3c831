#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod pool;
mod server;

use std::collections::hash_map::DefaultHasher;
use std::error::Error as StdError;
use std::fmt;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Why there is no database.
#[derive(Debug, Clone)]
pub struct Error {
    /// What the pool answers; 0 where there is no answer.
    status: u16,
    message: String,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { status: 0, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for Error {}

/// A database and its login. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
    /// What libpq has to know besides: `sslmode` and `sslrootcert` where the server takes TLS alone.
    pub params: Vec<(String, String)>,
}

impl Database {
    fn of(answer: &Value) -> Result<Self, Error> {
        let config = &answer["database"]["config"];
        let text = |name: &str| {
            let value = config[name].as_str().map(str::to_owned);
            value.ok_or_else(|| Error::new(format!("testbed's pool says no {name} of a database")))
        };
        let params = config["additionalParams"].as_object().into_iter().flatten();
        Ok(Self {
            host: text("host")?,
            port: config["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(5432),
            user: text("username")?,
            password: text("password")?,
            database: text("database")?,
            params: params
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
        })
    }

    /// What a driver connects to.
    pub fn url(&self) -> String {
        let params: Vec<String> =
            self.params.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let query = if params.is_empty() { String::new() } else { format!("?{}", params.join("&")) };
        let (user, password) = (escaped(&self.user), escaped(&self.password));
        format!(
            "postgresql://{user}:{password}@{}:{}/{}{query}",
            self.host,
            self.port,
            escaped(&self.database)
        )
    }

    /// The variables that lead a command to this database.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("DATABASE_URL", self.url()),
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", self.database.clone()),
        ];
        for (name, value) in &self.params {
            match name.as_str() {
                "sslmode" => env.push(("PGSSLMODE", value.clone())),
                "sslrootcert" => env.push(("PGSSLROOTCERT", value.clone())),
                _ => {}
            }
        }
        env
    }
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Database({self})")
    }
}

fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The pool's hash for the copies of the project's seed.
const SEED: &str = "testbed";

type Migrate = fn(&Database) -> Result<(), Box<dyn StdError>>;

/// What databases are copies of. It is filled when the first of them is asked for.
pub struct Template {
    name: &'static str,
    inputs: &'static [&'static str],
    migrate: Migrate,
    is_seed: bool,
    failure: Mutex<Option<Error>>,
}

impl Template {
    /// One that goes by this name, hangs on these files and folders, and is filled by this function.
    pub const fn new(name: &'static str, inputs: &'static [&'static str], migrate: Migrate) -> Self {
        Self { name, inputs, migrate, is_seed: false, failure: Mutex::new(None) }
    }

    /// What the project's seed has put into its database, `seed` in `testbed.yaml`: there is nothing to fill.
    pub const fn seed() -> Self {
        Self { name: SEED, inputs: &[], migrate: |_| Ok(()), is_seed: true, failure: Mutex::new(None) }
    }

    /// A database that nobody else has, until what is returned is dropped. This waits, and needs no runtime: in an
    /// asynchronous test too it is called as it is.
    pub fn fresh(&self) -> Result<Fresh, Error> {
        if self.is_seed {
            return Fresh::of(SEED);
        }
        let hash = self.hash()?;
        loop {
            self.make(&hash)?;
            match Fresh::of(&hash) {
                // Somebody else was at it and has failed: here it fails too, and says why.
                Err(error) if matches!(error.status, 404 | 410) => {}
                given => return given,
            }
        }
    }

    /// Of several processes one makes it, and the others do not wait here.
    fn make(&self, hash: &str) -> Result<(), Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // A migration that has failed is not tried again for each test of this process.
        if let Some(failure) = &*failure {
            return Err(failure.clone());
        }
        let answer = match pool::ask("POST", "/templates", Some(&serde_json::json!({ "hash": hash }))) {
            Err(error) if error.status == 423 => return Ok(()),
            answer => answer?,
        };
        let begun = Begun(hash);
        let made = (self.migrate)(&Database::of(&answer)?)
            .map_err(|why| {
                Error::new(format!("the migration of the template {} has failed: {why}", self.name))
            })
            .and_then(|()| pool::ask("PUT", &format!("/templates/{hash}"), None));
        match made {
            Ok(_) => std::mem::forget(begun),
            Err(error) => {
                *failure = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    fn hash(&self) -> Result<String, Error> {
        let mut hasher = DefaultHasher::new();
        let mut add = |part: &[u8]| {
            hasher.write_usize(part.len());
            hasher.write(part);
        };
        add(self.name.as_bytes());
        for input in self.inputs {
            let told =
                |error| Error::new(format!("an input of the template {}, {input}: {error}", self.name));
            let mut files = Vec::new();
            walk(Path::new(input), &mut files).map_err(told)?;
            for file in files {
                add(file.as_os_str().as_encoded_bytes());
                add(&std::fs::read(&file).map_err(told)?);
            }
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}

/// A template that is being filled: where the function panics, too, others are not left to wait for it.
struct Begun<'a>(&'a str);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let _ = pool::ask("DELETE", &format!("/templates/{}", self.0), None);
    }
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut inner =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    inner.sort();
    inner.iter().try_for_each(|path| walk(path, files))
}

/// A database of one test. It is given back when this is dropped: removed, and nobody ever gets it again.
#[derive(Debug)]
pub struct Fresh {
    database: Database,
    path: String,
}

impl Fresh {
    fn of(hash: &str) -> Result<Self, Error> {
        let answer = pool::ask("GET", &format!("/templates/{hash}/tests"), None)?;
        let id = answer["id"].as_u64().unwrap_or_default();
        Ok(Self { database: Database::of(&answer)?, path: format!("/templates/{hash}/tests/{id}") })
    }
}

impl std::ops::Deref for Fresh {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let keeps = std::env::var_os("TESTBED_KEEP_FAILED").is_some_and(|value| !value.is_empty());
        if keeps && std::thread::panicking() {
            eprintln!("testbed: {} is kept until `testbed run` ends", self.database);
            return;
        }
        // Where that fails, the end of `testbed run` takes it.
        let _ = pool::ask("POST", &format!("{}/recreate", self.path), None);
    }
}
