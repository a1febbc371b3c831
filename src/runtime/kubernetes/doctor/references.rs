//! Objects that the pods need and that the run does not bring along: what they mount and read, pull secrets,
//! ServiceAccounts, classes. Only whether they exist is asked, never what they hold.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, PodSpec, Secret, ServiceAccount};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ApiResource, DynamicObject};
use serde_json::Value;

use super::Planned;
use crate::database::Reference;
use crate::doctor::Verdict;
use crate::manifest::Object;
use crate::runtime::kubernetes::explain::{is_absent, is_forbidden};
use crate::runtime::kubernetes::references::of_pod;
use crate::runtime::kubernetes::{AT_ONCE, Cluster, explain};

pub(super) const CHECK: &str = "references";

/// An object by kind and name, such as `("Secret", "login")`.
type Key = (&'static str, String);

pub(super) async fn check(cluster: &Cluster, planned: &Planned<'_>) -> Vec<Verdict> {
    let wanted = wanted(planned);
    let count = wanted.len();
    let looks = wanted.into_iter().map(|((kind, name), by)| async move {
        let found = api(cluster, kind).get_metadata(&name).await;
        (kind, name, by, found.map(drop))
    });
    let outcomes: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let mut verdicts = Vec::new();
    let mut hidden = Vec::new();
    for (kind, name, by, outcome) in outcomes {
        let label = format!("{kind} {name}");
        match outcome {
            Ok(()) => {}
            Err(error) if is_absent(&error) => verdicts.push(
                Verdict::problem(CHECK, format!("{by} needs {label}, which does not exist"))
                    .on(&label)
                    .remedy(format!("create it, put it into the manifest, or correct the name in {by}")),
            ),
            Err(error) if is_forbidden(&error) => hidden.push(label),
            Err(error) => verdicts.push(Verdict::skipped(
                CHECK,
                format!("{:#}", explain(cluster, error, &format!("looking for {label}"))),
            )),
        }
    }
    if !hidden.is_empty() {
        let message = format!("whether these exist may not be asked (get on them): {}", hidden.join(", "));
        verdicts.push(Verdict::skipped(CHECK, message));
    }
    if verdicts.is_empty() && count > 0 {
        let what = if count == 1 { "the object".to_owned() } else { format!("the {count} objects") };
        verdicts.push(Verdict::ok(CHECK, format!("{what} that the pods need from elsewhere are there")));
    }
    verdicts
}

fn api(cluster: &Cluster, kind: &str) -> Api<DynamicObject> {
    let client = cluster.client.clone();
    let own = |resource: ApiResource| Api::namespaced_with(client.clone(), &cluster.namespace, &resource);
    let all = |resource: ApiResource| Api::all_with(client.clone(), &resource);
    match kind {
        "Secret" => own(ApiResource::erase::<Secret>(&())),
        "ConfigMap" => own(ApiResource::erase::<ConfigMap>(&())),
        "PersistentVolumeClaim" => own(ApiResource::erase::<PersistentVolumeClaim>(&())),
        "ServiceAccount" => own(ApiResource::erase::<ServiceAccount>(&())),
        "RuntimeClass" => all(ApiResource::erase::<RuntimeClass>(&())),
        "PriorityClass" => all(ApiResource::erase::<PriorityClass>(&())),
        _ => all(ApiResource::erase::<StorageClass>(&())),
    }
}

/// What the plan refers to and does not have, with the first object that does.
fn wanted(planned: &Planned) -> BTreeMap<Key, String> {
    let mut found = Found { by: String::new(), keys: BTreeMap::new() };
    for workload in planned.discovery.workloads.iter().filter(|workload| planned.object(workload).is_some()) {
        found.by = workload.id.replacen('/', " ", 1);
        found.pod(&workload.spec);
    }
    for object in planned.objects.iter().filter(|object| planned.is_here(object)) {
        found.by = object.label();
        found.classes(object);
    }
    let comes_along = |(kind, name): &Key| {
        planned.objects.iter().any(|object| object.kind == *kind && object.name == *name)
    };
    found.keys.retain(|key, _| !comes_along(key));
    found.keys
}

struct Found {
    by: String,
    keys: BTreeMap<Key, String>,
}

impl Found {
    fn add(&mut self, kind: &'static str, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.keys.entry((kind, name.to_owned())).or_insert_with(|| self.by.clone());
        }
    }

    fn pod(&mut self, pod: &PodSpec) {
        for (Reference { kind, name }, _) in of_pod(pod).into_iter().filter(|(_, is_optional)| !is_optional) {
            self.add(kind.name(), Some(&name));
        }
        pod.image_pull_secrets.iter().flatten().for_each(|secret| self.add("Secret", Some(&secret.name)));
        self.add("ServiceAccount", pod.service_account_name.as_deref().or(pod.service_account.as_deref()));
        self.add("RuntimeClass", pod.runtime_class_name.as_deref());
        self.add("PriorityClass", pod.priority_class_name.as_deref());
        let claims =
            pod.volumes.iter().flatten().filter_map(|volume| volume.persistent_volume_claim.as_ref());
        claims.for_each(|claim| self.add("PersistentVolumeClaim", Some(&claim.claim_name)));
    }

    fn classes(&mut self, object: &Object) {
        let Some(spec) = object.body.get("spec") else { return };
        let class = |spec: &Value| spec.get("storageClassName").and_then(Value::as_str).map(str::to_owned);
        if object.kind == "PersistentVolumeClaim" {
            self.add("StorageClass", class(spec).as_deref());
        }
        for template in spec.get("volumeClaimTemplates").and_then(Value::as_array).into_iter().flatten() {
            self.add("StorageClass", template.get("spec").and_then(class).as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Data, discover};
    use crate::manifest::parse::parse;
    use crate::redact::Redactor;
    use crate::run_id::RunId;

    #[test]
    fn what_pods_need_from_elsewhere_is_found_once_and_what_is_optional_is_not() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: own}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  \
                    imagePullSecrets: [{name: pull}]\n  serviceAccountName: robot\n  runtimeClassName: gvisor\n  priorityClassName: high\n  volumes:\n  \
                    - {name: v, secret: {secretName: own}}\n  - {name: w, configMap: {name: map, optional: true}}\n  \
                    - {name: x, persistentVolumeClaim: {claimName: claim}}\n  - {name: z, projected: {sources: [{secret: {name: token}}]}}\n  \
                    containers:\n  - name: a\n    envFrom: [{configMapRef: {name: settings}}]\n    env: [{name: X, valueFrom: {secretKeyRef: {name: pull, key: k}}}]\n---\n\
                    apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec:\n  template: {spec: {containers: []}}\n  \
                    volumeClaimTemplates: [{metadata: {name: d}, spec: {storageClassName: gold}}]\n";
        let objects = parse("m.yaml", text).unwrap();
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
        let found: Vec<String> =
            wanted(&planned).into_iter().map(|((kind, name), by)| format!("{kind} {name} ({by})")).collect();
        assert_eq!(
            found,
            [
                "ConfigMap settings (Pod a)",
                "PersistentVolumeClaim claim (Pod a)",
                "PriorityClass high (Pod a)",
                "RuntimeClass gvisor (Pod a)",
                "Secret pull (Pod a)",
                "Secret token (Pod a)",
                "ServiceAccount robot (Pod a)",
                "StorageClass gold (StatefulSet s)",
            ]
        );
    }
}
