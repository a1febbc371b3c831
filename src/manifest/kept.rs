//! What an API server has left out of an object that it took: what is new to it, or not switched on there,
//! goes without a word.

use serde_json::{Map, Value};

/// As many fields as are named.
const MOST: usize = 5;

/// The fields of an object's `spec` that were sent with a value and are not there in what the API server
/// keeps, such as `spec.containers[db].lifecycle`. What stands for nothing (`false`, `{}`) it may leave out.
pub fn left_out(sent: Option<&Value>, kept: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    if let (Some(sent), Some(kept)) = (sent, kept) {
        look("spec", sent, kept, &mut found);
    }
    found.truncate(MOST);
    found
}

fn look(path: &str, sent: &Value, kept: &Value, found: &mut Vec<String>) {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            // Labels and annotations are whoever's who looks after them.
            for (key, value) in sent.iter().filter(|(key, value)| *key != "metadata" && says_something(value))
            {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => look(&path, value, kept, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(sent), Value::Array(kept)) => {
            for (index, value) in sent.iter().enumerate() {
                let name = name(value);
                // Admission may have put more of them there, in any place.
                let same = match name {
                    Some(wanted) => kept.iter().find(|value| self::name(value) == Some(wanted)),
                    None => kept.get(index).filter(|_| kept.len() == sent.len()),
                };
                if let Some(same) = same {
                    let which = name.map_or_else(|| index.to_string(), str::to_owned);
                    look(&format!("{path}[{which}]"), value, same, found);
                }
            }
        }
        _ => {}
    }
}

fn name(value: &Value) -> Option<&str> {
    value.get("name").and_then(Value::as_str)
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(says_something),
        Value::Object(values) => Map::values(values).any(says_something),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_says_nothing_is_not() {
        let sent = json!({
            "hostNetwork": false, "nodeSelector": {}, "replicas": 0, "hostUsers": true, "restartPolicy": "Always",
            "template": {"metadata": {"labels": {"a": "b"}}},
            "tolerations": [{"key": "a"}, {"key": "b", "new": 1}],
            "rules": [{"host": "a", "new": "x"}],
            "initContainers": [{"name": "mesh", "image": "m", "restartPolicy": "Always"}],
        });
        let kept = json!({
            "restartPolicy": "Always", "template": {},
            "tolerations": [{"key": "a"}, {"key": "b"}, {"key": "admission"}],
            "rules": [{"host": "a"}],
            "initContainers": [{"name": "injected", "image": "i"}, {"name": "mesh", "image": "m"}],
        });
        let mut found = left_out(Some(&sent), Some(&kept));
        found.sort_unstable();
        assert_eq!(found, ["spec.hostUsers", "spec.initContainers[mesh].restartPolicy", "spec.rules[0].new"]);
        assert!(left_out(Some(&sent), Some(&sent)).is_empty() && left_out(Some(&sent), None).is_empty());
    }
}
