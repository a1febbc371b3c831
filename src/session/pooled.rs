//! The pool of a run that stays up: `up` starts a `testbed exec --pool` in the background, whose command is testbed once
//! more, notes the address, and waits for the end of the run.
//!
//! It ends when its note is gone: when the run is removed, when `up` wants another one in its place, or `restore` is about
//! to take its databases away.

use std::ffi::OsString;
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
use tokio::time::{Instant, timeout_at};

use crate::cli::{Global, OwnNames};
use crate::console;
use crate::environment;
use crate::failure::{Advise, Exit};
use crate::files;
use crate::output::Environment;
use crate::pool::{self, Size};
use crate::process::Process;
use crate::registry::{Pooled, Way};
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
const ENDING: Duration = Duration::from_secs(20);

/// What an environment tells of the pool of the run in this folder, if it has one.
pub(super) fn tell(run: &Path, environment: &mut Environment) {
    Pooled::of(run).iter().for_each(|pooled| pool::tell(&pooled.url, environment));
}

/// How a pool of a run is served.
pub(super) fn way(run_id: &str, size: Size, own: &OwnNames, global: &Global) -> anyhow::Result<Way> {
    let mut arguments: Vec<OsString> = vec!["exec".into()];
    arguments.extend(global.settings.iter().flat_map(|file| ["--settings".into(), file.clone()]));
    arguments.extend([format!("--run-id={run_id}").into(), format!("--pool={size}").into()]);
    let presets: Vec<String> = own.preset.iter().map(ToString::to_string).collect();
    let variables = [
        ("TESTBED_ENV", own.env.join("\n")),
        ("TESTBED_PRESET", presets.join(",")),
        // Whoever ends the processes of another run's command finds that this is of its own.
        ("TESTBED_RUN_ID", run_id.to_owned()),
    ];
    let said = variables.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(Way {
        arguments,
        variables: said.map(|(name, value)| (name.to_owned(), value)).collect(),
        folder: std::env::current_dir().context("finding the current folder")?,
    })
}

/// Serves a pool for the run in this folder, unless it is served like that.
///
/// # Errors
/// Why it cannot be served, or is not by then.
pub(super) async fn serve(run: &Path, way: Way, deadline: Instant) -> anyhow::Result<()> {
    if Pooled::of(run).is_some_and(|pooled| pooled.way == way) {
        return Ok(());
    }
    end(run).await?;
    let log = Pooled::log(run);
    let mut child = start(run, &way, &log).context("starting the testbed that serves the pool")?;
    let (process, said) = (child.id().and_then(Process::with_id), child.stdout.take());
    let mut said = said.map(|said| BufReader::new(said.take(ADDRESS)));
    let mut url = String::new();
    let told = async {
        let said = said.as_mut()?;
        said.read_line(&mut url).await.ok()?;
        Some(Pooled { process: process?, url: url.trim_end().to_owned(), way })
    };
    let told = timeout_at(deadline, told).await;
    let is_late = told.is_err();
    match told {
        // The pipe is open until it is noted: whoever keeps the pool takes that for its beginning.
        Ok(Some(pooled)) if !pooled.url.is_empty() => pooled.note(run).context("noting the pool"),
        _ => {
            // It removes what it has made.
            let _ = process.map(|process| process.signal(Signal::TERM));
            if timeout_at(Instant::now() + ENDING, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
            let text = files::read(&log, files::MOST).unwrap_or_default();
            let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).trim().to_owned();
            let failed = if is_late {
                anyhow!("the pool is not served in time").exit(Exit::NotReady)
            } else {
                anyhow!("the pool cannot be served").exit(Exit::Failure)
            };
            Err(failed).detail(format!("the testbed that was to serve it said:\n{text}"))
        }
    }
}

/// Ends a run's pool, if it has one, and says how it was served.
///
/// # Errors
/// Processes that do not end.
pub(super) async fn end(run: &Path) -> anyhow::Result<Option<Way>> {
    let Some(Pooled { process, way, .. }) = Pooled::of(run) else { return Ok(None) };
    Pooled::forget(run);
    processes::gone(process, ENDING).await;
    // What is noted may be another's process.
    remove::end_pool(run).await?;
    Ok(Some(way))
}

fn start(run: &Path, way: &Way, log: &Path) -> anyhow::Result<Child> {
    let own = std::env::current_exe()?;
    files::write(log, "", 0o600)?;
    let (mark, folder) = Pooled::mark(run);
    let mut command = Command::new(&own);
    command
        .args(&way.arguments)
        .arg("--")
        .args([own.as_os_str(), NAME.as_ref(), run.as_os_str()])
        .envs(way.variables.iter().map(|(name, value)| (name, value)))
        .env(mark, folder)
        .current_dir(&way.folder)
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
    let Some(url) = environment::variable(pool::OWN_VARIABLE) else { return Exit::Usage.code() };
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
        if !Pooled::is_noted(run) {
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
