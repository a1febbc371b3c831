//! `$(params.x)` and its like: where they stand, what they are called, and what Tekton puts in their place.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::model::{
    Param, ParamSpec, ParamValue, PipelineSpec, PipelineTask, ResultSpec, Step, TaskSpec,
    WorkspaceDeclaration,
};

/// What stands first in a variable of Tekton's. Everything else in `$( )` is the shell's, Kubernetes' or
/// testbed's.
const ROOTS: [&str; 8] = ["params", "workspaces", "results", "step", "steps", "tasks", "context", "finally"];

/// Variables by their names, in the spelling with dots.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<String, ParamValue>);

impl Variables {
    pub fn text(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), ParamValue::Text(value.into()));
    }

    pub fn value(&mut self, name: impl Into<String>, value: ParamValue) {
        self.0.insert(name.into(), value);
    }

    /// Sets `params.NAME` for each declared param: what is passed, else its default, itself substituted by
    /// what is passed to the whole.
    pub fn params(&mut self, specs: &[ParamSpec], passed: &[Param]) {
        for spec in specs {
            let given = passed.iter().find(|param| param.name == spec.name).map(|param| param.value.clone());
            if let Some(value) = given.or_else(|| spec.default.clone()) {
                self.value(format!("params.{}", spec.name), value);
            }
        }
    }

    /// Puts the variables into a text. What is not known stays, as Tekton leaves it.
    pub fn substitute(&self, text: &str) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = next(rest) {
            result.push_str(before);
            match self.0.get(&canonical(name)) {
                Some(ParamValue::Text(value)) => result.push_str(value),
                _ => result.push_str(&format!("$({name})")),
            }
            rest = after;
        }
        result + rest
    }

    /// The same for a list, in which `$(params.x[*])` alone stands for all of an array's items.
    pub fn substitute_list(&self, texts: &[String]) -> Vec<String> {
        let items = texts.iter().flat_map(|text| match whole_list(text).and_then(|name| self.0.get(&name)) {
            Some(ParamValue::List(items)) => items.clone(),
            _ => vec![self.substitute(text)],
        });
        items.collect()
    }

    /// The same for every text in a value.
    pub fn substitute_all(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.substitute(text).into(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let texts: Vec<String> = items.iter().filter_map(Value::as_str).map(Into::into).collect();
                self.substitute_list(&texts).into()
            }
            Value::Array(items) => items.iter().map(|item| self.substitute_all(item)).collect(),
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(name, value)| (name.clone(), self.substitute_all(value))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// The variables in a value that are not among these.
    pub fn unknown_in(&self, value: &Value) -> Vec<String> {
        let names = references(value).into_iter().filter(|name| !self.0.contains_key(&canonical(name)));
        names.collect()
    }

    /// The params that are declared, by their defaults.
    pub fn declared(params: &[ParamSpec]) -> Self {
        let mut known = Self::default();
        for spec in params {
            known.value(
                format!("params.{}", spec.name),
                spec.default.clone().unwrap_or(ParamValue::Text(String::new())),
            );
        }
        known
    }

    /// Adds what a Task may use besides. The PipelineRun's context is not among it: a Task that is referred
    /// to does not get that.
    pub fn in_task(mut self, task: &TaskSpec) -> Self {
        for WorkspaceDeclaration { name, .. } in &task.workspaces {
            for part in ["path", "bound", "claim", "volume"] {
                self.text(format!("workspaces.{name}.{part}"), "");
            }
        }
        for ResultSpec { name, .. } in &task.results {
            self.text(format!("results.{name}.path"), "");
        }
        for Step { name, .. } in &task.steps {
            self.text(format!("steps.step-{name}.exitCode.path"), "");
        }
        for name in ["taskRun.name", "taskRun.namespace", "taskRun.uid", "task.name", "task.retry-count"] {
            self.text(format!("context.{name}"), "");
        }
        self
    }

    /// Adds what a pipeline's tasks may use besides, given the results of a task; in `finally` the tasks'
    /// outcomes too.
    pub fn in_pipeline(
        mut self,
        pipeline: &PipelineSpec,
        results: impl Fn(&PipelineTask) -> Vec<String>,
        in_finally: bool,
    ) -> Self {
        for WorkspaceDeclaration { name, .. } in &pipeline.workspaces {
            self.text(format!("workspaces.{name}.bound"), "");
        }
        for task in &pipeline.tasks {
            for result in results(task) {
                self.text(format!("tasks.{}.results.{result}", task.name), "");
            }
            if in_finally {
                self.text(format!("tasks.{}.status", task.name), "");
                self.text("tasks.status", "");
            }
        }
        for name in ["pipelineRun.name", "pipelineRun.namespace", "pipelineRun.uid", "pipeline.name"] {
            self.text(format!("context.{name}"), "");
        }
        self
    }

    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// The variables of Tekton's in all texts of a value, as they are spelt.
pub fn references(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => in_text(text),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(fields) => fields.values().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The params that something in a value reads.
pub fn params_in(value: &impl Serialize) -> BTreeSet<String> {
    let value = serde_json::to_value(value).expect("a value");
    references(&value)
        .into_iter()
        .filter_map(|name| Some(canonical(&name).strip_prefix("params.")?.to_owned()))
        .collect()
}

fn in_text(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, name, after)) = next(rest) {
        found.push(name.to_owned());
        rest = after;
    }
    found
}

/// What is before the first variable of Tekton's, its name, and what is after it.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("$(").map(|at| at + from) {
        let inside = &text[at + 2..];
        let end = inside.find(')')?;
        let name = &inside[..end];
        let root = name.split(['.', '[']).next().unwrap_or_default();
        if ROOTS.contains(&root) && name.len() > root.len() && !name.contains(char::is_whitespace) {
            return Some((&text[..at], name, &inside[end + 1..]));
        }
        from = at + 2;
    }
    None
}

/// `params["x"]` and `params.x[*]` to `params.x`.
pub fn canonical(name: &str) -> String {
    let name = name.strip_suffix("[*]").unwrap_or(name);
    name.replace("[\"", ".").replace("['", ".").replace("\"]", "").replace("']", "")
}

/// The array that a text stands for as a whole.
fn whole_list(text: &str) -> Option<String> {
    let name = text.strip_prefix("$(")?.strip_suffix("[*])")?;
    Some(canonical(name))
}
