//! Pods that the cluster itself takes away: a drain's evictions, which a PodDisruptionBudget holds up, and
//! preemption by the scheduler.

use serde_json::{Value, json};

use super::mysql;
use super::screen::Up;
use crate::harness::{Namespace, client_image, kubeconfig, kubectl_output, run_id};

/// Asks for a pod's eviction as `kubectl drain` does, which would close the node for everybody else's pods as
/// well. What the API server says if it refuses.
fn evict(namespace: &Namespace, pod: &str, grace: u32) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", namespace.name);
    let options = json!({"gracePeriodSeconds": grace});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}, "deleteOptions": options});
    let output =
        kubectl_output(&["create", "--raw", &path, "-f", "-"], Some(eviction.to_string().as_bytes()));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn a_pod_that_the_cluster_takes_away_while_it_is_waited_for() {
    let namespace = Namespace::new("disrupted");
    let slow = |lines: &str| {
        mysql("container", lines)
            .replace("    # variables", "    - {name: TESTBED_SETUP_LINGER, value: '30'}")
    };
    let mut drained = Up::start(&namespace, &slow(""), &["-v"]);
    let mut vanished = Up::start(&namespace, &slow(""), &["-v"]);
    let port = "ports: [{containerPort: 3306, hostPort: 39482}]";
    let mut preempted = Up::start(&namespace, &slow(port), &["-v", "--allow", "host-ports"]);
    for up in [&mut drained, &mut vanished, &mut preempted] {
        up.started.until_it_says("mysql: initialising");
    }
    evict(&namespace, &format!("mysql-{}", drained.run_id), 1).unwrap();
    // Gone in the moment in which it is said why.
    evict(&namespace, &format!("mysql-{}", vanished.run_id), 0).unwrap();
    let higher = "apiVersion: v1\nkind: Pod\nmetadata: {name: higher}\nspec:\n  priorityClassName: system-cluster-critical\n  \
                  terminationGracePeriodSeconds: 0\n  \
                  containers: [{name: a, image: 'IMAGE', command: [sleep, '600'], ports: [{containerPort: 1, hostPort: 39482}]}]\n";
    namespace.apply(&higher.replace("IMAGE", &client_image()));
    let [drained, vanished, preempted] = [drained, vanished, preempted].map(Up::verdict);
    insta::assert_snapshot!("drained", drained);
    assert_eq!(vanished, drained);
    insta::assert_snapshot!("preempted", preempted);
}

/// A drain waits for as long as the run has a PodDisruptionBudget, and takes the pod afterwards.
#[test]
fn what_a_drain_takes_of_a_run_that_is_up_is_told() {
    let namespace = Namespace::new("drained");
    let folder = &namespace.folder;
    let (up, run, forwarded) = (run_id(), run_id(), run_id());
    let budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: 'postgres-$(context.pipelineRun.uid)'}\n\
                  spec: {minAvailable: 1, selector: {matchLabels: {test-dependencies: $(context.pipelineRun.uid)}}}\n";
    folder.file(
        "budget.yaml",
        &format!("{}---\n{budget}", super::refusing().replace("--no-such-option=hush-hush", "--nosync")),
    );
    let command = "touch at-work; until [ -e done ]; do sleep 0.1; done";
    let running = folder.start(&["run", "--with", "postgres", "--run-id", &run, "--", "sh", "-c", command]);
    let elsewhere = namespace.folder_as(kubeconfig());
    let mut forward = elsewhere.start(&["up", "--with", "postgres", "--run-id", &forwarded, "--forward"]);
    folder.call(&["up", "budget.yaml", "--run-id", &up]).ok();

    let pod = format!("postgres-{up}");
    let refused = evict(&namespace, &pod, 1).unwrap_err();
    assert!(refused.contains("violate the pod's disruption budget"), "{refused}");
    namespace.kubectl(&["delete", "pdb", &pod]);
    evict(&namespace, &pod, 1).unwrap();
    namespace.kubectl(&["wait", "--for=delete", "--timeout=60s", "pod", &pod]);
    let status: Value =
        serde_json::from_str(&folder.call(&["status", "--run-id", &up, "-o", "json"]).ok().stdout).unwrap();
    assert_eq!(
        (&status[0]["name"], &status[0]["state"]),
        (&pod.clone().into(), &"no pod".into()),
        "{status:#}"
    );
    folder.call(&["up", "budget.yaml", "--run-id", &up]).ok().says("created 2 objects, 1 exist already");
    folder.call(&["down", "--run-id", &up]).ok().says("PodDisruptionBudget");
    assert!(namespace.of_run(&up).is_empty());

    let pod = format!("postgres-{run}");
    namespace.kubectl_until(&["get", "pod", &pod], |_| folder.has("at-work"));
    evict(&namespace, &pod, 1).unwrap();
    namespace.kubectl(&["wait", "--for=delete", "--timeout=60s", "pod", &pod]);
    folder.file("done", "");
    let cause = "its pod was evicted (as by a drain of its node): EvictionByEvictionAPI";
    running.wait().ok().says(&format!("warning: postgres did not stay up while the command ran: {cause}"));
    forward.until_it_says("the addresses stay open");
    evict(&namespace, &format!("postgres-{forwarded}"), 1).unwrap();
    forward.until_it_says(&format!("warning: postgres did not stay up: {cause}"));
    forward.signal("INT");
    assert_eq!(forward.wait().code, Some(130));
    assert!(namespace.of_run(&forwarded).is_empty());
    let story: Value =
        serde_json::from_str(&folder.call(&["history", "show", &run, "-o", "json"]).ok().stdout).unwrap();
    let timeline = story["databases"][0]["timeline"].as_array().unwrap();
    let ended =
        timeline.iter().find(|moment| moment["what"] == "ended").unwrap_or_else(|| panic!("{story:#}"));
    assert_eq!(ended["detail"], cause, "{story:#}");
}
