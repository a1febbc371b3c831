//! A history's file that somebody else has written: any bytes in the place of a SQLite database, or testbed's
//! tables with any values in them.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use testbed::history::place::Place;
use testbed::history::query::{Filter, Retention};
use testbed::history::store::Store;
use testbed_fuzz::with_a_clock;

/// In memory where the machine has that.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder").keep()
});

/// The file that testbed makes.
static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = FOLDER.join("empty.db");
    with_a_clock()
        .block_on(async { drop(Store::open(&Place::Sqlite(path.clone())).await.expect("an empty store")) });
    let connection = Connection::open(&path).expect("an empty store");
    // What is in its log goes home.
    connection.pragma_update(None, "journal_mode", "DELETE").expect("one file");
    drop(connection);
    std::fs::read(path).expect("an empty store")
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let path = FOLDER.join("history.db");
    for end in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    if kind & 1 == 0 {
        std::fs::write(&path, data).expect("room for a file");
    } else {
        std::fs::write(&path, &*EMPTY).expect("room for a file");
        fill(&path, data).expect("testbed's own tables");
    }
    with_a_clock().block_on(look(Place::Sqlite(path), kind & 2 != 0));
});

/// One run with its story and a log; each value is a part of the input.
fn fill(path: &PathBuf, data: &[u8]) -> rusqlite::Result<()> {
    let mut parts = testbed_fuzz::parts(data).map(value);
    let mut next = || parts.next();
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    // A story whose run is refused is one more thing that nobody expects.
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    connection.execute(
        "INSERT OR IGNORE INTO runs (id, run_id, name, status, runtime, engines, began, cause) VALUES ('a', 'run-1', ?, ?, 'local', ?, ?, ?)",
        params![next(), next(), next(), next(), next()],
    )?;
    connection.execute(
        "INSERT OR IGNORE INTO stories (id, story, details) VALUES ('a', ?, ?)",
        params![next(), next()],
    )?;
    connection.execute(
        "INSERT OR IGNORE INTO logs (id, source, container, previous, info, gzip) VALUES ('a', 'p', 'c', 0, ?, ?)",
        params![next(), next()],
    )?;
    Ok(())
}

/// The first byte says of what type a value is.
fn value(part: &[u8]) -> Value {
    let Some((kind, rest)) = part.split_first() else { return Value::Null };
    match kind {
        b'i' => std::str::from_utf8(rest)
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(Value::Null, Value::Integer),
        b'r' => Value::Real(0.5),
        b'b' => Value::Blob(rest.to_vec()),
        _ => {
            String::from_utf8(rest.to_vec()).map_or_else(|error| Value::Blob(error.into_bytes()), Value::Text)
        }
    }
}

async fn look(place: Place, writes: bool) {
    if let Ok(Some(store)) = Store::open_to_read(&place).await {
        let filter = Filter { engine: Some("postgres".into()), ..Filter::default() };
        let _ = store.list(&Filter::default(), None, 10).await.map(|found| {
            found
                .iter()
                .map(|run| (run.cursor().to_string(), run.ready.map(|ready| ready.since(run.began))))
                .count()
        });
        let _ = store.list(&filter, None, 10).await;
        let _ = store.find("run-1").await;
        let _ = store.whole(&Filter::default(), 10).await;
        let _ = store.beginning("a").await;
        for log in store.logs("a").await.unwrap_or_default() {
            let _ = log.text();
        }
    }
    if writes && let Ok(store) = Store::open(&place).await {
        let _ = store.change("a", Vec::new(), None, |record| record.notes.push("seen".into())).await;
        let _ = store.prune(&Retention { older_than: None, keep: Some(0) }, false).await;
    }
}
