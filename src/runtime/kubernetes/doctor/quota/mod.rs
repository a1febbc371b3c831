//! Whether the quotas have room for all of a run: the dry run asks for each object by itself.

mod demand;
mod headroom;
mod limits;

use k8s_openapi::api::core::v1::{LimitRange, PodSpec, ResourceQuota};
use kube::api::ListParams;
use serde_json::Value;

use self::demand::Item;
use self::headroom::Shortage;
use super::Planned;
use super::dry_run::Trial;
use crate::doctor::Verdict;
use crate::runtime::kubernetes::explain::is_forbidden;
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::{Cluster, explain};

pub(super) const CHECK: &str = "quota";

pub(super) async fn check(
    cluster: &Cluster,
    planned: &Planned<'_>,
    kinds: &Kinds,
    trial: &Trial,
) -> Vec<Verdict> {
    let api = cluster.api::<ResourceQuota>();
    let quotas = match api.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) if is_forbidden(&error) => {
            let message = "quotas may not be listed (list on resourcequotas): the dry run asks for each object by itself, and not for all of them together";
            return vec![Verdict::skipped(CHECK, message)];
        }
        Err(error) => {
            return vec![Verdict::skipped(CHECK, format!("{:#}", explain(cluster, error, "listing quotas")))];
        }
    };
    if quotas.is_empty() {
        return vec![Verdict::ok(CHECK, format!("namespace {} has no quota", cluster.namespace))];
    }
    let ranges = cluster.api::<LimitRange>();
    // Only defaults come from these, and from the dry run as well, unless it was refused.
    let ranges = ranges.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let items = demand(planned, kinds, trial, &ranges);
    quotas.iter().flat_map(|quota| judge(quota, &items, &cluster.kubectl)).collect()
}

/// What is not there yet of the plan, as the API server would keep it where that is known.
fn demand(planned: &Planned, kinds: &Kinds, trial: &Trial, ranges: &[LimitRange]) -> Vec<Item> {
    let mut items = Vec::new();
    for object in planned
        .objects
        .iter()
        .filter(|object| planned.is_here(object) && !trial.existing.contains(&object.label()))
    {
        let accepted = trial.accepted.get(&object.label()).map(|answer| &answer.data);
        if let Some(resource) = kinds.resource(&object.kind_name())
            && object.kind != "Pod"
        {
            let own = Value::Object(object.body.clone());
            items.push(demand::object(object, accepted.unwrap_or(&own), &resource.plural, &resource.group));
        }
        let answer = trial
            .pods
            .get(&object.label())
            .map(|answer| &answer.data)
            .or(accepted.filter(|_| object.kind == "Pod"));
        let answer =
            answer.and_then(|data| serde_json::from_value::<PodSpec>(data.get("spec")?.clone()).ok());
        let id = format!("{}/{}", object.kind, object.name);
        let written = planned.discovery.workloads.iter().find(|workload| workload.id == id).map(|workload| {
            let mut spec = workload.spec.clone();
            limits::fill(&mut spec, ranges);
            spec
        });
        items.extend(answer.or(written).map(|spec| demand::pods(object, spec)));
    }
    items
}

fn judge(quota: &ResourceQuota, items: &[Item], kubectl: &str) -> Vec<Verdict> {
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let object = format!("ResourceQuota {name}");
    let mut verdicts = Vec::new();
    for Shortage { resource, asked, left, hard } in headroom::shortages(quota, items) {
        let (asked, left, hard) = (asked.of(&resource), left.of(&resource), hard.of(&resource));
        let message =
            format!("quota {name}: this run asks for {resource} {asked}, and {left} of {hard} is left");
        verdicts.push(Verdict::problem(CHECK, message).on(&object).remedy(format!(
            "{}, free some of it (testbed status, {kubectl} describe quota {name}), or have the quota raised",
            lower(&resource)
        )));
    }
    for (label, container, resources) in headroom::unsaid(quota, items) {
        let resources = resources.join(", ");
        let message = format!(
            "quota {name} wants every container to say its {resources}, and container {container} of {label} does not"
        );
        verdicts.push(Verdict::problem(CHECK, message).on(&object).remedy(format!(
            "set {resources} under resources of that container, or have a LimitRange with defaults made"
        )));
    }
    if verdicts.is_empty() {
        verdicts.push(Verdict::ok(CHECK, format!("quota {name} has room for all of it")).on(&object));
    }
    verdicts
}

fn lower(resource: &str) -> String {
    match resource.trim_start_matches("requests.").trim_start_matches("limits.") {
        name @ ("cpu" | "memory") => format!(
            "ask for less {resource} (--param {name}=... for built-in databases, resources in a manifest)"
        ),
        _ => "ask for less".into(),
    }
}
