//! Where `--output` points to something that testbed did not write, that is neither lost nor replaced.

use std::os::unix::fs::{FileTypeExt, symlink};

use crate::harness::{Local, until};

#[test]
fn a_file_of_the_users_own_is_refused_before_anything_is_made() {
    let local = Local::new();
    // As testbed would write it, too: nobody can tell from it whose it is.
    let own = "[\n  [\"sqlite\", {\"database\": \":memory:\"}]\n]\n";
    let place = |file: &str| match file {
        "testing-databases.json" => vec![],
        file => vec!["--output".to_owned(), file.to_owned()],
    };
    for (file, content) in [("testing-databases.json", own), (".env", "SECRET=mine\n")] {
        local.file(file, content);
        let place = place(file);
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        for (command, end) in [(&["up", "--run-id", "r"][..], &[][..]), (&["run"], &["--", "true"])] {
            if command == ["run"] && place.is_empty() {
                continue;
            }
            let called = local.call(&[command, &["--with", "sqlite"], &place, end].concat()).fails(2);
            called
                .says(&format!("error: {file} is there, and not as a run of testbed has written it"))
                .says("hint: it would be replaced, and removed with the run: name another file with --output, or remove");
            local.assert_nothing_left();
        }
        local.call(&["down"]).ok();
        assert_eq!(local.read(file), content);
    }
    // An empty one holds nothing to lose: mktemp makes it.
    local.file("new.json", "");
    local.call(&["up", "--with", "sqlite", "--run-id", "r", "--output", "new.json"]).ok();
    assert_eq!(local.read("new.json"), own);
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn a_file_that_testbed_wrote_is_replaced_until_somebody_changes_it() {
    let local = Local::new();
    let up = |run_id: &str, more: &[&str]| {
        local.call(
            &[
                &["up", "--with", "postgres", "--format", "dotenv", "--output", ".env", "--run-id", run_id],
                more,
            ]
            .concat(),
        )
    };
    up("r-1", &[]).ok();
    assert!(local.read(".env").contains("POSTGRES"), "{}", local.read(".env"));
    // It would say that the databases are ready.
    up("r-2", &["--timeout", "1ms"]).fails(3);
    assert!(!local.has(".env"));
    up("r-1", &[]).ok();
    up("r-3", &[]).ok();
    assert!(local.read(".env").contains("TESTBED_RUN_ID=r-3"), "{}", local.read(".env"));
    local.file(".env", "SECRET=mine\n");
    for run_id in ["r-3", "r-4"] {
        up(run_id, &[]).fails(2).says("error: .env is there, and not as a run of testbed has written it");
    }
    for run_id in ["r-1", "r-3"] {
        local.call(&["down", "--run-id", run_id]).ok();
    }
    assert_eq!(local.read(".env"), "SECRET=mine\n");
}

/// What a testbed that was killed has left is no question for the next one.
#[test]
fn a_file_that_a_killed_testbed_has_left_is_replaced() {
    let local = Local::new();
    let with = ["--with", "sqlite", "--output", "own.json"];
    let mut run = local.start(&[&["run", "--run-id", "k"], &with[..], &["--", "sleep", "600"]].concat());
    run.until_it_says("running sleep");
    // It is noted a moment after its start.
    until("the command is noted", || local.record("k").filter(|record| !record["command"].is_null()));
    run.signal("KILL");
    let _ = run.child.wait();
    assert!(local.has("own.json"));
    local.call(&[&["up", "--run-id", "r"], &with[..]].concat()).ok();
    local.call(&["down", "--run-id", "r"]).ok();
    assert!(!local.has("own.json"));
}

#[test]
fn what_is_no_file_is_refused_before_anything_starts() {
    let local = Local::new();
    local.file("mine", "SECRET=mine\n");
    symlink(local.path().join("mine"), local.path().join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        local.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for (place, what) in
        [("link", "a link"), ("pipe", "a pipe"), ("/dev/null", "a device"), ("/dev/stdout", "a link")]
    {
        let up = local.call(&["up", "--with", "postgres", "--output", place]).fails(2);
        up.says(&format!("{place} is {what}")).says("hint: name a regular file");
    }
    assert_eq!(local.read("mine"), "SECRET=mine\n");
    assert!(local.path().join("pipe").symlink_metadata().unwrap().file_type().is_fifo());
}

#[test]
fn results_go_to_files_and_nowhere_else() {
    let local = Local::new();
    local.file("mine", "SECRET=mine\n");
    symlink(local.path().join("mine"), local.path().join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        local.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for (place, what) in
        [("link", "a link"), ("pipe", "a pipe"), ("/dev/null", "a device"), ("mine/result", "")]
    {
        let up = local
            .call(&[
                "up",
                "--with",
                "postgres",
                "--run-id",
                "r",
                "--output",
                "-",
                "--result",
                &format!("databases={place}"),
            ])
            .fails(2);
        up.says("--result").says(place).says(what);
    }
    assert_eq!(local.read("mine"), "SECRET=mine\n");
    // As Tekton makes it before the step starts.
    local.file("result", "");
    local
        .call(&["up", "--with", "postgres", "--run-id", "r", "--output", "-", "--result", "databases=result"])
        .ok();
    assert_eq!(local.read("result"), "1");
    local.call(&["down", "--run-id", "r"]).ok();
}

#[test]
fn a_config_file_that_everybody_can_read_is_warned_of() {
    let local = Local::new();
    let up = |mode: &str| local.call(&["up", "--with", "sqlite", "--mode", mode]).ok();
    for mode in ["777", "644", "602"] {
        up(mode).says(&format!(
            "warning: testing-databases.json holds passwords, and mode {mode} opens it to every user of this machine: --mode 600"
        ));
    }
    local.file("testbed.yaml", "mode: 0777\n");
    let told = local.call(&["up", "--with", "sqlite"]).ok().says("mode 777 opens it to every user");
    assert_eq!(told.stderr.matches("warning").count(), 1, "{}", told.transcript());
    let quiet = [up("600"), up("640"), local.call(&["run", "--with", "sqlite", "--", "true"]).ok()];
    for called in quiet {
        assert!(!called.stderr.contains("warning"), "{}", called.transcript());
    }
    local.call(&["down"]).ok();
}
