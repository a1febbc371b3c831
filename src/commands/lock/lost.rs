//! What to say of a lock that was lost while its command ran.

use anyhow::anyhow;

use super::words;
use crate::failure::{Advise, Exit};
use crate::lock::holding::Loss;
use crate::lock::object::Target;

/// What happened, in a sentence.
pub(super) fn what(target: &Target, loss: &Loss) -> String {
    match loss {
        Loss::Silence { since, trouble: Some(trouble) } => {
            format!("{target} is lost: no renewal was taken for {:.1} s: {trouble}", since.as_secs_f64())
        }
        Loss::Silence { since, trouble: None } => {
            format!("{target} is lost: testbed was stopped, or the machine asleep, and renewed nothing for {:.1} s", since.as_secs_f64())
        }
        Loss::Deleted { .. } => format!("{target} is lost: somebody has deleted {}", target.object_name()),
        Loss::Removed(lock) if lock.holders.is_empty() => format!("{target} is lost: somebody has taken it out"),
        Loss::Removed(lock) => format!("{target} is lost: somebody has taken it out, and it is held by {}", words::holders(lock)),
    }
}

/// The error of a command that was `ended` for it, or whatever became of it.
pub(super) fn error(target: &Target, loss: &Loss, ended: &str) -> anyhow::Error {
    let hint = match loss {
        Loss::Silence { trouble: Some(_), .. } => "a longer --ttl bridges longer interruptions; run it again once the API server answers",
        Loss::Silence { trouble: None, .. } => "a longer --ttl bridges longer pauses; run it again",
        Loss::Deleted { .. } => {
            "nobody needs to delete it: testbed lock release gives a lock back, and one whose holder is gone is taken over"
        }
        Loss::Removed(_) => "testbed lock show tells who holds it; nobody but testbed is to change its annotation testbed/lock",
    };
    let error = anyhow!("{}; the command was {ended}", what(target, loss));
    Err::<(), _>(error).exit(Exit::LockLost).hint(hint).unwrap_err()
}
