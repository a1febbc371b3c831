//! `testbed history` on stores that tests have filled: what it prints, and what it refuses. What a run writes
//! is told elsewhere.

use serde_json::Value;
use testbed::history::log::Log;
use testbed::history::place::Place;
use testbed::history::record::{Cause, Database, Event, LogInfo, Moment, Origin, Record, Status, What};
use testbed::history::store::Store;
use testbed::time::Time;

use crate::support::{Called, Folder};

/// When the first of the runs below began.
const BEGAN: i64 = 1_700_000_000_000;

fn folder() -> Folder {
    Folder::new().env("TESTBED_HISTORY", "sqlite:history.db")
}

/// A folder with these runs in its store.
fn with(runs: Vec<(Record, Vec<Log>)>) -> Folder {
    let folder = folder();
    let place = Place::Sqlite(folder.path().join("history.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&place).await.unwrap();
        for (record, logs) in runs {
            store.put(record, logs).await.unwrap();
        }
    });
    folder
}

fn id(number: u32) -> String {
    format!("0198c0de-0000-7000-8000-{number:012}")
}

fn record(number: u32, run_id: &str, status: Status) -> Record {
    Record {
        version: 1,
        id: id(number),
        run_id: run_id.into(),
        name: "shop".into(),
        status,
        runtime: "local".into(),
        tool: "testbed 0.1.0".into(),
        began: Time::from_millis(BEGAN + i64::from(number) * 1000),
        databases: vec![Database { name: "db".into(), engine: "postgres".into(), ..Database::default() }],
        ..Record::default()
    }
}

/// One that failed in a cluster, with all that there can be.
fn failed() -> (Record, Vec<Log>) {
    let at = |millis: i64| Time::from_millis(BEGAN + 3000 + millis);
    let moment = |what, millis, detail: &str| Moment { what, at: at(millis), detail: detail.into() };
    let database = Database {
        name: "mysql".into(),
        engine: "mysql".into(),
        image: Some("mysql:9.7".into()),
        workload: Some("Pod/mysql-build-7".into()),
        container: Some("mysql".into()),
        restarts: 1,
        timeline: vec![
            moment(What::Created, 50, ""),
            moment(What::Scheduled, 90, "node-1"),
            moment(What::Pulled, 4000, ""),
            moment(What::Started, 4100, ""),
            moment(What::Restarted, 9000, "exit code 1"),
        ],
        ..Database::default()
    };
    let event = |warning, reason: &str, message: &str, millis| Event {
        at: Some(at(millis)),
        warning,
        object: "Pod/mysql-build-7".into(),
        reason: reason.into(),
        message: message.into(),
        count: 1,
    };
    let record = Record {
        runtime: "kubernetes".into(),
        cause: Some(Cause {
            kind: "crashes".into(),
            database: Some("mysql".into()),
            text: "mysql: its server ends again and again".into(),
        }),
        ended: Some(at(12_000)),
        origin: Origin {
            called: "up".into(),
            host: Some("build-7-pod".into()),
            cluster: Some("https://10.0.0.1".into()),
            namespace: Some("ci".into()),
            pipeline_run: Some("build-7".into()),
            pipeline_run_uid: Some("2b5b5a1c".into()),
            git_commit: Some("6ae9a9f".into()),
            ..Origin::default()
        },
        databases: vec![database],
        events: vec![
            event(false, "Pulled", "the image is there", 4000),
            event(true, "BackOff", "restarting failed container", 9100),
        ],
        notes: vec!["the log of Pod/web could not be read: forbidden".into()],
        ..record(3, "build-7", Status::Failed)
    };
    let log = |previous, text: &str| {
        let info = LogInfo {
            source: "mysql-build-7".into(),
            container: "mysql".into(),
            previous,
            database: Some("mysql".into()),
            bytes: text.len() as u64,
            ..LogInfo::default()
        };
        Log::new(info, text)
    };
    (record, vec![log(false, "starting\nunknown variable 'x'\n"), log(true, "the first time\n")])
}

/// Two of this machine, and one that failed in a cluster.
fn three() -> Folder {
    let done = Record {
        ready: Some(Time::from_millis(BEGAN + 1000 + 120)),
        ended: Some(Time::from_millis(BEGAN + 9000)),
        ..record(1, "pr-17", Status::Done)
    };
    with(vec![(done, vec![]), (record(2, "pr-17", Status::Up), vec![]), failed()])
}

fn json(called: &Called) -> Value {
    serde_json::from_str(&called.stdout).unwrap_or_else(|error| panic!("{error}: {}", called.transcript()))
}

fn ids(called: &Called) -> Vec<String> {
    json(called)["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The runs are of 2023, and how long ago that is depends on when this is read.
fn without_ages(text: &str) -> String {
    let is_age = |word: &str| {
        word.strip_suffix('d')
            .is_some_and(|days| days.len() >= 3 && days.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.split_inclusive([' ', '('])
        .map(|word| if is_age(word.trim_end()) { "DAYS ".to_owned() } else { word.to_owned() })
        .collect()
}

#[test]
fn runs_are_listed_from_the_newest_on() {
    let list = three().call(&["history", "list"]).ok();
    insta::assert_snapshot!("history-list", without_ages(&list.stdout));
    assert_eq!(list.stderr, "");
}

#[test]
fn filters_choose_runs() {
    let folder = three();
    let list = |args: &[&str]| ids(&folder.call(&[&["history", "list", "-o", "json"], args].concat()).ok());
    for (args, numbers) in [
        (&[][..], &[3, 2, 1][..]),
        (&["--status", "done,failed"], &[3, 1]),
        (&["--since", "2023-11-14T22:13:22Z"], &[3, 2]),
        (&["--since", "2023-11-14T23:13:23+01:00"], &[3]),
        (&["--since", "1d"], &[]),
        (&["-n", "ci"], &[3]),
        (&["--pipeline-run", "build-7"], &[3]),
        (&["--pipeline-run", "2b5b5a1c"], &[3]),
        (&["--engine", "postgres"], &[2, 1]),
        (&["--engine", "mysql", "--status", "up"], &[]),
    ] {
        assert_eq!(list(args), numbers.iter().map(|number| id(*number)).collect::<Vec<_>>(), "{args:?}");
    }
    folder.call(&["history", "list", "--engine", "mariadb"]).ok().says("no such runs in sqlite:history.db");
    folder.call(&["history", "list", "-q", "--engine", "mariadb"]).ok().keeps("no such runs");
}

#[test]
fn a_namespace_chooses_only_where_it_is_typed() {
    let folder = three().env("TESTBED_NAMESPACE", "elsewhere");
    folder.file("testbed.yaml", "namespace: elsewhere\n");
    assert_eq!(ids(&folder.call(&["history", "list", "-o", "json"]).ok()).len(), 3);
    assert_eq!(ids(&folder.call(&["-n", "ci", "history", "list", "-o", "json"]).ok()), [id(3)]);
}

#[test]
fn pages_follow_each_other() {
    let folder = three();
    let first = folder.call(&["history", "list", "--limit", "2", "-o", "json"]).ok();
    assert_eq!(ids(&first), [id(3), id(2)]);
    let next = json(&first)["next"].as_str().unwrap().to_owned();
    let second = folder.call(&["history", "list", "--limit", "2", "-o", "json", "--after", &next]).ok();
    assert_eq!((ids(&second), &json(&second)["next"]), (vec![id(1)], &Value::Null));
    let table = folder
        .call(&["history", "list", "--limit", "2"])
        .ok()
        .says(&format!("there are more: the same with --after {next}"));
    assert_eq!(table.stdout.lines().count(), 3);
    let last = json(&folder.call(&["history", "list", "--limit", "1", "-o", "json", "--after", &next]).ok())
        ["runs"][0]
        .clone();
    let after = format!("{}.{}", BEGAN + 1000, last["id"].as_str().unwrap());
    folder.call(&["history", "list", "--after", &after]).ok().says("there are no more runs");
}

#[test]
fn a_story_is_told_to_people() {
    let show = three().call(&["history", "show", "build-7"]).ok();
    insta::assert_snapshot!("history-show", without_ages(&show.stdout));
    assert_eq!(show.stderr, "");
}

#[test]
fn a_story_is_told_to_programs() {
    let show = three().call(&["history", "show", "build-7", "-o", "json"]).ok();
    insta::assert_snapshot!("history-show-json", show.stdout);
}

#[test]
fn a_run_is_named_in_several_ways() {
    let folder = three();
    let shown = |run: &str| {
        json(&folder.call(&["history", "show", run, "-o", "json"]).ok())["id"].as_str().unwrap().to_owned()
    };
    assert_eq!((shown("build-7"), shown(&id(1)), shown("pr-17")), (id(3), id(1), id(2)));
    let newest = folder.call(&["history", "show", "-o", "json"]).ok();
    assert_eq!(json(&newest)["id"].as_str(), Some(id(3).as_str()));
    folder
        .call(&["history", "show", "pr-17"])
        .ok()
        .says(&format!("this is the newest run with the id pr-17; older: {} (", id(1)));
    folder
        .call(&["history", "show", "0198c0de"])
        .fails(1)
        .says("0198c0de is the beginning of several: ")
        .says("hint: write more");
    folder
        .call(&["history", "show", "bui"])
        .fails(1)
        .says("run bui is not in sqlite:history.db")
        .says("testbed history list");
    let long = with(vec![(record(1, "build-7-of-shop", Status::Done), vec![])]);
    assert_eq!(
        json(&long.call(&["history", "show", "build-7-", "-o", "json"]).ok())["id"].as_str(),
        Some(id(1).as_str())
    );
    long.call(&["history", "show", "buil"]).ok();
    // No wildcard of a database's language.
    long.call(&["history", "show", "build-7%"]).fails(1);
    long.call(&["history", "show", "build-7_of"]).fails(1);
}

#[test]
fn logs_are_those_of_the_last_container_unless_asked() {
    let folder = three();
    let logs = |args: &[&str]| folder.call(&[&["history", "logs"], args].concat()).ok();
    assert_eq!(
        logs(&["build-7"]).says("--previous shows what it wrote before").stdout,
        "starting\nunknown variable 'x'\n"
    );
    assert_eq!(logs(&["build-7", "mysql", "--tail", "1"]).stdout, "unknown variable 'x'\n");
    assert_eq!(logs(&["build-7", "mysql-build-7", "--previous"]).stdout, "the first time\n");
    let answer = json(&logs(&["build-7", "-o", "json", "--tail", "1"]));
    assert_eq!(
        (&answer["version"], &answer["live"], answer["record"].as_str()),
        (&1.into(), &false.into(), Some(id(3).as_str()))
    );
    assert_eq!(
        (answer["logs"][0]["text"].as_str(), answer["logs"].as_array().unwrap().len()),
        (Some("unknown variable 'x'\n"), 1)
    );
    folder
        .call(&["history", "logs", "build-7", "shop"])
        .fails(1)
        .says("run build-7 has no log of shop")
        .says("hint: there are: mysql");
    folder
        .call(&["history", "logs", "pr-17"])
        .fails(1)
        .says("run pr-17 has no log")
        .says("hint: no log of it was kept");
}

#[test]
fn a_report_counts() {
    let folder = three();
    let report = folder.call(&["history", "report", "--since", "2023-11-14", "-o", "json"]).ok();
    assert_eq!((json(&report)["runs"].as_u64(), json(&report)["version"].as_u64()), (Some(3), Some(1)));
    assert!(
        folder
            .call(&["history", "report", "--since", "2023-11-14", "--html", "-"])
            .ok()
            .stdout
            .contains("crashes")
    );
    let recent = folder.call(&["history", "report", "-o", "json"]).ok();
    assert_eq!(json(&recent)["runs"].as_u64(), Some(0), "the last seven days, unless told");
    folder.call(&["history", "report", "--html", "no/such/report.html"]).fails(1).says("no/such/report.html");
}

#[test]
fn pruning_needs_a_rule() {
    let folder = three();
    folder
        .call(&["history", "prune"])
        .fails(2)
        .says("there is no rule")
        .says("--older-than 30d, --keep 1000, or both");
    folder
        .call(&["history", "prune", "--older-than", "30d", "--dry-run"])
        .ok()
        .says("would forget 3 runs, 0 would stay");
    let pruned = json(&folder.call(&["history", "prune", "--keep", "2", "-o", "json"]).ok());
    assert_eq!(
        (&pruned["records"], &pruned["left"], &pruned["dryRun"]),
        (&1.into(), &2.into(), &false.into())
    );
    assert_eq!(ids(&folder.call(&["history", "list", "-o", "json"]).ok()), [id(3), id(2)]);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let folder = folder();
    let list = folder.call(&["history", "list"]).ok().says("nothing is kept yet in sqlite:history.db");
    assert_eq!(list.stdout, "");
    let page = folder.call(&["history", "list", "-o", "json"]).ok();
    assert_eq!(page.stdout, "{\n  \"version\": 1,\n  \"runs\": [],\n  \"next\": null\n}\n");
    for args in [&["show"][..], &["show", "r"], &["logs"], &["logs", "r"]] {
        folder.call(&[&["history"], args].concat()).fails(1).says("nothing is kept yet in sqlite:history.db");
    }
    folder.call(&["history", "prune", "--keep", "1"]).ok().says("nothing is kept yet");
    folder.call(&["history", "report"]).ok().says("nothing is kept yet");
    assert!(!folder.has("history.db"));
}

#[test]
fn wrong_flags_are_named() {
    let folder = three();
    let refused = |args: &[&str], part: &str| {
        folder.call(&[&["history"], args].concat()).fails(2).says(part);
    };
    refused(&["list", "--since", "yesterday"], "write a duration (7d, 90m), a day (2026-01-31) or a moment");
    refused(
        &["list", "--status", "running"],
        "[possible values: starting, up, done, failed, cancelled, abandoned]",
    );
    refused(&["list", "--limit", "0"], "0 is not in 1..=10000");
    refused(&["list", "--after", "3"], "take what the page before tells");
    refused(&["list", "-o", "text"], "[possible values: table, json]");
    refused(&["logs", "r", "--tail", "few"], "--tail");
    refused(&["list", "--history", "none"], "--history none keeps nothing");
    refused(&["logs", "--history", "none"], "--history none keeps nothing");
    refused(
        &["list", "--history", "history.db"],
        "--history is sqlite:PATH, postgres://USER@HOST/DATABASE or none",
    );
    refused(
        &["list", "--history", "postgres://u:hush-hush@127.0.0.1/d"],
        "others can see a password on the command line",
    );
    let named = Folder::new().env("TESTBED_HISTORY", "postgres://u:hush-hush@127.0.0.1:1/d");
    named.call(&["history", "list"]).fails(1).says("postgres://u@127.0.0.1:1/d").keeps("hush-hush");
    Folder::new().call(&["history"]).ends(2).says("Usage: testbed history");
}

#[test]
fn a_pod_has_no_usual_place() {
    let pod = Folder::new().env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    pod.call(&["history", "list"])
        .fails(2)
        .says("no history is kept here")
        .says("--history or TESTBED_HISTORY");
}

#[test]
fn the_settings_tell_the_place_as_seen_from_their_folder() {
    let folder = three();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    folder.file("testbed.yaml", "history: sqlite:history.db\narchive-timeout: 1s\n");
    let list = |args: &[&str]| {
        let mut command = folder.command(&[&["history", "list", "-o", "json"], args].concat());
        Called::new(args, command.current_dir(&inner).env_remove("TESTBED_HISTORY").output().unwrap()).ok()
    };
    assert_eq!(ids(&list(&[])).len(), 3);
    assert_eq!(ids(&list(&["--history", "sqlite:../history.db"])).len(), 3);
    assert!(
        ids(&list(&["--history", "sqlite:other.db"])).is_empty(),
        "a flag is seen from where it was typed"
    );
    folder.file("testbed.yaml", "history: none\n");
    let none = folder
        .command(&["history", "list"])
        .current_dir(&inner)
        .env_remove("TESTBED_HISTORY")
        .output()
        .unwrap();
    Called::new(&["history", "list"], none).fails(2).says("--history none keeps nothing");
}

#[test]
fn what_is_damaged_is_told() {
    let folder = folder();
    folder.file("history.db", &"no database\n".repeat(1000));
    for args in [&["list"][..], &["show"], &["logs"], &["report"], &["prune", "--keep", "1"]] {
        let called = folder.call(&[&["history"], args].concat()).fails(1);
        assert!(called.stderr.contains("history.db"), "{}", called.transcript());
    }
}

#[test]
fn the_help_has_examples_and_exit_codes() {
    let folder = Folder::new();
    for command in ["list", "show", "logs", "prune", "report"] {
        let help = folder.call(&["history", command, "--help"]).ok().stdout;
        assert!(help.contains("Examples:\n  testbed history ") && help.contains("TESTBED_HISTORY"), "{help}");
    }
}
