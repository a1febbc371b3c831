//! What an outage of the API server does to those who wait: nothing.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lone::LoneApiServer;
use crate::harness::{Namespace, has_parts_of_cluster};

/// Who waits, with their tickets: whoever has to queue up again gets another one.
fn queue(server: &LoneApiServer) -> Vec<(String, u64)> {
    let lock = server.lock("db").expect("it is held");
    let waiters = lock["queue"].as_array().expect("a list");
    waiters.iter().map(|waiter| (text(&waiter["id"]), waiter["ticket"].as_u64().expect("a number"))).collect()
}

/// How often each of them was heard of.
fn beats(server: &LoneApiServer) -> BTreeMap<String, u64> {
    let lock = server.lock("db").expect("it is held");
    let waiters = lock["queue"].as_array().expect("a list").iter();
    waiters.map(|waiter| (text(&waiter["id"]), waiter["beats"].as_u64().expect("a number"))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The outage is longer than it takes to count a waiter as dead.
#[test]
fn everybody_who_waits_keeps_the_place() {
    if !has_parts_of_cluster() {
        return;
    }
    let mut server = LoneApiServer::start();
    let folder = Namespace::folder_for("default", server.kubeconfig());
    let wait = |id: &str| {
        let mut started =
            folder.start(&["lock", "acquire", "db", "--heartbeat", "1s", "--timeout", "3m", "--run-id", id]);
        started.until_it_says("in the queue; held by");
        started
    };
    folder.call(&["lock", "acquire", "db", "--run-id", "holder"]).ok();
    let ids = ["one", "two", "three", "four"];
    let waiters: Vec<_> = ids.iter().map(|id| wait(id)).collect();
    let before = queue(&server);
    assert_eq!(before.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ids);
    let beaten = beats(&server);
    // Its last two seconds are the worst: the watches are still there, and no request is taken any more.
    server.stop();
    server.start_again();
    // By then everybody has been heard of again, and somebody has had the time to count the others as dead.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !beats(&server).iter().all(|(id, beats)| *beats > beaten.get(id).copied().unwrap_or(0) + 3) {
        assert!(Instant::now() < deadline, "{:?} were {beaten:?} before", beats(&server));
        sleep(Duration::from_millis(100));
    }
    assert_eq!(queue(&server), before);
    let mut holder = "holder";
    for (waiter, id) in waiters.into_iter().zip(ids) {
        folder.call(&["lock", "release", "db", "--run-id", holder]).ok().says(&format!("next is run {id}"));
        waiter.wait().ok();
        holder = id;
    }
}
