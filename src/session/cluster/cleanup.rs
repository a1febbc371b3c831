//! What becomes of the objects of an `up` that did not come up.

use std::time::Duration;

use tokio::time::timeout;

use super::{Pods, TEARDOWN};
use crate::cli::{OnCancel, OnFailure, Up};
use crate::failure::{Advise, Exit, exit_of, hints_of};
use crate::manifest::Object;
use crate::manifest::stamp::RUN_HASH_ANNOTATION;
use crate::recorder::Event;
use crate::recorder::event::{Asked, Failure};
use crate::runtime::kubernetes::removal::Limit;
use crate::runtime::kubernetes::teardown::DEFAULT_GRACE;
use crate::session::plan::Plan;
use crate::session::{Backend, Call, Session, is_interruption};

/// How long the teardown may take of an `up` that is cancelled: whoever cancels it does not wait long.
const CANCELLATION: Duration = Duration::from_millis(3500);
/// The part of it in which the objects may end.
const ENDING: Duration = Duration::from_millis(2500);
/// How long it may take then to collect what is there, and to write it.
const COLLECTION: Duration = Duration::from_millis(750);

/// The hash that all objects of this call carry.
fn made_by(plan: &Plan) -> Option<&str> {
    plan.objects.first()?.metadata("annotations")?.get(RUN_HASH_ANNOTATION)?.as_str()
}

/// What fails for a reason that waiting would not mend, such as a right that is missing, is removed again;
/// what deserves a look stays, unless `--on-failure delete` was said. What an earlier call has made of the
/// run stays in any case.
pub(super) async fn after_failure(
    pods: &Pods,
    session: Session<'_>,
    args: &Up,
    error: anyhow::Error,
) -> anyhow::Error {
    if is_interruption(&error) {
        return after_interruption(pods, session, args, error).await;
    }
    let Call { plan, progress, .. } = &session.call;
    session.recording.on(Event::Failed(Failure::of(&error)));
    // A usage error as well: a Secret that an earlier `up` left can hold what the config file cannot.
    let is_final = pods.created.is_some() && matches!(exit_of(&error), Exit::Failure | Exit::Usage);
    // Where nobody knows what has become of the objects that were on their way, a run id that somebody has
    // given may be an earlier call's.
    let is_known = pods.created.is_some() || !(session.call.is_named || session.is_adopted);
    if !is_final && (args.making.on_failure != Some(OnFailure::Delete) || !is_known) {
        pods.collect(&session).await;
        return leave(
            pods,
            session,
            if pods.created.is_some() { error } else { error.hint("some of its objects may be there") },
        );
    }
    let adopted = pods.created.as_ref().map_or(0, |created| created.adopted.len());
    if adopted > 0 {
        pods.collect(&session).await;
        let hint =
            format!("nothing was removed: {adopted} of its objects are those of an earlier `testbed up`");
        let error = stays(session, error);
        return if is_final { error } else { error.hint(hint) };
    }
    // As long as it might take itself.
    let within = args.making.timeout.clamp(Duration::from_secs(5), TEARDOWN);
    let removal = pods.removal(&session).undo(made_by(plan), within, |text| {
        if !is_final {
            progress.say(text);
        }
    });
    let removed = removal.await;
    let hint = match &removed {
        Err(left) => format!("its objects could not be removed again: {left:#}"),
        _ if is_final => String::new(),
        Ok(true) => format!("run {} was removed again, as --on-failure delete asks for", plan.run_id),
        Ok(false) => format!(
            "what this call has made of run {} was removed again, as --on-failure delete asks for; what others have made of it stays",
            plan.run_id
        ),
    };
    let error = match removed {
        Ok(true) => {
            let _ = session.claim.forget();
            error
        }
        Ok(false) | Err(_) => stays(session, error),
    };
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// From now on the run is up until somebody removes it.
pub(super) fn stays(mut session: Session<'_>, error: anyhow::Error) -> anyhow::Error {
    match session.stays_up() {
        Ok(()) => error,
        Err(left) => error.hint(format!("it could not be noted that the run stays: {left:#}")),
    }
}

/// What exists stays, and the message says how to look and how to remove it.
pub(super) fn leave(pods: &Pods, session: Session<'_>, error: anyhow::Error) -> anyhow::Error {
    // A failure with a cause may say itself what to look at.
    let is_said = hints_of(&error).iter().any(|hint| hint.starts_with("look at it"));
    let error = if is_said { error } else { error.hint(pods.how_to_look(&session)) };
    let hint = pods.how_to_remove(&session);
    stays(session, error).hint(hint)
}

/// After a signal: says what is left, or removes it.
pub(super) async fn after_interruption(
    pods: &Pods,
    session: Session<'_>,
    args: &Up,
    error: anyhow::Error,
) -> anyhow::Error {
    // Its presence would mean that the databases are ready.
    let _ = session.call.config.remove_older();
    session.recording.on(Event::Failed(Failure::of(&error)));
    let removal = pods.removal(&session).within(COLLECTION).collect().await;
    let Call { plan, progress, .. } = &session.call;
    if args.on_cancel == OnCancel::Keep {
        let labels: Vec<String> = plan.objects.iter().map(Object::label).collect();
        let left = format!("left in namespace {}: {}", pods.cluster.namespace, labels.join(", "));
        let hint = pods.how_to_remove(&session);
        return stays(session, error.hint(left)).hint(hint);
    }
    // All of it, an earlier call's part included: nobody wants the run any more. What takes longer goes on in
    // the cluster.
    let removal =
        removal.tear_down(Asked::ByMaker, DEFAULT_GRACE, Limit::For(ENDING), |text| progress.say(text));
    let left = match timeout(CANCELLATION, removal).await {
        Ok(Ok(_)) => {
            let removed = format!("run {} was removed, as --on-cancel delete asks for", plan.run_id);
            let _ = session.claim.forget();
            return error.hint(removed);
        }
        Ok(Err(left)) => hints_of(&left)
            .into_iter()
            .fold(format!("not all of it is gone: {left:#}"), |text, hint| text + "; " + hint),
        Err(_) => {
            let begun = "its removal has begun, and the API server is slow to answer: some of it may be left";
            session.recording.on(Event::LeftOver(begun.to_owned()));
            begun.to_owned()
        }
    };
    let hint = pods.how_to_remove(&session);
    stays(session, error.hint(left)).hint(hint)
}
