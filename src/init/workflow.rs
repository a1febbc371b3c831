//! The service containers of a GitHub workflow's jobs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::expression::{Contexts, fill, value};
use super::service::{self, Role, Service};
use super::{Findings, Place, Port, Purpose, SERVICES, command, compose, one_line, one_more};
use crate::yaml::{Content, Entry, Node};

/// How many combinations of a matrix are looked at: GitHub runs no more.
const COMBINATIONS: usize = 256;

/// What other workflows call the reusable ones with, by the file, each once.
pub type Calls = BTreeMap<String, Vec<Contexts>>;

/// Adds what the jobs of a workflow hand on to others of the project.
pub fn calls(text: &str, calls: &mut Calls) {
    let Ok(root) = Node::parse("", text) else { return };
    let root = root.merged();
    for job in root.get("jobs").map(Node::entries).unwrap_or_default() {
        let file = job.value.get("uses").and_then(Node::text).and_then(|file| file.strip_prefix("./"));
        let Some(file) = file else { continue };
        let with = job.value.get("with").map(Node::entries).unwrap_or_default();
        let mut contexts = contexts(&root, &job.value, &Contexts::new());
        let known = calls.entry(file.to_owned()).or_default();
        for combination in combinations(&job.value, &contexts) {
            if known.len() >= CALLS {
                break;
            }
            set(&mut contexts, &combination);
            let filled =
                |entry: &Entry| Some((entry.key.clone(), fill(entry.value.text()?, &contexts)?.into()));
            let call: Contexts = with.iter().filter_map(filled).take(INPUTS).collect();
            if !known.contains(&call) {
                known.push(call);
            }
        }
    }
}

/// How many calls of a workflow are looked at, and inputs of one.
const CALLS: usize = 32;
const INPUTS: usize = 50;

/// Reads one workflow; `calls` are what others call it with.
///
/// # Errors
/// The line that is no YAML.
pub fn read(file: &str, text: &str, calls: &[Contexts]) -> anyhow::Result<Findings> {
    let root = Node::parse(file, text)?.merged();
    let mut findings = Findings::default();
    let mut left = SERVICES;
    for job in root.get("jobs").map(Node::entries).unwrap_or_default() {
        if let Some(uses) =
            job.value.get("uses").filter(|uses| uses.text().is_some_and(|text| !text.starts_with("./")))
        {
            findings.notes.push(format!(
                "{file}:{}: job {}: {} is not in the project; it was not read",
                uses.line,
                one_line(&job.key),
                one_line(uses.text().unwrap_or_default())
            ));
        }
        let Some(services) = job.value.get("services") else { continue };
        if let Content::List(_) = services.content {
            findings.broken.push(format!(
                "{file}:{}: job {}: services is a list; GitHub takes a mapping",
                services.line,
                one_line(&job.key)
            ));
        }
        if let Some(typed) = services.text() {
            findings.left.push(format!(
                "{file}:{}: job {}: its services {} are not known here",
                services.line,
                one_line(&job.key),
                one_line(typed)
            ));
        }
        if services.entries().is_empty() {
            continue;
        }
        let none = [Contexts::new()];
        let calls = if calls.is_empty() { &none } else { calls };
        let mut all: Vec<Contexts> = calls.iter().map(|inputs| contexts(&root, &job.value, inputs)).collect();
        let of = |(index, contexts): (usize, &Contexts)| -> Vec<(usize, Option<Value>)> {
            combinations(&job.value, contexts).into_iter().map(|matrix| (index, matrix)).collect()
        };
        let ways: Vec<(usize, Option<Value>)> =
            all.iter().enumerate().flat_map(of).take(COMBINATIONS).collect();
        for entry in services.entries() {
            if !one_more(&mut left, file, &mut findings) {
                return Ok(findings);
            }
            let place = format!(
                "{file}:{}: job {}, service {}",
                entry.line,
                one_line(&job.key),
                one_line(&entry.key)
            );
            let group = format!("{file} {}", job.key);
            let place = Place { group, text: place };
            take((&entry.key, &entry.value), &mut all, &ways, place, &mut findings);
        }
    }
    Ok(findings)
}

fn take(
    (name, node): (&str, &Node),
    all: &mut [Contexts],
    ways: &[(usize, Option<Value>)],
    place: Place,
    findings: &mut Findings,
) {
    let typed = node.text().or_else(|| node.get("image")?.text()).unwrap_or_default();
    let mut images: Vec<(String, usize)> = Vec::new();
    // Variables that are set elsewhere are empty here too.
    let mut is_none = !ways.is_empty() && typed.contains("''");
    for (index, (call, combination)) in ways.iter().enumerate() {
        set(&mut all[*call], combination);
        let image = fill(typed, &all[*call]);
        is_none &= image.as_deref() == Some("");
        let Some(image) = image else { continue };
        // GitHub starts nothing where there is no image.
        if !image.is_empty() && images.iter().all(|(known, _)| *known != image) {
            images.push((image, index));
        }
    }
    let Some((image, index)) = service::preferred(&images) else {
        let reason = match typed {
            "" => "it has no image".to_owned(),
            _ if is_none => "GitHub does not start it, for its image is empty".to_owned(),
            typed => format!("the value of its image {} is not known here", one_line(typed)),
        };
        findings.left.push(format!("{}: {reason}", place.text));
        return;
    };
    let (call, combination) = &ways[*index];
    set(&mut all[*call], combination);
    let contexts = &all[*call];
    let text = |node: &Node| fill(node.text()?, contexts);
    let texts = |key: &str| -> Vec<String> {
        node.get(key).map(Node::items).unwrap_or_default().iter().filter_map(text).collect()
    };
    let words = |key: &str| match node.get(key) {
        Some(node) if node.items().is_empty() => {
            text(node).map(|text| command::words(&text)).unwrap_or_default()
        }
        _ => texts(key),
    };
    let env = node.get("env").map(Node::entries).unwrap_or_default();
    // What GitHub says of a run, such as its number, is known when there is one.
    let is_of_run = |node: &Node| {
        node.text().is_some_and(|text| text.split("${{").skip(1).any(|inner| inner.contains("github.")))
    };
    let value = |node: &Node| text(node).filter(|_| !is_of_run(node));
    let mut variables: Vec<(String, Option<String>)> =
        service::relevant(env.iter().map(|entry| (entry.key.clone(), value(&entry.value)))).collect();
    let options = Options::read(&words("options"));
    variables.extend(service::relevant(options.variables));
    let (mut volumes, mut ports) = (texts("volumes"), texts("ports"));
    volumes.extend(options.volumes);
    ports.extend(options.ports);
    let mut entrypoint = words("entrypoint");
    entrypoint.extend(options.entrypoint.filter(|_| entrypoint.is_empty()));
    let command = words("command");
    let names_a_server = env.iter().any(|entry| service::names_a_server(&entry.key));
    let is_reached = ports.iter().chain(&options.health).any(|text| {
        ["5432", "3306", "pg_isready", "mysqladmin", "mariadb-admin", "healthcheck.sh"]
            .iter()
            .any(|part| text.contains(part))
    });
    let role = match crate::database::of_image(image, &[]) {
        None if names_a_server => Role::Client,
        _ if is_reached => Role::Server,
        _ => Role::Unknown,
    };
    let told = place.text.clone();
    let without_tag = image.strip_suffix(':');
    let service = Service {
        name,
        image: without_tag.unwrap_or(image),
        variables,
        entrypoint,
        command: command.clone(),
        role,
        purpose: Purpose::Tests,
        place,
    };
    if !service::take(service, findings) {
        return;
    }
    for key in ["entrypoint", "command", "options", "ports", "volumes"] {
        let Some(value) = node.get(key) else { continue };
        let all = if value.items().is_empty() { std::slice::from_ref(value) } else { value.items() };
        let unknown = all.iter().filter(|item| item.text().is_some() && text(item).is_none());
        findings.notes.extend(unknown.filter_map(Node::text).map(|typed| {
            format!(
                "{told}: {} of its {key} is not known here and left out; see to it in the file",
                one_line(typed)
            )
        }));
    }
    if without_tag.is_some() {
        let typed = one_line(typed);
        findings.notes.push(format!("{told}: the tag of {typed} is not known here; see to it in the file"));
    }
    let of = if all.len() > 1 { "what it is called with" } else { "the matrix" };
    service::tell_others(&told, of, image, &images, findings);
    let mounts: Vec<(String, String)> = volumes
        .iter()
        .filter_map(|text| text.split_once(':'))
        .map(|(source, rest)| {
            let source = if source.starts_with('.') { format!("//{source}") } else { source.to_owned() };
            (rest.split(':').next().unwrap_or_default().to_owned(), source)
        })
        .collect();
    let init = compose::mounted(&mounts, Vec::new(), &told, findings);
    if let Some(found) = findings.found.last_mut() {
        let inner = command::port(found.engine, &command).unwrap_or(found.engine.port());
        found.port = ports.iter().find_map(|text| compose::published(text, inner)).map(Port::Told);
        found.init = init;
    }
}

fn set(contexts: &mut Contexts, matrix: &Option<Value>) {
    contexts.remove("matrix");
    if let Some(matrix) = matrix {
        contexts.insert("matrix".into(), matrix.clone());
    }
}

/// What `options` says, which are those of `docker create`.
#[derive(Default)]
struct Options {
    variables: Vec<(String, Option<String>)>,
    volumes: Vec<String>,
    ports: Vec<String>,
    entrypoint: Option<String>,
    health: Option<String>,
}

impl Options {
    fn read(words: &[String]) -> Self {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, inline) = word
                .split_once('=')
                .map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
            if !["-e", "--env", "-v", "--volume", "-p", "--publish", "--entrypoint", "--health-cmd"]
                .contains(&name)
            {
                continue;
            }
            let Some(value) = inline.or_else(|| words.next().cloned()) else { break };
            match name {
                "-e" | "--env" => options.variables.extend(
                    value.split_once('=').map(|(name, value)| (name.to_owned(), Some(value.to_owned()))),
                ),
                "-v" | "--volume" => options.volumes.push(value),
                "--health-cmd" => options.health = Some(value),
                "--entrypoint" => options.entrypoint = Some(value),
                _ => options.ports.push(value),
            }
        }
        options
    }
}

/// What a job's expressions can be filled from, but for its matrix.
fn contexts(root: &Node, job: &Node, inputs: &Contexts) -> Contexts {
    let mut contexts = Contexts::new();
    contexts.insert("vars".into(), Value::Object(Map::new()));
    contexts.insert("github".into(), serde_json::json!({"workspace": "."}));
    let mut all = Map::new();
    for event in ["workflow_dispatch", "workflow_call"] {
        let declared = root.get("on").and_then(|on| on.get(event)).and_then(|event| event.get("inputs"));
        for entry in declared.map(Node::entries).unwrap_or_default() {
            let default = entry.value.get("default").map_or(Value::Null, value_of);
            if !default.is_null() || !all.contains_key(&entry.key) {
                all.insert(entry.key.clone(), default);
            }
        }
    }
    all.extend(inputs.clone());
    contexts.insert("inputs".into(), Value::Object(all));
    let mut env = Map::new();
    for node in [root, job] {
        for entry in node.get("env").map(Node::entries).unwrap_or_default().iter().take(SERVICES) {
            match entry.value.text().and_then(|text| fill(text, &contexts)) {
                Some(filled) => drop(env.insert(entry.key.clone(), filled.into())),
                None => drop(env.remove(&entry.key)),
            }
        }
        contexts.insert("env".into(), Value::Object(env.clone()));
    }
    contexts
}

/// Texts stay as they are typed, so that `10.10` is no `10.1`.
fn value_of(node: &Node) -> Value {
    match &node.content {
        Content::Empty => Value::Null,
        Content::Scalar { text, plain: true } if text == "true" || text == "false" => (text == "true").into(),
        Content::Scalar { text, .. } => text.as_str().into(),
        Content::List(items) => items.iter().map(value_of).collect(),
        Content::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), value_of(&entry.value))).collect())
        }
    }
}

/// The value of a part of the matrix, which may be an expression.
fn part(node: &Node, contexts: &Contexts) -> Option<Value> {
    match node.text() {
        Some(text) if text.contains("${{") => value(text, contexts),
        _ => Some(filled(value_of(node), contexts)),
    }
}

/// A value with the expressions of its texts filled in.
fn filled(given: Value, contexts: &Contexts) -> Value {
    match given {
        Value::String(text) if text.contains("${{") => value(&text, contexts).unwrap_or(Value::String(text)),
        Value::Array(items) => items.into_iter().map(|item| filled(item, contexts)).collect(),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, filled(value, contexts))).collect())
        }
        other => other,
    }
}

/// Values that are not known: a mapping is nothing that can be filled in.
fn unknown() -> Value {
    Value::Array(vec![Value::Object(Map::new())])
}

/// Each combination of the matrix, in GitHub's order; `None` for one that is not known.
fn combinations(job: &Node, contexts: &Contexts) -> Vec<Option<Value>> {
    let Some(matrix) = job.get("strategy").and_then(|strategy| strategy.get("matrix")) else {
        return vec![Some(Value::Object(Map::new()))];
    };
    let parts: Option<Map<String, Value>> = match matrix.text() {
        Some(text) => match value(text, contexts) {
            Some(Value::Object(entries)) => Some(entries),
            _ => None,
        },
        None => Some(
            matrix
                .entries()
                .iter()
                .map(|entry| (entry.key.clone(), part(&entry.value, contexts).unwrap_or_else(unknown)))
                .collect(),
        ),
    };
    let Some(mut parts) = parts else { return vec![None] };
    let maps = |value: Option<Value>| -> Vec<Map<String, Value>> {
        let Some(Value::Array(items)) = value else { return Vec::new() };
        items
            .into_iter()
            .filter_map(|item| if let Value::Object(map) = item { Some(map) } else { None })
            .collect()
    };
    let (include, exclude) = (maps(parts.remove("include")), maps(parts.remove("exclude")));
    let mut all: Vec<Map<String, Value>> = vec![Map::new()];
    for (key, value) in &parts {
        let Value::Array(values) = value else { continue };
        let one = |known: &Map<String, Value>, value: &Value| {
            let mut known = known.clone();
            known.insert(key.clone(), value.clone());
            known
        };
        all = all
            .iter()
            .flat_map(|known| values.iter().map(move |value| one(known, value)))
            .take(COMBINATIONS)
            .collect();
    }
    if parts.is_empty() {
        all.clear();
    }
    all.retain(|known| {
        !exclude
            .iter()
            .any(|one| !one.is_empty() && one.iter().all(|(key, value)| known.get(key) == Some(value)))
    });
    // An included one is added to those that it changes nothing of, else it is one of its own.
    let own = all.len();
    for one in include.into_iter().take(COMBINATIONS) {
        let mut fits = false;
        for known in all.iter_mut().take(own) {
            let agrees =
                one.iter().all(|(key, value)| !parts.contains_key(key) || known.get(key) == Some(value));
            if agrees {
                known.extend(one.clone());
                fits = true;
            }
        }
        if !fits {
            all.push(one);
        }
    }
    all.into_iter().map(|matrix| Some(Value::Object(matrix))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_service_is_told() {
        let text = "\
on: push
jobs:
  test:
    services:
      db: {image: 'postgres:16', command: '-c max_connections=${{ secrets.MOST }}', ports: ['5432', '${{ secrets.PORT }}']}
";
        let Findings { found, notes, .. } = read("w.yml", text, &[]).unwrap();
        assert_eq!(found.len(), 1);
        let told = "w.yml:5: job test, service db";
        let left = "is not known here and left out; see to it in the file";
        assert_eq!(
            notes,
            [
                format!("{told}: -c max_connections=${{{{ secrets.MOST }}}} of its command {left}"),
                format!("{told}: ${{{{ secrets.PORT }}}} of its ports {left}")
            ]
        );
    }

    #[test]
    fn service_containers_are_found() {
        let text = "\
on: push
jobs:
  test:
    strategy: {matrix: {pg: [15, 16]}}
    services:
      postgres:
        image: postgres:${{ matrix.pg }}
        env: {POSTGRES_PASSWORD: '${{ secrets.PW }}', POSTGRES_DB: shop}
      cache: {image: redis}
      other: {image: '${{ env.IMAGE }}'}
  lint: {steps: []}
";
        let Findings { found, notes, left, .. } = read("w.yml", text, &[]).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].tag.as_deref(), found[0].database.as_deref(), found[0].has_password),
            (Some("16"), Some("shop"), false)
        );
        assert_eq!(found[0].places[0].text, "w.yml:6: job test, service postgres");
        assert_eq!(
            notes,
            [
                "w.yml:6: job test, service postgres: of the matrix, postgres:16 is taken; --with takes another one (postgres:15)"
            ]
        );
        assert_eq!(
            left,
            [
                "w.yml:9: job test, service cache: redis is no database that testbed has",
                "w.yml:10: job test, service other: the value of its image ${{ env.IMAGE }} is not known here"
            ]
        );
    }
}
