//! Runs that somebody has left behind, as `up` would have made them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::client_image;

/// The labels of a run.
pub fn labels(run_id: &str) -> Value {
    json!({"test-dependencies": run_id, "app.kubernetes.io/managed-by": "testbed"})
}

/// A Secret, a Service and a ConfigMap.
pub struct Leftover {
    run_id: String,
    annotations: Value,
    owners: Value,
    pod: bool,
}

impl Leftover {
    pub fn new(run_id: &str) -> Self {
        let annotations = json!({"testbed/kinds": "v1/ConfigMap,v1/Pod,v1/Secret,v1/Service"});
        Self { run_id: run_id.to_owned(), annotations, owners: json!([]), pod: false }
    }

    pub fn expires(mut self, when: &str) -> Self {
        self.annotations["testbed/expires"] = when.into();
        self
    }

    /// They belong to a PipelineRun.
    pub fn owner(mut self, version: &str, name: &str, uid: &str) -> Self {
        self.owners = json!([{"apiVersion": version, "kind": "PipelineRun", "name": name, "uid": uid}]);
        self
    }

    /// And a Pod.
    pub fn with_pod(mut self) -> Self {
        self.pod = true;
        self
    }

    pub fn manifest(&self) -> String {
        let container = json!({"name": "c", "image": client_image(), "command": ["sleep", "3600"]});
        let mut specs = vec![
            ("Secret", json!({})),
            ("Service", json!({"ports": [{"port": 1}]})),
            ("ConfigMap", json!({})),
        ];
        if self.pod {
            specs.push(("Pod", json!({"terminationGracePeriodSeconds": 1, "containers": [container]})));
        }
        let objects: Vec<Value> = specs.into_iter().map(|(kind, spec)| self.object(kind, &spec)).collect();
        json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
    }

    fn object(&self, kind: &str, spec: &Value) -> Value {
        let name = format!("{}-{}", kind.to_lowercase(), self.run_id);
        let metadata = json!({"name": name, "labels": labels(&self.run_id), "annotations": self.annotations, "ownerReferences": self.owners});
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata});
        if spec.as_object().is_some_and(|spec| !spec.is_empty()) {
            object["spec"] = spec.clone();
        }
        object
    }
}

/// A time so many hours ago, and half a minute: what is told of it is rounded down.
pub fn ago(hours: i64) -> String {
    from_now(SignedDuration::from_secs(-hours * 3600 - 30))
}

/// A time in so many hours, and half a minute.
pub fn hence(hours: i64) -> String {
    from_now(SignedDuration::from_secs(hours * 3600 + 30))
}

pub fn minutes_ago(minutes: i64) -> String {
    from_now(SignedDuration::from_secs(-minutes * 60 - 10))
}

fn from_now(duration: SignedDuration) -> String {
    let at = Timestamp::now().checked_add(duration).expect("a time");
    Timestamp::from_second(at.as_second()).expect("a time").to_string()
}

/// As HTTP has it.
pub fn date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}
