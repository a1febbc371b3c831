//! Fresh databases of MariaDB and MySQL in a cluster, where no server can be put beside the run's: copies within it.

use crate::databases::{Db, manifest};
use crate::harness::Namespace;
use crate::support::pages::root;

#[test]
fn copies_of_mariadb_are_exact_and_those_of_a_killed_command_go() {
    let namespace = Namespace::new("fresh");
    let folder = &namespace.folder;
    folder.call(&["up", "--with", "mariadb", "--run-id", "r"]).ok();
    let around = "CREATE DATABASE elsewhere; CREATE TABLE elsewhere.far (id int PRIMARY KEY); \
                  INSERT INTO elsewhere.far VALUES (5); CREATE USER app@'%'";
    folder.call(&["exec", "--", "mariadb", "-e", around]).ok();
    let program = root().join("tests/kubernetes/fresh.py").display().to_string();
    let schema = root().join("tests/local/in_server/schema.sql").display().to_string();
    let pooled = |what: &[&str]| folder.call(&[&["exec", "--pool=2", "--"], what].concat());
    let same = "root has the same in testbed_pool_, True\n";
    assert_eq!(pooled(&["python3", &program, "end", &schema]).ok().stdout, same);
    let names = "SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'testbed%'";
    let names = ["mariadb", "-Ne", names];
    assert_eq!(folder.call(&[&["exec", "--"], &names[..]].concat()).ok().stdout, "0\n");
    assert_eq!(pooled(&["python3", &program, "kill", &schema]).stdout, same);
    let left = folder.call(&[&["exec", "--"], &names[..]].concat()).ok().stdout;
    assert!(left.trim().parse::<u32>().unwrap() > 1, "{left}");
    // The server knows of the end of a command once the way through the cluster has been closed.
    let mark = "SELECT count(IS_USED_LOCK(LEFT(SCHEMA_NAME, 29))) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'testbed%'";
    let script = format!("until test \"$(mariadb -Ne \"{mark}\")\" = 0; do sleep 0.1; done");
    folder.call(&["exec", "--", "sh", "-c", &script]).ok();
    assert_eq!(pooled(&names).ok().stdout, "0\n", "the next one has removed them");
    folder.call(&["down"]).ok();
}

#[test]
fn the_manifests_administrator_makes_the_copies_of_the_tests_user() {
    let namespace = Namespace::new("fresh-app");
    let folder = &namespace.folder;
    let program = root().join("tests/kubernetes/fresh.py").display().to_string();
    let app = Db::new("mariadb", "mariadb:11.8").app_user();
    folder.file("db.yaml", &manifest(&[app]));
    let run = folder.call(&["run", "db.yaml", "--pool=2", "--", "python3", &program, "end"]).ok();
    assert_eq!(run.stdout, "app has the same in testbed_pool_, False\n");
    // Nobody else may.
    folder.call(&["up", "db.yaml", "--run-id", "r"]).ok();
    let refused = folder.call(&["exec", "--pool=2", "--", "true"]);
    refused.fails(1).says("as app: Access denied").says("or let the user make them: GRANT ALL ON");
    folder.call(&["down"]).ok();
}

#[test]
fn copies_of_mysql_are_exact() {
    let namespace = Namespace::new("fresh-mysql");
    let [program, schema] = ["fresh.py", "fresh.mysql.sql"]
        .map(|name| root().join("tests/kubernetes").join(name).display().to_string());
    let command = ["run", "--with", "mysql", "--pool=2", "--", "python3", &program, "end", &schema];
    let run = namespace.folder.call(&command).ok();
    assert_eq!(run.stdout, "root has the same in testbed_pool_, True\n");
}
