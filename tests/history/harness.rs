//! A store of each kind, empty, for one test.

use std::future::Future;
use std::path::PathBuf;

use tempfile::TempDir;
use testbed::history::place::Place;
use testbed::history::store::Store;

/// A place that nobody has written to yet.
pub struct Fresh {
    pub place: Place,
    folder: TempDir,
}

impl Fresh {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { place: Place::Sqlite(folder.path().join("state/history.db")), folder }
    }

    /// The file, for a store that is one.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("state/history.db")
    }

    pub async fn store(&self) -> Store {
        Store::open(&self.place).await.unwrap_or_else(|error| panic!("{}: {error:#}", self.place))
    }
}

/// Does the same with a store of each kind.
pub fn on_each<F: Future<Output = ()>>(test: impl Fn(Fresh) -> F) {
    for fresh in [Fresh::sqlite()] {
        eprintln!("--- {}", fresh.place);
        block_on(test(fresh));
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}
