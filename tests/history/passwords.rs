//! Passwords that are not in the URL: from the environment, or from a file that nobody else may read.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::block_on;
use crate::server::Server;
use crate::together::process;

/// Whether a process that is set up so can write to the store. What it says never holds the password.
fn can_write(server: &Server, set_up: impl FnOnce(&mut Command) -> &mut Command) -> bool {
    let mut command = process(&server.place_as(&server.user, "", "history", ""), "p");
    for name in ["PGPASSWORD", "PGPASSFILE", "PGUSER", "PGSSLMODE", "PGSSLROOTCERT"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").stderr(std::process::Stdio::piped());
    set_up(&mut command);
    let mut child = command.spawn().expect("a process");
    child.stdin.take().expect("a pipe").write_all(b"go\n").expect("it waits");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains(&server.password), "{said}");
    assert!(output.status.success() || said.contains("password missing"), "{said}");
    output.status.success()
}

#[test]
fn from_the_environment_and_from_a_file() {
    let server = Server::up();
    block_on(server.database("history"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".pgpass");
    std::fs::write(&file, format!("127.0.0.1:{}:history:{}:{}\n", server.port, server.user, server.password))
        .unwrap();
    let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o600);
    assert!(!can_write(&server, |command| command));
    assert!(can_write(&server, |command| command.env("PGPASSWORD", &server.password)));
    assert!(can_write(&server, |command| command.env("PGPASSFILE", &file)));
    assert!(can_write(&server, |command| command.env("HOME", folder.path())));
    mode(0o640);
    assert!(!can_write(&server, |command| command.env("PGPASSFILE", &file)));
}
