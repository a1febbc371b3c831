//! What people have: manifests of all kinds in `tests/manifests`, each with what testbed has to find in it, and
//! files of other tools.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::database::{Data, Discovery, discover};
use testbed::engine::{self, Version};
use testbed::manifest::{Object, parse};
use testbed::run_id::RunId;

use crate::support::Folder;

/// The manifests, and the lines that say what is right.
fn corpus() -> Vec<(PathBuf, Vec<(String, String)>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut manifests: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    manifests.sort();
    let expected = |path: &PathBuf| {
        let text = std::fs::read_to_string(path.with_extension("expected")).expect("what is expected");
        let line = |line: &str| {
            let (kind, text) = line.split_once(": ").unwrap_or_else(|| panic!("{}: {line}", path.display()));
            (kind.to_owned(), text.to_owned())
        };
        text.lines().map(line).collect()
    };
    manifests.into_iter().map(|path| (path.clone(), expected(&path))).collect()
}

/// What is found in a manifest, as the lines say it.
fn found(objects: &[Object], run_id: &RunId) -> Vec<(String, String)> {
    let mut data = Data::default();
    data.add_objects(objects).expect("Secrets and ConfigMaps");
    let Discovery { databases, missing, others, .. } = discover(objects, run_id, &data).expect("databases");
    let databases = databases.iter().map(|database| {
        let version = engine::version(&database.image).as_deref().and_then(Version::leading);
        let version = version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        let (login, host, port) = (&database.login, &database.host, database.port);
        let name = login.database.as_deref().unwrap_or("-");
        let password = login.password.reveal();
        (
            "database".to_owned(),
            format!("{} {version} {}:{password}@{host}:{port}/{name}", database.engine, login.user),
        )
    });
    let others = others
        .iter()
        .map(|other| ("none".to_owned(), format!("{} {}: {}", other.workload, other.container, other.why)));
    let missing = missing
        .iter()
        .map(|reference| ("missing".to_owned(), format!("{} {}", reference.kind.name(), reference.name)));
    databases.chain(others).chain(missing).collect()
}

/// `Pod pg /spec/tty false`: a value of an object, as JSON.
fn assert_value(objects: &[Object], expected: &str) {
    let mut words = expected.splitn(4, ' ');
    let mut word = || words.next().expect("four words");
    let (kind, name, place, value) = (word(), word(), word(), word());
    let object =
        objects.iter().find(|object| object.kind == kind && object.name == name).expect("the object");
    let body = Value::Object(object.body.clone());
    let value: Value = serde_json::from_str(value).expect("JSON");
    assert_eq!(body.pointer(place), Some(&value), "{expected}");
}

#[test]
fn each_manifest_of_the_corpus_is_read_right_or_refused_with_the_way_out() {
    let corpus = corpus();
    assert!(corpus.len() >= 60, "{}", corpus.len());
    let run_id = RunId::parse("run-1").expect("a run id");
    let folder = Folder::local();
    for (path, expected) in corpus {
        let name = path.display().to_string();
        let is = |wanted: &[&str]| {
            let fits = |(kind, _): &&(String, String)| wanted.contains(&kind.as_str());
            expected.iter().filter(fits).cloned().collect::<Vec<_>>()
        };
        let refused = is(&["error", "hint"]);
        if !refused.is_empty() {
            let called = folder.call(&["up", &name, "--run-id", "run-1"]).fails(2);
            for (kind, part) in refused {
                let (before, hints) = called.stderr.split_once("hint: ").unwrap_or((&called.stderr, ""));
                let place = if kind == "hint" { hints } else { before };
                assert!(
                    place.contains(&part),
                    "{part:?} is not the {kind} of {name}\n{}",
                    called.transcript()
                );
            }
            assert!(!folder.has("testing-databases.json"), "{name}");
            continue;
        }
        let rendered = folder.call(&["render", &name, "--run-id", "run-1", "-o", "json"]).ok();
        let objects = parse::parse(&name, &rendered.stdout).expect("objects");
        assert_eq!(found(&objects, &run_id), is(&["database", "none", "missing"]), "{name}");
        is(&["value"]).iter().for_each(|(_, value)| assert_value(&objects, value));
    }
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME-run-1}\n";

fn map(name: &str) -> String {
    MAP.replace("NAME", name)
}

fn names(folder: &Folder, args: &[&str]) -> Vec<String> {
    let called = folder.call(&[&["render", "--run-id", "run-1", "-o", "json"], args].concat()).ok();
    let list: Value = serde_json::from_str(&called.stdout).expect("JSON");
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().replace("-run-1", "");
    list["items"].as_array().expect("items").iter().map(name).collect()
}

/// As `kubectl apply -f` does: files in the order given, those of folders by their names, and folders in them
/// with `-R` alone.
#[test]
fn files_and_folders_come_in_kubectls_order() {
    let folder = Folder::new();
    for name in ["k", "k/b", "k/b/z"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    for name in
        ["k/b.yaml", "k/a.yml", "k/b/c.json", "k/b/z/d.yaml", "k/b/a.yaml", "k/e.yaml", "k/no.txt", "x"]
    {
        folder.file(name, &map(&name.replace(['/', '.'], "-")));
    }
    assert_eq!(names(&folder, &["x", "-f", "k"]), ["x", "k-a-yml", "k-b-yaml", "k-e-yaml"]);
    let all = ["k-a-yml", "k-b-a-yaml", "k-b-c-json", "k-b-z-d-yaml", "k-b-yaml", "k-e-yaml", "x"];
    assert_eq!(names(&folder, &["-R", "-f", "k,x"]), all);
    std::fs::remove_file(folder.path().join("k/b/a.yaml")).expect("removed");
    std::fs::remove_file(folder.path().join("k/b/c.json")).expect("removed");
    folder
        .call(&["render", "k/b"])
        .fails(2)
        .says("k/b: no .yaml, .yml or .json file in this folder")
        .says("hint: --recursive looks into its folders as well");
    folder.file("testbed.yaml", "manifest: k/b\nrecursive: true\n");
    assert_eq!(names(&folder, &[]), ["k-b-z-d-yaml"]);
}

#[test]
fn what_other_tools_make_manifests_of_is_named_with_its_command() {
    let folder = Folder::new();
    for name in ["base", "my chart", "my chart/templates"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    folder.file("base/db.yaml", &map("db"));
    folder.file("base/kustomization.yml", "resources: [db.yaml]\n");
    folder.file("my chart/Chart.yaml", "apiVersion: v2\nname: db\nversion: 1.0.0\n");
    folder.file("my chart/templates/db.yaml", &map("{{ .Release.Name }}"));
    let refused = |path: &str, what: &str, hint: &str| {
        folder
            .call(&["up", path])
            .fails(2)
            .says(what)
            .says(&format!("hint: pipe it in: {hint} | testbed up -"));
    };
    for path in ["base", "base/kustomization.yml"] {
        refused(path, "base is a kustomization", "kubectl kustomize base");
    }
    refused("my chart", "my chart is a Helm chart", "helm template 'my chart'");
    refused("my chart/Chart.yaml", "my chart is a Helm chart", "helm template 'my chart'");
    folder.call(&["up", "my chart/templates/db.yaml"]).fails(2).says(
        "hint: this is a template of Helm's; pipe the chart in: helm template 'my chart' | testbed up -",
    );
    let url = "https://example.com/db.yaml";
    refused(url, "is no file, and testbed fetches none", &format!("curl -fsSL '{url}'"));
    assert_eq!(names(&folder, &["base/db.yaml"]), ["db"]);
}

/// An operator's object beside a database is told of, and stops nothing.
#[test]
fn an_operators_object_beside_a_database_is_a_warning() {
    let folder = Folder::new();
    let object = "apiVersion: acid.zalan.do/v1\nkind: postgresql\nmetadata: {name: pg-run-1}\n";
    folder.file("m.yaml", object);
    folder
        .call(&["render", "m.yaml", "--with", "mysql", "--run-id", "run-1"])
        .ok()
        .says("postgresql pg-run-1 (acid.zalan.do/v1) is for its operator");
    folder.file("m.yaml", &object.replace("kind: postgresql", "kind: OperatorConfiguration"));
    assert!(!folder.call(&["render", "m.yaml"]).ok().stderr.contains("operator"));
}

/// A config file without a database is written where that was said, and nowhere else.
#[test]
fn a_run_of_no_database_is_one_that_was_asked_for() {
    let folder = Folder::local();
    folder.file("m.yaml", &map("a"));
    let refused = |args: &[&str]| {
        folder.call(args).fails(2).says("no database was found: 1 object and no container that could be one");
        assert!(!folder.has("testing-databases.json"));
    };
    refused(&["run", "m.yaml", "--", "true"]);
    refused(&["up", "m.yaml"]);
    folder.call(&["doctor", "m.yaml", "-o", "json"]).ok();
    folder.call(&["run", "m.yaml", "--allow-none", "--", "true"]).ok();
    folder.call(&["run", "m.yaml", "--with", "sqlite", "--", "true"]).ok();
    folder.file("testbed.yaml", "manifest: m.yaml\nallow-none: true\n");
    folder.call(&["up"]).ok();
    let written: Value = serde_json::from_str(&folder.read("testing-databases.json")).expect("JSON");
    assert_eq!(written, json!([]));
    folder.call(&["down"]).ok();
}

/// What two runs of one namespace would collide in matters in a namespace.
#[test]
fn names_without_the_run_id_are_one_note_and_none_on_this_machine() {
    let folder = Folder::local();
    folder.file(
        "m.yaml",
        &format!("{}---\n{}", map("a").replace("-run-1", ""), map("b").replace("-run-1", "")),
    );
    let said = "does not contain the run id";
    let render = folder.call(&["render", "m.yaml"]).ok();
    assert_eq!(render.stderr.matches(said).count(), 1, "{}", render.transcript());
    let run = folder.call(&["run", "m.yaml", "--allow-none", "--", "true"]).ok();
    assert!(!run.stderr.contains(said), "{}", run.transcript());
}
