//! Namespaces whose Pod Security level does not allow the plan's pods, as testbed reads labels and pods
//! itself: it says what each container needs before anything is created, and the API server agrees
//! (`dry-run`).

use super::{Found, remedy};
use crate::harness::{Namespace, kubectl};

fn label(namespace: &Namespace, labels: &[&str]) {
    let labels: Vec<String> =
        labels.iter().map(|label| format!("pod-security.kubernetes.io/{label}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    kubectl(&[&["label", "--overwrite", "namespace", namespace.name.as_str()], labels.as_slice()].concat());
}

const OWN: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-run-1}\nspec:\n  selector: {matchLabels: {app: x}}\n  template:\n    \
                   metadata: {labels: {app: x}}\n    spec:\n      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}\n      \
                   containers: [{name: a, image: 'python:3.11', securityContext: {allowPrivilegeEscalation: false, capabilities: CAPABILITIES}}]\n";

#[test]
fn a_restricted_namespace_and_a_template_that_is_not() {
    let namespace = Namespace::new("restricted");
    let folder = &namespace.folder;
    label(&namespace, &["enforce=restricted"]);
    let found = Found::look(&namespace, folder, &["--with", "postgres", "--run-id", "run-1"]);
    let parts = [
        format!("namespace {} enforces restricted: ", namespace.name),
        "container postgres needs runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities.drop: [ALL], seccompProfile.type: RuntimeDefault".into(),
    ];
    let problem = found.one("problem", "pod-security", &[&parts[0], &parts[1]]);
    assert_eq!(problem["object"], "Pod postgres-run-1");
    assert!(remedy(problem).starts_with("pass --param profile=restricted"));
    // The remedy helps, with every engine.
    let all = ["--with", "postgres", "--with", "mysql", "--with", "mariadb", "--param", "profile=restricted"];
    Found::look(&namespace, folder, &all).is_well(&["pod-security", "dry-run"]);

    folder.file("m.yaml", &OWN.replace("CAPABILITIES", "{drop: [ALL], add: [CHOWN]}"));
    let found = Found::look(&namespace, folder, &["m.yaml", "--run-id", "run-1"]);
    let problem = found.one("problem", "pod-security", &["container a needs capabilities.add without CHOWN"]);
    assert_eq!(problem["object"], "Deployment app-run-1");
    assert!(
        remedy(problem).starts_with(
            "set that under securityContext in m.yaml: document 1 (line 1): Deployment app-run-1"
        )
    );
    folder.file("m.yaml", &OWN.replace("CAPABILITIES", "{drop: [ALL]}"));
    Found::look(&namespace, folder, &["m.yaml", "--run-id", "run-1"]).is_well(&["pod-security"]);

    // The rules of an older version, and a level that only warns.
    label(&namespace, &["enforce=restricted", "enforce-version=v1.18", "warn=restricted"]);
    let found = Found::look(&namespace, folder, &["--with", "postgres"]);
    found.one(
        "problem",
        "pod-security",
        &["container postgres needs runAsNonRoot: true, allowPrivilegeEscalation: false"],
    );
    found.one("warning", "pod-security", &["warns below restricted", "capabilities.drop"]);
}

#[test]
fn a_baseline_namespace_and_a_manifest_that_is_trusted_with_more() {
    let namespace = Namespace::new("baseline");
    let folder = &namespace.folder;
    label(&namespace, &["enforce=baseline"]);
    Found::look(&namespace, folder, &["--with", "postgres"]).is_well(&["pod-security"]);
    folder.file("m.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a-run-1}\nspec: {hostPID: true, containers: [{name: a, image: 'python:3.11', securityContext: {privileged: true}}]}\n");
    let args = ["m.yaml", "--run-id", "run-1"];
    let found = Found::look(&namespace, folder, &args);
    found.one(
        "problem",
        "pod-security",
        &["enforces baseline: its pod uses the node's own namespace (hostPID); container a is privileged"],
    );
    // Unless it is trusted, testbed itself does not make it.
    let problem =
        found.one("problem", "policy", &["(hostPID), which is refused", "container a is privileged"]);
    assert!(remedy(problem).contains("--allow host-namespaces,privileged"));
    let found =
        Found::look(&namespace, folder, &[&args[..], &["--allow", "host-namespaces,privileged"]].concat());
    assert!(found.all("problem", "policy").is_empty());
    found.one("problem", "pod-security", &["container a is privileged"]);
}
