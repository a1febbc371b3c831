//! A call of `up`, most often one that fails, and what it prints without what is different each time.

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

    /// It has to succeed; returns the folder in which its run is remembered, and the run.
    pub fn comes_up(self) -> (Folder, String) {
        self.started.wait().ok();
        (self.folder, self.run_id)
    }

    /// The same from the error on: how far the database came before differs.
    pub fn verdict(self) -> String {
        let screen = self.screen();
        screen[screen.find("error: ").expect("an error")..].to_owned()
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
        let line = line
            .replace(run_id, "RUN")
            .replace(&run_id[..8], "RUN")
            .replace(&namespace.name, "NAMESPACE")
            .replace(&kubeconfig, "KUBECONFIG");
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
    let mut lines: Vec<String> =
        lines.map(|line| reduced(&line)).filter(|line| !is_of_server(line)).collect();
    lines.dedup();
    lines.join("\n")
}

/// What Kubernetes, a registry or the container runtime may say of a cause, in whichever release: the words
/// that tell it.
const CAUSES: [&str; 33] = [
    "exceeded quota: small",
    "limits.memory=1Gi",
    "maximum memory usage per Container is 64Mi",
    "being terminated",
    "digests.policy.example",
    "images need a digest",
    "images cannot be named without a digest",
    "violates PodSecurity \"restricted:latest\"",
    "allowPrivilegeEscalation != false",
    "runAsNonRoot != true",
    "configmap \"no-such\" not found",
    "secret \"no-such\" not found",
    "persistentvolumeclaim \"no-such\" not found",
    "key licence in Secret",
    "not present",
    "s404:1: not found",
    "401 Unauthorized",
    "403 Forbidden",
    "429 Too Many Requests",
    "503 Service Unavailable",
    "connection refused",
    "must be lowercase",
    "Insufficient memory",
    "node affinity",
    "NodeAffinity failed",
    "exceeds the limit \"1Mi\"",
    "ephemeral local storage usage exceeds",
    "executable file not found in $PATH",
    "no runtime for \"no-such\" is configured",
    "does not support user namespaces",
    "RuntimeClass \"no-such\" not found",
    "longer than the specified deadline",
    "specified backoff limit",
];

/// A line whose foreign words are reduced to those that tell the cause: the rest differs from release to
/// release. Words that tell no known cause stay, so that nothing is lost unseen.
fn reduced(line: &str) -> String {
    let (own, foreign, rest) = foreign(line);
    let told: Vec<&str> = CAUSES.into_iter().filter(|cause| foreign.contains(cause)).collect();
    if told.is_empty() { line.to_owned() } else { format!("{own}... {} ...{rest}", told.join(" ... ")) }
}

/// What stands before the foreign words of a line, these, and what stands behind them.
fn foreign(line: &str) -> (&str, &str, &str) {
    if let Some(text) = line.strip_prefix("  why:   ").or_else(|| line.strip_prefix("  event: ")) {
        // A reason is one word, or two with the event's type.
        let reason = text.split_once(": ").map_or("", |(reason, _)| reason);
        let words = reason.split(' ').count();
        let is_reason = words <= 2
            && reason.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ')
            && reason.starts_with(char::is_uppercase);
        let own = line.len() - text.len() + if is_reason { reason.len() + ": ".len() } else { 0 };
        return (&line[..own], &line[own..], "");
    }
    if let Some(at) = line.find("0/1 nodes are available: ") {
        let end = line.rfind(" (gives up").unwrap_or(line.len());
        return (&line[..at], &line[at..end], &line[end..]);
    }
    if let Some((before, _)) = line.split_once(": the API server warns: ") {
        let own = before.len() + ": the API server warns: ".len();
        return (&line[..own], &line[own..], "");
    }
    // The API server's own words are in the last parentheses of an error; the first ones name the manifest's
    // line.
    if let Some(at) = line.find("): creating ") {
        let end = line.strip_suffix(')').map_or(line.len(), str::len);
        let begin = line[at + 1..].find(" (").map_or(end, |begin| at + 1 + begin + " (".len());
        return (&line[..begin], &line[begin..end], &line[end..]);
    }
    (line, "", "")
}

/// Whether it is a line of MySQL's own in a log: which ones there are, and where among the entrypoint's, differs with
/// the version and from start to start.
fn is_of_server(line: &str) -> bool {
    line.contains(" [MY-")
}

/// Whether the line tells where a database is: which of these lines there are depends on the cluster's pace.
fn is_stage(line: &str) -> bool {
    [": starting", ": initialising", ": settling", ": waiting for its pods"]
        .iter()
        .any(|stage| line.contains(stage))
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
    let is_time = digits >= 6
        && bare.chars().all(|c| c.is_ascii_digit() || "-:.+TZ".contains(c))
        && bare.contains([':', '-']);
    let is_port = bare.starts_with("127.0.0.1:") || bare.contains("//127.0.0.1:");
    if is_time && !is_port {
        return word.replace(bare, "TIME");
    }
    if is_port {
        let (before, rest) = bare.split_once("127.0.0.1:").unwrap_or_default();
        let port = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        return word.replace(bare, &format!("{before}127.0.0.1:PORT{}", &rest[port..]));
    }
    if word.starts_with('(') && bare.parse::<u32>().is_ok() {
        word.replace(bare, "N")
    } else {
        word.to_owned()
    }
}
