//! Whether the namespace's Pod Security level allows the plan's pods: by its labels, and by rules of our own. Where the API server enforces
//! the level itself, its dry run has the last word on pods (some users and runtime classes are exempt); on what makes pods it says
//! nothing.

use std::collections::BTreeMap;

use super::Planned;
use super::dry_run::Trial;
use super::namespace::Labels;
use super::server::Minor;
use crate::database::Workload;
use crate::manifest::restricted;
use crate::runtime::kubernetes::Cluster;
use crate::verdict::Verdict;

pub const CHECK: &str = "pod-security";

const LABEL: &str = "pod-security.kubernetes.io/";

/// The version of Kubernetes from which on every API server enforces the levels.
const ENFORCED: Minor = 25;

/// How many violations of a pod are told.
const TOLD: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Baseline,
    Restricted,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// One of a namespace's policies: what becomes of a pod that violates it is up to its label.
#[derive(Debug, PartialEq, Eq)]
struct Policy {
    level: Level,
    /// The version of Kubernetes whose rules hold; `None` for the latest.
    minor: Option<Minor>,
}

impl Policy {
    /// The policy of `enforce`, `warn` or `audit`; `None` where it allows everything.
    fn read(labels: &BTreeMap<String, String>, mode: &str) -> Option<Self> {
        let level = match labels.get(&format!("{LABEL}{mode}"))?.as_str() {
            "baseline" => Level::Baseline,
            "restricted" => Level::Restricted,
            _ => return None,
        };
        let version = labels.get(&format!("{LABEL}{mode}-version"));
        Some(Self { level, minor: version.and_then(|version| version.strip_prefix("v1.")?.parse().ok()) })
    }

    /// What the policy wants of a workload's pods.
    fn violations(&self, workload: &Workload) -> Vec<String> {
        match self.level {
            Level::Baseline => Vec::new(),
            Level::Restricted => restricted::violations(&workload.spec, self.minor).iter().map(ToString::to_string).collect(),
        }
    }
}

/// Compares the plan's pods with what the namespace enforces, and with what it warns of.
pub fn check(cluster: &Cluster, labels: &Labels, minor: Option<Minor>, planned: &Planned<'_>, trial: &Trial) -> Vec<Verdict> {
    let namespace = &cluster.namespace;
    let Some(labels) = labels else {
        let message = format!("the level of namespace {namespace} may not be read (get on namespaces): only the dry run tells");
        return vec![Verdict::skipped(CHECK, message)];
    };
    let enforced = Policy::read(labels, "enforce");
    let mut verdicts = Vec::new();
    if let Some(policy) = &enforced {
        let accepts = |workload: &Workload| minor.is_some_and(|minor| minor >= ENFORCED) && accepted(trial, workload);
        let workloads = planned.discovery.workloads.iter().filter(|workload| !accepts(workload));
        let found = workloads.filter_map(|workload| told(policy, workload).map(|told| (workload, told)));
        verdicts.extend(found.map(|(workload, told)| {
            let level = policy.level.name();
            Verdict::problem(CHECK, format!("namespace {namespace} enforces {level}, which wants {told}")).on(label(workload)).remedy(remedy(workload, level))
        }));
    }
    for mode in ["warn", "audit"] {
        let Some(policy) = Policy::read(labels, mode).filter(|policy| Some(policy) != enforced.as_ref()) else { continue };
        let found = planned.discovery.workloads.iter().filter_map(|workload| told(&policy, workload).map(|told| (workload, told)));
        verdicts.extend(found.map(|(workload, told)| {
            let level = policy.level.name();
            let what = if mode == "warn" { "warns below" } else { "records what is below" };
            Verdict::warning(CHECK, format!("namespace {namespace} {what} {level}, which wants {told}"))
                .on(label(workload))
                .remedy(remedy(workload, level))
        }));
    }
    if verdicts.is_empty() {
        verdicts.push(Verdict::ok(CHECK, well(namespace, enforced.as_ref())));
    }
    verdicts
}

fn well(namespace: &str, enforced: Option<&Policy>) -> String {
    match enforced {
        Some(policy) => format!("namespace {namespace} enforces {}, which allows these pods", policy.level.name()),
        None => format!("namespace {namespace} has no label that enforces a Pod Security level"),
    }
}

/// Whether the API server would take the very pod; a pod of a template is one of ours, and its controller's may be treated differently.
fn accepted(trial: &Trial, workload: &Workload) -> bool {
    workload.id.starts_with("Pod/") && trial.accepted.contains_key(&label(workload))
}

/// The first violations, and how many more there are; `None` for a pod without.
fn told(policy: &Policy, workload: &Workload) -> Option<String> {
    let violations = policy.violations(workload);
    if violations.is_empty() {
        return None;
    }
    let more = match violations.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}{more}", violations[..violations.len().min(TOLD)].join("; ")))
}

/// `Pod/mysql-42` as messages call it.
fn label(workload: &Workload) -> String {
    workload.id.replacen('/', " ", 1)
}

fn remedy(workload: &Workload, level: &str) -> String {
    if workload.place.starts_with("--with ") {
        return format!("pass --param profile=restricted (in testbed.yaml: params: {{profile: restricted}}), or use a namespace that does not enforce {level}");
    }
    format!("set these fields under securityContext in {}, or use a namespace that does not enforce {level}", workload.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(labels: &[(&str, &str)], mode: &str) -> Option<Policy> {
        let labels = labels.iter().map(|(key, value)| (format!("{LABEL}{key}"), (*value).to_owned())).collect();
        Policy::read(&labels, mode)
    }

    #[test]
    fn labels_are_read_with_their_version() {
        let labels = [("enforce", "restricted"), ("enforce-version", "v1.21"), ("warn", "baseline"), ("warn-version", "latest"), ("audit", "privileged")];
        assert_eq!(policy(&labels, "enforce"), Some(Policy { level: Level::Restricted, minor: Some(21) }));
        assert_eq!(policy(&labels, "warn"), Some(Policy { level: Level::Baseline, minor: None }));
        assert_eq!((policy(&labels, "audit"), policy(&[], "enforce")), (None, None));
    }
}
