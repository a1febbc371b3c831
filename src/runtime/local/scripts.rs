//! The manifest's set-up scripts: what a container would find in `/docker-entrypoint-initdb.d`, run with the
//! server's own client in the order of their names, as the images do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, anyhow};
use tokio::process::Command;

use super::find::title;
use super::planned::{Planned, Run, Script};
use super::program::{self, Setting};
use super::{mysql, packages};
use crate::database::{Engine, Login};
use crate::engine::{self, Vendor};
use crate::failure::{Advise, Exit};
use crate::runtime::seeding;

pub(super) struct Server<'a> {
    pub data: &'a Path,
    pub port: u16,
    pub root: &'a Login,
}

/// Runs scripts on one database; `what` they are stands before their names.
///
/// # Errors
/// The script that failed and what was said last, or the one that still ran at the deadline
/// ([`Exit::NotReady`]).
pub(super) async fn run(
    planned: &Planned,
    what: &str,
    scripts: &[Script],
    server: &Server<'_>,
    setting: Setting<'_>,
    run: Run<'_>,
) -> anyhow::Result<()> {
    for script in scripts {
        let place = || format!("{}: {what} {}", planned.database.name, script.name);
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
    let is_shell = script.file.ends_with(".sh");
    let program = if is_shell { PathBuf::from("/bin/bash") } else { client(planned)? };
    let mut command = setting.command(&program, &folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.envs(&planned.variables).envs(surroundings(planned, server));
    if is_shell {
        // In a file, as in a container: on standard input its own commands would read the rest of it.
        let file = server.data.with_file_name("set-up.sh");
        let text = std::str::from_utf8(&script.bytes).context("it is not UTF-8")?;
        crate::files::write(&file, text, 0o600)?;
        super::account::hand_over(&file, setting.account)?;
        command.arg("-e").arg(file);
        return program::finish(command, &program, b"").await;
    }
    if planned.database.engine == Engine::Postgres {
        if let Some(login) = bitnamis_user(planned) {
            command.env("PGUSER", &login.user).env("PGPASSWORD", login.password.reveal());
        }
        // As a file, it tells the line of an error.
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "--no-password", "-f", "-"]);
    } else {
        command
            .args(["--no-defaults", "--default-character-set=utf8mb4", "--protocol=socket", "--comments"])
            .arg(format!("--user={}", server.root.user));
        command.args(&planned.database.login.database);
    }
    let ended = match PACKED.iter().find(|(ending, ..)| script.file.ends_with(ending)) {
        None => program::finish(command, &program, &script.bytes).await,
        Some((_, unpacker, package)) => {
            let unpacker = found(&[unpacker], &search_path())
                .ok_or_else(|| anyhow!("it needs {unpacker}, which is not on this machine"))
                .hint(format!("install it: apt install {package}, or what your system calls it"))?;
            unpacked(&unpacker, setting, &folder, &script.bytes, command, &program).await
        }
    };
    match ended {
        Ok(()) => Ok(()),
        Err(error) => Err(explained(planned, error).await),
    }
}

/// The endings of scripts that are packed, what unpacks them, and the package that it is in.
const PACKED: [(&str, &str, &str); 3] =
    [(".gz", "gzip", "gzip"), (".xz", "xz", "xz-utils"), (".zst", "zstd", "zstd")];

/// Runs a client with what an unpacker makes of a script.
async fn unpacked(
    unpacker: &Path,
    setting: Setting<'_>,
    folder: &Path,
    bytes: &[u8],
    mut client: Command,
    program: &Path,
) -> anyhow::Result<()> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    let mut command = setting.command(unpacker, folder);
    command.arg("-dc").stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped()).kill_on_drop(true);
    client.stdin(reader);
    let (unpacking, ended) =
        futures::join!(program::finish(command, unpacker, bytes), program::finish(client, program, b""));
    // A client that has failed reads no further, which the unpacker does not like.
    ended.and(unpacking)
}

/// An error of a client, with the line of the script and the server's message in front, and the package of an
/// extension that the server does not have.
async fn explained(planned: &Planned, error: anyhow::Error) -> anyhow::Error {
    let said = crate::failure::details_of(&error).concat();
    let explained = match said.lines().find_map(seeding::located) {
        None => error,
        Some((line, message)) => {
            let plain = anyhow!("line {line}: {message}");
            crate::failure::details_of(&error).iter().fold(plain, |plain, detail| plain.detail(*detail))
        }
    };
    match extension(&said) {
        None => explained,
        Some(name) => explained.hint(packages::of_extension(&planned.installed, name).await),
    }
}

/// The extension that a server does not have.
fn extension(said: &str) -> Option<&str> {
    let quoted = said.split_once("extension \"").map(|(_, rest)| rest);
    let named = quoted.and_then(|rest| rest.split_once("\" is not available")).map(|(name, _)| name);
    // Those before version 13 tell the file only.
    let file = || {
        let (_, rest) = said.split_once("could not open extension control file \"")?;
        let (path, _) = rest.split_once('"')?;
        path.rsplit('/').next()?.strip_suffix(".control")
    };
    named.or_else(file).filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))
}

/// The folder in which scripts run, beside the data. It is handed over once it is whole: what is written into
/// it later could be led elsewhere.
fn home(planned: &Planned, server: &Server<'_>, setting: Setting<'_>) -> anyhow::Result<PathBuf> {
    let home = server.data.with_file_name("home");
    if !home.exists() {
        super::account::make_folder(&home, None)?;
        if planned.database.engine != Engine::Postgres {
            write_client_settings(&home.join(".my.cnf"), planned, server, setting)?;
        }
        super::account::hand_over(&home, setting.account)?;
    }
    Ok(home)
}

/// The machine's own settings may name the socket of its own server, and they win over variables; those in
/// HOME win over them. Only what speaks SQL knows a database.
fn write_client_settings(
    path: &Path,
    planned: &Planned,
    server: &Server<'_>,
    setting: Setting<'_>,
) -> anyhow::Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let socket = quoted(&mysql::socket(server.data).display().to_string());
    let (port, user) = (server.port, quoted(&server.root.user));
    let database = planned.database.login.database.as_deref();
    let database = database.map(|name| format!("[mysql]\ndatabase = {}\n", quoted(name)));
    crate::files::write(
        path,
        &format!(
            "[client]\nsocket = {socket}\nport = {port}\nuser = {user}\ndefault-character-set = utf8mb4\n{}",
            database.unwrap_or_default()
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
            // Where a container has it, nothing is here.
            ("PGDATA", server.data.display().to_string()),
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

/// Bitnami's images run SQL as the tests' user, or as `POSTGRESQL_INITSCRIPTS_USERNAME` says; the others as the
/// superuser.
fn bitnamis_user(planned: &Planned) -> Option<&Login> {
    let login = &planned.database.login;
    let asked = planned.variables.get("POSTGRESQL_INITSCRIPTS_USERNAME");
    let is_bitnamis = engine::identify(&planned.database.image).1 == Vendor::Bitnami;
    (is_bitnamis && asked.is_none_or(|user| *user == login.user)).then_some(login)
}

/// The engine's own client: it knows the commands that scripts and dumps hold besides SQL.
fn client(planned: &Planned) -> anyhow::Result<PathBuf> {
    let (names, package): (&[&str], _) = match planned.installed.engine {
        Engine::Postgres => (&["psql"], "postgresql-client"),
        Engine::Mariadb => (&["mariadb", "mysql"], "mariadb-client-core"),
        _ => (&["mysql"], "mysql-client-core"),
    };
    let beside = planned.installed.program.parent().map(Path::to_owned);
    let folders: Vec<PathBuf> = beside.into_iter().chain(search_path()).collect();
    found(names, &folders)
        .ok_or_else(|| {
            anyhow!(
                "it needs {}'s client {}, which is not on this machine",
                title(planned.installed.engine),
                names[0]
            )
        })
        .hint(format!("install it: apt install {package}, or what your system calls it"))
}

fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]).collect()
}

fn found(names: &[&str], folders: &[PathBuf]) -> Option<PathBuf> {
    let mut paths = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    paths.find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_that_is_not_there_is_told() {
        for (said, expected) in [
            (
                "psql:<stdin>:1: ERROR:  extension \"vector\" is not available\nDETAIL:  Could not",
                Some("vector"),
            ),
            (
                "ERROR:  could not open extension control file \"/usr/share/postgresql/12/extension/uuid-ossp.control\": No such",
                Some("uuid-ossp"),
            ),
            ("ERROR:  extension \"vector\" already exists", None),
            ("ERROR:  extension \"a b\" is not available", None),
        ] {
            assert_eq!(extension(said), expected, "{said}");
        }
    }
}
