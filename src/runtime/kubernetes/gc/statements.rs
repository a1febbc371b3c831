//! What the objects of a run say about its end, and whose word counts. Pure.
//!
//! Anybody who may create a ConfigMap can give it the labels of any run, an old expiry, or the owner that
//! suits. So a run is over only where all of its Pods and workloads say so, and with them goes what carries
//! their mark and does not contradict them. Where none is left, each object speaks for itself alone.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::DynamicObject;

use super::verdict::{Expiry, Facts, Measure, Reason, Stays};
use crate::manifest::owner::Owner;
use crate::runtime::kubernetes::kinds::KindName;
use crate::runtime::kubernetes::mark::{self, Mark};

#[derive(Debug, Default)]
pub struct Statements(Vec<Statement>);

#[derive(Debug)]
struct Statement {
    /// `Kind name`
    who: String,
    uid: String,
    /// Whether it speaks for the run.
    speaks: bool,
    /// Whether another object has made it, whose owner is its own.
    is_made: bool,
    mark: Mark,
    facts: Facts,
}

/// What goes of a run that was left behind.
#[derive(Debug)]
pub struct Verdict {
    pub reason: Reason,
    pub uids: BTreeSet<String>,
    /// The objects that have its labels and stay, as `Kind name`.
    pub left: Vec<String>,
}

impl Statements {
    pub fn of<'a>(objects: impl IntoIterator<Item = (&'a KindName, &'a DynamicObject)>) -> Self {
        Self(objects.into_iter().map(|(kind, object)| Statement::of(kind, object)).collect())
    }

    /// The PipelineRuns whose state may matter.
    pub fn owners(&self) -> BTreeSet<&Owner> {
        let has_speakers = self.0.iter().any(|word| word.speaks);
        self.0
            .iter()
            .filter(|word| word.speaks || !has_speakers)
            .flat_map(|word| &word.facts.owners)
            .collect()
    }

    /// Whether the run was left behind, and what goes then.
    pub fn judge(&self, measure: &Measure) -> Result<Verdict, Stays> {
        let speakers: Vec<&Statement> = self.0.iter().filter(|word| word.speaks).collect();
        if speakers.is_empty() { self.judge_each(measure) } else { self.judge_by(&speakers, measure) }
    }

    fn judge_by(&self, speakers: &[&Statement], measure: &Measure) -> Result<Verdict, Stays> {
        let reason = measure.judge(&common(speakers))?;
        let marks: BTreeSet<&Mark> = speakers.iter().map(|word| &word.mark).collect();
        let goes = |word: &Statement| {
            let contradicts = !matches!(measure.judge(&word.facts), Ok(_) | Err(Stays::NoExpiry));
            word.speaks || (marks.contains(&word.mark) && !contradicts)
        };
        Ok(self.verdict(reason, goes))
    }

    /// What says nothing of an end stays; what says that it is yet to come keeps all.
    fn judge_each(&self, measure: &Measure) -> Result<Verdict, Stays> {
        let mut over = Vec::new();
        for word in &self.0 {
            match measure.judge(&word.facts) {
                Ok(reason) => over.push((word, reason)),
                Err(Stays::NoExpiry) => {}
                Err(stay) => return Err(stay),
            }
        }
        let expiry =
            over.iter().map(|(word, _)| word.facts.expiry.clone()).fold(Expiry::Unsaid, Expiry::later);
        let last = match expiry {
            Expiry::At(at) if over.iter().all(|(_, reason)| matches!(reason, Reason::Expired(_))) => {
                Some(Reason::Expired(at))
            }
            _ => over
                .iter()
                .map(|(_, reason)| reason)
                .find(|reason| !matches!(reason, Reason::Expired(_)))
                .cloned(),
        };
        let reason = last.ok_or(Stays::NoExpiry)?;
        let uids: BTreeSet<&str> = over.iter().map(|(word, _)| word.uid.as_str()).collect();
        Ok(self.verdict(reason, |word| uids.contains(word.uid.as_str())))
    }

    fn verdict(&self, reason: Reason, goes: impl Fn(&Statement) -> bool) -> Verdict {
        let (go, stay): (Vec<&Statement>, Vec<&Statement>) = self.0.iter().partition(|word| goes(word));
        let uids = go.into_iter().map(|word| word.uid.clone()).collect();
        Verdict { reason, uids, left: stay.into_iter().map(|word| word.who.clone()).collect() }
    }
}

impl Statement {
    fn of(kind: &KindName, object: &DynamicObject) -> Self {
        Self {
            who: format!("{} {}", kind.1, object.name_any()),
            uid: object.uid().unwrap_or_default(),
            speaks: mark::speaks(kind),
            is_made: object.owner_references().iter().any(|owner| owner.controller == Some(true)),
            mark: Mark::of(&object.metadata),
            facts: Facts::of(&object.metadata),
        }
    }
}

/// What all of them say together. One that says nothing of an expiry has none, and one without a PipelineRun
/// is not over with those of others.
fn common(speakers: &[&Statement]) -> Facts {
    let says_nothing = speakers.iter().any(|word| word.facts.expiry == Expiry::Unsaid);
    let expiry = speakers.iter().map(|word| word.facts.expiry.clone()).fold(Expiry::Unsaid, Expiry::later);
    let expiry = if says_nothing && matches!(expiry, Expiry::At(_)) { Expiry::Unsaid } else { expiry };
    let owners = speakers.iter().flat_map(|word| word.facts.owners.iter().cloned()).collect();
    Facts { expiry, owners, is_owned: speakers.iter().all(|word| word.is_made || word.facts.is_owned) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::runtime::kubernetes::pipeline_run::Life;

    const OLD: &str = "2020-01-01T00:00:00Z";
    const LATER: &str = "2030-01-01T00:00:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// `finished` ended long ago, `lately` a minute ago, and `running` goes on.
    fn measure() -> Measure {
        let lives: BTreeMap<String, Life> = [
            ("finished".to_owned(), Life::Over(Some(time(OLD)))),
            ("lately".to_owned(), Life::Over(Some(time("2026-01-01T00:00:00Z")))),
            ("running".to_owned(), Life::Running),
        ]
        .into();
        Measure { now: time("2026-01-01T00:01:00Z"), grace: Duration::from_mins(10), lives: Some(lives) }
    }

    /// An object: its kind and name, and what it says of its expiry, its owner and its mark; an empty text
    /// says nothing.
    fn object(kind: &str, expires: &str, owner: &str, mark: &str) -> (KindName, DynamicObject) {
        let said = [("testbed/expires", expires), ("testbed/record", mark), ("testbed/run-hash", mark)];
        let annotations: BTreeMap<&str, &str> =
            said.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let owner =
            json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": owner, "uid": owner});
        let owners = if owner["uid"] == "" { json!([]) } else { json!([owner]) };
        let uid = format!("{kind}{expires}{}{mark}", owner["uid"]);
        let metadata =
            json!({"name": "x", "uid": uid, "annotations": annotations, "ownerReferences": owners});
        let version = if kind == "Deployment" { "apps/v1" } else { "v1" };
        (
            (version.to_owned(), kind.to_owned()),
            serde_json::from_value(json!({"metadata": metadata})).unwrap(),
        )
    }

    /// The kinds that go and those that are left; nothing where the run stays.
    fn judged(objects: &[(KindName, DynamicObject)]) -> Option<(usize, Vec<String>)> {
        let statements = Statements::of(objects.iter().map(|(kind, object)| (kind, object)));
        statements.judge(&measure()).ok().map(|verdict| (verdict.uids.len(), verdict.left))
    }

    fn left(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{name} x")).collect()
    }

    #[test]
    fn nobody_but_pods_and_workloads_ends_a_run() {
        // A run without an expiry, one whose time has not come, and one of no PipelineRun.
        for (expires, owner) in [("", ""), (LATER, ""), (LATER, "lately")] {
            for kind in ["Pod", "Deployment"] {
                let own = [object(kind, expires, owner, "m"), object("Secret", expires, owner, "m")];
                for forged in [
                    ("ConfigMap", OLD, "", "m"),
                    ("ConfigMap", OLD, "", ""),
                    ("ConfigMap", "", "finished", "m"),
                    ("Pod", OLD, "", "m"),
                ] {
                    let (kind, expires, owner, mark) = forged;
                    let objects: Vec<_> =
                        own.iter().cloned().chain([object(kind, expires, owner, mark)]).collect();
                    assert_eq!(judged(&objects), None, "{forged:?}");
                }
            }
        }
        // A forged pod of a PipelineRun that is over ends no run that has none, and not before the grace is
        // over.
        assert_eq!(judged(&[object("Pod", "", "", "m"), object("Pod", "", "finished", "m")]), None);
        assert_eq!(judged(&[object("Pod", LATER, "lately", "m"), object("Pod", OLD, "finished", "m")]), None);
    }

    #[test]
    fn what_carries_their_mark_goes_with_them_and_what_contradicts_is_left() {
        let own = [
            object("Pod", OLD, "", "m"),
            object("Secret", OLD, "", "m"),
            object("PersistentVolumeClaim", "", "", "m"),
        ];
        assert_eq!(judged(&own), Some((3, Vec::new())));
        for (expires, owner, mark) in
            [(OLD, "", "other"), (OLD, "", ""), (LATER, "", "m"), ("never", "", "m"), ("", "running", "m")]
        {
            let objects: Vec<_> =
                own.iter().cloned().chain([object("ConfigMap", expires, owner, mark)]).collect();
            assert_eq!(judged(&objects), Some((3, left(&["ConfigMap"]))), "{expires} {owner} {mark}");
        }
        // Of a testbed that knew no mark.
        assert_eq!(
            judged(&[object("Pod", OLD, "", ""), object("Secret", OLD, "", "")]),
            Some((2, Vec::new()))
        );
        // A pod that is to stay keeps the others.
        assert_eq!(judged(&[object("Pod", OLD, "", "m"), object("Pod", LATER, "", "other")]), None);
        assert_eq!(judged(&[object("Pod", OLD, "", "m"), object("Pod", OLD, "running", "m")]), None);
    }

    #[test]
    fn where_no_pod_is_left_each_object_speaks_for_itself() {
        assert_eq!(
            judged(&[object("Secret", OLD, "", "m"), object("Service", OLD, "", "m")]),
            Some((2, Vec::new()))
        );
        assert_eq!(
            judged(&[object("Secret", "", "", "m"), object("ConfigMap", OLD, "", "m")]),
            Some((1, left(&["Secret"])))
        );
        assert_eq!(
            judged(&[object("Secret", "", "", "m"), object("ConfigMap", "", "finished", "m")]),
            Some((1, left(&["Secret"])))
        );
        assert_eq!(judged(&[object("Secret", LATER, "", "m"), object("ConfigMap", OLD, "", "m")]), None);
        assert_eq!(judged(&[object("Secret", "", "", "m")]), None);
    }
}
