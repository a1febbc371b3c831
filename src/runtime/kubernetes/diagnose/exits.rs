//! Containers that end: crash loops, databases that run out of memory, and servers that simply stop.

use k8s_openapi::api::core::v1::ContainerStateTerminated;

use super::case::View;
use super::start::{is_start_error, refused};
use super::{Case, Cause, History, Kind, Log, Timeout, Trouble};

/// How often a database may end: once is an accident, twice is a habit.
const DATABASE: i32 = 2;

/// How often another may end: many applications end again and again until their database answers.
const OTHER: i32 = 5;

/// How often a container may end of a workload that no run has made: what it needs has been there before.
const LASTING: i32 = 3;

/// The faults of a pod that is over: all of its containers have ended, and none starts again.
pub(super) fn troubles(case: &Case, history: &History) -> Vec<Trouble> {
    case.containers().iter().filter_map(|container| trouble(case, container, history)).collect()
}

pub(super) fn trouble(case: &Case, view: &View, history: &History) -> Option<Trouble> {
    let end = view.end()?;
    let exits = history.exits(view);
    if case.subject.ends || exits < 1 || (view.init && end.exit_code == 0) {
        return None;
    }
    if end.reason.as_deref() == Some("OOMKilled") && view.database {
        return Some(Trouble::certain(Kind::Exit, out_of_memory(view)));
    }
    let is_final = !view.runs() && !restarts(case, view, end);
    let allowed = match () {
        // A helper that has done its work.
        () if is_final && end.exit_code == 0 && !view.database => return None,
        () if is_final => 1,
        () if view.database || (view.init && !case.subject.databases.is_empty()) => DATABASE,
        () if case.subject.stays => LASTING,
        () => OTHER,
    };
    if view.runs() || exits < allowed {
        return None;
    }
    if is_start_error(end.reason.as_deref()) {
        return Some(refused(view, end.message.as_deref().unwrap_or_default(), Timeout::None));
    }
    Some(Trouble::certain(Kind::Exit, ended(view, end, exits)))
}

/// Whether the kubelet starts the container again: as the container itself says, which is what makes a
/// sidecar of an init container, else as its pod does.
fn restarts(case: &Case, view: &View, end: &ContainerStateTerminated) -> bool {
    let own = view.container.and_then(|container| container.restart_policy.as_deref());
    match own.unwrap_or_else(|| case.restart_policy()) {
        "Never" => false,
        "OnFailure" => end.exit_code != 0,
        _ => !view.init || end.exit_code != 0,
    }
}

fn ended(view: &View, end: &ContainerStateTerminated, exits: i32) -> Cause {
    let (label, code) = (view.label(), end.exit_code);
    let times = match exits {
        1 => String::new(),
        2 => " twice".into(),
        more => format!(" {more} times"),
    };
    let (what, advice) = if code == 0 {
        (
            format!("{label} ended{times} without an error (exit code 0), but has to go on running"),
            format!("take away what makes {label} end: a command or args that are not a server's"),
        )
    } else {
        let reason =
            end.reason.as_deref().filter(|reason| *reason != "Error").map(|reason| format!(", {reason}"));
        let signal = signal(end).map(|name| format!(", killed by {name}"));
        let (signal, reason) = (signal.unwrap_or_default(), reason.unwrap_or_default());
        (
            format!(
                "{label} ended{times}{} with exit code {code}{signal}{reason}",
                if exits > 1 { ", last" } else { "" }
            ),
            format!("correct what the log complains about in the manifest of {label}"),
        )
    };
    told_by_log(view, what, end.message.clone().unwrap_or_default(), advice)
}

/// A database that is killed while it sets itself up leaves half of its data in the pod's volume, and its
/// next start takes that for a finished set-up: there is nothing to hope for.
fn out_of_memory(view: &View) -> Cause {
    let limit =
        view.container.and_then(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory"));
    let label = view.label();
    let (what, advice) = match limit {
        Some(limit) => (
            format!("{label} was killed because it needed more memory than its limit, {}", limit.0),
            format!("raise resources.limits.memory of {label}, or give the server smaller buffers"),
        ),
        None => (
            format!(
                "{label} was killed because the node ran out of memory (OOMKilled; the container has no limit of its own)"
            ),
            format!("give {label} a memory request, so that a node with enough memory is chosen"),
        ),
    };
    told_by_log(
        view,
        what,
        "a second start would find a half-made data folder, so it is not waited for".into(),
        advice,
    )
}

/// The cause of an end that the container's own log tells more about.
fn told_by_log(view: &View, what: String, why: String, advice: String) -> Cause {
    let log = if view.runs() { Log::Previous } else { Log::Latest };
    Cause { what, why, advice, container: Some(view.name().into()), log: Some(log), ..Cause::default() }
}

/// The signal that ended the container; shells and runtimes report signal n as exit code 128 + n.
fn signal(end: &ContainerStateTerminated) -> Option<&'static str> {
    let number = end.signal.filter(|signal| *signal > 0).unwrap_or(end.exit_code - 128);
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}
