//! Labels and selectors that reach into another run, in every form that Kubernetes has for them.

use serde_json::{Map, Value};

use super::{Allowance, Violation};
use crate::run_id::{RUN_LABEL, RunId};

/// What of a map is about another run: a label or a selector of it (`labels`, `matchLabels`, `selector`,
/// ...), one of `matchExpressions`, one written as text, one that stands for all runs but the own one.
pub(super) fn others(map: &Map<String, Value>, run_id: &RunId) -> Vec<Violation> {
    let mut found = Vec::new();
    for (key, value) in map {
        let other = match value {
            Value::Object(labels) => labels
                .get(RUN_LABEL)
                .filter(|value| !is_own(value, run_id))
                .map(|run| format!("{RUN_LABEL}={}", text(run))),
            Value::Array(items) if key.ends_with("LabelKeys") && key.starts_with("mismatch") => {
                items.iter().any(|item| item == RUN_LABEL).then(|| format!("{RUN_LABEL} of any other"))
            }
            Value::Array(items) => {
                items.iter().filter_map(Value::as_object).find_map(|item| expression(item, run_id))
            }
            Value::String(text) if key.to_ascii_lowercase().ends_with("selector") => written(text, run_id),
            _ => None,
        };
        let tell = |other| {
            format!("{key} has {other}, which is another run (testbed sets the label of run {run_id} itself)")
        };
        found.extend(other.map(|other| Violation { opened_by: Allowance::RUN_LABEL, what: tell(other) }));
    }
    found
}

fn is_own(value: &Value, run_id: &RunId) -> bool {
    text(value) == run_id.as_str()
}

/// A run id of digits alone is a number to YAML.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

/// A requirement such as `{key: test-dependencies, operator: In, values: [other]}`: nothing but the own run
/// is fine.
fn expression(item: &Map<String, Value>, run_id: &RunId) -> Option<String> {
    if item.get("key").and_then(Value::as_str) != Some(RUN_LABEL) {
        return None;
    }
    let operator = item.get("operator").and_then(Value::as_str).unwrap_or_default();
    let values: Vec<&Value> = item.get("values").and_then(Value::as_array).into_iter().flatten().collect();
    let is_own = operator == "In" && !values.is_empty() && values.iter().all(|value| is_own(value, run_id));
    let values: Vec<String> = values.into_iter().map(text).collect();
    (!is_own).then(|| format!("{RUN_LABEL} {operator} ({})", values.join(", ")))
}

/// A selector as kubectl takes it.
fn written(selector: &str, run_id: &RunId) -> Option<String> {
    let is_own = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or_default();
        key.trim() == RUN_LABEL && value.trim_start_matches('=').trim() == run_id.as_str()
    };
    // A value in parentheses may hold commas: then no part of it is the own run's.
    let has_other = selector.split(',').any(|part| part.contains(RUN_LABEL) && !is_own(part));
    has_other.then(|| selector.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_selector_is_read() {
        let others = |text: &str| {
            let Value::Object(map) = crate::yaml::Node::parse("m.yaml", text).unwrap().typed() else {
                panic!("{text} is no mapping")
            };
            super::others(&map, &RunId::parse("42").unwrap()).len()
        };
        for reaches_out in [
            "{labels: {test-dependencies: other}}",
            "{podLabels: {test-dependencies: 43}}",
            "{matchExpressions: [{key: test-dependencies, operator: In, values: [other]}]}",
            "{matchExpressions: [{key: a, operator: Exists}, {key: test-dependencies, operator: In, values: [42, other]}]}",
            "{matchExpressions: [{key: test-dependencies, operator: NotIn, values: [42]}]}",
            "{matchExpressions: [{key: test-dependencies, operator: Exists}]}",
            "{matchExpressions: [{key: test-dependencies, operator: DoesNotExist}]}",
            "{mismatchLabelKeys: [test-dependencies]}",
            "{labelSelector: 'app=db,test-dependencies=other'}",
            "{selector: 'test-dependencies in (42, other)'}",
            "{selector: 'test-dependencies!=42'}",
        ] {
            assert_eq!(others(reaches_out), 1, "{reaches_out}");
        }
        for own in [
            "{labels: {test-dependencies: 42, app: other}}",
            "{matchExpressions: [{key: test-dependencies, operator: In, values: [42]}]}",
            "{matchLabelKeys: [test-dependencies]}",
            "{selector: 'app=db, test-dependencies == 42'}",
            "{description: 'test-dependencies=other'}",
        ] {
            assert_eq!(others(own), 0, "{own}");
        }
    }
}
