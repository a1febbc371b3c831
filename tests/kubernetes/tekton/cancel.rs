//! A cancelled TaskRun, at any moment: Tekton deletes its pod. What the step leaves, a testbed-down in
//! another pod removes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ended::Started;
use super::run::PipelineRun;
use super::site::Site;
use crate::harness::run_id;
use crate::tekton_catalog::model::{Param, ParamValue};

/// How many; `make soak` asks for more.
fn count() -> u32 {
    std::env::var("TESTBED_TEST_CANCELS")
        .map_or(2, |text| text.parse().expect("a number in TESTBED_TEST_CANCELS"))
}

/// A moment of a time, by chance.
fn some_moment(of: Duration) -> Duration {
    let random = u32::from_str_radix(&run_id()[..8], 16).expect("a random number");
    of.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Seconds since 1970 of a time of the API server's.
fn seconds(time: &Value) -> i64 {
    let time: Timestamp = time.as_str().expect("a time").parse().expect("RFC 3339");
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

/// How the step ended. Where its pod is deleted while it starts, the kubelet may never get to know the
/// container's state; then there is the last line of its log.
struct End {
    /// Seconds since 1970.
    at: i64,
    /// The exit code, if it is known.
    code: Option<i64>,
    /// The last thing that was said.
    word: String,
}

impl End {
    fn read(pod: &Value, log: &str, run_id: &str) -> Self {
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        // The kubelet's own words have no time.
        let mut lines = log
            .lines()
            .rev()
            .filter_map(|line| line.split_once(' '))
            .filter(|(time, _)| time.parse::<Timestamp>().is_ok());
        let (time, word) = lines.next().unwrap_or_default();
        if state["finishedAt"].is_string() {
            return Self {
                at: seconds(&state["finishedAt"]),
                code: state["exitCode"].as_i64(),
                word: word.into(),
            };
        }
        // The run's id is the last that an `up` prints which nobody has interrupted in time.
        let is_told = log.contains("error: interrupted") || word == run_id;
        assert!(is_told, "neither the pod nor its log tells how it ended: {log}\n{:#}", pod["status"]);
        Self { at: seconds(&time.into()), code: None, word: word.into() }
    }
}

#[test]
fn cancelled_at_any_moment_a_run_leaves_nothing_behind() {
    let Some(site) = Site::new("cancels") else { return };
    let create = || PipelineRun::create(&site, "task/testbed-up/samples/try-it.yaml");
    // One run that nobody cancels is the others' neighbour, and tells how long it takes. What has no label,
    // or another one, is nobody's.
    let neighbour = create();
    let mut started = up(&neighbour, "keep");
    started.until_it_runs();
    let start = Instant::now();
    started.wait().ok("up");
    let length = start.elapsed();
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "labels": {"test-dependencies": "other"}}});
    site.namespace.apply(&other.to_string());
    let alive = || {
        let selection = [
            "get",
            "pods,services,secrets,configmaps",
            "-l",
            "test-dependencies",
            "-o",
            "jsonpath={.items[*].metadata.uid}",
        ];
        site.namespace.kubectl(&selection)
    };
    let before = alive();

    for index in 0..count() {
        let on_cancel = if index % 2 == 0 { "delete" } else { "keep" };
        let run = create();
        let mut started = up(&run, on_cancel);
        let moment = some_moment(length);
        started.until_it_runs();
        let log = started.follow_log();
        std::thread::sleep(moment);
        started.cancel();
        // The API server says when the grace period will be over, which is none for a pod that has ended
        // already.
        let deleted = &started.until_it_is_deleted()["metadata"];
        let asked = seconds(&deleted["deletionTimestamp"])
            - deleted["deletionGracePeriodSeconds"].as_i64().expect("a time");
        let last = started.wait_until_gone();
        let log = log.wait_with_output().expect("kubectl ends");
        let ended = End::read(&last, &String::from_utf8_lossy(&log.stdout), &run.uid);
        let what =
            format!("cancelled after {} ms of {} ms, {on_cancel}", moment.as_millis(), length.as_millis());
        let took = ended.at - asked;
        let left = site.namespace.of_run(&run.uid);
        eprintln!(
            "{what}: exit code {:?} within {took} s, {} objects left; {}",
            ended.code,
            left.len(),
            ended.word
        );
        assert!(matches!(ended.code, None | Some(143 | 0)), "{what}: {:#}", last["status"]);
        assert!(took <= 5, "{what}: it took {took} s to end");

        run.single("down").run().ok(&what);
        assert_eq!(site.namespace.of_run(&run.uid), Vec::<String>::new(), "{what}");
        assert_eq!(alive(), before, "{what}: a neighbour is not what it was");
    }
    neighbour.single("down").run().ok("down");
}
