//! What is put together fits: params and workspaces that are passed are wanted, those that are wanted are
//! passed, `finally` always gets its window, and a ServiceAccount with rights goes to testbed's own tasks
//! alone.

use std::time::Duration;

use crate::tekton::documents::{Catalog, Content};
use crate::tekton::model::{
    Param, ParamKind, ParamSpec, ParamValue, PipelineRunSpec, PipelineSpec, PipelineTask, TaskRunSpec,
    TaskSpec, Timeouts,
};
use crate::tekton::variables::references;
use crate::variables::spec_of;

/// The tasks that need rights: what one of them does, the other undoes in `finally`.
const WITH_RIGHTS: [(&str, &str); 2] =
    [("testbed-up", "testbed-down"), ("testbed-lock-acquire", "testbed-lock-release")];

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    for document in &catalog.documents {
        let found = match &document.content {
            Content::Task(task) => of_steps(catalog, &task.spec),
            Content::Pipeline(pipeline) => of_pipeline(catalog, &pipeline.spec),
            Content::PipelineRun(run) => of_run(catalog, &run.spec),
            Content::TaskRun(run) => of_task_run(catalog, &run.spec),
            Content::StepAction(_) | Content::Other { .. } => continue,
        };
        problems.extend(found.into_iter().map(|text| format!("{}: {text}", document.file)));
    }
    problems
}

fn of_pipeline(catalog: &Catalog, pipeline: &PipelineSpec) -> Vec<String> {
    let mut problems = Vec::new();
    let names: Vec<&str> = pipeline.tasks.iter().map(|task| task.name.as_str()).collect();
    for task in pipeline.tasks.iter().chain(&pipeline.finally) {
        let mut say = |text: String| problems.push(format!("task {}: {text}", task.name));
        let Some(spec) = spec_of(catalog, task) else {
            say("it is no Task of the catalog".into());
            continue;
        };
        passed(&task.params, &spec.params).into_iter().for_each(&mut say);
        let unknown = task.run_after.iter().filter(|name| !names.contains(&name.as_str()));
        unknown.for_each(|name| say(format!("runAfter {name}, which is no task")));
        let wanted: Vec<&str> = spec.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
        let given: Vec<&str> = task.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
        if wanted != given {
            say(format!("it wants the workspaces {wanted:?} and gets {given:?}"));
        }
        for workspace in &task.workspaces {
            if !pipeline.workspaces.iter().any(|declared| declared.name == workspace.workspace) {
                say(format!("the pipeline has no workspace {}", workspace.workspace));
            }
        }
        problems.extend(task.task_spec.iter().flat_map(|spec| of_steps(catalog, spec)));
    }
    for task in &pipeline.finally {
        let results = references(&serde_json::to_value(task).expect("a value"));
        if results.iter().any(|name| name.starts_with("tasks.") && name.contains(".results.")) {
            problems.push(format!(
                "task {}: in finally, and refers to a result: it is skipped where that is missing",
                task.name
            ));
        }
    }
    let calls = |tasks: &[PipelineTask], name: &str| tasks.iter().any(|task| refers_to(task, name));
    for (first, last) in WITH_RIGHTS {
        if calls(&pipeline.tasks, first) && !calls(&pipeline.finally, last) {
            problems.push(format!("{first} without {last} in finally"));
        }
    }
    problems
}

fn refers_to(task: &PipelineTask, name: &str) -> bool {
    task.task_ref.as_ref().is_some_and(|reference| reference.name == name)
}

fn of_run(catalog: &Catalog, run: &PipelineRunSpec) -> Vec<String> {
    let referred = run
        .pipeline_ref
        .as_ref()
        .and_then(|reference| catalog.pipeline(&reference.name))
        .map(|pipeline| &pipeline.spec);
    let Some(pipeline) = referred.or(run.pipeline_spec.as_ref()) else {
        return vec!["there is no such Pipeline".into()];
    };
    let mut problems = run.pipeline_spec.as_ref().map(|spec| of_pipeline(catalog, spec)).unwrap_or_default();
    problems.extend(passed(&run.params, &pipeline.params));
    let wanted: Vec<&str> = pipeline.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
    let given: Vec<&str> = run.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
    if wanted != given {
        problems.push(format!("the pipeline wants the workspaces {wanted:?} and gets {given:?}"));
    }
    problems.extend(of_timeouts(run.timeouts.as_ref(), !pipeline.finally.is_empty()));
    let tasks = || pipeline.tasks.iter().chain(&pipeline.finally);
    for spec in &run.task_run_specs {
        if !tasks().any(|task| task.name == spec.pipeline_task_name) {
            problems.push(format!("taskRunSpecs: there is no task {}", spec.pipeline_task_name));
        }
    }
    for task in tasks() {
        let own = run.task_run_specs.iter().find(|spec| spec.pipeline_task_name == task.name);
        let account = own.and_then(|spec| spec.service_account_name.as_ref());
        let account = account
            .or(run.task_run_template.as_ref().and_then(|template| template.service_account_name.as_ref()));
        problems.extend(
            of_account(catalog, account, needs_rights(catalog, task))
                .map(|text| format!("task {}: {text}", task.name)),
        );
    }
    problems
}

fn of_task_run(catalog: &Catalog, run: &TaskRunSpec) -> Vec<String> {
    let referred =
        run.task_ref.as_ref().and_then(|reference| catalog.task(&reference.name)).map(|task| &task.spec);
    let Some(task) = referred.or(run.task_spec.as_ref()) else { return vec!["there is no such Task".into()] };
    let mut problems = run.task_spec.as_ref().map(|spec| of_steps(catalog, spec)).unwrap_or_default();
    problems.extend(passed(&run.params, &task.params));
    let wanted: Vec<&str> = task.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
    let given: Vec<&str> = run.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
    if wanted != given {
        problems.push(format!("the Task wants the workspaces {wanted:?} and gets {given:?}"));
    }
    problems.extend(of_account(catalog, run.service_account_name.as_ref(), true));
    problems
}

/// What steps pass to StepActions.
fn of_steps(catalog: &Catalog, task: &TaskSpec) -> Vec<String> {
    let mut problems = Vec::new();
    for step in &task.steps {
        let mut say = |text: String| problems.push(format!("step {}: {text}", step.name));
        let Some(reference) = &step.reference else {
            if step.image.is_none() || !step.params.is_empty() {
                say("a step without ref needs an image, and takes no params".into());
            }
            continue;
        };
        let Some(action) = catalog.step_action(&reference.name) else {
            say(format!("there is no StepAction {}", reference.name));
            continue;
        };
        passed(&step.params, &action.spec.params).into_iter().for_each(&mut say);
        let own = step.image.is_some() || step.script.is_some() || step.working_dir.is_some();
        if own
            || !step.command.is_empty()
            || !step.args.is_empty()
            || !step.env.is_empty()
            || !step.volume_mounts.is_empty()
        {
            say("it has a ref, and says itself what the StepAction says: Tekton refuses that".into());
        }
    }
    problems
}

/// What is wrong with the params that something passes to what wants these.
fn passed(given: &[Param], wanted: &[ParamSpec]) -> Vec<String> {
    let mut problems = Vec::new();
    for Param { name, value } in given {
        let Some(spec) = wanted.iter().find(|spec| spec.name == *name) else {
            problems.push(format!("there is no param {name}"));
            continue;
        };
        let is_list = matches!(value, ParamValue::List(_));
        if is_list != (spec.kind == Some(ParamKind::Array)) {
            problems.push(format!("the param {name} is of another type"));
        }
    }
    let missing = wanted
        .iter()
        .filter(|spec| spec.default.is_none() && !given.iter().any(|param| param.name == spec.name));
    problems.extend(missing.map(|spec| format!("the param {} is missing", spec.name)));
    problems
}

/// The tasks and `finally` have to fit into the pipeline's time, and `finally` has to have some.
fn of_timeouts(timeouts: Option<&Timeouts>, has_finally: bool) -> Option<String> {
    if !has_finally {
        return None;
    }
    let time =
        |text: &Option<String>| -> Option<Duration> { humantime::parse_duration(text.as_deref()?).ok() };
    let times =
        timeouts.map(|timeouts| (time(&timeouts.pipeline), time(&timeouts.tasks), time(&timeouts.finally)));
    let Some((Some(pipeline), Some(tasks), Some(finally))) = times else {
        return Some("timeouts: pipeline, tasks and finally, or finally may get no time".into());
    };
    (tasks + finally > pipeline || finally < Duration::from_secs(120))
        .then(|| "timeouts leave finally no time".into())
}

/// Whether a task calls testbed, itself or in a step.
fn needs_rights(catalog: &Catalog, task: &PipelineTask) -> bool {
    let calls = |name: &str| WITH_RIGHTS.iter().any(|(first, last)| [first, last].contains(&&name));
    let steps = spec_of(catalog, task).map(|spec| &spec.steps[..]).unwrap_or_default();
    task.task_ref.as_ref().is_some_and(|reference| calls(&reference.name))
        || steps.iter().any(|step| step.reference.as_ref().is_some_and(|reference| calls(&reference.name)))
}

fn of_account(catalog: &Catalog, account: Option<&String>, needs_rights: bool) -> Option<String> {
    let exists = |wanted: &str| {
        let accounts = catalog.documents.iter().filter(|document| document.value["kind"] == "ServiceAccount");
        accounts.into_iter().any(|document| document.value["metadata"]["name"] == wanted)
    };
    match account {
        None if needs_rights => Some("it has no ServiceAccount with rights".into()),
        Some(account) if !exists(account) => Some(format!("there is no ServiceAccount {account}")),
        Some(_) if !needs_rights => {
            Some("it runs a project's code and has a ServiceAccount with rights".into())
        }
        _ => None,
    }
}
