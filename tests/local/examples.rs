//! The projects in `examples/` as their users run them: each framework's own tests, with the databases of the
//! project's `testbed.yaml`. That happens where all that a driver or framework reads by itself leads
//! elsewhere, so that a test that passes has been at the run's own servers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::elsewhere::hostile;
use crate::harness::Local;
use crate::support::pages::root;
use crate::support::{Called, Folder};

/// What `tests/install test` has put beside the program for the examples.
pub fn packages(example: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    target.join("examples").join(example)
}

/// Whether something that an example needs is not on this machine, which is said. In CI it is a failure.
pub fn is_missing(what: &str, proof: &mut Command) -> bool {
    let is_there = proof.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success());
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "{what} is missing, which tests/install test brings"
    );
    if !is_there {
        eprintln!("skipped: {what} is missing, which tests/install test brings");
    }
    !is_there
}

/// Whether the packages of an example that are not Debian's are missing.
pub fn is_without_packages(example: &str, file: &str) -> bool {
    is_missing(
        &format!("what the example {example} needs"),
        Command::new("test").arg("-e").arg(packages(example).join(file)),
    )
}

/// A copy of an example, for its tools leave files in it. Those that use a package for test runners name it by its
/// place in the repository.
pub fn copy(local: &Local, name: &str) -> PathBuf {
    let source = root().join("examples").join(name);
    let examples = local.path().join("examples");
    std::fs::create_dir(&examples).expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(source).arg(&examples).status().expect("cp");
    assert!(copied.success(), "{name}");
    std::os::unix::fs::symlink(root().join("clients"), local.path().join("clients")).expect("a link");
    examples.join(name)
}

/// What the tests of Go are called with: all that Go writes is beside the program.
pub fn of_go(folder: Folder) -> Folder {
    let folder = folder.env("CGO_ENABLED", "0").env("GOFLAGS", "-modcacherw").env("GOPROXY", "off");
    [("GOMODCACHE", "modules"), ("GOCACHE", "cache")].into_iter().fold(folder, |folder, (name, part)| {
        folder.env(name, packages("go").join(part).display().to_string())
    })
}

/// Runs a command in a copy of an example, in which it has to find its databases.
fn run(folder: Folder, name: &str, command: &[&str]) -> Called {
    let local = Local::of(hostile(folder));
    let mine = "[client]\nhost=127.9.9.9\nport=1\nuser=me\npassword=wrong\n";
    local.file(".my.cnf", mine);
    local.file(".pg_service.conf", "[mine]\nhost=127.9.9.9\nport=1\nuser=me\ndbname=mine\n");
    let project = copy(&local, name);
    match name {
        "node" | "knex" => {
            let modules = project.join("node_modules");
            // Somebody may have called npm in the example.
            let _ = std::fs::remove_dir_all(&modules);
            std::os::unix::fs::symlink(packages(name).join("node_modules"), modules).expect("a link");
        }
        // The command of the seed calls Maven too.
        "flyway" => {
            let [_, options @ .., _] = maven(name);
            std::fs::create_dir(project.join(".mvn")).expect("a folder");
            std::fs::write(project.join(".mvn/maven.config"), options.join("\n")).expect("a file");
        }
        _ => {}
    }
    let args = [&["run", "--"], command].concat();
    let output =
        local.command(&args).current_dir(&project).stdin(Stdio::null()).output().expect("testbed starts");
    let called = Called::new(&args, output).ok().says("note: the command does not get ");
    local.assert_nothing_left();
    called
}

/// As [`run`] for an example that says on standard output, or on standard error, how many tests have passed.
fn passes(folder: Folder, name: &str, command: &[&str], proof: &str) {
    let called = run(folder, name, command);
    assert!(called.transcript().contains(proof), "{proof:?} is not said:\n{}", called.transcript());
}

#[test]
fn pytest() {
    let folder = Folder::local().env("PYTHONDONTWRITEBYTECODE", "1");
    passes(
        folder,
        "box-office",
        &["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider"],
        "28 passed",
    );
}

#[test]
fn alembic() {
    let proof = ["-c", "import alembic, psycopg2"];
    if is_missing("Alembic or psycopg2", Command::new("/usr/bin/python3").args(proof)) {
        return;
    }
    let folder = Folder::local().env("PYTHONDONTWRITEBYTECODE", "1");
    passes(folder, "alembic", &["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider"], "4 passed");
}

#[test]
fn knex() {
    if is_without_packages("knex", "node_modules/testbed-client/index.js") {
        return;
    }
    let folder = Folder::local().env("npm_config_update_notifier", "false");
    passes(folder, "knex", &["npm", "test", "--", "--test-reporter=tap"], "# pass 5\n# fail 0");
}

#[test]
fn goose() {
    if is_without_packages("go", "goose.sum") {
        return;
    }
    let called = run(of_go(Folder::local()), "goose", &["go", "test", "-v", "./..."]);
    assert_eq!(called.stdout.matches("--- PASS: ").count(), 5, "{}", called.transcript());
}

#[test]
fn flyway() {
    if is_without_packages("flyway", "pom.xml") {
        return;
    }
    let proof = "Tests run: 5, Failures: 0, Errors: 0, Skipped: 0";
    passes(of_java(Folder::local()), "flyway", &["mvn", "test"], proof);
}

#[test]
fn active_record() {
    let proof = ["-e", "['activerecord', 'mysql2', 'minitest', 'rake', 'bundler'].each { |name| gem name }"];
    if is_missing(
        "Active Record, mysql2, Minitest, Rake or Bundler",
        Command::new("/usr/bin/ruby").args(proof),
    ) {
        return;
    }
    let proof = "5 runs, 6 assertions, 0 failures, 0 errors, 0 skips";
    passes(Folder::local(), "active-record", &["bundle", "exec", "rake", "test"], proof);
}

#[test]
fn django() {
    let proof = ["-c", "import django, MySQLdb, psycopg2"];
    if is_missing("Django, mysqlclient or psycopg2", Command::new("/usr/bin/python3").args(proof)) {
        return;
    }
    // Debian's own Python sees what Debian packages.
    passes(Folder::local(), "django", &["/usr/bin/python3", "manage.py", "test"], "Ran 5 tests");
}

#[test]
fn rails() {
    let proof = ["-e", "['rails', 'pg', 'mysql2', 'bundler'].each { |name| gem name }"];
    if is_missing("Rails, pg, mysql2 or Bundler", Command::new("/usr/bin/ruby").args(proof)) {
        return;
    }
    passes(
        Folder::local(),
        "rails",
        &["bin/rails", "test"],
        "5 runs, 11 assertions, 0 failures, 0 errors, 0 skips",
    );
}

#[test]
fn go() {
    if is_without_packages("go", "go.sum") {
        return;
    }
    let called = run(of_go(Folder::local()), "go", &["go", "test", "-v", "./..."]);
    for database in ["postgres", "mariadb"] {
        for test in ["TicketsAreSoldUntilThereAreNone", "NobodyGetsTwoTickets", "ManySellersNeverSellTooMuch"]
        {
            assert!(
                called.stdout.contains(&format!("--- PASS: Test{test}/{database} ")),
                "{}",
                called.transcript()
            );
        }
    }
}

#[test]
fn node() {
    if is_without_packages("node", "node_modules") {
        return;
    }
    // npm would ask whether there is a newer one of itself.
    let folder = Folder::local().env("npm_config_update_notifier", "false");
    passes(folder, "node", &["npm", "test", "--", "--test-reporter=tap"], "# pass 6\n# fail 0");
}

#[test]
fn jdbc() {
    if is_without_packages("jdbc", "pom.xml") {
        return;
    }
    let command = maven("jdbc");
    let command = command.each_ref().map(String::as_str);
    passes(of_java(Folder::local()), "jdbc", &command, "Tests run: 9, Failures: 0, Errors: 0, Skipped: 0");
}

/// A compiler that thinks for longer would not pay off here.
pub fn of_java(folder: Folder) -> Folder {
    folder.env("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
}

/// Maven's call of a project's tests, with the packages that `tests/install` has fetched.
pub fn maven(name: &str) -> [String; 5] {
    let repository = format!("-Dmaven.repo.local={}", packages(name).join("packages").display());
    ["mvn", "--batch-mode", "--offline", &repository, "test"].map(str::to_owned)
}
