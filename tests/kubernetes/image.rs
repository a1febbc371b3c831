//! testbed's own image in pods, under the strictest settings: a read-only root file system without any volume
//! to write to, no capability, and a user that no file of the image knows, as OpenShift gives one.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Namespace, image, run_id, takes_images};

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a pod under Pod Security "restricted" may be at most, and less: nothing is writable.
fn pod(name: &str, image: &str, args: &[&str]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "testbed",
                "image": image,
                "args": args,
                "securityContext": {
                    "runAsUser": 1_000_740_000,
                    "readOnlyRootFilesystem": true,
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

/// Runs a pod to its end. Returns its exit code and what it has said.
fn run(namespace: &Namespace, pod: &Value) -> (i64, String) {
    namespace.apply(&pod.to_string());
    let name = pod["metadata"]["name"].as_str().unwrap();
    namespace.kubectl_until(&["get", "pod", name, "-o", "jsonpath={.status.phase}"], |phase| {
        ["Succeeded", "Failed"].contains(&phase)
    });
    let status = namespace.json(&["pod", name]);
    let code = status["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        .as_i64()
        .expect("an exit code");
    (code, namespace.kubectl(&["logs", name]))
}

#[test]
fn anybody_runs_it_without_a_folder_to_write_to() {
    let Some(image) = image() else { return };
    let namespace = Namespace::new("image");
    let mut own_user = pod("own-user", &image, &["--version"]);
    own_user["spec"]["containers"][0]["securityContext"].as_object_mut().unwrap().remove("runAsUser");
    let mut by_name = pod("by-name", &image, &["--version"]);
    // As a Tekton step says it, and as one would at a terminal.
    by_name["spec"]["containers"][0]["command"] = json!(["testbed"]);
    for pod in [pod("anybody", &image, &["--version"]), own_user, by_name] {
        assert_eq!(run(&namespace, &pod), (0, format!("testbed {}\n", env!("CARGO_PKG_VERSION"))), "{pod}");
    }
}

/// What it takes: names of Services by the search domains of /etc/resolv.conf, TLS with the cluster's
/// authority, and a ServiceAccount.
#[test]
fn up_and_down_as_two_pods() {
    let Some(image) = image() else { return };
    let namespace = Namespace::new("image-up");
    namespace.kubectl(&["create", "serviceaccount", "deployer"]);
    let verbs = "--verb=create,delete,get,list,watch";
    namespace.kubectl(&["create", "role", "deployer", verbs, "--resource=pods,services,secrets"]);
    namespace.kubectl(&[
        "create",
        "rolebinding",
        "deployer",
        "--role=deployer",
        &format!("--serviceaccount={}:deployer", namespace.name),
    ]);
    let run_id = run_id();
    let step = |name: &str, args: &[&str]| {
        let mut pod = pod(name, &image, &[args, &["--run-id", &run_id]].concat());
        pod["spec"]["serviceAccountName"] = json!("deployer");
        run(&namespace, &pod)
    };
    let (code, said) = step("up", &["up", "--with", "postgres", "--output", "-"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("1 database ready after") && said.contains(&format!("\"host\": \"postgres-{run_id}\"")),
        "{said}"
    );
    assert!(!namespace.of_run(&run_id).is_empty());
    let (code, said) = step("down", &["down"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("run {run_id} is gone")), "{said}");
    assert!(namespace.of_run(&run_id).is_empty());
}

/// No server of a public authority can be reached from here. But the file that holds these is the one that
/// counts: with it as it is, the API server's authority is one that it does not hold; with that added, the
/// same call succeeds.
#[test]
fn a_kubeconfig_without_an_authority_trusts_the_images_certificates() {
    let Some(image) = image() else { return };
    let namespace = Namespace::new("image-tls");
    namespace.kubectl(&[
        "create",
        "rolebinding",
        "viewer",
        "--clusterrole=view",
        &format!("--serviceaccount={}:default", namespace.name),
    ]);
    let kubeconfig = "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n\
        users: [{name: u, user: {tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}}]\n\
        clusters: [{name: c, cluster: {server: 'https://kubernetes.default.svc'}}]\n";
    let public = std::fs::read_to_string(format!("{PROJECT}/target/image/root{CERTIFICATES}"))
        .expect("what `make image` has made");
    let own = namespace.kubectl_until(
        &["get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}"],
        |text| !text.is_empty(),
    );
    let files = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "files"},
        "data": {"kubeconfig": kubeconfig, "certificates": format!("{public}{own}\n")},
    });
    // Too long for the annotation in which `kubectl apply` remembers what it has applied.
    let file = namespace.folder.file("files.json", &files.to_string());
    namespace.kubectl(&["create", "-f", &file.display().to_string()]);
    let status = |name: &str, more: Option<Value>| {
        let mut pod =
            pod(name, &image, &["status", "--kubeconfig", "/kubeconfig", "--namespace", &namespace.name]);
        pod["spec"]["volumes"] = json!([{"name": "files", "configMap": {"name": "files"}}]);
        let mut mounts = vec![json!({"name": "files", "mountPath": "/kubeconfig", "subPath": "kubeconfig"})];
        mounts.extend(more);
        pod["spec"]["containers"][0]["volumeMounts"] = Value::Array(mounts);
        run(&namespace, &pod)
    };
    let (code, said) = status("public", None);
    assert!(code == 1 && said.contains("UnknownIssuer"), "{code}: {said}");
    let (code, said) =
        status("added", Some(json!({"name": "files", "mountPath": CERTIFICATES, "subPath": "certificates"})));
    assert_eq!(code, 0, "{said}");
}

/// What `tests/cluster/load-image` promises to whoever changes testbed and tries it again.
#[test]
fn a_second_import_under_the_same_name_is_what_new_pods_run() {
    let Some(_) = image() else { return };
    if !takes_images() {
        return;
    }
    let namespace = Namespace::new("image-load");
    let name = format!("registry.example/{}:1", namespace.name);
    let mut ids = Vec::new();
    for revision in ["one", "two"] {
        let archive = pack(&namespace, &name, revision);
        // A second time changes nothing.
        for _ in 0..2 {
            let loaded = text(Command::new(format!("{PROJECT}/tests/cluster/load-image")).arg(&archive));
            assert_eq!(loaded, format!("{name}\n"));
        }
        let (code, said) = run(&namespace, &pod(revision, &name, &["--version"]));
        assert_eq!(code, 0, "{said}");
        let status = namespace.json(&["pod", revision]);
        let id = status["status"]["containerStatuses"][0]["imageID"].as_str().unwrap().to_owned();
        let config: Value =
            serde_json::from_str(&text(Command::new("tar").arg("-xOf").arg(&archive).arg("manifest.json")))
                .unwrap();
        assert_eq!(config[0]["Config"], id.replace("sha256:", "blobs/sha256/"), "{id}");
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

/// An image of the same files that says it is of another commit.
fn pack(namespace: &Namespace, name: &str, revision: &str) -> PathBuf {
    let archive = namespace.folder.path().join(format!("{revision}.tar"));
    let revision = format!("REVISION={revision}");
    let mut pack = Command::new(format!("{PROJECT}/image/pack.py"));
    pack.arg(format!("{PROJECT}/target/image/root")).arg(&archive);
    text(pack.args([name, "VERSION=1", &revision, "CREATED=2026-01-01T00:00:00Z"]));
    archive
}

/// The standard output of a command that has to succeed.
fn text(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
