//! What can be asked of a store, and what it answers.

use std::time::Duration;

use serde::Serialize;

use super::record::{Cause, Status};
use super::time::Time;

/// Which runs are meant. What is `None` or empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Begun then or later.
    pub since: Option<Time>,
    /// With one of these statuses.
    pub status: Vec<Status>,
    /// In this namespace.
    pub namespace: Option<String>,
    /// Of the PipelineRun with this name or UID.
    pub pipeline_run: Option<String>,
    /// With a database of this engine.
    pub engine: Option<String>,
}

/// Where a page begins: after a run that was shown before. Its text form is what `--after` takes and `next` in JSON tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// When that run began.
    pub began: Time,
    /// Its record's id, which tells runs of the same millisecond apart.
    pub id: String,
}

/// A run in a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The record's id.
    pub id: String,
    /// The run's id.
    pub run_id: String,
    /// What people call it.
    pub name: String,
    /// How far it came.
    pub status: Status,
    /// Why it failed.
    pub cause: Option<Cause>,
    /// `kubernetes` or `local`.
    pub runtime: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its PipelineRun's name.
    pub pipeline_run: Option<String>,
    /// The engines of its databases, sorted, each once.
    pub engines: Vec<String>,
    /// When it began.
    pub began: Time,
    /// When all databases were ready.
    pub ready: Option<Time>,
    /// When it was gone.
    pub ended: Option<Time>,
}

/// What is kept; a record that either rule takes goes. A run that is not over is spared for a day after its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Records of runs that began longer ago go.
    pub older_than: Option<Duration>,
    /// Only so many of the newest records stay.
    pub keep: Option<u64>,
}

/// What `prune` did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// How many records went.
    pub records: u64,
    /// How many stay.
    pub left: u64,
    /// The store's size in bytes before; `None` where it cannot be told.
    pub bytes_before: Option<u64>,
    /// And afterwards.
    pub bytes_after: Option<u64>,
}
