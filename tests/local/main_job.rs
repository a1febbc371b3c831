//! The main job: databases up, a config file that is true, and all of it gone again.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Local, listens, read_config, working_below};
use crate::manifests::manifest;
use crate::support::{Started, binary};

/// What a test knows about the versions that are installed: nothing but their names.
fn without_numbers(text: &str) -> String {
    let digits = |c: char| c.is_ascii_digit();
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(digits) {
        shown.push_str(&rest[..start]);
        shown.push('N');
        rest = rest[start..].trim_start_matches(|c| digits(c) || c == '.');
    }
    shown + rest
}

#[test]
fn up_status_and_down() {
    let local = Local::new();
    let (up, databases) = local.up(&["--with", "postgres", "--with", "mariadb", "--run-id", "job"]);
    assert_eq!(up.stdout, "job\n");
    let story = up.story().join("\n");
    for line in [
        "run job on this machine (--runtime)",
        "postgres: preparing",
        "when you are done: testbed down --run-id job",
    ] {
        assert!(story.lines().any(|said| said == line), "{line:?} is not in\n{story}");
    }
    let last = without_numbers(up.story().iter().rev().nth(1).unwrap());
    assert_eq!(last, "N databases ready after Ns: testing-databases.json".replace("Ns", "N s"));
    assert!(!story.contains("warning") && !story.contains("note"), "{story}");

    let [postgres, mariadb] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!(
        (postgres.driver.as_str(), postgres.user.as_str(), postgres.host.as_str()),
        ("postgres", "postgres", "127.0.0.1")
    );
    assert_eq!(
        (mariadb.driver.as_str(), mariadb.user.as_str(), mariadb.host.as_str()),
        ("mysql", "root", "127.0.0.1")
    );
    let mode = std::fs::metadata(local.path().join("testing-databases.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    up.keeps(&postgres.password).keeps(&mariadb.password);

    assert_eq!(postgres.value("SELECT current_database()"), "test");
    assert_eq!(postgres.value("SHOW server_encoding"), "UTF8");
    assert_eq!(postgres.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"), "t");
    assert_eq!(mariadb.value("SELECT DATABASE()"), "test");
    assert_eq!(mariadb.value("SELECT @@character_set_database"), "utf8mb4");
    for database in &databases {
        assert_eq!(database.value("SELECT 'grüße 🐘'"), "grüße 🐘");
        let wrong = database.as_user(&database.user, "wrong").refusal();
        assert!(
            wrong.contains("password authentication failed") || wrong.contains("Access denied"),
            "{wrong}"
        );
        let empty = database.as_user(&database.user, "").refusal();
        assert!(empty.contains("password") || empty.contains("Access denied"), "{empty}");
    }
    // Nobody gets in beside the manifest's logins.
    assert!(mariadb.as_user("", "").query("SELECT 1").is_err());
    assert_eq!(
        mariadb.query("SELECT DISTINCT User FROM mysql.global_priv ORDER BY User").unwrap(),
        ["mariadb.sys", "root"]
    );

    let status = local.call(&["status"]).ok();
    let lines: Vec<Vec<&str>> = status.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..5], ["RUN", "DATABASE", "ENGINE", "ADDRESS", "STATE"]);
    let address = format!("127.0.0.1:{}", postgres.port);
    assert_eq!(lines[1], ["job", "postgres", "postgres", &address, "Running", "0", "own-process"]);
    assert_eq!((lines.len(), status.stderr.as_str()), (3, ""));
    let status = local.call(&["status", "-o", "json"]).ok();
    let rows: Value = serde_json::from_str(&status.stdout).unwrap();
    let row = &rows[1];
    assert_eq!(
        (&row["runId"], &row["runtime"], &row["state"]),
        (&"job".into(), &"local".into(), &"Running".into())
    );
    assert_eq!((&row["database"], &row["user"]), (&"test".into(), &"root".into()));
    let process = u32::try_from(row["process"].as_u64().unwrap()).unwrap();
    assert!(working_below(local.path()).iter().any(|(pid, _)| *pid == process), "{row}");
    assert!(std::fs::metadata(row["log"].as_str().unwrap()).unwrap().is_file());
    status.keeps(&postgres.password).keeps(&mariadb.password);

    let down = local.call(&["down"]).ok();
    assert_eq!(down.story(), ["run job is gone (2 servers)"]);
    assert!(!local.has("testing-databases.json"));
    assert!(databases.iter().all(|database| !listens(database.port)));
    local.assert_nothing_left();
    assert_eq!(local.call(&["status"]).ok().story(), ["no runs on this machine (--runtime)"]);
    let down = local.call(&["down", "--run-id", "job"]).ok();
    assert_eq!(down.story(), ["run job is gone already: nothing to do"]);
}

#[test]
fn the_config_file_is_written_as_asked() {
    let local = Local::new();
    let up = local
        .call(&[
            "up",
            "--with",
            "mariadb",
            "--with",
            "sqlite",
            "--run-id",
            "r",
            "--output",
            "-",
            "--connarg",
            "mariadb.ssl=false",
        ])
        .ok();
    let config: Value = serde_json::from_str(&up.stdout).unwrap();
    assert_eq!(config[1], serde_json::json!(["sqlite", {"database": ":memory:"}]));
    assert_eq!(config[0][1]["ssl"], false);
    let up =
        local.call(&["up", "--with", "mariadb", "--run-id", "q", "--format", "dotenv", "--mode", "640"]).ok();
    assert_eq!(up.stdout, "q\n");
    assert_eq!(
        std::fs::metadata(local.path().join(".env.testbed")).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(
        local.read(".env.testbed").contains("MARIADB_HOST=127.0.0.1\n"),
        "{}",
        local.read(".env.testbed")
    );
    local.call(&["down", "--run-id", "r"]).ok();
    assert!(local.has(".env.testbed"));
    local.call(&["down", "--run-id", "q"]).ok();
    assert!(!local.has(".env.testbed"));
}

#[test]
fn a_second_up_finds_what_the_first_one_has_made() {
    let local = Local::new();
    let up = ["up", "--with", "mariadb", "--run-id", "twice"];
    local.call(&up).ok();
    let (config, servers) = (local.read("testing-databases.json"), working_below(local.path()));
    local.call(&up).ok().says("1 database ready");
    assert_eq!(local.read("testing-databases.json"), config);
    assert_eq!(working_below(local.path()), servers);
    let other =
        local.call(&["up", "--with", "mariadb", "--run-id", "twice", "--param", "database=other"]).fails(2);
    other
        .says("run twice is there already, and was asked for otherwise: mariadb")
        .says("hint: remove it first: testbed down --run-id twice");
    assert_eq!(local.read("testing-databases.json"), config);
    local.databases("testing-databases.json")[0].assert_takes_logins();
    local.call(&["down"]).ok();
}

#[test]
fn a_server_that_has_ended_is_told_by_status_and_by_up() {
    let local = Local::new();
    let up = ["up", "--with", "mariadb", "--run-id", "dead"];
    local.call(&up).ok();
    let record = local.record("dead").unwrap();
    let pid = record["place"]["local"]["servers"][0]["process"]["pid"].to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    crate::harness::until("the server's end", || {
        (!crate::harness::is_alive(pid.parse().unwrap())).then_some(())
    });
    let status = local.call(&["status"]).ok();
    assert!(status.stdout.contains(" Ended "), "{}", status.transcript());
    local
        .call(&up)
        .fails(1)
        .says("run dead is there already, and its mariadb has ended")
        .says("testbed restart mariadb starts it again, and testbed down --run-id dead");
    local.call(&["down"]).ok();
}

#[test]
fn two_runs_are_side_by_side() {
    let local = Local::new();
    let start = |id: &str| {
        local.start(&["up", "--with", "mariadb", "--run-id", id, "--output", &format!("{id}.json")])
    };
    let (one, two) = (start("one"), start("two"));
    one.wait().ok();
    two.wait().ok();
    let (one, two) = (local.databases("one.json"), local.databases("two.json"));
    assert_ne!(one[0].port, two[0].port);
    two[0].query("CREATE TABLE t AS SELECT 2 AS n").unwrap();
    assert!(one[0].query("SELECT n FROM t").unwrap_err().contains("doesn't exist"));
    // Each has its own password.
    two[0].as_user("root", &one[0].password).refusal();
    local.call(&["down", "--run-id", "one"]).ok();
    assert_eq!(two[0].value("SELECT n FROM t"), "2");
    assert!(!local.has("one.json") && !listens(one[0].port));
    local.call(&["down", "--run-id", "two"]).ok();
}

#[test]
fn what_up_has_made_outlives_its_caller() {
    let local = Local::new();
    let mut command = local.command(&[]);
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "\"$1\" up --with mariadb --with postgres --run-id detached && echo done >&2 && exec sleep 1000",
        "sh",
        binary(),
    ]);
    shell
        .current_dir(local.path())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .process_group(0);
    command = shell;
    let mut started = Started::new(&["up, and a caller that is killed with all of its group"], command);
    started.until_it_says("done");
    let group = format!("-{}", started.child.id());
    assert!(
        Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status().unwrap().success()
    );
    assert_eq!(started.wait().signal, Some(9));
    for database in local.databases("testing-databases.json") {
        database.assert_takes_logins();
    }
    assert!(local.call(&["status"]).ok().stdout.contains("detached "));
    local.call(&["down"]).ok();
}

#[test]
fn up_with_forward_holds_the_run_until_a_signal() {
    let local = Local::new();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut up = local.start(&["up", "--with", "mariadb", "--run-id", "held", "--forward"]);
        up.until_it_says("until Ctrl-C");
        let databases = local.databases("testing-databases.json");
        databases[0].assert_takes_logins();
        up.signal(signal);
        // That somebody ends it is what it waits for, and no error.
        let ended = up.wait().ends(code).says("run held is gone");
        assert!(!ended.stderr.contains("error:"), "{}", ended.transcript());
        assert!(!local.has("testing-databases.json") && !listens(databases[0].port));
        local.assert_nothing_left();
    }
}

#[test]
fn an_interrupted_up_takes_back_what_it_has_started() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let local = Local::new();
        let mut up = local.start(&["up", "--with", "mariadb", "--with", "postgres", "--run-id", "stopped"]);
        up.until_it_says("starting");
        up.signal(signal);
        let up = up.wait();
        assert_eq!(up.code, Some(code), "{}", up.transcript());
        up.says("error: interrupted");
        assert!(!local.has("testing-databases.json"));
        local.assert_nothing_left();
    }
}

#[test]
fn an_older_config_file_is_gone_while_the_databases_start() {
    let local = Local::new();
    local.call(&["up", "--with", "sqlite", "--run-id", "before"]).ok();
    assert!(local.has("testing-databases.json"));
    local.file("m.yaml", &manifest("mariadb", "", &[("1.sh", "exit 1")]));
    let mut up = local.start(&["up", "m.yaml", "--run-id", "r"]);
    up.until_it_says("starting");
    assert!(!local.has("testing-databases.json"), "its presence would mean that the databases are ready");
    up.wait().fails(4);
    // What is refused before anything is done changes nothing.
    local.file("testing-databases.json", "[]");
    local.call(&["up", "--with", "oracle"]).fails(2);
    assert!(local.has("testing-databases.json"));
    local.call(&["down", "--run-id", "before"]).ok();
}

#[test]
fn a_run_that_was_kept_for_a_look_is_not_taken_for_one_that_is_ready() {
    let local = Local::new();
    local.file("m.yaml", &manifest("mariadb", "", &[("1.sh", "exit 1")]));
    let up = ["up", "m.yaml", "--run-id", "kept", "--on-failure", "keep"];
    local.call(&up).fails(4).says("remove it: testbed down --run-id kept");
    assert!(local.call(&["status"]).ok().stdout.contains("kept"));
    local.call(&up).fails(1).says("run kept is there already").says("remove it: testbed down --run-id kept");
    assert!(!local.has("testing-databases.json"));
    local.call(&["down", "--run-id", "kept"]).ok();
}

#[test]
fn standard_output_can_take_the_config_file() {
    let local = Local::new();
    let up = local.call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-", "-q"]).ok();
    assert_eq!(up.stderr, "");
    read_config(&up.stdout)[0].assert_takes_logins();
    local.call(&["down", "-q"]).ok();
}

/// What a pipeline reads: without a line break, and without a login.
#[test]
fn results_tell_where_the_config_file_is_and_how_many_databases() {
    let local = Local::new();
    let args = [
        "up",
        "--with",
        "postgres",
        "--with",
        "sqlite",
        "--run-id",
        "r",
        "--result",
        "config=path",
        "--result",
        "databases=count",
    ];
    local.call(&args).ok();
    let path = local.path().canonicalize().unwrap().join("testing-databases.json");
    assert_eq!((local.read("path"), local.read("count").as_str()), (path.display().to_string(), "2"));
    local.call(&["down"]).ok();
}
