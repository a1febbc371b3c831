//! The manifest's set-up scripts: what a container would find in `/docker-entrypoint-initdb.d`, run with the
//! server's own client in the order of their names, as the images do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, anyhow};

use super::find::title;
use super::mysql;
use super::planned::{Planned, Run, Script};
use super::program::{self, Setting};
use crate::database::{Engine, Login};
use crate::failure::{Advise, Exit};

pub(super) struct Server<'a> {
    pub data: &'a Path,
    pub port: u16,
    pub root: &'a Login,
}

/// Runs the scripts of one database.
///
/// # Errors
/// The script that failed and what was said last, or the one that still ran at the deadline
/// ([`Exit::NotReady`]).
pub(super) async fn run(
    planned: &Planned,
    server: &Server<'_>,
    setting: Setting<'_>,
    run: Run<'_>,
) -> anyhow::Result<()> {
    for script in &planned.scripts {
        let place = || format!("{}: the set-up script {}", planned.database.name, script.name);
        let too_late = || anyhow!("it still runs after {}", humantime::format_duration(run.timeout));
        let outcome = tokio::time::timeout_at(run.deadline, run_one(planned, server, script, setting)).await;
        outcome.unwrap_or_else(|_| Err(too_late()).exit(Exit::NotReady)).with_context(place)?;
    }
    Ok(())
}

async fn run_one(
    planned: &Planned,
    server: &Server<'_>,
    script: &Script,
    setting: Setting<'_>,
) -> anyhow::Result<()> {
    let folder = home(planned, server, setting)?;
    let program = if script.name.ends_with(".sh") { PathBuf::from("/bin/bash") } else { client(planned)? };
    let mut command = setting.command(&program, &folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.envs(&planned.variables).envs(surroundings(planned, server));
    if script.name.ends_with(".sh") {
        // In a file, as in a container: on standard input its own commands would read the rest of it.
        let file = server.data.with_file_name("set-up.sh");
        crate::files::write(&file, &script.text, 0o600)?;
        super::account::hand_over(&file, setting.account)?;
        command.arg("-e").arg(file);
        return program::finish(command, &program, "").await;
    }
    if planned.database.engine == Engine::Postgres {
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "--no-password"]);
    } else {
        command
            .args(["--no-defaults", "--default-character-set=utf8mb4", "--protocol=socket", "--comments"])
            .arg(format!("--user={}", server.root.user));
        command.args(&planned.database.login.database);
    }
    program::finish(command, &program, &script.text).await
}

/// The folder in which scripts run, beside the data. It is handed over once it is whole: what is written into
/// it later could be led elsewhere.
fn home(planned: &Planned, server: &Server<'_>, setting: Setting<'_>) -> anyhow::Result<PathBuf> {
    let home = server.data.with_file_name("home");
    if !home.exists() {
        super::account::make_folder(&home, None)?;
        if planned.database.engine != Engine::Postgres {
            write_client_settings(&home.join(".my.cnf"), server, setting)?;
        }
        super::account::hand_over(&home, setting.account)?;
    }
    Ok(home)
}

/// The machine's own settings may name the socket of its own server, and they win over variables; those in
/// HOME win over them.
fn write_client_settings(path: &Path, server: &Server<'_>, setting: Setting<'_>) -> anyhow::Result<()> {
    let socket = mysql::socket(server.data).display().to_string();
    let socket = socket.replace('\\', "\\\\").replace('"', "\\\"");
    crate::files::write(
        path,
        &format!(
            "[client]\nsocket = \"{socket}\"\nport = {}\ndefault-character-set = utf8mb4\n",
            server.port
        ),
        0o600,
    )?;
    super::account::hand_over(path, setting.account)
}

/// How a client finds the server without being told by arguments.
fn surroundings(planned: &Planned, server: &Server<'_>) -> BTreeMap<&'static str, String> {
    let root = server.root;
    let password = root.password.reveal().to_owned();
    match planned.database.engine {
        Engine::Postgres => [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", server.port.to_string()),
            ("PGUSER", root.user.clone()),
            ("PGPASSWORD", password),
            ("PGDATABASE", planned.database.login.database.clone().unwrap_or_else(|| root.user.clone())),
        ]
        .into(),
        _ => [
            ("MYSQL_UNIX_PORT", mysql::socket(server.data).display().to_string()),
            ("MYSQL_TCP_PORT", server.port.to_string()),
            ("MYSQL_PWD", password),
        ]
        .into(),
    }
}

/// The engine's own client: it knows the commands that scripts and dumps hold besides SQL.
fn client(planned: &Planned) -> anyhow::Result<PathBuf> {
    let (names, package): (&[&str], _) = match planned.installed.engine {
        Engine::Postgres => (&["psql"], "postgresql-client"),
        Engine::Mariadb => (&["mariadb", "mysql"], "mariadb-client-core"),
        _ => (&["mysql"], "mysql-client-core"),
    };
    let beside = planned.installed.program.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        beside.into_iter().chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/bin")]).collect();
    let found = folders
        .iter()
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file());
    found
        .ok_or_else(|| {
            anyhow!(
                "it needs {}'s client {}, which is not on this machine",
                title(planned.installed.engine),
                names[0]
            )
        })
        .hint(format!("install it: apt install {package}, or what your system calls it"))
}
