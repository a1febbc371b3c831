//! The beginning of a run's story, who asked for it, from where; and its end, when that is a failure.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::said;
use crate::cli::PipelineRun;
use crate::environment::variable;
use crate::failure::{Exit, exit_of, kind_of};
use crate::history::chronicle;
use crate::history::record::{Cause, Database, Moment, Origin, Record, Status, What};
use crate::history::time::Time;

/// How long git may take to tell the commit.
const GIT: Duration = Duration::from_secs(2);

/// Variables in which CI systems tell the commit, ours first.
const COMMITS: [&str; 8] = [
    "TESTBED_GIT_COMMIT",
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "GIT_COMMIT",
    "BUILDKITE_COMMIT",
    "CIRCLE_SHA1",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",
];

/// A record that begins now: `called` is the subcommand.
pub fn begin(called: &str, run_id: &str, runtime: &str, pipeline_run: &PipelineRun) -> Record {
    let origin = origin(called, pipeline_run);
    let folder = origin.folder.as_deref().map(Path::new).and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = origin.pipeline_run.clone().or(folder).unwrap_or_else(|| run_id.to_owned());
    Record { name, origin, ..Record::begin(run_id, runtime) }
}

/// The PipelineRun that a run belongs to, as whoever works on it now knows it.
pub fn belongs_to(origin: &mut Origin, pipeline_run: &PipelineRun) {
    for (known, told) in [(&mut origin.pipeline_run, &pipeline_run.name), (&mut origin.pipeline_run_uid, &pipeline_run.uid)] {
        *known = known.take().or_else(|| said(told));
    }
}

fn origin(called: &str, pipeline_run: &PipelineRun) -> Origin {
    let mut origin = Origin {
        called: called.to_owned(),
        host: rustix::system::uname().nodename().to_str().ok().map(str::to_owned),
        user: variable("USER").or_else(|| variable("LOGNAME")).or_else(|| Some(format!("uid {}", rustix::process::getuid().as_raw()))),
        folder: std::env::current_dir().ok().map(|folder| folder.display().to_string()),
        task_run: variable("TESTBED_TASK_RUN"),
        git_commit: COMMITS.into_iter().find_map(variable),
        ..Origin::default()
    };
    belongs_to(&mut origin, pipeline_run);
    origin
}

/// What an error makes of a run.
pub fn failed(error: &anyhow::Error) -> impl FnOnce(&mut Record) + Clone + Send + use<> {
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
    move |record| {
        record.status = status;
        record.cause = Some(cause);
    }
}

/// Whoever made the run has not removed it: what is known to be over otherwise stays what it is.
pub fn abandoned(kind: &'static str, why: String) -> impl FnOnce(&mut Record) + Clone + Send {
    move |record| {
        set_called(record, "gc");
        if matches!(record.status, Status::Starting | Status::Up) {
            record.status = Status::Abandoned;
            record.cause = Some(Cause { kind: kind.to_owned(), database: None, text: why });
        }
    }
}

/// Somebody asked for the removal of a run.
pub fn down(record: &mut Record) {
    set_called(record, "down");
    match record.status {
        Status::Up => record.status = Status::Done,
        _ => abandoned("unfinished", "its testbed ended before the databases were ready".to_owned())(record),
    }
}

fn set_called(record: &mut Record, called: &str) {
    if record.origin.called.is_empty() {
        called.clone_into(&mut record.origin.called);
    }
}

/// Puts what is known of databases into their places in a record.
pub fn take_over(record: &mut Record, databases: Vec<Database>) {
    for mut known in databases {
        // On this machine nothing but the name tells them apart.
        let is_it = |other: &&mut Database| {
            other.workload == known.workload && other.container == known.container && (known.workload.is_some() || other.name == known.name)
        };
        match record.databases.iter_mut().find(is_it) {
            None => record.databases.push(known),
            Some(stored) => {
                let (mut timeline, evidence, version) =
                    (std::mem::take(&mut stored.timeline), stored.evidence.take(), stored.version.take());
                chronicle::merge(&mut timeline, known.timeline);
                known.timeline = timeline;
                known.evidence = known.evidence.or(evidence);
                known.version = known.version.or(version);
                known.restarts = stored.restarts;
                *stored = known;
            }
        }
    }
}

/// Notes what happens to all databases at once, and to the run as a whole.
pub fn happens_to_all(record: &mut Record, what: What, at: Time) {
    let timelines = record.databases.iter_mut().map(|database| &mut database.timeline);
    for timeline in timelines.chain([&mut record.timeline]) {
        chronicle::add(timeline, 1, Moment { what, at, detail: String::new() });
    }
}

/// The commit that is checked out in a folder, as git tells it: none where there is no git, no repository, or one that git does not trust.
pub async fn checked_out(folder: &str) -> Option<String> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--verify", "--quiet", "HEAD"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(GIT, git.output()).await.ok()?.ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
