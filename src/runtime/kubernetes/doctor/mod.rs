//! What would fail in a cluster, found out before a run: every check makes requests that change nothing, and ends in [`Verdict`]s.
//!
//! [`server`] comes first, because everything else goes through the API server. The other checks go on at the same time, each with a
//! deadline of its own; only [`quota`] and [`dns`] wait for the [`dry_run`], which tells what the API server would make of each
//! object, and which exist already.

mod dns;
mod dry_run;
mod leftovers;
mod namespace;
mod names;
mod quota;
mod references;
mod rights;
mod rules;
mod security;
mod server;

use std::time::Duration;

use futures::future::join;
use tokio::time::timeout;

use super::Cluster;
use super::kinds::Kinds;
use crate::database::Discovery;
use crate::manifest::Object;
use crate::run_id::RunId;
use crate::verdict::Verdict;

/// What one check gets.
const DEADLINE: Duration = Duration::from_secs(15);

/// The run that would be created.
pub struct Planned<'a> {
    /// Its id.
    pub run_id: &'a RunId,
    /// Its objects, stamped.
    pub objects: &'a [Object],
    /// The databases and workloads among them.
    pub discovery: &'a Discovery,
}

/// Makes all checks. Nothing is created.
pub async fn examine(cluster: &Cluster, planned: &Planned<'_>) -> Vec<Verdict> {
    let (version, mut verdicts) = match server::check(cluster).await {
        Ok(answer) => answer,
        Err(unreachable) => return vec![unreachable, Verdict::skipped("all", "everything else needs the API server")],
    };
    let mut kinds = Kinds::new(cluster);
    let (namespace, unknown) = join(namespace::check(cluster), server::learn(&mut kinds, planned)).await;
    verdicts.extend(unknown);
    let namespace = match namespace {
        Ok(namespace) => namespace,
        Err(missing) => {
            verdicts.extend([missing, Verdict::skipped("all", "everything else needs the namespace")]);
            return verdicts;
        }
    };
    verdicts.extend(namespace.verdicts.iter().cloned());
    let kinds = &kinds;
    let (trial, others) = join(
        trial(cluster, planned, kinds),
        futures::future::join_all([
            within("rights", rights::check(cluster, planned, kinds)),
        ]),
    )
    .await;
    verdicts
}
