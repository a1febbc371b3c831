//! What can be asked of a store, and what it answers.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::record::{Cause, Status};
use crate::time::Time;

/// Which runs are meant. What is `None` or empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Begun then or later.
    pub since: Option<Time>,
    pub status: Vec<Status>,
    pub namespace: Option<String>,
    /// Of the PipelineRun with this name or UID.
    pub pipeline_run: Option<String>,
    /// With a database of this engine.
    pub engine: Option<String>,
}

/// Where a page begins: after a run that was shown before. `--after` and `next` in JSON have it as a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub began: Time,
    /// Its record's id, which tells runs of the same millisecond apart.
    pub id: String,
}

impl Cursor {
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = |text: &str| {
            let (began, id) = text.split_once('.')?;
            Some(Self {
                began: Time::from_millis(began.parse().ok()?),
                id: Uuid::try_parse(id).ok()?.to_string(),
            })
        };
        read(text).ok_or_else(|| {
            "take what the page before tells: \"next\" in JSON, the last line of a table".to_owned()
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.began.millis(), self.id)
    }
}

impl Summary {
    pub fn cursor(&self) -> Cursor {
        Cursor { began: self.began, id: self.id.clone() }
    }
}

/// A run in a list: these fields of its [`Record`](super::record::Record).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub id: String,
    pub run_id: String,
    pub name: String,
    pub status: Status,
    pub cause: Option<Cause>,
    pub runtime: String,
    pub namespace: Option<String>,
    pub pipeline_run: Option<String>,
    /// The engines of its databases, sorted, each once.
    pub engines: Vec<String>,
    pub began: Time,
    pub ready: Option<Time>,
    pub ended: Option<Time>,
}

/// A record that either rule takes goes. A run that is not over is spared for a day after its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub older_than: Option<Duration>,
    /// Only so many of the newest records stay.
    pub keep: Option<u64>,
}

/// What `prune` did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    pub records: u64,
    pub left: u64,
    /// The store's size in bytes before; `None` where it cannot be told.
    pub bytes_before: Option<u64>,
    /// And afterwards.
    pub bytes_after: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let cursor = Cursor { began: Time::from_millis(1_700_000_000_123), id: Uuid::now_v7().to_string() };
        assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor.clone()));
        for wrong in ["", "1", "1.", ".x", "1.not-a-uuid", "x.0198c0de-0000-7000-8000-000000000000"] {
            assert!(Cursor::parse(wrong).is_err(), "{wrong}");
        }
    }
}
