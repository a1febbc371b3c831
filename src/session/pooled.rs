//! The pool of a run that stays up: `up` starts a `testbed exec --pool` in the background, whose command is testbed once
//! more, notes the address, and waits for the end of the run.
//!
//! It ends when its note is gone: when the run is removed, when `up` wants another one in its place, or when the data of
//! its server is copied or replaced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Signal, getppid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use crate::cli::Global;
use crate::console;
use crate::environment;
use crate::failure::{Advise, Exit};
use crate::files;
use crate::output::{Environment, pool_url};
use crate::pool::{Served, Size};
use crate::process::Process;
use crate::progress::Progress;
use crate::registry::{OWNER, Pooled, Record, Way};
use crate::runtime::local::{processes, remove};

/// What testbed is called with to keep a pool.
pub(crate) const NAME: &str = "keep-pool";
/// How much of what the testbed that serves it has said an error shows, in bytes.
const SHOWN: usize = 4096;
/// How long an address may be, in bytes.
const ADDRESS: u64 = 1024;
/// How soon it is looked again whether the run is there where the system does not tell.
const LOOK: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// How long one that is ending may take to remove its databases, and somewhat more.
const ENDING: Duration = Duration::from_secs(12);

/// How large a pool of its own a command gets: none where the run in this folder has one, which is the command's as well.
pub(super) fn unless_served(size: Option<Size>, run: Option<&Path>) -> Option<Size> {
    size.filter(|_| run.and_then(Pooled::of).is_none())
}

/// What an environment tells of a command's own pool, else of that of the run in this folder. Where there is none,
/// nobody is led to another run's.
pub(super) fn tell(own: Option<&Served>, run: Option<&Path>, run_id: &str, environment: &mut Environment) {
    match (own, run.and_then(Pooled::of)) {
        (Some(own), _) => own.tell(environment),
        (None, Some(pooled)) => pool_url::tell(&pooled.url, environment),
        (None, None) => pool_url::lead_nowhere(run_id, environment),
    }
}

/// How a pool of a run is served.
pub(super) fn way(run: &Record, size: Size, global: &Global) -> Way {
    let absolute = |file: &OsString| match file.to_str() {
        Some("none") => file.clone(),
        _ => Path::new(file).canonicalize().map_or_else(|_| file.clone(), Into::into),
    };
    let is_noted = !run.project.as_os_str().is_empty();
    Way {
        size: size.to_string(),
        databases: run.databases.iter().filter(|one| !one.is_fork).map(|one| one.name.clone()).collect(),
        project: if is_noted { run.project.clone() } else { run.called_in.clone() },
        settings: global.settings.as_ref().map(absolute),
    }
}

/// Serves a pool for the run in this folder, unless it is served like that.
///
/// # Errors
/// Why it cannot be served, or is not by then.
pub(super) async fn serve(
    run: &Path,
    run_id: &str,
    way: Way,
    deadline: Instant,
    progress: &Progress,
) -> anyhow::Result<()> {
    if Pooled::of(run).is_some_and(|pooled| pooled.way == way) {
        return Ok(());
    }
    // Also what was never noted, or is noted no more.
    if end(run).await?.is_some() {
        progress.say("the pool is served anew, with another address");
    }
    let log = Pooled::log(run);
    let mut child = start(run, run_id, &way, &log).context("starting the testbed that serves the pool")?;
    let (process, said) = (child.id().and_then(Process::with_id), child.stdout.take());
    let mut said = said.map(|said| BufReader::new(said.take(ADDRESS)));
    let mut url = String::new();
    let told = async {
        let said = said.as_mut()?;
        said.read_line(&mut url).await.ok()?;
        Some(Pooled { process: process?, url: url.trim_end().to_owned(), way })
    };
    let served = match timeout_at(deadline, told).await {
        Err(_) => Err(anyhow!("the pool is not served in time").exit(Exit::NotReady)),
        // The pipe is open until it is noted: whoever keeps the pool takes that for its beginning.
        Ok(Some(pooled)) if !pooled.url.is_empty() => pooled.note(run).context("noting the pool"),
        Ok(_) => Err(anyhow!("the pool cannot be served")),
    };
    let Err(error) = served else { return Ok(()) };
    drop(said);
    // It removes what it has made.
    let _ = process.map(|process| process.signal(Signal::TERM));
    let _ = timeout(ENDING, child.wait()).await;
    end(run).await?;
    let text = files::read(&log, files::MOST).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).trim().to_owned();
    if text.is_empty() {
        return Err(error);
    }
    Err(error).detail(format!("the testbed that was to serve it said:\n{text}"))
}

/// Ends a run's pool, if it has one, and says how it was served.
///
/// # Errors
/// Processes that do not end.
pub(super) async fn end(run: &Path) -> anyhow::Result<Option<Way>> {
    let pooled = Pooled::of(run);
    Pooled::forget(run);
    if let Some(Pooled { process, .. }) = &pooled {
        processes::gone(*process, ENDING).await;
    }
    // What is noted may be another's process, and what serves a pool may be noted nowhere.
    remove::end_pool(run).await?;
    Ok(pooled.map(|pooled| pooled.way))
}

fn start(run: &Path, run_id: &str, way: &Way, log: &Path) -> anyhow::Result<Child> {
    let own = std::env::current_exe()?;
    files::write(log, "", 0o600)?;
    let (mark, folder) = Pooled::mark(run);
    let mut command = Command::new(&own);
    command
        .arg("exec")
        .args(way.settings.iter().flat_map(|file| [OsStr::new("--settings"), file]))
        .args([format!("--run-id={run_id}"), format!("--pool={}", way.size)])
        .arg("--")
        .args([own.as_os_str(), NAME.as_ref(), run.as_os_str()])
        .env(mark, folder)
        // Whoever ends the processes of another command finds that this is no part of it.
        .env("TESTBED_RUN_ID", run_id)
        .env_remove(OWNER)
        // One that is gone has no settings.
        .current_dir(if way.project.is_dir() { &way.project } else { run })
        // A Ctrl-C at the terminal is not for it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::options().append(true).open(log)?);
    Ok(command.spawn()?)
}

/// The command of the `exec` that serves a pool: tells its address, and waits until it is noted no more.
pub(crate) fn keep(args: &[OsString]) -> u8 {
    let Some(run) = args.first().map(Path::new) else { return Exit::Usage.code() };
    let Some(url) = environment::variable(pool_url::OWN_VARIABLE) else { return Exit::Usage.code() };
    match wait(run, &url) {
        Ok(()) => 0,
        Err(error) => {
            console::say(&format!("error: keeping the pool: {error:#}"));
            Exit::Failure.code()
        }
    }
}

fn wait(run: &Path, url: &str) -> anyhow::Result<()> {
    let parent = getppid().and_then(|parent| Process::with_id(parent.as_raw_pid().cast_unsigned()));
    let parent = parent.and_then(Process::open).context("its testbed is gone")?;
    // Before it is noted, so that no change is missed.
    let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&changes, run, flags)?;
    console::print(&format!("{url}\n"))?;
    // Whoever reads that closes the pipe once it is noted.
    console::until_unread()?;
    loop {
        if !Pooled::is_at(run, url) {
            return Ok(());
        }
        let mut what = [PollFd::new(&changes, PollFlags::IN), PollFd::new(&parent, PollFlags::IN)];
        match poll(&mut what, Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        anyhow::ensure!(what[1].revents().is_empty(), "its testbed is gone");
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&changes, &mut buffer);
        while events.next().is_ok() {}
    }
}
