//! The cluster's own Tekton: the catalog in the namespace, PipelineRuns and TaskRuns as objects that it
//! carries out, and their ends as it tells them. Nothing outside of the namespace is touched.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ended::{Ended, Started, Watch};
use super::pod::TaskRun;
use super::run::Outcome;
use super::site::Site;
use crate::harness::{Namespace, client_image, image, kubectl_output};
use crate::tekton_catalog::documents::Content;

const PIPELINE_RUNS: &str = "pipelineruns.tekton.dev";
const TASK_RUNS: &str = "taskruns.tekton.dev";

/// Puts the catalog's Tasks, StepActions and Pipelines into the namespace, those of the samples among them.
pub fn install_catalog(site: &Site) {
    let documents = site.catalog.documents.iter().filter(|document| document.file.ends_with(".yaml"));
    let ours = documents.filter(|document| {
        matches!(document.content, Content::Task(_) | Content::StepAction(_) | Content::Pipeline(_))
    });
    let texts: Vec<String> = ours.map(|document| with_images(&document.value.to_string())).collect();
    site.namespace.apply(&texts.join("\n---\n"));
}

/// The images of this build and of this cluster, in the place of those that the catalog names.
fn with_images(text: &str) -> String {
    let ours = image().expect("an image");
    text.replace("registry.example/testbed:0.1.0", &ours)
        .replace("docker.io/library/python:3.11", &client_image())
}

/// Binds a PipelineRun's workspaces to folders of the volume that the keeper sees, and names images that
/// there are.
pub fn adapt(object: &mut Value, folder: &str) {
    for workspace in object["spec"]["workspaces"].as_array_mut().into_iter().flatten() {
        let name = workspace["name"].as_str().expect("a name").to_owned();
        *workspace = on_volume(&name, &format!("{folder}/{name}"));
    }
    let text = with_images(&without_nulls(object).to_string());
    *object = serde_json::from_str(&text).expect("JSON");
}

fn on_volume(workspace: &str, folder: &str) -> Value {
    json!({"name": workspace, "persistentVolumeClaim": {"claimName": "volume"}, "subPath": folder})
}

/// A field that is not set, as serde writes it, is a wrong value to the API server.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Makes an object; returns it as the API server has it.
fn create(namespace: &Namespace, object: &Value) -> Value {
    let object = object.to_string();
    let output =
        kubectl_output(&["-n", &namespace.name, "create", "-o", "json", "-f", "-"], Some(object.as_bytes()));
    assert!(output.status.success(), "{object}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Makes a PipelineRun that nobody starts; returns its UID.
pub fn pending(site: &Site, name: &str) -> String {
    let step = json!({"name": "nothing", "image": client_image(), "command": ["true"]});
    let pipeline = json!({"tasks": [{"name": "nothing", "taskSpec": {"steps": [step]}}]});
    let made = create(
        &site.namespace,
        &json!({
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "metadata": {"name": name},
            "spec": {"status": "PipelineRunPending", "pipelineSpec": pipeline},
        }),
    );
    made["metadata"]["uid"].as_str().expect("a UID").to_owned()
}

/// Whether a PipelineRun or a TaskRun has ended.
pub fn is_over(object: &Value) -> bool {
    condition(object).is_some_and(|condition| condition["status"] != "Unknown")
}

fn condition(object: &Value) -> Option<&Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Succeeded")
}

/// Whether it succeeded, and what Tekton calls that. All that is no word about steps is a mistake of the
/// test's, or of the catalog's.
fn verdict(object: &Value) -> (bool, String) {
    let condition = condition(object).unwrap_or_else(|| panic!("it is gone before its end: {object:#}"));
    let succeeded = condition["status"] == "True";
    // Older ones call a step's failure as they call a PipelineRun's.
    let reason = condition["reason"].as_str().unwrap_or_default().replace("StepFailed", "Failed");
    let known: &[&str] = if succeeded { &["Succeeded", "Completed"] } else { &["Failed"] };
    assert!(known.contains(&reason.as_str()), "{}: {condition:#}", object["metadata"]["name"]);
    (succeeded, reason)
}

/// Lets a pending PipelineRun go, and waits until it has ended.
pub fn run(site: &Site, name: &str) -> Outcome {
    let namespace = &site.namespace;
    let mut watch = Watch::start(&namespace.name, PIPELINE_RUNS, name);
    namespace.kubectl(&["patch", PIPELINE_RUNS, name, "--type=merge", "-p", r#"{"spec": {"status": null}}"#]);
    let run = watch.until(is_over);
    let (succeeded, reason) = verdict(&run);
    let mut tasks = BTreeMap::new();
    let mut moments = Vec::new();
    for child in run["status"]["childReferences"].as_array().into_iter().flatten() {
        let text = |field: &str| child[field].as_str().expect("a text");
        let task = text("pipelineTaskName").to_owned();
        let task_run = namespace.json(&[TASK_RUNS, text("name")]);
        // Of what happens within a second, an end comes before a beginning: the one waits for the other.
        for (field, sign) in [("startTime", '+'), ("completionTime", '-')] {
            let time = task_run["status"][field].as_str().expect("a time").to_owned();
            moments.push((time, sign == '+', format!("{sign}{task}")));
        }
        tasks.insert(task, ended(namespace, task_run));
    }
    moments.sort();
    Outcome { succeeded, reason, tasks, story: moments.into_iter().map(|(_, _, step)| step).collect() }
}

/// Cancels a PipelineRun, and waits until it says so.
pub fn cancel(site: &Site, name: &str) {
    let namespace = &site.namespace;
    let mut watch = Watch::start(&namespace.name, PIPELINE_RUNS, name);
    namespace.kubectl(&[
        "patch",
        PIPELINE_RUNS,
        name,
        "--type=merge",
        "-p",
        r#"{"spec": {"status": "Cancelled"}}"#,
    ]);
    let run = watch.until(is_over);
    let condition = condition(&run).expect("a condition");
    assert!(condition["status"] == "False" && condition["reason"] == "Cancelled", "{condition:#}");
}

pub fn cancel_task_run(namespace: &Namespace, name: &str) {
    namespace.kubectl(&[
        "patch",
        TASK_RUNS,
        name,
        "--type=merge",
        "-p",
        r#"{"spec": {"status": "TaskRunCancelled"}}"#,
    ]);
}

/// The pod of a TaskRun, as Tekton names it.
pub fn pod_of(task_run: &str) -> String {
    let name = format!("{task_run}-pod");
    assert!(name.len() <= 63, "Tekton shortens the pod's name: {name}");
    name
}

/// Makes a TaskRun.
pub fn start(run: TaskRun<'_>) -> Started<'_> {
    let namespace = &run.site.namespace;
    let workspaces = run.workspaces.iter().map(|(name, folder)| match folder {
        Some(folder) => on_volume(name, folder),
        None => json!({"name": name, "emptyDir": {}}),
    });
    let mut spec = json!({
        "params": run.params,
        "workspaces": workspaces.collect::<Vec<_>>(),
        "serviceAccountName": run.service_account,
        "podTemplate": {"securityContext": run.security_context},
    });
    // By its name, where it is one of the catalog's as it is.
    let task = serde_json::to_value(&run.task).expect("a Task");
    let same = run.site.catalog.documents.iter().find_map(|document| match &document.content {
        Content::Task(own) if serde_json::to_value(&own.spec).expect("a Task") == task => {
            Some(&own.metadata.name)
        }
        _ => None,
    });
    match same {
        Some(name) => spec["taskRef"] = json!({"name": name}),
        None => spec["taskSpec"] = task,
    }
    let metadata = json!({"name": run.name, "labels": run.labels});
    let object =
        json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata, "spec": spec});
    let object = with_images(&without_nulls(&object).to_string());
    let pod = Watch::start(&namespace.name, "pods", &pod_of(&run.name));
    let task_run = Watch::start(&namespace.name, TASK_RUNS, &run.name);
    create(namespace, &serde_json::from_str(&object).expect("JSON"));
    Started::new(run, pod, Some(task_run))
}

/// What a TaskRun that has ended tells, and its pod.
pub fn ended(namespace: &Namespace, task_run: Value) -> Ended {
    let (succeeded, reason) = verdict(&task_run);
    let status = &task_run["status"];
    let list = |field: &str| status[field].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let pod = text(status, "podName");
    let log = |step: &Value| {
        let output =
            kubectl_output(&["-n", &namespace.name, "logs", &pod, "-c", &text(step, "container")], None);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let steps = list("steps");
    Ended {
        succeeded,
        reason,
        logs: steps.iter().map(|step| (text(step, "name"), log(step))).collect(),
        steps: steps.iter().filter_map(|step| Some((text(step, "name"), terminated(step)?))).collect(),
        results: list("results").iter().map(|result| (text(result, "name"), text(result, "value"))).collect(),
        pod: namespace.json(&["pod", &pod]),
        task_run,
    }
}

/// How a step ended. The message without what Tekton's entrypoint says there: when the step began, and the
/// results.
fn terminated(step: &Value) -> Option<Value> {
    let mut state = step["terminated"].clone();
    let message = state["message"]
        .as_str()
        .and_then(|message| serde_json::from_str::<Vec<BTreeMap<String, Value>>>(message).ok());
    if message.is_some_and(|entries| {
        entries.iter().all(|entry| entry.contains_key("key") && entry.contains_key("type"))
    }) {
        state.as_object_mut().expect("an object").remove("message");
    }
    (!step["terminated"].is_null()).then_some(state)
}
