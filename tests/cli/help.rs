//! The help: short where it is asked for with `-h`, whole with `--help`, and without clusters where there is none.

use clap::{Command, CommandFactory};
use testbed::cli::Cli;

use crate::support::Folder;

/// The words of every command, those that have commands of their own included.
fn commands(command: &Command, path: &[&str], all: &mut Vec<Vec<String>>) {
    all.push(path.iter().map(ToString::to_string).collect());
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        commands(inner, &[path, &[inner.get_name()]].concat(), all);
    }
}

/// The lines of a command's examples, as they are written.
fn examples_of(path: &[&str]) -> Vec<String> {
    let all = Cli::command();
    let mut command = &all;
    for name in path {
        command = command.find_subcommand(name).expect("a command");
    }
    let help = command.get_after_help().expect("examples").to_string();
    help.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn laptop() -> Folder {
    Folder::new().env("TESTBED_RUNTIME", "").env("COLUMNS", "80")
}

fn help(folder: &Folder, args: &[&str]) -> String {
    let called = folder.call(args).ok();
    assert!(called.stderr.is_empty(), "{}", called.transcript());
    called.stdout
}

#[test]
fn every_help_fits_eighty_columns_and_the_short_one_a_screen() {
    let folder = laptop();
    let mut all = Vec::new();
    commands(&Cli::command(), &[], &mut all);
    assert!(all.len() > 15, "{all:?}");
    for path in &all {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let short = help(&folder, &[&path[..], &["-h"]].concat());
        let long = help(&folder, &[&path[..], &["--help"]].concat());
        for line in short.lines().chain(long.lines()) {
            assert!(line.chars().count() <= 80, "{path:?}: {line}");
        }
        for example in examples_of(&path) {
            assert!(short.lines().any(|line| line == example), "{path:?} breaks {example:?}\n{short}");
        }
        // The list of all commands is longer.
        let most = if path.is_empty() { 48 } else { 40 };
        assert!(short.lines().count() <= most, "{} lines\n{short}", short.lines().count());
        let at = |part: &str| short.find(part).unwrap_or(short.len());
        assert!(at("Usage:") < at("Examples:") && at("Examples:") < at("Global options:"), "{short}");
        let last = format!("testbed {} --help", path.join(" ")).replace("  ", " ");
        assert!(short.trim_end().lines().last().is_some_and(|line| line.ends_with(&last)), "{short}");
    }
}

/// Each way in which a cluster comes into play.
#[test]
fn the_flags_of_a_cluster_are_shown_where_there_is_one() {
    let folder = laptop();
    let shows = |folder: &Folder, args: &[&str]| {
        let help = help(folder, args);
        let has = ["--context", "--namespace", "--allow"].map(|flag| help.contains(flag));
        assert!(has.iter().all(|it| *it == has[0]), "{help}");
        assert_eq!(has[0], !help.contains("those for a cluster"), "{help}");
        has[0]
    };
    assert!(!shows(&folder, &["run", "-h"]));
    for args in [
        &["run", "--context", "kind", "-h"][..],
        &["run", "-h", "--kubeconfig=config"],
        &["--runtime", "kubernetes", "up", "-h"],
        &["up", "--help"],
        &["help", "up"],
    ] {
        assert!(shows(&folder, args), "{args:?}");
    }
    assert!(!shows(&folder, &["run", "-h", "--runtime", "local"]));
    assert!(!shows(&folder, &["run", "-h", "-w"]), "whatever is wrong besides");
    assert!(help(&folder, &["lock", "run", "-h"]).contains("--context"), "locks are in a cluster");
    for (name, value, is_one) in [
        ("TESTBED_RUNTIME", "kubernetes", true),
        ("TESTBED_CONTEXT", "kind", true),
        ("TESTBED_KUBECONFIG", "config", true),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1", true),
        ("KUBECONFIG", "config", false),
        ("TESTBED_CONTEXT", "", false),
    ] {
        assert_eq!(shows(&laptop().env(name, value), &["run", "-h"]), is_one, "{name}={value}");
    }
    folder.file("testbed.yaml", "with: postgres\n");
    assert!(!shows(&folder, &["run", "-h"]));
    folder.file("testbed.yaml", "with: postgres\ncontext: kind\n");
    assert!(shows(&folder, &["run", "-h"]));
    let own = folder.path().join(".config/testbed");
    std::fs::create_dir_all(&own).expect("a folder");
    folder.file("testbed.yaml", "with: postgres\n");
    folder.file(".config/testbed/testbed.yaml", "runtime: kubernetes\n");
    assert!(shows(&folder, &["run", "-h"]), "a user's own settings");
    std::fs::remove_dir_all(&own).expect("a folder");
    folder.file("testbed.yaml", "context: [\n");
    assert!(!shows(&folder, &["run", "-h"]), "a broken file is another command's to tell");
}

/// Short help tells what a variable or a rare flag would only lengthen; `--help` has all of it.
#[test]
fn long_help_has_every_flag_and_its_variable() {
    let folder = laptop();
    let long = help(&folder, &["run", "--help"]);
    let short = help(&folder, &["run", "-h"]);
    for part in ["TESTBED_WITH", "--capacity-timeout", "--results-api", "TESTBED_CONFIG (the config file)"] {
        assert!(long.contains(part) && !short.contains(part), "{part}\n{short}");
    }
    for flag in ["--with", "--keep-on-failure", "--timeout", "--output", "--run-id"] {
        assert!(long.contains(flag) && short.contains(flag), "{flag}\n{short}");
    }
    let all = folder.call(&[]);
    assert!(all.code == Some(2) && all.stderr.contains("Databases for tests:"), "{}", all.transcript());
}
