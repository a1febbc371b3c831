//! Containers beside a database that are not its own: sidecars in their native form, and what `kubectl debug`
//! puts into a pod.

use super::screen::Up;
use super::{mysql, refusing};
use crate::admission::Webhook;
use crate::harness::{Namespace, client_image};

/// An init container that stays, as service meshes have it.
fn with_sidecar(manifest: &str, command: &str) -> String {
    let image = client_image();
    let sidecar = format!(
        "initContainers: [{{name: mesh, image: '{image}', restartPolicy: Always, command: [sh, -c, '{command}']}}]"
    );
    manifest.replace("  # pod", &format!("  {sidecar}"))
}

#[test]
fn a_native_sidecar_stays_beside_the_database() {
    let namespace = Namespace::new("sidecar");
    let up = Up::start(
        &namespace,
        &with_sidecar(&mysql("container", ""), "trap exit TERM; sleep 600 & wait"),
        &[],
    );
    let pod = format!("mysql-{}", up.run_id);
    let (folder, run_id) = up.comes_up();
    let path = "jsonpath={.status.initContainerStatuses[0].state.running.startedAt}";
    assert!(!namespace.kubectl(&["get", "pod", &pod, "-o", path]).is_empty());
    folder.call(&["history", "logs", &run_id]).ok();
    folder.call(&["down"]).ok();
    assert!(namespace.of_run(&run_id).is_empty());
}

/// The database itself may be the sidecar, beside the application that uses it.
#[test]
fn a_database_that_is_a_native_sidecar() {
    let namespace = Namespace::new("sidecar-itself");
    let manifest = mysql("container", "restartPolicy: Always").replace("  containers:", "  initContainers:");
    let app = format!(
        "  containers: [{{name: app, image: '{}', command: [sh, -c, 'trap exit TERM; sleep 600 & wait']}}]\n",
        client_image()
    );
    let up = Up::start(&namespace, &format!("{}\n{app}", manifest.trim_end()), &[]);
    let pod = format!("mysql-{}", up.run_id);
    let (folder, run_id) = up.comes_up();
    namespace.kubectl(&["exec", &pod, "-c", "mysql", "--", "sh", "-c", "kill -TERM 1"]);
    let again =
        "jsonpath={.status.initContainerStatuses[0].restartCount} {.status.initContainerStatuses[0].started}";
    namespace.kubectl_until(&["get", "pod", &pod, "-o", again], |text| text == "1 true");
    folder.call(&["down"]).ok();
    assert!(namespace.of_run(&run_id).is_empty());
    let story = folder.call(&["history", "show", &run_id, "-o", "json"]).ok();
    let story: serde_json::Value = serde_json::from_str(&story.stdout).expect("JSON");
    let database = &story["databases"][0];
    assert_eq!((&database["engine"], &database["restarts"]), (&"mysql".into(), &1.into()), "{story:#}");
    let told: Vec<&str> = database["timeline"]
        .as_array()
        .expect("moments")
        .iter()
        .filter_map(|moment| moment["what"].as_str())
        .collect();
    assert!(["started", "ready", "restarted"].iter().all(|what| told.contains(what)), "{story:#}");
}

/// Whoever wants a database in the mesh gets it there; the others stay out.
#[test]
fn a_mesh_puts_its_sidecar_beside_a_database_that_asks_for_it() {
    let namespace = Namespace::new("mesh");
    let _injector = Webhook::start(&namespace, include_str!("../manifests/injector.yaml"));
    // The API server takes a moment to know a new webhook.
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: probe}\nspec: {containers: [{name: a, image: a}]}\n";
    let containers = "jsonpath={.spec.initContainers[*].name}";
    let dry_run = ["create", "--dry-run=server", "-o", containers, "-f", "-"];
    namespace.kubectl_until_it_says(&dry_run, Some(pod.as_bytes()), |text, _| text == "istio-proxy");

    let manifest = mysql("container", "");
    let within = Up::start(
        &namespace,
        &manifest.replace("labels: {db:", "labels: {sidecar.istio.io/inject: 'true', db:"),
        &[],
    );
    let without = Up::start(&namespace, &manifest, &[]);
    for (up, expected) in [(within, "istio-proxy"), (without, "")] {
        let pod = format!("mysql-{}", up.run_id);
        let (folder, run_id) = up.comes_up();
        assert_eq!(namespace.kubectl(&["get", "pod", &pod, "-o", containers]), expected);
        folder.call(&["up", "databases.yaml", "--run-id", &run_id]).ok();
        folder.call(&["down"]).ok();
        assert!(namespace.of_run(&run_id).is_empty());
    }
}

/// It is started again also in a pod whose own containers are not.
#[test]
fn a_native_sidecar_that_ends_keeps_no_database_from_coming_up() {
    let namespace = Namespace::new("sidecar-ends");
    let never = mysql("container", "").replace("  # pod", "  restartPolicy: Never\n  # pod");
    let ends = Up::start(&namespace, &with_sidecar(&never, "sleep 3; exit 7"), &[]);
    let beside = Up::start(&namespace, &with_sidecar(&refusing(), "trap exit TERM; sleep 600 & wait"), &[]);
    insta::assert_snapshot!("sidecar-beside-a-crash-loop", beside.screen());
    let pod = format!("mysql-{}", ends.run_id);
    let (folder, run_id) = ends.comes_up();
    let restarts = "jsonpath={.status.initContainerStatuses[0].restartCount}";
    namespace.kubectl_until(&["get", "pod", &pod, "-o", restarts], |text| text != "0");
    folder.call(&["down"]).ok();
    assert!(namespace.of_run(&run_id).is_empty());
}

/// Somebody looks into the pod while it sets itself up, and gives it other resources; what becomes of their
/// containers is nobody else's affair.
#[test]
fn a_look_into_the_pod_is_no_failure() {
    let namespace = Namespace::new("debug");
    let lingering = mysql("variables", "- {name: TESTBED_SETUP_LINGER, value: '5'}");
    let lingering = lingering.replace("    # container", "    resources: {limits: {memory: 1Gi}}");
    let mut up = Up::start(&namespace, &lingering, &["-v"]);
    up.started.until_it_says("mysql: initialising");
    let pod = format!("mysql-{}", up.run_id);
    let image = client_image();
    for (name, image) in [("fails", image.as_str()), ("never-starts", "127.0.0.1:9/no-such:1")] {
        namespace.kubectl(&[
            "debug",
            &pod,
            "--image",
            image,
            "--container",
            name,
            "--",
            "sh",
            "-c",
            "exit 3",
        ]);
    }
    let state = "jsonpath={.status.ephemeralContainerStatuses[*].state}";
    namespace.kubectl_until(&["get", "pod", &pod, "-o", state], |text| {
        text.contains("\"exitCode\":3")
            && (text.contains("ErrImagePull") || text.contains("ImagePullBackOff"))
    });
    // Resized in place, which Kubernetes can since 1.33.
    let more =
        r#"{"spec": {"containers": [{"name": "mysql", "resources": {"limits": {"memory": "1200Mi"}}}]}}"#;
    namespace.kubectl(&["patch", "pod", &pod, "--subresource=resize", "-p", more]);
    let limit = "jsonpath={.status.containerStatuses[0].resources.limits.memory} {.status.containerStatuses[0].restartCount}";
    namespace.kubectl_until(&["get", "pod", &pod, "-o", limit], |text| text == "1200Mi 0");
    let (folder, run_id) = up.comes_up();
    // They are there to the end, and so is the database.
    folder.call(&["up", "databases.yaml", "--run-id", &run_id]).ok();
    let status = folder.call(&["status"]).ok();
    assert!(status.stdout.contains("Running"), "{}", status.transcript());
    folder.call(&["down"]).ok();
    assert!(namespace.of_run(&run_id).is_empty());
}
