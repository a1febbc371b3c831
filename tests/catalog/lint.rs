//! `@ibm/tekton-lint` over the catalog: somebody else's rules about Tekton's files. Which one, and all that
//! it consists of, is in `lint/`; `tests/install test` installs it. It has nothing to say of the catalog,
//! errors or warnings, so none of its rules is silenced.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::tekton::documents::{Catalog, Content};

/// A file, what stands in it, what stands there instead, and the rule of the linter that it breaks.
const BROKEN: &[(&str, &str, &str, &str)] = &[
    (
        "task/testbed-up/testbed-up.yaml",
        "value: $(params.mode)",
        "value: $(params.modes)",
        "no-undefined-param",
    ),
    ("task/testbed-up/testbed-up.yaml", "- name: TESTBED_WITH", "- name: TESTBED_MODE", "no-duplicate-env"),
    ("task/testbed-down/testbed-down.yaml", "value: $(params.timeout)", "value: 1m", "no-unused-param"),
    ("samples/striv-pipeline.yaml", "runAfter: [checkout]", "runAfter: [check]", "no-pipeline-missing-task"),
    (
        "samples/striv-pipeline.yaml",
        "taskRef: {name: testbed-down}",
        "taskRef: {name: testbed-gone}",
        "no-missing-resource",
    ),
    // What it would not look at as it stands.
    (
        "task/testbed-up/samples/try-it.yaml",
        "{name: format, value: dotenv}",
        "{name: formats, value: dotenv}",
        "no-extra-param",
    ),
    (
        "stepaction/testbed-lock-release/testbed-lock-release.yaml",
        "value: $(params.strict)",
        "value: $(params.strikt)",
        "no-undefined-param",
    ),
];

/// A file as the linter gets it.
struct Linted {
    file: String,
    text: String,
}

#[test]
fn another_linter_has_nothing_to_say() {
    let found = lint(&files(&Catalog::read().expect("the catalog")));
    assert!(found.is_empty(), "{}", lines(&found));
}

/// It reads all that it is given: each of these is noticed, in its file.
#[test]
fn another_linter_notices_mistakes() {
    let mut broken = Catalog::read().expect("the catalog");
    for (file, from, to, _) in BROKEN {
        let mut source =
            broken.sources.iter().find(|source| source.file == *file).expect("a file of the catalog").clone();
        assert!(source.text.contains(from), "{file} does not contain {from:?}");
        source.text = source.text.replacen(from, to, 1);
        broken = broken.with(source).expect("still a catalog");
    }
    let found = lint(&files(&broken));
    for (file, _, to, rule) in BROKEN {
        let is_it = |problem: &&Value| {
            problem["rule"] == *rule && problem["path"].as_str().is_some_and(|path| path.contains(file))
        };
        assert!(
            found.iter().any(|problem| is_it(&problem)),
            "{file}: {to}: {rule} is not among\n{}",
            lines(&found)
        );
    }
}

/// All YAML of the catalog. The linter passes over what has no name, what is inside of a run, and
/// StepActions: of these it gets another form.
fn files(catalog: &Catalog) -> Vec<Linted> {
    let whole = catalog.sources.iter().filter(|source| source.file.ends_with(".yaml"));
    // What the cluster names gets a name of its own.
    let text = |at: usize, text: &str| {
        text.replace("generateName: ", &format!("name: number-{at}-")).replace("-\nspec:", "\nspec:")
    };
    let mut files: Vec<Linted> = whole
        .enumerate()
        .map(|(at, source)| Linted { file: source.file.clone(), text: text(at, &source.text) })
        .collect();
    for (at, document) in
        catalog.documents.iter().enumerate().filter(|(_, document)| document.file.ends_with(".yaml"))
    {
        let spec = &document.value["spec"];
        let (kind, spec) = match &document.content {
            Content::PipelineRun(_) => ("Pipeline", spec["pipelineSpec"].clone()),
            Content::TaskRun(_) => ("Task", spec["taskSpec"].clone()),
            Content::StepAction(_) => {
                let mut step = spec.clone();
                step["name"] = "step".into();
                let step = step.as_object_mut().expect("a spec");
                let params = step.remove("params");
                ("Task", json!({"params": params, "steps": [step]}))
            }
            _ => continue,
        };
        if !spec.is_null() {
            let inside = json!({"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": format!("inside-{at}")}, "spec": spec});
            files.push(Linted {
                file: format!("inside/{}/{at}.yaml", document.file),
                text: format!("{inside:#}\n"),
            });
        }
    }
    files
}

/// What the linter says of these files.
fn lint(files: &[Linted]) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for Linted { file, text } in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file in the temporary folder");
    }
    let mut node = Command::new("node");
    node.arg(program()).args(["--format", "json", "**/*.yaml"]).current_dir(folder.path());
    // Where it would keep files that it fetches, of which there are none.
    node.env("TL_CACHE_DIR", folder.path().join("cache"));
    let output = node.stdin(Stdio::null()).output().expect("node (is everything there? tests/install test)");
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error} (is everything there? tests/install test): {}{said}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    target.join("tekton-lint/node_modules/@ibm/tekton-lint/dist/lint.js")
}

fn lines(problems: &[Value]) -> String {
    let line = |problem: &Value| {
        format!(
            "{}:{}: {} ({})",
            problem["path"], problem["loc"]["startLine"], problem["message"], problem["rule"]
        )
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
