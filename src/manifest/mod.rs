//! From manifest files and built-in templates to the objects of one run. No clock, no randomness, no network;
//! what it needs is passed in, but for the set-up scripts, which [`setup`] reads, and what [`seed`] puts in once.
//!
//! [`ours`] tells templates from other texts, [`foreign`] what is made for other tools; [`render`] turns each
//! template into text, [`parse`] the text into [`Object`]s, [`check`] refuses what
//! could not work, [`policy`] what should not, [`images`] takes images from where the user has them, and
//! [`stamp`] puts the run's labels and annotations on. Once the databases are found, [`mesh`] keeps sidecars
//! out of their pods.

pub mod builtin;
pub mod check;
pub mod foreign;
pub mod images;
mod includes;
pub mod kept;
pub mod lifetime;
pub mod mesh;
pub mod ours;
pub mod owner;
pub mod parse;
pub mod platform;
pub mod policy;
pub mod quantity;
pub mod render;
pub mod restricted;
pub mod seed;
pub mod setup;
pub mod stamp;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Where an object was written: for error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's path as the user gave it, or the `--with` that asked for a built-in template.
    pub file: Arc<str>,
    /// The document's number in the file, from 1.
    pub document: usize,
    /// The line of the rendered text on which the document's content starts, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {} (line {})", self.file, self.document, self.line)
    }
}

/// One Kubernetes object of the run, as it will be sent.
#[derive(Debug, Clone)]
pub struct Object {
    pub origin: Origin,
    /// `v1`, `apps/v1`, ...
    pub api_version: String,
    /// `Pod`, `Service`, ...
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// The whole object, `apiVersion`, `kind` and `metadata` included.
    pub body: Map<String, Value>,
}

impl Object {
    pub fn kind_name(&self) -> (String, String) {
        (self.api_version.clone(), self.kind.clone())
    }

    /// The namespace that the object names, if it names one.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata("namespace").and_then(Value::as_str).filter(|namespace| !namespace.is_empty())
    }

    /// Whether the object goes to this namespace, if it is the run's.
    pub fn is_in(&self, namespace: &str) -> bool {
        self.namespace().is_none_or(|own| own == namespace)
    }

    /// `Kind name`, as error messages call an object.
    pub fn label(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// A text field of the metadata.
    pub fn metadata(&self, field: &str) -> Option<&Value> {
        self.body.get("metadata")?.get(field)
    }

    /// The pod template inside a workload object (Deployment, StatefulSet, Job, ...), if this is one.
    pub fn pod_template(&self) -> Option<&Value> {
        POD_TEMPLATES.iter().find_map(|path| {
            let template = path.iter().try_fold(self.body.get("spec")?, |value, key| value.get(key))?;
            is_pod_template(template).then_some(template)
        })
    }

    /// [`Object::pod_template`], to write.
    pub fn pod_template_mut(&mut self) -> Option<&mut Value> {
        let spec = self.body.get_mut("spec")?;
        let path = POD_TEMPLATES.iter().find(|path| {
            path.iter().try_fold(&*spec, |value, key| value.get(key)).is_some_and(is_pod_template)
        })?;
        path.iter().try_fold(spec, |value, key| value.get_mut(key))
    }

    /// The pod that this is, or the template of those that it makes: what has `metadata` and `spec` of a pod.
    pub fn pod_mut(&mut self) -> Option<&mut Map<String, Value>> {
        if (self.api_version.as_str(), self.kind.as_str()) == ("v1", "Pod") {
            return Some(&mut self.body);
        }
        self.pod_template_mut().and_then(Value::as_object_mut)
    }
}

/// Where kinds keep a pod template below `spec`: the apps and batch groups, and CronJob. Custom kinds usually
/// follow the first.
const POD_TEMPLATES: [&[&str]; 2] = [&["template"], &["jobTemplate", "spec", "template"]];

fn is_pod_template(value: &Value) -> bool {
    value.get("spec").and_then(|spec| spec.get("containers")).is_some_and(Value::is_array)
}
