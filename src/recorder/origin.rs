//! Where a record begins: who asked for the run, from where, for which PipelineRun and commit.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::environment::variable;
use crate::history::record::{Origin, Record};

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

/// The PipelineRun that a run belongs to, as far as whoever works on it knows it.
#[derive(Debug, Clone, Default)]
pub struct PipelineRun {
    pub name: Option<String>,
    pub uid: Option<String>,
}

/// A record that begins now: `called` is the subcommand.
pub fn begin(called: &str, run_id: &str, runtime: &str, pipeline_run: &PipelineRun) -> Record {
    let origin = origin(called, pipeline_run);
    let folder = origin
        .folder
        .as_deref()
        .map(Path::new)
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    let name = origin.pipeline_run.clone().or(folder).unwrap_or_else(|| run_id.to_owned());
    Record { name, origin, ..Record::begin(run_id, runtime) }
}

/// Fills in the PipelineRun where it is not known yet.
pub fn belongs_to(origin: &mut Origin, pipeline_run: &PipelineRun) {
    for (known, told) in
        [(&mut origin.pipeline_run, &pipeline_run.name), (&mut origin.pipeline_run_uid, &pipeline_run.uid)]
    {
        *known = known.take().or_else(|| told.clone());
    }
}

fn origin(called: &str, pipeline_run: &PipelineRun) -> Origin {
    let mut origin = Origin {
        called: called.to_owned(),
        host: rustix::system::uname().nodename().to_str().ok().map(str::to_owned),
        user: variable("USER")
            .or_else(|| variable("LOGNAME"))
            .or_else(|| Some(format!("uid {}", rustix::process::getuid().as_raw()))),
        folder: std::env::current_dir().ok().map(|folder| folder.display().to_string()),
        task_run: variable("TESTBED_TASK_RUN"),
        git_commit: COMMITS.into_iter().find_map(variable),
        ..Origin::default()
    };
    belongs_to(&mut origin, pipeline_run);
    origin
}

/// The commit that is checked out in a folder; none without git, or in a repository that it does not trust.
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
