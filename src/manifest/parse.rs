//! Rendered text to objects: splits a file into its YAML documents and makes sure that each is a Kubernetes
//! object.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{Object, Origin, foreign};
use crate::failure::{Advise, Exit};
use crate::yaml::{Budget, Node, Problem, Wrong};

const QUOTE: &str = "a value with quotes, colons or '#' in it needs the filter quote: {{ params.NAME | quote }}; lines are those of the rendered text";

/// The objects of one rendered file, in order. Documents without content are skipped; a `List` is taken
/// apart.
///
/// # Errors
/// A usage error with file, document number and line.
pub fn parse(file: &str, text: &str) -> anyhow::Result<Vec<Object>> {
    objects(file, text, None)
}

/// The same for the text that a template has become, in which a value may need quotes.
///
/// # Errors
/// As [`parse`].
pub fn parse_rendered(file: &str, text: &str) -> anyhow::Result<Vec<Object>> {
    objects(file, text, Some(QUOTE))
}

fn objects(file: &str, text: &str, hint: Option<&str>) -> anyhow::Result<Vec<Object>> {
    let file: Arc<str> = file.into();
    let mut objects = Vec::new();
    let mut budget = Budget::default();
    for (number, (start, text)) in documents(text).into_iter().flat_map(apart).enumerate() {
        let origin =
            Origin { file: file.clone(), document: number + 1, line: start + lines_before_content(text) };
        let value = document(&origin, start, text, &mut budget).exit(Exit::Usage);
        let value = if let Some(hint) = hint { value.hint(hint) } else { value };
        match value? {
            Value::Null => {}
            value => collect(origin, value, &mut objects).exit(Exit::Usage)?,
        }
    }
    Ok(objects)
}

/// The documents that count, each with the number of its first line, which may be the marker's.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let pieces = pieces(text);
    // What stands before the first marker counts as a document only if it says something: comments above
    // `---` do not.
    let skip = usize::from(pieces.len() > 1 && is_blank(pieces[0].1));
    pieces.into_iter().skip(skip).collect()
}

/// Splits at the document markers. YAML forbids a line that starts with `---` inside any scalar, so lines are
/// enough to go by.
pub(super) fn pieces(text: &str) -> Vec<(usize, &str)> {
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
    starts.iter().zip(ends).map(|((line, start), end)| (*line, &text[*start..end])).collect()
}

/// JSON objects may follow each other without a marker, as kubectl and others print them.
fn apart((start, text): (usize, &str)) -> Vec<(usize, &str)> {
    let body = text.strip_prefix("---").unwrap_or(text);
    if !body.trim_start().starts_with('{') {
        return vec![(start, text)];
    }
    let mut values = serde_json::Deserializer::from_str(body).into_iter::<IgnoredAny>();
    let mut pieces = Vec::new();
    let mut from = 0;
    while let Some(value) = values.next() {
        let to = values.byte_offset();
        if value.is_err() {
            return vec![(start, text)];
        }
        pieces.push((start + body[..from].matches('\n').count(), &body[from..to]));
        from = to;
    }
    pieces
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
    let mut body = match value {
        Value::Object(body) => body,
        other => bail!(
            "{origin} is {}, not a Kubernetes object (apiVersion, kind, metadata, ...)",
            type_name(&other)
        ),
    };
    if let Some(items) = take_items(&origin, &mut body)? {
        return items.into_iter().try_for_each(|item| collect(origin.clone(), item, objects));
    }
    objects.push(object(origin, body)?);
    Ok(())
}

/// The objects of a list, as kubectl takes it apart: whatever has items is one, and those of a `PodList` are Pods.
fn take_items(origin: &Origin, body: &mut Map<String, Value>) -> anyhow::Result<Option<Vec<Value>>> {
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
    let kind = text("kind").unwrap_or_default();
    let (version, single) = (text("apiVersion"), kind.strip_suffix("List"));
    let mut items = match body.get_mut("items") {
        Some(Value::Array(items)) => std::mem::take(items),
        Some(Value::Null) if single.is_some() => Vec::new(),
        _ if kind == "List" => bail!("{origin}: a List without items"),
        _ => return Ok(None),
    };
    if let (Some(version), Some(single)) = (version, single.filter(|single| !single.is_empty())) {
        let unnamed =
            |item: &&mut Map<String, Value>| !item.contains_key("kind") && !item.contains_key("apiVersion");
        for item in items.iter_mut().filter_map(Value::as_object_mut).filter(unnamed) {
            item.insert("apiVersion".into(), version.as_str().into());
            item.insert("kind".into(), single.into());
        }
    }
    Ok(Some(items))
}

fn object(origin: Origin, body: Map<String, Value>) -> anyhow::Result<Object> {
    let text = |field: &str| match body.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(other) => Err(anyhow!("{origin}: {field} is {}, not a name", type_name(other))),
        None => Err(anyhow!("{origin} has no {field}, so it is not a Kubernetes object")),
    };
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    foreign::check_kind(&origin.file, &origin.to_string(), &api_version, &kind)?;
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
        let labels = |text: &str| -> Vec<String> {
            parse("m.yaml", text).unwrap().iter().map(Object::label).collect()
        };
        assert_eq!(labels(text), ["Pod a", "Service b"]);
        let pods = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
        assert_eq!(labels(pods), ["Pod a", "Pod b"]);
        let nested = format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: []\n---\n{pods}"
        );
        assert_eq!(labels(&nested), ["Pod a", "Pod b"]);
    }

    #[test]
    fn json_objects_may_follow_each_other() {
        let text = "{\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"b\"}}\n";
        let objects = parse("m.json", text).unwrap();
        let places: Vec<_> = objects
            .iter()
            .map(|object| (object.name.as_str(), object.origin.document, object.origin.line))
            .collect();
        assert_eq!(places, [("a", 1, 1), ("b", 2, 3)]);
    }
}
