//! The key `databases`: a mapping from each database's name to what it is, short (`orders: postgres:17`) or
//! with parameters.
//!
//! A mapping, because a database's name is what everything else calls it by, and no name can stand twice in
//! one.

use anyhow::{Context, bail};

use super::keys::unknown;
use crate::database::Engine;
use crate::manifest::builtin::{PARAMS, With};
use crate::manifest::platform;
use crate::yaml::{Content, Entry, Node};

/// The key that says the engine and tag.
const USE: &str = "use";

/// A database as `--with` and `--param` have it.
#[derive(Debug)]
pub(super) struct Asked {
    pub with: With,
    pub text: String,
    pub params: Vec<(String, String)>,
}

pub(super) fn read(node: &Node) -> Result<Vec<Asked>, (usize, anyhow::Error)> {
    let Content::Map(entries) = &node.content else {
        let wrong = anyhow::anyhow!(
            "databases is {}; write NAME: ENGINE[:TAG], such as orders: postgres:17, for each",
            node.kind()
        );
        return Err((node.line, wrong));
    };
    let asked: Vec<Asked> = entries.iter().map(database).collect::<Result<_, _>>()?;
    for (one, entry) in asked.iter().zip(entries) {
        check_scope(one, &asked).map_err(|error| (entry.line, error))?;
    }
    Ok(asked)
}

fn database(entry: &Entry) -> Result<Asked, (usize, anyhow::Error)> {
    let name = &entry.key;
    let at = |line: usize| move |error: anyhow::Error| (line, error.context(format!("databases.{name}")));
    match &entry.value.content {
        Content::Scalar { text, .. } => asked(name, text, Vec::new()).map_err(at(entry.line)),
        // `postgres:` alone, or with parameters only: the name says it all.
        Content::Empty => asked(name, name, Vec::new()).map_err(at(entry.line)),
        Content::Map(keys) => {
            let mut params = Vec::new();
            let mut image = (name.as_str(), entry.line);
            for key in keys {
                match value(key).map_err(at(key.line))? {
                    text if key.key == USE => image = (text, key.line),
                    text => params.push((key.key.clone(), text.to_owned())),
                }
            }
            asked(name, image.0, params).map_err(at(image.1))
        }
        Content::List(_) => {
            Err(at(entry.line)(anyhow::anyhow!("a list; write ENGINE[:TAG] or a mapping with the key use")))
        }
    }
}

/// A key of one database and its value.
fn value(entry: &Entry) -> anyhow::Result<&str> {
    let known: Vec<&str> = std::iter::once(USE).chain(PARAMS).collect();
    let key = entry.key.as_str();
    if !known.contains(&key) {
        return Err(unknown(key, &known));
    }
    match entry.value.text() {
        Some(text) => platform::check(key, text).with_context(|| key.to_owned()).map(|()| text),
        None => bail!("{key} is {}; write a text", entry.value.kind()),
    }
}

fn asked(name: &str, image: &str, params: Vec<(String, String)>) -> anyhow::Result<Asked> {
    if image.contains('=') {
        bail!("{image:?} names a database, which the key does already; write ENGINE[:TAG]");
    }
    if image == name && Engine::parse(name).is_err() {
        bail!("which engine? write {USE}: postgres:17 or the like (mysql, mariadb, postgres, sqlite)");
    }
    let text = format!("{image}={name}");
    let with = With::read(&text)?;
    if let Some((key, _)) = params.first().filter(|_| with.engine == Engine::Sqlite) {
        bail!("sqlite needs no server and takes no {key}");
    }
    if params.iter().any(|(key, value)| key == "user" && value == "root") && with.engine != Engine::Postgres {
        bail!("user: root exists anyway; leave user away to log in as root");
    }
    Ok(Asked { with, text, params })
}

/// A parameter of the database `mysql` would be one of every MySQL database: `--param mysql.memory` means the
/// engine as well.
fn check_scope(one: &Asked, all: &[Asked]) -> anyhow::Result<()> {
    let name = one.with.name.as_str();
    match all.iter().find(|other| other.with.engine.name() == name && other.with.name != name) {
        Some(other) if !one.params.is_empty() => bail!(
            "databases.{name}: {name} is an engine's name, so these parameters would hold for {} as well; give it another name",
            other.with.name
        ),
        _ => Ok(()),
    }
}
