//! A policy of the cluster that denies a pod: a real admission webhook, for one namespace only.

use super::screen::Up;
use super::{mysql, stateful_set};
use crate::admission::Webhook;
use crate::harness::Namespace;

const WEBHOOK: &str = include_str!("../manifests/failures/webhook.yaml");

#[test]
fn an_admission_webhook_that_denies_the_pod() {
    let namespace = Namespace::new("webhook");
    let _webhook = Webhook::start(&namespace, WEBHOOK);
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
