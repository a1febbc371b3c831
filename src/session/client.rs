//! `testbed connect`: a database's own client, logged in. What it is told goes through its environment and an
//! option file: a password among arguments is in the process list.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::anyhow;

use super::program::{self, Cannot};
use super::reached::Reached;
use super::standing::Standing;
use super::{Signals, attend};
use crate::cli::{Connect, Global};
use crate::console;
use crate::database::Engine;
use crate::failure::Advise;
use crate::output::{self, Connection, Environment, Model, Names};
use crate::progress::{Loudness, Progress};
use crate::registry::Record;
use crate::runtime::local::packages;

/// The exit code is the client's own.
pub(crate) async fn connect(args: Connect, global: &Global, progress: &Progress) -> anyhow::Result<u8> {
    let run = Standing::find(&args.which, global)?;
    let database = run.one(args.database.as_deref(), "connect")?;
    let client = client(&database, &run.record).await?;
    let model = run.model(std::slice::from_ref(&database.name))?;
    let mut signals = Signals::new()?;
    let reached = tokio::select! {
        reached = Reached::open(&run, model, global, progress) => reached?,
        error = signals.interrupted() => return Err(error),
    };
    // What the variables keep back, and what an option file says against them, is of no matter to this client.
    let environment = reached.environment(&run, &Names::default(), &Progress::new(Loudness::Quiet))?;
    let mut command = vec![client.into_os_string()];
    command.extend(own_arguments(&reached.model, &reached.folder(&run)?));
    command.extend(args.arguments);
    if database.engine == Engine::Sqlite.name() {
        progress.say(
            "note: SQLite is in memory, so that each program has a database of its own: this one is empty",
        );
    }
    if !reached.is_forwarded() {
        return Ok(become_it(&command, &environment).report(&command[0]));
    }
    match attend::start(&command, &environment, &run.record.run_id, &mut signals).await {
        Ok(mut running) => running.attend_client(&mut signals).await,
        Err(cannot) => Ok(cannot.report(&command[0])),
    }
}

/// Puts the client in the place of this process, which has nothing left to do: the terminal is the client's.
/// Tells why it could not.
fn become_it(command: &[OsString], environment: &Environment) -> Cannot {
    // What was said is out before the client says anything.
    console::finish();
    let mut client = Command::new(&command[0]);
    client.args(&command[1..]);
    for name in &environment.removed {
        client.env_remove(name);
    }
    client.envs(environment.set.iter().map(|(name, value)| (name, value)));
    Cannot::from_error(&client.exec())
}

/// What an engine's clients are called, from the best one on.
fn clients(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Postgres => &["psql"],
        Engine::Mysql => &["mysql", "mariadb"],
        Engine::Mariadb => &["mariadb", "mysql"],
        Engine::Sqlite => &["sqlite3"],
    }
}

/// The client's program: in `PATH`, or beside the server.
async fn client(database: &Connection, record: &Record) -> anyhow::Result<PathBuf> {
    let engine = Engine::parse(database.engine)?;
    let names = clients(engine);
    if let Some(name) = names.iter().find(|name| program::look_up(name.as_ref()).is_ok()) {
        return Ok(name.into());
    }
    let servers = record.local().map(|local| local.programs.as_slice()).unwrap_or_default();
    let beside =
        |name: &&str| servers.iter().map(|server| server.with_file_name(name)).find(|path| path.is_file());
    if let Some(client) = names.iter().find_map(beside) {
        return Ok(client);
    }
    let name = &database.name;
    Err(anyhow!("there is no client for {name}: {} is not in PATH", names.join(" or ")))
        .hint(packages::of_client(engine).await)
        .hint(format!("testbed env {name} tells other clients where the database is"))
}

/// What a client is told that reads no variable for it.
fn own_arguments(model: &Model, folder: &Path) -> Vec<OsString> {
    let [database] = model.databases.as_slice() else { return Vec::new() };
    let option = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| OsString::from(format!("--{name}={value}")))
    };
    match Engine::parse(database.engine) {
        Ok(Engine::Mysql | Engine::Mariadb) => {
            let mut arguments = Vec::new();
            // The user's own file would count for more than the run's.
            if output::other_option_file(model).is_some() && output::option_file(model).is_some() {
                let mut file = OsString::from("--defaults-file=");
                file.push(folder.join("my.cnf"));
                arguments.push(file);
            }
            arguments.extend(option("user", &database.user));
            arguments.extend(option("database", &database.database));
            arguments
        }
        Ok(Engine::Sqlite) => database.database.iter().map(OsString::from).collect(),
        _ => Vec::new(),
    }
}
