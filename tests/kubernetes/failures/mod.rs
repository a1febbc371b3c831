//! What cannot come up is told at once, with its cause: every failure is a real one, and what is printed is
//! the whole screen.

mod companions;
mod disruption;
mod policy;
mod screen;
mod webhook;

use std::time::{Duration, Instant};

use self::screen::{SOON, Up};
use crate::credentials::account;
use crate::harness::{Namespace, OfCluster, PIPELINE_ROLE, client_image, kubectl, kubectl_output};
use crate::support::Folder;

const MYSQL: &str = include_str!("../manifests/failures/mysql.yaml");
const REGISTRY: &str = include_str!("../manifests/failures/registry.yaml");

/// A Job that fails, and may not try again.
const JOB: &str = include_str!("../manifests/failures/job.yaml");

/// The manifest with lines put in at the places that it has for them: `pod`, `container` and `variables`.
fn mysql(at: &str, lines: &str) -> String {
    let mark = MYSQL.lines().find(|line| line.trim() == format!("# {at}")).unwrap();
    let indent = &mark[..mark.len() - mark.trim_start().len()];
    let lines: Vec<String> = lines.lines().map(|line| format!("{indent}{line}")).collect();
    MYSQL.replace(mark, &lines.join("\n"))
}

/// The manifest with init scripts from a volume.
fn with_volume(source: &str) -> String {
    mysql("container", "volumeMounts: [{name: scripts, mountPath: /docker-entrypoint-initdb.d}]")
        .replace("  # pod", &format!("  volumes: [{{name: scripts, {source}}}]"))
}

fn with_image(image: &str) -> String {
    MYSQL.replace("mysql:9.7", image)
}

/// The manifest with the word that its container is a database, whatever it runs.
fn marked(manifest: &str) -> String {
    manifest
        .replace("kind: Pod\nmetadata:\n", "kind: Pod\nmetadata:\n  annotations: {testbed/engine: mysql}\n")
}

/// Checks screens that belong together: all of these runs go on at the same time.
macro_rules! screens {
    ($namespace:expr, [$(($name:literal, $manifest:expr, $flags:expr)),+ $(,)?]) => {{
        let ups = [$(($name, Up::start($namespace, &$manifest, &$flags))),+];
        for (name, up) in ups {
            let screen = up.screen();
            insta::assert_snapshot!(name, screen);
        }
    }};
}

#[test]
fn images_that_are_not_there() {
    let namespace = Namespace::new("images");
    let registry = registry(&namespace);
    let answering = |status: u16| with_image(&format!("{registry}/s{status}:1"));
    let with_secret = answering(403).replace("  # pod", "  imagePullSecrets: [{name: no-such}]");
    let with_secret = Up::start(&namespace, &with_secret, &[]);
    let briefly = ["--pull-timeout", "3s"];
    screens!(
        &namespace,
        [
            (
                "image-never-pulled",
                mysql("container", "imagePullPolicy: Never").replace("mysql:9.7", "mysql:no-such-tag"),
                []
            ),
            ("image-bad-name", with_image("MySQL:9.7"), []),
            ("image-not-found", answering(404), []),
            ("image-unauthorized", answering(401), []),
            ("image-rate-limit", answering(429), briefly),
            ("image-registry-error", answering(503), briefly),
            ("image-registry-refused", with_image("127.0.0.1:9/mysql:9.7"), briefly),
        ]
    );
    let screen = with_secret.screen();
    // The event about the Secret may come too late to be shown; the advice names it in any case.
    let lines: Vec<&str> = screen
        .lines()
        .filter(|line| !line.starts_with("  event: Warning FailedToRetrieveImagePullSecret"))
        .collect();
    insta::assert_snapshot!("image-pull-secret-missing", lines.join("\n"));
}

#[test]
fn what_a_pod_refers_to_is_not_there() {
    let namespace = Namespace::new("missing");
    namespace.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: settings}\nstringData: {other: x}\n");
    let variable =
        |reference: &str| mysql("variables", &format!("- {{name: LICENCE, valueFrom: {{{reference}}}}}"));
    screens!(
        &namespace,
        [
            ("missing-secret", variable("secretKeyRef: {name: no-such, key: k}"), []),
            ("missing-key", variable("secretKeyRef: {name: settings, key: licence}"), []),
            ("missing-config-map", with_volume("configMap: {name: no-such}"), []),
            ("missing-claim", with_volume("persistentVolumeClaim: {claimName: no-such}"), []),
            ("no-node-selected", mysql("pod", "nodeSelector: {disk: no-such}"), []),
            (
                "no-room",
                mysql("container", "resources: {requests: {memory: 64Ti}}"),
                ["--capacity-timeout", "3s"]
            ),
        ]
    );
}

/// Starts the registry, and returns its address.
fn registry(namespace: &Namespace) -> String {
    namespace.apply(&REGISTRY.replace("IMAGE", &client_image()));
    let log = namespace.kubectl_until(&["logs", "registry"], |text| text.starts_with("port "));
    format!("127.0.0.1:{}", log.trim_start_matches("port ").lines().next().unwrap())
}

/// The container's status tells of a volume's image as if it were the container's own.
#[test]
fn images_of_volumes_that_are_not_there() {
    let namespace = Namespace::new("image-volumes");
    let never = with_volume("image: {reference: 'scripts:no-such-tag', pullPolicy: Never}");
    // Since 1.35 all have them.
    namespace.folder.file("m.yaml", &never);
    let doctor = namespace.folder.call(&["doctor", "m.yaml", "--run-id", "run-1"]).ok();
    let reference = "jsonpath={.spec.volumes[*].image.reference}";
    let pod = never.split_once("---\n").unwrap().1.replace("$(context.pipelineRun.uid)", "a");
    let kept = ["-n", &namespace.name, "create", "--dry-run=server", "-o", reference, "-f", "-"];
    if kubectl_output(&kept, Some(pod.as_bytes())).stdout.is_empty() {
        assert!(
            doctor.stdout.contains("the API server has left out spec.volumes"),
            "{}",
            doctor.transcript()
        );
        return;
    }
    assert!(!doctor.stdout.contains("left out"), "{}", doctor.transcript());
    let registry = registry(&namespace);
    screens!(
        &namespace,
        [
            ("image-of-a-volume", with_volume(&format!("image: {{reference: '{registry}/s404:1'}}")), []),
            ("image-of-a-volume-never-pulled", never, []),
            ("image-of-a-volume-bad-name", with_volume("image: {reference: 'Scripts:1'}"), []),
        ]
    );
}

/// The node's container runtime does not have what the pod asks it for.
#[test]
fn a_sandbox_that_cannot_be_made() {
    let namespace = Namespace::new("sandbox");
    let class = OfCluster { kinds: "runtimeclass", name: namespace.name.clone() };
    let handler = format!(
        "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: {}}}\nhandler: no-such\n",
        class.name
    );
    namespace.apply(&handler);
    let unknown = Up::start(&namespace, &mysql("pod", &format!("runtimeClassName: {}", class.name)), &[]);
    let absent = Up::start(&namespace, &stateful_set(&mysql("pod", "runtimeClassName: no-such")), &[]);
    let users = Up::start(&namespace, &mysql("pod", "hostUsers: false"), &[]);
    insta::assert_snapshot!("runtime-class-without-handler", unknown.screen());
    insta::assert_snapshot!("runtime-class-missing-behind-a-stateful-set", absent.screen());
    let features = "jsonpath={.items[*].status.runtimeHandlers[?(@.name==\"\")].features.userNamespaces}";
    if kubectl(&["get", "nodes", "-o", features]).contains("true") {
        users.comes_up();
    } else {
        insta::assert_snapshot!("user-namespaces", users.screen());
    }
}

#[test]
fn containers_that_end() {
    let namespace = Namespace::new("ends");
    let script = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: scripts}\ndata: {a.sh: 'echo \"the password is $MYSQL_ROOT_PASSWORD\"; exit 3'}\n";
    namespace.apply(script);
    let with_script = with_volume("configMap: {name: scripts}");
    screens!(
        &namespace,
        [
            ("crash-loop", refusing(), []),
            ("crash-with-password-in-log", with_script, []),
            ("no-such-command", mysql("container", "command: [mysqld-typo]"), []),
            ("ended-with-0", marked(&mysql("container", "command: [echo, nothing to do]")), []),
            (
                "init-container",
                mysql(
                    "pod",
                    "initContainers: [{name: prepare, image: 'mysql:9.7', command: [sh, -c, 'echo no licence; exit 7']}]"
                ),
                []
            ),
            ("job", JOB.replace("IMAGE", &client_image()), []),
            ("never-restarted", refusing().replace("  # pod", "  restartPolicy: Never"), []),
        ]
    );
}

/// A server that does not take one of its arguments, which holds a password.
fn refusing() -> String {
    mysql("variables", "- {name: POSTGRES_INITDB_ARGS, value: --no-such-option=hush-hush}")
        .replace("mysql:9.7", "postgres:17")
        .replace("MYSQL_ROOT_PASSWORD", "POSTGRES_PASSWORD")
        .replace("3306", "5432")
        .replace("mysql", "postgres")
}

#[test]
fn a_pod_that_ends_as_a_whole() {
    let namespace = Namespace::new("pods-end");
    let node = kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let pinned = mysql("pod", &format!("nodeName: {node}\nnodeSelector: {{disk: no-such}}"));
    let hungry = Up::start(&namespace, &mysql("container", "resources: {limits: {memory: 128Mi}}"), &[]);
    let deleted = Up::start(&namespace, &with_image("127.0.0.1:9/mysql:9.7"), &[]);
    screens!(
        &namespace,
        [("deadline", mysql("pod", "activeDeadlineSeconds: 1"), []), ("refused-by-its-node", pinned, []),]
    );
    insta::assert_snapshot!("out-of-memory", without_log(&hungry.screen()));
    namespace.kubectl(&["delete", "pod", &format!("mysql-{}", deleted.run_id), "--wait=false"]);
    insta::assert_snapshot!("deleted-by-somebody", deleted.screen());
}

/// How far a server comes before it is killed is different each time.
fn without_log(screen: &str) -> String {
    let lines: Vec<&str> =
        screen.lines().filter(|line| !line.starts_with("  log:") && !line.starts_with("    | ")).collect();
    lines.join("\n")
}

/// The node measures volumes every minute or two: too long for every day.
#[test]
#[ignore = "takes up to three minutes"]
fn an_evicted_pod() {
    let namespace = Namespace::new("evicted");
    let evicted = mysql(
        "pod",
        "volumes: [{name: data, emptyDir: {sizeLimit: 1Mi}}]\n\
         initContainers: [{name: fill, image: 'mysql:9.7', command: [sh, -c, 'head -c 20000000 /dev/zero > /data/zeros'], volumeMounts: [{name: data, mountPath: /data}]}]",
    );
    // A set-up that is still going on by then.
    let evicted = evicted.replace("    # variables", "    - {name: TESTBED_SETUP_LINGER, value: '240'}");
    let filling = mysql(
        "container",
        "resources: {limits: {ephemeral-storage: 5Mi}}\ncommand: [sh, -c, 'head -c 60000000 /dev/zero > /tmp/zeros; sleep 600']",
    );
    let [evicted, filling] = [evicted, filling].map(|manifest| Up::start(&namespace, &manifest, &[]));
    insta::assert_snapshot!("evicted", evicted.screen_within(Duration::from_secs(200)));
    insta::assert_snapshot!("evicted-for-its-files", filling.screen_within(Duration::from_secs(200)));
}

#[test]
fn what_the_namespace_does_not_allow() {
    let quota = Namespace::new("quota");
    quota.apply(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\nspec: {hard: {limits.memory: 64Mi}}\n",
    );
    quota.kubectl_until(&["get", "resourcequota", "small", "-o", "jsonpath={.status.hard}"], |text| {
        !text.is_empty()
    });
    let range = Namespace::new("range");
    range.apply("apiVersion: v1\nkind: LimitRange\nmetadata: {name: small}\nspec: {limits: [{type: Container, max: {memory: 64Mi}}]}\n");
    let big = mysql("container", "resources: {limits: {memory: 1Gi}}");
    screens!(&quota, [("quota", big, []), ("quota-behind-a-stateful-set", stateful_set(&big), [])]);
    screens!(&range, [("limit-range", big, [])]);
    assert!(range.labelled("test-dependencies").is_empty(), "a refused creation leaves nothing");
}

/// The manifest with a StatefulSet in place of the pod.
fn stateful_set(manifest: &str) -> String {
    let (service, pod) = manifest.split_once("---\n").unwrap();
    let (_, spec) = pod.split_once("\nspec:\n").unwrap();
    let spec: Vec<String> = spec.lines().map(|line| format!("    {line}")).collect();
    let name = "mysql-$(context.pipelineRun.uid)";
    format!(
        "{service}---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: {name}\n  \
         selector: {{matchLabels: {{db: {name}}}}}\n  template:\n    metadata: {{labels: {{db: {name}}}}}\n    spec:\n{}\n",
        spec.join("\n")
    )
}

/// What `up` says of a pod with the label `deny` once the API server refuses such pods with these words,
/// which takes it a moment: of a plain pod, and of one behind a StatefulSet.
fn screens_of_denied_pods(namespace: &Namespace, words: &str) -> [String; 2] {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: probe, labels: {deny: x}}\nspec: {containers: [{name: a, image: a}]}\n";
    namespace.kubectl_until_it_says(
        &["create", "--dry-run=server", "-f", "-"],
        Some(pod.as_bytes()),
        |_, error| error.contains(words),
    );
    let labelled = |manifest: &str| manifest.replace("labels: {db:", "labels: {deny: x, db:");
    let manifest = mysql("pod", "");
    let plain = Up::start(namespace, &labelled(&manifest), &[]);
    let behind = Up::start(namespace, &labelled(&stateful_set(&manifest)), &[]);
    [plain.screen(), behind.screen()]
}

#[test]
fn a_namespace_that_is_being_deleted() {
    let namespace = Namespace::new("ending");
    namespace
        .apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n");
    namespace.kubectl(&["delete", "namespace", &namespace.name, "--wait=false"]);
    let screen = Up::start(&namespace, MYSQL, &[]).screen();
    namespace.kubectl(&[
        "patch",
        "configmap",
        "held",
        "--type=json",
        "-p",
        r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
    ]);
    insta::assert_snapshot!("namespace-terminating", screen);
}

#[test]
fn on_failure_delete_removes_what_this_call_has_made() {
    let namespace = Namespace::new("discard");
    let kept = Up::start(&namespace, &refusing(), &["--on-failure", "keep"]);
    let run_id = kept.run_id.clone();
    let up = Up::start(&namespace, &refusing(), &["--on-failure", "delete"]);
    let discarded = up.run_id.clone();
    insta::assert_snapshot!("on-failure-delete", up.screen());
    assert!(namespace.of_run(&discarded).is_empty());

    let (_, folder) = kept.screen_and_folder(SOON);
    assert_eq!(namespace.of_run(&run_id).len(), 2);
    let again =
        folder.call(&["up", "databases.yaml", "--run-id", &run_id, "--on-failure", "delete"]).fails(4);
    again.says("hint: nothing was removed: 2 of its objects are those of an earlier `testbed up`");
    assert_eq!(namespace.of_run(&run_id).len(), 2);
    folder.call(&["down", "--run-id", &run_id]).ok();
}

/// The original pipeline's Role, which allows to look at pods and at nothing else.
#[test]
fn with_few_rights_the_cause_is_found_and_the_rights_are_named_that_tell_more() {
    let namespace = Namespace::new("few-rights");
    assert!(
        PIPELINE_ROLE.contains("resources: [pods, services]\n  verbs: [create, delete, get, list, watch]\n")
    );
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}]";
    let kubeconfig = account(&namespace, &config, rules);
    let untold = Up::start_as(
        &kubeconfig,
        &namespace,
        &with_volume("configMap: {name: no-such}"),
        &["--timeout", "8s"],
    );
    let screen = Up::start_as(&kubeconfig, &namespace, &refusing(), &[]).screen();
    insta::assert_snapshot!("few-rights", screen.replace(&kubeconfig.display().to_string(), "KUBECONFIG"));
    untold
        .started
        .wait()
        .fails(3)
        .says("hint: events, which would tell of volumes, networks and quotas, may not be read");
}

/// A node that is being added is waited for, however long that takes: an autoscaler says so in an event.
#[test]
fn a_pod_that_no_node_takes_is_waited_for_while_one_is_being_added() {
    let namespace = Namespace::new("scale-up");
    let blocker = "apiVersion: v1\nkind: Pod\nmetadata: {name: blocker}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
                   containers: [{name: a, image: 'IMAGE', command: [sleep, '600'], ports: [{containerPort: 1, hostPort: 39481}]}]\n";
    namespace.apply(&blocker.replace("IMAGE", &client_image()));
    namespace.kubectl(&["wait", "--for=condition=ready", "--timeout=60s", "pod/blocker"]);
    let budget = Duration::from_secs(5);
    let mut up = Up::start(
        &namespace,
        &mysql("container", "ports: [{containerPort: 3306, hostPort: 39481}]"),
        &["--capacity-timeout", "5s", "--allow", "host-ports", "-v"],
    );
    up.started.until_it_says("mysql: no node takes it: ");
    let begun = Instant::now();
    let pod = format!("mysql-{}", up.run_id);
    let uid = namespace.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.metadata.uid}"]);
    namespace.apply(&format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{name: {pod}.1}}\ntype: Normal\nreason: TriggeredScaleUp\n\
         message: 'pod triggered scale-up: [{{group 1->2 (max: 3)}}]'\nsource: {{component: cluster-autoscaler}}\ncount: 1\n\
         firstTimestamp: 2030-01-01T00:00:00Z\nlastTimestamp: 2030-01-01T00:00:00Z\n\
         involvedObject: {{apiVersion: v1, kind: Pod, name: {pod}, namespace: {}, uid: {uid}}}\n",
        namespace.name
    ));
    up.started.until_it_says("mysql: no node fits yet, and the cluster is adding one");
    // The time that has to pass is what is tested: without the event it would be over by then.
    std::thread::sleep((budget + Duration::from_secs(2)).saturating_sub(begun.elapsed()));
    namespace.kubectl(&["delete", "pod", "blocker", "--wait=false"]);
    up.started.until_it_says("mysql: starting (scheduled");
    namespace.kubectl(&["delete", "pod", &pod, "--wait=false"]);
    up.started.wait().fails(4);
}
