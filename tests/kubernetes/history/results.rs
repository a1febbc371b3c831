//! A run of a PipelineRun is told to Tekton Results as well, with an archive of our own or without.

use super::story;
use crate::harness::{Namespace, PIPELINE_ROLE};
use crate::pipeline_runs::{PipelineRuns, install};
use crate::support::results::ResultsApi;

const UID: &str = "9f2d6c1e-4b0a-4a1e-9df1-0c7f8f9d6a11";

#[test]
fn a_run_that_is_over_is_told_to_tekton_results() {
    let namespace = Namespace::new("results");
    let parent = format!("{}/results/{UID}", namespace.name);
    let api = ResultsApi::start(namespace.folder.path(), &[&parent]);
    let url = api.url.clone();
    let told = |name: &str| namespace.folder.path().join(name).display().to_string();
    let flags = [
        "--results-api",
        &url,
        "--results-ca",
        &told("results.crt"),
        "--results-token-file",
        &told("results-token"),
    ];
    let up = ["up", "--with", "postgres", "--pipeline-run", "nightly", "--pipeline-run-uid", UID];
    let down = ["down", "--run-id", UID, "--pipeline-run", "nightly", "--pipeline-run-uid", UID];
    let folder = &namespace.folder;
    for archive in [&[][..], &["--history", "none"]] {
        folder.call(&[&up[..], archive].concat()).ok();
        let down = folder.call(&[&down[..], archive, &flags].concat()).ok();
        assert!(!down.stderr.contains("warning"), "{}", down.transcript());
    }
    let records = api.records();
    let records = records.as_object().expect("records by their names");
    assert_eq!(records.len(), 2, "{records:?}");
    let id = story(folder, UID)["id"].as_str().expect("an id").to_owned();
    let kept = &records[&format!("{parent}/records/{id}")];
    for (name, record) in records {
        let value = &record["value"];
        assert_eq!(
            (&record["type"], &value["status"], &value["runId"]),
            (&"testbed/v1.Run".into(), &"done".into(), &UID.into()),
            "{name}"
        );
        assert_eq!(
            (&value["version"], &value["databases"][0]["engine"]),
            (&1.into(), &"postgres".into()),
            "{name}"
        );
    }
    assert_eq!(kept["value"], story(folder, UID), "the archive and Tekton Results tell the same");

    // What cannot be told there keeps nothing and fails nothing.
    folder.call(&up).ok();
    drop(api);
    let down = folder
        .call(&[&down[..], &flags].concat())
        .ok()
        .says("warning: the run's story is not complete in the archive");
    assert!(down.stderr.contains("--results-api"), "{}", down.transcript());
    assert!(namespace.of_run(UID).is_empty());
    assert_eq!(story(folder, UID)["status"], "done");
}

/// Nothing but Tekton Results remembers what `up` has seen: its pod is gone when the `finally` task runs, and
/// the cluster calls such databases ready.
#[test]
fn a_run_that_never_came_up_is_told_as_one() {
    let namespace = Namespace::new("results-failed");
    let parent = format!("{}/results/{UID}", namespace.name);
    let folder = &namespace.folder;
    let api = ResultsApi::start(folder.path(), &[&parent]);
    let (ca, token) = (api.ca.display().to_string(), api.token.display().to_string());
    let flags =
        ["--history", "none", "--results-api", &api.url, "--results-ca", &ca, "--results-token-file", &token];
    let run = ["--pipeline-run", "nightly", "--pipeline-run-uid", UID, "--runtime", "kubernetes"];
    // It runs, and takes no login for as long as the test lasts.
    let slow = "apiVersion: v1\nkind: Pod\nmetadata: {name: slow-$(context.pipelineRun.uid), labels: {db: $(context.pipelineRun.uid)}, annotations: {testbed/engine: postgres}}\n\
                spec: {containers: [{name: a, image: 'postgres:17', command: [sleep, '600'], env: [{name: POSTGRES_PASSWORD, value: x}]}]}\n---\n\
                apiVersion: v1\nkind: Service\nmetadata: {name: slow-$(context.pipelineRun.uid)}\n\
                spec: {selector: {db: $(context.pipelineRun.uid)}, ports: [{port: 5432}]}\n";
    folder.file("slow.yaml", slow);
    folder.call(&[&["up", "slow.yaml", "--timeout", "12s"][..], &run, &flags].concat()).fails(3);
    folder.call(&[&["down", "--run-id", UID][..], &run[..4], &flags].concat()).ok();
    let records = api.records();
    let records: Vec<&serde_json::Value> =
        records.as_object().expect("records by their names").values().collect();
    let [record] = records[..] else { panic!("{records:?}") };
    let value = &record["value"];
    assert_eq!(
        (&value["status"], &value["cause"]["kind"]),
        (&"failed".into(), &"not-ready".into()),
        "{value}"
    );
    assert!(
        value["cause"]["text"].as_str().is_some_and(|text| text.contains("not ready within 12s")),
        "{value}"
    );
    assert!(value["ended"].is_string(), "{value}");
}

/// A PipelineRun that an event has started has a Result with another name, which its pods know.
#[test]
fn the_result_is_the_one_that_the_pod_belongs_to() {
    if !install() {
        return;
    }
    let namespace = Namespace::new("results-event");
    // One that there is: what belongs to another one the cluster removes.
    let uid = PipelineRuns(&namespace).create("nightly");
    namespace.apply(PIPELINE_ROLE);
    let parent = format!("{}/results/event-1", namespace.name);
    let certificate = ResultsApi::start(namespace.folder.path(), &[]);
    for annotation in [
        format!("results.tekton.dev/result: {parent}"),
        format!("results.tekton.dev/record: {parent}/records/r"),
    ] {
        let annotated = |text: &str| {
            text.replacen(
                "  name: client\n",
                &format!("  name: client\n  annotations: {{{annotation}}}\n"),
                1,
            )
        };
        let client = namespace.bare_client("test-dependencies-deployer", annotated);
        client.install_testbed();
        client.copy(include_bytes!("../../support/results_api.py"), "results_api.py");
        client.copy(&std::fs::read(&certificate.ca).unwrap(), "results.crt");
        client.copy(&std::fs::read(certificate.ca.with_extension("key")).unwrap(), "results.key");
        client.copy(b"the-token\n", "token");
        client.copy(
            b"apiVersion: v1\nkind: Pod\nmetadata: {name: $(context.pipelineRun.uid)}\nspec: {containers: [{name: a, image: 'python:3.11', command: [sleep, '60']}]}\n",
            "m.yaml",
        );
        client.shell_ok(&format!(
            "python3 results_api.py results.crt results.key the-token {parent} > port 2> said & until [ -s port ]; do sleep 0.1; done"
        ));
        let told =
            "--results-api https://localhost:$(cat port) --results-ca results.crt --results-token-file token";
        let run = format!("--pipeline-run nightly --pipeline-run-uid {uid}");
        client.shell_ok(&format!("./testbed up m.yaml --allow-none {run}"));
        let down = client.shell(&format!("./testbed down --run-id {uid} {run} {told}"));
        let said = String::from_utf8_lossy(&down.stderr).into_owned();
        assert!(down.status.success() && !said.contains("warning"), "{said}");
        let records = client.shell_ok(
            "python3 -c \"import ssl,urllib.request as r; print(r.urlopen('https://localhost:'+open('port').read().strip()+'/records', context=ssl.create_default_context(cafile='results.crt')).read().decode())\"",
        );
        assert!(records.contains(&format!("{parent}/records/")), "{records}");
        namespace.kubectl(&["delete", "pod", "client", "--wait"]);
    }
}
