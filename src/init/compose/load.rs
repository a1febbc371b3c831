//! The services of a compose project: its files merged as `docker compose` does, `extends` and `include`
//! followed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::super::dotenv::{self, Variables, interpolate};
use super::super::project::{folder, join, normal};
use super::super::{Findings, Purpose, Read, one_line};
use crate::yaml::{Content, Entry, Node};

/// How many services may extend one after the other, and how deep files may include files.
const DEPTH: usize = 16;
/// How many files one project may have.
const FILES: usize = 50;

/// What stands before a path that is as seen from the project's folder, and no longer from its file's.
pub(super) const ROOTED: &str = "//";

/// A service as its files together make it.
pub(super) struct Loaded {
    pub key: String,
    /// Where it stands, file and line; the first place first.
    pub places: Vec<(String, usize)>,
    pub node: Node,
    pub shared: Rc<Shared>,
}

/// What the services of some files have in common.
#[derive(Default)]
pub(super) struct Shared {
    pub variables: Variables,
    /// Secrets and configs that are files, by their names.
    pub files: BTreeMap<String, String>,
}

pub(super) struct Loader<'a> {
    read: Read<'a>,
    parsed: HashMap<String, Option<Rc<Node>>>,
    pub findings: Findings,
    pub included: BTreeSet<String>,
    /// The services that those of other files extend: the file, and the place as messages have it.
    pub extended: BTreeSet<(String, String)>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(read: Read<'a>) -> Self {
        let (included, extended) = (BTreeSet::new(), BTreeSet::new());
        Self { read, parsed: HashMap::new(), findings: Findings::default(), included, extended }
    }

    /// Takes in a text that was read already.
    pub(super) fn put(&mut self, file: &str, text: &str) -> anyhow::Result<()> {
        let root = Node::parse(file, text)?.merged();
        self.parsed.insert(file.to_owned(), Some(Rc::new(root)));
        Ok(())
    }

    /// A file's content; one that is not there, or not to be read, is told of.
    fn file(&mut self, path: &str, wanted_by: &str) -> Option<Rc<Node>> {
        if let Some(known) = self.parsed.get(path) {
            return known.clone();
        }
        let text = if self.parsed.len() < FILES { (self.read)(path) } else { None };
        let node = match text.map(|text| Node::parse(path, &text)) {
            Some(Ok(node)) => Some(Rc::new(node.merged())),
            Some(Err(error)) => {
                self.findings.broken.push(format!("{error:#}"));
                None
            }
            None => {
                self.findings.notes.push(format!("{wanted_by}: {} was not read", one_line(path)));
                None
            }
        };
        self.parsed.insert(path.to_owned(), node.clone());
        node
    }

    /// The services of files that belong together; their paths are as seen from the folder.
    pub(super) fn project(
        &mut self,
        files: &[String],
        folder: &str,
        more: &Variables,
        depth: usize,
    ) -> Vec<Loaded> {
        let Some(first) = files.first() else { return Vec::new() };
        let mut shared = Shared { variables: self.variables(folder, more), files: BTreeMap::new() };
        let roots: Vec<(&String, Rc<Node>)> =
            files.iter().filter_map(|file| Some((file, self.file(file, first)?))).collect();
        for (_, root) in &roots {
            for entry in
                ["secrets", "configs"].iter().flat_map(|key| root.get(key).map(Node::entries)).flatten()
            {
                if let Some(path) = entry.value.get("file").and_then(Node::text) {
                    shared.files.insert(entry.key.clone(), path_of(path, folder, &shared.variables));
                }
            }
        }
        let shared = Rc::new(shared);
        let mut all: Vec<Loaded> = Vec::new();
        for (file, root) in &roots {
            for include in root.get("include").map(Node::items).unwrap_or_default() {
                for loaded in self.include(include, file, folder, &shared.variables, depth) {
                    add(&mut all, loaded);
                }
            }
            for entry in services(root) {
                if all.len() > super::SERVICES && all.iter().all(|known| known.key != entry.key) {
                    continue;
                }
                self.findings.broken.extend(misshapen(file, entry));
                let mut stack = vec![((*file).clone(), entry.key.clone())];
                let node = self.service(&entry.value, folder, &shared.variables, &mut stack);
                let places = vec![((*file).clone(), entry.line)];
                add(&mut all, Loaded { key: entry.key.clone(), places, node, shared: shared.clone() });
            }
        }
        all
    }

    fn include(
        &mut self,
        include: &Node,
        file: &str,
        folder: &str,
        variables: &Variables,
        depth: usize,
    ) -> Vec<Loaded> {
        let path = include.text().map_or_else(|| include.get("path"), |_| Some(include));
        let texts =
            path.map(|path| if path.items().is_empty() { std::slice::from_ref(path) } else { path.items() });
        let mut files = Vec::new();
        for path in texts.unwrap_or_default().iter().filter_map(Node::text) {
            let path = path_of(path, folder, variables);
            match path.strip_prefix(ROOTED).and_then(normal) {
                Some(path) => files.push(path),
                None => self.findings.notes.push(format!(
                    "{file}:{}: the included {} is not in the project; it was not read",
                    include.line,
                    one_line(&path)
                )),
            }
        }
        // Each file once: what includes itself ends.
        if depth == 0 || files.iter().any(|file| !self.included.insert(file.clone())) {
            return Vec::new();
        }
        let mut more = variables.clone();
        if let Some(env) = include.get("env_file") {
            for path in if env.items().is_empty() { std::slice::from_ref(env) } else { env.items() } {
                let path = path.text().map(|path| path_of(path, folder, variables));
                let path = path.as_deref().and_then(|path| path.strip_prefix(ROOTED));
                if let Some(text) = path.and_then(|path| (self.read)(path)) {
                    let own = dotenv::filled(&text, &more);
                    more.extend(own);
                }
            }
        }
        let own = include.get("project_directory").and_then(Node::text);
        let own = own.map(|path| path_of(path, folder, variables));
        let own = own.and_then(|path| path.strip_prefix(ROOTED).and_then(normal));
        let beside = files.first().map_or("", |file| self::folder(file));
        let folder = own.as_deref().map_or(beside, |folder| if folder == "." { "" } else { folder });
        self.project(&files, folder, &more, depth - 1)
    }

    /// What variables are filled from: the folder's `.env` or the project's, then what was known before, then
    /// the example that a project has in the place of its `.env`.
    fn variables(&self, folder: &str, more: &Variables) -> Variables {
        let mut folders = vec![folder];
        folders.extend((!folder.is_empty()).then_some(""));
        let names = std::iter::once(".env").chain(EXAMPLES);
        let mut all = more.clone();
        all.entry("PWD".into()).or_insert_with(|| ".".into());
        for text in names
            .flat_map(|name| folders.iter().map(move |folder| join(folder, name)))
            .filter_map(|path| (self.read)(&path))
        {
            for (name, value) in dotenv::filled(&text, &all) {
                all.entry(name).or_insert(value);
            }
        }
        all
    }

    /// A service with what it extends, its paths as seen from the project's folder.
    fn service(
        &mut self,
        node: &Node,
        folder: &str,
        variables: &Variables,
        stack: &mut Vec<(String, String)>,
    ) -> Node {
        let own = prepare(node, folder, variables);
        let Some(extends) = node.get("extends") else { return own };
        let Some(name) = extends.text().or_else(|| extends.get("service")?.text()) else { return own };
        let Some((file, key)) = stack.last().cloned() else { return own };
        let place = format!("{file}:{}: service {}", extends.line, one_line(&key));
        let (other, beside) = match extends.get("file").and_then(Node::text) {
            None => (file.clone(), folder.to_owned()),
            Some(path) => {
                let path = path_of(path, folder, variables);
                let Some(path) = path.strip_prefix(ROOTED).and_then(normal) else {
                    self.findings.notes.push(format!(
                        "{place} extends one of {}, which is not in the project; it was not read",
                        one_line(&path)
                    ));
                    return own;
                };
                let beside = self::folder(&path).to_owned();
                (path, beside)
            }
        };
        let id = (other.clone(), name.to_owned());
        if stack.contains(&id) || stack.len() >= DEPTH {
            self.findings.broken.push(match stack.contains(&id) {
                true => format!("{place} extends itself"),
                false => format!("{place} extends more than {DEPTH} others, one after the other"),
            });
            return own;
        }
        let Some(root) = self.file(&other, &place) else { return own };
        let Some(base) = services(&root).iter().find(|entry| entry.key == name) else {
            let name = one_line(name);
            self.findings
                .broken
                .push(format!("{place} extends {name}, which {} does not have", one_line(&other)));
            return own;
        };
        // What is for production alone makes no mere base of what is for development.
        if other != file && (Purpose::of(&file) != Purpose::Other || Purpose::of(&other) == Purpose::Other) {
            self.extended
                .insert((other.clone(), format!("{other}:{}: service {}", base.line, one_line(name))));
        }
        stack.push(id);
        let base = self.service(&base.value, &beside, variables, stack);
        stack.pop();
        overlay("", base, own)
    }
}

/// What projects call the example of their `.env`.
const EXAMPLES: [&str; 6] =
    [".env.example", ".env.sample", ".env.dist", ".env.template", ".env.defaults", ".env.default"];

/// The examples of a file of variables that is not there.
pub(super) fn examples(path: &str) -> impl Iterator<Item = String> {
    EXAMPLES.iter().map(move |name| path.to_owned() + name.trim_start_matches(".env"))
}

/// The services of a file; those of Compose's version 1 stand at its top.
pub(in super::super) fn services(root: &Node) -> &[Entry] {
    let is_service = |node: &Node| ["image", "build", "extends"].iter().any(|key| node.get(key).is_some());
    let entries = root.entries();
    match root.get("services") {
        Some(services) => services.entries(),
        None if entries.iter().all(|entry| matches!(entry.value.content, Content::Map(_)))
            && entries.iter().any(|entry| is_service(&entry.value)) =>
        {
            entries
        }
        None => &[],
    }
}

/// What `docker compose` does not take of a service, for it is of another shape.
fn misshapen(file: &str, Entry { key, line, value: node, .. }: &Entry) -> Vec<String> {
    let service = one_line(key);
    if node.text().is_some() || !node.items().is_empty() {
        let kind = node.kind();
        return vec![format!("{file}:{line}: service {service} is {kind}; docker compose takes a mapping")];
    }
    let lists = ["environment", "ports", "volumes", "expose", "profiles", "secrets", "configs"];
    let wrong = lists.iter().filter_map(|key| {
        let node = node.get(key)?;
        let is_right = match node.content {
            Content::Scalar { .. } => false,
            Content::Map(_) => *key == "environment",
            _ => true,
        };
        let takes = if *key == "environment" { "a list or a mapping" } else { "a list" };
        let (line, kind) = (node.line, node.kind());
        (!is_right).then(|| {
            format!("{file}:{line}: service {service}: {key} is {kind}; docker compose takes {takes}")
        })
    });
    wrong.collect()
}

fn add(all: &mut Vec<Loaded>, loaded: Loaded) {
    match all.iter_mut().find(|known| known.key == loaded.key) {
        Some(known) => {
            let base = std::mem::replace(&mut known.node, empty());
            known.node = overlay("", base, loaded.node);
            known.places.extend(loaded.places);
        }
        None => all.push(loaded),
    }
}

fn empty() -> Node {
    text_of("", 0)
}

fn text_of(text: &str, line: usize) -> Node {
    Node { line, content: Content::Scalar { text: text.to_owned(), plain: false }, tag: None }
}

/// The keys of a service that tell something about a database in it.
const KEYS: [&str; 18] = [
    "image",
    "build",
    "environment",
    "env_file",
    "command",
    "entrypoint",
    "volumes",
    "ports",
    "expose",
    "profiles",
    "secrets",
    "configs",
    "healthcheck",
    "scale",
    "deploy",
    "provider",
    "extends",
    "depends_on",
];

/// A service with only the keys that matter, and paths as seen from the project's folder.
fn prepare(node: &Node, folder: &str, variables: &Variables) -> Node {
    let entries = node.entries().iter().filter(|entry| KEYS.contains(&entry.key.as_str()));
    let entries = entries.map(|entry| {
        let value = &entry.value;
        let path = |node: &Node| text_of(&path_of(node.text().unwrap_or("."), folder, variables), node.line);
        let content = match entry.key.as_str() {
            "build" => Content::Map(match &value.content {
                Content::Map(entries) => {
                    let mut entries = entries.clone();
                    match entries.iter_mut().find(|entry| entry.key == "context") {
                        Some(context) => context.value = path(&context.value),
                        None => entries
                            .push(entry_of("context", text_of(&path_of(".", folder, variables), value.line))),
                    }
                    entries
                }
                _ => vec![entry_of("context", path(value))],
            }),
            "env_file" => {
                let items =
                    if value.items().is_empty() { std::slice::from_ref(value) } else { value.items() };
                Content::List(
                    items
                        .iter()
                        .map(|item| with_path(item, "path", &path).unwrap_or_else(|| path(item)))
                        .collect(),
                )
            }
            "volumes" => Content::List(
                value
                    .items()
                    .iter()
                    .map(|item| {
                        with_path(item, "source", &|node| {
                            let is_path = node.text().is_some_and(|text| text.contains(['/', '.', '$', '~']));
                            if is_path { path(node) } else { node.clone() }
                        })
                        .unwrap_or_else(|| volume(item, folder, variables))
                    })
                    .collect(),
            ),
            _ => value.content.clone(),
        };
        Entry { value: Node { content, ..value.clone() }, ..entry.clone() }
    });
    Node { content: Content::Map(entries.collect()), line: node.line, tag: node.tag.clone() }
}

fn entry_of(key: &str, value: Node) -> Entry {
    Entry { key: key.to_owned(), plain: true, line: value.line, value }
}

/// A mapping with one of its paths changed; `None` if it is none.
fn with_path(node: &Node, key: &str, change: &dyn Fn(&Node) -> Node) -> Option<Node> {
    let Content::Map(entries) = &node.content else { return None };
    let entries = entries.iter().map(|entry| {
        let value = if entry.key == key { change(&entry.value) } else { entry.value.clone() };
        Entry { value, ..entry.clone() }
    });
    Some(Node { content: Content::Map(entries.collect()), ..node.clone() })
}

/// `SOURCE:TARGET[:OPTIONS]`, whose source is a path if it begins like one.
fn volume(item: &Node, folder: &str, variables: &Variables) -> Node {
    let typed = item.text().unwrap_or_default();
    let filled = interpolate(typed, variables).unwrap_or_else(|| typed.to_owned());
    match filled.split_once(':').filter(|(source, _)| source.starts_with('.')) {
        Some((source, rest)) => text_of(&format!("{ROOTED}{}:{rest}", join(folder, source)), item.line),
        None => text_of(&filled, item.line),
    }
}

/// A path of a file in a folder, with its variables filled in; what is absolute, remote or unknown stays as it
/// is.
fn path_of(path: &str, folder: &str, variables: &Variables) -> String {
    let filled = interpolate(path, variables).unwrap_or_else(|| path.to_owned());
    let stays = filled.starts_with(['/', '~', '$']) || filled.contains("://") || filled.starts_with("git@");
    if stays { filled } else { format!("{ROOTED}{}", join(folder, &filled)) }
}

/// What `docker compose` makes of a value and one that is laid over it.
fn overlay(key: &str, base: Node, over: Node) -> Node {
    match over.tag.as_deref() {
        Some("reset") => return Node { line: over.line, content: Content::Empty, tag: None },
        Some("override") => return over,
        _ => {}
    }
    if over.content == Content::Empty {
        return base;
    }
    if ["command", "entrypoint", "test"].contains(&key) {
        return over;
    }
    let is_map = ["environment", "args"].contains(&key);
    let of = |node: Node| if is_map { as_map(node) } else { node };
    let (base, over) = (of(base), of(over));
    let content = match (base.content, over.content) {
        (Content::Map(mut entries), Content::Map(more)) => {
            let mut known: HashMap<String, usize> =
                entries.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
            for entry in more {
                match known.get(&entry.key) {
                    Some(index) if is_map => entries[*index] = entry,
                    Some(index) => {
                        let base = std::mem::replace(&mut entries[*index].value, empty());
                        entries[*index].value = overlay(&entry.key, base, entry.value);
                    }
                    None => {
                        known.insert(entry.key.clone(), entries.len());
                        entries.push(entry);
                    }
                }
            }
            Content::Map(entries)
        }
        (Content::List(mut items), Content::List(more)) => {
            items.extend(more);
            Content::List(items)
        }
        (_, over) => over,
    };
    Node { line: over.line, content, tag: None }
}

/// `- NAME=VALUE` as `NAME: VALUE`.
pub(super) fn as_map(node: Node) -> Node {
    let Content::List(items) = &node.content else { return node };
    let mut entries: Vec<Entry> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let value = match value {
            Some(value) => text_of(value, item.line),
            None => Node { line: item.line, content: Content::Empty, tag: None },
        };
        let entry = entry_of(name, value);
        match known.get(name) {
            Some(index) => entries[*index] = entry,
            None => {
                known.insert(name.to_owned(), entries.len());
                entries.push(entry);
            }
        }
    }
    Node { content: Content::Map(entries), ..node }
}
