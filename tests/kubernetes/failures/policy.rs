//! Rules that the API server itself applies to a pod: the namespace's Pod Security level, and a ValidatingAdmissionPolicy for one namespace only.

use super::screen::Up;
use super::{mysql, screens_of_denied_pods, stateful_set};
use crate::harness::{Namespace, kubectl, kubectl_output};

const POLICY: &str = include_str!("../manifests/failures/policy.yaml");
const KINDS: &str = "validatingadmissionpolicybinding,validatingadmissionpolicy";

#[test]
fn a_pod_security_level_that_denies_the_pod() {
    let namespace = Namespace::new("level");
    kubectl(&["label", "namespace", &namespace.name, "pod-security.kubernetes.io/enforce=restricted"]);
    let manifest = mysql("pod", "");
    let plain = Up::start(&namespace, &manifest, &[]);
    let behind = Up::start(&namespace, &stateful_set(&manifest), &[]);
    insta::assert_snapshot!("pod-security", plain.screen());
    insta::assert_snapshot!("pod-security-behind-a-stateful-set", behind.screen());
}

/// Both objects belong to the whole cluster, so that they do not go with the namespace.
struct Policy<'a>(&'a str);

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        kubectl_output(&["delete", KINDS, self.0, "--ignore-not-found"], None);
    }
}

#[test]
fn an_admission_policy_that_denies_the_pod() {
    let namespace = Namespace::new("policy");
    let _policy = Policy(&namespace.name);
    namespace.apply(&POLICY.replace("NAMESPACE", &namespace.name));
    let [plain, behind] = screens_of_denied_pods(&namespace, "denied request");
    insta::assert_snapshot!("policy", plain);
    insta::assert_snapshot!("policy-behind-a-stateful-set", behind);
}
