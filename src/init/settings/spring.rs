//! Spring's `application*.yml` and `.properties`, and what other Java programs have in files of that name.

use std::collections::BTreeMap;

use super::{Hint, purpose, told};
use crate::init::dotenv::Variables;
use crate::init::{Findings, url};
use crate::yaml::{Budget, Content, Node};

/// The values of one document by their dotted names, with the lines.
type Values = BTreeMap<String, (String, usize)>;

/// How many values of one file are looked at.
const MOST: usize = 10_000;

pub(super) fn read(file: &str, text: &str, known: &Variables) -> Findings {
    let mut findings = Findings::default();
    let documents =
        if file.ends_with(".properties") { properties(text) } else { yaml(file, text, &mut findings) };
    for values in documents {
        let profile = ["spring.config.activate.on-profile", "spring.profiles"]
            .iter()
            .find_map(|key| values.get(*key))
            .map_or("", |(text, _)| text);
        for (key, (value, line)) in &values {
            let (scope, last) = key.rsplit_once('.').unwrap_or(("", key));
            // `jdbc-url` and Quarkus' `jdbc.url` beside `username`.
            let scope =
                scope.strip_suffix(".jdbc").or_else(|| scope.strip_suffix(".reactive")).unwrap_or(scope);
            if !last.ends_with("url") {
                continue;
            }
            let get =
                |name: &str| values.get(&format!("{scope}.{name}")).and_then(|(text, _)| fill(text, known));
            let Some(mut read) = fill(value, known).as_deref().and_then(url::read) else { continue };
            let user = get("username").or_else(|| get("user"));
            read.user = read.user.or_else(|| url::known(&user?));
            read.has_password |= values.contains_key(&format!("{scope}.password"));
            let mark = format!("{profile} {}", key.split_once('.').map_or("", |(first, _)| first));
            let hint = Hint { file, line: *line, what: key, purpose: purpose(file, &mark) };
            hint.take(read, &mut findings);
        }
        let kind = values
            .get("quarkus.datasource.db-kind")
            .and_then(|(kind, line)| Some((url::engine(kind)?, line)));
        if let Some((engine, line)) = kind.filter(|_| findings.found.is_empty() && findings.left.is_empty()) {
            let hint = Hint {
                file,
                line: *line,
                what: "quarkus.datasource.db-kind",
                purpose: purpose(file, profile),
            };
            hint.take(told(engine, None, None, false), &mut findings);
        }
    }
    findings
}

/// Spring's `${NAME:default}`.
fn fill(text: &str, known: &Variables) -> Option<String> {
    let mut filled = text.to_owned();
    // From the inside out: the last that begins has none in it.
    for _ in 0..16 {
        let Some(start) = filled.rfind("${") else { break };
        let end = start + filled[start..].find('}')?;
        let inside = &filled[start + 2..end];
        let (name, default) = inside.split_once(':').map_or((inside, None), |(a, b)| (a, Some(b)));
        let value = known.get(name).map(String::as_str).or(default)?.to_owned();
        filled.replace_range(start..=end, &value);
        if filled.len() > 4 << 10 {
            return None;
        }
    }
    Some(filled)
}

fn properties(text: &str) -> Vec<Values> {
    let mut documents = vec![Values::new()];
    for (index, line) in text.lines().enumerate().take(MOST) {
        let line = line.trim();
        if line == "#---" || line == "!---" {
            documents.push(Values::new());
        }
        let Some(at) = line.find(['=', ':']).filter(|_| !line.starts_with(['#', '!'])) else { continue };
        let (key, value) = (line[..at].trim().to_owned(), line[at + 1..].trim().to_owned());
        if let Some(values) = documents.last_mut() {
            values.insert(key, (value, index + 1));
        }
    }
    documents
}

fn yaml(file: &str, text: &str, findings: &mut Findings) -> Vec<Values> {
    let mut documents = Vec::new();
    let mut budget = Budget::default();
    let mut start = 0;
    let mut part = String::new();
    let mut read = |part: &str, start: usize| match Node::read(part, &mut budget) {
        Ok(node) => {
            let mut values = Values::new();
            flatten(&node.merged(), "", start, &mut values);
            documents.push(values);
        }
        Err(problem) => {
            findings.notes.push(format!("{file}:{}: {}", problem.line + start, problem.wrong));
        }
    };
    for (index, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            read(&part, start);
            part.clear();
            start = index + 1;
        } else {
            part.push_str(line);
            part.push('\n');
        }
    }
    read(&part, start);
    documents
}

fn flatten(node: &Node, name: &str, start: usize, values: &mut Values) {
    for entry in node.entries() {
        let name = if name.is_empty() { entry.key.clone() } else { format!("{name}.{}", entry.key) };
        match &entry.value.content {
            Content::Scalar { text, .. } if values.len() < MOST && name.len() < 500 => {
                values.insert(name, (text.clone(), entry.value.line + start));
            }
            Content::Map(_) if name.len() < 500 => flatten(&entry.value, &name, start, values),
            _ => {}
        }
    }
}
