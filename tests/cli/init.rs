//! `testbed init`: what it finds, what it writes, and what it keeps to itself.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_yaml::Value;

use crate::support::{Called, Folder, binary};

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
    std::fs::create_dir_all(folder.path().join("init")).unwrap();
    folder.file("init/schema.sql", "SELECT 1;\n");
    folder
}

/// Each folder of `init-corpus` is a project, and its `right.yaml` what is right for it: the `databases` of the
/// written file, further texts of it (`writes`), what is said (`says`), what in one line alone (`once`) and what
/// in none (`silent`), or the `error`.
#[test]
fn each_project_of_the_corpus_gives_what_is_right() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/init-corpus");
    let mut projects: Vec<_> =
        std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    projects.sort();
    assert!(projects.len() >= 60);
    let wrong: Vec<String> = projects
        .iter()
        .filter_map(|project| {
            let name = project.file_name().unwrap().to_string_lossy();
            wrong(project).map(|wrong| format!("{name}: {wrong}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), projects.len(), wrong.join("\n\n"));
}

/// What is wrong with what is found in a project.
fn wrong(project: &Path) -> Option<String> {
    let right: Value =
        serde_yaml::from_str(&std::fs::read_to_string(project.join("right.yaml")).unwrap()).unwrap();
    let texts = |key: &str| -> Vec<&str> {
        right
            .get(key)
            .and_then(Value::as_sequence)
            .into_iter()
            .flatten()
            .map(|text| text.as_str().unwrap())
            .collect()
    };
    let folder = Folder::new();
    copy(project, folder.path());
    let called = folder.call(&["init", "--print"]);
    let transcript = called.transcript();
    for text in [&called.stdout, &called.stderr] {
        if text.contains("hush") {
            return Some(format!("a password is shown:\n{transcript}"));
        }
    }
    if let Some(part) = texts("says").iter().find(|part| !called.stderr.contains(**part)) {
        return Some(format!("{part:?} is not said:\n{transcript}"));
    }
    let lines = |part: &str| called.stderr.lines().filter(|line| line.contains(part)).count();
    if let Some(part) = texts("once").iter().find(|part| lines(part) != 1) {
        return Some(format!("{part:?} is in {} lines:\n{transcript}", lines(part)));
    }
    if let Some(part) = texts("silent").iter().find(|part| lines(part) > 0) {
        return Some(format!("{part:?} is said:\n{transcript}"));
    }
    if let Some(error) = right.get("error").and_then(Value::as_str) {
        let is_told = called.stderr.contains(&format!("error: {error}"));
        return (!is_told).then(|| format!("no error {error:?}:\n{transcript}"));
    }
    if let Some(part) = texts("writes").iter().find(|part| !called.stdout.contains(**part)) {
        return Some(format!("{part:?} is not written:\n{transcript}"));
    }
    let written: Value = match serde_yaml::from_str(&called.stdout) {
        Ok(Value::Mapping(written)) => written.into(),
        other => return Some(format!("no file was written ({other:?}):\n{transcript}")),
    };
    let plain = |name: &Value, value: &Value| match value {
        Value::Mapping(_) => value.clone(),
        _ => Value::Mapping(
            [("use".into(), if value.is_null() { name.clone() } else { value.clone() })]
                .into_iter()
                .collect(),
        ),
    };
    let databases = |file: &Value| -> Vec<(Value, Value)> {
        let databases = file.get("databases").and_then(Value::as_mapping).cloned().unwrap_or_default();
        databases.iter().map(|(name, value)| (name.clone(), plain(name, value))).collect()
    };
    let (is, right) = (databases(&written), databases(&right));
    if is != right {
        return Some(format!("{is:?}\nis written, and right is\n{right:?}\n{transcript}"));
    }
    folder.file("testbed.yaml", &called.stdout);
    let rendered = folder.call(&["render"]);
    let is_rendered = rendered.transcript();
    (!rendered.stderr.is_empty()).then(|| format!("what is written is not taken:\n{is_rendered}"))
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else if entry.file_name() != "right.yaml" {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn nothing_outside_the_project_is_read_and_huge_files_end() {
    let folder = Folder::new();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("project/.github/workflows")).unwrap();
    folder.file("secret.env", "POSTGRES_DB=hush\nPOSTGRES_PASSWORD=hush\n");
    folder.file("secret.yaml", "services: {db: {image: 'postgres:15', environment: {POSTGRES_DB: hush}}}\n");
    folder.file("secret.sql", "SELECT 'hush';\n");
    std::os::unix::fs::symlink("../secret.env", at("project/link.env")).unwrap();
    std::os::unix::fs::symlink("../secret.yaml", at("project/compose.override.yaml")).unwrap();
    std::os::unix::fs::symlink("../../../secret.yaml", at("project/.github/workflows/a.yml")).unwrap();
    std::os::unix::fs::symlink("..", at("project/up")).unwrap();
    let service = "image: postgres:16\n    env_file: [link.env, up/secret.env, ../secret.env]\n    volumes: ['../secret.sql:/docker-entrypoint-initdb.d/a.sql']";
    folder.file(
        "project/compose.yaml",
        &format!("include: [up/secret.yaml]\nservices:\n  db:\n    {service}\n"),
    );
    let called = folder.call(&["init", "project", "--print"]).ok().keeps("hush");
    let called =
        called.says("db: postgres:16").says("reading link.env: it is a link that leads out of the project");
    let _ = called
        .says("reading compose.override.yaml: it is a link that leads out of the project")
        .says("reading .github/workflows/a.yml: it is a link that leads out of the project");

    let folder = Folder::new();
    let services: String = (0..5000).map(|n| format!("  s{n}: {{extends: s{}}}\n", n + 1)).collect();
    folder.file("compose.yaml", &format!("services:\n  db: {{image: 'postgres:16'}}\n{services}"));
    folder.file("docker-compose.yml", &"- [[[[[[[[[[[[\n".repeat(100_000));
    let jobs: String = (0..3000)
        .map(|n| format!("j{n}: {{extends: [j{}, j{}], services: [redis]}}\n", n + 1, n + 2))
        .collect();
    folder.file(".gitlab-ci.yml", &jobs);
    let values: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let values = values.join(", ");
    std::fs::create_dir_all(folder.path().join(".github/workflows")).unwrap();
    folder.file(
        ".github/workflows/a.yml",
        &format!("jobs: {{a: {{strategy: {{matrix: {{a: [{values}], b: [{values}], c: [{values}]}}}}, services: {{db: {{image: 'redis:${{{{ matrix.a }}}}'}}}}}}}}\n"),
    );
    folder.file(".env", &"A=$A$A$A$A\n".repeat(100_000));
    let began = std::time::Instant::now();
    let called = folder.call(&["init", "--print"]).ok().says("db: postgres:16").says("one after the other");
    assert!(began.elapsed().as_secs() < 60, "{}", called.transcript());
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
    let _ = init(&[]).keeps("no .gitignore has");
    let git = std::process::Command::new("git").args(["init", "--quiet"]).current_dir(folder.path()).status();
    assert!(git.expect("git").success());
    let _ = init(&["--print"]).keeps("no .gitignore has");
    let _ =
        init(&[]).says("no .gitignore has testing-databases.json").says("add that line to a b/.gitignore");
    folder.file("a b/.gitignore", "testing-databases.json\n");
    let _ = init(&[]).keeps("no .gitignore has");
}

/// A repository may be anybody's: what its settings say is done by nobody, and waited for by nobody.
#[test]
fn nothing_that_a_repository_names_is_run_or_waited_for() {
    let git = |folder: &Folder, args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.email=a", "-c", "user.name=a", "-C"]).arg(folder.path()).args(args);
        assert!(git.output().expect("git").status.success(), "git {args:?}");
    };
    let init = |folder: &Folder| {
        let mut limited = std::process::Command::new("timeout");
        let testbed = folder.command(&[]);
        limited.args(["20", binary(), "init", "--with", "postgres"]).current_dir(folder.path());
        limited.env_clear().envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Called::new(&["init"], limited.output().unwrap())
            .ok()
            .says("no .gitignore has testing-databases.json");
    };
    for setting in [None, Some("core.excludesFile"), Some("include.path")] {
        let folder = Folder::new();
        git(&folder, &["init", "--quiet"]);
        let pipe = folder.path().join(if setting.is_some() { "pipe" } else { ".gitignore" });
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        if let Some(setting) = setting {
            git(&folder, &["config", setting, pipe.to_str().unwrap()]);
        }
        init(&folder);
    }
    // What is missing of a partial clone is fetched by the program that its settings name.
    let (source, clone) = (Folder::new(), Folder::new());
    git(&source, &["init", "--quiet"]);
    source.file(".gitignore", "x\n");
    git(&source, &["add", "."]);
    git(&source, &["commit", "--quiet", "-m", "x"]);
    git(&source, &["config", "uploadpack.allowFilter", "true"]);
    let from = format!("file://{}", source.path().display());
    git(&clone, &["clone", "--quiet", "--filter=blob:none", "--no-checkout", &from, "."]);
    git(&clone, &["read-tree", "HEAD"]);
    git(&clone, &["update-index", "--skip-worktree", ".gitignore"]);
    let evil = clone.file("evil.sh", "#!/bin/sh\ntouch \"$0.ran\"\nexec git-upload-pack \"$@\"\n");
    std::fs::set_permissions(&evil, std::fs::Permissions::from_mode(0o755)).unwrap();
    git(&clone, &["config", "remote.origin.uploadpack", evil.to_str().unwrap()]);
    init(&clone);
    assert!(!clone.has("evil.sh.ran"));
}

#[test]
fn what_it_writes_is_read_again_whatever_the_names_are() {
    let long = "x".repeat(300);
    for (service, database, told) in [
        ("null", "null", None),
        ("true", "shop", None),
        ("db", "a\\e[31m", Some("the name of the database has a control character")),
        ("db", &long, Some("the name of the database has 300 characters, and mysql takes at most 64")),
    ] {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path().join(".github/workflows")).unwrap();
        let env = format!("{{MYSQL_ROOT_PASSWORD: a, MYSQL_DATABASE: \"{database}\"}}");
        let services = format!("{{\"{service}\": {{image: \"mysql:8\", env: {env}}}}}");
        folder.file(".github/workflows/a.yml", &format!("jobs: {{t: {{services: {services}}}}}\n"));
        let called = folder.call(&["init"]).ok();
        if let Some(told) = told {
            called.says(&format!("left out: .github/workflows/a.yml:1: job t, service {service}: {told}"));
        }
        folder.call(&["render"]).ok();
    }
}

#[test]
fn the_next_step_names_a_file_that_is_not_found_by_itself() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("a b")).unwrap();
    let next = |args: &[&str], typed: &str, file: &str| {
        folder
            .call(&[&["init", "--with", "postgres"], args].concat())
            .ok()
            .says(&format!("next: testbed run {typed}-- your test command\n"));
        assert!(folder.read(file).contains(&format!("# Next: testbed run {typed}-- your test command\n")));
    };
    next(&[], "", "testbed.yaml");
    next(&["--output", "x.yaml"], "--settings x.yaml ", "x.yaml");
    next(&["a b"], "--settings 'a b/testbed.yaml' ", "a b/testbed.yaml");
}

/// Quiet is for those who read what goes wrong, and nothing else.
#[test]
fn quiet_keeps_to_what_is_wrong() {
    let folder = project();
    folder.file("docker-compose.yml", &COMPOSE.replace("./init", "./nowhere"));
    let loud = folder.call(&["init", "--print"]).ok();
    let _ = loud.says("note: docker-compose.yml:5: service db: no set-up script is at nowhere");
    let quiet = folder.call(&["init", "--print", "--quiet"]).ok();
    assert_eq!(quiet.stderr, "", "{}", quiet.transcript());
    folder.file("docker-compose.yml", "services: [\n");
    let quiet = folder.call(&["init", "--print", "--quiet"]).ok();
    assert!(quiet.stderr.contains("warning: docker-compose.yml:2: not valid YAML"), "{}", quiet.transcript());
    assert_eq!(quiet.stderr.lines().count(), 1, "{}", quiet.transcript());
}

/// What the examples have is what is proposed to projects like them, beside a database that somebody asks for.
#[test]
fn migrations_are_proposed_as_a_seed() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for name in ["alembic", "knex"] {
        let folder = Folder::new();
        copy(&examples.join(name), folder.path());
        let text = std::fs::read_to_string(folder.path().join("testbed.yaml")).unwrap();
        std::fs::remove_file(folder.path().join("testbed.yaml")).unwrap();
        let right: Value = serde_yaml::from_str(&text).unwrap();
        let shown = folder.call(&["init", "--print", "--with", "postgres"]).ok().stdout;
        let (_, entry) = shown.split_once("Instead of the above:\n").expect(&shown);
        let entry: Vec<&str> = entry.lines().map_while(|line| line.strip_prefix('#')).collect();
        let taken = shown.replace("  postgres: postgres\n", &format!("{}\n", entry.join("\n")));
        let proposed: Value = serde_yaml::from_str(&taken).unwrap();
        let [proposed, right] = [&proposed, &right].map(|value| &value["databases"]["postgres"]["seed"]);
        assert_eq!(proposed, right, "{name}");
        folder.file("testbed.yaml", &taken);
        folder.call(&["render"]).ok().says(right["run"].as_str().unwrap());
        let sqlite = folder.call(&["init", "--print", "--with", "sqlite"]).ok().stdout;
        assert!(!sqlite.contains("seed"), "{sqlite}");
    }
}
