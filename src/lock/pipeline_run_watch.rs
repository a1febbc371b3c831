//! Whether the PipelineRuns of holders still run: one watch each, of whoever is next in the queue.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use kube::Error;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::Config;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::clock::now;
use super::state::{Holder, Lock, PipelineRun, Terms};
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::explain::is_absent;
use crate::runtime::kubernetes::pipeline_run::{Life, VERSIONS, api};
use crate::runtime::kubernetes::updates::{Update, updates};

/// How long an answer may take before somebody who does not want to wait goes without it.
const ANSWER: Duration = Duration::from_secs(5);

pub struct PipelineRunWatch {
    cluster: Cluster,
    known: BTreeMap<PipelineRun, Known>,
    sender: UnboundedSender<Change>,
    changes: UnboundedReceiver<Change>,
    watches: JoinSet<()>,
}

struct Known {
    life: Life,
    /// On [`now`]'s clock.
    asked_at: Duration,
}

pub struct Change {
    pipeline_run: PipelineRun,
    life: Life,
    /// Why it cannot be known.
    pub obstacle: Option<&'static str>,
}

/// What the cluster says now of the PipelineRun of somebody who holds or waits.
pub async fn look(cluster: &Cluster, terms: &Terms) -> Life {
    let Some(PipelineRun { name, uid }) = &terms.pipeline_run else { return Life::Unreadable };
    Life::look(cluster, name, uid.as_deref()).await
}

impl PipelineRunWatch {
    pub fn new(cluster: &Cluster) -> Self {
        let (sender, changes) = unbounded_channel();
        Self { cluster: cluster.clone(), known: BTreeMap::new(), sender, changes, watches: JoinSet::new() }
    }

    /// What is known of a holder's PipelineRun.
    pub fn of(&self, holder: &Holder) -> Life {
        let Some(pipeline_run) = &holder.terms.pipeline_run else { return Life::Unreadable };
        self.known.get(pipeline_run).map_or(Life::Unasked, |known| known.life)
    }

    /// Whether the PipelineRun goes on of somebody who waits: looked up once it is their turn.
    pub async fn of_waiting(&self, terms: &Terms, within: Duration) -> Life {
        timeout(within, look(&self.cluster, terms)).await.unwrap_or(Life::Unasked)
    }

    /// Begins to watch the holder's PipelineRun, if it has one that is not watched yet.
    pub fn follow(&mut self, holder: &Holder) {
        let Some(pipeline_run) = &holder.terms.pipeline_run else { return };
        if self.known.contains_key(pipeline_run) {
            return;
        }
        self.known.insert(pipeline_run.clone(), Known { life: Life::Unasked, asked_at: now() });
        self.watches.spawn(follow(self.cluster.clone(), pipeline_run.clone(), self.sender.clone()));
    }

    /// Until when an answer about one of the holders may be expected; `None` if there is none to come.
    pub fn answer_due(&self, lock: &Lock) -> Option<Duration> {
        let asked =
            lock.holders.iter().filter_map(|holder| self.known.get(holder.terms.pipeline_run.as_ref()?));
        let due = asked.filter(|known| known.life == Life::Unasked).map(|known| known.asked_at + ANSWER);
        due.filter(|due| *due > now()).min()
    }

    pub async fn next(&mut self) -> Change {
        let Some(change) = self.changes.recv().await else { return std::future::pending().await };
        if let Some(known) = self.known.get_mut(&change.pipeline_run) {
            known.life = change.life;
        }
        change
    }
}

async fn follow(cluster: Cluster, pipeline_run: PipelineRun, sender: UnboundedSender<Change>) {
    let mut obstacle = "the cluster has no PipelineRuns";
    for version in VERSIONS {
        match watch(api(&cluster, version), &pipeline_run, &sender).await {
            Some(error) if is_absent(&error) => {}
            Some(_) => {
                obstacle = "PipelineRuns may not be watched here (list and watch on pipelineruns)";
                break;
            }
            None => return,
        }
    }
    // Nobody listens once the lock is held.
    let _ = sender.send(Change { pipeline_run, life: Life::Unreadable, obstacle: Some(obstacle) });
}

/// Tells what becomes of a PipelineRun for as long as somebody listens; `Some` is why that cannot be known.
async fn watch(
    api: Api<DynamicObject>,
    wanted: &PipelineRun,
    sender: &UnboundedSender<Change>,
) -> Option<Error> {
    let config = Config::default().fields(&format!("metadata.name={}", wanted.name));
    let mut updates = updates(api, config, Some);
    while let Some(update) = updates.next().await {
        let found = match update {
            Ok(Update::All(all)) => all.into_iter().next(),
            Ok(Update::Changed(object)) => Some(object),
            Ok(Update::Deleted(_)) => None,
            Ok(Update::Interrupted(_)) => continue,
            Err(error) => return Some(error),
        };
        let life = Life::of(found.as_ref(), wanted.uid.as_deref());
        if sender.send(Change { pipeline_run: wanted.clone(), life, obstacle: None }).is_err() {
            break;
        }
    }
    None
}
