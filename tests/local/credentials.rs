//! Logins as the manifest says them, however they are written.

use crate::harness::{Database, Local};

/// Everything that some quoting takes for its own.
const AWKWARD: &str = r#"a'b"c\d`e$(f)%g;h--#/*é🐘{{x}} \n\' z"#;

#[test]
fn a_superuser_by_another_name() {
    let local = Local::new();
    // initdb itself refuses quotes in it.
    let user = "Striv App-1";
    let (up, databases) = local.up(&[
        "--with",
        "postgres",
        "--run-id",
        "r",
        "--param",
        &format!("user={user}"),
        "--param",
        &format!("password={AWKWARD}"),
        "--param",
        "database=my \"shop\"; --",
    ]);
    up.keeps(AWKWARD);
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!((database.user.as_str(), database.password.as_str()), (user, AWKWARD));
    assert_eq!(database.value("SELECT current_user"), user);
    assert_eq!(database.value("SELECT current_database()"), "my \"shop\"; --");
    assert_eq!(database.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"), "t");
    database.as_user(user, "").refusal();
    database.as_user(user, &AWKWARD.replace('\\', "\\\\")).refusal();
    // As in the image, there is no other user.
    assert_eq!(database.query("SELECT rolname FROM pg_roles WHERE rolcanlogin").unwrap(), [user]);
    local.call(&["down"]).ok();
}

#[test]
fn passwords_are_hashed_as_often_as_a_project_says() {
    let local = Local::new();
    let project = "databases:\n  shop: {use: postgres, user: obrien, scram-iterations: 1}\n";
    local.file(
        "testbed.yaml",
        &project.replace('}', &format!(", password: {}}}", serde_json::json!(AWKWARD))),
    );
    let (_, databases) = local.up(&["--run-id", "r"]);
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    let kept = "SELECT DISTINCT left(rolpassword, 16) FROM pg_authid WHERE rolpassword IS NOT NULL";
    assert_eq!(database.query(kept).unwrap(), ["SCRAM-SHA-256$1:"]);
    database.as_user("obrien", "wrong").refusal();
    local.call(&["down"]).ok();
    for (value, said) in [
        ("0", "\"0\" is no number of iterations: 1 to 1000000"),
        ("many", "\"many\" is no number of iterations: 1 to 1000000"),
    ] {
        local.file(
            "testbed.yaml",
            &project.replace("scram-iterations: 1", &format!("scram-iterations: {value}")),
        );
        local.call(&["up"]).fails(2).says("testbed.yaml:2: ").says(said);
    }
    local.file("testbed.yaml", "databases:\n  shop: {use: mariadb, scram-iterations: 1}\n");
    local
        .call(&["up"])
        .fails(2)
        .says("testbed.yaml:2: ")
        .says("the logins of PostgreSQL, and this is mariadb");
    std::fs::remove_file(local.path().join("testbed.yaml")).unwrap();
    let both = ["--with", "postgres", "--with", "mariadb", "--param", "scram-iterations=1"];
    local.call(&[&["run"][..], &both, &["--", "true"]].concat()).ok();
    local.assert_nothing_left();
}

#[test]
fn an_application_user_beside_root() {
    let local = Local::new();
    local.file(
        "m.yaml",
        &format!(
            "{SERVER}{}",
            env(&[
                ("MARIADB_ROOT_PASSWORD", "root's own\\"),
                ("MARIADB_USER", "o'brien"),
                ("MARIADB_PASSWORD", AWKWARD),
                ("MARIADB_DATABASE", "my_`shop")
            ])
        ),
    );
    let (up, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    up.keeps(AWKWARD).keeps("root's own\\");
    let [tests] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!((tests.user.as_str(), tests.database.as_deref()), ("o'brien", Some("my_`shop")));
    assert_eq!(tests.value("SELECT DATABASE()"), "my_`shop");
    tests.query("CREATE TABLE t (n INT)").unwrap();
    // Rights in its own database alone: the underscore stands for itself.
    let root = tests.as_user("root", "root's own\\");
    assert_eq!(root.value("SELECT CURRENT_USER()"), "root@%");
    root.query("CREATE DATABASE `myx``shop`").unwrap();
    assert!(tests.to_database("myx`shop").refusal().contains("Access denied"));
    tests.as_user("o'brien", "wrong").refusal();
    tests.as_user("root", "").refusal();
    local.call(&["down"]).ok();
}

#[test]
fn no_password_and_no_database_where_the_manifest_says_so() {
    let local = Local::new();
    local.file("m.yaml", &format!("{SERVER}{}", env(&[("MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", "1")])));
    let (_, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    let [root] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!((root.password.as_str(), &root.database), ("", &None));
    root.assert_takes_logins();
    local.call(&["down"]).ok();
}

#[test]
fn a_random_root_password_leaves_the_application_user() {
    let local = Local::new();
    let variables = [
        ("MARIADB_RANDOM_ROOT_PASSWORD", "1"),
        ("MARIADB_USER", "app"),
        ("MARIADB_PASSWORD", "hush"),
        ("MARIADB_DATABASE", "shop"),
    ];
    local.file("m.yaml", &format!("{SERVER}{}", env(&variables)));
    let (_, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    let [app] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!(app.value("SELECT CURRENT_USER()"), "app@%");
    for password in ["", "hush"] {
        let root: Database = app.as_user("root", password);
        assert!(root.refusal().contains("Access denied"));
    }
    local.call(&["down"]).ok();
}

#[test]
fn postgresql_believes_whom_the_manifest_trusts() {
    let local = Local::new();
    let manifest = format!("{SERVER}{}", env(&[("POSTGRES_HOST_AUTH_METHOD", "trust")]));
    local.file(
        "m.yaml",
        &manifest.replace("port: 3306", "port: 5432").replace("image: mariadb", "image: postgres"),
    );
    let (_, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    databases[0].as_user("postgres", "anything").assert_takes_logins();
    local.call(&["down"]).ok();
}

/// A Service and a Pod whose container's variables follow.
const SERVER: &str = "\
apiVersion: v1
kind: Service
metadata: {name: db-r}
spec: {selector: {db: r}, ports: [{port: 3306}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-r, labels: {db: r}}
spec:
  containers:
  - name: db
    image: mariadb
    env:
";

fn env(variables: &[(&str, &str)]) -> String {
    // A JSON text is a YAML one; braces would be the template's.
    let value = |text: &str| serde_json::Value::from(text).to_string().replace("{{x}}", "{{ '{{x}}' }}");
    variables.iter().map(|(name, text)| format!("    - {{name: {name}, value: {}}}\n", value(text))).collect()
}
