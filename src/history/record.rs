//! One run's record, as it is stored and as `-o json` shows it.
//!
//! The JSON is stable: its `version` grows only when a field goes away or changes its meaning. New fields may
//! come at any time, and what is unknown is passed over.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::Ready;
use crate::time::Time;

/// The version of the JSON.
pub const VERSION: u32 = 1;

/// What the history keeps of a run. Holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// The version of the JSON: [`VERSION`].
    pub version: u32,
    /// A UUID of version 7, as run ids may be used again. Ids sort by the time of their making.
    pub id: String,
    pub run_id: String,
    /// What people call it: the PipelineRun's name, else that of the folder that testbed was called in.
    pub name: String,
    pub status: Status,
    /// Why it is `failed`, `cancelled` or `abandoned`.
    pub cause: Option<Cause>,
    /// `kubernetes` or `local`.
    pub runtime: String,
    /// What wrote it, such as `testbed 0.1.0`.
    pub tool: String,
    /// When testbed was called to make it. For a run that was found only when it was removed: when its first
    /// object was made.
    pub began: Time,
    pub ready: Option<Time>,
    pub ended: Option<Time>,
    pub origin: Origin,
    pub command: Option<Command>,
    /// In the manifest's order.
    pub databases: Vec<Database>,
    /// What happened to the run as a whole.
    pub timeline: Vec<Moment>,
    /// The objects as they last were, without secrets and without `managedFields`.
    pub objects: Vec<Value>,
    /// What the cluster said about them, from old to new.
    pub events: Vec<Event>,
    pub logs: Vec<LogInfo>,
    /// What could not be collected, and why: one sentence each.
    pub notes: Vec<String>,
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was being made when this was last written.
    #[default]
    Starting,
    /// Its databases were ready, and nobody has removed it since.
    Up,
    /// Its databases were ready, and it was removed; the command of `testbed run` ended with 0.
    Done,
    /// Its databases did not become ready, or the command of `testbed run` failed.
    Failed,
    Cancelled,
    /// Whoever made it did not remove it: `gc`, or a later command, did.
    Abandoned,
}

impl Status {
    /// Whether it is an end that nobody wanted.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled | Self::Abandoned)
    }

    /// The name, as JSON and the flags spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
        }
    }

    /// Reads such a name.
    pub fn parse(name: &str) -> Option<Self> {
        clap::ValueEnum::from_str(name, false).ok()
    }
}

/// Why a run failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cause {
    /// A word to count by, such as `not-ready`, `ErrImagePull`, `command` or `interrupted`.
    pub kind: String,
    /// The database that it is about, if it is about one.
    pub database: Option<String>,
    /// The error as a person was told it.
    pub text: String,
}

/// Who asked for a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Origin {
    /// The subcommand that made the record: `up` or `run`; `down` or `gc` for a run that only they have seen.
    pub called: String,
    /// The machine or pod.
    pub host: Option<String>,
    /// The operating system's user.
    pub user: Option<String>,
    /// The folder that testbed was called in.
    pub folder: Option<String>,
    /// The cluster's API server.
    pub cluster: Option<String>,
    pub namespace: Option<String>,
    pub pipeline_run: Option<String>,
    pub pipeline_run_uid: Option<String>,
    pub task_run: Option<String>,
    /// The commit that is checked out, or that the CI system names.
    pub git_commit: Option<String>,
}

/// The command of `testbed run`: its program alone, because arguments may hold secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Command {
    pub program: String,
    /// The exit code that testbed passed on.
    pub exit_code: Option<u8>,
    pub began: Option<Time>,
    pub ended: Option<Time>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Database {
    /// What messages call it.
    pub name: String,
    /// `mysql`, `mariadb` or `postgres`.
    pub engine: String,
    /// The image as the manifest names it; none on this machine.
    pub image: Option<String>,
    /// The version that the server reported, such as `17.2` or `10.11.6-MariaDB`.
    pub version: Option<String>,
    /// The manifest's object behind it, as `Kind/name`; none on this machine.
    pub workload: Option<String>,
    pub container: Option<String>,
    /// Where the tests find it: host name and port.
    pub address: Option<String>,
    /// The tests' user.
    pub user: Option<String>,
    /// The tests' database.
    pub database: Option<String>,
    /// What proved that it was ready.
    pub evidence: Option<Ready>,
    /// How often its container was restarted.
    pub restarts: u32,
    /// What happened to it, from old to new.
    pub timeline: Vec<Moment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    pub what: What,
    /// When, by the clock of whoever saw it.
    pub at: Time,
    /// More about it, such as the node or the reason; empty where there is nothing to say.
    #[serde(default)]
    pub detail: String,
}

/// What happens to a database, in this order as long as all goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Its object was made; on this machine, its folder.
    Created,
    /// A node was found for its pod.
    Scheduled,
    /// On this machine: its data folder was there, copied or made for the first time.
    Prepared,
    /// Its image was there.
    Pulled,
    /// Its container, or its server, was started.
    Started,
    /// A set-up server answered.
    SetUpServer,
    /// The container was started again.
    Restarted,
    Ready,
    /// Its server or container ended although nobody had asked for it.
    Ended,
    /// Somebody asked for its removal.
    Deleting,
    /// It was gone.
    Deleted,
}

impl What {
    /// The name, as JSON spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Scheduled => "scheduled",
            Self::Prepared => "prepared",
            Self::Pulled => "pulled",
            Self::Started => "started",
            Self::SetUpServer => "set-up-server",
            Self::Restarted => "restarted",
            Self::Ready => "ready",
            Self::Ended => "ended",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }
}

/// What the cluster said about an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// When it was said last, by the cluster's clock.
    pub at: Option<Time>,
    pub warning: bool,
    /// The object, as `Kind/name`.
    pub object: String,
    /// Such as `FailedMount`.
    pub reason: String,
    /// The message, in one line.
    pub message: String,
    /// How often it was said.
    pub count: u32,
}

/// Which log is stored, and how much of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogInfo {
    /// The pod's name; on this machine, that of the database.
    pub source: String,
    /// The container; empty on this machine.
    pub container: String,
    /// Whether it is the log of the container before the last restart.
    pub previous: bool,
    /// The database whose log it is, if it is one's.
    pub database: Option<String>,
    /// The bytes that were read, before anything was left out.
    pub bytes: u64,
    /// The bytes of the text that is stored, before its compression.
    pub kept: u64,
    /// What is missing of it, and why; `None` where it is whole.
    pub cut: Option<String>,
}

impl Record {
    pub fn begin(run_id: &str, runtime: &str) -> Self {
        Self {
            version: VERSION,
            id: uuid::Uuid::now_v7().to_string(),
            run_id: run_id.to_owned(),
            runtime: runtime.to_owned(),
            tool: concat!("testbed ", env!("CARGO_PKG_VERSION")).to_owned(),
            began: Time::now(),
            ..Self::default()
        }
    }

    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }
}

impl Database {
    pub fn first(&self, what: What) -> Option<Time> {
        self.timeline.iter().find(|moment| moment.what == what).map(|moment| moment.at)
    }
}
