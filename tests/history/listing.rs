//! What a list shows is what a plain look through all records would find, page by page.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use testbed::history::query::{Cursor, Filter, Summary};
use testbed::history::record::{Record, Status};
use testbed::history::store::Store;
use testbed::time::Time;

use crate::harness::{count, on_each};
use crate::samples::database;

/// How many filters are tried.
fn filters() -> u32 {
    count("TESTBED_TEST_FILTERS", 60).try_into().expect("a number of filters")
}

const STATUSES: [Status; 6] =
    [Status::Starting, Status::Up, Status::Done, Status::Failed, Status::Cancelled, Status::Abandoned];
const ENGINES: [&str; 3] = ["mariadb", "mysql", "postgres"];

/// Records of few moments and names, so that many have the same. `number` makes their ids different and in no
/// order.
fn record(number: u64, seed: u64) -> Record {
    let pick = |shift: u32, count: u64| (seed >> shift) % count;
    let name = |value: u64| (value > 0).then(|| format!("name-{value}"));
    let mut record =
        Record::begin(&format!("run-{}", pick(0, 50)), if pick(6, 3) == 0 { "local" } else { "kubernetes" });
    record.id = format!("{:08x}-{number}", seed as u32);
    record.began = Time::from_millis(1_700_000_000_000 + 60_000 * pick(8, 20) as i64);
    record.status = STATUSES[pick(16, 6) as usize];
    record.origin.namespace = name(pick(20, 4));
    record.origin.pipeline_run = name(pick(24, 5));
    // Somebody's UID may be somebody else's name.
    record.origin.pipeline_run_uid = name(pick(28, 9));
    record.databases = ENGINES
        .iter()
        .enumerate()
        .filter(|(index, _)| seed >> (32 + index) & 1 == 1)
        .map(|(_, engine)| database(engine))
        .collect();
    record
}

fn records() -> Vec<Record> {
    // Knuth's MMIX generator: the same records every time.
    let step = |seed: &mut u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(*seed ^ *seed >> 29)
    };
    std::iter::repeat_n((), 300)
        .scan(7, |seed, ()| step(seed))
        .zip(0..)
        .map(|(seed, number)| record(number, seed))
        .collect()
}

/// The plain look.
fn fits(record: &Record, filter: &Filter) -> bool {
    let is = |wanted: &Option<String>, names: &[&Option<String>]| wanted.is_none() || names.contains(&wanted);
    filter.since.is_none_or(|since| record.began >= since)
        && (filter.status.is_empty() || filter.status.contains(&record.status))
        && is(&filter.namespace, &[&record.origin.namespace])
        && is(&filter.pipeline_run, &[&record.origin.pipeline_run, &record.origin.pipeline_run_uid])
        && filter
            .engine
            .as_ref()
            .is_none_or(|engine| record.databases.iter().any(|database| database.engine == *engine))
}

fn wanted(records: &[Record], filter: &Filter) -> Vec<String> {
    let mut found: Vec<&Record> = records.iter().filter(|record| fits(record, filter)).collect();
    found.sort_by_key(|record| std::cmp::Reverse((record.began, &record.id)));
    found.into_iter().map(|record| record.id.clone()).collect()
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let name = || proptest::option::of((1..6_u8).prop_map(|number| format!("name-{number}")));
    let since = proptest::option::of(
        (0..21_i64).prop_map(|minute| Time::from_millis(1_700_000_000_000 + 60_000 * minute)),
    );
    let engine = proptest::option::of(proptest::sample::select(&ENGINES[..]).prop_map(str::to_owned));
    let status = proptest::sample::subsequence(&STATUSES[..], 0..3);
    (since, status, name(), name(), engine).prop_map(|(since, status, namespace, pipeline_run, engine)| {
        Filter { since, status, namespace, pipeline_run, engine }
    })
}

async fn pages(store: &Store, filter: &Filter, limit: usize) -> Vec<Summary> {
    let mut all: Vec<Summary> = Vec::new();
    loop {
        let after = all.last().map(|last| Cursor { began: last.began, id: last.id.clone() });
        let page = store.list(filter, after.as_ref(), limit).await.unwrap();
        assert!(page.len() <= limit);
        let is_last = page.len() < limit;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

#[test]
fn every_filter_finds_what_a_look_through_all_records_finds() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        let records = records();
        for record in &records {
            store.put(record.clone(), vec![]).await.unwrap();
        }
        let mut runner =
            TestRunner::new(Config { cases: filters(), failure_persistence: None, ..Config::default() });
        let cases = (any_filter(), 1..40_usize);
        for _ in 0..filters() {
            let (filter, limit) = cases.new_tree(&mut runner).unwrap().current();
            let wanted = wanted(&records, &filter);
            let found = pages(&store, &filter, limit).await;
            assert_eq!(
                found.iter().map(|summary| &summary.id).collect::<Vec<_>>(),
                wanted.iter().collect::<Vec<_>>(),
                "{filter:?} by {limit}"
            );
            let stories = store.whole(&filter, limit).await.unwrap();
            assert_eq!(
                stories.iter().map(|story| &story.id).collect::<Vec<_>>(),
                wanted.iter().take(limit).collect::<Vec<_>>(),
                "{filter:?}"
            );
        }
        // The sample is not all of one kind.
        let sizes: BTreeSet<usize> = STATUSES
            .iter()
            .map(|status| wanted(&records, &Filter { status: vec![*status], ..Filter::default() }).len())
            .collect();
        assert!(sizes.iter().all(|size| (10..100).contains(size)), "{sizes:?}");
    });
}
