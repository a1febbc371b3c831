//! Manifests in, databases out: one test a rule.

use super::*;
use crate::manifest::parse::parse;

fn discovery(manifest: &str) -> anyhow::Result<Discovery> {
    let objects = parse("m.yaml", manifest).unwrap();
    let mut data = Data::default();
    data.add_objects(&objects)?;
    discover(&objects, &RunId::parse("run-1").unwrap(), &data)
}

fn one(manifest: &str) -> Database {
    let mut databases = discovery(manifest).unwrap().databases;
    assert_eq!(databases.len(), 1);
    databases.remove(0)
}

fn error(manifest: &str) -> String {
    format!("{:#}", discovery(manifest).expect_err("the manifest is refused"))
}

fn service(port: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: db-run-1}}\nspec: {{selector: {{db: x}}, ports: [{port}]}}\n---\n"
    )
}

/// A pod with one container; `rest` continues the container's mapping.
fn pod(image: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: db-run-1, labels: {{db: x}}}}\nspec:\n  containers:\n  - name: db\n    image: {image}\n{rest}"
    )
}

fn env(pairs: &[(&str, &str)]) -> String {
    let lines: String =
        pairs.iter().map(|(name, value)| format!("    - {{name: {name}, value: {value:?}}}\n")).collect();
    format!("    env:\n{lines}")
}

fn mysql(pairs: &[(&str, &str)]) -> String {
    service("{port: 3306}") + &pod("mysql:9.7", &env(pairs))
}

fn postgres(pairs: &[(&str, &str)]) -> String {
    service("{port: 5432}") + &pod("postgres:17", &env(pairs))
}

fn login(database: &Database) -> (&str, &str, Option<&str>) {
    (&database.login.user, database.login.password.reveal(), database.login.database.as_deref())
}

/// A sidecar in its native form is a server where a Service leads to it, and else the pod's own affair, as it
/// is in a Job.
#[test]
fn a_native_sidecar_is_a_database_behind_a_service() {
    let sidecar = pod("python:3.11", "    command: [sleep, '1']\n")
        + "  initContainers:\n  - {name: side, image: 'mysql:9.7', restartPolicy: Always, env: [{name: MYSQL_ROOT_PASSWORD, value: r}]}\n";
    let found = one(&(service("{port: 3306}") + &sidecar));
    assert_eq!(
        (found.container.as_str(), found.host.as_str(), login(&found)),
        ("side", "db-run-1", ("root", "r", None))
    );
    let databases = |manifest: &str| discovery(manifest).unwrap().databases.len();
    assert_eq!(databases(&sidecar), 0);
    assert_eq!(databases(&(service("{port: 80}") + &sidecar)), 0);
    // One that ends before the others start is no server.
    assert_eq!(databases(&(service("{port: 3306}") + &sidecar.replace("restartPolicy: Always, ", ""))), 0);
    let (head, spec) = sidecar.split_once("spec:\n").unwrap();
    let spec: String = spec.lines().map(|line| format!("    {line}\n")).collect();
    let job = head.replace("v1\nkind: Pod", "batch/v1\nkind: Job")
        + "spec:\n  template:\n    metadata: {labels: {db: x}}\n    spec:\n"
        + &spec;
    assert_eq!(databases(&(service("{port: 3306}") + &job)), 0);
}

#[test]
fn mysql_root_is_the_tests_user_unless_another_is_made() {
    let database = one(&mysql(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_DATABASE", "d")]));
    assert_eq!(login(&database), ("root", "r", Some("d")));
    assert_eq!((database.name.as_str(), database.host.as_str(), database.port), ("db", "db-run-1", 3306));

    let database = one(&mysql(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_USER", "u"), ("MYSQL_PASSWORD", "p")]));
    assert_eq!(login(&database), ("u", "p", None));
    assert_eq!(database.admin.unwrap().password.reveal(), "r");
}

#[test]
fn mysql_random_root_needs_another_user() {
    let database = one(&mysql(&[
        ("MYSQL_RANDOM_ROOT_PASSWORD", "1"),
        ("MYSQL_ROOT_PASSWORD", "r"),
        ("MYSQL_USER", "u"),
        ("MYSQL_PASSWORD", "p"),
    ]));
    assert_eq!(login(&database), ("u", "p", None));
    assert!(database.admin.is_none());
    assert!(error(&mysql(&[("MYSQL_RANDOM_ROOT_PASSWORD", "1")])).contains("nobody can log in"));
    assert!(
        error(&mysql(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_ROOT_HOST", "localhost")]))
            .contains("nobody can log in")
    );
}

#[test]
fn missing_and_contradicting_variables_are_named_with_their_place() {
    let message = error(&mysql(&[("MYSQL_DATABASE", "d")]));
    assert!(
        message.starts_with(
            "m.yaml: document 2 (line 6): Pod db-run-1: the mysql database in container db (mysql:9.7): "
        ),
        "{message}"
    );
    assert!(message.contains("set MYSQL_ROOT_PASSWORD"), "{message}");
    assert!(error(&postgres(&[])).contains("set POSTGRES_PASSWORD"));
    assert!(
        error(&mysql(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_USER", "u")]))
            .contains("without MYSQL_PASSWORD")
    );
    assert!(
        error(&mysql(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_USER", "root"), ("MYSQL_PASSWORD", "p")]))
            .contains("may not be root")
    );
    assert!(
        error(&mysql(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_ROOT_PASSWORD_FILE", "/x")])).contains("both")
    );
}

#[test]
fn mariadb_prefers_its_own_names() {
    let variables = [("MYSQL_ROOT_PASSWORD", "a"), ("MARIADB_ROOT_PASSWORD", "b"), ("MYSQL_DATABASE", "d")];
    let database = one(&(service("{port: 3306}") + &pod("mariadb:11.8", &env(&variables))));
    assert_eq!((database.engine, login(&database)), (Engine::Mariadb, ("root", "b", Some("d"))));
}

#[test]
fn postgres_has_defaults() {
    assert_eq!(login(&one(&postgres(&[("POSTGRES_PASSWORD", "p")]))), ("postgres", "p", Some("postgres")));
    let database = one(&postgres(&[("POSTGRES_PASSWORD", "p"), ("POSTGRES_USER", "striv")]));
    assert_eq!(login(&database), ("striv", "p", Some("striv")));
    assert_eq!(
        login(&one(&postgres(&[("POSTGRES_HOST_AUTH_METHOD", "trust")]))),
        ("postgres", "", Some("postgres"))
    );
}

#[test]
fn bitnami_has_names_of_its_own() {
    let variables = [
        ("POSTGRESQL_PASSWORD", "p"),
        ("POSTGRESQL_USERNAME", "u"),
        ("POSTGRESQL_DATABASE", "d"),
        ("POSTGRESQL_POSTGRES_PASSWORD", "s"),
    ];
    let database = one(&(service("{port: 5432}") + &pod("bitnamilegacy/postgresql:16", &env(&variables))));
    assert_eq!(login(&database), ("u", "p", Some("d")));
    let admin = database.admin.unwrap();
    assert_eq!((admin.user.as_str(), admin.password.reveal()), ("postgres", "s"));
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {pw: from-secret}\ndata: {b: ZnJvbS1kYXRh}\n---\n\
                      apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {POSTGRES_DB: from-map}\n---\n";

#[test]
fn values_come_from_secrets_and_config_maps() {
    let rest = "    env:\n    - {name: POSTGRES_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: pw}}}\n    \
                - {name: POSTGRES_USER, valueFrom: {secretKeyRef: {name: s, key: b}}}\n    envFrom: [{configMapRef: {name: c}}]\n";
    let database = one(&(SECRET.to_owned() + &service("{port: 5432}") + &pod("postgres:17", rest)));
    assert_eq!(login(&database), ("from-data", "from-secret", Some("from-map")));
}

#[test]
fn file_forms_are_followed_into_volumes() {
    let rest = "    env: [{name: POSTGRES_PASSWORD_FILE, value: /run/secrets/db/password}]\n    \
                volumeMounts: [{name: v, mountPath: /run/secrets/db/}]\n  volumes: [{name: v, secret: {secretName: s, items: [{key: pw, path: password}]}}]\n";
    let database = one(&(SECRET.to_owned() + &service("{port: 5432}") + &pod("postgres:17", rest)));
    assert_eq!(database.login.password.reveal(), "from-secret");
    let nowhere = env(&[("POSTGRES_PASSWORD_FILE", "/etc/nothing")]);
    assert!(error(&(service("{port: 5432}") + &pod("postgres:17", &nowhere))).contains("/etc/nothing"));
}

#[test]
fn what_the_manifest_lacks_is_asked_of_the_cluster() {
    let rest = "    env: [{name: POSTGRES_PASSWORD, valueFrom: {secretKeyRef: {name: shared, key: pw}}}]\n";
    let manifest = service("{port: 5432}") + &pod("postgres:17", rest);
    let missing: Vec<_> =
        discovery(&manifest).unwrap().missing.into_iter().map(|reference| reference.name).collect();
    assert_eq!(missing, ["shared"]);

    let no_key = rest.replace("shared", "s");
    assert!(
        error(&(SECRET.replace("pw:", "other:") + &service("{port: 5432}") + &pod("postgres:17", &no_key)))
            .contains("Secret s has no key pw")
    );
}

#[test]
fn the_service_is_found_by_selector_and_target_port() {
    let ports = "    ports: [{name: db, containerPort: 5432}]\n";
    let manifest =
        |port: &str| service(port) + &pod("postgres:17", &(env(&[("POSTGRES_PASSWORD", "p")]) + ports));
    assert_eq!(one(&manifest("{port: 15432, targetPort: db}")).port, 15432);
    assert_eq!(one(&manifest("{port: 1, targetPort: 5432}")).port, 1);
    assert!(error(&manifest("{port: 3306}")).contains("none of its ports leads to port 5432"));
    let headless = manifest("{port: 9, targetPort: 5432}")
        .replace("spec: {selector", "spec: {clusterIP: None, selector");
    assert_eq!(one(&headless).port, 5432);
}

#[test]
fn the_servers_own_port_counts() {
    let args = "    args: [--port=3307]\n";
    let manifest = service("{port: 3306, targetPort: 3307}")
        + &pod("mysql:9.7", &(env(&[("MYSQL_ROOT_PASSWORD", "p")]) + args));
    assert_eq!(one(&manifest).server_port, 3307);
    let manifest = service("{port: 5433}")
        + &pod("postgres:17", &env(&[("POSTGRES_PASSWORD", "p"), ("PGPORT", "5433")]));
    assert_eq!(one(&manifest).server_port, 5433);
}

#[test]
fn a_service_without_pods_and_a_database_without_service_are_refused() {
    assert!(
        error(&service("{port: 1}"))
            .contains("Service db-run-1 selects no pod of the manifest (selector db=x)")
    );
    assert!(
        error(&pod("mysql:9.7", &env(&[("MYSQL_ROOT_PASSWORD", "p")]))).contains("no Service selects it")
    );
}

#[test]
fn annotations_win_over_images_and_variables_find_home_made_ones() {
    let annotated = |image: &str, value: &str| {
        mysql(&[("MYSQL_ROOT_PASSWORD", "p")]).replace("mysql:9.7", image).replace(
            "labels: {db: x}",
            &format!("labels: {{db: x}}, annotations: {{testbed/engine: {value:?}}}"),
        )
    };
    assert_eq!(one(&annotated("registry.example/our-db", "mariadb")).engine, Engine::Mariadb);
    assert_eq!(one(&annotated("registry.example/our-db", "db=mysql")).engine, Engine::Mysql);
    assert!(discovery(&annotated("mysql:9.7", "none")).unwrap().databases.is_empty());
    assert!(error(&annotated("mysql:9.7", "oracle")).contains("oracle"));
    let home_made = mysql(&[("MYSQL_ROOT_PASSWORD", "p")]).replace("mysql:9.7", "registry.example/our-db");
    assert_eq!(one(&home_made).engine, Engine::Mysql);
}

#[test]
fn a_client_with_such_variables_is_no_database() {
    let manifest = service("{port: 80}")
        + &pod("registry.example/app", &env(&[("POSTGRES_PASSWORD", "p"), ("POSTGRES_HOST", "db")]));
    assert!(discovery(&manifest).unwrap().databases.is_empty());
}

#[test]
fn pods_of_deployments_and_stateful_sets_count() {
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db-run-1}\nspec:\n  replicas: 1\n  template:\n    metadata: {labels: {db: x}}\n    \
                    spec: {containers: [{name: db, image: 'postgres:17', env: [{name: POSTGRES_PASSWORD, value: p}]}]}\n";
    let database = one(&(service("{port: 5432}") + template));
    assert_eq!(database.workload, "Deployment/db-run-1");
    let discovery = discovery(&(service("{port: 5432}") + template)).unwrap();
    assert_eq!(discovery.workloads[0].replicas, 1);
}

#[test]
fn a_wrong_shape_is_named_with_its_place() {
    let message = error("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: nonsense}\n");
    assert!(message.starts_with("m.yaml: document 1 (line 1): Pod a is not shaped like one: "), "{message}");
    let error = discovery(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {on: yes}}\nspec: {containers: []}\n",
    )
    .err()
    .unwrap();
    assert!(format!("{error:#}").contains("boolean `true`, expected a string"), "{error:#}");
    assert!(
        crate::failure::hints_of(&error).iter().any(|hint| hint.contains("quote what is meant as a text")),
        "{error:#}"
    );
}

#[test]
fn settle_and_connargs_are_read_from_annotations() {
    let annotations = "labels: {db: x}, annotations: {testbed/settle: 15s, testbed/connargs: '{\"create_database\": true}'}";
    let manifest = postgres(&[("POSTGRES_PASSWORD", "p")]).replace("labels: {db: x}", annotations);
    let database = one(&manifest);
    assert_eq!(database.settle, Some(Settling::For(std::time::Duration::from_secs(15))));
    assert_eq!(database.connargs["create_database"], true);
    assert!(error(&manifest.replace("15s", "soon")).contains("testbed/settle"));
}

#[test]
fn a_password_does_not_show_in_debug_output() {
    let database = one(&postgres(&[("POSTGRES_PASSWORD", "hush-hush")]));
    assert!(!format!("{database:?}").contains("hush"));
}

#[test]
fn a_short_run_id_is_taken_out_of_a_name_only_where_it_is_meant() {
    for (host, id, name) in [
        ("mysql-2b5b", "2b5b", "mysql"),
        ("mariadb-r", "r", "mariadb"),
        ("r-orders", "r", "orders"),
        ("db-db", "db", "db"),
        ("a-run-1-b", "run-1", "a-b"),
        ("mysql2b5b", "2b5b", "mysql"),
        ("2b5b", "2b5b", "2b5b"),
        ("postgres", "x", "postgres"),
    ] {
        assert_eq!(super::short_name(host, &RunId::parse(id).unwrap()), name, "{host} {id}");
    }
}

#[test]
fn names_that_no_server_takes_are_refused() {
    let with = |image: &str, variables: &[(&str, &str)]| {
        let variables: Vec<String> =
            variables.iter().map(|(name, value)| format!("{{name: {name}, value: {value:?}}}")).collect();
        error(
            &(service("{port: 5432}, {name: m, port: 3306}")
                + &pod(image, &format!("    env: [{}]\n", variables.join(", ")))),
        )
    };
    let long = "x".repeat(65);
    let refused = with("mariadb:11.8", &[("MARIADB_ROOT_PASSWORD", "p"), ("MARIADB_DATABASE", &long)]);
    assert!(
        refused.contains("the name of the database has 65 characters, and mariadb takes at most 64"),
        "{refused}"
    );
    let refused = with(
        "mysql:9.7",
        &[("MYSQL_ROOT_PASSWORD", "p"), ("MYSQL_USER", &long[..33]), ("MYSQL_PASSWORD", "p")],
    );
    assert!(
        refused.contains("the name of the user has 33 characters, and mysql takes at most 32"),
        "{refused}"
    );
    // Bytes, not characters.
    let refused = with("postgres:17", &[("POSTGRES_PASSWORD", "p"), ("POSTGRES_DB", &"ä".repeat(32))]);
    assert!(
        refused.contains("the name of the database has 64 bytes, and postgres takes at most 63"),
        "{refused}"
    );
    for user in ["a'b", "a\"b", "a\\b"] {
        let refused = with("postgres:17", &[("POSTGRES_PASSWORD", "p"), ("POSTGRES_USER", user)]);
        assert!(refused.contains("has a quote or a backslash"), "{refused}");
    }
}
