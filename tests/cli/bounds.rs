//! Bounds in time and memory, whatever the API server does or whatever answers in its place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Called;
use crate::support::api::{Answer, Api};

/// What a call may take beyond its time: to start, to look once more, and to be run at all on a busy machine.
const BESIDES: Duration = Duration::from_secs(3);

const PAGE: &str = "<html><body>upstream is not well</body></html>";

fn whole(code: u16, headers: &str, body: &str) -> Answer {
    Answer::Whole(code, headers.into(), body.into())
}

/// Answers to anything, and what has to be said of each.
type Bad = (fn() -> Answer, &'static str);

const BAD: [Bad; 7] = [
    (|| whole(429, "Retry-After: 100000\r\n", "{}"), "answers 429 Too Many Requests"),
    (|| whole(503, "Retry-After: 1\r\n", PAGE), "answers 503 Service Unavailable"),
    (|| whole(504, "", PAGE), "answers 504 Gateway Timeout"),
    (|| Answer::Silence, "the API server"),
    (|| Answer::Endless(Duration::from_millis(200), " ".into()), "the API server"),
    (|| Answer::Endless(Duration::ZERO, " ".repeat(1 << 16)), ""),
    (|| whole(500, "", PAGE), "500 Internal Server Error"),
];

fn timed(call: impl FnOnce() -> Called) -> (Called, Duration) {
    let begun = Instant::now();
    let called = call();
    (called, begun.elapsed())
}

/// Calls testbed at a server that always answers so; `code` is how it has to end where its time is over.
fn call_all(args: &[&str], code: i32) {
    std::thread::scope(|scope| {
        for (answer, said) in BAD {
            scope.spawn(move || {
                let api = Api::start(move |_| answer());
                let folder = api.folder();
                folder.file("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-run-1}\n");
                let (called, took) = timed(|| folder.call(args));
                assert!(
                    took < Duration::from_secs(2) + BESIDES,
                    "{took:?} for {said:?}: {}",
                    called.transcript()
                );
                // An answer that will not change is a failure at once.
                let is_over = said.starts_with("answers") || said == "the API server";
                assert!(
                    called.code == Some(code) || (!is_over && called.code == Some(1)),
                    "{said:?}: {}",
                    called.transcript()
                );
                assert_eq!(
                    called.stderr.lines().filter(|line| line.starts_with("error:")).count(),
                    1,
                    "{}",
                    called.transcript()
                );
                called.says(said).keeps("<html>").keeps("panicked");
            });
        }
    });
}

#[test]
fn up_and_run_end_within_their_timeout() {
    call_all(&["up", "m.yaml", "--run-id", "run-1", "--timeout", "2s"], 3);
    call_all(&["run", "m.yaml", "--run-id", "run-1", "--timeout", "2s", "--", "true"], 3);
}

#[test]
fn down_and_gc_end_within_their_timeout() {
    call_all(&["down", "--run-id", "run-1", "--timeout", "2s"], 5);
    call_all(&["gc", "--timeout", "2s"], 5);
}

#[test]
fn status_and_locks_end_within_their_timeout() {
    call_all(&["status", "--timeout", "2s"], 1);
    call_all(&["lock", "acquire", "db", "--run-id", "run-1", "--timeout", "2s"], 6);
    call_all(&["lock", "release", "db", "--run-id", "run-1", "--timeout", "2s"], 1);
}

/// Whether the object is there nobody knows then.
#[test]
fn a_creation_without_an_answer_may_have_made_something() {
    let api = Api::start(|request| match request.split(' ').next() {
        Some("POST") => whole(500, "", PAGE),
        _ => Answer::list(&[]),
    });
    let folder = api.folder();
    folder.file("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-run-1}\n");
    let called = folder.call(&["up", "m.yaml", "--run-id", "run-1", "--timeout", "5s"]).fails(1);
    called
        .says("creating ConfigMap a-run-1")
        .says("hint: ConfigMap a-run-1 may be there all the same")
        .says("testbed down --run-id run-1");
}

/// Without a word about the time, thirty seconds are enough for a first answer.
#[test]
fn a_silent_server_is_given_up_after_half_a_minute() {
    let api = Api::start(|_| Answer::Silence);
    let (called, took) = timed(|| api.folder().call(&["gc", "--dry-run"]));
    called.fails(1).says("no whole answer within 30 s").says("hint: is the cluster running");
    assert!((30..34).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_page_is_no_answer() {
    let api = Api::start(|_| whole(200, "Content-Type: text/html\r\n", PAGE));
    api.folder().call(&["status"]).fails(1).says("is no answer of an API server").keeps("<html>");
}

fn pod(name: &str, run_id: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "uid": name, "resourceVersion": "7", "labels": {"test-dependencies": run_id},
            "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
        },
    })
}

/// A run with one pod that is never gone; `watch` is what a watch on pods gets.
fn lingering(watch: impl Fn() -> Answer + Send + Sync + 'static) -> Api {
    Api::start(move |request| {
        if request.contains("watch=true") {
            watch()
        } else if request.starts_with("GET /api/v1/namespaces/default/pods") {
            Answer::list(&[pod("db", "run-1"), pod("of-another", "run-2")])
        } else if request.starts_with("DELETE ") {
            Answer::json(&pod("db", "run-1"))
        } else {
            Answer::list(&[])
        }
    })
}

#[test]
fn a_watch_that_ends_at_once_is_opened_with_growing_pauses() {
    let api = lingering(|| whole(200, "", ""));
    let down = api.folder().call(&["down", "--run-id", "run-1", "--timeout", "4s", "--history", "none"]);
    down.fails(5).says("still there after 4 s: Pod db");
    let watches = api.requests().iter().filter(|request| request.contains("watch=true")).count();
    assert!((3..=15).contains(&watches), "{watches}");
}

#[test]
fn a_flood_of_events_does_not_stretch_a_timeout() {
    let event = json!({"type": "MODIFIED", "object": pod("db", "run-1")}).to_string() + "\n";
    for piece in [event.repeat(1000), "x".repeat(1 << 16)] {
        let api = lingering(move || Answer::Endless(Duration::ZERO, piece.clone()));
        let (down, took) = timed(|| {
            api.folder().call(&["down", "--run-id", "run-1", "--timeout", "2s", "--history", "none"])
        });
        assert!(took < Duration::from_secs(2) + BESIDES, "{took:?}: {}", down.transcript());
        down.fails(5).says("Pod db");
    }
}

/// A server or a proxy that takes no notice of selectors.
#[test]
fn what_has_another_label_is_never_deleted() {
    let api = lingering(|| Answer::Silence);
    api.folder()
        .call(&["down", "--run-id", "run-1", "--timeout", "1s", "--history", "none"])
        .fails(5)
        .says("Pod db")
        .keeps("of-another");
    api.folder()
        .call(&["down", "--run-id", "run-3", "--timeout", "1s", "--history", "none"])
        .ok()
        .says("nothing to do");
    let deleted: Vec<String> =
        api.requests().into_iter().filter(|request| request.starts_with("DELETE ")).collect();
    assert!(
        !deleted.is_empty() && deleted.iter().all(|request| request.contains("/pods/db?")),
        "{deleted:?}"
    );
}

/// No time that can be typed is too long for a clock.
#[test]
fn a_timeout_of_ages_is_taken() {
    let api = Api::start(|_| Answer::list(&[]));
    let ages = "500000000000y";
    for args in [&["down", "--run-id", "run-1"][..], &["status"], &["gc", "--dry-run"]] {
        api.folder().call(&[args, &["--timeout", ages, "--archive-timeout", ages]].concat()).ok();
    }
}
