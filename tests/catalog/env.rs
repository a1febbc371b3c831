//! The variables of the steps that call testbed: testbed knows each of them, each param reaches it through
//! one, and the run is told by the pod's own labels.

use std::collections::BTreeSet;

use clap::CommandFactory;
use k8s_openapi::api::core::v1::EnvVar;
use testbed::cli::Cli;

use crate::published;
use crate::tekton::documents::Catalog;
use crate::tekton::variables::params_in;

/// What is read without a flag of its own: for the history.
const FLAGLESS: [&str; 2] = ["HOME", "TESTBED_TASK_RUN"];

/// What may come from a Secret, and the key in it. The Secret is the user's to make, or not.
const FROM_SECRET: [(&str, &str); 2] = [("TESTBED_HISTORY", "url"), ("TESTBED_RESULTS_CA", "results-ca")];

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    for one in published(catalog) {
        let mut say = |text: String| problems.push(format!("{}: {text}", one.document.file));
        let (command, known) = variables_of(&one.step.args);
        if known.is_empty() {
            say(format!("testbed has no command {command:?}"));
        }
        let names: Vec<&str> = one.step.env.iter().map(|variable| variable.name.as_str()).collect();
        for (index, name) in names.iter().enumerate() {
            if !FLAGLESS.contains(name) && !known.contains(*name) {
                say(format!("testbed {command} knows no variable {name}"));
            }
            if names[..index].contains(name) {
                say(format!("the variable {name} stands there twice"));
            }
        }
        let value = |name: &str| one.step.env.iter().find(|variable| variable.name == name);
        for (name, wanted) in [
            ("HOME", "/tekton/home"),
            ("TESTBED_RUNTIME", "kubernetes"),
            ("TESTBED_RUN_ID", "$(params.run-id)"),
        ] {
            if value(name).and_then(|variable| variable.value.as_deref()) != Some(wanted) {
                say(format!("the variable {name} has to be {wanted}"));
            }
        }
        if value("TESTBED_NAMESPACE").and_then(field) != Some("metadata.namespace") {
            say(
                "TESTBED_NAMESPACE has to come from the pod: the project's testbed.yaml may name another one"
                    .into(),
            );
        }
        let uid = value("TESTBED_PIPELINE_RUN_UID").and_then(field);
        if uid != Some("metadata.labels['tekton.dev/pipelineRunUID']") {
            say("TESTBED_PIPELINE_RUN_UID has to come from the pod's label tekton.dev/pipelineRunUID".into());
        }
        // Only those need the name who make something that ends with the PipelineRun.
        let name = value("TESTBED_PIPELINE_RUN").and_then(field);
        if name
            != ["up", "lock acquire"]
                .contains(&&*command)
                .then_some("metadata.labels['tekton.dev/pipelineRun']")
        {
            say("TESTBED_PIPELINE_RUN has to come from the pod's label tekton.dev/pipelineRun, for up and lock acquire alone".into());
        }
        let task_run = value("TESTBED_TASK_RUN").and_then(field);
        if task_run != (command == "up").then_some("metadata.labels['tekton.dev/taskRun']") {
            say("TESTBED_TASK_RUN has to come from the pod's label tekton.dev/taskRun, for up alone".into());
        }
        for (name, key) in FROM_SECRET {
            let wanted = known.contains(name).then_some(("testbed-history", key, Some(true)));
            if value(name).and_then(secret) != wanted {
                say(format!(
                    "{name} has to come from the key {key} of the Secret testbed-history, which is optional"
                ));
            }
        }
        for variable in &one.step.env {
            let params = params_in(&variable.value);
            let whole =
                params.iter().all(|param| variable.value.as_deref() == Some(&format!("$(params.{param})")));
            if params.len() > 1 || !whole {
                say(format!("the variable {} is put together from params", variable.name));
            }
        }
    }
    problems
}

fn field(variable: &EnvVar) -> Option<&str> {
    Some(&variable.value_from.as_ref()?.field_ref.as_ref()?.field_path)
}

/// The Secret that a variable comes from, the key, and whether the step runs without it.
fn secret(variable: &EnvVar) -> Option<(&str, &str, Option<bool>)> {
    let key = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
    Some((&key.name, &key.key, key.optional))
}

/// The command of testbed's that the arguments begin with, such as `lock acquire`, and the variables that it
/// reads; none for what is no command.
fn variables_of(args: &[String]) -> (String, BTreeSet<String>) {
    let cli = Cli::command();
    let mut command = &cli;
    let mut words = Vec::new();
    while command.has_subcommands() {
        let word = args.get(words.len()).map(String::as_str).unwrap_or_default();
        words.push(word);
        let Some(found) = command.find_subcommand(word) else { return (words.join(" "), BTreeSet::new()) };
        command = found;
    }
    let flags = command.get_arguments().chain(cli.get_arguments());
    let variables = flags.filter_map(|flag| Some(flag.get_env()?.to_string_lossy().into_owned()));
    (words.join(" "), variables.collect())
}
