//! MySQL and MariaDB: how their data folder is prepared, how they are started for tests, and how they get the
//! run's logins: from a file of statements that the server executes before it takes its first connection.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};

use super::difference::{UNKNOWN, leads_out};
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

/// Settings that belong to testbed: those of the manifest are for the inside of a container, where their files and
/// folders are.
const OURS: [&str; 58] = [
    "admin_address",
    "admin_port",
    "aria_log_dir_path",
    "audit_log_file",
    "basedir",
    "bind_address",
    "bootstrap",
    "character_sets_dir",
    "chroot",
    "daemonize",
    "datadir",
    "debug",
    "defaults_extra_file",
    "defaults_file",
    "defaults_group_suffix",
    "extra_port",
    "general_log_file",
    "init_file",
    "initialize",
    "initialize_insecure",
    "innodb_buffer_pool_filename",
    "innodb_data_home_dir",
    "innodb_directories",
    "innodb_doublewrite_dir",
    "innodb_log_group_home_dir",
    "innodb_temp_tablespaces_dir",
    "innodb_tmpdir",
    "innodb_undo_directory",
    "language",
    "lc_messages_dir",
    "log_basename",
    "log_bin_index",
    "log_error",
    "log_slow_query_file",
    "master_info_file",
    "networking",
    "no_defaults",
    "pid_file",
    "plugin_dir",
    "port",
    "print_defaults",
    "relay_log",
    "relay_log_index",
    "relay_log_info_file",
    "replica_load_tmpdir",
    "require_secure_transport",
    "secure_file_priv",
    "server_audit_file_path",
    "slave_load_tmpdir",
    "slow_query_log_file",
    "socket",
    "ssl_ca",
    "ssl_capath",
    "ssl_cert",
    "ssl_crl",
    "ssl_key",
    "tmpdir",
    "user",
];
/// All that begin with these as well.
const FAMILIES: [&str; 4] = ["admin_ssl_", "admin_tls_", "mysqlx", "wsrep_"];
/// Whole names with which others of them begin. Of those, any clear beginning counts for the server.
const NOT_SHORT: [&str; 11] = [
    "aria",
    "audit_log",
    "general_log",
    "innodb",
    "innodb_doublewrite",
    "lc_messages",
    "log_bin",
    "log_slow_query",
    "server_audit",
    "slow_query_log",
    "ssl",
];
/// What may stand before the name of a setting.
const BEFORE: [&str; 5] = ["loose_", "skip_", "disable_", "enable_", "maximum_"];

/// What MySQL takes and MariaDB does not.
const MYSQL_ALONE: [&str; 45] = [
    "authentication_policy",
    "binlog_transaction_compression",
    "binlog_transaction_dependency_history_size",
    "binlog_transaction_dependency_tracking",
    "cte_max_recursion_depth",
    "default_collation_for_utf8mb4",
    "early_plugin_load",
    "enforce_gtid_consistency",
    "gtid_mode",
    "information_schema_stats_expiry",
    "innodb_dedicated_server",
    "innodb_log_writer_threads",
    "innodb_print_ddl_logs",
    "innodb_redo_log_capacity",
    "innodb_redo_log_encrypt",
    "innodb_undo_log_encrypt",
    "internal_tmp_mem_storage_engine",
    "log_error_services",
    "log_error_suppression_list",
    "log_error_verbosity",
    "log_replica_updates",
    "log_slow_extra",
    "log_timestamps",
    "mandatory_roles",
    "mysql_native_password",
    "ngram_token_size",
    "partial_revokes",
    "password_history",
    "password_require_current",
    "password_reuse_interval",
    "persisted_globals_load",
    "range_optimizer_max_mem_size",
    "regexp_stack_limit",
    "regexp_time_limit",
    "replica_parallel_workers",
    "replica_preserve_commit_order",
    "replica_start",
    "restrict_fk_on_non_standard_key",
    "show_gipk_in_create_table_and_information_schema",
    "slave_preserve_commit_order",
    "sql_generate_invisible_primary_key",
    "sql_require_primary_key",
    "super_read_only",
    "temptable_max_ram",
    "transaction_write_set_extraction",
];
const OF_MYSQL_ALONE: [&str; 3] = ["caching_sha2_password_", "group_replication_", "validate_password."];

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

/// One argument, in one word or two.
struct Argument {
    words: Vec<String>,
    /// The setting's name in the spelling of variables, without what may stand before it; empty for one of a letter.
    name: String,
    value: Option<String>,
    /// What stands before the name.
    before: String,
}

impl Argument {
    /// Whether it is for the inside of a container, by its name or its value.
    fn is_ours(&self) -> bool {
        let (name, word) = (self.name.as_str(), self.words[0].as_str());
        if word.contains(UNKNOWN) {
            return true;
        }
        if name.is_empty() {
            let is_harmless =
                ["-a", "-s"].contains(&word) || word.starts_with("-C") || word.starts_with("-W");
            return word.starts_with('-') && !is_harmless;
        }
        let is_short = |own: &&str| name.len() > 2 && own.starts_with(name) && !NOT_SHORT.contains(&name);
        OURS.iter().any(|own| *own == name || is_short(own))
            || FAMILIES.iter().any(|family| name.starts_with(family))
            || self.value.as_deref().is_some_and(leads_out)
    }
}

/// The arguments, by the rules of MySQL and MariaDB.
fn read(args: &[String]) -> Vec<Argument> {
    let mut found = Vec::new();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        // A value may stand as a word of its own.
        let next = args.next_if(|next| !next.starts_with('-') && !arg.contains('='));
        let words: Vec<String> = [arg].into_iter().chain(next).cloned().collect();
        let long = arg.strip_prefix("--");
        let mut setting = match (long, arg.strip_prefix("-O"), next) {
            (Some(long), _, Some(next)) => format!("{long}={next}"),
            (Some(long), _, None) => long.to_owned(),
            (None, Some(_), Some(next)) => next.clone(),
            (None, rest, _) => rest.unwrap_or_default().to_owned(),
        };
        let spelled = |name: &str| name.trim().replace('-', "_").to_lowercase();
        let inner = setting.split_once('=').filter(|(name, _)| spelled(name) == "set_variable");
        if let Some(inner) = inner.map(|(_, inner)| inner.to_owned()) {
            setting = inner;
        }
        let (name, value) = match setting.split_once('=') {
            Some((name, value)) => (spelled(name), Some(value.to_owned())),
            None => (spelled(&setting), None),
        };
        let mut rest = name.as_str();
        while let Some(shorter) = BEFORE.iter().find_map(|before| rest.strip_prefix(before)) {
            rest = shorter;
        }
        let before = name[..name.len() - rest.len()].to_owned();
        found.push(Argument { words, name: rest.to_owned(), value, before });
    }
    found
}

/// Sorts a container's arguments into those that the server takes here too and those that are left out.
pub(super) fn sort(args: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for argument in read(args) {
        let path = argument.value.as_deref().filter(|value| value.contains('/') || leads_out(value));
        let is_log = argument.name == "log_bin" && !argument.before.contains("skip");
        match path.filter(|_| is_log) {
            // The log itself is what the tests may ask for.
            Some(path) => {
                let base = path.rsplit('/').next().filter(|base| !base.is_empty() && !leads_out(base));
                kept.push(base.map_or_else(|| "--log-bin".to_owned(), |base| format!("--log-bin={base}")));
                left_out.extend(argument.words);
            }
            None if argument.is_ours() => left_out.extend(argument.words),
            None => kept.extend(argument.words),
        }
    }
    (kept, left_out)
}

/// The same for a MariaDB that stands in for MySQL: what only MySQL takes is left out.
pub(super) fn for_mariadb(args: &[String]) -> (Vec<String>, Vec<String>) {
    let (left_out, kept): (Vec<Argument>, Vec<Argument>) = read(args).into_iter().partition(|argument| {
        let name = argument.name.as_str();
        !argument.before.contains("loose")
            && (MYSQL_ALONE.contains(&name)
                || OF_MYSQL_ALONE.iter().any(|family| name.starts_with(family))
                // Collations of its own.
                || argument.value.as_deref().is_some_and(|value| value.contains("_0900_")))
    });
    let words =
        |arguments: Vec<Argument>| arguments.into_iter().flat_map(|argument| argument.words).collect();
    (words(kept), words(left_out))
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
    fn no_argument_leads_out_of_the_runs_folder() {
        let sorted = |args: &[&str]| sort(&args.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        for args in [
            &["--log-bin-index=/X/i"][..],
            &["--relay_log", "/X/r"],
            &["--relay-log-index=r.index"],
            &["--slow-query-log-file=/X/s"],
            &["--loose-general_log_file=/X/g"],
            &["--innodb-data-home-dir", "/X"],
            &["--innodb_log_group_home_dir=/X"],
            &["--innodb-undo-directory=../X"],
            &["--innodb-temp-data-file-path=../../X/t:12M:autoextend"],
            &["--innodb-data-file-path=ibdata1:10M;/X/d:10M:autoextend"],
            &["--innodb-tmpdir=/X"],
            &["--secure-file-priv="],
            &["--aria-log-dir-path=/X"],
            &["--plugin-dir=/X"],
            &["--character-sets-dir=/X"],
            &["--ssl-capath=/X"],
            &["--ssl-crl=/X"],
            &["--datad=/X"],
            &["--slow-query-log-f=x"],
            &["--set-variable=datadir=/X"],
            &["--set-variable", "tmpdir=/X"],
            &["-O", "datadir=/X"],
            &["-h/X"],
            &["-ah/X"],
            &["-t", "/X"],
            &["--server-audit-file-path=/X"],
            &["--debug=d:t:o,/X/trace"],
            &["--wsrep-provider=galera.so"],
        ] {
            let (kept, left_out) = sorted(args);
            assert_eq!(
                (kept.len(), left_out.as_slice()),
                (0, &*args.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
                "{args:?}"
            );
        }
        let kept = [
            "--lc-messages=de_DE",
            "--innodb-doublewrite=OFF",
            "--general-log=1",
            "--slow_query_log",
            "--log-bin",
            "--default-time-zone=Europe/Berlin",
            "--skip-ssl",
            "--loose-x=1",
            "-C",
            "utf8mb4",
        ];
        assert_eq!(sorted(&kept), (kept.map(String::from).to_vec(), Vec::new()));
        for (args, base) in [
            (&["--log-bin=/X/Y/bin"][..], "--log-bin=bin"),
            (&["--loose_log_bin", "/X/bin"], "--log-bin=bin"),
            (&["--log-bin=../../bin"], "--log-bin=bin"),
            (&["--log-bin=/X/"], "--log-bin"),
        ] {
            let (kept, left_out) = sorted(args);
            assert_eq!((kept, left_out.len()), (vec![base.to_owned()], args.len()), "{args:?}");
        }
    }

    #[test]
    fn a_mariadb_that_stands_in_takes_no_argument_of_mysqls_alone() {
        let args = [
            "--gtid-mode=ON",
            "--enforce_gtid_consistency",
            "ON",
            "--max-connections=5",
            "--skip-replica-start",
            "--collation-server=utf8mb4_0900_ai_ci",
            "--loose-gtid-mode=ON",
        ];
        let (kept, left_out) = for_mariadb(&args.map(String::from));
        assert_eq!(kept, ["--max-connections=5", "--loose-gtid-mode=ON"]);
        assert_eq!(left_out.len(), 5, "{left_out:?}");
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
