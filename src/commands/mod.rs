//! One file a command: a short function that lists the steps.

mod complete;
mod doctor;
mod history;
mod init;
mod lock;
mod man;
mod render;
pub mod wait;

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::Command;
use crate::progress::{Loudness, Progress};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::session::{self, abandoned, pooled};
use crate::settings::Arguments;
use crate::template::apart;

/// Runs the command that the user typed, and tells the exit code: 0, that of the command that `run` has run,
/// what `doctor` has found, or that of a signal where this goes on until one comes.
///
/// # Errors
/// Whatever made it fail; `failure::exit_of` tells the exit code.
pub async fn run(arguments: Arguments) -> anyhow::Result<u8> {
    tell(&arguments);
    let cli = arguments.cli;
    let global = cli.global;
    let progress = global.progress();
    if uses_runs(&cli.command) {
        abandoned::end_commands(&progress).await;
    }
    match cli.command {
        Command::Run(args) => return session::run(args, &global, &progress).await,
        Command::Seed(args) => return session::seed(args, &global, &progress).await,
        Command::Exec(args) => return session::exec(args, &global, &progress).await,
        Command::Connect(args) => return session::connect_client(args, &global, &progress).await,
        Command::Attach(args) => return session::attach(args, &global, &progress).await,
        Command::Logs(args) => return session::logs(args, &global, &progress).await,
        Command::Up(args) => return session::up(args, &global, &progress).await,
        Command::Lock(args) => return lock::lock(args, &global).await,
        Command::Doctor(args) => return doctor::doctor(args, &global).await,
        Command::Env(args) => session::env(&args, &global, &progress).await,
        Command::Restart(args) => session::restart(args, &global, &progress).await,
        Command::Restore(args) => session::restore(args, &global, &progress).await,
        Command::Snapshot(args) => session::snapshot(args, &global, &progress).await,
        Command::Fork(args) => session::fork(args, &global, &progress).await,
        Command::Gc(args) => session::gc(args, &global, &progress).await,
        Command::Down(args) => session::down(args, &global, &progress).await,
        Command::Render(args) => render::render(args, &global),
        Command::Wait(args) => wait::wait(args, &global).await,
        Command::Status(args) => session::status(args, &global, &progress).await,
        Command::History(args) => history::history(args, &global).await,
        Command::Init(args) => init::init(&args, &global),
        Command::Completions { shell } => complete::script(shell),
        Command::Man { folder } => man::write(&folder),
    }
    .map(|()| 0)
}

/// Whether a command has to do with runs, and may change something of them.
fn uses_runs(command: &Command) -> bool {
    match command {
        Command::Gc(args) => !args.dry_run,
        Command::Render(_) | Command::Init(_) | Command::Completions { .. } | Command::Man { .. } => false,
        _ => true,
    }
}

/// After a panic: what this process had begun, and nobody holds any more, is removed as the next command
/// would remove it.
///
/// # Errors
/// None: what cannot be removed is told, and left for the next command.
pub async fn rescue() -> anyhow::Result<u8> {
    if let Some(registry) = Registry::find() {
        abandoned::remove(
            &registry,
            &Recorder::none(Duration::ZERO),
            Duration::MAX,
            &Progress::new(Loudness::Quiet),
        )
        .await;
    }
    Ok(1)
}

/// Says what became of the project's settings.
fn tell(arguments: &Arguments) {
    let progress = arguments.cli.global.progress();
    for file in &arguments.files {
        progress.explain(&format!("settings from {file}"));
    }
    if let Some(error) = &arguments.ignored {
        progress.warn(&format!("going on without the project's settings: {error:#}"));
    }
}

/// The parts for which testbed calls itself, before anything else: they take nobody's flags, variables or
/// settings. `None` if the arguments are a user's.
pub fn aside(args: &[OsString]) -> Option<u8> {
    if args.get(1).is_some_and(|name| name == apart::NAME) {
        return Some(apart::run(&args[2..]));
    }
    if args.get(1).is_some_and(|name| name == complete::NAME) {
        return Some(complete::answer(&args[2..]));
    }
    if args.get(1).is_some_and(|name| name == pooled::NAME) {
        return Some(pooled::keep(&args[2..]));
    }
    lock::aside(args)
}
