//! The JSON Schema of `testbed.yaml`: made of the tables that the parser goes by, and of one mind with it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::{Arg, CommandFactory};
use serde_json::{Map, Value, json};
use testbed::cli::Cli;
use testbed::manifest::builtin::PARAMS;
use testbed::manifest::setup::takes_list;
use testbed::output::Preset;
use testbed::settings::keys::{self, is_switch};
use testbed::settings::read;

use crate::reference::hold;
use crate::support::pages::{all, root};

const FILE: &str = "docs/src/reference/testbed.schema.json";

/// Whether the parser takes a file.
fn is_taken(text: &str) -> bool {
    read::read("testbed.yaml", text, Path::new(""), &Cli::command()).is_ok()
}

/// What the schema says of a key that stands for a flag.
fn of_flag(key: &str, arg: &Arg) -> Value {
    let help = arg
        .get_long_help()
        .or(arg.get_help())
        .map(|help| help.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_default();
    let mut schema = Map::new();
    schema.insert("description".into(), json!(format!("--{key}: {help}")));
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let is_duration =
        arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "DURATION"));
    if is_switch(arg) {
        schema.insert("type".into(), json!("boolean"));
    } else if !possible.is_empty() {
        schema.insert("enum".into(), json!(possible));
    } else if is_duration {
        // Which words it takes besides, the parser says.
        let words = ["never", "none"].into_iter().filter(|word| is_taken(&format!("{key}: {word}\n")));
        let forms: String = words.map(|word| format!("{word}|")).collect();
        schema.insert("type".into(), json!("string"));
        schema.insert("pattern".into(), json!(format!("^({forms}([0-9]+ *[a-zµ]+ *)+)$")));
    } else if key == "mode" {
        schema.insert("type".into(), json!(["string", "integer"]));
        schema.insert("pattern".into(), json!("^0*[0-7]{1,3}$"));
    } else {
        schema.insert("$ref".into(), json!("#/$defs/text"));
    }
    if let [default] = arg.get_default_values()
        && !is_switch(arg)
    {
        schema.insert("default".into(), json!(default.to_string_lossy()));
    }
    Value::Object(schema)
}

fn schema() -> Value {
    let cli = Cli::command();
    let mut properties = Map::new();
    for key in keys::OTHERS {
        let (description, form) = match key {
            "databases" => (
                "The databases by their names: ENGINE[:TAG][@PORT], or a mapping with parameters.",
                json!({"type": "object", "additionalProperties": {"anyOf": [
                    {"$ref": "#/$defs/text"}, {"type": "null"}, {"$ref": "#/$defs/database"},
                ]}}),
            ),
            "with" => (
                "Databases as --with takes them: ENGINE[:TAG][@PORT][=NAME], one or a list.",
                json!({"$ref": "#/$defs/texts"}),
            ),
            "manifest" => (
                "Manifest files or folders, seen from this file's folder, one or a list.",
                json!({"$ref": "#/$defs/texts"}),
            ),
            "params" => (
                "Parameters for the databases and the manifest, as --param takes them.",
                json!({"$ref": "#/$defs/params"}),
            ),
            "connargs" => (
                "Extra connection arguments; a mapping is for the database or engine of that name.",
                json!({"type": "object", "propertyNames": {"pattern": "^[^=.]+(\\.[^=.]+)*$"}}),
            ),
            "env" => (
                "The variables of a framework (rails, or rails=DATABASE), of the project's own, or a list of both.",
                json!({"anyOf": [
                    {"$ref": "#/$defs/env"}, {"type": "array", "items": {"$ref": "#/$defs/env"}},
                ]}),
            ),
            other => panic!("the schema does not know {other}"),
        };
        let mut whole = json!({"description": description});
        whole.as_object_mut().expect("an object").extend(form.as_object().expect("an object").clone());
        properties.insert(key.into(), whole);
    }
    for key in &keys::FLAGS {
        let arg = key.any_flag(&cli).unwrap_or_else(|| panic!("{} has no flag", key.name));
        properties.insert(key.name.into(), of_flag(key.name, arg));
    }
    let mut database = Map::new();
    database.insert(
        "use".into(),
        json!({"description": "The engine, its tag and its port, ENGINE[:TAG][@PORT], unless the name is the engine's.", "$ref": "#/$defs/text"}),
    );
    for param in PARAMS {
        let form = match param {
            "port" => {
                json!({"type": ["integer", "string"], "minimum": 1, "maximum": 65535, "pattern": "^ *([0-9]+ *)?$"})
            }
            "databases" => json!({"anyOf": [
                {"$ref": "#/$defs/any-text"},
                {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/name"}, {"$ref": "#/$defs/further"}]}},
            ]}),
            "seed" => json!({"$ref": "#/$defs/seed"}),
            "users" | "extensions" => {
                json!({"anyOf": [{"$ref": "#/$defs/any-text"}, {"$ref": "#/$defs/names"}]})
            }
            other if takes_list(other) => {
                json!({"anyOf": [{"$ref": "#/$defs/any-text"}, {"type": "array", "items": {"$ref": "#/$defs/any-text"}}]})
            }
            _ => json!({"$ref": "#/$defs/any-text"}),
        };
        database.insert(param.into(), form);
    }
    let presets = Preset::ALL.map(Preset::name).join("|");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "testbed.yaml",
        "description": "What the flags of testbed can say, written down in a project's root.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
        "$defs": {
            "any-text": {"description": "A text; numbers and booleans are taken as they were typed.", "type": ["string", "number", "boolean"]},
            "text": {"description": "A text that is not empty.", "type": ["string", "number", "boolean"], "minLength": 1},
            "texts": {"anyOf": [{"$ref": "#/$defs/text"}, {"type": "array", "items": {"$ref": "#/$defs/text"}}]},
            "params": {
                "type": "object",
                "propertyNames": {"pattern": "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$"},
                "additionalProperties": {"anyOf": [{"$ref": "#/$defs/any-text"}, {"$ref": "#/$defs/params"}]},
            },
            "database": {"type": "object", "additionalProperties": false, "properties": database},
            "env": {"anyOf": [
                {"type": "string", "pattern": format!("^({presets})(=.+)?$")},
                {
                    "type": "object",
                    "properties": {
                        "preset": {"description": "A framework's variables.", "type": "string", "pattern": format!("^({presets})(=.+)?$")},
                        "database": {"description": "The database of the preset.", "$ref": "#/$defs/text"},
                    },
                    "dependentRequired": {"database": ["preset"]},
                    "propertyNames": {"allOf": [
                        {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                        {"not": {"pattern": "^(TESTBED_|LD_|DYLD_)|^(BASH_ENV|ENV|HOME|IFS|PATH|SHELL)$"}},
                    ]},
                    "additionalProperties": {"description": "A template over the databases.", "$ref": "#/$defs/any-text"},
                },
            ]},
            "files": {"anyOf": [{"$ref": "#/$defs/text"}, {"type": "array", "items": {"$ref": "#/$defs/text"}}]},
            "step": {
                "description": "Files, and a command that runs after them.",
                "type": "object", "additionalProperties": false,
                "anyOf": [{"required": ["files"]}, {"required": ["run"]}],
                "properties": {
                    "files": {"description": "Files with SQL or for a shell, and folders of them.", "$ref": "#/$defs/files"},
                    "run": {"description": "A command with the database's variables.", "$ref": "#/$defs/text"},
                    "inputs": {"description": "Globs of what the command reads.", "$ref": "#/$defs/files"},
                },
            },
            "seed": {
                "description": "What is put into the database once: kept on this machine, and in a cluster put into each run.",
                "anyOf": [
                    {"$ref": "#/$defs/files"},
                    {
                        "type": "object", "additionalProperties": false,
                        "anyOf": [{"required": ["files"]}, {"required": ["run"]}, {"required": ["steps"]}],
                        "properties": {
                            "folder": {"description": "From where paths are seen, and where the command runs.", "type": "string"},
                            "files": {"$ref": "#/$defs/files"},
                            "run": {"$ref": "#/$defs/text"},
                            "inputs": {"$ref": "#/$defs/files"},
                            "steps": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
                        },
                    },
                ],
            },
            "name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,62}$"},
            "names": {"type": "array", "items": {"$ref": "#/$defs/name"}},
            "further": {
                "description": "A further database on the server.",
                "type": "object", "additionalProperties": false, "required": ["name"],
                "properties": {
                    "name": {"$ref": "#/$defs/name"},
                    "owner": {"$ref": "#/$defs/name"},
                    "extensions": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/names"}]},
                },
            },
        },
    })
}

/// What a validator says to each file, by way of the published schema: the first fault, or nothing.
fn judged(texts: &[&str]) -> Vec<Option<String>> {
    const SCRIPT: &str = "import json, jsonschema, sys\n\
        schema, documents = json.load(sys.stdin)\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        validator = jsonschema.Draft202012Validator(schema)\n\
        print(json.dumps([next((error.json_path + ': ' + error.message for error in validator.iter_errors(one)), None) for one in documents]))\n";
    let published: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join(FILE)).expect("the schema")).expect("JSON");
    let documents: Vec<Value> = texts
        .iter()
        .map(|text| serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")))
        .collect();
    let mut python = Command::new("/usr/bin/python3");
    let mut python = python
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Debian's Python");
    python
        .stdin
        .take()
        .expect("a pipe")
        .write_all(json!([published, documents]).to_string().as_bytes())
        .expect("Python reads");
    let output = python.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "is everything there? tests/install test");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_schema_is_what_the_parser_knows() {
    let schema = schema();
    hold(FILE, &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(&schema["properties"]),
        keys::known(&Cli::command()).into_iter().map(Into::into).collect()
    );
    let params: BTreeSet<String> = PARAMS.into_iter().chain(["use"]).map(Into::into).collect();
    assert_eq!(names(&schema["$defs"]["database"]["properties"]), params);
}

/// Files that there are: the examples', the pages', and what `init` writes.
#[test]
fn the_projects_own_files_fit_the_schema() {
    let init = std::fs::read_to_string(root().join("tests/cli/snapshots/cli__init__init.snap")).unwrap();
    let mut files = vec![init.splitn(3, "---\n").nth(2).expect("a snapshot").to_owned()];
    let examples = std::fs::read_dir(root().join("examples")).unwrap().flatten();
    let of_example =
        |folder: std::fs::DirEntry| std::fs::read_to_string(folder.path().join("testbed.yaml")).ok();
    files.extend(examples.filter_map(of_example));
    assert!(files.len() >= 7, "{files:#?}");
    let is_settings = |text: &str| {
        let value: serde_yaml::Value = serde_yaml::from_str(text).unwrap_or_default();
        let known = keys::known(&Cli::command());
        // A container's variables are called alike.
        let is_containers = text.contains("valueFrom");
        !is_containers
            && value
                .as_mapping()
                .is_some_and(|map| map.keys().all(|key| key.as_str().is_some_and(|key| known.contains(&key))))
    };
    for page in all() {
        // All that these pages show is settings, right or wrong; elsewhere what has their keys is.
        let is_about = ["docs/src/how-to/project-settings.md", "docs/src/reference/settings.md"]
            .contains(&page.file.as_str());
        let shown: Vec<String> = page
            .blocks()
            .into_iter()
            .filter(|block| block.language == "yaml")
            .map(|block| block.text)
            .collect();
        assert!(!(is_about && shown.is_empty()), "{} shows no settings", page.file);
        files.extend(shown.into_iter().filter(|text| is_about || is_settings(text)));
    }
    assert!(files.len() >= 11, "{files:#?}");
    let texts: Vec<&str> = files.iter().map(String::as_str).collect();
    for (text, fault) in texts.iter().zip(judged(&texts)) {
        assert!(is_taken(text), "{text}");
        assert_eq!(fault, None, "{text}");
    }
}

#[test]
fn parser_and_schema_are_of_one_mind() {
    let taken = [
        "",
        "databases: {orders: 'postgres:17', mysql: , legacy: {use: mysql, memory: 1Gi, profile: ''}}\n",
        "databases: {postgres: {port: 5433, init: [a.sql, seeds/], args: [-c, 1], users: bob, extensions: [uuid-ossp]}}\n",
        "databases: {postgres: {port: '5433', init: a.sql, args: --x=1 --y, databases: a b, extensions: a b}}\n",
        "databases: {postgres: {databases: [a, {name: b}, {name: c, owner: d, extensions: [e]}, {name: f, extensions: g h}]}}\n",
        "with: postgres\n",
        "with: []\n",
        "with: [sqlite, mariadb=cache]\n",
        "manifest: [a.yaml, '-']\n",
        "params: {a: 1.10, b: {c: true, d.e: ''}}\n",
        "connargs: {a: ~, mysql: {ssl: {ca: x}, list: [1]}}\n",
        "mode: 600\n",
        "mode: '0644'\n",
        "timeout: 1h 30m\n",
        "settle: never\n",
        "lifetime: none\n",
        "strict: false\n",
        "runtime: local\n",
        "on-failure: keep\n",
        "namespace: ci\ncontext: test\n",
        "history: none\n",
        "env: rails\n",
        "env: [rails=orders, {DB_NAME: '{{ orders.database }}', N: 1}]\n",
        "env: {preset: jdbc, database: orders, X: ''}\n",
    ];
    let refused = [
        "[]\n",
        "databases: [postgres]\n",
        "databases: {postgres: [a]}\n",
        "databases: {postgres: {memry: 1Gi}}\n",
        "databases: {postgres: {memory: }}\n",
        "databases: {postgres: {port: 0}}\n",
        "databases: {postgres: {port: 65536}}\n",
        "databases: {postgres: {port: five}}\n",
        "databases: {postgres: {port: [1]}}\n",
        "databases: {postgres: {memory: [1Gi]}}\n",
        "databases: {postgres: {init: {a: b}}}\n",
        "databases: {postgres: {args: [[a]]}}\n",
        "databases: {postgres: {users: [{name: a}]}}\n",
        "databases: {postgres: {users: [1a]}}\n",
        "databases: {postgres: {databases: {a: b}}}\n",
        "databases: {postgres: {databases: [{owner: a}]}}\n",
        "databases: {postgres: {databases: [{name: a, ownr: b}]}}\n",
        "databases: {postgres: {databases: ['a;b']}}\n",
        "with: {postgres: 17}\n",
        "with: ['']\n",
        "manifest: \n",
        "params: [a]\n",
        "params: {a: [b]}\n",
        "params: {a..b: c}\n",
        "params: {a b: c}\n",
        "connargs: [a]\n",
        "connargs: {a=b: c}\n",
        "mode: rw\n",
        "mode: '9'\n",
        "timeout: 5\n",
        "timeout: soon\n",
        "timeout: never\n",
        "settle: none\n",
        "lifetime: never\n",
        "strict: maybe\n",
        "runtime: docker\n",
        "on-failure: ask\n",
        "namespace: \n",
        "namespace: [a]\n",
        "tiemout: 5m\n",
        "run-id: a\n",
        "env: rials\n",
        "env: [[rails]]\n",
        "env: {preset: rials}\n",
        "env: {database: orders}\n",
        "env: {A-B: x}\n",
        "env: {LD_PRELOAD: x}\n",
        "env: {X: [a]}\n",
        "allow: privileged\n",
    ];
    let texts: Vec<&str> = taken.iter().chain(&refused).copied().collect();
    for (at, (text, fault)) in texts.iter().zip(judged(&texts)).enumerate() {
        let is_good = at < taken.len();
        assert_eq!(is_taken(text), is_good, "the parser on {text:?}");
        assert_eq!(fault.is_none(), is_good, "the schema on {text:?}: {fault:?}");
    }
}
