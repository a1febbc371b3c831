//! How locks and those who want them are told to people.

use anyhow::anyhow;
use jiff::{Timestamp, ToSpan};

use crate::failure::{Advise, Exit};
use crate::lock::holding::Loss;
use crate::lock::object::Target;
use crate::lock::state::{Holder, Identity, Lock};

/// `run pr-17 since 12:00:03Z`, or all of several.
pub(super) fn holders(lock: &Lock) -> String {
    let each: Vec<String> = lock.holders.iter().map(holder).collect();
    each.join(", ")
}

fn holder(holder: &Holder) -> String {
    let pipeline_run = holder.terms.pipeline_run.as_ref().map(|run| format!(" of PipelineRun {}", run.name));
    format!("{}{} since {}", name(&holder.identity), pipeline_run.unwrap_or_default(), since(holder.since))
}

/// The run, as messages call it.
pub(super) fn name(identity: &Identity) -> String {
    format!("run {}", identity.id)
}

/// What happened to a lock that was lost while its command ran, in a sentence.
pub(super) fn loss(target: &Target, loss: &Loss) -> String {
    match loss {
        Loss::Silence { since, trouble: Some(trouble) } => {
            format!("{target} is lost: no renewal was taken for {:.1} s: {trouble}", since.as_secs_f64())
        }
        Loss::Silence { since, trouble: None } => {
            format!(
                "{target} is lost: testbed was stopped, or the machine asleep, and renewed nothing for {:.1} s",
                since.as_secs_f64()
            )
        }
        Loss::Deleted { .. } => format!("{target} is lost: somebody has deleted {}", target.object_name()),
        Loss::Removed(lock) if lock.holders.is_empty() => {
            format!("{target} is lost: somebody has taken it out")
        }
        Loss::Removed(lock) => {
            format!("{target} is lost: somebody has taken it out, and it is held by {}", holders(lock))
        }
    }
}

/// The error of a command that was `ended` for it, or whatever became of it.
pub(super) fn lost(target: &Target, loss: &Loss, ended: &str) -> anyhow::Error {
    let hint = match loss {
        Loss::Silence { trouble: Some(_), .. } => {
            "a longer --ttl bridges longer interruptions; run it again once the API server answers"
        }
        Loss::Silence { trouble: None, .. } => "a longer --ttl bridges longer pauses; run it again",
        Loss::Deleted { .. } => {
            "nobody needs to delete it: testbed lock release gives a lock back, and one whose holder is gone is taken over"
        }
        Loss::Removed(_) => {
            "testbed lock show tells who holds it; nobody but testbed is to change its annotation testbed/lock"
        }
    };
    let error = anyhow!("{}; the command was {ended}", self::loss(target, loss));
    error.exit(Exit::LockLost).hint(hint)
}

/// A time of day, with its date where that is another one.
pub(super) fn since(time: Timestamp) -> String {
    let is_recent = time > Timestamp::now().saturating_sub(12.hours()).unwrap_or(Timestamp::MIN);
    let format = if is_recent { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%SZ" };
    time.strftime(format).to_string()
}

/// `1st`, `2nd`, ...
pub(super) fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Why somebody waits: who holds the lock, or what keeps one that is free, and which place this is.
pub(super) fn waiting(lock: &Lock, identity: &Identity, obstacle: Option<&str>) -> String {
    let held = match lock.holders.len() {
        0 => obstacle.unwrap_or("nobody holds it").to_owned(),
        1 if lock.permits == 1 => format!("held by {}", holders(lock)),
        count => format!("{count} of {} permits taken, by {}", lock.permits, holders(lock)),
    };
    match lock.place(identity) {
        Some(place) => format!("{} of {} in the queue; {held}", ordinal(place + 1), lock.queue.len()),
        None => held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_people_do() {
        let told = [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111].map(ordinal);
        assert_eq!(
            told,
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"]
        );
    }
}
