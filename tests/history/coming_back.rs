//! What was put comes back as it was.

use testbed::history::query::Filter;
use testbed::history::record::{Record, Status};
use testbed::history::store::Store;

use crate::harness::{Kind, on_each};
use crate::samples::{full, log};

/// The record as the store tells it.
async fn find(store: &Store, id: &str) -> Record {
    let mut found = store.find(id).await.unwrap();
    assert_eq!(found.len(), 1, "{id}");
    found.remove(0)
}

#[test]
fn a_record_and_its_logs() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        let record = full("run-1");
        let logs = [
            log("mysql-1", "mysql", false, "ready\n"),
            log("mysql-1", "mysql", true, "ERROR: größe\n"),
            log("a", "", false, ""),
        ];
        store.put(record.clone(), logs.to_vec()).await.unwrap();
        // By its id and by its run's; the record names its logs.
        let named = Record { logs: logs.iter().map(|log| log.info.clone()).collect(), ..record.clone() };
        let store = fresh.store().await;
        assert_eq!(find(&store, &record.id).await, named);
        assert_eq!(find(&store, "run-1").await, named);
        assert_eq!(store.find("run-2").await.unwrap(), []);
        assert_eq!(store.logs(&record.id).await.unwrap(), [&logs[2], &logs[1], &logs[0]].map(Clone::clone));
        assert_eq!(store.logs("other").await.unwrap(), []);
        // A list shows the summary, a report the story.
        let listed = store.list(&Filter::default(), None, 10).await.unwrap();
        assert_eq!(listed.len(), 1);
        let summary = &listed[0];
        assert_eq!((&summary.id, &summary.run_id, &summary.name), (&record.id, &record.run_id, &record.name));
        assert_eq!((summary.status, &summary.cause), (record.status, &record.cause));
        assert_eq!((summary.began, summary.ready, summary.ended), (record.began, record.ready, record.ended));
        assert_eq!((summary.runtime.as_str(), summary.namespace.as_deref()), ("kubernetes", Some("ci")));
        assert_eq!(
            (summary.pipeline_run.as_deref(), &summary.engines[..]),
            (Some("orders-ci-x7k2p"), &["mysql".into(), "postgres".into()][..])
        );
        let story = Record { objects: vec![], events: vec![], ..named };
        assert_eq!(store.whole(&Filter::default(), 10).await.unwrap(), [story]);
    });
}

#[test]
fn what_is_put_again_replaces_the_record_and_adds_logs() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        let first = full("run-1");
        store
            .put(first.clone(), vec![log("a", "x", false, "old"), log("b", "x", false, "kept")])
            .await
            .unwrap();
        let mut second = Record { id: first.id.clone(), ..Record::begin("run-1", "local") };
        second.status = Status::Up;
        let newer = log("a", "x", false, "newer");
        store.put(second.clone(), vec![newer.clone()]).await.unwrap();
        second.logs = vec![newer.info.clone(), log("b", "x", false, "kept").info];
        assert_eq!(find(&store, &first.id).await, second);
        assert_eq!(store.logs(&first.id).await.unwrap(), [newer, log("b", "x", false, "kept")]);
        let listed = store
            .list(&Filter { engine: Some("mysql".into()), ..Filter::default() }, None, 10)
            .await
            .unwrap();
        assert_eq!(listed, [], "the engines of the first one are gone");
    });
}

#[test]
fn a_change_sees_what_is_stored_and_writes_where_nothing_is() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        let record = full("run-1");
        assert!(!store.change(&record.id, vec![log("a", "", false, "x")], None, |_| ()).await.unwrap());
        assert_eq!(store.logs(&record.id).await.unwrap(), []);
        let name = |name: &'static str| move |record: &mut Record| record.notes.push(name.into());
        assert!(store.change(&record.id, vec![], Some(record.clone()), name("first")).await.unwrap());
        let other = Record { name: "not me".into(), ..record.clone() };
        assert!(
            store
                .change(&record.id, vec![log("a", "", false, "x")], Some(other), name("second"))
                .await
                .unwrap()
        );
        let mut wanted = record.clone();
        wanted.notes.extend(["first".into(), "second".into()]);
        wanted.logs = vec![log("a", "", false, "x").info];
        assert_eq!(find(&store, &record.id).await, wanted);
    });
}

#[test]
fn the_newest_record_of_a_run_that_is_not_over() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        let of = |ended: bool, runtime: &str, namespace: Option<&str>, seconds: i64| {
            let mut record = full("run-1");
            record.runtime = runtime.into();
            record.origin.namespace = namespace.map(Into::into);
            record.began = testbed::time::Time::from_millis(1000 * seconds);
            record.ended = ended.then_some(record.began);
            record
        };
        let records = [
            of(false, "kubernetes", Some("a"), 1),
            of(false, "kubernetes", Some("a"), 2),
            of(true, "kubernetes", Some("a"), 3),
            of(false, "kubernetes", Some("b"), 4),
            of(false, "local", Some("b"), 5),
        ];
        for record in &records {
            store.put(record.clone(), vec![]).await.unwrap();
        }
        assert_eq!(store.unfinished("run-1", "a").await.unwrap().as_ref(), Some(&records[1]));
        assert_eq!(store.unfinished("run-1", "b").await.unwrap().as_ref(), Some(&records[3]));
        assert_eq!(store.unfinished("run-1", "c").await.unwrap(), None);
        assert_eq!(store.unfinished("run-2", "a").await.unwrap(), None);
        // From the newest on.
        let began: Vec<_> =
            store.find("run-1").await.unwrap().iter().map(|record| record.began.millis() / 1000).collect();
        assert_eq!(began, [5, 4, 3, 2, 1]);
    });
}

#[test]
fn records_by_the_first_letters_of_their_ids() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        for (id, run_id) in [("0aa1", "x-1"), ("0aa2", "x_%"), ("0ab", "y"), ("1", "0aa")] {
            store.put(Record { id: id.into(), ..full(run_id) }, vec![]).await.unwrap();
        }
        let found = async |letters: &str| {
            store.beginning(letters).await.unwrap().into_iter().map(|summary| summary.id).collect::<Vec<_>>()
        };
        assert_eq!(found("0aa").await, ["1", "0aa2", "0aa1"]);
        assert_eq!(found("0aa1").await, ["0aa1"]);
        assert_eq!(found("x_").await, ["0aa2"]);
        assert_eq!(found("z").await, [""; 0]);
    });
}

#[test]
fn texts_that_a_database_refuses_break_nothing() {
    on_each(async |fresh| {
        let store = fresh.store().await;
        let mut record = full("run-\0");
        record.name = "a\0b".into();
        record.origin.namespace = Some("n\0".into());
        record.databases[0].engine = "my\0sql".into();
        record.cause.as_mut().unwrap().text = "\0\u{1}\u{fffe}".into();
        record.objects =
            vec![serde_json::json!({"data": "\0".repeat(100), "large": "0123456789abcdef".repeat(1 << 16)})];
        let strange = log("pod\0", "\u{7f}", false, "\0\u{feff}\r\n");
        store.put(record.clone(), vec![strange.clone()]).await.unwrap();
        record.logs = vec![strange.info.clone()];
        assert_eq!(find(&store, &record.id).await, record);
        assert_eq!(store.logs(&record.id).await.unwrap(), [strange]);
        assert_eq!(find(&store, "run-\0").await, record);
        let filter =
            Filter { namespace: Some("n\0".into()), engine: Some("my\0sql".into()), ..Filter::default() };
        assert_eq!(store.list(&filter, None, 10).await.unwrap().len(), 1);
    });
}

#[test]
fn a_question_makes_nothing() {
    on_each(async |fresh| {
        assert!(Store::open_to_read(&fresh.place).await.unwrap().is_none());
        match &fresh.kind {
            Kind::Sqlite(folder) => assert!(!folder.path().join("state").exists()),
            Kind::Postgres(server) => {
                assert_eq!(server.value("history", "SELECT to_regnamespace('testbed') IS NULL").await, "t");
            }
        }
        drop(fresh.store().await);
        let store = Store::open_to_read(&fresh.place).await.unwrap().expect("a store");
        assert_eq!(store.list(&Filter::default(), None, 10).await.unwrap(), []);
    });
}
