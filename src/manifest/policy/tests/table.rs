//! Every field of a pod in the Kubernetes of today that can carry a token, a resource of the node, or a
//! selector, and what becomes of it. The lists are those of the types: with a field more, or one less, this
//! does not build until somebody has decided about it.

use k8s_openapi::api::core::v1::{
    Container, PodSecurityContext, PodSpec, SecurityContext, Volume, VolumeProjection,
};

use crate::manifest::parse::parse;
use crate::manifest::policy::violations;
use crate::run_id::RunId;

/// What a pod with the field is refused for, unless that is allowed by name; `None` where it reaches for
/// nothing that is not its namespace's.
type Refused = Option<(&'static str, &'static str)>;

macro_rules! fields {
    ($kind:ident { $($field:ident: $refused:expr,)* }) => {{
        let $kind { $($field: _),* } = $kind::default();
        vec![$((concat!(stringify!($kind), ".", stringify!($field)), $refused)),*]
    }};
}

#[rustfmt::skip]
fn table() -> Vec<(&'static str, Refused)> {
    let mut all: Vec<(&'static str, Refused)> = Vec::new();
    all.extend(fields!(PodSpec {
        active_deadline_seconds: None,
        affinity: Some(("run-label", "{affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchExpressions: [{key: test-dependencies, operator: In, values: [other]}]}}]}}, containers: []}")),
        automount_service_account_token: Some(("service-accounts", "{automountServiceAccountToken: true, containers: []}")),
        containers: Some(("privileged", "{containers: [{name: c, securityContext: {privileged: true}}]}")),
        dns_config: None,
        dns_policy: None,
        enable_service_links: None,
        ephemeral_containers: Some(("privileged", "{containers: [], ephemeralContainers: [{name: c, securityContext: {privileged: true}}]}")),
        eviction_responders: None,
        host_aliases: None,
        host_ipc: Some(("host-namespaces", "{hostIPC: true, containers: []}")),
        host_network: Some(("host-namespaces", "{hostNetwork: true, containers: []}")),
        host_pid: Some(("host-namespaces", "{hostPID: true, containers: []}")),
        host_users: None,
        hostname: None,
        hostname_override: None,
        image_pull_secrets: None,
        init_containers: Some(("privileged", "{containers: [], initContainers: [{name: c, securityContext: {privileged: true}}]}")),
        node_name: None,
        node_selector: None,
        os: None,
        overhead: None,
        preemption_policy: None,
        priority: None,
        priority_class_name: None,
        readiness_gates: None,
        resource_claims: None,
        resources: None,
        restart_policy: None,
        runtime_class_name: None,
        scheduler_name: None,
        scheduling_gates: None,
        scheduling_group: None,
        security_context: Some(("unconfined", "{securityContext: {seccompProfile: {type: Unconfined}}, containers: []}")),
        service_account: Some(("service-accounts", "{serviceAccount: admin, containers: []}")),
        service_account_name: Some(("service-accounts", "{serviceAccountName: admin, containers: []}")),
        set_hostname_as_fqdn: None,
        share_process_namespace: None,
        subdomain: None,
        termination_grace_period_seconds: None,
        tolerations: None,
        topology_spread_constraints: Some(("run-label", "{topologySpreadConstraints: [{labelSelector: {matchLabels: {test-dependencies: other}}}], containers: []}")),
        volumes: Some(("host-path", "{volumes: [{name: v, hostPath: {path: /}}], containers: []}")),
    }));
    all.extend(fields!(Container {
        args: None,
        command: None,
        env: None,
        env_from: None,
        image: None,
        image_pull_policy: None,
        lifecycle: Some(("host-ports", "{containers: [{name: c, lifecycle: {preStop: {httpGet: {host: h}}}}]}")),
        liveness_probe: Some(("host-ports", "{containers: [{name: c, livenessProbe: {tcpSocket: {host: h}}}]}")),
        name: None,
        ports: Some(("host-ports", "{containers: [{name: c, ports: [{hostPort: 1}]}]}")),
        readiness_probe: Some(("host-ports", "{containers: [{name: c, readinessProbe: {httpGet: {host: h}}}]}")),
        resize_policy: None,
        resources: None,
        restart_policy: None,
        restart_policy_rules: None,
        security_context: Some(("privileged", "{containers: [{name: c, securityContext: {privileged: true}}]}")),
        startup_probe: Some(("host-ports", "{containers: [{name: c, startupProbe: {httpGet: {host: h}}}]}")),
        stdin: None,
        stdin_once: None,
        termination_message_path: None,
        termination_message_policy: None,
        tty: None,
        volume_devices: None,
        volume_mounts: None,
        working_dir: None,
    }));
    all.extend(fields!(Volume {
        aws_elastic_block_store: None,
        azure_disk: None,
        azure_file: None,
        cephfs: None,
        cinder: None,
        config_map: None,
        csi: None,
        downward_api: None,
        empty_dir: None,
        ephemeral: Some(("run-label", "{volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {selector: {matchLabels: {test-dependencies: other}}}}}}], containers: []}")),
        fc: None,
        flex_volume: None,
        flocker: None,
        gce_persistent_disk: None,
        git_repo: None,
        glusterfs: None,
        host_path: Some(("host-path", "{volumes: [{name: v, hostPath: {path: /}}], containers: []}")),
        image: None,
        iscsi: None,
        name: None,
        nfs: None,
        persistent_volume_claim: None,
        photon_persistent_disk: None,
        portworx_volume: None,
        projected: Some(("service-accounts", "{volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}], containers: []}")),
        quobyte: None,
        rbd: None,
        scale_io: None,
        secret: None,
        storageos: None,
        vsphere_volume: None,
    }));
    all.extend(fields!(VolumeProjection {
        cluster_trust_bundle: Some(("run-label", "{volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {labelSelector: {matchLabels: {test-dependencies: other}}}}]}}], containers: []}")),
        config_map: None,
        downward_api: None,
        pod_certificate: Some(("service-accounts", "{volumes: [{name: v, projected: {sources: [{podCertificate: {signerName: s}}]}}], containers: []}")),
        secret: None,
        service_account_token: Some(("service-accounts", "{volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}], containers: []}")),
    }));
    all.extend(fields!(SecurityContext {
        allow_privilege_escalation: None,
        app_armor_profile: Some(("unconfined", "{containers: [{name: c, securityContext: {appArmorProfile: {type: Unconfined}}}]}")),
        capabilities: Some(("capabilities", "{containers: [{name: c, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}")),
        privileged: Some(("privileged", "{containers: [{name: c, securityContext: {privileged: true}}]}")),
        proc_mount: Some(("unconfined", "{containers: [{name: c, securityContext: {procMount: Unmasked}}]}")),
        read_only_root_filesystem: None,
        run_as_group: None,
        run_as_non_root: None,
        run_as_user: None,
        se_linux_options: Some(("unconfined", "{containers: [{name: c, securityContext: {seLinuxOptions: {type: spc_t}}}]}")),
        seccomp_profile: Some(("unconfined", "{containers: [{name: c, securityContext: {seccompProfile: {type: Unconfined}}}]}")),
        windows_options: Some(("unconfined", "{containers: [{name: c, securityContext: {windowsOptions: {hostProcess: true}}}]}")),
    }));
    all.extend(fields!(PodSecurityContext {
        app_armor_profile: Some(("unconfined", "{securityContext: {appArmorProfile: {type: Unconfined}}, containers: []}")),
        fs_group: None,
        fs_group_change_policy: None,
        run_as_group: None,
        run_as_non_root: None,
        run_as_user: None,
        se_linux_change_policy: None,
        se_linux_options: Some(("unconfined", "{securityContext: {seLinuxOptions: {type: spc_t}}, containers: []}")),
        seccomp_profile: Some(("unconfined", "{securityContext: {seccompProfile: {type: Unconfined}}, containers: []}")),
        supplemental_groups: None,
        supplemental_groups_policy: None,
        sysctls: Some(("unconfined", "{securityContext: {sysctls: [{name: kernel.msgmax}]}, containers: []}")),
        windows_options: Some(("unconfined", "{securityContext: {windowsOptions: {hostProcess: true}}, containers: []}")),
    }));
    all
}

#[test]
fn every_field_that_reaches_out_is_refused_by_name_wherever_a_kind_keeps_it() {
    let mut checked = 0;
    for (field, refused) in table() {
        let Some((name, spec)) = refused else { continue };
        // As a pod, in a template of a custom kind, and in one that leaves the containers to its operator.
        let bare = spec.replace(", containers: []", "");
        for (kind, spec) in [
            ("v1\nkind: Pod", spec.to_owned()),
            ("example.com/v1\nkind: Cluster", format!("{{parts: [[{{podTemplate: {{spec: {spec}}}}}]]}}")),
            (
                "tekton.dev/v1\nkind: PipelineRun",
                format!("{{taskRunTemplate: {{podTemplate: {bare}}}}}").replace("containers:", "steps:"),
            ),
        ] {
            let text = format!("apiVersion: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
            let found = violations(&parse("m.yaml", &text).unwrap()[0], &RunId::parse("run-1").unwrap());
            let names: Vec<&str> = found.iter().map(|violation| violation.opened_by.name()).collect();
            assert_eq!(names, [name], "{field}: {text}{found:?}");
            checked += 1;
        }
    }
    assert!(checked > 90, "{checked}");
}

/// Names of ServiceAccounts as custom kinds have them, and what only looks like one.
#[test]
fn service_accounts_of_custom_kinds_are_found() {
    let found = |kind: &str, rest: &str| {
        let text = format!("apiVersion: {kind}\nmetadata: {{name: a}}\n{rest}\n");
        violations(&parse("m.yaml", &text).unwrap()[0], &RunId::parse("run-1").unwrap()).len()
    };
    for spec in [
        "spec: {taskRunTemplate: {serviceAccountName: admin}}",
        "spec: {taskRunSpecs: [{pipelineTaskName: t, serviceAccountName: admin}]}",
        "spec: {taskRunSpecs: [{taskServiceAccountName: admin}]}",
        "spec: {serviceAccountNames: [admin]}",
        "spec: {auth: {serviceAccountRef: {name: admin}}}",
        "spec: {executor: {serviceAccount: admin}}",
    ] {
        assert_eq!(found("example.com/v1\nkind: Any", spec), 1, "{spec}");
    }
    assert_eq!(
        found(
            "example.com/v1\nkind: Any",
            "spec: {serviceAccountName: default, automountServiceAccountToken: false}"
        ),
        0
    );
    assert_eq!(found("v1\nkind: ConfigMap", "data: {serviceAccountName: admin, hostNetwork: 'true'}"), 0);
}
