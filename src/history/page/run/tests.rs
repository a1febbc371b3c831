//! Tests of the page of a run.

use super::*;
use crate::history::record::{Cause, Database, LogInfo};

/// What would become part of a page if anything got around the escaping, or out of an attribute.
const HOSTILE: &str = "</script></title></style>'\"><img src=x onerror=alert(1)>{{ title }}";

#[test]
fn hostile_texts_stay_texts() {
    let text = || HOSTILE.to_owned();
    let mut record = Record::begin(HOSTILE, HOSTILE);
    record.name = text();
    record.cause = Some(Cause { kind: text(), database: Some(text()), text: text() });
    record.databases =
        vec![Database { name: text(), engine: text(), image: Some(text()), ..Database::default() }];
    record.events = vec![Event { reason: text(), object: text(), message: text(), ..Event::default() }];
    record.objects =
        vec![serde_json::json!({"kind": HOSTILE, "metadata": {"name": HOSTILE, HOSTILE: HOSTILE}})];
    record.notes = vec![text()];
    let info = LogInfo { source: text(), container: text(), cut: Some(text()), ..LogInfo::default() };
    let page = run(&record, &[Log::new(info, &format!("{HOSTILE}\n").repeat(40))]).unwrap();
    assert!(!page.contains("<img") && !page.contains("</script"), "{page}");
    assert_eq!((page.matches("</title>").count(), page.matches("</style>").count()), (1, 1));
    assert!(page.matches("&#39;&quot;&gt;&lt;img src=x onerror=alert(1)&gt;{{ title }}").count() > 60);
}

#[test]
fn a_record_without_anything_has_a_page() {
    let page = run(&Record::default(), &[]).unwrap();
    assert!(page.contains("No databases are in the record") && page.contains("No log is stored"), "{page}");
}

#[test]
fn a_log_that_is_damaged_is_told() {
    let log = Log { gzip: vec![1, 2, 3], info: LogInfo { source: "mysql-0".into(), ..LogInfo::default() } };
    assert!(
        format!("{:#}", run(&Record::default(), &[log]).unwrap_err())
            .starts_with("reading the stored log of mysql-0")
    );
}

#[test]
fn a_large_run_has_a_small_page() {
    let mut record = Record::begin("run-1", "kubernetes");
    record.databases = (0..12)
        .map(|n| Database { name: format!("db-{n}"), engine: "mysql".into(), ..Database::default() })
        .collect();
    record.cause =
        Some(Cause { kind: "not-ready".into(), database: Some("db-11".into()), text: "it was not".into() });
    record.objects = (0..24)
        .map(|n| serde_json::json!({"kind": "Pod", "metadata": {"name": n}, "data": "x".repeat(20_000)}))
        .collect();
    let text = "2024-01-01T00:00:00.000000Z 0 [ERROR] [Server] it's <broken>\n".repeat(16_000);
    let log = |n: i32| {
        Log::new(
            LogInfo { source: format!("pod-{n}"), database: Some(format!("db-{n}")), ..LogInfo::default() },
            &text,
        )
    };
    let page = run(&record, &(0..12).map(log).collect::<Vec<_>>()).unwrap();
    assert!(page.len() < 500 * 1024, "{}", page.len());
    // What failed is what is looked for.
    assert!(
        page.split("<h3>db-11</h3>").nth(2).is_some_and(|log| log.contains("The last 32 KiB")),
        "{}",
        page.len()
    );
    assert!(page.contains("testbed history logs run-1 db-5"));
}

#[test]
fn an_object_that_is_long_is_cut() {
    let long = serde_json::json!({"kind": "Pod", "metadata": {"name": "x"}, "data": "ü".repeat(OBJECT)});
    let object = object(&long, OBJECT).unwrap();
    assert!(
        object.text.len() <= OBJECT
            && object.cut.as_deref().is_some_and(|cut| cut.starts_with("16 KiB more")),
        "{:?}",
        object.cut
    );
}
