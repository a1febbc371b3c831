//! Every Task and StepAction, with each of its params given and left away, as the list in
//! `support/tekton/combinations.rs` has them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSecurityContext;

use super::ended::Ended;
use super::pod::TaskRun;
use super::site::Site;
use crate::harness::client_image;
use crate::tekton_catalog::combinations::{Call, SCENES, SOURCE, Scene};
use crate::tekton_catalog::model::{
    Param, ParamValue, Reference, ResultSpec, Step, TaskSpec, WorkspaceDeclaration,
};
use crate::tekton_catalog::variables::Variables;

/// That of the image's user, and of its workspace.
const GROUP: u32 = 65532;

#[test]
fn tasks_take_every_param() {
    play_all("tasks", |play| play.of_tasks());
}

#[test]
fn step_actions_take_every_param() {
    play_all("step-actions", |play| play.of_step_actions());
}

/// All scenes at once.
fn play_all(prefix: &str, play: fn(&Play<'_>)) {
    let Some(site) = Site::new(prefix) else { return };
    site.apply("samples/lock-rbac.yaml");
    allow_replicas(&site);
    std::thread::scope(|scope| {
        for scene in SCENES {
            scope.spawn(|| {
                if !scene.objects.is_empty() {
                    site.namespace.apply(&scene.objects.replace("IMAGE", &client_image()));
                }
                play(&Play::new(&site, scene));
            });
        }
    });
}

/// The sample names one Deployment, and says what else is to be written for others.
fn allow_replicas(site: &Site) {
    for document in site.catalog.in_file("samples/lock-on-rbac.yaml") {
        let mut value = document.value.clone();
        if value["kind"] == "Role" {
            value["rules"][0]["resources"] = serde_json::json!(["deployments", "statefulsets"]);
            value["rules"][0]["resourceNames"] = serde_json::json!(["builder", "store", "never"]);
        }
        site.namespace.apply(&value.to_string());
    }
}

/// A scene in a PipelineRun of its own.
struct Play<'a> {
    site: &'a Site,
    scene: &'a Scene,
    variables: Variables,
}

impl<'a> Play<'a> {
    fn new(site: &'a Site, scene: &'a Scene) -> Self {
        let name = scene.name;
        let uid = site.pipeline_run(name);
        let mut variables = Variables::default();
        for (part, value) in [("name", name), ("uid", &uid), ("namespace", &site.namespace.name)] {
            variables.text(format!("context.pipelineRun.{part}"), value);
        }
        let play = Self { site, scene, variables };
        site.make_workspace(&play.folder(), GROUP);
        for (file, text) in scene.files {
            let text = text.replace("IMAGE", &client_image());
            site.keep(&format!(
                "cd {}; mkdir -p $(dirname {file}); cat >{file} <<'END'\n{text}END\nchmod -R a+rX .",
                play.folder()
            ));
        }
        play
    }

    fn folder(&self) -> String {
        format!("workspaces/{}/source", self.scene.name)
    }

    /// A pod for each call.
    fn of_tasks(&self) {
        for (at, call) in self.scene.calls.iter().enumerate() {
            let task = self.site.catalog.task(call.of).expect("a Task of the catalog").spec.clone();
            let step = task.steps[0].name.clone();
            // What a StepAction finds in its folder, a Task finds in its workspace.
            let params = self.params(call).into_iter().filter(|param| param.name != SOURCE).collect();
            let ended = self.task_run(at, call, task, params).run();
            let results = ended.results.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            self.check(call, &ended, &step, results);
        }
    }

    /// A pod for calls that come one after the other, until one fails or something has to be looked at.
    fn of_step_actions(&self) {
        let mut first = 0;
        for calls in self.scene.calls.split_inclusive(|call| call.exit_code != 0 || !call.leaves.is_empty()) {
            let mut task = TaskSpec {
                workspaces: vec![WorkspaceDeclaration {
                    name: SOURCE.into(),
                    description: String::new(),
                    optional: None,
                }],
                ..TaskSpec::default()
            };
            for (call, name) in calls.iter().zip(step_names()) {
                let action = self.site.catalog.step_action(call.of).expect("a StepAction of the catalog");
                task.results.extend(action.spec.results.iter().map(|result| ResultSpec {
                    name: format!("{name}.{}", result.name),
                    value: Some(format!("$(steps.{name}.results.{})", result.name)),
                    ..result.clone()
                }));
                let reference = Some(Reference { name: call.of.into(), kind: None });
                task.steps.push(Step { name, reference, params: self.params(call), ..Step::default() });
            }
            let ended = self.task_run(first, &calls[0], task, Vec::new()).run();
            for (call, name) in calls.iter().zip(step_names()) {
                let results = ended.results.iter().filter_map(|(result, value)| {
                    let result = result.strip_prefix(&format!("{name}."))?;
                    Some(format!("{result}={value}\n"))
                });
                self.check(call, &ended, &name, results.collect());
            }
            first += calls.len();
        }
    }

    fn params(&self, call: &Call) -> Vec<Param> {
        let given = call
            .params
            .iter()
            .map(|(name, value)| Param { name: (*name).into(), value: ParamValue::Text(self.fill(value)) });
        given.chain([Site::image()]).collect()
    }

    fn fill(&self, text: &str) -> String {
        self.variables.substitute(text)
    }

    fn task_run(&self, number: usize, call: &Call, task: TaskSpec, params: Vec<Param>) -> TaskRun<'a> {
        let account = if call.of.starts_with("testbed-lock") { "testbed-lock" } else { "testbed" };
        let labels = [("tekton.dev/pipelineRun", "name"), ("tekton.dev/pipelineRunUID", "uid")];
        let label = |(label, part): (&str, &str)| {
            (label.to_owned(), self.fill(&format!("$(context.pipelineRun.{part})")))
        };
        TaskRun {
            site: self.site,
            name: format!("{}-{number}", self.scene.name),
            workspaces: task
                .workspaces
                .iter()
                .map(|workspace| (workspace.name.clone(), Some(self.folder())))
                .collect(),
            task,
            params,
            service_account: Some(account.into()),
            security_context: Some(PodSecurityContext {
                fs_group: Some(GROUP.into()),
                ..PodSecurityContext::default()
            }),
            labels: labels.into_iter().map(label).collect::<BTreeMap<_, _>>(),
        }
    }

    /// What a call has said, handed on and left is what the list says.
    fn check(&self, call: &Call, ended: &Ended, step: &str, results: String) {
        let said = format!("{}{results}", ended.logs[step]);
        let what = format!("{} of {} with {:?}", self.scene.name, call.of, call.params);
        assert_eq!(
            ended.exit_code(step),
            Some(call.exit_code),
            "{what}: {said}\n{:#?}",
            ended.terminated(step)
        );
        // A step that comes after it with `onError: continue`, or a task that takes its results, finds none
        // and not half of them; and the message belongs to Tekton, which writes results there.
        assert!(call.exit_code == 0 || results.is_empty(), "{what}: it failed, and hands on {results}");
        assert!(
            ended.terminated(step).is_none_or(|state| state["message"].is_null()),
            "{what}: {:#?}",
            ended.terminated(step)
        );
        for text in call.tells.iter().map(|text| self.fill(text)) {
            assert!(said.contains(&text), "{what}: {text:?} is not in\n{said}");
        }
        for (look, text) in call.leaves {
            let (look, text) = (self.fill(look), self.fill(text));
            let found = match look.strip_prefix("kubectl ") {
                Some(args) => self.site.namespace.kubectl(&args.split(' ').collect::<Vec<_>>()),
                None => self.site.keep(&format!("cd {}; {look}", self.folder())),
            };
            let fits = if text.is_empty() { found.is_empty() } else { found.contains(&text) };
            assert!(fits, "{what}: {look}: {text:?} is not in\n{found}\n{said}");
        }
    }
}

fn step_names() -> impl Iterator<Item = String> {
    (0..).map(|number| format!("call-{number}"))
}
