//! Which objects the flags mean.

use anyhow::{Context, anyhow};
use tokio::time::{Instant, sleep_until};

use crate::cli::{Global, Locked};
use crate::failure::{Advise, Exit, usage};
use crate::lock::object::{Kind, Target, list};
use crate::run_id::is_dns_label;
use crate::runtime::kubernetes::Cluster;

/// The cluster that the locks are in.
pub(super) async fn connect(global: &Global) -> anyhow::Result<Cluster> {
    if global.is_local() {
        return Err(usage("locks are in a cluster, and --runtime local is none"))
            .hint("leave it out, and name the cluster");
    }
    Cluster::connect(&global.choice()).await
}

/// The same until the deadline, or until this is given up: the login may take its time.
pub(super) async fn connect_until(
    global: &Global,
    deadline: Instant,
    cancelled: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<Cluster> {
    tokio::select! {
        cluster = connect(global) => cluster,
        error = cancelled => Err(error),
        () = sleep_until(deadline) => {
            Err(anyhow!("the login that the kubeconfig asks for has not ended in time")).exit(Exit::NotAcquired)
        }
    }
}

/// The locks that the flags mean, the preferred one first.
pub(super) async fn targets(cluster: &Cluster, locked: &Locked) -> anyhow::Result<Vec<Target>> {
    if let Some(on) = &locked.on {
        return Ok(vec![workload(cluster, on)?]);
    }
    if let Some(selector) = &locked.selector {
        return by_label(cluster, selector).await;
    }
    let mut names: Vec<&str> = locked.lock.iter().chain(&locked.one_of).map(String::as_str).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names.into_iter().map(|name| lease(cluster, name)).collect()
}

pub(super) fn lease(cluster: &Cluster, name: &str) -> anyhow::Result<Target> {
    check_name(name).with_context(|| format!("lock {name:?}")).exit(Exit::Usage)?;
    Ok(Target::new(cluster, Kind::Lease, name))
}

/// A Deployment or StatefulSet.
pub(super) fn workload(cluster: &Cluster, on: &str) -> anyhow::Result<Target> {
    let (kind, name) = on.split_once('/').unwrap_or(("", on));
    // As kubectl takes them.
    let kind = match kind.to_lowercase().as_str() {
        "deployment" | "deployments" | "deploy" | "deployment.apps" => Kind::Deployment,
        "statefulset" | "statefulsets" | "sts" | "statefulset.apps" => Kind::StatefulSet,
        _ => return Err(usage(format!("--on {on}: write deployment/NAME or statefulset/NAME"))),
    };
    check_name(name).with_context(|| format!("--on {on}")).exit(Exit::Usage)?;
    Ok(Target::new(cluster, kind, name))
}

async fn by_label(cluster: &Cluster, selector: &str) -> anyhow::Result<Vec<Target>> {
    let found = list(cluster, Some(selector)).await?;
    if found.is_empty() {
        return Err(usage(format!("no Lease in namespace {} has the label {selector}", cluster.namespace)))
            .hint(format!(
                "make them first, each without a holder; see: {} get leases --show-labels",
                cluster.kubectl
            ));
    }
    Ok(found.into_iter().map(|(target, _)| target).collect())
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let is_name = !name.is_empty() && name.len() <= 253 && name.split('.').all(is_dns_label);
    anyhow::ensure!(
        is_name,
        "a name has lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
    );
    Ok(())
}
