//! Where `--output` points to something that testbed did not write, that is neither lost nor replaced.

use std::os::unix::fs::{FileTypeExt, symlink};

use crate::harness::Local;

#[test]
fn a_file_of_the_users_own_survives_an_up_that_fails() {
    let local = Local::new();
    local.file(".env", "SECRET=mine\n");
    let up = |run_id: &str, more: &[&str]| {
        local.call(
            &[
                &["up", "--with", "postgres", "--format", "dotenv", "--output", ".env", "--run-id", run_id],
                more,
            ]
            .concat(),
        )
    };
    up("r-1", &["--timeout", "1ms"]).fails(3);
    assert_eq!(local.read(".env"), "SECRET=mine\n");
    // One that testbed wrote, and that would say that the databases are ready, does not.
    up("r-2", &[]).ok();
    assert!(local.read(".env").contains("POSTGRES"), "{}", local.read(".env"));
    up("r-3", &["--timeout", "1ms"]).fails(3);
    assert!(!local.has(".env"));
    // Changed since, it is the user's again.
    local.file(".env", "SECRET=mine\n");
    local.call(&["down", "--run-id", "r-2"]).ok();
    assert_eq!(local.read(".env"), "SECRET=mine\n");
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
