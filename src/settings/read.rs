//! From the text of a `testbed.yaml` to [`Settings`]: every error names file, line and key. Pure.

use std::path::Path;

use anyhow::{anyhow, bail};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

use super::keys::{self, FLAGS, below};
use super::parameters::Parameter;
use super::{Settings, compose, databases, env};
use crate::engine::Engine;
use crate::failure::{Advise, Exit};
use crate::manifest::builtin::With;
use crate::manifest::render::is_param_name;
use crate::yaml::{Content, Entry, Node};

/// Reads a file. `folder` is the file's, from where its relative paths are seen; `cli` knows the flags, which
/// check their own values.
///
/// # Errors
/// A usage error `file:line: key ...`. A parameter's value is never in it.
pub fn read(file: &str, text: &str, folder: &Path, cli: &Command) -> anyhow::Result<Settings> {
    let root = Node::parse(file, text).exit(Exit::Usage)?;
    if !matches!(root.content, Content::Map(_) | Content::Empty) {
        return Err(anyhow!(
            "{file}:{}: this is {}; write keys with values, such as timeout: 5m",
            root.line,
            root.kind()
        ))
        .exit(Exit::Usage);
    }
    let mut settings = Settings::default();
    // Whoever has copied a compose file is told that first.
    let (copied, own): (Vec<_>, Vec<_>) =
        root.entries().iter().partition(|entry| compose::is_services(&entry.key));
    for entry in copied.into_iter().chain(own) {
        take(&mut settings, entry, folder, cli)
            .map_err(|(line, error)| error.context(format!("{file}:{line}")))
            .exit(Exit::Usage)?;
    }
    for place in settings.places.values_mut() {
        place.insert_str(0, &format!("{file}:"));
    }
    Ok(settings)
}

type Located = (usize, anyhow::Error);

fn take(settings: &mut Settings, entry: &Entry, folder: &Path, cli: &Command) -> Result<(), Located> {
    let node = &entry.value;
    let here = |error: anyhow::Error| (entry.line, error);
    match entry.key.as_str() {
        "databases" => {
            for asked in databases::read(node, folder)? {
                let name = &asked.with.name;
                settings.places.insert(name.clone(), format!("{}: databases.{name}", asked.line));
                for (key, value, line) in &asked.params {
                    settings.database_params.push(format!("{name}.{key}={value}"));
                    // What `params` says counts for more.
                    let place = settings.places.entry(format!("{name}.{key}"));
                    place.or_insert_with(|| format!("{line}: databases.{name}.{key}"));
                }
                settings.with.push(asked.text);
            }
        }
        "with" => {
            for (line, text) in texts(entry)? {
                With::read(&text).map_err(|error| (line, error.context(format!("with: {text}"))))?;
                settings.with.push(text);
            }
        }
        "manifest" => {
            for (line, text) in texts(entry)? {
                let path = below(folder, &text);
                settings.places.insert(path.clone(), format!("{line}: manifest"));
                settings.manifests.push(path);
            }
        }
        "params" => params(settings, "", node, entry.line)?,
        "connargs" => connargs(&mut settings.connargs, node, entry.line)?,
        "env" => env::read(settings, node, entry.line)?,
        name => {
            let found = FLAGS.iter().find_map(|key| (key.name == name).then_some(key).zip(key.any_flag(cli)));
            let (key, arg) = found.ok_or_else(|| here(unknown(entry, cli)))?;
            let text = flag_value(entry, arg).map_err(here)?;
            let text = key
                .path
                .of(&text)
                .map(|(start, path)| format!("{start}{}", below(folder, path)))
                .unwrap_or(text);
            settings.places.insert(format!("--{name}"), entry.line.to_string());
            settings.values.push((key, text));
        }
    }
    Ok(())
}

/// The error of a key that the file cannot have where it is, with the place where it belongs if there is one.
fn unknown(entry: &Entry, cli: &Command) -> anyhow::Error {
    let key = &entry.key;
    let (what, example) = match (Parameter::meant(key), Engine::parse(key)) {
        (Some(parameter), _) => ("part of a database", parameter.example()),
        (_, Ok(engine)) => {
            let tag = entry.value.text().map(|tag| format!("{engine}:{tag}"));
            let image = tag.filter(|image| With::read(image).is_ok()).unwrap_or_else(|| engine.to_string());
            ("a database", format!("databases:\n  orders:\n    use: {image}"))
        }
        _ => {
            return compose::unknown(key, false).unwrap_or_else(|| keys::unknown(key, &keys::known(cli)));
        }
    };
    anyhow!("{key:?} is {what}, and belongs below databases").detail(format!("For example:\n\n{example}"))
}

/// One text or a list of them, with their lines.
fn texts(entry: &Entry) -> Result<Vec<(usize, String)>, Located> {
    let nodes = match &entry.value.content {
        Content::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let text = |node: &Node| match node.text() {
        Some(text) if !text.is_empty() => Ok((node.line, text.to_owned())),
        _ => Err((
            node.line.max(entry.line),
            anyhow!("{} has {} in it; write a text or a list of texts", entry.key, node.kind()),
        )),
    };
    nodes.iter().map(text).collect()
}

/// The value of a flag, checked by the flag itself.
fn flag_value(entry: &Entry, arg: &Arg) -> anyhow::Result<String> {
    let Entry { key, value, .. } = entry;
    let Some(text) = value.text().filter(|text| !text.is_empty()) else {
        bail!("{key} is {}; write a text", value.kind())
    };
    if keys::is_switch(arg) {
        match text {
            "true" | "false" => return Ok(text.into()),
            _ => bail!("{key}: {text:?} is neither true nor false"),
        }
    }
    let alone = Command::new("testbed").no_binary_name(true).arg(arg.clone().global(false));
    match alone.try_get_matches_from([format!("--{key}={text}")]) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(wrong_value(key, text, &error)),
    }
}

fn wrong_value(key: &str, text: &str, error: &clap::Error) -> anyhow::Error {
    let possible = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            Some(format!("write {}", values.join(" or ")))
        }
        _ => None,
    };
    let reason = possible.or_else(|| std::error::Error::source(error).map(ToString::to_string));
    anyhow!("{key}: {text:?} does not fit: {}", reason.unwrap_or_else(|| "see testbed up --help".into()))
}

/// `params`: names to texts, in groups if need be.
fn params(into: &mut Settings, group: &str, node: &Node, line: usize) -> Result<(), Located> {
    let Content::Map(entries) = &node.content else {
        return Err((line, anyhow!("params is {}; write NAME: VALUE for each", node.kind())));
    };
    for entry in entries {
        let name = format!("{group}{}", entry.key);
        let here = |error| (entry.line, error);
        if !is_param_name(&name) {
            return Err(here(anyhow!(
                "params: {name:?}: a name has letters, digits, '_' and '-', with dots between groups"
            )));
        }
        match &entry.value.content {
            Content::Map(_) => params(into, &format!("{name}."), &entry.value, entry.line)?,
            Content::Scalar { text, .. } => {
                add(&mut into.params, &name, text).map_err(|error| here(error.context("params")))?;
                into.places.insert(name.clone(), format!("{}: params.{name}", entry.line));
            }
            _ => return Err(here(anyhow!("params.{name} is {}; write a text", entry.value.kind()))),
        }
    }
    Ok(())
}

/// `connargs`: keys to values of any shape; a mapping at the top is for the database or engine of that name.
fn connargs(into: &mut Vec<String>, node: &Node, line: usize) -> Result<(), Located> {
    let Content::Map(entries) = &node.content else {
        return Err((
            line,
            anyhow!("connargs is {}; write KEY: VALUE, or DATABASE: with such pairs below it", node.kind()),
        ));
    };
    for entry in entries {
        let scoped =
            entry.value.entries().iter().map(|inner| (format!("{}.{}", entry.key, inner.key), inner));
        let pairs: Vec<(String, &Entry)> = match entry.value.content {
            Content::Map(_) => scoped.collect(),
            _ => vec![(entry.key.clone(), entry)],
        };
        for (name, pair) in pairs {
            if name.contains('=') || name.split('.').any(str::is_empty) {
                return Err((pair.line, anyhow!("connargs: {name:?} is no KEY or DATABASE.KEY")));
            }
            add(into, &name, &pair.value.json().to_string())
                .map_err(|error| (pair.line, error.context("connargs")))?;
        }
    }
    Ok(())
}

fn add(into: &mut Vec<String>, name: &str, value: &str) -> anyhow::Result<()> {
    if into.iter().any(|pair| pair.split_once('=').is_some_and(|(known, _)| known == name)) {
        bail!("{name} stands twice");
    }
    into.push(format!("{name}={value}"));
    Ok(())
}

/// The reference's example of a file, which is held to be true.
#[cfg(test)]
pub fn documented_example() -> &'static str {
    let page = include_str!("../../docs/src/reference/settings.md");
    let section = page.split_once("## An example with every key\n").unwrap().1.split("\n## ").next().unwrap();
    section.split_once("```yaml\n").unwrap().1.split("```").next().unwrap()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn settings(text: &str) -> Settings {
        read("testbed.yaml", text, Path::new(""), &Cli::command()).unwrap()
    }

    #[test]
    fn databases_are_withs_and_params() {
        let settings = settings(
            "databases: {orders: 'postgres:17', mysql: , shop: {use: mariadb, user: app}}\nwith: sqlite\n",
        );
        assert_eq!(settings.with, ["postgres:17=orders", "mysql=mysql", "mariadb=shop", "sqlite"]);
        assert_eq!(settings.database_params, ["shop.user=app"]);
    }

    #[test]
    fn parameters_are_texts_as_typed() {
        assert_eq!(
            settings("params: {a: 1.10, b: {c: true, d.e: ''}}\n").params,
            ["a=1.10", "b.c=true", "b.d.e="]
        );
    }

    #[test]
    fn connection_arguments_are_json() {
        let settings = settings(
            "connargs: {create_database: true, mysql: {charset: utf8, port: '1', ssl: {ca: x}}, pg.a: ~}\n",
        );
        let expected = [
            "create_database=true",
            "mysql.charset=\"utf8\"",
            "mysql.port=\"1\"",
            "mysql.ssl={\"ca\":\"x\"}",
            "pg.a=null",
        ];
        assert_eq!(settings.connargs, expected);
    }

    #[test]
    fn paths_are_seen_from_the_files_folder() {
        let text = "manifest: [a.yaml, '-']\noutput: b\nformat: tera:c.env.tera\nhistory: sqlite:d\n";
        let settings = read("x/testbed.yaml", text, Path::new("x"), &Cli::command()).unwrap();
        assert_eq!(settings.manifests, ["x/a.yaml", "-"]);
        let values: Vec<&str> = settings.values.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(values, ["x/b", "tera:x/c.env.tera", "sqlite:x/d"]);
        let settings =
            read("x/testbed.yaml", "format: urls\nhistory: sqlite://d\n", Path::new("x"), &Cli::command())
                .unwrap();
        assert_eq!(
            settings.values.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            ["urls", "sqlite://x/d"]
        );
    }

    #[test]
    fn a_key_whose_flag_no_command_has_is_unknown() {
        let cli = Command::new("testbed").subcommand(Command::new("up"));
        let error = read("testbed.yaml", "timeout: 1m\n", Path::new(""), &cli).unwrap_err();
        assert!(format!("{error:#}").contains("unknown key \"timeout\""), "{error:#}");
    }

    #[test]
    fn the_documented_example_has_every_key() {
        let example = documented_example();
        settings(example);
        let keys = Node::parse("settings.md", example).unwrap();
        for key in keys::known(&Cli::command()) {
            assert!(keys.get(key).is_some(), "{key} is not in the reference's example");
        }
    }
}
