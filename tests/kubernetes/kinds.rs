//! Kinds beyond Pods and Services: created, waited for, and gone afterwards.

use crate::harness::{Namespace, kubectl, kubectl_output, run_id};

#[test]
fn every_kind_of_a_run_comes_and_goes() {
    let namespace = Namespace::new("kinds");
    let folder = &namespace.folder;
    folder.file("kinds.yaml", include_str!("manifests/kinds.yaml"));
    let run_id = run_id();
    folder.call(&["up", "kinds.yaml", "--run-id", &run_id, "--param", "greeting=hello"]).ok();
    let config = folder.read("testing-databases.json");
    assert!(
        config.contains(&format!("\"host\": \"app-{run_id}\""))
            && config.contains(&format!("\"host\": \"set-{run_id}\"")),
        "{config}"
    );
    let made = namespace.of_run(&run_id);
    for kind in [
        "configmap/",
        "secret/",
        "persistentvolumeclaim/",
        "deployment.apps/",
        "replicaset.apps/",
        "statefulset.apps/",
        "job.batch/",
    ] {
        assert!(made.iter().any(|name| name.starts_with(kind)), "{kind} is not in {made:?}");
    }
    // Ready means for a Job that it is done, and for the others that their pods are ready.
    // (The Job itself says so once its controller has counted.)
    let pods = namespace.json(&["pods", "-l", &format!("job-name=migrate-{run_id}")]);
    assert_eq!(pods["items"][0]["status"]["phase"], "Succeeded", "{pods:#}");
    folder.call(&["down"]).ok();
    assert_eq!(namespace.of_run(&run_id), Vec::<String>::new());
}

#[test]
fn custom_kinds_are_found_by_discovery() {
    let namespace = Namespace::new("custom");
    let folder = &namespace.folder;
    let group = format!("{}.example.com", namespace.name);
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: widgets.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  \
         names: {{plural: widgets, singular: widget, kind: Widget}}\n  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]\n"
    );
    let definition_name = format!("crd/widgets.{group}");
    namespace.apply(&definition);
    kubectl(&["wait", "--for=condition=established", &definition_name]);
    folder.file("m.yaml", &format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: w-run-1}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-run-1}}\n"));
    let up = folder.call(&["up", "m.yaml", "--run-id", "run-1"]);
    let made = namespace.kubectl(&["get", &format!("widgets.{group}"), "-o", "name"]);
    // Neither Pod nor Service is left to tell the kinds: the ConfigMap does.
    let down = folder.call(&["down"]);
    let left = namespace.kubectl(&["get", &format!("widgets.{group}"), "-o", "name"]);
    kubectl_output(&["delete", &definition_name, "--wait=false"], None);
    up.ok();
    down.ok().says("2 objects");
    assert_eq!((made, left), (format!("widget.{group}/w-run-1\n"), String::new()));
}
