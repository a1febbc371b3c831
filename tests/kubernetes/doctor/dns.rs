//! Names of Services that do not resolve where testbed runs in a pod.

use super::{Found, remedy};
use crate::harness::{Client, Namespace, PIPELINE_ROLE, STRIV};
use crate::support::Called;

/// Calls `doctor` in the pod.
fn look(client: &Client, args: &str) -> Found {
    let args = format!("doctor -o json {args}");
    Found::read(Called::new(&[&args], client.shell(&format!("./testbed {args}"))))
}

/// The pod with testbed in it, under the Role of a pipeline, with more lines in its spec.
fn client<'a>(namespace: &'a Namespace, spec: &str) -> Client<'a> {
    namespace.apply(PIPELINE_ROLE);
    let client = namespace.bare_client("test-dependencies-deployer", |manifest| {
        manifest.replace("  enableServiceLinks: false\n", &format!("  enableServiceLinks: false\n{spec}"))
    });
    client.install_testbed();
    client.copy(STRIV.as_bytes(), "striv.yaml");
    client
}

#[test]
fn in_a_pod_of_the_usual_kind_all_names_resolve() {
    let namespace = Namespace::new("names");
    let client = client(&namespace, "");
    let before = namespace.labelled("");
    let found = look(&client, "striv.yaml --run-id run-1");
    found.is_well(&["api", "rights", "dry-run", "dns"]);
    found.one("ok", "dns", &["kubernetes.default.svc", "name server"]);
    assert_eq!(namespace.labelled(""), before);
    // With a Service in the namespace, that one shows it better.
    namespace.kubectl(&["create", "service", "clusterip", "other", "--tcp=1"]);
    look(&client, "striv.yaml --run-id run-1").one("ok", "dns", &["such as other"]);

    let found = look(&client, "striv.yaml --run-id run-1 -n default");
    let problem = found.one(
        "problem",
        "dns",
        &[
            &format!("this pod is in namespace {}", namespace.name),
            "mysql-run-1, postgres-run-1 would not resolve",
        ],
    );
    assert!(remedy(problem).contains(&format!("-n {}", namespace.name)));
}

#[test]
fn a_pod_with_a_dns_policy_of_its_own() {
    let namespace = Namespace::new("dnspolicy");
    let searches = format!("[{}.svc.cluster.local, svc.cluster.local]", namespace.name);
    // Nobody answers at the loopback's port 53 of a pod.
    let client = client(
        &namespace,
        &format!("  dnsPolicy: None\n  dnsConfig: {{nameservers: [127.0.0.1], searches: {searches}}}\n"),
    );
    let found = look(&client, "striv.yaml --run-id run-1");
    let problem = found.one(
        "problem",
        "dns",
        &[
            "kubernetes.default.svc does not resolve in this pod",
            "mysql-run-1, postgres-run-1 would not either",
            "name server 127.0.0.1",
        ],
    );
    assert!(remedy(problem).contains("k8s-app=kube-dns"));

    // Services of the run that are there by now are named themselves.
    namespace.apply("apiVersion: v1\nkind: Service\nmetadata: {name: mysql-run-1}\nspec: {selector: {app: x}, ports: [{port: 3306}]}\n");
    let found = look(&client, "striv.yaml --run-id run-1");
    let problem = found.one("problem", "dns", &["mysql-run-1 does not resolve in this pod"]);
    assert_eq!(problem["object"], "Service mysql-run-1");

    for (conf, part) in [
        (
            "nameserver 127.0.0.1\nsearch example.com".to_owned(),
            format!("do not have {}.svc.<the cluster's domain>: example.com", namespace.name),
        ),
        (format!("search {}.svc.cluster.local", namespace.name), "names no name server".to_owned()),
    ] {
        client.shell_ok(&format!("echo '{conf}' > /etc/resolv.conf"));
        let found = look(&client, "striv.yaml --run-id run-1");
        let problem = found.one("problem", "dns", &[&part, "mysql-run-1, postgres-run-1 would not resolve"]);
        assert_eq!(problem["object"], "Service mysql-run-1");
        assert!(remedy(problem).contains("dnsPolicy"), "{problem}");
    }
}
