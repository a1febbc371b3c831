//! What a lock on a workload needs beyond its turn: nobody else scales it, its pod is ready, then gone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::StreamExt;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cli::Locking;
use crate::database::{Discovery, Workload};
use crate::failure::{Advise, Exit, usage};
use crate::lock::candidacy::Held;
use crate::lock::object::{Kind, Target, Version, WatchEvent};
use crate::lock::release::{Released, release};
use crate::lock::replicas::{Change, is_seen, replicas, scale_up};
use crate::progress::{Progress, READY};
use crate::redact::Redactor;
use crate::runtime::kubernetes::diagnose::Budgets;
use crate::runtime::kubernetes::events::Past;
use crate::runtime::kubernetes::explain::{is_absent, is_forbidden};
use crate::runtime::kubernetes::maker::Maker;
use crate::runtime::kubernetes::observe::Observer;
use crate::runtime::kubernetes::pods::Whose;
use crate::runtime::kubernetes::{autoscaler, explain};
use crate::session::cluster::failure_watcher::{FailureWatcher, Scope};

/// How long faults may last that can mend: what the flags of `up` say without anybody's doing.
const BUDGETS: Budgets = Budgets { pull: Duration::from_secs(120), capacity: Duration::from_secs(60) };

/// How long to try to give a lock back whose pods do not come up.
const GIVING_BACK: Duration = Duration::from_secs(10);

/// Refuses permits for a workload, and one that is scaled by somebody else. Of a Lease nothing is asked.
pub(super) async fn check(target: &Target, args: &Locking, progress: &Progress) -> anyhow::Result<()> {
    if target.kind == Kind::Lease {
        return Ok(());
    }
    if let Some(permits) = args.permits {
        return Err(usage(format!("--permits {permits} with --on {target}: its one replica is one permit")))
            .hint("a Lease may have several: testbed lock acquire NAME --permits N");
    }
    let cluster = &target.cluster;
    match autoscaler::of(cluster, target.kind.name(), &target.name).await {
        Ok(None) => Ok(()),
        Ok(Some(name)) => {
            let error = usage(format!(
                "--on {target}: HorizontalPodAutoscaler {name} sets its replicas, which are to be the lock"
            ));
            let delete = format!("delete the autoscaler ({} delete hpa {name})", cluster.kubectl);
            Err(error).hint(format!("{delete}, or use a Lease: testbed lock acquire NAME"))
        }
        Err(error) if is_forbidden(&error) => {
            progress.say(&format!(
                "{target}: whether a HorizontalPodAutoscaler scales it cannot be seen here (verb list on horizontalpodautoscalers)"
            ));
            Ok(())
        }
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(explain(cluster, error, "listing HorizontalPodAutoscalers")),
    }
}

/// The replica of a workload that was just taken.
pub(super) struct Replica {
    target: Target,
    version: Arc<Version>,
    fence: u64,
    id: String,
    is_again: bool,
}

impl Replica {
    /// What was taken; `None` for a Lease.
    pub(super) fn of(target: &Target, held: &Held) -> Option<Self> {
        let Held { version, fence, is_again, .. } = held;
        let holder = version.lock.holders.iter().find(|holder| holder.fence == *fence)?;
        let (version, id) = (version.clone(), holder.identity.id.clone());
        (target.kind != Kind::Lease).then(|| Self {
            target: target.clone(),
            version,
            fence: *fence,
            id,
            is_again: *is_again,
        })
    }

    /// Waits until its pod is ready. The lock stays held whatever happens.
    /// Exit code 3 when `within` is over, 4 when the pod can never become ready or somebody scales it by
    /// hand, 6 when the lock is somebody else's by now.
    pub(super) async fn ready(&self, within: Duration, progress: &Progress) -> anyhow::Result<()> {
        let Self { target, .. } = self;
        let version = self.again(progress).await?;
        let discovery = discovery(target, &version)?;
        let mut redactor = Redactor::new(&target.name);
        discovery.workloads.iter().for_each(|workload| redactor.add_pod(&workload.spec));
        let whose = Whose::Maker(Maker::read(target.kind.name(), &version.object)?);
        let (observer, mut failure) = Observer::start(&target.cluster, whose, &[]);
        let scope = Scope { discovery: &discovery, redactor, stays: self.is_again, past: Past::IsPast };
        let watcher = FailureWatcher::start(scope, &target.cluster, BUDGETS);
        let (seen_to, mut seen) = watch::channel(false);
        let name = target.to_string();
        let wait = async {
            // Before that, a pod may be one that the controller is about to take away.
            let _ = seen.wait_for(|seen| *seen).await;
            observer
                .all_ready(&discovery.workloads, |_, ready| {
                    progress.stage(&name, if ready { READY } else { "waiting for its pod" }, "");
                })
                .await;
        };
        let outcome = tokio::select! {
            outcome = timeout(within, wait) => outcome,
            error = failure.reason() => return Err(error),
            error = self.changes(&version, &seen_to) => return Err(error),
            lost = watcher.lost(&observer, progress) => return Err(watcher.report(lost).await),
        };
        progress.finish();
        outcome.or_else(|_| {
            let unready = watcher.redact(&observer.unready(&discovery.workloads).join("; "));
            let error =
                anyhow!("{target}: not ready within {}: {unready}", humantime::format_duration(within));
            let error = Err(error).exit(Exit::NotReady).hint("wait longer with --ready-timeout");
            match watcher.unread() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }

    /// What was held already may have been scaled to 0 since: it gets its replica again.
    async fn again(&self, progress: &Progress) -> anyhow::Result<Arc<Version>> {
        let Self { target, version, fence, .. } = self;
        if !self.is_again || replicas(version) != Some(0) {
            return Ok(version.clone());
        }
        progress.say(&format!(
            "{target}: somebody has scaled it to 0 while run {} held it; it gets its replica again",
            self.id
        ));
        let scaled = scale_up(target, *fence).await?;
        scaled.ok_or_else(|| anyhow!("{} was deleted", target.object_name()))
    }

    /// Says when its controller has seen that it was taken; resolves when it is changed past its holder.
    async fn changes(&self, taken: &Version, seen: &watch::Sender<bool>) -> anyhow::Error {
        let mut events = self.target.watch();
        while let Some(event) = events.next().await {
            match event {
                Ok(WatchEvent::There(version)) => {
                    match is_seen(&version, self.fence, taken.object.metadata.generation) {
                        Ok(is_seen) => drop(seen.send_replace(is_seen)),
                        Err(change) => return self.changed(change),
                    }
                }
                Ok(WatchEvent::Gone(_)) => {
                    return anyhow!("{} was deleted while its pod was waited for", self.target.object_name());
                }
                Ok(WatchEvent::Trouble(_)) => {}
                Err(error) => return error,
            }
        }
        anyhow!("the watch on {} has ended", self.target)
    }

    fn changed(&self, change: Change) -> anyhow::Error {
        let Self { target, id, .. } = self;
        match change {
            Change::Lost => anyhow!("{target}: run {id} lost it while its pod was waited for")
                .exit(Exit::NotAcquired)
                .hint("somebody has released it, or its ttl was over: --ttl has to be longer than its pod takes"),
            Change::Scaled(what) => anyhow!("{target}: {what}")
                .exit(Exit::Never)
                .hint(format!("nobody but its holder is to scale it; as long as run {id} holds it, it has 1 replica")),
        }
    }

    /// Gives back what was taken for nothing, and tells in the error; what the run held before stays held.
    pub(super) async fn give_back(&self, error: anyhow::Error, progress: &Progress) -> anyhow::Error {
        progress.finish();
        let Self { target, fence, id, .. } = self;
        let by_hand = format!("testbed lock release --on {target} --run-id {id}");
        if self.is_again {
            return error
                .hint(format!("run {id} goes on holding it, as it did before; to release it: {by_hand}"));
        }
        let said = match timeout(GIVING_BACK, release(target, |lock| lock.give_back(*fence))).await {
            Ok(Ok(Released::Done(_))) => format!("{target} was given back: it has 0 replicas and no holder"),
            Ok(Ok(Released::Absent | Released::NotOurs(_))) => return error,
            Ok(Err(left)) => format!("it could not be given back ({left:#}); do it later: {by_hand}"),
            Err(_) => {
                format!("it could not be given back (the API server does not answer); do it later: {by_hand}")
            }
        };
        error.hint(said)
    }
}

/// The workload, as what is waited for and diagnosed.
fn discovery(target: &Target, version: &Version) -> anyhow::Result<Discovery> {
    let template = PodTemplateSpec::deserialize(&version.object.data["spec"]["template"]);
    let template = template.with_context(|| format!("reading spec.template of {}", target.object_name()))?;
    let workload = Workload::from_template(target.kind.name(), &target.name, template, 1);
    Ok(Discovery { workloads: vec![workload], ..Discovery::default() })
}
