//! Admission webhooks of a test's own: a real server in a pod of the namespace, which the API server asks
//! about that namespace's objects alone.

use std::process::Command;

use crate::harness::{Namespace, OfCluster, client_image, kubectl};
use crate::support::Folder;

/// A webhook, whose configuration belongs to the whole cluster.
pub struct Webhook {
    _configuration: OfCluster,
}

impl Webhook {
    /// Starts what a manifest describes: a pod called `webhook`, which prints `port N`, and a configuration.
    /// IMAGE, ADDRESS, AUTHORITY and NAMESPACE in it are filled in. The API server may take a moment to know
    /// of it.
    pub fn start(namespace: &Namespace, manifest: &str) -> Self {
        let kinds = if manifest.contains("kind: Mutating") {
            "mutatingwebhookconfiguration"
        } else {
            "validatingwebhookconfiguration"
        };
        let webhook = Self { _configuration: OfCluster { kinds, name: namespace.name.clone() } };
        let authority = certify(namespace);
        kubectl(&["label", "namespace", &namespace.name, &format!("webhook-of={}", namespace.name)]);
        let (pod, configuration) = manifest.split_once("---\n").expect("a pod and a configuration");
        namespace.apply(&pod.replace("IMAGE", &client_image()));
        let log = namespace.kubectl_until(&["logs", "webhook"], |text| text.starts_with("port "));
        let port = log.trim_start_matches("port ").lines().next().unwrap_or_default();
        let host = namespace.kubectl(&["get", "pod", "webhook", "-o", "jsonpath={.status.hostIP}"]);
        let configuration = configuration.replace("ADDRESS", &format!("{host}:{port}"));
        namespace
            .apply(&configuration.replace("NAMESPACE", &namespace.name).replace("AUTHORITY", &authority));
        webhook
    }
}

/// Puts a certificate for the nodes' addresses into the Secret `webhook`, and returns it.
fn certify(namespace: &Namespace) -> String {
    let folder = Folder::new();
    let addresses = kubectl(&[
        "get",
        "nodes",
        "-o",
        "jsonpath={.items[*].status.addresses[?(@.type==\"InternalIP\")].address}",
    ]);
    let names: Vec<String> = addresses.split_whitespace().map(|address| format!("IP:{address}")).collect();
    let subject = format!("subjectAltName={}", names.join(","));
    let args = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=webhook",
        "-keyout",
        "key",
        "-out",
        "crt",
    ];
    let output = Command::new("openssl")
        .args(args)
        .args(["-addext", &subject])
        .current_dir(folder.path())
        .output()
        .expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = |file: &str| folder.path().join(file).display().to_string();
    namespace.kubectl(&["create", "secret", "tls", "webhook", "--cert", &path("crt"), "--key", &path("key")]);
    namespace.kubectl(&["get", "secret", "webhook", "-o", "jsonpath={.data.tls\\.crt}"])
}
