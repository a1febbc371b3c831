//! PipelineRuns to belong to, on a cluster without Tekton: a definition of their kind, and nobody who carries
//! them out. Whether a cluster has a Tekton of its own.

use serde_json::{Value, json};

use crate::harness::{Namespace, kubectl_output};
use crate::tekton::definitions::of_pipeline_runs;

/// Whether the cluster has a Tekton of its own, which carries PipelineRuns out.
pub fn are_carried_out() -> bool {
    let has = |args: &[&str]| kubectl_output(&[&["get", "crd", "-o", "name"], args].concat(), None).stdout;
    let is_ours = || {
        !has(&["-l", "testbed/stand-in=true", "--field-selector", "metadata.name=pipelineruns.tekton.dev"])
            .is_empty()
    };
    !has(&["--ignore-not-found", "pipelineruns.tekton.dev"]).is_empty() && !is_ours()
}

/// Sees to it that the cluster has the kind, and leaves it there: any number of tests may do so at once.
/// `false`, and a word about it, on a cluster with a Tekton of its own, which would carry stand-ins out.
pub fn install() -> bool {
    if are_carried_out() {
        eprintln!("skipped: this cluster has PipelineRuns that are carried out");
        return false;
    }
    define(&of_pipeline_runs());
    true
}

/// Sees to it that the cluster has a kind.
pub fn define(definition: &Value) {
    let name = definition["metadata"]["name"].as_str().expect("a name");
    let mut error = String::new();
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let wait = ["wait", "--for=condition=established", "--timeout=60s", &format!("crd/{name}")];
    // Somebody who does the same at the same time can come in between, and kubectl does not wait for the conditions of
    // an object that has none yet.
    for _ in 0..20 {
        let mut output = kubectl_output(&apply, Some(definition.to_string().as_bytes()));
        if output.status.success() {
            output = kubectl_output(&wait, None);
        }
        if output.status.success() {
            return;
        }
        error = String::from_utf8_lossy(&output.stderr).into_owned();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{name} cannot be defined: {error}");
}

/// The stand-ins of a namespace.
pub struct PipelineRuns<'a>(pub &'a Namespace);

impl PipelineRuns<'_> {
    /// Makes one that runs, and returns its UID.
    pub fn create(&self, name: &str) -> String {
        let manifest = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": name}, "spec": {}});
        self.0.apply(&manifest.to_string());
        self.0.kubectl(&["get", "pipelineruns.tekton.dev", name, "-o", "jsonpath={.metadata.uid}"])
    }

    /// Lets it have finished at a time, in RFC 3339.
    pub fn finish(&self, name: &str, when: &str) {
        let conditions = json!([{"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": when}]);
        self.tell(name, &json!({"completionTime": when, "conditions": conditions}));
    }

    /// Lets it say something of itself, as Tekton's controller does for it.
    pub fn tell(&self, name: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        self.0.kubectl(&[
            "patch",
            "pipelineruns.tekton.dev",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }

    /// Deletes it, as whoever prunes old PipelineRuns does.
    pub fn delete(&self, name: &str) {
        self.0.kubectl(&["delete", "pipelineruns.tekton.dev", name]);
    }

    /// Deletes it while a finalizer keeps it, as that of Tekton Results does.
    pub fn delete_and_keep(&self, name: &str) {
        self.0.kubectl(&[
            "patch",
            "pipelineruns.tekton.dev",
            name,
            "--type=merge",
            "-p",
            r#"{"metadata": {"finalizers": ["example.com/hold"]}}"#,
        ]);
        self.0.kubectl(&["delete", "pipelineruns.tekton.dev", name, "--wait=false"]);
    }

    /// Lets one go that was kept.
    pub fn let_go(&self, name: &str) {
        self.0.kubectl(&[
            "patch",
            "pipelineruns.tekton.dev",
            name,
            "--type=merge",
            "-p",
            r#"{"metadata": {"finalizers": null}}"#,
        ]);
    }

    /// Waits until the cluster's garbage collector knows the kind: it learns about new ones twice a minute,
    /// and removes nothing of an owner of a kind that it does not know.
    pub fn wait_for_the_collector(&self) {
        let uid = self.create("trial");
        let owner =
            json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "trial", "uid": uid}]);
        let owned = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trial", "ownerReferences": owner}});
        self.0.apply(&owned.to_string());
        self.delete("trial");
        self.0.kubectl_until_within(
            120,
            &["get", "configmap", "trial", "--ignore-not-found", "-o", "name"],
            str::is_empty,
        );
    }
}
