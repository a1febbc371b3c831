//! Bad input: one clear error each, exit code 2, before any cluster is asked.

use crate::support::Folder;

/// A manifest that is refused, and what the error has to say.
fn refused(manifest: &str, parts: &[&str]) {
    let folder = Folder::new();
    folder.file("m.yaml", manifest);
    for command in ["render", "up"] {
        let called = folder.call(&[command, "m.yaml", "--run-id", "run-1"]).fails(2);
        for part in parts {
            assert!(called.stderr.contains(part), "{part:?} is not in\n{}", called.transcript());
        }
        assert!(!folder.has("testing-databases.json"));
    }
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: db-run-1}\nspec: {selector: {db: x}, ports: [{port: 3306}]}\n";

#[test]
fn undefined_variables() {
    refused(
        "a: 1\nb: $(params.size)\n",
        &["m.yaml:2: $(params.size) is not defined; pass --param size=VALUE"],
    );
    refused(
        "a: 1\n\nb: {{ params.size }}\n",
        &["m.yaml:3: params.size is not defined; pass --param size=VALUE"],
    );
    refused("a: $(context.taskRun.name)\n", &["m.yaml:1: $(context.taskRun.name) is not defined"]);
}

#[test]
fn broken_yaml() {
    refused(&format!("{SERVICE}---\nkind: [1, 2\nx: y\n"), &["m.yaml:", "document 2 is not valid YAML"]);
}

#[test]
fn documents_that_are_no_objects() {
    refused(
        &format!("{SERVICE}---\njust text\n"),
        &["m.yaml: document 2 (line 6) is a text, not a Kubernetes object"],
    );
    refused("# nothing\n", &["no object in it"]);
}

#[test]
fn a_service_that_selects_no_pod() {
    refused(
        SERVICE,
        &["m.yaml: document 1 (line 1): Service db-run-1 selects no pod of the manifest (selector db=x)"],
    );
}

#[test]
fn two_objects_with_one_name() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-run-1}\n";
    refused(
        &format!("{map}---\n{map}"),
        &["document 2 (line 5): ConfigMap a-run-1 stands in m.yaml: document 1 (line 1) already"],
    );
}

#[test]
fn a_database_without_password_variable() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: db-run-1, labels: {db: x}}\nspec: {containers: [{name: db, image: 'mysql:9.7'}]}\n";
    refused(
        &format!("{SERVICE}---\n{pod}"),
        &["Pod db-run-1: the mysql database in container db", "set MYSQL_ROOT_PASSWORD"],
    );
}

#[test]
fn a_name_that_is_too_long_for_its_kind() {
    for (kind, most) in [("Service", 63), ("ConfigMap", 253)] {
        let name = "x".repeat(most + 1);
        refused(
            &format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}}}\n"),
            &[&format!("has {} characters; Kubernetes takes {most}", most + 1)],
        );
    }
}

/// As a shell's `<(COMMAND)` hands one over.
#[test]
fn a_pipe_in_the_place_of_a_file() {
    let folder = Folder::new();
    let called = folder.call_with_input(&["render", "/dev/fd/0"], "");
    called.fails(2).says("it is a pipe, and no file").says("hint: pipe it in: COMMAND | testbed up -");
}

#[test]
fn a_run_id_that_is_none() {
    let folder = Folder::new();
    for (run_id, part) in [
        ("$(context.pipelineRun.uid)", "Tekton substitutes it in a Pipeline, never inside a Task"),
        ("", "the run id is empty"),
    ] {
        for command in ["up", "render"] {
            folder.call(&[command, "--with", "mysql", "--run-id", run_id]).fails(2).says(part);
        }
        folder.call(&["down", "--run-id", run_id]).fails(2).says(part);
    }
    let folder = Folder::new().env("TESTBED_RUN_ID", "$(context.pipelineRun.uid)");
    folder
        .call(&["up", "--with", "mysql"])
        .fails(2)
        .says("Tekton substitutes it in a Pipeline, never inside a Task");
}

/// As in a Tekton Task, whose params are variables with empty defaults.
#[test]
fn a_task_run_without_a_pipeline_run_needs_a_run_id() {
    let empty = [
        "RUN_ID",
        "WITH",
        "MANIFEST",
        "PARAM",
        "TIMEOUT",
        "MODE",
        "ALLOW",
        "ON_CANCEL",
        "LIFETIME",
        "NAMESPACE",
        "VERBOSE",
    ];
    let mut folder = Folder::new().env("TESTBED_PIPELINE_RUN", "").env("TESTBED_PIPELINE_RUN_UID", "");
    for name in empty {
        folder = folder.env(&format!("TESTBED_{name}"), "");
    }
    for args in [&["up", "--with", "postgres"][..], &["down"]] {
        folder
            .call(args)
            .fails(2)
            .says("this TaskRun belongs to no PipelineRun")
            .says("hint: give the TaskRun the param run-id");
    }
    let rendered = folder.call(&["render", "--with", "postgres", "--pipeline-run-uid", "uid-1"]).ok();
    assert!(rendered.stdout.contains("name: postgres-uid-1"), "{}", rendered.transcript());
}

/// Manifests from people whom nobody has to trust: the whole list is in src/manifest/policy.rs.
#[test]
fn what_is_not_for_strangers() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a-run-1}\nspec: {hostPID: true, containers: [{name: c, image: x}]}\n";
    refused(
        pod,
        &[
            "document 1 (line 1): Pod a-run-1: its pod uses the node's own namespace (hostPID), which is refused",
        ],
    );
    let folder = Folder::new();
    folder.file("m.yaml", pod);
    let render = ["render", "m.yaml", "--run-id", "run-1"];
    folder.call(&render).fails(2).says(
        "hint: nothing was created; if the manifest is to be trusted with that: --allow host-namespaces",
    );
    folder.call(&[&render[..], &["--allow", "host-namespaces"]].concat()).ok();
    folder
        .call(&[&render[..], &["--allow", "all"]].concat())
        .fails(2)
        .says("known are privileged, host-namespaces");
    // Whoever writes the manifest may write testbed.yaml as well.
    folder.file("testbed.yaml", "allow: host-namespaces\n");
    folder.call(&render).fails(2).says("allow");
}

/// A manifest sees the run id and its parameters, and nothing of where testbed runs.
#[test]
fn templates_reach_no_file_and_no_variable() {
    let folder = Folder::new().env("SECRET", "hu-sh");
    folder.file("secret.txt", "hu-sh");
    for expression in [
        "{{ get_env(name='SECRET') }}",
        "{{ 'SECRET' | get_env }}",
        "{{ env.SECRET }}",
        "{{ load_data(path='secret.txt') }}",
        "{{ read_file(path='secret.txt') }}",
        "{{ get_file(path='secret.txt') }}",
        "{% include 'secret.txt' %}",
        "{% import 'secret.txt' as secret %}",
        "{% extends 'secret.txt' %}",
    ] {
        let manifest =
            format!("{expression}\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a-run-1}}\n");
        folder.file("m.yaml", &manifest);
        folder.call(&["render", "m.yaml", "--run-id", "run-1"]).fails(2).says("m.yaml").keeps("hu-sh");
    }
}

#[test]
fn flags_that_do_not_fit() {
    let folder = Folder::new();
    let up = |args: &[&str]| folder.call(&[&["up", "--run-id", "run-1"], args].concat());
    up(&[]).fails(2).says("nothing to create");
    up(&["--with", "oracle"])
        .fails(2)
        .says("--with oracle: \"oracle\" is no engine; known are mysql, mariadb, postgres, sqlite");
    up(&["missing.yaml"]).fails(2).says("reading the manifest missing.yaml");
    up(&["--with", "mysql", "--param", "x"]).fails(2).says("NAME=VALUE").keeps("param x ");
    up(&["--with", "mysql", "--connarg", "pg.x=1"]).fails(2).says("it has: mysql");
    up(&["--with", "mysql", "--output", "no/folder/x.json"])
        .fails(2)
        .says("the folder no/folder does not exist");
    up(&["--with", "mysql", "--output", "."]).fails(2).says("is a folder");
    up(&["--with", "mysql", "--with", "mysql"]).fails(2).says("--with: two databases are called mysql");
    // What another pod has made is not noted in this one.
    let pod = Folder::new().env("KUBERNETES_SERVICE_HOST", "192.0.2.1");
    pod.call(&["down"]).fails(2).says("no `up` in this folder is remembered");
    assert_eq!(up(&["--with", "mysql", "--mode", "999"]).code, Some(2));
    assert_eq!(up(&["--with", "mysql", "--timeout", "soon"]).code, Some(2));
    assert_eq!(up(&["--wiht", "mysql"]).code, Some(2));
}

#[test]
fn a_manifest_cannot_read_files_or_the_environment() {
    for text in [
        "{% include \"/etc/passwd\" %}",
        "{{ get_env(name=\"HOME\") }}",
        "{{ load_data(path=\"/etc/passwd\") }}",
    ] {
        refused(text, &["m.yaml"]);
    }
}

#[test]
fn a_secret_never_shows_in_an_error() {
    let folder = Folder::new();
    let secret = |line: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s-run-1}}\n{line}\n");
    let up = |manifest: &str, password: &str| {
        folder.file("m.yaml", manifest);
        folder
            .call(&["up", "m.yaml", "--run-id", "run-1", "--param", &format!("password={password}")])
            .fails(2)
    };
    let unquoted = secret("stringData: {password: {{ params.password }}}");
    up(&unquoted, "hush: \"hush\" {")
        .says("m.yaml:4: document 1 is not valid YAML")
        .says("{{ params.NAME | quote }}")
        .keeps("hush");
    up(&secret("data: {password: \"{{ params.password }}\"}"), "hush*hush")
        .says("Secret s-run-1 is not shaped like one")
        .keeps("hush");
    up(&secret("stringData: {password: [\"{{ params.password }}\"]}"), "hush")
        .says("stringData plain texts")
        .keeps("hush");
}

#[test]
fn gc_of_a_cluster_needs_one() {
    let folder = Folder::new();
    for flag in ["-A", "--pipeline-runs"] {
        let gc = folder.call(&["gc", flag, "--runtime", "local"]).fails(2);
        gc.says("--all-namespaces and --pipeline-runs are for a cluster (--runtime)")
            .says("hint: pass --context, --kubeconfig or --runtime kubernetes");
    }
    folder.call(&["gc"]).fails(2).says("no cluster is named");
    folder.call(&["gc", "--runtime", "local"]).ok();
}
