//! Whether the namespace's Pod Security level allows the plan's pods: by its labels, and by rules of our own. Where the API server enforces
//! the level itself, its dry run has the last word on pods (some users and runtime classes are exempt); on what makes pods it says
//! nothing.

use std::collections::BTreeMap;

use super::Planned;
use super::dry_run::Trial;
use super::server::Minor;
use crate::database::Workload;
use crate::doctor::Verdict;
use crate::manifest::{Object, policy, restricted};
use crate::runtime::kubernetes::Cluster;

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

    /// What the policy has against a workload's pods.
    fn violations(&self, workload: &Workload, object: Option<&Object>) -> Vec<String> {
        let spec = object.and_then(|object| object.pod_template().map_or(object.body.get("spec"), |template| template.get("spec")));
        let annotations = workload.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let forbidden = spec.and_then(|spec| spec.as_object()).map(|spec| policy::baseline(spec, Some(&annotations)));
        let mut found: Vec<String> = forbidden.into_iter().flatten().map(|violation| violation.what).collect();
        if self.level == Level::Restricted {
            found.extend(restricted::violations(&workload.spec, self.minor).iter().map(ToString::to_string));
        }
        found
    }
}

/// Compares the plan's pods with what the namespace enforces, and with what it warns of.
pub fn check(
    cluster: &Cluster,
    labels: Option<&BTreeMap<String, String>>,
    minor: Option<Minor>,
    planned: &Planned<'_>,
    trial: &Trial,
) -> Vec<Verdict> {
    let namespace = &cluster.namespace;
    let Some(labels) = labels else {
        let message = format!("the level of namespace {namespace} may not be read (get on namespaces): only the dry run tells");
        return vec![Verdict::skipped(CHECK, message)];
    };
    let enforced = Policy::read(labels, "enforce");
    let mut verdicts = Vec::new();
    for (mode, does) in [("enforce", "enforces"), ("warn", "warns below"), ("audit", "records what is below")] {
        let Some(policy) = Policy::read(labels, mode) else { continue };
        if mode != "enforce" && Some(&policy) == enforced.as_ref() {
            continue;
        }
        for workload in &planned.discovery.workloads {
            if mode == "enforce" && minor.is_some_and(|minor| minor >= ENFORCED) && is_accepted(trial, workload) {
                continue;
            }
            let object = planned.objects.iter().find(|object| object.label() == label(workload));
            let Some(told) = told(&policy.violations(workload, object)) else { continue };
            let message = format!("namespace {namespace} {does} {}: {told}", policy.level.name());
            let verdict = if mode == "enforce" { Verdict::problem(CHECK, message) } else { Verdict::warning(CHECK, message) };
            verdicts.push(verdict.on(label(workload)).remedy(remedy(workload, policy.level)));
        }
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
fn is_accepted(trial: &Trial, workload: &Workload) -> bool {
    workload.id.starts_with("Pod/") && trial.accepted.contains_key(&label(workload))
}

/// The first violations, and how many more there are; `None` for a pod without.
fn told(violations: &[String]) -> Option<String> {
    let (first, rest) = violations.split_at(violations.len().min(TOLD));
    let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
    (!first.is_empty()).then(|| format!("{}{more}", first.join("; ")))
}

/// `Pod/mysql-42` as messages call it.
fn label(workload: &Workload) -> String {
    workload.id.replacen('/', " ", 1)
}

fn remedy(workload: &Workload, level: Level) -> String {
    let elsewhere = format!("use a namespace that does not enforce {}", level.name());
    if workload.place.starts_with("--with ") {
        return format!("pass --param profile=restricted (in testbed.yaml: params: {{profile: restricted}}), or {elsewhere}");
    }
    format!("set that under securityContext in {}, or {elsewhere}", workload.place)
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
        let labels = [
            ("enforce", "restricted"),
            ("enforce-version", "v1.21"),
            ("warn", "baseline"),
            ("warn-version", "latest"),
            ("audit", "privileged"),
        ];
        assert_eq!(policy(&labels, "enforce"), Some(Policy { level: Level::Restricted, minor: Some(21) }));
        assert_eq!(policy(&labels, "warn"), Some(Policy { level: Level::Baseline, minor: None }));
        assert_eq!((policy(&labels, "audit"), policy(&[], "enforce")), (None, None));
    }
}
