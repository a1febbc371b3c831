//! `testbed init`: what it finds, what it writes, and what it keeps to itself.

use crate::support::Folder;

const COMPOSE: &str = "\
services:
  app:
    build: .
    environment: {POSTGRES_PASSWORD: hush-app}
  db:
    image: postgres:${PG:-16}
    environment:
      POSTGRES_USER: striv
      POSTGRES_PASSWORD: hush-compose
    volumes: ['./init:/docker-entrypoint-initdb.d']
    ports: ['5433:5432']
  legacy:
    image: mysql:5.6
    env_file: legacy.env
";

const WORKFLOW: &str = "\
on: push
jobs:
  test:
    services:
      postgres:
        image: postgres:17
        env: {POSTGRES_USER: striv, POSTGRES_PASSWORD: hush-workflow}
";

const CONFIG: &str = r#"[
  ["sqlite", {"database": ":memory:"}],
  ["mysql", {"user": "root", "password": "hush-config", "host": "h", "database": "striv_test"}]
]"#;

fn project() -> Folder {
    let folder = Folder::new();
    folder.file("docker-compose.yml", COMPOSE);
    folder.file(".env", "PG=17\n");
    folder.file("legacy.env", "MYSQL_ROOT_PASSWORD=hush-env\nMYSQL_DATABASE=striv_test\n");
    std::fs::create_dir_all(folder.path().join(".github/workflows")).unwrap();
    folder.file(".github/workflows/ci.yml", WORKFLOW);
    folder.file("testing-databases.json", CONFIG);
    folder
}

#[test]
fn a_projects_databases_are_found_merged_and_written() {
    let folder = project();
    let called = folder.call(&["init"]).ok().keeps("hush");
    assert_eq!(called.stdout, "testbed.yaml\n");
    let written = folder.read("testbed.yaml");
    insta::assert_snapshot!("init", written);
    assert!(!written.contains("hush"));
    let called = called
        .says("db: postgres:17, user \"striv\", database \"striv\"")
        .says("  docker-compose.yml:5: service db");
    let called = called
        .says("  .github/workflows/ci.yml:5: job test, service postgres")
        .says("  testing-databases.json: entry 2");
    let _ = called.says("next: testbed run -- your test command");
}

#[test]
fn what_is_written_can_be_used_at_once() {
    let folder = project();
    let _ = folder.call(&["init"]).ok();
    std::fs::create_dir(folder.path().join("init")).unwrap();
    folder.file("init/schema.sql", "SELECT 1;\n");
    let rendered = folder.call(&["render", "--run-id", "run-1"]).ok();
    assert!(rendered.stderr.is_empty(), "{}", rendered.transcript());
    for part in
        ["image: postgres:17", "image: mysql:5.6", "name: legacy-run-1", "value: striv_test", "value: striv"]
    {
        assert!(rendered.stdout.contains(part), "{part} is not in {}", rendered.stdout);
    }
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let folder = project();
    for name in ["testbed.yaml", "testbed.yml"] {
        folder.file(name, "# mine\n");
        let refused = folder.call(&["init"]).fails(2).keeps("hush");
        let _ = refused
            .says(&format!("{name} is there already"))
            .says("This would have been written:")
            .says("    use: postgres:17");
        assert_eq!(folder.read(name), "# mine\n");
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    folder.file("other", "# mine\n");
    folder.call(&["init", "--output", "other"]).fails(2).says("other is there already");
}

#[test]
fn printing_writes_nothing() {
    let folder = project();
    let printed = folder.call(&["init", "--print"]).ok().keeps("hush").stdout;
    assert!(printed.contains("use: postgres:17"));
    assert_eq!(folder.call(&["init", "--output", "-"]).ok().stdout, printed);
    assert!(!folder.has("testbed.yaml"));
}

#[test]
fn nothing_found_is_a_failure_with_advice() {
    let folder = Folder::new();
    folder.file("compose.yaml", "services: {cache: {image: redis}}\n");
    folder
        .call(&["init"])
        .fails(1)
        .says("no database was found")
        .says("hint: say what the tests need: testbed init --with postgres:17");
    assert!(!folder.has("testbed.yaml"));
    folder.call(&["init", "nowhere"]).fails(2).says("nowhere is no folder");
    folder.call(&["init", "--with", "oracle"]).fails(2).says("--with oracle");
}

#[test]
fn databases_can_be_asked_for_and_another_folder_be_meant() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("project")).unwrap();
    let called = folder
        .call(&["init", "project", "--with", "postgres:17@5433=orders,sqlite", "--with", "postgres"])
        .ok();
    assert_eq!(called.stdout, "project/testbed.yaml\n");
    let text = folder.read("project/testbed.yaml");
    assert!(
        text.contains("  orders:\n    use: postgres:17\n    port: 5433\n")
            && text.contains("  sqlite: sqlite\n")
            && text.contains("  postgres-1: postgres\n"),
        "{text}"
    );
    let _ = folder.call(&["render", "--settings", "project/testbed.yaml"]).ok();
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_others_count() {
    let folder = project();
    folder.file("docker-compose.yml", "services: [\n");
    folder
        .call(&["init", "--print"])
        .ok()
        .says("warning: docker-compose.yml:2: not valid YAML")
        .says("postgres: postgres:17");
}

/// Passwords are in the config file: nobody should commit it.
#[test]
fn a_config_file_that_git_would_take_in_is_told_of() {
    let folder = Folder::new();
    let init = |args: &[&str]| {
        let _ = std::fs::remove_file(folder.path().join("a b/testbed.yaml"));
        folder.call(&[&["init", "a b", "--with", "postgres"], args].concat()).ok()
    };
    std::fs::create_dir(folder.path().join("a b")).unwrap();
    let _ = init(&[]).keeps("git does not ignore");
    let git = std::process::Command::new("git").args(["init", "--quiet"]).current_dir(folder.path()).status();
    assert!(git.expect("git").success());
    let _ = init(&["--print"]).keeps("git does not ignore");
    let _ =
        init(&[]).says("git does not ignore testing-databases.json").says("add that line to a b/.gitignore");
    folder.file("a b/.gitignore", "testing-databases.json\n");
    let _ = init(&[]).keeps("git does not ignore");
}
