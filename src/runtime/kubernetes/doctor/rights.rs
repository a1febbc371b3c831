//! Which rights a plan needs, and which this user lacks. What is needed for `up` and `down` is a problem;
//! what makes them tell more, a warning.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Planned, rules};
use crate::database::DataKind;
use crate::doctor::Verdict;
use crate::manifest::Object;
use crate::runtime::kubernetes::access::{self, Place, Right};
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::{Cluster, explain};

pub(super) const CHECK: &str = "rights";

/// What `up` and `down` ask of every kind that the plan has.
const EACH: [&str; 4] = ["create", "delete", "get", "list"];

pub(super) async fn check(cluster: &Cluster, planned: &Planned<'_>, kinds: &Kinds) -> Vec<Verdict> {
    let needed = needed(planned, kinds);
    let count = needed.len();
    let missing = match access::missing(cluster, needed).await {
        Ok(missing) => missing,
        Err(error) => {
            let error = explain(
                cluster,
                error,
                "asking which rights this user has (create on selfsubjectaccessreviews.authorization.k8s.io)",
            );
            return vec![Verdict::skipped(CHECK, format!("{error:#}"))];
        }
    };
    let mut verdicts = vec![match missing.as_slice() {
        [] => Verdict::ok(
            CHECK,
            format!(
                "all {count} rights that `up` and `down` need in namespace {} are there",
                cluster.namespace
            ),
        ),
        missing => {
            let message = format!("missing in namespace {}: {}", cluster.namespace, rules::summary(missing));
            Verdict::problem(CHECK, message).remedy(rules::remedy(missing, &cluster.namespace))
        }
    }];
    for (rights, without) in optional(planned) {
        match access::missing(cluster, rights).await {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => verdicts.push(
                Verdict::warning(CHECK, format!("without {}, {without}", rules::summary(&missing)))
                    .remedy(rules::remedy(&missing, &cluster.namespace)),
            ),
            Err(error) => verdicts.push(Verdict::skipped(
                CHECK,
                format!("{:#}", explain(cluster, error, "asking for more rights")),
            )),
        }
    }
    verdicts
}

fn needed(planned: &Planned, kinds: &Kinds) -> BTreeSet<Right> {
    let mut needed = BTreeSet::new();
    for object in planned.objects {
        let place = place(object, planned, kinds);
        if let Some(resource) = kinds.resource(&object.kind_name()) {
            let watch = lingers(object).then_some("watch");
            needed.extend(EACH.into_iter().chain(watch).map(|verb| Right::on(resource, place.clone(), verb)));
        }
        // What makes pods, or claims for them, leaves these to the teardown.
        let made = |resource, verb| Right { place: place.clone(), ..Right::core(resource, verb) };
        if object.pod_template().is_some() {
            needed.insert(made("pods", "delete"));
        }
        if object.body.get("spec").is_some_and(|spec| spec.get("volumeClaimTemplates").is_some()) {
            needed.extend(["delete", "list", "watch"].map(|verb| made("persistentvolumeclaims", verb)));
        }
    }
    // Every run is followed by its pods, and looked for by its pods and Services.
    needed.extend([
        Right::core("pods", "list"),
        Right::core("pods", "watch"),
        Right::core("services", "list"),
    ]);
    needed.extend(planned.discovery.missing.iter().map(|reference| {
        let resource = match reference.kind {
            DataKind::Secret => "secrets",
            DataKind::ConfigMap => "configmaps",
        };
        Right::core(resource, "get").named(&reference.name)
    }));
    needed
}

/// Whether an object is there for a while after its deletion, so that the teardown has to watch it go.
fn lingers(object: &Object) -> bool {
    let is_held = object
        .metadata("finalizers")
        .and_then(Value::as_array)
        .is_some_and(|finalizers| !finalizers.is_empty());
    let goes_at_once = match (object.api_version.as_str(), object.kind.as_str()) {
        ("v1", "Secret" | "ConfigMap" | "ServiceAccount") => true,
        // A load balancer is taken down first.
        ("v1", "Service") => {
            object.body.get("spec").and_then(|spec| spec.get("type")).and_then(Value::as_str)
                != Some("LoadBalancer")
        }
        _ => false,
    };
    is_held || !goes_at_once
}

fn place(object: &Object, planned: &Planned, kinds: &Kinds) -> Place {
    match object.namespace() {
        _ if kinds.is_cluster_scoped(&object.kind_name()) => Place::Cluster,
        Some(other) if !planned.is_here(object) => Place::Namespace(other.to_owned()),
        _ => Place::Here,
    }
}

/// The rights that `up` can do without, and what gets worse then.
fn optional(planned: &Planned) -> Vec<(Vec<Right>, &'static str)> {
    let events = (
        ["list", "watch"].map(|verb| Right::core("events", verb)).into(),
        "`up` cannot tell why a volume, a pod network or a workload's pod does not come up",
    );
    if planned.discovery.databases.is_empty() {
        return vec![events];
    }
    let log = (
        vec![Right::core("pods/log", "get")],
        "errors show no log, and a server that does not tell its process id has to stay up for 6 s to count as ready",
    );
    let patch = (
        vec![Right::core("pods", "patch")],
        "`status` tells what proved a database ready in the folder of its `up` only",
    );
    vec![log, events, patch]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse::parse;

    #[test]
    fn what_is_gone_at_once_need_not_be_watched() {
        let lingers = |head: &str, rest: &str| {
            let text = format!(
                "apiVersion: {head}\nmetadata: {{name: a{}}}\n{rest}",
                if rest.is_empty() { ", finalizers: [x/y]" } else { "" }
            );
            lingers(&parse("m.yaml", &text).unwrap()[0])
        };
        assert!(!lingers("v1\nkind: Secret", "data: {}\n") && lingers("v1\nkind: Secret", ""));
        assert!(
            !lingers("v1\nkind: Service", "spec: {}\n")
                && lingers("v1\nkind: Service", "spec: {type: LoadBalancer}\n")
        );
        assert!(lingers("v1\nkind: Pod", "spec: {}\n") && lingers("apps/v1\nkind: Deployment", "spec: {}\n"));
    }
}
