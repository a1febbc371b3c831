//! Every variable of Tekton's that something names exists where it stands.

use crate::tekton::documents::{Catalog, Content};
use crate::tekton::model::{PipelineSpec, PipelineTask, ResultSpec, TaskSpec};
use crate::tekton::variables::{Variables, references};

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    for document in &catalog.documents {
        let unknown = match &document.content {
            Content::Task(task) => in_task(catalog, &task.spec, Variables::declared(&task.spec.params)),
            Content::TaskRun(run) => {
                let passed = references(&serde_json::to_value(&run.spec.params).expect("a value"));
                let task = run
                    .spec
                    .task_spec
                    .iter()
                    .flat_map(|task| in_task(catalog, task, Variables::declared(&task.params)));
                task.chain(passed).collect()
            }
            Content::StepAction(action) => {
                let mut known = Variables::declared(&action.spec.params);
                for ResultSpec { name, .. } in &action.spec.results {
                    known.text(format!("step.results.{name}.path"), "");
                }
                known.unknown_in(&document.value["spec"])
            }
            Content::Pipeline(pipeline) => in_pipeline(catalog, &pipeline.spec),
            Content::PipelineRun(run) => {
                let passed = references(&serde_json::to_value(&run.spec.params).expect("a value"));
                let pipeline =
                    run.spec.pipeline_spec.iter().flat_map(|pipeline| in_pipeline(catalog, pipeline));
                pipeline.chain(passed).collect()
            }
            Content::Other { .. } => Vec::new(),
        };
        problems
            .extend(unknown.into_iter().map(|name| format!("{}: there is no $({name}) here", document.file)));
    }
    problems
}

/// The unknown variables of a Task, besides `outer`, in which its own params are.
fn in_task(catalog: &Catalog, task: &TaskSpec, outer: Variables) -> Vec<String> {
    let known = outer.in_task(task);
    let mut bare = task.clone();
    // What a result is made of are the results of steps, which nothing else may name.
    bare.results.iter_mut().for_each(|result| result.value = None);
    let mut unknown = known.unknown_in(&serde_json::to_value(&bare).expect("a value"));
    let mut of_steps = Variables::default();
    for step in &task.steps {
        let action = step.reference.as_ref().and_then(|reference| catalog.step_action(&reference.name));
        for result in action.iter().flat_map(|action| &action.spec.results) {
            of_steps.text(format!("steps.{}.results.{}", step.name, result.name), "");
        }
    }
    for value in task.results.iter().filter_map(|result| result.value.as_ref()) {
        unknown.extend(of_steps.unknown_in(&value.as_str().into()));
    }
    unknown
}

fn in_pipeline(catalog: &Catalog, pipeline: &PipelineSpec) -> Vec<String> {
    let results = |task: &PipelineTask| -> Vec<String> {
        let results = spec_of(catalog, task)
            .map(|spec| spec.results.iter().map(|result| result.name.clone()).collect());
        results.unwrap_or_default()
    };
    let mut unknown = Vec::new();
    for (tasks, in_finally) in [(&pipeline.tasks, false), (&pipeline.finally, true)] {
        let known = Variables::declared(&pipeline.params).in_pipeline(pipeline, results, in_finally);
        for task in tasks {
            let mut outside = task.clone();
            let inside = outside.task_spec.take();
            unknown.extend(known.unknown_in(&serde_json::to_value(&outside).expect("a value")));
            let own = inside.iter().flat_map(|spec| {
                in_task(catalog, spec, known.clone().and(Variables::declared(&spec.params)))
            });
            unknown.extend(own);
        }
    }
    unknown
}

/// The Task that a pipeline's task runs.
pub fn spec_of<'a>(catalog: &'a Catalog, task: &'a PipelineTask) -> Option<&'a TaskSpec> {
    let referred =
        task.task_ref.as_ref().and_then(|reference| catalog.task(&reference.name)).map(|task| &task.spec);
    referred.or(task.task_spec.as_ref())
}
