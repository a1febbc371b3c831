//! What is not to be kept goes, with all that belongs to it and with the space that it took; nothing else
//! does.

use std::collections::BTreeSet;
use std::time::Duration;

use testbed::history::query::{Filter, Pruned, Retention};
use testbed::history::record::Record;
use testbed::history::store::Store;
use testbed::time::Time;

use crate::harness::{Fresh, on_each};
use crate::samples::{full, log};

const HOUR: Duration = Duration::from_secs(3600);

/// A run that began so many hours ago.
fn begun(hours: u32, is_over: bool) -> Record {
    let mut record = full(&format!("run-{hours}"));
    record.began = Time::now().before(hours * HOUR);
    record.ended = is_over.then(|| Time::now().before(hours * HOUR / 2));
    record
}

async fn left(store: &Store) -> BTreeSet<String> {
    store
        .list(&Filter::default(), None, 1000)
        .await
        .unwrap()
        .into_iter()
        .map(|summary| summary.run_id)
        .collect()
}

async fn fill(fresh: &Fresh, records: &[Record]) -> Store {
    let store = fresh.store().await;
    for record in records {
        store.put(record.clone(), vec![log("mysql", "mysql", false, "text")]).await.unwrap();
    }
    store
}

/// No row of a table belongs to a run that is gone.
async fn assert_no_orphans(fresh: &Fresh) {
    for table in ["engines", "stories", "logs"] {
        let orphans = fresh
            .sql(&format!("SELECT id FROM testbed.{table} WHERE id NOT IN (SELECT id FROM testbed.runs)"))
            .await;
        assert!(orphans.is_empty(), "{table}: {orphans:?}");
    }
}

fn names(hours: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    hours.into_iter().map(|hours| format!("run-{hours}")).collect()
}

#[test]
fn by_age_and_by_count() {
    on_each(async |fresh| {
        let records: Vec<Record> = (1..=20).map(|day| begun(24 * day + 1, true)).collect();
        let store = fill(&fresh, &records).await;
        let days = |days| names((1..=days).map(|day| 24 * day + 1));
        let all = Retention { older_than: None, keep: None };
        assert_eq!(store.prune(&all, false).await.unwrap().records, 0);
        // A dry run tells the same as the prune, and does nothing.
        let by_age = Retention { older_than: Some(10 * 24 * HOUR), ..all };
        let told = store.prune(&by_age, true).await.unwrap();
        assert!(
            matches!(told, Pruned { records: 11, left: 9, bytes_before: Some(1..), bytes_after: None }),
            "{told:?}"
        );
        assert_eq!(left(&store).await, days(20));
        let done = store.prune(&by_age, false).await.unwrap();
        assert!(
            matches!(done, Pruned { records: 11, left: 9, bytes_before: Some(1..), bytes_after: Some(1..) }),
            "{done:?}"
        );
        assert_eq!(left(&store).await, days(9));
        // The stricter rule counts.
        let done =
            store.prune(&Retention { older_than: Some(8 * 24 * HOUR), keep: Some(8) }, false).await.unwrap();
        assert_eq!((done.records, done.left, left(&store).await), (2, 7, days(7)));
        let done =
            store.prune(&Retention { older_than: Some(8 * 24 * HOUR), keep: Some(3) }, false).await.unwrap();
        assert_eq!((done.records, done.left, left(&store).await), (4, 3, days(3)));
        assert_eq!(store.prune(&Retention { keep: Some(u64::MAX), ..all }, false).await.unwrap().records, 0);
        assert_no_orphans(&fresh).await;
        assert_eq!(store.prune(&Retention { keep: Some(0), ..all }, false).await.unwrap().left, 0);
        assert_eq!(fresh.sql("SELECT id FROM testbed.logs").await, [""; 0]);
    });
}

#[test]
fn a_run_that_may_be_up_is_spared_for_a_day() {
    on_each(async |fresh| {
        let store = fill(
            &fresh,
            &[
                begun(1, true),
                begun(2, false),
                begun(3, true),
                begun(23, false),
                begun(25, false),
                begun(26, true),
            ],
        )
        .await;
        let keep_one = Retention { older_than: None, keep: Some(1) };
        assert_eq!(store.prune(&keep_one, true).await.unwrap().records, 3);
        assert_eq!(store.prune(&keep_one, false).await.unwrap().left, 3);
        assert_eq!(left(&store).await, names([1, 2, 23]));
        let all = Retention { older_than: Some(Duration::ZERO), keep: None };
        assert_eq!(store.prune(&all, false).await.unwrap().left, 2);
        assert_eq!(left(&store).await, names([2, 23]));
    });
}

#[test]
fn space_is_given_back_while_somebody_writes() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        // Hexadecimal hashes: a text that does not get much smaller.
        let text = |seed: u32| {
            (0..3000_u32)
                .map(|line| {
                    format!("{:032x}\n", u128::from(line + 7919 * seed).pow(3) * 0x9e37_79b9_7f4a_7c15)
                })
                .collect::<String>()
        };
        let logs = vec![log("mysql", "mysql", false, &text(1)), log("mysql", "mysql", true, &text(2))];
        for hours in 100..220 {
            store.put(begun(hours, true), logs.clone()).await.unwrap();
        }
        let pruner = fresh.store().await;
        let pruning = tokio::spawn(async move {
            pruner.prune(&Retention { older_than: Some(100 * HOUR), keep: None }, false).await
        });
        let mut written = BTreeSet::new();
        while !pruning.is_finished() && written.len() < 100 {
            let hours = 1 + u32::try_from(written.len()).unwrap();
            store.put(begun(hours, true), vec![]).await.unwrap();
            written.insert(format!("run-{hours}"));
        }
        let pruned = pruning.await.unwrap().unwrap();
        let (before, after) = (pruned.bytes_before.unwrap(), pruned.bytes_after.unwrap());
        eprintln!("{before} -> {after} bytes, {} written meanwhile", written.len());
        assert_eq!(pruned.records, 120);
        assert!(before > 8 << 20 && after < before / 10, "{before} -> {after}");
        assert!(!written.is_empty() && left(&store).await == written);
        assert_no_orphans(&fresh).await;
    });
}
