//! What would fail in a cluster, found out before a run by requests that change nothing.
//!
//! [`server`] and [`namespace`] come first, because everything else builds on them. The other checks go on at
//! the same time, each with a deadline of its own; only [`quota`] waits for the [`dry_run`], which tells what
//! the API server would make of each object, and which exist already.

mod dns;
mod dry_run;
mod leftovers;
mod names;
mod namespace;
mod quota;
mod references;
mod resolv_conf;
mod rights;
mod rules;
mod security;
mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use self::dry_run::Trial;
use super::Cluster;
use super::kinds::Kinds;
use crate::database::{Discovery, Workload};
use crate::doctor::Verdict;
use crate::manifest::Object;
use crate::manifest::images::in_full;
use crate::manifest::policy::Allowance;
use crate::redact::Redactor;
use crate::run_id::RunId;

const DEADLINE: Duration = Duration::from_secs(15);

/// The run that would be created.
pub struct Planned<'a> {
    pub namespace: &'a str,
    pub run_id: &'a RunId,
    /// Its objects, stamped.
    pub objects: &'a [Object],
    /// What they may do that is refused otherwise.
    pub allowed: &'a [Allowance],
    /// The databases and workloads among them.
    pub discovery: &'a Discovery,
    pub redactor: &'a Redactor,
}

impl Planned<'_> {
    /// Whether an object is one of the run's namespace, to whose rules the checks compare it.
    fn is_here(&self, object: &Object) -> bool {
        object.is_in(self.namespace)
    }

    /// The plan's object that a workload stands for, if it is one of the run's namespace.
    fn object(&self, workload: &Workload) -> Option<&Object> {
        self.objects
            .iter()
            .find(|object| workload.id == format!("{}/{}", object.kind, object.name) && self.is_here(object))
    }
}

pub async fn examine(cluster: &Cluster, planned: &Planned<'_>) -> Vec<Verdict> {
    const ALL: &str = "all";
    let (version, answer) = match server::check(cluster).await {
        Ok(answer) => answer,
        Err(unreachable) => {
            return vec![unreachable, Verdict::skipped(ALL, "every other check needs the API server")];
        }
    };
    let mut kinds = Kinds::new(cluster);
    let (labels, unknown) = tokio::join!(namespace::check(cluster), server::learn(&mut kinds, planned));
    let mut verdicts = vec![answer];
    verdicts.extend(unknown);
    let labels = match labels {
        Ok(labels) => labels,
        Err(missing) => {
            verdicts.extend([missing, Verdict::skipped(ALL, "every other check needs the namespace")]);
            return verdicts;
        }
    };
    let (rights, (trial, quota), references, dns, leftovers) = tokio::join!(
        within(rights::CHECK, rights::check(cluster, planned, &kinds)),
        try_and_count(cluster, planned, &kinds),
        within(references::CHECK, references::check(cluster, planned)),
        within(dns::CHECK, dns::check(cluster, planned)),
        within(leftovers::CHECK, leftovers::check(cluster)),
    );
    let security = security::check(labels.as_ref(), version, planned, |pod| trial.accepted.contains_key(pod));
    let (tried, others) = (trial.verdicts, [quota, security, references].concat());
    let untold: Vec<Verdict> =
        tried.into_iter().filter(|verdict| !is_told(verdict, rights.iter().chain(&others))).collect();
    verdicts.extend(rights.into_iter().chain(untold).chain(others));
    verdicts.extend(names::check(planned).into_iter().chain(dns).chain(images(planned)).chain(leftovers));
    verdicts
}

/// Which images the nodes would pull, with their registries. Whether they can, only they know.
fn images(planned: &Planned<'_>) -> Option<Verdict> {
    let specs = planned.discovery.workloads.iter().map(|workload| &workload.spec);
    let containers =
        specs.clone().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let volumes = specs.flat_map(|spec| spec.volumes.iter().flatten());
    let of_volumes = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
    let images: BTreeSet<String> = containers
        .filter_map(|container| container.image.as_deref())
        .chain(of_volumes)
        .map(in_full)
        .collect();
    let names: Vec<String> = images.into_iter().collect();
    (!names.is_empty()).then(|| Verdict::ok("images", format!("the nodes would pull {}", names.join(", "))))
}

async fn try_and_count(cluster: &Cluster, planned: &Planned<'_>, kinds: &Kinds) -> (Trial, Vec<Verdict>) {
    let trial = timeout(DEADLINE, dry_run::check(cluster, planned, kinds)).await;
    let trial =
        trial.unwrap_or_else(|_| Trial { verdicts: vec![unanswered(dry_run::CHECK)], ..Trial::default() });
    let quota = within(quota::CHECK, quota::check(cluster, planned, kinds, &trial)).await;
    (trial, quota)
}

async fn within(check: &'static str, verdicts: impl Future<Output = Vec<Verdict>>) -> Vec<Verdict> {
    timeout(DEADLINE, verdicts).await.unwrap_or_else(|_| vec![unanswered(check)])
}

fn unanswered(check: &'static str) -> Verdict {
    Verdict::skipped(check, format!("no answer within {} s", DEADLINE.as_secs()))
}

/// Whether another check has found the same, and told it better. What the dry run refuses for a quota or a
/// missing right is about one object, and about the namespace there.
fn is_told<'a>(verdict: &Verdict, mut told: impl Iterator<Item = &'a Verdict>) -> bool {
    let is_of_namespace = verdict.check != security::CHECK;
    told.any(|known| {
        known.is_problem()
            && known.check == verdict.check
            && (is_of_namespace || known.object == verdict.object)
    })
}
