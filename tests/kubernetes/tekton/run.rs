//! A PipelineRun: which task comes when, with which values, and `finally` in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use k8s_openapi::api::core::v1::PodSecurityContext;
use serde_json::{Value, json};

use super::ended::Ended;
use super::pod::TaskRun;
use super::real;
use super::site::{ASSIGNED, Site, Tekton};
use crate::harness::{kubectl_output, run_id};
use crate::pipeline_runs::PipelineRuns;
use crate::tekton_catalog::documents::Content;
use crate::tekton_catalog::model::{Object, Param, PipelineRunSpec, PipelineSpec, PipelineTask, TaskSpec};
use crate::tekton_catalog::variables::{Variables, canonical, references};

/// A PipelineRun of the catalog, about to be carried out.
pub struct PipelineRun<'a> {
    site: &'a Site,
    spec: PipelineRunSpec,
    pipeline: PipelineSpec,
    /// As the API server has given them.
    pub name: String,
    pub uid: String,
    security_context: Option<PodSecurityContext>,
    group: u32,
    /// Where its workspaces are on the volume.
    folder: String,
}

/// How a PipelineRun ended.
pub struct Outcome {
    /// Whether all tasks succeeded, those of `finally` among them.
    pub succeeded: bool,
    /// What Tekton calls that.
    pub reason: String,
    /// Every task that ran, by its name.
    pub tasks: BTreeMap<String, Ended>,
    /// When tasks began and ended, in that order: `+name`, `-name`.
    pub story: Vec<String>,
}

impl Outcome {
    pub fn task(&self, name: &str) -> &Ended {
        self.tasks.get(name).unwrap_or_else(|| panic!("{name} did not run: {:?}", self.story))
    }

    /// Its tasks have to have succeeded, and Tekton to say so.
    pub fn has_succeeded(&self) {
        assert!(self.succeeded && self.reason == "Succeeded", "{}\n{}", self.reason, self.transcript());
    }

    /// One of its tasks has to have failed, and Tekton to say so.
    pub fn has_failed(&self) {
        assert!(!self.succeeded && self.reason == "Failed", "{}\n{}", self.reason, self.transcript());
    }

    /// Everything that was said, for a failed test.
    pub fn transcript(&self) -> String {
        let tasks = self.tasks.iter().map(|(name, ended)| format!("--- {name}\n{}", ended.log()));
        format!("{:?}\n{}", self.story, tasks.collect::<String>())
    }
}

impl<'a> PipelineRun<'a> {
    /// Makes the PipelineRun of a file as an object: one that is pending, so that nobody else begins with it.
    pub fn create(site: &'a Site, file: &str) -> Self {
        Self::create_with(site, file, |_| ())
    }

    /// The same with a change.
    pub fn create_with(site: &'a Site, file: &str, change: impl FnOnce(&mut PipelineRunSpec)) -> Self {
        let runs = site.catalog.in_file(file).find_map(|document| match &document.content {
            Content::PipelineRun(run) => Some(run.clone()),
            _ => None,
        });
        let Object { api_version, kind, metadata, mut spec } =
            runs.unwrap_or_else(|| panic!("no PipelineRun in {file}"));
        change(&mut spec);
        let folder = format!("workspaces/{}", run_id());
        let mut body = serde_json::to_value(&spec).expect("a spec");
        body["status"] = "PipelineRunPending".into();
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": body});
        if site.tekton == Tekton::Real {
            real::adapt(&mut object, &folder);
        }
        let object = object.to_string();
        let output = kubectl_output(
            &["-n", &site.namespace.name, "create", "-o", "json", "-f", "-"],
            Some(object.as_bytes()),
        );
        assert!(output.status.success(), "{object}\n{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |field: &str| made["metadata"][field].as_str().expect("a text").to_owned();
        let referred = spec
            .pipeline_ref
            .as_ref()
            .and_then(|reference| site.catalog.pipeline(&reference.name))
            .map(|pipeline| &pipeline.spec);
        let pipeline = referred.or(spec.pipeline_spec.as_ref()).expect("a Pipeline").clone();
        let template = spec.task_run_template.as_ref().and_then(|template| template.pod_template.as_ref());
        let security_context = template.and_then(|template| template.security_context.clone());
        let named = security_context.as_ref().and_then(|context| context.fs_group);
        let group = named.map_or(ASSIGNED, |group| u32::try_from(group).expect("a group"));
        Self { site, pipeline, name: text("name"), uid: text("uid"), security_context, group, spec, folder }
    }

    /// Where a workspace's files are, for [`Site::keep`].
    pub fn folder(&self, workspace: &str) -> String {
        format!("{}/{workspace}", self.folder)
    }

    /// Carries it out.
    pub fn run(&self) -> Outcome {
        for workspace in &self.spec.workspaces {
            self.check_claim(
                workspace
                    .volume_claim_template
                    .as_ref()
                    .map(|claim| serde_json::to_value(&claim.spec).expect("a spec")),
            );
            self.site.make_workspace(&self.folder(&workspace.name), self.group);
        }
        match self.site.tekton {
            Tekton::Real => real::run(self.site, &self.name),
            Tekton::StandIn => {
                let mut outcome = Outcome {
                    succeeded: true,
                    reason: String::new(),
                    tasks: BTreeMap::new(),
                    story: Vec::new(),
                };
                self.carry_out(&self.pipeline.tasks, &mut outcome);
                // Whatever became of the tasks.
                self.carry_out(&self.pipeline.finally, &mut outcome);
                outcome.reason = if outcome.succeeded { "Succeeded".into() } else { "Failed".into() };
                outcome
            }
        }
    }

    /// Cancels it, and waits until it says so: no `finally` runs.
    pub fn cancel(&self) {
        match self.site.tekton {
            Tekton::Real => real::cancel(self.site, &self.name),
            Tekton::StandIn => {
                let over =
                    json!({"conditions": [{"type": "Succeeded", "status": "False", "reason": "Cancelled"}]});
                PipelineRuns(&self.site.namespace).tell(&self.name, &over);
            }
        }
    }

    /// The cluster takes the claim that Tekton would make.
    fn check_claim(&self, spec: Option<Value>) {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "trial"}, "spec": spec});
        let args = ["-n", &self.site.namespace.name, "create", "--dry-run=server", "-f", "-"];
        let output = kubectl_output(&args, Some(claim.to_string().as_bytes()));
        assert!(output.status.success(), "{claim}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs tasks side by side, each once all that it waits for has succeeded. After a failure no other
    /// begins.
    fn carry_out(&self, tasks: &[PipelineTask], outcome: &mut Outcome) {
        let (to, from) = mpsc::channel();
        std::thread::scope(|scope| {
            let (mut begun, mut running, mut failed) = (BTreeSet::new(), 0, false);
            loop {
                let is_done = |name: &String| outcome.tasks.get(name).is_some_and(|ended| ended.succeeded);
                let ready = tasks.iter().filter(|task| {
                    !failed && !begun.contains(&task.name) && awaited(task).iter().all(is_done)
                });
                let ready: Vec<(&PipelineTask, PipelineTask)> =
                    ready.map(|task| (task, self.fill(task, &outcome.tasks))).collect();
                for (task, filled) in ready {
                    begun.insert(task.name.clone());
                    outcome.story.push(format!("+{}", task.name));
                    running += 1;
                    let to = to.clone();
                    scope.spawn(move || {
                        let name = filled.name.clone();
                        // Whoever listens does so until all have ended.
                        let _ = to.send((name, self.attempts(filled)));
                    });
                }
                if running == 0 {
                    break;
                }
                let (name, ended): (String, Ended) = from.recv().expect("a task that ends");
                running -= 1;
                failed |= !ended.succeeded;
                outcome.succeeded &= ended.succeeded;
                outcome.story.push(format!("-{name}"));
                outcome.tasks.insert(name, ended);
            }
        });
    }

    /// The task with the pipeline's variables put in, in its own `taskSpec` as well.
    fn fill(&self, task: &PipelineTask, ended: &BTreeMap<String, Ended>) -> PipelineTask {
        let mut variables = Variables::default();
        // The images of this build, unless the run names others.
        let images = Site::images(&self.pipeline.params);
        let named = |param: &Param| images.iter().all(|image| image.name != param.name);
        let passed: Vec<Param> =
            self.spec.params.iter().filter(|param| named(param)).cloned().chain(images.clone()).collect();
        variables.params(&self.pipeline.params, &passed);
        for (name, value) in
            [("name", &self.name), ("uid", &self.uid), ("namespace", &self.site.namespace.name)]
        {
            variables.text(format!("context.pipelineRun.{name}"), value);
        }
        for (name, ended) in ended {
            for (result, value) in &ended.results {
                variables.text(format!("tasks.{name}.results.{result}"), value);
            }
        }
        let value = serde_json::to_value(task).expect("a task");
        serde_json::from_value(variables.substitute_all(&value)).expect("a task")
    }

    fn attempts(&self, task: PipelineTask) -> Ended {
        let mut ended = self.task_run(&task, 0).run();
        for attempt in 1..=task.retries.unwrap_or_default() {
            if ended.succeeded {
                break;
            }
            ended = self.task_run(&task, attempt).run();
        }
        ended
    }

    /// The TaskRun of a task whose variables are filled in.
    fn task_run(&self, task: &PipelineTask, attempt: u32) -> TaskRun<'a> {
        let referred = task
            .task_ref
            .as_ref()
            .and_then(|reference| self.site.catalog.task(&reference.name))
            .map(|task| &task.spec);
        let spec: TaskSpec = referred.or(task.task_spec.as_ref()).expect("a Task").clone();
        let own = self.spec.task_run_specs.iter().find(|spec| spec.pipeline_task_name == task.name);
        let template = self.spec.task_run_template.as_ref();
        let account = own
            .and_then(|spec| spec.service_account_name.clone())
            .or(template.and_then(|template| template.service_account_name.clone()));
        let folder = |name: &str| Some(self.folder(name));
        let images = Site::images(&spec.params)
            .into_iter()
            .filter(|image| task.params.iter().all(|param| param.name != image.name));
        TaskRun {
            site: self.site,
            name: format!("{}-{}-{attempt}", self.name, task.name),
            params: task.params.iter().cloned().chain(images).collect(),
            workspaces: task
                .workspaces
                .iter()
                .map(|workspace| (workspace.name.clone(), folder(&workspace.workspace)))
                .collect(),
            service_account: account,
            security_context: self.security_context.clone(),
            labels: self.labels(task),
            task: spec,
        }
    }

    /// A task of the pipeline outside of the order, once more or at a moment of the test's.
    pub fn single(&self, name: &str) -> TaskRun<'a> {
        let task = self
            .pipeline
            .tasks
            .iter()
            .chain(&self.pipeline.finally)
            .find(|task| task.name == name)
            .expect("a task of the pipeline");
        for workspace in &self.spec.workspaces {
            self.site.make_workspace(&self.folder(&workspace.name), self.group);
        }
        self.task_run(&self.fill(task, &BTreeMap::new()), 0)
    }

    fn labels(&self, task: &PipelineTask) -> BTreeMap<String, String> {
        let is_last = self.pipeline.finally.iter().any(|last| last.name == task.name);
        let labels = [
            ("tekton.dev/pipelineRun", self.name.as_str()),
            ("tekton.dev/pipelineRunUID", &self.uid),
            ("tekton.dev/pipelineTask", &task.name),
            ("tekton.dev/memberOf", if is_last { "finally" } else { "tasks" }),
        ];
        labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// What a task waits for: those that it names, and those whose results it takes.
fn awaited(task: &PipelineTask) -> BTreeSet<String> {
    let value = serde_json::to_value(task).expect("a task");
    let names = references(&value).into_iter().filter_map(|name| {
        let name = canonical(&name);
        let (task, rest) = name.strip_prefix("tasks.")?.split_once('.')?;
        rest.starts_with("results.").then(|| task.to_owned())
    });
    task.run_after.iter().cloned().chain(names).collect()
}
