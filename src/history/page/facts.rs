//! What is known of a run and its databases, as labels and values; what is not known is left out.

use serde::Serialize;

use crate::history::record::{Database, Record};
use crate::time::Time;

/// A label and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fact {
    /// What it is.
    pub label: String,
    /// The value.
    pub value: String,
    /// Whether it is something to copy, such as an id, rather than words.
    pub is_code: bool,
}

impl Fact {
    /// A value in words.
    pub(super) fn words(label: &str, value: impl Into<String>) -> Self {
        Self { label: label.to_owned(), value: value.into(), is_code: false }
    }

    fn code(label: &str, value: impl Into<String>) -> Self {
        Self { is_code: true, ..Self::words(label, value) }
    }
}

/// Of a run: which it is, who asked for it, and from where.
pub(super) fn about(record: &Record) -> Vec<Fact> {
    let origin = &record.origin;
    let called = format!("{} ({})", record.tool, origin.called);
    let namespace = origin.namespace.as_ref();
    [
        code("Run id", Some(&record.run_id)),
        code("Record", Some(&record.id)),
        words("Runtime", Some(&record.runtime)),
        words("Made by", Some(if origin.called.is_empty() { &record.tool } else { &called })),
        time("Began", Some(record.began)),
        time("All ready", record.ready),
        time("Gone", record.ended),
        code("PipelineRun", origin.pipeline_run.as_ref()),
        code("PipelineRun UID", origin.pipeline_run_uid.as_ref()),
        code("TaskRun", origin.task_run.as_ref()),
        code("Namespace", namespace),
        code("Cluster", origin.cluster.as_ref()),
        code("Git commit", origin.git_commit.as_ref()),
        words("User", origin.user.as_ref()),
        code("Host", origin.host.as_ref()),
        code("Folder", origin.folder.as_ref()),
        code("Command", record.command.as_ref().map(|command| &command.program)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Of a database.
pub(super) fn card(database: &Database) -> Vec<Fact> {
    let evidence = database.evidence.as_ref();
    let proof = evidence.map(|ready| format!("{} ({})", ready.detail, ready.evidence).trim().to_owned());
    let restarts = (database.restarts > 0).then(|| database.restarts.to_string());
    let workload = database.workload.as_ref().map(|workload| match &database.container {
        Some(container) => format!("{workload}, container {container}"),
        None => workload.clone(),
    });
    [
        words("Engine", Some(&database.engine)),
        words("Version", database.version.as_ref()),
        code("Image", database.image.as_ref()),
        words("Ready because", proof.as_ref()),
        words("Restarts", restarts.as_ref()),
        code("Address", database.address.as_ref()),
        code("Database", database.database.as_ref()),
        code("User", database.user.as_ref()),
        code("Object", workload.as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn words(label: &str, value: Option<&String>) -> Option<Fact> {
    value.filter(|value| !value.is_empty()).map(|value| Fact::words(label, value))
}

fn code(label: &str, value: Option<&String>) -> Option<Fact> {
    value.filter(|value| !value.is_empty()).map(|value| Fact::code(label, value))
}

fn time(label: &str, value: Option<Time>) -> Option<Fact> {
    value.map(|value| Fact::words(label, value.to_string()))
}
