//! Manifests from strangers, on the real cluster: each thing that is refused leaves no object, and each can
//! be opened by its name.

use crate::harness::{Namespace, kubectl, kubectl_output, run_id};

/// A harmless object that comes first in every manifest: it would be there if anything was created before the
/// refusal.
const FIRST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first-$(context.pipelineRun.uid)}\n";

/// A pod that does nothing; `spec` and `container` are further fields.
fn pod(name: &str, spec: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-$(context.pipelineRun.uid)}}\nspec: {{{spec}containers: [{{name: c, image: \
         'docker.io/local/pause:1', {container}}}]}}\n"
    )
}

/// By the name that opens it: what a pod may not do, as the pods of one manifest.
fn hostile_pods() -> Vec<(&'static str, String)> {
    let context = |fields: &str| format!("securityContext: {{{fields}}}");
    vec![
        ("privileged", pod("privileged", "", &context("privileged: true"))),
        ("host-namespaces", pod("network", "hostNetwork: true, ", "")),
        ("host-namespaces", pod("processes", "hostPID: true, ", "")),
        ("host-namespaces", pod("memory", "hostIPC: true, ", "")),
        ("host-path", pod("path", "volumes: [{name: v, hostPath: {path: /}}], ", "")),
        ("host-ports", pod("port", "", "ports: [{containerPort: 1, hostPort: 40123}]")),
        ("capabilities", pod("capabilities", "", &context("capabilities: {add: [SYS_ADMIN]}"))),
        ("unconfined", pod("seccomp", "securityContext: {seccompProfile: {type: Unconfined}}, ", "")),
        ("unconfined", pod("selinux", "", &context("seLinuxOptions: {type: spc_t}"))),
        ("service-accounts", pod("account", "serviceAccountName: default-of-another, ", "")),
        ("service-accounts", pod("token", "automountServiceAccountToken: true, ", "")),
    ]
}

/// The same of other objects.
fn hostile_objects(elsewhere: &str) -> Vec<(&'static str, String)> {
    let object = |kind: &str, rest: &str| {
        format!("apiVersion: {kind}\nmetadata: {{name: x-$(context.pipelineRun.uid){rest}}}\n")
    };
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x-$(context.pipelineRun.uid)}\nspec: {replicas: 0, selector: \
                      {matchLabels: {test-dependencies: other}}, template: {metadata: {labels: {test-dependencies: other}}, spec: {containers: []}}}\n";
    let role_ref = "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}\n";
    let binding = object("rbac.authorization.k8s.io/v1\nkind: RoleBinding", "");
    vec![
        ("rbac", object("rbac.authorization.k8s.io/v1\nkind: Role", "")),
        (
            "rbac",
            format!(
                "{binding}{role_ref}subjects: [{{kind: Group, name: 'system:authenticated', apiGroup: rbac.authorization.k8s.io}}]\n"
            ),
        ),
        ("rbac", object("rbac.authorization.k8s.io/v1\nkind: ClusterRole", "")),
        ("service-accounts", object("v1\nkind: ServiceAccount", "")),
        (
            "service-accounts",
            object(
                "v1\nkind: Secret\ntype: kubernetes.io/service-account-token",
                ", annotations: {kubernetes.io/service-account.name: default}",
            ),
        ),
        ("webhooks", object("admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration", "")),
        ("cluster-scoped", object("scheduling.k8s.io/v1\nkind: PriorityClass", "") + "value: 1\n"),
        ("namespace", object("v1\nkind: ConfigMap", &format!(", namespace: {elsewhere}"))),
        ("run-label", object("v1\nkind: ConfigMap", ", labels: {test-dependencies: other}")),
        ("run-label", deployment.into()),
    ]
}

#[test]
fn each_refusal_names_what_opens_it_and_leaves_no_object() {
    let namespace = Namespace::new("strangers");
    let elsewhere = Namespace::new("elsewhere");
    let folder = &namespace.folder;
    let run_id = run_id();
    for (name, manifest) in hostile_pods().into_iter().chain(hostile_objects(&elsewhere.name)) {
        folder.file("m.yaml", &format!("{FIRST}---\n{manifest}"));
        for command in [
            &["up", "m.yaml", "--run-id", &run_id][..],
            &["run", "m.yaml", "--run-id", &run_id, "--", "true"],
        ] {
            folder
                .call(command)
                .fails(2)
                .says("m.yaml: document 2 (line 5): ")
                .says(&format!("--allow {name}"));
        }
    }
    let made = [&namespace, &elsewhere].map(|namespace| namespace.labelled("test-dependencies"));
    assert_eq!(made, [Vec::<String>::new(), Vec::new()]);
    let kinds = "priorityclasses,clusterroles,validatingwebhookconfigurations";
    assert_eq!(kubectl(&["get", kinds, "-o", "name", "-l", &format!("test-dependencies={run_id}")]), "");
}

/// Somebody who trusts the manifest opens it by name: the objects are made, and go with the run.
#[test]
fn what_is_allowed_by_name_is_made_and_removed() {
    let namespace = Namespace::new("trusted");
    let elsewhere = Namespace::new("beside");
    namespace.kubectl(&["create", "serviceaccount", "default-of-another"]);
    let folder = &namespace.folder;
    let run_id = run_id();
    let objects = hostile_objects(&elsewhere.name);
    // The first of each name; a pod that the test cluster's node cannot give its SELinux type is for the
    // refusal alone.
    let mut pods = hostile_pods();
    pods.retain(|(_, manifest)| !manifest.contains("spc_t"));
    let names = ["service-accounts", "webhooks", "cluster-scoped", "namespace"];
    let others =
        names.map(|name| objects.iter().find(|(known, _)| *known == name).expect("one of this name"));
    let texts: Vec<&str> = pods
        .iter()
        .map(|(_, text)| text.as_str())
        .chain(others.iter().map(|(_, text)| text.as_str()))
        .collect();
    folder.file("m.yaml", &texts.join("---\n"));
    let mut allowed: Vec<&str> = pods.iter().map(|(name, _)| *name).chain(names).collect();
    allowed.dedup();
    folder.call(&["up", "m.yaml", "--run-id", &run_id, "--allow", &allowed.join(",")]).ok();
    let selector = format!("test-dependencies={run_id}");
    assert_eq!(
        namespace.kubectl(&["get", "pods", "-o", "name", "-l", &selector]).lines().count(),
        pods.len()
    );
    assert_eq!(elsewhere.of_run(&run_id), [format!("configmap/x-{run_id}")]);
    let of_cluster = || {
        kubectl(&["get", "priorityclasses,validatingwebhookconfigurations", "-o", "name", "-l", &selector])
    };
    assert_eq!(of_cluster().lines().count(), 2, "{}", of_cluster());
    folder.call(&["down", "--run-id", &run_id]).ok();
    assert_eq!(
        (namespace.of_run(&run_id), elsewhere.of_run(&run_id), of_cluster()),
        (Vec::new(), Vec::new(), String::new())
    );
}

/// With the name that opens it, another run's label is replaced by this run's own: nothing of the other run
/// is ever touched.
#[test]
fn another_runs_label_is_replaced() {
    let namespace = Namespace::new("label");
    let folder = &namespace.folder;
    folder.file("other.yaml", &FIRST.replace("first", "other"));
    folder.call(&["up", "other.yaml", "--run-id", "other"]).ok();
    folder.file("m.yaml", &FIRST.replace("uid)}", "uid), labels: {test-dependencies: other}}"));
    folder.call(&["up", "m.yaml", "--run-id", "run-1", "--allow", "run-label"]).ok();
    assert_eq!(namespace.of_run("run-1"), ["configmap/first-run-1"]);
    folder.call(&["down", "--run-id", "run-1"]).ok();
    assert_eq!(
        (namespace.of_run("run-1"), namespace.of_run("other")),
        (Vec::new(), vec!["configmap/other-other".to_owned()])
    );
}

/// Pods get no token of the API unless the manifest wants one.
#[test]
fn pods_get_no_token_unless_the_manifest_says_so() {
    let namespace = Namespace::new("token");
    let folder = &namespace.folder;
    let sleeps = |name: &str, spec: &str| {
        let text = pod(name, spec, "command: [sleep, '600']");
        text.replace("docker.io/local/pause:1", "python:3.11")
    };
    folder.file(
        "m.yaml",
        &format!("{}---\n{}", sleeps("without", ""), sleeps("with", "automountServiceAccountToken: true, ")),
    );
    folder.call(&["up", "m.yaml", "--run-id", "run-1", "--allow", "service-accounts"]).ok();
    let has_token = |name: &str| {
        let file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
        kubectl_output(&["-n", &namespace.name, "exec", name, "--", "test", "-e", file], None)
            .status
            .success()
    };
    assert_eq!((has_token("without-run-1"), has_token("with-run-1")), (false, true));
}
