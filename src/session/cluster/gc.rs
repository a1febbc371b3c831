//! `testbed gc` in a cluster: runs that have expired, and on demand those whose PipelineRun is over.

use std::cell::RefCell;
use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::cli::Gc;
use crate::deadline;
use crate::failure::{Advise, Exit};
use crate::progress::Progress;
use crate::recorder::event::Asked;
use crate::recorder::origin::PipelineRun;
use crate::recorder::{Event, Recorder};
use crate::runtime::kubernetes::gc::pipeline_runs;
use crate::runtime::kubernetes::gc::removal::{Outcome, remove_run};
use crate::runtime::kubernetes::gc::statements::Verdict;
use crate::runtime::kubernetes::gc::survey::{Run, Survey, survey};
use crate::runtime::kubernetes::gc::verdict::{Measure, Reason};
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::removal::{self, Removal};
use crate::runtime::kubernetes::teardown::Timeout;
use crate::runtime::kubernetes::{Choice, Cluster, clock};
use crate::session::gc::Leftover;
use crate::session::interrupted;

const AT_ONCE: usize = 8;

/// Removes them, or tells which would be removed. What was removed until then is in `found` even if it fails.
///
/// # Errors
/// A failed request, explained; exit code 5 with what is left of a run that could not be removed.
pub(crate) async fn gc(
    args: &Gc,
    choice: &Choice,
    recorder: &Recorder,
    deadline: Instant,
    found: &mut Vec<Leftover>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let cluster = Cluster::connect(choice).await?;
    let place = if args.all_namespaces {
        "all namespaces".to_owned()
    } else {
        format!("namespace {}", cluster.namespace)
    };
    progress.explain(&format!("looking for runs in {place} of {} ({})", cluster.server, cluster.source));
    let time = Timeout { told: args.timeout, deadline };
    let left = Left::default();
    let work = async {
        let outcome = timeout_at(
            time.deadline,
            collect(args, &cluster, &place, recorder, found, time, &left, progress),
        )
        .await;
        outcome.unwrap_or_else(|_| {
            Err(cluster.late(args.timeout)).exit(Exit::TeardownIncomplete).hint(left.told(&place))
        })
    };
    tokio::select! {
        outcome = work => outcome,
        error = interrupted() => Err(error).hint("some of what was left behind may still be there; run testbed gc again"),
    }
}

/// The runs that have yet to be removed.
#[derive(Default)]
struct Left(RefCell<Option<BTreeSet<String>>>);

impl Left {
    fn told(&self, place: &str) -> String {
        match &*self.0.borrow() {
            Some(names) if !names.is_empty() => {
                format!(
                    "these may be left, whole or in part: {}; run testbed gc again",
                    names.iter().cloned().collect::<Vec<_>>().join(", ")
                )
            }
            _ => format!("whatever was left behind in {place} may still be there; run testbed gc again"),
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all of one call, and of no other")]
async fn collect(
    args: &Gc,
    cluster: &Cluster,
    place: &str,
    recorder: &Recorder,
    found: &mut Vec<Leftover>,
    time: Timeout,
    unfinished: &Left,
    progress: &Progress,
) -> anyhow::Result<()> {
    // Before the lists, so that nothing looks older than it is.
    let now = clock::now(cluster).await?;
    let Survey { runs, mut kinds, notes } = survey(cluster, args.all_namespaces).await?;
    notes.iter().for_each(|note| progress.explain(note));
    let mut measure = Measure { now, grace: args.grace, lives: None };
    let mut unread = None;
    if args.pipeline_runs {
        let looked = pipeline_runs::look(cluster, &mut kinds, &runs).await?;
        if looked.lives.is_none() {
            progress.say("this cluster has no PipelineRuns of tekton.dev: only the expiry counts");
        }
        (measure.lives, unread) = (looked.lives, looked.failure);
    }
    let left = judge(&runs, &measure, place, progress);
    let mut failures = Failures { first: None, progress };
    if args.dry_run {
        for (run, Verdict { reason, uids, .. }) in &left {
            leftover(run, reason, uids.len(), &measure).tell(found, progress);
        }
    } else {
        warn_of_hidden(&left, progress);
        let sweep = Sweep { cluster, kinds: &kinds, measure: &measure, recorder, time };
        *unfinished.0.borrow_mut() = Some(left.iter().map(|(run, _)| name(run)).collect());
        let removals =
            left.iter().map(|(run, verdict)| async { (*run, sweep.remove(run, &verdict.reason).await) });
        let mut removals = stream::iter(removals).buffer_unordered(AT_ONCE);
        while let Some((run, outcome)) = removals.next().await {
            unfinished.0.borrow_mut().iter_mut().for_each(|names| names.retain(|left| *left != name(run)));
            match outcome {
                Ok(outcome) => take(run, outcome, &measure, found, &mut failures),
                Err(error) => failures.add(of(run, error)),
            }
        }
    }
    unread.into_iter().for_each(|unread| failures.add(unread));
    failures.first.map_or(Ok(()), Err)
}

/// What the removal of every run needs.
struct Sweep<'a> {
    cluster: &'a Cluster,
    kinds: &'a Kinds,
    measure: &'a Measure,
    recorder: &'a Recorder,
    time: Timeout,
}

impl Sweep<'_> {
    /// Collects what there is to know of a run, and removes it.
    async fn remove(&self, run: &Run, reason: &Reason) -> anyhow::Result<Outcome> {
        let Self { cluster, kinds, measure, recorder, time } = self;
        let there = cluster.in_namespace(&run.namespace);
        let recording = removal::recording(recorder, &there, &run.run_id, None, PipelineRun::default());
        let asked =
            |reason: &Reason| Event::RemovalAsked(Asked::Abandoned(reason.word(), reason.told(measure.now)));
        recording.on(asked(reason));
        let _ = Removal::new(&there, &run.run_id, &recording)
            .within(deadline::left(time.deadline) / 2)
            .collect()
            .await;
        let outcome = remove_run(cluster, kinds, run, measure, *time).await;
        match &outcome {
            Ok(Outcome::Removed(reason, _)) => {
                recording.on(asked(reason));
                recording.on(Event::Removed);
            }
            Ok(Outcome::Failed(_, _, error)) | Err(error) => {
                recording.on(Event::LeftOver(format!("{error:#}")));
            }
            Ok(Outcome::Vanished | Outcome::Stays(_) | Outcome::Changed(_)) => {}
        }
        outcome
    }
}

/// The runs that were left behind, each with its reason; says why the others stay.
fn judge<'a>(
    runs: &'a [Run],
    measure: &Measure,
    place: &str,
    progress: &Progress,
) -> Vec<(&'a Run, Verdict)> {
    let mut left = Vec::new();
    for run in runs {
        match run.statements.judge(measure) {
            Ok(verdict) => {
                for stays in &verdict.left {
                    progress.warn(&format!(
                        "{}: {stays} is left: it has the labels of the run, and is not what its pods were made with",
                        name(run)
                    ));
                }
                left.push((run, verdict));
            }
            Err(stay) => progress.explain(&format!("{} stays: {}", name(run), stay.told(measure.now))),
        }
    }
    if left.is_empty() {
        let stay = match runs.len() {
            0 => String::new(),
            1 => " (1 run stays)".to_owned(),
            count => format!(" ({count} runs stay)"),
        };
        progress.say(&format!("nothing to remove in {place}{stay}"));
    }
    left
}

/// A kind that a run has made and that may not be listed stays when the rest of the run goes.
fn warn_of_hidden(left: &[(&Run, Verdict)], progress: &Progress) {
    let hidden: BTreeSet<&str> =
        left.iter().flat_map(|(run, _)| run.hidden.iter().map(|(_, kind)| kind.as_str())).collect();
    for kind in hidden {
        progress.warn(&format!(
            "objects of kind {kind} may not be listed: those of the runs that are removed now stay"
        ));
    }
}

fn take(
    run: &Run,
    outcome: Outcome,
    measure: &Measure,
    found: &mut Vec<Leftover>,
    failures: &mut Failures<'_>,
) {
    let progress = failures.progress;
    match outcome {
        Outcome::Removed(reason, count) => {
            Leftover { removed: true, ..leftover(run, &reason, count, measure) }.tell(found, progress);
        }
        Outcome::Vanished => progress.say(&format!("{} is gone already", name(run))),
        Outcome::Stays(stay) => {
            progress.say(&format!("{} stays: {} by now", name(run), stay.told(measure.now)));
        }
        Outcome::Changed(names) => {
            progress.say(&format!("{} stays: {} changed in the meantime", name(run), names.join(", ")));
        }
        Outcome::Failed(reason, count, error) => {
            found.push(Leftover {
                error: Some(format!("{error:#}")),
                ..leftover(run, &reason, count, measure)
            });
            failures.add(of(run, error));
        }
    }
}

/// What went wrong: the first is the error that the command ends with, the others are told at once.
struct Failures<'a> {
    first: Option<anyhow::Error>,
    progress: &'a Progress,
}

impl Failures<'_> {
    fn add(&mut self, error: anyhow::Error) {
        match self.first {
            None => self.first = Some(error),
            Some(_) => self.progress.warn_of(&error),
        }
    }
}

/// The error of a run that could not be removed.
fn of(run: &Run, error: anyhow::Error) -> anyhow::Error {
    error.context(name(run)).exit(Exit::TeardownIncomplete)
}

fn name(run: &Run) -> String {
    format!("run {} in namespace {}", run.run_id, run.namespace)
}

fn leftover(run: &Run, reason: &Reason, objects: usize, measure: &Measure) -> Leftover {
    Leftover {
        run_id: run.run_id.as_str().to_owned(),
        runtime: "kubernetes",
        namespace: Some(run.namespace.clone()),
        objects: Some(objects),
        reason: reason.word(),
        because: reason.told(measure.now),
        removed: false,
        error: None,
    }
}
