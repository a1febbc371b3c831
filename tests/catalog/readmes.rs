//! The READMEs say what the YAML says, and their links lead somewhere.

use crate::tekton::documents::{Catalog, Source, folder};
use crate::tekton::model::ParamValue;
use crate::{Published, published};

/// The sections of a Task's README, in their order. A StepAction has no workspaces.
const SECTIONS: [&str; 7] =
    ["Requirements", "Workspaces", "Parameters", "Results", "Platforms", "Usage", "Samples"];

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    for one in published(catalog) {
        let Some((folder, _)) = one.document.file.rsplit_once('/') else { continue };
        let file = format!("{folder}/README.md");
        let Some(readme) = catalog.sources.iter().find(|source| source.file == file) else { continue };
        problems.extend(of_one(&one, readme).into_iter().map(|text| format!("{file}: {text}")));
    }
    for readme in catalog.sources.iter().filter(|source| source.file.ends_with(".md")) {
        problems.extend(
            dead_links(readme).into_iter().map(|link| format!("{}: {link} leads nowhere", readme.file)),
        );
    }
    problems
}

fn of_one(one: &Published<'_>, readme: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let found: Vec<&str> = readme.text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let wanted = SECTIONS.into_iter().filter(|name| one.task.is_some() || *name != "Workspaces");
    if !wanted.clone().all(|name| found.contains(&name))
        || !found.iter().filter(|name| SECTIONS.contains(name)).copied().eq(wanted.clone())
    {
        problems.push(format!("its sections are {found:?}, not {:?}", wanted.collect::<Vec<_>>()));
    }
    let default = |value: &Option<ParamValue>| match value {
        Some(ParamValue::Text(text)) if text.is_empty() => String::new(),
        Some(ParamValue::Text(text)) => format!("`{text}`"),
        _ => "?".into(),
    };
    let params: Vec<Vec<String>> = one
        .params
        .iter()
        .map(|param| vec![format!("`{}`", param.name), default(&param.default), plain(&param.description)])
        .collect();
    problems.extend(compare("Parameters", &params, readme));
    let results: Vec<Vec<String>> = one
        .results
        .iter()
        .map(|result| vec![format!("`{}`", result.name), plain(&result.description)])
        .collect();
    problems.extend(compare("Results", &results, readme));
    let workspaces = one.task.iter().flat_map(|task| &task.workspaces);
    let workspaces: Vec<Vec<String>> = workspaces
        .map(|workspace| vec![format!("`{}`", workspace.name), plain(&workspace.description)])
        .collect();
    problems.extend(compare("Workspaces", &workspaces, readme));
    for platform in one
        .metadata
        .annotations
        .get("tekton.dev/platforms")
        .map(String::as_str)
        .unwrap_or_default()
        .split(',')
    {
        if !section(readme, "Platforms").contains(&format!("`{platform}`")) {
            problems.push(format!("Platforms does not name `{platform}`"));
        }
    }
    problems
}

/// Compares a section's table with what is there.
fn compare(name: &str, wanted: &[Vec<String>], readme: &Source) -> Option<String> {
    let table = rows(section(readme, name));
    let odd = wanted
        .iter()
        .find(|row| !table.contains(row))
        .or_else(|| table.iter().find(|row| !wanted.contains(row)));
    odd.map(|row| format!("{name}: only the README or only the YAML has: {}", row.join(" | ")))
}

/// The text below a heading.
fn section<'a>(readme: &'a Source, name: &str) -> &'a str {
    let (_, text) = readme.text.split_once(&format!("## {name}\n")).unwrap_or_default();
    text.split("\n## ").next().unwrap_or_default()
}

/// The rows of the tables in a text, without their heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let from = lines
        .iter()
        .position(|line| line.starts_with("|-") || line.starts_with("| -"))
        .map_or(lines.len(), |at| at + 1);
    lines[from..].iter().map(|line| cells(line)).collect()
}

/// A description in one line.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Links to files that are not there.
fn dead_links(readme: &Source) -> Vec<&str> {
    let targets =
        readme.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let here = folder().join(&readme.file);
    let leads = |target: &str| {
        let path = target.split('#').next().unwrap_or_default();
        path.is_empty()
            || path.contains("://")
            || here.parent().is_some_and(|folder| folder.join(path).exists())
    };
    targets.filter(|target| !leads(target)).collect()
}
