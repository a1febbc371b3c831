//! What a project says about its databases already, for `testbed init`.
//!
//! Each source has a file of its own that makes [`Found`]s of a text: [`compose`], [`workflow`], [`gitlab`]
//! and [`config`]. [`merge`] makes one of those that mean the same database, and [`write`](mod@write) writes
//! the `testbed.yaml`. All of it is pure; the command reads the files. No password of the project gets any
//! further than the question whether there is one.

pub mod compose;
pub mod config;
pub mod dotenv;
pub mod gitlab;
pub mod merge;
pub mod service;
pub mod workflow;
pub mod write;

use crate::database::Engine;

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
    pub database: Option<String>,
    /// Its port on this machine.
    pub port: Option<Port>,
    /// Its set-up scripts, as seen from the project's folder.
    pub init: Vec<String>,
    /// Whether one is written down.
    pub has_password: bool,
    pub places: Vec<Place>,
}

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
}

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
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
