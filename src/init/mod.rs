//! What a project says about its databases already, for `testbed init`.
//!
//! Each source has a file of its own that makes [`Found`]s of a text: [`compose`], [`workflow`], [`gitlab`],
//! [`config`], and the settings of programs ([`settings`]). [`look`](mod@look) asks them all, [`merge`] makes
//! one of those that mean the same database, [`migrations`] tells how its schema would be put in once, and [`write`](mod@write) writes the `testbed.yaml`. All of it is
//! pure but for [`project`], which reads the files and nothing outside the project, and [`ignored`], which reads the
//! repository's `.gitignore` files. No password of the project
//! gets any further than the question whether there is one.

pub mod command;
pub mod compose;
pub mod config;
pub mod dockerfile;
pub mod dotenv;
pub mod expression;
pub mod gitlab;
pub mod ignored;
pub mod look;
pub mod merge;
pub mod migrations;
pub mod project;
pub mod service;
pub mod settings;
pub mod url;
pub mod workflow;
pub mod write;

use std::collections::HashSet;

use crate::database::Engine;

/// Reads a file of the project by its path, as seen from the project's folder.
pub type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A set-up script, or a folder with some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Script {
    /// What the image calls it, which tells when it is run; empty for a whole folder.
    pub name: String,
    /// Its path as seen from the project's folder.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is called: fit for a name of testbed.
    pub name: String,
    pub engine: Engine,
    pub tag: Option<String>,
    /// The image, where it is not the official one.
    pub image: Option<String>,
    /// The tests' user, unless it is the one that testbed takes anyway.
    pub user: Option<String>,
    /// Whether there is a user that is not known here.
    pub user_unknown: bool,
    pub database: Option<String>,
    /// Its port on this machine.
    pub port: Option<Port>,
    /// Its set-up scripts.
    pub init: Vec<Script>,
    /// The server's arguments.
    pub args: Vec<String>,
    /// Whether one is written down.
    pub has_password: bool,
    pub purpose: Purpose,
    /// Whether a server is described, and not only what a program wants to find.
    pub is_server: bool,
    pub places: Vec<Place>,
}

impl Found {
    /// What is known of each: the rest is for those who know more.
    pub fn new(name: String, engine: Engine, place: Place) -> Self {
        Self {
            name,
            engine,
            tag: None,
            image: None,
            user: None,
            user_unknown: false,
            database: None,
            port: None,
            init: Vec::new(),
            args: Vec::new(),
            has_password: false,
            purpose: Purpose::Tests,
            is_server: true,
            places: vec![place],
        }
    }
}

/// What a file is for, the best for tests first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Tests,
    Development,
    /// Development, of a part of the project.
    Part,
    /// Examples, production and the like.
    Other,
}

impl Purpose {
    /// What the names of a file and its folders tell.
    pub fn of(path: &str) -> Self {
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_lowercase).collect()
        };
        let words = words(path);
        let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
        if has(&["test", "tests", "testing", "ci", "e2e", "integration", "it", "spec", "specs"]) {
            Self::Tests
        } else if has(&OTHERS) {
            Self::Other
        } else if path.contains('/') {
            Self::Part
        } else {
            Self::Development
        }
    }
}

const OTHERS: [&str; 17] = [
    "example",
    "examples",
    "sample",
    "samples",
    "demo",
    "demos",
    "doc",
    "docs",
    "prod",
    "production",
    "deploy",
    "deployment",
    "staging",
    "bench",
    "benchmark",
    "benchmarks",
    "templates",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// It is asked for.
    Asked(u16),
    /// A source has it, which may be in the way of others.
    Told(u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What runs together: two databases of one group are two, however much alike.
    pub group: String,
    /// The place for people: file, service and line.
    pub text: String,
}

#[derive(Debug, Default)]
pub struct Findings {
    pub found: Vec<Found>,
    /// What could not be taken over, each with its place and advice.
    pub notes: Vec<String>,
    /// What was seen and is no database, each with its place and the reason.
    pub left: Vec<String>,
    /// Files that could not be read, with the reason.
    pub broken: Vec<String>,
}

impl Findings {
    /// Adds what another file told.
    pub fn add(&mut self, more: Self) {
        self.found.extend(more.found);
        self.notes.extend(more.notes);
        self.left.extend(more.left);
        self.broken.extend(more.broken);
    }

    /// Says each thing once: files that are read with several others tell the same each time.
    pub fn say_once(&mut self) {
        for lines in [&mut self.notes, &mut self.left, &mut self.broken] {
            let mut said = HashSet::new();
            lines.retain(|line| said.insert(line.clone()));
        }
    }
}

/// Where the images look for set-up scripts.
const SCRIPTS: &str = "/docker-entrypoint-initdb.d";

/// How many services of one file are looked at: each may bring all variables of the file along.
pub const SERVICES: usize = 200;

/// Whether one more service is looked at. The first that is not is told of.
fn one_more(left: &mut usize, file: &str, findings: &mut Findings) -> bool {
    let Some(fewer) = left.checked_sub(1) else {
        let note =
            format!("{file}: it has more than {SERVICES} services; those after them are not looked at");
        if !findings.notes.contains(&note) {
            findings.notes.push(note);
        }
        return false;
    };
    *left = fewer;
    true
}

/// Text of the project as a part of a message.
pub fn one_line(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST + 1).collect();
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    line
}

/// How many characters of a project's text are shown in one message.
const LONGEST: usize = 200;
