//! How a file is made and opened, and how its tables come up to date.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::explain::TIMEOUT;
use crate::failure::Advise;
use crate::history::store::schema::{MIGRATIONS, for_sqlite};
use crate::reading;

/// What a file of testbed's says of itself in its header: `tbed`.
const APPLICATION: i64 = 0x7462_6564;

/// The largest value that is read or written, in bytes.
const LARGEST: i32 = 64 << 20;

/// How long to wait before a change that SQLite itself does not wait with is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Opens a file, and brings its tables up to date. Where nobody has written to it before, it is made if
/// `makes` says so; else there is none.
pub(super) fn open(path: &Path, makes: bool) -> anyhow::Result<Option<Connection>> {
    if makes {
        make(path)?;
    } else if !path.try_exists().with_context(|| format!("looking for {}", path.display()))? {
        return Ok(None);
    }
    let mut connection = connect(path)?;
    let version = check(&mut connection, path)?;
    if version == 0 && !makes {
        return Ok(None);
    }
    if version < MIGRATIONS.len() {
        migrate(&mut connection, &MIGRATIONS)?;
    }
    Ok(Some(connection))
}

/// Makes an empty file that nobody else can read, and its folder.
fn make(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("making {}", folder.display()))
            .hint("--history sqlite:PATH names a file elsewhere")?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error)
            .with_context(|| format!("making {}", path.display()))
            .hint("--history sqlite:PATH names a file elsewhere"),
    }
}

fn connect(path: &Path) -> anyhow::Result<Connection> {
    // To open a FIFO would wait for somebody who writes.
    reading::check(path, usize::MAX)
        .with_context(|| format!("opening {}", path.display()))
        .hint("name a file: --history sqlite:PATH")?;
    // Reads only where it may not write. The file is there: to ask for it makes none.
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_handler(Some(wait_for_lock()))?;
    distrust(&connection)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What was written survives a power cut, for a millisecond a write, which nobody waits for.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// A stranger's file may hold anything: views and triggers in the place of tables, values of a gigabyte.
fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST).map(drop)
}

/// Tries for a lock until the time is up. SQLite's own way waits up to 100 ms between two tries, in which
/// somebody who writes without a rest has locked the file again many times; chance keeps many from trying in
/// step.
fn wait_for_lock() -> impl FnMut(i32) -> bool + Send + 'static {
    let mut began = Instant::now();
    move |tries| {
        if tries == 0 {
            began = Instant::now();
        }
        let most = 1000 * u64::try_from(tries).unwrap_or_default().clamp(1, 8);
        std::thread::sleep(Duration::from_micros(fastrand::u64(100..100 + most)));
        began.elapsed() < TIMEOUT
    }
}

/// How many migrations the file has seen.
fn version(connection: &Connection) -> anyhow::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).with_context(|| format!("the file says that its version is {version}"))
}

/// The version of a file of testbed's, all looked at in one moment: somebody else may be making it.
fn check(connection: &mut Connection, path: &Path) -> anyhow::Result<usize> {
    let path = path.display();
    let transaction = connection.transaction()?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i64 = transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = version(&transaction)?;
    transaction.finish()?;
    if application != APPLICATION && tables > 0 {
        return Err(anyhow!("{path} is a database of another program"))
            .hint("name another file: --history sqlite:PATH");
    }
    if version > MIGRATIONS.len() {
        let error =
            anyhow!("{path} is of version {version}, and this testbed knows none after {}", MIGRATIONS.len());
        return Err(error).hint(
            "a newer testbed has written it: use that one, or name another file with --history sqlite:PATH",
        );
    }
    Ok(version)
}

/// Does the migrations that the file has not seen. Of many at once one does it, and the others find it done.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> anyhow::Result<()> {
    // Both are kept in the file, and can be chosen only while it is empty: the second makes its first page.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    keep_a_log(connection)?;
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for migration in migrations.iter().skip(version(&transaction)?) {
        transaction.execute_batch(&for_sqlite(migration))?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", i64::try_from(migrations.len())?)?;
    Ok(transaction.commit()?)
}

/// Lets readers read while somebody writes. Where the file system cannot do that, readers wait.
fn keep_a_log(connection: &Connection) -> anyhow::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            // This change alone SQLite refuses at once while another process works on the file.
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(AGAIN);
            }
            other => return Ok(other.map(drop)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_happens_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let mut connection = open(&path, true).unwrap().unwrap();
        let tables = |connection: &Connection| -> i64 {
            connection
                .query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'new%'", [], |row| row.get(0))
                .unwrap()
        };
        let broken = [
            MIGRATIONS[0],
            "CREATE TABLE new (id text); CREATE TABLE new2 (id text);",
            "CREATE TABLE new3 (id text); CREATE nonsense;",
        ];
        migrate(&mut connection, &broken).unwrap_err();
        assert_eq!((version(&connection).unwrap(), tables(&connection)), (1, 0));
        migrate(&mut connection, &broken[..2]).unwrap();
        assert_eq!((version(&connection).unwrap(), tables(&connection)), (2, 2));
        // Now it is newer than this program.
        let error = open(&path, true).unwrap_err();
        assert!(
            format!("{error:#}").ends_with("history.db is of version 2, and this testbed knows none after 1"),
            "{error:#}"
        );
    }
}
