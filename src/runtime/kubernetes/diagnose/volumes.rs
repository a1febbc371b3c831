//! Pods that a node has taken and cannot prepare: volumes that are not mounted, a network that is not set up.
//! The pod's status says nothing but `ContainerCreating` all the while, so only the events tell.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::super::events::Note;
use super::start::{MISSING, missing, provide};
use super::{Case, Cause, Kind, Tell, Timeout, Trouble};

/// How long a volume may fail to be attached or mounted: moving one from another node takes a minute or more.
const VOLUME: Duration = Duration::from_secs(120);

/// How long a pod's sandbox may fail: the network of a new node takes its time.
const SANDBOX: Duration = Duration::from_secs(60);

const MOUNT: [&str; 3] = ["FailedMount", "FailedAttachVolume", "FailedMapVolume"];
const NETWORK: [&str; 2] = ["FailedCreatePodSandBox", "NetworkNotReady"];
/// What containerd and CRI-O say of a RuntimeClass whose handler they are not set up for.
const NO_HANDLER: [&str; 2] = ["no runtime for", "failed to find runtime handler"];
/// What comes after all of that.
const PROGRESS: [&str; 4] = ["Pulling", "Pulled", "Created", "Started"];

pub(super) fn trouble(case: &Case) -> Option<Trouble> {
    let creating = |reason: &str| ["ContainerCreating", "PodInitializing"].contains(&reason);
    let containers = case.containers();
    if containers.iter().any(|view| !view.waits_for().is_some_and(|(reason, _)| creating(reason))) {
        return None;
    }
    let telling =
        |reason: &str| MOUNT.contains(&reason) || NETWORK.contains(&reason) || PROGRESS.contains(&reason);
    let newest = case.events.iter().rev().find(|note| telling(&note.reason))?;
    if MOUNT.contains(&newest.reason.as_str()) {
        // The summary that follows ("timed out waiting") does not say which object is missing.
        let failures = case.events.iter().rev().filter(|note| MOUNT.contains(&note.reason.as_str()));
        let clear = failures.clone().find(|note| missing(&note.message).is_some());
        return Some(unmounted(case, clear.unwrap_or(newest)));
    }
    NETWORK.contains(&newest.reason.as_str()).then(|| sandboxless(case, newest))
}

/// Of a sandbox that cannot be made the condition `PodReadyToStartContainers` tells without a reason.
fn sandboxless(case: &Case, note: &Note) -> Trouble {
    let spec = case.pod.spec.as_ref();
    let class = spec.and_then(|spec| spec.runtime_class_name.as_deref());
    let (what, advice, timeout) = if note.message.contains("not support user namespaces") {
        (
            "its node cannot give it a user namespace of its own, which hostUsers: false asks for".to_owned(),
            "take hostUsers: false out of the manifest, or choose nodes whose runtime has user namespaces (containerd 2 with runc 1.2, CRI-O)"
                .to_owned(),
            Timeout::None,
        )
    } else if let Some(class) =
        class.filter(|_| NO_HANDLER.iter().any(|fragment| note.message.contains(fragment)))
    {
        (
            format!("its node's container runtime does not know the handler of its RuntimeClass {class}"),
            format!(
                "correct runtimeClassName in the manifest, or choose nodes that have that runtime (kubectl describe runtimeclass {class})"
            ),
            Timeout::None,
        )
    } else {
        (
            "its node cannot set up its network and sandbox".to_owned(),
            "look at the node's network plugin and container runtime (kubectl describe node)".to_owned(),
            Timeout::Budget(SANDBOX),
        )
    };
    let cause = Cause {
        what: what.clone(),
        why: note.message.clone(),
        advice,
        event: Tell::new(&NETWORK, ""),
        ..Cause::default()
    };
    Trouble::within(Kind::Sandbox, cause, timeout, what)
}

fn unmounted(case: &Case, note: &Note) -> Trouble {
    let message = note.message.as_str();
    let volume =
        message.split_once("volume \"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name);
    let volume = volume
        .and_then(|name| case.pod.spec.as_ref()?.volumes.as_ref()?.iter().find(|volume| volume.name == name));
    let (what, advice, budget) = match missing(message) {
        Some(missing) => {
            let missing = if missing.starts_with("the key ") { full_key(missing, volume) } else { missing };
            let name = volume.map(|volume| format!(" for its volume {}", volume.name)).unwrap_or_default();
            let advice = provide(&missing, case.subject);
            (format!("it needs {missing}{name}, which does not exist"), advice, MISSING)
        }
        None => {
            let name = volume
                .map_or_else(|| "a volume of it".into(), |volume| format!("its volume {}", volume.name));
            let advice =
                format!("look at the volume's claim, if it has one: {} describe pvc", case.subject.kubectl);
            (format!("its node cannot mount {name}"), advice, VOLUME)
        }
    };
    // A first attempt often comes too early, without any fault.
    let meanwhile = if note.count > 1 || budget == MISSING { what.clone() } else { String::new() };
    let cause = Cause { what, why: message.into(), advice, event: Tell::new(&MOUNT, ""), ..Cause::default() };
    Trouble::within(Kind::Volume, cause, Timeout::Budget(budget), meanwhile)
}

/// `the key k of a Secret` with the name that the volume has for the Secret.
fn full_key(missing: String, volume: Option<&Volume>) -> String {
    let secret = volume.and_then(|volume| volume.secret.as_ref()?.secret_name.as_deref());
    let map = volume.and_then(|volume| volume.config_map.as_ref()).map(|map| map.name.as_str());
    match (secret, map) {
        (Some(name), _) => missing.replace("a Secret", &format!("the Secret {name}")),
        (_, Some(name)) => missing.replace("a ConfigMap", &format!("the ConfigMap {name}")),
        _ => missing,
    }
}

/// The first claim that the pod uses.
pub(super) fn claim(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    volumes.iter().find_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()))
}
