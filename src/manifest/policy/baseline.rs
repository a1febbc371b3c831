//! Pod Security "baseline", as the Kubernetes documentation defines it: what a pod may not do on a cluster
//! that it shares.

use serde_json::{Map, Value};

use super::{Allowance, Violation};

/// Capabilities that a container may add: those that container runtimes give anyway.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sysctls that belong to the pod alone.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

type Fields = Map<String, Value>;

/// What a pod does that the level forbids, by its spec and its annotations.
pub fn baseline(spec: &Fields, annotations: Option<&Fields>) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    found.namespaces("its pod", spec);
    for volume in list(spec, "volumes").filter(|volume| volume.contains_key("hostPath")) {
        found.add(true, Allowance::HOST_PATH, || {
            format!("the volume {} is a path of the node (hostPath)", name(volume))
        });
    }
    if let Some(context) = part(spec, "securityContext") {
        found.confinement("its pod", context);
        found.sysctls("its pod", context);
    }
    for (key, value) in annotations.into_iter().flatten() {
        found.annotation(key, value.as_str().unwrap_or_default());
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        list(spec, field).for_each(|container| found.container(container));
    }
    found.0
}

/// The parts of a pod's spec that [`baseline`] looks through.
pub(super) const LOOKED_THROUGH: [&str; 5] =
    ["securityContext", "volumes", "initContainers", "containers", "ephemeralContainers"];

/// The same of what may become a part of a pod: a template without containers, a step of a task, a volume.
pub(super) fn parts(map: &Fields) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    found.namespaces("a pod of it", map);
    found.add(map.get("hostPath").is_some_and(Value::is_object), Allowance::HOST_PATH, || {
        format!("the volume {} is a path of the node (hostPath)", name(map))
    });
    if let Some(context) = part(map, "securityContext") {
        found.sysctls("a pod of it", context);
    }
    found.container(map);
    found.0
}

struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, is_there: bool, opened_by: Allowance, what: impl FnOnce() -> String) {
        if is_there {
            self.0.push(Violation { opened_by, what: what() });
        }
    }

    fn namespaces(&mut self, who: &str, pod: &Fields) {
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            self.add(is_true(pod, field), Allowance::HOST_NAMESPACES, || {
                format!("{who} uses the node's own namespace ({field})")
            });
        }
    }

    fn sysctls(&mut self, who: &str, context: &Fields) {
        for sysctl in list(context, "sysctls").map(name).filter(|sysctl| !SYSCTLS.contains(sysctl)) {
            self.add(true, Allowance::UNCONFINED, || format!("{who} sets the sysctl {sysctl}"));
        }
    }

    fn container(&mut self, container: &Fields) {
        let who = format!("container {}", name(container));
        if let Some(context) = part(container, "securityContext") {
            self.add(is_true(context, "privileged"), Allowance::PRIVILEGED, || {
                format!("{who} is privileged")
            });
            let added = part(context, "capabilities")
                .and_then(|capabilities| capabilities.get("add"))
                .and_then(Value::as_array);
            for capability in
                added.into_iter().flatten().map(|capability| capability.as_str().unwrap_or_default())
            {
                let is_usual = CAPABILITIES.contains(&capability.trim_start_matches("CAP_"));
                self.add(!is_usual, Allowance::CAPABILITIES, || {
                    format!("{who} adds the capability {capability}")
                });
            }
            self.confinement(&who, context);
        }
        for port in list(container, "ports") {
            let port = port.get("hostPort").and_then(Value::as_u64).unwrap_or_default();
            self.add(port != 0, Allowance::HOST_PORTS, || {
                format!("{who} takes port {port} of the node (hostPort)")
            });
        }
        let lifecycle = part(container, "lifecycle");
        let hooks = ["postStart", "preStop"].iter().filter_map(|hook| part(lifecycle?, hook));
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"]
            .iter()
            .filter_map(|probe| part(container, probe));
        for handler in hooks.chain(probes) {
            let host = ["httpGet", "tcpSocket"]
                .iter()
                .find_map(|action| part(handler, action)?.get("host")?.as_str());
            self.add(host.is_some_and(|host| !host.is_empty()), Allowance::HOST_PORTS, || {
                format!("{who} probes another host")
            });
        }
    }

    /// What a security context of a pod and one of a container have in common.
    fn confinement(&mut self, who: &str, context: &Fields) {
        let kind = |field: &str| part(context, field)?.get("type")?.as_str();
        let mut loosens = |is_there: bool, what: &str| {
            self.add(is_there, Allowance::UNCONFINED, || format!("{who} {what}"));
        };
        loosens(kind("seccompProfile") == Some("Unconfined"), "switches seccomp off");
        loosens(kind("appArmorProfile") == Some("Unconfined"), "switches AppArmor off");
        loosens(
            kind("seLinuxOptions").is_some_and(|kind| !SELINUX_TYPES.contains(&kind)),
            "changes its SELinux type",
        );
        let selinux = |field: &str| part(context, "seLinuxOptions")?.get(field)?.as_str();
        let is_said = |field: &str| selinux(field).is_some_and(|value| !value.is_empty());
        loosens(is_said("user") || is_said("role"), "changes its SELinux user or role");
        let mount = context.get("procMount").and_then(Value::as_str);
        loosens(mount.is_some_and(|mount| mount != "Default"), "uncovers /proc (procMount)");
        let host_process =
            part(context, "windowsOptions").is_some_and(|options| is_true(options, "hostProcess"));
        loosens(host_process, "is a process of a Windows node (hostProcess)");
    }

    /// The annotations that older clusters take for the same.
    fn annotation(&mut self, key: &str, value: &str) {
        let apparmor = key.starts_with("container.apparmor.security.beta.kubernetes.io/");
        let is_confined = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        self.add(apparmor && !is_confined, Allowance::UNCONFINED, || {
            format!("the annotation {key} switches AppArmor off")
        });
        let seccomp = key == "seccomp.security.alpha.kubernetes.io/pod"
            || key.starts_with("container.seccomp.security.alpha.kubernetes.io/");
        self.add(seccomp && value == "unconfined", Allowance::UNCONFINED, || {
            format!("the annotation {key} switches seccomp off")
        });
    }
}

fn part<'a>(fields: &'a Fields, field: &str) -> Option<&'a Fields> {
    fields.get(field)?.as_object()
}

fn list<'a>(fields: &'a Fields, field: &str) -> impl Iterator<Item = &'a Fields> + use<'a> {
    fields.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn name(fields: &Fields) -> &str {
    fields.get("name").and_then(Value::as_str).unwrap_or("without a name")
}

fn is_true(fields: &Fields, field: &str) -> bool {
    fields.get(field) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spec: &str, annotations: &str) -> Vec<(&'static str, String)> {
        let map = |text: &str| match crate::yaml::Node::parse("m.yaml", text).unwrap().typed() {
            Value::Object(map) => map,
            _ => panic!("{text} is no mapping"),
        };
        let violations = baseline(&map(spec), Some(&map(annotations)));
        violations.into_iter().map(|violation| (violation.opened_by.name(), violation.what)).collect()
    }

    #[test]
    fn each_control_of_the_level_is_found() {
        let container = |fields: &str| format!("{{containers: [{{name: c, {fields}}}]}}");
        let context = |fields: &str| container(&format!("securityContext: {{{fields}}}"));
        for (spec, name, part) in [
            ("{hostNetwork: true}".to_owned(), "host-namespaces", "(hostNetwork)"),
            ("{hostPID: true}".into(), "host-namespaces", "(hostPID)"),
            ("{hostIPC: true}".into(), "host-namespaces", "(hostIPC)"),
            ("{volumes: [{name: v, hostPath: {path: /}}]}".into(), "host-path", "volume v"),
            (
                "{securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}}".into(),
                "unconfined",
                "kernel.msgmax",
            ),
            (
                "{securityContext: {seccompProfile: {type: Unconfined}}}".into(),
                "unconfined",
                "its pod switches seccomp off",
            ),
            (context("privileged: true"), "privileged", "container c is privileged"),
            (
                "{initContainers: [{name: i, securityContext: {privileged: true}}]}".into(),
                "privileged",
                "container i",
            ),
            (
                "{ephemeralContainers: [{name: e, securityContext: {privileged: true}}]}".into(),
                "privileged",
                "container e",
            ),
            (context("capabilities: {add: [SYS_ADMIN]}"), "capabilities", "SYS_ADMIN"),
            (context("capabilities: {add: [ALL]}"), "capabilities", "ALL"),
            (context("capabilities: {add: [CAP_NET_RAW]}"), "capabilities", "CAP_NET_RAW"),
            (context("procMount: Unmasked"), "unconfined", "/proc"),
            (context("seccompProfile: {type: Unconfined}"), "unconfined", "container c switches seccomp off"),
            (context("appArmorProfile: {type: Unconfined}"), "unconfined", "AppArmor"),
            (context("seLinuxOptions: {type: spc_t}"), "unconfined", "SELinux type"),
            (context("seLinuxOptions: {user: system_u}"), "unconfined", "SELinux user or role"),
            (context("windowsOptions: {hostProcess: true}"), "unconfined", "hostProcess"),
            (container("ports: [{containerPort: 80, hostPort: 80}]"), "host-ports", "port 80 of the node"),
            (
                container("livenessProbe: {httpGet: {host: 169.254.169.254}}"),
                "host-ports",
                "probes another host",
            ),
            (
                container("lifecycle: {postStart: {tcpSocket: {host: h}}}"),
                "host-ports",
                "probes another host",
            ),
        ] {
            let found = found(&spec, "{}");
            assert_eq!(found.len(), 1, "{spec}: {found:?}");
            assert!(found[0].0 == name && found[0].1.contains(part), "{spec}: {found:?}");
        }
        for annotation in [
            "container.apparmor.security.beta.kubernetes.io/c: unconfined",
            "seccomp.security.alpha.kubernetes.io/pod: unconfined",
            "container.seccomp.security.alpha.kubernetes.io/c: unconfined",
        ] {
            assert_eq!(found("{}", &format!("{{{annotation}}}"))[0].0, "unconfined", "{annotation}");
        }
    }

    #[test]
    fn what_the_level_allows_passes() {
        let spec = "{hostNetwork: false, volumes: [{name: v, emptyDir: {}}], securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies}], \
                    seccompProfile: {type: RuntimeDefault}}, containers: [{name: c, ports: [{containerPort: 1, hostPort: 0}], \
                    livenessProbe: {httpGet: {host: ''}}, securityContext: {privileged: false, procMount: Default, capabilities: {add: \
                    [CHOWN, NET_BIND_SERVICE], drop: [ALL]}, seLinuxOptions: {type: container_t, level: 's0:c1'}}}]}";
        let annotations = "{container.apparmor.security.beta.kubernetes.io/c: runtime/default}";
        assert_eq!(found(spec, annotations), []);
    }
}
