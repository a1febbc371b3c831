//! Keeps records and logs. SQLite and PostgreSQL behind one interface: what one does, the other does.

use anyhow::bail;

use super::log::Log;
use super::place::Place;
use super::query::{Cursor, Filter, Pruned, Retention, Summary};
use super::record::Record;

/// An open store.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    pub async fn open(_place: &Place) -> anyhow::Result<Self> {
        bail!("there is no store yet")
    }
    pub async fn open_to_read(_place: &Place) -> anyhow::Result<Option<Self>> {
        bail!("there is no store yet")
    }
    pub async fn put(&self, _record: Record, _logs: Vec<Log>) -> anyhow::Result<()> {
        bail!("there is no store yet")
    }
    pub async fn change(
        &self,
        _id: &str,
        _logs: Vec<Log>,
        _otherwise: Option<Record>,
        _change: impl FnOnce(&mut Record) + Send + 'static,
    ) -> anyhow::Result<bool> {
        bail!("there is no store yet")
    }
    pub async fn unfinished(&self, _run_id: &str, _runtime: &str, _namespace: Option<&str>) -> anyhow::Result<Option<Record>> {
        bail!("there is no store yet")
    }
    pub async fn find(&self, _run: &str) -> anyhow::Result<Vec<Record>> {
        bail!("there is no store yet")
    }
    pub async fn logs(&self, _id: &str) -> anyhow::Result<Vec<Log>> {
        bail!("there is no store yet")
    }
    pub async fn list(&self, _filter: &Filter, _after: Option<&Cursor>, _limit: usize) -> anyhow::Result<Vec<Summary>> {
        bail!("there is no store yet")
    }
    pub async fn stories(&self, _filter: &Filter, _limit: usize) -> anyhow::Result<Vec<Record>> {
        bail!("there is no store yet")
    }
    pub async fn prune(&self, _retention: &Retention, _dry_run: bool) -> anyhow::Result<Pruned> {
        bail!("there is no store yet")
    }
}
