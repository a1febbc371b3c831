//! What becomes of the objects of a run that did not come up.

use std::time::Duration;

use tokio::time::timeout;

use super::session::{collect, removal};
use crate::commands::plan::Plan;
use crate::failure::{Advise, hints_of};
use crate::manifest::Object;
use crate::manifest::stamp::RUN_HASH_ANNOTATION;
use crate::progress::Progress;
use crate::recorder::event::{Asked, Failure};
use crate::recorder::{Event, Recording};
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::create::Created;
use crate::runtime::kubernetes::removal::Limit;
use crate::runtime::kubernetes::teardown::DEFAULT_GRACE;
use crate::state::Remembered;

/// How long the teardown may take that `up` and `run` themselves do.
pub(crate) const TEARDOWN: Duration = Duration::from_secs(60);

/// The same after an `up` that has failed: as long as it might take itself.
fn removal_within(timeout: Duration) -> Duration {
    timeout.clamp(Duration::from_secs(5), TEARDOWN)
}

/// How long the teardown may take of an `up` that is cancelled: whoever cancels it does not wait long.
const CANCELLATION: Duration = Duration::from_millis(3500);
/// The part of it in which the objects may end.
const ENDING: Duration = Duration::from_millis(2500);

/// The hash that all objects of this call carry.
fn made_by(plan: &Plan) -> Option<&str> {
    plan.objects.first()?.metadata("annotations")?.get(RUN_HASH_ANNOTATION)?.as_str()
}

/// After a failure that waiting would not mend, such as a right that is missing: what this call has made goes again, and what an earlier
/// one has made stays.
pub(crate) async fn undo(
    error: anyhow::Error,
    plan: &Plan,
    recording: &Recording<'_>,
    cluster: &Cluster,
    created: &Created,
    within: Duration,
) -> anyhow::Error {
    recording.on(Event::Failed(Failure::of(&error)));
    if !created.adopted.is_empty() {
        collect(plan, cluster, recording).await;
        return error;
    }
    match removal(plan, cluster, recording).undo(made_by(plan), removal_within(within), |_| {}).await {
        Ok(_) => error,
        Err(left) => Err::<(), _>(error).hint(format!("its objects could not be removed again: {left:#}")).unwrap_err(),
    }
}

/// After a failure that deserves a look: what exists stays, and the message says how to look and how to remove it.
pub(crate) fn leave(error: anyhow::Error, remove: &str, look: &str) -> anyhow::Error {
    // A failure with a cause may say itself what to look at.
    let is_said = hints_of(&error).iter().any(|hint| hint.starts_with("look at it"));
    let error = if is_said { Err(error) } else { Err::<(), _>(error).hint(look) };
    error.hint(remove).unwrap_err()
}

/// After the same with `--on-failure delete`: what this call has made goes, unless an earlier one has made a part of it. What another call has made
/// of the same run stays.
pub(crate) async fn discard(
    error: anyhow::Error,
    plan: &Plan,
    recording: &Recording<'_>,
    cluster: &Cluster,
    created: &Created,
    within: Duration,
    progress: &Progress,
) -> anyhow::Error {
    progress.finish();
    recording.on(Event::Failed(Failure::of(&error)));
    if !created.adopted.is_empty() {
        collect(plan, cluster, recording).await;
        let stays = format!("nothing was removed: {} of its objects are those of an earlier `testbed up`", created.adopted.len());
        return Err::<(), _>(error).hint(stays).unwrap_err();
    }
    match removal(plan, cluster, recording).undo(made_by(plan), removal_within(within), |text| progress.say(text)).await {
        Ok(false) => {
            let rest = format!("what this call has made of run {} was removed again, as --on-failure delete asks for", plan.run_id);
            Err::<(), _>(error).hint(rest + "; what others have made of it stays").unwrap_err()
        }
        Ok(true) => {
            Remembered::forget_run(&plan.run_id);
            Err::<(), _>(error).hint(format!("run {} was removed again, as --on-failure delete asks for", plan.run_id)).unwrap_err()
        }
        Err(left) => Err::<(), _>(error).hint(format!("its objects could not be removed again: {left:#}")).unwrap_err(),
    }
}

/// How long it may take then to collect what is there, and to write it.
const COLLECTION: Duration = Duration::from_millis(750);

/// An `up` that somebody has cancelled.
pub(crate) struct Cancelled<'a> {
    pub plan: &'a Plan,
    pub recording: &'a Recording<'a>,
    pub cluster: &'a Cluster,
    /// How to remove the run.
    pub remove: &'a str,
}

impl Cancelled<'_> {
    /// Says what there is.
    pub(crate) async fn keep(&self, error: anyhow::Error) -> anyhow::Error {
        let _ = removal(self.plan, self.cluster, self.recording).within(COLLECTION).collect().await;
        let labels: Vec<String> = self.plan.objects.iter().map(Object::label).collect();
        let left = format!("left in namespace {}: {}", self.cluster.namespace, labels.join(", "));
        Err::<(), _>(error).hint(left).hint(self.remove).unwrap_err()
    }

    /// Removes all of it, an earlier call's part included: nobody wants the run any more. What takes longer goes on in the cluster.
    pub(crate) async fn delete(&self, error: anyhow::Error, progress: &Progress) -> anyhow::Error {
        let Self { plan, recording, cluster, remove } = self;
        let removal = removal(plan, cluster, recording).within(COLLECTION).collect().await;
        let removal = removal.tear_down(Asked::ByMaker, DEFAULT_GRACE, Limit::For(ENDING), |text| progress.say(text));
        match timeout(CANCELLATION, removal).await {
            Ok(Ok(_)) => {
                Remembered::forget_run(&plan.run_id);
                Err::<(), _>(error).hint(format!("run {} was removed, as --on-cancel delete asks for", plan.run_id))
            }
            Ok(Err(left)) => {
                let goes_on = hints_of(&left).into_iter().fold(format!("not all of it is gone: {left:#}"), |text, hint| text + "; " + hint);
                Err::<(), _>(error).hint(goes_on).hint(*remove)
            }
            Err(_) => {
                let begun = "its removal has begun, and the API server is slow to answer: some of it may be left";
                recording.on(Event::LeftOver(begun.to_owned()));
                Err::<(), _>(error).hint(begun).hint(*remove)
            }
        }
        .unwrap_err()
    }
}
