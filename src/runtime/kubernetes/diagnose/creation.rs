//! Pods that are never made: their controller is refused, or gives up. Only the events on it tell.

use std::time::Instant;

use super::super::events::Note;
use super::start::MISSING;
use super::{Budgets, Cause, Health, History, Kind, Subject, Tell, Timeout, Trouble, admission, weigh};

const FAILED: &str = "FailedCreate";
const MADE: &str = "SuccessfulCreate";
/// A Job's own words that it is over.
const JOB_OVER: [&str; 2] = ["BackoffLimitExceeded", "DeadlineExceeded"];

/// Judges a workload that lacks pods, by the events about it (from old to new).
pub(super) fn diagnose(
    subject: &Subject,
    events: &[Note],
    budgets: Budgets,
    history: &mut History,
    now: Instant,
) -> Health {
    let troubles = job(subject, events).or_else(|| refused(subject, events, budgets)).into_iter().collect();
    weigh(troubles, history, now)
}

fn job(subject: &Subject, events: &[Note]) -> Option<Trouble> {
    let note = events
        .iter()
        .rev()
        .find(|note| subject.ends && note.warning && JOB_OVER.contains(&note.reason.as_str()))?;
    let cause = Cause {
        what: "its pods have failed, and it starts no more of them".into(),
        why: note.message.clone(),
        advice: "correct its command, or what it needs; backoffLimit allows more attempts".into(),
        event: Tell::new(&JOB_OVER, ""),
        ..Cause::default()
    };
    Some(Trouble::certain(Kind::Creation, cause))
}

fn refused(subject: &Subject, events: &[Note], budgets: Budgets) -> Option<Trouble> {
    let note = events.iter().rev().find(|note| [FAILED, MADE].contains(&note.reason.as_str()))?;
    if note.reason == MADE {
        return None;
    }
    let (what, advice, timeout) = match admission::read(&note.message, &subject.kubectl) {
        Some(refusal) => {
            let timeout = match refusal.is_final {
                true => Timeout::None,
                false if note.message.to_lowercase().contains("service account") => Timeout::Budget(MISSING),
                false => Timeout::Budget(budgets.capacity),
            };
            (format!("its pods cannot be created: {}", refusal.what), refusal.advice, timeout)
        }
        None => (
            "its pods cannot be created".to_owned(),
            "change what the message names".to_owned(),
            Timeout::Budget(budgets.capacity),
        ),
    };
    let cause = Cause {
        what: what.clone(),
        why: note.message.clone(),
        advice,
        event: Tell::new(&[FAILED], ""),
        ..Cause::default()
    };
    Some(Trouble::within(Kind::Creation, cause, timeout, what))
}
