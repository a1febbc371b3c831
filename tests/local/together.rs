//! Many runs at once: each has its own databases, and none gets in another's way.

use std::collections::BTreeSet;

use crate::harness::{Local, count, read_config};
use crate::support::Started;

/// Writes, waits until all have written, and reads again.
const SCRIPT: &str = "\
set -e
maria() { mariadb -h 127.0.0.1 -P \"$MARIADB_PORT\" -uroot -p\"$MARIADB_PASSWORD\" -N test; }
echo \"CREATE TABLE t AS SELECT '$TESTBED_RUN_ID' AS run\" | maria
echo \"CREATE TABLE t AS SELECT '$TESTBED_RUN_ID'::text AS run\" | psql -qX
: > \"written/$TESTBED_RUN_ID\"
while test \"$(ls written | wc -l)\" -lt \"$1\"; do sleep 0.05; done
test \"$(echo 'SELECT run FROM t' | maria)\" = \"$TESTBED_RUN_ID\"
test \"$(echo 'SELECT run FROM t' | psql -qXAt)\" = \"$TESTBED_RUN_ID\"
cat \"$TESTBED_CONFIG\"";

#[test]
fn runs_at_the_same_time_have_their_own_databases() {
    let number = count("TESTBED_TEST_TOGETHER", 8);
    let local = Local::new();
    std::fs::create_dir(local.path().join("written")).unwrap();
    let start = |index: usize| {
        let (id, number) = (format!("run-{index}"), number.to_string());
        local.start(&[
            "run", "--with", "mariadb", "--with", "postgres", "--run-id", &id, "--", "sh", "-c", SCRIPT,
            "sh", &number,
        ])
    };
    let runs: Vec<Started> = (0..number).map(start).collect();
    let mut ports = BTreeSet::new();
    for run in runs {
        let databases = read_config(&run.wait().ok().stdout);
        ports.extend(databases.iter().map(|database| database.port));
    }
    assert_eq!(ports.len(), 2 * number);
    local.assert_nothing_left();
}

#[test]
fn runs_with_a_cold_cache_prepare_it_once() {
    let local = Local::with_cold_cache();
    let runs: Vec<Started> =
        (0..8).map(|_| local.start(&["run", "-v", "--with", "mariadb", "--", "true"])).collect();
    let said: Vec<String> = runs.into_iter().map(|run| run.wait().ok().stderr).collect();
    assert_eq!(
        said.iter().filter(|said| said.contains("a data folder for the first time")).count(),
        1,
        "{said:#?}"
    );
}
