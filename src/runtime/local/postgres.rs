//! PostgreSQL: how its data folder is prepared, how it is started for tests, and how it gets the run's
//! logins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::beneath;
use super::difference::{UNKNOWN, leads_out};
use super::find::Installed;
use super::planned::{Options, Planned};
use super::prepared::{Placed, Stage};
use super::program::{Setting, argument};
use super::scram;
use super::sealed::Sealing;
use super::tls;
use crate::database::Login;
use crate::failure::Advise;
use crate::files;
use crate::trust::{Name, Trust};

/// Servers from this version on copy a new database file by file only when told so; else it goes through the
/// log, twice.
const HAS_STRATEGY: u32 = 15;

/// Settings that belong to testbed: those of the manifest are for the inside of a container, where their files and
/// programs are.
const OURS: [&str; 38] = [
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "archive_mode",
    "config_file",
    "data_directory",
    "dynamic_library_path",
    "dynamic_shared_memory_type",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "krb_server_keyfile",
    "listen_addresses",
    "log_destination",
    "log_directory",
    "log_file_mode",
    "log_filename",
    "logging_collector",
    "min_dynamic_shared_memory",
    "oauth_validator_libraries",
    "port",
    "primary_conninfo",
    "promote_trigger_file",
    "recovery_end_command",
    "restore_command",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_crl_dir",
    "ssl_crl_file",
    "ssl_dh_params_file",
    "ssl_key_file",
    "ssl_passphrase_command",
    "stats_temp_directory",
    "unix_socket_directories",
    "unix_socket_directory",
    "unix_socket_group",
    "unix_socket_permissions",
];
/// Switches that take a value, and those of all that say the same as a setting of testbed's.
const WITH_VALUE: &str = "BCDNSWcdfhkoprtv-";
const OUR_SWITCHES: &str = "CDhiklpr";
/// Paths that are read here too.
const READ: [&str; 1] = ["extension_control_path"];

/// Shared memory is kept in files of the data folder, so that it goes with them.
const SHARED_MEMORY: &str = "dynamic_shared_memory_type=mmap";

/// For data that lives as long as the tests.
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    SHARED_MEMORY,
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_wal_size=1GB",
    "checkpoint_timeout=30min",
];

/// The locales of the server's own image, and what stands in where the machine does not have them.
const LOCALES: [&str; 3] = ["en_US.UTF-8", "C.UTF-8", "C"];

/// The superuser: the tests' own user, unless the image has another one.
fn superuser(planned: &Planned) -> &Login {
    planned.database.admin.as_ref().unwrap_or(&planned.database.login)
}

fn database(planned: &Planned) -> &str {
    let login = &planned.database.login;
    login.database.as_deref().unwrap_or(&login.user)
}

/// Whether the server is of this version or a later one.
fn is_from(planned: &Planned, major: u32) -> bool {
    planned.installed.version.0.first().is_some_and(|own| *own >= major)
}

/// Everything that shapes the prepared folder. The database is a part of it: to make one takes as long as to
/// start the server.
pub(super) fn recipe(planned: &Planned) -> String {
    let Options { initdb, auth_method, .. } = &planned.postgres;
    format!(
        "{:?}",
        (
            &planned.installed.build,
            &superuser(planned).user,
            database(planned),
            initdb,
            auth_method,
            &LOCALES
        )
    )
}

/// What testbed itself asks of the server.
pub(super) fn own(planned: &Planned) -> String {
    format!("{:?}", (database(planned), &LOCALES, &SETTINGS))
}

/// Arguments for a server whose folder is kept: the files of the log that it is done with go, and are not
/// copied for each run.
pub(super) fn for_a_seed(planned: &Planned) -> Vec<String> {
    let settings: &[&str] =
        if is_from(planned, 12) { &["wal_recycle=off", "wal_init_zero=off"] } else { &[] };
    settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect()
}

/// Makes the data folder, with the superuser and the database.
pub(super) async fn prepare(
    planned: &Planned,
    stage: &Stage<'_>,
    setting: Setting<'_>,
) -> anyhow::Result<()> {
    let server = &planned.installed.program;
    let initdb = server.with_file_name("initdb");
    if !initdb.exists() {
        return Err(anyhow!(
            "{} is missing: a PostgreSQL server cannot make its data folder without it",
            initdb.display()
        ));
    }
    let password_file = stage.folder.join("password");
    files::write(&password_file, stage.password, 0o600)?;
    super::account::hand_over(&password_file, setting.account)?;
    let mut args: Vec<OsString> =
        vec!["-D".into(), stage.data.clone().into(), "-U".into(), superuser(planned).user.clone().into()];
    args.extend(["--encoding=UTF8".into(), "--auth=scram-sha-256".into(), "--no-sync".into()]);
    args.push(argument("--pwfile=", &password_file));
    // Files of the log are made whole: small ones are copied faster.
    if is_from(planned, 11) {
        args.push("--wal-segsize=1".into());
    }
    if is_from(planned, 16) {
        args.extend(["-c", SHARED_MEMORY].map(OsString::from));
    }
    initdb_with_a_locale(planned, &initdb, &args, stage, setting).await?;
    std::fs::remove_file(&password_file).with_context(|| format!("removing {}", password_file.display()))?;
    let method = planned.postgres.auth_method.as_deref().unwrap_or("scram-sha-256");
    let rules = format!("host all all 127.0.0.1/32 {method}\nhost replication all 127.0.0.1/32 {method}\n");
    beneath::replace(&stage.data, "pg_hba.conf", &rules, setting.account).context("writing pg_hba.conf")?;
    make_database(planned, stage, setting).await
}

/// The manifest's own locale, or the first one that the machine has.
async fn initdb_with_a_locale(
    planned: &Planned,
    initdb: &Path,
    args: &[OsString],
    stage: &Stage<'_>,
    setting: Setting<'_>,
) -> anyhow::Result<()> {
    // One part of it, such as `--lc-collate`, wins over the whole.
    let is_whole = |arg: &String| arg == "--locale" || arg.starts_with("--locale=") || arg == "--no-locale";
    let own = planned.postgres.initdb.iter().any(is_whole);
    let locales: &[&str] = if own { &[""] } else { &LOCALES };
    let mut last = Ok(());
    for locale in locales {
        super::account::make_folder(&stage.data, setting.account)?;
        let locale = (!locale.is_empty()).then(|| OsString::from(format!("--locale={locale}")));
        let all: Vec<OsString> = args
            .iter()
            .cloned()
            .chain(locale)
            .chain(planned.postgres.initdb.iter().map(OsString::from))
            .collect();
        last = setting.run(initdb, &all, stage.folder, "").await;
        if last.is_ok() {
            break;
        }
        let _ = files::remove_all(&stage.data);
    }
    let words = planned.postgres.initdb.join(" ");
    if words.is_empty() || words == "--no-sync" {
        return last;
    }
    last.hint(format!("POSTGRES_INITDB_ARGS of the manifest is handed to it: {words}"))
}

async fn make_database(planned: &Planned, stage: &Stage<'_>, setting: Setting<'_>) -> anyhow::Result<()> {
    let name = database(planned);
    if ["postgres", "template1"].contains(&name) {
        return Ok(());
    }
    let strategy = if is_from(planned, HAS_STRATEGY) { " STRATEGY file_copy" } else { "" };
    let sql = format!("CREATE DATABASE {}{strategy};\n", identifier(name));
    let mut args: Vec<OsString> =
        ["--single", "-F", "-j", "-c", SHARED_MEMORY, "-D"].map(OsString::from).into();
    args.extend([stage.data.clone().into(), "postgres".into()]);
    // With -j a statement ends with an empty line.
    setting.run(&planned.installed.program, &args, stage.folder, &(sql + "\n\n")).await
}

/// The server's arguments: those of the manifest last, so that they win.
pub(super) fn arguments(planned: &Planned, data: &Path, port: u16) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["-D".into(), data.into(), "-p".into(), port.to_string().into()];
    args.extend(SETTINGS.iter().flat_map(|setting| ["-c".into(), OsString::from(setting)]));
    if planned.database.tls.is_some() {
        let file = |setting: &str, name: &str| ["-c".into(), argument(setting, &tls::file(data, name))];
        args.extend(["-c", "ssl=on"].map(OsString::from));
        args.extend(file("ssl_cert_file=", tls::CERTIFICATE));
        args.extend(file("ssl_key_file=", tls::KEY));
        args.extend(file("hba_file=", tls::RULES));
    }
    if let Some(zone) = &planned.zone {
        let settings = ["timezone", "log_timezone"].map(|name| OsString::from(format!("{name}={zone}")));
        args.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting]));
    }
    args.extend(planned.args.iter().map(OsString::from));
    args
}

/// Sorts a container's arguments into those that the server takes here too and those that are left out.
pub(super) fn sort(args: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut next = None;
        let mut is_left = arg.contains(UNKNOWN) || arg.strip_prefix("--").is_some_and(is_ours);
        // Several may stand in one word, the last one with its value, which may be the next word.
        let mut switches = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or_default();
        while let Some(switch) = switches.chars().next() {
            switches = &switches[switch.len_utf8()..];
            is_left |= OUR_SWITCHES.contains(switch);
            if WITH_VALUE.contains(switch) {
                next = if switches.is_empty() { args.next() } else { None };
                let value = next.map_or(switches, String::as_str);
                is_left |= if switch == 'c' { is_ours(value) } else { leads_out(value) };
                break;
            }
        }
        let place = if is_left { &mut left_out } else { &mut kept };
        place.extend([arg].into_iter().chain(next).cloned());
    }
    (kept, left_out)
}

/// Name and value of a setting, such as `work_mem=4MB`.
fn read(setting: &str) -> (String, &str) {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    (name.trim().replace('-', "_").to_lowercase(), value.trim())
}

fn is_ours(setting: &str) -> bool {
    let (name, value) = read(setting);
    let is_on = ["on", "true", "yes", "1"].contains(&value.to_lowercase().as_str());
    OURS.contains(&name.as_str())
        || (leads_out(value) && !READ.contains(&name.as_str()))
        // The system has none unless somebody has set them aside.
        || (name == "huge_pages" && is_on)
}

/// Sorts out the libraries that the server is to load and does not have: it would not start.
pub(super) fn loadable(installed: &Installed, args: Vec<String>) -> (Vec<String>, Vec<String>) {
    let Some(folder) = libraries(installed) else { return (args, Vec::new()) };
    let (mut kept, mut left_out): (Vec<String>, Vec<String>) = Default::default();
    for word in args {
        let setting = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(&word);
        let before = &word[..word.len() - setting.len()];
        let (name, value) = read(setting);
        let is_there = |library: &&str| {
            let name = library.trim_matches([' ', '"', '\'']);
            let name = name.strip_prefix("$libdir/").unwrap_or(name);
            name.is_empty() || folder.join(format!("{}.so", name.trim_end_matches(".so"))).exists()
        };
        let (there, missing): (Vec<&str>, Vec<&str>) = value.split(',').partition(is_there);
        if !name.ends_with("_preload_libraries") || missing.is_empty() {
            kept.push(word);
            continue;
        }
        left_out.push(format!("{name}={}", missing.join(",")));
        if !there.is_empty() {
            kept.push(format!("{before}{name}={}", there.join(",")));
        } else if before.is_empty() && kept.last().is_some_and(|last| last == "-c") {
            kept.pop();
        }
    }
    (kept, left_out)
}

/// Where the server looks for libraries: beside its programs, or where Fedora and Alpine have them.
fn libraries(installed: &Installed) -> Option<PathBuf> {
    let root = installed.program.parent()?.parent()?;
    let major = installed.version.0.first()?;
    let shared = [
        root.join("lib/postgresql"),
        root.join("lib"),
        PathBuf::from(format!("/usr/lib/postgresql{major}")),
        PathBuf::from("/usr/lib64/pgsql"),
        PathBuf::from("/usr/lib/pgsql"),
    ];
    shared.into_iter().find(|folder| folder.join("plpgsql.so").exists())
}

/// The same for the arguments of `initdb`: folders and passwords are testbed's, and settings as above.
pub(super) fn sort_initdb(args: &[String]) -> (Vec<String>, Vec<String>) {
    const LONG: [&str; 6] = ["--waldir", "--xlogdir", "--pgdata", "--pwfile", "--pwprompt", "--username"];
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut next = None;
        let name = arg.split('=').next().unwrap_or_default();
        // A clear beginning of a name counts for it.
        let mut is_left = name.len() > 3 && LONG.iter().any(|long| long.starts_with(name));
        if is_left && !arg.contains('=') && name != "--pwprompt" {
            next = args.next();
        }
        if name.len() > 3 && "--set".starts_with(name) {
            next = if arg.contains('=') { None } else { args.next() };
            is_left = is_ours(next.map_or_else(|| &arg[(name.len() + 1).min(arg.len())..], String::as_str));
        }
        let mut switches = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or_default();
        while let Some(switch) = switches.chars().next() {
            switches = &switches[switch.len_utf8()..];
            is_left |= "DUWX".contains(switch);
            if "ADELTUXc".contains(switch) {
                next = if switches.is_empty() { args.next() } else { None };
                is_left |= switch == 'c' && is_ours(next.map_or(switches, String::as_str));
                break;
            }
        }
        let place = if is_left { &mut left_out } else { &mut kept };
        place.extend([arg].into_iter().chain(next).cloned());
    }
    (kept, left_out)
}

/// Whether the server in `data` says that it takes connections: in the last line of its file, where `pg_ctl`
/// reads it too. Asking the server itself before that makes it start a process for each refusal.
pub(super) fn is_up(data: &Path) -> bool {
    status(data).lines().nth(STATUS_LINE).is_some_and(|status| status.trim() == "ready")
}

/// The same, and whether it is this process: one that was killed leaves its file.
fn is_up_as(data: &Path, process: u32) -> bool {
    is_up(data) && status(data).lines().next() == Some(&process.to_string())
}

fn status(data: &Path) -> String {
    let status = crate::files::read(&data.join("postmaster.pid"), 4096).unwrap_or_default();
    String::from_utf8_lossy(&status).into_owned()
}

/// Since version 10.
const STATUS_LINE: usize = 7;

/// Logs in to the server in `data` as prepared, and gives it the logins of the run.
pub(super) async fn settle(planned: &Planned, data: &Path, port: u16, placed: &Placed) -> anyhow::Result<()> {
    let root = superuser(planned);
    let client = connect(data, port, &root.user, &placed.password, "postgres").await?;
    check(&client, data).await?;
    let tests = &planned.database.login;
    // Each takes thousands of rounds.
    let verifier = |login| verifier(login, planned.postgres.scram_iterations);
    let of_root = verifier(root);
    let of_tests = if tests == root { of_root.clone() } else { verifier(tests) };
    let alter = |user: &str, is_root| {
        format!("ALTER ROLE {} PASSWORD {}", identifier(user), if is_root { &of_root } else { &of_tests })
    };
    // They stay if the server is killed the next moment.
    let mut statements = vec!["SET synchronous_commit = on".into(), alter(&root.user, true)];
    if let Some(logins) = &placed.logins {
        statements.extend((tests.user != root.user).then(|| alter(&tests.user, false)));
        statements.extend(logins.iter().map(|login| alter(&login.user, login.is_root)));
    } else if tests.user != root.user {
        let (user, database) = (identifier(&tests.user), identifier(database(planned)));
        statements.push(format!("CREATE ROLE {user} LOGIN CREATEDB PASSWORD {of_tests}"));
        statements.push(format!("ALTER DATABASE {database} OWNER TO {user}"));
    }
    Ok(client.batch_execute(&statements.join(";")).await?)
}

/// Gives the superuser the password of the folder that is kept, and tells which other logins have one of the
/// run that makes it.
pub(super) async fn seal(planned: &Planned, stage: &Stage<'_>, port: u16) -> anyhow::Result<Vec<Sealing>> {
    let (root, tests) = (superuser(planned), &planned.database.login);
    let connect =
        async |user: &str, password: &str| connect(&stage.data, port, user, password, "postgres").await;
    let client = connect(&root.user, root.password.reveal()).await?;
    let roles =
        "SELECT rolname::text FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL ORDER BY 1";
    let mut logins = Vec::new();
    for row in client.query(roles, &[]).await? {
        let user: String = row.get(0);
        if user == root.user || user == tests.user {
            continue;
        }
        for (is_root, login) in [(false, tests), (true, root)] {
            let password = login.password.reveal();
            // Whoever may not use that database has got past the password.
            let takes = |error: anyhow::Error| {
                let error = error.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code());
                error == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
            };
            if !password.is_empty() && connect(&user, password).await.map_or_else(takes, |_| true) {
                logins.push(Sealing { user, host: None, is_root });
                break;
            }
        }
    }
    let verifier = postgres_protocol::password::scram_sha_256(stage.password.as_bytes());
    client.batch_execute(&format!("ALTER ROLE {} PASSWORD '{verifier}'", identifier(&root.user))).await?;
    Ok(logins)
}

/// A whole login as the tests will do it, and the proof that the server is the one in `data`.
pub(super) async fn log_in(planned: &Planned, data: &Path, port: u16) -> anyhow::Result<()> {
    let login = &planned.database.login;
    let client = connect(data, port, &login.user, login.password.reveal(), database(planned)).await?;
    if superuser(planned).user == login.user {
        return check(&client, data).await;
    }
    Ok(client.batch_execute("SELECT 1").await?)
}

/// The same for a server that has its logins: `process` is what has to be the one in `data`.
pub(super) async fn log_in_as(
    user: &str,
    password: &str,
    database: Option<&str>,
    data: &Path,
    process: u32,
    port: u16,
) -> anyhow::Result<()> {
    anyhow::ensure!(is_up_as(data, process), "it is not up yet");
    let client = connect(data, port, user, password, database.unwrap_or(user)).await?;
    Ok(client.batch_execute("SELECT 1").await?)
}

/// Whether a server has answered, and has refused the login.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<tokio_postgres::Error>().is_some_and(|error| error.as_db_error().is_some())
}

/// Whoever listens on the port may be another server: nothing is changed before it has shown the run's own
/// data folder.
async fn check(client: &Client, data: &Path) -> anyhow::Result<()> {
    let folder: String = client.query_one("SELECT current_setting('data_directory')", &[]).await?.get(0);
    anyhow::ensure!(Path::new(&folder) == data, "another server answers on the port");
    Ok(())
}

/// Where the server takes logins over TLS alone, it has to show the run's own certificate.
async fn connect(
    data: &Path,
    port: u16,
    user: &str,
    password: &str,
    database: &str,
) -> anyhow::Result<Client> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(user)
        .dbname(database)
        .ssl_mode(SslMode::Disable)
        .application_name("testbed");
    config.password(password);
    if let Some(authority) = tls::authority(data) {
        let trust = Trust::in_pem(authority.as_bytes(), Name::Right)?;
        let tls = MakeRustlsConnect::new(trust.client()?);
        let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await?;
        tokio::spawn(connection);
        return Ok(client);
    }
    let (client, connection) = config.connect(NoTls).await?;
    // Ends by itself once the client is gone.
    tokio::spawn(connection);
    Ok(client)
}

/// The password as the server keeps it: in the clear it could show up in the server's log.
fn verifier(login: &Login, iterations: Option<u32>) -> String {
    match (login.password.reveal(), iterations) {
        ("", _) => "NULL".into(),
        (password, None) => {
            format!("'{}'", postgres_protocol::password::scram_sha_256(password.as_bytes()))
        }
        (password, Some(iterations)) => format!("'{}'", scram::verifier(password, iterations)),
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_for_a_container_alone_are_left_out() {
        let args = [
            "-c",
            "max_connections=200",
            "-p",
            "5433",
            "--shared_buffers=1GB",
            "-c",
            "Unix-Socket-Directories=/x",
            "-N",
            "20",
            "-i",
        ];
        let (kept, left_out) = sort(&args.map(String::from));
        assert_eq!(kept, ["-c", "max_connections=200", "--shared_buffers=1GB", "-N", "20"]);
        assert_eq!(left_out, ["-p", "5433", "-c", "Unix-Socket-Directories=/x", "-i"]);
    }

    #[test]
    fn no_argument_leads_out_of_the_runs_folder_or_runs_a_program() {
        let sorted = |args: &[&str]| sort(&args.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        for args in [
            &["-D/X"][..],
            &["-k/X"],
            &["-p5433"],
            &["-c", "data_directory=/X"],
            &["-cdata_directory=/X"],
            &["-ic", "data_directory=/X"],
            &["--log-directory=/X"],
            &["--log_filename=x"],
            &["-c", "ident_file=/X"],
            &["-c", "stats_temp_directory=/X"],
            &["-c", "krb_server_keyfile=/X"],
            &["-c", "ssl_crl_dir=/X"],
            &["-c", "ssl_passphrase_command=touch x"],
            &["-c", "archive_mode=on"],
            &["-c", "archive_command=cp %p x"],
            &["--archive-command=cp %p x"],
            &["-c", "archive_library=x"],
            &["-c", "restore_command=cp x %p"],
            &["-c", "archive_cleanup_command=x"],
            &["-c", "recovery_end_command=x"],
            &["-c", "dynamic_library_path=/X"],
            &["-c", "shared_preload_libraries=/X/evil"],
            &["-c", "huge_pages=on"],
            &["-r", "/X"],
        ] {
            let (kept, left_out) = sorted(args);
            assert_eq!(
                (kept.len(), left_out.as_slice()),
                (0, &*args.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
                "{args:?}"
            );
        }
        let kept = [
            "-N20",
            "-F",
            "-c",
            "search_path=\"$user\",public",
            "--timezone=Europe/Berlin",
            "-c",
            "extension_control_path=/x:$system",
            "-c",
            "huge_pages=try",
        ];
        assert_eq!(sorted(&kept), (kept.map(String::from).to_vec(), Vec::new()));
    }

    #[test]
    fn arguments_of_initdb_lead_nowhere_else_either() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for args in [
            &["-kX/wal"][..],
            &["-X", "/wal"],
            &["--wald=/wal"],
            &["--waldir", "/wal"],
            &["-W"],
            &["--set", "archive_command=touch x"],
            &["--set=archive_command=touch x"],
            &["-c", "archive_command=touch x"],
            &["-carchive_command=touch x"],
        ] {
            assert_eq!(sort_initdb(&words(args)), (Vec::new(), words(args)), "{args:?}");
        }
        let kept =
            words(&["--data-checksums", "-k", "-E", "UTF8", "--set", "work_mem=5MB", "-cwork_mem=5MB"]);
        assert_eq!(sort_initdb(&kept), (kept.clone(), Vec::new()));
    }

    #[test]
    fn libraries_that_are_not_installed_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("lib")).unwrap();
        for library in ["plpgsql", "auto_explain"] {
            std::fs::write(at("lib").join(format!("{library}.so")), "").unwrap();
        }
        let installed = Installed {
            engine: crate::database::Engine::Postgres,
            version: crate::engine::Version(vec![15, 18]),
            program: at("bin/postgres"),
            build: String::new(),
        };
        let sorted = |args: &[&str]| {
            let (kept, left_out) = loadable(&installed, args.iter().map(|word| (*word).to_owned()).collect());
            format!("{} / {}", kept.join(" "), left_out.join(" "))
        };
        assert_eq!(
            sorted(&["-c", "shared_preload_libraries=timescaledb,auto_explain", "-N", "9"]),
            "-c shared_preload_libraries=auto_explain -N 9 / shared_preload_libraries=timescaledb"
        );
        assert_eq!(
            sorted(&["-F", "-c", "shared_preload_libraries=pg_cron"]),
            "-F / shared_preload_libraries=pg_cron"
        );
        assert_eq!(sorted(&["--shared-preload-libraries=pg_cron"]), " / shared_preload_libraries=pg_cron");
        let all = ["-cshared_preload_libraries=auto_explain", "-c", "work_mem=5MB"];
        assert_eq!(sorted(&all), format!("{} / ", all.join(" ")));
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(identifier("a\"b; --"), "\"a\"\"b; --\"");
    }
}
