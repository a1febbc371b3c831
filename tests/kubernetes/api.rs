//! The API server of the cluster under test, asked without a process for each question.

use std::sync::OnceLock;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::harness::{is_built_here, kubeconfig};

/// Where the objects of a namespace are that a test looks at: the group and version, the resource, and the
/// kind as kubectl writes it. What makes others of these comes before them, so that what is deleted in this
/// order does not come again.
const KINDS: [(&str, &str, &str); 14] = [
    ("apis/apps/v1", "deployments", "deployment.apps"),
    ("apis/apps/v1", "statefulsets", "statefulset.apps"),
    ("apis/apps/v1", "daemonsets", "daemonset.apps"),
    ("apis/apps/v1", "replicasets", "replicaset.apps"),
    ("api/v1", "replicationcontrollers", "replicationcontroller"),
    ("apis/batch/v1", "cronjobs", "cronjob.batch"),
    ("apis/batch/v1", "jobs", "job.batch"),
    ("apis/autoscaling/v2", "horizontalpodautoscalers", "horizontalpodautoscaler.autoscaling"),
    ("api/v1", "pods", "pod"),
    ("api/v1", "services", "service"),
    ("api/v1", "secrets", "secret"),
    ("api/v1", "configmaps", "configmap"),
    ("api/v1", "persistentvolumeclaims", "persistentvolumeclaim"),
    ("apis/apps/v1", "controllerrevisions", "controllerrevision.apps"),
];

/// What a Tekton would make pods for again.
const TEKTON: [(&str, &str); 2] =
    [("apis/tekton.dev/v1", "pipelineruns"), ("apis/tekton.dev/v1", "taskruns")];

/// What else a test leaves that others would come across.
const OTHERS: [(&str, &str); 1] = [("apis/coordination.k8s.io/v1", "leases")];

pub struct Api {
    runtime: Runtime,
    client: Client,
}

impl Api {
    pub fn get() -> &'static Self {
        static API: OnceLock<Api> = OnceLock::new();
        API.get_or_init(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let client = runtime.block_on(async {
                let file = Kubeconfig::read_from(kubeconfig()).expect("the kubeconfig");
                let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .expect("a configuration");
                Client::try_from(config).expect("a client")
            });
            Self { runtime, client }
        })
    }

    /// Makes a namespace in which pods can be made: with its default ServiceAccount.
    pub fn create_namespace(&self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.ask("POST", "api/v1/namespaces", &namespace).expect("a new namespace");
        // The answer ends with the watch's own time, or with the first line of it.
        let watch = format!(
            "api/v1/namespaces/{name}/serviceaccounts?watch=1&fieldSelector=metadata.name%3Ddefault&timeoutSeconds=60"
        );
        let request = http::Request::get(format!("/{watch}")).body(Vec::new()).expect("a request");
        let made = self.runtime.block_on(async {
            let lines = self.client.request_stream(request).await.expect("a watch");
            futures::io::AsyncBufReadExt::read_line(&mut Box::pin(lines), &mut String::new())
                .await
                .expect("a line")
        });
        assert!(made > 0, "the namespace {name} never gets its default ServiceAccount");
    }

    /// Deletes a namespace; in the cluster that `make cluster` builds, which goes as a whole, what is in it:
    /// the controller asks the API server 115 times to delete an empty one.
    pub fn delete_namespace(&self, name: &str) {
        if !is_built_here() {
            self.delete(&format!("api/v1/namespaces/{name}"));
            return;
        }
        let kinds = TEKTON
            .into_iter()
            .chain(KINDS.iter().map(|(group, resource, _)| (*group, *resource)))
            .chain(OTHERS);
        for (group, resource) in kinds {
            self.delete(&format!("{group}/namespaces/{name}/{resource}"));
        }
    }

    /// Names of what a label selector finds in a namespace; of everything there is, if it is empty.
    pub fn names(&self, namespace: &str, selector: &str) -> Vec<String> {
        let selector: String = url::form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        let of_kind = |(group, resource, kind): &(&str, &str, &str)| -> Vec<String> {
            let list = self.ask(
                "GET",
                &format!("{group}/namespaces/{namespace}/{resource}?labelSelector={selector}"),
                &Value::Null,
            );
            let list = list.unwrap_or_else(|error| panic!("{resource} of {namespace}: {error}"));
            let items = list["items"].as_array().expect("a list").iter();
            items
                .map(|item| format!("{kind}/{}", item["metadata"]["name"].as_str().expect("a name")))
                .collect()
        };
        KINDS.iter().flat_map(of_kind).collect()
    }

    /// What is not there need not be deleted; neither need what may not be by this user.
    fn delete(&self, path: &str) {
        let _ = self.ask("DELETE", path, &Value::Null);
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/{path}"))
            .header("Content-Type", "application/json");
        self.runtime.block_on(self.client.request(request.body(body).expect("a request")))
    }
}
