//! The key `databases`: a mapping from each database's name to what it is, short (`orders: postgres:17`) or
//! with parameters.
//!
//! A mapping, because a database's name is what everything else calls it by, and no name can stand twice in
//! one.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use super::compose;
use super::keys::{below, unknown};
use super::parameters::Parameter;
use crate::database::Engine;
use crate::failure::Advise;
use crate::manifest::builtin::{PARAMS, With};
use crate::manifest::seed::Written;
use crate::manifest::{platform, setup};
use crate::yaml::{Content, Entry, Node};

/// The key that says the engine and tag.
const USE: &str = "use";

/// The key with the set-up scripts.
pub(super) const INIT: &str = "init";

/// The key with what is put in once.
pub(super) const SEED: &str = "seed";

/// A database as `--with` and `--param` have it.
#[derive(Debug)]
pub(super) struct Asked {
    pub with: With,
    pub text: String,
    /// Names and values, and their lines.
    pub params: Vec<(String, String, usize)>,
    pub line: usize,
}

/// Reads the key. `folder` is the file's, from where paths are seen.
pub(super) fn read(node: &Node, folder: &Path) -> Result<Vec<Asked>, (usize, anyhow::Error)> {
    let Content::Map(entries) = &node.content else {
        let wrong = anyhow!(
            "databases is {}; write NAME: ENGINE[:TAG][@PORT], such as orders: postgres:17, for each",
            node.kind()
        );
        // Perhaps those of one server are meant.
        let is_list = !node.items().is_empty();
        let example = Parameter::meant("databases").filter(|_| is_list).map(Parameter::example);
        return Err((
            node.line,
            match example {
                Some(example) => wrong.detail(format!("Several of one server belong below it:\n\n{example}")),
                None => wrong,
            },
        ));
    };
    let asked: Vec<Asked> = entries.iter().map(|entry| database(entry, folder)).collect::<Result<_, _>>()?;
    for (one, entry) in asked.iter().zip(entries) {
        check_scope(one, &asked).map_err(|error| (entry.line, error))?;
    }
    Ok(asked)
}

fn database(entry: &Entry, folder: &Path) -> Result<Asked, (usize, anyhow::Error)> {
    let name = &entry.key;
    let at = |line: usize| move |error: anyhow::Error| (line, error.context(format!("databases.{name}")));
    match &entry.value.content {
        Content::Scalar { text, .. } => asked(entry, text, Vec::new()).map_err(at(entry.line)),
        // `postgres:` alone, or with parameters only: the name says it all.
        Content::Empty => asked(entry, name, Vec::new()).map_err(at(entry.line)),
        Content::Map(keys) => {
            let mut params = Vec::new();
            let mut image = (name.clone(), entry.line);
            for key in keys {
                let text = value(key, folder).map_err(at(key.line))?;
                match key.key == USE {
                    true => image = (text, key.line),
                    false => params.push((key.key.clone(), text, key.line)),
                }
            }
            asked(entry, &image.0, params).map_err(at(image.1))
        }
        Content::List(_) => {
            Err(at(entry.line)(anyhow!("a list; write ENGINE[:TAG] or a mapping with the key use")))
        }
    }
}

/// A key of one database and its value, as a parameter has it.
fn value(entry: &Entry, folder: &Path) -> anyhow::Result<String> {
    let known: Vec<&str> = std::iter::once(USE).chain(PARAMS).collect();
    let key = entry.key.as_str();
    if !known.contains(&key) {
        return Err(match Parameter::meant(key) {
            Some(meant) => anyhow!("unknown key {key:?}; did you mean {:?}?", meant.key()),
            None => compose::unknown(key, true).unwrap_or_else(|| unknown(key, &known)),
        });
    }
    if key == SEED {
        return seed(&entry.value, folder).context(SEED);
    }
    let list = match &entry.value.content {
        Content::List(items) if setup::takes_list(key) => {
            items.iter().map(Node::as_typed).collect::<Option<Vec<_>>>()
        }
        _ => None,
    };
    let text = match (entry.value.text(), list) {
        (Some(text), _) => text.to_owned(),
        (None, Some(list)) => Value::from(list).to_string(),
        (None, None) if setup::takes_list(key) => {
            bail!("{key} is {}; write a text or a list of them", entry.value.kind())
        }
        (None, None) => bail!("{key} is {}; write a text", entry.value.kind()),
    };
    platform::check(key, &text).and_then(|()| setup::check(key, &text)).with_context(|| key.to_owned())?;
    if key != INIT || text.is_empty() {
        return Ok(text);
    }
    let paths: Vec<String> = setup::words(&text)?.iter().map(|path| below(folder, path)).collect();
    Ok(Value::from(paths).to_string())
}

/// A seed, whose paths are seen from the file's folder.
fn seed(node: &Node, folder: &Path) -> anyhow::Result<String> {
    let typed = node.as_typed().context("something in it is empty")?;
    let mut written = Written::of(&typed)?;
    written.folder = below(folder, &written.folder);
    Ok(serde_json::to_string(&written)?)
}

fn asked(entry: &Entry, image: &str, params: Vec<(String, String, usize)>) -> anyhow::Result<Asked> {
    let name = entry.key.as_str();
    if image.contains('=') {
        bail!("{image:?} names a database, which the key does already; write ENGINE[:TAG]");
    }
    if image == name && Engine::parse(name).is_err() {
        bail!("which engine? write {USE}: postgres:17 or the like (mysql, mariadb, postgres, sqlite)");
    }
    let text = format!("{image}={name}");
    let with = With::read(&text)?;
    if let Some((key, ..)) = params.first().filter(|_| with.engine == Engine::Sqlite) {
        bail!("sqlite needs no server and takes no {key}");
    }
    if params.iter().any(|(key, value, _)| key == "user" && value == "root")
        && with.engine != Engine::Postgres
    {
        bail!("user: root exists anyway; leave out user to log in as root");
    }
    Ok(Asked { with, text, params, line: entry.line })
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
