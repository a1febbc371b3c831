//! What the API server would refuse, and what pods refer to in vain.

use serde_json::json;

use super::{Found, remedy};
use crate::harness::Namespace;
use crate::proxy::Altering;
use crate::support::Folder;

fn pod(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: x}}}}\nspec: {spec}\n---\n")
}

const FIT: &str = "{containers: [{name: a, image: 'python:3.11'}]}";

#[test]
fn refusals_are_told_in_the_servers_words() {
    let namespace = Namespace::new("refusals");
    let folder = &namespace.folder;
    namespace
        .apply("apiVersion: v1\nkind: LimitRange\nmetadata: {name: small}\nspec: {limits: [{type: Container, max: {memory: 64Mi}}]}\n");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: db.run-1}\nspec: {selector: {app: x}, ports: [{port: 1}]}\n---\n";
    let widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w-run-1}\n---\n";
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-run-1}\nspec:\n  selector: {matchLabels: {app: z}}\n  template:\n    \
                    metadata: {labels: {app: z}}\n    spec: {containers: [{name: a, image: 'python:3.11', resources: {limits: {memory: 1Gi}}}]}\n---\n";
    let bad =
        pod("bad-run-1", "{containers: [{name: NOT_A_NAME, image: 'python:3.11', env: [{name: SOME_TOKEN, value: NOT_A_NAME_EITHER}]}]}")
            .replace("app: x", "app: NOT_A_NAME_EITHER!");
    folder.file("m.yaml", &[&pod("good-run-1", FIT), &bad, service, widget, template].concat());
    let found = Found::look(&namespace, folder, &["m.yaml", "--run-id", "run-1"]);
    // What may be a secret is not told.
    let problem = found.one("problem", "dry-run", &["trying to create it: ", "NOT_A_NAME", "***!"]);
    assert_eq!(problem["object"], "Pod bad-run-1");
    assert!(!found.called.stdout.contains("NOT_A_NAME_EITHER"));
    let problem = found.one(
        "problem",
        "limits",
        &["trying to create a pod of its template: a LimitRange of the namespace", "64Mi"],
    );
    assert_eq!(problem["object"], "Deployment app-run-1");
    assert!(remedy(problem).contains("describe limitrange"));
    let problem = found.one("problem", "names", &["the Service's name db.run-1 cannot be one of DNS"]);
    assert_eq!(problem["object"], "Service db.run-1");
    assert!(remedy(problem).contains("'-' in place of each dot"));
    assert_eq!(
        found.one("problem", "kinds", &["the cluster has no kind Widget in example.com/v1"])["object"],
        "Widget w-run-1"
    );
    // The pod without a fault, and the Deployment, whose own pods nobody asks about at once.
    found.one("ok", "dry-run", &["2 of 5 objects"]);
}

#[test]
fn what_pods_refer_to_in_vain() {
    let namespace = Namespace::new("refer");
    let folder = &namespace.folder;
    namespace.kubectl(&["create", "configmap", "there"]);
    let spec = "{imagePullSecrets: [{name: pull}], serviceAccountName: robot, runtimeClassName: gvisor, \
                volumes: [{name: v, configMap: {name: there}}, {name: w, persistentVolumeClaim: {claimName: data}}], containers: [{name: a, image: 'python:3.11'}]}";
    folder.file("m.yaml", &pod("a-run-1", spec));
    let found =
        Found::look(&namespace, folder, &["m.yaml", "--run-id", "run-1", "--allow", "service-accounts"]);
    let named: Vec<&str> = found
        .all("problem", "references")
        .iter()
        .map(|problem| problem["object"].as_str().unwrap())
        .collect();
    assert_eq!(
        named,
        ["PersistentVolumeClaim data", "RuntimeClass gvisor", "Secret pull", "ServiceAccount robot"]
    );
    // An account that comes along is there before the pod.
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot-run-1}\n";
    folder.file(
        "m.yaml",
        &(pod(
            "a-run-1",
            &FIT.replace('{', "{serviceAccountName: robot-run-1, ").replacen(
                "[{serviceAccountName: robot-run-1, ",
                "[{",
                1,
            ),
        ) + account),
    );
    let found =
        Found::look(&namespace, folder, &["m.yaml", "--run-id", "run-1", "--allow", "service-accounts"]);
    found.one("skipped", "dry-run", &["its ServiceAccount is in the manifest"]);
    found.is_well(&["dry-run", "rights"]);
}

/// Webhooks that came into a cluster of before 1.22 may have side effects, and are not called for a dry run
/// then. No server of today takes such a webhook any more, only keep it, so that its refusal is put in the
/// place of an answer.
#[test]
fn a_webhook_that_takes_no_dry_run_is_no_problem() {
    let refusal = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "BadRequest", "code": 400,
        "message": "admission webhook \"effects.example.com\" does not support dry run",
    });
    let refusal = refusal.to_string();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{refusal}",
        refusal.len()
    );
    // The API server says of a PUT, and of nothing else here, that the method is not allowed.
    let altering = Altering::start(
        |head| match head.starts_with("POST ") && head.contains("/pods?") && head.contains("dryRun=All") {
            true => head.replacen("POST", "PUT", 1),
            false => head.to_owned(),
        },
        move |head| if head.starts_with("HTTP/1.1 405") { answer.clone() } else { head.to_owned() },
    );
    let namespace = Namespace::new("sideeffects");
    let config = Folder::new();
    let folder = namespace.folder_as(&altering.kubeconfig(&config));
    let found = Found::look(&namespace, &folder, &["--with", "postgres", "--run-id", "run-1"]);
    let skipped = found.one("skipped", "dry-run", &["the webhook effects.example.com takes no dry run"]);
    assert_eq!(skipped["object"], "Pod postgres-run-1");
    found.is_well(&["dry-run", "quota"]);
}
