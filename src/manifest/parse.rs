//! Rendered text to objects: splits a file into its YAML documents and makes sure that each is a Kubernetes
//! object.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use serde_json::{Map, Value};

use super::{Object, Origin};
use crate::failure::{Advise, Exit};
use crate::yaml::{Budget, Node, Problem, Wrong};

const QUOTE: &str = "a value with quotes, colons or '#' in it needs the filter quote: {{ params.NAME | quote }}; lines are those of the rendered text";

/// The objects of one rendered file, in order. Documents without content are skipped; a `List` is taken
/// apart.
///
/// # Errors
/// A usage error with file, document number and line.
pub fn parse(file: &str, text: &str) -> anyhow::Result<Vec<Object>> {
    let file: Arc<str> = file.into();
    let mut objects = Vec::new();
    let mut budget = Budget::default();
    for (number, (start, text)) in documents(text).into_iter().enumerate() {
        let origin =
            Origin { file: file.clone(), document: number + 1, line: start + lines_before_content(text) };
        match document(&origin, start, text, &mut budget).hint(QUOTE).exit(Exit::Usage)? {
            Value::Null => {}
            value => collect(origin, value, &mut objects).exit(Exit::Usage)?,
        }
    }
    Ok(objects)
}

/// Splits at the document markers. YAML forbids a line that starts with `---` inside any scalar, so lines are
/// enough to go by. Each document comes with the number of its first line, which may be the marker's.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![(1, 0)];
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker.is_some() {
            starts.push((index + 1, offset));
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, start)| *start).chain([text.len()]);
    let pieces: Vec<_> =
        starts.iter().zip(ends).map(|((line, start), end)| (*line, &text[*start..end])).collect();
    // What stands before the first marker counts as a document only if it says something: comments above
    // `---` do not.
    let skip = usize::from(pieces.len() > 1 && is_blank(pieces[0].1));
    pieces.into_iter().skip(skip).collect()
}

fn is_blank(text: &str) -> bool {
    text.lines().all(is_blank_line)
}

fn is_blank_line(line: &str) -> bool {
    line.trim().is_empty()
        || line.trim_start().starts_with('#')
        || line.starts_with('%')
        || line.trim_end() == "---"
}

fn lines_before_content(text: &str) -> usize {
    text.lines().take_while(|line| is_blank_line(line)).count()
}

fn document(origin: &Origin, start: usize, text: &str, budget: &mut Budget) -> anyhow::Result<Value> {
    if is_blank(text) {
        return Ok(Value::Null);
    }
    let root = Node::read(text, budget).map_err(|problem| explain(origin, start, problem))?;
    Ok(root.merged().typed())
}

fn explain(origin: &Origin, start: usize, problem: Problem) -> anyhow::Error {
    let Origin { file, document, .. } = origin;
    // Lines are counted from the document's start; ours from the file's.
    let line = |line: usize| start + line.saturating_sub(1);
    let what = match problem.wrong {
        Wrong::Twice { key, first } => format!("duplicate key {key:?}, first in line {}", line(first)),
        Wrong::Else(text) => text.trim_start_matches("not valid YAML: ").to_owned(),
    };
    // The line itself is not shown: it may hold a password, and one that needs quoting is a usual reason to
    // get here.
    anyhow!("{file}:{}: document {document} is not valid YAML: {what}", line(problem.line))
}

fn collect(origin: Origin, value: Value, objects: &mut Vec<Object>) -> anyhow::Result<()> {
    let body = match value {
        Value::Object(body) => body,
        other => bail!(
            "{origin} is {}, not a Kubernetes object (apiVersion, kind, metadata, ...)",
            type_name(&other)
        ),
    };
    if body.get("kind").and_then(Value::as_str) == Some("List") {
        let Some(Value::Array(items)) =
            body.into_iter().find_map(|(key, value)| (key == "items").then_some(value))
        else {
            bail!("{origin}: a List without items");
        };
        return items.into_iter().try_for_each(|item| collect(origin.clone(), item, objects));
    }
    objects.push(object(origin, body)?);
    Ok(())
}

fn object(origin: Origin, body: Map<String, Value>) -> anyhow::Result<Object> {
    let text = |field: &str| match body.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(other) => Err(anyhow!("{origin}: {field} is {}, not a name", type_name(other))),
        None => Err(anyhow!("{origin} has no {field}, so it is not a Kubernetes object")),
    };
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    let name = match body.get("metadata").and_then(|metadata| metadata.get("name")) {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        // A run id of digits alone makes a number of a name that consists of nothing else.
        Some(Value::Number(name)) => name.to_string(),
        _ if body.get("metadata").is_some_and(|metadata| metadata.get("generateName").is_some()) => {
            bail!(
                "{origin}: {kind} uses generateName; give it a name with $(context.pipelineRun.uid) in it, so that a second up finds it"
            )
        }
        _ => bail!("{origin}: {kind} has no metadata.name"),
    };
    Ok(Object { origin, api_version, kind, name, body })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", parse("m.yaml", text).unwrap_err())
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n";

    #[test]
    fn documents_keep_their_numbers_and_lines() {
        let text = format!("# a comment\n---\n{POD}---\n# nothing\n---\n{POD}");
        let objects = parse("m.yaml", &text).unwrap();
        let places: Vec<_> =
            objects.iter().map(|object| (object.origin.document, object.origin.line)).collect();
        assert_eq!(places, [(1, 3), (3, 10)]);
    }

    #[test]
    fn a_marker_inside_text_is_no_marker() {
        let text = format!("{POD}data:\n  script: |\n    ---\n    x\n  ---y: 1\n");
        assert_eq!(parse("m.yaml", &text).unwrap().len(), 1);
    }

    #[test]
    fn broken_yaml_names_the_line_of_the_file() {
        let message = error(&format!("{POD}---\na: 1\nb: [1, 2\nc: 3\n"));
        assert!(
            message.starts_with("m.yaml:") && message.contains("document 2 is not valid YAML"),
            "{message}"
        );
        assert!(error("a: 1\na: 2\n").contains("duplicate"));
    }

    #[test]
    fn what_costs_a_reader_most_ends_in_a_moment() {
        let keys: String = (0..99_000).map(|n| format!("  k{n}: 1\n")).collect();
        let nested = format!("{POD}data: {}x{}\n", "[".repeat(40_000), "]".repeat(40_000));
        let shared =
            (0..9).map(|n| format!("---\n{POD}data: [{}]\n", format!("{n}, ").repeat(20_000))).collect();
        for (text, part) in [
            (format!("{POD}data:\n{keys}"), "more than 100000 values"),
            (nested, "document 1 is not valid YAML: "),
            (shared, "document 5 is not valid YAML: more than 100000 values"),
        ] {
            let began = crate::deadline::worked();
            let message = error(&text);
            let took = crate::deadline::worked() - began;
            assert!(
                message.contains(part) && message.len() < 200 && took.as_secs() < 5,
                "{took:?}: {message}"
            );
        }
    }

    #[test]
    fn a_closing_bracket_may_stand_in_the_column_of_its_key() {
        let objects = parse("m.yaml", &format!("{POD}args: [\n  a,\n]\n")).unwrap();
        assert_eq!(objects[0].body["args"], serde_json::json!(["a"]));
    }

    #[test]
    fn a_merge_key_without_a_mapping_is_kept() {
        let merged = parse(
            "m.yaml",
            &format!("{POD}one: &x {{a: 1, b: 1}}\ntwo: {{<<: *x, b: 2}}\nthree: {{<<: 5}}\n"),
        )
        .unwrap();
        assert_eq!(
            serde_json::json!({"two": merged[0].body["two"], "three": merged[0].body["three"]}).to_string(),
            r#"{"two":{"b":2,"a":1},"three":{"<<":5}}"#
        );
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(
            error("just text\n"),
            "m.yaml: document 1 (line 1) is a text, not a Kubernetes object (apiVersion, kind, metadata, ...)"
        );
        assert!(error("- a\n").contains("is a list"));
        assert!(error("kind: Pod\n").contains("has no apiVersion"));
        assert!(error("apiVersion: v1\nkind: Pod\n").contains("Pod has no metadata.name"));
        assert!(error("apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}\n").contains("generateName"));
    }

    #[test]
    fn a_list_is_taken_apart() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: Service, metadata: {name: b}}\n";
        let labels: Vec<_> = parse("m.yaml", text).unwrap().iter().map(Object::label).collect();
        assert_eq!(labels, ["Pod a", "Service b"]);
    }
}
