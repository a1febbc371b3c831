//! `testbed.yaml`: found, read, and put below flags and variables.

use serde_json::json;

use crate::support::Folder;

fn project(settings: &str) -> Folder {
    let folder = Folder::new();
    folder.file("testbed.yaml", settings);
    folder
}

/// A file that is refused, and what the error has to say.
fn refused(settings: &str, message: &str) {
    for command in ["up", "render"] {
        project(settings).call(&[command]).fails(2).says(&format!("error: testbed.yaml:{message}"));
    }
}

fn rendered(folder: &Folder, args: &[&str]) -> String {
    folder.call(&[&["render", "--run-id", "run-1"], args].concat()).ok().stdout
}

const STRIV: &str = "\
databases:
  orders: postgres:16
  mysql:
    use: mysql:5.7
    user: striv
    database: striv_test
params:
  memory: 1Gi
  orders: {database: shop, cpu: 50m}
";

#[test]
fn a_project_with_settings_needs_no_flags() {
    let text = rendered(&project(STRIV), &[]);
    for part in [
        "image: postgres:16",
        "value: shop",
        "cpu: 50m",
        "image: mysql:5.7",
        "value: striv_test",
        "value: striv",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(text.matches("memory: 1Gi").count(), 2, "{text}");
}

#[test]
fn a_database_says_what_the_cluster_wants_of_it() {
    let text = rendered(
        &project(
            "databases: {orders: {use: postgres, profile: restricted, pull-secret: one two}, mysql: }\n",
        ),
        &[],
    );
    assert_eq!(
        (text.matches("runAsNonRoot: true").count(), text.matches("name: two").count()),
        (1, 1),
        "{text}"
    );
    let text = rendered(
        &project("with: [postgres, mysql]\nparams: {profile: openshift, mysql: {profile: ''}}\n"),
        &[],
    );
    assert_eq!(
        (text.matches("runAsNonRoot: true").count(), text.contains("runAsUser")),
        (1, false),
        "{text}"
    );
}

#[test]
fn databases_of_the_command_line_are_instead_of_the_files() {
    let folder = project(STRIV);
    let text = rendered(&folder, &["--with", "mariadb"]);
    assert!(
        text.contains("image: mariadb") && !text.contains("postgres:16") && !text.contains("striv"),
        "{text}"
    );
    assert!(text.contains("memory: 1Gi"), "{text}");
    folder.file("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m-run-1}\n");
    for args in [&["m.yaml"][..], &["-f", "m.yaml"]] {
        assert!(!rendered(&folder, args).contains("kind: Pod"));
    }
    let folder = folder.env("TESTBED_WITH", "mariadb");
    assert!(!rendered(&folder, &[]).contains("mysql:5.7"));
    let folder = folder.env("TESTBED_WITH", "");
    assert!(rendered(&folder, &[]).contains("mysql:5.7"), "an empty variable says nothing");
}

#[test]
fn parameters_merge_by_name() {
    let folder = project("with: postgres\nparams: {user: file, database: file, cpu: 1.10}\n")
        .env("TESTBED_PARAM", "user=variable\ndatabase=variable\nmemory=7Gi");
    let text = rendered(&folder, &["--param", "user=flag"]);
    for part in ["value: flag", "value: variable", "memory: 7Gi", "cpu: \"1.10\""] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("value: file"), "{text}");
}

#[test]
fn flag_wins_over_variable_over_file_over_default() {
    let folder = project("with: [postgres]\noutput: from/file.json\n");
    let up = |folder: &Folder, args: &[&str]| {
        folder.call(&[&["up", "--run-id", "run-1"], args].concat()).fails(2).stderr
    };
    assert!(up(&folder, &[]).contains("--output from/file.json: the folder from does not exist"));
    assert!(up(&folder, &["--output", "a/flag.json"]).contains("--output a/flag.json"));
    let folder = folder.env("TESTBED_OUTPUT", "a/variable.json");
    assert!(up(&folder, &[]).contains("--output a/variable.json"));
    assert!(up(&folder, &["--output", "a/flag.json"]).contains("--output a/flag.json"));
    let settings_without = folder.file("other.yaml", "with: postgres\n");
    let plain = Folder::new();
    assert!(up(&plain, &["--settings", settings_without.to_str().unwrap()]).contains("no cluster is named"));
}

#[test]
fn render_keeps_its_own_output() {
    assert!(rendered(&project("with: postgres\noutput: x.json\n"), &[]).starts_with("apiVersion"));
}

#[test]
fn the_namespace_of_the_file_is_below_flag_and_variable() {
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-run-1, namespace: here}\n";
    let folder = project("manifest: m.yaml\nnamespace: there\n");
    folder.file("m.yaml", manifest);
    folder.call(&["render", "--run-id", "run-1"]).fails(2).says("there");
    folder.call(&["render", "--run-id", "run-1", "-n", "here"]).ok();
    folder.call(&["-n", "here", "render", "--run-id", "run-1"]).ok();
    let folder = folder.env("TESTBED_NAMESPACE", "");
    folder.call(&["render", "--run-id", "run-1"]).fails(2).says("there");
    let folder = folder.env("TESTBED_NAMESPACE", "here");
    folder.call(&["render", "--run-id", "run-1"]).ok();
}

#[test]
fn the_nearest_file_counts_and_its_paths_are_seen_from_its_folder() {
    let folder = project("manifest: [m.yaml]\n");
    folder.file("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: outer-run-1}\n");
    std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
    let render = || {
        let mut command = folder.command(&["render", "--run-id", "run-1", "-v"]);
        command.current_dir(folder.path().join("a/b")).output().unwrap()
    };
    let output = render();
    assert!(String::from_utf8_lossy(&output.stdout).contains("outer-run-1"), "{output:?}");
    let used =
        format!("settings from {}", folder.path().canonicalize().unwrap().join("testbed.yaml").display());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&used), "{output:?}");
    std::fs::create_dir(folder.path().join("a/.git")).unwrap();
    let output = render();
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing to create"), "{output:?}");
}

#[test]
fn a_file_can_be_named_or_switched_off() {
    let folder = project("with: postgres\n");
    folder.file("other.yaml", "with: mysql\n");
    assert!(rendered(&folder, &["--settings", "other.yaml"]).contains("image: mysql"));
    folder
        .call(&["render", "--settings", "none"])
        .fails(2)
        .says("nothing to create")
        .says("hint: testbed init");
    folder
        .call(&["render", "--settings", "missing.yaml"])
        .fails(2)
        .says("--settings missing.yaml is no file");
    let folder = folder.env("TESTBED_SETTINGS", "other.yaml");
    assert!(rendered(&folder, &[]).contains("image: mysql"));
    let folder = project("").env("TESTBED_SETTINGS", "");
    folder.file("testbed.yml", "");
    folder.call(&["render"]).fails(2).says("both testbed.yaml and testbed.yml are here");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    refused("timeout: ''\n", "1: timeout is empty; write a text");
    refused("# a comment\n\ndatabses: {}\n", "3: unknown key \"databses\"; did you mean \"databases\"?");
    refused("pull_timeout: 1m\n", "1: unknown key \"pull_timeout\"; did you mean \"pull-timeout\"?");
    refused("xyz: 1\n", "1: unknown key \"xyz\"; known are databases, ");
    refused("with: mysql\n\nwith: mysql\n", "3: the key \"with\" stands twice, first in line 1");
    refused("with: [\n  mysql,\n  oracle]\n", "3: with: oracle: \"oracle\" is no engine");
    refused("timeout: soon\n", "1: timeout: \"soon\" does not fit: ");
    refused("timeout: [5m]\n", "1: timeout is a list; write a text");
    refused("timeout:\n", "1: timeout is empty");
    refused("mode: 999\n", "1: mode: \"999\" does not fit: write permissions in octal");
    refused(
        "image-prefix: https://r.example\n",
        "1: image-prefix: \"https://r.example\" does not fit: the names of images have no scheme",
    );
    refused("settle: maybe\n", "1: settle: \"maybe\" does not fit: ");
    refused("on-failure: explode\n", "1: on-failure: \"explode\" does not fit: write keep or delete");
    refused("- with\n", "1: this is a list; write keys with values");
    refused("with: {a: b}\n", "1: with has a mapping in it");
    refused("a: 1\n b: 2\n", "2: not valid YAML: ");
}

#[test]
fn a_database_that_is_wrong_is_named_with_its_line() {
    let wrong = |database: &str, message: &str| refused(&format!("databases:\n  {database}\n"), message);
    wrong("orders: oracle:1", "2: databases.orders: \"oracle\" is no engine");
    wrong("orders:", "2: databases.orders: which engine? write use: postgres:17");
    wrong(
        "orders: {use: postgres, uzer: x}",
        "2: databases.orders: unknown key \"uzer\"; did you mean \"user\"?",
    );
    wrong("orders: {use: postgres, cpu: [1]}", "2: databases.orders: cpu is a list");
    wrong(
        "orders: {use: postgres, profile: root}",
        "2: databases.orders: profile: \"root\" is no profile; known are restricted, openshift",
    );
    wrong(
        "orders: {use: postgres, pull_secret: a}",
        "2: databases.orders: unknown key \"pull_secret\"; did you mean \"pull-secret\"?",
    );
    wrong("orders: [postgres]", "2: databases.orders: a list");
    wrong("orders: postgres=x", "2: databases.orders: \"postgres=x\" names a database");
    wrong("Orders: postgres", "2: databases.Orders: the name \"Orders\" needs lower-case letters");
    wrong("sqlite: {memory: 1Gi}", "2: databases.sqlite: sqlite needs no server and takes no memory");
    wrong("mysql: {user: root}", "2: databases.mysql: user: root exists anyway");
    wrong("mysql: {user: app}\n  other: mysql", "2: databases.mysql: mysql is an engine's name");
    refused("databases: [postgres]\n", "1: databases is a list; write NAME: ENGINE[:TAG]");
}

#[test]
fn params_and_connargs_that_are_wrong_are_named_without_their_values() {
    refused("params: {a b: 1}\n", "1: params: \"a b\": a name has letters");
    refused("params:\n  a: [hush]\n", "2: params.a is a list; write a text");
    refused("params:\n  a.b: hush\n  a: {b: hush}\n", "3: params: a.b stands twice");
    refused("params: x\n", "1: params is a text; write NAME: VALUE");
    refused("connargs: [x]\n", "1: connargs is a list; write KEY: VALUE");
    refused("connargs: {a=b: 1}\n", "1: connargs: \"a=b\" is no KEY or DATABASE.KEY");
    for settings in
        ["params:\n  a: [hush]\n", "params: {password: hush, a: [x]}\n", "params: {password: \"hush}\n"]
    {
        let _ = project(settings).call(&["up"]).fails(2).keeps("hush");
    }
    project("with: mysql\nconnargs: {pg: {x: 1}}\n").call(&["up"]).fails(2).says("it has: mysql");
}

#[test]
fn a_home_that_is_no_folder_has_no_settings() {
    let folder = Folder::new().env("HOME", "/dev/null");
    folder.call(&["render", "--with", "postgres", "--run-id", "r"]).ok();
}

#[test]
fn a_broken_file_stops_no_teardown() {
    let folder = project("nonsense: [");
    folder.call(&["up"]).fails(2).says("error: testbed.yaml:");
    let down = ["down", "--run-id", "run-1"];
    folder
        .call(&down)
        .fails(2)
        .says("warning: going on without the project's settings: testbed.yaml:")
        .says("no cluster is named");
    let folder = Folder::new().env("TESTBED_SETTINGS", "missing.yaml");
    folder
        .call(&down)
        .fails(2)
        .says("going on without the project's settings: --settings missing.yaml")
        .says("no cluster is named");
}

#[test]
fn a_remembered_run_is_removed_from_where_it_was_made() {
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
                  users: [{name: u, user: {token: t}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n";
    let folder = project("namespace: file\ncontext: c\n");
    folder.file("config", config);
    let here = folder.path().canonicalize().unwrap();
    let record = json!({
        "run_id": "run-1", "phase": "up", "made": "2026-01-01T00:00:00.000Z", "called_in": here, "project": here,
        "place": {"kubernetes": {"access": {"files": [here.join("config")]}, "context": null, "namespace": "memory"}},
    });
    std::fs::create_dir_all(folder.path().join("state/testbed/runs/run-1")).unwrap();
    folder.file("state/testbed/runs/run-1/run.json", &record.to_string());
    folder.call(&["down", "-v"]).fails(1).says("run run-1 in namespace memory");
    folder.call(&["down", "-v", "--run-id", "run-1"]).fails(1).says("run run-1 in namespace memory");
    let other = ["down", "-v", "--run-id", "run-2", "--kubeconfig", "config"];
    folder.call(&other).fails(1).says("settings from testbed.yaml").says("run run-2 in namespace file");
}

#[test]
fn commands_that_take_nothing_from_the_file_do_not_read_it() {
    project("nonsense: [").call(&["completions", "bash"]).ok();
    project("nonsense: [").call(&["up", "--help"]).ok();
}

/// The project's context is that of people's kubeconfigs; a pod has none, and knows its cluster.
#[test]
fn a_pod_without_a_kubeconfig_takes_no_context_from_the_file() {
    let status = |folder: Folder| folder.call(&["status", "--runtime", "kubernetes"]).fails(2);
    status(project("context: c\n")).says("reading the kubeconfig");
    status(project("context: c\n").env("KUBERNETES_SERVICE_HOST", "127.0.0.1"))
        .says("reading the pod's ServiceAccount");
}

/// There the file comes with a change that nobody has looked at, and a token would end up where the change's
/// tests can read it.
#[test]
fn in_a_pod_the_file_names_nothing_outside_its_repository() {
    let elsewhere = Folder::new();
    let token = elsewhere.file("token", "a-token");
    let text = format!("with: postgres\nformat: tera:{}\n", token.display());
    let pod = |text: &str| project(text).env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    let up = ["up", "--run-id", "run-1"];
    pod(&text)
        .call(&up)
        .fails(2)
        .says("testbed.yaml: format: tera:")
        .says("leads out of the repository")
        .says("hint: in a pod")
        .says("--format");
    pod("with: postgres\nhistory: postgres://u@db.example/d\n")
        .call(&up)
        .fails(2)
        .says("history: in a pod a server is not taken from this file");
    pod("with: postgres\noutput: /nonexistent/x.json\n")
        .call(&["render"])
        .fails(2)
        .says("output: /nonexistent/x.json leads out");
    pod(&text).call(&["down", "--run-id", "run-1"]).says("warning").says("leads out of the repository");
}

/// What one user wants for all projects, below what a project says.
#[test]
fn the_users_own_settings_count_for_less_than_the_projects() {
    let folder = project("timeout: 7m\ndatabases: {db: sqlite}\n");
    let config = folder.path().join("config/testbed");
    std::fs::create_dir_all(&config).unwrap();
    let home = folder.path().join("config").display().to_string();
    let folder = folder.env("XDG_CONFIG_HOME", home).env("TESTBED_RUNTIME", "");
    let own = |text: &str| std::fs::write(config.join("testbed.yaml"), text).unwrap();
    own("timeout: never\n");
    folder
        .call(&["up", "--output", "-"])
        .fails(2)
        .says("config/testbed/testbed.yaml:1: timeout: \"never\" does not fit");
    folder.call(&["up", "--output", "-", "--settings", "none", "--with", "sqlite"]).ok();
    own("output: elsewhere.json\n");
    folder.call(&["up"]).fails(2).says("are a project's");
    own("databases: {db: postgres}\n");
    folder.call(&["up", "--output", "-"]).fails(2).says("are a project's").says("hint: write them into");
    // A cluster that the user asks for needs no name here, as on the command line.
    own("runtime: kubernetes\nnamespace: mine\n");
    folder.call(&["status"]).fails(2).says("no cluster is named");
    folder.file("testbed.yaml", "databases: {db: sqlite}\nruntime: local\n");
    folder
        .call(&["up", "-v", "--output", "-"])
        .ok()
        .says("on this machine")
        .says("settings from testbed.yaml");
    folder.file("testbed.yaml", "databases: {db: sqlite}\nruntime: kubernetes\n");
    folder.call(&["up"]).fails(2).says("testbed.yaml: runtime: kubernetes needs the name of a cluster");
    folder.call(&["down"]).ok();
}

#[test]
fn what_is_in_a_server_is_checked_where_it_stands() {
    for (text, message) in [
        (
            "databases:\n  orders:\n    use: postgres\n    port: 70000\n",
            "4: databases.orders: port: \"70000\" is no port: a number from 1 to 65535",
        ),
        ("databases: {orders: postgres@0}\n", "1: databases.orders: \"0\" is no port"),
        (
            "databases:\n  postgres:\n    databases: [{name: a, ownr: b}]\n",
            "3: databases.postgres: databases: \"ownr\" is nothing that a database has",
        ),
        (
            "databases: {postgres: {init: {a: b}}}\n",
            "1: databases.postgres: init is a mapping; write a text or a list of them",
        ),
        (
            "databases: {postgres: {users: [1a]}}\n",
            "1: databases.postgres: users: the name \"1a\" needs letters",
        ),
    ] {
        refused(text, message);
    }
    for (text, message) in [
        (
            "databases: {a: postgres@5433, b: {use: mysql, port: 5433}}\n",
            "error: the databases a and b are to have the same port, 5433",
        ),
        (
            "databases: {a: {use: postgres@5433, port: 5434}}\n",
            "error: testbed.yaml:1: databases.a: it is to have the port 5433, and the parameter port says 5434",
        ),
        (
            "databases: {a: {use: mysql, extensions: [vector]}}\n",
            "error: testbed.yaml:1: databases.a: the extension vector: mysql has no extensions",
        ),
        (
            "databases: {a: {use: postgres, databases: [test]}}\n",
            "error: testbed.yaml:1: databases.a: the parameter databases: test is made anyway",
        ),
        (
            "databases: {a: {use: postgres, init: [no-such.sql]}}\n",
            "error: testbed.yaml:1: databases.a.init: reading the set-up script no-such.sql: No such file",
        ),
    ] {
        project(text).call(&["up"]).fails(2).says(message);
    }
}

#[test]
fn set_up_scripts_come_from_the_files_own_repository() {
    let outer = Folder::new();
    outer.file("secret.sql", "SELECT 'hush'\n");
    std::fs::create_dir_all(outer.path().join("project/sub/seeds")).unwrap();
    std::fs::create_dir(outer.path().join("project/.git")).unwrap();
    outer.file("project/shared.sql", "SELECT 1;\n");
    let file = outer.file("project/sub/testbed.yaml", "");
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, outer.path().join(at)).unwrap();
    link("../../secret.sql", "project/sub/out.sql");
    link("../../shared.sql", "project/sub/seeds/in.sql");
    let render = |args: &[&str]| {
        outer.call(&[&["render", "--run-id", "run-1", "--settings", file.to_str().unwrap()], args].concat())
    };
    let whole = outer.path().join("secret.sql").display().to_string();
    for path in ["../../secret.sql", "out.sql", &whole] {
        outer.file(
            "project/sub/testbed.yaml",
            &format!("databases: {{db: {{use: postgres, init: [{path}]}}}}\n"),
        );
        render(&[])
            .fails(2)
            .says("db.init: ")
            .says("leads out of the repository")
            .says("hint: name it to the command itself: --param db.init=")
            .keeps("hush");
    }
    outer.file("project/sub/testbed.yaml", &format!("with: postgres\nparams: {{init: '{whole}'}}\n"));
    render(&[]).fails(2).says("leads out of the repository");
    outer
        .file("project/sub/testbed.yaml", "databases: {db: {use: postgres, init: [../shared.sql, seeds]}}\n");
    let text = render(&[]).ok().stdout;
    assert!(text.contains("001-shared.sql") && text.contains("002-in.sql"), "{text}");
    // Named plainly; a link in a folder is not.
    assert!(render(&["--param", &format!("db.init={whole}")]).ok().stdout.contains("hush"));
    link("../../../secret.sql", "project/sub/seeds/out.sql");
    render(&["--param", "db.init=project/sub/seeds"])
        .fails(2)
        .says("out.sql is a link that leads out of")
        .keeps("hush");
    render(&[]).fails(2).says("out.sql is a link that leads out of").keeps("hush");
}

/// Whatever is there would be overwritten, and removed with the run.
#[test]
fn a_projects_config_file_stays_in_the_project() {
    let folder = project("databases: {db: sqlite}\noutput: ../victim.json\n").env("TESTBED_RUNTIME", "local");
    folder.call(&["up"]).fails(2).says("output: ").says("leads out of the repository").says("hint: --output");
    folder.file("testbed.yaml", "databases: {db: sqlite}\n");
    folder.call(&["up", "--output", "json"]).fails(2).says("hint: -o json prints the run as JSON");
    folder.call(&["up", "postgres"]).fails(2).says("hint: for a built-in database: --with postgres");
    let compose = folder.file("docker-compose.yml", "services: {}\n");
    folder.call(&["up", compose.to_str().unwrap()]).fails(2).says("hint: testbed init takes over");
    folder.call(&["up", "testbed.yaml"]).fails(2).says("is read by itself");
}

/// What needs nothing of the file but a place or a time goes on without one that is broken. What would act on another
/// place does not, nor what was told to take that file.
#[test]
fn a_broken_file_ends_only_what_needs_it() {
    let folder = Folder::new().env("TESTBED_RUNTIME", "local");
    folder.file("testbed.yaml", "with: postgres\nport: 5433\n");
    let broken = "testbed.yaml:2: \"port\" is part of a database, and belongs below databases";
    let note = format!("warning: going on without the project's settings: {broken}");
    folder.call(&["status"]).ok().says(&note);
    folder.call(&["gc"]).ok().says(&note);
    folder.call(&["down"]).ok().says(&note);
    folder.call(&["wait", "postgres://u@127.0.0.1:1/x", "--timeout", "1ms"]).fails(3).says(&note);
    for args in [&["history", "list"][..], &["history", "show"], &["history", "logs"]] {
        let asked = folder.call(args);
        assert!(asked.code != Some(2) && asked.stderr.contains(&note), "{}", asked.transcript());
    }
    for args in [
        &["up"][..],
        &["run", "--", "true"],
        &["render"],
        &["doctor"],
        &["exec", "--", "true"],
        &["env"],
        &["history", "prune", "--keep", "1"],
        &["status", "--settings", "testbed.yaml"],
    ] {
        let _ = folder.call(args).fails(2).says(broken).keeps("going on");
    }
}
