//! Many processes write to one store at once: nothing is lost, and nobody waits for ever.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testbed::history::place::Place;
use testbed::history::record::Record;
use testbed::history::store::Store;

use crate::harness::{Fresh, Kind, block_on, count, on_each};
use crate::samples::{full, log};

const PROCESSES: usize = 32;
const PLACE: &str = "TESTBED_TEST_PLACE";
const NAME: &str = "TESTBED_TEST_NAME";
/// The id of a record that all of them change.
const SHARED: &str = "00000000-0000-7000-8000-000000000000";

/// How often each process writes.
fn writes() -> usize {
    count("TESTBED_TEST_WRITES", 4)
}

/// What `--history` would say, password included.
fn spelled(place: &Place) -> String {
    match place {
        Place::Sqlite(path) => format!("sqlite:{}", path.display()),
        Place::Postgres(url) => url.to_string(),
    }
}

/// One of the processes: opens the store when it is told to, and writes.
#[test]
#[ignore = "it is started by the test below, many times"]
fn one_of_many() {
    let place = Place::parse(&std::env::var(PLACE).expect(PLACE)).unwrap().unwrap();
    let name = std::env::var(NAME).expect(NAME);
    std::io::stdin().read_line(&mut String::new()).unwrap();
    block_on(async {
        let store = Store::open(&place).await.unwrap();
        let mut slowest = Duration::ZERO;
        for number in 0..writes() {
            let began = Instant::now();
            let record = full(&format!("{name}-{number}"));
            let id = record.id.clone();
            store.put(record, vec![log("mysql", "mysql", true, "began")]).await.unwrap();
            let end = |record: &mut Record| record.notes.push("over".into());
            assert!(store.change(&id, vec![log("mysql", "mysql", false, "over")], None, end).await.unwrap());
            let note = format!("{name}-{number}");
            // Whoever is first makes it.
            let shared = Record { id: SHARED.into(), notes: Vec::new(), ..full("shared") };
            assert!(
                store
                    .change(SHARED, vec![], Some(shared), move |record| record.notes.push(note))
                    .await
                    .unwrap()
            );
            slowest = slowest.max(began.elapsed());
        }
        eprintln!("{name}: at most {slowest:?} for three writes");
    });
}

/// Such a process, which goes by a name.
pub fn process(place: &Place, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "together::one_of_many", "--ignored", "--nocapture"]);
    command.env(PLACE, spelled(place)).env(NAME, name).stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

async fn check(store: &Store) {
    let all: BTreeSet<String> = (0..PROCESSES)
        .flat_map(|process| (0..writes()).map(move |number| format!("p{process}-{number}")))
        .collect();
    for run in &all {
        let found = store.find(run).await.unwrap();
        assert_eq!(found.len(), 1, "{run}");
        assert!(
            found[0].notes.ends_with(&["over".into()]) && found[0].logs.len() == 2,
            "{run}: {:?}",
            found[0]
        );
        assert_eq!(store.logs(&found[0].id).await.unwrap().len(), 2, "{run}");
    }
    let shared = store.find(SHARED).await.unwrap().pop().expect("the shared record");
    assert_eq!(shared.notes.len(), all.len(), "no change happened twice");
    assert_eq!(shared.notes.into_iter().collect::<BTreeSet<_>>(), all, "no change was lost");
}

/// The processes have been started and wait; then all go at once, at a store that nobody has made yet.
#[test]
fn thirty_two_processes_at_a_store_that_is_not_there_yet() {
    on_each(async |fresh: Fresh| {
        let mut children: Vec<Child> = (0..PROCESSES)
            .map(|number| process(&fresh.place, &format!("p{number}")).spawn().expect("a process"))
            .collect();
        for child in &mut children {
            child.stdin.take().expect("a pipe").write_all(b"go\n").expect("it waits");
        }
        let codes: Vec<_> = children.iter_mut().map(|child| child.wait().expect("it ends").code()).collect();
        assert!(codes.iter().all(|code| *code == Some(0)), "{codes:?}");
        check(&fresh.store().await).await;
        if let Kind::Postgres(server) = &fresh.kind {
            let deadlocks = server
                .value("history", "SELECT deadlocks FROM pg_stat_database WHERE datname = 'history'")
                .await;
            assert_eq!(deadlocks, "0");
        }
    });
}

#[test]
fn tasks_that_share_a_store_take_turns() {
    on_each(async |fresh: Fresh| {
        let store = fresh.store().await;
        let writers = (0..PROCESSES).map(|number| {
            let store = store.clone();
            let shared = Record { id: SHARED.into(), notes: Vec::new(), ..full("shared") };
            async move {
                store.put(full(&format!("run-{number}")), vec![log("a", "b", false, "text")]).await.unwrap();
                store
                    .change(SHARED, vec![], Some(shared), move |record| record.notes.push(number.to_string()))
                    .await
                    .unwrap()
            }
        });
        assert!(futures::future::join_all(writers).await.into_iter().all(|was_there| was_there));
        let notes: BTreeSet<String> =
            store.find(SHARED).await.unwrap().pop().unwrap().notes.into_iter().collect();
        assert_eq!(notes, (0..PROCESSES).map(|number| number.to_string()).collect());
    });
}
