//! A TaskRun, and the pod that Tekton's controller would make of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSecurityContext;
use serde_json::{Value, json};

use super::ended::{Ended, Started, Watch};
use super::real;
use super::site::{Site, Tekton};
use crate::tekton_catalog::model::{OnError, Param, Step, TaskSpec};
use crate::tekton_catalog::variables::Variables;

/// A TaskRun to be.
pub struct TaskRun<'a> {
    pub site: &'a Site,
    /// Its name; the pod's as well, where these tests make it.
    pub name: String,
    pub task: TaskSpec,
    pub params: Vec<Param>,
    /// What is behind each workspace: a folder on the volume, or nothing for one that is empty and goes with
    /// the pod.
    pub workspaces: BTreeMap<String, Option<String>>,
    pub service_account: Option<String>,
    pub security_context: Option<PodSecurityContext>,
    /// The labels that it has as a part of a PipelineRun; none for a lone one.
    pub labels: BTreeMap<String, String>,
}

impl<'a> TaskRun<'a> {
    /// Starts it and waits until it has ended.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Makes the TaskRun where Tekton carries it out, else the pod.
    pub fn start(self) -> Started<'a> {
        match self.site.tekton {
            Tekton::Real => real::start(self),
            Tekton::StandIn => self.make_pod(),
        }
    }

    fn make_pod(self) -> Started<'a> {
        let steps: Vec<Step> = self.task.steps.iter().map(|step| self.fill(step)).collect();
        let folders: Vec<String> =
            steps.iter().map(|step| format!("steps/step-{}/results", step.name)).collect();
        let records = format!("records/{}", self.name);
        // Tekton's are emptyDirs that everyone may write; these stay, to be read when the pod has ended.
        self.site.keep(&format!(
            "mkdir -p {records}/results; cd {records}; mkdir -p {}; chmod -R 777 .",
            folders.join(" ")
        ));
        let namespace = &self.site.namespace;
        let scripts: serde_json::Map<String, Value> =
            steps.iter().filter_map(|step| Some((step.name.clone(), script(step)?.into()))).collect();
        if !scripts.is_empty() {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{}-scripts", self.name)}, "data": scripts});
            namespace.apply(&map.to_string());
        }
        let pod = self.pod(&steps, !scripts.is_empty());
        let watch = Watch::start(&namespace.name, "pods", &self.name);
        namespace.apply(&pod.to_string());
        Started::new(self, watch, None)
    }

    /// The step with everything put in that Tekton puts in.
    fn fill(&self, step: &Step) -> Step {
        let variables = self.variables();
        let Some(reference) = &step.reference else { return filled(step, &variables) };
        let action = self
            .site
            .catalog
            .step_action(&reference.name)
            .unwrap_or_else(|| panic!("no StepAction {}", reference.name));
        let own = filled(step, &variables);
        let mut inside = Variables::default();
        inside.params(&action.spec.params, &own.params);
        for result in &action.spec.results {
            inside.text(
                format!("step.results.{}.path", result.name),
                format!("/tekton/steps/step-{}/results/{}", step.name, result.name),
            );
        }
        filled(&own.with_action(&action.spec), &inside)
    }

    fn variables(&self) -> Variables {
        let mut variables = Variables::default();
        variables.params(&self.task.params, &self.params);
        for name in self.workspaces.keys() {
            variables.text(format!("workspaces.{name}.path"), format!("/workspace/{name}"));
            variables.text(format!("workspaces.{name}.bound"), "true");
        }
        for result in &self.task.results {
            variables
                .text(format!("results.{}.path", result.name), format!("/tekton/results/{}", result.name));
        }
        for step in &self.task.steps {
            variables.text(
                format!("steps.step-{}.exitCode.path", step.name),
                format!("/tekton/steps/step-{}/exitCode", step.name),
            );
        }
        variables.text("context.taskRun.name", &self.name);
        variables.text("context.taskRun.namespace", &self.site.namespace.name);
        variables
    }

    /// Tekton's entrypoint lets the steps of a pod wait for each other. Here all but the last are init
    /// containers, which do.
    fn pod(&self, steps: &[Step], has_scripts: bool) -> Value {
        let mut containers: Vec<Value> =
            steps.iter().enumerate().map(|(index, step)| self.container(step, index, has_scripts)).collect();
        let last = containers.pop().expect("a step");
        let mut labels = self.labels.clone();
        labels.insert("app.kubernetes.io/managed-by".into(), "tekton-pipelines".into());
        labels.insert("tekton.dev/taskRun".into(), self.name.clone());
        let empty = |name: &str| json!({"name": format!("tekton-internal-{name}"), "emptyDir": {}});
        let mut volumes = vec![empty("workspace"), empty("home"), empty("bin")];
        volumes.extend((0..steps.len()).map(|index| empty(&format!("run-{index}"))));
        volumes.push(json!({"name": "volume", "persistentVolumeClaim": {"claimName": "volume"}}));
        volumes.extend(
            self.workspaces
                .iter()
                .filter(|(_, folder)| folder.is_none())
                .map(|(name, _)| json!({"name": format!("ws-{name}"), "emptyDir": {}})),
        );
        volumes
            .extend(self.task.volumes.iter().map(|volume| serde_json::to_value(volume).expect("a volume")));
        if has_scripts {
            let map = json!({"name": format!("{}-scripts", self.name), "defaultMode": 0o755});
            volumes.push(json!({"name": "tekton-internal-scripts", "configMap": map}));
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": self.service_account.as_deref().unwrap_or("default"),
                "securityContext": self.security_context,
                "initContainers": containers,
                "containers": [last],
                "volumes": volumes,
            },
        })
    }

    fn container(&self, step: &Step, index: usize, has_scripts: bool) -> Value {
        let mount =
            |name: &str, path: &str| json!({"name": format!("tekton-internal-{name}"), "mountPath": path});
        let on_volume =
            |path: &str, folder: String| json!({"name": "volume", "mountPath": path, "subPath": folder});
        let records = format!("records/{}", self.name);
        let mut mounts = vec![
            mount("workspace", "/workspace"),
            mount("home", "/tekton/home"),
            mount(&format!("run-{index}"), &format!("/tekton/run/{index}")),
            json!({"name": "tekton-internal-bin", "mountPath": "/tekton/bin", "readOnly": true}),
            on_volume("/tekton/results", format!("{records}/results")),
            on_volume("/tekton/steps", format!("{records}/steps")),
        ];
        mounts.extend(self.workspaces.iter().map(|(name, folder)| match folder {
            Some(folder) => on_volume(&format!("/workspace/{name}"), folder.clone()),
            None => json!({"name": format!("ws-{name}"), "mountPath": format!("/workspace/{name}")}),
        }));
        mounts.extend(step.volume_mounts.iter().map(|mount| serde_json::to_value(mount).expect("a mount")));
        let mut env: Vec<Value> =
            step.env.iter().map(|variable| serde_json::to_value(variable).expect("a variable")).collect();
        if has_scripts {
            mounts.push(mount("scripts", "/tekton/scripts"));
        }
        let (command, args) = call(step);
        if step.image.as_ref().is_some_and(|image| image.contains("python")) {
            mounts.push(
                json!({"name": "volume", "mountPath": "/opt/python", "subPath": "python", "readOnly": true}),
            );
            env.push(json!({"name": "PYTHONPATH", "value": "/opt/python"}));
        }
        json!({
            "name": format!("step-{}", step.name),
            "image": step.image,
            "command": command,
            "args": args,
            "workingDir": step.working_dir,
            "env": env,
            "volumeMounts": mounts,
            "resources": step.compute_resources,
            "securityContext": step.security_context,
        })
    }
}

/// A step in which the variables are replaced.
fn filled(step: &Step, variables: &Variables) -> Step {
    let value = serde_json::to_value(step).expect("a step");
    serde_json::from_value(variables.substitute_all(&value)).expect("a step")
}

/// A step's script as a file; Tekton's shell where it names none.
fn script(step: &Step) -> Option<String> {
    let script = step.script.as_ref()?;
    Some(if script.starts_with("#!") { script.clone() } else { format!("#!/bin/sh\nset -e\n{script}") })
}

/// What the container calls. A step that may fail leaves its exit code where Tekton's entrypoint does.
fn call(step: &Step) -> (Vec<String>, Vec<String>) {
    let command = match script(step) {
        Some(_) => vec![format!("/tekton/scripts/{}", step.name)],
        None => step.command.clone(),
    };
    if step.on_error != Some(OnError::Continue) {
        return (command, step.args.clone());
    }
    assert!(step.script.is_some(), "only a step with a shell can play the entrypoint's part");
    let entrypoint = "\"$@\"; printf %s $? >\"/tekton/steps/$0/exitCode\"".to_owned();
    let args = command.into_iter().chain(step.args.clone());
    (vec!["sh".into(), "-c".into(), entrypoint, format!("step-{}", step.name)], args.collect())
}
