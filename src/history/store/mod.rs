//! Keeps records and logs. SQLite and PostgreSQL behind one interface: what one does, the other does.
//!
//! Both have the same tables ([`schema`]) and are asked in the same words ([`rows`] about one run,
//! [`listing`] about many). A database has only to know how to ask a question, and how to ask and then write
//! while nobody else changes the same record.

mod listing;
mod postgres;
mod prune;
mod rows;
mod schema;
mod sqlite;
mod value;

use anyhow::Context;

pub use self::sqlite::NO_SPACE;

use self::postgres::Postgres;
use self::sqlite::Sqlite;
use self::value::{Row, Statement};
use super::log::Log;
use super::place::Place;
use super::query::{Cursor, Filter, Pruned, Retention, Summary};
use super::record::Record;
use crate::time::Time;

/// Whether a store's address says what it has to. Nobody is asked, and nothing is opened.
pub fn check(place: &Place) -> anyhow::Result<()> {
    match place {
        Place::Sqlite(_) => Ok(()),
        Place::Postgres(url) => postgres::check(url),
    }
}

/// An open store. Clones share a connection.
#[derive(Debug, Clone)]
pub struct Store {
    place: Place,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Store {
    /// Opens a store to write to, makes it if it is not there, and brings its tables up to date. All errors
    /// of a store name the place, what is wrong with it, and what to do; never a password.
    pub async fn open(place: &Place) -> anyhow::Result<Self> {
        Self::connect(place, true).await?.context("the store was not made")
    }

    /// Opens a store to ask it; `None` where nothing was ever written. Makes neither a file nor tables.
    pub async fn open_to_read(place: &Place) -> anyhow::Result<Option<Self>> {
        Self::connect(place, false).await
    }

    async fn connect(place: &Place, makes: bool) -> anyhow::Result<Option<Self>> {
        let backend = match place {
            Place::Sqlite(path) => Sqlite::open(path, makes).await?.map(Backend::Sqlite),
            Place::Postgres(url) => {
                Postgres::open(url, place.to_string(), makes).await?.map(Backend::Postgres)
            }
        };
        Ok(backend.map(|backend| Self { place: place.clone(), backend }))
    }

    /// Writes a record, in the place of the one with its id. Logs are added to those that are stored with it:
    /// there is one for each source, container and `previous`, the one that was written last. The stored
    /// record names all of them. Where it fails, nothing is written.
    pub async fn put(&self, record: Record, logs: Vec<Log>) -> anyhow::Result<()> {
        let id = record.id.clone();
        let then = |answers: Vec<Vec<Row>>| rows::write(record, logs, infos(answers.into_iter().flatten())?);
        self.write(&id, vec![rows::log_infos(&id)], then).await.map(drop)
    }

    /// Changes a stored record, and adds logs to it; where it is not stored, `otherwise` is changed and
    /// written. Two who do it at once do it one after the other. `false`: there was neither. Where it fails,
    /// nothing is written.
    pub async fn change(
        &self,
        id: &str,
        logs: Vec<Log>,
        otherwise: Option<Record>,
        change: impl FnOnce(&mut Record) + Send + 'static,
    ) -> anyhow::Result<bool> {
        let then = |answers: Vec<Vec<Row>>| {
            let mut answers = answers.into_iter();
            let stored =
                answers.next().unwrap_or_default().into_iter().next().map(rows::record).transpose()?;
            let Some(mut record) = stored.or(otherwise) else { return Ok(Vec::new()) };
            change(&mut record);
            rows::write(record, logs, infos(answers.flatten())?)
        };
        self.write(id, vec![rows::one(id), rows::log_infos(id)], then).await
    }

    /// The newest record of a run in a cluster's namespace that is not over.
    pub async fn unfinished(&self, run_id: &str, namespace: &str) -> anyhow::Result<Option<Record>> {
        Ok(self.read(rows::unfinished(run_id, namespace), rows::record).await?.pop())
    }

    /// The records with this id or of this run, from the newest on, at most 100.
    pub async fn find(&self, run: &str) -> anyhow::Result<Vec<Record>> {
        self.read(rows::find(run), rows::record).await
    }

    /// The newest records whose id, or whose run's id, begins with these letters, at most 100.
    pub async fn beginning(&self, letters: &str) -> anyhow::Result<Vec<Summary>> {
        self.read(listing::beginning(letters), listing::summary).await
    }

    /// Runs of this machine that have no end, at most 100: those that began since then, and those that were
    /// being made, or up, when they were last written.
    pub async fn open_here(&self, since: Time) -> anyhow::Result<Vec<Summary>> {
        self.read(listing::open_here(since), listing::summary).await
    }

    /// The logs that are stored with a record, by source and container; that of the container before the last
    /// restart comes before the newer one.
    pub async fn logs(&self, id: &str) -> anyhow::Result<Vec<Log>> {
        self.read(rows::logs(id), rows::log).await
    }

    /// Runs from the newest on, at most so many.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> anyhow::Result<Vec<Summary>> {
        self.read(listing::page(filter, after, limit), listing::summary).await
    }

    /// The same as records without objects and events.
    pub async fn whole(&self, filter: &Filter, limit: usize) -> anyhow::Result<Vec<Record>> {
        self.read(listing::whole(filter, limit), rows::without_details).await
    }

    /// Deletes the records that are not to be kept, with their logs, and gives their space back; a dry run
    /// only counts. A run that is not over is spared for a day after its begin, whatever is asked: whoever
    /// removes it writes its end. Where it fails, what is deleted by then stays so.
    pub async fn prune(&self, retention: &Retention, dry_run: bool) -> anyhow::Result<Pruned> {
        prune::prune(&self.backend, retention, dry_run).await
    }

    async fn read<T>(
        &self,
        question: Statement,
        read: impl Fn(Row) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        let rows = self.backend.read(question).await?;
        let read = rows.into_iter().map(read).collect::<anyhow::Result<_>>();
        read.with_context(|| format!("reading {}", self.place))
    }

    /// Asks, and writes what follows from the answers, while nobody else writes the record with that id.
    /// Whether there was anything to write.
    async fn write<F>(&self, id: &str, questions: Vec<Statement>, then: F) -> anyhow::Result<bool>
    where
        F: FnOnce(Vec<Vec<Row>>) -> anyhow::Result<Vec<Statement>> + Send + 'static,
    {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.write(questions, then).await,
            Backend::Postgres(postgres) => postgres.write(id, questions, then).await,
        }
    }
}

impl Backend {
    async fn read(&self, question: Statement) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read(question).await,
            Self::Postgres(postgres) => postgres.read(&question).await,
        }
    }

    async fn delete(&self, which: &Statement) -> anyhow::Result<u64> {
        match self {
            Self::Sqlite(sqlite) => sqlite.delete(which).await,
            Self::Postgres(postgres) => postgres.delete(which).await,
        }
    }

    async fn give_back(&self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.give_back().await,
            Self::Postgres(postgres) => postgres.give_back().await,
        }
    }

    async fn size(&self) -> anyhow::Result<u64> {
        match self {
            Self::Sqlite(sqlite) => sqlite.size().await,
            Self::Postgres(postgres) => postgres.size().await,
        }
    }
}

fn infos(rows: impl Iterator<Item = Row>) -> anyhow::Result<Vec<super::record::LogInfo>> {
    rows.map(|mut row| rows::log_info(&mut row)).collect()
}
