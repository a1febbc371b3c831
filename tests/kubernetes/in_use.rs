//! Commands that work with a run that is up in the cluster, from outside: through port-forwards, with the
//! engines' own clients of this machine.

use std::io::Read;

use serde_json::Value;

use crate::harness::Namespace;

#[test]
fn a_run_is_used_from_outside_and_restarted_with_its_data() {
    let namespace = Namespace::new("in-use");
    let folder = &namespace.folder;
    folder.call(&["up", "--with", "postgres", "--with", "mysql=shop", "--run-id", "used"]).ok();

    // Where the run is, is noted: nothing else has to be said.
    let exec = |databases: &[&str], script: &str| {
        folder.call(&[&["exec"], databases, &["--", "sh", "-c", script]].concat())
    };
    let script = "echo $PGHOST $MYSQL_HOST; psql -Atc 'CREATE TABLE kept AS SELECT 42 AS id; SELECT 1' | tail -1; mariadb -Ne 'SELECT 2'";
    assert_eq!(exec(&[], script).ok().stdout, "127.0.0.1 127.0.0.1\n1\n2\n");
    assert_eq!(
        exec(&["shop"], "mariadb -Ne 'SELECT 3'; echo ${PGHOST-none} ${TESTBED_CONFIG-none}; exit 7")
            .ends(7)
            .stdout,
        "3\nnone none\n"
    );
    // Any number at once.
    let meet = |own: &str, other: &str| {
        format!("touch {own}; while ! test -e {other}; do sleep 0.1; done; psql -Atc 'SELECT 4'")
    };
    let one = folder.start(&["exec", "--", "sh", "-c", &meet("one", "two")]);
    assert_eq!(exec(&[], &meet("two", "one")).ok().stdout, "4\n");
    assert_eq!(one.wait().ok().stdout, "4\n");

    let connect = |args: &[&str], input: &str| {
        folder.call_with_input(&[&["connect"], args].concat(), input).ok().stdout
    };
    assert_eq!(connect(&["postgres", "--", "-At"], "SELECT id FROM kept;\n"), "42\n");
    assert_eq!(connect(&["shop", "--", "-N"], "SELECT DATABASE();\n"), "test\n");
    folder.call(&["connect"]).fails(2).says("several databases: postgres, shop");

    let env = folder.call(&["env", "-o", "json"]).ok().says("these addresses are for pods in namespace ");
    let env: Value = serde_json::from_str(&env.stdout).expect("JSON");
    assert_eq!(env["environment"]["PGHOST"], "postgres-used");
    let password = env["environment"]["PGPASSWORD"].as_str().expect("a password").to_owned();

    // The log goes on over the restart, and has no password in it.
    let mut follow = folder.start(&["logs", "-f", "--tail", "1"]);
    let mut shown = follow.child.stdout.take().expect("a pipe");
    let mut heard = String::new();
    let mut until_shown = |parts: &[&str]| {
        let mut bytes = [0; 4096];
        while !parts.iter().all(|part| heard.contains(part)) {
            let count = shown.read(&mut bytes).expect("standard output");
            assert_ne!(count, 0, "{parts:?} were never shown:\n{heard}");
            heard += &String::from_utf8_lossy(&bytes[..count]);
        }
    };
    until_shown(&["postgres | ", "shop     | "]);
    let statement = format!("psql -c \"ALTER ROLE nobody PASSWORD '{password}'\"; true");
    exec(&["postgres"], &statement).ok();
    until_shown(&["ALTER ROLE nobody PASSWORD '***'"]);
    let in_vain = folder.call(&["restart", "postgres", "--timeout", "0s"]).fails(3);
    in_vain.says("postgres is not ready again within 0s").says("hint: nothing was stopped");
    folder.call(&["restart", "postgres", "--timeout", "2m"]).ok().says("postgres is ready again");
    until_shown(&["received fast shutdown request", "database system was shut down at"]);
    follow.signal("INT");
    let ended = follow.wait().ends(130);
    assert!(!ended.stderr.contains("error:"), "{}", ended.transcript());
    assert_eq!(heard.matches("received fast shutdown request").count(), 1, "{heard}");
    assert!(!heard.contains(&password), "{heard}");
    assert_eq!(exec(&["postgres"], "psql -Atc 'SELECT id FROM kept'").ok().stdout, "42\n");
    // One that is cut short goes on in the cluster.
    let mut cut_short = folder.start(&["restart", "shop"]);
    cut_short.until_it_says("shop: starting");
    cut_short.signal("INT");
    let cut_short = cut_short.wait();
    if cut_short.code != Some(0) {
        cut_short.fails(130).says("hint: Kubernetes starts shop again");
    }
    let script = "until mariadb -Ne 'SELECT 6' 2> /dev/null; do sleep 0.1; done";
    assert_eq!(exec(&["shop"], script).ok().stdout, "6\n");
    folder.call(&["restart", "shop", "--timeout", "2m"]).ok().says("shop is ready again");
    let status: Value =
        serde_json::from_str(&folder.call(&["status", "-o", "json"]).ok().stdout).expect("JSON");
    let restarts: Vec<u64> =
        status.as_array().expect("rows").iter().filter_map(|row| row["restarts"].as_u64()).collect();
    assert_eq!(restarts, [1, 2]);
    let last = folder.call(&["logs", "postgres", "--tail", "1"]).ok().stdout;
    assert_eq!(last.lines().count(), 1, "{last}");

    // The end of the run is the end of its logs.
    let follow = folder.start(&["logs", "-f", "--tail", "0"]);
    folder.call(&["down"]).ok();
    follow.wait().ok();
    folder.call(&["exec", "--", "true"]).fails(2).says("no run is up in this folder");
}

/// What a restart would lose is not restarted.
#[test]
fn a_container_that_would_lose_its_data_is_not_restarted() {
    let namespace = Namespace::new("no-volume");
    let folder = &namespace.folder;
    let manifest = folder.call(&["render", "--with", "postgres", "--run-id", "lost"]).ok().stdout;
    folder.file("never.yaml", &manifest.replace("restartPolicy: Always", "restartPolicy: Never"));
    folder.call(&["up", "never.yaml", "--run-id", "lost"]).ok();
    folder.call(&["restart"]).fails(2).says("its restartPolicy is Never").says("testbed down");
    folder.call(&["down"]).ok();
}
