//! `testbed render`, `--help` and completions.

use crate::support::Folder;

/// The text with the run's end, which is another one each time, taken out.
fn timeless(text: &str) -> String {
    let line = |line: &str| match line.split_once("testbed/expires: ") {
        Some((indent, _)) => format!("{indent}testbed/expires: (in two hours)\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_manifest_is_printed_with_the_runs_labels() {
    let folder = Folder::new();
    let manifest = include_str!("../kubernetes/manifests/striv.yaml");
    folder.file("striv.yaml", manifest);
    let rendered = folder.call(&["render", "striv.yaml", "--run-id", "run-1"]).ok();
    assert!(rendered.stderr.is_empty(), "{}", rendered.transcript());
    insta::assert_snapshot!("striv", timeless(&rendered.stdout));
}

#[test]
fn built_in_databases_are_printed() {
    for engine in ["mysql", "mariadb", "postgres"] {
        let with = format!("{engine}=orders");
        let args = ["render", "--with", &with, "--run-id", "run-1", "--param", "password=fixed", "--param", "user=app"];
        let rendered = Folder::new().call(&args).ok();
        insta::assert_snapshot!(format!("with-{engine}"), timeless(&rendered.stdout));
    }
}

#[test]
fn a_rendered_manifest_can_be_rendered_again() {
    let folder = Folder::new();
    let first = folder.call(&["render", "--with", "postgres", "--run-id", "run-1"]).ok();
    let second = folder.call_with_input(&["render", "-", "--run-id", "run-1", "-o", "json"], &first.stdout).ok();
    let list: serde_json::Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
}

#[test]
fn a_template_is_the_start_of_a_manifest_of_ones_own() {
    let folder = Folder::new();
    let template = folder.call(&["render", "--template", "--with", "postgres=orders", "--with", "mysql", "--param", "user=app"]).ok();
    insta::assert_snapshot!("template", template.stdout);
    folder.file("databases.yaml", &template.stdout);
    let rendered = folder.call(&["render", "databases.yaml", "--run-id", "run-1"]).ok();
    assert!(rendered.stderr.is_empty(), "{}", rendered.transcript());
    assert_eq!(rendered.stdout.matches("name: orders-run-1").count(), 4);
    folder.call(&["render", "--template", "databases.yaml"]).fails(2).says("--template prints built-in databases");
}

#[test]
fn two_passwords_are_never_the_same() {
    let folder = Folder::new();
    let render = || folder.call(&["render", "--with", "postgres", "--run-id", "run-1"]).ok().stdout;
    let password = |text: &str| text.lines().find(|line| line.trim().starts_with("password:")).unwrap().to_owned();
    assert_ne!(password(&render()), password(&render()));
}

#[test]
fn a_folder_of_manifests_is_read_in_order_of_names() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("manifests")).unwrap();
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}-run-1}}\n");
    folder.file("manifests/b.yml", &map("b"));
    folder.file("manifests/a.yaml", &map("a"));
    folder.file("manifests/notes.txt", "not yaml: [");
    let rendered = folder.call(&["render", "-f", "manifests", "--run-id", "run-1"]).ok();
    let names: Vec<_> = rendered.stdout.lines().filter(|line| line.starts_with("  name:")).collect();
    assert_eq!(names, ["  name: a-run-1", "  name: b-run-1"]);
}

#[test]
fn names_without_the_run_id_are_warned_about() {
    let folder = Folder::new();
    folder.file("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\n");
    folder.call(&["render", "m.yaml", "--run-id", "run-1"]).ok().says("warning: m.yaml: document 1 (line 1): the name of ConfigMap shared");
}

#[test]
fn misspelt_parameters_of_built_in_databases_are_warned_about() {
    Folder::new()
        .call(&["render", "--with", "mysql", "--param", "memry=1Gi"])
        .ok()
        .says("warning: no built-in database takes the parameter memry");
}

#[test]
fn every_command_has_help_with_examples() {
    for command in ["up", "down", "render", "status", "init", "completions"] {
        let help = Folder::new().call(&[command, "--help"]).ok();
        assert!(help.stdout.contains("Examples:"), "{}", help.transcript());
    }
    assert!(Folder::new().call(&["--help"]).ok().stdout.contains("Exit codes:"));
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(Folder::new().call(&["completions", shell]).ok().stdout.contains("testbed"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new();
    let script = format!("set -o pipefail; {} completions bash | true", crate::support::binary());
    for _ in 0..5 {
        let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn every_setting_can_come_from_the_environment() {
    let folder = Folder::new()
        .env("TESTBED_WITH", "postgres,mysql=orders")
        .env("TESTBED_PARAM", "memory=1Gi\norders.database=a,b")
        .env("TESTBED_RUN_ID", "1234567890")
        .env("TESTBED_NAMESPACE", "")
        .env("TESTBED_QUIET", "1")
        .env("TESTBED_VERBOSE", "");
    let rendered = folder.call(&["render"]).ok();
    assert_eq!(rendered.stdout.matches("memory: 1Gi").count(), 2);
    assert!(rendered.stdout.contains("value: a,b") && rendered.stdout.contains("name: orders-1234567890"), "{}", rendered.transcript());
    assert!(rendered.stdout.contains("test-dependencies: '1234567890'"), "{}", rendered.transcript());
}
