//! The story of a run in a cluster survives it: who writes it, what is in it, and what is in it nowhere.

mod archive;
mod endings;
mod results;

use std::process::Command;

use serde_json::Value;

use crate::credentials::account;
use crate::databases::{Db, PASSWORD, manifest};
use crate::harness::{Namespace, reaches_services};
use crate::support::{Called, Folder};

/// The verbs of the original pipeline's Role.
const PIPELINE: &str =
    "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}]";

/// The stored story of a run.
fn story(folder: &Folder, run: &str) -> Value {
    let shown = folder.call(&["history", "show", run, "-o", "json"]).ok();
    serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error}\n{}", shown.transcript()))
}

/// How a run ended: its status, a word for why, and whether it is gone.
pub fn ending(folder: &Folder, run: &str) -> [String; 3] {
    let story = story(folder, run);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let gone = if story["ended"].is_string() { "gone" } else { "still there" };
    [text(&story["status"]), text(&story["cause"]["kind"]), gone.to_owned()]
}

fn database<'a>(story: &'a Value, name: &str) -> &'a Value {
    let databases = story["databases"].as_array().expect("a list");
    databases
        .iter()
        .find(|database| database["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {story:#}"))
}

/// What has happened to a database, in its order.
fn course<'a>(story: &'a Value, name: &str) -> Vec<&'a str> {
    let timeline = database(story, name)["timeline"].as_array().expect("a list");
    assert!(timeline.is_sorted_by_key(|moment| moment["at"].as_str()), "{timeline:?}");
    timeline.iter().map(|moment| moment["what"].as_str().expect("a text")).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// No secret is in any file of the state folder, in anything that the store tells, or in what was said.
fn keeps(folder: &Folder, said: &[&Called], secrets: &[&str]) {
    let files = ["history.db", "history.db-wal"]
        .map(|name| std::fs::read(folder.path().join("state/testbed").join(name)));
    let files: Vec<Vec<u8>> = files.into_iter().filter_map(Result::ok).collect();
    assert!(files.iter().any(|bytes| contains(bytes, b"run-1")), "the store is not where it is looked for");
    // Records and logs are packed: what is in them, only the program tells. There may be no log.
    let told = [&["show"][..], &["logs"], &["logs", "--previous"], &["list"]];
    let told = told.map(|command| folder.call(&[&["history"], command, &["-o", "json"]].concat()));
    for secret in secrets {
        assert!(!files.iter().any(|bytes| contains(bytes, secret.as_bytes())), "{secret} is in the store");
        for called in said.iter().copied().chain(&told) {
            assert!(
                !called.stderr.contains(secret) && !called.stdout.contains(secret),
                "{secret} is in\n{}",
                called.transcript()
            );
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A failing test, a restart, and secrets in every place in which people put them; then all of it goes, and
/// the story stays.
#[test]
fn a_database_tells_its_own_error_when_its_pod_is_gone() {
    let namespace = Namespace::new("story");
    let folder = &namespace.folder;
    let script = "CREATE ROLE reader PASSWORD 'sql-hush';\n";
    let mine = Db::new("mine", "postgres:17").lingering(1).script("roles.sql", script).keeping_its_data();
    let mine = mine.annotation("testbed/connargs", "{\"passfile_key\": \"conn-hush\"}");
    folder.file("m.yaml", &manifest(&[mine]));
    let up = folder.call(&["up", "m.yaml", "--with", "postgres:17=other", "--run-id", "run-1", "-v"]).ok();
    let generated: Value =
        serde_json::from_str(&folder.read("testing-databases.json")).expect("the config file");
    let generated = generated[1][1]["password"].as_str().expect("a password").to_owned();
    assert_eq!(story(folder, "run-1")["status"], "up");

    let restarts = fail_and_restart(&namespace);

    // While it is up, its logs are read where they are.
    let live = folder.call(&["history", "logs", "run-1", "mine", "--previous", "-o", "json"]).ok();
    let logs: Value = serde_json::from_str(&live.stdout).expect("JSON");
    assert_eq!(
        (&logs["live"], &logs["logs"][0]["source"]),
        (&true.into(), &"mine-run-1".into()),
        "{}",
        live.transcript()
    );
    assert!(live.stdout.contains("no_such_table"), "{}", live.transcript());

    let down = folder.call(&["down"]).ok();
    assert!(namespace.of_run("run-1").is_empty());
    let story = story(folder, "run-1");
    assert_eq!(
        (&story["status"], &story["cause"], texts(&story["notes"])),
        (&"done".into(), &Value::Null, vec![]),
        "{story:#}"
    );
    let began = ["created", "scheduled", "pulled", "started"];
    assert_eq!(course(&story, "other"), [&began[..], &["ready", "deleting", "deleted"]].concat());
    // The end of one that the kubelet has forgotten, nobody can tell; of the others Kubernetes tells the
    // second, in which more may have happened.
    let mut told = course(&story, "mine");
    let place = |what: &str| {
        told.iter().rposition(|told| *told == what).unwrap_or_else(|| panic!("nothing {what}: {story:#}"))
    };
    assert!((place("started")..place("restarted")).contains(&place("ended")), "{story:#}");
    told.retain(|what| *what != "ended");
    // Between `up` and `down` nobody watches: Kubernetes tells how many restarts there were, and when the
    // last one was.
    assert_eq!(
        told,
        [&began[..], &["set-up-server", "ready", "restarted", "deleting", "deleted"]].concat(),
        "{story:#}"
    );
    assert_eq!(
        (&database(&story, "mine")["restarts"], &database(&story, "mine")["engine"]),
        (&restarts.into(), &"postgres".into())
    );
    assert!(
        database(&story, "mine")["version"].as_str().is_some_and(|version| version.starts_with("17")),
        "{story:#}"
    );
    assert_eq!(database(&story, "mine")["evidence"]["evidence"], "process-1");
    let kinds: Vec<&str> = story["objects"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|object| object["kind"].as_str())
        .collect();
    for kind in ["Pod", "Service", "Secret", "ConfigMap"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert!(
        story["events"]
            .as_array()
            .is_some_and(|events| events.iter().any(|event| event["reason"] == "Started")),
        "{story:#}"
    );
    assert!(!story.to_string().contains("managedFields"));

    // The error is of the container before the restart.
    let before = folder.call(&["history", "logs", "run-1", "mine", "--previous"]).ok();
    assert!(before.stdout.contains("relation \"no_such_table\" does not exist"), "{}", before.transcript());
    assert!(before.stdout.contains("ALTER ROLE reader PASSWORD '***' NONSENSE"), "{}", before.transcript());
    assert!(before.stdout.contains("they say ***"), "{}", before.transcript());
    let after = folder.call(&["history", "logs", "run-1", "mine"]).ok();
    assert!(
        after.stdout.contains("database system is ready to accept connections"),
        "{}",
        after.transcript()
    );
    let encoded =
        Command::new("base64").arg(folder.file("password", &generated)).output().expect("base64").stdout;
    let encoded = String::from_utf8(encoded).expect("ASCII");
    let secrets =
        [PASSWORD, "sql-hush", "typed-hush", "conn-hush", &generated, encoded.trim().trim_end_matches('=')];
    keeps(folder, &[&up, &live, &down, &before, &after], &secrets);
}

/// The tests: one asks for a table that does not exist, another one shows a password to the server's log. And
/// their server comes down, which is a restart of its container. Tells how many there were: a kubelet now and
/// then forgets at once what it has restarted, and the log with it.
fn fail_and_restart(namespace: &Namespace) -> usize {
    for restarts in 1..=5 {
        // Each time: which container's log is kept in the end is the kubelet's affair.
        for sql in [
            "SELECT * FROM no_such_table",
            "ALTER ROLE reader PASSWORD 'typed-hush' NONSENSE",
            "SELECT 'correct-horse', no_such_column",
            "DO $$BEGIN RAISE WARNING 'they say sql-hush'; END$$",
        ] {
            let psql = ["exec", "mine-run-1", "--", "psql", "-U", "app", "shop", "-c", sql];
            crate::harness::kubectl_output(&[&["-n", &namespace.name], &psql[..]].concat(), None);
        }
        namespace.kubectl(&["exec", "mine-run-1", "--", "bash", "-c", "kill -INT 1"]);
        let path = "jsonpath={range .status.containerStatuses[0]}{.restartCount} {.ready}{end}";
        namespace.kubectl_until(&["get", "pod", "mine-run-1", "-o", path], |text| {
            text == format!("{restarts} true")
        });
        // It may tell of the new container before it tells of the end of the old one.
        for _ in 0..20 {
            let path = "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
            if namespace.kubectl(&["get", "pod", "mine-run-1", "-o", path]) == "0" {
                // Its log is looked at later.
                namespace.kubectl_until(&["logs", "mine-run-1"], |text| {
                    text.contains("ready to accept connections")
                });
                return restarts;
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
    }
    panic!("the kubelet tells of no container that has ended");
}

/// Who may do no more than the original pipeline could gets a story with what he may know, and a note about
/// the rest.
#[test]
fn the_original_role_gets_a_story_with_notes() {
    if !reaches_services() {
        return;
    }
    let namespace = Namespace::new("modest");
    let config = Folder::new();
    let folder = namespace.folder_as(&account(&namespace, &config, PIPELINE));
    folder.file("m.yaml", &manifest(&[Db::new("postgres", "postgres:17")]));
    let up = folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    let down = folder.call(&["down"]).ok();
    assert!(!down.stderr.contains("warning"), "{}", down.transcript());
    let story = story(&folder, "run-1");
    assert_eq!(story["status"], "done");
    let notes = texts(&story["notes"]);
    assert_eq!(
        notes,
        [
            "events may not be read: that needs the verb list on events",
            "logs may not be read: that needs the verb get on pods/log"
        ]
    );
    assert_eq!(
        course(&story, "postgres"),
        ["created", "scheduled", "started", "ready", "deleting", "deleted"]
    );
    keeps(&folder, &[&up, &down], &[PASSWORD]);
}

/// A log is kept only where all secrets are known that may be in it.
#[test]
fn the_log_of_a_pod_whose_secret_may_not_be_read_is_left_out() {
    let namespace = Namespace::new("unread");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods, services], verbs: [create, delete, get, list, watch]}, {apiGroups: [''], resources: [pods/log], verbs: [get]}, \
                 {apiGroups: [''], resources: [events], verbs: [list, watch]}]";
    let limited = namespace.folder_as(&account(&namespace, &config, rules));
    namespace
        .apply("apiVersion: v1\nkind: Secret\nmetadata: {name: theirs}\nstringData: {word: their-hush}\n");
    let pod = |name: &str, variable: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-run-1, annotations: {{testbed/engine: none}}}}\nspec:\n  containers:\n  - name: main\n    image: postgres:17\n    \
             command: [sh, -c, 'echo the word is $WORD; exec sleep 600']\n    env: [{{name: WORD, {variable}}}]\n"
        )
    };
    let referring = pod("referring", "valueFrom: {secretKeyRef: {name: theirs, key: word}}");
    limited.file("m.yaml", &(referring + &pod("plain", "value: fish")));
    limited.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    limited.call(&["down"]).ok();
    let story = story(&limited, "run-1");
    let sources: Vec<&str> =
        story["logs"].as_array().expect("a list").iter().filter_map(|log| log["source"].as_str()).collect();
    assert_eq!(sources, ["plain-run-1"]);
    assert_eq!(
        texts(&story["notes"]),
        [
            "the logs of Pod referring-run-1 are left out: the Secret theirs that it refers to may not be read (verb get on secrets), and \
          nobody knows what to keep secret"
        ]
    );
    let logs = limited.call(&["history", "logs", "run-1"]).ok();
    assert!(logs.stdout.contains("the word is fish"), "{}", logs.transcript());

    // Whoever may read the Secret may have the log, without its secret.
    let folder = &namespace.folder;
    folder.file("m.yaml", &limited.read("m.yaml"));
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    folder.call(&["down"]).ok();
    let logs = folder.call(&["history", "logs", "run-1", "referring-run-1"]).ok().keeps("their-hush");
    assert!(logs.stdout.contains("the word is ***"), "{}", logs.transcript());
}
