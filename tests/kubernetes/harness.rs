//! A namespace a test, kubectl as the independent observer, and a client pod with Python's real drivers.
//!
//! What every test asks again and again goes to the API server without kubectl, which takes a tenth of a
//! second of processor time to start.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::api::Api;
use crate::support::{Folder, is_without_image};

/// The manifest that the original pipeline used, with its PostgreSQL twin.
pub const STRIV: &str = include_str!("manifests/striv.yaml");

/// The verbs that the original pipeline's ServiceAccount has.
pub const PIPELINE_ROLE: &str = include_str!("manifests/role.yaml");

/// The kubeconfig of the cluster under test.
pub fn kubeconfig() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::var_os("TESTBED_TEST_KUBECONFIG").map(PathBuf::from);
        path.expect("these tests need a cluster: run `make test`, or set TESTBED_TEST_KUBECONFIG")
    })
}

/// Objects of no namespace that a test has made, or is about to make: they are deleted at its end.
pub struct OfCluster {
    /// Their kinds, with commas between.
    pub kinds: &'static str,
    pub name: String,
}

impl Drop for OfCluster {
    fn drop(&mut self) {
        kubectl_output(&["delete", self.kinds, &self.name, "--ignore-not-found"], None);
    }
}

/// testbed's own image, as the cluster under test calls it; nothing where the user wants no tests of it.
pub fn image() -> Option<String> {
    let image = std::env::var("TESTBED_TEST_IMAGE");
    let image =
        image.expect("this test needs testbed's image in the cluster: run `make test`, or set TESTBED_TEST_IMAGE (to its name, or none)");
    (!is_without_image()).then_some(image)
}

/// Whether the cluster is the one that `make cluster` builds.
pub fn is_built_here() -> bool {
    kubeconfig().with_file_name("pki").is_dir()
}

/// Whether this machine reaches the cluster's Services by their own addresses, as it does on the cluster that
/// `make cluster` builds. Says so where it does not, for a test that then has nothing to do.
pub fn reaches_services() -> bool {
    let reaches = is_built_here();
    if !reaches {
        eprintln!("skipped: ClusterIPs of somebody's own cluster may not answer from here");
    }
    reaches
}

/// Whether images can be put into the cluster from here. Says so where they cannot, for a test that then has
/// nothing to do.
pub fn takes_images() -> bool {
    let takes = is_built_here();
    if !takes {
        eprintln!("skipped: images are pushed to somebody's own cluster in a way of its own");
    }
    takes
}

/// Whether the parts of a cluster are on this machine, of which `tests/cluster/lone-api-server` makes an API
/// server that a test may restart. Says so where they are not, for a test that then has nothing to do.
pub fn has_parts_of_cluster() -> bool {
    let has = is_built_here();
    if !has {
        eprintln!("skipped: somebody's own API server is not restarted");
    }
    has
}

/// A namespace that is deleted at the end of the test, and a folder to call testbed in that is set to it.
pub struct Namespace {
    pub name: String,
    pub folder: Folder,
}

impl Namespace {
    pub fn new(prefix: &str) -> Self {
        let random = tempfile::Builder::new().prefix("").rand_bytes(8).tempdir().expect("a temporary folder");
        let random = random.path().file_name().and_then(|name| name.to_str()).expect("a name").to_lowercase();
        let name = format!("{prefix}-{random}");
        Api::get().create_namespace(&name);
        Self { folder: Self::folder_for(&name, kubeconfig()), name }
    }

    /// A folder whose calls are about a namespace that is there already.
    pub fn folder_for(namespace: &str, kubeconfig: &Path) -> Folder {
        Folder::new()
            // Most tests of a cluster are about objects, and have no need of a database.
            .env("TESTBED_ALLOW_NONE", "true")
            .env("TESTBED_NAMESPACE", namespace)
            .env("TESTBED_KUBECONFIG", kubeconfig.display().to_string())
    }

    /// A folder whose calls act as another user.
    pub fn folder_as(&self, kubeconfig: &Path) -> Folder {
        Self::folder_for(&self.name, kubeconfig)
    }

    /// kubectl in this namespace; it has to succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&[&["-n", &self.name], args].concat())
    }

    /// Applies a manifest with kubectl.
    pub fn apply(&self, manifest: &str) {
        kubectl_with_input(&["-n", &self.name, "apply", "-f", "-"], manifest);
    }

    /// Repeats a kubectl call until its output fits; for things that have no watch of kubectl's own.
    pub fn kubectl_until(&self, args: &[&str], fits: impl Fn(&str) -> bool) -> String {
        self.kubectl_until_within(60, args, fits)
    }

    /// The same with another deadline, in seconds.
    pub fn kubectl_until_within(&self, seconds: u64, args: &[&str], fits: impl Fn(&str) -> bool) -> String {
        self.kubectl_until_output_fits(seconds, args, None, |output, _| fits(output))
    }

    /// The same for a call with an input, by its standard output and its standard error.
    pub fn kubectl_until_it_says(
        &self,
        args: &[&str],
        input: Option<&[u8]>,
        fits: impl Fn(&str, &str) -> bool,
    ) -> String {
        self.kubectl_until_output_fits(60, args, input, fits)
    }

    fn kubectl_until_output_fits(
        &self,
        seconds: u64,
        args: &[&str],
        input: Option<&[u8]>,
        fits: impl Fn(&str, &str) -> bool,
    ) -> String {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        loop {
            let Output { stdout, stderr, .. } = kubectl_output(&[&["-n", &self.name], args].concat(), input);
            let (text, error) = (
                String::from_utf8_lossy(&stdout).into_owned(),
                String::from_utf8_lossy(&stderr).into_owned(),
            );
            if fits(&text, &error) {
                return text;
            }
            assert!(std::time::Instant::now() < deadline, "kubectl {args:?} never fits: {text} {error}");
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
    }

    /// Names of everything with the run's label, of all kinds that a run can have made, as kubectl writes
    /// them.
    pub fn of_run(&self, run_id: &str) -> Vec<String> {
        self.labelled(&format!("test-dependencies={run_id}"))
    }

    /// Names of everything that a label selector finds; of everything there is, if it is empty.
    pub fn labelled(&self, selector: &str) -> Vec<String> {
        Api::get().names(&self.name, selector)
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], args].concat()))
            .expect("JSON from kubectl")
    }

    /// A way into a pod that runs.
    pub fn within(&self, pod: &str) -> Client<'_> {
        Client { namespace: self, pod: pod.to_owned() }
    }

    /// Starts the client pod: Python's drivers and this build of testbed, under a ServiceAccount.
    pub fn client(&self, service_account: &str) -> Client<'_> {
        let client = self.bare_client(service_account, str::to_owned);
        client.python("import importlib.util as u, subprocess as s, sys\nif not (u.find_spec('psycopg2') and u.find_spec('mysql')): s.check_call([sys.executable, '-m', 'pip', '-q', 'install', 'psycopg2-binary', 'mysql-connector-python'])");
        client.copy(include_str!("logins.py").as_bytes(), "logins.py");
        client.copy(include_str!("tables.py").as_bytes(), "tables.py");
        client
    }

    /// The same with nothing put into the pod, whose manifest the test may change.
    pub fn bare_client(&self, service_account: &str, change: impl Fn(&str) -> String) -> Client<'_> {
        let manifest = include_str!("manifests/client.yaml")
            .replace("IMAGE", &client_image())
            .replace("ACCOUNT", service_account);
        self.apply(&change(&manifest));
        self.kubectl(&["wait", "--for=condition=ready", "--timeout=120s", "pod/client"]);
        self.within("client")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for args in [&["get", "all,events"][..], &["describe", "pods"]] {
                let output = kubectl_output(&[&["-n", &self.name], args].concat(), None);
                eprintln!("--- kubectl {args:?}\n{}", String::from_utf8_lossy(&output.stdout));
            }
        }
        Api::get().delete_namespace(&self.name);
    }
}

/// The image of pods that run things for the tests: with Python and a shell.
pub fn client_image() -> String {
    std::env::var("TESTBED_TEST_CLIENT_IMAGE").unwrap_or_else(|_| "python:3.11".into())
}

/// A pod to run things in.
pub struct Client<'a> {
    namespace: &'a Namespace,
    pod: String,
}

impl Client<'_> {
    /// Runs a shell script in the pod's working folder.
    pub fn shell(&self, script: &str) -> Output {
        kubectl_output(&["-n", &self.namespace.name, "exec", &self.pod, "--", "sh", "-c", script], None)
    }

    /// [`Client::shell`] that has to succeed; returns its standard output.
    pub fn shell_ok(&self, script: &str) -> String {
        let output = self.shell(script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    pub fn python(&self, program: &str) {
        let output = kubectl_output(
            &["-n", &self.namespace.name, "exec", "-i", &self.pod, "--", "python3", "-"],
            Some(program.as_bytes()),
        );
        assert!(output.status.success(), "{program}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts a shell script in the pod's working folder, and goes on.
    pub fn start(&self, script: &str) -> Running {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(kubeconfig()).args([
            "-n",
            &self.namespace.name,
            "exec",
            "-i",
            &self.pod,
            "--",
            "sh",
            "-c",
            script,
        ]);
        Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("kubectl"))
    }

    /// Writes a file into the pod's working folder.
    pub fn copy(&self, content: &[u8], name: &str) {
        let write = format!("cat > {name} && chmod 700 {name}");
        let output = kubectl_output(
            &["-n", &self.namespace.name, "exec", "-i", &self.pod, "--", "sh", "-c", &write],
            Some(content),
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Puts this build of testbed into the pod's working folder.
    pub fn install_testbed(&self) {
        self.install_testbed_as("testbed");
    }

    /// The same where the working folder is not open to the pod's user.
    pub fn install_testbed_as(&self, path: &str) {
        let stripped = tempfile::NamedTempFile::new().expect("a temporary file");
        let status = Command::new("strip")
            .arg("-o")
            .arg(stripped.path())
            .arg(crate::support::binary())
            .status()
            .expect("strip");
        assert!(status.success());
        self.copy(&std::fs::read(stripped.path()).expect("the stripped program"), path);
    }
}

/// A script that runs in the client pod.
pub struct Running(Child);

impl Running {
    /// Waits until it has printed a line with this text alone.
    pub fn wait_for(&mut self, text: &str) {
        let output = BufReader::new(self.0.stdout.as_mut().expect("a pipe"));
        assert!(output.lines().any(|line| line.expect("UTF-8") == text), "{text:?} was never printed");
    }

    /// Ends its input, and waits for its end.
    pub fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("kubectl ends").success());
    }
}

/// kubectl on the cluster under test; it has to succeed.
pub fn kubectl(args: &[&str]) -> String {
    checked(args, kubectl_output(args, None))
}

fn kubectl_with_input(args: &[&str], input: &str) -> String {
    checked(args, kubectl_output(args, Some(input.as_bytes())))
}

fn checked(args: &[&str], output: Output) -> String {
    assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8 from kubectl")
}

pub fn kubectl_output(args: &[&str], input: Option<&[u8]>) -> Output {
    let mut command = Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(kubeconfig())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Written beside the reading of the output, so that neither side waits for the other; a child
            // that ends early says why itself.
            let _ = std::io::Write::write_all(&mut stdin, input.unwrap_or_default());
        });
        child.wait_with_output().expect("kubectl ends")
    })
}

/// A kubeconfig like the tests' own, with other credentials: a bearer token, or a client certificate and key.
pub fn kubeconfig_as(folder: &Folder, user: &Value) -> PathBuf {
    let mut config: Value =
        serde_json::from_str(&kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"]))
            .expect("JSON");
    config["users"][0]["user"] = user.clone();
    folder.file("kubeconfig", &config.to_string())
}

/// A fresh run id, as Tekton's uids look.
pub fn run_id() -> String {
    testbed::run_id::RunId::generate().as_str().to_owned()
}
