//! YAML as a tree that knows its lines: whatever comes from outside as YAML is read here, so that an error
//! can name the place, and no file takes more time or memory than its size is worth.
//!
//! Scalars stay as they were typed (`1.10` is no `1.1`, `0600` no number), because nearly all of them end as
//! texts. [`scalar`] tells what Kubernetes' tools take them for.

pub mod scalar;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{Context as _, anyhow};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag};
use serde::Serialize;
use serde_json::{Map, Value};

/// How deep values may be nested.
const DEPTH: usize = 64;
/// How many values a file may have once its aliases are followed: a few lines of aliases of aliases can stand
/// for billions.
const SIZE: usize = 100_000;
/// How much text its anchors and aliases may stand for, in bytes.
const TEXT: usize = 16 << 20;
/// What ends a line in YAML 1.1 and does not in YAML 1.2, so that one reader folds a text with one of them
/// and another does not.
const BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
/// How long a key may be, in bytes: YAML itself allows as many characters for one that stands before its
/// colon.
const KEY: usize = 1024;

/// How much a file may still hold. Its documents share one.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    values: usize,
    text: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { values: SIZE, text: TEXT }
    }
}

impl Budget {
    fn take(&mut self, values: usize, text: usize) -> Result<(), Wrong> {
        self.values =
            self.values.checked_sub(values).ok_or_else(|| Wrong::new(format!("more than {SIZE} values")))?;
        self.text = self
            .text
            .checked_sub(text)
            .ok_or_else(|| Wrong::new(format!("aliases for more than {} MiB of text", TEXT >> 20)))?;
        Ok(())
    }
}

/// Why a text is refused, and the line. No value of the text is in it.
#[derive(Debug)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What is wrong with a text.
#[derive(Debug)]
pub enum Wrong {
    /// A key stands twice in one mapping.
    Twice {
        /// The key.
        key: String,
        /// The line in which it stands first.
        first: usize,
    },
    /// Anything else, in words.
    Else(String),
}

impl Wrong {
    fn new(text: impl Into<String>) -> Self {
        Self::Else(text.into())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { key, first } => write!(f, "the key {key:?} stands twice, first in line {first}"),
            Self::Else(text) => f.write_str(text),
        }
    }
}

/// A value and the line that it starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// What it is.
    pub content: Content,
    /// A tag of its own language, such as `!reset` of compose files and GitLab's `!reference`, without the `!`.
    pub tag: Option<Box<str>>,
}

/// The shapes of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing, `~` or `null`.
    Empty,
    /// A text, number or boolean as it was typed.
    Scalar {
        /// The characters.
        text: String,
        /// Whether it stood without quotes, so that `true` is a boolean.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; no key stands twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key as typed.
    pub key: String,
    /// Whether it stood without quotes.
    pub plain: bool,
    /// The key's line, from 1.
    pub line: usize,
    /// The value.
    pub value: Node,
}

impl Entry {
    /// Whether it is a merge key with something to merge.
    fn is_merge(&self) -> bool {
        self.key == "<<"
            && match &self.value.content {
                Content::Map(_) => true,
                Content::List(items) => items.iter().all(|item| matches!(item.content, Content::Map(_))),
                _ => false,
            }
    }
}

impl Node {
    /// Reads a file of one document; one without content is [`Content::Empty`].
    ///
    /// # Errors
    /// `file:line: ` and what is wrong: no YAML, a key that stands twice, a second document. No value of the
    /// file is in it.
    pub fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        Self::read(text, &mut Budget::default())
            .map_err(|Problem { line, wrong }| anyhow!("{file}:{line}: {wrong}"))
    }

    /// The same for one document of a file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), with the line of the document.
    pub fn read(text: &str, budget: &mut Budget) -> Result<Self, Problem> {
        let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), budget, root: None };
        // Windows' editors like to put a byte order mark first.
        let text = text.trim_start_matches('\u{feff}');
        let options = granit_parser::options! { flow_nesting_limit: DEPTH, block_nesting_limit: DEPTH };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| problem(&error, text))?;
            let line = span.start.line();
            builder.take(event, line).map_err(|wrong| Problem { line, wrong })?;
        }
        Ok(builder.root.unwrap_or(Self { line: 1, ..EMPTY }))
    }

    /// The value of a key; `None` where this is no mapping or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// A scalar as it was typed.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// All of it with its texts as they were typed; `None` where something in it is empty.
    pub fn as_typed(&self) -> Option<Value> {
        match &self.content {
            Content::Map(entries) => {
                let pair = |entry: &Entry| Some((entry.key.clone(), entry.value.as_typed()?));
                entries.iter().map(pair).collect::<Option<Map<_, _>>>().map(Value::from)
            }
            Content::List(items) => {
                items.iter().map(Self::as_typed).collect::<Option<Vec<_>>>().map(Value::from)
            }
            _ => self.text().map(Value::from),
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self.content, Content::Scalar { plain: true, .. })
    }

    /// What it is, for error messages.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Empty => "empty",
            Content::Scalar { text, .. } if text.is_empty() => "empty",
            Content::Scalar { .. } => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// The same tree with the merge keys (`<<: *anchor`) of all mappings followed: an entry of the mapping
    /// itself wins.
    #[must_use]
    pub fn merged(self) -> Self {
        let content = match self.content {
            Content::List(items) => Content::List(items.into_iter().map(Self::merged).collect()),
            Content::Map(entries) => Content::Map(merge(entries)),
            other => other,
        };
        Self { content, ..self }
    }

    /// The value as JSON has it: plain scalars that are JSON numbers or booleans become such.
    pub fn json(&self) -> Value {
        match &self.content {
            Content::Empty => Value::Null,
            Content::Scalar { text, plain: true } => serde_json::from_str(text)
                .ok()
                .filter(|value: &Value| !value.is_string())
                .unwrap_or_else(|| text.as_str().into()),
            Content::Scalar { text, .. } => text.as_str().into(),
            Content::List(items) => items.iter().map(Self::json).collect(),
            Content::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value as Kubernetes' tools read it: plain scalars, keys among them, become what [`scalar`] takes
    /// them for.
    pub fn typed(self) -> Value {
        match self.content {
            Content::Empty => Value::Null,
            Content::Scalar { text, plain: true } => scalar::typed(text),
            Content::Scalar { text, .. } => text.into(),
            Content::List(items) => items.into_iter().map(Self::typed).collect(),
            Content::Map(entries) => {
                let key = |text, plain| if plain { scalar::key(text) } else { text };
                entries.into_iter().map(|entry| (key(entry.key, entry.plain), entry.value.typed())).collect()
            }
        }
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        self.items().iter().chain(self.entries().iter().map(|entry| &entry.value))
    }

    fn size(&self) -> usize {
        1 + self.children().map(Self::size).sum::<usize>()
    }

    /// The bytes of all texts.
    fn length(&self) -> usize {
        self.text().map_or(0, str::len)
            + self.entries().iter().map(|entry| entry.key.len()).sum::<usize>()
            + self.children().map(Self::length).sum::<usize>()
    }

    fn depth(&self) -> usize {
        1 + self.children().map(Self::depth).max().unwrap_or_default()
    }
}

/// A document as text. Whatever would be a boolean or a number to a reader of YAML 1.1 is quoted where it is
/// a text.
///
/// # Errors
/// A value that YAML cannot hold.
pub fn write(value: &impl Serialize) -> anyhow::Result<String> {
    // Folded lines are hard to compare with what was meant.
    let options = serde_saphyr::ser_options! { min_fold_chars: usize::MAX };
    let text = serde_saphyr::to_string_with_options(value, options).context("writing YAML")?;
    if !text.contains(BREAKS) {
        return Ok(text);
    }
    Ok(as_json(&serde_json::to_string_pretty(value).context("writing YAML")?) + "\n")
}

/// Makes a JSON text one that every reader of YAML takes for the same: what YAML does not print, and where
/// readers break lines, is escaped.
pub fn as_json(json: &str) -> String {
    let is_odd = |c: char| {
        matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    json.chars().map(|c| if is_odd(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// A merge key whose value is no mapping stays, so that nothing is lost unsaid.
fn merge(entries: Vec<Entry>) -> Vec<Entry> {
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(Entry::is_merge);
    own.iter_mut().for_each(|entry| entry.value = std::mem::replace(&mut entry.value, EMPTY).merged());
    let mut known: HashSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
    for Entry { value, .. } in merges {
        let sources = match value.merged() {
            Node { content: Content::List(items), .. } => items,
            other => vec![other],
        };
        for source in sources {
            let Content::Map(entries) = source.content else { continue };
            own.extend(entries.into_iter().filter(|entry| known.insert(entry.key.clone())));
        }
    }
    own
}

const EMPTY: Node = Node { line: 0, content: Content::Empty, tag: None };

/// A list or mapping that has not ended yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Its keys, with their lines.
    keys: HashMap<String, usize>,
    /// The key that waits for its value, whether it stands without quotes, and its line.
    key: Option<(String, bool, usize)>,
}

/// Builds the tree from the parser's events.
struct Builder<'a> {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    budget: &'a mut Budget,
    root: Option<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event, line: usize) -> Result<(), Wrong> {
        match event {
            Event::SequenceStart(_, anchor, tag) => self
                .begin(Node { line, content: Content::List(Vec::new()), tag: own(tag.as_deref()) }, anchor),
            Event::MappingStart(_, anchor, tag) => {
                self.begin(Node { line, content: Content::Map(Vec::new()), tag: own(tag.as_deref()) }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.add(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let content = content(text, is_plain(style, tag.as_deref()));
                self.add(Node { line, content, tag: own(tag.as_deref()) }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(Wrong::new("not valid YAML: an alias of something that has not ended"));
                };
                if self.open.len() + node.depth() > DEPTH {
                    return Err(too_deep());
                }
                self.budget.take(node.size(), node.length())?;
                let node = node.clone();
                self.add(node, 0)
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Wrong::new("a second document; write one"))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), Wrong> {
        if self.open.len() == DEPTH {
            return Err(too_deep());
        }
        if self
            .open
            .last()
            .is_some_and(|open| matches!(open.node.content, Content::Map(_)) && open.key.is_none())
        {
            return Err(no_key(&node));
        }
        self.open.push(Open { node, anchor, keys: HashMap::new(), key: None });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Wrong> {
        self.budget.take(1, 0)?;
        if anchor != 0 {
            self.budget.take(node.size(), node.length())?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match open.key.take() {
                Some((key, plain, line)) => entries.push(Entry { key, plain, line, value: node }),
                None => open.key = Some((new_key(&node, &mut open.keys)?, node.is_plain(), node.line)),
            },
            _ => {}
        }
        Ok(())
    }
}

fn problem(error: &ScanError, text: &str) -> Problem {
    let line = error.marker().line();
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => Problem { line, wrong: too_deep() },
        // It was looked for up to the end.
        ErrorKind::UnclosedFlowCollection { open } => {
            let wrong = Wrong::new(format!(
                "not valid YAML: the end is here, and {open:?} of line {line} is not closed"
            ));
            Problem { line: 1 + text.matches('\n').count(), wrong }
        }
        _ => Problem { line, wrong: Wrong::new(format!("not valid YAML: {}", error.info())) },
    }
}

fn too_deep() -> Wrong {
    Wrong::new(format!("nested more than {DEPTH} deep"))
}

fn no_key(node: &Node) -> Wrong {
    Wrong::new(format!("a key is {}; write a text", node.kind()))
}

/// Whether a scalar may be something else than a text.
fn is_plain(style: ScalarStyle, tag: Option<&Tag>) -> bool {
    match tag.filter(|tag| tag.is_yaml_core_schema()) {
        Some(tag) => ["bool", "float", "int", "null"].contains(&tag.suffix()),
        None => style == ScalarStyle::Plain,
    }
}

/// A tag that YAML itself does not know.
fn own(tag: Option<&Tag>) -> Option<Box<str>> {
    tag.filter(|tag| !tag.is_yaml_core_schema()).map(|tag| tag.suffix().into())
}

fn content(text: Cow<str>, plain: bool) -> Content {
    if plain && scalar::is_null(&text) {
        return Content::Empty;
    }
    Content::Scalar { text: text.into_owned(), plain }
}

fn new_key(node: &Node, known: &mut HashMap<String, usize>) -> Result<String, Wrong> {
    let key = node.text().ok_or_else(|| no_key(node))?;
    if key.len() > KEY {
        return Err(Wrong::new(format!("a key of more than {KEY} bytes")));
    }
    match known.insert(key.to_owned(), node.line) {
        // More than one merge key is what people write, though YAML does not have it.
        Some(first) if key != "<<" => Err(Wrong::Twice { key: key.to_owned(), first }),
        _ => Ok(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Node {
        Node::parse("a.yaml", text).unwrap()
    }

    fn error(text: &str) -> String {
        format!("{:#}", Node::parse("a.yaml", text).unwrap_err())
    }

    #[test]
    fn values_know_their_lines() {
        let root = parse("# first\na: 1\nb:\n  - x\n  - {c: y}\n");
        assert_eq!(root.entries().iter().map(|entry| entry.line).collect::<Vec<_>>(), [2, 3]);
        let second = &root.get("b").unwrap().items()[1];
        assert_eq!((second.line, second.get("c").unwrap().line), (5, 5));
    }

    #[test]
    fn scalars_stay_as_they_were_typed() {
        let root = parse("[1.10, 0600, 'true', true, ~, '', !!str 5]");
        let texts: Vec<_> = root.items().iter().map(Node::text).collect();
        assert_eq!(
            texts,
            [Some("1.10"), Some("0600"), Some("true"), Some("true"), None, Some(""), Some("5")]
        );
        assert_eq!(root.json(), json!([1.10, "0600", "true", true, null, "", "5"]));
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        assert_eq!(error("a: 1\nb: 2\na: 3\n"), "a.yaml:3: the key \"a\" stands twice, first in line 1");
        assert_eq!(error("a: 1\n---\nb: 2\n"), "a.yaml:2: a second document; write one");
        assert!(error("a: 1\nb: [\n").starts_with("a.yaml:3: not valid YAML: "), "{}", error("a: 1\nb: [\n"));
        assert_eq!(error("? [a]\n: 1\n"), "a.yaml:1: a key is a list; write a text");
        assert_eq!(error(&"[".repeat(100)), "a.yaml:1: nested more than 64 deep");
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for value in [
            json!({"b\u{2028}": "a\u{85}b\u{2029} c\u{7f}", "x": [1, "2", null]}),
            json!({"a": "\u{7f}\u{9f}\u{feff}\u{ffff}"}),
            json!("\u{2028}\n"),
            json!({"a": "yes", "b": "0600"}),
        ] {
            let printed = write(&value).unwrap();
            assert_eq!(parse(&printed).typed(), value, "{printed}");
        }
        assert_eq!(write(&json!({"a": "é\n"})).unwrap(), "a: |\n  é\n");
    }

    #[test]
    fn merge_keys_are_followed_and_bombs_are_not() {
        let root = parse("a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  y: 3\nc:\n  <<: [*b, {z: 4}]\n").merged();
        assert_eq!(root.get("c").unwrap().json(), json!({"y": 3, "x": 1, "z": 4}));
        let bomb = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            text + &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))
        });
        assert!(error(&bomb).contains("more than 100000 values"));
    }

    /// A megabyte of what costs a reader most: each is read or refused in a moment, whatever it repeats.
    #[test]
    fn time_grows_with_the_size_and_no_faster() {
        let much = |piece: &str| piece.repeat((1 << 20) / piece.len());
        let keys: String = (0..99_000).map(|n| format!("k{n}: 1\n")).collect();
        let merges = format!(
            "a: &a {{{}}}\nb:\n{}",
            (0..900).map(|n| format!("k{n}: 1, ")).collect::<String>(),
            "  <<: *a\n".repeat(100)
        );
        let aliases = format!("a: &a x\nb: [{}]\n", "*a, ".repeat(1_000_000));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(1000));
        let nested: String = (0..60).map(|n| format!("{}k: &a{n}\n", " ".repeat(n))).collect::<String>()
            + &" ".repeat(60)
            + "v: "
            + &much("x");
        let texts = [
            ("lists", much("[")),
            ("mappings", much("{a: ")),
            ("lines of lists", much("[\n")),
            ("dashes", much("- ")),
            ("questions", much("? ")),
            ("anchors", much("&a ")),
            ("tags", much("!!str ")),
            ("aliases", aliases),
            ("a long text's aliases", long),
            ("nested anchors", nested),
            ("keys", keys),
            ("merges", merges),
            ("a key", much("k") + ": 1\n"),
            ("an explicit key", format!("? {}\n: 1\n", much("k"))),
            ("quotes", format!("\"{}", much("\\n"))),
            ("folds", format!("\"{}", much("a\n  "))),
            ("plain lines", much("a\n ")),
            ("a block", format!("a: |\n{}", much("  x\n"))),
            ("empty lines of a block", format!("a: |\n{}", much("\n"))),
            ("indents", (0..2000).map(|n| format!("{}k:\n", " ".repeat(n))).collect()),
            ("comments", much("#\n")),
            ("tabs", much("\t")),
            ("directives", much("%A b\n")),
            ("commas", much(",")),
            ("colons", much(": ")),
            ("markers", much("---\n")),
            ("ends", much("...\n")),
            ("bars", much("|\n")),
        ];
        for (name, text) in texts {
            let began = crate::deadline::worked();
            let read = Node::parse("a.yaml", &text).map(|node| node.merged().typed());
            let took = crate::deadline::worked() - began;
            if let Err(error) = read {
                assert!(format!("{error:#}").len() < 200, "{name}: {error:#}");
            }
            assert!(took.as_secs() < 5, "{name}: {took:?}");
        }
    }

    /// What a text without quotes would be a boolean or a number for is written with them.
    #[test]
    fn what_is_written_is_read_as_the_same_texts() {
        let words = "y N on Off yes No true ~ null 0744 089 1_000 0x_1f 0X1F 0b1 0O17 +1 -.5 .1_0 1. 1e5 12:30 2026-11-29 .inf = << - 1__0";
        let texts: Vec<&str> = words
            .split(' ')
            .chain(["", " a", "a ", "a: b", "a #b", "- a", "a\n", "\na", "a\r\nb", "\u{85}", "\u{feff}"])
            .collect();
        let map: Map<_, _> = texts.iter().map(|text| ((*text).to_owned(), (*text).into())).collect();
        let value = json!({"list": texts, "map": map, "long": "a b ".repeat(100), "numbers": [1, -1.5, true, null, 1e300]});
        let text = write(&value).unwrap();
        assert_eq!(parse(&text).typed(), value, "{text}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives(text in "(.|[ \n\t\r:#'\"0-9._a-c-]){0,20}", key in "(.|[ \n\t:#'\"0-9._a-c-]){1,20}") {
            let value = json!({key: [text.clone()], "a": {"b": text}});
            let written = write(&value).unwrap();
            proptest::prop_assert_eq!(parse(&written).typed(), value, "{}", written);
        }

        #[test]
        fn no_text_makes_it_panic(text in "([a-c<&*:\\[\\]{},'\"|>?!#%~-]|  |\n|\t|\r|é){0,60}") {
            let _ = Node::parse("a.yaml", &text).map(|node| node.merged().json());
        }
    }
}
