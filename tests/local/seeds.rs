//! Seeds: what a project puts into a database once, and every run starts with.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::{Local, is_alive, making, until, working_below};
use crate::support::{Called, Started};

/// A project with a seed of all kinds, whose command writes down that it was called.
fn project(engine: &str) -> Local {
    let local = Local::with_cold_cache();
    let client = if engine == "postgres" { "psql -qXv ON_ERROR_STOP=1" } else { "mariadb test" };
    let settings = format!(
        "databases:\n  orders:\n    use: {engine}\n    user: app\n    users: [bob]\n    databases: [{{name: audit, owner: alice}}]\n    seed:\n      \
         files: [db/schema.sql, db/more/]\n      run: echo $ORDERS_URL >> made && cat migrations/*.sql | {client}\n      inputs: migrations/**\n"
    );
    local.file("testbed.yaml", &settings);
    for folder in ["db/more", "migrations"] {
        std::fs::create_dir_all(local.path().join(folder)).unwrap();
    }
    local.file("db/schema.sql", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);\n");
    let mut gzip =
        Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(b"INSERT INTO a VALUES (20);\n").unwrap();
    std::fs::write(local.path().join("db/more/1.sql.gz"), gzip.wait_with_output().unwrap().stdout).unwrap();
    local.file("migrations/1.sql", "INSERT INTO a VALUES (300);\n");
    local
}

/// How often the command of a seed was called.
fn made(local: &Local) -> usize {
    if local.has("made") { local.read("made").lines().count() } else { 0 }
}

/// What a run finds in the table.
fn sum(local: &Local, engine: &str) -> String {
    let client = if engine == "postgres" { "psql -XAtc" } else { "mariadb test -Ne" };
    let query = format!("{client} 'SELECT sum(n) FROM a'");
    local.call(&["run", "--", "sh", "-c", &query]).ok().stdout.trim().to_owned()
}

/// What is kept in the cache, but locks.
fn cached(local: &Local) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(local.path().join("cache/testbed/prepared")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("seed.json").exists()).collect()
}

/// No folder is being made, and nothing works in one.
fn assert_nothing_half_made(local: &Local) {
    let cache = local.path().join("cache");
    assert_eq!(making(&cache), [] as [PathBuf; 0]);
    assert_eq!(working_below(&cache), []);
}

#[test]
fn every_run_starts_with_what_was_put_in_once() {
    for engine in ["postgres", "mariadb"] {
        let local = project(engine);
        assert_eq!((sum(&local, engine), made(&local)), ("321".into(), 1), "{engine}");
        assert_eq!((sum(&local, engine), made(&local)), ("321".into(), 1), "{engine}");
        assert_nothing_half_made(&local);

        // Each has its own password, for all logins; that of the seed is nobody's.
        let (_, databases) = local.up(&["--run-id", "r"]);
        let [orders, audit] = &databases[..] else { panic!("{databases:?}") };
        assert_eq!(orders.value("SELECT sum(n) FROM a"), "321");
        assert_eq!((orders.user.as_str(), audit.user.as_str()), ("app", "alice"));
        audit.assert_takes_logins();
        // Bob has no database of his own, and the login of one.
        orders
            .as_user("bob", &orders.password)
            .to_database(if engine == "postgres" { "postgres" } else { "information_schema" })
            .assert_takes_logins();
        let first = local.read("made");
        assert!(!first.contains(&orders.password), "the password of the seed is another one");
        let old = first.split(':').nth(2).and_then(|rest| rest.split('@').next()).unwrap().to_owned();
        for user in ["app", "alice"] {
            orders.as_user(user, &old).refusal();
        }
        // The owner may write, and the next run does not see it.
        orders.query("INSERT INTO a VALUES (4000)").unwrap();
        local.call(&["down"]).ok();
        assert_eq!((sum(&local, engine), made(&local)), ("321".into(), 1), "{engine}");
    }
}

#[test]
fn whatever_it_depends_on_makes_it_anew_and_nothing_else_does() {
    let local = project("postgres");
    let sum = || sum(&local, "postgres");
    assert_eq!((sum(), made(&local)), ("321".into(), 1));
    let settings = local.read("testbed.yaml");
    let args = settings.replace("    user: app", "    args: [-c, jit=off]\n    user: app");
    let schema = "CREATE TABLE a (n int);\nINSERT INTO a VALUES (2);\n";
    let changes = [
        ("a file", "db/schema.sql", schema.to_owned(), "322"),
        ("one more file", "db/more/2.sql", "INSERT INTO a VALUES (4000);\n".to_owned(), "4322"),
        ("an input", "migrations/1.sql", "INSERT INTO a VALUES (400);\n".to_owned(), "4422"),
        ("one more input", "migrations/2.sql", "INSERT INTO a VALUES (50000);\n".to_owned(), "54422"),
        ("the command", "testbed.yaml", settings.replace("| psql", "| grep -v 400 | psql"), "54022"),
        ("an argument", "testbed.yaml", args, "54422"),
        ("an owner", "testbed.yaml", settings.replace("owner: alice", "owner: carol"), "54422"),
    ];
    for (number, (what, file, text, expected)) in changes.iter().enumerate() {
        local.file(file, text);
        assert_eq!((sum().as_str(), made(&local)), (*expected, number + 2), "{what}");
    }
    // What it does not depend on, and what it was before: that is still there.
    local.file("README.md", "other\n");
    std::fs::create_dir(local.path().join("migrations/__pycache__")).unwrap();
    local.file("migrations/__pycache__/1.pyc", "other\n");
    local.file("testbed.yaml", &settings);
    assert_eq!((sum(), made(&local)), ("54422".into(), 8));
}

/// What `run` in a folder below finds in the table.
fn sum_in(local: &Local, folder: &str) -> Called {
    let args = ["run", "--", "psql", "-XAtc", "SELECT sum(n) FROM a"];
    let output = local.command(&args).current_dir(local.path().join(folder)).stdin(Stdio::null()).output();
    Called::new(&args, output.unwrap()).ok()
}

#[test]
fn projects_share_a_seed_of_files_and_none_with_a_command() {
    let local = Local::with_cold_cache();
    let write = |folder: &str, name: &str, text: &str| {
        local.file(&format!("{folder}/{name}"), text);
    };
    let steps = "{steps: [{files: a.sql}, {run: psql -qXf b.txt}, {files: c.sql}]}";
    for (folder, number) in [("one", 10), ("two", 20)] {
        std::fs::create_dir(local.path().join(folder)).unwrap();
        write(folder, "testbed.yaml", &format!("databases: {{orders: {{use: postgres, seed: {steps}}}}}\n"));
        write(folder, "a.sql", "CREATE TABLE a (n int);\n");
        write(folder, "b.txt", &format!("INSERT INTO a VALUES ({number});\n"));
        write(folder, "c.sql", "INSERT INTO a VALUES (300);\n");
    }
    let first = sum_in(&local, "one");
    assert_eq!(first.stdout, "310\n");
    // Nobody knows what the command reads.
    let unseen =
        "warning: orders: when what the seed's command `psql -qXf b.txt` reads changes, the seed stays";
    assert_eq!(first.says(unseen).stderr.matches("warning: ").count(), 1);
    assert_eq!(sum_in(&local, "two").stdout, "320\n");
    assert_eq!(cached(&local).len(), 5, "the first step is of both");
    for inputs in ["b.txt", "[]"] {
        let seed = format!("{{files: a.sql, run: psql -qXf b.txt, inputs: {inputs}}}");
        write("one", "testbed.yaml", &format!("databases: {{orders: {{use: postgres, seed: {seed}}}}}\n"));
        assert!(!sum_in(&local, "one").stderr.contains("warning: "), "{inputs}");
    }
}

#[test]
fn what_env_says_to_the_command_makes_it_anew() {
    let local = Local::with_cold_cache();
    let run = "psql -qXc \"CREATE TABLE a AS SELECT ${NUMBER##*=} AS n\"";
    let write = |number: u32, of_other: u32| {
        let seeded = format!("{{use: postgres, seed: {{run: '{run}', inputs: []}}}}");
        let env = format!("NUMBER: '{{{{ one.url }}}}?n={number}', O: '{{{{ two.url }}}}{of_other}'");
        local.file(
            "testbed.yaml",
            &format!("databases: {{one: {seeded}, two: {{use: postgres}}}}\nenv: {{{env}}}\n"),
        );
        let run = local.call(&["run", "--", "sh", "-c", "psql -XAtc 'SELECT n FROM a' $ONE_URL"]).ok();
        (run.stdout.trim().to_owned(), cached(&local).len())
    };
    assert_eq!(write(5, 1), ("5".into(), 1));
    assert_eq!(write(6, 1), ("6".into(), 2));
    assert_eq!(write(6, 2), ("6".into(), 2), "what is about another database is not told to it");
    let because = shown(&local)[0]["because"].clone();
    assert_eq!(because, serde_json::json!(["what env says to the command has changed"]));
}

#[test]
fn one_of_which_the_note_is_damaged_or_gone_is_made_again() {
    for damage in ["{", "null", ""] {
        let local = project("postgres");
        assert_eq!((sum(&local, "postgres"), made(&local)), ("321".into(), 1));
        let note = cached(&local)[0].join("seed.json");
        match damage {
            "" => std::fs::remove_file(note).unwrap(),
            text => std::fs::write(note, text).unwrap(),
        }
        assert_eq!((sum(&local, "postgres"), made(&local)), ("321".into(), 2), "{damage:?}");
        assert_eq!((sum(&local, "postgres"), made(&local)), ("321".into(), 2), "{damage:?}");
    }
}

#[test]
fn what_it_has_started_ends_with_it_wherever_that_works_and_whatever_it_knows() {
    let local = Local::with_cold_cache();
    let marks = local.path().join("marks");
    std::fs::create_dir(&marks).unwrap();
    std::fs::set_permissions(&marks, std::fs::Permissions::from_mode(0o777)).unwrap();
    let start = |name: &str, how: &str| {
        let mark = marks.join(name).display().to_string();
        format!(
            "(cd /; {how} sh -c 'echo $$ > {mark}; exec sleep 1000' > /dev/null 2>&1 &)\n\
             until test -s {mark}; do sleep 0.02; done\n"
        )
    };
    let starts = |of: &str| {
        [("plain", ""), ("session", "setsid"), ("clean", "env -i"), ("both", "env -i setsid")]
            .map(|(name, how)| start(&format!("{of}-{name}"), how))
            .concat()
    };
    local.file("script.sh", &starts("script"));
    local.file("command", &starts("command"));
    local.file(
        "testbed.yaml",
        "databases: {orders: {use: postgres, seed: {files: script.sh, run: sh command, inputs: command}}}\n",
    );
    local.call(&["run", "--", "touch", "ran"]).ok();
    let started: Vec<PathBuf> = std::fs::read_dir(&marks).unwrap().map(|mark| mark.unwrap().path()).collect();
    let left = started.iter().filter(|mark| {
        let pid = std::fs::read_to_string(mark).unwrap().trim().to_owned();
        let is_left = is_alive(pid.parse().unwrap());
        if is_left {
            Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        }
        is_left
    });
    assert_eq!((started.len(), left.collect::<Vec<_>>()), (8, vec![]));
}

#[test]
fn a_script_that_says_much_takes_no_memory_for_it() {
    let local = Local::with_cold_cache();
    local.file("loud.sh", "head -c 300000000 /dev/zero | tr '\\0' x\n");
    let peak =
        ["run", "--with", "postgres", "--seed", "loud.sh", "--", "sh", "-c", "grep VmHWM /proc/$PPID/status"];
    let run = local.call(&peak).ok();
    let kilobytes: u64 = run.stdout.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap();
    assert!(kilobytes < 150_000, "{}", run.stdout);
}

#[test]
fn one_that_fails_shows_what_it_said_and_is_not_kept() {
    for engine in ["postgres", "mariadb"] {
        let local = project(engine);
        local.file("db/more/2.sql", "SELECT 1;\n\nSELECT no_such_column;\n");
        local
            .call(&["run", "--", "touch", "ran"])
            .fails(4)
            .says("error: orders: the seed's db/more/2.sql: line 3: ")
            .says("no_such_column");
        std::fs::remove_file(local.path().join("db/more/2.sql")).unwrap();
        let settings = local.read("testbed.yaml");
        let run =
            "run: echo $ORDERS_URL >> made; echo as $ORDERS_PASSWORD; seq 1 5000; echo no way >&2; exit 7";
        let loud = settings
            .lines()
            .map(|line| if line.contains(" run: ") { format!("      {run}") } else { line.to_owned() });
        local.file("testbed.yaml", &(loud.collect::<Vec<_>>().join("\n") + "\n"));
        let failed = local.call(&["run", "--", "touch", "ran"]).fails(4);
        let url = local.read("made");
        let password = url.split(':').nth(2).and_then(|rest| rest.split('@').next()).unwrap();
        let failed = failed
            .says("orders: the seed's command `echo")
            .says("it failed (exit status: 7)")
            .says("4999")
            .says("no way");
        let failed = failed.keeps(password);
        assert!(failed.stderr.lines().count() < 120, "{}", failed.transcript());
        assert!(!local.has("ran") && cached(&local).is_empty());
        assert_nothing_half_made(&local);
        local.assert_nothing_left();
        local.file("testbed.yaml", &settings);
        assert_eq!(sum(&local, engine), "321");
    }
}

#[test]
fn one_that_takes_too_long_is_named() {
    let local = Local::with_cold_cache();
    let settings = "databases: {orders: {use: postgres, seed: {run: sleep 600, inputs: []}}}\n";
    local.file("testbed.yaml", settings);
    // Its server is prepared by then.
    local.call(&["run", "--with", "postgres", "--", "true"]).ok();
    local
        .call(&["run", "--timeout", "10s", "--", "touch", "ran"])
        .fails(3)
        .says("not ready within 10s: orders: the seed's command `sleep 600` still runs");
    assert!(!local.has("ran"));
    assert_nothing_half_made(&local);
    local.assert_nothing_left();
}

#[test]
fn what_cannot_be_a_seed_is_refused_before_anything_is_made() {
    let local = Local::new();
    local.file("a.sql", "SELECT 1;\n");
    local.file("notes.txt", "none\n");
    local.file("includes.sql", "SELECT 1;\n\\i a.sql\n");
    local.file("copies.sql", "CREATE TABLE a (n int); \\copy a from '/a.csv'\n");
    std::fs::create_dir(local.path().join("empty")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", local.path().join("planted.py")).unwrap();
    for (seed, said) in [
        ("no-such.sql", "reading the seed's no-such.sql: No such file"),
        ("notes.txt", "notes.txt: the name of a seed's file ends in .sql"),
        ("includes.sql", "includes.sql: line 2: \\i reads another file"),
        ("copies.sql", "copies.sql: line 1: \\copy reads another file"),
        ("[empty]", "empty: no file for a seed in this folder"),
        ("{run: x, inputs: 'migrations/**'}", "inputs: migrations/**: no file matches in "),
        ("{run: x, inputs: '../**'}", "inputs: ../**: it leads out of the project"),
        ("{run: x, inputs: /etc/passwd}", "inputs: /etc/passwd: it leads out of the project"),
        ("{run: x, inputs: '*.py'}", "planted.py leads out of the project, to /etc/passwd"),
        ("{files: a.sql, command: x}", "\"command\" is nothing that a seed has"),
        ("{inputs: a.sql}", "neither a file nor a command"),
    ] {
        local.file("testbed.yaml", &format!("databases: {{orders: {{use: postgres, seed: {seed}}}}}\n"));
        local.call(&["run", "--", "true"]).fails(2).says("orders").says(said);
        local.file("testbed.yaml", "");
        local.call(&["run", "--with", "postgres=orders", "--seed", seed, "--", "true"]).fails(2).says(said);
    }
    local
        .call(&["run", "--with", "postgres=a", "--with", "postgres=b", "--seed", "a.sql", "--", "true"])
        .fails(2)
        .says("--seed is for one database")
        .says("there is a, b; write --seed a=...");
    local
        .call(&["run", "--with", "postgres", "--seed", "other=a.sql", "--", "true"])
        .fails(2)
        .says("there is no built-in database other");
    local
        .call(&["run", "--with", "sqlite", "--seed", "a.sql", "--", "true"])
        .fails(2)
        .says("--seed sqlite: SQLite is in memory");
}

/// A call that has come to where the seed's command waits for a file.
fn waiting(local: &Local) -> Started {
    let settings = local.read("testbed.yaml");
    if !settings.contains("wait") {
        local.file(
            "testbed.yaml",
            &settings
                .replace("run: echo", "run: echo $$ > wait; while ! test -e go; do sleep 0.02; done; echo"),
        );
    }
    let _ = std::fs::remove_file(local.path().join("wait"));
    let call = local.start(&["run", "--", "touch", "ran"]);
    until("the command waits", || local.has("wait").then_some(()));
    call
}

#[test]
fn one_that_is_interrupted_or_killed_is_never_used() {
    for engine in ["postgres", "mariadb"] {
        let local = project(engine);
        let interrupted = waiting(&local);
        interrupted.signal("INT");
        assert_eq!(interrupted.wait().code, Some(130));
        assert_nothing_half_made(&local);
        assert_eq!(working_below(local.path()), []);

        let mut killed = waiting(&local);
        killed.child.kill().unwrap();
        killed.child.wait().unwrap();
        local.call(&["status"]).ok().says("was killed");
        assert_nothing_half_made(&local);
        assert_eq!(working_below(local.path()), [], "the command of the seed too");
        assert!(cached(&local).is_empty() && !local.has("ran") && made(&local) == 0);

        local.file("go", "");
        assert_eq!((sum(&local, engine), made(&local)), ("321".into(), 1));
    }
}

#[test]
fn several_at_once_make_it_once() {
    for engine in ["postgres", "mariadb"] {
        let local = project(engine);
        let first = waiting(&local);
        let others: Vec<Started> = (0..5).map(|_| local.start(&["run", "--", "true"])).collect();
        local.file("go", "");
        first.wait().ok();
        others.into_iter().for_each(|call| drop(call.wait().ok()));
        assert_eq!((made(&local), cached(&local).len()), (1, 1));
        local.assert_nothing_left();
    }
}

/// Clients that stay connected, one of which nobody can tell from others by its variables.
const CLIENTS: &str = "\
psql -qXc 'CREATE TABLE held (n int)'
psql -qXc 'BEGIN; INSERT INTO held VALUES (1); SELECT pg_sleep(1000)' &
env -i PATH=\"$PATH\" PGPASSWORD=\"$PGPASSWORD\" setsid psql -h \"$PGHOST\" -p \"$PGPORT\" -U \"$PGUSER\" \"$PGDATABASE\" -qXc 'SELECT pg_sleep(1000)' > /dev/null 2>&1 &
sleep 1000 &
until test \"$(psql -XAtc \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()\")\" = 2; do sleep 0.02; done
";

#[test]
fn nobody_stays_connected_to_a_seed() {
    let local = Local::with_cold_cache();
    local.file("clients.sh", CLIENTS);
    local.file(
        "testbed.yaml",
        "databases: {orders: {use: postgres, seed: {run: sh clients.sh, inputs: clients.sh}}}\n",
    );
    let left = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let script = format!(
        "psql -XAtc \"{left}\" -c 'SELECT count(*) FROM held'; createdb --template test copy && echo copied"
    );
    for _ in 0..2 {
        let run = local.call(&["run", "--", "sh", "-c", &script]).ok();
        assert_eq!(run.stdout, "0\n0\ncopied\n");
    }
    assert_eq!(working_below(local.path()), [], "what the command has left running");
}

#[test]
fn a_new_last_step_costs_only_itself() {
    for engine in ["postgres", "mariadb"] {
        let local = Local::with_cold_cache();
        let client = if engine == "postgres" { "psql -qX" } else { "mariadb test" };
        let step = |number: u32| {
            local
                .file(&format!("{number}.sql"), &format!("INSERT INTO a VALUES ({});\n", 10_u32.pow(number)));
            format!("{{run: 'echo {number} >> made && {client} < {number}.sql', inputs: {number}.sql}}")
        };
        local.file("schema.sql", "CREATE TABLE a (n int);\n");
        let write = |steps: &[String]| {
            let steps = steps.join(", ");
            local.file(
                "testbed.yaml",
                &format!("databases: {{orders: {{use: {engine}, seed: {{steps: [{{files: schema.sql}}, {steps}]}}}}}}\n"),
            );
        };
        let made = || local.read("made").lines().collect::<Vec<_>>().join(" ");
        let mut steps = vec![step(0), step(1)];
        write(&steps);
        assert_eq!((sum(&local, engine), made()), ("11".into(), "0 1".into()));
        steps.push(step(2));
        write(&steps);
        assert_eq!((sum(&local, engine), made()), ("111".into(), "0 1 2".into()));
        // One in the middle makes those after it anew.
        local.file("1.sql", "INSERT INTO a VALUES (20);\n");
        assert_eq!((sum(&local, engine), made()), ("121".into(), "0 1 2 1 2".into()));
        assert_eq!((sum(&local, engine), made()), ("121".into(), "0 1 2 1 2".into()));
    }
}

#[test]
fn an_up_that_is_there_has_the_seed_that_it_was_asked_for() {
    let local = project("postgres");
    local.up(&[]);
    local.call(&["up"]).ok().says("its databases are up already");
    local.file("migrations/1.sql", "INSERT INTO a VALUES (400);\n");
    local
        .call(&["up"])
        .fails(2)
        .says("was asked for otherwise: orders (its seed)")
        .says("hint: remove it first: testbed down");
    local.file("migrations/1.sql", "INSERT INTO a VALUES (300);\n");
    local.call(&["up"]).ok();
    let settings = local.read("testbed.yaml");
    let without = settings.split("    seed:").next().unwrap().to_owned();
    local.file("testbed.yaml", &without);
    local.call(&["up"]).fails(2).says("was asked for otherwise: orders (its seed)");
    local.call(&["down"]).ok();
    local.up(&[]);
    local.file("testbed.yaml", &settings);
    local.call(&["up"]).fails(2).says("was asked for otherwise: orders (its seed)");
    local.call(&["down"]).ok();
}

/// What `seed --show` tells as JSON.
fn shown(local: &Local) -> serde_json::Value {
    serde_json::from_str(&local.call(&["seed", "--show", "-o", "json"]).ok().stdout).unwrap()
}

#[test]
fn what_is_kept_is_shown_with_why_it_was_made() {
    let local = project("postgres");
    let row = || shown(&local)[0].clone();
    assert_eq!((&row()["isCached"], &row()["because"][0]), (&false.into(), &"there is none yet".into()));
    assert_eq!(made(&local), 0, "to show it makes nothing");
    local.call(&["seed"]).ok();
    let first = row();
    assert_eq!((first["database"].as_str(), first["isCached"].as_bool()), (Some("orders"), Some(true)));
    assert!(first["size"].as_u64().unwrap() > 1 << 20 && first["took"].as_u64().unwrap() > 0, "{first}");
    assert_eq!(sum(&local, "postgres"), "321");
    assert_eq!(made(&local), 1, "it was made ahead");

    local.file("migrations/1.sql", "INSERT INTO a VALUES (400);\n");
    local.file("db/more/2.sql", "INSERT INTO a VALUES (4000);\n");
    std::fs::remove_file(local.path().join("db/more/1.sql.gz")).unwrap();
    let because = serde_json::json!([
        "db/more/2.sql is new",
        "migrations/1.sql has changed",
        "db/more/1.sql.gz is gone"
    ]);
    assert_eq!((&row()["isCached"], &row()["because"]), (&false.into(), &because));
    let table = local.call(&["seed", "--show"]).ok().says("1 seed of all projects: ");
    assert!(
        table.stdout.contains("to be made") && table.stdout.contains("migrations/1.sql has changed"),
        "{}",
        table.transcript()
    );
    let run = local.call(&["run", "--", "true"]).ok();
    run.says("seeding (db/more/2.sql is new, migrations/1.sql has changed, db/more/1.sql.gz is gone)");
    assert_eq!((&row()["isCached"], &row()["because"]), (&true.into(), &because));
    local
        .call(&["seed", "--show", "--runtime", "kubernetes", "--context", "none"])
        .fails(2)
        .says("seeds are kept on this machine");
}

#[test]
fn those_that_nobody_has_used_for_the_longest_time_go_first() {
    let local = project("postgres");
    let fill = |number: u32| {
        local.file("migrations/1.sql", &format!("INSERT INTO a VALUES ({number}00);\n"));
        sum(&local, "postgres")
    };
    (1..=3).for_each(|number| drop(fill(number)));
    assert_eq!((cached(&local).len(), made(&local)), (3, 3));
    // Used again, so that the second one is the oldest.
    fill(1);
    assert_eq!(made(&local), 3);
    let size = shown(&local)[0]["size"].as_u64().unwrap();
    let limit = (2 * size + size / 2).to_string();
    local.call(&["gc", "--seed-limit", &limit]).ok().says("removed 1 seed, so that the others fit");
    fill(1);
    fill(3);
    assert_eq!(made(&local), 3, "these stayed");
    fill(2);
    assert_eq!(made(&local), 4, "and this one went");
    // What has just been made stays, however large it is.
    let settings = local.read("testbed.yaml");
    local.file("testbed.yaml", &format!("{settings}seed-limit: 1Mi\n"));
    fill(5);
    assert_eq!((cached(&local).len(), made(&local)), (1, 5));
    fill(5);
    assert_eq!(made(&local), 5);
    local.call(&["gc", "--seed-limit", "much"]).fails(2).says("write a size such as 500Mi or 10Gi");
}

#[test]
fn the_command_line_names_seeds_too() {
    let local = Local::with_cold_cache();
    local.file("a.sql", "CREATE TABLE a (n int);\n");
    local.file("b.sql", "INSERT INTO a VALUES (7);\n");
    let query = "psql -XAt \"$ONE_URL\" -c 'SELECT sum(n) FROM a'; psql -XAt \"$TWO_URL\" -c 'SELECT count(*) FROM a'";
    let seed = "one={files: [a.sql, b.sql], run: 'test $DATABASE_URL = $ONE_URL'}";
    let args =
        ["run", "--with", "postgres=one", "--with", "postgres=two", "--seed", seed, "--seed", "two=a.sql"];
    let run = local.call(&[&args[..], &["--", "sh", "-c", query]].concat()).ok();
    assert_eq!(run.stdout, "7\n0\n");
}

#[test]
fn inputs_that_change_while_it_is_made_make_no_seed() {
    let local = project("postgres");
    let settings = local.read("testbed.yaml");
    local.file("testbed.yaml", &settings.replace("run: echo", "run: echo new > migrations/other.txt; echo"));
    let called: Called = local.call(&["run", "--", "true"]).fails(4);
    called.says("inputs of the seed have changed while it was made: migrations/other.txt is new");
    assert!(cached(&local).is_empty());
    assert_eq!(sum(&local, "postgres"), "321");
}

#[test]
fn the_command_of_a_seed_is_led_to_nobodys_pool() {
    let local = Local::with_cold_cache();
    local.file(
        "testbed.yaml",
        "databases:\n  orders:\n    use: postgres\n    seed: {run: 'env > said; test -z \"$TESTBED_POOL_URL$INTEGRESQL_CLIENT_BASE_URL\"'}\n",
    );
    let pool = format!("http://127.0.0.1:1/{}/api", "a".repeat(32));
    let mut command = local.command(&["run", "--", "true"]);
    command.env("TESTBED_POOL_URL", &pool).env("INTEGRESQL_CLIENT_BASE_URL", &pool);
    // The address of somebody's own is theirs.
    command.env("INTEGRESQL_BASE_URL", "http://integresql:5000/api").env("TESTBED_RUN_ID", "other");
    Called::new(&["run"], command.output().unwrap()).ok();
    assert!(local.read("said").contains("INTEGRESQL_BASE_URL=http://integresql:5000/api"));
}
