//! Rights that are missing, and the rules that give them.

use super::{Found, remedy};
use crate::credentials::account;
use crate::harness::{Namespace, kubeconfig, kubeconfig_as, kubectl};
use crate::support::Folder;

/// Waits until the API server knows that the account may do something.
fn until_allowed(namespace: &Namespace, verb: &str, resource: &str) {
    let user = format!("system:serviceaccount:{}:limited", namespace.name);
    namespace.kubectl_until(&["auth", "can-i", verb, resource, "--as", &user], |text| text.trim() == "yes");
}

#[test]
fn missing_verbs_are_named_and_the_remedys_rules_are_enough_for_a_run() {
    let namespace = Namespace::new("verbs");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [services], verbs: [create, delete, get, list, watch]}, \
                 {apiGroups: [''], resources: [pods], verbs: [create, delete, get, list]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    until_allowed(&namespace, "list", "pods");
    let found = Found::look(&namespace, &folder, &["--with", "postgres:17"]);
    let missing = "pods: watch; secrets: create, delete, get, list";
    let problem =
        found.one("problem", "rights", &[&format!("missing in namespace {}: {missing}", namespace.name)]);
    // Each of the optional ones on a line of its own, with what gets worse.
    let warnings: Vec<String> =
        found.all("warning", "rights").iter().map(|verdict| verdict["message"].to_string()).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, part) in warnings.iter().zip([
        "without pods/log: get, ",
        "without events: list, watch, ",
        "without pods: patch, ",
    ]) {
        assert!(warning.contains(part), "{warning}");
    }
    found.one("warning", "dns", &["without pods/portforward: create"]);
    // The Secret may not be made, which the rights tell: the dry run does not repeat it.
    assert!(found.all("problem", "dry-run").is_empty());
    found.one("ok", "dry-run", &["2 of 3 objects"]);

    let (words, yaml) = remedy(problem).split_once('\n').unwrap();
    assert!(words.contains(&format!("a Role in namespace {}", namespace.name)), "{words}");
    assert_eq!(
        yaml,
        "rules:\n- {apiGroups: [\"\"], resources: [pods], verbs: [watch]}\n\
         - {apiGroups: [\"\"], resources: [secrets], verbs: [create, delete, get, list]}"
    );
    namespace.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: remedy}}\n{yaml}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: remedy}}\nsubjects: [{{kind: ServiceAccount, name: limited}}]\n\
         roleRef: {{kind: Role, name: remedy, apiGroup: rbac.authorization.k8s.io}}\n"
    ));
    until_allowed(&namespace, "watch", "pods");
    until_allowed(&namespace, "list", "secrets");
    Found::look(&namespace, &folder, &["--with", "postgres:17"]).is_well(&["rights", "dry-run"]);
    folder.call(&["up", "--with", "postgres:17", "--run-id", "run-1"]).ok();
    folder.call(&["up", "--with", "postgres:17", "--run-id", "run-1"]).ok();
    folder.call(&["down", "--run-id", "run-1"]).ok();
    assert!(namespace.of_run("run-1").is_empty());
}

/// What the catalog gives to its tasks is all that doctor asks for, optional rights included.
#[test]
fn the_catalogs_role_is_enough() {
    let rules = include_str!("../../../catalog/samples/rbac.yaml")
        .split_once("rules:\n")
        .unwrap()
        .1
        .split("---")
        .next()
        .unwrap();
    let namespace = Namespace::new("catalogs");
    let config = Folder::new();
    let folder = namespace.folder_as(&account(&namespace, &config, &format!("\n{rules}")));
    until_allowed(&namespace, "list", "secrets");
    let found = Found::look(&namespace, &folder, &["--with", "postgres", "--with", "mysql"]);
    found.is_well(&["rights", "dry-run"]);
    assert!(found.all("warning", "rights").is_empty(), "{}", found.called.transcript());
}

/// Some kinds' deletion is answered with the object as it was, others' with a status; neither is there any
/// more.
#[test]
fn what_is_gone_at_once_takes_no_right_to_watch() {
    let namespace = Namespace::new("unwatched");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods], verbs: [create, delete, get, list, watch]}, \
                 {apiGroups: [''], resources: [services, secrets, configmaps, serviceaccounts], verbs: [create, delete, get, list]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    until_allowed(&namespace, "list", "secrets");
    let object = |kind: &str, rest: &str| {
        format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a-run-1}}\n{rest}---\n")
    };
    let kinds = [
        object("Secret", ""),
        object("ConfigMap", ""),
        object("ServiceAccount", ""),
        object("Service", "spec: {ports: [{port: 1}]}\n"),
    ];
    folder.file("m.yaml", &kinds.concat());
    let args = ["m.yaml", "--run-id", "run-1", "--allow", "service-accounts"];
    Found::look(&namespace, &folder, &args).is_well(&["rights", "dry-run"]);
    folder.call(&[&["up"], &args[..]].concat()).ok();
    assert!(!namespace.of_run("run-1").is_empty());
    folder.call(&["down", "--run-id", "run-1"]).ok();
    assert!(namespace.of_run("run-1").is_empty());
    assert_eq!(
        namespace.kubectl(&["get", "serviceaccounts", "-o", "name", "-l", "test-dependencies=run-1"]),
        ""
    );
}

#[test]
fn what_may_not_be_looked_at_is_skipped_with_what_it_needs() {
    let namespace = Namespace::new("blind");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    until_allowed(&namespace, "watch", "pods");
    folder.file("m.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a-run-1}\nspec: {imagePullSecrets: [{name: pull}], containers: [{name: a, image: 'python:3.11'}]}\n");
    let found = Found::look(&namespace, &folder, &["m.yaml", "--run-id", "run-1"]);
    found.is_well(&["api", "rights", "dry-run"]);
    found.one("skipped", "quota", &["list on resourcequotas"]);
    found.one("skipped", "pod-security", &["get on namespaces"]);
    found.one("skipped", "references", &["Secret pull", "get on them"]);
    // A Role of the namespace can allow all of that.
    namespace.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: look}\nrules:\n- {apiGroups: [''], resources: [namespaces, secrets], verbs: [get]}\n\
         - {apiGroups: [''], resources: [resourcequotas], verbs: [list]}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: look}\nsubjects: [{kind: ServiceAccount, name: limited}]\n\
         roleRef: {kind: Role, name: look, apiGroup: rbac.authorization.k8s.io}\n",
    );
    until_allowed(&namespace, "list", "resourcequotas");
    until_allowed(&namespace, "get", "secrets");
    let found = Found::look(&namespace, &folder, &["m.yaml", "--run-id", "run-1"]);
    assert!(
        found.verdicts.iter().all(|verdict| verdict["status"] != "skipped"),
        "{}",
        found.called.transcript()
    );
    found.one("problem", "references", &["Pod a-run-1 needs Secret pull, which does not exist"]);
    found.one("ok", "pod-security", &["has no label"]);
}

#[test]
fn a_login_from_a_secret_of_the_cluster_needs_the_right_to_read_that_one() {
    let namespace = Namespace::new("login");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    until_allowed(&namespace, "watch", "pods");
    folder.file(
        "m.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: db-run-1}\nspec: {selector: {db: x}, ports: [{port: 5432}]}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: db-run-1, labels: {db: x}}\nspec:\n  containers:\n  - name: db\n    image: postgres:17\n    \
         env: [{name: POSTGRES_PASSWORD, valueFrom: {secretKeyRef: {name: login, key: password}}}]\n",
    );
    let found = Found::look(&namespace, &folder, &["m.yaml", "--run-id", "run-1"]);
    let problem = found.one("problem", "rights", &["secrets login: get"]);
    assert!(
        remedy(problem)
            .ends_with("- {apiGroups: [\"\"], resources: [secrets], resourceNames: [login], verbs: [get]}")
    );
    // Somebody who may look sees that it is not even there.
    namespace.folder.file("m.yaml", &folder.read("m.yaml"));
    let found = Found::look(&namespace, &namespace.folder, &["m.yaml", "--run-id", "run-1"]);
    let problem =
        found.one("problem", "references", &["Pod db-run-1 needs Secret login, which does not exist"]);
    assert_eq!(problem["object"], "Secret login");
}

#[test]
fn a_server_that_does_not_let_one_in_is_the_only_problem() {
    let namespace = Namespace::new("closed");
    let config = Folder::new();
    let folder = namespace.folder_as(&kubeconfig_as(&config, &serde_json::json!({"token": "not-a-token"})));
    let found = Found::look(&namespace, &folder, &[]);
    let problem = found.one("problem", "api", &["401 Unauthorized"]);
    assert!(remedy(problem).contains("may have expired"));
    found.one("skipped", "all", &["needs the API server"]);
    assert_eq!(found.verdicts.len(), 2);

    let server = kubectl(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let nobody = Folder::new();
    let text = std::fs::read_to_string(kubeconfig()).unwrap().replace(&server, "https://127.0.0.1:9");
    let folder = namespace.folder_as(&nobody.file("kubeconfig", &text));
    let found = Found::look(&namespace, &folder, &[]);
    assert!(
        remedy(found.one("problem", "api", &["https://127.0.0.1:9", "refused"]))
            .contains("is the cluster running")
    );

    let found = Found::look(&namespace, &namespace.folder, &["-n", "no-such-namespace"]);
    let problem = found.one("problem", "namespace", &["no-such-namespace does not exist"]);
    assert!(remedy(problem).starts_with("create it (kubectl create namespace no-such-namespace)"));
    found.one("skipped", "all", &["needs the namespace"]);
}
