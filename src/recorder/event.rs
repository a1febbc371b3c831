//! What happens to a run, as plain values: told by those that make, use and remove it.

use serde_json::Value;

use crate::failure::{Exit, exit_of, kind_of};
use crate::history::log::Log;
use crate::history::record::{self, Cause, Database, Moment, Record, Status};
use crate::manifest::owner::Owner;
use crate::redact::Redactor;
use crate::time::Time;

pub enum Event {
    /// Its first object, or server, is about to be made.
    Begun {
        /// The objects of its manifest, where the cluster does not tell of them later.
        objects: Vec<Value>,
        databases: Vec<Database>,
        /// Knows the secrets of both.
        redactor: Redactor,
    },
    /// Its objects were created.
    Created {
        /// Whether this call has made all of them.
        is_fresh: bool,
        /// The record that those carry that another call has made.
        record: Option<String>,
    },
    /// Something happened to a database: the `nth` of its kind, from 1.
    Database {
        name: String,
        nth: usize,
        moment: Moment,
    },
    /// All databases are ready: what is known of each by now.
    Ready {
        databases: Vec<Database>,
        at: Time,
    },
    /// It failed, or was interrupted. What there is of it stays until it is removed.
    Failed(Failure),
    /// The same, and nothing of it is there.
    NotMade(Failure),
    /// The command of `testbed run` ended.
    CommandEnded {
        command: record::Command,
        /// What failed besides it.
        failure: Option<Failure>,
        /// Whether testbed was asked to end meanwhile, and passed that on.
        was_asked_to_end: bool,
    },
    /// What there is of it was collected, before it is removed or left.
    Collected {
        parts: Vec<(Option<String>, Part)>,
        /// What could not be collected.
        notes: Vec<String>,
    },
    /// Somebody asks for its removal.
    RemovalAsked(Asked),
    Removed,
    /// Some of it is left, with the reason.
    LeftOver(String),
}

impl Event {
    /// What came of a removal.
    pub fn of_removal<T>(removed: &anyhow::Result<T>) -> Self {
        match removed {
            Ok(_) => Self::Removed,
            Err(left) => Self::LeftOver(format!("{left:#}")),
        }
    }
}

/// What was found of a run that belongs to one record.
#[derive(Debug, Default)]
pub struct Part {
    pub objects: Vec<Value>,
    /// What the cluster said about them, from old to new.
    pub events: Vec<record::Event>,
    pub logs: Vec<Log>,
    /// The databases, as far as the objects tell.
    pub databases: Vec<Database>,
    /// When the first of the objects was made.
    pub began: Option<Time>,
    /// The PipelineRun that owns them: its name and its UID.
    pub pipeline_run: Option<Owner>,
}

/// Why a run is removed.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Its maker is done with it.
    ByMaker,
    /// Somebody has called `testbed down`.
    Down,
    /// Its maker has left it behind: a word to count by, and the reason.
    Abandoned(&'static str, String),
}

/// What an error makes of a run.
#[derive(Debug, Clone)]
pub struct Failure {
    status: Status,
    cause: Cause,
}

impl Failure {
    pub fn of(error: &anyhow::Error) -> Self {
        let (status, word) = match exit_of(error) {
            Exit::Interrupted | Exit::Terminated => (Status::Cancelled, "interrupted"),
            Exit::NotReady => (Status::Failed, "not-ready"),
            Exit::Never => (Status::Failed, "never-ready"),
            _ => (Status::Failed, "failure"),
        };
        let kind = kind_of(error).filter(|_| status == Status::Failed);
        let cause = Cause {
            kind: kind.map_or_else(|| word.to_owned(), |kind| kind.word.clone()),
            database: kind.and_then(|kind| kind.database.clone()),
            text: format!("{error:#}"),
        };
        Self { status, cause }
    }

    /// The error as a person was told it.
    pub fn text(&self) -> &str {
        &self.cause.text
    }

    pub fn put_into(self, record: &mut Record) {
        (record.status, record.cause) = (self.status, Some(self.cause));
    }
}

impl Asked {
    /// What is known to be over otherwise stays what it is.
    pub fn put_into(self, record: &mut Record) {
        let (called, kind, why) = match self {
            Self::ByMaker => return,
            Self::Down if record.status == Status::Up => {
                record.status = Status::Done;
                return called_by(record, "down");
            }
            Self::Down => {
                ("down", "unfinished", "its testbed ended before the databases were ready".to_owned())
            }
            Self::Abandoned(kind, why) => ("gc", kind, why),
        };
        called_by(record, called);
        if matches!(record.status, Status::Starting | Status::Up) {
            record.status = Status::Abandoned;
            record.cause = Some(Cause { kind: kind.to_owned(), database: None, text: why });
        }
    }
}

fn called_by(record: &mut Record, called: &str) {
    if record.origin.called.is_empty() {
        called.clone_into(&mut record.origin.called);
    }
}
