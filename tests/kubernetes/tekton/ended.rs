//! From a TaskRun's start to its end: what the steps said, and the results.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::pod::TaskRun;
use super::real;
use super::site::Tekton;
use crate::harness::{kubeconfig, kubectl_output};
use crate::tekton_catalog::model::{ResultSpec, Step};

/// A TaskRun that has been started.
pub struct Started<'a> {
    run: TaskRun<'a>,
    /// What becomes of its pod.
    watch: Watch,
    /// What becomes of the TaskRun itself, where Tekton carries it out.
    task_run: Option<Watch>,
}

/// A TaskRun that has ended.
pub struct Ended {
    pub succeeded: bool,
    /// What Tekton calls that.
    pub reason: String,
    /// How each step ended that did: the `terminated` of its container's state.
    pub steps: BTreeMap<String, Value>,
    /// What each step has said.
    pub logs: BTreeMap<String, String>,
    pub results: BTreeMap<String, String>,
    /// The pod, as it was last seen.
    pub pod: Value,
    /// The TaskRun, where Tekton has carried it out.
    pub task_run: Value,
}

impl Ended {
    /// The exit code of a step's container.
    pub fn exit_code(&self, step: &str) -> Option<i64> {
        self.terminated(step)?["exitCode"].as_i64()
    }

    /// How a step's container ended.
    pub fn terminated(&self, step: &str) -> Option<&Value> {
        self.steps.get(step)
    }

    /// All that the cluster keeps of it.
    pub fn objects(&self) -> String {
        format!("{}{}", self.pod, self.task_run)
    }

    pub fn log(&self) -> String {
        self.logs.values().cloned().collect()
    }

    /// It has to have succeeded.
    pub fn ok(self, what: &str) -> Self {
        assert!(
            self.succeeded,
            "{what}: {}\n{:#}\n{:#}",
            self.log(),
            self.pod["status"],
            self.task_run["status"]
        );
        self
    }
}

impl<'a> Started<'a> {
    /// A pod and the watch on it, which has to have begun before.
    pub fn new(run: TaskRun<'a>, watch: Watch, task_run: Option<Watch>) -> Self {
        Self { run, watch, task_run }
    }

    /// The pod's name.
    fn pod(&self) -> String {
        match self.run.site.tekton {
            Tekton::Real => real::pod_of(&self.run.name),
            Tekton::StandIn => self.run.name.clone(),
        }
    }

    /// Cancels it: Tekton deletes the pod.
    pub fn cancel(&self) {
        let (namespace, name) = (&self.run.site.namespace, &self.run.name);
        match self.run.site.tekton {
            Tekton::Real => real::cancel_task_run(namespace, name),
            Tekton::StandIn => drop(namespace.kubectl(&["delete", "pod", name, "--wait=false"])),
        }
    }

    /// Waits until a step runs.
    pub fn until_it_runs(&mut self) {
        let runs = |pod: &Value| !pod["status"]["containerStatuses"][0]["state"]["running"].is_null();
        self.watch.until(|pod| runs(pod) || has_ended(pod));
        if self.run.site.tekton == Tekton::Real {
            // The container runs before the step does: its entrypoint waits for Tekton's word. The step's
            // first word tells that it was given.
            let mut log = self.follow_log();
            let mut first = String::new();
            BufReader::new(log.stdout.take().expect("a pipe")).read_line(&mut first).expect("UTF-8");
            let _ = log.kill();
            let _ = log.wait();
        }
    }

    /// Waits until it has ended, and reads what it leaves.
    pub fn wait(mut self) -> Ended {
        if let Some(watch) = &mut self.task_run {
            let task_run = watch.until(real::is_over);
            return real::ended(&self.run.site.namespace, task_run);
        }
        let pod = self.watch.until(has_ended);
        self.end(pod)
    }

    /// Follows what the last step says, with the time of each line.
    pub fn follow_log(&self) -> Child {
        let TaskRun { site, task, .. } = &self.run;
        let container = format!("step-{}", task.steps.last().expect("a step").name);
        let pod = self.pod();
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(kubeconfig()).args([
            "-n",
            &site.namespace.name,
            "logs",
            "-f",
            "--timestamps",
            &pod,
            "-c",
            &container,
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("kubectl")
    }

    /// Waits until somebody has deleted the pod, which then gets its grace period.
    pub fn until_it_is_deleted(&mut self) -> Value {
        self.watch.until(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
    }

    /// Waits until the pod is gone, as somebody has deleted it; what it was when it was last seen.
    pub fn wait_until_gone(mut self) -> Value {
        self.watch.until(|_| false)
    }

    fn end(self, pod: Value) -> Ended {
        let TaskRun { site, name, task, .. } = &self.run;
        let log = |step: &Step| {
            let container = format!("step-{}", step.name);
            let output = kubectl_output(&["-n", &site.namespace.name, "logs", name, "-c", &container], None);
            (step.name.clone(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let path = |result: &ResultSpec| {
            let of_step =
                result.value.as_deref().and_then(|value| value.strip_prefix("$(steps.")?.strip_suffix(')'));
            match of_step.and_then(|value| value.split_once(".results.")) {
                Some((step, inner)) => format!("steps/step-{step}/results/{inner}"),
                None => format!("results/{}", result.name),
            }
        };
        // All of them in one call, each after its name, with characters around it that no result has.
        let reads = task.results.iter().map(|result| {
            let (name, path) = (&result.name, path(result));
            format!("[ ! -e {path} ] || {{ printf '\\036{name}\\037'; cat {path}; }}\n")
        });
        let reads: String = reads.collect();
        let told =
            if reads.is_empty() { String::new() } else { site.keep(&format!("cd records/{name}\n{reads}")) };
        let results = told.split('\u{1e}').filter_map(|result| result.split_once('\u{1f}'));
        let succeeded = pod["status"]["phase"] == "Succeeded";
        Ended {
            succeeded,
            reason: if succeeded { "Succeeded".into() } else { "Failed".into() },
            steps: task
                .steps
                .iter()
                .filter_map(|step| Some((step.name.clone(), terminated(&pod, &step.name)?)))
                .collect(),
            logs: task.steps.iter().map(log).collect(),
            results: results.map(|(name, value)| (name.into(), value.into())).collect(),
            pod,
            task_run: Value::Null,
        }
    }
}

/// How a step's container ended.
fn terminated(pod: &Value, step: &str) -> Option<Value> {
    let status = &pod["status"];
    let lists = [&status["initContainerStatuses"], &status["containerStatuses"]];
    let mut containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let container = containers.find(|container| container["name"] == json!(format!("step-{step}")))?;
    Some(container["state"]["terminated"].clone()).filter(|state| !state.is_null())
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// What becomes of one object, event by event.
pub struct Watch {
    child: Child,
    events: serde_json::StreamDeserializer<
        'static,
        serde_json::de::IoRead<BufReader<std::process::ChildStdout>>,
        Value,
    >,
    last: Value,
}

impl Watch {
    /// Begins to watch.
    pub fn start(namespace: &str, kind: &str, name: &str) -> Self {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(kubeconfig()).args([
            "-n",
            namespace,
            "get",
            kind,
            "--watch",
            "--output-watch-events",
        ]);
        command.args(["-o", "json", "--field-selector", &format!("metadata.name={name}")]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("kubectl");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, events: serde_json::Deserializer::from_reader(output).into_iter(), last: Value::Null }
    }

    /// The object once it fits, or once it is gone.
    pub fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        while !fits(&self.last) {
            let event = self.events.next().expect("the watch goes on").expect("an event");
            self.last = event["object"].clone();
            if event["type"] == "DELETED" {
                break;
            }
        }
        self.last.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
