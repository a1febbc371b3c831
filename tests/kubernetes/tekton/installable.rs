//! What the catalog, the examples, the templates, the README and the pages of docs/src have is what a cluster
//! takes, as kubectl reads it.

use serde_json::Value;

use super::definitions;
use crate::harness::{Namespace, kubectl, kubectl_output};
use crate::pipeline_runs;
use crate::support::pages;
use crate::tekton_catalog::documents;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// A document, and where it is.
struct Document {
    place: String,
    text: String,
}

/// The documents of a file: all of a YAML file, and of a README the blocks that are whole objects.
fn documents_of(file: &str, text: &str) -> Vec<Document> {
    let blocks: Vec<&str> = match file.ends_with(".md") {
        true => text
            .split("```yaml\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap_or_default())
            .collect(),
        false => vec![text],
    };
    let documents = blocks.into_iter().flat_map(|block| block.split("\n---\n")).filter(|text| {
        let has = |key: &str| text.lines().any(|line| line.starts_with(key));
        has("apiVersion:") && has("kind:")
    });
    // A manifest's run id is put in by testbed.
    let text = |text: &str| text.replace("$(context.pipelineRun.uid)", "run-1");
    documents
        .enumerate()
        .map(|(at, document)| Document {
            place: format!("{file}, document {}", at + 1),
            text: text(document),
        })
        .collect()
}

/// All there is in the catalog and the examples, and what the built-in templates become.
fn all(namespace: &Namespace) -> Vec<Document> {
    let mut found: Vec<Document> = documents::sources()
        .iter()
        .filter(|source| [".yaml", ".md"].iter().any(|end| source.file.ends_with(end)))
        .flat_map(|source| documents_of(&format!("catalog/{}", source.file), &source.text))
        .collect();
    let pages = pages::all();
    // The catalog's pages are among the book's, and were read above.
    found.extend(
        pages
            .iter()
            .filter(|page| !page.file.starts_with("catalog/"))
            .flat_map(|page| documents_of(&page.file, &page.text)),
    );
    let folder = &namespace.folder;
    for args in [
        &["--with", "mysql:9.7", "--with", "mariadb:11.8", "--with", "postgres:17"][..],
        &["--with", "postgres:17", "--param", "profile=restricted", "--param", "memory=1Gi"],
        &["examples/databases.yaml"],
    ] {
        let args: Vec<String> = args
            .iter()
            .map(|arg| if arg.ends_with(".yaml") { format!("{PROJECT}/{arg}") } else { (*arg).to_owned() })
            .collect();
        let args: Vec<&str> =
            ["render", "--run-id", "run-1"].into_iter().chain(args.iter().map(String::as_str)).collect();
        found.extend(documents_of(&args[3..].join(" "), &folder.call(&args).ok().stdout));
    }
    found
}

/// Why the cluster does not take a document.
fn refusal(namespace: &Namespace, text: &str) -> Option<String> {
    // What the cluster is to name is created, and not applied.
    let verb = if text.contains("generateName:") { "create" } else { "apply" };
    let args = ["-n", &namespace.name, verb, "--dry-run=server", "--validate=strict", "-f", "-"];
    let output = kubectl_output(&args, Some(text.as_bytes()));
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn whatever_there_is_to_install_can_be_installed() {
    // Tekton itself says what it takes, where there is one.
    let is_carried_out = pipeline_runs::are_carried_out();
    if !is_carried_out {
        for definition in definitions::all() {
            pipeline_runs::define(&definition);
        }
    }
    let namespace = Namespace::new("install");
    let documents = all(&namespace);
    let kinds = |kind: &str| {
        documents
            .iter()
            .filter(|document| document.text.lines().any(|line| line == format!("kind: {kind}")))
            .count()
    };
    for kind in
        ["Task", "StepAction", "Pipeline", "PipelineRun", "TaskRun", "Role", "CronJob", "Pod", "Service"]
    {
        assert!(kinds(kind) > 0, "no {kind} was looked at");
    }
    let refused: Vec<String> = documents
        .iter()
        .filter_map(|Document { place, text }| refusal(&namespace, text).map(|why| format!("{place}: {why}")))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));

    // It is noticed what has been wrong before, and its like.
    let task = documents.iter().find(|document| {
        document.place.starts_with("catalog/task/testbed-lock-acquire/testbed-lock-acquire.yaml")
    });
    let task = &task.expect("the lock's Task").text;
    for (from, to) in [
        ("- name: \"on\"", "- name: on"),
        ("  description:", "  descripton:"),
        ("type: string", "type: text"),
        ("  params:", "  params: 1\n  others:"),
        ("  steps:", "  steps: {}\n  stepz:"),
    ] {
        let wrong = task.replacen(from, to, 1);
        assert_ne!(&wrong, task, "{from} is not there");
        assert!(refusal(&namespace, &wrong).is_some(), "{to} was taken");
    }
    // The other kinds are needed nowhere else, if they are these tests' own.
    let kinds = ["tasks", "stepactions", "pipelines", "taskruns"];
    for kind in kinds.iter().filter(|_| !is_carried_out) {
        kubectl(&["delete", "crd", &format!("{kind}.tekton.dev"), "--wait=false"]);
    }
}

/// The API server knows the definitions as they are meant: closed, so that a field too many is refused.
#[test]
fn the_definitions_are_taken_as_they_are() {
    for definition in definitions::all() {
        let name = definition["metadata"]["name"].as_str().expect("a name");
        let elsewhere = definition.to_string().replace("tekton.dev", "tekton.example.com");
        let output = kubectl_output(
            &["create", "--dry-run=server", "-o", "json", "-f", "-"],
            Some(elsewhere.as_bytes()),
        );
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let taken: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let schema = |definition: &Value| {
            definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
        };
        assert_eq!(schema(&taken), schema(&definition), "{name}");
    }
}
