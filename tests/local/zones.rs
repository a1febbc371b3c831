//! Time zones: their names in MySQL and MariaDB, and those that a manifest sets.

use crate::harness::Local;
use crate::support::Folder;

/// A database behind a Service, with variables and arguments.
fn manifest(engine: &str, variables: &str, args: &str) -> String {
    let (prefix, port) = if engine == "postgres" { ("POSTGRES", 5432) } else { ("MARIADB_ROOT", 3306) };
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: db}}
spec: {{selector: {{app: db}}, ports: [{{port: {port}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: db, labels: {{app: db}}}}
spec:
  containers:
  - name: db
    image: {engine}
    args: [{args}]
    env: [{{name: {prefix}_PASSWORD, value: hush-hush}}, {variables}]
"
    )
}

#[test]
fn mariadb_knows_the_names_of_time_zones() {
    let local = Local::new();
    local.file(
        "m.yaml",
        &manifest("mariadb", "{name: TZ, value: America/New_York}", "--default-time-zone=Europe/Berlin"),
    );
    let (_, databases) = local.up(&["--with", "mariadb", "m.yaml", "--run-id", "r", "--strict"]);
    let [own, built_in] = databases.as_slice() else { panic!("{databases:?}") };
    let at = |time: &str, from: &str, to: &str| {
        built_in.value(&format!("SELECT CAST(CONVERT_TZ('{time}', '{from}', '{to}') AS CHAR)"))
    };
    for (time, from, to, expected) in [
        ("2024-01-01 12:00:00", "UTC", "Europe/Berlin", "2024-01-01 13:00:00"),
        ("2024-07-01 12:00:00", "UTC", "Europe/Berlin", "2024-07-01 14:00:00"),
        ("2024-07-01 12:00:00", "Asia/Kolkata", "+00:00", "2024-07-01 06:30:00"),
        // Before the rules of today, and as far as they go.
        ("1980-01-02 12:00:00", "UTC", "America/Argentina/Buenos_Aires", "1980-01-02 09:00:00"),
        ("2037-07-01 12:00:00", "UTC", "america/new_york", "2037-07-01 08:00:00"),
    ] {
        assert_eq!(at(time, from, to), expected, "{time} {from} {to}");
    }
    assert_eq!(built_in.value("SELECT CONCAT(@@time_zone, @@system_time_zone)"), "SYSTEMUTC");
    assert_eq!(own.value("SELECT @@time_zone"), "Europe/Berlin");
    assert!(["EST", "EDT"].contains(&&*own.value("SELECT @@system_time_zone")));
    local.call(&["restart", "db"]).ok();
    assert!(["EST", "EDT"].contains(&&*own.value("SELECT @@system_time_zone")));
    local.call(&["down"]).ok();
}

#[test]
fn a_manifest_that_wants_no_names_of_time_zones_has_none() {
    let local = Local::new();
    let berlin = "SELECT COUNT(CONVERT_TZ('2024-01-01 12:00', '+00:00', 'Europe/Berlin'))";
    for (value, names) in [("yes", "0"), ("", "1")] {
        let skips = format!("{{name: MYSQL_INITDB_SKIP_TZINFO, value: '{value}'}}");
        local.file("m.yaml", &manifest("mariadb", &skips, ""));
        let (_, databases) = local.up(&["m.yaml", "--strict"]);
        assert_eq!(databases[0].value(berlin), names, "{value:?}");
        local.call(&["down"]).ok();
    }
}

#[test]
fn postgresql_is_in_the_time_zone_of_its_container() {
    let local = Local::new();
    local.file("m.yaml", &manifest("postgres", "{name: TZ, value: Europe/Berlin}", ""));
    let (_, databases) = local.up(&["m.yaml", "--run-id", "r", "--strict"]);
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    let noon = "SELECT to_char(timestamptz '2024-01-01 12:00+00', 'HH24:MI')";
    assert_eq!(
        (database.value("SHOW timezone"), database.value(noon)),
        ("Europe/Berlin".into(), "13:00".into())
    );
    local.call(&["restart", "db"]).ok();
    assert_eq!(database.value(noon), "13:00");
    local.call(&["down"]).ok();
    // The server's own argument wins, as in a container.
    local.file(
        "m.yaml",
        &manifest("postgres", "{name: TZ, value: Europe/Berlin}", "-c, timezone=Asia/Kolkata"),
    );
    let (_, databases) = local.up(&["m.yaml"]);
    assert_eq!(databases[0].value(noon), "17:30");
    local.call(&["down"]).ok();
}

#[test]
fn a_time_zone_that_this_machine_does_not_have_is_told() {
    let local = Local::new();
    local.file("m.yaml", &manifest("postgres", "{name: TZ, value: Nowhere/Land}", ""));
    let said = "db: TZ=Nowhere/Land is no time zone of this machine and is left out: the server is at UTC";
    local.call(&["run", "m.yaml", "--", "true"]).ok().says(&format!("note: {said}"));
    local.call(&["run", "m.yaml", "--strict", "--", "true"]).fails(2).says(said);

    let local = Local::of(Folder::local().env("TZDIR", "/no/such/folder"));
    local.file("m.yaml", &manifest("mariadb", "{name: TZ, value: Europe/Berlin}", ""));
    local
        .call(&["run", "m.yaml", "--strict", "--", "true"])
        .fails(2)
        .says("db: time zones have no names here, as there are none in /no/such/folder: ")
        .says("db: TZ=Europe/Berlin is no time zone of this machine");
    local.call(&["run", "m.yaml", "--", "true"]).ok();
}
