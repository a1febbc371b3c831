//! The names that a project has for its databases' variables, with real clients; and what `up -o json` tells.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::Local;
use crate::support::Called;
use crate::support::pages::root;

/// A login in which every part has to be escaped somewhere.
const AWKWARD: [&str; 6] =
    ["--param", "password=p:/@%\"w'; +&?#x", "--param", "user=a b", "--param", "database=my shop"];

/// Logs in by each framework's variables, as a program of that framework would read them.
const CLIENTS: &str = r#"
import os, psycopg2, pymysql
from urllib.parse import unquote, urlsplit
env = os.environ

def by_url(text):
    url = urlsplit(text)
    return dict(host=url.hostname, port=url.port, user=unquote(url.username), password=unquote(url.password)), unquote(url.path[1:])

def ask(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT 6 * 7")
    return cursor.fetchone()[0]

login, name = by_url(env["RAILS"])
assert env["RAILS"].startswith("mysql2://")
print("rails", ask(pymysql.connect(database=name, **login)))
print("prisma", ask(psycopg2.connect(env["PRISMA"].replace("?schema=public", ""))))
assert env["PRISMA"].endswith("?schema=public")
print("laravel", ask(pymysql.connect(host=env["DB_HOST"], port=int(env["DB_PORT"]), user=env["DB_USERNAME"],
                                     password=env["DB_PASSWORD"], database=env["DB_DATABASE"])))
print("spring", env["SPRING_DATASOURCE_URL"], ask(psycopg2.connect(user=env["SPRING_DATASOURCE_USERNAME"],
      password=env["SPRING_DATASOURCE_PASSWORD"], host=env["ORDERS_HOST"], port=env["ORDERS_PORT"], dbname=env["MINE"])))
print("go", ask(psycopg2.connect(env["DATABASE_DSN"])))
login, dsn = env["SHOP_DSN"].rsplit("@tcp(", 1)
user, password = login.split(":", 1)
print("dsn", ask(pymysql.connect(user=user, password=password, host="127.0.0.1", port=int(dsn.split(")")[0].split(":")[1]))))
print(env.get("DB_URL"), env.get("SPRING_DATASOURCE_JNDI_NAME"))
"#;

#[test]
fn each_frameworks_variables_lead_its_drivers_to_the_database() {
    let local = Local::new();
    local.file(
        "testbed.yaml",
        "databases: {orders: postgres, shop: mariadb}\n\
         env:\n\
         - {preset: prisma, database: orders}\n\
         - preset: spring\n  database: orders\n\
         - laravel=shop\n\
         - {preset: go, database: orders}\n\
         - MINE: '{{ orders.database }}'\n\
         \x20 RAILS: 'mysql2://{{ shop.user | urlencode }}:{{ shop.password | urlencode }}@127.0.0.1:{{ shop.port }}/{{ shop.database | urlencode }}'\n",
    );
    let script = local.file("clients.py", CLIENTS);
    let script = script.to_str().expect("a path");
    let command = format!("PRISMA=$DATABASE_URL /usr/bin/python3 {script}");
    let run = local
        .command(&[&["run"], &AWKWARD[..], &["--", "sh", "-c", &command]].concat())
        .env("DB_URL", "mysql://me@127.9.9.9/mine")
        .env("SPRING_DATASOURCE_JNDI_NAME", "elsewhere")
        .output()
        .expect("testbed");
    let told = String::from_utf8_lossy(&run.stderr);
    let out = String::from_utf8_lossy(&run.stdout).into_owned();
    let lines: Vec<&str> = out.lines().collect();
    let [rails, prisma, laravel, spring, go, dsn, left] = lines.as_slice() else { panic!("{out}\n{told}") };
    assert_eq!(
        [rails, prisma, laravel, go, dsn, left],
        [&"rails 42", &"prisma 42", &"laravel 42", &"go 42", &"dsn 42", &"None None"]
    );
    assert!(spring.starts_with("spring jdbc:postgresql://127.0.0.1:") && spring.ends_with("/my%20shop 42"));
    assert!(told.contains("the command does not get ") && told.contains("DB_URL"), "{told}");
    local.assert_nothing_left();
}

#[test]
fn names_that_do_not_fit_end_before_anything_is_made() {
    let local = Local::new();
    let run = |args: &[&str]| {
        let called = local.call(
            &[&["run", "--with", "postgres=orders", "--with", "mariadb"], args, &["--", "true"]].concat(),
        );
        assert!(!called.stderr.contains("preparing"), "{}", called.transcript());
        called.fails(2)
    };
    run(&["--preset", "rails"])
        .says("preset rails is for one database, and the run has orders, mariadb")
        .says("hint: say which: --preset rails=orders");
    run(&["--preset", "rails=ordres"]).says("preset rails: the run has no database \"ordres\"");
    run(&["--preset", "rials"]).says("known are spring, rails, django");
    run(&["--env", "DB={{ orders.prot }}"]).says("env DB:1: the field prot is not defined; known are ");
    run(&["--env", "PATH=/tmp"]).says("env PATH: programs are found and run by this variable");
    run(&["--env", "PGHOST=production.example"])
        .says("env PGHOST: it would lead clients to a server that is not");
    for (text, line, part) in [
        ("env: rials\n", 1, "env: preset \"rials\": known are spring"),
        ("\nenv: {1X: a}\n", 2, "env: \"1X\" is no name of a variable"),
        ("env:\n  X: [a]\n", 2, "env.X is a list; write a text"),
        ("env:\n  X: '{{ orders.url'\n", 2, "env X:1: "),
        ("env:\n- X: a\n- X: b\n", 3, "env: X stands twice"),
        ("env:\n  database: orders\n", 2, "env.database names the database of a preset"),
        ("env:\n  LD_PRELOAD: x\n", 2, "begin with LD_ are the loader's"),
        ("env: 1\n", 1, "env: preset \"1\": known are"),
        ("env:\n", 1, "env is empty; write a preset"),
    ] {
        local.file("testbed.yaml", text);
        run(&[]).says(&format!("error: testbed.yaml:{line}: ")).says(part);
    }
}

#[test]
fn what_a_project_says_of_its_own_databases_is_left_out_where_others_are_typed() {
    let local = Local::new();
    local.file(
        "testbed.yaml",
        "databases: {orders: postgres, shop: mariadb}\n\
         connargs: {shop: {charset: utf8mb4}, application_name: mine}\n\
         env:\n\
         - {preset: rails, database: orders}\n\
         - MINE: '{{ orders.database }}'\n\
         \x20 ALL: '{{ databases | length }}'\n",
    );
    let told = |called: &Called, whats: &[&str]| {
        let note = "note: of testbed.yaml this does not fit the run's databases, and is left out: ";
        assert_eq!(called.stderr.matches(note).count(), whats.len(), "{}", called.transcript());
        whats.iter().for_each(|what| {
            assert!(called.stderr.contains(&format!("{note}{what}")), "{}", called.transcript());
        });
    };
    let left_out = ["preset rails: the run has no database \"orders\"", "env MINE:1: "];
    let script = "echo \"${RAILS_ENV-none} ${MINE-none} $ALL $OWN\"; cat \"$TESTBED_CONFIG\"";
    let own = ["--with", "postgres=other", "--env", "OWN={{ other.database }}"];
    let run = local.call(&[&["run"], &own[..], &["--", "sh", "-c", script]].concat()).ok();
    assert!(run.stdout.starts_with("none none 1 test\n"), "{}", run.transcript());
    assert!(run.stdout.contains("\"application_name\": \"mine\"") && !run.stdout.contains("charset"));
    told(&run, &left_out);
    // Each command that works with such a run.
    told(&local.call(&["up", "--with", "postgres=other", "--run-id", "r"]).ok(), &left_out);
    let exec = local.call(&["exec", "--run-id", "r", "--", "sh", "-c", "echo ${MINE-none} $ALL"]).ok();
    assert_eq!(exec.stdout, "none 1\n");
    told(&exec, &left_out);
    told(&local.call(&["env", "--run-id", "r"]).ok(), &left_out);
    local.call(&["down", "--run-id", "r"]).ok();
    // What was typed is never left out, and in the project's own databases a fault is one.
    let typed = ["run", "--with", "postgres=other", "--env", "X={{ orders.port }}", "--", "true"];
    local.call(&typed).fails(2).says("env X:1: ");
    local.file("testbed.yaml", "databases: {orders: postgres}\nenv: {MINE: '{{ ordres.database }}'}\n");
    local.call(&["run", "--", "true"]).fails(2).says("env MINE:1: ");
}

#[test]
fn the_dotenv_file_has_the_projects_names() {
    let local = Local::new();
    local.file("testbed.yaml", "databases: {shop: mariadb}\nenv: laravel\nformat: dotenv\n");
    local.call(&["up", "--env", "DB_CONNECTION=mysql", "--env", "SHOP=a b"]).ok();
    let text = local.read(".env.testbed");
    let read = Command::new("sh")
        .args(["-ec", "set -a; . ./.env.testbed; echo $DB_CONNECTION $SHOP; mariadb --no-defaults -h $DB_HOST -P $DB_PORT -u $DB_USERNAME -p$DB_PASSWORD $DB_DATABASE -NBe 'SELECT 6 * 7'"])
        .current_dir(local.path())
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&read.stdout), "mysql a b\n42\n", "{text}\n{read:?}");
    local.call(&["down"]).ok();
}

/// What a validator says to each document, by one definition of the published schema.
fn judged(documents: &[(&str, Value)]) -> Vec<Option<String>> {
    const SCRIPT: &str = "import json, jsonschema, sys\n\
        schema, documents = json.load(sys.stdin)\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        def judge(name, one):\n\
        \x20   whole = jsonschema.Draft202012Validator(schema)\n\
        \x20   alone = jsonschema.Draft202012Validator({'$ref': '#/$defs/' + name, '$defs': schema['$defs']})\n\
        \x20   return next((error.json_path + ': ' + error.message for v in (alone, whole) for error in v.iter_errors(one)), None)\n\
        print(json.dumps([judge(*pair) for pair in documents]))\n";
    let text =
        std::fs::read_to_string(root().join("docs/src/reference/output.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Debian's Python");
    let mut input = python.stdin.take().expect("a pipe");
    input.write_all(json!([schema, documents]).to_string().as_bytes()).expect("Python reads");
    drop(input);
    let output = python.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "is everything there? tests/install test");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_is_printed_as_json_is_what_the_schema_says() {
    let local = Local::new();
    let up = local
        .call(&[
            "up",
            "--with",
            "postgres=orders",
            "--with",
            "sqlite",
            "--run-id",
            "r",
            "-o",
            "json",
            "--preset",
            "jdbc=orders",
        ])
        .ok();
    let run: Value = serde_json::from_str(&up.stdout).expect("JSON");
    assert_eq!((&run["runId"], &run["runtime"], &run["kind"]), (&json!("r"), &json!("local"), &json!("Run")));
    assert_eq!(run["config"], json!(local.path().canonicalize().unwrap().join("testing-databases.json")));
    let orders = &run["databases"][0];
    let psql = Command::new("psql").args([orders["url"].as_str().unwrap(), "-Atc", "SELECT 6 * 7"]).output();
    assert_eq!(psql.expect("psql").stdout, b"42\n");
    assert_eq!(run["environment"]["ORDERS_URL"], orders["url"]);
    assert_eq!(run["environment"]["JDBC_DATABASE_USERNAME"], "postgres");
    let url = format!("postgres://postgres@127.0.0.1:{}/test", orders["port"]);
    let json = |args: &[&str]| -> Value {
        let mut command = local.command(args);
        let output =
            command.env("PGPASSWORD", orders["password"].as_str().unwrap()).output().expect("testbed");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
    };
    // One document of a run, whoever prints it.
    assert_eq!(json(&["env", "-o", "json", "--preset", "jdbc=orders"]), run);
    assert!(run["removed"].as_array().unwrap().contains(&"PGHOSTADDR".into()), "{run:#}");
    let only = json(&["env", "sqlite", "-o", "json"]);
    assert_eq!(
        (only["databases"].as_array().unwrap().len(), &only["databases"][0]),
        (1, &run["databases"][1])
    );
    let mut documents = vec![
        ("run", run.clone()),
        ("run", only),
        ("status", json(&["status", "-o", "json"])),
        ("wait", json(&["wait", &url, "--settle", "100ms", "-o", "json"])),
        ("doctor", json(&["doctor", "--with", "postgres", "-o", "json"])),
        ("history", json(&["history", "list", "-o", "json"])),
        ("history", json(&["history", "show", "r", "-o", "json"])),
        ("run", json(&["fork", "orders", "-o", "json"])),
    ];
    local.call(&["snapshot", "orders", "loaded"]).ok();
    documents.push(("snapshots", json(&["snapshot", "-o", "json"])));
    local.call(&["snapshot", "rm", "loaded"]).ok();
    local.call(&["down"]).ok();
    documents.push(("gc", json(&["gc", "--dry-run", "-o", "json"])));
    documents.push(("history", json(&["history", "logs", "r", "-o", "json"])));
    for ((name, document), fault) in documents.iter().zip(judged(&documents)) {
        assert_eq!(fault, None, "{name}: {document:#}");
    }
    // The validator would have said so.
    let mut wrong = run;
    wrong["databases"][0]["port"] = json!("5432");
    assert!(judged(&[("run", wrong)])[0].as_deref().is_some_and(|fault| fault.contains("port")));
    local
        .call(&["up", "--with", "sqlite", "-o", "json", "--output", "-"])
        .fails(2)
        .says("both want standard output");
}
