//! What an image is told about the commit that it is built from.

use std::path::Path;
use std::process::Command;

use crate::support::Folder;
use crate::unpacked::{PROJECT, text};

/// A checkout with the script and what it reads.
fn checkout() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("image")).unwrap();
    for name in ["image/arguments", "Cargo.toml"] {
        std::fs::copy(Path::new(PROJECT).join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn command(folder: &Folder, program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").expect("PATH");
    command.current_dir(folder.path()).env_clear().env("PATH", path).env("HOME", folder.path());
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "n")
            .env(format!("GIT_{who}_EMAIL"), "e@example")
            .env(format!("GIT_{who}_DATE"), "@1700000000 +0100");
    }
    command
}

fn arguments(folder: &Folder) -> Vec<String> {
    text(&mut command(folder, "image/arguments")).lines().map(Into::into).collect()
}

const VERSION: &str = concat!("VERSION=", env!("CARGO_PKG_VERSION"));

#[test]
fn a_commit_tells_its_hash_and_its_time_and_changes_are_told_too() {
    let folder = checkout();
    let git = |args: &[&str]| text(command(&folder, "git").args(args));
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "first"]);
    let revision = format!("REVISION={}", git(&["rev-parse", "HEAD"]).trim());
    assert_eq!(arguments(&folder), [VERSION, &revision, "CREATED=2023-11-14T22:13:20Z"]);

    folder.file("new.rs", "");
    assert_eq!(arguments(&folder), [VERSION, &format!("{revision}-dirty"), "CREATED=2023-11-14T22:13:20Z"]);
    let words = text(command(&folder, "image/arguments").arg("--build-arg"));
    assert!(words.starts_with(&format!("--build-arg {VERSION}\n--build-arg REVISION=")), "{words}");
}

#[test]
fn without_git_the_environment_may_tell_the_time() {
    let folder = checkout();
    assert_eq!(arguments(&folder), [VERSION, "REVISION=unknown", "CREATED=1970-01-01T00:00:00Z"]);
    let told = text(command(&folder, "image/arguments").env("SOURCE_DATE_EPOCH", "1700000000"));
    assert!(told.ends_with("CREATED=2023-11-14T22:13:20Z\n"), "{told}");
}
