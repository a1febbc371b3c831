//! Whether the PipelineRuns of holders still run, each followed by one watch. Only whoever is next in the queue asks.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::backoff::Pauses;
use super::state::{Holder, PipelineRun};
use super::step::Life;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::explain::{is_absent, is_forbidden};
use crate::runtime::kubernetes::kinds::Kinds;

/// The versions in which a cluster may have them, the one to use first.
pub const VERSIONS: [&str; 2] = ["tekton.dev/v1", "tekton.dev/v1beta1"];

/// The PipelineRuns that are watched.
pub struct Lives {
    cluster: Cluster,
    known: BTreeMap<PipelineRun, Life>,
    tell: UnboundedSender<News>,
    news: UnboundedReceiver<News>,
    watches: JoinSet<()>,
}

/// What became of a PipelineRun; the reason where that cannot be known.
pub struct News {
    pipeline_run: PipelineRun,
    life: Life,
    /// Why it cannot be known.
    pub obstacle: Option<String>,
}

impl Lives {
    /// Watches none yet.
    pub fn new(cluster: &Cluster) -> Self {
        let (tell, news) = unbounded_channel();
        Self { cluster: cluster.clone(), known: BTreeMap::new(), tell, news, watches: JoinSet::new() }
    }

    /// What is known of a holder's PipelineRun.
    pub fn of(&self, holder: &Holder) -> Life {
        let known = holder.terms.pipeline_run.as_ref().map(|pipeline_run| self.known.get(pipeline_run).copied().unwrap_or(Life::Unknown));
        known.unwrap_or(Life::Unreadable)
    }

    /// Begins to watch the holder's PipelineRun, if it has one that is not watched yet.
    pub fn follow(&mut self, holder: &Holder) {
        let Some(pipeline_run) = &holder.terms.pipeline_run else { return };
        if self.known.contains_key(pipeline_run) {
            return;
        }
        self.known.insert(pipeline_run.clone(), Life::Unknown);
        self.watches.spawn(follow(self.cluster.clone(), pipeline_run.clone(), self.tell.clone()));
    }

    /// The next change.
    pub async fn next(&mut self) -> News {
        let Some(news) = self.news.recv().await else { return std::future::pending().await };
        self.known.insert(news.pipeline_run.clone(), news.life);
        news
    }
}

async fn follow(cluster: Cluster, pipeline_run: PipelineRun, tell: UnboundedSender<News>) {
    let send = |life: Life, obstacle: Option<String>| tell.send(News { pipeline_run: pipeline_run.clone(), life, obstacle }).is_ok();
    let mut kinds = Kinds::new(&cluster);
    let mut pauses = Pauses::default();
    let kind = loop {
        match find(&mut kinds).await {
            Ok(kind) => break kind,
            Err(_) => tokio::time::sleep(pauses.next().unwrap_or_default()).await,
        }
    };
    let Some(api) = kind.and_then(|kind| kinds.namespaced(&kind, Some(&cluster.namespace))) else {
        send(Life::Unreadable, Some("the cluster has no PipelineRuns".into()));
        return;
    };
    let config = watcher::Config::default().fields(&format!("metadata.name={}", pipeline_run.name));
    let mut events = watcher(api, config).backoff(Pauses::default()).boxed();
    let mut listed = None;
    while let Some(event) = events.next().await {
        let life = match event {
            Ok(watcher::Event::Init) => {
                listed = None;
                continue;
            }
            Ok(watcher::Event::InitApply(found)) => {
                listed = Some(found);
                continue;
            }
            Ok(watcher::Event::InitDone) => life_of(listed.take().as_ref(), &pipeline_run),
            Ok(watcher::Event::Apply(found)) => life_of(Some(&found), &pipeline_run),
            Ok(watcher::Event::Delete(_)) => Life::Over,
            Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error))
                if is_forbidden(&error) || is_absent(&error) =>
            {
                let why = format!("PipelineRun {} may not be watched (get, list and watch on pipelineruns)", pipeline_run.name);
                send(Life::Unreadable, Some(why));
                return;
            }
            Err(_) => continue,
        };
        if !send(life, None) {
            return;
        }
    }
}

/// The kind, in a version that the cluster has.
///
/// # Errors
/// A failed request, explained.
pub async fn find(kinds: &mut Kinds) -> anyhow::Result<Option<(String, String)>> {
    for version in VERSIONS {
        let name = (version.to_owned(), "PipelineRun".to_owned());
        if kinds.resolve(&name).await? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What a holder's PipelineRun does just now, for a look that does not wait.
pub async fn look(cluster: &Cluster, kinds: &mut Kinds, holder: &Holder) -> Life {
    let Some(pipeline_run) = &holder.terms.pipeline_run else { return Life::Unreadable };
    let Ok(Some(kind)) = find(kinds).await else { return Life::Unreadable };
    let Some(api) = kinds.namespaced(&kind, Some(&cluster.namespace)) else { return Life::Unreadable };
    match api.get_opt(&pipeline_run.name).await {
        Ok(found) => life_of(found.as_ref(), pipeline_run),
        Err(_) => Life::Unreadable,
    }
}

/// What a PipelineRun's own words mean.
fn life_of(found: Option<&DynamicObject>, wanted: &PipelineRun) -> Life {
    let Some(found) = found else { return Life::Over };
    if wanted.uid.is_some() && found.uid() != wanted.uid {
        return Life::Over;
    }
    let status = &found.data["status"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_ended =
        |condition: &Value| condition["type"] == "Succeeded" && (condition["status"] == "True" || condition["status"] == "False");
    if status["completionTime"].is_string() || conditions.iter().any(has_ended) { Life::Over } else { Life::Running }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_run_lives_until_it_says_otherwise() {
        let wanted = PipelineRun { name: "p".into(), uid: Some("u".into()) };
        let life = |uid: &str, status: Value| {
            let body = serde_json::json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "p", "uid": uid}, "status": status});
            life_of(Some(&serde_json::from_value(body).unwrap()), &wanted)
        };
        let condition = |status: &str| serde_json::json!({"conditions": [{"type": "Succeeded", "status": status}]});
        assert_eq!(life_of(None, &wanted), Life::Over);
        assert_eq!(life("u", Value::Null), Life::Running);
        assert_eq!(life("u", condition("Unknown")), Life::Running);
        assert_eq!(life("u", condition("False")), Life::Over);
        assert_eq!(life("u", serde_json::json!({"completionTime": "2026-01-01T00:00:00Z"})), Life::Over);
        assert_eq!(life("another", Value::Null), Life::Over);
    }
}
