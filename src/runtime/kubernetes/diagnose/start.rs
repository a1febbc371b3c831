//! Containers that the node cannot make: what they refer to is missing, or the runtime refuses them.

use std::time::Duration;

use super::case::View;
use super::{Case, Cause, Kind, Subject, Timeout, Trouble};

/// How long a Secret or ConfigMap may be missing that a pod refers to. Somebody may create it a moment after
/// the pod, and the kubelet looks again every 10 to 15 seconds.
pub(super) const MISSING: Duration = Duration::from_secs(20);

/// How long the runtime may fail to make a container without a clear reason.
const CREATE: Duration = Duration::from_secs(90);

/// What the runtime says, in lower case, when no second attempt can go better.
const CLEAR: [&str; 7] = [
    "executable file not found",
    "no such file or directory",
    "exec format error",
    "permission denied",
    "not a directory",
    "is a directory",
    "no command specified",
];

pub(super) fn trouble(case: &Case, view: &View) -> Option<Trouble> {
    let (reason, message) = view.waits_for()?;
    match reason {
        "CreateContainerConfigError" => Some(misconfigured(case, view, message)),
        "CreateContainerError" | "RunContainerError" => Some(refused(view, message, Timeout::Budget(CREATE))),
        // The kubelet has tried more than once.
        "CrashLoopBackOff" => {
            let end = view.end().filter(|end| is_start_error(end.reason.as_deref()))?;
            Some(refused(view, end.message.as_deref().unwrap_or(message), Timeout::None))
        }
        _ => None,
    }
}

/// Whether a container's end is one of its runtime, before its first instruction.
pub(super) fn is_start_error(reason: Option<&str>) -> bool {
    matches!(reason, Some("StartError" | "ContainerCannotRun"))
}

fn misconfigured(case: &Case, view: &View, message: &str) -> Trouble {
    let label = view.label();
    let missing = missing(message);
    let what = match &missing {
        Some(missing) => format!("{label} needs {missing}, which does not exist"),
        None => format!("the settings of {label} cannot be used"),
    };
    let advice = match &missing {
        Some(missing) => provide(missing, case.subject),
        None => format!("correct the variables and the security context of {label}"),
    };
    // The kubelet has not read the Secrets and ConfigMaps yet, which it does again by itself.
    let meanwhile = if message.contains("failed to sync") { String::new() } else { what.clone() };
    let (reason, why, container) =
        ("CreateContainerConfigError".into(), message.into(), Some(view.name().into()));
    let cause = Cause { what, reason, why, advice, container, ..Cause::default() };
    Trouble::within(Kind::Config, cause, Timeout::Budget(MISSING), meanwhile)
}

pub(super) fn refused(view: &View, message: &str, timeout: Timeout) -> Trouble {
    let label = view.label();
    let lower = message.to_lowercase();
    let is_clear = CLEAR.iter().any(|fragment| lower.contains(fragment));
    let program = lower.contains("executable file not found") || lower.contains("exec:");
    let (what, advice) = if program {
        (
            format!("{label} cannot be started: its image {} has no such program", view.image()),
            format!(
                "correct command and args of {label} (a database needs none: its image starts the server)"
            ),
        )
    } else {
        (
            format!("{label} cannot be started"),
            format!("correct what the runtime complains about in the manifest of {label}"),
        )
    };
    let meanwhile = format!("{label} cannot be started for now");
    let cause =
        Cause { what, why: message.into(), advice, container: Some(view.name().into()), ..Cause::default() };
    Trouble::within(Kind::Start, cause, if is_clear { Timeout::None } else { timeout }, meanwhile)
}

/// What to do about something that [`missing`] has found.
pub(super) fn provide(missing: &str, subject: &Subject) -> String {
    match missing.strip_prefix("the key ") {
        Some(key) => format!("add the key {}", key.replacen(" of ", " to ", 1)),
        None => format!("put {missing} into the manifest, or create it before {}", subject.command()),
    }
}

/// The object that a message of the kubelet or of a volume plugin says is missing: `secret "a" not found`,
/// `couldn't find key k in Secret ns/a`, `references non-existent secret key: k`, `configmap references
/// non-existent config key: k`.
pub(super) fn missing(message: &str) -> Option<String> {
    const KINDS: [(&str, &str); 3] = [
        ("secret", "the Secret"),
        ("configmap", "the ConfigMap"),
        ("persistentvolumeclaim", "the PersistentVolumeClaim"),
    ];
    let lower = message.to_lowercase();
    if let Some((_, rest)) = message.split_once("couldn't find key ") {
        let (key, rest) = rest.split_once(" in ")?;
        let (kind, name) = rest.split_once(' ')?;
        let name = name.split_whitespace().next()?.rsplit('/').next()?;
        return Some(format!("the key {key} of the {kind} {name}"));
    }
    if let Some((before, key)) =
        message.split_once("references non-existent ").and_then(|(_, rest)| rest.split_once(" key: "))
    {
        let kind = if before.contains("secret") { "Secret" } else { "ConfigMap" };
        return Some(format!("the key {} of a {kind}", key.split_whitespace().next()?));
    }
    KINDS.iter().find_map(|(kind, words)| {
        let start = lower.find(&format!("{kind} \""))? + kind.len() + 2;
        let (name, rest) = message.get(start..)?.split_once('"')?;
        rest.trim_start().starts_with("not found").then(|| format!("{words} {name}"))
    })
}
