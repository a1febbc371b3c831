//! MySQL and MariaDB: how their data folder is prepared, how they are started for tests, and how they get the
//! run's logins: from a file of statements that the server executes before it takes its first connection.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};

use super::find::Installed;
use super::planned::Planned;
use super::prepared::{Placed, Stage};
use super::program::{Setting, argument};
use super::sealed::Sealing;
use super::{tls, zones};
use crate::database::{Engine, Login};
use crate::failure::Advise;
use crate::registry::Server;

/// For data that lives as long as the tests. Buffers are small: at the start, most of the time goes into
/// laying them out.
const SETTINGS: [&str; 10] = [
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
    "--innodb-buffer-pool-size=32M",
    "--innodb-use-native-aio=OFF",
    "--key-buffer-size=1M",
    "--performance-schema=OFF",
];

/// MariaDB would make a certificate of its own, which nobody knows. MySQL has had one since its data folder was
/// made, as in its image: without it, its clients are refused.
const NO_TLS: &str = "--skip-ssl";

/// The log is made whole: a small one is copied faster.
const MARIADB: [&str; 4] = [
    "--innodb-log-file-size=4M",
    "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
    "--innodb-flush-method=nosync",
    "--aria-pagecache-buffer-size=8M",
];
const MYSQL: [&str; 3] = [
    "--innodb-redo-log-capacity=8M",
    "--mysqlx=OFF",
    // Distributions' servers start only where they may use a folder of the system's own one.
    "--secure-file-priv=NULL",
];

/// Settings that belong to testbed: those of the manifest are for the inside of a container.
const OURS: [&str; 18] = [
    "port",
    "bind_address",
    "socket",
    "datadir",
    "basedir",
    "pid_file",
    "log_error",
    "init_file",
    "user",
    "skip_networking",
    "defaults_file",
    "defaults_extra_file",
    "tmpdir",
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "require_secure_transport",
    "loose_require_secure_transport",
];

fn own_settings(installed: &Installed) -> &'static [&'static str] {
    if installed.engine == Engine::Mariadb { &MARIADB } else { &MYSQL }
}

/// Everything that shapes the prepared folder.
pub(super) fn recipe(planned: &Planned) -> String {
    format!("{:?}", (&planned.installed.build, own_settings(&planned.installed), &planned.zones))
}

/// What testbed itself asks of the server.
pub(super) fn own(planned: &Planned) -> String {
    format!("{:?}", (SETTINGS, own_settings(&planned.installed)))
}

/// A server outside the system's folders finds its own files by this.
fn base(installed: &Installed) -> Option<OsString> {
    let base = installed.program.parent()?.parent()?;
    let is_system = ["/usr", "/", "/usr/local"].iter().any(|system| base == Path::new(system));
    (!is_system).then(|| argument("--basedir=", base))
}

/// Makes the data folder, with a root that needs no password.
pub(super) async fn prepare(
    planned: &Planned,
    stage: &Stage<'_>,
    setting: Setting<'_>,
) -> anyhow::Result<()> {
    let Installed { engine, program, .. } = &planned.installed;
    super::account::make_folder(&stage.data, setting.account)?;
    let temporary = own_temporary_folder(&stage.data, setting)?;
    let mut args: Vec<OsString> = vec!["--no-defaults".into()];
    args.extend(base(&planned.installed));
    args.extend(own_settings(&planned.installed).iter().map(OsString::from));
    let zones = if planned.zones.is_some() { zones::statements(*engine)? } else { String::new() };
    if *engine == Engine::Mysql {
        args.extend([argument("--datadir=", &stage.data), temporary, "--initialize-insecure".into()]);
        if !zones.is_empty() {
            let file = stage.folder.join("zones.sql");
            crate::files::write(&file, &zones, 0o600)?;
            super::account::hand_over(&file, setting.account)?;
            args.push(argument(INIT_FILE, &file));
        }
        return setting.run(program, &args, stage.folder, "").await;
    }
    // From within the data folder: the installer, a script, takes a path with a space for two.
    args.extend(["--datadir=.", "--tmpdir=../tmp"].map(OsString::from));
    let own = ["--auth-root-authentication-method=normal", "--skip-test-db"].map(OsString::from);
    setting.run(&installer(program)?, &[&args[..], &own].concat(), &stage.data, "").await?;
    if !zones.is_empty() {
        args.push("--bootstrap".into());
        let loading = setting.run(program, &args, &stage.data, &zones);
        loading.await.context("putting the names of time zones in")?;
    }
    Ok(())
}

/// The argument for a folder of the server's own beside its data, which is made. A server that starts deletes
/// everything called `#sql…` in its folder for temporary files: in a shared one those are the temporary
/// tables of the others.
pub(super) fn own_temporary_folder(data: &Path, setting: Setting<'_>) -> anyhow::Result<OsString> {
    let folder = data.with_file_name("tmp");
    match std::fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("making {}", folder.display()));
        }
        _ => {}
    }
    super::account::hand_over(&folder, setting.account)?;
    Ok(argument("--tmpdir=", &folder))
}

/// The program that makes MariaDB's data folder.
fn installer(server: &Path) -> anyhow::Result<PathBuf> {
    let own = server.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    let folders = [own.join("bin"), own.join("scripts"), PathBuf::from("/usr/bin")];
    let found = folders
        .iter()
        .flat_map(|folder| ["mariadb-install-db", "mysql_install_db"].map(|name| folder.join(name)))
        .find(|path| path.exists());
    found
        .ok_or_else(|| {
            anyhow!(
                "mariadb-install-db is missing beside {}: MariaDB cannot make its data folder without it",
                server.display()
            )
        })
        .hint("install it: Debian has it in mariadb-server-core")
}

/// The server's arguments after the first, `--no-defaults`: those of the manifest last, so that they win.
pub(super) fn arguments(planned: &Planned, data: &Path, port: u16) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![argument("--datadir=", data)];
    args.extend(base(&planned.installed));
    args.push(format!("--port={port}").into());
    // Relative to the data folder: a socket's path may have no more than about a hundred characters.
    args.extend([SOCKET_ARGUMENT, "--pid-file=server.pid"].map(OsString::from));
    args.push(init_file_argument(&init_file(data)));
    args.extend(SETTINGS.iter().chain(own_settings(&planned.installed)).map(OsString::from));
    if planned.database.tls.is_some() {
        args.push(argument("--ssl-cert=", &tls::file(data, tls::CERTIFICATE)));
        args.push(argument("--ssl-key=", &tls::file(data, tls::KEY)));
        args.push("--loose-require-secure-transport=ON".into());
    } else if planned.installed.engine == Engine::Mariadb {
        args.push(NO_TLS.into());
    }
    args.extend(planned.args.iter().map(OsString::from));
    args
}

const SOCKET_ARGUMENT: &str = "--socket=server.sock";

/// Where the server listens besides its port: as seen from the scripts' folder beside it where the whole path
/// is too long for a socket.
pub(super) fn socket(data: &Path) -> PathBuf {
    let whole = data.join("server.sock");
    let is_short = whole.as_os_str().len() < SOCKET_PATH;
    let name = data.file_name().unwrap_or_default();
    if is_short { whole } else { Path::new("..").join(name).join("server.sock") }
}

/// What all systems take as the path of a socket.
const SOCKET_PATH: usize = 100;

const INIT_FILE: &str = "--init-file=";

pub(super) fn init_file_argument(path: &Path) -> OsString {
    argument(INIT_FILE, path)
}

/// Whether an argument names the file with the logins, which is there for the first start alone.
pub(super) fn is_init_file(argument: &str) -> bool {
    argument.starts_with(INIT_FILE)
}

/// Holds passwords, and goes once the server has read it.
pub(super) fn init_file(data: &Path) -> PathBuf {
    data.with_file_name("logins.sql")
}

/// Sorts a container's arguments into those that the server takes here too and those that are left out.
pub(super) fn sort(args: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        let is_short = ["-P", "-h", "-u", "-S", "-b", "-D"].contains(&arg.as_str());
        let name = arg.trim_start_matches('-').split('=').next().unwrap_or_default().replace('-', "_");
        // A value may stand as a word of its own.
        let value = args.next_if(|next| !next.starts_with('-') && !arg.contains('='));
        let place = if is_short || OURS.contains(&name.as_str()) { &mut left_out } else { &mut kept };
        place.extend([arg].into_iter().chain(value).cloned());
    }
    (kept, left_out)
}

/// Removes the logins that MariaDB's installation makes without a password, for each of the machine's names.
const NOBODY_ELSE: [&str; 2] = [
    "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost')",
    "FLUSH PRIVILEGES",
];

/// The statements that make the run's database and logins, one a line; those of a seed get their passwords.
fn statements(planned: &Planned, root: &Login, kept: Option<&[Sealing]>) -> String {
    let tests = &planned.database.login;
    let password = text(root.password.reveal());
    let mut lines = Vec::new();
    if let Some(logins) = kept {
        let alter = |user: &str, host: &str, login: &Login| {
            format!(
                "ALTER USER {}@{} IDENTIFIED BY {};\n",
                text(user),
                text(host),
                text(login.password.reveal())
            )
        };
        lines.push(alter("root", "localhost", root));
        lines.extend(planned.database.admin.iter().map(|admin| alter(&admin.user, "%", root)));
        lines.extend((tests.user != root.user).then(|| alter(&tests.user, "%", tests)));
        lines.extend(logins.iter().map(|Sealing { user, host, is_root }| {
            alter(user, host.as_deref().unwrap_or("%"), if *is_root { root } else { tests })
        }));
        return lines.concat();
    }
    if planned.installed.engine == Engine::Mariadb {
        lines.extend(NOBODY_ELSE.map(str::to_owned));
    }
    if let Some(database) = &tests.database {
        lines.push(format!("CREATE DATABASE IF NOT EXISTS {}", identifier(database)));
    }
    lines.push(format!("ALTER USER 'root'@'localhost' IDENTIFIED BY {password}"));
    if planned.database.admin.is_some() {
        let user = text(&root.user);
        lines.push(format!("CREATE USER {user}@'%' IDENTIFIED BY {password}"));
        lines.push(format!("GRANT ALL ON *.* TO {user}@'%' WITH GRANT OPTION"));
    }
    if tests.user != root.user {
        let user = text(&tests.user);
        lines.push(format!("CREATE USER {user}@'%' IDENTIFIED BY {}", text(tests.password.reveal())));
        let grant = |database: &String| format!("GRANT ALL ON {}.* TO {user}@'%'", pattern(database));
        lines.extend(tests.database.as_ref().map(grant));
    }
    lines.iter().map(|line| format!("{line};\n")).collect()
}

/// The same for a server that is made like one of a run, and has a root of its own: with what a seed has put into
/// its data, or with an empty database.
pub(super) fn statements_beside(
    server: &Server,
    root: &str,
    kept: Option<&[Sealing]>,
    empty: Option<&str>,
) -> String {
    let mut lines = Vec::new();
    if kept.is_none() && server.engine() == Some(Engine::Mariadb) {
        lines.extend(NOBODY_ELSE.map(str::to_owned));
    }
    let (user, password) = (text(&server.user), text(&server.password));
    lines.push(format!("ALTER USER 'root'@'localhost' IDENTIFIED BY {}", text(root)));
    if let Some(database) = empty {
        lines.push(format!("DROP DATABASE IF EXISTS {}", identifier(database)));
        lines.push(format!("CREATE DATABASE {}", identifier(database)));
        lines.push(format!("CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY {password}"));
        lines.push(match server.user.as_str() {
            "root" => format!("GRANT ALL ON *.* TO {user}@'%' WITH GRANT OPTION"),
            _ => format!("GRANT ALL ON {}.* TO {user}@'%'", pattern(database)),
        });
    }
    lines.push(format!("ALTER USER {user}@'%' IDENTIFIED BY {password}"));
    let own = kept.unwrap_or_default().iter().filter(|login| !login.is_root);
    lines.extend(own.map(|Sealing { user, host, .. }| {
        let host = host.as_deref().unwrap_or("%");
        format!("ALTER USER {}@{} IDENTIFIED BY {password}", text(user), text(host))
    }));
    lines.iter().map(|line| format!("{line};\n")).collect()
}

/// The statement that keeps the tests' user out, or lets it in again.
pub(super) fn account_lock(user: &str, is_locked: bool) -> String {
    format!("ALTER USER {}@'%' ACCOUNT {}", text(user), if is_locked { "LOCK" } else { "UNLOCK" })
}

/// Writes the file with the run's logins. Tells the administrator, who has a random password where the
/// manifest gives none.
pub(super) fn write_init_file(
    planned: &Planned,
    data: &Path,
    placed: &Placed,
    setting: Setting<'_>,
) -> anyhow::Result<Login> {
    let random = || crate::database::Password::new(&placed.password);
    let unknown = || Login { user: "root".into(), password: random(), database: None };
    let root = planned.database.admin.clone().unwrap_or_else(unknown);
    let path = init_file(data);
    crate::files::write(&path, &statements(planned, &root, placed.logins.as_deref()), 0o600)?;
    super::account::hand_over(&path, setting.account)?;
    Ok(root)
}

/// Tells which logins have a password of the run that makes a seed, besides those that each run makes.
pub(super) async fn seal(
    planned: &Planned,
    data: &Path,
    port: u16,
    root: &Login,
) -> anyhow::Result<Vec<Sealing>> {
    let tests = &planned.database.login;
    let (socket, _folder) = socket_of(data)?;
    let options = |login: &Login, user: &str, is_socket: bool| {
        let options = OptsBuilder::default().user(Some(user)).pass(Some(login.password.reveal()));
        match is_socket {
            true => options.socket(Some(&socket)),
            false => options.ip_or_hostname("127.0.0.1").tcp_port(port).prefer_socket(false),
        }
    };
    let mut connection = log_in_as_root(data, root.password.reveal()).await?;
    let users: Vec<String> = connection.query("SELECT DISTINCT User FROM mysql.user ORDER BY 1").await?;
    connection.disconnect().await.context("saying goodbye")?;
    let known = [(root.user.as_str(), "%"), (&tests.user, "%"), ("root", "localhost")];
    let mut logins: Vec<Sealing> = Vec::new();
    for (user, is_socket) in users.iter().flat_map(|user| [(user, false), (user, true)]) {
        for (is_root, login) in [(false, tests), (true, root)] {
            if login.password.reveal().is_empty() {
                continue;
            }
            // It is refused to most.
            let Ok(mut connection) = Conn::new(options(login, user, is_socket)).await else { continue };
            let own: Option<String> = connection.query_first("SELECT CURRENT_USER()").await?;
            connection.disconnect().await.context("saying goodbye")?;
            let Some((user, host)) = own.as_deref().and_then(|own| own.rsplit_once('@')) else { continue };
            let sealing = Sealing { user: user.to_owned(), host: Some(host.to_owned()), is_root };
            if !known.contains(&(user, host)) && !logins.contains(&sealing) {
                logins.push(sealing);
            }
            break;
        }
    }
    Ok(logins)
}

/// A socket by a path that is not too long for one, as long as the folder is open.
fn socket_of(data: &Path) -> anyhow::Result<(String, File)> {
    let folder = File::open(data).with_context(|| format!("opening {}", data.display()))?;
    Ok((format!("/proc/self/fd/{}/server.sock", folder.as_raw_fd()), folder))
}

/// A session of the administrator, who takes logins by the socket.
pub(super) async fn log_in_as_root(data: &Path, password: &str) -> anyhow::Result<Conn> {
    let (socket, _folder) = socket_of(data)?;
    let options = OptsBuilder::default().user(Some("root")).pass(Some(password)).socket(Some(socket));
    Ok(Conn::new(options).await?)
}

/// A whole login as the tests will do it, and the proof that the server is the one in `data`.
pub(super) async fn log_in(planned: &Planned, data: &Path, port: u16) -> anyhow::Result<()> {
    let Login { user, password, database } = &planned.database.login;
    log_in_as(user, password.reveal(), database.as_deref(), data, port).await
}

/// The same for a login that is known from before.
pub(super) async fn log_in_as(
    user: &str,
    password: &str,
    database: Option<&str>,
    data: &Path,
    port: u16,
) -> anyhow::Result<()> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(user))
        .pass(Some(password))
        .db_name(database)
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60))
        .prefer_socket(false)
        // Where the server takes logins over TLS alone, it has to show the run's own certificate.
        .ssl_opts(login_over_tls(data));
    let mut connection = Conn::new(options).await?;
    let folder: Option<String> = connection.query_first("SELECT @@datadir").await?;
    connection.disconnect().await.context("saying goodbye")?;
    anyhow::ensure!(
        folder.is_some_and(|folder| Path::new(&folder) == data),
        "another server answers on the port"
    );
    Ok(())
}

fn login_over_tls(data: &Path) -> Option<SslOpts> {
    let authority = tls::authority(data)?.into_bytes();
    Some(SslOpts::default().with_root_certs(vec![authority.into()]).with_disable_built_in_roots(true))
}

/// Whether a server has answered, and has refused the login.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<mysql_async::Error>()
        .is_some_and(|error| matches!(error, mysql_async::Error::Server(_)))
}

fn text(value: &str) -> String {
    let escaped = value
        .replace('\\', "\\\\")
        .replace('\'', "''")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\0', "\\0");
    format!("'{escaped}'")
}

fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A database's name where `_` and `%` would stand for others.
fn pattern(name: &str) -> String {
    identifier(&name.replace('_', "\\_").replace('%', "\\%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_for_a_container_alone_are_left_out() {
        let args = [
            "--port",
            "3307",
            "--max-connections=5",
            "--init_file=/x",
            "--sql-mode",
            "ANSI",
            "-P",
            "1",
            "--skip-log-bin",
        ];
        let (kept, left_out) = sort(&args.map(String::from));
        assert_eq!(kept, ["--max-connections=5", "--sql-mode", "ANSI", "--skip-log-bin"]);
        assert_eq!(left_out, ["--port", "3307", "--init_file=/x", "-P", "1"]);
    }

    #[test]
    fn a_socket_is_found_where_its_path_is_long_also_while_a_seed_is_made() {
        let long = Path::new("/var/tmp").join("x".repeat(90));
        assert_eq!(socket(&long.join("data")), Path::new("../data/server.sock"));
        assert_eq!(socket(&long.join("made")), Path::new("../made/server.sock"));
        assert_eq!(socket(Path::new("/run/made")), Path::new("/run/made/server.sock"));
    }

    #[test]
    fn any_text_is_one_literal_on_one_line() {
        assert_eq!(text("a'b\\c\nd"), "'a''b\\\\c\\nd'");
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(pattern("a_b"), "`a\\_b`");
    }
}
