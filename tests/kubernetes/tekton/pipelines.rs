//! The samples' PipelineRuns from their first task to `finally`.

use serde_json::Value;

use super::run::{Outcome, PipelineRun};
use super::site::{ASSIGNED, Site};
use crate::admission::Webhook;
use crate::tekton_catalog::model::{Param, ParamValue, PipelineRunSpec};

fn param(name: &str, value: &str) -> Param {
    Param { name: name.into(), value: ParamValue::Text(value.into()) }
}

/// A place for the sample project's pipeline.
fn striv(prefix: &str) -> Option<Site> {
    let site = Site::new(prefix)?;
    site.apply("samples/striv-source.yaml");
    Some(site)
}

/// Makes a mistake in the project.
fn break_source(site: &Site, file: &str, from: &str, to: &str) {
    let map = site.namespace.json(&["configmap", "striv-source"]);
    let text = map["data"][file].as_str().expect("a file of the project");
    assert!(text.contains(from), "{text}");
    let patch = serde_json::json!({"data": {file: text.replace(from, to)}}).to_string();
    site.namespace.kubectl(&["patch", "configmap", "striv-source", "-p", &patch]);
}

/// Fewer databases, for what does not hang on them.
fn only_postgres(spec: &mut PipelineRunSpec) {
    spec.params = vec![param("manifest", ""), param("with", "postgres:17")];
}

/// After `finally` there is nothing left, and nothing that was said or handed on was a password.
fn is_clean(site: &Site, run: &PipelineRun, outcome: &Outcome, config: &str) {
    assert_eq!(site.namespace.of_run(&run.uid), Vec::<String>::new(), "{}", outcome.transcript());
    let entries: Vec<(String, Value)> = serde_json::from_str(config).expect("a config file");
    let passwords = entries.iter().filter_map(|(_, arguments)| arguments["password"].as_str());
    // The sample's manifest takes the run id for a password, which is everywhere.
    for password in passwords.filter(|password| *password != run.uid) {
        for (name, task) in &outcome.tasks {
            assert!(
                !task.log().contains(password) && !task.objects().contains(password),
                "{name} tells a password"
            );
            assert!(
                task.results.values().all(|value| !value.contains(password)),
                "{name} hands a password on"
            );
        }
    }
}

/// The whole of it: a manifest of the project's own, unit tests meanwhile, pytest with Python's drivers in a
/// pod, and gone.
#[test]
fn the_original_pipeline_goes_green_and_leaves_nothing() {
    let Some(site) = striv("striv") else { return };
    let run = PipelineRun::create(&site, "samples/striv-run.yaml");
    let outcome = run.run();
    outcome.has_succeeded();
    let tests = outcome.task("integration-tests").log();
    for said in [
        "6 passed",
        "test_jobs_are_kept[sqlite] PASSED",
        "test_jobs_are_kept[mysql] PASSED",
        "test_jobs_are_kept[postgres] PASSED",
    ] {
        assert!(tests.contains(said), "{said:?} is not in\n{tests}");
    }
    let at = |step: &str| {
        outcome
            .story
            .iter()
            .position(|name| name == step)
            .unwrap_or_else(|| panic!("{step}: {:?}", outcome.story))
    };
    // The databases start while the unit tests run, and stop last.
    assert!(
        at("+start-databases") < at("-unit-tests") && at("-start-databases") < at("+integration-tests"),
        "{:?}",
        outcome.story
    );
    assert_eq!(at("-stop-databases") + 1, outcome.story.len());
    let results = &outcome.task("start-databases").results;
    let results: Vec<(&str, &str)> =
        results.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(results, [("config", "/workspace/source/testing-databases.json"), ("databases", "3")]);
    let config = site.keep(&format!("cat {}/testing-databases.json", run.folder("source")));
    is_clean(&site, &run, &outcome, &config);
    let mode = site.keep(&format!("stat -c '%a %u %g' {}/testing-databases.json", run.folder("source")));
    assert_eq!(mode, "640 65532 65532\n");
}

/// OpenShift's: pods ask for no user, and get one that no image knows; the databases' too.
#[test]
fn the_variant_for_openshift_runs_as_whatever_user_it_gets() {
    let Some(site) = striv("striv-ocp") else { return };
    let _assigner = Webhook::start(&site.namespace, include_str!("../manifests/assigner.yaml"));
    let asks = "apiVersion: v1\nkind: Pod\nmetadata: {name: probe}\nspec: {securityContext: {runAsUser: 1}, containers: [{name: a, image: a}]}\n";
    site.namespace.kubectl_until_it_says(
        &["create", "--dry-run=server", "-f", "-"],
        Some(asks.as_bytes()),
        |_, error| error.contains("unable to validate against any security context constraint"),
    );
    let run = PipelineRun::create(&site, "samples/striv-run-openshift.yaml");
    let outcome = run.run();
    outcome.has_succeeded();
    assert!(outcome.task("integration-tests").log().contains("6 passed"), "{}", outcome.transcript());
    let config = site.keep(&format!("cat {}/testing-databases.json", run.folder("source")));
    is_clean(&site, &run, &outcome, &config);
    let owner = site.keep(&format!("stat -c '%u %g' {}/testing-databases.json", run.folder("source")));
    assert_eq!(owner, format!("{ASSIGNED} {ASSIGNED}\n"));
}

#[test]
fn tests_that_fail_leave_nothing_either() {
    let Some(site) = striv("striv-red") else { return };
    break_source(&site, "test_store.py", "assert jobs.names() ==", "assert jobs.names() !=");
    let run = PipelineRun::create_with(&site, "samples/striv-run.yaml", only_postgres);
    let outcome = run.run();
    let tests = outcome.task("integration-tests");
    outcome.has_failed();
    assert_eq!(tests.exit_code("pytest"), Some(1), "{}", outcome.transcript());
    assert!(tests.log().contains("1 failed, 1 passed"), "{}", tests.log());
    assert!(outcome.task("stop-databases").succeeded, "{}", outcome.transcript());
    assert_eq!(outcome.story.last().map(String::as_str), Some("-stop-databases"));
    let config = site.keep(&format!("cat {}/testing-databases.json", run.folder("source")));
    is_clean(&site, &run, &outcome, &config);
}

#[test]
fn the_sample_to_try_needs_nothing_else() {
    let Some(site) = Site::new("try") else { return };
    let run = PipelineRun::create(&site, "task/testbed-up/samples/try-it.yaml");
    let outcome = run.run();
    outcome.has_succeeded();
    let said = outcome.task("query").log();
    assert!(
        said.contains("databases: 1") && said.contains("PostgreSQL 17") && said.contains("current_database"),
        "{said}"
    );
    assert_eq!(outcome.task("up").results["config"], "/workspace/source/.env.testbed");
    assert_eq!(site.namespace.of_run(&run.uid), Vec::<String>::new());
}

/// The steps of one Task: what comes after the tests happens also when these fail, and the Task ends as they
/// did.
#[test]
fn step_actions_in_one_task_clean_up_whatever_the_tests_say() {
    let Some(site) = striv("one-task") else { return };
    let file = "stepaction/testbed-up/samples/up-test-down.yaml";
    // The steps share a pod, so that testbed-down knows of the config file and removes it.
    let load = "    DATABASES = json.load(file)\n";
    break_source(
        &site,
        "test_store.py",
        load,
        &format!("{load}open('kept.json', 'w').write(json.dumps(DATABASES))\n"),
    );
    let run = PipelineRun::create(&site, file);
    let outcome = run.run();
    outcome.has_succeeded();
    let tests = outcome.task("tests");
    assert!(
        tests.logs["test"].contains("5 passed") && tests.logs["test"].contains("[mysql] PASSED"),
        "{}",
        tests.log()
    );
    assert_eq!(tests.results["databases"], "2");
    let config =
        site.keep(&format!("cd {}; test ! -e testing-databases.json && cat kept.json", run.folder("source")));
    is_clean(&site, &run, &outcome, &config);

    break_source(&site, "test_names.py", "nightly-build", "nightly");
    let run = PipelineRun::create(&site, file);
    let outcome = run.run();
    let tests = outcome.task("tests");
    outcome.has_failed();
    assert_eq!(tests.exit_code("verdict"), Some(1), "{}", outcome.transcript());
    assert!(
        tests.logs["test"].contains("1 failed, 4 passed") && tests.exit_code("down") == Some(0),
        "{}",
        tests.log()
    );
    assert_eq!(site.namespace.of_run(&run.uid), Vec::<String>::new(), "{}", outcome.transcript());
}
