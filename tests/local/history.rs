//! What is kept of runs of this machine: their story and their logs, whatever became of them, and no secret.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Local, is_alive, until};
use crate::manifests::manifest;

impl Local {
    /// What `testbed history` answers in JSON.
    fn history(&self, args: &[&str]) -> Value {
        let answer = self.call(&[&["history"], args, &["-o", "json"]].concat()).ok();
        serde_json::from_str(&answer.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", answer.transcript()))
    }

    /// The newest record of the run `r`.
    fn story(&self) -> Value {
        self.history(&["show", "r"])
    }

    fn history_file(&self) -> std::path::PathBuf {
        self.state().join("history.db")
    }
}

/// A record's status, and the kind of its cause.
fn end(record: &Value) -> (&str, &str) {
    (record["status"].as_str().unwrap(), record["cause"]["kind"].as_str().unwrap_or_default())
}

/// What happened to a database, in the order of the record.
fn timeline(database: &Value) -> Vec<&str> {
    database["timeline"].as_array().unwrap().iter().map(|moment| moment["what"].as_str().unwrap()).collect()
}

#[test]
fn the_line_of_a_failing_query_is_there_after_down() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres=orders", "--with", "mariadb", "--run-id", "r"]);
    databases[0].query("SELECT * FROM no_such_table").unwrap_err();
    let line = "ERROR:  relation \"no_such_table\" does not exist";
    let live = local
        .call(&["history", "logs", "r", "orders", "-v"])
        .ok()
        .says("run r is up: its logs are read where they are");
    assert!(live.stdout.contains(line), "{}", live.transcript());
    assert_eq!(end(&local.story()), ("up", ""));

    local.call(&["down"]).ok();
    local.assert_nothing_left();
    let kept = local.call(&["history", "logs", "r", "orders", "-v"]).ok();
    assert!(kept.stdout.contains(line) && !kept.stderr.contains("is up"), "{}", kept.transcript());
    let last = local.call(&["history", "logs", "r", "orders", "--tail", "1"]).ok().stdout;
    // The server may notice later than that how its client has left.
    let is_last = last.ends_with("STATEMENT:  SELECT * FROM no_such_table\n") || last.contains("from client");
    assert_eq!((last.lines().count(), is_last), (1, true), "{last}");
    let both = local.call(&["history", "logs"]).ok().stdout;
    assert!(
        both.lines().all(|line| ["orders  | ", "mariadb | "].iter().any(|name| line.starts_with(name))),
        "{both}"
    );
    assert!(both.contains(" ready for connections") && both.contains(line), "{both}");
    local
        .call(&["history", "logs", "r", "shop"])
        .fails(1)
        .says("run r has no log of shop")
        .says("there are: mariadb, orders");
    local
        .call(&["history", "logs", "r", "--previous"])
        .fails(1)
        .says("run r has no log from before a restart");
}

#[test]
fn a_record_tells_the_whole_story() {
    let local = Local::new();
    local.up(&["--with", "postgres=orders", "--run-id", "r"]);
    local.call(&["down"]).ok();
    let record = local.story();
    assert_eq!(
        (end(&record), record["runtime"].as_str(), record["runId"].as_str()),
        (("done", ""), Some("local"), Some("r"))
    );
    let [database] = record["databases"].as_array().unwrap().as_slice() else { panic!("{record:#}") };
    assert_eq!(timeline(database), ["created", "prepared", "started", "ready", "deleting", "deleted"]);
    let times: Vec<&str> = database["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|moment| moment["at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted() && record["began"].as_str() <= times.first().copied(), "{record:#}");
    assert_eq!((record["ready"].as_str(), record["ended"].as_str()), (Some(times[3]), Some(times[5])));
    for (field, part) in [
        ("name", "orders"),
        ("engine", "postgres"),
        ("version", "."),
        ("address", "127.0.0.1:"),
        ("user", "postgres"),
    ] {
        assert!(database[field].as_str().is_some_and(|text| text.contains(part)), "{field}: {database:#}");
    }
    assert_eq!(database["evidence"]["evidence"], "own-process");
    let kinds: Vec<&Value> =
        record["objects"].as_array().unwrap().iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["Secret", "Service", "Pod"]);
    assert_eq!(record["origin"]["folder"].as_str(), local.path().canonicalize().unwrap().to_str());
    assert_eq!(
        (record["logs"][0]["source"].as_str(), record["origin"]["called"].as_str()),
        (Some("orders"), Some("up"))
    );
    let mode = std::fs::metadata(local.history_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let page = local.call(&["history", "show", "r", "--html", "run.html"]).ok().says("written to run.html");
    assert!(
        page.stdout.is_empty()
            && local.read("run.html").contains("database system is ready to accept connections")
    );
    assert_eq!(std::fs::metadata(local.path().join("run.html")).unwrap().permissions().mode() & 0o777, 0o600);
    let report = local.call(&["history", "report", "--since", "1h"]).ok();
    assert!(report.stdout.contains("postgres"), "{}", report.transcript());
    assert!(local.call(&["history", "report", "--html", "-"]).ok().stdout.starts_with("<!DOCTYPE html>"));
}

#[test]
fn what_became_of_the_command_is_the_runs_end() {
    let local = Local::new();
    let run =
        |script: &str| local.call(&["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", script]);
    run("exit 0").ok();
    let record = local.story();
    assert_eq!((end(&record), record["command"]["exitCode"].as_u64()), (("done", ""), Some(0)));

    run("echo hush-hush-argument > /dev/null; exit 7").ends(7);
    let record = local.story();
    assert_eq!(
        (end(&record), record["cause"]["text"].as_str()),
        (("failed", "command"), Some("sh ended with exit code 7"))
    );
    let command = &record["command"];
    assert_eq!((command["program"].as_str(), command["exitCode"].as_u64()), (Some("sh"), Some(7)));
    assert!(
        command["began"].as_str() < command["ended"].as_str() && !record.to_string().contains("hush-hush"),
        "{record:#}"
    );

    let mut asked = local.start(&[
        "run",
        "--with",
        "mariadb",
        "--run-id",
        "r",
        "--",
        "sh",
        "-c",
        "echo ready >&2; exec sleep 1000",
    ]);
    asked.until_it_says("ready\n");
    assert_eq!(end(&local.story()).0, "up");
    asked.signal("TERM");
    asked.wait().ends(143);
    assert_eq!(end(&local.story()), ("cancelled", "interrupted"));

    // The run id was used three times.
    let list = local.history(&["list", "--status", "failed,done"]);
    let statuses: Vec<&Value> = list["runs"].as_array().unwrap().iter().map(|run| &run["status"]).collect();
    assert_eq!(statuses, ["failed", "done"]);
    local.call(&["history", "show", "r"]).ok().says("this is the newest run with the id r; older: ");
    let oldest = list["runs"][1]["id"].as_str().unwrap();
    assert_eq!(local.history(&["show", oldest])["status"], "done");
}

#[test]
fn a_server_that_ends_during_the_command_has_ended() {
    let local = Local::new();
    let script = "echo ready >&2; while ! test -e go; do sleep 0.01; done; exit 9";
    let mut run = local.start(&["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", script]);
    run.until_it_says("ready\n");
    let pid = local.record("r").unwrap()["place"]["local"]["servers"][0]["process"]["pid"].to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    local.file("go", "");
    run.wait().ends(9).says("ended by itself while the command ran");
    let record = local.story();
    let database = &record["databases"][0];
    assert_eq!(
        (&timeline(database)[3..], database["timeline"][4]["detail"].as_str()),
        (&["ready", "ended", "deleting", "deleted"][..], Some("signal: 9 (SIGKILL)")),
        "{record:#}"
    );
}

#[test]
fn what_a_killed_testbed_has_left_is_abandoned_and_has_its_logs() {
    let local = Local::new();
    let mut killed = local.start(&[
        "run",
        "--with",
        "postgres",
        "--run-id",
        "r",
        "--",
        "sh",
        "-c",
        "echo ready >&2; exec sleep 1000",
    ]);
    killed.until_it_says("ready\n");
    until("the record of a run that is up", || (end(&local.story()).0 == "up").then_some(()));
    killed.signal("KILL");
    killed.child.wait().unwrap();
    local.call(&["status"]).ok().says("removed run r");
    let record = local.story();
    assert_eq!((end(&record), record["command"].is_null()), (("abandoned", "killed"), true));
    assert!(
        record["ended"].is_string() && record["cause"]["text"].as_str().unwrap().contains("was killed"),
        "{record:#}"
    );
    let log = local.call(&["history", "logs", "r"]).ok().stdout;
    assert!(log.contains("database system is ready to accept connections"), "{log}");
}

#[test]
fn a_run_whose_servers_have_ended_is_abandoned_and_one_that_was_never_ready_too() {
    let local = Local::new();
    local.up(&["--with", "mariadb", "--run-id", "r"]);
    let pid = local.record("r").unwrap()["place"]["local"]["servers"][0]["process"]["pid"].as_u64().unwrap();
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    until("the server's end", || (!is_alive(pid.try_into().unwrap())).then_some(()));
    local.call(&["gc"]).ok();
    assert_eq!(end(&local.story()), ("abandoned", "servers-ended"));
    assert_eq!(local.history(&["logs", "r"])["live"], false);
}

#[test]
fn a_start_that_fails_says_why_and_leaves_its_log() {
    let local = Local::new();
    let up = [
        "up",
        "--with",
        "mariadb",
        "--run-id",
        "r",
        "--param",
        "args=--no-such-setting=hush-hush",
        "--param",
        "password=hush-hush",
    ];
    local.call(&up).fails(4);
    let record = local.story();
    assert_eq!(
        (end(&record), record["cause"]["database"].as_str()),
        (("failed", "server-ended"), Some("mariadb"))
    );
    assert!(record["ended"].is_string() && record["ready"].is_null(), "{record:#}");
    let log = local.call(&["history", "logs", "r"]).ok().keeps("hush-hush").stdout;
    assert!(log.contains("unknown variable 'no-such-setting=***'"), "{log}");

    // One that stays for a look is not over, and ends as what it was.
    local.call(&[&up[..], &["--on-failure", "keep"]].concat()).fails(4);
    let kept = local.story();
    assert_eq!((end(&kept), kept["ended"].is_null()), (("failed", "server-ended"), true));
    assert!(kept["id"] != record["id"] && local.history(&["logs", "r"])["live"] == true);
    local.call(&["history", "logs", "r"]).ok().keeps("hush-hush");
    local.call(&["down", "--run-id", "r"]).ok();
    let over = local.story();
    assert_eq!(
        (end(&over), over["ended"].is_string(), &over["id"]),
        (("failed", "server-ended"), true, &kept["id"])
    );
}

#[test]
fn an_up_that_is_interrupted_is_cancelled() {
    let local = Local::with_cold_cache();
    let mut up = local.start(&["up", "--with", "postgres", "--run-id", "r"]);
    up.until_it_says("preparing");
    up.signal("INT");
    up.wait().fails(130);
    let record = local.story();
    assert_eq!(
        (end(&record), timeline(&record["databases"][0])[0]),
        (("cancelled", "interrupted"), "created")
    );
    assert!(record["ended"].is_string() && record["ready"].is_null(), "{record:#}");
}

#[test]
fn no_password_is_in_a_store_a_page_or_a_log() {
    let local = Local::new();
    let script = "CREATE ROLE app LOGIN PASSWORD 'script-hush';\nSELECT no_such_thing AS \"own-hush\";";
    let text = manifest("postgres", "", &[("1.sql", "CREATE ROLE app LOGIN PASSWORD 'script-hush'")]);
    local.file("m.yaml", &text);
    local.file("broken.yaml", &manifest("postgres", "", &[("1.sql", script)]));
    let (_, databases) =
        local.up(&["m.yaml", "--with", "postgres=own", "--with", "mariadb", "--run-id", "r"]);
    let own = &databases[1];
    // PostgreSQL writes statements that fail into its log, with all that is in them.
    own.query(&format!("ALTER ROLE nobody PASSWORD '{}'", own.password)).unwrap_err();
    own.query("ALTER ROLE nobody PASSWORD 'typed-hush'").unwrap_err();
    own.query(&format!("SELECT no_such_column AS \"{}\"", own.password)).unwrap_err();
    let live = local.call(&["history", "logs", "r"]).ok().stdout;
    local.call(&["down"]).ok();
    local.call(&["up", "broken.yaml", "--run-id", "broken"]).fails(4);
    let mut secrets: Vec<String> = databases.iter().map(|database| database.password.clone()).collect();
    secrets.extend(["script-hush", "typed-hush"].map(String::from));

    let ask = |args: &[&str]| local.call(&[&["history"], args].concat()).ok().stdout;
    let logs = ask(&["logs", "r"]);
    assert!(
        logs.contains("STATEMENT:  ALTER ROLE nobody PASSWORD '***'") && live.contains("ALTER ROLE nobody"),
        "{logs}"
    );
    let mut texts = vec![("live logs", live), ("logs", logs), ("list", ask(&["list", "-o", "json"]))];
    for run in ["r", "broken"] {
        for args in [
            &["show", run][..],
            &["show", run, "-o", "json"],
            &["show", run, "--html", "-"],
            &["logs", run, "-o", "json"],
        ] {
            texts.push(("an answer", ask(args)));
        }
    }
    texts.push(("report", ask(&["report", "--html", "-"])));
    for (what, text) in &texts {
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} is in {what}:\n{text}");
        }
    }
    for entry in std::fs::read_dir(local.state()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        for secret in &secrets {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} is in {}",
                entry.path().display()
            );
        }
    }
}

/// A store that cannot be written is told once, and changes nothing else.
fn assert_works_without(local: &Local, place: &str, reason: &str) {
    let warning = "warning: the run's story is not complete in the archive: ";
    let story = |run: &crate::support::Called| run.stderr.matches(warning).count();
    let args = ["--history", place, "--archive-timeout", "300ms"];
    let up =
        local.call(&[&["up", "--with", "mariadb", "--run-id", "r"], &args[..]].concat()).ok().says(reason);
    assert_eq!((story(&up), up.stdout.as_str()), (1, "r\n"), "{}", up.transcript());
    local.databases("testing-databases.json")[0].assert_takes_logins();
    let down = local.call(&[&["down"], &args[..]].concat()).ok().says("run r is gone (1 server)");
    assert_eq!(story(&down), 1, "{}", down.transcript());
    local.assert_nothing_left();
    let run = local
        .call(&[&["run", "--with", "mariadb"], &args[..], &["--", "sh", "-c", "exit 3"]].concat())
        .ends(3);
    assert_eq!(story(&run), 1, "{}", run.transcript());
    local.assert_nothing_left();
}

#[test]
fn a_store_that_cannot_be_written_fails_nothing() {
    let local = Local::new();
    let damaged = local.file("damaged.db", &"this is no database\n".repeat(1000));
    assert_works_without(&local, &format!("sqlite:{}", damaged.display()), "damaged.db");
    assert!(
        std::fs::read(&damaged).unwrap().starts_with(b"this is no database"),
        "it may be somebody's file"
    );
    assert_works_without(&local, "sqlite:/proc/no/history.db", "/proc/no/history.db");
    // Nobody listens there.
    assert_works_without(&local, "postgres://nobody@127.0.0.1:1/history", "127.0.0.1:1");
    // Somebody listens, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("postgres://nobody@{}/history", silent.local_addr().unwrap());
    assert_works_without(&local, &place, "it took longer than 300ms (--archive-timeout)");
    local
        .call(&["history", "list", "--history", &format!("sqlite:{}", damaged.display())])
        .fails(1)
        .says("damaged.db");
}

#[test]
fn a_wrong_place_keeps_no_run_from_being_removed() {
    let local = Local::new();
    local.up(&["--with", "mariadb", "--run-id", "r"]);
    local
        .call(&["down", "--history", "nonsense"])
        .ok()
        .says("warning: going on without the archive: --history is")
        .says("run r is gone");
    local.call(&["up", "--with", "mariadb", "--history", "nonsense"]).fails(2).says("--history is");
    local
        .call(&["run", "--with", "mariadb", "--history", "nonsense", "--", "true"])
        .fails(2)
        .says("--history is");
}

#[test]
fn without_an_archive_there_is_no_file() {
    let local = Local::new();
    let calls: [&[&str]; 4] = [
        &["up", "--with", "mariadb", "--run-id", "r", "--history", "none"],
        &["down", "--history", "none"],
        &["run", "--with", "mariadb", "--history", "none", "--", "true"],
        &["gc", "--history", "none"],
    ];
    for call in calls {
        local.call(call).ok();
        assert!(!local.history_file().exists(), "{call:?}");
    }
    local.call(&["history", "list"]).ok().says("nothing is kept yet in sqlite:");
    assert!(!local.history_file().exists());
}

/// What was not written at the beginning is made up for at the end, from what the machine knows of the run.
#[test]
fn a_run_that_only_its_removal_has_told_of() {
    let local = Local::new();
    local.call(&["up", "--with", "mariadb", "--run-id", "r", "--history", "none"]).ok();
    local.call(&["down"]).ok();
    let record = local.story();
    assert_eq!((end(&record), record["origin"]["called"].as_str()), (("done", ""), Some("down")));
    assert_eq!(timeline(&record["databases"][0]), ["ready", "deleting", "deleted"]);
    assert_eq!(local.history(&["logs", "r"])["logs"][0]["database"], "mariadb");
}

#[test]
fn old_runs_are_forgotten_and_their_space_is_given_back() {
    let local = Local::new();
    for _ in 0..3 {
        local.call(&["run", "--with", "mariadb", "--run-id", "r", "--", "true"]).ok();
    }
    local
        .call(&["history", "prune", "--keep", "1", "--dry-run"])
        .ok()
        .says("would forget 2 runs, 1 would stay");
    let pruned = local.history(&["prune", "--keep", "1"]);
    assert_eq!((pruned["records"].as_u64(), pruned["left"].as_u64()), (Some(2), Some(1)), "{pruned}");
    assert_eq!(local.history(&["list"])["runs"].as_array().unwrap().len(), 1);
    local.call(&["history", "prune", "--older-than", "1ms"]).ok().says("forgot 1 run, 0 stay");
    local.call(&["history", "show"]).fails(1);
    assert!(Path::new(&local.history_file()).exists());
}
