//! Why the API server refuses to create a well-formed object (quotas, limits, policies), read from its
//! message to testbed, or to a controller that reports it.

use std::collections::BTreeMap;

use crate::manifest::quantity::Quantity;

/// Which rule of a namespace refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Quota,
    Limits,
    /// Pod Security, or what other clusters have in its place.
    Security,
    /// An admission webhook, or a ValidatingAdmissionPolicy.
    Webhook,
    /// The namespace is being deleted.
    Ending,
    /// The pod's ServiceAccount has to be there.
    Account,
    /// The pod's RuntimeClass or PriorityClass has to be there.
    Class,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub rule: Rule,
    /// What refuses it, as a lower-case fragment.
    pub what: String,
    pub advice: String,
    /// Whether it would be refused again as long as neither manifest nor rules change.
    pub is_final: bool,
}

/// A message of LimitRange's, in lower case: `maximum memory usage per Container is 1Gi, but limit is 2Gi`.
const LIMIT_RANGE: [&str; 3] = ["maximum ", "minimum ", "max limit to request ratio"];

/// What to do about a policy of the cluster's own.
const POLICY: &str = "change what the message names in the manifest, or ask whoever runs that policy";

/// Reads a message of the API server about something in a namespace; `kubectl` is the start of a command
/// there. `None`: it is not about admission.
pub fn read(message: &str, kubectl: &str) -> Option<Refusal> {
    let lower = message.to_ascii_lowercase();
    let refusal = |rule, what: String, advice: &str, is_final| {
        Some(Refusal { rule, what, advice: advice.into(), is_final })
    };
    if let Some(at) = lower.find("exceeded quota: ") {
        // As it was written: units differ in case.
        let rest = &message[at + "exceeded quota: ".len()..];
        let name = rest.split(',').next().unwrap_or_default();
        return match exceeds_by_itself(rest) {
            Some(resource) => refusal(
                Rule::Quota,
                format!("it asks for more {resource} than the whole quota {name} allows"),
                &format!(
                    "lower {resource} in the manifest{}, or have the quota raised ({kubectl} describe quota {name})",
                    by_parameters(&[&resource])
                ),
                true,
            ),
            None => refusal(
                Rule::Quota,
                format!("the quota {name} of the namespace is used up"),
                &format!(
                    "free some of the quota ({kubectl} describe quota {name}), or lower what the manifest asks for{}",
                    by_parameters(&requested(rest))
                ),
                false,
            ),
        };
    }
    if let Some((_, rest)) = lower.split_once("failed quota: ") {
        let name = rest.split(':').next().unwrap_or_default();
        let wanted = rest.split_once("must specify ").map_or("", |(_, list)| list);
        let wanted: Vec<&str> = wanted.split([',', ' ', ';']).collect();
        let advice = format!(
            "set what the message names under resources, in each container of the manifest{}",
            by_parameters(&wanted)
        );
        return refusal(
            Rule::Quota,
            format!("the quota {name} wants each container to say what it needs"),
            &advice,
            true,
        );
    }
    if LIMIT_RANGE.iter().any(|text| lower.contains(text)) && lower.contains(" per ") {
        let advice = format!(
            "set resources in the manifest to what the LimitRange allows{} ({kubectl} describe limitrange)",
            by_parameters(
                &["cpu", "memory", "limits.cpu", "limits.memory"].map(|name| {
                    if lower.contains(name.trim_start_matches("limits.")) { name } else { "" }
                })
            )
        );
        return refusal(
            Rule::Limits,
            "a LimitRange of the namespace does not allow its resources".into(),
            &advice,
            true,
        );
    }
    if lower.contains("violates podsecurity")
        || lower.contains("pod security policy")
        || lower.contains("security context constraint")
    {
        let advice = "set securityContext in the manifest as the message says, or use a namespace with a policy that allows it";
        return refusal(
            Rule::Security,
            "the security policy of the namespace does not allow it".into(),
            advice,
            true,
        );
    }
    if lower.contains("admission webhook") && lower.contains("denied the request") {
        let name = message
            .split('"')
            .find(|part| part.contains('.') && !part.contains(' '))
            .unwrap_or("of the cluster");
        return refusal(Rule::Webhook, format!("the admission webhook {name} denies it"), POLICY, true);
    }
    // `ValidatingAdmissionPolicy 'digests' with binding 'digests' denied request: images need a digest`.
    if let Some((_, rest)) = message.split_once("ValidatingAdmissionPolicy '")
        && lower.contains(" denied request: ")
    {
        let name = rest.split('\'').next().unwrap_or_default();
        return refusal(Rule::Webhook, format!("the policy {name} of the cluster denies it"), POLICY, true);
    }
    if lower.contains("because it is being terminated") {
        let namespace = message
            .split_once("in namespace ")
            .and_then(|(_, rest)| rest.split(' ').next())
            .unwrap_or_default();
        let advice = format!(
            "wait until the namespace is gone and create it anew, or pass another --namespace \
             ({kubectl} get namespace {namespace} -o yaml tells what holds it)"
        );
        return refusal(Rule::Ending, "the namespace is being deleted".into(), &advice, true);
    }
    // `pod rejected: RuntimeClass "kata" not found`, `no PriorityClass with name high was found`.
    let class = message
        .split_once("RuntimeClass \"")
        .and_then(|(_, rest)| rest.split_once("\" not found"))
        .map(|(name, _)| ("RuntimeClass", name));
    let priority = || {
        message.split_once("no PriorityClass with name ").and_then(|(_, rest)| rest.split_once(" was found"))
    };
    if let Some((kind, name)) = class.or_else(|| priority().map(|(name, _)| ("PriorityClass", name))) {
        let advice = format!(
            "correct that name in the manifest, or have the {kind} made ({kubectl} get {})",
            kind.to_lowercase()
        );
        return refusal(Rule::Class, format!("the {kind} {name} is not there"), &advice, true);
    }
    if lower.contains("error looking up service account")
        || lower.contains("no api token found for service account")
    {
        let advice =
            "create the ServiceAccount; a new namespace gets its default one within seconds, so try again";
        return refusal(Rule::Account, "its ServiceAccount is not there".into(), advice, false);
    }
    None
}

/// The parameters of built-in databases that say how much of these resources they ask for.
fn by_parameters(resources: &[&str]) -> String {
    let parameter = |resource: &&str| match *resource {
        "cpu" | "requests.cpu" => Some("cpu"),
        "memory" | "requests.memory" => Some("memory"),
        "limits.cpu" => Some("cpu-limit"),
        "limits.memory" => Some("memory-limit"),
        _ => None,
    };
    let mut flags: Vec<String> =
        resources.iter().filter_map(parameter).map(|name| format!("--param {name}=...")).collect();
    flags.dedup();
    if flags.is_empty() { String::new() } else { format!(" (of built-in databases: {})", flags.join(" ")) }
}

/// The resources that are asked for, in `q, requested: cpu=500m,pods=1, used: ...`.
fn requested(text: &str) -> Vec<&str> {
    let list = text.split_once("requested: ").map_or("", |(_, rest)| rest);
    let list = list.split_once(", used: ").map_or(list, |(list, _)| list);
    list.split(',').filter_map(|pair| Some(pair.trim().split_once('=')?.0)).collect()
}

/// The resource of which more is requested than the quota's hard limit, so that an empty namespace would
/// refuse it as well. From `small, requested: limits.memory=128Mi, used: limits.memory=0, limited:
/// limits.memory=64Mi`.
fn exceeds_by_itself(text: &str) -> Option<String> {
    let part = |name: &str, end: Option<&str>| {
        let rest = text.split_once(name)?.1;
        let list = end.and_then(|end| rest.split_once(end)).map_or(rest, |(list, _)| list);
        Some(list.split(',').filter_map(|pair| pair.trim().split_once('=')).collect::<BTreeMap<&str, &str>>())
    };
    let requested = part("requested: ", Some(", used: "))?;
    let limited = part("limited: ", None)?;
    requested.iter().find_map(|(resource, asked)| {
        let limit = limited.get(resource)?.trim_end_matches(['.', ' ']);
        (Quantity::parse(asked)? > Quantity::parse(limit)?).then(|| (*resource).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_recognised() {
        for (message, what, is_final) in [
            (
                "pods \"a\" is forbidden: exceeded quota: small, requested: limits.memory=128Mi, used: limits.memory=0, limited: limits.memory=64Mi",
                "it asks for more limits.memory than the whole quota small allows",
                true,
            ),
            (
                "pods \"a\" is forbidden: exceeded quota: q, requested: cpu=500m,pods=1, used: cpu=1,pods=4, limited: cpu=1,pods=10",
                "the quota q of the namespace is used up",
                false,
            ),
            (
                "pods \"a\" is forbidden: failed quota: q: must specify limits.cpu,limits.memory",
                "the quota q wants each container to say what it needs",
                true,
            ),
            (
                "pods \"a\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi",
                "a LimitRange of the namespace does not allow its resources",
                true,
            ),
            (
                "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                "the security policy of the namespace does not allow it",
                true,
            ),
            (
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: no latest tags",
                "the admission webhook validate.kyverno.svc-fail denies it",
                true,
            ),
            (
                "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'digests.example.com' with binding 'everywhere' denied request: images cannot be without a digest",
                "the policy digests.example.com of the cluster denies it",
                true,
            ),
            (
                "pods \"a\" is forbidden: unable to create new content in namespace b because it is being terminated",
                "the namespace is being deleted",
                true,
            ),
            (
                "pods \"a\" is forbidden: pod rejected: RuntimeClass \"kata\" not found",
                "the RuntimeClass kata is not there",
                true,
            ),
            (
                "pods \"a\" is forbidden: no PriorityClass with name high was found",
                "the PriorityClass high is not there",
                true,
            ),
            (
                "pods \"a\" is forbidden: error looking up service account b/c: serviceaccount \"c\" not found",
                "its ServiceAccount is not there",
                false,
            ),
        ] {
            let refusal = read(message, "kubectl -n n").unwrap();
            assert_eq!((refusal.what.as_str(), refusal.is_final), (what, is_final), "{message}");
        }
        for (message, parameters) in [
            (
                "exceeded quota: q, requested: limits.memory=2Gi, used: limits.memory=0, limited: limits.memory=1Gi",
                "--param memory-limit=...",
            ),
            (
                "exceeded quota: q, requested: pods=1,requests.cpu=1,requests.memory=1Gi, used: requests.cpu=1, limited: requests.cpu=1",
                "--param cpu=... --param memory=...",
            ),
            (
                "failed quota: q: must specify limits.cpu for: db; limits.memory for: db",
                "--param cpu-limit=... --param memory-limit=...",
            ),
            (
                "maximum memory usage per Container is 1Gi, but limit is 2Gi",
                "--param memory=... --param memory-limit=...",
            ),
        ] {
            let advice = read(message, "kubectl -n n").unwrap().advice;
            assert!(advice.contains(&format!("(of built-in databases: {parameters})")), "{advice}");
        }
        assert_eq!(
            read(
                "pods is forbidden: User \"u\" cannot create resource \"pods\" in API group \"\" in the namespace \"n\"",
                "kubectl -n n"
            ),
            None
        );
        assert_eq!(
            read("Pod \"a\" is invalid: spec.containers[0].name: Invalid value", "kubectl -n n"),
            None
        );
    }
}
