//! `testbed doctor` without a cluster: the folders and the servers of this machine.

use serde_json::Value;

use crate::harness::Local;
use crate::support::{Called, Folder, open_for_passing};

/// What was found, as `status check: message`, and each problem's remedy.
fn found(called: &Called) -> (Vec<String>, Vec<String>) {
    let verdicts: Vec<Value> = serde_json::from_str(&called.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", called.transcript()));
    let text =
        |verdict: &Value, key: &str| verdict[key].as_str().map(ToString::to_string).unwrap_or_default();
    let line = |verdict: &Value| {
        format!("{} {}: {}", text(verdict, "status"), text(verdict, "check"), text(verdict, "message"))
    };
    let problems = verdicts.iter().filter(|verdict| verdict["status"] == "problem");
    (verdicts.iter().map(line).collect(), problems.map(|verdict| text(verdict, "remedy")).collect())
}

#[test]
fn servers_are_found_and_nothing_is_started() {
    let local = Local::new();
    let (lines, _) =
        found(&local.call(&["doctor", "--with", "postgres", "--with", "mysql", "-o", "json"]).ok());
    assert!(lines[1].starts_with("ok folders: "), "{lines:?}");
    assert!(
        lines[2].starts_with("ok servers: PostgreSQL ") && lines[2].ends_with(" would serve postgres"),
        "{lines:?}"
    );
    assert!(
        lines[3].starts_with("ok servers: MariaDB ") && lines[3].ends_with(" would serve mysql"),
        "{lines:?}"
    );
    assert!(
        lines[4].starts_with("warning differences: mysql: there is no MySQL on this machine"),
        "{lines:?}"
    );
    assert!(lines[5].starts_with("ok copies: what is prepared is copied by"), "{lines:?}");
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(local.record("r").is_none() && !local.has("testing-databases.json"));
}

#[test]
fn a_server_that_is_not_there_is_a_problem_once_it_is_named() {
    let local = Local::new();
    let called = local.call(&["doctor", "--with", "postgres", "--with", "mysql:9.7", "-o", "json"]).ends(1);
    let (lines, remedies) = found(&called);
    assert!(lines[2].starts_with("ok servers: "), "{lines:?}");
    assert!(
        lines[3].contains("problem servers: mysql: no server for it: MySQL 9.7 is asked for"),
        "{lines:?}"
    );
    assert!(remedies.len() == 1 && remedies[0].starts_with("install it"), "{remedies:?}");

    let nothing = Local::of(Folder::local().env("TESTBED_MYSQL_SERVER", "/no/such/file"));
    let called = nothing
        .call(&["doctor", "-o", "json"])
        .ok()
        .says("looking for what --with postgres,mariadb,mysql needs");
    let (lines, _) = found(&called);
    assert!(
        lines[4].starts_with("warning servers: mysql: no server for it: TESTBED_MYSQL_SERVER points to"),
        "{lines:?}"
    );
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let folder = Folder::local();
    let file = folder.file("a-file", "");
    // Root's servers run as somebody else, who has to be able to pass: otherwise root's own folder is not
    // even tried.
    open_for_passing(&file);
    let file = file.display().to_string();
    for (variable, remedy) in
        [("XDG_STATE_HOME", "set XDG_STATE_HOME"), ("XDG_CACHE_HOME", "set XDG_CACHE_HOME")]
    {
        let local = Local::of(Folder::local().env(variable, format!("{file}/below")));
        let (lines, remedies) = found(&local.call(&["doctor", "--with", "postgres", "-o", "json"]).ends(1));
        assert!(
            lines[1].starts_with("problem folders: making the ") && lines[1].contains(&file),
            "{lines:?}"
        );
        assert!(lines[2].starts_with("skipped servers: "), "{lines:?}");
        assert!(remedies[0].starts_with(remedy), "{remedies:?}");
    }
}
