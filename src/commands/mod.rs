//! One file a command: a short function that lists the steps.

mod archiving;
mod attend;
mod cluster;
mod config;
mod doctor;
mod down;
mod gc;
mod history;
mod init;
mod local;
mod lock;
mod plan;
mod program;
mod reap;
mod render;
mod run;
mod runtime;
mod status;
mod up;
pub mod wait;
mod waits;

use std::ffi::OsString;
use std::time::Duration;

use anyhow::anyhow;
use tokio::signal::unix::{SignalKind, signal};

pub use self::attend::survive_limits_on_files;
use self::attend::{HangUp, Messages};
use crate::cli::{Cli, Command, Global};
use crate::console;
use crate::failure::{Advise, Exit, hints_of};
use crate::progress::{Loudness, Progress};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::runtime::kubernetes::Choice;
use crate::settings::Arguments;
use crate::table;
use crate::template::apart;

/// Runs the command that the user typed, and tells the exit code: 0, that of the command that `run` has run, or what `doctor` has found.
///
/// # Errors
/// Whatever made it fail; `failure::exit_of` tells the exit code.
pub async fn run(arguments: Arguments) -> anyhow::Result<u8> {
    tell(&arguments);
    let cli = arguments.cli;
    let global = cli.global;
    match cli.command {
        Command::Run(args) => return run::run(args, &global).await,
        Command::Lock(args) => return lock::lock(args, &global).await,
        Command::Doctor(args) => return doctor::doctor(args, &global).await,
        Command::Up(args) => up::up(args, &global).await,
        Command::Gc(args) => gc::gc(args, &global).await,
        Command::Down(args) => down::down(args, &global).await,
        Command::Render(args) => render::render(args, &global),
        Command::Wait(args) => wait::wait(args, &global).await,
        Command::Status(args) => status::status(args, &global).await,
        Command::History(args) => history::history(args, &global).await,
        Command::Init(args) => init::init(&args, &global),
        Command::Completions { shell } => completions(shell),
    }
    .map(|()| 0)
}

/// After a panic: what this process had begun, and nobody holds any more, is removed as the next command would remove it.
///
/// # Errors
/// None: what cannot be removed is told, and left for the next command.
pub async fn rescue() -> anyhow::Result<u8> {
    if let Some(registry) = Registry::find() {
        reap::reap(&registry, &Recorder::none(Duration::ZERO), Duration::MAX, &Progress::new(Loudness::Quiet)).await;
    }
    Ok(1)
}

/// Says what became of the project's settings.
fn tell(arguments: &Arguments) {
    let progress = progress(&arguments.cli.global);
    if let Some(file) = &arguments.file {
        progress.explain(&format!("settings from {file}"));
    }
    if let Some(error) = &arguments.ignored {
        progress.warn(&format!("going on without the project's settings: {error:#}"));
    }
}

/// The parts for which testbed calls itself, before anything else: they take nobody's flags, variables or settings. `None` if the arguments are a
/// user's.
pub fn aside(args: &[OsString]) -> Option<u8> {
    if args.get(1).is_some_and(|name| name == apart::NAME) {
        return Some(apart::run(&args[2..]));
    }
    lock::aside(args)
}

fn progress(global: &Global) -> Progress {
    Progress::new(match (global.quiet, global.verbose) {
        (true, _) => Loudness::Quiet,
        (_, true) => Loudness::Verbose,
        _ => Loudness::Normal,
    })
}

/// Tells an error that does not end the command, with its remedies.
fn warn(error: &anyhow::Error, progress: &Progress) {
    progress.warn(&format!("{error:#}"));
    hints_of(error).iter().for_each(|hint| progress.say(&format!("  {hint}")));
}

fn choice(global: &Global) -> Choice {
    Choice { kubeconfig: global.kubeconfig.clone(), context: said(&global.context), namespace: said(&global.namespace) }
}

/// What a flag says. A pipeline's parameter with an empty default says nothing.
fn said(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "testbed", &mut script);
    console::print(&String::from_utf8(script)?)
}

/// Hands a result over; whoever has stopped reading can still end this.
async fn hand_over(text: String) -> anyhow::Result<()> {
    tokio::select! {
        done = console::hand_over(text) => done,
        error = interrupted() => Err(error),
    }
}

/// Resolves with an error when the user or the system asks the process to end: exit code 130 for SIGINT, 143 for SIGTERM and for SIGHUP, by which
/// a terminal that is closed says so. Listens from the
/// call on, and not only once it is waited for: process 1 of a container gets no signal that it does not listen for.
///
/// After the first signal a second one ends the process at once.
fn interrupted() -> impl Future<Output = anyhow::Error> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), HangUp::new(), Messages::new());
    async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up), Ok(mut messages)) = signals else {
            return std::future::pending().await;
        };
        let exit = tokio::select! {
            _ = interrupt.recv() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
            () = hang_up.next() => Exit::Terminated,
            _ = messages.next() => Exit::Terminated,
        };
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            std::process::exit(i32::from(exit.code()));
        });
        Err::<(), _>(anyhow!("interrupted")).exit(exit).unwrap_err()
    }
}
