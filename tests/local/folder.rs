//! A folder and its runs: `up` again goes on with what is up, `down` removes all of it, and a run is found by the
//! first letters of its id.

use serde_json::Value;

use crate::harness::{Local, is_alive, listens, until};
use crate::support::Called;

/// The only run of the registry.
fn only_run(local: &Local) -> String {
    let mut names = std::fs::read_dir(local.state().join("runs")).unwrap().flatten();
    let mut names = std::iter::from_fn(|| names.next())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'));
    let name = names.next().expect("a run");
    assert_eq!(names.next(), None);
    name
}

#[test]
fn up_again_is_the_same_run_and_new_databases_join_it() {
    let local = Local::new();
    let (first, databases) = local.up(&["--with", "postgres"]);
    let run_id = first.stdout.trim().to_owned();
    let (again, same) = local.up(&["--with", "postgres"]);
    assert_eq!(again.stdout.trim(), run_id);
    let again = again.says("its databases are up already");
    assert_eq!((same[0].port, &same[0].password), (databases[0].port, &databases[0].password));
    // What joins is in the config file beside what was there, and so is what only the first call has asked for.
    let (joined, both) = local.up(&["--with", "mariadb"]);
    assert_eq!(joined.stdout, again.stdout);
    let _ = joined.says("note: of an earlier up the run still has postgres: ");
    assert_eq!(both.len(), 2, "{}", local.read("testing-databases.json"));
    assert_eq!(both[0].port, databases[0].port);
    both.iter().for_each(|database| database.assert_takes_logins());
    let (_, all) = local.up(&["--with", "postgres", "--with", "mariadb"]);
    assert_eq!((all[0].port, all[1].port), (both[0].port, both[1].port));

    // What has changed is told, and nothing of it is made or lost.
    let changed = ["up", "--with", "postgres", "--param", "user=other"];
    local
        .call(&changed)
        .fails(2)
        .says("was asked for otherwise: ")
        .says("was asked for otherwise: postgres (user is new)\n")
        .says("remove it first: testbed down");
    both.iter().for_each(|database| database.assert_takes_logins());

    // What fails to join leaves the others alone.
    let broken = ["up", "--with", "mariadb=second", "--param", "second.args=--no-such-option"];
    let _ = local.call(&broken).fails(4).says("no-such-option");
    both.iter().for_each(|database| database.assert_takes_logins());
    let status = local.call(&["status", "-o", "json"]).ok();
    let rows: Vec<Value> = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(rows.len(), 2, "{}", status.stdout);

    local.call(&["down"]).ok().says(&format!("run {run_id} is gone (2 servers)"));
    assert!(!local.has("testing-databases.json"));
    local.assert_nothing_left();
}

#[test]
fn up_again_tells_of_a_database_that_is_asked_for_no_more() {
    let local = Local::new();
    let settings = |databases: &str| local.file("testbed.yaml", &format!("databases: {{{databases}}}\n"));
    settings("orders: sqlite, audit: sqlite");
    assert!(!local.call(&["up"]).ok().stderr.contains("note:"));
    settings("orders: sqlite");
    let again = local.call(&["up"]).ok();
    let run_id = again.stdout.trim()[..8].to_owned();
    let _ = again
        .says(&format!("note: of an earlier up the run still has audit: testbed down --run-id {run_id}"));
    // It is gone where this says, and then there is nothing to tell.
    local.call(&["down"]).ok();
    assert!(!local.call(&["up"]).ok().stderr.contains("note:"));
    local.call(&["down"]).ok();
}

/// The second one comes while the first is still at work, of which there is nothing to join yet.
#[test]
fn two_ups_at_once_are_one_run() {
    let local = Local::new();
    let mut first = local.start(&["up", "--with", "postgres", "--with", "mariadb"]);
    first.until_it_says("run ");
    let mut second = local.start(&["up", "--with", "postgres"]);
    second.until_it_says("another testbed up is at work in this folder: waiting for it");
    let (first, second) = (first.wait().ok(), second.wait().ok().says("its databases are up already"));
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(only_run(&local), first.stdout.trim());
    local.call(&["down"]).ok();
    local.assert_nothing_left();

    // One that is killed leaves nothing that others would wait for, and others have a turn of their own.
    let mut killed = local.start(&["up", "--with", "postgres"]);
    killed.until_it_says("run ");
    std::fs::create_dir(local.path().join("elsewhere")).unwrap();
    std::fs::write(local.path().join("elsewhere/testbed.yaml"), "with: sqlite\n").unwrap();
    let mut elsewhere = local.command(&["up"]);
    elsewhere.current_dir(local.path().join("elsewhere"));
    let elsewhere = Called::new(&["up"], elsewhere.output().unwrap()).ok();
    assert!(!elsewhere.stderr.contains("waiting"), "{}", elsewhere.transcript());
    killed.signal("KILL");
    let _ = killed.wait();
    let third = local.call(&["up", "--with", "postgres"]).ok();
    assert!(!third.stderr.contains("waiting"), "{}", third.transcript());
    for run in [third, elsewhere] {
        local.call(&["down", "--run-id", run.stdout.trim()]).ok();
    }
    local.assert_nothing_left();
}

#[test]
fn an_up_waits_for_another_no_longer_than_its_timeout() {
    let local = Local::new();
    let mut first = local.start(&["up", "--with", "postgres", "--with", "mariadb"]);
    first.until_it_says("run ");
    first.signal("STOP");
    let second = local.call(&["up", "--with", "postgres", "--timeout", "1s"]).fails(1);
    let _ = second.says("another testbed up").says("--timeout");
    first.signal("CONT");
    first.wait().ok();
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn what_an_up_has_waited_is_a_part_of_its_timeout() {
    let local = Local::new();
    local.file("testbed.yaml", "databases: {shop: {use: postgres, seed: {run: sleep 1000, inputs: []}}}\n");
    let mut first = local.start(&["up"]);
    first.until_it_says("seeding");
    let mut second = local.start(&["up", "--timeout", "10s"]);
    second.until_it_says("waiting for it");
    // The time is what is tested.
    std::thread::sleep(std::time::Duration::from_secs(2));
    first.signal("KILL");
    let _ = first.wait();
    let _ = second.wait().fails(3).says("not ready within ").keeps("within 10s");
    local.assert_nothing_left();
}

#[test]
fn all_runs_of_a_folder_go_down_together_also_from_below() {
    let local = Local::new();
    local.file("testbed.yaml", "with: postgres\n");
    std::fs::create_dir_all(local.path().join("a/b")).unwrap();
    let below = |args: &[&str]| local.call_in("a/b", args);
    let above = local.call(&["up"]).ok();
    let _ = below(&["up", "--output", "-"]).ok().says("are up already");
    local.call(&["up", "--run-id", "mine", "--output", "-"]).ok();
    let down = below(&["down"]).ok().says(&format!("run {} is gone", above.stdout.trim()));
    let _ = down.says("run mine is gone");
    // A clean-up may be called twice, but a run that nothing is known of is no run.
    let again = below(&["down"]).ok();
    assert_eq!(again.story(), ["no run is up in this folder: nothing to do"]);
    below(&["down", "--run-id", "nowhere"]).fails(1).says("nothing is known of run nowhere");
    local.assert_nothing_left();
}

/// Whether this machine has the other version or not.
#[test]
fn another_version_is_another_database_and_told_before_anything_starts() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "mine"]);
    for version in ["postgres:14", "postgres:9.6"] {
        for command in [&["up"][..], &["run", "--run-id", "mine"]] {
            let with = ["--run-id", "mine", "--with", version, "--with", "mariadb"];
            let called = match command {
                ["up"] => local.call(&[command, &with[..]].concat()),
                _ => local.call(&[&["run"], &with[..], &["--", "true"]].concat()),
            };
            called
                .fails(2)
                .says("error: run mine is there already, and was asked for otherwise: postgres (the version has changed)\n")
                .says("remove it first: testbed down --run-id mine")
                .keeps("preparing");
        }
    }
    databases[0].assert_takes_logins();
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn run_on_an_up_that_is_there_leaves_it_up() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "mine"]);
    let args = ["run", "--run-id", "mine", "--with", "postgres", "--", "sh", "-c", "echo $PGPORT; exit 3"];
    let ran = local.call(&args).ends(3).says("run mine stays up, as it was before");
    assert_eq!(ran.stdout.trim(), databases[0].port.to_string());
    databases[0].assert_takes_logins();
    assert_eq!(local.record("mine").unwrap()["phase"], "up");
    local.call(&["down"]).ok().says("run mine is gone");
    local.assert_nothing_left();
}

/// With all that it has started, whatever testbed is called for next.
#[test]
fn the_command_of_a_killed_run_ends_with_the_next_call_and_the_run_stays() {
    let local = Local::new();
    let (_, databases) = local.up(&["--with", "postgres", "--run-id", "mine"]);
    let script = "sleep 1000 & echo $! > own; setsid sleep 1000 & echo $! > other; echo $$ > shell; echo at work >&2; wait";
    for next in [
        &["status"][..],
        &["env"],
        &["exec", "--", "true"],
        &["connect", "--", "-c", "SELECT 1"],
        &["logs"],
        &["restart", "postgres"],
        &["history", "list"],
        &["gc"],
        &["up", "--with", "sqlite", "--run-id", "other", "--output", "-"],
    ] {
        let mut run =
            local.start(&["run", "--run-id", "mine", "--with", "postgres", "--", "sh", "-c", script]);
        run.until_it_says("at work");
        // It is noted a moment after its start.
        until("the command is noted", || local.record("mine").filter(|record| !record["command"].is_null()));
        run.signal("KILL");
        let _ = run.child.wait();
        let dry = local.call(&["gc", "--dry-run"]).ok();
        let _ = dry.says("would end what a killed testbed was running on run mine");
        local.call(next).ok().says("ended what a killed testbed was running on run mine");
        for file in ["own", "other", "shell"] {
            let pid = local.read(file).trim().parse().unwrap();
            assert!(!is_alive(pid), "{next:?}: {file} is still there");
        }
        let again = local.call(next).ok();
        assert!(!again.stderr.contains("killed testbed"), "{}", again.transcript());
        let record = local.record("mine").unwrap();
        assert!(record["phase"] == "up" && record["command"].is_null(), "{next:?}: {record}");
        databases[0].assert_takes_logins();
    }
    local.call(&["down"]).ok();
    assert!(!listens(databases[0].port));
    local.assert_nothing_left();
}

#[test]
fn a_run_is_found_by_the_first_letters_of_its_id() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--output", "-"]).ok();
    let run_id = only_run(&local);
    let status = local.call(&["status", "--run-id", &run_id[..8], "-o", "json"]).ok();
    assert!(status.stdout.contains(&run_id), "{}", status.stdout);
    local.call(&["history", "show", &run_id[..4]]).ok();
    local
        .call(&["status", "--run-id", "nobody"])
        .fails(1)
        .says("nothing is known of run nobody")
        .says(&run_id);
    local.call(&["down", "--run-id", "nobody"]).fails(1).says("nothing is known of run nobody").says(&run_id);
    local.call(&["down", "--run-id", &run_id[..8]]).ok().says(&format!("run {run_id} is gone"));
    // A clean-up may be called twice.
    local.call(&["down", "--run-id", &run_id]).ok().says("is gone already: nothing to do");

    // A shorter id that somebody has chosen may be that of another run that is gone.
    local.call(&["up", "--with", "postgres", "--output", "-", "--run-id", "pull-17"]).ok();
    local.call(&["status", "--run-id", "pull-1", "-o", "json"]).ok();
    local.call(&["down", "--run-id", "pull-1"]).fails(1).says("there are: pull-17");
    local.call(&["up", "--with", "postgres", "--output", "-", "--run-id", "pull-18"]).ok();
    local
        .call(&["status", "--run-id", "pull-1"])
        .fails(1)
        .says("is the beginning of several runs: pull-17, pull-18");
    let down = local.call(&["down"]).ok().says("run pull-17 is gone");
    let _ = down.says("run pull-18 is gone");
    local.assert_nothing_left();
}

#[test]
fn an_up_that_has_outlived_its_lifetime_goes_with_the_next_command() {
    let local = Local::new();
    local.call(&["up", "--with", "postgres", "--output", "-", "--run-id", "long", "--lifetime", "1h"]).ok();
    local.call(&["up", "--with", "postgres", "--output", "-", "--run-id", "short", "--lifetime", "1h"]).ok();
    local.call(&["up", "--with", "postgres", "--output", "-", "--run-id", "endless"]).ok();
    assert!(local.record("endless").unwrap()["expires"].is_null());
    local.change_record("short", |record| record["expires"] = "2020-01-01T00:00:00.000Z".into());
    local.call(&["gc", "--dry-run"]).ok().says("would remove run short: its lifetime has ended");
    let status = local.call(&["status", "-o", "json"]).ok().says("removed run short: its lifetime has ended");
    assert!(status.stdout.contains("\"long\"") && !status.stdout.contains("\"short\""), "{}", status.stdout);
    let shown = local.call(&["history", "show", "short"]).ok();
    assert!(shown.stdout.contains("its lifetime has ended"), "{}", shown.stdout);
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

/// What a record says may be damage: what is deleted has the run's own name.
#[test]
fn nobody_elses_folder_is_deleted_for_a_damaged_record() {
    let local = Local::new();
    local.call(&["up", "--with", "sqlite", "--run-id", "r"]).ok();
    let (victim, own) = (local.path().join("victim"), local.record("r").unwrap());
    std::fs::create_dir(&victim).unwrap();
    local.change_record("r", |record| record["place"]["local"]["data"] = victim.display().to_string().into());
    local.call(&["down"]).fails(5).says("is damaged: run r has no data in ");
    assert!(victim.is_dir());
    local.change_record("r", |record| *record = own);
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

/// A killed `up` whose database was joining the run leaves it to the next one.
#[test]
fn what_a_killed_up_has_left_half_made_is_made_anew() {
    let local = Local::new();
    let (_, first) = local.up(&["--with", "mariadb=b"]);
    let mut joining = local.start(&["up", "-v", "--with", "mariadb=b", "--with", "mariadb=c"]);
    joining.until_it_says("c: ");
    joining.signal("KILL");
    let _ = joining.wait();
    let (_, both) = local.up(&["--with", "mariadb=b", "--with", "mariadb=c"]);
    assert_eq!((both.len(), both[0].port), (2, first[0].port));
    both.iter().for_each(|database| database.assert_takes_logins());
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn some_databases_alone_have_those_of_the_projects_names_that_are_about_them() {
    let local = Local::new();
    let settings = "databases: {orders: postgres, shop: mariadb}\nenv:\n- rails=orders\n- jdbc=shop\n- DB_NAME: \"{{ orders.database }}\"\n  \
                    SHOP_AT: \"{{ shop.host }}\"\n  BOTH: \"{{ orders.port }} {{ shop.port }}\"\n  PLAIN: a\n";
    local.file("testbed.yaml", settings);
    local.call(&["up"]).ok();
    let script = "echo ${DB_NAME-none} ${SHOP_AT-none} ${BOTH-none} ${PLAIN-none} ${JDBC_DATABASE_USERNAME-none}; echo $DATABASE_URL";
    let exec =
        |args: &[&str]| local.call(&[&["exec"], args, &["--", "sh", "-c", script]].concat()).ok().stdout;
    let first = |text: String| text.lines().next().unwrap().to_owned();
    let orders = exec(&["orders"]);
    assert!(orders.starts_with("test none none a none\npostgresql://"), "{orders}");
    let shop = exec(&["shop"]);
    assert!(shop.starts_with("none 127.0.0.1 none a root\nmysql://"), "{shop}");
    assert!(first(exec(&["orders", "shop"])).starts_with("test 127.0.0.1 "));
    // What is typed counts for more, and has to fit.
    assert_eq!(first(exec(&["orders", "--env", "PLAIN=b", "--preset", "jdbc"])), "test none none b postgres");
    let _ = local.call(&["env", "orders", "--env", "X={{ shop.host }}"]).fails(2).says("env X");
    let _ = local.call(&["exec", "orders", "--preset", "rails=shop", "--", "true"]).fails(2).says("shop");
    let text = local.call(&["env", "shop"]).ok().stdout;
    assert!(text.contains("export SHOP_AT=") && !text.contains("DB_NAME"), "{text}");
    // A name that fits no database of the run is told, whichever the command gets: the run may have been made of others.
    local.file("testbed.yaml", &settings.replace("{{ shop.host }}", "{{ shops.host }}"));
    let _ = local.call(&["env", "shop"]).ok().says("and is left out: env SHOP_AT");
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn exec_and_env_know_the_projects_names_and_env_chooses_no_run() {
    let local = Local::new();
    local.file("testbed.yaml", "databases: {orders: postgres}\nenv: {DB_NAME: \"{{ orders.database }}\"}\n");
    local.call(&["up"]).ok();
    let told = local.call(&["exec", "--", "sh", "-c", "echo $DB_NAME"]).ok();
    assert_eq!(told.stdout, "test\n");
    let text = local.call(&["env"]).ok().stdout;
    assert!(text.contains("export DB_NAME='test'") && !text.contains("TESTBED_RUN_ID"), "{text}");
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn what_was_asked_for_otherwise_is_named_as_the_project_names_it() {
    let local = Local::new();
    local.file("schema.sql", "CREATE TABLE orders (id integer);\n");
    local.file("data.sql", "INSERT INTO orders VALUES (1);\n");
    let asked = |more: &str| {
        local.file("testbed.yaml", &format!("databases:\n  orders:\n    use: postgres\n    {more}\n"));
        local.call(&["up"])
    };
    let both = "init: [schema.sql, data.sql]";
    let _ = asked(both).ok();
    let refused = |more: &str, told: &str| {
        let _ = asked(more)
            .fails(2)
            .keeps("ConfigMap")
            .keeps("Service")
            .says(&format!("and was asked for otherwise: {told}\n"))
            .says("remove it first: testbed down --run-id ");
    };
    local.file("data.sql", "INSERT INTO orders VALUES (2);\n");
    refused(both, "orders (data.sql has changed)");
    local.file("data.sql", "INSERT INTO orders VALUES (1);\n");
    refused("init: [schema.sql]", "orders (data.sql is gone)");
    refused("init: schema.sql\n    port: 54399", "orders (port is new, data.sql is gone)");
    refused("image: postgis/postgis:17-3.5", "orders (image is new, data.sql is gone, schema.sql is gone)");
    refused("init: [schema.sql, data.sql]\n    databases: [audit]", "orders (databases is new)");
    let _ = asked(both).ok().says("its databases are up already");
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

/// Letters that no id may be are those of an id all the same.
#[test]
fn too_few_letters_of_an_id_lead_to_the_whole_one() {
    let local = Local::new();
    local.call(&["up", "--with", "sqlite", "--output", "-", "--run-id", "nightly"]).ok();
    for command in
        [&["connect"][..], &["logs"], &["env"], &["exec", "--", "true"], &["restart"], &["status"], &["down"]]
    {
        for letters in ["n", "ni"] {
            let args = [&command[..1], &["--run-id", letters], &command[1..]].concat();
            let called = local.call(&args).keeps("YAML");
            assert_ne!(called.code, Some(0), "{}", called.transcript());
            called.says("nightly");
        }
    }
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}

#[test]
fn where_the_folder_has_no_run_those_of_others_are_named_also_of_one_that_was_renamed() {
    let local = Local::new();
    let nothing = local.call(&["down"]).ok().says("no run is up in this folder: nothing to do\n");
    let _ = nothing.keeps("--run-id");
    let _ = local.call(&["env"]).fails(2).says("hint: testbed up makes one\n").keeps("--run-id");
    let at = |name: &str| local.path().canonicalize().unwrap().join(name).display().to_string();
    for name in ["old", "other"] {
        std::fs::create_dir(local.path().join(name)).unwrap();
        local.file(&format!("{name}/testbed.yaml"), "with: sqlite\n");
        local.call_in(name, &["up", "--run-id", &format!("of-{name}")]).ok();
    }
    std::fs::rename(local.path().join("old"), local.path().join("new")).unwrap();
    let others = format!("of-other of {}; of-old of {}, which is gone\n", at("other"), at("old"));
    let down = local.call_in("new", &["down"]).ok().says("no run is up in this folder: nothing to do");
    let _ = down.says(&format!("--run-id removes one of another folder: {others}"));
    let exec = local.call_in("new", &["exec", "--", "true"]).fails(2).says("no run is up in this folder");
    let _ = exec.says(&format!("--run-id takes one of another folder: {others}"));
    let _ = local.call_in("new", &["env", "--run-id", "of-old"]).ok();
    for run in ["of-old", "of-other"] {
        local.call(&["down", "--run-id", run]).ok();
    }
    local.assert_nothing_left();
}

/// It would wait for itself.
#[test]
fn testbed_within_the_command_of_a_run_is_told_whose_command_it_is() {
    let local = Local::new();
    for inner in ["up --with sqlite", "run --with sqlite -- true"] {
        let script = format!("{} {inner}", crate::support::binary());
        let run = ["run", "--with", "sqlite", "--run-id", "r", "--", "sh", "-c", &script];
        let called = local.call(&run).ends(1).keeps("wait for it");
        called.says("run r is up for this command").says("another run is made with --run-id NAME");
    }
    let script = format!(
        "{0} up --with sqlite --run-id own --output - && {0} down --run-id own",
        crate::support::binary()
    );
    let run = ["run", "--with", "sqlite", "--run-id", "r", "--", "sh", "-c", &script];
    let _ = local.call(&run).ok();
    local.assert_nothing_left();
}

#[test]
fn status_has_a_row_for_each_database() {
    let local = Local::new();
    local
        .file("testbed.yaml", "databases:\n  orders: {use: postgres, databases: [audit]}\n  cache: sqlite\n");
    local.call(&["up", "--run-id", "r"]).ok();
    let status = local.call(&["status", "-o", "json"]).ok();
    let rows: Vec<Value> = serde_json::from_str(&status.stdout).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| ["name", "engine", "database", "state"].map(|key| row[key].as_str().unwrap_or("null")))
        .collect();
    let expected = [
        ["orders", "postgres", "test", "Running"],
        ["orders-audit", "postgres", "audit", "Running"],
        ["cache", "sqlite", ":memory:", "Running"],
    ];
    assert_eq!(told, expected, "{}", status.stdout);
    assert_eq!((&rows[0]["address"], &rows[2]["address"]), (&rows[1]["address"], &"-".into()));
    assert_eq!(rows[0]["process"], rows[1]["process"]);
    assert!(rows[2]["process"].is_null() && !rows[1]["ready"].is_null());
    let table = local.call(&["status"]).ok().stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    local.call(&["down"]).ok();
    local.assert_nothing_left();
}
