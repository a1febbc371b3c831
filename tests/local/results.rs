//! Tekton Results as the API's specification has it: what is written, what is written again, and what is said
//! when it is refused.

use testbed::failure::hints_of;
use testbed::history::record::{Origin, Record, Status};
use testbed::history::results::{ResultsApi, TYPE};
use testbed::time::Time;

use crate::support::results::ResultsApi as Server;

const UID: &str = "2b5b5a1c-4b0a-4a1e-9df1-0c7f8f9d6a10";

fn record(namespace: &str) -> Record {
    let origin =
        Origin { pipeline_run_uid: Some(UID.into()), namespace: Some(namespace.into()), ..Origin::default() };
    Record { origin, status: Status::Done, ended: Some(Time::now()), ..Record::begin(UID, "kubernetes") }
}

/// What became of writing a record, as a person is told it.
fn publish(api: &ResultsApi, record: &Record) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime
        .block_on(api.publish(record, None))
        .map_err(|error| format!("{error:#}; {}", hints_of(&error).join("; ")))
}

#[test]
fn a_record_is_written_and_written_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[&format!("ci/results/{UID}")]);
    let api = ResultsApi::new(&server.url, Some(server.token.clone()), server.ca.to_str()).expect("an API");
    let record = record("ci");
    publish(&api, &record).unwrap();
    publish(&api, &Record { status: Status::Failed, ..record.clone() }).unwrap();
    let records = server.records();
    let kept = &records[format!("ci/results/{UID}/records/{}", record.id)];
    assert_eq!(
        (&kept["type"], &kept["requests"], &kept["value"]["status"]),
        (&TYPE.into(), &2.into(), &"failed".into()),
        "{records}"
    );
    assert_eq!(kept["value"]["runId"], UID);
    assert_eq!(records.as_object().map(serde_json::Map::len), Some(1));
}

#[test]
fn a_refusal_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[&format!("ci/results/{UID}")]);
    let ca = std::fs::read_to_string(&server.ca).expect("the certificate");
    let open = |token: &std::path::Path| {
        ResultsApi::new(&server.url, Some(token.into()), Some(&ca)).expect("an API")
    };
    let error = publish(&open(&server.token), &record("elsewhere")).unwrap_err();
    assert!(
        error.contains("404") && error.contains(&format!("a Result {UID} in namespace elsewhere")),
        "{error}"
    );
    let other = folder.path().join("other-token");
    std::fs::write(&other, "another-token").unwrap();
    let error = publish(&open(&other), &record("ci")).unwrap_err();
    assert!(
        error.contains("401") && error.contains("--results-token-file") && !error.contains("another-token"),
        "{error}"
    );
    let untrusting = ResultsApi::new(&server.url, Some(server.token.clone()), None).expect("an API");
    let error = publish(&untrusting, &record("ci")).unwrap_err();
    assert!(error.contains("ertificate") && error.contains("--results-ca"), "{error}");
    // One that belongs to no PipelineRun has no place there.
    publish(&open(&server.token), &Record { origin: Origin::default(), ..record("ci") }).unwrap();
    assert_eq!(server.records(), serde_json::json!({}));
}
