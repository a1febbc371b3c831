//! What is wrong with a pod, whether waiting can mend it, and for how long: from the pod, the events about it
//! and the time, all of which are passed in. No client, no clock.
//!
//! One file a stage of a pod's life: [`creation`] (its maker is refused, for the reasons in [`admission`]),
//! [`scheduling`] (no node takes it), [`volumes`] (the node cannot prepare it), [`pull`] (its image),
//! [`start`] (its container is not made), [`exits`] (its container ends), [`ending`] (the pod itself ends).
//! Each finds a [`Trouble`]; [`diagnose`] weighs them. [`run`] looks at a whole run.

pub mod admission;
mod case;
mod creation;
mod ending;
mod exits;
mod pull;
pub mod run;
mod scheduling;
mod start;
#[cfg(test)]
mod tests;
mod volumes;

use std::time::{Duration, Instant};

pub use case::{Budgets, Case, History, Subject};

use super::events::Note;
use super::pods::is_over;

/// How a pod fares.
#[derive(Debug, Clone, PartialEq)]
pub enum Health {
    /// Nothing is known against it.
    Fine,
    /// It fails for now, and gets until then to mend.
    Wait {
        /// What fails, in words; empty where it is not worth a word yet.
        why: String,
        /// When it is given up; `None` leaves that to the overall timeout.
        until: Option<Instant>,
    },
    /// It can never become ready.
    Doomed(Cause),
}

/// Why a pod, or what makes pods, cannot become ready, and what to do about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cause {
    /// What is wrong, as a lower-case fragment with our own words and the manifest's names only.
    pub what: String,
    /// Kubernetes' own word for it, such as `ErrImagePull`, where the pod's status has one.
    pub reason: String,
    /// What Kubernetes says, word for word. It may hold anything, a secret included.
    pub why: String,
    pub advice: String,
    /// The container that it is about.
    pub container: Option<String>,
    /// Whether that container has run, so that its log tells more.
    pub log: Option<Log>,
    /// How to recognise the event that says more than the pod's status.
    pub event: Tell,
    /// Whether the pod is not there any more, so that only events are left to look at.
    pub gone: bool,
}

impl Cause {
    /// A word to count it by: Kubernetes' own, from the pod's status or from the events that tell of it.
    pub fn word(&self) -> Option<&str> {
        let said = Some(self.reason.as_str()).filter(|reason| !reason.is_empty());
        said.or(self.event.reasons.first().copied())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// The one of the container that ended last.
    Latest,
    /// The one of the container before the one that runs now.
    Previous,
}

/// The events that tell of a cause: any of these reasons, with the text in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tell {
    reasons: &'static [&'static str],
    text: &'static str,
}

impl Tell {
    const fn new(reasons: &'static [&'static str], text: &'static str) -> Self {
        Self { reasons, text }
    }

    /// The newest event that fits. `events` go from old to new.
    pub fn find<'a>(&self, events: &'a [Note], container: Option<&str>) -> Option<&'a Note> {
        let fits = |note: &&Note| {
            let about =
                note.container.is_none() || container.is_none() || note.container.as_deref() == container;
            about && self.reasons.contains(&note.reason.as_str()) && note.message.contains(self.text)
        };
        events.iter().rev().find(fits)
    }
}

/// A fault that was found, and how long it is waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    kind: Kind,
    cause: Cause,
    timeout: Timeout,
    /// What a progress line says of it in the meantime.
    meanwhile: String,
}

impl Trouble {
    fn certain(kind: Kind, cause: Cause) -> Self {
        Self { kind, cause, timeout: Timeout::None, meanwhile: String::new() }
    }

    fn within(kind: Kind, cause: Cause, timeout: Timeout, meanwhile: impl Into<String>) -> Self {
        Self { kind, cause, timeout, meanwhile: meanwhile.into() }
    }
}

/// What a budget is counted for: while a fault of one kind lasts, its budget runs on, whatever its message
/// says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Creation,
    Scheduling,
    Volume,
    Sandbox,
    Pull,
    Config,
    Start,
    Exit,
    Ending,
}

/// How long a fault may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timeout {
    /// It cannot mend.
    None,
    /// It may mend within this time from when it was first seen.
    Budget(Duration),
    /// It may mend at any time.
    Unlimited,
}

/// Judges one pod. `history` is what was seen of this pod before; it is brought up to date.
pub fn diagnose(case: &Case, history: &mut History, now: Instant) -> Health {
    history.note(case);
    weigh(troubles(case, history), history, now)
}

fn troubles(case: &Case, history: &History) -> Vec<Trouble> {
    if let Some(trouble) = ending::trouble(case) {
        return vec![trouble];
    }
    if case.pod.metadata.deletion_timestamp.is_some() {
        // What makes it makes another one.
        return Vec::new();
    }
    if is_over(case.pod) {
        return exits::troubles(case, history);
    }
    let before = scheduling::trouble(case).or_else(|| volumes::trouble(case));
    let containers = case.containers();
    let started = containers.iter().filter_map(|container| {
        pull::trouble(case, container, history)
            .or_else(|| start::trouble(case, container))
            .or_else(|| exits::trouble(case, container, history))
    });
    before.into_iter().chain(started).collect()
}

/// The worst of the troubles: one that is certain or out of budget, else the one that runs out first.
fn weigh(troubles: Vec<Trouble>, history: &mut History, now: Instant) -> Health {
    history.keep(&troubles);
    let mut health = Health::Fine;
    for trouble in troubles {
        let until = match trouble.timeout {
            Timeout::None => return Health::Doomed(trouble.cause),
            Timeout::Unlimited => None,
            Timeout::Budget(budget) => Some(history.since(&trouble, now) + budget),
        };
        if until.is_some_and(|until| until <= now) {
            return Health::Doomed(trouble.cause);
        }
        let sooner = match &health {
            Health::Wait { until: known, .. } => {
                until.is_some_and(|until| known.is_none_or(|known| until < known))
            }
            _ => true,
        };
        if sooner {
            health = Health::Wait { why: trouble.meanwhile, until };
        }
    }
    health
}
