//! Pods that no node takes: what the scheduler says about each node, and whether that can change by itself.

use std::time::Duration;

use super::start::MISSING;
use super::volumes::claim;
use super::{Case, Cause, Kind, Tell, Timeout, Trouble};

/// How long no node may fit for reasons that only a change of the nodes mends. A cluster autoscaler looks
/// every ten seconds and gets the chance to answer with a new node.
const NO_NODE_FITS: Duration = Duration::from_secs(20);

/// How long a volume may take to be provided.
const CLAIM: Duration = Duration::from_secs(120);

/// What the scheduler says of nodes that will not fit later either, in lower case.
const LASTING: [&str; 4] = ["node affinity", "node selector", "node-affinity", "requested node name"];

/// Taints that come and go with a node's state.
const PASSING_TAINTS: [&str; 3] =
    ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "tobedeletedbyclusterautoscaler"];

/// The autoscaler's (and Karpenter's) word that a node is on its way, and that none is.
const SCALES: [&str; 2] = ["TriggeredScaleUp", "Nominated"];
const SCALES_NOT: &str = "NotTriggerScaleUp";

const UNSCHEDULABLE: &str = "Unschedulable";

pub(super) fn trouble(case: &Case) -> Option<Trouble> {
    let conditions = case.pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    if condition.reason.as_deref() != Some(UNSCHEDULABLE) {
        return None;
    }
    let message = condition.message.as_deref().unwrap_or_default();
    let autoscaler = case
        .events
        .iter()
        .rev()
        .find(|note| SCALES.contains(&note.reason.as_str()) || note.reason == SCALES_NOT);
    let (what, advice, timeout) = judge(case, message);
    let (timeout, meanwhile) = match autoscaler {
        Some(note) if note.reason != SCALES_NOT => {
            (Timeout::Unlimited, "no node fits yet, and the cluster is adding one".to_owned())
        }
        Some(_) if timeout == Timeout::Budget(NO_NODE_FITS) => (Timeout::None, String::new()),
        _ => (timeout, format!("{what}: {}", shorten(message))),
    };
    // The scheduler's own event says the same as the condition; the autoscaler's says more.
    let cause = Cause {
        what,
        reason: UNSCHEDULABLE.into(),
        why: message.into(),
        advice,
        event: Tell::new(&[SCALES_NOT], ""),
        ..Cause::default()
    };
    Some(Trouble { kind: Kind::Scheduling, cause, timeout, meanwhile })
}

fn judge(case: &Case, message: &str) -> (String, String, Timeout) {
    let lower = message.to_lowercase();
    if lower.contains("persistentvolumeclaim") && lower.contains("not found") {
        let missing = super::start::missing(message).unwrap_or_else(|| "a PersistentVolumeClaim".into());
        let what = format!("it needs {missing}, which does not exist");
        return (what, super::start::provide(&missing, case.subject), Timeout::Budget(MISSING));
    }
    if lower.contains("unbound") {
        let what = format!(
            "its PersistentVolumeClaim {} is not bound to a volume",
            claim(case.pod).unwrap_or_default()
        );
        let look = format!("{} describe pvc", case.subject.kubectl);
        let advice =
            format!("look at the claim ({look}): its storageClassName has to exist and to provide volumes");
        return (what, advice, Timeout::Budget(CLAIM));
    }
    let nodes = nodes(&lower);
    if !nodes.is_empty() && nodes.iter().all(|reason| is_lasting(reason)) {
        let taint = lower.contains("taint");
        let what = match (taint, LASTING.iter().any(|part| lower.contains(part))) {
            (true, true) => "no node fits its node selector or affinity, or its tolerations",
            (true, false) => "every node has a taint that it does not tolerate",
            _ => "no node fits its node selector or node affinity",
        };
        let advice = if taint {
            "add the toleration to the pod's spec"
        } else {
            "correct nodeSelector and affinity in the pod's spec"
        };
        return (
            what.into(),
            format!("{advice}, or label a node (kubectl get nodes --show-labels)"),
            Timeout::Budget(NO_NODE_FITS),
        );
    }
    let budget = case.budgets.capacity;
    if lower.contains("insufficient") || lower.contains("too many pods") {
        let what = format!("no node has room for what it requests{}", requests(case));
        let advice =
            "lower resources.requests in the manifest, or free some room; --capacity-timeout waits longer"
                .into();
        return (what, advice, Timeout::Budget(budget));
    }
    (
        "no node takes it".into(),
        "change what the scheduler names; --capacity-timeout waits longer".into(),
        Timeout::Budget(budget),
    )
}

/// The reasons in `2 Insufficient cpu, 1 node(s) had taint {a: b}, that the pod didn't tolerate.`
fn nodes(message: &str) -> Vec<String> {
    let Some((_, reasons)) = message.split_once("available: ") else { return Vec::new() };
    let reasons = reasons.split(" preemption: ").next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let mut found: Vec<String> = Vec::new();
    for part in reasons.split(", ") {
        match (part.split_once(' '), found.last_mut()) {
            (Some((number, reason)), _) if number.parse::<u32>().is_ok() => found.push(reason.into()),
            (_, Some(last)) => *last = format!("{last}, {part}"),
            (_, None) => found.push(part.into()),
        }
    }
    found
}

fn is_lasting(reason: &str) -> bool {
    let taint = reason.contains("taint") && !PASSING_TAINTS.iter().any(|taint| reason.contains(taint));
    taint || (!reason.contains("volume") && LASTING.iter().any(|part| reason.contains(part)))
}

/// What the pod's containers ask for, as ` (100 cpu and 64Ti memory)`.
fn requests(case: &Case) -> String {
    let containers = case.pod.spec.iter().flat_map(|spec| &spec.containers);
    let asked = containers.filter_map(|container| container.resources.as_ref()?.requests.as_ref());
    let asked: Vec<String> =
        asked.flatten().map(|(resource, quantity)| format!("{} {resource}", quantity.0)).collect();
    if asked.is_empty() { String::new() } else { format!(" ({})", asked.join(", ")) }
}

fn shorten(message: &str) -> &str {
    message.split(" preemption: ").next().unwrap_or(message).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_the_nodes_is_taken_apart() {
        let message = "0/4 nodes are available: 1 node(s) had taint {a: b}, that the pod didn't tolerate, 3 Insufficient cpu. preemption: x";
        assert_eq!(
            nodes(message),
            ["node(s) had taint {a: b}, that the pod didn't tolerate", "Insufficient cpu"]
        );
        assert!(nodes("pod has unbound immediate claims").is_empty());
    }

    #[test]
    fn what_lasts_is_told_from_what_passes() {
        for lasting in [
            "node(s) didn't match pod's node affinity/selector",
            "node(s) didn't match node selector",
            "node(s) had untolerated taint {gpu: }",
            "node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
        ] {
            assert!(is_lasting(lasting), "{lasting}");
        }
        for passing in [
            "insufficient memory",
            "node(s) had untolerated taint {node.kubernetes.io/not-ready: }",
            "node(s) had taint {node.cloudprovider.kubernetes.io/uninitialized: true}, that the pod didn't tolerate",
            "node(s) were unschedulable",
            "node(s) had volume node affinity conflict",
            "node(s) didn't match pod anti-affinity rules",
        ] {
            assert!(!is_lasting(passing), "{passing}");
        }
    }
}
