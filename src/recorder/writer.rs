//! Writes in the background, job by job: into the store, and to Tekton Results once a run is over.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::origin::checked_out;
use super::{lost, merge};
use crate::history::log::Log;
use crate::history::place::Place;
use crate::history::record::{Origin, Record, Status};
use crate::history::results::ResultsApi;
use crate::history::store::Store;
use crate::redact::Redactor;

pub(super) type Change = Box<dyn FnOnce(&mut Record) + Send>;

pub(super) enum Job {
    /// The record of a run that is about to be made, and its objects, with what is secret in them.
    Begin { record: Box<Record>, objects: Vec<Value>, redactor: Box<Redactor> },
    /// A change of one. Where there is no such record, `otherwise` is changed and put.
    Change { which: Which, change: Change, logs: Vec<Log>, otherwise: Option<Box<Record>> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    Id(String),
    /// The newest one of a run in a cluster that is not over: nobody knows its id.
    Unfinished {
        run_id: String,
        cluster: String,
        namespace: String,
    },
}

#[derive(Default)]
pub(super) struct Written {
    /// How many jobs it is done with.
    pub jobs: usize,
    pub failures: Vec<anyhow::Error>,
}

pub(super) struct Writer {
    pub place: Option<Place>,
    pub results: Option<ResultsApi>,
    store: Option<Store>,
    /// The Result in Tekton Results that this pod's TaskRun belongs to, and who tells it.
    result: Option<String>,
    own_result: fn() -> BoxFuture<'static, Option<String>>,
    /// The records of this command, where no store has them.
    unstored: BTreeMap<String, Record>,
}

impl Writer {
    pub(super) fn new(
        place: Option<Place>,
        results: Option<ResultsApi>,
        own_result: fn() -> BoxFuture<'static, Option<String>>,
    ) -> Self {
        Self { place, results, store: None, result: None, own_result, unstored: BTreeMap::new() }
    }

    /// Works the queue off until the command ends. What has failed once, a store or Tekton Results, is not
    /// tried again: each try could take its time.
    pub(super) async fn write(mut self, mut jobs: mpsc::UnboundedReceiver<Job>, to: watch::Sender<Written>) {
        while let Some(job) = jobs.recv().await {
            let mut failures = Vec::new();
            if let Err(error) = self.open().await {
                self.place = None;
                failures.push(error);
            }
            // What no store takes is told elsewhere all the same.
            match self.write_one(job).await {
                Ok(Some(id)) => failures.extend(self.publish(&id).await.err()),
                Ok(None) => {}
                Err(error) => {
                    (self.place, self.store) = (None, None);
                    failures.push(error);
                }
            }
            to.send_modify(|written| {
                written.jobs += 1;
                written.failures.extend(failures);
            });
        }
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        if let (None, Some(place)) = (&self.store, &self.place) {
            let store = Store::open(place).await.with_context(|| format!("opening {place}"))?;
            // What is not closed now is closed by a later command.
            let _ = lost::close(place, &store).await;
            self.store = Some(store);
        }
        Ok(())
    }

    /// The id of the record that was written, if there was one.
    async fn write_one(&mut self, job: Job) -> anyhow::Result<Option<String>> {
        match job {
            Job::Begin { mut record, mut objects, redactor } => {
                merge::shorten(&mut objects);
                objects.iter_mut().for_each(|object| redactor.redact_object(object));
                record.objects = objects;
                if let Origin { git_commit: commit @ None, folder: Some(folder), .. } = &mut record.origin {
                    *commit = checked_out(folder).await;
                }
                let id = record.id.clone();
                match &self.store {
                    Some(store) => store.put(*record, Vec::new()).await?,
                    None => drop(self.unstored.insert(id.clone(), *record)),
                }
                Ok(Some(id))
            }
            Job::Change { which, change, logs, otherwise } => {
                self.change(which, change, logs, otherwise.map(|record| *record)).await
            }
        }
    }

    /// The id of the record that was changed, if there was one.
    async fn change(
        &mut self,
        which: Which,
        change: Change,
        logs: Vec<Log>,
        otherwise: Option<Record>,
    ) -> anyhow::Result<Option<String>> {
        let known = match which {
            Which::Id(id) => Some(id),
            Which::Unfinished { run_id, cluster, namespace } => {
                self.unfinished(&run_id, &cluster, &namespace).await?
            }
        };
        let Some(id) = known.or(otherwise.as_ref().map(|record| record.id.clone())) else { return Ok(None) };
        if let Some(store) = &self.store {
            store.change(&id, logs, otherwise, change).await?;
        } else if let Some(mut record) = self.known(&id, otherwise).await {
            change(&mut record);
            self.unstored.insert(id.clone(), record);
        }
        Ok(Some(id))
    }

    async fn unfinished(
        &self,
        run_id: &str,
        cluster: &str,
        namespace: &str,
    ) -> anyhow::Result<Option<String>> {
        let found = match &self.store {
            Some(store) => store.unfinished(run_id, namespace).await?,
            None => {
                self.unstored.values().find(|record| record.run_id == run_id && !record.is_over()).cloned()
            }
        };
        // Another cluster may have a run of the same name.
        Ok(found.filter(|record| record.origin.cluster.as_deref() == Some(cluster)).map(|record| record.id))
    }

    /// A record that no store has: as this command or Tekton Results knows it, else as it is told.
    async fn known(&mut self, id: &str, otherwise: Option<Record>) -> Option<Record> {
        if let Some(known) = self.unstored.remove(id) {
            return Some(known);
        }
        let otherwise = otherwise?;
        let Some(results) = &self.results else { return Some(otherwise) };
        let result = learnt(&mut self.result, self.own_result).await;
        // Whatever keeps it from being read keeps it from being written as well, which is told then.
        Some(results.read(&otherwise, result).await.ok().flatten().unwrap_or(otherwise))
    }

    /// Tells Tekton Results of a run that is over or has failed: its remover knows only what it finds.
    async fn publish(&mut self, id: &str) -> anyhow::Result<()> {
        let Some(results) = &self.results else { return Ok(()) };
        let record = match &self.store {
            Some(store) => store.find(id).await?.into_iter().find(|record| record.id == id),
            None => self.unstored.get(id).cloned(),
        };
        let is_told =
            |record: &Record| record.is_over() || matches!(record.status, Status::Failed | Status::Cancelled);
        let Some(record) = record.filter(is_told) else { return Ok(()) };
        let published = results.publish(&record, learnt(&mut self.result, self.own_result).await).await;
        if published.is_err() {
            self.results = None;
        }
        published
    }
}

/// The Result that this pod's TaskRun belongs to. It is told a moment after the pod was made, so that it is
/// asked for again as long as it is not known.
async fn learnt(
    result: &mut Option<String>,
    own_result: fn() -> BoxFuture<'static, Option<String>>,
) -> Option<&str> {
    if result.is_none() {
        *result = own_result().await;
    }
    result.as_deref()
}
