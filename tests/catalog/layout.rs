//! Where things are: `task/NAME/NAME.yaml`, and beside it a README, samples and tests.

use crate::tekton::documents::{Catalog, Content, Document};

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    for document in &catalog.documents {
        let file = &document.file;
        let folder = folder_of(document);
        if let Some((folder, name)) = &folder {
            if *file != format!("{folder}/{name}.yaml") && !is_beside(file, folder) {
                problems.push(format!("{file}: a {name} of its own belongs into {folder}/{name}.yaml"));
            }
            continue;
        }
        let parts: Vec<&str> = file.split('/').collect();
        let fits = matches!(
            parts[..],
            ["samples", _] | ["task" | "stepaction", _, "samples" | "tests", _] | ["README.md"]
        ) || matches!(parts[..], ["task" | "stepaction", _, "README.md"]);
        if !fits {
            problems.push(format!("{file}: only samples, tests and READMEs have such documents"));
        }
    }
    for (folder, name) in folders(catalog) {
        let has = |part: &str| {
            catalog.sources.iter().any(|source| source.file.starts_with(&format!("{folder}/{part}")))
        };
        let missing = ["README.md", "samples/", "tests/"].into_iter().filter(|part| !has(part));
        problems.extend(missing.map(|part| format!("{folder}: no {part}")));
        if catalog.in_file(&format!("{folder}/{name}.yaml")).count() != 1 {
            problems.push(format!(
                "{folder}/{name}.yaml: holds one document, the one that the folder is called by"
            ));
        }
    }
    let unknown = catalog
        .sources
        .iter()
        .filter(|source| !source.file.ends_with(".yaml") && !source.file.ends_with("README.md"));
    problems.extend(unknown.map(|source| format!("{}: neither YAML nor a README", source.file)));
    problems
}

/// The folder of a Task or StepAction that is installed, and its name.
fn folder_of(document: &Document) -> Option<(String, String)> {
    let parts: Vec<&str> = document.file.split('/').collect();
    let [kind @ ("task" | "stepaction"), folder, file] = parts[..] else { return None };
    if !file.ends_with(".yaml") {
        return None;
    }
    let name = match &document.content {
        Content::Task(task) if kind == "task" => &task.metadata.name,
        Content::StepAction(action) if kind == "stepaction" => &action.metadata.name,
        _ => "no-such-kind",
    };
    Some((format!("{kind}/{folder}"), name.to_owned()))
}

fn is_beside(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest.matches('/').count() > 1)
}

/// The folders below `task/` and `stepaction/`, with what they are called.
fn folders(catalog: &Catalog) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = catalog
        .sources
        .iter()
        .filter_map(|source| {
            let (kind, rest) =
                source.file.split_once('/').filter(|(kind, _)| ["task", "stepaction"].contains(kind))?;
            let (name, _) = rest.split_once('/')?;
            Some((format!("{kind}/{name}"), name.to_owned()))
        })
        .collect();
    found.dedup();
    found
}
