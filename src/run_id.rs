//! The identity of a run, and everything that is derived from it: labels and selectors.
//!
//! An empty selector would select a whole namespace, so a [`Selector`] can only be made from a [`RunId`], and
//! a `RunId` is never empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use serde_json::Value;

use crate::failure::usage;
use crate::yaml::scalar;

/// The label key that every object of a run carries; its value is the run id.
pub const RUN_LABEL: &str = "test-dependencies";
/// The label key that tells which tool made an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`] on objects made here.
pub const MANAGED_BY: &str = "testbed";

/// Room for a prefix such as `postgres-` in a 63 character name.
const MAX_LENGTH: usize = 52;

/// How many letters of a long id are shown at least.
const SHOWN: usize = 8;

/// Whether an id is a UUID: made up by a program, and by nobody to be read.
pub fn is_uuid(id: &str) -> bool {
    uuid::Uuid::try_parse(id).is_ok()
}

/// The id of a run as people see it among others: of a UUID as many letters as tell it apart, of a name all.
pub fn brief<'a>(id: &'a str, all: &BTreeSet<&str>) -> &'a str {
    if !is_uuid(id) {
        return id;
    }
    let common = |other: &&str| id.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let behind = (Bound::Excluded(id), Bound::Unbounded);
    let neighbours = [all.range(..id).next_back(), all.range::<str, _>(behind).next()];
    let longest = neighbours.into_iter().flatten().map(common).max().unwrap_or_default();
    id.get(..SHOWN.max(longest + 1)).unwrap_or(id)
}

/// A run's identity: a lower-case DNS label of 1 to 52 characters, fit for a label value and as a part of
/// object names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunId(String);

impl RunId {
    /// Checks a text that a user, a pipeline or the state folder gave.
    ///
    /// # Errors
    /// A usage error that names the reason; the unsubstituted Tekton variable gets one of its own.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if text.is_empty() {
            return Err(usage(
                "the run id is empty; leave out --run-id and TESTBED_RUN_ID to get a fresh one",
            ));
        }
        if text.contains("$(") {
            return Err(usage(format!(
                "the run id is the literal text {text}: Tekton substitutes it in a Pipeline, never inside a Task; \
                 pass it as a param of the task, or read the pod's label tekton.dev/pipelineRunUID through the downward API"
            )));
        }
        if text.len() > MAX_LENGTH {
            return Err(usage(format!(
                "the run id {text} has {} characters; at most {MAX_LENGTH} leave room for names such as postgres-<run id>",
                text.len()
            )));
        }
        if !is_dns_label(text) {
            return Err(usage(format!(
                "the run id {text:?} is not fit for names and labels: \
                 use lower-case letters, digits and '-', with a letter or digit at both ends"
            )));
        }
        if !yaml_keeps(text) {
            return Err(usage(format!(
                "the run id {text} would be read as something else than text by YAML; put a letter and '-' in front, such as run-{text}"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// A fresh random id (UUID version 4).
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id as people see it.
    pub fn brief(&self) -> &str {
        brief(&self.0, &BTreeSet::new())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels that every object of the run carries.
    pub fn labels(&self) -> [(&'static str, &str); 2] {
        [(RUN_LABEL, &self.0), (MANAGED_BY_LABEL, MANAGED_BY)]
    }

    /// Selects the objects of this run.
    pub fn selector(&self) -> Selector {
        Selector { text: format!("{RUN_LABEL}={}", self.0), run_id: self.clone(), of_ours: false }
    }

    /// Selects those of them that testbed has made: for what acts on runs that nobody has named.
    pub fn selector_of_ours(&self) -> Selector {
        let text = format!("{RUN_LABEL}={},{MANAGED_BY_LABEL}={MANAGED_BY}", self.0);
        Selector { text, run_id: self.clone(), of_ours: true }
    }
}

/// Selects the objects of all runs that testbed has made. Only for looking, so that it is no [`Selector`]:
/// what deletes goes by one run's own.
pub fn every_run() -> String {
    format!("{RUN_LABEL},{MANAGED_BY_LABEL}={MANAGED_BY}")
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A label selector for one run, safe to delete by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    text: String,
    run_id: RunId,
    of_ours: bool,
}

impl Selector {
    /// The selector in the API's syntax.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it selects an object with these labels: an answer may hold others as well, from a server or a
    /// proxy that takes no notice of selectors.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
        has(RUN_LABEL, self.run_id.as_str()) && (!self.of_ours || has(MANAGED_BY_LABEL, MANAGED_BY))
    }
}

/// Whether a text is a lower-case DNS label (RFC 1123), its length aside.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether YAML reads the bare text as a string, or as a whole number that prints as the same text again
/// (such as a CI system's build number; the manifest stage turns those back). `1e5`, `0x1f`, `null` and `007`
/// would be lost.
fn yaml_keeps(text: &str) -> bool {
    match scalar::typed(text.to_owned()) {
        Value::String(_) => true,
        Value::Number(number) => number.to_string() == text && !number.is_f64(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_as_far_as_it_is_told_apart() {
        let ids = [
            "b56618f0-0ce7-4047-a60f-2684cac3fab1",
            "b56618f0-0cf7-4047-a60f-2684cac3fab1",
            "0ae1c3b2-0ce7-4047-a60f-2684cac3fab1",
            "a-run-with-a-long-name",
        ];
        let all = BTreeSet::from(ids);
        let shown = ids.map(|id| brief(id, &all));
        assert_eq!(shown, ["b56618f0-0ce", "b56618f0-0cf", "0ae1c3b2", "a-run-with-a-long-name"]);
    }

    fn refused(text: &str) -> String {
        format!("{:#}", RunId::parse(text).unwrap_err())
    }

    #[test]
    fn accepts_uuids_and_build_numbers() {
        for text in ["2b5b5a1c-4b0a-4a1e-9df1-0c7f8f9d6a10", "42", "pr-17", "a", &"x".repeat(52)] {
            assert_eq!(RunId::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_names_or_yaml_cannot_hold() {
        assert!(refused("").contains("empty"));
        assert!(refused("$(context.pipelineRun.uid)").contains("inside a Task"));
        assert!(refused(&"x".repeat(53)).contains("53 characters"));
        for text in ["Upper", "-a", "a-", "a_b", "a.b", "a b", "a,b", "ä"] {
            assert!(refused(text).contains("not fit"), "{text}");
        }
        for text in ["1e5", "0x1f", "null", "true"] {
            assert!(refused(text).contains("YAML"), "{text}");
        }
    }

    #[test]
    fn selects_one_run() {
        let run_id = RunId::parse("pr-17").unwrap();
        assert_eq!(run_id.selector().as_str(), "test-dependencies=pr-17");
        assert_eq!(
            run_id.selector_of_ours().as_str(),
            "test-dependencies=pr-17,app.kubernetes.io/managed-by=testbed"
        );
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
        };
        let (own, other) =
            (labels(&[(RUN_LABEL, "pr-17")]), labels(&[(RUN_LABEL, "pr-1"), (MANAGED_BY_LABEL, MANAGED_BY)]));
        assert!(run_id.selector().selects(&own) && !run_id.selector_of_ours().selects(&own));
        assert!(!run_id.selector().selects(&other) && !run_id.selector().selects(&labels(&[])));
        assert!(
            run_id
                .selector_of_ours()
                .selects(&run_id.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).into())
        );
    }
}
