//! Rules that the API server itself applies to a pod: the namespace's Pod Security level, and a
//! ValidatingAdmissionPolicy for one namespace only.

use super::screen::Up;
use super::{mysql, screens_of_denied_pods, stateful_set};
use crate::harness::{Namespace, OfCluster, kubectl};

const POLICY: &str = include_str!("../manifests/failures/policy.yaml");

#[test]
fn a_pod_security_level_that_denies_the_pod() {
    let namespace = Namespace::new("level");
    let levels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    kubectl(&["label", "namespace", &namespace.name, &levels[0], &levels[1]]);
    let manifest = mysql("pod", "");
    let plain = Up::start(&namespace, &manifest, &[]);
    let behind = Up::start(&namespace, &stateful_set(&manifest), &[]);
    insta::assert_snapshot!("pod-security", plain.screen());
    insta::assert_snapshot!("pod-security-behind-a-stateful-set", behind.screen());
}

#[test]
fn an_admission_policy_that_denies_the_pod() {
    let namespace = Namespace::new("policy");
    let _policy = OfCluster {
        kinds: "validatingadmissionpolicybinding,validatingadmissionpolicy",
        name: namespace.name.clone(),
    };
    namespace.apply(&POLICY.replace("NAMESPACE", &namespace.name));
    let [plain, behind] = screens_of_denied_pods(&namespace, "denied request");
    insta::assert_snapshot!("policy", plain);
    insta::assert_snapshot!("policy-behind-a-stateful-set", behind);

    // Before such a policy denies anything, it often warns for a while.
    let warn = r#"{"spec": {"validationActions": ["Warn"]}}"#;
    kubectl(&["patch", "validatingadmissionpolicybinding", &namespace.name, "--type=merge", "-p", warn]);
    let pod = mysql("pod", "").replace("labels: {db:", "labels: {deny: x, db:");
    namespace.folder.file("m.yaml", &pod);
    namespace.kubectl_until_it_says(
        &["create", "--dry-run=server", "-f", "-"],
        Some(pod.replace("$(context.pipelineRun.uid)", "a").as_bytes()),
        |text, error| text.contains("pod/") && error.contains("Warning: "),
    );
    let doctor = namespace.folder.call(&["doctor", "m.yaml", "--run-id", "run-1"]).ok();
    let warning = "warning  dry-run       Pod mysql-run-1: the API server warns: Validation failed for ValidatingAdmissionPolicy '";
    assert!(doctor.stdout.contains(warning), "{}", doctor.transcript());
}
