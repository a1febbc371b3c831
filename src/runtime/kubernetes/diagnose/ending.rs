//! Pods that end as a whole: deleted, evicted, preempted, out of time, or lost with their node.

use std::time::Duration;

use super::super::disruption::Disruption;
use super::{Case, Cause, Kind, Subject, Tell, Timeout, Trouble};
use crate::manifest::owner::Owner;

/// How long a node may be silent.
const NODE: Duration = Duration::from_secs(60);

/// The events that tell who took a pod away.
const TAKEN: [&str; 6] =
    ["Preempted", "Preempting", "TaintManagerEviction", "Evicted", "NodeNotReady", "DeletingNode"];

pub(super) fn trouble(case: &Case) -> Option<Trouble> {
    let status = case.pod.status.as_ref()?;
    if case.pod.metadata.deletion_timestamp.is_some() {
        return case.subject.is_plain_pod().then(|| Trouble::certain(Kind::Ending, deleted(case)));
    }
    let reason = status.reason.as_deref().filter(|reason| !reason.is_empty())?;
    let why = status.message.clone().unwrap_or_default();
    if reason == "NodeLost" {
        let what = "the node that it runs on is lost".to_owned();
        let advice = another_node(case.subject);
        let cause = Cause { what: what.clone(), reason: reason.into(), why, advice, ..Cause::default() };
        return Some(Trouble::within(Kind::Ending, cause, Timeout::Budget(NODE), what));
    }
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let (what, advice) = words(reason, &why, case.subject);
    let cause = Cause { what, reason: reason.into(), why, advice, ..Cause::default() };
    Some(Trouble::certain(Kind::Ending, cause))
}

fn another_node(subject: &Subject) -> String {
    format!("run {} again, so that another node is chosen", subject.anew())
}

fn more_room(subject: &Subject) -> String {
    format!(
        "run {} again when there is room, or give the pod a priorityClassName of its own",
        subject.command()
    )
}

fn words(reason: &str, message: &str, subject: &Subject) -> (String, String) {
    let (what, advice) = match reason {
        "Evicted" => ("its node evicted it", eviction(message)),
        "DeadlineExceeded" => (
            "it was stopped because it ran longer than activeDeadlineSeconds",
            "take activeDeadlineSeconds out of the manifest, or raise it above the length of the whole test run",
        ),
        "Preempting" | "Preempted" => {
            ("it was stopped to make room for a pod of higher priority", &*more_room(subject))
        }
        "Shutdown" | "NodeShutdown" | "Terminated" => ("its node is shutting down", &*another_node(subject)),
        _ if reason.starts_with("OutOf")
            || reason == "UnexpectedAdmissionError"
            || reason == "NodeAffinity" =>
        {
            ("the node that was chosen for it did not take it", &*another_node(subject))
        }
        _ => return (format!("it has failed ({reason})"), "look at the pod and its events".into()),
    };
    (what.into(), advice.into())
}

fn eviction(message: &str) -> &'static str {
    let lower = message.to_lowercase();
    if lower.contains("emptydir") {
        "raise sizeLimit of that emptyDir volume"
    } else if lower.contains("memory") {
        "raise resources.requests.memory of its containers to what they use: the node evicts first what uses more than it has asked for"
    } else if lower.contains("ephemeral") || lower.contains("disk") {
        "raise the requests and limits for ephemeral-storage, or keep the data in a volume"
    } else {
        "look at the node's conditions (kubectl describe node)"
    }
}

/// A pod of the manifest that is gone, or going: nobody makes it anew. Who did it is told by a condition or
/// an event, if it was the cluster.
pub(super) fn deleted(case: &Case) -> Cause {
    if let Some(disruption) = Disruption::of(case.pod) {
        return taken(case, disruption);
    }
    let event = case.events.iter().rev().find(|note| TAKEN.contains(&note.reason.as_str()));
    let pipeline_run = Owner::all_of(&case.pod.metadata).next().map(|owner| owner.name);
    let what = match (event, &pipeline_run) {
        (None, None) => "it was deleted while it was waited for, by somebody or something else".to_owned(),
        (None, Some(name)) => {
            format!(
                "it was deleted while it was waited for: with PipelineRun {name}, which takes its run along when it is deleted, or by somebody else"
            )
        }
        _ => "the cluster took it away while it was waited for".into(),
    };
    Cause {
        what,
        why: event.map(|note| note.message.clone()).unwrap_or_default(),
        advice: format!(
            "{}find out what deletes pods here (a clean-up job, another `testbed down`), then run `testbed up` again: {} is not made anew",
            pipeline_run
                .map(|name| format!("if PipelineRun {name} is gone, all is as it should be; else "))
                .unwrap_or_default(),
            case.name()
        ),
        event: if event.is_some() { Tell::new(&TAKEN, "") } else { Tell::default() },
        gone: true,
        ..Cause::default()
    }
}

/// The same where the cluster says itself why.
fn taken(case: &Case, disruption: Disruption) -> Cause {
    let again = another_node(case.subject);
    let advice = match disruption.reason.as_str() {
        "EvictionByEvictionAPI" => {
            format!(
                "{again}; a PodDisruptionBudget with minAvailable: 1 for it in the manifest makes a drain wait until the run is removed"
            )
        }
        "PreemptionByScheduler" => more_room(case.subject),
        "TerminationByKubelet" => {
            format!("{again}, or look at the node's conditions (kubectl describe node)")
        }
        _ => again,
    };
    Cause {
        what: format!("it {} while it was waited for", disruption.what()),
        reason: disruption.reason,
        why: disruption.message,
        advice,
        gone: true,
        ..Cause::default()
    }
}
