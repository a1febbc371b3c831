//! Images that cannot be pulled: what the container runtime's message means, and whether a retry may help.
//!
//! The texts differ between containerd, CRI-O and dockershim, and from version to version, so they are
//! recognised by fragments. What is not recognised may be anything and is waited for like a fault that mends.

use super::case::View;
use super::{Case, Cause, History, Kind, Tell, Timeout, Trouble};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// The registry does not have the image.
    Absent,
    /// The registry wants other credentials.
    Denied,
    /// The image is there, for other processors.
    Platform,
    /// May succeed later; what the registry or the way to it suffers from.
    Passing(&'static str),
}

const RATE: Finding = Finding::Passing("the registry limits the rate of pulls");
const SLOW: Finding = Finding::Passing("the registry does not answer in time");
const UNREACHABLE: Finding = Finding::Passing("the registry cannot be reached");
const NAME: Finding = Finding::Passing("the registry's host name cannot be resolved");
const BROKEN: Finding = Finding::Passing("the registry answers with an error of its own");
const CUT: Finding = Finding::Passing("the connection to the registry breaks");
const UNKNOWN: Finding = Finding::Passing("the node could not pull it");

/// Fragments in lower case; the first that is found decides. A passing fault comes first: where a token
/// server is down, the message says "failed to authorize" as well.
const FRAGMENTS: [(&str, Finding); 42] = [
    ("toomanyrequests", RATE),
    ("too many requests", RATE),
    ("rate limit", RATE),
    (": 429", RATE),
    ("qps exceeded", RATE),
    ("timeout", SLOW),
    ("timed out", SLOW),
    ("deadline exceeded", SLOW),
    ("deadlineexceeded", SLOW),
    ("no such host", NAME),
    ("name resolution", NAME),
    ("server misbehaving", NAME),
    ("connection refused", UNREACHABLE),
    ("no route to host", UNREACHABLE),
    ("network is unreachable", UNREACHABLE),
    ("dial tcp", UNREACHABLE),
    ("connection reset", CUT),
    ("broken pipe", CUT),
    ("unexpected eof", CUT),
    (": eof", CUT),
    ("500 internal", BROKEN),
    ("502 bad gateway", BROKEN),
    ("503 service", BROKEN),
    ("504 gateway", BROKEN),
    ("no match for platform", Finding::Platform),
    ("no matching manifest for", Finding::Platform),
    ("no image found in manifest list for", Finding::Platform),
    ("no image found in image index for", Finding::Platform),
    ("access denied", Finding::Denied),
    ("access to the resource is denied", Finding::Denied),
    ("unauthorized", Finding::Denied),
    ("authentication required", Finding::Denied),
    ("insufficient_scope", Finding::Denied),
    ("no basic auth credentials", Finding::Denied),
    ("authorization failed", Finding::Denied),
    ("403 forbidden", Finding::Denied),
    ("status: 401", Finding::Denied),
    ("manifest unknown", Finding::Absent),
    ("name unknown", Finding::Absent),
    ("404 not found", Finding::Absent),
    ("repository does not exist", Finding::Absent),
    ("not found: manifest", Finding::Absent),
];

const FAILED: &str = "ErrImagePull";

/// What tells of a Secret that the pod's `imagePullSecrets` name and that is not there.
const NO_SECRET: Tell = Tell::new(&["FailedToRetrieveImagePullSecret"], "");

/// What is pulled for a container: its image, or one whose files a volume shows (Kubernetes 1.31 and later).
/// The status of the container tells of both in the same way.
struct Pulled<'a> {
    image: &'a str,
    volume: Option<&'a str>,
    view: &'a View<'a>,
}

impl<'a> Pulled<'a> {
    /// What a message is about, by the names in it.
    fn new(case: &'a Case, view: &'a View, message: &str) -> Self {
        let own = Self { image: view.image(), volume: None, view };
        let volumes = case.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let of_volumes = volumes.filter_map(|volume| {
            let image = volume.image.as_ref()?.reference.as_deref()?;
            Some(Self { image, volume: Some(&volume.name), view })
        });
        // `docker.io/library/mysql:9.7` is `mysql:9.7`; of two that fit the longer one is meant, and of two
        // alike the container's.
        let quoted: Vec<&str> = message.split('"').skip(1).step_by(2).collect();
        let fits = |image: &str| {
            quoted.iter().any(|name| {
                name.strip_suffix(image).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
            })
        };
        let volume = of_volumes.filter(|pulled| fits(pulled.image)).max_by_key(|pulled| pulled.image.len());
        volume.filter(|volume| !fits(own.image) || volume.image.len() > own.image.len()).unwrap_or(own)
    }

    /// `container mysql`, `volume tools`.
    fn label(&self) -> String {
        self.volume.map_or_else(|| self.view.label(), |volume| format!("volume {volume}"))
    }

    fn container(&self) -> Option<String> {
        self.volume.is_none().then(|| self.view.name().into())
    }
}

pub(super) fn trouble(case: &Case, view: &View, history: &History) -> Option<Trouble> {
    let (reason, message) = view.waits_for()?;
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "RegistryUnavailable"
        | "SignatureValidationFailed"
        | "ImageInspectError" => {
            // Old kubelets say why only in the first of the two states.
            let known = history.pull(view.name()).or_else(|| last_failure(case, view)).unwrap_or(message);
            let (reason, message) = match reason {
                "ImagePullBackOff" if message.contains(FAILED) => (FAILED, message),
                "ImagePullBackOff" => (FAILED, known),
                _ => (reason, message),
            };
            return Some(failed(case, &Pulled::new(case, view, message), reason, message));
        }
        "InvalidImageName" | "ErrImageNeverPull" => {}
        _ => return None,
    }
    let pulled = Pulled::new(case, view, message);
    let (image, label) = (pulled.image, pulled.label());
    let (what, advice) = if reason == "InvalidImageName" {
        (
            format!("the image name {image:?} of {label} is not valid"),
            format!("correct the image of {label} (a name is lower-case: host/path/name:tag)"),
        )
    } else {
        let policy = if pulled.volume.is_some() { "pullPolicy" } else { "imagePullPolicy" };
        (
            format!(
                "the node does not have the image {image} of {label}, and {policy}: Never forbids to pull it"
            ),
            // Since 1.35 the kubelet says the same of an image that the pod's credentials do not open.
            format!(
                "put the image on the node, or change {policy} to IfNotPresent; if the node has it, the pod lacks the imagePullSecrets that it \
                 was pulled with"
            ),
        )
    };
    let cause = Cause {
        what,
        reason: reason.into(),
        why: message.into(),
        advice,
        container: pulled.container(),
        ..Cause::default()
    };
    Some(Trouble::certain(Kind::Pull, cause))
}

fn failed(case: &Case, pulled: &Pulled, reason: &str, message: &str) -> Trouble {
    let (image, label) = (pulled.image, pulled.label());
    let cause = |what: String, advice: String| Cause {
        what,
        reason: reason.into(),
        why: message.into(),
        advice,
        container: pulled.container(),
        event: NO_SECRET,
        ..Cause::default()
    };
    let certain = |what, advice| Trouble::certain(Kind::Pull, cause(what, advice));
    match finding(message, image) {
        Finding::Absent => certain(
            format!("the registry does not have the image {image} of {label}"),
            format!("correct the image of {label} (name and tag), or push it"),
        ),
        Finding::Denied => certain(
            format!("the registry does not let this pod pull the image {image} of {label}"),
            credentials(case),
        ),
        Finding::Platform => certain(
            format!("the image {image} of {label} does not exist for the node's kind of processor"),
            "use an image for this platform, or a nodeSelector for nodes of another (kubernetes.io/arch)"
                .into(),
        ),
        Finding::Passing(why) => {
            let budget = case.budgets.pull;
            let advice = if Finding::Passing(why) == RATE {
                "pull with credentials (imagePullSecrets) or through a mirror, which have limits of their own; --pull-timeout waits longer"
            } else {
                "look whether the node reaches the registry; --pull-timeout waits longer"
            };
            let what = format!(
                "the image {image} of {label} still cannot be pulled after {}: {why}",
                humantime::format_duration(budget)
            );
            let meanwhile = format!("pulling the image {image} fails for now: {why}");
            Trouble::within(Kind::Pull, cause(what, advice.into()), Timeout::Budget(budget), meanwhile)
        }
    }
}

/// What to do about a registry that wants other credentials, or any.
fn credentials(case: &Case) -> String {
    let secrets = case.pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    let names: Vec<&str> = secrets.map(|secret| secret.name.as_str()).collect();
    let credentials = match names.as_slice() {
        [] => "give the pod credentials (imagePullSecrets)".to_owned(),
        names => format!(
            "look whether the Secret of its imagePullSecrets ({}) exists and opens this registry ({} get secret)",
            names.join(", "),
            case.subject.kubectl
        ),
    };
    format!(
        "{credentials}, or correct the image's name: some registries say this of images that they do not have"
    )
}

fn finding(message: &str, image: &str) -> Finding {
    let text = without_names(message, image);
    if let Some((_, finding)) = FRAGMENTS.iter().find(|(fragment, _)| text.contains(fragment)) {
        return *finding;
    }
    // containerd's own words; "not found" alone it says of broken snapshots as well.
    let unresolved =
        ["failed to resolve reference", "failed to resolve image"].iter().any(|words| text.contains(words));
    let unresolved = unresolved && text.trim_end().ends_with("not found");
    if unresolved || (text.contains("manifest for") && text.contains("not found")) {
        Finding::Absent
    } else {
        UNKNOWN
    }
}

/// In lower case, without what is quoted, names and addresses: an image may be called `timeout`.
fn without_names(message: &str, image: &str) -> String {
    let unquoted: String = message.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let is_name = |word: &str| {
        let word = word.trim_end_matches(':');
        word == image || (word.contains('/') && (word.contains('.') || word.contains(':')))
    };
    let words: Vec<&str> = unquoted.split_whitespace().filter(|word| !is_name(word)).collect();
    words.join(" ").to_lowercase()
}

/// Why the last pull failed, from the events.
fn last_failure<'a>(case: &'a Case, view: &View) -> Option<&'a str> {
    let tell = Tell::new(&["Failed"], "Failed to pull image");
    tell.find(case.events, Some(view.name())).map(|note| note.message.as_str())
}
