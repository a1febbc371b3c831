//! What a LimitRange gives to containers that do not say what they need. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LimitRange, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// As admission does: a container's own limit first becomes its request, then come the defaults.
pub(super) fn fill(pod: &mut PodSpec, ranges: &[LimitRange]) {
    let containers = pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten());
    for container in containers {
        default_requests_to_limits(container);
        for range in ranges {
            for item in
                range.spec.iter().flat_map(|spec| &spec.limits).filter(|item| item.type_ == "Container")
            {
                let resources = container.resources.get_or_insert_default();
                insert_missing(resources.requests.get_or_insert_default(), item.default_request.as_ref());
                insert_missing(resources.limits.get_or_insert_default(), item.default.as_ref());
            }
        }
    }
}

fn default_requests_to_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    let limits = resources.limits.clone();
    insert_missing(resources.requests.get_or_insert_default(), limits.as_ref());
}

fn insert_missing(map: &mut BTreeMap<String, Text>, defaults: Option<&BTreeMap<String, Text>>) {
    for (resource, amount) in defaults.into_iter().flatten() {
        map.entry(resource.clone()).or_insert_with(|| amount.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_container_does_not_say_the_range_does() {
        let mut pod: PodSpec = serde_json::from_value(json!({"containers": [
            {"name": "silent"},
            {"name": "limited", "resources": {"limits": {"memory": "1Gi"}}},
        ]}))
        .unwrap();
        let range: LimitRange = serde_json::from_value(json!({"spec": {"limits": [
            {"type": "Container", "default": {"memory": "512Mi"}, "defaultRequest": {"memory": "256Mi", "cpu": "100m"}},
            {"type": "Pod", "max": {"memory": "2Gi"}},
        ]}}))
        .unwrap();
        fill(&mut pod, &[range]);
        let resources = serde_json::to_value(
            pod.containers.iter().map(|container| &container.resources).collect::<Vec<_>>(),
        )
        .unwrap();
        assert_eq!(
            resources,
            json!([
                {"limits": {"memory": "512Mi"}, "requests": {"memory": "256Mi", "cpu": "100m"}},
                {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi", "cpu": "100m"}},
            ])
        );
    }
}
