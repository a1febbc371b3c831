//! What a manifest may not do in a cluster unless somebody who trusts it says so: a manifest often comes with
//! a change that nobody has looked at yet, and its objects are created with the rights of whoever runs
//! testbed.
//!
//! Refused are what Pod Security "baseline" forbids, objects and pods that come by rights, and what reaches
//! out of the run: another namespace, another run's label, objects of the whole cluster. [`Allowance`] names
//! each.

mod baseline;
mod labels;

use std::collections::BTreeSet;

use anyhow::anyhow;
use serde_json::{Map, Value};

use super::Object;
use crate::failure::{Advise, Exit};
use crate::run_id::RunId;

pub use baseline::baseline;

/// Something that is refused unless `--allow` opens it, by its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowance(&'static str);

impl Allowance {
    /// Privileged containers.
    pub const PRIVILEGED: Self = Self("privileged");
    /// The node's network, processes and memory.
    pub const HOST_NAMESPACES: Self = Self("host-namespaces");
    /// The node's files.
    pub const HOST_PATH: Self = Self("host-path");
    /// Ports of the node, and probes of other hosts.
    pub const HOST_PORTS: Self = Self("host-ports");
    /// Capabilities beyond those that every container has.
    pub const CAPABILITIES: Self = Self("capabilities");
    /// Whatever else loosens a container: seccomp, AppArmor, SELinux, sysctls, `/proc`, Windows' host
    /// processes.
    pub const UNCONFINED: Self = Self("unconfined");
    /// Objects that grant rights.
    pub const RBAC: Self = Self("rbac");
    /// ServiceAccounts, their tokens, and pods that run as one.
    pub const SERVICE_ACCOUNTS: Self = Self("service-accounts");
    /// Webhooks and API services, which see other people's requests.
    pub const WEBHOOKS: Self = Self("webhooks");
    /// Objects of no namespace.
    pub const CLUSTER_SCOPED: Self = Self("cluster-scoped");
    /// Objects of another namespace than the run's.
    pub const NAMESPACE: Self = Self("namespace");
    /// Another run's label.
    pub const RUN_LABEL: Self = Self("run-label");

    const ALL: [Self; 12] = [
        Self::PRIVILEGED,
        Self::HOST_NAMESPACES,
        Self::HOST_PATH,
        Self::HOST_PORTS,
        Self::CAPABILITIES,
        Self::UNCONFINED,
        Self::RBAC,
        Self::SERVICE_ACCOUNTS,
        Self::WEBHOOKS,
        Self::CLUSTER_SCOPED,
        Self::NAMESPACE,
        Self::RUN_LABEL,
    ];

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|allowance| allowance.0 == text);
        known.ok_or_else(|| format!("known are {}", Self::ALL.map(|allowance| allowance.0).join(", ")))
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.0
    }
}

/// What one part of a manifest does that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What would open it.
    pub opened_by: Allowance,
    /// What it is, such as `container shell is privileged`.
    pub what: String,
}

/// What an object does that is refused; where it lies is not looked at, which only the cluster can tell.
pub fn violations(object: &Object, run_id: &RunId) -> Vec<Violation> {
    let mut found: Vec<Violation> = grants(object).into_iter().collect();
    // What these hold is anybody's, under names of their own.
    let holds_data = object.api_version == "v1" && matches!(object.kind.as_str(), "ConfigMap" | "Secret");
    let body = object
        .body
        .iter()
        .filter(|(key, _)| !holds_data || *key == "metadata")
        .map(|(key, value)| (key.clone(), value.clone()));
    walk(&body.collect(), None, false, run_id, &mut found);
    found
}

/// What a ConfigMap or a Secret may hold, in bytes.
const LARGEST: usize = 1 << 20;

/// What is refused in a cluster, object by object.
#[derive(Debug, Default)]
pub struct Refused {
    refusals: Vec<Refusal>,
    /// The first object that Kubernetes would not take, for its size.
    too_large: Option<String>,
}

#[derive(Debug)]
struct Refusal {
    /// Where it was written, which object, and what it does.
    text: String,
    opened_by: Allowance,
}

impl Refused {
    /// Everything that is not allowed, in the order of the objects. They have to be as they were written:
    /// stamping takes other runs' labels away.
    pub fn find(objects: &[Object], run_id: &RunId, allowed: &[Allowance]) -> Self {
        let mut refused = Self::default();
        for object in objects {
            let found = violations(object, run_id)
                .into_iter()
                .filter(|violation| !allowed.contains(&violation.opened_by));
            found.for_each(|violation| refused.add(object, &violation));
        }
        refused.too_large = objects.iter().find_map(too_large);
        refused
    }

    /// Adds what only the cluster could tell.
    pub fn add(&mut self, object: &Object, violation: &Violation) {
        let text = format!("{}: {}: {}", object.origin, object.label(), violation.what);
        self.refusals.push(Refusal { text, opened_by: violation.opened_by });
    }

    /// Ends the call if there is anything.
    ///
    /// # Errors
    /// A usage error with the first object's place and what it does; the others below it.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(text) = &self.too_large {
            return Err(anyhow!("{text}")).exit(Exit::Usage).hint(
                "nothing was created; compress the file (gzip schema.sql), split it, or let the tests load it; \
                 on this machine there is no such limit",
            );
        }
        let Some((first, others)) = self.refusals.split_first() else { return Ok(()) };
        let error = anyhow!("{}, which is refused", first.text).exit(Exit::Usage);
        let others: Vec<&str> = others.iter().map(|refusal| refusal.text.as_str()).collect();
        let error = if others.is_empty() { error } else { error.detail(others.join("\n")) };
        let names: BTreeSet<&str> = self.refusals.iter().map(|refusal| refusal.opened_by.name()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        Err(error).hint(format!(
            "nothing was created; if the manifest is to be trusted with that: --allow {}",
            names.join(",")
        ))
    }
}

/// What holds more than Kubernetes takes, with its largest file.
fn too_large(object: &Object) -> Option<String> {
    let files = ["data", "stringData", "binaryData"].into_iter().flat_map(|part| {
        let is_base64 = part == "binaryData" || (part == "data" && object.kind == "Secret");
        let size = move |value: &Value| {
            value.as_str().map_or(0, |text| if is_base64 { text.len() / 4 * 3 } else { text.len() })
        };
        let files = object.body.get(part).and_then(Value::as_object).into_iter().flatten();
        files.map(move |(key, value)| (key, size(value)))
    });
    let files: Vec<_> = match (object.api_version.as_str(), object.kind.as_str()) {
        ("v1", "ConfigMap" | "Secret") => files.collect(),
        _ => return None,
    };
    let (name, size) = files.iter().max_by_key(|(_, size)| *size)?;
    (files.iter().map(|(_, size)| size).sum::<usize>() > LARGEST).then(|| {
        let tenths = size * 10 / LARGEST;
        format!(
            "{}: {}: {name} has {}.{} MiB, and a {} takes 1 MiB in all",
            object.origin,
            object.label(),
            tenths / 10,
            tenths % 10,
            object.kind
        )
    })
}

/// An object that grants rights, or catches requests.
fn grants(object: &Object) -> Option<Violation> {
    let group = object.api_version.split_once('/').map_or("", |(group, _)| group);
    let is_token =
        || object.body.get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token");
    let (opened_by, what) = match (group, object.kind.as_str()) {
        ("rbac.authorization.k8s.io" | "authorization.openshift.io", _) => {
            (Allowance::RBAC, "it grants rights")
        }
        ("", "ServiceAccount") => (Allowance::SERVICE_ACCOUNTS, "it is an identity of its own"),
        ("", "Secret") if is_token() => (Allowance::SERVICE_ACCOUNTS, "it asks for a ServiceAccount's token"),
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => {
            (Allowance::WEBHOOKS, "it sees other requests to the API server")
        }
        _ => return None,
    };
    Some(Violation { opened_by, what: what.into() })
}

/// Looks through the whole object, however deep and under whatever name its kind keeps pods and their parts:
/// everything with containers counts as a pod's spec, what stands beside it as its metadata, and any other
/// map as what may become a part of a pod, as the templates of custom kinds do that have no containers of
/// their own.
fn walk(
    map: &Map<String, Value>,
    metadata: Option<&Value>,
    is_part: bool,
    run_id: &RunId,
    found: &mut Vec<Violation>,
) {
    let is_pod = map.get("containers").is_some_and(Value::is_array);
    if is_pod {
        found.extend(baseline(
            map,
            metadata.and_then(|metadata| metadata.get("annotations")).and_then(Value::as_object),
        ));
    } else if !is_part {
        found.extend(baseline::parts(map));
    }
    found.extend(identities(map));
    found.extend(labels::others(map, run_id));
    for (key, value) in map.iter().filter(|(key, _)| *key != "annotations") {
        let is_part = is_part || (is_pod && baseline::LOOKED_THROUGH.contains(&key.as_str()));
        walk_value(value, map.get("metadata"), is_part, run_id, found);
    }
}

fn walk_value(
    value: &Value,
    metadata: Option<&Value>,
    is_part: bool,
    run_id: &RunId,
    found: &mut Vec<Violation>,
) {
    match value {
        Value::Object(inner) => walk(inner, metadata, is_part, run_id, found),
        Value::Array(items) => items.iter().for_each(|item| walk_value(item, None, is_part, run_id, found)),
        _ => {}
    }
}

/// Tokens, and whom pods run as: other ServiceAccounts than the namespace's default one, under whatever name
/// a kind has them.
fn identities(map: &Map<String, Value>) -> Vec<Violation> {
    let violation = |what: String| Violation { opened_by: Allowance::SERVICE_ACCOUNTS, what };
    let mut found = Vec::new();
    for (key, value) in map {
        match (key.to_ascii_lowercase().as_str(), value) {
            ("automountserviceaccounttoken", Value::Bool(true)) => {
                found.push(violation(format!("its pod gets a token of the cluster's API ({key})")));
            }
            ("serviceaccounttoken" | "podcertificate", Value::Object(_)) => {
                found.push(violation(format!(
                    "a volume holds credentials of its pod's ServiceAccount ({key})"
                )));
            }
            (lower, value) if lower.contains("serviceaccount") => {
                let names = named(value).into_iter().filter(|name| !name.is_empty() && *name != "default");
                found.extend(
                    names.map(|name| violation(format!("its pod runs as the ServiceAccount {name}"))),
                );
            }
            _ => {}
        }
    }
    // A pod may have both of them, which are the same.
    found.dedup();
    found
}

/// The names in a field that is one, a list of some, or a reference.
fn named(value: &Value) -> Vec<&str> {
    match value {
        Value::String(name) => vec![name],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::Object(reference) => reference.get("name").and_then(Value::as_str).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    mod table;

    use super::super::parse::parse;
    use super::*;
    use crate::failure::{details_of, exit_of, hints_of};

    fn refused(text: &str, allowed: &[Allowance]) -> anyhow::Result<()> {
        Refused::find(&parse("m.yaml", text).unwrap(), &RunId::parse("run-1").unwrap(), allowed).check()
    }

    #[test]
    fn names_are_told_when_one_is_unknown() {
        assert_eq!(Allowance::parse("host-path"), Ok(Allowance::HOST_PATH));
        assert!(Allowance::parse("all").unwrap_err().contains("privileged, host-namespaces"));
        let names: BTreeSet<&str> = Allowance::ALL.map(Allowance::name).into();
        assert_eq!(names.len(), Allowance::ALL.len());
    }

    #[test]
    fn what_grants_rights_is_refused_and_opened_by_name() {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
        for (text, name) in [
            ("apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\n".to_owned(), "rbac"),
            ("apiVersion: rbac.authorization.k8s.io/v1beta1\nkind: ClusterRole\nmetadata: {name: a}\n".into(), "rbac"),
            ("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n".into(), "service-accounts"),
            (format!("{secret}type: kubernetes.io/service-account-token\n"), "service-accounts"),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {serviceAccountName: admin, containers: []}\n".into(),
                "service-accounts",
            ),
            ("apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: a}\n".into(), "webhooks"),
            ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {test-dependencies: other}}\n".into(), "run-label"),
        ] {
            let error = refused(&text, &[]).unwrap_err();
            assert_eq!(exit_of(&error), Exit::Usage);
            assert!(format!("{error:#}").starts_with("m.yaml: document 1 (line 1): "), "{error:#}");
            assert!(hints_of(&error)[0].ends_with(&format!("--allow {name}")), "{text}: {:?}", hints_of(&error));
            assert!(refused(&text, &[Allowance::parse(name).unwrap()]).is_ok(), "{text}");
        }
        assert!(refused(secret, &[]).is_ok());
    }

    #[test]
    fn all_of_them_are_told_at_once() {
        let text = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec: \
                    {hostPID: true, containers: [{name: c, securityContext: {privileged: true}}]}\n";
        let error = refused(text, &[]).unwrap_err();
        assert_eq!(details_of(&error).concat().lines().count(), 2);
        assert!(hints_of(&error)[0].ends_with("--allow host-namespaces,privileged,service-accounts"));
    }

    #[test]
    fn pods_are_found_wherever_a_kind_keeps_them() {
        let pod = "{metadata: {labels: {test-dependencies: x}}, spec: {hostNetwork: true, containers: []}}";
        for (kind, spec) in [
            ("apps/v1\nkind: Deployment", format!("template: {pod}")),
            ("batch/v1\nkind: CronJob", format!("jobTemplate: {{spec: {{template: {pod}}}}}")),
            ("example.com/v1\nkind: Cluster", format!("nodes: [{{pod: {pod}}}]")),
            (
                "example.com/v1\nkind: Cluster",
                format!("podSpec: {}", "{labels: {test-dependencies: x}, hostPID: true, containers: []}"),
            ),
        ] {
            let text = format!("apiVersion: {kind}\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
            let objects = parse("m.yaml", &text).unwrap();
            let found = violations(&objects[0], &RunId::parse("run-1").unwrap());
            let names: Vec<&str> = found.iter().map(|violation| violation.opened_by.name()).collect();
            assert_eq!(names.len(), 2, "{text}: {found:?}");
            assert!(names.contains(&"host-namespaces") && names.contains(&"run-label"), "{names:?}");
        }
    }

    #[test]
    fn the_runs_own_label_is_no_matter() {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {test-dependencies: run-1}}\n";
        assert!(refused(text, &[]).is_ok());
    }
}
