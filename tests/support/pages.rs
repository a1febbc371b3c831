//! The documents of the project, as text: the README, the book's pages in `docs/src`, and what these pages
//! lead to.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A Markdown file.
pub struct Page {
    /// Seen from the project's folder.
    pub file: String,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    /// The first word after the fence.
    pub language: String,
    /// What follows the first word, such as `run`.
    pub mark: String,
    /// The line of the fence.
    pub line: usize,
    pub text: String,
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README, the pages beside it and all pages of the book, those among them that are links to files
/// elsewhere by their own names.
pub fn all() -> Vec<Page> {
    let mut files: Vec<PathBuf> =
        in_book().into_keys().filter(|file| file.extension().is_some_and(|end| end == "md")).collect();
    files.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
            .map(|name| root().join(name).canonicalize().expect("a page of the project")),
    );
    files.sort();
    let page = |file: &PathBuf| Page {
        file: file
            .strip_prefix(root().canonicalize().expect("the project"))
            .expect("a file of the project")
            .display()
            .to_string(),
        text: std::fs::read_to_string(file).expect("a text"),
    };
    files.iter().map(page).collect()
}

/// All files of the book, by where they really are: where the book has them, seen from `docs/src`.
pub fn in_book() -> BTreeMap<PathBuf, PathBuf> {
    let source = root().join("docs/src");
    let mut found = BTreeMap::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the book").flatten() {
            let path = entry.path();
            // What npm and Maven leave in an example.
            if path.ends_with("node_modules") || path.ends_with("target") {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let real =
                        path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                    found.insert(real, path.strip_prefix(&source).expect("below docs/src").to_owned());
                }
            }
        }
    }
    found
}

/// A path without `.` and `..`.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

impl Page {
    /// The fenced blocks, without the indentation that they share with their fence.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut indent = None;
        for (at, line) in self.text.lines().enumerate() {
            let inner = line.trim_start();
            match (inner.strip_prefix("```"), indent) {
                (Some(words), None) => {
                    indent = Some(line.len() - inner.len());
                    let (language, mark) = words.split_once(' ').unwrap_or((words, ""));
                    blocks.push(Block {
                        language: language.into(),
                        mark: mark.into(),
                        line: at + 1,
                        text: String::new(),
                    });
                }
                (Some(_), Some(_)) => indent = None,
                (None, Some(width)) => {
                    let block = blocks.last_mut().expect("a block that has begun");
                    block.text.push_str(line.get(width..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(indent.is_none(), "{}: a block without an end", self.file);
        blocks
    }

    /// The lines outside of fenced blocks, with their numbers.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let mut lines = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                lines.push((at + 1, line));
            }
        }
        lines
    }

    /// The targets of the links, with their lines.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (line, text) in self.prose() {
            // What is code is no link; a link's own text may be code.
            let plain: String = text
                .split('`')
                .enumerate()
                .map(|(at, part)| if at % 2 == 0 { part } else { "code" })
                .collect();
            let targets = plain.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(targets.map(|(target, _)| (line, target.to_owned())));
        }
        links
    }

    /// The anchors of the headings, as mdBook and GitHub make them.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (_, line) in self.prose() {
            let Some(text) = line
                .strip_prefix('#')
                .map(|rest| rest.trim_start_matches('#'))
                .and_then(|rest| rest.strip_prefix(' '))
            else {
                continue;
            };
            // Of a link in a heading its text counts.
            let mut shown = String::new();
            for (at, part) in text.split("](").enumerate() {
                shown.push_str(if at == 0 {
                    part
                } else {
                    part.split_once(')').map_or("", |(_, rest)| rest)
                });
            }
            let keep = |c: char| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || "_-".contains(c) => Some(c),
                _ => None,
            };
            let anchor: String = shown.trim().to_lowercase().chars().filter_map(keep).collect();
            let same = anchors
                .iter()
                .filter(|known| {
                    known.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-') == anchor
                })
                .count();
            anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
        }
        anchors
    }
}

/// A page that is made up.
pub fn page(file: &str, text: &str) -> Page {
    Page { file: file.into(), text: text.into() }
}
