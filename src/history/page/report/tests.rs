//! Tests of the report over many runs.

use super::*;
use crate::history::record::Moment;

const HOUR: i64 = 3_600_000;

fn at(millis: i64) -> Time {
    Time::from_millis(millis)
}

/// A database that was made at the beginning, had its image after `pulled` and was ready after `ready`
/// milliseconds, if it was.
fn database(engine: &str, began: i64, pulled: i64, ready: Option<i64>) -> Database {
    let moment = |what, after: i64| Moment { what, at: at(began + after), detail: String::new() };
    let mut timeline = vec![
        moment(What::Created, 0),
        moment(What::Scheduled, 0),
        moment(What::Pulled, pulled),
        moment(What::Started, pulled),
    ];
    timeline.extend(ready.map(|ready| moment(What::Ready, ready)));
    Database {
        name: engine.into(),
        engine: engine.into(),
        image: Some("x".into()),
        timeline,
        ..Database::default()
    }
}

fn record(hour: i64, runtime: &str, status: Status, databases: Vec<Database>) -> Record {
    Record {
        began: at(hour * HOUR),
        id: format!("id-{hour}"),
        run_id: format!("run-{hour}"),
        status,
        databases,
        ..Record::begin("", runtime)
    }
}

fn failed(hour: i64, status: Status, kind: &str) -> Record {
    let cause = (!kind.is_empty()).then(|| Cause {
        kind: kind.into(),
        database: None,
        text: format!("{kind} {hour}\nmore"),
    });
    Record { cause, ..record(hour, "kubernetes", status, vec![database("mysql", hour * HOUR, 1000, None)]) }
}

fn report() -> Report {
    let done = |hour: i64, ready: i64| {
        let mysql = database("mysql", hour * HOUR, 1000, Some(ready));
        record(
            hour,
            "kubernetes",
            Status::Done,
            vec![mysql, database("postgres", hour * HOUR, 3000, Some(4000))],
        )
    };
    let local = record(8, "local", Status::Up, vec![database("mysql", 8 * HOUR, 0, Some(700))]);
    let stories = [
        done(4, 9000),
        local,
        done(2, 5000),
        done(3, 6000),
        done(0, 999_999),
        failed(5, Status::Failed, "ErrImagePull"),
        failed(7, Status::Failed, "ErrImagePull"),
        failed(6, Status::Abandoned, ""),
    ];
    Report::of(&stories, at(HOUR), at(10 * HOUR))
}

#[test]
fn starts_are_counted_by_engine_and_runtime() {
    let report = report();
    let shown = |starts: &Starts| {
        (starts.engine.clone(), starts.runtime.clone(), starts.ready, starts.databases, starts.median_millis)
    };
    let expected = [
        ("mysql", "kubernetes", 3, 6, 6000),
        ("mysql", "local", 1, 1, 700),
        ("postgres", "kubernetes", 3, 3, 4000),
    ];
    let expected = expected.map(|(engine, runtime, ready, all, median)| {
        (engine.into(), runtime.into(), ready, all, Some(median))
    });
    assert_eq!(report.starts.iter().map(shown).collect::<Vec<_>>(), expected);
    let mysql = &report.starts[0];
    assert_eq!((mysql.p95_millis, mysql.max_millis), (Some(9000), Some(9000)));
    assert_eq!(
        mysql.points.iter().map(|point| point.millis).collect::<Vec<_>>(),
        [5000, 6000, 9000],
        "from old to new"
    );
    assert_eq!(
        (mysql.slowest_phase, report.starts[2].slowest_phase),
        (Some(Phase::Starting), Some(Phase::Pulling))
    );
    let phases: Vec<_> =
        mysql.phases.iter().map(|time| (time.phase, time.starts, time.median_millis, time.share)).collect();
    let expected = [
        (Phase::Scheduling, 3, 0, 0.0),
        (Phase::Pulling, 3, 1000, 0.15),
        (Phase::Creating, 3, 0, 0.0),
        (Phase::Starting, 3, 5000, 0.85),
    ];
    assert_eq!(phases, expected);
}

#[test]
fn a_clock_that_counts_seconds_makes_no_start_longer() {
    let began = HOUR + 700;
    let mut early = record(1, "kubernetes", Status::Done, vec![database("mysql", HOUR, 10, Some(3700))]);
    early.began = at(began);
    let millis = |record: &Record| {
        Report::of(std::slice::from_ref(record), at(0), at(2 * HOUR)).starts[0].points[0].millis
    };
    assert_eq!(millis(&early), 3000);
    // A record that was begun when all was over.
    early.began = at(HOUR + 60_000);
    assert_eq!(millis(&early), 3700);
}

#[test]
fn failures_are_counted_by_cause() {
    let report = report();
    let shown: Vec<_> = report
        .failures
        .iter()
        .map(|failure| (failure.kind.as_str(), failure.runs, failure.latest.run_id.as_str()))
        .collect();
    assert_eq!(shown, [("ErrImagePull", 2, "run-7"), ("unknown", 1, "run-6")]);
    let statuses: Vec<_> = report.statuses.iter().map(|count| count.runs).collect();
    assert_eq!((report.runs, statuses), (7, vec![0, 1, 3, 2, 0, 1]), "the run before is left out");
}

#[test]
fn json_has_a_version_and_says_what_it_counts_in() {
    let json = serde_json::to_value(report()).unwrap();
    assert_eq!((&json["version"], &json["since"]), (&1.into(), &"1970-01-01T01:00:00.000Z".into()));
    assert_eq!(
        (&json["starts"][0]["medianMillis"], &json["starts"][0]["slowestPhase"]),
        (&6000.into(), &"starting".into())
    );
    assert_eq!(json["failures"][0]["latest"]["runId"], "run-7");
}

#[test]
fn a_terminal_gets_tables() {
    insta::assert_snapshot!(report().text(), @r"
    7 runs since 1970-01-01T01:00:00.000Z: 1 up, 3 done, 2 failed, 1 abandoned

    ENGINE     RUNTIME      READY   MEDIAN   P95      MAX      MOST TIME GOES INTO
    mysql      kubernetes   3/6     6.00 s   9.00 s   9.00 s   server starting (85 %)
    mysql      local        1/1     700 ms   700 ms   700 ms   server starting (100 %)
    postgres   kubernetes   3/3     4.00 s   4.00 s   4.00 s   getting the image (75 %)

    CAUSE          RUNS   LATEST                     RUN ID   ERROR
    ErrImagePull   2      1970-01-01T07:00:00.000Z   run-7    ErrImagePull 7 ...
    unknown        1      1970-01-01T06:00:00.000Z   run-6
    ");
    assert_eq!(Report::of(&[], at(HOUR), at(HOUR)).text(), "0 runs since 1970-01-01T01:00:00.000Z\n");
}

#[test]
fn a_report_has_a_page_whatever_is_in_it() {
    let page = html(&report()).unwrap();
    assert!(
        page.contains("median </i>6.00 s")
            && page.contains("run-7")
            && page.contains("mostly server starting"),
        "{page}"
    );
    let empty = html(&Report::of(&[], at(HOUR), at(HOUR))).unwrap();
    assert!(
        empty.contains("No run began in this time") && empty.contains("No databases were started"),
        "{empty}"
    );
    let odd = record(1, "local", Status::Done, vec![database("mysql", HOUR, 0, Some(i64::MAX / 2))]);
    assert!(html(&Report::of(&[odd], at(0), at(HOUR))).unwrap().contains("mysql"));
    let many: Vec<Record> = (1..2000)
        .map(|hour| record(hour, "local", Status::Done, vec![database("mysql", hour * HOUR, 0, Some(hour))]))
        .collect();
    let page = html(&Report::of(&many, at(0), at(2000 * HOUR))).unwrap();
    assert!(
        page.matches("<circle").count() == 400 && page.contains("1599 are not") && page.contains(": 2.00 s"),
        "{}",
        page.len()
    );
}

#[test]
fn hostile_texts_stay_texts() {
    let mut record = failed(2, Status::Failed, "<img src=x>'\"");
    record.name = "</title><script>".into();
    record.databases[0].engine = "<b>".into();
    let page = html(&Report::of(&[record], at(0), at(3 * HOUR))).unwrap();
    assert!(!page.contains("<img") && !page.contains("<script") && !page.contains("<b>"), "{page}");
}

#[test]
fn the_middle_is_one_or_between_two() {
    assert_eq!(
        (median(&[]), median(&[7]), median(&[1, 9]), median(&[1, 2, 9])),
        (None, Some(7), Some(5), Some(2))
    );
}

#[test]
fn a_percentile_is_one_that_was_measured() {
    let hundred: Vec<u64> = (1..=100).collect();
    assert_eq!(
        (of_hundred(&hundred, 95), of_hundred(&hundred[..20], 95), of_hundred(&hundred[..19], 95)),
        (Some(95), Some(19), Some(19))
    );
    assert_eq!((of_hundred(&[], 95), of_hundred(&[3], 95)), (None, Some(3)));
}
