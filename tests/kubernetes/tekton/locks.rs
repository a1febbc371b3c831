//! The tasks for locks: PipelineRuns that share a database.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::ended::Ended;
use super::rights::granted;
use super::run::{Outcome, PipelineRun};
use super::site::Site;
use super::task_runs::{of_task, task_run};
use crate::audit;
use crate::tekton_catalog::model::{ParamValue, PipelineRunSpec};

const RUN: &str = "samples/lock-run.yaml";
const RBAC: &str = "samples/lock-rbac.yaml";
const ONE_TASK: &str = "stepaction/testbed-lock-acquire/samples/acquire-test-release.yaml";

/// A place for runs with locks.
fn site(prefix: &str) -> Option<Site> {
    let site = Site::new(prefix)?;
    site.apply(RBAC);
    Some(site)
}

/// The lock's state; `Null` where there is none.
fn lock(site: &Site, name: &str) -> Value {
    let path = "jsonpath={.metadata.annotations.testbed/lock}";
    read(&site.namespace.kubectl(&["get", "lease", name, "--ignore-not-found", "-o", path]))
}

fn read(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).expect("JSON") }
}

/// Waits until so many wait for the lock; returns who, in their order.
fn queue(site: &Site, name: &str, length: usize) -> Vec<String> {
    let ids = |text: &str| -> Vec<String> {
        let lock = read(text);
        let queue = lock["queue"].as_array().into_iter().flatten();
        queue.map(|waiter| waiter["id"].as_str().expect("a run id").to_owned()).collect()
    };
    let args =
        ["get", "lease", name, "--ignore-not-found", "-o", "jsonpath={.metadata.annotations.testbed/lock}"];
    ids(&site.namespace.kubectl_until(&args, |text| ids(text).len() == length))
}

/// The sample's pipeline with tests that expect what is not there.
fn fail(site: &Site, spec: &mut PipelineRunSpec) {
    let reference = spec.pipeline_ref.take().expect("a Pipeline");
    let mut pipeline = site.catalog.pipeline(&reference.name).expect("the sample's").spec.clone();
    let tests = pipeline.tasks.iter_mut().find(|task| task.name == "integration-tests").expect("tests");
    let sql = tests.params.iter_mut().find(|param| param.name == "sql").expect("statements");
    let ParamValue::Text(text) = &mut sql.value else { panic!("no text") };
    assert!(text.contains("count(*) = 3"));
    *text = text.replace("count(*) = 3", "count(*) = 4");
    spec.pipeline_spec = Some(pipeline);
}

/// When a run had the database.
struct Turn<'a> {
    run: &'a PipelineRun<'a>,
    fence: u64,
    from: Timestamp,
    to: Timestamp,
    /// What was said before.
    wait: String,
}

impl<'a> Turn<'a> {
    fn new(
        run: &'a PipelineRun<'a>,
        (first, acquire): (&Ended, &str),
        (last, tests): (&Ended, &str),
    ) -> Self {
        let end = |ended: &Ended, step: &str| -> Timestamp {
            let state =
                ended.terminated(step).unwrap_or_else(|| panic!("{step} has not ended: {}", ended.log()));
            state["finishedAt"].as_str().expect("a time").parse().expect("RFC 3339")
        };
        let fence = first.results["fence"].parse().expect("a number");
        Self {
            run,
            fence,
            from: end(first, acquire),
            to: end(last, tests),
            wait: first.logs[acquire].clone(),
        }
    }

    fn of(run: &'a PipelineRun<'a>, outcome: &Outcome) -> Self {
        Self::new(run, (outcome.task("acquire-lock"), "acquire"), (outcome.task("integration-tests"), "psql"))
    }
}

#[test]
fn runs_that_share_a_database_take_turns() {
    let Some(site) = site("turns") else { return };
    let namespace = &site.namespace;
    site.apply("samples/lock-database.yaml");
    // Somebody has the lock until all of them wait for it.
    namespace.folder.call(&["lock", "acquire", "staging-db", "--run-id", "before"]).ok();
    namespace.kubectl(&["wait", "--for=condition=available", "--timeout=120s", "deployment/staging-db"]);
    let green = PipelineRun::create(&site, RUN);
    let red = PipelineRun::create_with(&site, RUN, |spec| fail(&site, spec));
    let steps = PipelineRun::create(&site, ONE_TASK);
    let (order, [of_green, of_red, of_steps]) = std::thread::scope(|scope| {
        let runs = [&green, &red, &steps].map(|run| scope.spawn(|| run.run()));
        let order = queue(&site, "staging-db", 3);
        namespace
            .folder
            .call(&["lock", "release", "staging-db", "--run-id", "before"])
            .ok()
            .says("released; next is run");
        (order, runs.map(|run| run.join().expect("a run that ends")))
    });

    of_green.has_succeeded();
    // Tests that fail give the lock back as well.
    let tests = of_red.task("integration-tests");
    of_red.has_failed();
    assert!(tests.log().contains("division by zero"), "{}", of_red.transcript());
    assert!(
        of_red.task("release-lock").log().contains("lock staging-db: released"),
        "{}",
        of_red.transcript()
    );
    of_steps.has_succeeded();
    assert_eq!(lock(&site, "staging-db"), Value::Null);

    let task = of_steps.task("tests");
    let turns = [
        Turn::of(&green, &of_green),
        Turn::of(&red, &of_red),
        Turn::new(&steps, (task, "acquire"), (task, "test")),
    ];
    let mut turns = turns.into_iter().collect::<Vec<_>>();
    turns.sort_by_key(|turn| turn.fence);
    assert_eq!(turns.iter().map(|turn| turn.run.uid.as_str()).collect::<Vec<_>>(), order);
    for pair in turns.windows(2) {
        let [one, next] = pair else { unreachable!("two of them") };
        assert!(
            one.fence < next.fence && one.to <= next.from,
            "{} until {}, {} from {}",
            one.run.name,
            one.to,
            next.run.name,
            next.from
        );
        let said = format!("held by run {} of PipelineRun {} since", one.run.uid, one.run.name);
        assert!(next.wait.contains(&said), "{said:?} is not in\n{}", next.wait);
    }
    if let Some(requests) = audit::requests_of(namespace, "testbed-lock") {
        assert!(audit::denied(&requests).is_empty(), "{:#?}", audit::denied(&requests));
        let granted = granted(&site.catalog, RBAC);
        let beyond: Vec<String> =
            audit::verbs(&requests).into_iter().filter(|verb| !granted.contains(verb)).collect();
        assert!(beyond.is_empty() && !requests.is_empty(), "{beyond:?}");
    }
}

/// As when it is cancelled: Tekton runs no `finally`, and says that it is over.
#[test]
fn what_finally_did_not_give_back_is_taken_over_at_once() {
    let Some(site) = site("no-finally") else { return };
    let [first, second] = [(); 2].map(|()| PipelineRun::create(&site, RUN));
    let held = first.single("acquire-lock").run().ok("the first one");
    assert_eq!(held.results["lock"], "staging-db");
    let waiting = second.single("acquire-lock").start();
    assert_eq!(queue(&site, "staging-db", 1), [second.uid.as_str()]);
    // As `retries` makes it happen.
    let mut again = first.single("acquire-lock");
    again.name += "-again";
    let again = again.run().ok("the first one again");
    assert!(again.log().contains("held already by run") && again.results == held.results, "{}", again.log());

    let before = Timestamp::now();
    first.cancel();
    let told = Timestamp::now();
    let taken = waiting.wait().ok("the second one");
    assert!(
        taken.log().contains(&format!("taken from run {}, which has abandoned it", first.uid)),
        "{}",
        taken.log()
    );
    let holder = lock(&site, "staging-db")["holders"][0].clone();
    assert_eq!(
        (&holder["id"], holder["fence"].to_string()),
        (&json!(second.uid), taken.results["fence"].clone())
    );
    // The node is this machine, and its clock this one.
    let since: Timestamp = holder["since"].as_str().expect("a time").parse().expect("RFC 3339");
    let took = since.duration_since(told);
    eprintln!(
        "taken over {} ms after the end was told, which took {} ms",
        took.as_millis(),
        told.duration_since(before).as_millis()
    );
    assert!(since >= before && took < SignedDuration::from_secs(1), "{before} {told} {since}");

    // A `finally` that comes too late takes nothing from anybody.
    let late = first.single("release-lock").run().ok("the first one's finally");
    let left_alone = format!("left alone, it is not held by run {}, but by run {}", first.uid, second.uid);
    assert!(late.log().contains(&left_alone), "{}", late.log());
    let released = second.single("release-lock").run().ok("the second one's finally");
    assert!(released.log().contains("lock staging-db: released"), "{}", released.log());
    assert_eq!(lock(&site, "staging-db"), Value::Null);
}

#[test]
fn lone_task_runs_hold_a_lock_by_a_run_id() {
    let Some(site) = site("lone-lock") else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| by_tests(&site, "task", "db1"));
        scope.spawn(|| by_tests(&site, "stepaction", "db3"));
        by_hand(&site);
    });
}

/// The TaskRuns of the folders `tests`.
fn by_tests(site: &Site, kind: &str, name: &str) {
    let acquired = task_run(site, &format!("{kind}/testbed-lock-acquire/tests/run.yaml"), 0).run().ok(kind);
    let holder = lock(site, name)["holders"][0].clone();
    assert_eq!(
        (acquired.results["lock"].as_str(), &acquired.results["fence"]),
        (name, &holder["fence"].to_string())
    );
    assert_eq!(
        (&holder["pipelineRun"], &holder["ttlMillis"]),
        (&Value::Null, &json!(3_600_000)),
        "{}",
        acquired.log()
    );
    let released = task_run(site, &format!("{kind}/testbed-lock-release/tests/run.yaml"), 0).run().ok(kind);
    assert!(released.log().contains(&format!("lock {name}: released")), "{}", released.log());
    assert_eq!(lock(site, name), Value::Null);
}

/// The samples: the StepAction's releases what the Task's has acquired, and then there is nothing left for
/// the Task's.
fn by_hand(site: &Site) {
    task_run(site, "task/testbed-lock-acquire/samples/acquire.yaml", 0).run().ok("the sample");
    let holder = lock(site, "staging-db")["holders"][0].clone();
    assert_eq!((&holder["id"], &holder["ttlMillis"]), (&json!("ada"), &json!(7_200_000)));
    let released =
        of_task(site, "release-a-lock", "ada", "testbed-lock").run().ok("the StepAction's sample").log();
    assert!(
        released.contains("lock staging-db: released") && released.contains("staging-db is free"),
        "{released}"
    );
    let again = task_run(site, "task/testbed-lock-release/samples/release.yaml", 0)
        .run()
        .ok("the Task's sample")
        .log();
    assert!(again.contains("lock staging-db: nobody holds it"), "{again}");
}
