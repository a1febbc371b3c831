//! Pod Security "restricted", for every step of the catalog, and more for those that call testbed: a
//! read-only root file system, a user that nobody names, and no rights for tasks that run a project's code.

use clap::Parser;
use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SecurityContext};
use serde_json::Value;
use testbed::cli::Cli;

use crate::conventions::steps;
use crate::published;
use crate::tekton::documents::{Catalog, Content};
use crate::tekton::model::{PipelineRunSpec, PodTemplate};

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let mut problems = Vec::new();
    for one in published(catalog) {
        let context = one.step.security_context.clone().unwrap_or_default();
        let mut say = |text: &str| problems.push(format!("{}: securityContext: {text}", one.document.file));
        contained(&context).into_iter().for_each(&mut say);
        if context.run_as_non_root != Some(true) {
            say("runAsNonRoot has to be true");
        }
        if context.seccomp_profile.as_ref().is_none_or(|profile| profile.type_ != "RuntimeDefault") {
            say("seccompProfile has to be RuntimeDefault");
        }
        if context.read_only_root_filesystem != Some(true) {
            say("readOnlyRootFilesystem has to be true");
        }
        if context.run_as_user.is_some() || context.run_as_group.is_some() {
            say("a user or group of a fixed number: OpenShift refuses it");
        }
        let resources = one.task.and_then(|task| task.steps.first()?.compute_resources.clone());
        let limited = resources.is_some_and(|resources| {
            resources.requests.is_some_and(|requests| requests.len() == 2)
                && resources.limits.is_some_and(|limits| limits.contains_key("memory"))
        });
        if one.task.is_some() && !limited {
            problems.push(format!("{}: no computeResources", one.document.file));
        }
    }
    for document in &catalog.documents {
        for step in steps(document) {
            let at_work = step.reference.is_none();
            let context = step.security_context.clone().unwrap_or_default();
            let text = contained(&context).into_iter().filter(|_| at_work);
            problems.extend(
                text.map(|text| format!("{}: step {}: securityContext: {text}", document.file, step.name)),
            );
        }
        if let Some(spec) = cron_pod(&document.value) {
            problems.extend(of_cron(&spec).into_iter().map(|text| format!("{}: {text}", document.file)));
        }
        let template = match &document.content {
            Content::PipelineRun(run) => pod_template(&run.spec),
            Content::TaskRun(run) => run.spec.pod_template.clone(),
            _ => continue,
        };
        let of_pod = template.and_then(|template| template.security_context);
        let is_for_openshift = document.file.contains("openshift");
        problems
            .extend(of_the_pod(of_pod, is_for_openshift).map(|text| format!("{}: {text}", document.file)));
    }
    problems
}

/// The pod of a CronJob.
fn cron_pod(document: &Value) -> Option<PodSpec> {
    let spec = document.pointer("/spec/jobTemplate/spec/template/spec")?;
    Some(serde_json::from_value(spec.clone()).expect("a pod, as the schema has it"))
}

fn of_cron(spec: &PodSpec) -> Vec<String> {
    let mut problems: Vec<String> =
        of_the_pod(spec.security_context.clone(), false).map(Into::into).into_iter().collect();
    for container in &spec.containers {
        let context = container.security_context.clone().unwrap_or_default();
        problems.extend(
            contained(&context).into_iter().map(|text| format!("container {}: {text}", container.name)),
        );
        if context.read_only_root_filesystem != Some(true) {
            problems.push(format!("container {}: readOnlyRootFilesystem has to be true", container.name));
        }
        let call = container.command.iter().flatten().chain(container.args.iter().flatten());
        if let Err(error) = Cli::try_parse_from(call) {
            problems.push(format!("container {}: {error}", container.name));
        }
    }
    problems
}

/// What a container has to say for itself.
fn contained(context: &SecurityContext) -> Vec<&'static str> {
    let mut problems = Vec::new();
    if context.allow_privilege_escalation != Some(false) {
        problems.push("allowPrivilegeEscalation has to be false");
    }
    let capabilities = context.capabilities.clone().unwrap_or_default();
    if capabilities.drop.unwrap_or_default() != ["ALL"] || capabilities.add.is_some() {
        problems.push("capabilities: drop ALL, and add none");
    }
    if context.privileged == Some(true) {
        problems.push("privileged");
    }
    problems
}

fn pod_template(run: &PipelineRunSpec) -> Option<PodTemplate> {
    run.task_run_template.as_ref()?.pod_template.clone()
}

/// What a run has to say for its pods: elsewhere than on OpenShift, which says it itself.
fn of_the_pod(context: Option<PodSecurityContext>, is_for_openshift: bool) -> Option<&'static str> {
    let Some(context) = context else {
        return (!is_for_openshift)
            .then_some("podTemplate.securityContext is missing: the workspace belongs to root");
    };
    if is_for_openshift {
        return Some("OpenShift refuses a podTemplate.securityContext of one's own");
    }
    let profile = context.seccomp_profile.is_some_and(|profile| profile.type_ == "RuntimeDefault");
    let restricted = profile && context.run_as_non_root == Some(true);
    (!restricted)
        .then_some("podTemplate.securityContext needs runAsNonRoot and the seccompProfile RuntimeDefault")
}
