//! A folder to start servers in, that knows whether anything is left of them; and the drivers that tests log
//! in with.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mysql_async::OptsBuilder;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, SimpleQueryMessage};

pub use crate::support::count;
use crate::support::{Called, Folder};

/// A folder whose runs are on this machine. When it goes, nothing may be left of them.
pub struct Local {
    folder: Folder,
}

impl Deref for Local {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Local {
    pub fn new() -> Self {
        Self::of(Folder::local())
    }

    /// The same for a folder that has settings of its own.
    pub fn of(folder: Folder) -> Self {
        Self { folder }
    }

    /// A cache that nobody has used yet.
    pub fn with_cold_cache() -> Self {
        let folder = Folder::local();
        let cache = folder.path().join("cache");
        Self::of(folder.env("XDG_CACHE_HOME", cache.display().to_string()))
    }

    /// `up` with a run id, and what it wrote.
    pub fn up(&self, args: &[&str]) -> (Called, Vec<Database>) {
        let called = self.call(&[&["up"], args].concat()).ok();
        (called, self.databases("testing-databases.json"))
    }

    /// A call from a folder below.
    pub fn call_in(&self, folder: &str, args: &[&str]) -> Called {
        let mut command = self.command(args);
        command.current_dir(self.path().join(folder));
        Called::new(args, command.output().expect("testbed"))
    }

    /// What a config file says.
    pub fn databases(&self, name: &str) -> Vec<Database> {
        read_config(&self.read(name))
    }

    /// testbed's own part of the state folder.
    pub fn state(&self) -> PathBuf {
        self.path().join("state/testbed")
    }

    /// The record of a run.
    pub fn record(&self, run_id: &str) -> Option<Value> {
        let text = std::fs::read(self.state().join("runs").join(run_id).join("run.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("a record"))
    }

    /// Changes the record of a run, as another version of testbed or another time of the machine would have
    /// written it.
    pub fn change_record(&self, run_id: &str, change: impl FnOnce(&mut Value)) {
        let mut record = self.record(run_id).expect("a record");
        change(&mut record);
        std::fs::write(self.state().join("runs").join(run_id).join("run.json"), record.to_string())
            .expect("a record");
    }

    /// What is left, apart from what belongs to the runs with these ids.
    pub fn left_but(&self, runs: &[&str]) -> Vec<String> {
        let is_spared = |path: &Path| {
            let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            runs.iter()
                .any(|run| parts.iter().any(|part| part == run || part.starts_with(&format!("{run}."))))
        };
        let mut left: Vec<String> = Vec::new();
        for (pid, folder) in working_below(self.path()) {
            if !is_spared(&folder) {
                left.push(format!("process {pid} in {}: {}", folder.display(), command_line(pid)));
            }
        }
        let memory = self.state().join("folders");
        let files =
            below(&self.state()).into_iter().filter(|path| !path.ends_with("runs/.lock") && !is_spared(path));
        // What became of the runs stays on purpose.
        let files = files.filter(|path| {
            !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("history.db"))
        });
        // So do snapshots, until somebody removes them.
        let snapshots = self.state().join("snapshots");
        let files = files.filter(|path| !path.starts_with(&snapshots));
        // The folder remembers the last run that was made in it as long as that is up.
        let files = files.filter(|path| runs.is_empty() || !path.starts_with(&memory));
        left.extend(files.map(|path| path.display().to_string()));
        left.extend(making(&self.path().join("cache")).iter().map(|path| path.display().to_string()));
        left
    }

    /// Nothing may be left.
    pub fn assert_nothing_left(&self) {
        let left = self.left_but(&[]);
        assert!(left.is_empty(), "left: {left:#?}");
    }

    /// Puts a Python script in the place of PostgreSQL's server, with initdb beside it, and returns the parameter
    /// that names it. `script` gets the path of the real server.
    pub fn in_place_of_postgres(&self, script: impl FnOnce(&str) -> String) -> String {
        let record = ["run", "--with", "postgres", "--run-id", "r", "--", "sh", "-c"];
        let shown =
            Local::new().call(&[&record[..], &["cat $XDG_STATE_HOME/testbed/runs/r/run.json"]].concat()).ok();
        let record: Value = serde_json::from_str(&shown.stdout).unwrap();
        let program = record["place"]["local"]["programs"][0].as_str().unwrap();
        std::fs::create_dir_all(self.path().join("bin")).unwrap();
        let initdb = Path::new(program).with_file_name("initdb");
        std::os::unix::fs::symlink(initdb, self.path().join("bin/initdb")).unwrap();
        let wrapper = self.file("bin/postgres", &format!("#!/usr/bin/python3\n{}", script(program)));
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        format!("postgres.server={}", wrapper.display())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let left = self.left_but(&[]);
        // Whatever a test that failed has started.
        for (pid, _) in working_below(self.path()) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        assert!(std::thread::panicking() || left.is_empty(), "left at the end of the test: {left:#?}");
    }
}

/// Folders of a cache that are being prepared.
pub fn making(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache.join("testbed/prepared")).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "making"))
        .collect()
}

/// All that is below a folder and that is no folder, and folders that have nothing in them and are not those
/// of testbed itself.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(path);
            continue;
        }
        let inner = below(&path);
        let is_own =
            ["runs", "data", "folders"].iter().any(|own| path.ends_with(Path::new("testbed").join(own)));
        if inner.is_empty() && !is_own {
            found.push(path);
        }
        found.extend(inner);
    }
    found
}

/// The processes that work in a folder or below it, also where it is deleted by now.
pub fn working_below(folder: &Path) -> Vec<(u32, PathBuf)> {
    let folder = folder.canonicalize().expect("the folder");
    processes()
        .filter_map(|pid| Some((pid, std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?)))
        .filter(|(_, at)| at.starts_with(&folder))
        .collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

pub fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Whether a process is there, and is more than a note for its parent.
pub fn is_alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    state.is_some_and(|text| {
        text.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

/// The ports of this machine that somebody listens on, by the socket's inode.
fn listening() -> Vec<(u16, String)> {
    let text = std::fs::read_to_string("/proc/net/tcp").expect("/proc");
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        (*fields.get(3)? == "0A").then(|| Some((port, fields.get(9)?.to_string())))?
    };
    text.lines().filter_map(read).collect()
}

pub fn listens(port: u16) -> bool {
    listening().iter().any(|(other, _)| *other == port)
}

/// The ports that the processes below a folder listen on.
pub fn ports_below(folder: &Path) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = working_below(folder)
        .into_iter()
        .flat_map(|(pid, _)| std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten())
        .filter_map(|entry| {
            Some(
                std::fs::read_link(entry.path())
                    .ok()?
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    listening().into_iter().filter(|(_, socket)| sockets.contains(socket)).map(|(port, _)| port).collect()
}

/// Repeats a look until it shows something.
pub fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A database as a config file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub driver: String,
    pub user: String,
    pub password: String,
    pub host: String,
    pub port: u16,
    pub database: Option<String>,
}

/// The servers of a config file in the default format.
pub fn read_config(text: &str) -> Vec<Database> {
    let entries: Vec<(String, Value)> = serde_json::from_str(text).expect("a config file");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    entries
        .into_iter()
        .map(|(driver, args)| Database {
            user: text(&args["user"]).expect("a user"),
            password: text(&args["password"]).expect("a password"),
            host: text(&args["host"]).expect("a host"),
            port: args["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port"),
            database: text(&args[if driver == "postgres" { "dbname" } else { "database" }]),
            driver,
        })
        .collect()
}

impl Database {
    /// The same server with another login.
    pub fn as_user(&self, user: &str, password: &str) -> Self {
        Self { user: user.into(), password: password.into(), ..self.clone() }
    }

    pub fn to_database(&self, database: &str) -> Self {
        Self { database: Some(database.into()), ..self.clone() }
    }

    /// Logs in, and tells the first column of what a query finds.
    pub fn query(&self, sql: &str) -> Result<Vec<String>, String> {
        let mut login = self.log_in()?;
        let rows = login.query(sql)?;
        login.log_out().map(|()| rows)
    }

    /// Logs in, and stays.
    pub fn log_in(&self) -> Result<Login, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let session = in_time(&runtime, async {
            if self.driver == "postgres" {
                self.log_in_to_postgres().await
            } else {
                self.log_in_to_mysql().await
            }
        });
        Ok(Login { session: session?, runtime })
    }

    /// The only value that a query finds.
    pub fn value(&self, sql: &str) -> String {
        let rows = self
            .query(sql)
            .unwrap_or_else(|error| panic!("{sql} as {} on {}: {error}", self.user, self.port));
        rows.into_iter().next().unwrap_or_else(|| panic!("{sql} finds nothing"))
    }

    /// A login and a query have to succeed.
    pub fn assert_takes_logins(&self) {
        assert_eq!(self.value("SELECT 1"), "1");
    }

    /// Why it takes no login with this password.
    pub fn refusal(&self) -> String {
        self.query("SELECT 1").expect_err("a refusal")
    }

    async fn log_in_to_postgres(&self) -> Result<Session, String> {
        let mut config = tokio_postgres::Config::new();
        config.host(&self.host).port(self.port).user(&self.user).password(&self.password);
        config.dbname(self.database.as_deref().expect("a database"));
        let (client, connection) = config.connect(NoTls).await.map_err(|error| said(&error))?;
        tokio::spawn(connection);
        Ok(Session::Postgres(client))
    }

    async fn log_in_to_mysql(&self) -> Result<Session, String> {
        let options = OptsBuilder::default()
            .ip_or_hostname(&self.host)
            .tcp_port(self.port)
            .user(Some(&self.user))
            .pass(Some(&self.password))
            .db_name(self.database.clone())
            .prefer_socket(false);
        mysql_async::Conn::new(options).await.map(Session::Mysql).map_err(|error| error.to_string())
    }
}

/// Somebody who is logged in.
pub struct Login {
    session: Session,
    runtime: Runtime,
}

enum Session {
    Postgres(tokio_postgres::Client),
    Mysql(mysql_async::Conn),
}

impl Login {
    /// The first column of what a query finds.
    pub fn query(&mut self, sql: &str) -> Result<Vec<String>, String> {
        in_time(&self.runtime, async {
            match &mut self.session {
                Session::Postgres(client) => {
                    let messages = client.simple_query(sql).await.map_err(|error| said(&error))?;
                    let rows = messages.iter().filter_map(|message| match message {
                        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                        _ => None,
                    });
                    Ok(rows.collect())
                }
                Session::Mysql(connection) => connection.query(sql).await.map_err(|error| error.to_string()),
            }
        })
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.session, Session::Postgres(_))
    }

    pub fn log_out(self) -> Result<(), String> {
        match self.session {
            // It goes with what it works in.
            Session::Postgres(_) => Ok(()),
            Session::Mysql(connection) => in_time(&self.runtime, async {
                connection.disconnect().await.map_err(|error| error.to_string())
            }),
        }
    }
}

fn in_time<T>(runtime: &Runtime, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), work)
            .await
            .map_err(|_| "no answer within 30 s".to_owned())?
    })
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
