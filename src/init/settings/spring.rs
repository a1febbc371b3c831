//! Spring's `application*.yml` and `.properties`, and what other Java programs have in files of that name.

use std::collections::BTreeMap;

use super::{Hint, purpose, told};
use crate::init::dotenv::Variables;
use crate::init::project::{folder, join};
use crate::init::{Findings, Read, url};
use crate::yaml::{Budget, Content, Node};

/// A value as it is written: its name, its text and its line.
#[derive(Clone)]
struct Value {
    name: String,
    text: String,
    line: usize,
}

/// The values of one document by their dotted names, all spellings of one being the same.
type Values = BTreeMap<String, Value>;

/// How many values of one file are looked at.
const MOST: usize = 10_000;
/// How many documents of one file, each of which is laid over the first ones.
const DOCUMENTS: usize = 50;

pub(super) fn read(file: &str, text: &str, known: &Variables, read: Read) -> Findings {
    let mut findings = Findings::default();
    let (mut base, mut own) = (beside(file, read), Values::new());
    for (profile, values) in documents(file, text, &mut findings) {
        // A profile's document says only what is different.
        let mut all = base.clone();
        all.extend(values.clone());
        if profile.is_empty() {
            base.clone_from(&all);
            own.extend(values.clone());
        }
        document(file, &profile, &values, &all, known, &mut findings);
    }
    let kind =
        own.get("quarkus.datasource.dbkind").and_then(|kind| Some((url::engine(&kind.text)?, kind.line)));
    if let Some((engine, line)) = kind.filter(|_| findings.found.is_empty() && findings.left.is_empty()) {
        let hint = Hint { file, line, what: "quarkus.datasource.db-kind", purpose: purpose(file, "") };
        hint.take(told(engine, None, None, false), &mut findings);
    }
    findings
}

/// The databases of one document; `all` are its values and those that it is laid over.
fn document(
    file: &str,
    profile: &str,
    values: &Values,
    all: &Values,
    known: &Variables,
    findings: &mut Findings,
) {
    // The first line of each.
    let scopes: BTreeMap<&str, usize> =
        values.iter().rev().map(|(key, value)| (scope(key), value.line)).collect();
    for (key, Value { name, text, line }) in all {
        let scope = scope(key);
        let Some(first) = scopes.get(scope).filter(|_| key.ends_with("url")) else { continue };
        let value = |name: &str| all.get(&format!("{scope}.{name}"));
        let get = |name: &str| value(name).and_then(|value| fill(&value.text, known));
        let Some(mut read) = fill(text, known).as_deref().and_then(url::read) else { continue };
        let user = get("username").or_else(|| get("user"));
        read.user = read.user.or_else(|| url::known(&user?));
        read.has_password |= value("password").is_some();
        // What the document takes over stands elsewhere.
        let line = if values.contains_key(key) { *line } else { *first };
        let mark = format!("{profile} {}", name.split_once('.').map_or("", |(first, _)| first));
        let hint = Hint { file, line, what: name, purpose: purpose(file, &mark) };
        hint.take(read, findings);
    }
}

/// What a key stands in: Quarkus' `jdbc.url` is beside `username`.
fn scope(key: &str) -> &str {
    let (scope, _) = key.rsplit_once('.').unwrap_or(("", key));
    scope.strip_suffix(".jdbc").or_else(|| scope.strip_suffix(".reactive")).unwrap_or(scope)
}

/// A name as Spring compares it: `jdbcUrl`, `jdbc-url` and `jdbc_url` are one.
fn canonical(name: &str) -> String {
    name.chars().filter(|c| !['-', '_'].contains(c)).flat_map(char::to_lowercase).collect()
}

/// What the file of a profile is laid over: `application.yml` beside it, or in the program's own folder.
fn beside(file: &str, read: Read) -> Values {
    let name = file.rsplit('/').next().unwrap_or(file);
    if !name.starts_with("application-") {
        return Values::new();
    }
    let own = folder(file);
    let main = own.replace("src/test/resources", "src/main/resources");
    let folders = if main == own { vec![own] } else { vec![own, &main] };
    let files = folders.iter().flat_map(|folder| {
        ["application.yml", "application.yaml", "application.properties"].map(|name| join(folder, name))
    });
    let base = files.into_iter().find_map(|file| Some((read(&file)?, file)));
    let documents = base.map(|(text, file)| documents(&file, &text, &mut Findings::default()));
    let plain = documents.into_iter().flatten().filter(|(profile, _)| profile.is_empty());
    plain.flat_map(|(_, values)| values).collect()
}

/// The documents of a file, each with its profile; what Quarkus has as `%PROFILE.` before a name is one of its
/// own.
fn documents(file: &str, text: &str, findings: &mut Findings) -> Vec<(String, Values)> {
    let read = if file.ends_with(".properties") { properties(text) } else { yaml(file, text, findings) };
    let mut documents: Vec<(String, Values)> = Vec::new();
    for values in read {
        let profile = ["spring.config.activate.onprofile", "spring.profiles"]
            .iter()
            .find_map(|key| values.get(*key))
            .map_or_else(String::new, |value| value.text.clone());
        let mut parts: BTreeMap<String, Values> = [(profile, Values::new())].into();
        let first = parts.keys().next().cloned().unwrap_or_default();
        for (key, value) in values {
            let own = key.strip_prefix('%').and_then(|key| key.split_once('.'));
            let (profile, key) = own.map_or((first.as_str(), key.as_str()), |(profile, key)| (profile, key));
            parts.entry(profile.to_owned()).or_default().insert(key.to_owned(), value);
        }
        documents.extend(parts.into_iter().take(DOCUMENTS - documents.len()));
    }
    documents
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
    let mut lines = text.lines().enumerate().take(MOST);
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line == "#---" || line == "!---" {
            documents.push(Values::new());
        }
        if line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        // A backslash at its end lets a line go on, unless it is one that stands for itself.
        while (whole.len() - whole.trim_end_matches('\\').len()) % 2 == 1 {
            whole.pop();
            let Some((_, more)) = lines.next() else { break };
            whole += more.trim();
        }
        let (name, text) = pair(&whole);
        if let Some(values) = documents.last_mut().filter(|_| !name.is_empty()) {
            values.insert(canonical(&name), Value { name, text, line: index + 1 });
        }
    }
    documents
}

/// The name and the value of a line, which `=` or `:` parts; a backslash takes the meaning of what follows.
fn pair(line: &str) -> (String, String) {
    let (mut name, mut value) = (String::new(), String::new());
    let mut chars = line.chars();
    let mut into_value = false;
    while let Some(c) = chars.next() {
        let into = if into_value { &mut value } else { &mut name };
        match c {
            '\\' => into.extend(chars.next()),
            '=' | ':' if !into_value => into_value = true,
            c => into.push(c),
        }
    }
    (name.trim().to_owned(), value.trim().to_owned())
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
        // Other programs have files of that name too, and templates of them.
        Err(problem) if ["datasource", "jdbc:", "r2dbc:"].iter().any(|word| text.contains(word)) => {
            findings.broken.push(format!("{file}:{}: {}", problem.line + start, problem.wrong));
        }
        Err(_) => {}
    };
    for (index, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            read(&part, start);
            part.clear();
            start = index + 1;
            continue;
        }
        // Maven fills in `@name@`, which is no YAML before.
        part.push_str(if line.contains(": @") { "" } else { line });
        part.push('\n');
    }
    read(&part, start);
    documents
}

fn flatten(node: &Node, name: &str, start: usize, values: &mut Values) {
    for entry in node.entries() {
        let name = if name.is_empty() { entry.key.clone() } else { format!("{name}.{}", entry.key) };
        match &entry.value.content {
            Content::Scalar { text, .. } if values.len() < MOST && name.len() < 500 => {
                let value = Value { name: name.clone(), text: text.clone(), line: entry.value.line + start };
                values.insert(canonical(&name), value);
            }
            Content::Map(_) if name.len() < 500 => flatten(&entry.value, &name, start, values),
            _ => {}
        }
    }
}
