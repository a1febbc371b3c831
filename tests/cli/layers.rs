//! Imports go one way. Each folder of `src` is on a floor and imports from those below it alone; inside a
//! folder, files that import each other in a circle are named here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From top to bottom. What is on one floor does not import each other.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["commands"],
    &["session"],
    &["settings"],
    &["cli"],
    &["lock", "pool"],
    &["runtime"],
    &["recorder"],
    &["history", "registry"],
    &["state"],
    &["init", "output", "probe"],
    &["database"],
    &["manifest"],
    &["progress", "table", "template"],
    &["console", "ports", "process"],
    &["background", "bug", "doctor", "files", "run_id"],
    &[
        "authority",
        "deadline",
        "engine",
        "environment",
        "failure",
        "location",
        "postgres",
        "reading",
        "redact",
        "time",
        "trust",
        "words",
        "yaml",
    ],
];

/// Files that import each other, and why they may.
const CIRCLES: &[(&[&str], &str)] = &[
    (
        &["manifest::builtin", "manifest::platform", "manifest::seed", "manifest::setup"],
        "what `--with` asks for, and what its parameters say",
    ),
    (
        &["runtime::kubernetes::teardown::remove", "runtime::kubernetes::teardown::wait"],
        "what comes again while it is waited for is removed again",
    ),
];

/// The modules, and what each imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn each_folder_imports_from_the_floors_below() {
    let floor = |module: &str| {
        let folder = module.split("::").next().expect("a name");
        let floor = FLOORS.iter().position(|floor| floor.contains(&folder));
        (
            folder.to_owned(),
            floor.unwrap_or_else(|| panic!("{folder} is on no floor: put it into FLOORS of {}", file!())),
        )
    };
    let mut wrong = Vec::new();
    for (module, imports) in imports() {
        for import in imports.iter().filter(|import| import.as_str() != "lib") {
            let ((from, above), (to, below)) = (floor(&module), floor(import));
            if from != to && above >= below {
                wrong.push(format!("{module} imports {import}, which is above it or beside it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_document_has_the_same_floors() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md"))
        .expect("the document");
    let (_, list) = text.rsplit_once("```text\n").expect("the list of floors");
    let told: Vec<&str> = list.lines().take_while(|line| *line != "```").collect();
    let floors: Vec<String> = FLOORS.iter().map(|floor| floor.join(" ")).collect();
    assert_eq!(told, floors);
}

#[test]
fn files_import_each_other_only_where_it_is_said() {
    let imports = imports();
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|module| (module, reach(&imports, module))).collect();
    let circles: BTreeSet<Vec<&String>> = imports
        .keys()
        .map(|module| {
            reached[module]
                .iter()
                .copied()
                .filter(|other| reached.get(other).is_some_and(|back| back.contains(module)))
                .collect()
        })
        .filter(|circle: &Vec<&String>| circle.len() > 1)
        .collect();
    let known: BTreeSet<Vec<&str>> = CIRCLES.iter().map(|(circle, _)| circle.to_vec()).collect();
    let found: BTreeSet<Vec<&str>> =
        circles.iter().map(|circle| circle.iter().map(|module| module.as_str()).collect()).collect();
    assert_eq!(found, known);
}

fn reach<'a>(imports: &'a Imports, from: &'a String) -> BTreeSet<&'a String> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(imports.get(module).into_iter().flatten().filter(|import| found.insert(*import)));
    }
    found
}

/// Reads all files, tests aside. What a folder's own file takes from the files in it is no import.
fn imports() -> Imports {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    find(&root, &mut files);
    let name = |path: &Path| {
        let path = path.strip_prefix(&root).expect("below src").with_extension("");
        let parts: Vec<&str> =
            path.iter().map(|part| part.to_str().expect("UTF-8")).filter(|part| *part != "mod").collect();
        parts.join("::")
    };
    let modules: BTreeSet<String> = files.iter().map(|path| name(path)).collect();
    let is_test = |module: &str| {
        module.split("::").any(|part| ["tests", "properties"].contains(&part))
            || module.starts_with("lock::model")
    };
    let mut imports = Imports::new();
    for path in &files {
        let module = name(path);
        let text = std::fs::read_to_string(path).expect("a file of the source");
        let text = text.split("#[cfg(test)]\nmod tests {").next().expect("a part");
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n")
            .replace(" as ", ",");
        let found = paths(&code, &module)
            .into_iter()
            .filter_map(|path| longest(&path, &modules))
            .filter(|import| *import != module);
        if !is_test(&module) {
            imports.insert(module.clone(), found.collect());
        }
    }
    imports
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// All paths that begin with `crate::` or `super::`, in `use` lines and elsewhere, from the crate's root.
fn paths(code: &str, module: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (start, word) in code.match_indices("crate::").chain(code.match_indices("use super::")) {
        let rest = &code[start + word.len()..];
        let above = if word == "crate::" { Vec::new() } else { module.split("::").collect::<Vec<_>>() };
        let (mut rest, mut above) = (rest, above);
        if word != "crate::" {
            above.pop();
        }
        while let Some(further) = rest.strip_prefix("super::") {
            above.pop();
            rest = further;
        }
        let mut prefix = above.join("::");
        if !prefix.is_empty() {
            prefix.push_str("::");
        }
        expand(&prefix, &mut rest.chars().filter(|letter| !letter.is_whitespace()).peekable(), &mut paths);
    }
    paths
}

/// Takes one path apart that may have braces: `a::{b, c::{d, e}}`.
fn expand(
    prefix: &str,
    letters: &mut std::iter::Peekable<impl Iterator<Item = char>>,
    paths: &mut Vec<String>,
) {
    let mut path = prefix.to_owned();
    while let Some(letter) = letters.next_if(|letter| letter.is_alphanumeric() || ['_', ':'].contains(letter))
    {
        path.push(letter);
    }
    if letters.next_if_eq(&'{').is_none() {
        return paths.push(path);
    }
    loop {
        expand(&path, letters, paths);
        match letters.next() {
            Some(',') => {}
            _ => return,
        }
    }
}

/// The longest beginning of a path that is a module. What follows is an item of it.
fn longest(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len()).rev().map(|length| parts[..length].join("::")).find(|module| modules.contains(module))
}
