//! Quotas that a run as a whole exceeds.

use super::{Found, remedy};
use crate::credentials::account;
use crate::harness::Namespace;
use crate::support::Folder;

/// Makes a quota, and waits until the cluster counts by it.
fn quota(namespace: &Namespace, name: &str, hard: &str) {
    namespace.apply(&format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: {name}}}\nspec: {{hard: {hard}}}\n"
    ));
    namespace.kubectl_until(&["get", "resourcequota", name, "-o", "jsonpath={.status.used}"], |text| {
        !text.is_empty()
    });
}

#[test]
fn databases_that_fit_one_by_one_and_not_together() {
    let namespace = Namespace::new("quota");
    let folder = &namespace.folder;
    quota(&namespace, "small", "{pods: 2, requests.memory: 700Mi, services: 5, count/secrets: 50}");
    namespace.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: other}\nspec: {terminationGracePeriodSeconds: 0, nodeSelector: {no: such}, containers: [{name: a, image: 'python:3.11', resources: {requests: {memory: 32Mi}}}]}\n");
    namespace
        .kubectl_until(&["get", "resourcequota", "small", "-o", "jsonpath={.status.used.pods}"], |text| {
            text == "1"
        });
    let found = Found::look(&namespace, folder, &["--with", "postgres"]);
    found.is_well(&["dry-run"]);
    assert_eq!(
        found.one("ok", "quota", &["quota small has room for all of it"])["object"],
        "ResourceQuota small"
    );

    let found = Found::look(&namespace, folder, &["--with", "postgres", "--with", "mariadb"]);
    found.one("ok", "dry-run", &["6 of 6 objects"]);
    let problems = found.all("problem", "quota");
    assert_eq!(problems.len(), 2, "{problems:?}");
    for (problem, (part, advice)) in problems.iter().zip([
        ("quota small: this run asks for pods 2, and 1 of 2 is left", "free some of it"),
        (
            "quota small: this run asks for requests.memory 768Mi, and 668Mi of 700Mi is left",
            "--param memory=...",
        ),
    ]) {
        assert_eq!(
            (problem["message"].as_str().unwrap(), problem["object"].as_str().unwrap()),
            (part, "ResourceQuota small")
        );
        assert!(remedy(problem).contains(advice), "{problem}");
    }
    // The remedy helps, as far as it goes.
    let found = Found::look(
        &namespace,
        folder,
        &["--with", "postgres", "--with", "mariadb", "--param", "memory=64Mi"],
    );
    found.one("problem", "quota", &["pods 2"]);
}

#[test]
fn a_quota_on_limits_wants_limits_that_a_limit_range_gives() {
    let namespace = Namespace::new("limits");
    let folder = &namespace.folder;
    quota(&namespace, "strict", "{limits.memory: 1Gi}");
    let found = Found::look(&namespace, folder, &["--with", "postgres"]);
    // The dry run is refused for the same reason, and does not say it again.
    let problem = found.one(
        "problem",
        "quota",
        &["quota strict wants every container to say its limits.memory, and container postgres of Pod postgres-"],
    );
    assert!(remedy(problem).contains("LimitRange"));
    assert!(found.all("problem", "dry-run").is_empty());
    namespace.apply(
        "apiVersion: v1\nkind: LimitRange\nmetadata: {name: defaults}\nspec: {limits: [{type: Container, default: {memory: 600Mi}}]}\n",
    );
    let stamp = [
        "create",
        "-f",
        "-",
        "--dry-run=server",
        "-o",
        "jsonpath={.spec.containers[0].resources.limits.memory}",
    ];
    let pod =
        b"apiVersion: v1\nkind: Pod\nmetadata: {name: probe}\nspec: {containers: [{name: a, image: a}]}\n";
    namespace.kubectl_until_it_says(&stamp, Some(pod), |text, _| text == "600Mi");
    Found::look(&namespace, folder, &["--with", "postgres"]).is_well(&["quota", "dry-run"]);
    let found = Found::look(&namespace, folder, &["--with", "postgres", "--with", "mariadb"]);
    found.one(
        "problem",
        "quota",
        &["quota strict: this run asks for limits.memory 1200Mi, and 1Gi of 1Gi is left"],
    );
}

#[test]
fn the_pods_of_workloads_count_and_without_the_quota_the_dry_run_tells() {
    let namespace = Namespace::new("workload");
    let config = Folder::new();
    quota(&namespace, "small", "{requests.cpu: '1', requests.storage: 1Gi, count/deployments.apps: 0}");
    let manifest = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: set-run-1}\nspec:\n  replicas: 3\n  serviceName: set-run-1\n  \
                    selector: {matchLabels: {app: set}}\n  template:\n    metadata: {labels: {app: set}}\n    spec:\n      containers:\n      \
                    - {name: a, image: 'python:3.11', resources: {requests: {cpu: 400m}}, volumeMounts: [{name: data, mountPath: /data}]}\n  \
                    volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 512Mi}}}\n";
    namespace.folder.file("m.yaml", manifest);
    let found = Found::look(&namespace, &namespace.folder, &["m.yaml", "--run-id", "run-1"]);
    let problems: Vec<&str> =
        found.all("problem", "quota").iter().map(|problem| problem["message"].as_str().unwrap()).collect();
    assert_eq!(
        problems,
        [
            "quota small: this run asks for requests.cpu 1200m, and 1 of 1 is left",
            "quota small: this run asks for requests.storage 1536Mi, and 1Gi of 1Gi is left",
        ]
    );

    let rules = "[{apiGroups: ['', apps], resources: [pods, services, deployments], verbs: [create, delete, get, list, watch]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-run-1}\nspec:\n  selector: {matchLabels: {app: x}}\n  template:\n    \
                      metadata: {labels: {app: x}}\n    spec: {containers: [{name: a, image: 'python:3.11', resources: {requests: {cpu: '2'}}}]}\n";
    folder.file("m.yaml", deployment);
    let found = Found::look(&namespace, &folder, &["m.yaml", "--run-id", "run-1"]);
    found.one("skipped", "quota", &["list on resourcequotas"]);
    let problems = found.all("problem", "quota");
    assert_eq!(problems.len(), 2, "the Deployment itself, and its pod: {problems:?}");
    assert!(problems.iter().all(|problem| problem["object"] == "Deployment app-run-1"), "{problems:?}");
    assert!(
        problems[0]["message"]
            .as_str()
            .unwrap()
            .contains("more count/deployments.apps than the whole quota small allows"),
        "{problems:?}"
    );
    assert!(
        problems[1]["message"]
            .as_str()
            .unwrap()
            .starts_with("trying to create a pod of its template: it asks for more requests.cpu"),
        "{problems:?}"
    );
}
