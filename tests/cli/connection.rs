//! Clusters that cannot be reached: one clear error each.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Folder;

fn kubeconfig(server: &str, ca: Option<&str>) -> String {
    let ca = ca.map_or_else(String::new, |path| format!(", certificate-authority: {path}"));
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{server}'{ca}}}}}]\n\
         users: [{{name: u, user: {{token: secret-token}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u, namespace: here}}}}]\n"
    )
}

#[test]
fn no_cluster_is_named() {
    let folder = Folder::new();
    for args in [&["up", "--with", "mysql"][..], &["down", "--run-id", "run-1"], &["status"]] {
        folder
            .call(args)
            .fails(2)
            .says("no cluster is named")
            .says("hint: pass --kubeconfig or --context, set KUBECONFIG, or run inside a pod");
    }
}

#[test]
fn the_default_kubeconfig_is_never_taken_by_accident() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join(".kube")).unwrap();
    folder.file(".kube/config", &kubeconfig("https://127.0.0.1:1", None));
    folder.call(&["status"]).fails(2).says("no cluster is named");
    folder.call(&["status", "--context", "c"]).fails(1).says("https://127.0.0.1:1");
}

#[test]
fn a_kubeconfig_that_cannot_be_used() {
    let folder = Folder::new();
    folder.file("broken", "{");
    folder.file("good", &kubeconfig("https://127.0.0.1:1", None));
    folder.call(&["status", "--kubeconfig", "missing"]).fails(2).says("reading the kubeconfig missing");
    folder.call(&["status", "--kubeconfig", "broken"]).fails(2).says("reading the kubeconfig broken");
    folder.call(&["status", "--kubeconfig", "good", "--context", "other"]).fails(2).says("other");
}

/// A kubeconfig whose user logs in by a program.
fn with_login(folder: &Folder, script: &str) {
    let program = folder.path().join("login");
    folder.file("login", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {}}}",
        program.display()
    );
    let config =
        kubeconfig("http://someone:hush-hush@127.0.0.1:1", None).replace("token: secret-token", &exec);
    folder.file("k", &config);
}

#[test]
fn a_login_that_hangs_is_given_up_in_time_and_at_a_signal() {
    let folder = Folder::new();
    with_login(&folder, "echo $$ > pid; exec sleep 600");
    let is_there = || {
        let pid = folder.read("pid");
        std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).is_ok_and(|name| name == "sleep\n")
    };
    // A process that is killed is gone a moment later.
    let assert_gone = || {
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_there() {
            assert!(Instant::now() < deadline, "the program stays");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let up = ["up", "--with", "mysql", "--kubeconfig", "k"];
    folder
        .call(&[&up[..], &["--timeout", "5s"]].concat())
        .fails(3)
        .says("not ready within 5s: the login that the kubeconfig asks for has not ended");
    assert_gone();
    folder
        .call(&["lock", "acquire", "x", "--timeout", "5s", "--kubeconfig", "k"])
        .fails(6)
        .says("has not ended in time");
    assert_gone();
    for args in [
        &up[..],
        &["lock", "acquire", "x", "--kubeconfig", "k"],
        &["lock", "run", "x", "--kubeconfig", "k", "--", "true"],
    ] {
        std::fs::remove_file(folder.path().join("pid")).unwrap();
        let started = folder.start(args);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !(folder.has("pid") && !folder.read("pid").is_empty() && is_there()) {
            assert!(Instant::now() < deadline, "the program never runs");
            std::thread::sleep(Duration::from_millis(5));
        }
        started.signal("TERM");
        started.wait().fails(143);
        assert_gone();
    }
}

#[test]
fn a_login_shows_nothing_that_it_was_given() {
    let folder = Folder::new();
    folder.file("said", "{\"kind\": \"ExecCredential\", \"apiVersion\": \"client.authentication.k8s.io/v1\", \"status\": {\"token\": \"hush-hush\"}}");
    for (script, code, told) in [
        ("cat said; echo no way >&2; exit 7", 2, "failed (exit status: 7)"),
        ("cat said; echo oops", 2, "has printed no ExecCredential"),
        ("sed 's/hush-hush/&\\\\n/' said", 2, "has a line break"),
        ("cat said", 1, "cannot talk to the API server http://127.0.0.1:1"),
    ] {
        with_login(&folder, script);
        folder.call(&["status", "--kubeconfig", "k"]).fails(code).says(told).keeps("hush-hush");
    }
    let config = kubeconfig("http://127.0.0.1:1", None);
    folder.file("k", &config.replace("token: secret-token", "token: \"hush-hush\\nx\""));
    folder.call(&["status", "--kubeconfig", "k"]).fails(2).says("has a line break").keeps("hush-hush");
    for key in ["tokenFile", "client-certificate", "client-key"] {
        folder.file("k", &config.replace("token: secret-token", &format!("{key}: /dev/zero")));
        let told = format!("reading /dev/zero ({key} of the kubeconfig): it is a device");
        folder.call(&["status", "--kubeconfig", "k"]).fails(2).says(&told);
    }
}

#[test]
fn an_api_server_that_is_not_there() {
    let folder = Folder::new();
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    folder.file("config", &kubeconfig(&format!("https://127.0.0.1:{port}"), None));
    let server = format!("cannot talk to the API server https://127.0.0.1:{port}: ");
    for args in [&["up", "--with", "mysql"][..], &["down", "--run-id", "run-1"], &["status"]] {
        let args = [args, &["--kubeconfig", "config"]].concat();
        folder
            .call(&args)
            .fails(1)
            .says(&server)
            .says("refused")
            .says("hint: is the cluster running")
            .keeps("secret-token");
    }
    assert!(!folder.has("testing-databases.json"));
}

#[test]
fn an_api_server_with_an_expired_certificate() {
    let folder = Folder::new();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(folder.path()).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ]
        .iter()
        .copied()
        .chain(["-days", "1", "-subj", "/CN=test-ca"])
        .collect::<Vec<_>>(),
    );
    openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        "key",
        "-out",
        "csr",
        "-subj",
        "/CN=api",
    ]);
    folder.file("database", "");
    folder.file("serial", "01\n");
    folder.file("extensions", "subjectAltName=IP:127.0.0.1\n");
    folder.file(
        "ca.conf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=database\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n",
    );
    let sign = [
        "ca", "-batch", "-config", "ca.conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-in", "csr", "-out",
        "crt",
    ];
    openssl(
        &[
            &sign[..],
            &[
                "-startdate",
                "20200101000000Z",
                "-enddate",
                "20200102000000Z",
                "-extfile",
                "extensions",
                "-notext",
            ],
        ]
        .concat(),
    );

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", &port.to_string(), "-cert", "crt", "-key", "key", "-www"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its first line, ACCEPT, says that it listens.
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut line)
        .unwrap();
    folder.file("config", &kubeconfig(&format!("https://127.0.0.1:{port}"), Some("ca.crt")));
    let called = folder.call(&["up", "--with", "mysql", "--kubeconfig", "config"]);
    server.kill().unwrap();
    server.wait().unwrap();
    called.fails(1).says("certificate").says("expired").keeps("secret-token");
}

/// A folder with `KUBECONFIG` set, and no wish for a runtime.
fn with_kubeconfig() -> Folder {
    let folder = Folder::new().env("TESTBED_RUNTIME", "");
    let config = folder.file("config", &kubeconfig("https://127.0.0.1:1", None));
    folder.env("KUBECONFIG", config.to_str().unwrap())
}

/// People have `KUBECONFIG` set for all of their work, production included.
#[test]
fn kubeconfig_alone_asks_for_no_cluster() {
    let folder = with_kubeconfig();
    let why = "on this machine (KUBECONFIG alone asks for no cluster)";
    folder.call(&["run", "--with", "sqlite", "--", "true"]).ok().says(why);
    folder.call(&["status"]).ok().says(why);
    folder
        .call(&["status", "-n", "here"])
        .fails(2)
        .says("no cluster is asked for")
        .says("hint: pass --context, --kubeconfig or --runtime");
    // Whoever asks for one gets the one that it names.
    for asked in [&["--runtime", "kubernetes"][..], &["--context", "c"], &["--kubeconfig", "config"]] {
        folder.call(&[&["status"], asked].concat()).fails(1).says("https://127.0.0.1:1");
    }
}

#[test]
fn a_project_that_asks_for_a_cluster_has_to_name_it() {
    let folder = with_kubeconfig();
    folder.file("testbed.yaml", "databases: {db: postgres}\nruntime: kubernetes\n");
    let needs = "testbed.yaml: runtime: kubernetes needs the name of a cluster, context: NAME";
    for args in [&["up"][..], &["run", "--", "true"], &["status"], &["doctor"]] {
        folder.call(args).fails(2).says(needs).says("hint: or leave out runtime");
    }
    folder.call(&["render", "-q"]).ok();
    // Nothing keeps a teardown from its work on this machine, and nothing sends it elsewhere.
    folder.call(&["gc"]).ok();
    folder
        .call(&["down", "--run-id", "r"])
        .fails(5)
        .says("run r is not on this machine, and may be in a cluster: KUBECONFIG alone asks for no cluster")
        .says("hint: testbed down --run-id r --runtime kubernetes looks there");
    for said in [&["--context", "c"][..], &["--kubeconfig", "config"], &["--runtime", "kubernetes"]] {
        folder.call(&[&["status"], said].concat()).fails(1).says("https://127.0.0.1:1");
    }
    folder.call(&["status", "--runtime", "local"]).ok();
    folder.file("testbed.yaml", "databases: {db: postgres}\nruntime: kubernetes\ncontext: c\n");
    folder.call(&["status"]).fails(1).says("https://127.0.0.1:1");
}

/// It is for the cluster that somebody may ask for.
#[test]
fn a_projects_namespace_asks_for_no_cluster() {
    let folder = Folder::new().env("TESTBED_RUNTIME", "");
    folder.file("testbed.yaml", "databases: {db: sqlite}\nnamespace: ci\n");
    folder.call(&["run", "--", "true"]).ok().says("on this machine");
    folder.call(&["gc"]).ok();
    folder.call(&["status"]).ok();
    folder.call(&["down", "--run-id", "r"]).fails(1).says("nothing is known of run r on this machine");
}
