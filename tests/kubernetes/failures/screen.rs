//! A call of `up` that fails, and what it prints without what is different each time.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Namespace, kubeconfig, run_id};
use crate::support::{Called, Folder, Started};

/// Far below the default timeout of five minutes.
pub const SOON: Duration = Duration::from_secs(60);

/// A call of `up` that goes on.
pub struct Up<'a> {
    namespace: &'a Namespace,
    /// The folder that it was called in; one of its own, where no earlier call is remembered.
    folder: Folder,
    pub run_id: String,
    start: Instant,
    pub started: Started,
}

impl<'a> Up<'a> {
    pub fn start(namespace: &'a Namespace, manifest: &str, flags: &[&str]) -> Self {
        Self::start_as(kubeconfig(), namespace, manifest, flags)
    }

    pub fn start_as(kubeconfig: &Path, namespace: &'a Namespace, manifest: &str, flags: &[&str]) -> Self {
        let (folder, run_id) = (namespace.folder_as(kubeconfig), run_id());
        folder.file("databases.yaml", manifest);
        let started = folder.start(&[&["up", "databases.yaml", "--run-id", &run_id], flags].concat());
        Self { namespace, folder, start: Instant::now(), started, run_id }
    }

    /// It has to end soon, with exit code 4; returns what it printed, without what is different each time.
    pub fn screen(self) -> String {
        self.screen_and_folder(SOON).0
    }

    /// The same for a failure that the cluster takes its time with.
    pub fn screen_within(self, limit: Duration) -> String {
        self.screen_and_folder(limit).0
    }

    pub fn screen_and_folder(self, limit: Duration) -> (String, Folder) {
        let Self { namespace, folder, run_id, start, started } = self;
        let called = started.wait().fails(4).keeps("hush-hush");
        assert!(start.elapsed() < limit, "{:?}: {}", start.elapsed(), called.transcript());
        assert!(!folder.has("testing-databases.json"));
        (normalised(&called, namespace, &run_id), folder)
    }
}

/// The whole of standard error, without what is different each time.
fn normalised(called: &Called, namespace: &Namespace, run_id: &str) -> String {
    let kubeconfig = kubeconfig().display().to_string();
    let lines = called.stderr.lines().filter(|line| !is_stage(line)).map(|line| {
        let line = line.replace(run_id, "RUN").replace(&namespace.name, "NAMESPACE").replace(&kubeconfig, "KUBECONFIG");
        // A progress line begins with the seconds since the start.
        let line = match line.split_once("s ") {
            Some((seconds, rest)) if seconds.trim().parse::<f64>().is_ok() => format!("  0.0s {rest}"),
            _ => line,
        };
        let line = match line.split_once(" of https://") {
            Some((run, rest)) => format!("{run} of SERVER{}", &rest[rest.find(' ').unwrap_or(0)..]),
            None => line,
        };
        let words: Vec<String> = line.split(' ').map(masked).collect();
        // How often an event has come by then differs.
        let line = words.join(" ").replace(" (N times)", "");
        match line.rsplit_once(" (gives up in ") {
            Some((before, _)) => format!("{before} (gives up in N s)"),
            None => line,
        }
    });
    let mut lines: Vec<String> = lines.map(|line| without_server(&line)).collect();
    lines.dedup();
    lines.join("\n")
}

/// A line of a log, unless it is a server's own: these differ with the server's version, and from start to start.
fn without_server(line: &str) -> String {
    if line.contains(" [MY-") {
        return "    | (lines of the server)".into();
    }
    line.to_owned()
}

/// Whether the line tells where a database is: which of these lines there are depends on the cluster's pace.
fn is_stage(line: &str) -> bool {
    [": starting", ": initialising", ": settling", ": waiting for its pods"].iter().any(|stage| line.contains(stage))
        && line.trim_start().starts_with(|c: char| c.is_ascii_digit())
}

/// A word without times, ids and counts.
fn masked(word: &str) -> String {
    // A Job gives its pods random names.
    if word.starts_with("migrate-RUN-") {
        return "migrate-RUN-POD".into();
    }
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    let digits = bare.chars().filter(char::is_ascii_digit).count();
    let is_time = digits >= 6 && bare.chars().all(|c| c.is_ascii_digit() || "-:.+TZ".contains(c)) && bare.contains([':', '-']);
    let is_port = bare.starts_with("127.0.0.1:") || bare.contains("//127.0.0.1:");
    if is_time && !is_port {
        return word.replace(bare, "TIME");
    }
    if is_port {
        let (before, rest) = bare.split_once("127.0.0.1:").unwrap_or_default();
        let port = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        return word.replace(bare, &format!("{before}127.0.0.1:PORT{}", &rest[port..]));
    }
    if word.starts_with('(') && bare.parse::<u32>().is_ok() { word.replace(bare, "N") } else { word.to_owned() }
}
