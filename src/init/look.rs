//! Looks at every file of a project that may name databases.

use std::collections::BTreeMap;

use super::compose::{Told, load::services};
use super::dotenv::{self, Variables};
use super::project::{Project, folder, join, normal};
use super::workflow::Calls;
use super::{Findings, Read, Script, compose, config, gitlab, settings, workflow};
use crate::yaml::{Content, Entry, Node};

/// The names that `docker compose` looks for, the first one wins.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What the files of a project tell, the most telling ones first.
pub fn look(project: &Project) -> Findings {
    let files = project.files();
    let read = |path: &str| project.text(path);
    let mut findings = Findings::default();
    compose_files(&files, project, &mut findings);
    let workflows: Vec<&String> =
        files.iter().filter(|file| folder(file) == ".github/workflows" && is_yaml(file)).collect();
    let mut calls = Calls::new();
    for file in &workflows {
        if let Ok(Some(text)) = project.read(file) {
            workflow::calls(&text, &mut calls);
        }
    }
    for file in workflows {
        let inputs = calls.remove(file).unwrap_or_default();
        take(project, file, &mut findings, |text| workflow::read(file, text, &inputs));
    }
    for file in files.iter().filter(|file| [".gitlab-ci.yml", ".gitlab-ci.yaml"].contains(&file.as_str())) {
        take(project, file, &mut findings, |text| gitlab::read(file, text, &read, &files));
    }
    take(project, "testing-databases.json", &mut findings, |text| {
        config::read("testing-databases.json", text)
    });
    let known = read(".env").map(|text| dotenv::filled(&text, &Variables::new())).unwrap_or_default();
    for file in &files {
        if let Some((reader, text)) = settings::reader(file).and_then(|reader| Some((reader, read(file)?))) {
            findings.add(reader(file, &text, &known, &read));
        }
    }
    missing_scripts(project, &mut findings);
    findings.say_once();
    findings
}

fn is_yaml(file: &str) -> bool {
    file.ends_with(".yml") || file.ends_with(".yaml")
}

/// Reads one file, if it is there. One that cannot be read is no reason to leave the others alone.
fn take(
    project: &Project,
    file: &str,
    findings: &mut Findings,
    read: impl Fn(&str) -> anyhow::Result<Findings>,
) {
    let text = project.read(file).map_err(|wrong| format!("reading {file}: {wrong}"));
    match text.map(|text| text.map(|text| read(&text))) {
        Ok(None) => {}
        Ok(Some(Ok(more))) => findings.add(more),
        Ok(Some(Err(error))) => findings.broken.push(format!("{error:#}")),
        Err(wrong) => findings.broken.push(wrong),
    }
}

/// The compose files of each folder: those that are merged without being told, and the others.
fn compose_files(files: &[String], project: &Project, findings: &mut Findings) {
    let is_compose = |file: &&String| {
        let name = file.rsplit('/').next().unwrap_or(file);
        (name.starts_with("docker-compose") || name.starts_with("compose")) && is_yaml(name)
    };
    let all: Vec<&String> = files.iter().filter(is_compose).collect();
    let mut done: BTreeMap<String, bool> = BTreeMap::new();
    let mut told = Told::default();
    let mut whole: Vec<String> = Vec::new();
    let mut folders: Vec<&str> = Vec::new();
    all.iter().map(|file| folder(file)).for_each(|folder| {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    });
    // Whose `.env` names files of other names and folders is read first: these are merged as it says.
    let asking = files.iter().filter(|file| file.rsplit('/').next() == Some(".env")).map(|file| folder(file));
    let asking: Vec<&str> = asking.filter(|folder| !asked_for(folder, project).is_empty()).collect();
    folders.retain(|folder| !asking.contains(folder));
    for folder in asking.into_iter().chain(folders) {
        let here: Vec<&String> = all.iter().filter(|file| self::folder(file) == folder).copied().collect();
        let named =
            |names: &[&str]| names.iter().map(|name| join(folder, name)).find(|path| here.contains(&path));
        let mut base: Vec<String> = asked_for(folder, project);
        if base.is_empty() {
            base = named(&COMPOSE).into_iter().collect();
            base.extend(named(&OVERRIDES).filter(|_| !base.is_empty()));
        }
        whole.extend(base.iter().cloned());
        let mut groups = vec![base.clone()];
        for file in here {
            if base.contains(file) {
                continue;
            }
            groups.push(if completes(file, &base, project) {
                base.iter().chain([file]).cloned().collect()
            } else {
                vec![file.clone()]
            });
        }
        for group in groups.iter().filter(|group| !group.is_empty()) {
            if group.iter().all(|file| done.contains_key(file)) {
                continue;
            }
            read_group(group, project, &mut done, &mut told);
        }
    }
    // What others extend is no service of its own, unless its file is one that is run by itself.
    let Told { findings: mut more, mut extended, .. } = told;
    extended.retain(|(file, _)| !whole.contains(file));
    let is_at = |line: &str, place: &str| {
        line.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ',', ' ']))
    };
    let is_base = |line: &str| extended.iter().any(|(_, place)| is_at(line, place));
    more.found.retain(|found| found.places.first().is_none_or(|place| !is_base(&place.text)));
    more.notes.retain(|line| !is_base(line));
    more.left.retain(|line| !is_base(line));
    findings.add(more);
}

fn read_group(group: &[String], project: &Project, done: &mut BTreeMap<String, bool>, told: &mut Told) {
    for file in group {
        if done.contains_key(file) {
            continue;
        }
        let text = project.read(file).map_err(|wrong| format!("reading {file}: {wrong}"));
        let wrong = match text {
            Ok(text) => text.and_then(|text| match Node::parse(file, &text) {
                Ok(root) => misshapen(file, &root.merged()),
                Err(error) => Some(format!("{error:#}")),
            }),
            Err(wrong) => Some(wrong),
        };
        done.insert(file.clone(), wrong.is_none());
        told.findings.broken.extend(wrong);
    }
    // Without its first file a group is none; of the others, those that can be read count.
    let whole: Vec<String> = group.iter().filter(|file| done[*file]).cloned().collect();
    if whole.first() == group.first() {
        let read: Read = &|path| project.text(path);
        let more = compose::read_all(&whole, read);
        done.extend(more.included.into_iter().map(|file| (file, true)));
        told.extended.extend(more.extended);
        told.findings.add(more.findings);
    }
}

/// Why `docker compose` takes a file for none of its own.
fn misshapen(file: &str, root: &Node) -> Option<String> {
    let wrong = |line, kind| Some(format!("{file}:{line}: {kind}; docker compose takes a mapping"));
    match root.get("services") {
        Some(Node { content: Content::Map(_) | Content::Empty, .. }) => return None,
        Some(services) => return wrong(services.line, format!("services is {}", services.kind())),
        None => {}
    }
    let name = file.rsplit('/').next().unwrap_or(file);
    let known = ["include", "volumes", "networks", "configs", "secrets", "models", "name", "version"];
    let is_known = |entry: &Entry| known.contains(&entry.key.as_str()) || entry.key.starts_with("x-");
    // Files of other names may have another purpose.
    if !COMPOSE.contains(&name) && !OVERRIDES.contains(&name) || root.content == Content::Empty {
        return None;
    }
    match root.entries() {
        [] => wrong(root.line, format!("it is {}", root.kind())),
        entries if entries.iter().all(is_known) || !services(root).is_empty() => None,
        [first, ..] => Some(format!(
            "{file}:{}: there are no services; docker compose takes them below services:",
            first.line
        )),
    }
}

/// `COMPOSE_FILE` of the folder's `.env`: the files that are merged instead.
fn asked_for(folder: &str, project: &Project) -> Vec<String> {
    let text = project.read(&join(folder, ".env")).ok().flatten().unwrap_or_default();
    let variables = dotenv::parse(&text);
    let separator = variables.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
    let Some(asked) = variables.get("COMPOSE_FILE").filter(|_| !separator.is_empty()) else {
        return Vec::new();
    };
    asked.split(separator).filter_map(|path| normal(&join(folder, path))).take(20).collect()
}

/// Whether a file only says what is different: it has services without an image, which the base has.
fn completes(file: &str, base: &[String], project: &Project) -> bool {
    let parse = |file: &str| Node::parse(file, &project.read(file).ok()??).ok().map(Node::merged);
    let Some(root) = parse(file) else { return false };
    let is_whole = |service: &Node| {
        ["image", "build", "extends", "provider"].iter().any(|key| service.get(key).is_some())
    };
    let partial: Vec<&str> = services(&root)
        .iter()
        .filter(|entry| matches!(entry.value.content, Content::Map(_)) && !is_whole(&entry.value))
        .map(|entry| entry.key.as_str())
        .collect();
    !partial.is_empty()
        && base
            .iter()
            .filter_map(|file| parse(file))
            .any(|root| services(&root).iter().any(|entry| partial.contains(&entry.key.as_str())))
}

/// Set-up scripts that are not in the project would end each run.
fn missing_scripts(project: &Project, findings: &mut Findings) {
    for found in &mut findings.found {
        let (there, missing) =
            std::mem::take(&mut found.init).into_iter().partition(|one| project.scripts(&one.path).is_some());
        found.init = in_order(there, project);
        let missing: Vec<Script> = missing;
        for Script { path, .. } in missing {
            let place = found.places.first().map_or("", |place| &place.text);
            findings.notes.push(format!(
                "{place}: no set-up script is at {} of the project; name one with init:, if there is one",
                super::one_line(&path)
            ));
        }
    }
}

/// The scripts in the order of their names. A folder whose own scripts are not all run one after the other stands for
/// them no more.
fn in_order(found: Vec<Script>, project: &Project) -> Vec<Script> {
    if found.len() < 2 || found.iter().all(|script| !script.name.is_empty()) {
        return found;
    }
    let mut all: Vec<(Script, Option<usize>)> = Vec::new();
    for (index, script) in found.iter().enumerate() {
        if !script.name.is_empty() {
            all.push((script.clone(), None));
        }
        // Of one name, the one that is mounted by itself is there.
        let names = project.scripts(&script.path).unwrap_or_default().into_iter();
        let names =
            names.filter(|name| script.name.is_empty() && found.iter().all(|other| other.name != *name));
        all.extend(names.map(|name| (Script { path: join(&script.path, &name), name }, Some(index))));
    }
    all.sort();
    let whole = |index: usize| {
        let count = all.iter().filter(|(_, of)| *of == Some(index)).count();
        let begin = all.iter().position(|(_, of)| *of == Some(index)).unwrap_or_default();
        let is_one_piece = all[begin..].iter().take_while(|(_, of)| *of == Some(index)).count() == count;
        is_one_piece && project.scripts(&found[index].path).is_some_and(|names| names.len() == count)
    };
    let mut ordered: Vec<Script> = Vec::new();
    for (script, of) in &all {
        let script = of.filter(|index| whole(*index)).map_or(script, |index| &found[index]);
        if ordered.last() != Some(script) {
            ordered.push(script.clone());
        }
    }
    ordered
}
