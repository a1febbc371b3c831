//! Whether what a run asks for fits into what a quota has left. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceQuota, ScopedResourceSelectorRequirement};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::demand::{Amounts, Item, add, amounts};
use crate::manifest::quantity::Quantity;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    pub resource: String,
    pub asked: Quantity,
    pub left: Quantity,
    pub hard: Quantity,
}

pub(super) fn shortages(quota: &ResourceQuota, items: &[Item]) -> Vec<Shortage> {
    let mut asked = Amounts::new();
    items.iter().filter(|item| applies(quota, item)).for_each(|item| add(&mut asked, item.amounts.clone()));
    let used = amounts(quota.status.as_ref().and_then(|status| status.used.as_ref()));
    hard(quota)
        .into_iter()
        .filter_map(|(resource, hard)| {
            let asked = *asked.get(&resource)?;
            let left = (hard - used.get(&resource).copied().unwrap_or_default()).max(Quantity::default());
            (!asked.is_zero() && asked > left).then_some(Shortage { resource, asked, left, hard })
        })
        .collect()
}

/// What the quota wants each container to say: the object, the container that does not, and the resources.
pub(super) fn unsaid<'a>(quota: &ResourceQuota, items: &'a [Item]) -> Vec<(&'a str, &'a str, Vec<String>)> {
    const TO_SAY: [&str; 6] =
        ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
    let wanted: Vec<String> =
        hard(quota).into_keys().filter(|resource| TO_SAY.contains(&resource.as_str())).collect();
    let pods = items
        .iter()
        .filter(|item| applies(quota, item))
        .filter_map(|item| Some((item.label.as_str(), item.pod.as_ref()?)));
    let mut found = Vec::new();
    for (label, pod) in pods {
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            let missing: Vec<String> =
                wanted.iter().filter(|resource| !says(container, resource)).cloned().collect();
            if !missing.is_empty() {
                found.push((label, container.name.as_str(), missing));
            }
        }
    }
    found
}

fn says(container: &Container, resource: &str) -> bool {
    let Some(resources) = &container.resources else { return false };
    let has = |map: &Option<BTreeMap<String, Text>>, name: &str| {
        map.as_ref().is_some_and(|map| map.contains_key(name))
    };
    match resource.split_once('.') {
        Some(("limits", name)) => has(&resources.limits, name),
        // A limit becomes the request.
        Some((_, name)) => has(&resources.requests, name) || has(&resources.limits, name),
        None => has(&resources.requests, resource) || has(&resources.limits, resource),
    }
}

/// The controller writes the status a moment after the quota is made.
fn hard(quota: &ResourceQuota) -> Amounts {
    let of_status = quota.status.as_ref().and_then(|status| status.hard.as_ref());
    amounts(of_status.or(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref())))
}

/// Whether the quota is for this object: one with scopes is for some pods only.
fn applies(quota: &ResourceQuota, item: &Item) -> bool {
    let Some(spec) = &quota.spec else { return false };
    let scopes = spec.scopes.iter().flatten().map(|scope| (scope.as_str(), None));
    let selected =
        spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    let mut scopes =
        scopes.chain(selected.map(|requirement| (requirement.scope_name.as_str(), Some(requirement))));
    scopes.all(|(scope, requirement)| item.pod.as_ref().is_some_and(|pod| is_in(pod, scope, requirement)))
}

fn is_in(pod: &PodSpec, scope: &str, requirement: Option<&ScopedResourceSelectorRequirement>) -> bool {
    match scope {
        "Terminating" => pod.active_deadline_seconds.is_some(),
        "NotTerminating" => pod.active_deadline_seconds.is_none(),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => {
            requirement.is_none_or(|requirement| has_class(pod.priority_class_name.as_deref(), requirement))
        }
        // Pods that ask for others in other namespaces: no run does without saying so to the dry run.
        _ => false,
    }
}

fn is_best_effort(pod: &PodSpec) -> bool {
    let mut containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    containers.all(|container| {
        !["requests.cpu", "requests.memory"].iter().any(|resource| says(container, resource))
    })
}

fn has_class(class: Option<&str>, requirement: &ScopedResourceSelectorRequirement) -> bool {
    let values: BTreeSet<&str> = requirement.values.iter().flatten().map(String::as_str).collect();
    match requirement.operator.as_str() {
        "Exists" => class.is_some(),
        "DoesNotExist" => class.is_none(),
        "In" => class.is_some_and(|class| values.contains(class)),
        "NotIn" => class.is_none_or(|class| !values.contains(class)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::demand;
    use super::*;
    use crate::manifest::parse::parse;

    fn quota(spec: Value, used: Value) -> ResourceQuota {
        let hard = spec["hard"].clone();
        serde_json::from_value(json!({"spec": spec, "status": {"hard": hard, "used": used}})).unwrap()
    }

    fn pod(extra: Value) -> Item {
        let object = parse("m.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").unwrap().remove(0);
        let mut spec = json!({"containers": [{"name": "db", "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}}]});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        demand::pods(&object, serde_json::from_value(spec).unwrap())
    }

    fn short(quota: &ResourceQuota, items: &[Item]) -> Vec<String> {
        let text = |shortage: &Shortage| {
            let Shortage { resource, asked, left, hard } = shortage;
            format!("{resource}: {} of {}, {}", asked.of(resource), left.of(resource), hard.of(resource))
        };
        shortages(quota, items).iter().map(text).collect()
    }

    #[test]
    fn pods_that_fit_one_by_one_do_not_fit_together() {
        let quota = quota(
            json!({"hard": {"pods": "10", "requests.memory": "1Gi", "limits.cpu": "1"}}),
            json!({"pods": "9", "requests.memory": "512Mi"}),
        );
        assert_eq!(short(&quota, &[pod(json!({}))]), [] as [&str; 0]);
        assert_eq!(
            short(&quota, &[pod(json!({})), pod(json!({})), pod(json!({}))]),
            ["pods: 3 of 1, 10", "requests.memory: 768Mi of 512Mi, 1Gi"]
        );
    }

    #[test]
    fn a_quota_that_is_over_full_has_nothing_left() {
        let quota = quota(json!({"hard": {"pods": "1"}}), json!({"pods": "3"}));
        assert_eq!(short(&quota, &[pod(json!({}))]), ["pods: 1 of 0, 1"]);
    }

    #[test]
    fn scopes_choose_the_pods() {
        let none = json!({"pods": "0"});
        let counts = |scope: Value, extra: Value| {
            let mut spec = json!({"hard": {"pods": "0"}});
            spec.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
            short(&quota(spec, none.clone()), &[pod(extra)]).len()
        };
        let class = |operator: &str| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}});
        assert_eq!(counts(json!({"scopes": ["Terminating"]}), json!({})), 0);
        assert_eq!(counts(json!({"scopes": ["Terminating"]}), json!({"activeDeadlineSeconds": 7200})), 1);
        assert_eq!(counts(json!({"scopes": ["NotTerminating", "NotBestEffort"]}), json!({})), 1);
        assert_eq!(counts(json!({"scopes": ["BestEffort"]}), json!({"containers": [{"name": "db"}]})), 1);
        assert_eq!(counts(class("In"), json!({"priorityClassName": "high"})), 1);
        assert_eq!(counts(class("In"), json!({})), 0);
        assert_eq!(counts(class("NotIn"), json!({})), 1);
        // A Service is in no scope.
        let object =
            parse("m.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n").unwrap().remove(0);
        let service = demand::object(&object, &Value::Null, "services", "");
        assert_eq!(
            short(
                &quota(json!({"hard": {"services": "0"}, "scopes": ["NotTerminating"]}), json!({})),
                &[service]
            ),
            [] as [&str; 0]
        );
    }

    #[test]
    fn a_quota_for_limits_wants_limits() {
        let quota =
            quota(json!({"hard": {"limits.memory": "1Gi", "requests.cpu": "1", "pods": "5"}}), json!({}));
        let items = [pod(json!({}))];
        assert_eq!(unsaid(&quota, &items), [("Pod a", "db", vec!["limits.memory".to_owned()])]);
        let limited = [pod(
            json!({"containers": [{"name": "db", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}),
        )];
        assert_eq!(unsaid(&quota, &limited), []);
    }
}
