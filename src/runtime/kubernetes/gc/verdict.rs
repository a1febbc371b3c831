//! Whether a run was left behind, by its objects' words, its PipelineRun's end, and the time. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::manifest::lifetime::EXPIRES_ANNOTATION;
use crate::manifest::owner::Owner;
use crate::runtime::kubernetes::pipeline_run::Life;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiry {
    Unsaid,
    At(Timestamp),
    /// An object says something that is no time: whoever wrote it wants the run to stay.
    Unreadable(String),
}

/// What the objects of a run say about its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub expiry: Expiry,
    pub owners: BTreeSet<Owner>,
    /// Whether these decide: all that could have an owner has one.
    pub is_owned: bool,
}

impl Facts {
    pub fn of(object: &ObjectMeta) -> Self {
        let text = object.annotations.as_ref().and_then(|annotations| annotations.get(EXPIRES_ANNOTATION));
        let owners: BTreeSet<Owner> = Owner::all_of(object).collect();
        Self {
            expiry: text.map_or(Expiry::Unsaid, |text| Expiry::read(text)),
            is_owned: !owners.is_empty(),
            owners,
        }
    }
}

impl Expiry {
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unreadable(text), _) | (_, Self::Unreadable(text)) => Self::Unreadable(text),
            (Self::Unsaid, other) | (other, Self::Unsaid) => other,
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
        }
    }

    fn read(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Unreadable(text.to_owned()), Self::At)
    }
}

/// What became of the PipelineRuns, by UID; `None` where nobody looked, or the cluster has no such kind.
pub type Lives = Option<BTreeMap<String, Life>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its time is over since.
    Expired(Timestamp),
    /// Its PipelineRun ended then, longer ago than the grace.
    Finished(String, Timestamp),
    /// Its PipelineRun does not exist any more.
    Gone(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// Nothing says when it would be over.
    NoExpiry,
    Unreadable(String),
    Until(Timestamp),
    Running(String),
    /// It could not be found out whether its PipelineRun goes on.
    Unknown(String),
}

/// By what a run is judged.
#[derive(Debug)]
pub struct Measure {
    /// The time, by the API server's clock.
    pub now: Timestamp,
    /// For how long after the end of its PipelineRun a run stays.
    pub grace: Duration,
    pub lives: Lives,
}

impl Measure {
    pub fn judge(&self, facts: &Facts) -> Result<Reason, Stays> {
        if let Some(lives) = &self.lives
            && !facts.owners.is_empty()
            && let Some(reason) = self.by_owners(&facts.owners, lives)?
            && facts.is_owned
        {
            return Ok(reason);
        }
        match &facts.expiry {
            Expiry::At(at) if *at <= self.now => Ok(Reason::Expired(*at)),
            Expiry::At(at) => Err(Stays::Until(*at)),
            Expiry::Unsaid => Err(Stays::NoExpiry),
            Expiry::Unreadable(text) => Err(Stays::Unreadable(text.clone())),
        }
    }

    /// By the PipelineRuns alone: all have to be over. `None` while the grace lasts, when the expiry counts.
    fn by_owners(
        &self,
        owners: &BTreeSet<Owner>,
        lives: &BTreeMap<String, Life>,
    ) -> Result<Option<Reason>, Stays> {
        let mut last: Option<(Timestamp, &str)> = None;
        let mut gone = "";
        for Owner { uid, name } in owners {
            match lives.get(uid) {
                Some(Life::Running) => return Err(Stays::Running(name.clone())),
                Some(Life::Over(Some(at))) => last = last.max(Some((*at, name))),
                Some(Life::Gone) => gone = name,
                // One that is over, nobody knows since when, may be within its grace.
                Some(Life::Over(None) | Life::Unasked | Life::Unreadable) | None => {
                    return Err(Stays::Unknown(name.clone()));
                }
            }
        }
        Ok(match last {
            None => Some(Reason::Gone(gone.to_owned())),
            Some((at, name)) if between(at, self.now) >= Some(self.grace) => {
                Some(Reason::Finished(name.to_owned(), at))
            }
            Some(_) => None,
        })
    }
}

impl Reason {
    /// A word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Expired(_) => "expired",
            Self::Finished(..) => "pipeline-run-finished",
            Self::Gone(_) => "pipeline-run-gone",
        }
    }

    /// In words, as seen from a moment.
    pub fn told(&self, now: Timestamp) -> String {
        match self {
            Self::Expired(at) => format!("expired {} ago", about(*at, now)),
            Self::Finished(name, at) => format!("its PipelineRun {name} finished {} ago", about(*at, now)),
            Self::Gone(name) => format!("its PipelineRun {name} is gone"),
        }
    }
}

impl Stays {
    /// In words, as seen from a moment.
    pub fn told(&self, now: Timestamp) -> String {
        match self {
            Self::NoExpiry => format!("no {EXPIRES_ANNOTATION} on its objects"),
            Self::Unreadable(text) => {
                format!("{EXPIRES_ANNOTATION} on its objects is {text:?}, which is no time")
            }
            Self::Until(at) => format!("expires in {}", about(now, *at)),
            Self::Running(name) => format!("its PipelineRun {name} goes on"),
            Self::Unknown(name) => format!("nobody knows whether its PipelineRun {name} goes on"),
        }
    }
}

/// The time from one moment to a later one.
fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    to.duration_since(from).try_into().ok()
}

/// The same in words, rounded down.
fn about(from: Timestamp, to: Timestamp) -> String {
    match between(from, to).unwrap_or_default().as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..3600 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-11-21T16:00:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn measure(lives: &[(&str, Life)]) -> Measure {
        let lives = lives.iter().map(|(uid, state)| ((*uid).to_owned(), *state)).collect();
        Measure { now: time(NOW), grace: Duration::from_mins(10), lives: Some(lives) }
    }

    /// What objects with these expiries and owners say; an empty text is none.
    fn facts(objects: &[(&str, &str)]) -> Facts {
        let objects: Vec<ObjectMeta> = objects
            .iter()
            .map(|(expires, owner)| {
                let annotations = if expires.is_empty() { json!({}) } else { json!({"testbed/expires": expires}) };
                let owner = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": format!("build-{owner}"), "uid": owner});
                let owners = if owner["uid"] == "" { json!([]) } else { json!([owner]) };
                serde_json::from_value(json!({"annotations": annotations, "ownerReferences": owners})).unwrap()
            })
            .collect();
        let each: Vec<Facts> = objects.iter().map(Facts::of).collect();
        let expiry = each.iter().map(|facts| facts.expiry.clone()).fold(Expiry::Unsaid, Expiry::later);
        let owners: BTreeSet<Owner> = each.into_iter().flat_map(|facts| facts.owners).collect();
        Facts { expiry, is_owned: !owners.is_empty(), owners }
    }

    fn told(measure: &Measure, facts: &Facts) -> String {
        match measure.judge(facts) {
            Ok(reason) => format!("{}: {}", reason.word(), reason.told(measure.now)),
            Err(stay) => format!("stays: {}", stay.told(measure.now)),
        }
    }

    #[test]
    fn a_run_expires_with_the_last_of_its_objects() {
        let none = Measure { lives: None, ..measure(&[]) };
        for (expiries, expected) in [
            (&["2026-11-21T13:00:00Z", "", "2026-11-21T12:00:00Z"][..], "expired: expired 3 h ago"),
            (&["2026-11-21T18:00:00+02:00"], "expired: expired 0 s ago"),
            (&["2026-11-21T15:59:01Z", "2026-11-21T16:00:01Z"], "stays: expires in 1 s"),
            (
                &["2026-11-21T13:00:00Z", "never"],
                "stays: testbed/expires on its objects is \"never\", which is no time",
            ),
            (
                &["2026-11-21T13:00:00"],
                "stays: testbed/expires on its objects is \"2026-11-21T13:00:00\", which is no time",
            ),
            (&["", ""], "stays: no testbed/expires on its objects"),
        ] {
            let objects: Vec<(&str, &str)> = expiries.iter().map(|expires| (*expires, "")).collect();
            assert_eq!(told(&none, &facts(&objects)), expected);
            assert_eq!(told(&measure(&[]), &facts(&objects)), expected);
        }
    }

    #[test]
    fn a_run_is_over_some_time_after_its_pipeline_run() {
        let finished = |at| Life::Over(Some(time(at)));
        let (early, late) = ("2026-11-21T15:35:00Z", "2026-11-21T15:50:01Z");
        for (state, expires, expected) in [
            (Life::Gone, "", "pipeline-run-gone: its PipelineRun build-a is gone"),
            (
                finished(early),
                "2026-11-21T18:00:00Z",
                "pipeline-run-finished: its PipelineRun build-a finished 25 min ago",
            ),
            (finished(late), "2026-11-21T18:00:00Z", "stays: expires in 2 h"),
            (finished(late), "2026-11-21T15:00:00Z", "expired: expired 1 h ago"),
            // A clock that is ahead has written it.
            (finished("2026-11-21T17:00:00Z"), "", "stays: no testbed/expires on its objects"),
            (Life::Running, "2026-11-01T00:00:00Z", "stays: its PipelineRun build-a goes on"),
            (
                Life::Unreadable,
                "2026-11-01T00:00:00Z",
                "stays: nobody knows whether its PipelineRun build-a goes on",
            ),
        ] {
            assert_eq!(told(&measure(&[("a", state)]), &facts(&[(expires, "a"), ("", "")])), expected);
        }
        // Nobody looked at a PipelineRun that came to own an object since.
        let two = facts(&[("", "a"), ("", "b")]);
        assert_eq!(
            told(&measure(&[("a", Life::Gone)]), &two),
            "stays: nobody knows whether its PipelineRun build-b goes on"
        );
        assert_eq!(
            told(&measure(&[("a", Life::Gone), ("b", Life::Running)]), &two),
            "stays: its PipelineRun build-b goes on"
        );
        let both = measure(&[("a", finished(early)), ("b", Life::Gone)]);
        assert_eq!(told(&both, &two), "pipeline-run-finished: its PipelineRun build-a finished 25 min ago");
        // Without a look at PipelineRuns the expiry alone counts.
        let blind = Measure { lives: None, ..measure(&[]) };
        assert_eq!(told(&blind, &facts(&[("2026-11-01T00:00:00Z", "a")])), "expired: expired 20 days ago");
    }

    #[test]
    fn other_owners_are_no_pipeline_runs() {
        let owners = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "1"},
            {"apiVersion": "example.com/v1", "kind": "PipelineRun", "name": "a", "uid": "2"},
            {"apiVersion": "tekton.dev/v1beta1", "kind": "PipelineRun", "name": "a", "uid": "3"}]);
        let object: ObjectMeta = serde_json::from_value(json!({"ownerReferences": owners})).unwrap();
        let found: Vec<String> = Facts::of(&object).owners.into_iter().map(|owner| owner.uid).collect();
        assert_eq!(found, ["3"]);
    }
}
