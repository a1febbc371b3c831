//! A cancelled TaskRun, at any moment: Tekton deletes its pod. What the step leaves, a testbed-down in another pod removes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pod::Started;
use super::run::PipelineRun;
use super::site::Site;
use crate::harness::run_id;
use crate::tekton_catalog::model::{Param, ParamValue};

/// How many; `make soak` asks for more.
fn count() -> u32 {
    std::env::var("TESTBED_TEST_CANCELS").map_or(4, |text| text.parse().expect("a number in TESTBED_TEST_CANCELS"))
}

/// A moment of a time, by chance.
fn some_moment(of: Duration) -> Duration {
    let random = u32::from_str_radix(&run_id()[..8], 16).expect("a random number");
    of.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Seconds since 1970 of a time of the API server's.
fn seconds(time: &Value) -> i64 {
    let time: k8s_openapi::jiff::Timestamp = time.as_str().expect("a time").parse().expect("RFC 3339");
    time.as_second()
}

/// The start of two databases, with all that takes time in it.
fn up<'a>(run: &PipelineRun<'a>, on_cancel: &str) -> Started<'a> {
    let text = |name: &str, value: &str| Param { name: name.into(), value: ParamValue::Text(value.into()) };
    let mut up = run.single("up");
    up.params.retain(|param| param.name != "with");
    up.params.extend([text("with", "postgres:17 mysql:9.7"), text("on-cancel", on_cancel)]);
    up.start()
}

#[test]
fn cancelled_at_any_moment_a_run_leaves_nothing_behind() {
    let Some(site) = Site::new("cancels") else { return };
    let create = || PipelineRun::create(&site, "task/testbed-up/samples/try-it.yaml");
    // One run that nobody cancels is the others' neighbour, and tells how long it takes. What has no label, or another one, is nobody's.
    let neighbour = create();
    let mut started = up(&neighbour, "keep");
    started.until_it_runs();
    let start = Instant::now();
    started.wait().ok("up");
    let length = start.elapsed();
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "labels": {"test-dependencies": "other"}}});
    site.namespace.apply(&other.to_string());
    let alive = || {
        let selection = ["get", "pods,services,secrets,configmaps", "-l", "test-dependencies", "-o", "jsonpath={.items[*].metadata.uid}"];
        site.namespace.kubectl(&selection)
    };
    let before = alive();

    for index in 0..count() {
        let on_cancel = if index % 2 == 0 { "delete" } else { "keep" };
        let run = create();
        let mut started = up(&run, on_cancel);
        let moment = some_moment(length);
        started.until_it_runs();
        std::thread::sleep(moment);
        let pod = started.name().to_owned();
        site.namespace.kubectl(&["delete", "pod", &pod, "--wait=false"]);
        let last = started.wait_until_gone();
        let what = format!("cancelled after {} ms of {} ms, {on_cancel}", moment.as_millis(), length.as_millis());

        let ended = &last["status"]["containerStatuses"][0]["state"]["terminated"];
        let code = ended["exitCode"].as_i64();
        assert!(code == Some(143) || code == Some(0), "{what}: {:#}", last["status"]);
        // The API server says when the grace period of 30 s would have been over.
        let asked = seconds(&last["metadata"]["deletionTimestamp"]) - 30;
        let took = seconds(&ended["finishedAt"]) - asked;
        let left = site.namespace.of_run(&run.uid);
        eprintln!("{what}: exit code {code:?} within {took} s, left {left:?}");
        assert!(took <= 5, "{what}: it took {took} s to end");

        run.single("down").run().ok(&what);
        assert_eq!(site.namespace.of_run(&run.uid), Vec::<String>::new(), "{what}");
        assert_eq!(alive(), before, "{what}: a neighbour is not what it was");
    }
    neighbour.single("down").run().ok("down");
}
