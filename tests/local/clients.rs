//! The packages for test runners, in `clients/`: each one's own tests and its example, inside of `testbed run` and
//! outside of it, where they start it themselves.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::examples::{is_missing, is_without_packages, maven, of_go, of_java, packages};
use crate::harness::{Local, until};
use crate::support::pages::root;
use crate::support::{Called, Folder, binary};

/// Calls a package's tests, in a copy of its folder.
fn suite(folder: Folder, name: &str, prepare: impl FnOnce(&Path), command: &[&str]) -> Called {
    // A test that has no pool around it starts testbed by its name.
    let bin = Path::new(binary()).parent().expect("a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a PATH"));
    let local = Local::of(folder.env("PATH", path));
    let source = root().join("clients").join(name);
    let copied = Command::new("cp").arg("-r").arg(source).arg(local.path()).status().expect("cp");
    assert!(copied.success(), "{name}");
    let project = local.path().join(name);
    prepare(&project);
    let args = [&["run", "--with", "postgres", "--with", "mariadb", "--pool", "--"], command].concat();
    let output = local.command(&args).current_dir(project).stdin(Stdio::null()).output();
    let called = Called::new(&args, output.expect("testbed starts")).ok();
    // What a test has started ends by itself once the test's process has.
    until("nothing is left", || local.left_but(&[]).is_empty().then_some(()));
    called
}

fn link(to: impl AsRef<Path>) -> impl FnOnce(&Path) {
    move |folder| {
        let name = to.as_ref().file_name().expect("a name");
        std::os::unix::fs::symlink(&to, folder.join(name)).expect("a link");
    }
}

#[test]
fn pytest() {
    if is_without_packages("clients-python", "xdist") {
        return;
    }
    let folder = Folder::local()
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", packages("clients-python").display().to_string());
    let base = format!("--basetemp={}", folder.path().join("base").display());
    let command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", &base];
    let called = suite(folder, "pytest", |_| {}, &command);
    assert!(called.stdout.contains("30 passed"), "{}", called.transcript());
}

#[test]
fn node() {
    if is_without_packages("clients-node", "node_modules") {
        return;
    }
    let folder = Folder::local().env("npm_config_update_notifier", "false");
    let command = ["node", "--test", "--test-reporter=tap", "test/"];
    let called = suite(folder, "node", link(packages("clients-node").join("node_modules")), &command);
    assert!(called.stdout.contains("# pass 16\n# fail 0"), "{}", called.transcript());
}

#[test]
fn go() {
    if is_missing("Go", Command::new("go").arg("version")) {
        return;
    }
    let called = suite(of_go(Folder::local()), "go", |_| {}, &["go", "test", "-v", "./..."]);
    // Each of the tests, and the example.
    let passed = called.stdout.lines().filter(|line| line.starts_with("--- PASS: ")).count();
    assert_eq!(passed, 13, "{}", called.transcript());
}

#[test]
fn ruby() {
    let proof = ["-e", "['minitest', 'pg'].each { |name| gem name }"];
    if is_missing("Minitest or pg", Command::new("/usr/bin/ruby").args(proof)) {
        return;
    }
    let called = suite(Folder::local(), "ruby", |_| {}, &["/usr/bin/ruby", "test/client_test.rb"]);
    assert!(called.stdout.contains("13 runs, "), "{}", called.transcript());
    assert!(called.stdout.contains(" 0 failures, 0 errors"), "{}", called.transcript());
}

#[test]
fn rust() {
    if is_without_packages("clients-rust", "debug") {
        return;
    }
    // Cargo's own folders are below the home of whoever calls the tests.
    let home = std::env::var("HOME").expect("a HOME");
    let at = |name: &str, part: &str| std::env::var(name).unwrap_or_else(|_| format!("{home}/{part}"));
    let folder = Folder::local()
        .env("CARGO_HOME", at("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", at("RUSTUP_HOME", ".rustup"))
        .env("CARGO_TARGET_DIR", packages("clients-rust").display().to_string());
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let called = suite(folder, "rust", |_| {}, &[&cargo, "test", "--locked", "--offline"]);
    assert!(called.stdout.contains("9 passed; 0 failed; 4 ignored"), "{}", called.transcript());
}

#[test]
fn junit() {
    if is_without_packages("clients-junit", "pom.xml") {
        return;
    }
    let called = suite(
        of_java(Folder::local()),
        "junit",
        |_| {},
        &maven("clients-junit").each_ref().map(String::as_str),
    );
    assert!(
        called.stdout.contains("Tests run: 14, Failures: 0, Errors: 0, Skipped: 0"),
        "{}",
        called.transcript()
    );
}
