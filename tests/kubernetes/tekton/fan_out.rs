//! Several testbed-up in one PipelineRun at the same time, as a `matrix` makes them: they share the run, the
//! workspace and the owner, and a failure of one is not the others'.

use super::ended::Started;
use super::run::PipelineRun;
use super::site::Site;
use crate::harness::client_image;
use crate::tekton_catalog::model::{Param, ParamValue, Reference, Step, TaskSpec};

const PART: &str = "
apiVersion: v1
kind: Pod
metadata: {name: $(params.part)-$(context.pipelineRun.uid)}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'IMAGE', command: [sleep, '600'] MORE}]}
";

const NEVER_READY: &str = ", readinessProbe: {exec: {command: ['false']}, periodSeconds: 600}";

/// The part of a name, with a config file of its own.
fn part<'a>(
    run: &PipelineRun<'a>,
    name: &str,
    manifest: &str,
    more: &[(&str, &str)],
    is_step_action: bool,
) -> Started<'a> {
    let mut up = run.single("up");
    up.name += &format!("-{name}");
    up.params.retain(|param| param.name == "image");
    let (part, output) = (format!("part={name}"), format!("{name}.json"));
    let own = [("manifest", manifest), ("params", &part), ("output", &output), ("allow-none", "true")];
    let text = |(name, value): &(&str, &str)| Param {
        name: (*name).into(),
        value: ParamValue::Text((*value).into()),
    };
    up.params.extend(own.iter().chain(more).map(text));
    if is_step_action {
        let source = text(&("source", "$(workspaces.source.path)"));
        let params = std::mem::take(&mut up.params).into_iter().chain([source]).collect();
        let reference = Some(Reference { name: "testbed-up".into(), kind: None });
        let step = Step { name: "up".into(), reference, params, ..Step::default() };
        up.task = TaskSpec { workspaces: up.task.workspaces, steps: vec![step], ..TaskSpec::default() };
    }
    up.start()
}

/// Cancels it, and sees how it ends.
fn cancel(up: Started<'_>) {
    up.cancel();
    let last = up.wait_until_gone();
    // The kubelet may never get to know how it ended.
    let code = last["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64();
    assert!(matches!(code, None | Some(143)), "{:#}", last["status"]);
}

#[test]
fn a_part_that_fails_takes_its_own_along_and_a_cancelled_one_the_run() {
    let Some(site) = Site::new("fan-out") else { return };
    let run = PipelineRun::create(&site, "task/testbed-up/samples/try-it.yaml");
    // The workspace is there from now on.
    let down = run.single("down");
    for (file, more) in [("part.yaml", ""), ("slow.yaml", NEVER_READY)] {
        let text = PART.replace("IMAGE", &client_image()).replace(" MORE", more);
        site.keep(&format!("cd {}; cat >{file} <<'END'\n{text}END\nchmod a+r {file}", run.folder("shared")));
    }
    let is_made = |name: &str| {
        let made = format!("pod/{name}-{}", run.uid);
        site.namespace
            .kubectl_until(&["get", &made, "--ignore-not-found", "-o", "name"], |found| !found.is_empty());
    };
    let fine = [part(&run, "one", "part.yaml", &[], false), part(&run, "two", "part.yaml", &[], true)];
    let slow = part(&run, "slow", "slow.yaml", &[("on-cancel", "keep")], true);
    for up in fine {
        up.wait().ok("a part that comes up");
    }
    is_made("slow");

    // One that fails beside those that are up and one that is at work. Its objects have as long to go as they
    // had to come.
    let late = part(&run, "late", "slow.yaml", &[("timeout", "10s")], false).wait();
    assert_eq!(late.exit_code("up"), Some(3), "{}", late.log());
    assert!(late.results.is_empty(), "{:?}", late.results);
    assert!(late.log().contains("what others have made of it stays"), "{}", late.log());
    let left = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("pod/{name}-{}", run.uid)).collect()
    };
    assert_eq!(site.namespace.of_run(&run.uid), left(&["one", "slow", "two"]), "{}", late.log());

    // A StepAction in the middle of its step: what it waits for is there, and never ready.
    cancel(slow);
    assert_eq!(site.namespace.of_run(&run.uid), left(&["one", "slow", "two"]));
    assert_eq!(site.keep(&format!("cd {}; ls *.json", run.folder("shared"))), "one.json\ntwo.json\n");
    // Without another word nobody wants any of the run.
    let cut = part(&run, "cut", "slow.yaml", &[], true);
    is_made("cut");
    cancel(cut);
    let selection = format!("test-dependencies={}", run.uid);
    site.namespace
        .kubectl_until(&["get", "pods,services,secrets", "-l", &selection, "-o", "name"], str::is_empty);
    let down = down.run().ok("down");
    assert!(down.log().contains("nothing to do"), "{}", down.log());
}
