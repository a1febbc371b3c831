//! YAML as a tree that knows its lines: for files that people write for testbed or for others, so that an error can name the place.
//!
//! Scalars stay as they were typed (`1.10` is no `1.1`, `0600` no number), because nearly all of them end as texts.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{anyhow, bail};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// How deep values may be nested.
const DEPTH: usize = 64;
/// How many values a file may have once its aliases are followed: a few lines of aliases of aliases can stand for billions.
const SIZE: usize = 100_000;

/// A value and the line that it starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// What it is.
    pub content: Content,
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
    /// The key's line, from 1.
    pub line: usize,
    /// The value.
    pub value: Node,
}

impl Node {
    /// Reads a file of one document; one without content is [`Content::Empty`].
    ///
    /// # Errors
    /// `file:line: ` and what is wrong: no YAML, a key that stands twice, a second document. No value of the file is in it.
    pub fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        let mut builder = Builder::default();
        // Windows' editors like to put a byte order mark first.
        for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
            let (event, span) = event.map_err(|error| anyhow!("{file}:{}: not valid YAML: {}", error.marker().line(), error.info()))?;
            let line = span.start.line();
            builder.take(event, line).map_err(|error| anyhow!("{file}:{line}: {error}"))?;
        }
        Ok(builder.root.unwrap_or(Self { line: 1, content: Content::Empty }))
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

    /// What it is, for error messages.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Empty => "empty",
            Content::Scalar { .. } => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// The same tree with the merge keys (`<<: *anchor`) of all mappings followed: an entry of the mapping itself wins.
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
            Content::Scalar { text, plain: true } => {
                serde_json::from_str(text).ok().filter(|value: &Value| !value.is_string()).unwrap_or_else(|| text.as_str().into())
            }
            Content::Scalar { text, .. } => text.as_str().into(),
            Content::List(items) => items.iter().map(Self::json).collect(),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect::<Map<_, _>>())
            }
        }
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        self.items().iter().chain(self.entries().iter().map(|entry| &entry.value))
    }

    fn size(&self) -> usize {
        1 + self.children().map(Self::size).sum::<usize>()
    }

    fn depth(&self) -> usize {
        1 + self.children().map(Self::depth).max().unwrap_or_default()
    }
}

fn merge(entries: Vec<Entry>) -> Vec<Entry> {
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.key == "<<");
    own.iter_mut().for_each(|entry| entry.value = std::mem::replace(&mut entry.value, EMPTY).merged());
    for Entry { value, .. } in merges {
        let sources = match value.merged() {
            Node { content: Content::List(items), .. } => items,
            other => vec![other],
        };
        for entry in sources.iter().flat_map(|source| source.entries()) {
            if !own.iter().any(|known| known.key == entry.key) {
                own.push(entry.clone());
            }
        }
    }
    own
}

const EMPTY: Node = Node { line: 0, content: Content::Empty };

/// A list or mapping that has not ended yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, usize)>,
}

/// Builds the tree from the parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    size: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event, line: usize) -> anyhow::Result<()> {
        match event {
            Event::SequenceStart(anchor, _) => self.begin(Node { line, content: Content::List(Vec::new()) }, anchor),
            Event::MappingStart(anchor, _) => self.begin(Node { line, content: Content::Map(Vec::new()) }, anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.add(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                self.add(Node { line, content: scalar(text, !is_text) }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    bail!("not valid YAML: an alias of something that has not ended")
                };
                if self.open.len() + node.depth() > DEPTH {
                    bail!("nested more than {DEPTH} deep");
                }
                self.size += node.size();
                self.add(node, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => bail!("a second document; write one"),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> anyhow::Result<()> {
        if self.open.len() == DEPTH {
            bail!("nested more than {DEPTH} deep");
        }
        if self.open.last().is_some_and(|open| matches!(open.node.content, Content::Map(_)) && open.key.is_none()) {
            bail!("a key is {}; write a text", node.kind());
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> anyhow::Result<()> {
        self.size += 1;
        if self.size > SIZE {
            bail!("more than {SIZE} values");
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match open.key.take() {
                Some((key, line)) => entries.push(Entry { key, line, value: node }),
                None => open.key = Some((new_key(&node, entries)?, node.line)),
            },
            _ => {}
        }
        Ok(())
    }
}

fn scalar(text: Cow<str>, plain: bool) -> Content {
    if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
        return Content::Empty;
    }
    Content::Scalar { text: text.into_owned(), plain }
}

fn new_key(node: &Node, entries: &[Entry]) -> anyhow::Result<String> {
    let Some(key) = node.text() else { bail!("a key is {}; write a text", node.kind()) };
    // More than one merge key is what people write, though YAML does not have it.
    match entries.iter().find(|entry| entry.key == key && key != "<<") {
        Some(first) => bail!("the key {key:?} stands twice, first in line {}", first.line),
        None => Ok(key.to_owned()),
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
        assert_eq!(texts, [Some("1.10"), Some("0600"), Some("true"), Some("true"), None, Some(""), Some("5")]);
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
    fn merge_keys_are_followed_and_bombs_are_not() {
        let root = parse("a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  y: 3\nc:\n  <<: [*b, {z: 4}]\n").merged();
        assert_eq!(root.get("c").unwrap().json(), json!({"y": 3, "x": 1, "z": 4}));
        let bomb = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            text + &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))
        });
        assert!(error(&bomb).contains("more than 100000 values"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-c<&*:\\[\\]{},'\"|>?!#%~-]|  |\n|\t|\r|é){0,60}") {
            let _ = Node::parse("a.yaml", &text).map(|node| node.merged().json());
        }
    }
}
