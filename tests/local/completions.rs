//! What real shells offer with a press of the Tab key.

use std::time::{Duration, Instant};

use crate::harness::Local;
use crate::support::screen::Screen;
use crate::support::{Folder, binary};

/// A shell that has taken testbed's script, in a folder with a run.
fn shell<'a>(local: &'a Local, name: &str) -> Screen<'a> {
    let start = match name {
        "bash" => "exec bash --norc --noprofile -i",
        "zsh" => "exec zsh -f -i",
        _ => "exec fish --no-config -i",
    };
    let folder = std::path::Path::new(binary()).parent().expect("a folder").display();
    let take = match name {
        "bash" => "PS1='ready> '; source <(testbed completions bash); clear",
        "zsh" => {
            "PS1='ready> '; autoload -U compinit; compinit -u -D; source <(testbed completions zsh); clear"
        }
        _ => "function fish_prompt; echo 'ready> '; end; testbed completions fish | source; clear",
    };
    let screen = Screen::running(local, 120, &format!("PATH={folder}:$PATH; {start}"));
    screen.until(|shown| !shown.trim().is_empty());
    screen.type_in(&[take, "Enter"]);
    screen.until(|shown| shown.starts_with("ready>") && shown.lines().count() == 1);
    screen
}

/// Types, and presses Tab until it is shown what has to be: bash lists with the second one, or with the third where the
/// first has completed something. On a busy machine there may be no answer in time, after which it completes nothing any
/// more: then all of it is typed once more.
fn offers(screen: &Screen<'_>, line: &str, parts: &[&str]) {
    let is_shown = || {
        screen.type_in(&["Tab"]);
        screen.shows(Duration::from_millis(500), |shown| parts.iter().all(|part| shown.contains(part)))
    };
    for _ in 0..15 {
        screen.type_in(&["-l", line]);
        screen.until(|shown| shown.contains(line.trim_end()));
        if (0..3).any(|_| is_shown()) {
            break;
        }
        screen.type_in(&["C-u", "C-l"]);
        screen.until(|shown| !shown.contains(line.trim_end()));
    }
    let shown = screen.shown();
    assert!(parts.iter().all(|part| shown.contains(part)), "{parts:?} are not in\n{shown}");
    screen.type_in(&["C-u", "C-l"]);
    screen.until(|shown| !shown.contains(line.trim_end()));
}

fn all(shell_name: &str) {
    let local = Local::of(Folder::local().env("SHELL", "/bin/sh"));
    local.call(&["up", "--with", "postgres=orders", "--with", "postgres=users", "--run-id", "pr-17"]).ok();
    local.call(&["snapshot", "orders", "loaded"]).ok();
    let screen = shell(&local, shell_name);
    offers(&screen, "testbed do", &["down", "doctor"]);
    offers(&screen, "testbed down --ru", &["testbed down --run"]);
    offers(&screen, "testbed up --with post", &["postgres", "postgres:"]);
    // The part behind the colon, which bash takes for a word of its own.
    offers(&screen, "testbed up --with postgres:1", &["testbed up --with postgres:1"]);
    offers(&screen, "testbed down --run-id pr", &["--run-id pr-17"]);
    offers(&screen, "testbed history logs pr-17 ", &["orders", "users"]);
    offers(&screen, "testbed restore orders --from l", &["--from loaded"]);
    offers(&screen, "testbed snapshot rm ", &["orders=loaded"]);
    offers(&screen, "testbed lock rel", &["testbed lock release"]);
    local.file("a-file-of-ours", "");
    offers(&screen, "testbed run -- cat a-file", &["a-file-of-ours"]);
    drop(screen);
    local.call(&["down", "--run-id", "pr-17"]).ok();
    local.call(&["snapshot", "rm", "loaded"]).ok();
}

#[test]
fn bash_offers_what_is_there() {
    all("bash");
}

#[test]
fn zsh_offers_what_is_there() {
    all("zsh");
}

#[test]
fn fish_offers_what_is_there() {
    all("fish");
}

/// What is offered, asked again where a busy machine has no answer in time, or only some of it.
fn offered(folder: &Folder, words: &[&str], part: &str) -> Vec<String> {
    offered_as("values", folder, words, part)
}

fn offered_as(form: &str, folder: &Folder, words: &[&str], part: &str) -> Vec<String> {
    let once = || {
        let called = folder.call(&[&["__complete", form], words].concat()).ok();
        assert!(called.stderr.is_empty(), "{}", called.transcript());
        called.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |offered: &Vec<String>| offered.iter().any(|one| one.starts_with(part));
    (0..100).map(|_| once()).find(has).unwrap_or_else(once)
}

/// The versions are those of the servers that are installed, and behind a comma there is another database.
#[test]
fn engines_and_their_installed_versions() {
    let folder = Folder::local();
    let all = offered(&folder, &["up", "--with", ""], "postgres:");
    let versions: Vec<&String> = all.iter().filter(|one| one.starts_with("postgres:")).collect();
    assert!(all.contains(&"sqlite".to_owned()) && !versions.is_empty(), "{all:?}");
    let run = ["run", "--with", versions[0], "--strict", "--", "true"];
    folder.call(&run).ok();
    let second = "--with=mariadb,postgres".to_owned();
    assert!(offered(&folder, &["up", "--with=mariadb,postg"], &second).contains(&second));
    assert!(offered(&folder, &["up", "-"], "--with").contains(&"--with".to_owned()));
    assert_eq!(offered(&folder, &["completions", "f"], "f"), ["fish"]);
    let described = offered_as("described", &folder, &["sta"], "status");
    assert_eq!(described, ["status\tShow runs and their databases"]);
}

/// Where the variable says that it is kept.
#[test]
fn runs_of_the_past_are_those_of_the_history_that_is_named() {
    let folder = Folder::local().env("TESTBED_HISTORY", "sqlite:kept.db");
    folder.call(&["run", "--with", "sqlite", "--run-id", "kept", "--", "true"]).ok();
    let usual =
        ["run", "--with", "sqlite", "--run-id", "usual", "--history", "sqlite:other.db", "--", "true"];
    folder.call(&usual).ok();
    assert_eq!(offered(&folder, &["history", "show", ""], "kept"), ["kept"]);
    let folder = folder.env("TESTBED_HISTORY", "none");
    assert!(!offered(&folder, &["history", "show", ""], "").contains(&"kept".to_owned()));
}

/// Whatever is in the place of the state folder: nothing is said, and it does not take long.
#[test]
fn a_broken_state_folder_is_passed_over() {
    let folder = Folder::local();
    let state = folder.path().join("state/testbed");
    std::fs::create_dir_all(&state).expect("a folder");
    for (name, make) in [
        ("runs", "printf x > runs"),
        (
            "runs",
            "mkdir -p runs/a runs/b runs/c && mkfifo runs/a/run.json && echo '{' > runs/b/run.json && chmod 0 runs/c",
        ),
        ("history.db", "mkfifo history.db"),
        ("history.db", "head -c 100000 /dev/urandom > history.db"),
    ] {
        let made = std::process::Command::new("sh").args(["-c", make]).current_dir(&state).status();
        assert!(made.expect("sh").success());
        for words in [&["down", "--run-id", ""][..], &["history", "show", ""], &["history", "logs", "x", ""]]
        {
            let start = Instant::now();
            let called = folder.call(&[&["__complete", "values"], words].concat()).ok();
            assert!(called.stderr.is_empty(), "{}", called.transcript());
            let found: Vec<&str> = called.stdout.lines().collect();
            assert!(start.elapsed() < Duration::from_secs(10), "{make}: {:?}", start.elapsed());
            assert!(found.iter().all(|one| one.starts_with('-')), "{make}: {found:?}");
        }
        let _ = std::process::Command::new("sh")
            .args(["-c", &format!("chmod -R u+rwx {name}; rm -rf {name}")])
            .current_dir(&state)
            .status();
    }
}
