//! A policy of the cluster that denies a pod: a real admission webhook, for one namespace only.

use std::process::Command;

use super::screen::Up;
use super::{client_image, mysql, stateful_set};
use crate::harness::{Namespace, kubectl, kubectl_output};
use crate::support::Folder;

const WEBHOOK: &str = include_str!("../manifests/failures/webhook.yaml");

/// The webhook's configuration belongs to the whole cluster, so that it does not go with the namespace.
struct Configuration<'a>(&'a str);

impl Drop for Configuration<'_> {
    fn drop(&mut self) {
        kubectl_output(&["delete", "validatingwebhookconfiguration", self.0, "--ignore-not-found"], None);
    }
}

#[test]
fn an_admission_webhook_that_denies_the_pod() {
    let namespace = Namespace::new("webhook");
    let name = namespace.name.as_str();
    let _configuration = Configuration(name);
    let folder = Folder::new();
    let addresses = kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].status.addresses[?(@.type==\"InternalIP\")].address}"]);
    let names: Vec<String> = addresses.split_whitespace().map(|address| format!("IP:{address}")).collect();
    let subject = format!("subjectAltName={}", names.join(","));
    let args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=denier", "-keyout", "key", "-out", "crt"];
    let output = Command::new("openssl").args(args).args(["-addext", &subject]).current_dir(folder.path()).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = |file: &str| folder.path().join(file).display().to_string();
    namespace.kubectl(&["create", "secret", "tls", "denier", "--cert", &path("crt"), "--key", &path("key")]);
    let authority = namespace.kubectl(&["get", "secret", "denier", "-o", "jsonpath={.data.tls\\.crt}"]);
    kubectl(&["label", "namespace", name, &format!("webhook-of={name}")]);
    let (pod, webhook) = WEBHOOK.split_once("---\n").unwrap();
    namespace.apply(&pod.replace("IMAGE", &client_image()));
    let log = namespace.kubectl_until(&["logs", "denier"], |text| text.starts_with("port "));
    let port = log.trim_start_matches("port ").lines().next().unwrap();
    let host = namespace.kubectl(&["get", "pod", "denier", "-o", "jsonpath={.status.hostIP}"]);
    let webhook = webhook.replace("ADDRESS", &format!("{host}:{port}"));
    namespace.apply(&webhook.replace("NAMESPACE", name).replace("AUTHORITY", &authority));
    // The API server takes a moment to know a new webhook.
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: probe, labels: {deny: x}}\nspec: {containers: [{name: a, image: a}]}\n";
    namespace.kubectl_until_it_says(&["create", "--dry-run=server", "-f", "-"], Some(pod.as_bytes()), |_, error| {
        error.contains("denied the request")
    });

    let labelled = |manifest: &str| manifest.replace("labels: {db:", "labels: {deny: x, db:");
    let manifest = mysql("pod", "");
    let plain = Up::start(&namespace, &labelled(&manifest), &[]);
    let behind = Up::start(&namespace, &labelled(&stateful_set(&manifest)), &[]);
    insta::assert_snapshot!("webhook", plain.screen());
    insta::assert_snapshot!("webhook-behind-a-stateful-set", behind.screen());
}
