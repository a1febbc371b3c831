//! Who may do what: missing rights, namespaces and valid certificates, and logins that come from the
//! cluster's own Secrets.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Namespace, STRIV, kubeconfig, kubeconfig_as, reaches_services, run_id};
use crate::support::Folder;

/// A kubeconfig for a ServiceAccount of the namespace, bound to a Role with these rules.
pub fn account(namespace: &Namespace, folder: &Folder, rules: &str) -> std::path::PathBuf {
    namespace.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: limited}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: limited}}\nrules: {rules}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: limited}}\nsubjects: [{{kind: ServiceAccount, name: limited}}]\n\
         roleRef: {{kind: Role, name: limited, apiGroup: rbac.authorization.k8s.io}}\n"
    ));
    token_of(namespace, folder, "limited")
}

/// A kubeconfig with a token of one of the namespace's ServiceAccounts.
pub fn token_of(namespace: &Namespace, folder: &Folder, service_account: &str) -> std::path::PathBuf {
    let token = namespace.kubectl(&["create", "token", service_account]);
    kubeconfig_as(folder, &json!({"token": token.trim()}))
}

#[test]
fn a_forbidden_verb_leaves_nothing() {
    let namespace = Namespace::new("forbidden");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [services], verbs: [create, delete, get, list, watch]}, {apiGroups: [''], resources: [pods], verbs: [list]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    folder.file("striv.yaml", STRIV);
    let run_id = run_id();
    folder
        .call(&["up", "striv.yaml", "--run-id", &run_id])
        .fails(1)
        .says("creating Pod mysql-")
        .says("cannot create resource \"pods\"")
        .says("hint: the Role of this user needs that verb");
    assert!(namespace.of_run(&run_id).is_empty());
    assert!(!folder.has("testing-databases.json"));
}

#[test]
fn a_watch_that_is_forbidden_leaves_nothing() {
    let namespace = Namespace::new("unwatched");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    folder.file("striv.yaml", STRIV);
    let run_id = run_id();
    folder
        .call(&["up", "striv.yaml", "--run-id", &run_id])
        .fails(1)
        .says("watching the run's pods")
        .says("cannot watch resource \"pods\"");
    // Without the right to watch, nobody could wait until the pods were gone.
    namespace.kubectl_until(&["get", "pods,services", "-o", "name"], str::is_empty);
}

#[test]
fn a_kind_that_may_not_be_listed_does_not_keep_the_others() {
    let namespace = Namespace::new("partly");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}]";
    let limited = namespace.folder_as(&account(&namespace, &config, rules));
    let folder = &namespace.folder;
    folder.file(
        "m.yaml",
        &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-run-1}}\n---\n{STRIV}"),
    );
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    limited
        .call(&["down", "--run-id", "run-1"])
        .fails(5)
        .says("listing the run's objects of kind ConfigMap: ")
        .says("cannot list resource");
    assert_eq!(namespace.of_run("run-1"), ["configmap/c-run-1"]);
    folder.call(&["down"]).ok();
    assert!(namespace.of_run("run-1").is_empty());
}

/// Outside the cluster without the right to port-forward: the Services' own addresses are tried.
#[test]
fn without_port_forward_the_services_addresses_do() {
    if !reaches_services() {
        return;
    }
    let namespace = Namespace::new("direct");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    folder.file("striv.yaml", STRIV);
    folder.call(&["up", "striv.yaml"]).ok().says("no right to port-forward");
    folder.call(&["down"]).ok();
}

#[test]
fn built_in_databases_without_the_right_to_make_secrets() {
    let namespace = Namespace::new("no-secrets");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    let run_id = run_id();
    folder
        .call(&["up", "--with", "postgres", "--run-id", &run_id])
        .fails(1)
        .says("cannot create resource \"secrets\"");
    assert!(namespace.of_run(&run_id).is_empty());
    // Nor may it list them, which a teardown takes as: then there are none.
    folder.call(&["down", "--run-id", &run_id]).ok().says("nothing to do");
}

#[test]
fn a_namespace_that_does_not_exist() {
    let namespace = Namespace::new("missing");
    let folder = &namespace.folder;
    folder.file("striv.yaml", STRIV);
    folder
        .call(&["up", "striv.yaml", "-n", "no-such-namespace"])
        .fails(1)
        .says("the namespace no-such-namespace does not exist")
        .says("hint: create it (kubectl create namespace no-such-namespace)");
}

#[test]
fn credentials_that_are_not_accepted() {
    let namespace = Namespace::new("unauthorised");
    let config = Folder::new();
    let folder = namespace.folder_as(&kubeconfig_as(&config, &json!({"token": "not-a-token"})));
    folder.file("striv.yaml", STRIV);
    for args in [&["up", "striv.yaml"][..], &["down", "--run-id", "run-1"], &["status"]] {
        folder
            .call(args)
            .fails(1)
            .says("401 Unauthorized")
            .says("hint: a client certificate or token may have expired")
            .keeps("not-a-token");
    }
}

/// As the kubelet does it with those of pods: the file's token is exchanged while a run goes on, and the old
/// one ends.
#[test]
#[ignore = "takes more than a minute, for which a token is kept that was read"]
fn a_token_that_is_exchanged_is_read_again() {
    const KEPT: Duration = Duration::from_secs(60);
    let namespace = Namespace::new("exchange");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services, secrets], verbs: [create, delete, get, list, watch]}, \
                 {apiGroups: [''], resources: [pods/log], verbs: [get]}, {apiGroups: [''], resources: [pods/portforward], verbs: [create, get]}]";
    account(&namespace, &config, rules);
    let token_of = |secret: &str| {
        namespace.kubectl(&["create", "secret", "generic", secret]);
        let token = [
            "create",
            "token",
            "limited",
            "--duration",
            "10m",
            "--bound-object-kind",
            "Secret",
            "--bound-object-name",
            secret,
        ];
        namespace.kubectl(&token).trim().to_owned()
    };
    let first = token_of("first");
    let file = config.file("token", &first);
    let folder = namespace.folder_as(&kubeconfig_as(&config, &json!({"tokenFile": file})));
    let run_id = run_id();
    let command = ["--", "sh", "-c", "touch at-work; until [ -e go ]; do sleep 0.1; done"];
    let start = Instant::now();
    let run = folder.start(&[&["run", "--with", "postgres", "--run-id", &run_id], &command[..]].concat());
    namespace.kubectl_until(&["get", "pods"], |_| folder.has("at-work"));

    config.file("token", &token_of("second"));
    namespace.kubectl(&["delete", "secret", "first"]);
    let old = Folder::new();
    let old = kubeconfig_as(&old, &json!({"token": first})).display().to_string();
    // The API server remembers for some seconds whom it has let in.
    namespace.kubectl_until_it_says(&["get", "pods", "--kubeconfig", &old], None, |_, error| {
        error.contains("Unauthorized")
    });
    std::thread::sleep(KEPT.saturating_sub(start.elapsed()));
    folder.file("go", "");
    run.wait().ok();
    assert!(namespace.of_run(&run_id).is_empty());
}

#[test]
fn a_client_certificate_that_has_expired() {
    let pki = kubeconfig().with_file_name("pki");
    if !pki.join("ca.key").is_file() {
        eprintln!(
            "skipped: this needs the key of the cluster's certificate authority, beside its kubeconfig"
        );
        return;
    }
    let namespace = Namespace::new("expired");
    let config = Folder::new();
    config.file("database", "");
    config.file("serial", "01\n");
    config.file("ca.conf", "[ca]\ndefault_ca=d\n[d]\ndatabase=database\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\norganizationName=optional\n");
    // An extension makes it a certificate of version 3, which is what TLS libraries take.
    config.file("extensions", "extendedKeyUsage=clientAuth\n");
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(config.path()).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (ca, key) = (pki.join("ca.crt").display().to_string(), pki.join("ca.key").display().to_string());
    openssl(&[
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key",
        "-out",
        "csr",
        "-subj",
        "/O=system:masters/CN=late",
    ]);
    openssl(&[
        "ca",
        "-batch",
        "-config",
        "ca.conf",
        "-cert",
        &ca,
        "-keyfile",
        &key,
        "-in",
        "csr",
        "-out",
        "crt",
        "-notext",
        "-startdate",
        "20200101000000Z",
        "-enddate",
        "20200102000000Z",
        "-extfile",
        "extensions",
    ]);
    let path = |name: &str| config.path().join(name).display().to_string();
    let folder = namespace.folder_as(&kubeconfig_as(
        &config,
        &json!({"client-certificate": path("crt"), "client-key": path("key")}),
    ));
    folder.file("striv.yaml", STRIV);
    let up = folder.call(&["up", "striv.yaml"]).fails(1);
    assert!(up.stderr.contains("expired"), "{}", up.transcript());
    assert!(namespace.labelled("test-dependencies").is_empty());
}

#[test]
fn a_login_from_a_secret_of_the_cluster() {
    let namespace = Namespace::new("secret");
    let folder = &namespace.folder;
    namespace.apply(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: shared}\nstringData: {password: from-the-cluster}\n",
    );
    let manifest = STRIV.split("---\n").skip(2).collect::<Vec<_>>().join("---\n");
    let plain = "value: $(context.pipelineRun.uid)\n    - name: POSTGRES_DB";
    assert!(manifest.contains(plain));
    let from = |name: &str| {
        manifest.replace(
            plain,
            &format!("valueFrom: {{secretKeyRef: {{name: {name}, key: password}}}}\n    - name: POSTGRES_DB"),
        )
    };
    folder.file("m.yaml", &from("shared"));
    folder.file("absent.yaml", &from("absent"));
    folder
        .call(&["up", "absent.yaml", "--run-id", "run-1"])
        .fails(2)
        .says("reading the variable POSTGRES_PASSWORD: Secret absent does not exist");
    assert!(namespace.of_run("run-1").is_empty());
    folder.call(&["up", "m.yaml", "--run-id", "run-1", "-v"]).ok().keeps("from-the-cluster");
    assert!(folder.read("testing-databases.json").contains("\"password\": \"from-the-cluster\""));
    folder.call(&["down"]).ok();
    assert!(namespace.labelled("").contains(&"secret/shared".to_owned()));
}
