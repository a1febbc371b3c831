//! An empty store of each kind, for one test.

use std::future::Future;
use std::path::PathBuf;

use tempfile::TempDir;
use testbed::history::place::Place;
use testbed::history::store::Store;

use crate::server::Server;
pub use crate::support::count;

/// A place that nobody has written to yet.
pub struct Fresh {
    pub place: Place,
    pub kind: Kind,
}

pub enum Kind {
    Sqlite(TempDir),
    Postgres(Box<Server>),
}

impl Fresh {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { place: Place::Sqlite(folder.path().join("state/history.db")), kind: Kind::Sqlite(folder) }
    }

    pub fn postgres() -> Self {
        let server = Server::up();
        Self { place: block_on(server.database("history")), kind: Kind::Postgres(server.into()) }
    }

    /// The file, for a store that is one.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Sqlite(folder) => Some(folder.path().join("state/history.db")),
            Kind::Postgres(_) => None,
        }
    }

    pub async fn store(&self) -> Store {
        Store::open(&self.place).await.unwrap_or_else(|error| panic!("{}: {error:#}", self.place))
    }

    /// Does some SQL as somebody other than testbed, and tells the first column of what it finds. The
    /// schema's name is left out for SQLite.
    pub async fn sql(&self, sql: &str) -> Vec<String> {
        match &self.kind {
            Kind::Postgres(server) => server.run("history", sql).await,
            Kind::Sqlite(_) => {
                let connection =
                    rusqlite::Connection::open(self.file().expect("a file")).expect("the file opens");
                let mut statement = connection.prepare(&sql.replace("testbed.", "")).expect("a statement");
                let rows =
                    statement.query_map([], |row| row.get::<_, rusqlite::types::Value>(0)).expect("rows");
                rows.map(|value| format!("{:?}", value.expect("a value"))).collect()
            }
        }
    }
}

/// Does the same with a store of each kind.
pub fn on_each<F: Future<Output = ()>>(test: impl Fn(Fresh) -> F) {
    for make in [Fresh::sqlite, Fresh::postgres] {
        let fresh = make();
        eprintln!("--- {}", fresh.place);
        block_on(test(fresh));
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}
