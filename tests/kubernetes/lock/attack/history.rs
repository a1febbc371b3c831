//! The Lease as the API server tells of it, version by version.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One version of the lock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Version {
    /// When it was seen, by this machine's clock.
    pub seen_at: Timestamp,
    /// Whether there may have been others between the one before and this one: the API server has been
    /// started again, and remembers none.
    pub is_after_gap: bool,
    pub state: State,
}

/// What the annotation says, as far as it counts here. Without a Lease there is nobody in it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct State {
    pub holders: Vec<Holder>,
    pub queue: Vec<Waiter>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Holder {
    pub id: String,
    pub fence: u64,
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Waiter {
    pub id: String,
}

impl State {
    fn of(lease: &Value) -> Self {
        let text = lease["metadata"]["annotations"]["testbed/lock"]
            .as_str()
            .unwrap_or("{\"holders\":[],\"queue\":[]}");
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Watches one Lease until it is told to stop.
pub struct Observer {
    thread: JoinHandle<Vec<Version>>,
    watch: Arc<Mutex<Watch>>,
}

#[derive(Default)]
struct Watch {
    child: Option<Child>,
    is_over: bool,
}

/// Where the Lease is.
struct Place {
    kubeconfig: PathBuf,
    path: String,
}

impl Observer {
    pub fn start(kubeconfig: &Path, namespace: &str, name: &str) -> Self {
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases?fieldSelector=metadata.name%3D{name}"
        );
        let place = Place { kubeconfig: kubeconfig.to_owned(), path };
        let watch = Arc::<Mutex<Watch>>::default();
        let shared = Arc::clone(&watch);
        let (mut resource_version, _) = place.list().expect("the API server answers");
        let thread = std::thread::spawn(move || {
            let mut versions = Vec::new();
            while !shared.lock().expect("no panic").is_over {
                if place.follow(&shared, &mut resource_version, &mut versions) {
                    continue;
                }
                // It has forgotten what was before.
                let Some((newest, state)) = place.list() else { continue };
                resource_version = newest;
                versions.push(Version { seen_at: Timestamp::now(), is_after_gap: true, state });
            }
            versions
        });
        Self { thread, watch }
    }

    /// All versions that were seen.
    pub fn stop(self) -> Vec<Version> {
        let mut watch = self.watch.lock().expect("no panic");
        watch.is_over = true;
        if let Some(child) = &mut watch.child {
            let _ = child.kill();
        }
        drop(watch);
        self.thread.join().expect("no panic")
    }
}

impl Place {
    fn kubectl(&self, query: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args([
            "get",
            "--raw",
            &format!("{}{query}", self.path),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The resource version, and the state; nothing where the API server does not answer.
    fn list(&self) -> Option<(String, State)> {
        let output = self.kubectl("").output().expect("kubectl");
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some((list["metadata"]["resourceVersion"].as_str()?.to_owned(), State::of(&list["items"][0])))
    }

    /// Watches until the connection ends. False: the API server does not know what came after the resource
    /// version.
    fn follow(
        &self,
        watch: &Mutex<Watch>,
        resource_version: &mut String,
        versions: &mut Vec<Version>,
    ) -> bool {
        let query = format!("&watch=true&resourceVersion={resource_version}");
        let mut child = self.kubectl(&query).spawn().expect("kubectl");
        let (output, mut errors) =
            (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        {
            let mut watch = watch.lock().expect("no panic");
            if watch.is_over {
                let _ = child.kill();
            }
            watch.child = Some(child);
        }
        let mut is_known = true;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { break };
            if event["type"] == "ERROR" {
                is_known = false;
                break;
            }
            let lease = &event["object"];
            *resource_version =
                lease["metadata"]["resourceVersion"].as_str().expect("a resource version").to_owned();
            let state = if event["type"] == "DELETED" { State::default() } else { State::of(lease) };
            versions.push(Version { seen_at: Timestamp::now(), is_after_gap: false, state });
        }
        let child = watch.lock().expect("no panic").child.take();
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text);
        if let Some(mut child) = child {
            let _ = child.kill();
            let _ = child.wait();
        }
        is_known &= !text.contains("too old resource version");
        // Until it is there again.
        if text.contains("refused") {
            sleep(Duration::from_millis(200));
        }
        is_known
    }
}
