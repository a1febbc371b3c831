//! `tests/install`, which looks for Rust before it installs anything.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::Folder;
use crate::support::pages::root;

fn program(path: &Path, says: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, format!("#!/bin/sh\necho '{says}'\n")).expect("a program");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a program");
}

/// Calls it where the first cargo is too old, and nothing can be downloaded.
fn install(folder: &Folder) -> Output {
    let at = |name: &str| folder.path().join(name);
    program(&at("old/cargo"), "cargo 1.50.0 (0000 2021-01-01)");
    let path = format!("{}:/usr/bin:/bin", at("old").display());
    let nowhere = "http://127.0.0.1:9";
    let mut command = Command::new(root().join("tests/install"));
    command.arg("build").env_clear().env("PATH", path).env("HOME", folder.path());
    command.env("CARGO_TARGET_DIR", at("target")).envs([("https_proxy", nowhere), ("http_proxy", nowhere)]);
    command.output().expect("bash")
}

#[test]
fn a_toolchain_that_is_there_is_used_and_none_is_told_first() {
    let folder = Folder::new();
    let none = install(&folder);
    let said = String::from_utf8_lossy(&none.stderr);
    let first = said.lines().find(|line| line.starts_with("install: ")).unwrap_or_default();
    assert!(
        none.status.code() == Some(1)
            && first.starts_with("install: error: the project needs Rust ")
            && first.contains(
                ", and cargo is 1.50.0; there is none on this machine, and it cannot be downloaded"
            ),
        "{said}"
    );

    let toolchain = folder.path().join(".rustup/toolchains/newer/bin");
    program(&toolchain.join("cargo"), "cargo 1.999.0 (0000 2026-01-01)");
    program(&toolchain.join("rustc"), "rustc 1.999.0");
    let found = install(&folder);
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success() && said.contains("this one is taken: "), "{said}");
    let link = std::fs::read_link(folder.path().join("target/toolchain")).expect("a link");
    assert_eq!(link, toolchain);
}
