//! `testbed history` as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::StatusFormat;
use crate::deadline;
use crate::history::query::Cursor;
use crate::history::record::Status;
use crate::history::since::Since;

/// `testbed history`
#[derive(Debug, Args)]
pub struct History {
    /// Where it is kept what became of runs: sqlite:PATH or postgres://USER@HOST/DATABASE. In a URL on the
    /// command line others can see a password in the process list [default: history.db in the state folder]
    #[arg(long, global = true, value_name = "PLACE", env = "TESTBED_HISTORY", hide_env_values = true)]
    pub history: Option<String>,

    /// What is asked.
    #[command(subcommand)]
    pub command: Asking,
}

/// What can be asked of the history.
#[derive(Debug, Subcommand)]
pub enum Asking {
    /// List runs, the newest first
    #[command(after_help = HISTORY_LIST_EXAMPLES)]
    List(HistoryList),
    /// Tell the story of one run: its timeline, why it failed, what the cluster said
    #[command(after_help = HISTORY_SHOW_EXAMPLES)]
    Show(HistoryShow),
    /// Print the logs of a run's databases, whether it is still up or gone
    #[command(after_help = HISTORY_LOGS_EXAMPLES)]
    Logs(HistoryLogs),
    /// Forget old runs
    #[command(after_help = HISTORY_PRUNE_EXAMPLES)]
    Prune(HistoryPrune),
    /// Count over many runs: how long starts took, what failed and why
    #[command(after_help = HISTORY_REPORT_EXAMPLES)]
    Report(HistoryReport),
}

const HISTORY_LIST_EXAMPLES: &str = "\
Examples:
  testbed history list --since 1d
  testbed history list --status failed,abandoned --engine postgres
  testbed history list -n ci --pipeline-run build-7
  testbed history list -o json | jq -r '.runs[] | select(.status == \"failed\") | .cause.text'

A status is starting, up, done, failed, cancelled or abandoned (whoever made it did not remove it).
Only --namespace on the command line chooses among runs here, not TESTBED_NAMESPACE and not testbed.yaml.
In JSON: {\"version\": 1, \"runs\": [...], \"next\": what --after takes for the next page, or null}.
Nothing found is no error: exit code 0.";

const HISTORY_SHOW_EXAMPLES: &str = "\
Examples:
  testbed history show                       the newest run
  testbed history show pr-17                 the newest one with this run id
  testbed history show 0198c0de              the first letters will do, four or more, if they fit one run
  testbed history show -o json | jq '.databases[].timeline'
  testbed history show pr-17 --html run.html one page with timeline, events and logs, with no need of a network

Exit code 1 if there is no such run.";

const HISTORY_LOGS_EXAMPLES: &str = "\
Examples:
  testbed history logs                       all logs of the newest run
  testbed history logs pr-17 postgres --tail 20
  testbed history logs pr-17 mysql --previous
  testbed history logs pr-17 -o json | jq -r '.logs[0].text'

A run that is up is read where it is: the files of this machine, the pods of the cluster. One that is gone is read from the history.
Passwords are left out of both. With several logs, each line begins with the name of its database. Exit code 1 if there is no log.";

const HISTORY_PRUNE_EXAMPLES: &str = "\
Examples:
  testbed history prune --older-than 30d
  testbed history prune --keep 1000 --dry-run      what would go
  testbed history prune --older-than 30d --keep 1000     what either rule takes goes

The records and their logs go, and their space is given back.";

const HISTORY_REPORT_EXAMPLES: &str = "\
Examples:
  testbed history report --since 30d
  testbed history report -n ci --engine mysql -o json
  testbed history report --html report.html        one page, with no need of a network

The last seven days are counted, unless --since says otherwise, and at most the newest 10,000 runs.
Only --namespace on the command line chooses among runs here, not TESTBED_NAMESPACE and not testbed.yaml.";

/// `testbed history list`
#[derive(Debug, Args)]
pub struct HistoryList {
    #[command(flatten)]
    pub wanted: Wanted,

    /// How many at most
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// The page after this one: what the page before told
    #[arg(long, value_name = "CURSOR", value_parser = Cursor::parse)]
    pub after: Option<Cursor>,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_STATUS_FORMAT", default_value = "table")]
    pub output: StatusFormat,
}

/// Which runs are meant.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Begun since then: a duration (7d, 90m), a day (2026-01-31) or a moment (2026-01-31T12:00:00Z); without
    /// an offset, in UTC
    #[arg(long, value_name = "WHEN", value_parser = Since::parse)]
    pub since: Option<Since>,

    /// With one of these statuses
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<Status>,

    /// Of the PipelineRun with this name or UID
    #[arg(long, value_name = "NAME|UID")]
    pub pipeline_run: Option<String>,

    /// With a database of this engine: mysql, mariadb, postgres
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,
}

/// `testbed history show`
#[derive(Debug, Args)]
pub struct HistoryShow {
    /// The run's id, or that of its record, or its first letters [default: the newest run]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,

    /// Write a page for a browser instead, with the logs; - for standard output
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_HISTORY_FORMAT", default_value = "text")]
    pub output: HistoryFormat,
}

/// `testbed history report`
#[derive(Debug, Args)]
pub struct HistoryReport {
    #[command(flatten)]
    pub wanted: Wanted,

    /// Write a page for a browser instead; - for standard output
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_HISTORY_FORMAT", default_value = "text")]
    pub output: HistoryFormat,
}

/// `testbed history logs`
#[derive(Debug, Args)]
pub struct HistoryLogs {
    /// The run's id, or that of its record, or its first letters [default: the newest run]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,

    /// Only those of this database, pod or container
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    /// The logs of the containers before their last restart
    #[arg(short, long)]
    pub previous: bool,

    /// Only the last lines of each log
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_HISTORY_FORMAT", default_value = "text")]
    pub output: HistoryFormat,
}

/// `testbed history prune`
#[derive(Debug, Args)]
pub struct HistoryPrune {
    /// Forget runs that began longer ago
    #[arg(long, value_name = "DURATION", env = "TESTBED_HISTORY_OLDER_THAN", value_parser = deadline::parse)]
    pub older_than: Option<Duration>,

    /// Keep only so many of the newest
    #[arg(long, value_name = "N", env = "TESTBED_HISTORY_KEEP")]
    pub keep: Option<u64>,

    /// Only tell what would go
    #[arg(long, env = "TESTBED_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,

    /// The format
    #[arg(short, long, value_name = "FORMAT", env = "TESTBED_HISTORY_FORMAT", default_value = "text")]
    pub output: HistoryFormat,
}

/// A format for `history`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HistoryFormat {
    /// For people.
    Text,
    /// JSON for programs.
    Json,
}
