//! How much space the file takes, and how it is given back.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// How many pages (of 4 KiB) are given back in one step.
const STEP: i64 = 1000;

/// Does a thing again and again until it says that nothing is left, and leaves others as much time in between as it takes: they try to get a
/// lock from time to time, and would not meet the moments between two steps.
pub fn in_steps(mut step: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    loop {
        let began = Instant::now();
        if !step()? {
            return Ok(());
        }
        std::thread::sleep(began.elapsed().min(Duration::from_millis(100)));
    }
}

/// The bytes of the file and of its write-ahead log.
pub fn size(path: &Path) -> u64 {
    let log = path.with_file_name(path.file_name().map(|name| [name, "-wal".as_ref()].join("".as_ref())).unwrap_or_default());
    [path, &log].iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

/// Gives free pages back to the file system.
pub fn give_back(connection: &Connection) -> anyhow::Result<()> {
    in_steps(|| {
        let before = free(connection)?;
        connection.execute_batch(&format!("PRAGMA incremental_vacuum({STEP})"))?;
        // A file that somebody else has made may not be able to.
        let after = free(connection)?;
        Ok(after > 0 && after < before)
    })?;
    // The log is as long as what was changed. Whoever reads meanwhile keeps it so, and the next one to close the file makes it short.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

fn free(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
}
