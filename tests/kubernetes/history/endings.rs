//! How runs end, and who has to tell it: `up` that fails, the command of `run`, `gc`, the next call after a
//! killed one.

use serde_json::{Value, json};

use super::{database, story, texts};
use crate::harness::Namespace;
use crate::support::Folder;

/// A manifest with no pods, for what is not about them.
const MODEST: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c-run-1}\ndata: {password: in-a-map}\n";

fn status(folder: &Folder, run: &str) -> (Value, Value) {
    let story = story(folder, run);
    (story["status"].clone(), story["cause"]["kind"].clone())
}

#[test]
fn a_run_that_cannot_pull_its_image_failed_and_stays_failed() {
    let namespace = Namespace::new("unpulled");
    let folder = &namespace.folder;
    let args = ["up", "--with", "postgres:no-such-tag", "--run-id", "run-1", "--pull-timeout", "1s"];
    folder.call(&args).fails(4);
    let failed = story(folder, "run-1");
    assert_eq!(
        (&failed["status"], &failed["cause"]["database"]),
        (&json!("failed"), &json!("postgres")),
        "{failed:#}"
    );
    let word = failed["cause"]["kind"].as_str().expect("a word");
    assert!(["ErrImagePull", "ImagePullBackOff"].contains(&word), "{failed:#}");
    assert!(
        failed["cause"]["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("Pod postgres-run-1 cannot become ready")),
        "{failed:#}"
    );
    assert!(
        failed["ended"].is_null() && failed["objects"].as_array().is_some_and(|objects| objects.len() == 3),
        "it stays: {failed:#}"
    );
    assert!(
        failed["events"].as_array().is_some_and(|events| events.iter().any(|event| event["warning"] == true)),
        "{failed:#}"
    );
    folder.call(&["down"]).ok();
    let gone = story(folder, "run-1");
    assert_eq!(
        (&gone["status"], &gone["cause"], gone["ended"].is_string()),
        (&failed["status"], &failed["cause"], true)
    );
    assert_eq!(
        database(&gone, "postgres")["timeline"]
            .as_array()
            .and_then(|timeline| timeline.last())
            .map(|last| &last["what"]),
        Some(&json!("deleted"))
    );

    // And one that removes itself.
    folder.call(&[&args[..], &["--on-failure", "delete"]].concat()).fails(4);
    let again = story(folder, "run-1");
    assert!(
        again["id"] != gone["id"] && again["status"] == "failed" && again["ended"].is_string(),
        "{again:#}"
    );
}

#[test]
fn a_second_up_goes_on_with_the_record_of_the_first() {
    let namespace = Namespace::new("again");
    let folder = &namespace.folder;
    folder.file("m.yaml", MODEST);
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok();
    let first = story(folder, "run-1")["id"].clone();
    folder.call(&["up", "m.yaml", "--run-id", "run-1"]).ok().says("all 1 objects of run run-1 exist already");
    let list = folder.call(&["history", "list", "-o", "json"]).ok();
    let list: Value = serde_json::from_str(&list.stdout).expect("JSON");
    // A ConfigMap alone does not tell its record, as pods and Services do.
    let open: Vec<&Value> =
        list["runs"].as_array().expect("a list").iter().filter(|run| run["status"] == "up").collect();
    assert_eq!((open.len(), &open[0]["id"]), (1, &first), "{list:#}");
    folder.call(&["down"]).ok();
    assert_eq!(status(folder, first.as_str().expect("an id")), (json!("done"), Value::Null));

    // A Service does.
    folder.file(
        "s.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: s-run-2}\nspec: {ports: [{port: 80}]}\n",
    );
    let ids = [(); 2].map(|()| {
        folder.call(&["up", "s.yaml", "--run-id", "run-2"]).ok();
        story(folder, "run-2")["id"].clone()
    });
    assert_eq!(ids[0], ids[1]);
    let one = folder.call(&["history", "show", "run-2"]).ok();
    assert!(!one.stderr.contains("older:"), "{}", one.transcript());
    folder.call(&["down"]).ok();
}

#[test]
fn the_command_of_run_decides() {
    let namespace = Namespace::new("command");
    let folder = &namespace.folder;
    folder.file("m.yaml", MODEST);
    folder.call(&["run", "m.yaml", "--run-id", "run-1", "--", "sh", "-c", "exit 0 # hush-hush"]).ok();
    let good = story(folder, "run-1");
    assert_eq!(
        (&good["status"], &good["command"]["program"], &good["command"]["exitCode"]),
        (&json!("done"), &json!("sh"), &json!(0))
    );
    folder.call(&["run", "m.yaml", "--run-id", "run-1", "--", "sh", "-c", "exit 3"]).ends(3);
    let bad = story(folder, "run-1");
    assert_eq!(
        (&bad["status"], &bad["cause"]["kind"], &bad["command"]["exitCode"]),
        (&json!("failed"), &json!("command"), &json!(3))
    );
    assert!(
        bad["ended"].is_string()
            && bad["command"]["began"].is_string()
            && !good.to_string().contains("hush-hush"),
        "{bad:#}"
    );
    assert!(!bad.to_string().contains("in-a-map"), "{bad:#}");
}

#[test]
fn what_nobody_removed_was_abandoned() {
    let namespace = Namespace::new("left");
    let folder = &namespace.folder;
    folder.file("m.yaml", MODEST);
    // Its time is over at once.
    folder.call(&["up", "m.yaml", "--run-id", "run-1", "--lifetime", "1s"]).ok();
    let expired = |text: &str| text.parse::<jiff::Timestamp>().is_ok_and(|at| at < jiff::Timestamp::now());
    namespace.kubectl_until(
        &["get", "configmap", "c-run-1", "-o", "jsonpath={.metadata.annotations.testbed/expires}"],
        expired,
    );
    folder.call(&["gc"]).ok().says("removed run run-1");
    let gone = story(folder, "run-1");
    assert_eq!(
        (&gone["status"], &gone["cause"]["kind"], gone["ended"].is_string()),
        (&json!("abandoned"), &json!("expired"), true),
        "{gone:#}"
    );

    // One that was killed.
    folder.file("k.yaml", &MODEST.replace("run-1", "run-2"));
    let mut run =
        folder.start(&["run", "k.yaml", "--run-id", "run-2", "--", "sh", "-c", "exec sleep 600 >&- 2>&-"]);
    run.until_it_says("running sh");
    run.signal("KILL");
    assert_eq!(run.wait().signal, Some(9));
    folder.call(&["status"]).ok().says("removed run run-2");
    assert_eq!(status(folder, "run-2"), (json!("abandoned"), json!("killed")));

    // One whose objects somebody else has removed.
    folder.file("o.yaml", &MODEST.replace("run-1", "run-3"));
    folder.call(&["up", "o.yaml", "--run-id", "run-3"]).ok();
    namespace.kubectl(&["delete", "configmap", "c-run-3"]);
    folder.call(&["down"]).ok().says("nothing to do");
    let gone = story(folder, "run-3");
    assert_eq!((&gone["status"], gone["ended"].is_string()), (&json!("done"), true), "{gone:#}");
    assert_eq!(texts(&gone["notes"]), ["its objects were gone already when it was to be removed"]);
}

/// A run that was made without an archive, or by another testbed, has a record from its removal on.
#[test]
fn a_run_without_a_record_gets_one() {
    let namespace = Namespace::new("late");
    let folder = &namespace.folder;
    folder.call(&["up", "--with", "postgres", "--run-id", "run-1", "--history", "none"]).ok();
    assert!(!folder.has("state/testbed/history.db"));
    folder.call(&["down"]).ok();
    let story = story(folder, "run-1");
    assert_eq!((&story["status"], &story["origin"]["called"]), (&json!("done"), &json!("down")), "{story:#}");
    let course = super::course(&story, "postgres");
    assert_eq!(
        course,
        ["created", "scheduled", "pulled", "started", "ready", "deleting", "deleted"],
        "{story:#}"
    );
    assert_eq!(database(&story, "postgres")["evidence"]["evidence"], "process-1");
    let logs = folder.call(&["history", "logs", "run-1", "postgres"]).ok();
    assert!(logs.stdout.contains("ready to accept connections"), "{}", logs.transcript());
}
