//! `testbed history list`

use serde_json::json;

use super::{Kept, words};
use crate::cli::{Global, HistoryList, StatusFormat, Wanted, said};
use crate::console;
use crate::history::query::{Cursor, Filter, Summary};
use crate::history::record::VERSION;
use crate::progress::Progress;
use crate::table::table;
use crate::time::Time;
use crate::words::brief;

/// Prints a page of runs. None found is no error.
pub(super) async fn list(
    args: &HistoryList,
    global: &Global,
    kept: &Kept,
    progress: &Progress,
) -> anyhow::Result<()> {
    let now = Time::now();
    let filter = filter(&args.wanted, global, now);
    let limit = args.limit as usize;
    let mut runs = match kept.store_or_tell(progress).await? {
        None => Vec::new(),
        // One more tells whether there is a next page.
        Some(store) => {
            let runs = store.list(&filter, args.after.as_ref(), limit + 1).await?;
            if runs.is_empty() {
                progress.say(&none_found(&filter, args.after.is_some(), kept));
            }
            runs
        }
    };
    let has_more = runs.len() > limit;
    runs.truncate(limit);
    let next = runs.last().filter(|_| has_more).map(Summary::cursor);
    match args.output {
        StatusFormat::Json => console::print(&page(&runs, next.as_ref())?),
        StatusFormat::Table => {
            console::show(&columns(&runs, now))?;
            if let Some(next) = next {
                progress.say(&format!("there are more: the same with --after {next}"));
            }
            Ok(())
        }
    }
}

pub(super) fn filter(wanted: &Wanted, global: &Global, now: Time) -> Filter {
    Filter {
        since: wanted.since.map(|since| since.at(now)),
        status: wanted.status.clone(),
        namespace: said(&global.namespace),
        pipeline_run: said(&wanted.pipeline_run),
        engine: said(&wanted.engine),
    }
}

fn none_found(filter: &Filter, is_later_page: bool, kept: &Kept) -> String {
    match (is_later_page, *filter == Filter::default()) {
        (true, _) => "there are no more runs".to_owned(),
        (false, true) => format!("no runs in {}", kept.place),
        (false, false) => format!("no such runs in {}", kept.place),
    }
}

fn page(runs: &[Summary], next: Option<&Cursor>) -> anyhow::Result<String> {
    console::json(&json!({"version": VERSION, "runs": runs, "next": next.map(ToString::to_string)}))
}

fn columns(runs: &[Summary], now: Time) -> String {
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let lines = runs.iter().map(|run| {
        [
            run.run_id.clone(),
            dash(run.name.clone()),
            run.status.name().to_owned(),
            words::ago(run.began, now),
            dash(run.ready.map(|ready| brief(ready.since(run.began))).unwrap_or_default()),
            dash(run.engines.join(",")),
            run.namespace
                .as_ref()
                .map_or_else(|| run.runtime.clone(), |namespace| format!("{}/{namespace}", run.runtime)),
            dash(run.cause.as_ref().map(words::cause).unwrap_or_default()),
        ]
    });
    table(["RUN", "NAME", "STATUS", "STARTED", "READY AFTER", "DATABASES", "WHERE", "CAUSE"], lines)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::history::record::{Cause, Status};

    fn runs() -> Vec<Summary> {
        let done = Summary {
            id: "0198c0de-0000-7000-8000-000000000001".into(),
            run_id: "pr-17".into(),
            name: "shop".into(),
            status: Status::Done,
            runtime: "local".into(),
            engines: vec!["mariadb".into(), "postgres".into()],
            began: Time::from_millis(0),
            ready: Some(Time::from_millis(120)),
            ended: Some(Time::from_millis(9000)),
            ..Summary::default()
        };
        let cause = Cause {
            kind: "ErrImagePull".into(),
            database: Some("mysql".into()),
            text: "mysql: no such image".into(),
        };
        let failed = Summary {
            id: "0198c0de-0000-7000-8000-000000000002".into(),
            run_id: "2b5b5a1c".into(),
            status: Status::Failed,
            cause: Some(cause),
            runtime: "kubernetes".into(),
            namespace: Some("ci".into()),
            pipeline_run: Some("build-7".into()),
            began: Time::from_millis(5000),
            ..Summary::default()
        };
        vec![failed, done]
    }

    #[test]
    fn runs_are_lines() {
        assert_snapshot!(columns(&runs(), Time::from_millis(7_200_000)), @r#"
        RUN        NAME   STATUS   STARTED   READY AFTER   DATABASES          WHERE           CAUSE
        2b5b5a1c   -      failed   1h ago    -             -                  kubernetes/ci   ErrImagePull (mysql)
        pr-17      shop   done     2h ago    120 ms        mariadb,postgres   local           -
        "#);
        assert_eq!(columns(&[], Time::now()), "");
    }

    #[test]
    fn the_json_tells_where_the_next_page_begins() {
        let runs = runs();
        assert_snapshot!(page(&runs, Some(&runs[1].cursor())).unwrap(), @r#"
        {
          "version": 1,
          "runs": [
            {
              "id": "0198c0de-0000-7000-8000-000000000002",
              "runId": "2b5b5a1c",
              "name": "",
              "status": "failed",
              "cause": {
                "kind": "ErrImagePull",
                "database": "mysql",
                "text": "mysql: no such image"
              },
              "runtime": "kubernetes",
              "namespace": "ci",
              "pipelineRun": "build-7",
              "engines": [],
              "began": "1970-01-01T00:00:05.000Z",
              "ready": null,
              "ended": null
            },
            {
              "id": "0198c0de-0000-7000-8000-000000000001",
              "runId": "pr-17",
              "name": "shop",
              "status": "done",
              "cause": null,
              "runtime": "local",
              "namespace": null,
              "pipelineRun": null,
              "engines": [
                "mariadb",
                "postgres"
              ],
              "began": "1970-01-01T00:00:00.000Z",
              "ready": "1970-01-01T00:00:00.120Z",
              "ended": "1970-01-01T00:00:09.000Z"
            }
          ],
          "next": "0.0198c0de-0000-7000-8000-000000000001"
        }
        "#);
        assert_eq!(page(&[], None).unwrap(), "{\n  \"version\": 1,\n  \"runs\": [],\n  \"next\": null\n}\n");
    }
}
