//! What the Tekton catalog asks of a Task: labels, annotations, words for everything, images in full.

use serde_json::Value;

use crate::published;
use crate::tekton::documents::{Catalog, Content, Document};
use crate::tekton::model::{ParamSpec, ParamValue, ResultSpec, Step};
use crate::tekton::variables::params_in;

/// The annotations that Artifact Hub and Tekton's own hub read.
const ANNOTATIONS: [&str; 10] = [
    "tekton.dev/pipelines.minVersion",
    "tekton.dev/categories",
    "tekton.dev/tags",
    "tekton.dev/displayName",
    "tekton.dev/platforms",
    "artifacthub.io/category",
    "artifacthub.io/license",
    "artifacthub.io/links",
    "artifacthub.io/maintainers",
    "artifacthub.io/provider",
];

/// Parts of names that a result must not have: everyone who sees a TaskRun sees its results.
const SECRETS: [&str; 6] = ["pass", "secret", "token", "credential", "key", "url"];

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = of_published(catalog);
    for document in &catalog.documents {
        let say = |text: String| format!("{}: {text}", document.file);
        problems.extend(of_document(document).into_iter().map(say));
    }
    problems
}

fn of_published(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    for one in published(catalog) {
        let mut say = |text: String| problems.push(format!("{}: {text}", one.document.file));
        let version = env!("CARGO_PKG_VERSION");
        let label = one.metadata.labels.get("app.kubernetes.io/version").map(String::as_str);
        if label != Some(version) {
            say(format!(
                "the label app.kubernetes.io/version is {label:?}, not the program's version {version}"
            ));
        }
        for name in ANNOTATIONS {
            if one.metadata.annotations.get(name).is_none_or(|value| value.trim().is_empty()) {
                say(format!("the annotation {name} is missing"));
            }
        }
        let annotation =
            |name: &str| one.metadata.annotations.get(name).map(String::as_str).unwrap_or_default();
        if !is_version(annotation("tekton.dev/pipelines.minVersion")) {
            say("tekton.dev/pipelines.minVersion is no version".into());
        }
        if annotation("tekton.dev/platforms")
            .split(',')
            .any(|platform| !["linux/amd64", "linux/arm64"].contains(&platform))
        {
            say("tekton.dev/platforms names what the image is not built for".into());
        }
        for part in ["links", "maintainers"] {
            let value: serde_yaml::Result<Vec<std::collections::BTreeMap<String, String>>> =
                serde_yaml::from_str(annotation(&format!("artifacthub.io/{part}")));
            if !value.is_ok_and(|entries| {
                !entries.is_empty() && entries.iter().all(|entry| entry.contains_key("name"))
            }) {
                say(format!("artifacthub.io/{part} is no list with names"));
            }
        }
        let image =
            one.params.iter().find(|param| param.name == "image").and_then(|param| param.default.clone());
        let Some(ParamValue::Text(image)) = image else {
            say("no param image with a default".into());
            continue;
        };
        if !is_whole(&image) || !image.ends_with(&format!(":{version}")) {
            say(format!("the image {image} needs its registry and the tag {version}"));
        }
        if one.step.image != "$(params.image)" {
            say(format!("the step's image is {}, not the param", one.step.image));
        }
        if one.step.script.is_some() || one.step.command != ["/testbed"] {
            say("a step calls /testbed by command: a script needs a shell, which the image does not have"
                .into());
        }
        let pasted = params_in(&one.step.args);
        if !pasted.is_empty() {
            say(format!("{pasted:?} in args: a user's value goes through env"));
        }
        if one.task.is_some_and(|task| task.steps.len() != 1 || !task.volumes.is_empty()) {
            say("one step and no volume is all that it takes".into());
        }
    }
    problems
}

fn of_document(document: &Document) -> Vec<String> {
    let mut problems = Vec::new();
    let mut said = |what: &str, text: &str| {
        if text.trim().is_empty() {
            problems.push(format!("{what} has no description"));
        }
    };
    let (params, results): (&[ParamSpec], &[ResultSpec]) = match &document.content {
        Content::Task(task) => {
            said("the Task", &task.spec.description);
            task.spec.workspaces.iter().for_each(|workspace| {
                said(&format!("workspace {}", workspace.name), &workspace.description);
            });
            (&task.spec.params, &task.spec.results)
        }
        Content::StepAction(action) => {
            said("the StepAction", &action.spec.description);
            (&action.spec.params, &action.spec.results)
        }
        Content::Pipeline(pipeline) => {
            said("the Pipeline", &pipeline.spec.description);
            pipeline.spec.workspaces.iter().for_each(|workspace| {
                said(&format!("workspace {}", workspace.name), &workspace.description);
            });
            (&pipeline.spec.params, &[])
        }
        Content::PipelineRun(_) | Content::TaskRun(_) | Content::Other { .. } => (&[], &[]),
    };
    params.iter().for_each(|param| said(&format!("param {}", param.name), &param.description));
    results.iter().for_each(|result| said(&format!("result {}", result.name), &result.description));
    for ParamSpec { name, kind, default, .. } in params {
        if kind.is_none() || default.is_none() {
            problems.push(format!("param {name} needs a type and a default"));
        }
    }
    for ResultSpec { name, kind, .. } in results {
        if kind.is_none() {
            problems.push(format!("result {name} needs a type"));
        }
        if SECRETS.iter().any(|part| name.to_lowercase().contains(part)) {
            problems.push(format!("result {name}: a secret does not belong into a result"));
        }
    }
    let used = params_in(&document.value);
    let unused = params.iter().filter(|param| !used.contains(&param.name));
    problems.extend(unused.map(|param| format!("param {} is not used", param.name)));
    let containers = document.value.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let of_pods = containers.into_iter().flatten().filter_map(|container| container["image"].as_str());
    let images = steps(document).into_iter().filter_map(|step| step.image.as_deref()).chain(of_pods);
    let half = images.filter(|image| !image.starts_with("$(params.") && !is_whole(image));
    problems.extend(half.map(|image| format!("the image {image} needs its registry and a tag")));
    problems
}

/// All steps of a document that stand in it.
pub fn steps(document: &Document) -> Vec<&Step> {
    match &document.content {
        Content::Task(task) => task.spec.steps.iter().collect(),
        Content::TaskRun(run) => run.spec.task_spec.iter().flat_map(|task| &task.steps).collect(),
        Content::Pipeline(pipeline) => {
            let tasks = pipeline.spec.tasks.iter().chain(&pipeline.spec.finally);
            tasks.filter_map(|task| task.task_spec.as_ref()).flat_map(|task| &task.steps).collect()
        }
        Content::PipelineRun(run) => {
            let tasks = run
                .spec
                .pipeline_spec
                .iter()
                .flat_map(|pipeline| pipeline.tasks.iter().chain(&pipeline.finally));
            tasks.filter_map(|task| task.task_spec.as_ref()).flat_map(|task| &task.steps).collect()
        }
        Content::StepAction(_) | Content::Other { .. } => Vec::new(),
    }
}

/// Whether an image is named with its registry, and with a tag that stays.
fn is_whole(image: &str) -> bool {
    let Some((registry, rest)) = image.split_once('/') else { return false };
    registry.contains('.')
        && rest
            .rsplit_once(':')
            .is_some_and(|(name, tag)| !name.is_empty() && !tag.is_empty() && tag != "latest")
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}
