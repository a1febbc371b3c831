//! Whether the namespace's Pod Security level allows the plan's pods: by its labels, and by rules of our own.
//! Where the API server enforces the level itself, its dry run has the last word on pods (some users and
//! runtime classes are exempt); on what makes pods it says nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Planned;
use super::server::Minor;
use crate::database::Workload;
use crate::doctor::Verdict;
use crate::manifest::{Object, policy, restricted};

pub(super) const CHECK: &str = "pod-security";

const LABEL: &str = "pod-security.kubernetes.io/";

/// The version of Kubernetes from which on every API server enforces the levels.
const ENFORCED: Minor = 25;

const TOLD: usize = 6;

const RESTRICTED: &str = "restricted";

/// One of a namespace's policies: what becomes of a pod that violates it is up to its label.
#[derive(Debug, PartialEq, Eq)]
struct Policy {
    level: &'static str,
    /// The version of Kubernetes whose rules hold; `None` for the latest.
    minor: Option<Minor>,
}

impl Policy {
    /// The policy of `enforce`, `warn` or `audit`; `None` where it allows everything.
    fn read(labels: &BTreeMap<String, String>, mode: &str) -> Option<Self> {
        let label = labels.get(&format!("{LABEL}{mode}"))?;
        let level = ["baseline", RESTRICTED].into_iter().find(|level| level == label)?;
        let version = labels.get(&format!("{LABEL}{mode}-version"));
        Some(Self { level, minor: version.and_then(|version| version.strip_prefix("v1.")?.parse().ok()) })
    }

    fn violations(&self, workload: &Workload, object: &Object) -> Vec<String> {
        let spec = object.pod_template().map_or(object.body.get("spec"), |template| template.get("spec"));
        let annotations =
            workload.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let forbidden =
            spec.and_then(Value::as_object).map(|spec| policy::baseline(spec, Some(&annotations)));
        let mut found: Vec<String> =
            forbidden.into_iter().flatten().map(|violation| violation.what).collect();
        if self.level == RESTRICTED {
            found.extend(restricted::violations(&workload.spec, self.minor).iter().map(ToString::to_string));
        }
        found
    }
}

/// Compares the plan's pods with what the namespace enforces, and with what it warns of. `is_accepted` tells
/// of a pod's label whether the dry run has taken it.
pub(super) fn check(
    labels: Option<&BTreeMap<String, String>>,
    minor: Option<Minor>,
    planned: &Planned<'_>,
    is_accepted: impl Fn(&str) -> bool,
) -> Vec<Verdict> {
    let namespace = planned.namespace;
    let Some(labels) = labels else {
        let message = format!(
            "the level of namespace {namespace} may not be read (get on namespaces): only the dry run tells"
        );
        return vec![Verdict::skipped(CHECK, message)];
    };
    let enforced = Policy::read(labels, "enforce");
    let server_decides = minor.is_some_and(|minor| minor >= ENFORCED);
    let mut verdicts = Vec::new();
    for (mode, does) in [("enforce", "enforces"), ("warn", "warns below"), ("audit", "records what is below")]
    {
        let is_enforced = mode == "enforce";
        let Some(policy) =
            Policy::read(labels, mode).filter(|policy| is_enforced || Some(policy) != enforced.as_ref())
        else {
            continue;
        };
        for workload in &planned.discovery.workloads {
            let Some(object) = planned.object(workload) else { continue };
            let label = object.label();
            // The dry run makes a template's pod up; the controller's own may be treated differently.
            if is_enforced && server_decides && object.kind == "Pod" && is_accepted(&label) {
                continue;
            }
            let Some(told) = told(&policy.violations(workload, object)) else { continue };
            let message = format!("namespace {namespace} {does} {}: {told}", policy.level);
            let verdict =
                if is_enforced { Verdict::problem(CHECK, message) } else { Verdict::warning(CHECK, message) };
            verdicts.push(verdict.on(label).remedy(remedy(object, policy.level)));
        }
    }
    if verdicts.is_empty() {
        verdicts.push(Verdict::ok(CHECK, well(namespace, enforced.as_ref())));
    }
    verdicts
}

fn well(namespace: &str, enforced: Option<&Policy>) -> String {
    match enforced {
        Some(policy) => format!("namespace {namespace} enforces {}, which allows these pods", policy.level),
        None => format!("namespace {namespace} has no label that enforces a Pod Security level"),
    }
}

/// The first violations, and how many more there are; `None` for a pod without.
fn told(violations: &[String]) -> Option<String> {
    let (first, rest) = violations.split_at(violations.len().min(TOLD));
    let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
    (!first.is_empty()).then(|| format!("{}{more}", first.join("; ")))
}

fn remedy(object: &Object, level: &str) -> String {
    let elsewhere = format!("use a namespace that does not enforce {level}");
    if object.origin.file.starts_with("--with ") {
        return format!(
            "pass --param profile=restricted (in testbed.yaml: params: {{profile: restricted}}), or {elsewhere}"
        );
    }
    format!("set that under securityContext in {}: {}, or {elsewhere}", object.origin, object.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Data, discover};
    use crate::manifest::parse::parse;
    use crate::redact::Redactor;
    use crate::run_id::RunId;

    fn policy(labels: &[(&str, &str)], mode: &str) -> Option<Policy> {
        let labels =
            labels.iter().map(|(key, value)| (format!("{LABEL}{key}"), (*value).to_owned())).collect();
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
        assert_eq!(policy(&labels, "enforce"), Some(Policy { level: RESTRICTED, minor: Some(21) }));
        assert_eq!(policy(&labels, "warn"), Some(Policy { level: "baseline", minor: None }));
        assert_eq!((policy(&labels, "audit"), policy(&[], "enforce")), (None, None));
    }

    #[test]
    fn where_the_server_enforces_the_level_its_dry_run_has_the_last_word_on_pods() {
        let spec = "{containers: [{name: c}]}";
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: b}}\nspec: {{template: {{spec: {spec}}}}}\n"
        );
        let objects = parse("m.yaml", &text).unwrap();
        let run_id = RunId::parse("run-1").unwrap();
        let discovery = discover(&objects, &run_id, &Data::default()).unwrap();
        let redactor = Redactor::new("");
        let planned = Planned {
            namespace: "here",
            run_id: &run_id,
            objects: &objects,
            allowed: &[],
            discovery: &discovery,
            redactor: &redactor,
        };
        let labels = BTreeMap::from([(format!("{LABEL}enforce"), "restricted".to_owned())]);
        let problems = |minor: Minor, accepts: bool| {
            let found = check(Some(&labels), Some(minor), &planned, |label| accepts && label == "Pod a");
            found
                .into_iter()
                .filter(Verdict::is_problem)
                .filter_map(|verdict| verdict.object)
                .collect::<Vec<_>>()
        };
        assert_eq!(problems(20, true), ["Pod a", "Deployment b"]);
        assert_eq!(problems(25, true), ["Deployment b"]);
        assert_eq!(problems(25, false), ["Pod a", "Deployment b"]);
    }
}
