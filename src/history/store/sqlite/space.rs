//! How much space the file takes, and how it is given back.
//!
//! Where little is left, the file is written anew as a whole. Else free pages are cut off its end, a few at a
//! time: SQLite looks through all free pages for each, which takes half an hour for two gigabytes of them, so
//! that has an end. What is not given back is written to again, and the next prune goes on with it.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

/// The most that is written anew, in bytes: a matter of seconds, in which nobody else can write.
const LITTLE: i64 = 512 << 20;

/// How many pages (of 4 KiB) are cut off in one step.
const STEP: i64 = 250;

/// How long pages are cut off.
const ENOUGH: Duration = Duration::from_secs(30);

/// How long it is tried to empty the write-ahead log.
const LAST_TRY: Duration = Duration::from_secs(5);

/// Does a thing again and again until it says that nothing is left, and leaves others as much time in between
/// as it takes: they try to get a lock from time to time, and would not meet the moments between two steps.
pub(super) fn in_steps(mut step: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    loop {
        let began = Instant::now();
        if !step()? {
            return Ok(());
        }
        std::thread::sleep(began.elapsed().clamp(Duration::from_millis(1), Duration::from_millis(100)));
    }
}

/// The bytes of the file and of its write-ahead log.
pub(super) fn size(path: &Path) -> u64 {
    let log = path.with_file_name(
        path.file_name().map(|name| [name, "-wal".as_ref()].join("".as_ref())).unwrap_or_default(),
    );
    [path, &log].iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

pub(super) fn give_back(connection: &Connection) -> anyhow::Result<()> {
    if !is_written_anew(connection)? {
        cut_off(connection)?;
    }
    empty_the_log(connection)
}

/// Brings home what is in the write-ahead log, which is as long as what was changed. That is refused while a
/// writer does the same; if it goes on being refused, the next one to close the file does it.
fn empty_the_log(connection: &Connection) -> anyhow::Result<()> {
    let deadline = Instant::now() + LAST_TRY;
    in_steps(|| {
        let is_refused: bool =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok(is_refused && Instant::now() < deadline)
    })
}

/// Writes the file anew where more than half of it is free and the rest is little.
fn is_written_anew(connection: &Connection) -> anyhow::Result<bool> {
    let free = number(connection, "freelist_count")?;
    let used = number(connection, "page_count")? - free;
    if free < used || used * number(connection, "page_size")? > LITTLE {
        return Ok(false);
    }
    match connection.execute_batch("VACUUM") {
        // It needs room for both.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

fn cut_off(connection: &Connection) -> anyhow::Result<()> {
    let deadline = Instant::now() + ENOUGH;
    in_steps(|| {
        let before = number(connection, "freelist_count")?;
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({STEP})"))?;
        // Each row is a page, although it is empty.
        let mut pages = statement.query([])?;
        while pages.next()?.is_some() {}
        // A file that somebody else has made may not be able to.
        let after = number(connection, "freelist_count")?;
        Ok(after > 0 && after < before && Instant::now() < deadline)
    })
}

fn number(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_off_and_a_file_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let connection = super::super::open::open(&path, true).unwrap().unwrap();
        connection.execute_batch("CREATE TABLE many (bytes blob)").unwrap();
        let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000) INSERT INTO many SELECT zeroblob(9000) FROM n";
        connection.execute_batch(fill).unwrap();
        let free = || number(&connection, "freelist_count").unwrap();
        connection.execute_batch("DELETE FROM many WHERE rowid <= 300").unwrap();
        assert!(free() > 2 * STEP && !is_written_anew(&connection).unwrap());
        let before = number(&connection, "page_count").unwrap();
        give_back(&connection).unwrap();
        assert_eq!(free(), 0);
        assert!(number(&connection, "page_count").unwrap() < before - 2 * STEP);
        connection.execute_batch("DELETE FROM many WHERE rowid <= 900").unwrap();
        assert!(is_written_anew(&connection).unwrap());
        give_back(&connection).unwrap();
        assert!(free() == 0 && size(&path) < 2 << 20, "{}", size(&path));
    }
}
