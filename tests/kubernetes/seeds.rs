//! Seeds in a cluster: files by the image's set-up, commands where testbed is, once in each run; and that half of one
//! is never handed out.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::credentials::account;
use crate::harness::{Namespace, PIPELINE_ROLE, kubeconfig, run_id};
use crate::support::{Folder, Started};

const ENGINES: [&str; 2] = ["postgres", "mariadb"];

/// The password of all of a project's logins, which nothing may tell.
const PASSWORD: &str = "correct-horse-battery";

/// What reads statements from standard input, with the variables of a run's only database.
fn client(engine: &str) -> &'static str {
    if engine == "postgres" { "psql -qXAt -v ON_ERROR_STOP=1" } else { "mariadb -N test" }
}

/// Writes down a project whose `orders` has this beside its password.
fn settings(folder: &Folder, engine: &str, keys: &str) {
    let text = format!("databases:\n  orders:\n    use: {engine}\n    password: {PASSWORD}\n{keys}");
    folder.file("testbed.yaml", &text);
}

/// What a run finds in the table.
fn sum(folder: &Folder, engine: &str, run_id: &str) -> String {
    let query = format!("echo 'SELECT sum(n) FROM a;' | {}", client(engine));
    folder.call(&["run", "--run-id", run_id, "--", "sh", "-c", &query]).ok().stdout.trim().to_owned()
}

fn assert_nothing_is_left(namespace: &Namespace, run_id: &str) {
    assert_eq!(namespace.of_run(run_id), Vec::<String>::new());
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn files_and_command_go_in_once_in_each_run() {
    for engine in ENGINES {
        let namespace = Namespace::new("seeds");
        let folder = &namespace.folder;
        for inner in ["db/more", "migrations"] {
            std::fs::create_dir_all(folder.path().join(inner)).unwrap();
        }
        let run =
            format!("echo $ORDERS_URL $DATABASE_URL >> made && cat migrations/*.sql | {}", client(engine));
        settings(
            folder,
            engine,
            &format!(
                "    user: app\n    tls: true\n    init: [base.sql]\n    seed: {{files: [db/a.sql, db/more/], run: '{run}', inputs: migrations/**}}\n"
            ),
        );
        // Each needs what is before it.
        let after = |sum: i32, n: i32| format!("INSERT INTO a SELECT {n} FROM a HAVING sum(n) = {sum};\n");
        folder.file("base.sql", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);\n");
        folder.file("db/a.sql", &after(1, 20));
        let packed =
            Command::new("sh").args(["-c", &format!("echo '{}' | gzip -c", after(21, 300))]).output();
        std::fs::write(folder.path().join("db/more/1.sql.gz"), packed.unwrap().stdout).unwrap();
        folder.file("db/more/2.sh", &format!("echo '{}' | docker_process_sql\n", after(321, 4000)));
        folder.file("migrations/1.sql", &after(4321, 50_000));
        let made = || folder.read("made").lines().count();
        let first = run_id();
        assert_eq!((sum(folder, engine, &first).as_str(), made()), ("54321", 1), "{engine}");
        assert_nothing_is_left(&namespace, &first);

        let second = run_id();
        folder.call(&["up", "--run-id", &second]).ok().says("orders: seeding");
        assert_eq!(made(), 2);
        folder.call(&["up", "--run-id", &second]).ok().says("exist already");
        assert_eq!((sum(folder, engine, &second).as_str(), made()), ("54321", 2), "{engine}: once");
        // Another command is another seed.
        let before = folder.read("testbed.yaml");
        folder.file("testbed.yaml", &before.replace("cat migrations", "cat ./migrations"));
        folder.call(&["up", "--run-id", &second]).fails(1).says("made from another content");
        folder.call(&["down", "--run-id", &second]).ok();
        assert_nothing_is_left(&namespace, &second);
    }
}

#[test]
fn a_file_that_fails_is_named_with_its_line() {
    for (engine, message) in
        [("postgres", "column \"no_such\" does not exist"), ("mariadb", "Unknown column 'no_such'")]
    {
        let namespace = Namespace::new("bad-file");
        let folder = &namespace.folder;
        folder.file("good.sql", "CREATE TABLE a (n int);\n");
        std::fs::create_dir(folder.path().join("db")).unwrap();
        folder.file("db/bad.sql", &format!("SELECT 1;\nSELECT no_such /* {PASSWORD} */;\n"));
        // PostgreSQL's own image gives psql the file's name (-f), and the image of these tests does not.
        folder.file(
            "lines.sh",
            "eval \"plain_$(declare -f docker_process_sql)\"; docker_process_sql() { plain_docker_process_sql -f - \"$@\"; }\n",
        );
        let init = if engine == "postgres" { "lines.sh good.sql" } else { "good.sql" };
        settings(folder, engine, &format!("    init: {init}\n    seed: db/bad.sql\n"));
        let id = run_id();
        folder
            .call(&["run", "--run-id", &id, "--", "touch", "ran"])
            .fails(4)
            .says("error: orders: the seed's db/bad.sql: line 2: ")
            .says("docker-entrypoint-initdb.d/00")
            .says(message)
            .says("hint: correct db/bad.sql")
            .keeps(PASSWORD);
        assert!(!folder.has("ran"));
        assert_nothing_is_left(&namespace, &id);
        // Those of init as well, where there is no seed.
        settings(folder, engine, "    init: [good.sql, db/bad.sql.gz]\n");
        let gzip = Command::new("gzip").arg(folder.path().join("db/bad.sql")).status();
        assert!(gzip.unwrap().success());
        let id = run_id();
        folder
            .call(&["up", "--on-failure", "delete", "--run-id", &id])
            .fails(4)
            .says("error: orders: the set-up script ")
            .says(if engine == "postgres" { "db/bad.sql.gz: ERROR:  " } else { "db/bad.sql.gz: line 2: " })
            .says(message);
        assert!(!folder.has("testing-databases.json"));
        assert_nothing_is_left(&namespace, &id);
    }
}

#[test]
fn a_command_that_fails_shows_what_it_said() {
    for engine in ENGINES {
        let namespace = Namespace::new("bad-command");
        let folder = &namespace.folder;
        for (run, said) in [
            (
                "echo to $ORDERS_URL; echo that is wrong >&2; exit 3",
                ["it failed (exit status: 3)", "that is wrong"],
            ),
            (
                "no-such-tool upgrade",
                ["it failed (exit status: 127)", "hint: a program that it calls is not found"],
            ),
        ] {
            settings(folder, engine, &format!("    seed: {{run: '{run}', inputs: []}}\n"));
            let id = run_id();
            let failed = folder.call(&["run", "--run-id", &id, "--", "touch", "ran"]).fails(4);
            let failed = failed.says(&format!("orders: the seed's command `{run}`")).keeps(PASSWORD);
            said.iter().fold(failed, |failed, said| failed.says(said));
            assert!(!folder.has("ran"));
            assert_nothing_is_left(&namespace, &id);
            // A run that stays to be looked at is none that somebody gets.
            let id = run_id();
            folder.call(&["up", "--run-id", &id]).fails(4).says("hint: remove it:  testbed down");
            let again = folder.call(&["up", "--run-id", &id]).fails(1);
            again.says("orders: run ").says("may have half of its seed").says("testbed down");
            assert!(!folder.has("testing-databases.json"));
            folder.call(&["down", "--run-id", &id]).ok();
            assert_nothing_is_left(&namespace, &id);
        }
    }
}

/// A project whose seed puts in one row, waits for a file, and puts in another one.
fn slow(folder: &Folder, engine: &str) {
    let client = client(engine);
    let text = format!(
        "echo 'CREATE TABLE a (n int); INSERT INTO a VALUES (1);' | {client} && echo $$ > wait && while ! test -e go; do sleep 0.02; done\n\
         echo 'INSERT INTO a VALUES (20);' | {client}\n"
    );
    folder.file("fill.sh", &text);
    settings(folder, engine, "    seed: {run: 'sh fill.sh && echo done > done', inputs: fill.sh}\n");
}

/// An `up` whose seed is in the middle, and the process of the command.
fn waiting(folder: &Folder, id: &str) -> (Started, String) {
    let _ = std::fs::remove_file(folder.path().join("wait"));
    let up = folder.start(&["up", "--run-id", id]);
    let pid = || std::fs::read_to_string(folder.path().join("wait")).unwrap_or_default();
    until("the command waits", || pid().ends_with('\n'));
    (up, pid().trim().to_owned())
}

fn is_alive(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The run of that id is handed out nowhere.
fn assert_refused(folder: &Folder, id: &str) {
    folder.call(&["up", "--run-id", id]).fails(1).says("may have half of its seed").says("testbed down");
    assert!(!folder.has("testing-databases.json") && !folder.has("done"));
}

#[test]
fn half_a_seed_is_never_handed_out() {
    for engine in ENGINES {
        let namespace = Namespace::new("half");
        let folder = &namespace.folder;
        slow(folder, engine);
        // A cancelled task.
        let id = run_id();
        let (up, command) = waiting(folder, &id);
        up.signal("TERM");
        up.wait().ends(143);
        until("the end of the command", || !is_alive(&command));
        assert_refused(folder, &id);
        folder.call(&["down", "--run-id", &id]).ok();
        assert_nothing_is_left(&namespace, &id);

        // One that was killed: the same for a task that is tried again, in another pod.
        let id = run_id();
        let (mut up, command) = waiting(folder, &id);
        up.signal("KILL");
        up.child.wait().unwrap();
        let elsewhere = namespace.folder_as(kubeconfig());
        slow(&elsewhere, engine);
        assert_refused(&elsewhere, &id);
        assert!(!elsewhere.has("wait"), "its command is not called");
        let status = elsewhere.call(&["status", "--run-id", &id, "-o", "json"]).ok().stdout;
        let rows: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert!(rows[0]["name"] == "orders" && rows[0]["ready"].is_null(), "{status}");

        // And on the same machine, where it is removed, with the command, and made anew.
        assert!(is_alive(&command));
        let removed = format!("removed run {id}: the testbed that worked on it was killed");
        folder.call(&["status"]).ok().says(&removed);
        assert!(!is_alive(&command), "the command of the killed one");
        folder.file("go", "");
        folder.call(&["up", "--run-id", &id]).ok();
        assert_eq!(sum(folder, engine, &id), "21");
        folder.call(&["down", "--run-id", &id]).ok();
        assert_nothing_is_left(&namespace, &id);
    }
}

#[test]
fn a_command_that_takes_too_long_ends_with_the_time() {
    let namespace = Namespace::new("slow");
    let folder = &namespace.folder;
    slow(folder, "postgres");
    let id = run_id();
    let late = folder.call(&["run", "--timeout", "25s", "--run-id", &id, "--", "true"]).fails(3);
    late.says("orders: the seed's command `sh fill.sh && echo done > done`: it still runs after 25s");
    assert!(!is_alive(folder.read("wait").trim()));
    assert_nothing_is_left(&namespace, &id);
}

#[test]
fn files_are_as_large_as_config_maps_and_many() {
    for engine in ENGINES {
        let namespace = Namespace::new("large");
        let folder = &namespace.folder;
        let filler = format!("-- {}\n", "x".repeat(97)).repeat(7000);
        for name in ["one.sql", "two.sql", "three.sql"] {
            folder.file(name, &format!("{filler}INSERT INTO a VALUES (1);\n"));
        }
        folder.file("a.sql", "CREATE TABLE a (n int);\n");
        settings(folder, engine, "    seed: [a.sql, one.sql, two.sql, three.sql]\n");
        assert_eq!(sum(folder, engine, &run_id()), "3");
        folder.file("one.sql", &filler.repeat(2));
        folder
            .call(&["up", "--run-id", "too-large"])
            .fails(2)
            .says(": 002-one.sql has 1.3 MiB, and a ConfigMap takes 1 MiB in all")
            .says("hint: nothing was created; compress the file (gzip schema.sql)");
        assert_nothing_is_left(&namespace, "too-large");
    }
}

#[test]
fn steps_are_in_their_order() {
    for engine in ENGINES {
        let namespace = Namespace::new("steps");
        let folder = &namespace.folder;
        folder.file("a.sql", "CREATE TABLE a (n int);\n");
        folder.file("b.sql", "INSERT INTO a VALUES (1);\n");
        let put = |sum: i32, n: i32| {
            format!("echo \"INSERT INTO a SELECT {n} FROM a HAVING sum(n) = {sum};\" | {}", client(engine))
        };
        let steps = |last: &str| {
            format!(
                "    seed:\n      steps:\n        - files: a.sql\n        - {{files: b.sql, run: '{}', inputs: []}}\n        - {last}\n",
                put(1, 20)
            )
        };
        settings(folder, engine, &steps(&format!("{{run: '{}', inputs: []}}", put(21, 300))));
        assert_eq!(sum(folder, engine, &run_id()), "321");
        // What only a client here could put in.
        settings(folder, engine, &steps("files: b.sql"));
        folder
            .call(&["up", "--run-id", "refused"])
            .fails(2)
            .says("orders: step 3 of the seed has files (b.sql) after the command of step 2: in a cluster ")
            .says("hint: put that step first, or call the client in its place: {run: 'psql ");
        assert_nothing_is_left(&namespace, "refused");
    }
}

#[test]
fn a_pool_hands_out_copies_of_it() {
    let namespace = Namespace::new("pool");
    let folder = &namespace.folder;
    folder.file("a.sql", "CREATE TABLE a (n int);\n");
    // A server does not notice that the client of such a session is gone.
    folder.file(
        "fill.sh",
        "psql -qXc 'INSERT INTO a VALUES (20)'\npsql -qXc 'SELECT pg_sleep(1000)' &\n\
         inside=\"SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'\"\n\
         until test \"$(psql -XAtc \"$inside\")\" = 1; do :; done\n",
    );
    settings(
        folder,
        "postgres",
        "    tls: true\n    seed: {files: a.sql, run: sh -e fill.sh, inputs: fill.sh}\n",
    );
    let tests = "url=$INTEGRESQL_CLIENT_BASE_URL/v1/templates/testbed/tests
curl -sS --fail-with-body -o answer $url || { cat answer >&2; exit 22; }
name=$(sed -n 's/.*\"database\":\"\\([^\"]*\\)\".*/\\1/p' answer)
psql -XAtd \"${name:?}\" -c \"SELECT current_database() <> '$PGDATABASE', sum(n) FROM a\" > found";
    folder.call(&["run", "--pool=2", "--", "sh", "-ec", tests]).ok();
    assert_eq!(folder.read("found"), "t|20\n", "{}", folder.read("answer"));
    // There is none where nothing was put in.
    settings(folder, "postgres", "");
    folder.call(&["run", "--pool=2", "--", "sh", "-ec", tests]).ends(22).says("404");
    settings(folder, "postgres", "    seed: a.sql\n");
    // For those of a later command too.
    let id = run_id();
    folder.call(&["up", "--run-id", &id]).ok();
    folder.call(&["exec", "--run-id", &id, "--pool=2", "--", "sh", "-ec", tests]).ok();
    assert_eq!(folder.read("found"), "t|\n", "{}", folder.read("answer"));
    folder.call(&["down", "--run-id", &id]).ok();
}

#[test]
fn a_pool_hands_out_copies_of_one_in_mariadb_and_mysql() {
    for engine in ["mariadb", "mysql"] {
        let namespace = Namespace::new("pool-within");
        let folder = &namespace.folder;
        folder.file("a.sql", "CREATE TABLE a (n int);\n");
        let seed = "    seed: {files: a.sql, run: 'mariadb -e \"INSERT INTO a VALUES (20)\"', inputs: []}\n";
        settings(folder, engine, seed);
        let tests = "url=$INTEGRESQL_CLIENT_BASE_URL/v1/templates/testbed/tests
curl -sS --fail-with-body -o answer $url || { cat answer >&2; exit 22; }
name=$(sed -n 's/.*\"database\":\"\\([^\"]*\\)\".*/\\1/p' answer)
mariadb -N \"${name:?}\" -e \"SELECT LEFT(DATABASE(), 12), SUM(n) FROM a\" > found";
        folder.call(&["run", "--pool=2", "--", "sh", "-ec", tests]).ok();
        assert_eq!(folder.read("found"), "testbed_pool\t20\n", "{}", folder.read("answer"));
    }
}

/// The rights of any run of a built-in database will do for a command.
#[test]
fn a_command_needs_no_further_right() {
    let namespace = Namespace::new("rights");
    let config = Folder::new();
    let rules = "[{apiGroups: [''], resources: [pods], verbs: [create, get, list, watch, delete]}, \
                 {apiGroups: [''], resources: [services, secrets], verbs: [create, get, list, delete]}, \
                 {apiGroups: [''], resources: [pods/portforward], verbs: [create, get]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, rules));
    settings(&folder, "postgres", "    seed: {run: 'psql -qXc \"CREATE TABLE a (n int)\"', inputs: []}\n");
    let id = run_id();
    folder.call(&["up", "--run-id", &id]).ok();
    folder.call(&["up", "--run-id", &id]).ok().says("exist already");
    folder.call(&["down", "--run-id", &id]).ok();
    assert_nothing_is_left(&namespace, &id);
}

/// The task `up` of a pipeline: with the addresses of the Services, and no folder in which anything is noted.
#[test]
fn in_a_pod_a_command_of_the_flag_is_called() {
    let namespace = Namespace::new("within");
    namespace.apply(&PIPELINE_ROLE.replace("[pods, services]", "[pods, services, secrets]"));
    let client = namespace.client("test-dependencies-deployer");
    client.install_testbed();
    let fill = "import os, psycopg2\nconnection = psycopg2.connect(os.environ['DATABASE_URL'])\n\
                connection.autocommit = True\nconnection.cursor().execute('CREATE TABLE a (n int)')\n\
                print(os.environ['PGHOST'], file=open('host', 'w'))\n";
    client.copy(fill.as_bytes(), "fill.py");
    let id = run_id();
    let up = format!(
        "env -u XDG_STATE_HOME HOME=/proc/nowhere ./testbed up --with postgres=orders --run-id {id} --seed '{{run: python3 fill.py, inputs: []}}'"
    );
    client.shell_ok(&up);
    assert_eq!(client.shell_ok("cat host").trim(), format!("orders-{id}"));
    // It would fail a second time.
    client.shell_ok(&up);
    client.shell_ok(&format!("./testbed down --run-id {id}"));
    assert_nothing_is_left(&namespace, &id);
    client.copy(
        b"databases: {orders: {use: postgres, seed: {run: python3 fill.py, inputs: []}}}\n",
        "testbed.yaml",
    );
    let refused = client.shell("./testbed up");
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn what_keeps_seeds_is_for_this_machine() {
    let folder = Folder::new().env("TESTBED_RUNTIME", "kubernetes");
    for args in [&["seed"][..], &["seed", "--show"]] {
        folder
            .call(&[args, &["--with", "postgres"]].concat())
            .fails(2)
            .says("seeds are kept on this machine alone: in a cluster testbed up and run put a seed in")
            .says("hint: --runtime local");
    }
}
