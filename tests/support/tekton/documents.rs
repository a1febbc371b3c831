//! The catalog's files, read into Tekton's types. Everything in `catalog/` that is YAML is read: files, and
//! blocks in READMEs.

use std::path::{Path, PathBuf};

use k8s_openapi::api::{apps, batch, core, rbac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use testbed::yaml::Budget;

use super::model::{Object, PipelineRunSpec, PipelineSpec, StepActionSpec, TaskRunSpec, TaskSpec};

/// One document of the catalog.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its file, seen from `catalog/`.
    pub file: String,
    pub content: Content,
    /// The same as it was written.
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Content {
    Task(Object<TaskSpec>),
    StepAction(Object<StepActionSpec>),
    Pipeline(Object<PipelineSpec>),
    PipelineRun(Object<PipelineRunSpec>),
    TaskRun(Object<TaskRunSpec>),
    /// An object of Kubernetes' own.
    Other {
        kind: String,
        name: String,
    },
}

/// A file of the catalog as text.
#[derive(Debug, Clone)]
pub struct Source {
    /// Seen from `catalog/`.
    pub file: String,
    pub text: String,
}

/// All documents of the catalog.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub documents: Vec<Document>,
    pub sources: Vec<Source>,
}

/// The folder `catalog/`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog")
}

/// The catalog's YAML files and READMEs.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![folder()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder of the catalog") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = path.strip_prefix(folder()).expect("below the catalog").display().to_string();
            found.push(Source { file, text: std::fs::read_to_string(&path).expect("a text") });
        }
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

impl Catalog {
    /// The catalog as it is.
    ///
    /// # Errors
    /// What cannot be read, one line for each document.
    pub fn read() -> Result<Self, Vec<String>> {
        Self::from_sources(sources())
    }

    fn from_sources(sources: Vec<Source>) -> Result<Self, Vec<String>> {
        let mut catalog = Self::default();
        let problems: Vec<String> =
            sources.into_iter().filter_map(|source| catalog.add(source).err()).flatten().collect();
        if problems.is_empty() { Ok(catalog) } else { Err(problems) }
    }

    /// A copy in which one file is another.
    ///
    /// # Errors
    /// As for [`Catalog::read`].
    pub fn with(&self, source: Source) -> Result<Self, Vec<String>> {
        let mut copy = self.clone();
        copy.documents.retain(|document| document.file != source.file);
        copy.sources.retain(|known| known.file != source.file);
        copy.add(source).map(|()| copy)
    }

    fn add(&mut self, source: Source) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        for (place, text) in blocks(&source) {
            for document in text.split("\n---\n") {
                let value = match read(document) {
                    Ok(Value::Null) => continue,
                    Ok(value) => value,
                    Err(problem) => {
                        problems.push(format!("{place}: {problem}"));
                        continue;
                    }
                };
                match content(&value) {
                    Ok(content) => {
                        self.documents.push(Document { file: source.file.clone(), content, value });
                    }
                    Err(problem) => problems.push(format!("{place}: {problem}")),
                }
            }
        }
        self.sources.push(source);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    pub fn task(&self, name: &str) -> Option<&Object<TaskSpec>> {
        self.documents.iter().find_map(|document| match &document.content {
            Content::Task(task) if task.metadata.name == name => Some(task),
            _ => None,
        })
    }

    pub fn step_action(&self, name: &str) -> Option<&Object<StepActionSpec>> {
        self.documents.iter().find_map(|document| match &document.content {
            Content::StepAction(action) if action.metadata.name == name => Some(action),
            _ => None,
        })
    }

    pub fn pipeline(&self, name: &str) -> Option<&Object<PipelineSpec>> {
        self.documents.iter().find_map(|document| match &document.content {
            Content::Pipeline(pipeline) if pipeline.metadata.name == name => Some(pipeline),
            _ => None,
        })
    }

    /// The documents of one file.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl Iterator<Item = &'a Document> {
        self.documents.iter().filter(move |document| document.file == file)
    }
}

/// A document as kubectl and Tekton read it, which is YAML 1.1. It has to be the same to a reader of YAML
/// 1.2, such as an editor's.
fn read(document: &str) -> Result<Value, String> {
    let older = testbed::yaml::Node::read(document, &mut Budget::default());
    let older = older
        .map_err(|problem| format!("not YAML: line {}: {}", problem.line, problem.wrong))?
        .merged()
        .typed();
    let newer: Value = serde_yaml::from_str(document).map_err(|error| format!("not YAML 1.2: {error}"))?;
    match difference(&older, &newer) {
        None => Ok(older),
        Some(found) => Err(format!("YAML 1.1 and 1.2 differ: {found}")),
    }
}

/// The first place in which two readers differ.
fn difference(older: &Value, newer: &Value) -> Option<String> {
    match (older, newer) {
        (Value::Object(one), Value::Object(other)) if one.keys().eq(other.keys()) => one
            .iter()
            .zip(other.values())
            .find_map(|((key, one), other)| Some(format!(".{key}{}", difference(one, other)?))),
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(at, (one, other))| Some(format!("[{at}]{}", difference(one, other)?))),
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => None,
        _ => (older != newer).then(|| format!(" is {older} and {newer}")),
    }
}

/// The YAML in a file: all of it, or the blocks of a README that hold whole objects.
fn blocks(source: &Source) -> Vec<(String, &str)> {
    if source.file.ends_with(".yaml") {
        return vec![(source.file.clone(), &source.text)];
    }
    let mut found = Vec::new();
    let mut rest = source.text.as_str();
    while let Some((_, after)) = rest.split_once("```yaml\n") {
        let (block, next) = after.split_once("```").unwrap_or((after, ""));
        if block.contains("apiVersion:") {
            let line = source.text.len() - after.len();
            let line = source.text[..line].lines().count();
            found.push((format!("{} (block after line {line})", source.file), block));
        }
        rest = next;
    }
    found
}

fn content(value: &Value) -> Result<Content, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let what = format!("{kind} {name}");
    let read = match (version.as_str(), kind.as_str()) {
        ("tekton.dev/v1", "Task") => typed(value).map(Content::Task),
        ("tekton.dev/v1beta1", "StepAction") => typed(value).map(Content::StepAction),
        ("tekton.dev/v1", "Pipeline") => typed(value).map(Content::Pipeline),
        ("tekton.dev/v1", "PipelineRun") => typed(value).map(Content::PipelineRun),
        ("tekton.dev/v1", "TaskRun") => typed(value).map(Content::TaskRun),
        ("v1", "ConfigMap") => other::<core::v1::ConfigMap>(value, kind, name),
        ("v1", "Secret") => other::<core::v1::Secret>(value, kind, name),
        ("v1", "Service") => other::<core::v1::Service>(value, kind, name),
        ("apps/v1", "Deployment") => other::<apps::v1::Deployment>(value, kind, name),
        ("v1", "ServiceAccount") => other::<core::v1::ServiceAccount>(value, kind, name),
        ("rbac.authorization.k8s.io/v1", "Role") => other::<rbac::v1::Role>(value, kind, name),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => other::<rbac::v1::RoleBinding>(value, kind, name),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => other::<rbac::v1::ClusterRole>(value, kind, name),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            other::<rbac::v1::ClusterRoleBinding>(value, kind, name)
        }
        ("batch/v1", "CronJob") => other::<batch::v1::CronJob>(value, kind, name),
        _ => Err(format!("{version} {kind} is no kind of this catalog")),
    };
    read.map_err(|problem| format!("{what}: {problem}"))
}

fn other<T: DeserializeOwned + Serialize>(
    value: &Value,
    kind: String,
    name: String,
) -> Result<Content, String> {
    typed::<T>(value).map(|_| Content::Other { kind, name })
}

/// Reads a value and writes it again: what is lost on the way is no field of the type. Kubernetes' own types
/// ignore such fields.
fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T, String> {
    let read: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    match lost(value, &again, "") {
        None => Ok(read),
        Some(path) => Err(format!("unknown field {path}")),
    }
}

/// The path of the first thing of `original` that is not in `again`.
fn lost(original: &Value, again: &Value, path: &str) -> Option<String> {
    match (original, again) {
        (Value::Object(fields), _) => {
            fields.iter().filter(|(_, value)| !is_empty(value)).find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                again.get(name).map_or(Some(path.clone()), |again| lost(value, again, &path))
            })
        }
        (Value::Array(items), Value::Array(same)) if items.len() == same.len() => items
            .iter()
            .zip(same)
            .enumerate()
            .find_map(|(index, (item, again))| lost(item, again, &format!("{path}[{index}]"))),
        _ => (original != again).then(|| path.to_owned()),
    }
}

/// What serialising leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
