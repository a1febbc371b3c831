//! The program itself takes what the steps give it: it is called with their very args and variables, as
//! Tekton would fill them in, against an API server that does not exist. What it then fails for may be the
//! connection, and nothing before that.

use std::process::Command;

use k8s_openapi::api::core::v1::EnvVar;

use crate::support::{Called, Folder, binary};
use crate::tekton::documents::{Catalog, Source};
use crate::tekton::model::{Param, ParamValue};
use crate::tekton::variables::Variables;
use crate::{Published, published};

/// A kubeconfig of a server that nobody is.
const NOBODY: &str = "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u}]\n\
                      clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n";

/// The least that a task needs, and everything that a param can say, with the separators that are allowed.
/// Each takes those that it has.
const PARAMS: [&[(&str, &str)]; 3] = [
    &[("with", "postgres"), ("name", "db")],
    &[("with", "postgres"), ("on", "deployment/builder"), ("ready-timeout", "90s")],
    &[
        ("with", "postgres:17=orders, mysql\nsqlite\n"),
        ("manifest", "databases.yaml,more"),
        ("params", "orders.memory=1Gi\nuser=app\n"),
        ("connargs", "orders.connect_timeout=5\n"),
        ("settings", "none"),
        ("format", "urls"),
        ("output", "where.json"),
        ("mode", "600"),
        ("timeout", "90s"),
        ("lifetime", "none"),
        ("on-failure", "keep"),
        ("on-cancel", "keep"),
        ("allow", ""),
        ("image-prefix", "mirror.example/hub"),
        ("run-id", "pr-17"),
        ("grace-period", "5"),
        ("archive-timeout", "5s"),
        ("results-api", "https://127.0.0.1:1"),
        ("one-of", "db1,db2"),
        ("permits", "2"),
        ("no-wait", "true"),
        ("holder", "none"),
        ("ttl", "none"),
        ("strict", "true"),
        ("verbose", "true"),
    ],
];

pub fn problems(catalog: &Catalog) -> Vec<String> {
    problems_of(&published(catalog))
}

fn problems_of(published: &[Published<'_>]) -> Vec<String> {
    // Side by side, as some of them try to reach the server for seconds.
    std::thread::scope(|scope| {
        let calls =
            published.iter().flat_map(|one| PARAMS.map(|params| (one, scope.spawn(|| called(one, params)))));
        let calls: Vec<_> = calls.collect();
        let ended = calls.into_iter().map(|(one, call)| (one, call.join().expect("a call that ends")));
        let refused = ended.filter(|(_, called)| {
            called.code != Some(1) || !called.stderr.contains("cannot talk to the API server")
        });
        refused.map(|(one, called)| format!("{}: {}", one.document.file, called.transcript())).collect()
    })
}

/// The step's call, as it is in a PipelineRun's pod.
fn called(one: &Published<'_>, params: &[(&str, &str)]) -> Called {
    let folder = Folder::new();
    folder.file("kubeconfig", NOBODY);
    folder.file("databases.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    std::fs::create_dir(folder.path().join("more")).expect("a folder");
    folder.file("more/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n");
    let known = params.iter().filter(|(name, _)| one.params.iter().any(|param| param.name == *name));
    let passed: Vec<Param> = known
        .map(|(name, value)| Param { name: (*name).into(), value: ParamValue::Text((*value).into()) })
        .collect();
    let mut variables = Variables::default();
    variables.params(one.params, &passed);
    for result in one.results {
        for scope in ["results", "step.results"] {
            variables.text(
                format!("{scope}.{}.path", result.name),
                folder.path().join(&result.name).display().to_string(),
            );
        }
    }
    let args = variables.substitute_list(&one.step.args);
    let mut command = Command::new(binary());
    command.args(&args).current_dir(folder.path()).env_clear();
    let has_secret = params.iter().any(|(name, _)| *name == "archive-timeout");
    for EnvVar { name, value, value_from } in &one.step.env {
        let secret = value_from.as_ref().and_then(|source| source.secret_key_ref.as_ref());
        let value = match (value, secret) {
            (Some(value), _) => variables.substitute(value),
            // Only the history's place is in the Secret, where there is one.
            (None, Some(secret)) if has_secret && secret.key == "url" => {
                "postgres://history:hush@127.0.0.1:1/history".into()
            }
            (None, Some(_)) => continue,
            // The rest comes from the pod's labels and its namespace.
            (None, None) => "0b9b16fb-5a0a-4c3c-8a0f-0c4c6c6a4c1d".into(),
        };
        command.env(name, value);
    }
    command.env("HOME", folder.path()).env("KUBECONFIG", folder.path().join("kubeconfig"));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Called::new(&args, command.output().expect("testbed starts"))
}

/// Steps that the program does not take: each is told of.
#[test]
fn a_wrong_call_is_caught() {
    let catalog = Catalog::read().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    let (up, acquire) =
        ("task/testbed-up/testbed-up.yaml", "task/testbed-lock-acquire/testbed-lock-acquire.yaml");
    for (file, from, to, said) in [
        (up, "\"--result\", \"databases=", "\"--results\", \"databases=", "unexpected argument '--results'"),
        (up, "default: \"640\"", "default: \"999\"", "invalid value '999' for '--mode <MODE>'"),
        (up, "default: delete", "default: erase", "invalid value 'erase' for '--on-failure <WHAT>'"),
        (
            up,
            "value: $(params.timeout)",
            "value: $(params.timout)",
            "invalid value '$(params.timout)' for '--timeout <DURATION>'",
        ),
        (acquire, "\"fence=$(", "\"fense=$(", "write lock=FILE or fence=FILE"),
        (acquire, "value: $(params.one-of)", "value: $(params.name)", "cannot be used with"),
        (
            acquire,
            "value: $(params.holder)",
            "value: $(params.name)",
            "--holder db: write pipelinerun/NAME, or none",
        ),
    ] {
        let source = catalog.sources.iter().find(|source| source.file == file).expect("the Task");
        assert!(source.text.contains(from), "{from}");
        let broken = catalog
            .with(Source { file: file.into(), text: source.text.replacen(from, to, 1) })
            .expect("a catalog");
        let of_file: Vec<Published<'_>> =
            published(&broken).into_iter().filter(|one| one.document.file == file).collect();
        let problems = problems_of(&of_file);
        assert!(
            problems.iter().any(|problem| problem.contains(said)),
            "{said:?} is not said of {to:?}, but {problems:#?}"
        );
    }
}
