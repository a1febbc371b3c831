//! `testbed render`, `--help` and completions.

use serde_json::{Value, json};
use testbed::manifest::restricted;

use crate::support::Folder;

/// The text with the run's end, which is another one each time, taken out.
fn timeless(text: &str) -> String {
    let line = |line: &str| match line.split_once("testbed/expires: ") {
        Some((indent, _)) => format!("{indent}testbed/expires: (in two hours)\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_manifest_is_printed_with_the_runs_labels() {
    let folder = Folder::new();
    let manifest = include_str!("../kubernetes/manifests/striv.yaml");
    folder.file("striv.yaml", manifest);
    let rendered = folder.call(&["render", "striv.yaml", "--run-id", "run-1"]).ok();
    assert!(rendered.stderr.is_empty(), "{}", rendered.transcript());
    insta::assert_snapshot!("striv", timeless(&rendered.stdout));
}

#[test]
fn built_in_databases_are_printed() {
    for engine in ["mysql", "mariadb", "postgres"] {
        let with = format!("{engine}=orders");
        let args = [
            "render",
            "--with",
            &with,
            "--run-id",
            "run-1",
            "--param",
            "password=fixed",
            "--param",
            "user=app",
        ];
        let rendered = Folder::new().call(&args).ok();
        insta::assert_snapshot!(format!("with-{engine}"), timeless(&rendered.stdout));
    }
}

#[test]
fn a_rendered_manifest_can_be_rendered_again() {
    let folder = Folder::new();
    let first = folder.call(&["render", "--with", "postgres", "--run-id", "run-1"]).ok();
    let second =
        folder.call_with_input(&["render", "-", "--run-id", "run-1", "-o", "json"], &first.stdout).ok();
    let list: serde_json::Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
}

#[test]
fn a_template_is_the_start_of_a_manifest_of_ones_own() {
    let folder = Folder::new();
    let template = folder
        .call(&[
            "render",
            "--template",
            "--with",
            "postgres=orders",
            "--with",
            "mysql",
            "--param",
            "user=app",
        ])
        .ok();
    insta::assert_snapshot!("template", template.stdout);
    folder.file("databases.yaml", &template.stdout);
    let rendered = folder.call(&["render", "databases.yaml", "--run-id", "run-1"]).ok();
    assert!(rendered.stderr.is_empty(), "{}", rendered.transcript());
    assert_eq!(rendered.stdout.matches("name: orders-run-1").count(), 4);
    folder
        .call(&["render", "--template", "databases.yaml"])
        .fails(2)
        .says("--template prints built-in databases");
}

#[test]
fn two_passwords_are_never_the_same() {
    let folder = Folder::new();
    let render = || folder.call(&["render", "--with", "postgres", "--run-id", "run-1"]).ok().stdout;
    let password =
        |text: &str| text.lines().find(|line| line.trim().starts_with("password:")).unwrap().to_owned();
    assert_ne!(password(&render()), password(&render()));
}

#[test]
fn a_folder_of_manifests_is_read_in_order_of_names() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("manifests")).unwrap();
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}-run-1}}\n");
    folder.file("manifests/b.yml", &map("b"));
    folder.file("manifests/a.yaml", &map("a"));
    folder.file("manifests/notes.txt", "not yaml: [");
    let rendered = folder.call(&["render", "-f", "manifests", "--run-id", "run-1"]).ok();
    let names: Vec<_> = rendered.stdout.lines().filter(|line| line.starts_with("  name:")).collect();
    assert_eq!(names, ["  name: a-run-1", "  name: b-run-1"]);
}

#[test]
fn names_without_the_run_id_are_warned_about() {
    let folder = Folder::new();
    folder.file("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\n");
    folder
        .call(&["render", "m.yaml", "--run-id", "run-1"])
        .ok()
        .says("warning: m.yaml: document 1 (line 1): the name of ConfigMap shared");
}

#[test]
fn misspelt_parameters_of_built_in_databases_are_warned_about() {
    Folder::new()
        .call(&["render", "--with", "mysql", "--param", "memry=1Gi"])
        .ok()
        .says("warning: no built-in database takes the parameter memry; did you mean memory?");
}

#[test]
fn every_command_has_help_with_examples() {
    for command in ["up", "run", "down", "render", "status", "gc", "init", "completions"] {
        let help = Folder::new().call(&[command, "--help"]).ok();
        assert!(help.stdout.contains("Examples:"), "{}", help.transcript());
    }
    for command in ["acquire", "release", "run", "show"] {
        let help = Folder::new().call(&["lock", command, "--help"]).ok();
        assert!(help.stdout.contains("Examples:"), "{}", help.transcript());
    }
    assert!(Folder::new().call(&["--help"]).ok().stdout.contains("Exit codes:"));
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(Folder::new().call(&["completions", shell]).ok().stdout.contains("testbed"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new();
    let script = format!("set -o pipefail; {} completions bash | true", crate::support::binary());
    for _ in 0..5 {
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn every_setting_can_come_from_the_environment() {
    let folder = Folder::new()
        .env("TESTBED_WITH", "postgres,mysql=orders")
        .env("TESTBED_PARAM", "memory=1Gi\norders.database=a,b")
        .env("TESTBED_RUN_ID", "1234567890")
        .env("TESTBED_NAMESPACE", "")
        .env("TESTBED_QUIET", "1")
        .env("TESTBED_VERBOSE", "");
    let rendered = folder.call(&["render"]).ok();
    assert_eq!(rendered.stdout.matches("memory: 1Gi").count(), 2);
    assert!(
        rendered.stdout.contains("value: a,b") && rendered.stdout.contains("name: orders-1234567890"),
        "{}",
        rendered.transcript()
    );
    assert!(rendered.stdout.contains("test-dependencies: \"1234567890\""), "{}", rendered.transcript());
}

/// The objects of one kind that a call prints.
fn objects(folder: &Folder, args: &[&str], kind: &str) -> Vec<Value> {
    let rendered = folder
        .call(&[&["render", "--run-id", "run-1", "--lifetime", "none", "-o", "json"], args].concat())
        .ok();
    let list: Value = serde_json::from_str(&rendered.stdout).unwrap();
    list["items"].as_array().unwrap().iter().filter(|object| object["kind"] == kind).cloned().collect()
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

#[test]
fn images_come_from_the_mirror() {
    let folder = Folder::new();
    let databases = [
        "--with",
        "mysql",
        "--with",
        "postgres=pg",
        "--param",
        "pg.image=ghcr.io/x/postgres:17@sha256:00",
        "--param",
        "password=p",
    ];
    let pods = |folder: &Folder, args: &[&str]| objects(folder, &[&databases, args].concat(), "Pod");
    let expected = ["r.example/m/library/mysql:9.7", "r.example/x/postgres:17@sha256:00"];
    let flags = pods(&folder, &["--image-prefix", "r.example/m", "--image-prefix", "ghcr.io/x=r.example/x/"]);
    assert_eq!([image(&flags[0]), image(&flags[1])], expected);
    assert_eq!(flags[0]["metadata"]["annotations"]["testbed/images"], "mysql=mysql:9.7");

    let variable = Folder::new().env("TESTBED_IMAGE_PREFIX", "r.example/m,ghcr.io/x=r.example/x");
    assert_eq!(pods(&variable, &[]), flags, "the same objects, their hashes included");
    let file = Folder::new();
    file.file("testbed.yaml", "image-prefix: r.example/m,ghcr.io/x=r.example/x\n");
    assert_eq!(pods(&file, &[]), flags);
    assert_eq!(
        image(&pods(&file, &["--image-prefix", "other.example"])[0]),
        "other.example/library/mysql:9.7"
    );

    let hash = |pods: &[Value]| pods[0]["metadata"]["annotations"]["testbed/content-hash"].clone();
    assert_ne!(hash(&flags), hash(&pods(&folder, &["--image-prefix", "other.example"])));
    // What was printed with a prefix can be made with it.
    file.file(
        "m.json",
        &file.call(&[&["render", "--run-id", "run-1", "-o", "json"][..], &databases].concat()).ok().stdout,
    );
    let again = objects(&file, &["m.json"], "Pod");
    assert_eq!([image(&again[0]), image(&again[1])], expected);
}

/// The mirror's path tells neither the engine nor whose variables the image reads.
#[test]
fn databases_are_found_behind_a_mirror() {
    let folder = Folder::new();
    let database = |name: &str, image: &str, env: &str, port: u16| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}-run-1}}\nspec: {{selector: {{db: {name}}}, ports: [{{port: {port}}}]}}\n\
             ---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-run-1, labels: {{db: {name}}}}}\n\
             spec: {{containers: [{{name: db, image: '{image}', env: [{{name: {env}, value: x}}]}}]}}\n"
        )
    };
    let manifest = database("one", "bitnami/postgresql:16", "POSTGRESQL_PASSWORD", 5432)
        + &database("two", "mysql:9.7", "MYSQL_ROOT_PASSWORD", 3306)
        + &database("three", "registry.example/mirror/mysql:8.4", "MYSQL_ROOT_PASSWORD", 3306);
    folder.file("m.yaml", &manifest);
    let args = [
        "m.yaml",
        "--image-prefix",
        "docker.io/bitnami=r.example/m,docker.io/library/mysql=r.example/m/five,r.example/all",
    ];
    let pods = objects(&folder, &args, "Pod");
    let images: Vec<&str> = pods.iter().map(image).collect();
    assert_eq!(
        images,
        [
            "r.example/m/postgresql:16",
            "r.example/m/five:9.7",
            "r.example/all/registry.example/mirror/mysql:8.4"
        ]
    );
    // A pod with a database stays out of the mesh: that they do says that they were found.
    assert!(
        pods.iter().all(|pod| pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"),
        "{pods:?}"
    );
}

#[test]
fn a_prefix_that_is_none_names_the_flag() {
    let folder = Folder::new();
    let render =
        |prefix: &str| folder.call(&["render", "--with", "mysql", "--image-prefix", prefix]).fails(2);
    render("https://r.example/m")
        .says("'--image-prefix <[FROM=]PREFIX>': the names of images have no scheme");
    render("r.example/M").says("--image-prefix").says("lower-case letters");
    render("r.example/a b").says("--image-prefix");
    render("mirror").says("--image-prefix").says("\"mirror\" is no registry's name");
    render("a.example,b.example")
        .says("--image-prefix names two places for all other images: a.example and b.example");
    folder.file(
        "m.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a-run-1}\nspec: {containers: [{name: a, image: 'r.example:5000/x'}]}\n",
    );
    folder
        .call(&["render", "m.yaml", "--run-id", "run-1", "--image-prefix", "a.example"])
        .fails(2)
        .says("m.yaml: document 1 (line 1): Pod a-run-1: the image r.example:5000/x: a registry's port cannot stand behind")
        .says("hint: say where this registry's images are: --image-prefix r.example:5000=PREFIX");
}

/// Every field that Pod Security's level "restricted" asks for, in all three databases.
#[test]
fn a_profile_makes_pods_that_are_fit_for_restricted_namespaces() {
    let folder = Folder::new();
    for (profile, tag, user) in [
        ("restricted", "", json!(999)),
        ("restricted", ":17-alpine", json!(70)),
        ("openshift", "", Value::Null),
    ] {
        for engine in ["postgres", "mysql", "mariadb"] {
            let user = if engine == "postgres" || user.is_null() { &user } else { &json!(999) };
            let (with, profile) = (format!("{engine}{tag}"), format!("profile={profile}"));
            let pods = objects(&folder, &["--with", &with, "--param", &profile], "Pod");
            let spec = &pods[0]["spec"];
            let pod = &spec["securityContext"];
            assert_eq!(pod["runAsNonRoot"], true);
            assert_eq!(pod["seccompProfile"], json!({"type": "RuntimeDefault"}));
            assert_eq!([&pod["runAsUser"], &pod["runAsGroup"], &pod["fsGroup"]], [user; 3], "{with}");
            let containers = spec["containers"].as_array().unwrap();
            assert_eq!((containers.len(), &spec["initContainers"]), (1, &Value::Null));
            let expected = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
            assert_eq!(containers[0]["securityContext"], expected);
            let kinds = spec["volumes"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|volume| volume.as_object().unwrap().keys());
            assert!(kinds.into_iter().all(|key| ["name", "emptyDir"].contains(&key.as_str())));
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert_eq!(spec[field], Value::Null);
            }
            let typed = serde_json::from_value(spec.clone()).unwrap();
            for minor in [None, Some(20), Some(23), Some(30)] {
                assert_eq!(restricted::violations(&typed, minor), [], "doctor and `up` say the same");
            }
        }
    }
    for engine in ["postgres", "mysql", "mariadb"] {
        let pods = objects(&folder, &["--with", engine], "Pod");
        assert_eq!(
            (&pods[0]["spec"]["securityContext"], &pods[0]["spec"]["containers"][0]["securityContext"]),
            (&Value::Null, &Value::Null)
        );
    }
}

#[test]
fn what_is_said_about_the_cluster_is_written_down() {
    let folder = Folder::new();
    let params = [
        "pull-secret=one two",
        "node-selector=disktype=ssd example.com/pool=true",
        "tolerations=ci dedicated=tests:NoSchedule",
        "runtime-class=gvisor",
        "cpu-limit=1.5",
        "memory-limit=200Mi",
        "ip-family=dual",
        "mysql.ip-family=ipv6",
        "mysql.tolerations=",
        "mysql.memory=100Mi",
    ];
    let mut args = vec!["--with", "postgres", "--with", "mysql"];
    args.extend(params.iter().flat_map(|param| ["--param", param]));
    let pods = objects(&folder, &args, "Pod");
    let spec = &pods[0]["spec"];
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "one"}, {"name": "two"}]));
    assert_eq!(spec["nodeSelector"], json!({"disktype": "ssd", "example.com/pool": "true"}));
    let tolerations = json!([{"key": "ci", "operator": "Exists"}, {"key": "dedicated", "operator": "Equal", "value": "tests", "effect": "NoSchedule"}]);
    assert_eq!(spec["tolerations"], tolerations);
    assert_eq!(pods[1]["spec"]["tolerations"], Value::Null, "an empty one takes the common one back");
    assert_eq!(spec["runtimeClassName"], "gvisor");
    let limits = json!({"cpu": "1.5", "memory": "200Mi"});
    let resources = |index: usize| &pods[index]["spec"]["containers"][0]["resources"];
    assert_eq!(*resources(0), json!({"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": limits}));
    assert_eq!(*resources(1), json!({"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": limits}));
    let services = objects(&folder, &args, "Service");
    let families =
        |index: usize| (&services[index]["spec"]["ipFamilyPolicy"], &services[index]["spec"]["ipFamilies"]);
    assert_eq!(families(0), (&json!("PreferDualStack"), &Value::Null));
    assert_eq!(families(1), (&json!("SingleStack"), &json!(["IPv6"])));
    let plain = objects(&folder, &["--with", "postgres"], "Service");
    assert_eq!(
        (&plain[0]["spec"]["ipFamilyPolicy"], &plain[0]["spec"]["ipFamilies"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_template_keeps_what_is_said_about_the_cluster() {
    let folder = Folder::new();
    let args = [
        "--with",
        "mysql",
        "--param",
        "profile=restricted",
        "--param",
        "pull-secret=one",
        "--param",
        "mysql.cpu-limit=2",
    ];
    let template =
        folder.call(&[&["render", "--template", "--image-prefix", "r.example"][..], &args].concat()).ok();
    let template = template.says("the images keep their names").keeps("r.example");
    folder.file("m.yaml", &template.stdout);
    let spec = |args: &[&str]| objects(&folder, args, "Pod")[0]["spec"].clone();
    assert_eq!(spec(&["m.yaml"]), spec(&args));
}

#[test]
fn a_wrong_value_is_one_error_that_names_the_parameter() {
    let folder = Folder::new();
    for (param, message) in [
        ("profile=root", "the parameter profile: \"root\" is no profile; known are restricted, openshift"),
        (
            "mysql.tolerations=ci:Never",
            "the parameter mysql.tolerations: \"ci:Never\": \"Never\" is no effect of a taint",
        ),
        ("orders.cpu-limit=two", "the parameter orders.cpu-limit: \"two\" is no quantity"),
        (
            "memory-limit=1Mi\norders.memory=2Mi",
            "the parameter memory asks for more than the parameter memory-limit allows",
        ),
    ] {
        let folder = Folder::new().env("TESTBED_PARAM", param);
        for command in ["render", "up"] {
            folder
                .call(&[command, "--with", "mysql=orders"])
                .fails(2)
                .says(&format!("error: --with orders: {message}"));
        }
    }
    folder
        .call(&["render", "--with", "mysql", "--param", "pull-secrets=a"])
        .ok()
        .says("takes the parameter pull-secrets");
}

#[test]
fn a_server_with_tls_has_its_certificate_in_the_secret() {
    let render = |engine: &str, params: &[&str]| -> Vec<Value> {
        let params = params.iter().flat_map(|param| ["--param", param]);
        let args: Vec<&str> =
            ["render", "--with", engine, "--run-id", "r", "-o", "json"].into_iter().chain(params).collect();
        let text = Folder::new().call(&args).ok().stdout;
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    for (engine, word, group) in [
        ("postgres", "--hba_file=/etc/testbed-tls/pg_hba.conf", 999),
        ("postgres:17-alpine", "--ssl=on", 70),
        ("mysql", "--loose-require-secure-transport=ON", 999),
        ("mariadb", "--ssl-key=/etc/testbed-tls/tls.key", 999),
    ] {
        let objects = render(engine, &["tls=true"]);
        let [secret, _, pod] = objects.as_slice() else { panic!("{objects:#?}") };
        for key in ["ca.crt", "tls.crt", "tls.key"] {
            assert!(secret["stringData"][key].as_str().unwrap().starts_with("-----BEGIN "), "{secret:#}");
        }
        assert_eq!(pod["metadata"]["annotations"]["testbed/tls"], "/etc/testbed-tls");
        assert_eq!(pod["spec"]["securityContext"], json!({"fsGroup": group}));
        assert!(pod["spec"]["containers"][0]["args"].as_array().unwrap().contains(&json!(word)), "{pod:#}");
        // Nothing of it without.
        let plain = render(engine, &["tls=false"]);
        assert!(!format!("{plain:?}").contains("tls"), "{plain:#?}");
    }
    // Two plans are alike but for what is made up for each.
    let hash = |objects: Vec<Value>| objects[0]["metadata"]["annotations"]["testbed/content-hash"].clone();
    assert_eq!(hash(render("mysql", &["tls=true"])), hash(render("mysql", &["tls=true"])));
}

#[test]
fn what_is_in_a_server_is_made_by_scripts_that_the_image_runs() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("seeds")).unwrap();
    folder.file("schema.sql", "CREATE TABLE a (n int);\n");
    std::fs::write(folder.path().join("seeds/1.sql.gz"), b"\x1f\x8b\xff").unwrap();
    folder.file("seeds/2.sh", "psql -c 'SELECT 1'\n");
    folder.file(
        "testbed.yaml",
        "databases:
  orders:
    use: postgres:17@5433
    password: fixed
    init: [schema.sql, seeds]
    users: [bob]
    extensions: [hstore]
    databases: [{name: audit, owner: alice}, plain]
    args: [-c, application_name=a b]
",
    );
    let rendered = folder.call(&["render", "--run-id", "run-1"]).ok();
    insta::assert_snapshot!("set-up", timeless(&rendered.stdout));
    for engine in ["mysql", "mariadb"] {
        let param = ["--param", "init=schema.sql", "--param", "databases=a"];
        let pods = objects(&folder, &[&["--with", engine], &param[..]].concat(), "Pod");
        let mounts = &pods[0]["spec"]["containers"][0]["volumeMounts"];
        assert!(
            mounts
                .as_array()
                .unwrap()
                .contains(&json!({"name": "scripts", "mountPath": "/docker-entrypoint-initdb.d"}))
        );
        let volumes = pods[0]["spec"]["volumes"].as_array().unwrap();
        let sources =
            &volumes.iter().find(|volume| volume["name"] == "scripts").unwrap()["projected"]["sources"];
        assert_eq!(sources.as_array().unwrap().len(), 2, "{sources}");
        assert_eq!(pods[0]["metadata"]["annotations"]["testbed/databases"], r#"[{"name":"a"}]"#);
    }
    folder
        .call(&["render", "--template"])
        .fails(2)
        .says("orders has set-up scripts")
        .says("hint: leave out init");
    let plain = [
        "render",
        "--template",
        "--settings",
        "none",
        "--with",
        "mysql",
        "--param",
        "databases=a",
        "--param",
        "users=bob",
    ];
    let template = folder.call(&plain).ok().stdout;
    assert!(template.contains("BY '{{ generated_password }}'"), "{template}");
}

#[test]
fn what_no_config_map_takes_is_refused() {
    let folder = Folder::new();
    folder.file("large.sql", &"-".repeat(1_100_000));
    let args = ["--with", "postgres=orders", "--param", "init=large.sql"];
    let large = folder.call(&[&["render"], &args[..]].concat()).fails(2);
    large
        .says("error: --with orders: document 1 (line 1): ConfigMap orders-")
        .says(": 001-large.sql has 1.0 MiB, and a ConfigMap takes 1 MiB in all")
        .says("hint: nothing was created; compress the file (gzip schema.sql)");
    folder
        .call(&[&["up", "--kubeconfig", "no-such"], &args[..]].concat())
        .fails(2)
        .says("a ConfigMap takes 1 MiB");
    // Three that fit, one by one.
    for name in ["a.sql", "b.sql", "c.sql"] {
        folder.file(name, &"-".repeat(600_000));
    }
    let args = ["--with", "postgres=orders", "--param", "init=a.sql b.sql c.sql"];
    assert_eq!(objects(&folder, &args, "ConfigMap").len(), 3);
}

#[test]
fn a_seeds_files_come_after_the_set_up_scripts() {
    let folder = Folder::new();
    folder.file("z.sql", "CREATE TABLE a (n int);\n");
    folder.file("a.sql", "INSERT INTO a VALUES (1);\n");
    for (engine, seed, is_noted) in [
        ("postgres", "a.sql", false),
        ("mysql", "{steps: [{files: a.sql}, {run: make, inputs: []}]}", true),
        ("mariadb", "{files: a.sql, run: make}", true),
    ] {
        folder.file(
            "testbed.yaml",
            &format!("databases: {{orders: {{use: {engine}, init: z.sql, seed: {seed}}}}}\n"),
        );
        let maps = objects(&folder, &[], "ConfigMap");
        assert_eq!(
            maps[0]["data"],
            json!({"001-z.sql": "CREATE TABLE a (n int);\n", "002-a.sql": "INSERT INTO a VALUES (1);\n"})
        );
        let pod = &objects(&folder, &[], "Pod")[0];
        assert_eq!(pod["spec"]["restartPolicy"], "Never", "{pod:#}");
        assert_eq!(pod["metadata"]["annotations"]["testbed/seed"].is_string(), is_noted, "{pod:#}");
        let rendered = folder.call(&["render"]).ok();
        let told = "warning: orders: the seed's command `make` is in no object: testbed up and run call it";
        assert_eq!(rendered.stderr.contains(told), is_noted, "{}", rendered.transcript());
        // What is kept depends on the inputs, and here nothing is.
        assert!(!rendered.stderr.contains("inputs"), "{}", rendered.transcript());
        folder.call(&["render", "--template"]).fails(2).says("hint: leave out init and seed");
    }
    folder.file(
        "testbed.yaml",
        "databases: {orders: {use: postgres, seed: {steps: [{run: make}, {files: [z.sql, a.sql]}]}}}\n",
    );
    let refused = folder.call(&["render"]).fails(2);
    refused.says("orders: step 2 of the seed has files (z.sql) after the command of step 1");
}
