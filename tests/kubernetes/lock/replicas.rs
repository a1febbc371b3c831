//! The replica of a workload as a lock.

mod race;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::audit;
use crate::credentials::account;
use crate::harness::{Namespace, client_image};
use crate::support::Folder;

/// What a lock on a Deployment needs.
const RULES: &str = "[{apiGroups: [apps], resources: [deployments], verbs: [get, list, watch, patch]}, \
                      {apiGroups: [''], resources: [pods], verbs: [list, watch]}]";

/// A container that does nothing, and what else is to be said of it.
fn idle(more: &str) -> String {
    format!("{{name: a, image: '{}', command: [sleep, '600']{more}}}", client_image())
}

/// A container that is never ready.
fn never_ready() -> String {
    idle(", readinessProbe: {exec: {command: ['false']}, periodSeconds: 600}")
}

/// A workload without replicas, whose pods end within so many seconds.
fn workload(kind: &str, name: &str, grace: u32, container: &str) -> String {
    let service = if kind == "StatefulSet" { format!("serviceName: {name}, ") } else { String::new() };
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{service}replicas: 0, selector: {{matchLabels: {{app: {name}}}}}, \
         template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: {grace}, containers: [{container}]}}}}}}\n"
    )
}

/// A namespace with a workload called `b` that works, and whose pods are gone at once.
fn with_workload(prefix: &str, kind: &str) -> (Namespace, String) {
    with_workload_that_ends_within(0, prefix, kind)
}

/// The same where each pod gets some seconds to end. The kubelet adds up to ten of its own.
fn with_workload_that_ends_within(seconds: u32, prefix: &str, kind: &str) -> (Namespace, String) {
    let namespace = Namespace::new(prefix);
    namespace.apply(&workload(kind, "b", seconds, &idle("")));
    (namespace, format!("{}/b", kind.to_lowercase()))
}

fn replicas(namespace: &Namespace, on: &str) -> String {
    namespace.kubectl(&["get", on, "-o", "jsonpath={.spec.replicas}"])
}

fn scale(namespace: &Namespace, on: &str, replicas: u32) {
    namespace.kubectl(&["scale", on, &format!("--replicas={replicas}")]);
}

/// The run that holds the lock.
fn holder(namespace: &Namespace, on: &str) -> Option<String> {
    let text = namespace.kubectl(&["get", on, "-o", "jsonpath={.metadata.annotations.testbed/lock}"]);
    let lock: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
    lock["holders"][0]["id"].as_str().map(Into::into)
}

/// The UIDs of the pods that there are, those that are going away included.
fn pods(namespace: &Namespace) -> Vec<String> {
    let text = namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]);
    text.split_whitespace().map(Into::into).collect()
}

/// The one pod's UID; it has to be ready.
fn pod(namespace: &Namespace) -> String {
    let text =
        namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].ready}"]);
    assert_eq!(text, "true", "there is one pod, and it is ready");
    pods(namespace).remove(0)
}

fn goes_from_one_run_to_the_next(kind: &str, grace: u32) {
    let (namespace, on) = with_workload_that_ends_within(grace, "replica", kind);
    let folder = &namespace.folder;
    let acquire = |run: &'static str| ["lock", "acquire", "--on", &on, "--run-id", run].map(str::to_owned);
    let call = |run| folder.call(&acquire(run).each_ref().map(String::as_str));
    let release = |run: &str| folder.call(&["lock", "release", "--on", &on, "--run-id", run]);

    assert_eq!(call("one").ok().says("held by run one").stdout, "b\n");
    let first = pod(&namespace);
    assert_eq!((replicas(&namespace, &on).as_str(), holder(&namespace, &on).as_deref()), ("1", Some("one")));
    call("one").ok().says("held already by run one");
    assert_eq!(pod(&namespace), first);
    let mut second = folder.start(&acquire("two").each_ref().map(String::as_str));
    second.until_it_says("1st of 1 in the queue; held by run one since");
    release("three").ok().says("left alone, it is not held by run three, but by run one");
    release("one").ok().says("released; next is run two").says("its pods are gone");
    assert_eq!(second.wait().ok().stdout, "b\n");
    assert_ne!(pod(&namespace), first, "each holder has a pod of its own");
    release("two").ok().says("its pods are gone");
    assert_eq!(
        (replicas(&namespace, &on).as_str(), holder(&namespace, &on), pods(&namespace)),
        ("0", None, vec![])
    );
    release("two").ok().says("nobody holds it");
}

#[test]
fn a_deployment_goes_from_one_run_to_the_next() {
    goes_from_one_run_to_the_next("Deployment", 1);
}

#[test]
fn a_stateful_set_goes_from_one_run_to_the_next() {
    goes_from_one_run_to_the_next("StatefulSet", 0);
}

#[test]
fn who_has_abandoned_it_is_followed_by_a_fresh_pod() {
    let (namespace, on) = with_workload("replica-ttl", "StatefulSet");
    let folder = &namespace.folder;
    folder.call(&["lock", "acquire", "--on", &on, "--run-id", "one", "--ttl", "1s"]).ok();
    let first = pod(&namespace);
    folder
        .call(&["lock", "acquire", "--on", &on, "--run-id", "two"])
        .ok()
        .says("taken from run one, which has abandoned it");
    assert_ne!(pod(&namespace), first);
    folder.call(&["lock", "release", "--on", &on, "--run-id", "one"]).ok().says("left alone");
    assert_eq!(holder(&namespace, &on).as_deref(), Some("two"));
}

#[test]
fn somebody_who_scales_it_by_hand_is_told_of() {
    let (namespace, on) = with_workload("replica-hand", "Deployment");
    let folder = &namespace.folder;
    let acquire = ["lock", "acquire", "--on", &on, "--run-id", "one"];
    scale(&namespace, &on, 2);
    let free = format!(
        "free it: kubectl --kubeconfig {} -n {} scale {on} --replicas=0",
        crate::harness::kubeconfig().display(),
        namespace.name
    );
    let text = "it has 2 replicas and no holder: somebody has scaled it by hand";
    folder.call(&[&acquire[..], &["--no-wait"]].concat()).fails(6).says(text).says(&free);
    folder.call(&[&acquire[..], &["--timeout", "4s"]].concat()).fails(6).says(text);
    assert_eq!(replicas(&namespace, &on), "2", "it is not ours to change");
    let mut waiting = folder.start(&acquire);
    waiting.until_it_says(text);
    scale(&namespace, &on, 0);
    waiting.wait().ok();

    scale(&namespace, &on, 0);
    folder
        .call(&acquire)
        .ok()
        .says("somebody has scaled it to 0 while run one held it; it gets its replica again")
        .says("held already");
    assert_eq!(replicas(&namespace, &on), "1");
    scale(&namespace, &on, 3);
    let text = "it has 3 replicas and is held by run one: somebody has scaled it by hand";
    folder.call(&acquire).fails(4).says(text).says("run one goes on holding it, as it did before");
    assert_eq!((replicas(&namespace, &on).as_str(), holder(&namespace, &on).as_deref()), ("3", Some("one")));
    folder
        .call(&["lock", "release", "--on", &on, "--run-id", "one"])
        .ok()
        .says(text)
        .says("it is set to 0")
        .says("its pods are gone");
    assert_eq!((replicas(&namespace, &on).as_str(), pods(&namespace)), ("0", vec![]));
}

#[test]
fn what_does_not_come_up_is_given_back() {
    let namespace = Namespace::new("replica-fails");
    let folder = &namespace.folder;
    let missing = idle(", imagePullPolicy: Never").replace(&client_image(), "no-such-image:1");
    namespace.apply(&workload("Deployment", "missing", 0, &missing));
    namespace.apply(&workload("Deployment", "slow", 0, &never_ready()));
    let acquire = |on: &str, more: &[&str]| {
        folder.start(&[&["lock", "acquire", "--on", on, "--run-id", "one"], more].concat())
    };

    let timed_out = acquire("deployment/slow", &["--ready-timeout", "2s"]);
    let image = acquire("deployment/missing", &[]).wait().fails(4);
    image
        .says("error: Pod missing-")
        .says("the node does not have the image no-such-image:1")
        .says("deployment/missing was given back: it has 0 replicas and no holder");
    timed_out
        .wait()
        .fails(3)
        .says("deployment/slow: not ready within 2s: Deployment/slow: 0 of 1 pods ready")
        .says("was given back");
    let mut scaled = acquire("deployment/slow", &[]);
    scaled.until_it_says("waiting for its pod");
    scale(&namespace, "deployment/slow", 2);
    scaled
        .wait()
        .fails(4)
        .says("it has 2 replicas and is held by run one: somebody has scaled it by hand")
        .says("was given back");
    let mut cancelled = acquire("deployment/slow", &[]);
    cancelled.until_it_says("waiting for its pod");
    cancelled.signal("TERM");
    cancelled.wait().fails(143).says("was given back");
    for on in ["deployment/missing", "deployment/slow"] {
        assert_eq!((replicas(&namespace, on).as_str(), holder(&namespace, on)), ("0", None), "{on}");
    }
}

#[test]
#[ignore = "the kubelet takes half a minute for three starts; run by `make soak`"]
fn what_ends_again_and_again_is_given_back_with_its_log_told() {
    let namespace = Namespace::new("replica-crash");
    // Without a probe, a container is ready that has only just started.
    let broken = never_ready().replace("sleep, '600'", "sh, -c, 'echo no licence; exit 7'");
    namespace.apply(&workload("StatefulSet", "broken", 0, &broken));
    let acquire =
        namespace.folder.call(&["lock", "acquire", "--on", "sts/broken", "--run-id", "one"]).fails(4);
    acquire
        .says("error: Pod broken-0 cannot become ready")
        .says("| no licence")
        .says("statefulset/broken was given back");
    assert_eq!((replicas(&namespace, "sts/broken").as_str(), holder(&namespace, "sts/broken")), ("0", None));
}

#[test]
fn a_pod_that_stays_keeps_the_next_one_waiting() {
    let (namespace, on) = with_workload("replica-held", "StatefulSet");
    let folder = &namespace.folder;
    folder.call(&["lock", "acquire", "--on", &on, "--run-id", "one"]).ok();
    let finalizers = |list: &str| {
        namespace.kubectl(&[
            "patch",
            "pod",
            "b-0",
            "-p",
            &format!("{{\"metadata\": {{\"finalizers\": {list}}}}}"),
        ])
    };
    finalizers("[\"example.com/hold\"]");
    let release =
        folder.call(&["lock", "release", "--on", &on, "--run-id", "one", "--timeout", "2s"]).fails(5);
    let left = "Pod b-0 (held by the finalizer example.com/hold)";
    release.says("released").says(&format!("still there after 2 s: {left}"));
    folder
        .call(&["lock", "acquire", "--on", &on, "--run-id", "two", "--no-wait"])
        .fails(6)
        .says(&format!("{left} of before is not gone yet"));
    let mut second = folder.start(&["lock", "acquire", "--on", &on, "--run-id", "two"]);
    second.until_it_says(left);
    assert_eq!(replicas(&namespace, &on), "0");
    finalizers("null");
    second.wait().ok();
    pod(&namespace);
}

#[test]
fn a_command_begins_once_the_pod_is_ready() {
    let (namespace, on) = with_workload("replica-run", "Deployment");
    let folder = &namespace.folder;
    let look = format!(
        "kubectl --kubeconfig {} -n {} get {on} -o",
        crate::harness::kubeconfig().display(),
        namespace.name
    );
    let script = format!("{look} jsonpath={{.status.readyReplicas}}; exit 5");
    let ran = folder
        .call(&["lock", "run", "--on", &on, "--run-id", "one", "--", "sh", "-c", &script])
        .ends(5)
        .says("released");
    assert_eq!(ran.stdout, "1");
    assert_eq!((replicas(&namespace, &on).as_str(), holder(&namespace, &on)), ("0", None));

    namespace.apply(&workload("Deployment", "slow", 0, &never_ready()));
    let run = [
        "lock",
        "run",
        "--on",
        "deployment/slow",
        "--ttl",
        "2s",
        "--ready-timeout",
        "4s",
        "--",
        "touch",
        "begun",
    ];
    let slow = folder.start(&run);
    namespace.kubectl_until(&["get", "deployment/slow", "-o", "yaml"], |text| text.contains("ttlMillis"));
    let rival =
        folder.start(&["lock", "acquire", "--on", "deployment/slow", "--run-id", "two", "--timeout", "3s"]);
    slow.wait().fails(3).says("not ready within 4s").says("deployment/slow: released");
    assert!(!folder.has("begun"));
    rival.wait().fails(6);
}

#[test]
fn what_cannot_be_a_lock_is_refused() {
    let (namespace, on) = with_workload("replica-refused", "Deployment");
    let folder = &namespace.folder;
    let acquire =
        |more: &[&str]| folder.call(&[&["lock", "acquire", "--run-id", "one", "--on"], more].concat());
    acquire(&[&on, "--permits", "2"])
        .fails(2)
        .says("--permits 2 with --on deployment/b: its one replica is one permit");
    acquire(&["deployment/none"]).fails(2).says("Deployment none does not exist");
    acquire(&["daemonset/b"]).fails(2).says("write deployment/NAME or statefulset/NAME");
    namespace.apply(
        "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: grows}\n\
         spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: b}}\n",
    );
    acquire(&[&on]).fails(2).says("HorizontalPodAutoscaler grows sets its replicas").says("delete hpa grows");
    namespace.apply(&workload("StatefulSet", "b", 0, &idle("")));
    acquire(&["statefulset/b"]).ok();
    // What `down` and `gc` remove has a run's label; this has none.
    folder.call(&["down", "--run-id", "one"]).ok().says("nothing to do");
    assert_eq!(holder(&namespace, "statefulset/b").as_deref(), Some("one"));
}

#[test]
fn with_the_smallest_role() {
    let (namespace, on) = with_workload("replica-rights", "Deployment");
    let config = Folder::new();
    let folder = namespace.folder_as(&account(&namespace, &config, RULES));
    let note = "whether a HorizontalPodAutoscaler scales it cannot be seen here";
    folder.call(&["lock", "acquire", "--on", &on, "--run-id", "one"]).ok().says(note);
    let second = folder.start(&["lock", "acquire", "--on", &on, "--run-id", "two"]);
    namespace.kubectl_until(&["get", &on, "-o", "yaml"], |text| text.contains("two"));
    folder.call(&["lock", "release", "--on", &on, "--run-id", "one"]).ok();
    second.wait().ok();
    let Some(requests) = audit::requests_of(&namespace, "limited") else { return };
    let denied: Vec<Value> = audit::denied(&requests).into_iter().cloned().collect();
    let all: BTreeSet<String> = audit::verbs(&requests).into_iter().collect();
    let refused: BTreeSet<String> = audit::verbs(&denied).into_iter().collect();
    let used: Vec<&String> = all.difference(&refused).collect();
    assert_eq!(
        used,
        [
            "get deployments",
            "list deployments",
            "list pods",
            "patch deployments",
            "watch deployments",
            "watch pods"
        ]
    );
    assert_eq!(refused.iter().collect::<Vec<_>>(), ["list events", "list horizontalpodautoscalers"]);
}
