//! What a run asks of its namespace's quotas: counts of objects, resources of pods and claims. Pure.
//!
//! The names are those of ResourceQuota: `pods`, `requests.cpu`, `count/deployments.apps`,
//! `gold.storageclass.storage.k8s.io/requests.storage`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;

use crate::manifest::Object;
use crate::manifest::quantity::Quantity;

/// Amounts by the names that quotas have for them.
pub(super) type Amounts = BTreeMap<String, Quantity>;

pub(super) struct Item {
    pub label: String,
    /// What it asks for, all of its pods together.
    pub amounts: Amounts,
    /// The pod, where these are pods' amounts: quotas can be for some pods only.
    pub pod: Option<PodSpec>,
}

/// Counts an object that is not a pod, by its resource and by the fields that quotas know.
pub(super) fn object(object: &Object, body: &Value, plural: &str, group: &str) -> Item {
    let mut amounts = counted(plural, group, 1);
    let spec = body.get("spec");
    match object.kind.as_str() {
        "Service" => add(&mut amounts, service(spec)),
        "PersistentVolumeClaim" => add(&mut amounts, claim(spec)),
        "Deployment" => add(&mut amounts, counted("replicasets", "apps", 1)),
        "StatefulSet" => {
            add(&mut amounts, counted("controllerrevisions", "apps", 1));
            let claims =
                spec.and_then(|spec| spec.get("volumeClaimTemplates")?.as_array()).into_iter().flatten();
            for template in claims {
                let one = sum(counted("persistentvolumeclaims", "", 1), claim(template.get("spec")));
                add(&mut amounts, times(one, pods_at_once(object)));
            }
        }
        _ => {}
    }
    Item { label: object.label(), amounts, pod: None }
}

pub(super) fn pods(object: &Object, pod: PodSpec) -> Item {
    let count = pods_at_once(object);
    let amounts = times(sum(counted("pods", "", 1), resources(&pod)), count);
    Item { label: object.label(), amounts, pod: Some(pod) }
}

/// How many pods are there at the same time. A DaemonSet's number is the cluster's affair, and a CronJob's
/// first pod comes later: one of each.
fn pods_at_once(object: &Object) -> u64 {
    let number = |field: &str| object.body.get("spec")?.get(field)?.as_u64();
    match object.kind.as_str() {
        "Job" => number("parallelism").unwrap_or(1).min(number("completions").unwrap_or(u64::MAX)),
        "Pod" | "DaemonSet" | "CronJob" => 1,
        _ => number("replicas").unwrap_or(1),
    }
}

/// The names under which the number of objects is limited. The old ones have no group.
fn counted(plural: &str, group: &str, count: u64) -> Amounts {
    const OLD: [&str; 7] = [
        "pods",
        "services",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
    ];
    let count = Quantity::whole(count);
    let name = if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") };
    let old = (group.is_empty() && OLD.contains(&plural)).then(|| (plural.to_owned(), count));
    [(name, count)].into_iter().chain(old).collect()
}

fn service(spec: Option<&Value>) -> Amounts {
    let field = |name: &str| spec.and_then(|spec| spec.get(name));
    let kind = field("type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let ports = field("ports").and_then(Value::as_array).map_or(0, |ports| ports.len() as u64);
    let allocates = field("allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false);
    let mut amounts = Amounts::new();
    if kind == "LoadBalancer" {
        amounts.insert("services.loadbalancers".into(), Quantity::whole(1));
    }
    if kind == "NodePort" || (kind == "LoadBalancer" && allocates) {
        amounts.insert("services.nodeports".into(), Quantity::whole(ports));
    }
    amounts
}

fn claim(spec: Option<&Value>) -> Amounts {
    let storage = spec
        .and_then(|spec| spec.get("resources")?.get("requests")?.get("storage"))
        .and_then(text)
        .unwrap_or_default();
    let mut amounts = Amounts::from([("requests.storage".to_owned(), storage)]);
    if let Some(class) =
        spec.and_then(|spec| spec.get("storageClassName")?.as_str()).filter(|class| !class.is_empty())
    {
        amounts.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), storage);
        amounts.insert(
            format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"),
            Quantity::whole(1),
        );
    }
    amounts
}

/// A quantity in a manifest, which may be written as a number.
fn text(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

/// What a pod requests, and what it is limited to, under the names of quotas.
fn resources(pod: &PodSpec) -> Amounts {
    let overhead = amounts(pod.overhead.as_ref());
    let requests = sum(of_pod(pod, requests), overhead.clone());
    let mut limits = of_pod(pod, |container| {
        amounts(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()))
    });
    // What has no limit gets none by it.
    let more: Amounts = overhead.into_iter().filter(|(resource, _)| limits.contains_key(resource)).collect();
    add(&mut limits, more);
    let mut amounts = Amounts::new();
    for (resource, amount) in requests {
        // Quotas know the plain name of these as well.
        if ["cpu", "memory", "ephemeral-storage"].contains(&resource.as_str())
            || resource.starts_with("hugepages-")
        {
            amounts.insert(resource.clone(), amount);
        }
        amounts.insert(format!("requests.{resource}"), amount);
    }
    amounts.extend(limits.into_iter().map(|(resource, amount)| (format!("limits.{resource}"), amount)));
    amounts
}

/// A limit without a request is the request as well.
fn requests(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let mut requests = amounts(resources.and_then(|resources| resources.limits.as_ref()));
    requests.extend(amounts(resources.and_then(|resources| resources.requests.as_ref())));
    requests
}

pub(super) fn amounts(map: Option<&BTreeMap<String, Text>>) -> Amounts {
    map.into_iter()
        .flatten()
        .filter_map(|(resource, text)| Some((resource.clone(), Quantity::parse(&text.0)?)))
        .collect()
}

/// Containers run side by side, with the init containers that are always restarted (sidecars); the other init
/// containers run one after the other before, beside the sidecars that come before them. What the pod says of
/// itself as a whole wins.
fn of_pod(pod: &PodSpec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in pod.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, of(container));
        } else {
            raise(&mut peak, sum(sidecars.clone(), of(container)));
        }
    }
    let mut total = pod.containers.iter().fold(sidecars, |total, container| sum(total, of(container)));
    raise(&mut total, peak);
    if let Some(ResourceRequirements { requests, limits, .. }) = &pod.resources {
        let whole = Container {
            resources: Some(ResourceRequirements {
                requests: requests.clone(),
                limits: limits.clone(),
                claims: None,
            }),
            ..Container::default()
        };
        total.extend(of(&whole));
    }
    total
}

pub(super) fn add(amounts: &mut Amounts, more: Amounts) {
    for (resource, amount) in more {
        let entry = amounts.entry(resource).or_default();
        *entry = *entry + amount;
    }
}

fn sum(mut amounts: Amounts, more: Amounts) -> Amounts {
    add(&mut amounts, more);
    amounts
}

fn times(amounts: Amounts, count: u64) -> Amounts {
    amounts.into_iter().map(|(resource, amount)| (resource, amount.times(count))).collect()
}

fn raise(amounts: &mut Amounts, least: Amounts) {
    for (resource, amount) in least {
        let entry = amounts.entry(resource).or_default();
        *entry = (*entry).max(amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::parse::parse;

    fn manifest(text: &str) -> Object {
        parse("m.yaml", text).unwrap().remove(0)
    }

    fn shown(item: &Item, names: &[&str]) -> Vec<String> {
        names
            .iter()
            .map(|name| item.amounts.get(*name).map_or_else(|| "-".into(), |amount| amount.of(name)))
            .collect()
    }

    fn pod(spec: Value) -> PodSpec {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn containers_add_up_and_init_containers_take_their_turn() {
        let container = |cpu: &str, policy: Value| json!({"name": "a", "restartPolicy": policy, "resources": {"requests": {"cpu": cpu}}});
        let spec = pod(json!({
            "containers": [container("100m", Value::Null), container("200m", Value::Null)],
            "initContainers": [container("50m", "Always".into()), container("900m", Value::Null), container("1", Value::Null)],
            "overhead": {"cpu": "10m"},
        }));
        let object = manifest("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n");
        // The sidecar and the larger one of the others, and the overhead.
        assert_eq!(
            shown(&pods(&object, spec), &["requests.cpu", "cpu", "limits.cpu", "pods", "count/pods"]),
            ["1060m", "1060m", "-", "1", "1"]
        );
    }

    #[test]
    fn a_limit_is_the_request_where_there_is_none() {
        let spec = pod(
            json!({"containers": [{"name": "a", "resources": {"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"cpu": "1"}}}]}),
        );
        let set =
            manifest("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\nspec: {replicas: 3}\n");
        let names = ["requests.memory", "limits.memory", "requests.cpu", "limits.cpu", "pods"];
        assert_eq!(shown(&pods(&set, spec), &names), ["3Gi", "3Gi", "3", "6", "3"]);
    }

    #[test]
    fn the_pods_own_resources_win_over_the_sum() {
        let spec = pod(
            json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}], "resources": {"requests": {"cpu": "3"}}}),
        );
        let object = manifest("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n");
        assert_eq!(shown(&pods(&object, spec), &["requests.cpu", "requests.memory"]), ["3", "1Gi"]);
    }

    #[test]
    fn objects_are_counted_by_all_their_names() {
        let service = manifest(
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: LoadBalancer, ports: [{port: 1}, {port: 2}]}\n",
        );
        let body = Value::Object(service.body.clone());
        let names = ["services", "count/services", "services.loadbalancers", "services.nodeports", "pods"];
        assert_eq!(shown(&object(&service, &body, "services", ""), &names), ["1", "1", "1", "2", "-"]);
        let set = manifest(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\nspec:\n  replicas: 2\n  volumeClaimTemplates:\n  \
             - {metadata: {name: d}, spec: {storageClassName: gold, resources: {requests: {storage: 1Gi}}}}\n",
        );
        let body = Value::Object(set.body.clone());
        let names = [
            "count/statefulsets.apps",
            "persistentvolumeclaims",
            "requests.storage",
            "gold.storageclass.storage.k8s.io/requests.storage",
        ];
        assert_eq!(shown(&object(&set, &body, "statefulsets", "apps"), &names), ["1", "2", "2Gi", "2Gi"]);
    }

    #[test]
    fn jobs_run_so_many_pods_at_once() {
        let count = |spec: &str| {
            let job =
                manifest(&format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: a}}\nspec: {spec}\n"));
            shown(&pods(&job, PodSpec::default()), &["pods"]).remove(0)
        };
        assert_eq!(
            [
                count("{}"),
                count("{completions: 5}"),
                count("{completions: 2, parallelism: 4}"),
                count("{parallelism: 3}")
            ],
            ["1", "1", "2", "3"]
        );
    }
}
