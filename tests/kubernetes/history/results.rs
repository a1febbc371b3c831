//! A run of a PipelineRun is told to Tekton Results as well, with an archive of our own or without.

use super::story;
use crate::harness::Namespace;
use crate::support::results::ResultsApi;

const UID: &str = "9f2d6c1e-4b0a-4a1e-9df1-0c7f8f9d6a11";

#[test]
fn a_run_that_is_over_is_told_to_tekton_results() {
    let namespace = Namespace::new("results");
    let parent = format!("{}/results/{UID}", namespace.name);
    let api = ResultsApi::start(namespace.folder.path(), &[&parent]);
    let url = api.url.clone();
    let told = |name: &str| namespace.folder.path().join(name).display().to_string();
    let flags = ["--results-api", &url, "--results-ca", &told("results.crt"), "--results-token-file", &told("results-token")];
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
        assert_eq!((&record["type"], &value["status"], &value["runId"]), (&"testbed/v1.Run".into(), &"done".into(), &UID.into()), "{name}");
        assert_eq!((&value["version"], &value["databases"][0]["engine"]), (&1.into(), &"postgres".into()), "{name}");
    }
    assert_eq!(kept["value"], story(folder, UID), "the archive and Tekton Results tell the same");

    // What cannot be told there keeps nothing and fails nothing.
    folder.call(&up).ok();
    drop(api);
    let down = folder.call(&[&down[..], &flags].concat()).ok().says("warning: the run's story is not complete in the archive");
    assert!(down.stderr.contains("--results-api"), "{}", down.transcript());
    assert!(namespace.of_run(UID).is_empty());
    assert_eq!(story(folder, UID)["status"], "done");
}
