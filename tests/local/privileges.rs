//! What the servers' account, and any other user, cannot do to root; and locks that nobody waits for without
//! an end.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::account::is_root;
use crate::harness::Local;
use crate::support::{Called, open_for_passing};

fn locks(local: &Local) -> Vec<PathBuf> {
    let prepared = local.path().join("cache/testbed/prepared");
    let entries = std::fs::read_dir(prepared).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "lock")).collect()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o777
}

#[test]
fn nobody_waits_for_a_lock_without_an_end() {
    let local = Local::with_cold_cache();
    local.up(&["--with", "postgres", "--run-id", "r"]);
    let held: Vec<File> = locks(&local).iter().map(|path| File::open(path).unwrap()).collect();
    held.iter().for_each(|file| file.lock().unwrap());
    let before = Instant::now();
    local
        .call(&["run", "--timeout", "1s", "--with", "postgres", "--", "true"])
        .fails(3)
        .says("not ready within 1s");
    local.call(&["down", "--run-id", "r"]).ok();
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    drop(held);
    let runs = File::options().append(true).open(local.state().join("runs/.lock")).unwrap();
    runs.lock().unwrap();
    local.call(&["up", "--with", "postgres"]).fails(1).says("another process has held it for 5s");
    assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
}

#[test]
fn nobody_else_opens_a_lock_or_writes_to_what_is_roots() {
    if !is_root() {
        eprintln!("skipped: this needs other users");
        return;
    }
    let local = Local::with_cold_cache();
    local.up(&["--with", "postgres", "--run-id", "r"]);
    let record = local.record("r").unwrap();
    let server = &record["place"]["local"]["servers"][0];
    let (data, log) =
        (PathBuf::from(server["data"].as_str().unwrap()), PathBuf::from(server["log"].as_str().unwrap()));
    let account = data.metadata().unwrap().uid();
    assert_ne!(account, 0, "the server's own");
    for path in [log.as_path(), data.parent().unwrap()] {
        assert_eq!(path.symlink_metadata().unwrap().uid(), 0, "{}", path.display());
    }
    for path in locks(&local).iter().chain([
        &local.state().join("runs/r/lock"),
        &local.state().join("runs/.lock"),
        &log,
    ]) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    assert_eq!(mode(&local.state().join("runs")), 0o700);
    // The account plants links wherever it can write: nowhere but in its own data folder.
    let prepared = local.path().join("cache/testbed/prepared");
    let script = format!(
        "for f in $(find {} {} {} -type d 2>/dev/null); do ln -s /etc/shadow $f/planted 2>/dev/null && echo $f; done",
        prepared.display(),
        data.parent().unwrap().display(),
        data.display()
    );
    let account = account.to_string();
    let planted = Command::new("setpriv")
        .args(["--reuid", &account, "--clear-groups", "sh", "-c", &script])
        .output()
        .unwrap();
    let planted = String::from_utf8(planted.stdout).unwrap();
    assert!(
        planted.lines().count() > 5 && planted.lines().all(|at| Path::new(at).starts_with(&data)),
        "{planted}"
    );
    local.call(&["down", "--run-id", "r"]).ok();
    let spare = std::fs::read_dir(&prepared)
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().contains(".spare-"));
    let spare = spare.expect("a spare").path();
    assert_eq!((spare.metadata().unwrap().uid(), mode(&spare)), (0, 0o700));
    local.call(&["run", "--with", "postgres", "--", "true"]).ok();
}

/// `testbed.yaml` names programs that are run, and is looked for above the current folder as well: `/tmp` is
/// above many.
#[test]
fn settings_that_a_stranger_has_put_above_the_current_folder_are_not_used() {
    if !is_root() {
        eprintln!("skipped: this needs other users");
        return;
    }
    let local = Local::new();
    let above = local.path().join("above");
    let here = above.join("here");
    std::fs::create_dir_all(&here).unwrap();
    let (settings, linked) = (above.join("testbed.yaml"), local.path().join("roots.yaml"));
    let call = |args: &[&str]| Called::new(args, local.command(args).current_dir(&here).output().unwrap());
    let text = "params: {postgres.server: /nonexistent}\n";
    std::fs::write(&settings, text).unwrap();
    call(&["run", "--with", "postgres", "--", "true"]).fails(2).says("/nonexistent");
    chown(&settings, Some(65534), None).unwrap();
    let run = ["run", "--with", "postgres", "--", "true"];
    let told = "warning: going on without the project's settings: ";
    call(&run)
        .ok()
        .says(told)
        .says("testbed.yaml belongs to user 65534, who is neither you nor the owner of this folder");
    let other = above.join("testbed.yml");
    std::fs::write(&other, text).unwrap();
    chown(&other, Some(65534), None).unwrap();
    call(&run).ok().says(told);
    std::fs::remove_file(&other).unwrap();
    // A link is whoever's has made it.
    std::fs::write(&linked, text).unwrap();
    std::fs::remove_file(&settings).unwrap();
    std::os::unix::fs::symlink(&linked, &settings).unwrap();
    lchown(&settings, Some(65534), None).unwrap();
    call(&run).ok().says(told);
    // Whoever names it, or works in a folder of the same owner's, means it.
    let path = settings.to_str().unwrap();
    call(&["run", "--settings", path, "--with", "postgres", "--", "true"]).fails(2).says("/nonexistent");
    chown(&here, Some(65534), None).unwrap();
    call(&run).fails(2).says("/nonexistent");
}

/// As a volume of a pod is to a step that runs as another user.
#[test]
fn a_folder_that_may_not_be_written_is_told_with_who_writes() {
    if !is_root() {
        eprintln!("skipped: this needs other users");
        return;
    }
    let local = Local::new();
    open_for_passing(local.path());
    let closed = local.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    let args = ["up", "--with", "sqlite", "--runtime", "local", "--output", "closed/x.json"];
    for mode in [0o755, 0o700] {
        std::fs::set_permissions(&closed, Permissions::from_mode(mode)).unwrap();
        let mut command = local.command(&args);
        command.uid(65534).gid(65534).env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
        let Ok(output) = command.output() else {
            eprintln!("skipped: the program is where its owner alone can get");
            return;
        };
        let called = Called::new(&args, output)
            .fails(2)
            .says("error: --output closed/x.json: the folder cannot be written: Permission denied");
        called.says("hint: this is user 65534; a pod's securityContext gives it its volumes with fsGroup");
    }
}
