//! The key `env`: the variables of a framework (`env: rails`), of the project's own
//! (`env: {DB_NAME: "{{ orders.database }}"}`), or a list of both.

use anyhow::anyhow;

use super::Settings;
use crate::output::{Chosen, check_variable};
use crate::yaml::{Content, Node};

type Located = (usize, anyhow::Error);

/// The keys that are no variable's.
const PRESET: &str = "preset";
const DATABASE: &str = "database";

pub(super) fn read(settings: &mut Settings, node: &Node, line: usize) -> Result<(), Located> {
    match &node.content {
        Content::List(items) => items.iter().try_for_each(|item| one(settings, item, item.line.max(line))),
        _ => one(settings, node, line),
    }
}

fn one(settings: &mut Settings, node: &Node, line: usize) -> Result<(), Located> {
    let chosen = |preset: &str, database: Option<&str>, line: usize| {
        Chosen::of(preset, database).map_err(|why| (line, anyhow!("env: preset {preset:?}: {why}")))
    };
    let entries = match &node.content {
        Content::Scalar { text, .. } => {
            settings.presets.push(chosen(text, None, line)?);
            return Ok(());
        }
        Content::Map(entries) => entries,
        _ => {
            let what = node.kind();
            let wrong =
                anyhow!("env is {what}; write a preset such as rails, or NAME: TEMPLATE for each variable");
            return Err((line, wrong));
        }
    };
    let (mut preset, mut database) = (None, None);
    for entry in entries {
        let (name, line) = (entry.key.as_str(), entry.line);
        let text = entry.value.text();
        let text =
            text.ok_or_else(|| (line, anyhow!("env.{name} is {}; write a text", entry.value.kind())))?;
        match name {
            PRESET => preset = Some((text, line)),
            DATABASE => database = Some((text, line)),
            _ => {
                check_variable(name, text).map_err(|error| (line, error))?;
                if settings
                    .env
                    .iter()
                    .any(|pair| pair.split_once('=').is_some_and(|(known, _)| known == name))
                {
                    return Err((line, anyhow!("env: {name} stands twice")));
                }
                settings.env.push(format!("{name}={text}"));
            }
        }
    }
    match (preset, database) {
        (Some((preset, line)), database) => {
            settings.presets.push(chosen(preset, database.map(|(name, _)| name), line)?);
        }
        (None, Some((_, line))) => {
            return Err((
                line,
                anyhow!("env.database names the database of a preset, and there is no preset beside it"),
            ));
        }
        (None, None) => {}
    }
    Ok(())
}
