//! `testbed doctor` on a real cluster: each fault is a real one, it is named with its remedy, and looking
//! leaves nothing behind.

mod admission;
mod dns;
mod quota;
mod rights;
mod security;

use serde_json::Value;

use crate::harness::Namespace;
use crate::pipeline_runs::{self, PipelineRuns};
use crate::support::{Called, Folder};

/// What a call of `doctor` has found.
pub struct Found {
    called: Called,
    verdicts: Vec<Value>,
}

impl Found {
    /// Looks, with the flags, in JSON. There may be nothing more in the namespace afterwards than before.
    pub fn look(namespace: &Namespace, folder: &Folder, args: &[&str]) -> Self {
        let before = namespace.labelled("");
        let found = Self::read(folder.call(&[&["doctor", "-o", "json"], args].concat()));
        assert_eq!(namespace.labelled(""), before, "{}", found.called.transcript());
        found
    }

    /// Takes a call in: its exit code has to be that of what it has found.
    pub fn read(called: Called) -> Self {
        let verdicts: Vec<Value> = serde_json::from_str(&called.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", called.transcript()));
        for verdict in &verdicts {
            let keys: Vec<&String> = verdict.as_object().expect("an object").keys().collect();
            assert_eq!(keys, ["check", "object", "status", "message", "remedy"], "{}", called.transcript());
            assert!(
                verdict["status"] != "problem" || verdict["remedy"].is_string(),
                "a problem has a remedy: {verdict}"
            );
        }
        let has_problem = verdicts.iter().any(|verdict| verdict["status"] == "problem");
        Self { called: called.ends(i32::from(has_problem)), verdicts }
    }

    /// The verdicts of a status and a check.
    pub fn all(&self, status: &str, check: &str) -> Vec<&Value> {
        self.verdicts
            .iter()
            .filter(|verdict| verdict["status"] == status && verdict["check"] == check)
            .collect()
    }

    /// The only verdict of a status and a check, with these texts in its message.
    pub fn one(&self, status: &str, check: &str, parts: &[&str]) -> &Value {
        let found = self.all(status, check);
        assert_eq!(found.len(), 1, "one {status} of {check} is wanted\n{}", self.called.transcript());
        let message = found[0]["message"].as_str().expect("a message");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}\n{}", self.called.transcript());
        }
        found[0]
    }

    /// There is no problem and nothing else than all well for these checks.
    pub fn is_well(&self, checks: &[&str]) {
        for check in checks {
            assert!(!self.all("ok", check).is_empty(), "{check} is not well\n{}", self.called.transcript());
        }
        assert_eq!(self.called.code, Some(0), "{}", self.called.transcript());
    }
}

/// What a verdict says about what to do.
pub fn remedy(verdict: &Value) -> &str {
    verdict["remedy"].as_str().expect("a remedy")
}

#[test]
fn all_is_well_and_nothing_is_left() {
    let namespace = Namespace::new("doctor");
    let found =
        Found::look(&namespace, &namespace.folder, &["--with", "postgres:17", "--with", "mysql:9.7=shop"]);
    found.is_well(&["api", "rights", "dry-run", "quota", "pod-security", "dns", "images", "leftovers"]);
    assert!(found.verdicts.iter().all(|verdict| verdict["status"] == "ok"), "{}", found.called.transcript());
    found.one("ok", "images", &["docker.io/library/mysql:9.7, docker.io/library/postgres:17"]);
    found.one("ok", "dry-run", &["6 of 6 objects"]);
    // For people, a line each. Without a database, what any of them needs.
    let called = namespace.folder.call(&["doctor"]).ok().says("looking for what --with postgres needs");
    let words: Vec<&str> = called.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(words, ["ok"; 8], "{}", called.transcript());
    assert!(!called.stdout.contains('\x1b'), "{}", called.transcript());
}

#[test]
fn images_of_a_mirror_and_a_run_that_is_over() {
    let namespace = Namespace::new("over");
    let folder = &namespace.folder;
    let found = Found::look(
        &namespace,
        folder,
        &["--with", "postgres:17", "--image-prefix", "registry.example/mirror"],
    );
    found.one("ok", "images", &["would pull registry.example/mirror/library/postgres:17"]);
    folder.file("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-run-1}\n");
    folder.call(&["up", "m.yaml", "--run-id", "run-1", "--lifetime", "1s"]).ok();
    let now = std::time::Instant::now();
    let found = std::iter::repeat_with(|| Found::look(&namespace, folder, &["--with", "postgres:17"]))
        .find(|found| !found.all("warning", "leftovers").is_empty() || now.elapsed().as_secs() > 20)
        .unwrap();
    let warning = found.one("warning", "leftovers", &["have expired: run-1"]);
    assert!(
        remedy(warning).starts_with("remove them: testbed gc ")
            && remedy(warning).ends_with(&format!("-n {}", namespace.name))
    );
    found.is_well(&["rights"]);
    if pipeline_runs::install() {
        let uid = PipelineRuns(&namespace).create("nightly");
        let owned = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "owned", "labels": {"test-dependencies": "run-2", "app.kubernetes.io/managed-by": "testbed"}, "annotations": {"testbed/expires": "2020-01-01T00:00:00Z"},
            "ownerReferences": [{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "nightly", "uid": uid}],
        }});
        namespace.apply(&owned.to_string());
        let found = Found::look(&namespace, folder, &["--with", "postgres:17"]);
        let warning = found.one("warning", "leftovers", &["have expired: run-1, run-2"]);
        assert!(
            remedy(warning).starts_with("remove those whose PipelineRun is over: ")
                && remedy(warning).ends_with(" --pipeline-runs")
        );
        namespace.kubectl(&["delete", "configmap", "owned"]);
    }
    folder.call(&["gc", "-n", &namespace.name]).ok();
    assert!(namespace.of_run("run-1").is_empty());
    Found::look(&namespace, folder, &["--with", "postgres:17"]).is_well(&["leftovers"]);
}

#[test]
fn a_run_that_exists_already_is_told_from_a_strangers_object() {
    let namespace = Namespace::new("again");
    let folder = &namespace.folder;
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n---\n");
    folder.file("m.yaml", &(map("a-run-1") + &map("b-run-1")));
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    folder.file("m.yaml", &(map("a-run-1") + &map("b-run-1") + &map("taken")));
    namespace.apply(&map("taken"));
    let found = Found::look(&namespace, folder, &["m.yaml", "--run-id", "run-1"]);
    found.one("ok", "dry-run", &["would take 0 of 3 objects; 2 of this run exist already"]);
    let problem = found.one("problem", "dry-run", &["it exists already and belongs to no run of testbed"]);
    assert_eq!(problem["object"], "ConfigMap taken");
    assert!(remedy(problem).contains("put $(context.pipelineRun.uid) into the name"));
    folder.call(&["down", "--run-id", "run-1"]).ok();
}
