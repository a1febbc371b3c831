//! A policy of the cluster that denies a pod: a real admission webhook, for one namespace only.

use super::screens_of_denied_pods;
use crate::admission::Webhook;
use crate::harness::Namespace;

const WEBHOOK: &str = include_str!("../manifests/failures/webhook.yaml");

#[test]
fn an_admission_webhook_that_denies_the_pod() {
    let namespace = Namespace::new("webhook");
    let _webhook = Webhook::start(&namespace, WEBHOOK);
    let [plain, behind] = screens_of_denied_pods(&namespace, "denied the request");
    insta::assert_snapshot!("webhook", plain);
    insta::assert_snapshot!("webhook-behind-a-stateful-set", behind);
}
