//! Commands that work with a run that is up: `exec`, `connect`, `env`, `logs` and `restart`, with the engines'
//! own clients.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Local, is_alive, until};
use crate::support::terminal::Terminal;
use crate::support::{Called, binary};

const BOTH: [&str; 6] = ["--with", "postgres", "--with", "mariadb=shop", "--run-id", "r"];

/// A folder with a run of both engines, whose caller's variables lead elsewhere.
fn both() -> Local {
    let local = Local::of(
        crate::support::Folder::local()
            .env("PGSERVICE", "elsewhere")
            .env("PGPORT", "1")
            .env("MYSQL_UNIX_PORT", "/nowhere")
            .env("DATABASE_URL", "postgresql://elsewhere"),
    );
    local.call(&[&["up"], &BOTH[..]].concat()).ok();
    local
}

fn down(local: &Local) {
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

/// A shell script in the environment of the folder's run.
fn exec(local: &Local, databases: &[&str], script: &str) -> Called {
    local.call(&[&["exec"], databases, &["--", "sh", "-c", script]].concat())
}

/// Variables, apart from those that tell one call from another.
fn variables(env: &str) -> BTreeMap<String, String> {
    env.split('\0')
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !["TESTBED_OWNER", "TESTBED_CONFIG", "_"].contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_command_gets_what_run_would_give_it() {
    let local = both();
    let run = local.call(&[&["run"], &BOTH[..], &["--", "env", "-0"]].concat()).ok();
    let by_run = variables(&run.stdout);
    let exec_env = local.call(&["exec", "--", "env", "-0"]).ok();
    assert_eq!(variables(&exec_env.stdout), by_run);
    let config = local.path().canonicalize().unwrap().join("testing-databases.json");
    assert!(
        exec_env.stdout.contains(&format!("TESTBED_CONFIG={}\0", config.display())),
        "{}",
        exec_env.stdout
    );
    exec_env.says("note: the command does not get PGSERVICE, MYSQL_UNIX_PORT, DATABASE_URL");
    // The same as a shell takes it over, and as JSON.
    let script = format!("eval \"$({} env)\"; env -0", binary());
    let shell = local.command(&[]);
    let mut taken_over = Command::new("sh");
    taken_over.args(["-c", &script]).current_dir(local.path());
    taken_over.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let taken_over = Called::new(&["(env in sh)"], taken_over.output().unwrap()).ok();
    let found = variables(&taken_over.stdout);
    // Which would choose this run in other folders too.
    assert!(!found.contains_key("TESTBED_RUN_ID"));
    for (name, value) in by_run.iter().filter(|(name, _)| *name != "TESTBED_RUN_ID") {
        assert_eq!(found.get(name), Some(value), "{name}");
    }
    assert!(!["PGSERVICE", "MYSQL_UNIX_PORT", "DATABASE_URL"].iter().any(|name| found.contains_key(*name)));
    let json: Value = serde_json::from_str(&local.call(&["env", "-o", "json"]).ok().stdout).unwrap();
    assert_eq!(json["environment"]["SHOP_URL"], by_run["SHOP_URL"].as_str());
    assert_eq!(json["databases"][1]["url"], by_run["SHOP_URL"].as_str());
    assert!(json["removed"].as_array().unwrap().contains(&"PGSERVICE".into()));
    let dotenv = local.call(&["env", "shop", "--format", "dotenv"]).ok().stdout;
    let line = format!("DATABASE_URL={}\n", by_run["SHOP_URL"]);
    assert!(dotenv.contains(&line) && !dotenv.contains("PGHOST"), "{dotenv}");
    down(&local);
}

#[test]
fn commands_use_the_run_and_leave_it_up() {
    let local = both();
    let both = "psql -Atc 'SELECT 1' && mariadb -Ne 'SELECT 2'";
    assert_eq!(exec(&local, &[], both).ok().stdout, "1\n2\n");
    let only = exec(
        &local,
        &["shop"],
        "test \"$DATABASE_URL\" = \"$SHOP_URL\" && mariadb -Ne 'SELECT 3'; echo ${PGHOST-none}",
    );
    assert_eq!(only.ok().stdout, "3\nnone\n");
    for (script, code) in [("exit 7", 7), ("kill -KILL $$", 137)] {
        exec(&local, &[], script).ends(code);
    }
    local.call(&["exec", "--", "no-such-program"]).fails(127).says("no-such-program: no such program");
    // From below, and by the id from anywhere.
    for folder in ["sub", ".git"] {
        std::fs::create_dir(local.path().join(folder)).unwrap();
    }
    for (folder, args) in [("sub", &["exec"][..]), ("/", &["exec", "--run-id", "r"])] {
        let mut command = local.command(&[args, &["--", "psql", "-Atc", "SELECT 4"]].concat());
        command.current_dir(local.path().join(folder));
        assert_eq!(Called::new(args, command.output().unwrap()).ok().stdout, "4\n");
    }
    // Two at once, each of which waits for the other.
    let meet = |own: &str, other: &str| format!("touch {own}; while ! test -e {other}; do sleep 0.01; done");
    let one = local.start(&["exec", "--", "sh", "-c", &meet("one", "two")]);
    exec(&local, &[], &meet("two", "one")).ok();
    one.wait().ok();
    // What it has left behind ends with it.
    let script = "sleep 1000 > /dev/null 2>&1 & echo $! > left";
    let left = exec(&local, &[], script).ok().says("ending what the command has left running: process ");
    assert!(!is_alive(local.read("left").trim().parse().unwrap()), "{}", left.transcript());
    // A signal is the command's.
    let mut asked = local.start(&[
        "exec",
        "--",
        "sh",
        "-c",
        "sleep 1000 & echo $! > left; echo at work >&2; exec sleep 1000",
    ]);
    asked.until_it_says("at work");
    asked.signal("TERM");
    asked.wait().ends(143);
    assert!(!is_alive(local.read("left").trim().parse().unwrap()));
    assert_eq!(exec(&local, &[], both).ok().stdout, "1\n2\n");
    down(&local);
}

#[test]
fn what_is_not_there_is_told() {
    let local = Local::new();
    local
        .call(&["exec", "--", "true"])
        .fails(2)
        .says("no run is up in this folder")
        .says("testbed up makes one");
    local
        .call(&["exec", "--run-id", "nowhere", "--", "true"])
        .fails(1)
        .says("nothing is known of run nowhere");
    local.call(&["up", "--with", "mariadb", "--run-id", "one"]).ok();
    local
        .call(&["exec", "nothing", "--", "true"])
        .fails(2)
        .says("run one has no database nothing")
        .says("it has mariadb");
    local.call(&["connect", "nothing"]).fails(2).says("it has mariadb");
    local.call(&["logs", "nothing"]).fails(2).says("run one has no log of nothing");
    local.call(&["up", "--with", "sqlite", "--run-id", "two", "--output", "two.json"]).ok();
    for args in [&["exec", "--", "true"][..], &["env"], &["connect"], &["logs"], &["attach"], &["restart"]] {
        let called = local.call(args).fails(2).says("several runs are up in this folder: one, two");
        assert!(called.stderr.contains("hint: say which one: --run-id two"), "{}", called.transcript());
    }
    let attach = local.call(&["attach", "-it", "--run-id", "one"]).fails(2);
    attach
        .says("its servers have no terminal")
        .says("testbed logs -f mariadb follows")
        .says("testbed connect mariadb");
    local.call(&["restart", "--run-id", "two"]).fails(2).says("sqlite is sqlite, which has no server");
    let pid = &local.record("one").unwrap()["place"]["local"]["servers"][0]["process"]["pid"];
    let pid = u32::try_from(pid.as_u64().unwrap()).unwrap();
    Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    until("the server ends", || (!is_alive(pid)).then_some(()));
    let called = local.call(&["exec", "--run-id", "one", "--", "true"]).fails(1);
    called
        .says("the server of mariadb in run one has ended")
        .says("testbed restart mariadb --run-id one starts it again");
    // Its data is there, and it is the same to its clients.
    local.call(&["restart", "--run-id", "one"]).ok().says("mariadb is ready again");
    local.call(&["exec", "--run-id", "one", "--", "mariadb", "-e", "SELECT 1"]).ok();
    local.change_record("one", |record| record["expires"] = "2020-01-01T00:00:00Z".into());
    let called = local.call(&["exec", "--run-id", "one", "--", "true"]).fails(1);
    called.says("run one has outlived its lifetime").says("hint: testbed down --run-id one removes it");
    // The hint is true of it, and so is what it says no more: a look at it would be its end.
    local.call(&["status", "--run-id", "one"]).fails(1).says("removed run one: its lifetime has ended");
    down(&local);
}

#[test]
fn a_run_that_goes_on_can_be_used_from_elsewhere() {
    let local = Local::new();
    let script = "echo at work >&2; while ! test -e done; do sleep 0.01; done";
    let mut run = local.start(&["run", "--with", "mariadb", "--run-id", "r", "--", "sh", "-c", script]);
    run.until_it_says("at work");
    let used = local.call(&["exec", "--run-id", "r", "--", "mariadb", "-Ne", "SELECT 5"]).ok();
    assert_eq!(used.stdout, "5\n");
    local.call(&["restart", "--run-id", "r"]).fails(1).says("works on run r");
    local.file("done", "");
    run.wait().ok();
    local.assert_nothing_left();
}

#[test]
fn a_client_is_logged_in_and_no_password_is_among_its_arguments() {
    let local = both();
    // The user's own file counts for more than the variables of MySQL's clients.
    local.file(".my.cnf", "[client]\nport=1\nuser=nobody\npassword=wrong\n");
    local
        .call(&["connect"])
        .fails(2)
        .says("several databases: postgres, shop")
        .says("testbed connect postgres");
    let connect =
        |args: &[&str], input: &str| local.call_with_input(&[&["connect"], args].concat(), input).ok().stdout;
    assert_eq!(connect(&["postgres", "--", "-At"], "SELECT current_database();\n"), "test\n");
    assert_eq!(connect(&["shop", "--", "-N"], "SELECT DATABASE();\n"), "test\n");
    let titles = "system tr '\\0' ' ' < /proc/$PPID/cmdline\n";
    let title = connect(&["shop"], titles);
    let password = local.databases("testing-databases.json").remove(1).password;
    assert!(title.contains("--user=root") && !title.contains(&password), "{title}");
    local.call(&["connect", "shop", "--", "-e", "nonsense"]).ends(1);
    // Beside the server there is one too; of MariaDB there is none.
    let mut without = local.command(&["connect", "postgres", "--", "-Atc", "SELECT 6"]);
    let called = Called::new(&["connect"], without.env("PATH", "/nowhere").output().unwrap());
    assert_eq!(called.ok().stdout, "6\n");
    let mut without = local.command(&["connect", "shop"]);
    let called = Called::new(&["connect"], without.env("PATH", "/nowhere").output().unwrap()).fails(1);
    called
        .says("mariadb or mysql is not in PATH")
        .says("packages with a client for MariaDB come from its makers");
    // Whatever this system calls it.
    for (manager, answer, hint) in [
        (
            "apt-cache",
            "case $2 in mariadb-client) echo '  Candidate: 1:10.11.19-0+deb12u1';; esac",
            "apt install mariadb-client",
        ),
        ("apt-cache", "echo '  Candidate: (none)'", "apt knows no package with a client for MariaDB"),
        ("dnf", "case $5 in '%{version}'*) test $6 = mariadb && echo 10.11.9;; esac", "dnf install mariadb"),
        (
            "apk",
            "test $2 = mariadb-client && printf 'mariadb-client policy:\\n  11.4.5-r0:\\n'",
            "apk add mariadb-client",
        ),
        ("apk", "exit 1", "apk knows no package with a client for MariaDB"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(manager);
        std::fs::write(&program, format!("#!/bin/sh\n{answer}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut without = local.command(&["connect", "shop"]);
        let output = without.env("PATH", folder.path()).output().unwrap();
        Called::new(&["connect"], output).fails(1).says(hint);
    }
    down(&local);
}

#[test]
fn ctrl_c_is_for_the_client() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--run-id", "r"]).ok();
    // Without readline, which has its own way to show what is typed.
    let mut terminal = Terminal::open(&local, &["connect", "--", "-n", "-P", "pager=off"]);
    terminal.until_it_shows(&["test=#"]);
    let sleeping = || {
        let activity =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
        exec(&local, &[], &format!("psql -Atc \"{activity}\"")).ok().stdout
    };
    // Nor does a second one end it.
    for _ in 0..2 {
        terminal.type_in("SELECT pg_sleep(1000);\n");
        until("the server sleeps", || (sleeping() == "1\n").then_some(()));
        terminal.type_in("\u{3}");
        until("the server sleeps no more", || (sleeping() == "0\n").then_some(()));
    }
    terminal.until_it_shows(&["canceling statement due to user request\r\ntest=# "]);
    terminal.type_in("SELECT 6 * 7 AS answer;\n");
    terminal.until_it_shows(&["answer", "42"]);
    terminal.type_in("\\q\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    down(&local);
}

#[test]
fn a_restart_keeps_data_port_and_login() {
    let local = both();
    let before = local.databases("testing-databases.json");
    for database in &before {
        database.query("CREATE TABLE kept (id int)").unwrap();
        database.query("INSERT INTO kept VALUES (42)").unwrap();
    }
    let mut logs = local.start(&["logs", "-f", "postgres", "--tail", "0"]);
    let process = |name: &str| {
        let status: Value = serde_json::from_str(&local.call(&["status", "-o", "json"]).ok().stdout).unwrap();
        let rows = status.as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["name"] == name).unwrap();
        (row["process"].as_u64(), row["restarts"].as_u64(), row["state"].clone())
    };
    let (postgres, shop) = (process("postgres"), process("shop"));
    for name in ["postgres", "shop", "postgres"] {
        local.call(&["restart", name]).ok().says(&format!("{name} is ready again"));
    }
    for database in &before {
        assert_eq!(database.value("SELECT id FROM kept"), "42");
    }
    for (name, was, restarts) in [("postgres", postgres, 2), ("shop", shop, 1)] {
        let (pid, count, state) = process(name);
        assert!(pid != was.0 && count == Some(restarts) && state == "Running", "{name}: {pid:?} {count:?}");
    }
    let story: Value =
        serde_json::from_str(&local.call(&["history", "show", "r", "-o", "json"]).ok().stdout).unwrap();
    let told: Vec<&str> = story["databases"][0]["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|moment| moment["what"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["created", "prepared", "started", "ready", "restarted", "ready", "restarted", "ready"]);
    // Whoever follows the log has seen both, and hears of the run's end.
    let mut shown = logs.child.stdout.take().unwrap();
    local.call(&["down"]).ok();
    let mut text = String::new();
    shown.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("database system is ready to accept connections").count(), 2, "{text}");
    logs.wait().ok();
    local.assert_nothing_left();
}

#[test]
fn logs_have_names_and_no_passwords() {
    let local = both();
    let password = local.databases("testing-databases.json").remove(0).password;
    let statement = format!("psql -c \"ALTER ROLE nobody PASSWORD '{password}'\" 2> /dev/null; true");
    exec(&local, &["postgres"], &statement).ok();
    let all = local.call(&["logs"]).ok().keeps(&password);
    assert!(
        all.stdout.lines().all(|line| line.starts_with("postgres | ") || line.starts_with("shop     | ")),
        "{}",
        all.stdout
    );
    assert!(
        all.stdout.contains("ALTER ROLE nobody PASSWORD '***'")
            && all.stdout.contains("ready for connections"),
        "{}",
        all.stdout
    );
    let last = local.call(&["logs", "postgres", "--tail", "1"]).ok().stdout;
    assert!(last.lines().count() == 1 && last.contains("STATEMENT:  ALTER ROLE nobody"), "{last}");
    let json = local.call(&["logs", "--tail", "1", "-o", "json"]).ok().stdout;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.len() == 2 && lines[0]["database"] == "postgres" && lines[1]["database"] == "shop",
        "{json}"
    );
    assert_eq!(lines[0]["line"], last.trim_end());
    // Colours are for terminals, and for those who want them.
    for (no_color, has) in [("", true), ("1", false)] {
        let args = ["-c", "import os, pty, sys\npty.spawn(sys.argv[1:])", binary(), "logs", "--tail", "1"];
        let mut command = Command::new("python3");
        command.args(args).current_dir(local.path());
        command.envs(local.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
        let shown = command.env("NO_COLOR", no_color).stdin(Stdio::null()).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert_eq!(shown.contains("\u{1b}[36mpostgres |\u{1b}[0m "), has, "{shown:?}");
    }
    // What comes later is shown at once; Ctrl-C ends it, and so does a reader that goes away.
    let say = |text: &str| exec(&local, &["postgres"], &format!("psql -c '{text}' 2> /dev/null; true")).ok();
    let mut follow = local.start(&["logs", "-f", "--tail", "0"]);
    let mut shown = follow.child.stdout.take().unwrap();
    let mut heard = String::new();
    until("the line is shown", || {
        say("SELECT later");
        Some(())
    });
    let mut bytes = [0; 4096];
    while !heard.contains("postgres | ") || !heard.contains("STATEMENT:  SELECT later") {
        let count = shown.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "{heard}");
        heard += &String::from_utf8_lossy(&bytes[..count]);
    }
    follow.signal("INT");
    let ended = follow.wait();
    assert!(ended.code == Some(130) && ended.stderr.is_empty(), "{}", ended.transcript());
    let mut follow = local.start(&["logs", "-f", "--tail", "1"]);
    let mut shown = follow.child.stdout.take().unwrap();
    assert_ne!(shown.read(&mut bytes).unwrap(), 0);
    drop(shown);
    say("SELECT unread");
    follow.wait().ok();
    down(&local);
}

#[test]
fn a_further_database_of_a_server_is_used_by_its_name() {
    let local = Local::new();
    let further = ["--param", "orders.databases=audit"];
    local.call(&[&["up", "--with", "postgres=orders", "--run-id", "r"], &further[..]].concat()).ok();
    let which = "SELECT current_database()";
    for (name, database) in [("orders", "test"), ("orders-audit", "audit")] {
        let connected = local.call(&["connect", name, "--", "-Atc", which]).ok();
        let ran = local.call(&["exec", name, "--", "psql", "-Atc", which]).ok();
        assert_eq!((connected.stdout, ran.stdout), (format!("{database}\n"), format!("{database}\n")));
    }
    local.call(&["restart", "orders-audit"]).ok().says("orders-audit is ready again");
    assert_eq!(local.call(&["exec", "--", "psql", "-Atc", which]).ok().stdout, "test\n");
    down(&local);
}

#[test]
fn the_command_of_an_exec_that_was_killed_is_ended_by_the_next_testbed() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "r"]);
    let script = "setsid sleep 1000 & echo $! $$ > pids; echo ready >&2; exec sleep 1000";
    let mut exec = local.start(&["exec", "--", "sh", "-c", script]);
    exec.until_it_says("ready\n");
    let pids: Vec<u32> = local.read("pids").split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let is_there = || pids.iter().any(|pid| is_alive(*pid));
    let _ = local.call(&["status"]).ok().keeps("ended what");
    exec.signal("KILL");
    exec.child.wait().unwrap();
    assert!(pids.len() == 2 && is_there());
    let _ =
        local.call(&["gc", "--dry-run"]).ok().says("would end what a killed testbed was running on run r");
    assert!(is_there());
    let _ = local.call(&["status"]).ok().says("ended what a killed testbed was running on run r");
    assert!(!is_there());
    databases[0].assert_takes_logins();
    let _ = local.call(&["status"]).ok().keeps("ended what");
    down(&local);
}
