//! `testbed gc` in a cluster: what was left behind goes, and nothing else, whoever calls it and whatever goes
//! on beside it.

mod layers;
mod rights;
pub mod run;
mod tekton;

use serde_json::{Value, json};

use self::run::{Leftover, ago, hence, labels};
use crate::harness::{Namespace, kubeconfig, kubectl};
use crate::pipeline_runs;
use crate::proxy::Altering;
use crate::support::{Called, Folder};

/// Everything in the namespace that a run can be made of, each with its UID and version.
fn everything(namespace: &Namespace) -> Vec<String> {
    let path = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{\"\\n\"}{end}";
    namespace
        .kubectl(&["get", "services,secrets,configmaps,pods,pvc", "-o", path])
        .lines()
        .map(Into::into)
        .collect()
}

/// What `-o json` tells, without what is on this machine.
fn told(gc: &Called) -> Vec<Value> {
    serde_json::from_str(&gc.stdout).unwrap_or_else(|error| panic!("{error}\n{}", gc.transcript()))
}

#[test]
fn expired_runs_go_and_nothing_else() {
    let namespace = Namespace::new("gc");
    let folder = &namespace.folder;
    let live = folder.call(&["up", "--with", "postgres", "--run-id", "live"]).ok();
    namespace.apply(&Leftover::new("old").expires(&ago(3)).with_pod().manifest());
    namespace.apply(&Leftover::new("eternal").manifest());
    namespace.apply(&Leftover::new("held").expires("never").manifest());
    namespace.apply(&Leftover::new("extended").expires(&ago(3)).manifest());
    namespace.kubectl(&[
        "annotate",
        "service",
        "service-extended",
        "--overwrite",
        &format!("testbed/expires={}", hence(1)),
    ]);
    // Of the expired run, but not of testbed; of testbed, but of no run; and what is nobody's.
    let old = json!({"testbed/expires": ago(3), "testbed/kinds": "v1/ConfigMap"});
    for (name, labels) in [
        ("others", json!({"test-dependencies": "old", "app.kubernetes.io/managed-by": "helm"})),
        ("unmanaged", json!({"test-dependencies": "old"})),
        ("no-run", json!({"app.kubernetes.io/managed-by": "testbed"})),
        ("odd-run", json!({"test-dependencies": "No.Run-Id", "app.kubernetes.io/managed-by": "testbed"})),
        ("unlabelled", json!({})),
    ] {
        let metadata = json!({"name": name, "labels": labels, "annotations": old});
        namespace.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).to_string());
    }
    // From then on the cluster itself changes nothing of it.
    namespace.kubectl(&["wait", "--for=condition=Ready", "pod/pod-old", "--timeout=120s"]);
    let before = everything(&namespace);

    let dry = folder.call(&["gc", "--dry-run", "-o", "json"]).ok();
    assert_eq!(
        dry.story(),
        [format!("would remove run old in namespace {} (4 objects): expired 3 h ago", namespace.name)]
    );
    let expected = json!({
        "runId": "old", "runtime": "kubernetes", "namespace": namespace.name, "objects": 4, "reason": "expired", "because": "expired 3 h ago",
        "removed": false, "error": null,
    });
    assert_eq!(told(&dry), std::slice::from_ref(&expected));
    assert_eq!(everything(&namespace), before);

    let gc = folder.call(&["gc", "-o", "json"]).ok();
    assert_eq!(
        gc.story(),
        [format!("removed run old in namespace {} (4 objects): expired 3 h ago", namespace.name)]
    );
    let mut removed = expected;
    removed["removed"] = true.into();
    assert_eq!(told(&gc), [removed]);
    let (gone, kept): (Vec<String>, _) =
        before.into_iter().partition(|line| line.split(' ').next().unwrap_or_default().ends_with("-old"));
    assert_eq!(gone.len(), 4, "{gone:?}");
    assert_eq!(everything(&namespace), kept);

    let again = folder.call(&["gc"]).ok();
    assert_eq!(again.story(), [format!("nothing to remove in namespace {} (4 runs stay)", namespace.name)]);
    assert_eq!(again.stdout, "");
    let stays = folder.call(&["gc", "-v"]).ok();
    let stays =
        stays.says("run live in namespace").says("stays: expires in 1 h").says("\"never\", which is no time");
    stays.says("run eternal in namespace").says("stays: no testbed/expires on its objects");
    folder.call(&["down", "--run-id", live.stdout.trim()]).ok();
}

/// What a manifest can be made of, a StatefulSet's claim included, which nothing else would remove.
#[test]
fn every_kind_of_a_run_goes() {
    let namespace = Namespace::new("gc-kinds");
    let folder = &namespace.folder;
    let claims = "  volumeClaimTemplates:\n  - metadata: {name: more}\n    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}\n";
    let manifest = include_str!("manifests/kinds.yaml");
    let (start, end) =
        manifest.split_once("---\napiVersion: batch/v1").expect("the Job comes after the StatefulSet");
    folder.file("kinds.yaml", &format!("{start}{claims}---\napiVersion: batch/v1{end}"));
    folder.call(&["up", "kinds.yaml", "--run-id", "run-1", "--param", "greeting=hello"]).ok();
    namespace.apply(&Leftover::new("live").expires(&hence(1)).manifest());
    let kinds = "pods,services,secrets,configmaps,pvc,deployments,replicasets,statefulsets,jobs";
    let expire = |expires: &str| {
        let expires = format!("testbed/expires={expires}");
        namespace.kubectl(&["annotate", "--overwrite", kinds, "-l", "test-dependencies=run-1", &expires])
    };
    let made = namespace.of_run("run-1");
    assert!(made.iter().any(|name| name == "persistentvolumeclaim/more-set-run-1-0"), "{made:?}");
    expire(&ago(1));
    // A single object that is to stay keeps the others.
    namespace.kubectl(&["annotate", "--overwrite", "statefulset/set-run-1", "testbed/expires=never"]);
    folder.call(&["gc"]).ok().says("nothing to remove");
    expire(&ago(1));
    let gc = folder.call(&["gc"]).ok().says("removed run run-1 in namespace");
    // What stands for revisions of the StatefulSet goes with it.
    namespace.kubectl_until(&["get", "controllerrevisions", "-o", "name"], str::is_empty);
    assert_eq!(namespace.of_run("run-1"), Vec::<String>::new(), "{}", gc.transcript());
    assert_eq!(namespace.of_run("live").len(), 3);
    // A claim alone, as the collector leaves it when the StatefulSet's owner is deleted.
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}});
    let metadata =
        json!({"name": "claim", "labels": labels("alone"), "annotations": {"testbed/expires": ago(1)}});
    namespace.apply(
        &json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
            .to_string(),
    );
    folder.call(&["gc"]).ok().says("removed run alone in namespace").says("(1 object)");
    assert_eq!(namespace.of_run("alone"), Vec::<String>::new());
}

#[test]
fn two_at_once_do_not_hinder_each_other() {
    let namespace = Namespace::new("gc-both");
    let folder = &namespace.folder;
    let runs: Vec<String> = (1..=6).map(|number| format!("old-{number}")).collect();
    for run in &runs {
        namespace.apply(&Leftover::new(run).expires(&ago(3)).with_pod().manifest());
    }
    let gc = || folder.start(&["gc", "-o", "json"]);
    let (one, two) = (gc(), gc());
    let (one, two) = (one.wait().ok(), two.wait().ok());
    assert!(namespace.labelled("test-dependencies").is_empty());
    let mut removed: Vec<String> = [told(&one), told(&two)]
        .concat()
        .iter()
        .map(|item| item["runId"].as_str().expect("an id").to_owned())
        .collect();
    removed.sort_unstable();
    removed.dedup();
    assert_eq!(removed, runs, "{}{}", one.transcript(), two.transcript());
}

#[test]
fn gc_beside_up_and_down() {
    let namespace = Namespace::new("gc-beside");
    if !pipeline_runs::install() {
        return;
    }
    let folder = &namespace.folder;
    let mut up = folder.start(&["up", "--with", "postgres", "--with", "mariadb", "--run-id", "live"]);
    let mut calls = 0;
    while up.child.try_wait().expect("testbed").is_none() {
        let old = format!("old-{calls}");
        namespace.apply(&Leftover::new(&old).expires(&ago(1)).manifest());
        folder
            .call(&["gc", "--pipeline-runs"])
            .ok()
            .says(&format!("removed run {old} in namespace"))
            .keeps("live");
        calls += 1;
    }
    assert!(calls > 0, "up was there before gc could look");
    up.wait().ok();
    let made = namespace.of_run("live");
    assert_eq!(made.len(), 6, "{made:?}");
    // Both remove the same.
    namespace.kubectl(&[
        "annotate",
        "--overwrite",
        "pods,services,secrets",
        "-l",
        "test-dependencies=live",
        "testbed/expires=2020-01-01T00:00:00Z",
    ]);
    let (gc, down) = (folder.start(&["gc"]), folder.start(&["down", "--run-id", "live"]));
    gc.wait().ok();
    down.wait().ok();
    assert_eq!(namespace.of_run("live"), Vec::<String>::new());
}

/// The API server's time counts, wherever gc runs and whatever time it is there.
#[test]
fn the_time_is_the_api_servers() {
    let namespace = Namespace::new("gc-clock");
    namespace.apply(&Leftover::new("run-1").expires(&hence(2)).manifest());
    let config = Folder::new();
    let date = |line: &str| run::date(hours_later(line, 6));
    let way = Altering::start(str::to_owned, move |received| {
        let lines = received.split_inclusive("\r\n").map(|line| match line.strip_prefix("Date: ") {
            Some(value) => format!("Date: {}\r\n", date(value.trim_end())),
            None => line.to_owned(),
        });
        lines.collect()
    });
    let folder = namespace.folder_as(&way.kubeconfig(&config));
    let late = folder.call(&["gc", "--dry-run"]).ok();
    // Six hours less the two that are left and some seconds.
    let would =
        format!("would remove run run-1 in namespace {} (3 objects): expired 3 h ago", namespace.name);
    assert_eq!(late.story(), [would]);
    namespace.folder.call(&["gc", "--dry-run"]).ok().says("nothing to remove");
}

fn hours_later(date: &str, hours: i64) -> jiff::Timestamp {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    let at = parser.parse_timestamp(date).expect("a date");
    at.checked_add(jiff::SignedDuration::from_hours(hours)).expect("a time")
}

/// One that cannot go does not keep the others, and is told.
#[test]
fn what_is_held_is_named() {
    let namespace = Namespace::new("gc-held");
    let folder = &namespace.folder;
    for run in ["held", "old"] {
        namespace.apply(&Leftover::new(run).expires(&ago(3)).manifest());
    }
    let finalizers = |value: &str| {
        let patch = format!("{{\"metadata\": {{\"finalizers\": {value}}}}}");
        namespace.kubectl(&["patch", "configmap", "configmap-held", "--type=merge", "-p", &patch]);
    };
    finalizers("[\"example.com/hold\"]");
    let gc = folder.call(&["gc", "--timeout", "2s", "-o", "json"]);
    assert_eq!(gc.code, Some(5), "{}", gc.transcript());
    let still = "still there after 2 s: ConfigMap configmap-held (held by the finalizer example.com/hold)";
    let found = told(&gc);
    let gc = gc
        .says(&format!("error: run held in namespace {}: {still}", namespace.name))
        .says("hint: deletion goes on in the cluster");
    gc.says("removed run old in namespace");
    let of = |run: &str| {
        found.iter().find(|item| item["runId"] == run).unwrap_or_else(|| panic!("{run} is not in {found:?}"))
    };
    assert_eq!((&of("held")["removed"], &of("held")["error"]), (&false.into(), &still.into()));
    assert_eq!((&of("old")["removed"], &of("old")["error"]), (&true.into(), &Value::Null));
    finalizers("null");
    folder.call(&["gc"]).ok();
    assert!(namespace.labelled("test-dependencies").is_empty());
}

/// In all namespaces, as somebody who may look everywhere and delete in two of them only: others use the
/// cluster as well.
#[test]
fn all_namespaces_at_once() {
    let (one, two) = (Namespace::new("gc-one"), Namespace::new("gc-two"));
    let config = Folder::new();
    let user = rights::Everywhere::new(&one, &two, &config);
    let folder = one.folder_as(&user.kubeconfig);
    for namespace in [&one, &two] {
        namespace.apply(&Leftover::new("same-id").expires(&ago(3)).with_pod().manifest());
        namespace.apply(&Leftover::new("live").expires(&hence(1)).manifest());
    }
    let dry = folder.call(&["gc", "-A", "--dry-run", "-o", "json"]).ok();
    let ours = |found: &[Value]| -> Vec<String> {
        let ours = found
            .iter()
            .filter(|item| [&one.name, &two.name].iter().any(|name| item["namespace"] == name.as_str()));
        ours.map(|item| {
            format!("{}/{} {}", item["namespace"], item["runId"], item["removed"]).replace('"', "")
        })
        .collect()
    };
    let lines = |removed: bool| {
        run::sorted([&one, &two].map(|namespace| format!("{}/same-id {removed}", namespace.name)).to_vec())
    };
    assert_eq!(run::sorted(ours(&told(&dry))), lines(false));
    let alone = folder.call(&["gc", "--dry-run"]).ok();
    assert_eq!(
        alone.story(),
        [format!("would remove run same-id in namespace {} (4 objects): expired 3 h ago", one.name)]
    );

    let gc = folder.call(&["gc", "-A", "-o", "json"]);
    assert_eq!(run::sorted(ours(&told(&gc))), lines(true));
    // What is left behind in other namespaces at the same time, this user may not delete.
    assert!(
        gc.code == Some(0) || (gc.code == Some(5) && gc.stderr.contains("cannot delete resource")),
        "{}",
        gc.transcript()
    );
    for namespace in [&one, &two] {
        assert_eq!((namespace.of_run("same-id").len(), namespace.of_run("live").len()), (0, 3));
    }
}

/// As `--allow namespace` makes it: each namespace's part is a run of its own.
#[test]
fn what_a_run_has_in_another_namespace_goes_there() {
    let (home, other) = (Namespace::new("gc-home"), Namespace::new("gc-other"));
    let folder = &home.folder;
    let elsewhere = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: there-run-1, namespace: {}}}\n",
        other.name
    );
    folder.file(
        "m.yaml",
        &format!("{elsewhere}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: here-run-1}}\n"),
    );
    folder.call(&["up", "m.yaml", "--run-id", "run-1", "--allow", "namespace"]).ok();
    for namespace in [&home, &other] {
        let expires = format!("testbed/expires={}", ago(1));
        namespace.kubectl(&[
            "annotate",
            "--overwrite",
            "configmaps",
            "-l",
            "test-dependencies=run-1",
            &expires,
        ]);
    }
    folder.call(&["gc"]).ok().says(&format!("removed run run-1 in namespace {} (1 object)", home.name));
    assert_eq!((home.of_run("run-1").len(), other.of_run("run-1").len()), (0, 1));
    folder
        .call(&["gc", "-n", &other.name])
        .ok()
        .says(&format!("removed run run-1 in namespace {} (1 object)", other.name));
    assert_eq!(other.of_run("run-1").len(), 0);
}

#[test]
fn the_projects_settings_count_and_do_not_stop_it() {
    let namespace = Namespace::new("gc-settings");
    namespace.apply(&Leftover::new("old").expires(&ago(3)).manifest());
    let folder = Folder::new().env("TESTBED_KUBECONFIG", kubeconfig().display().to_string());
    folder.file("testbed.yaml", &format!("namespace: {}\nunknown: x\n", namespace.name));
    let gc = folder.call(&["gc", "--dry-run"]).ok();
    gc.says("warning: going on without the project's settings: testbed.yaml:2")
        .says("nothing to remove in namespace default");
    folder.file("testbed.yaml", &format!("namespace: {}\n", namespace.name));
    folder.call(&["gc"]).ok().says(&format!("removed run old in namespace {}", namespace.name));
}

/// What somebody changes between gc's last look and the deletion: it happens when the first request to delete
/// is on its way.
#[test]
fn what_changes_in_the_meantime_stays() {
    let namespace = Namespace::new("gc-changes");
    namespace.apply(&Leftover::new("run-1").expires(&ago(3)).with_pod().manifest());
    let config = Folder::new();
    let gc_while = |changes: &[&[&str]]| {
        let changes: Vec<Vec<String>> = changes
            .iter()
            .map(|args| [&["-n", &namespace.name], *args].concat().iter().map(ToString::to_string).collect())
            .collect();
        let once = std::sync::Once::new();
        let way = Altering::start(
            move |sent| {
                if sent.starts_with("DELETE ") {
                    once.call_once(|| {
                        changes.iter().for_each(|args| {
                            drop(kubectl(&args.iter().map(String::as_str).collect::<Vec<_>>()));
                        });
                    });
                }
                sent.to_owned()
            },
            str::to_owned,
        );
        namespace.folder_as(&way.kubeconfig(&config)).call(&["gc"]).ok()
    };
    // Nothing that matters, and more time.
    let more = format!("testbed/expires={}", hence(1));
    let gc = gc_while(&[
        &["annotate", "secret/secret-run-1", "example.com/seen=yes"],
        &["annotate", "--overwrite", "configmap/configmap-run-1", &more],
    ]);
    let stays = format!(
        "run run-1 in namespace {} stays: ConfigMap configmap-run-1 changed in the meantime",
        namespace.name
    );
    assert_eq!(gc.story(), [stays]);
    assert_eq!(
        run::sorted(namespace.of_run("run-1")),
        ["configmap/configmap-run-1", "pod/pod-run-1", "service/service-run-1"]
    );
    // Somebody else takes an object for themselves.
    namespace.kubectl(&[
        "annotate",
        "--overwrite",
        "configmap/configmap-run-1",
        &format!("testbed/expires={}", ago(3)),
    ]);
    let gc =
        gc_while(&[&["label", "--overwrite", "service/service-run-1", "app.kubernetes.io/managed-by=helm"]]);
    assert_eq!(
        gc.story(),
        [format!("removed run run-1 in namespace {} (2 objects): expired 3 h ago", namespace.name)]
    );
    assert_eq!(namespace.of_run("run-1"), ["service/service-run-1"]);
}
