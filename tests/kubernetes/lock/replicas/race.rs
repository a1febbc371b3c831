//! Many who want the replica at the same moment: with testbed, and with the shell script that gets the
//! replicas and then scales.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{idle, workload};
use crate::harness::{Namespace, kubeconfig};
use crate::support::binary;

/// How many there are.
const COUNT: usize = 20;

/// How often they come until each has had its turn, for `make soak`; nothing where they come once and do not
/// wait long: every turn takes the time that a pod takes to start.
fn races() -> Option<usize> {
    let text = std::env::var("TESTBED_TEST_RACES").ok()?;
    Some(text.parse().expect("a number in TESTBED_TEST_RACES"))
}

/// How often the script may try to get away with it.
const ROUNDS: usize = 5;

/// What holders do: they say when they come and go, and which pods they have had.
const WORK: &str = r#"
    echo "enter $ID" >>log
    pods=$($KUBECTL get pods -l "app=$NAME" -o 'jsonpath={.items[*].metadata.uid}')
    echo "leave $ID $pods" >>log
"#;

const TESTBED: &str = r#"
    "$TESTBED" lock acquire --on "deployment/$NAME" --run-id "run-$ID" --timeout "$PATIENCE" || exit
    . ./work
    "$TESTBED" lock release --on "deployment/$NAME" --run-id "run-$ID"
"#;

/// As people write it. What it cannot have, it does not wait for.
const SCRIPT: &str = r#"
    replicas=$($KUBECTL get deployment "$NAME" -o jsonpath='{.spec.replicas}')
    [ "$replicas" = 0 ] || exit 1
    $KUBECTL scale deployment "$NAME" --replicas=1
    $KUBECTL wait --for=condition=ready pod -l "app=$NAME" --timeout=120s
    . ./work
    $KUBECTL scale deployment "$NAME" --replicas=0
    $KUBECTL wait --for=delete pod -l "app=$NAME" --timeout=60s
"#;

/// What the holders have written.
#[derive(Debug, Default)]
struct Record {
    /// How many there were at the same time at most.
    most: usize,
    /// What each has said of its pods.
    pods: Vec<String>,
}

impl Record {
    fn read(log: &str) -> Self {
        let mut record = Self::default();
        let mut inside = 0;
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["enter", _] => inside += 1,
                ["leave", _, pods @ ..] => {
                    inside -= 1;
                    record.pods.push(pods.join(" "));
                }
                _ => panic!("{line:?} in {log}"),
            }
            record.most = record.most.max(inside);
        }
        assert_eq!(inside, 0, "all have gone: {log}");
        record
    }
}

/// Starts the script so often, all of them at one moment, and waits for their end.
fn race(namespace: &Namespace, name: &str, script: &str) -> Record {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("work"), WORK).expect("a file");
    std::fs::write(folder.path().join("log"), "").expect("a file");
    let gate = File::create(folder.path().join("gate")).expect("a file");
    gate.lock().expect("a lock on a file of one's own");
    let racers: Vec<Child> = (0..COUNT).map(|id| start(namespace, name, script, id, folder.path())).collect();
    gate.unlock().expect("it is locked");
    for racer in racers {
        let output = racer.wait_with_output().expect("bash ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_well = output.status.success() || (races().is_none() && output.status.code() == Some(6));
        assert!(is_well || script == SCRIPT, "{text}");
    }
    Record::read(&std::fs::read_to_string(folder.path().join("log")).expect("the log"))
}

fn start(namespace: &Namespace, name: &str, script: &str, id: usize, folder: &Path) -> Child {
    let kubectl = format!("kubectl --kubeconfig {} -n {}", kubeconfig().display(), namespace.name);
    let mut command = Command::new("bash");
    command.args(["-c", &format!("flock --shared gate true\n{script}")]).current_dir(folder);
    command.env("KUBECTL", kubectl).env("TESTBED", binary()).env("NAME", name).env("ID", id.to_string());
    command.env("PATIENCE", if races().is_some() { "1h" } else { "20s" });
    command.env("TESTBED_NAMESPACE", &namespace.name).env("TESTBED_KUBECONFIG", kubeconfig());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("bash")
}

#[test]
fn many_at_once_take_turns_and_a_script_does_not() {
    let namespace = Namespace::new("replica-race");
    for name in ["ours", "script"] {
        namespace.apply(&workload("Deployment", name, 0, &idle("")));
    }
    std::thread::scope(|scope| {
        let ours = scope.spawn(|| {
            (0..races().unwrap_or(1)).map(|_| race(&namespace, "ours", TESTBED)).collect::<Vec<_>>()
        });
        let rounds = (0..ROUNDS).map(|_| race(&namespace, "script", SCRIPT));
        let most = rounds.map(|record| record.most).find(|most| *most > 1);
        assert!(
            most.is_some(),
            "the script never let two in within {ROUNDS} rounds: this test can tell nothing"
        );
        for ours in ours.join().expect("it has not failed") {
            let turns = ours.pods.len();
            eprintln!("{turns} turns");
            assert!(ours.most == 1 && (turns == COUNT || (races().is_none() && turns > 1)), "{ours:?}");
            let different: BTreeSet<&str> =
                ours.pods.iter().flat_map(|pods| pods.split(' ')).filter(|pod| !pod.is_empty()).collect();
            let has_one = |pods: &String| pods.split(' ').count() == 1;
            assert!(
                different.len() == turns && ours.pods.iter().all(has_one),
                "each has one pod, and another one than the rest: {ours:?}"
            );
        }
    });
}
