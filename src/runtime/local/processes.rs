//! Processes of a run, told by what they cannot lose: a server's working folder is its data folder, whatever
//! becomes of its parent, its title or its process id's number. Nothing is ever signalled by a remembered
//! number alone.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, test_kill_process, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout};

use crate::process::{Process, Stat};
use crate::registry::POOL_OF;

/// How long a process may take to vanish after SIGKILL: one in the middle of a disk write finishes that
/// first.
const KILLED: Duration = Duration::from_secs(10);

/// What belongs to a run.
#[derive(Debug, Clone, Copy)]
pub struct Mark<'a> {
    /// The folder of the run, above the servers' data folders.
    pub folder: &'a Path,
    /// The run's id, as processes have it in `TESTBED_RUN_ID`.
    pub run_id: &'a str,
    pub programs: &'a [PathBuf],
}

impl Mark<'_> {
    /// Working in the run's folder is not enough: that may be somebody's shell. It is a server by its
    /// program, or was started by one, or is about to become one: the copy of a testbed that was killed
    /// between making a process and making it the server.
    ///
    /// What a set-up script has started may have gone to another folder since, as what is to go on by itself
    /// does: its home is in the run's folder, which a user's own command has not.
    fn fits(&self, pid: u32) -> bool {
        if !works_in(pid, self.folder) {
            return has_run_id(pid, self.run_id) && has_variable(pid, |variable| self.is_home(variable));
        }
        let is_testbed = |program: &PathBuf| {
            std::env::current_exe().is_ok_and(|own| own == *program) && pid != std::process::id()
        };
        program(pid).is_some_and(|program| self.programs.contains(&program) || is_testbed(&program))
            || has_run_id(pid, self.run_id)
    }

    /// Whether a variable says that the home is in the run's folder.
    fn is_home(&self, variable: &[u8]) -> bool {
        variable
            .strip_prefix(b"HOME=")
            .is_some_and(|home| Path::new(OsStr::from_bytes(home)).starts_with(self.folder))
    }
}

/// Whether the process works in a folder, or below it.
pub fn works_in(pid: u32, folder: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at.starts_with(folder))
}

fn program(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// The server programs that run in a folder.
pub fn servers_in(folder: &Path) -> Vec<PathBuf> {
    let programs = all().filter(|pid| works_in(*pid, folder)).filter_map(program);
    programs
        .filter(|program| SERVERS.iter().any(|name| program.file_name().is_some_and(|own| own == *name)))
        .collect()
}

const SERVERS: [&str; 3] = ["postgres", "mysqld", "mariadbd"];

/// How the variable begins that tells a process its run.
const RUN_ID: &[u8] = b"TESTBED_RUN_ID=";

/// Whether the process was given this run id in its environment.
fn has_run_id(pid: u32, run_id: &str) -> bool {
    has_variable(pid, |variable| variable.strip_prefix(RUN_ID) == Some(run_id.as_bytes()))
}

/// Whether the process was given a variable, `NAME=value`, that fits.
fn has_variable(pid: u32, fits: impl Fn(&[u8]) -> bool) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(fits)
}

/// The processes that work in a run's folder.
pub fn of_run(mark: Mark) -> Vec<Process> {
    alive(all().filter(|pid| mark.fits(*pid)))
}

/// The processes that prepare a data folder: those that work in it and that any run has started.
pub fn preparing(folder: &Path) -> Vec<Process> {
    let is_ours =
        |pid: &u32| works_in(*pid, folder) && has_variable(*pid, |variable| variable.starts_with(RUN_ID));
    alive(all().filter(is_ours))
}

/// The variable that tells what a seed's command has started, `NAME=value`: it works elsewhere.
pub fn seeding(folder: &Path) -> String {
    format!("TESTBED_SEEDING={}", folder.display())
}

/// What commands of seeds have started whose folder is that one, or below it.
pub fn seeding_below(folder: &Path) -> Vec<Process> {
    let is_below = |variable: &[u8]| {
        variable.strip_prefix(SEEDING).is_some_and(|at| Path::new(OsStr::from_bytes(at)).starts_with(folder))
    };
    alive(all().filter(|pid| has_variable(*pid, is_below)))
}

/// How that variable begins.
const SEEDING: &[u8] = b"TESTBED_SEEDING=";

/// Asks the PostgreSQL servers among these processes to end at once, without a checkpoint, and waits: one
/// that is killed leaves its shared memory, which no folder holds, and its children.
pub async fn quit_postgres(found: &[Process], within: Duration) {
    let is_postgres =
        |process: &&Process| program(process.pid).is_some_and(|program| program.ends_with("postgres"));
    let has_parent = |process: &Process| {
        Stat::read(process.pid)
            .is_some_and(|stat| found.iter().filter(is_postgres).any(|other| other.pid == stat.parent))
    };
    let servers: Vec<Process> =
        found.iter().filter(is_postgres).filter(|process| !has_parent(process)).copied().collect();
    servers.iter().for_each(|server| server.signal(Signal::QUIT));
    futures::future::join_all(servers.into_iter().map(|server| gone(server, within))).await;
}

/// The processes of a command's group that know the run, or of the tree below the command where it shares its
/// caller's group.
pub fn of_command(leader: Process, has_group: bool, run_id: &str) -> Vec<Process> {
    let members: Vec<u32> = match has_group {
        true => all().filter(|pid| Stat::read(*pid).is_some_and(|stat| stat.group == leader.pid)).collect(),
        false if leader.is_alive() => below(leader.pid, |_| true),
        false => Vec::new(),
    };
    // One that has just begun has its variables a moment later.
    let is_leader = |pid: u32| !has_group && pid == leader.pid;
    let known = members.into_iter().filter(|pid| is_leader(*pid) || has_run_id(*pid, run_id));
    known.filter_map(Process::with_id).collect()
}

/// The processes that were given a variable, `NAME=value`, whatever group they are in and whoever is their
/// parent by now.
pub fn with_variable(variable: &str) -> Vec<Process> {
    alive(all().filter(|pid| has_variable(*pid, |own| own == variable.as_bytes())))
}

/// What was started with a variable, `NAME=value`, and ends with this.
pub struct Marked<'a>(pub &'a str);

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        with_variable(self.0).into_iter().for_each(|process| process.signal(Signal::KILL));
    }
}

fn alive(pids: impl Iterator<Item = u32>) -> Vec<Process> {
    pids.filter_map(Process::with_id).filter(|process| process.is_alive()).collect()
}

/// What this process has started and what the system has handed to it, with all below; apart from what is not
/// `meant`, and what is below that.
pub fn below_me(is_meant: impl Fn(u32) -> bool) -> Vec<Process> {
    alive(below(std::process::id(), is_meant).into_iter().skip(1))
}

/// What was handed to this process when its parent ended, with all below, apart from those it had `before`: this
/// process itself starts nothing in another session, and nothing in a group of which it is not the head, but its own.
pub fn orphans(before: &[u32]) -> Vec<Process> {
    let Some(me) = Stat::of_this_process() else { return Vec::new() };
    let is_orphan = |pid: &u32| {
        let is_own = |stat: Stat| [*pid, me.group].contains(&stat.group) && stat.session == me.session;
        let knows = |name: &[u8]| has_variable(*pid, |variable| variable.starts_with(name));
        // What a set-up script, or another run, has started stays for as long as that run.
        let is_of_run = knows(RUN_ID) && !knows(SEEDING);
        !before.contains(pid)
            && !is_of_run
            && may_be_ended(*pid)
            && Stat::read(*pid).is_some_and(|stat| !is_own(stat))
    };
    alive(children().into_iter().filter(is_orphan).flat_map(|pid| below(pid, |_| true)))
}

/// Whether another run than this one has started a process.
pub fn is_of_another_run(pid: u32, run_id: &str) -> bool {
    has_variable(pid, |variable| variable.strip_prefix(RUN_ID).is_some_and(|id| id != run_id.as_bytes()))
}

/// Whether a process serves the pool of a run that stays up.
pub fn serves_a_pool(pid: u32) -> bool {
    has_variable(pid, |variable| {
        variable.strip_prefix(POOL_OF.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
    })
}

/// Whether this user may send a process a signal.
pub fn may_be_ended(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| test_kill_process(pid) != Err(Errno::PERM))
}

pub fn children() -> Vec<u32> {
    all().filter(|pid| Stat::read(*pid).is_some_and(|stat| stat.parent == std::process::id())).collect()
}

/// Children that were started while a command runs, and whose end somebody waits for.
static AWAITED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// That somebody waits for a child's end, as long as this lives: nobody else learns of that end.
#[derive(Debug)]
pub struct Awaited(u32);

impl Awaited {
    pub fn new(pid: u32) -> Self {
        AWAITED.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
        Self(pid)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAITED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Lets go of children that have ended, apart from those whose end somebody waits for.
pub fn forget_ended_but(awaited: &[u32]) {
    let is_awaited = |pid: &u32| {
        awaited.contains(pid) || AWAITED.lock().unwrap_or_else(PoisonError::into_inner).contains(pid)
    };
    for pid in children().into_iter().filter(|pid| !is_awaited(pid)) {
        let _ = waitpid(i32::try_from(pid).ok().and_then(Pid::from_raw), WaitOptions::NOHANG);
    }
}

/// A process and everything that it has started and that has not been handed to another parent.
fn below(root: u32, is_meant: impl Fn(u32) -> bool) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all().filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect();
    let mut members = vec![root];
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        members
            .extend(parents.iter().filter(|(pid, of)| *of == parent && is_meant(*pid)).map(|(pid, _)| *pid));
        next += 1;
    }
    members
}

/// Ends processes with SIGKILL and waits until they are gone, looking again for what they have started
/// meanwhile.
///
/// # Errors
/// The ids of those that are still there after ten seconds.
pub async fn end(find: impl Fn() -> Vec<Process>) -> Result<(), Vec<u32>> {
    let deadline = Instant::now() + KILLED;
    loop {
        let found = find();
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(found.iter().map(|process| process.pid).collect());
        }
        let handles: Vec<OwnedFd> = found.iter().filter_map(|process| process.open()).collect();
        for handle in &handles {
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
        for handle in handles {
            ended(handle, deadline.saturating_duration_since(Instant::now())).await;
        }
        // A process that may not be opened would make this loop spin.
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for the end of a process, and tells whether it came in time.
pub async fn gone(process: Process, within: Duration) -> bool {
    if let Some(handle) = process.open() {
        ended(handle, within).await;
    }
    !process.is_alive()
}

/// The system makes a process's handle readable when the process ends.
async fn ended(handle: OwnedFd, within: Duration) {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for handles that do not stay what they are; one that is owned does"
    )]
    let awaited = AsyncFd::with_interest(handle, Interest::READABLE);
    if let Ok(handle) = awaited {
        let _ = timeout(within, handle.readable()).await;
    }
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_process_is_told_by_folder_and_program_or_run_id() {
        let folder = tempfile::tempdir().unwrap();
        let start = |folder: &Path, id: &str| {
            Command::new("sleep").arg("1000").current_dir(folder).env("TESTBED_RUN_ID", id).spawn().unwrap()
        };
        let (mut ours, mut shell) = (start(folder.path(), "run-1"), start(folder.path(), "run-2"));
        let mut elsewhere = start(Path::new("/"), "run-1");
        // The system shows a new process before it shows its environment.
        while ![&ours, &shell, &elsewhere].iter().all(|child| {
            std::fs::read(format!("/proc/{}/environ", child.id())).is_ok_and(|text| !text.is_empty())
        }) {}
        let found = |programs: &[PathBuf]| {
            let mut found = of_run(Mark { folder: folder.path(), run_id: "run-1", programs });
            found.sort_by_key(|process| process.pid);
            found.iter().map(|process| process.pid).collect::<Vec<_>>()
        };
        let mut both = vec![ours.id(), shell.id()];
        both.sort_unstable();
        assert_eq!(found(&[]), [ours.id()]);
        assert_eq!(found(&[std::fs::read_link(format!("/proc/{}/exe", shell.id())).unwrap()]), both);
        end(|| of_run(Mark { folder: folder.path(), run_id: "run-1", programs: &[] })).await.unwrap();
        assert!(ours.try_wait().unwrap().is_some() || ours.wait().is_ok());
        assert_eq!(shell.try_wait().unwrap(), None);
        for child in [&mut shell, &mut elsewhere] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
