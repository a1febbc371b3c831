//! kubectl and testbed on the same manifests: what one takes, the other takes as well, and both send the same.

use std::path::Path;

use serde_json::{Value, json};
use testbed::manifest::ours;

use crate::harness::{Namespace, kubectl_output, run_id};

/// The manifests of `tests/manifests` that are refused by nobody and name no variable of testbed's.
fn plain() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| {
            let expected =
                std::fs::read_to_string(path.with_extension("expected")).expect("what is expected");
            !expected.contains("error: ")
        })
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).expect("the manifest")))
        .filter(|(_, text)| ours::template(text, |document| document.contains("$(context.")).is_none())
        .collect()
}

/// The objects as the API server would keep them, without what testbed and the server add to each.
fn objects(namespace: &Namespace, text: &[u8], whose: &str) -> Vec<Value> {
    let args = ["-n", &namespace.name, "apply", "--dry-run=server", "-o", "json", "-f", "-"];
    let output = kubectl_output(&args, Some(text));
    assert!(output.status.success(), "{whose}: {}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let items = read["items"].as_array().cloned().unwrap_or_else(|| vec![read]);
    items.iter().map(own).collect()
}

fn own(object: &Value) -> Value {
    let spec = &object["spec"];
    let pod = [&spec["jobTemplate"]["spec"]["template"]["spec"], &spec["template"]["spec"], spec];
    let mut containers =
        pod.into_iter().find(|spec| spec["containers"].is_array()).unwrap_or(&Value::Null)["containers"]
            .clone();
    for container in containers.as_array_mut().into_iter().flatten() {
        // The token that testbed leaves out.
        if let Some(mounts) = container["volumeMounts"].as_array_mut() {
            mounts.retain(|mount| {
                !mount["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access"))
            });
            if mounts.is_empty() {
                container["volumeMounts"] = Value::Null;
            }
        }
        if let Some(container) = container.as_object_mut() {
            container.retain(|_, value| !value.is_null());
        }
    }
    // The server makes up that of a Job.
    let selector = if object["kind"] == "Job" { &Value::Null } else { &spec["selector"] };
    json!({
        "kind": object["kind"], "name": object["metadata"]["name"], "data": object["data"],
        "selector": selector, "ports": spec["ports"], "containers": containers,
    })
}

#[test]
fn what_kubectl_takes_testbed_takes_and_sends_the_same() {
    let namespace = Namespace::new("corpus");
    let plain = plain();
    assert!(plain.len() >= 60, "{}", plain.len());
    for (name, text) in plain {
        let rendered = namespace.folder.call(&["render", &name, "--run-id", &run_id()]).ok().stdout;
        assert_eq!(
            objects(&namespace, rendered.as_bytes(), &name),
            objects(&namespace, text.as_bytes(), &name),
            "{name}"
        );
    }
}

/// What Kustomize prints is a manifest like any other.
#[test]
fn a_kustomization_is_piped_in() {
    let namespace = Namespace::new("kustomize");
    let folder = &namespace.folder;
    let read = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name))
            .expect("the manifest")
    };
    folder.file("db.yaml", &read("deployment.yaml"));
    folder.file(
        "kustomization.yaml",
        "resources: [db.yaml]\nnamePrefix: dev-\nlabels: [{pairs: {team: a}, includeSelectors: true}]\n\
         secretGenerator: [{name: more, literals: [a=b]}]\nimages: [{name: postgres, newTag: '16'}]\n",
    );
    let path = folder.path().display().to_string();
    folder.call(&["render", "."]).fails(2).says("hint: pipe it in: kubectl kustomize . | testbed up -");
    let built = kubectl_output(&["kustomize", &path], None);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let text = String::from_utf8(built.stdout).expect("UTF-8");
    let rendered = folder.call_with_input(&["render", "-", "--run-id", &run_id()], &text).ok().stdout;
    assert_eq!(
        objects(&namespace, rendered.as_bytes(), "testbed"),
        objects(&namespace, text.as_bytes(), "kubectl")
    );
}

/// A Secret that is in the cluster alone tells that a container of an image of one's own is a database.
#[test]
fn a_secret_of_the_cluster_tells_of_a_database() {
    let namespace = Namespace::new("told");
    namespace.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: pg-login}\nstringData: {POSTGRES_PASSWORD: p, POSTGRES_DB: shop}\n");
    let id = run_id();
    namespace.folder.file(
        "m.yaml",
        &format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: pg-{id}}}\nspec: {{selector: {{app: pg-{id}}}, ports: [{{port: 5432}}]}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: pg-{id}, labels: {{app: pg-{id}}}}}\nspec:\n  containers:\n  \
             - {{name: db, image: registry.invalid/our-db:1, envFrom: [{{secretRef: {{name: pg-login}}}}]}}\n"
        ),
    );
    // The image is nowhere, so the database is waited for in vain: it was found.
    namespace
        .folder
        .call(&["up", "m.yaml", "--run-id", &id, "--timeout", "3s", "--on-failure", "delete"])
        .ends(3)
        .says("pg: ");
}
