//! `testbed restart` that is cut short: the server runs, and is noted, or it is told that it does not.

use serde_json::Value;

use crate::harness::{Local, is_alive};

/// The server's process as `status` tells it, and its state.
fn server(local: &Local) -> (u32, String) {
    let rows: Value = serde_json::from_str(&local.call(&["status", "-o", "json"]).ok().stdout).unwrap();
    let pid = rows[0]["process"].as_u64().unwrap().try_into().unwrap();
    (pid, rows[0]["state"].as_str().unwrap().to_owned())
}

#[test]
fn without_time_nothing_is_stopped() {
    let local = Local::new();
    local.call(&["up", "--with", "mariadb", "--run-id", "r"]).ok();
    let before = server(&local);
    let restart = local.call(&["restart", "--timeout", "0s"]).fails(3);
    restart.says("mariadb is not ready again within 0s").says("hint: nothing was stopped");
    assert!(server(&local) == before && is_alive(before.0));
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn a_server_that_was_stopped_is_started_again_whatever_comes() {
    let local = Local::new();
    for engine in ["postgres", "mariadb"] {
        local.call(&["up", "--with", engine, "--run-id", "r"]).ok();
        for (word, signal, code) in
            [("stopping", "INT", 130), ("stopping", "TERM", 143), ("starting", "INT", 130)]
        {
            let (before, _) = server(&local);
            // What was committed a moment ago stays.
            let client = if engine == "postgres" { "psql -Atc" } else { "mariadb -Ne" };
            let fill = format!("{client} 'CREATE TABLE {word}_{signal} (n int)'");
            local.call(&["exec", "--", "sh", "-c", &fill]).ok();
            let mut restart = local.start(&["restart"]);
            restart.until_it_says(&format!("{engine}: {word}"));
            restart.signal(signal);
            let ended = restart.wait();
            // It may be through with it by then.
            if ended.code != Some(0) {
                ended
                    .fails(code)
                    .says("error: interrupted")
                    .says(&format!("hint: {engine} was started again"));
            }
            let (after, state) = server(&local);
            assert!(
                after != before && state == "Running" && is_alive(after),
                "{engine} {word}: {after} {state}"
            );
            let select = format!("SELECT count(*) FROM {word}_{signal}");
            let script =
                format!("until {client} 'SELECT 5' 2> /dev/null; do sleep 0.05; done; {client} '{select}'");
            let called = local.call(&["exec", "--", "timeout", "60", "sh", "-c", &script]);
            assert_eq!(called.ok().stdout, "5\n0\n");
        }
        // Not enough for any server.
        let (before, _) = server(&local);
        let restart = local.call(&["restart", "--timeout", "5ms"]).fails(3);
        if !restart.stderr.contains("nothing was stopped") {
            restart.says(&format!("{engine} was started again"));
            assert!(server(&local).0 != before);
        }
        assert_eq!(server(&local).1, "Running");
        local.call(&["down"]).ok();
        local.assert_nothing_left();
    }
}
