//! What has no end, is no file, or stands for far more than it is: one error each, soon, and in little
//! memory.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Called, Folder, binary};

/// How long each may take.
const SOON: Duration = Duration::from_secs(8);

/// What the program and its processes may have, in KiB of addresses: enough for itself and the 256 MiB of its
/// work.
const MEMORY: &str = "524288";

/// Calls the program with a limit on its memory.
fn call(folder: &Folder, args: &[&str]) -> Called {
    let inner = folder.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\""), binary()]).args(inner.get_args());
    command.current_dir(folder.path()).env_clear().stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let began = Instant::now();
    let output: Output = command.output().unwrap();
    assert!(began.elapsed() < SOON, "{args:?} took {:?}", began.elapsed());
    assert_eq!(output.status.signal(), None, "{args:?}");
    Called::new(args, output)
}

fn fifo(folder: &Folder, name: &str) {
    assert!(Command::new("mkfifo").arg(folder.path().join(name)).status().unwrap().success());
}

#[test]
fn what_is_no_file_is_refused_by_its_name() {
    let folder = Folder::new();
    fifo(&folder, "fifo.yaml");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for (name, kind) in [("fifo.yaml", "a pipe"), ("/dev/zero", "a device")] {
        let refused =
            |args: &[&str]| call(&folder, args).fails(2).says(&format!("{name}: it is {kind}, and no file"));
        refused(&["render", name]);
        refused(&["render", "--with", "postgres", "--settings", name]);
        refused(&["wait", "postgres://u@127.0.0.1:1/d", "--password-file", name, "--timeout", "1s"]);
        refused(&["up", "--with", "sqlite", "--format", &format!("tera:{name}")]);
        call(&folder, &["status", "--kubeconfig", name]).says(&format!("it is {kind}, and no file"));
        call(&folder, &["history", "list", "--history", &format!("sqlite:{name}")])
            .fails(1)
            .says(&format!("it is {kind}, and no file"));
    }
    call(&folder, &["up", "--with", "sqlite", "--format", "tera:folder"])
        .fails(2)
        .says("it is a folder, and no file");
}

#[test]
fn what_a_compose_file_names_may_be_anything() {
    let folder = Folder::new();
    fifo(&folder, "fifo");
    let service = "image: postgres:17\n    env_file: [/dev/zero, fifo, none.env]\n";
    folder.file("compose.yaml", &format!("services:\n  db:\n    {service}"));
    let called = call(&folder, &["init", "--print"]).ok();
    called
        .says("warning: reading /dev/zero: it is not in the project")
        .says("warning: reading fifo: it is a pipe, and no file");
}

#[test]
fn a_compose_file_that_is_no_file_is_named() {
    let folder = Folder::new();
    fifo(&folder, "compose.yaml");
    call(&folder, &["init", "--print", "--with", "postgres"])
        .ok()
        .says("compose.yaml: it is a pipe, and no file");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = Folder::new();
    folder.file("large.yaml", &"# nothing\n".repeat(500_000));
    call(&folder, &["render", "large.yaml"]).fails(2).says("large.yaml: it has more than 4 MiB");
    call(&folder, &["render", "--with", "postgres", "--settings", "large.yaml"])
        .fails(2)
        .says("it has more than 4 MiB");
}

#[test]
fn a_template_that_grows_or_never_ends_is_ended() {
    let folder = Folder::new();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
    let loops = |body: &str, times: usize| {
        format!("{}{body}{}", "{% for i in range(end=100000) %}".repeat(times), "{% endfor %}".repeat(times))
    };
    for (name, text, parts) in [
        (
            "doubling",
            format!("{{% set x = 'xxxxxxxx' %}}{}", "{% set x = x ~ x %}".repeat(60)),
            &["memory"][..],
        ),
        ("endless", loops("", 4), &["seconds", "never ends"]),
        ("long", loops("xxxxxxxxxx", 2), &["16 MiB"]),
        (
            "filters",
            format!(
                "{{% set x = 'aaaaaaaaaa' %}}{{{{ x{} }}}}",
                " | replace(from='a', to='aaaaaaaaaa')".repeat(12)
            ),
            &["memory", "16 MiB"],
        ),
        ("recursive", "{% component a() %}{{ <a/> }}{% endcomponent a %}{{ <a/> }}".to_owned(), &["m.yaml"]),
        ("itself", "{% include 'm.yaml' %}".to_owned(), &["m.yaml"]),
    ] {
        folder.file("m.yaml", &format!("{pod}# {text}\n"));
        let called = call(&folder, &["render", "m.yaml"]).fails(2);
        assert!(
            parts.iter().any(|part| called.stderr.contains(part)) && called.stderr.len() < 1000,
            "{name}: {}",
            called.transcript()
        );
    }
}

#[test]
fn a_template_with_loops_is_rendered() {
    let folder = Folder::new();
    folder.file(
        "m.yaml",
        "{% for i in range(end=2) %}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'a{{ i }}-{{ params.x }}'}\n{% endfor %}",
    );
    let called = call(&folder, &["render", "m.yaml", "--param", "x=1"]).ok();
    assert!(
        called.stdout.contains("name: a0-1") && called.stdout.contains("name: a1-1"),
        "{}",
        called.transcript()
    );
    folder.file("m.yaml", "a: 1\n{% for i in range(end=2) %}\n{{ params.y }}\n{% endfor %}");
    call(&folder, &["render", "m.yaml"])
        .fails(2)
        .says("m.yaml:3: params.y is not defined; pass --param y=VALUE");
}
