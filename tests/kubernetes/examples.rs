//! The project in `examples/` as a newcomer runs it: one `testbed.yaml` and one test suite, on a machine
//! alone and in a cluster.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::Namespace;
use crate::support::Folder;

/// Runs the suite with the project's own settings; the config file, with the addresses and passwords taken
/// out.
fn run(folder: &Folder, args: &[&str]) -> Value {
    let project = folder.path().join("box-office");
    if !project.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/box-office");
        assert!(Command::new("cp").arg("-r").arg(source).arg(&project).status().expect("cp").success());
    }
    // Debian's own Python sees the drivers that Debian packages.
    let suite =
        "cp \"$TESTBED_CONFIG\" written.json && exec /usr/bin/python3 -m pytest -q -p no:cacheprovider";
    let mut command = folder.command(&[&["run", "-q"], args, &["--", "sh", "-c", suite]].concat());
    let output = command.current_dir(&project).output().expect("testbed starts");
    let (said, told) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{}\n{said}\n{told}", output.status);
    assert!(said.contains(" passed") && !said.contains("skipped"), "{said}");
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(project.join("written.json")).expect("a config file"))
            .expect("JSON");
    for entry in config.as_array_mut().expect("a list") {
        let arguments = entry[1].as_object_mut().expect("arguments");
        for name in ["host", "port", "password"] {
            arguments.entry(name).and_modify(|value| *value = Value::Null);
        }
    }
    config
}

#[test]
fn the_same_suite_passes_here_and_in_a_cluster() {
    let namespace = Namespace::new("examples");
    let in_cluster = run(&namespace.folder, &["--runtime", "kubernetes"]);
    let local = Folder::local();
    let here = run(&local, &["--runtime", "local"]);
    assert_eq!(here, in_cluster, "the config files differ in more than addresses and passwords");
    assert_eq!(here.as_array().map(Vec::len), Some(3));
}
