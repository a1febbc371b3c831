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
fn an_empty_password_is_none_for_the_image() {
    let told = error(&postgres(&[("POSTGRES_PASSWORD", "")]));
    assert!(told.contains("no password is set; set POSTGRES_PASSWORD"), "{told}");
    let told = error(&mysql(&[("MYSQL_ROOT_PASSWORD", "")]));
    assert!(told.contains("no password is set; set MYSQL_ROOT_PASSWORD"), "{told}");
    let without = service("{port: 5432}") + &pod("postgres:17", "    env: [{name: POSTGRES_PASSWORD}]\n");
    assert!(error(&without).contains("no password is set"));
    let allowed = [("POSTGRES_PASSWORD", ""), ("POSTGRES_HOST_AUTH_METHOD", "trust")];
    assert_eq!(login(&one(&postgres(&allowed))), ("postgres", "", Some("postgres")));
}

#[test]
fn red_hats_postgres_has_three_variables_or_none() {
    let of = |variables: &[(&str, &str)]| {
        service("{port: 5432}") + &pod("sclorg/postgresql-15-c9s", &env(variables))
    };
    let three = [("POSTGRESQL_USER", "u"), ("POSTGRESQL_PASSWORD", "p"), ("POSTGRESQL_DATABASE", "d")];
    assert_eq!(login(&one(&of(&three))), ("u", "p", Some("d")));
    let admin = ("POSTGRESQL_ADMIN_PASSWORD", "a");
    assert_eq!(login(&one(&of(&[admin]))), ("postgres", "a", Some("postgres")));
    for (absent, variables) in [
        ("POSTGRESQL_PASSWORD and POSTGRESQL_DATABASE are not set", vec![three[0]]),
        ("POSTGRESQL_DATABASE is not set", three[..2].to_vec()),
        ("POSTGRESQL_PASSWORD is not set", vec![three[0], three[2], admin]),
    ] {
        let told = error(&of(&variables));
        assert!(told.contains(absent), "{told}");
    }
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
fn a_secret_is_read_as_the_api_server_reads_it() {
    let rest = "    env: [{name: POSTGRES_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: pw}}}]\n";
    let manifest = |data: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {data}\n---\n")
            + &service("{port: 5432}")
            + &pod("postgres:17", rest)
    };
    // As `base64` breaks long values.
    assert_eq!(one(&manifest("{pw: \"ZnJv\\nbS1k\\r\\nYXRh\\n\"}")).login.password.reveal(), "from-data");
    let told = error(&manifest("{other: cA==, pw: plain!}"));
    assert!(
        told.contains("Secret s is not shaped like one") && told.contains("that of pw is no base64"),
        "{told}"
    );
    assert!(!told.contains("plain!"));
    assert!(error(&manifest("{pw: AAAA}")).contains("the value of pw in Secret s is no text"));
}

#[test]
fn a_source_that_may_be_missing_gives_no_password_where_nobody_has_it() {
    let rest = "    envFrom: [{secretRef: {name: l, optional: true}}]\n";
    let manifest = service("{port: 5432}") + &pod("postgres:17", rest);
    assert_eq!(discovery(&manifest).unwrap().databases.len(), 1, "a cluster may have it");
    let mut nowhere = Data::default();
    nowhere.close();
    let found = discover(&parse("m.yaml", &manifest).unwrap(), &RunId::parse("run-1").unwrap(), &nowhere);
    assert!(format!("{:#}", found.unwrap_err()).contains("no password is set"));
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

#[test]
fn a_container_without_an_image_is_told_as_one() {
    let found = discovery(&(service("{port: 80}") + &pod("' '", ""))).unwrap();
    assert_eq!(found.others[0].image, "no image");
}

/// Each container: its login, or why it is no database.
fn seen(manifest: &str) -> Vec<String> {
    let Discovery { databases, others, .. } = discovery(manifest).unwrap();
    let is = databases.iter().map(|database| {
        let (user, password, _) = login(database);
        format!("{}: {} {user}:{password}", database.container, database.engine)
    });
    is.chain(others.iter().map(|other| format!("{}: {}", other.container, other.why))).collect()
}

fn hints(manifest: &str) -> String {
    crate::failure::hints_of(&discovery(manifest).expect_err("the manifest is refused")).join("\n")
}

/// The containers of a pod share one network, in which a port is one container's.
#[test]
fn what_stands_beside_a_server_is_no_second_one() {
    let env = env(&[("MYSQL_ROOT_PASSWORD", "p")]);
    let side = |image: &str, rest: &str| format!("  - name: side\n    image: {image}\n{env}{rest}");
    let server = service("{port: 3306}") + &pod("mariadb:10.11", &env);
    for (image, rest) in [
        ("prom/mysqld-exporter", ""),
        ("registry.example/app", "    ports: [{containerPort: 8080}]\n"),
        ("mariadb:10.11", "    command: [/scripts/backup.sh]\n"),
    ] {
        let found = seen(&(server.clone() + &side(image, rest)));
        assert_eq!((found.len(), found[0].as_str()), (2, "db: mariadb root:p"), "{found:?}");
    }
    assert!(
        seen(&(server + &side("registry.example/app", "")))[1]
            .contains("port 3306 is that of the container db")
    );
    let declared = format!("{env}    ports: [{{containerPort: 3306}}]\n");
    let own = service("{port: 3306}") + &pod("registry.example/db", &declared);
    let found = seen(&(own + &side("registry.example/app", "")));
    assert_eq!((found.len(), found[0].as_str()), (2, "db: mysql root:p"), "{found:?}");
    let neither =
        service("{port: 3306}") + &pod("registry.example/db", &env) + &side("registry.example/app", "");
    assert!(error(&neither).contains("containers db and side"), "{}", error(&neither));
    assert!(hints(&neither).contains("testbed/engine: side=none"), "{}", hints(&neither));
}

#[test]
fn a_headless_service_without_ports_makes_no_client_a_server() {
    let service = service("").replace("spec: {selector", "spec: {clusterIP: None, selector");
    let env = env(&[("POSTGRES_PASSWORD", "p")]);
    let found = |image: &str, port: u16| {
        let ports = format!("    ports: [{{containerPort: {port}}}]\n");
        discovery(&(service.clone() + &pod(image, &(env.clone() + &ports)))).unwrap().databases.len()
    };
    assert_eq!(found("quay.io/keycloak/keycloak:26", 8080), 0);
    assert_eq!(found("registry.example/our-db", 5432), 1);
    assert_eq!(found("postgres:17", 1), 1);
}

#[test]
fn only_the_word_that_names_the_port_has_to_be_known() {
    let manifest = |arg: &str| {
        let rest = format!(
            "    args: ['{arg}']\n    env:\n    - {{name: MYSQL_ROOT_PASSWORD, value: p}}\n    \
             - {{name: ID, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}\n"
        );
        service("{port: 3306}") + &pod("mysql:9.7", &rest)
    };
    assert_eq!(one(&manifest("--report-host=$(ID)")).server_port, 3306);
    assert!(error(&manifest("--port=$(ID)")).contains("a field of the pod"));
}

#[test]
fn a_replica_has_its_masters_logins_or_is_left_out() {
    let with = |pairs: &[(&str, &str)]| {
        let own = [("MYSQL_REPLICATION_MODE", "slave"), ("MYSQL_MASTER_HOST", "m")];
        service("{port: 3306}") + &pod("bitnami/mysql:8.0", &env(&[&own[..], pairs].concat()))
    };
    assert_eq!(seen(&with(&[("MYSQL_MASTER_ROOT_PASSWORD", "r")])), ["db: mysql root:r"]);
    let found = seen(&with(&[]));
    assert!(found[0].starts_with("db: it is a replica"), "{found:?}");
    for (image, program, port) in [
        ("quay.io/sclorg/mysql-80-c9s", "run-mysqld-slave", "{port: 3306}"),
        ("quay.io/sclorg/postgresql-15-c9s", "run-postgresql-slave", "{port: 5432}"),
    ] {
        let found = seen(&(service(port) + &pod(image, &format!("    args: [{program}]\n"))));
        assert!(found[0].starts_with("db: it is a replica"), "{found:?}");
    }
}

#[test]
fn a_replica_is_for_a_cluster_alone() {
    let pairs = [("POSTGRES_REPLICATION_MODE", "slave"), ("POSTGRES_PASSWORD", "p")];
    let found = discovery(&(service("{port: 5432}") + &pod("bitnami/postgresql:16", &env(&pairs)))).unwrap();
    assert_eq!(login(&found.databases[0]).1, "p");
    let found = found.without_replicas();
    assert!(found.databases.is_empty() && found.others[0].is_replica);
}

#[test]
fn a_line_end_in_a_password_is_cut_and_in_a_name_refused() {
    assert_eq!(one(&postgres(&[("POSTGRES_PASSWORD", "pw\n")])).login.password.reveal(), "pw");
    assert_eq!(one(&postgres(&[("POSTGRES_PASSWORD", "pw\r\nx")])).login.password.reveal(), "pw");
    assert_eq!(one(&mysql(&[("MYSQL_ROOT_PASSWORD", "pw\n")])).login.password.reveal(), "pw\n");
    let user = postgres(&[("POSTGRES_PASSWORD", "p"), ("POSTGRES_USER", "u\n")]);
    assert!(error(&user).contains("POSTGRES_USER ends with a line end"), "{}", error(&user));
    assert!(hints(&user).contains("echo -n"), "{}", hints(&user));
    let name = mysql(&[("MYSQL_ROOT_PASSWORD", "p"), ("MYSQL_DATABASE", "u\n")]);
    assert!(error(&name).contains("MYSQL_DATABASE ends with a line end"), "{}", error(&name));
}

#[test]
fn a_secret_of_another_namespace_is_another_one() {
    let secret = |namespace: &str, password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s{namespace}}}\nstringData: {{pw: {password}}}\n---\n"
        )
    };
    let rest = "    env: [{name: POSTGRES_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: pw}}}]\n";
    let pod = service("{port: 5432}") + &pod("postgres:17", rest);
    let password = |manifest: &str| one(manifest).login.password.reveal().to_owned();
    assert_eq!(password(&(secret("", "own") + &secret(", namespace: there", "other") + &pod)), "own");
    let named = pod.replace("name: db-run-1", "name: db-run-1, namespace: here");
    let secrets = secret(", namespace: here", "own") + &secret(", namespace: there", "other");
    assert_eq!(password(&(secrets + &named)), "own");
}

#[test]
fn mysqls_image_makes_no_user_without_a_password() {
    assert_eq!(
        login(&one(&mysql(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_USER", "u")]))),
        ("root", "r", None)
    );
    let mariadb = |pairs: &[(&str, &str)]| service("{port: 3306}") + &pod("mariadb:11.8", &env(pairs));
    let hash = ("MARIADB_ROOT_PASSWORD_HASH", "*54958E764CE10E50764C2EECBB71D01F08549980");
    let found = one(&mariadb(&[hash, ("MARIADB_USER", "u"), ("MARIADB_PASSWORD", "p")]));
    assert_eq!((login(&found), found.admin.is_none()), (("u", "p", None), true));
    assert!(error(&mariadb(&[hash])).contains("nobody can log in"));
}

#[test]
fn an_optional_secret_that_is_not_there_stops_nothing() {
    let rest = "    env:\n    - {name: POSTGRES_PASSWORD, value: p}\n    \
                - {name: POSTGRES_USER, valueFrom: {secretKeyRef: {name: shared, key: user, optional: true}}}\n";
    let found = discovery(&(service("{port: 5432}") + &pod("postgres:17", rest))).unwrap();
    assert!(found.missing.is_empty(), "{:?}", found.missing);
    assert_eq!(found.telling.len(), 1);
    assert_eq!(login(&found.databases[0]), ("postgres", "p", Some("postgres")));
    // Without a cluster it is known not to be there.
    let rest = "    env: [{name: POSTGRES_PASSWORD, valueFrom: {secretKeyRef: {name: shared, key: pw, optional: true}}}]\n";
    let objects = parse("m.yaml", &(service("{port: 5432}") + &pod("postgres:17", rest))).unwrap();
    let mut data = Data::default();
    let found = |data: &Data| discover(&objects, &RunId::parse("run-1").unwrap(), data);
    assert!(found(&data).is_ok());
    data.close();
    assert!(format!("{:#}", found(&data).unwrap_err()).contains("no password is set"));
}

#[test]
fn a_variable_that_leads_to_the_container_itself_makes_no_client() {
    let with = |name: &str, value: &str| {
        let pairs = [("POSTGRES_PASSWORD", "p"), (name, value)];
        seen(&(service("{port: 5432}") + &pod("registry.example/our-db", &env(&pairs))))
    };
    for (name, value) in [
        ("PGHOST", "/var/run/postgresql"),
        ("PGHOST", "localhost"),
        ("POSTGRES_HOST", "db-run-1"),
        ("DATABASE_URL", "postgres://u:p@127.0.0.1:5432/x"),
        ("DATABASE_URL", "postgres://u:p@db-run-1.here.svc/x"),
        ("DATABASE_URL", "postgres:///x?host=/run"),
    ] {
        assert_eq!(with(name, value), ["db: postgres postgres:p"], "{name}={value}");
    }
    assert_eq!(
        with("DATABASE_URL", "postgres://u@pg.example/x"),
        ["db: its variable DATABASE_URL leads to another server"]
    );
}

#[test]
fn the_ways_out_are_named() {
    let elsewhere =
        service("{port: 3306, targetPort: 3307}") + &pod("mysql:9.7", &env(&[("MYSQL_ROOT_PASSWORD", "p")]));
    assert!(hints(&elsewhere).contains("testbed/port"), "{}", hints(&elsewhere));
    assert!(hints(&postgres(&[])).contains("testbed/engine: none"), "{}", hints(&postgres(&[])));
}

#[test]
fn images_with_variables_of_their_own_are_read() {
    let found = |image: &str, pairs: &[(&str, &str)]| {
        let database = one(&(service("{port: 5432}") + &pod(image, &env(pairs))));
        let (user, password, name) = login(&database);
        format!("{user}:{password}/{}", name.unwrap_or_default())
    };
    assert_eq!(found("kartoza/postgis:16-3.4", &[]), "docker:docker/gis");
    assert_eq!(
        found(
            "kartoza/postgis:16-3.4",
            &[("POSTGRES_USER", "u"), ("POSTGRES_PASS", "p"), ("POSTGRES_DBNAME", "a,b")]
        ),
        "u:p/a"
    );
    assert_eq!(
        found("sameersbn/postgresql:15", &[("DB_USER", "u"), ("DB_PASS", "p"), ("DB_NAME", "a,b")]),
        "u:p/a"
    );
}
