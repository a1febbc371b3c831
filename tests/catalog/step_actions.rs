//! A StepAction is its Task in another form: whoever knows one knows the other.

use crate::tekton::documents::{Catalog, Content};
use crate::tekton::model::{ParamSpec, StepActionSpec, TaskSpec};

/// The param that stands for the Task's workspace: a StepAction has none.
const SOURCE: &str = "source";

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    let published = catalog.documents.iter().filter(|document| document.file.split('/').count() == 3);
    for document in published {
        match &document.content {
            Content::Task(task) if catalog.step_action(&task.metadata.name).is_none() => {
                problems.push(format!("{}: there is no StepAction of that name", document.file));
            }
            Content::StepAction(action) => {
                let name = &action.metadata.name;
                let found = catalog.task(name).map(|task| differences(&task.spec, &action.spec));
                let found = found.unwrap_or_else(|| vec!["there is no Task of that name".into()]);
                problems.extend(found.into_iter().map(|text| format!("{}: {text}", document.file)));
            }
            _ => {}
        }
    }
    problems
}

fn differences(task: &TaskSpec, action: &StepActionSpec) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(step) = task.steps.first() else { return vec!["the Task has no step".into()] };
    let has_source = action.params.iter().any(|param| param.name == SOURCE);
    if has_source != task.workspaces.iter().any(|workspace| workspace.name == SOURCE) {
        problems.push(format!(
            "the param {SOURCE} stands for the Task's workspace of that name, and only for that"
        ));
    }
    // Words differ, where one has a workspace and the other a folder.
    let bare = |param: &ParamSpec| ParamSpec { description: String::new(), ..param.clone() };
    let theirs: Vec<ParamSpec> = task.params.iter().map(bare).collect();
    let ours: Vec<ParamSpec> = action.params.iter().filter(|param| param.name != SOURCE).map(bare).collect();
    let names =
        |params: &[ParamSpec]| params.iter().map(|param| param.name.clone()).collect::<Vec<_>>().join(", ");
    if ours != theirs {
        problems.push(format!(
            "its params ({}) are not the Task's ({}), or their defaults differ",
            names(&ours),
            names(&theirs)
        ));
    }
    let results = |all: &[crate::tekton::model::ResultSpec]| {
        all.iter().map(|result| (result.name.clone(), result.kind)).collect::<Vec<_>>()
    };
    if results(&action.results) != results(&task.results) {
        problems.push("its results are not the Task's".into());
    }
    let in_step = |args: &[String]| -> Vec<String> {
        args.iter().map(|arg| arg.replace("$(results.", "$(step.results.")).collect()
    };
    if action.args != in_step(&step.args) {
        problems.push("its args are not the Task's".into());
    }
    if action.command != step.command
        || action.env != step.env
        || action.security_context != step.security_context
    {
        problems.push("its command, env or securityContext are not the Task's".into());
    }
    let folder =
        step.working_dir.as_ref().map(|path| path.replace("$(workspaces.source.path)", "$(params.source)"));
    if action.working_dir != folder {
        problems.push("its workingDir is not the Task's".into());
    }
    problems
}
