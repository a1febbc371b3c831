//! Manifests of the user's own: set-up scripts, arguments, and what has no counterpart on this machine.

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;

use crate::harness::Local;
use crate::set_up::packed;

/// A Service, a Pod, a Secret and a ConfigMap with scripts, for one engine.
pub fn manifest(engine: &str, args: &str, scripts: &[(&str, &str)]) -> String {
    let (image, prefix, port) =
        if engine == "postgres" { ("postgres", "POSTGRES", 5432) } else { ("mariadb", "MARIADB", 3306) };
    let (password, database) =
        if engine == "postgres" { ("PASSWORD", "DB") } else { ("ROOT_PASSWORD", "DATABASE") };
    let files: String = scripts
        .iter()
        .map(|(name, text)| format!("  {name}: {}\n", serde_json::Value::from(*text)))
        .collect();
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: db-$(context.pipelineRun.uid)}}
spec: {{selector: {{db: $(context.pipelineRun.uid)}}, ports: [{{port: {port}}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: login-$(context.pipelineRun.uid)}}
stringData: {{password: 'hush-hush'}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: scripts-$(context.pipelineRun.uid)}}
data:
  readme.txt: no script
{files}---
apiVersion: v1
kind: Pod
metadata: {{name: db-$(context.pipelineRun.uid), labels: {{db: $(context.pipelineRun.uid)}}}}
spec:
  containers:
  - name: db
    image: {image}
    args: [{args}]
    env:
    - name: {prefix}_{password}
      valueFrom: {{secretKeyRef: {{name: login-$(context.pipelineRun.uid), key: password}}}}
    - {{name: {prefix}_{database}, value: shop}}
    - {{name: GREETING, value: good day}}
    volumeMounts: [{{name: scripts, mountPath: /docker-entrypoint-initdb.d}}]
  - {{name: cache, image: 'redis:8'}}
  volumes: [{{name: scripts, configMap: {{name: scripts-$(context.pipelineRun.uid)}}}}]
"
    )
}

#[test]
fn a_manifest_for_postgresql_with_scripts_and_arguments() {
    let local = Local::new();
    let scripts = [
        (
            "1.sql",
            "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1), (2); -- two\nCREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 7; $$;\n",
        ),
        // As the image's documentation writes it: with the variables' defaults.
        (
            "2.sh",
            "set -e\npsql -v ON_ERROR_STOP=1 --username \"$POSTGRES_USER\" --dbname \"$POSTGRES_DB\" <<-EOSQL\n\tCREATE ROLE docs LOGIN PASSWORD '$POSTGRES_PASSWORD';\n\tINSERT INTO a SELECT 10;\nEOSQL\n",
        ),
        ("3.sh", "psql -c \"CREATE TABLE greeting AS SELECT '$GREETING'::text AS said\"\n"),
    ];
    local.file(
        "m.yaml",
        &manifest("postgres", "-c, max_connections=77, '-p', '5433', --work_mem=5MB", &scripts)
            .replace("port: 5432", "port: 5433"),
    );
    let (up, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    let up = up.says("note: Pod/db-r: container cache (redis:8) is no database and is left out");
    let up = up.says("note: db: these arguments are for a container and are left out: -p 5433");
    up.says(
        "note: db: readme.txt is no set-up script (.sql, .sql.gz, .sql.xz, .sql.zst, .sh) and is left out",
    )
    .keeps("hush-hush");
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!((database.password.as_str(), database.database.as_deref()), ("hush-hush", Some("shop")));
    assert_eq!(database.value("SELECT sum(n) FROM a"), "13");
    assert_eq!(database.value("SELECT f()"), "7");
    assert_eq!(database.value("SELECT said FROM greeting"), "good day");
    database.as_user("docs", "hush-hush").assert_takes_logins();
    assert_eq!(database.value("SHOW max_connections"), "77");
    assert_eq!(database.value("SHOW work_mem"), "5MB");
    local.call(&["down"]).ok();
}

#[test]
fn a_manifest_for_mariadb_with_scripts_and_arguments() {
    let local = Local::new();
    let scripts = [
        (
            "1.sql",
            "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1), (2); -- two\nDELIMITER //\nCREATE FUNCTION f() RETURNS INT DETERMINISTIC BEGIN RETURN 7; END//\nDELIMITER ;\n",
        ),
        (
            "2.sh",
            "mariadb -uroot -p\"$MARIADB_ROOT_PASSWORD\" \"$MARIADB_DATABASE\" <<SQL\nINSERT INTO a SELECT 10;\nCREATE TABLE greeting AS SELECT '$GREETING' AS said;\nSQL\n",
        ),
    ];
    local.file(
        "m.yaml",
        &manifest("mariadb", "mariadbd, --max-connections=77, '--port=3306', --sql-mode, ANSI", &scripts),
    );
    let (up, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    up.says("container cache (redis:8) is no database").says("are left out: --port=3306").keeps("hush-hush");
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!(database.value("SELECT sum(n) FROM a"), "13");
    assert_eq!(database.value("SELECT f()"), "7");
    assert_eq!(database.value("SELECT said FROM greeting"), "good day");
    assert_eq!(database.value("SELECT @@max_connections"), "77");
    assert!(database.value("SELECT @@sql_mode").contains("ANSI_QUOTES"));
    local.call(&["down"]).ok();
}

#[test]
fn strict_refuses_what_would_differ_from_a_cluster() {
    let local = Local::new();
    local.file("m.yaml", &manifest("mariadb", "", &[]));
    let up = local.call(&["up", "m.yaml", "--run-id", "r", "--strict"]).fails(2);
    up.says("--strict: on this machine the run would differ: Pod/db-r: container cache (redis:8) is no database and is left out")
        .says("hint: leave out --strict to accept it, or run it in a cluster: --runtime kubernetes");
    local
        .call(&["run", "--with", "mysql", "--strict", "--", "true"])
        .fails(2)
        .says("mysql: there is no MySQL on this machine");
    local.call(&["run", "--with", "mariadb", "--strict", "--", "true"]).ok();
}

/// One line for each kind of difference, with all that it is about.
#[test]
fn each_kind_of_difference_is_one_note() {
    let local = Local::new();
    let two =
        ["one", "two"].map(|name| manifest("mariadb", "", &[]).replace("$(context.pipelineRun.uid)", name));
    local.file("m.yaml", &two.join("---\n"));
    let run = local.call(&["run", "m.yaml", "--", "true"]).ok();
    let notes: Vec<&str> = run.stderr.lines().filter(|line| line.contains("note: ")).collect();
    assert_eq!(notes.len(), 2, "{}", run.transcript());
    run.says("note: 2 containers are no databases and are left out: cache (redis:8) of Pod/db-one, cache (redis:8) of Pod/db-two")
        .says("note: db-one, db-two: readme.txt is no set-up script");
}

/// As the image's own set-up reads them: with a shell.
#[test]
fn arguments_of_initdb_are_those_of_the_manifest() {
    let local = Local::new();
    let with = |args: &str| {
        manifest("postgres", "", &[]).replace(
            "    - {name: GREETING",
            &format!("    - {{name: POSTGRES_INITDB_ARGS, value: {args}}}\n    - {{name: GREETING"),
        )
    };
    local.file(
        "m.yaml",
        &with(r#"'--data-checksums --lc-collate="C" --waldir=/var/lib/postgresql/wal -U somebody'"#),
    );
    let (up, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    up.says(
        "note: db: these arguments of initdb are for a container and are left out: --waldir=/var/lib/postgresql/wal -U somebody",
    );
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!(database.value("SHOW data_checksums"), "on");
    let collation = "SELECT datcollate || ' ' || (datctype <> 'C') FROM pg_database WHERE datname = 'shop'";
    assert_eq!(database.value(collation), "C true");
    local.call(&["down"]).ok();
    local.file("m.yaml", &with("--no-such-switch"));
    local
        .call(&["run", "m.yaml", "--", "true"])
        .fails(4)
        .says("initdb failed")
        .says("hint: POSTGRES_INITDB_ARGS of the manifest is handed to it: --no-such-switch");
    local.file("m.yaml", &with("\"--locale='C\""));
    local
        .call(&["run", "m.yaml", "--", "true"])
        .fails(2)
        .says("POSTGRES_INITDB_ARGS: a quote in it has no end");
}

/// As `kubectl create configmap --from-file` makes one of files that are no text.
#[test]
fn packed_scripts_of_a_manifest_run_in_their_order() {
    for engine in ["postgres", "mariadb"] {
        let local = Local::new();
        let packed: String = [
            ("2.sql.gz", "gzip", "INSERT INTO a VALUES (20);\n"),
            ("3.sql.xz", "xz", "INSERT INTO a VALUES (300);\n"),
            ("4.sql.zst", "zstd", "INSERT INTO a VALUES (4000);\n"),
        ]
        .map(|(name, program, text)| format!("  {name}: {}\n", STANDARD.encode(packed(program, text))))
        .concat();
        let text = manifest(engine, "", &[("1.sql", "CREATE TABLE a (n int);")])
            .replace("  readme.txt: no script\n", "")
            .replacen("kind: ConfigMap\n", &format!("kind: ConfigMap\nbinaryData:\n{packed}"), 1);
        local.file("m.yaml", &text);
        let (_, databases) = local.up(&["m.yaml", "--run-id", "r"]);
        assert_eq!(databases[0].value("SELECT sum(n) FROM a"), "4320", "{engine}");
        local.call(&["down"]).ok();
    }
}

/// The tag of an image that is not the engine's own says which server it is, too.
#[test]
fn the_version_of_another_image_is_served_or_refused() {
    let local = Local::new();
    for (image, asked) in [
        ("postgis/postgis:99-3.5", "PostgreSQL 99 is asked for (image postgis/postgis:99-3.5)"),
        ("pgvector/pgvector:0.8.0-pg99", "PostgreSQL 99 is asked for"),
        ("quay.io/sclorg/postgresql-19-c10s", "PostgreSQL 19 is asked for"),
    ] {
        local.file(
            "m.yaml",
            &manifest("postgres", "", &[]).replace("image: postgres", &format!("image: {image}")),
        );
        local.call(&["run", "m.yaml", "--", "true"]).fails(4).says(asked);
    }
    local.file(
        "m.yaml",
        &manifest("mariadb", "", &[])
            .replace("image: mariadb", "image: percona/percona-server:8.0")
            .replace("MARIADB_", "MYSQL_"),
    );
    local.call(&["run", "m.yaml", "--", "true"]).fails(4).says("MySQL 8.0 is asked for");
}

#[test]
fn bitnamis_images_run_scripts_as_the_tests_user() {
    let local = Local::new();
    let variables = |more: &str| {
        format!(
            "{{name: POSTGRESQL_DATABASE, value: shop}}\n    - {{name: POSTGRESQL_USERNAME, value: app}}\n    \
             - {{name: POSTGRESQL_POSTGRES_PASSWORD, value: other}}{more}"
        )
    };
    let script = [("1.sql", "CREATE TABLE t AS SELECT current_user AS who")];
    let text = manifest("postgres", "", &script)
        .replace("image: postgres", "image: bitnamilegacy/postgresql")
        .replace("name: POSTGRES_PASSWORD", "name: POSTGRESQL_PASSWORD");
    let with = |more: &str| text.replace("{name: POSTGRES_DB, value: shop}", &variables(more));
    local.file("m.yaml", &with(""));
    let (_, databases) = local.up(&["m.yaml"]);
    assert_eq!(databases[0].value("SELECT who FROM t"), "app");
    local.call(&["down"]).ok();
    local.file("m.yaml", &with("\n    - {name: POSTGRESQL_INITSCRIPTS_USERNAME, value: postgres}"));
    let (_, databases) = local.up(&["m.yaml"]);
    assert_eq!(databases[0].value("SELECT tableowner FROM pg_tables WHERE tablename = 't'"), "postgres");
    local.call(&["down"]).ok();
}

#[test]
fn red_hats_images_are_served_with_their_own_variables() {
    let local = Local::new();
    let text = manifest("postgres", "", &[])
        .replace("image: postgres", "image: quay.io/sclorg/postgresql-15-c9s")
        .replace("name: POSTGRES_PASSWORD", "name: POSTGRESQL_PASSWORD")
        .replace(
            "{name: POSTGRES_DB, value: shop}",
            "{name: POSTGRESQL_DATABASE, value: shop}\n    - {name: POSTGRESQL_USER, value: app}",
        );
    // Whatever version there is.
    local.file("m.yaml", &text.replace("postgresql-15-c9s", "postgresql"));
    let (_, databases) = local.up(&["m.yaml"]);
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!(
        (database.user.as_str(), database.value("SELECT current_database()").as_str()),
        ("app", "shop")
    );
    local.call(&["down"]).ok();
}

#[test]
fn a_set_up_script_that_fails_is_named_with_what_it_said() {
    for (engine, name, script, parts) in [
        (
            "postgres",
            "2.sql",
            "SELECT 1;\nSELECT no_such_column;\nSELECT 'never';\n",
            &["no_such_column", "does not exist"][..],
        ),
        (
            "mariadb",
            "2.sql",
            "SELECT 1;\nSELECT no_such_column;\n",
            &["ERROR 1054", "no_such_column", "line 2"],
        ),
        (
            "mariadb",
            "2.sh",
            "echo first\necho \"with $MARIADB_ROOT_PASSWORD\" >&2\nfalse\necho never\n",
            &["first", "with ***", "exit status: 1"],
        ),
        // What reads its standard input reads nothing, and not the rest of the script.
        ("mariadb", "2.sh", "cat\nexit 3\n", &["exit status: 3"]),
    ] {
        let local = Local::new();
        local.file("m.yaml", &manifest(engine, "", &[("1.sql", "SELECT 1;"), (name, script)]));
        let up = local
            .call(&["up", "m.yaml", "--run-id", "r"])
            .fails(4)
            .says(&format!("db: the set-up script {name}: "))
            .keeps("hush-hush")
            .keeps("never");
        for part in parts {
            assert!(up.stderr.contains(part), "{part:?} is not in\n{}", up.transcript());
        }
        assert!(!local.has("testing-databases.json"));
        local.assert_nothing_left();
    }
}

#[test]
fn a_set_up_script_that_hangs_is_given_up_on() {
    let local = Local::new();
    local.file("m.yaml", &manifest("mariadb", "", &[("1.sh", "echo started > /dev/null\nsleep 1000\n")]));
    local
        .call(&["up", "m.yaml", "--run-id", "r", "--timeout", "3s"])
        .fails(3)
        .says("db: the set-up script 1.sh: it still runs after 3s");
    local.assert_nothing_left();
}

#[test]
fn a_login_that_the_manifest_does_not_hold_is_asked_for() {
    let local = Local::new();
    let manifest = manifest("mariadb", "", &[])
        .replace("name: login-$(context.pipelineRun.uid), key", "name: elsewhere, key");
    local.file("m.yaml", &manifest);
    local
        .call(&["up", "m.yaml", "--run-id", "r"])
        .fails(2)
        .says("Secret elsewhere is not in the manifest")
        .says("hint: put it into the manifest");
}

/// What only a cluster does something with is no difference for the tests.
#[test]
fn what_is_for_a_cluster_alone_is_no_note() {
    let local = Local::new();
    local.file(
        "m.yaml",
        "apiVersion: v1
kind: Service
metadata: {name: db}
spec: {type: LoadBalancer, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: db}
spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}, annotations: {sidecar.istio.io/inject: 'true'}}
    spec:
      serviceAccountName: nobody
      nodeSelector: {disk: ssd}
      imagePullSecrets: [{name: registry}]
      securityContext: {runAsUser: 999, fsGroup: 999}
      containers:
      - name: db
        image: postgres
        imagePullPolicy: Always
        securityContext: {privileged: true}
        resources: {limits: {cpu: 1, memory: 1Gi}}
        readinessProbe: {exec: {command: [pg_isready]}}
        env: [{name: POSTGRES_PASSWORD, value: hush}, {name: PGDATA, value: /data/db}]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: db}}]
",
    );
    let run = local.call(&["run", "m.yaml", "--strict", "--", "true"]).ok();
    assert!(!run.stderr.contains("note: ") && !run.stderr.contains("warning: "), "{}", run.transcript());
}

/// Settings that are mounted, and what runs in a container, have no place on this machine.
#[test]
fn settings_and_hooks_of_a_container_are_told_of() {
    let local = Local::new();
    let hook = "lifecycle: {postStart: {exec: {command: [mysql, -e, SELECT 1]}}}";
    local.file(
        "m.yaml",
        &manifest("mariadb", "", &[]).replace("  readme.txt: no script\n", "").replace(
            "    volumeMounts: [",
            &format!("    {hook}\n    volumeMounts: [{{name: scripts, mountPath: /etc/mysql/conf.d}}, "),
        ),
    );
    local
        .call(&["run", "m.yaml", "--strict", "--", "true"])
        .fails(2)
        .says(
            "db: the server's settings in /etc/mysql/conf.d are left out; name them in the container's args",
        )
        .says("db: the container's postStart hook is not run");
}

#[test]
fn variables_in_variables_and_arguments_are_filled_in() {
    let local = Local::new();
    let text = manifest("postgres", "-c, 'application_name=$(GREETING) $$(X) $(NONE)'", &[])
        .replace("value: shop}", "value: '$(GREETING)_shop'}")
        .replace("    env:\n", "    env:\n    - {name: GREETING, value: hello}\n");
    local.file("m.yaml", &text);
    let (_, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!(database.value("SELECT current_database()"), "hello_shop");
    assert_eq!(database.value("SHOW application_name"), "good day $(X) $(NONE)");
    local.call(&["down"]).ok();
}

/// What is for the inside of a container is neither written nor run on this machine.
#[test]
fn arguments_with_paths_and_programs_touch_nothing_outside_the_run() {
    let local = Local::new();
    let outside = tempfile::tempdir_in("/var/tmp").expect("a folder");
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o777)).expect("for everybody");
    let at = |name: &str| outside.path().join(name).display().to_string();
    let args = [
        format!("--log-bin={}", at("bin")),
        format!("--log_bin_index={}", at("bin.index")),
        "--slow-query-log=1".to_owned(),
        format!("--loose-slow-query-log-file={}", at("slow")),
        "--general-log=1".to_owned(),
        format!("--general-log-f={}", at("general")),
        format!("--innodb-tmpdir={}", outside.path().display()),
    ];
    local.file("m.yaml", &manifest("mariadb", &args.join(", "), &[]));
    let (up, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    up.says(&format!("are left out: --log-bin={}", at("bin")));
    assert_eq!(databases[0].value("SELECT @@log_bin"), "1");
    assert!(databases[0].value("SELECT @@log_bin_basename").ends_with("/data/bin"));
    local.call(&["down"]).ok();
    let args = [
        "archive_mode=on".to_owned(),
        format!("archive_command=touch {}", at("archived")),
        format!("log_directory={}", outside.path().display()),
        format!("external_pid_file={}", at("pid")),
        "shared_preload_libraries=timescaledb".to_owned(),
    ];
    let args = args.map(|arg| format!("-c, '{arg}'")).join(", ");
    local.file("m.yaml", &manifest("postgres", &format!("{args}, '-k{}'", outside.path().display()), &[]));
    let (up, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    up.says("are left out: -c archive_mode=on").says("does not take these arguments");
    databases[0].value("SELECT pg_switch_wal()");
    local.call(&["down"]).ok();
    assert_eq!(std::fs::read_dir(outside.path()).expect("the folder").count(), 0);
}

#[test]
fn a_server_without_a_password_or_by_a_script_is_one_here_too() {
    let local = Local::new();
    let by_script = "    command: [/bin/bash]\n    args: [-c, exec docker-entrypoint.sh postgres -c max_connections=300]\n";
    let text = manifest("postgres", "", &[]).replace("    args: []\n", by_script);
    local.file("m.yaml", &text);
    let (up, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    up.says("a script of the container starts its server, and is left out, with -c max_connections=300");
    databases[0].assert_takes_logins();
    local.call(&["down"]).ok();
    let (before, after) = manifest("postgres", "", &[])
        .replace("image: postgres\n", "image: bitnami/postgresql\n")
        .split_once("    - name: POSTGRES_PASSWORD\n")
        .map(|(before, after)| (before.to_owned(), after.to_owned()))
        .expect("the password");
    let (_, after) = after.split_once('\n').expect("its source");
    local.file("m.yaml", &format!("{before}    - {{name: ALLOW_EMPTY_PASSWORD, value: 'yes'}}\n{after}"));
    let (_, databases) = local.up(&["m.yaml", "--run-id", "r"]);
    databases[0].assert_takes_logins();
    local.call(&["down"]).ok();
}
