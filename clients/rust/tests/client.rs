//! With a real testbed, which has to be in PATH: these tests run in `testbed run --pool`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testbed_client::{Database, Template};

const VARIABLE: &str = "INTEGRESQL_CLIENT_BASE_URL";

fn query(database: &Database, sql: &str) -> Result<String, String> {
    let args = ["-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql];
    let output = Command::new("psql").args(args).envs(database.env()).output().expect("psql");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn until(what: &str, claim: impl Fn() -> bool) {
    let began = Instant::now();
    while !claim() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

static MADE: AtomicUsize = AtomicUsize::new(0);
static COUNTED: Template = Template::new("counted", &["src"], |database| {
    MADE.fetch_add(1, Ordering::SeqCst);
    query(database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")?;
    Ok(())
});
static EMPTY: Template = Template::new("empty", &[], |_| Ok(()));

#[test]
fn each_test_has_a_database_of_its_own_and_the_template_is_made_once() {
    let work = || {
        let database = COUNTED.fresh().unwrap();
        assert_eq!(query(&database, "DELETE FROM t RETURNING n").unwrap(), "1");
        database.database.clone()
    };
    let threads: Vec<_> = (0..16).map(|_| std::thread::spawn(work)).collect();
    let names: BTreeSet<String> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!((names.len(), MADE.load(Ordering::SeqCst)), (16, 1));
}

#[test]
fn what_is_given_back_is_gone() {
    let other = EMPTY.fresh().unwrap();
    let name = EMPTY.fresh().unwrap().database.clone();
    let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    until("it is gone", || query(&other, &count).unwrap() == "0");
}

#[test]
fn a_migration_that_fails_is_told_and_not_tried_again() {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    static WRONG: Template = Template::new("wrong", &[], |_| {
        TRIED.fetch_add(1, Ordering::SeqCst);
        Err("a reason".into())
    });
    for _ in 0..2 {
        let told = WRONG.fresh().unwrap_err().to_string();
        assert_eq!(told, "the migration of the template wrong has failed: a reason");
    }
    assert_eq!(TRIED.load(Ordering::SeqCst), 1);
}

#[test]
fn an_input_that_is_missing_is_told() {
    static MISSING: Template = Template::new("missing", &["nowhere"], |_| Ok(()));
    assert!(MISSING.fresh().unwrap_err().to_string().contains("missing, nowhere: "));
}

#[test]
fn debug_does_not_show_the_password() {
    let fresh = EMPTY.fresh().unwrap();
    assert!(fresh.url().contains(&format!(":{}@", fresh.password)));
    let text = format!("{fresh:?} {fresh:#?} {}", *fresh);
    assert!(text.contains(&fresh.database) && !text.contains(&format!(":{}@", fresh.password)));
    assert!(!text.contains(&format!("\"{}\"", fresh.password)));
}

/// One of the tests below in a process of its own, with no pool around it.
fn alone(inner: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", inner]).env_remove(VARIABLE);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
#[ignore = "another test calls it"]
fn inner() {
    println!("database {}", *EMPTY.fresh().unwrap());
}

#[test]
#[ignore = "another test calls it"]
fn failing() {
    let fresh = EMPTY.fresh().unwrap();
    panic!("database {}", fresh.database);
}

#[test]
#[ignore = "another test calls it"]
fn seeded() {
    static SEED: Template = Template::seed();
    for _ in 0..2 {
        println!("it has {}", query(&SEED.fresh().unwrap(), "DELETE FROM t RETURNING n").unwrap());
    }
}

#[test]
fn the_copies_are_of_the_seed_where_the_project_has_one() {
    let folder = std::env::temp_dir().join(format!("testbed-client-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let settings = "databases:\n  orders: {use: postgres, seed: seed.sql}\n";
    std::fs::write(folder.join("testbed.yaml"), settings).unwrap();
    std::fs::write(folder.join("seed.sql"), "CREATE TABLE t (n int); INSERT INTO t VALUES (42)").unwrap();
    let output = alone("seeded").current_dir(&folder).output();
    std::fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("it has 42\nit has 42\n"), "{output:?}");
    let told = Template::seed().fresh().unwrap_err().to_string();
    assert!(told.contains("has no seed"), "{told}");
}

#[test]
fn without_a_pool_it_starts_one_and_without_testbed_says_how_to_install_it() {
    let output = alone("inner").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("database postgres@127.0.0.1:"), "{output:?}");
    let output = alone("inner").env("PATH", "/nowhere").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("testbed is not in PATH, ") && told.contains("make build"), "{told}");
}

#[test]
fn a_failed_test_leaves_its_database_where_that_is_asked_for() {
    let other = EMPTY.fresh().unwrap();
    for keep in ["", "1"] {
        let mut command = alone("failing");
        command.env(VARIABLE, std::env::var(VARIABLE).unwrap()).env("TESTBED_KEEP_FAILED", keep);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let name = told.split_once("database ").unwrap().1.split_whitespace().next().unwrap();
        let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        match keep {
            "" => until("it is gone", || query(&other, &count).unwrap() == "0"),
            _ => assert!(told.contains("is kept") && query(&other, &count).unwrap() == "1", "{told}"),
        }
    }
}
