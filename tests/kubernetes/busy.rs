//! An API server without a free seat for this user: API priority and fairness answers 429 to whatever comes
//! beside another request of theirs.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::credentials::account;
use crate::harness::{Namespace, OfCluster, kubectl, run_id};
use crate::support::Folder;

/// One seat, no queue, and nothing borrowed from others.
const LEVEL: &str = "apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: PriorityLevelConfiguration\nmetadata: {name: NAMESPACE}\n\
    spec: {type: Limited, limited: {nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}\n---\n\
    apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: FlowSchema\nmetadata: {name: NAMESPACE}\nspec:\n  \
    priorityLevelConfiguration: {name: NAMESPACE}\n  matchingPrecedence: 2\n  rules:\n  \
    - subjects: [{kind: ServiceAccount, serviceAccount: {name: limited, namespace: NAMESPACE}}]\n    \
    resourceRules: [{verbs: ['*'], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*']}]\n";

/// A creation whose content never comes: it has its seat until it is ended.
struct Slow(Child);

impl Slow {
    fn start(config: &Value, namespace: &str) -> Self {
        let server = config["clusters"][0]["cluster"]["server"]
            .as_str()
            .expect("a server")
            .trim_start_matches("https://");
        let token = config["users"][0]["user"]["token"].as_str().expect("a token");
        let address = if server.contains(':') { server.to_owned() } else { format!("{server}:443") };
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-quiet", "-connect", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl");
        let request = format!(
            "POST /api/v1/namespaces/{namespace}/configmaps HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        );
        child.stdin.as_mut().expect("a pipe").write_all(request.as_bytes()).expect("a request");
        Self(child)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn requests_that_are_turned_away_are_made_again_when_the_server_says() {
    let namespace = Namespace::new("busy");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services, configmaps], verbs: [create, delete, get, list, watch]}]";
    let kubeconfig = account(&namespace, &config, rules);
    let level = OfCluster { kinds: "flowschema,prioritylevelconfiguration", name: namespace.name.clone() };
    namespace.apply(&LEVEL.replace("NAMESPACE", &namespace.name));
    kubectl(&[
        "wait",
        "--for=condition=Dangling=false",
        "--timeout=60s",
        &format!("flowschema/{}", level.name),
    ]);
    let requests = |column: &str, fits: &dyn Fn(u32) -> bool| {
        let dump = ["get", "--raw", "/debug/api_priority_and_fairness/dump_priority_levels"];
        let of_level = |table: &str| {
            let mut rows = table.lines().map(|line| line.split(',').map(str::trim));
            let column = rows.next()?.position(|name| name == column)?;
            rows.find_map(|mut row| {
                row.next().filter(|name| *name == level.name).and_then(|_| row.nth(column - 1)?.parse().ok())
            })
        };
        of_level(&namespace.kubectl_until(&dump, |table| of_level(table).is_some_and(fits)))
            .expect("a number")
    };

    let folder = namespace.folder_as(&kubeconfig);
    folder.file(
        "m.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'a-$(context.pipelineRun.uid)'}\n",
    );
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(&kubeconfig).expect("a kubeconfig")).expect("JSON");
    let slow = Slow::start(&config, &namespace.name);
    requests("ExecutingRequests", &|count| count == 1);
    let (run_id, start) = (run_id(), Instant::now());
    let up = folder.start(&["up", "m.yaml", "--run-id", &run_id]);
    // Pods and Services, at first and once more.
    let refused = requests("RejectedRequests", &|count| count >= 4);
    // The server asks for a second between two attempts.
    assert!(
        start.elapsed().as_millis() >= 990 && u64::from(refused) <= 2 * (start.elapsed().as_secs() + 1),
        "{refused} in {:?}",
        start.elapsed()
    );
    drop(slow);
    up.wait().ok().says("created 1 object");
    folder.call(&["down", "--run-id", &run_id]).ok();
    assert!(namespace.of_run(&run_id).is_empty());
}
