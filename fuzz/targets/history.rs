//! The story of a run as somebody else has stored it: the page of it, the report over it, and its logs.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use testbed::history::clip::Clip;
use testbed::history::log::Log;
use testbed::history::page::{self, report};
use testbed::history::query::Cursor;
use testbed::history::record::{LogInfo, Record};
use testbed::history::since::Since;
use testbed::time::Time;

/// An element that no page of testbed's has.
const FOREIGN: &str = "<zq8";

fuzz_target!(|data: &[u8]| {
    if let Some(text) = testbed_fuzz::text(data) {
        if let Some(time) = Time::parse(text) {
            assert_eq!(Time::from_millis(time.millis()), time);
        }
        if let Ok(cursor) = Cursor::parse(text) {
            assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }
        let _ = Since::parse(text).map(|since| since.at(Time::from_millis(0)));
    }
    let mut parts = testbed_fuzz::parts(data);
    let Some(Ok(record)) = parts.next().map(serde_json::from_slice::<Record>) else { return };
    let told = Record { objects: Vec::new(), ..record.clone() };
    let stored = serde_json::to_string(&told).expect("a record can be stored");
    assert_eq!(serde_json::from_str::<Record>(&stored).expect("what was stored"), told);
    let infos = record.logs.iter().cloned().chain(std::iter::repeat_with(LogInfo::default));
    let logs: Vec<Log> = parts.zip(infos).map(|(part, info)| log(part, info)).collect();
    if let Ok(page) = page::run(&record, &logs) {
        assert!(!page.contains(FOREIGN), "an element of somebody else's");
    }
    let now = record.ended.unwrap_or(record.began);
    let report =
        report::Report::of(std::slice::from_ref(&record), now.before(Duration::from_secs(86_400)), now);
    report.text();
    let page = report::html(&report).expect("a report has a page");
    assert!(!page.contains(FOREIGN), "an element of somebody else's");
});

/// Bytes in gzip stay as they are; others are a log's text.
fn log(bytes: &[u8], info: LogInfo) -> Log {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Log { info, gzip: bytes.to_vec() };
    }
    let mut clip = Clip::default();
    clip.push(bytes);
    Log::new(info, &clip.finish().text)
}
