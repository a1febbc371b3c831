//! The catalog of Tekton tasks, without a cluster: schema, conventions, and that everything which is named
//! exists.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/tekton/mod.rs"]
mod tekton;

mod combinations;
mod conventions;
mod env;
mod layout;
mod lint;
mod mutations;
mod parsing;
mod pipelines;
mod readmes;
mod rights;
mod security;
mod step_actions;
mod variables;

use tekton::documents::{Catalog, Content, Document};
use tekton::model::{Metadata, ParamSpec, ResultSpec, StepActionSpec, TaskSpec};

/// One rule: what in a catalog breaks it, a sentence each.
type Rule = fn(&Catalog) -> Vec<String>;

/// All but the one that calls the program, which takes its time.
const RULES: [Rule; 10] = [
    layout::problems,
    conventions::problems,
    env::problems,
    security::problems,
    step_actions::problems,
    variables::problems,
    pipelines::problems,
    rights::problems,
    readmes::problems,
    combinations::problems,
];

#[test]
fn the_catalog_keeps_every_rule() {
    let catalog = Catalog::read().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    let problems: Vec<String> = RULES.iter().flat_map(|rule| rule(&catalog)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_program_takes_what_every_step_gives_it() {
    let catalog = Catalog::read().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    let problems = parsing::problems(&catalog);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A Task or StepAction that users install: `task/NAME/NAME.yaml` or `stepaction/NAME/NAME.yaml`.
struct Published<'a> {
    document: &'a Document,
    metadata: &'a Metadata,
    params: &'a [ParamSpec],
    results: &'a [ResultSpec],
    /// What runs, in a StepAction's form.
    step: StepActionSpec,
    task: Option<&'a TaskSpec>,
}

fn published(catalog: &Catalog) -> Vec<Published<'_>> {
    let in_place = catalog.documents.iter().filter(|document| {
        let parts: Vec<&str> = document.file.split('/').collect();
        matches!(parts[..], ["task" | "stepaction", _, file] if file.ends_with(".yaml"))
    });
    in_place
        .filter_map(|document| match &document.content {
            Content::Task(task) => {
                let spec = &task.spec;
                let step = spec.steps.first().cloned().unwrap_or_default();
                let step = StepActionSpec {
                    image: step.image.unwrap_or_default(),
                    working_dir: step.working_dir,
                    command: step.command,
                    args: step.args,
                    script: step.script,
                    env: step.env,
                    security_context: step.security_context,
                    ..StepActionSpec::default()
                };
                let (params, results) = (&spec.params[..], &spec.results[..]);
                Some(Published {
                    document,
                    metadata: &task.metadata,
                    params,
                    results,
                    step,
                    task: Some(spec),
                })
            }
            Content::StepAction(action) => {
                let spec = &action.spec;
                let (params, results) = (&spec.params[..], &spec.results[..]);
                Some(Published {
                    document,
                    metadata: &action.metadata,
                    params,
                    results,
                    step: spec.clone(),
                    task: None,
                })
            }
            _ => None,
        })
        .collect()
}
