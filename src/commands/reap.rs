//! Removes the runs whose testbed was killed before it could do so itself, and the servers' data that a restart of the machine has left.

use std::time::Duration;

use crate::progress::Progress;
use crate::registry::{Claim, KubernetesRun, Place, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::{Choice, Cluster, teardown};
use crate::runtime::local::area::Area;
use crate::runtime::local::{prepared, remove};
use crate::state;

/// How long the teardown of an abandoned run in a cluster may take: the user waits for something else.
const TEARDOWN: Duration = Duration::from_secs(30);

/// Removes what was abandoned. What cannot be removed is told, and left for the next command.
pub async fn reap(registry: &Registry, progress: &Progress) {
    let claims = match registry.abandoned() {
        Ok(claims) => claims,
        Err(error) => return progress.warn(&format!("looking for runs that were left behind: {error:#}")),
    };
    if claims.is_empty() {
        return;
    }
    for claim in claims {
        let run_id = claim.record.run_id.clone();
        match remove_one(claim).await {
            Ok(()) => progress.say(&format!("removed run {run_id}: the testbed that worked on it was killed, or the machine restarted")),
            Err(error) => {
                progress.warn(&format!("run {run_id} was left behind by a testbed that was killed, and cannot be removed: {error:#}"))
            }
        }
    }
    if let Ok(area) = Area::open() {
        prepared::sweep(&area.cache).await;
    }
}

async fn remove_one(claim: Claim) -> anyhow::Result<()> {
    let place = claim.record.place.clone();
    match place {
        Place::Local(_) => remove::remove(claim).await.map(drop),
        Place::Kubernetes(run) => {
            state::remove_written(claim.record.output.as_ref());
            remove_in_cluster(&claim.record.run_id, run).await?;
            claim.forget()
        }
    }
}

async fn remove_in_cluster(run_id: &str, run: KubernetesRun) -> anyhow::Result<()> {
    let choice = Choice { kubeconfig: run.kubeconfig, context: run.context, namespace: Some(run.namespace) };
    let cluster = Cluster::connect(&choice).await?;
    teardown::tear_down(&cluster, &RunId::parse(run_id)?, teardown::DEFAULT_GRACE, TEARDOWN, |_| {}).await.map(drop)
}
