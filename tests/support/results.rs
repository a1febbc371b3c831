//! A Results API to write to. The real one is a Go program that is published as an image only:
//! `results_api.py` keeps to its specification and to the checks of its server, and refuses what that would
//! refuse.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The server, ended when it is dropped.
pub struct ResultsApi {
    child: Child,
    pub url: String,
    /// The certificate that it has to be trusted by.
    pub ca: PathBuf,
    /// The file with the token that it takes.
    pub token: PathBuf,
}

impl ResultsApi {
    /// Starts it with Results (`NAMESPACE/results/UID`) that have no records yet; its files go into the
    /// folder.
    pub fn start(folder: &Path, results: &[&str]) -> Self {
        let [ca, key, token] = ["results.crt", "results.key", "results-token"].map(|name| folder.join(name));
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ]);
        openssl
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&ca);
        assert!(openssl.stderr(Stdio::null()).status().expect("openssl").success());
        std::fs::write(&token, "the-token\n").expect("a file for the token");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/results_api.py");
        let mut python = Command::new("/usr/bin/python3");
        python.arg(program).args([&ca, &key]).arg("the-token").args(results).stdout(Stdio::piped());
        let mut child = python.spawn().expect("Debian's Python");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut port)
            .expect("the server tells its port");
        Self { child, url: format!("https://localhost:{}", port.trim()), ca, token }
    }

    /// What it keeps: by name, `type`, `value` and the number of `requests`.
    pub fn records(&self) -> Value {
        let mut curl = Command::new("/usr/bin/python3");
        curl.args(["-c", "import ssl,sys,urllib.request as r; print(r.urlopen(sys.argv[1], context=ssl.create_default_context(cafile=sys.argv[2])).read().decode())"]);
        let output =
            curl.arg(format!("{}/records", self.url)).arg(&self.ca).output().expect("Debian's Python");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for ResultsApi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
