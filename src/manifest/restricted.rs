//! What the Pod Security level "restricted" wants of a pod beyond "baseline":
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>. Pure. Each rule holds from the
//! version of Kubernetes on that brought it.

use std::fmt;

use k8s_openapi::api::core::v1::{PodSpec, SecurityContext, Volume};

/// What a container, or the pod as a whole, lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The container; `None` for the pod as a whole.
    pub container: Option<String>,
    /// The fields of its securityContext and what they have to be, such as `allowPrivilegeEscalation: false`.
    pub wants: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self
            .container
            .as_ref()
            .map_or_else(|| "the pod".to_owned(), |container| format!("container {container}"));
        write!(f, "{who} needs {}", self.wants.join(", "))
    }
}

/// The kinds of volumes that may be.
const VOLUMES: &str =
    "configMap, csi, downwardAPI, emptyDir, ephemeral, persistentVolumeClaim, projected or secret";

/// What a pod lacks, by the rules of Kubernetes 1.`minor` (`None`: of the latest version). Empty for a pod
/// that is allowed.
pub fn violations(pod: &PodSpec, minor: Option<u32>) -> Vec<Violation> {
    let since = |wanted: u32| minor.is_none_or(|minor| minor >= wanted);
    // Windows has no capabilities, no seccomp and no setuid.
    let is_linux = !(since(25) && pod.os.as_ref().is_some_and(|os| os.name == "windows"));
    let own = pod.security_context.as_ref();
    let runs_as_root = |user: Option<i64>| since(23) && user == Some(0);
    let mut of_pod: Vec<String> = pod.volumes.iter().flatten().filter_map(volume).collect();
    if own.is_some_and(|own| runs_as_root(own.run_as_user)) {
        of_pod.push(ROOT.into());
    }
    let non_root = own.and_then(|own| own.run_as_non_root);
    let seccomp = own.and_then(|own| own.seccomp_profile.as_ref()).map(|profile| profile.type_.as_str());
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers).map(|container| {
        let none = SecurityContext::default();
        let context = container.security_context.as_ref().unwrap_or(&none);
        let mut wants = Vec::new();
        if context.run_as_non_root.or(non_root) != Some(true) {
            wants.push("runAsNonRoot: true".to_owned());
        }
        if runs_as_root(context.run_as_user) {
            wants.push(ROOT.into());
        }
        if is_linux {
            wants.extend(linux(context, seccomp, &since));
        }
        Violation { container: Some(container.name.clone()), wants }
    });
    let all = std::iter::once(Violation { container: None, wants: of_pod }).chain(containers);
    all.filter(|violation| !violation.wants.is_empty()).collect()
}

const ROOT: &str = "another runAsUser than 0";

fn linux(
    context: &SecurityContext,
    seccomp_of_pod: Option<&str>,
    since: &dyn Fn(u32) -> bool,
) -> Vec<String> {
    let mut wants = Vec::new();
    if since(8) && context.allow_privilege_escalation != Some(false) {
        wants.push("allowPrivilegeEscalation: false".to_owned());
    }
    let listed = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    let capabilities = context.capabilities.as_ref();
    if since(22)
        && !listed(capabilities.and_then(|capabilities| capabilities.drop.as_ref()))
            .iter()
            .any(|name| name == "ALL")
    {
        wants.push("capabilities.drop: [ALL]".to_owned());
    }
    let added = listed(capabilities.and_then(|capabilities| capabilities.add.as_ref()));
    let added: Vec<&str> =
        added.iter().map(String::as_str).filter(|name| *name != "NET_BIND_SERVICE").collect();
    if since(22) && !added.is_empty() {
        wants.push(format!("capabilities.add without {}", added.join(", ")));
    }
    let own = context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str());
    if since(19) && !matches!(own.or(seccomp_of_pod), Some("RuntimeDefault" | "Localhost")) {
        wants.push("seccompProfile.type: RuntimeDefault".to_owned());
    }
    wants
}

fn volume(volume: &Volume) -> Option<String> {
    let Volume {
        config_map,
        csi,
        downward_api,
        empty_dir,
        ephemeral,
        persistent_volume_claim,
        projected,
        secret,
        ..
    } = volume;
    let is_fit = config_map.is_some()
        || csi.is_some()
        || downward_api.is_some()
        || empty_dir.is_some()
        || ephemeral.is_some()
        || persistent_volume_claim.is_some()
        || projected.is_some()
        || secret.is_some();
    (!is_fit).then(|| format!("volume {} as one of {VOLUMES}", volume.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is wanted of a pod by the latest rules.
    fn wanted(spec: Value) -> Vec<String> {
        wanted_by(spec, None)
    }

    fn wanted_by(spec: Value, minor: Option<u32>) -> Vec<String> {
        violations(&serde_json::from_value(spec).unwrap(), minor).iter().map(ToString::to_string).collect()
    }

    /// A pod that is allowed, with one container's securityContext in one field otherwise.
    fn container_with(field: &str, value: Value) -> Value {
        let mut context = json!({
            "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        });
        context[field] = value;
        json!({"containers": [{"name": "db", "securityContext": context}]})
    }

    #[test]
    fn a_pod_that_says_all_is_allowed() {
        assert_eq!(wanted(container_with("runAsUser", 999.into())), [] as [&str; 0]);
        assert_eq!(
            wanted(container_with("seccompProfile", json!({"type": "Localhost", "localhostProfile": "x"}))),
            [] as [&str; 0]
        );
        assert_eq!(
            wanted(container_with("capabilities", json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}))),
            [] as [&str; 0]
        );
    }

    #[test]
    fn each_field_is_named_with_its_container() {
        for (field, value, message) in [
            ("runAsNonRoot", Value::Null, "container db needs runAsNonRoot: true"),
            ("runAsNonRoot", false.into(), "container db needs runAsNonRoot: true"),
            ("runAsUser", 0.into(), "container db needs another runAsUser than 0"),
            ("allowPrivilegeEscalation", Value::Null, "container db needs allowPrivilegeEscalation: false"),
            ("allowPrivilegeEscalation", true.into(), "container db needs allowPrivilegeEscalation: false"),
            ("capabilities", Value::Null, "container db needs capabilities.drop: [ALL]"),
            ("capabilities", json!({"drop": ["NET_RAW"]}), "container db needs capabilities.drop: [ALL]"),
            (
                "capabilities",
                json!({"drop": ["ALL"], "add": ["CHOWN"]}),
                "container db needs capabilities.add without CHOWN",
            ),
            ("seccompProfile", Value::Null, "container db needs seccompProfile.type: RuntimeDefault"),
            (
                "seccompProfile",
                json!({"type": "Unconfined"}),
                "container db needs seccompProfile.type: RuntimeDefault",
            ),
        ] {
            assert_eq!(wanted(container_with(field, value)), [message]);
        }
    }

    #[test]
    fn the_pod_speaks_for_containers_that_say_nothing() {
        let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let of_pod = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        let pod = |own: Value, container: Value| json!({"securityContext": own, "containers": [{"name": "db", "securityContext": container}]});
        assert_eq!(wanted(pod(of_pod.clone(), context.clone())), [] as [&str; 0]);
        let mut differs = context.clone();
        differs["runAsNonRoot"] = false.into();
        assert_eq!(wanted(pod(of_pod, differs)), ["container db needs runAsNonRoot: true"]);
        let root =
            json!({"runAsNonRoot": true, "runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(wanted(pod(root, context)), ["the pod needs another runAsUser than 0"]);
    }

    #[test]
    fn init_containers_count_and_volumes_are_of_a_few_kinds() {
        let mut pod = container_with("runAsUser", 999.into());
        pod["initContainers"] = json!([{"name": "prepare"}]);
        assert_eq!(
            wanted(pod),
            [
                "container prepare needs runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities.drop: [ALL], \
                 seccompProfile.type: RuntimeDefault"
            ]
        );
        let mut pod = container_with("runAsUser", 999.into());
        pod["volumes"] = json!([{"name": "data", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/"}}, {"name": "nfs", "nfs": {"server": "a", "path": "/"}}]);
        let wanted = wanted(pod);
        assert!(
            wanted[0].starts_with("the pod needs volume host as one of configMap, ")
                && wanted[0].contains("volume nfs as"),
            "{wanted:?}"
        );
    }

    #[test]
    fn rules_hold_from_their_version_on_and_windows_has_fewer() {
        let bare = json!({"containers": [{"name": "db", "securityContext": {"runAsUser": 0}}]});
        let count = |minor| wanted_by(bare.clone(), Some(minor))[0].matches(", ").count() + 1;
        assert_eq!([count(7), count(8), count(19), count(22), count(23)], [1, 2, 3, 4, 5]);
        let mut windows = bare.clone();
        windows["os"] = json!({"name": "windows"});
        assert_eq!(
            wanted_by(windows.clone(), Some(25)),
            ["container db needs runAsNonRoot: true, another runAsUser than 0"]
        );
        assert!(wanted_by(windows, Some(24))[0].contains("capabilities"));
    }
}
