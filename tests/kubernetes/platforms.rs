//! What clusters ask of a database's pod, and where its image comes from.

use serde_json::{Value, json};

use crate::harness::{Client, Namespace, kubectl, run_id};

const ENGINES: [&str; 3] = ["postgres", "mysql", "mariadb"];

/// The same three with parameters for all of them.
fn three(params: &[&str]) -> Vec<String> {
    let withs = ENGINES.iter().flat_map(|engine| ["--with", engine]);
    withs.chain(params.iter().flat_map(|param| ["--param", param])).map(Into::into).collect()
}

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// A field of process 1, which is the server.
fn status(pod: &Client<'_>, field: &str) -> String {
    let text = pod.shell_ok("cat /proc/1/status");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")))
        .unwrap_or_else(|| panic!("{field} is not in {text}"));
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The server has the user that is expected, and no right beyond that.
fn assert_unprivileged(pod: &Client<'_>, user: &str) {
    assert_eq!(status(pod, "Uid"), user);
    for (field, expected) in [
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(status(pod, field), expected, "{field}");
    }
}

/// The server takes logins on an address of version 6 as well, over TLS where it has that.
fn assert_listens_on_version_6(pod: &Client<'_>, engine: &str) {
    if !pod.shell("grep -q . /proc/net/if_inet6").status.success() {
        eprintln!("skipped: this cluster's pods have no ::1");
        return;
    }
    pod.install_testbed_as("/tmp/testbed");
    let url = match engine {
        "postgres" => "PGPASSWORD=$POSTGRES_PASSWORD /tmp/testbed wait postgres://postgres@[::1]/test",
        "mysql" => "MYSQL_PWD=$MYSQL_ROOT_PASSWORD /tmp/testbed wait mysql://root@[::1]/test?sslmode=require",
        _ => "MYSQL_PWD=$MARIADB_ROOT_PASSWORD /tmp/testbed wait mariadb://root@[::1]/test?sslmode=require",
    };
    let said = pod.shell_ok(&format!("{url} --settle never --timeout 30s"));
    assert!(said.contains(" at [::1]:") && said.contains("the server is process 1"), "{said}");
}

#[test]
fn databases_run_in_restricted_namespaces() {
    let namespace = Namespace::new("restricted");
    kubectl(&["label", "namespace", &namespace.name, "pod-security.kubernetes.io/enforce=restricted"]);
    let folder = &namespace.folder;
    // A label that every node has; nothing is ever changed on the node itself.
    let args = three(&[
        "profile=restricted",
        "node-selector=kubernetes.io/os=linux",
        "tolerations=testbed.example/none:NoSchedule testbed.example/other=x",
        "pull-secret=registry",
        "cpu-limit=2",
        "memory-limit=1Gi",
    ]);
    namespace.kubectl(&[
        "create",
        "secret",
        "docker-registry",
        "registry",
        "--docker-username=nobody",
        "--docker-password=none",
    ]);
    let run_id = run_id();
    folder.call(&[&["up", "--run-id", &run_id], words(&args).as_slice()].concat()).ok();
    for engine in ENGINES {
        let name = format!("{engine}-{run_id}");
        let pod = namespace.within(&name);
        assert_unprivileged(&pod, "999");
        assert_listens_on_version_6(&pod, engine);
        let spec = &namespace.json(&["pod", &name])["spec"];
        assert_eq!(spec["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
        let tolerations = spec["tolerations"].as_array().unwrap();
        for toleration in [
            json!({"key": "testbed.example/none", "operator": "Exists", "effect": "NoSchedule"}),
            json!({"key": "testbed.example/other", "operator": "Equal", "value": "x"}),
        ] {
            assert!(tolerations.contains(&toleration), "{toleration} is not in {tolerations:?}");
        }
        assert_eq!(spec["containers"][0]["resources"]["limits"], json!({"cpu": "2", "memory": "1Gi"}));
    }
    folder.call(&["down"]).ok();
}

/// As OpenShift does it: the namespace's security context constraint gives each pod a user that no image
/// knows, and its group for volumes.
#[test]
fn databases_run_as_whatever_user_the_cluster_assigns() {
    const ASSIGNED: u32 = 1_000_740_000;
    let namespace = Namespace::new("assigned");
    let folder = &namespace.folder;
    let args = three(&["profile=openshift"]);
    let run_id = run_id();
    let rendered =
        folder.call(&[&["render", "--run-id", &run_id, "-o", "json"], words(&args).as_slice()].concat()).ok();
    let mut list: Value = serde_json::from_str(&rendered.stdout).unwrap();
    for pod in list["items"].as_array_mut().unwrap().iter_mut().filter(|object| object["kind"] == "Pod") {
        let context = pod["spec"]["securityContext"].as_object_mut().unwrap();
        assert!(context.insert("runAsUser".into(), ASSIGNED.into()).is_none());
        assert!(context.insert("fsGroup".into(), ASSIGNED.into()).is_none());
    }
    folder.file("assigned.json", &list.to_string());
    folder.call(&["up", "assigned.json", "--run-id", &run_id]).ok();
    for engine in ENGINES {
        let pod = namespace.within(&format!("{engine}-{run_id}"));
        assert_unprivileged(&pod, &ASSIGNED.to_string());
        assert_eq!(status(&pod, "Gid"), "0");
        // Nobody has given the user a name for the test's sake.
        assert!(!pod.shell(&format!("getent passwd {ASSIGNED}")).status.success());
    }
    folder.call(&["down"]).ok();
}

#[test]
fn images_are_pulled_from_where_the_prefix_leads() {
    let namespace = Namespace::new("mirror");
    let folder = &namespace.folder;
    let run_id = run_id();
    let up = |prefix: &[&str]| {
        let image = "image=mirror.example/somewhere/postgres:17";
        let args =
            ["up", "--run-id", &run_id, "--with", "postgres", "--param", image, "--param", "password=p"];
        folder.call(&[&args, prefix].concat())
    };
    let prefix = ["--image-prefix", "mirror.example/somewhere=docker.io/library"];
    up(&prefix).ok().says("created 3 objects");
    let pod = namespace.json(&["pod", &format!("postgres-{run_id}")]);
    assert_eq!(pod["spec"]["containers"][0]["image"], "docker.io/library/postgres:17");
    up(&prefix).ok().says("exist already");
    up(&["--image-prefix", "mirror.example=docker.io"]).fails(1).says("made from another content");
    let rows: Value = serde_json::from_str(&folder.call(&["status", "-o", "json"]).ok().stdout).unwrap();
    assert_eq!((&rows[0]["engine"], &rows[0]["state"]), (&json!("postgres"), &json!("Running")));
    folder.call(&["down"]).ok();
}
