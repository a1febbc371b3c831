//! Parses, runs, prints the error once, and chooses the exit code.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Context;
use futures::FutureExt;
use testbed::deadline::EVER;
use testbed::failure::{Advise, details_of, exit_of, hints_of};
use testbed::settings::fill;
use testbed::{bug, commands, console, session};
use tokio::runtime::Runtime;

/// What a part of testbed that is called by testbed itself ends with after a panic: none of the codes that it
/// has.
const PANICKED: u8 = 101;

/// How many files have to be opened at once.
const OPEN_FILES: usize = 16;

fn main() -> ExitCode {
    let code = end();
    console::finish();
    code
}

/// Does what there is to do, and tells how it ended.
fn end() -> ExitCode {
    bug::watch();
    let args: Vec<_> = std::env::args_os().collect();
    match catch_unwind(|| commands::aside(&args)) {
        Ok(None) => {}
        Ok(Some(code)) => return ExitCode::from(code),
        Err(_) => return ExitCode::from(PANICKED),
    }
    // What has panicked is not used any more.
    let outcome = catch_unwind(|| called(&args)).unwrap_or(Ok(1));
    match (bug::seen(), outcome) {
        (None, Ok(code)) => ExitCode::from(code),
        (None, Err(error)) => failed(&error),
        // It may be told already, with what is left and what to do.
        (Some(bug), Err(error)) if error.to_string() == bug.to_string() => failed(&error),
        (Some(bug), Err(error)) => failed(&bug.hint(format!("what failed besides: {error:#}"))),
        (Some(bug), Ok(_)) => failed(&bug),
    }
}

/// Does what the user typed, and tells the exit code.
fn called(args: &[OsString]) -> anyhow::Result<u8> {
    let arguments = match fill::arguments(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let usage = error.downcast::<clap::Error>()?;
            console::print_usage(&usage)?;
            return Ok(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let runtime = runtime()?;
    let outcome = runtime.block_on(AssertUnwindSafe(commands::run(arguments)).catch_unwind());
    let outcome = outcome.unwrap_or_else(|_| runtime.block_on(commands::rescue()));
    // A name lookup may still sit in the system's resolver; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// One thread is enough: the program waits on sockets nearly all the time, and starts faster without others.
/// But names are looked up on a second one, which has to be there before it may be too late to have one.
fn runtime() -> anyhow::Result<Runtime> {
    let thread = std::thread::Builder::new().spawn(|| {}).context("starting up: starting a thread");
    drop(thread.hint("a limit of this user or container on processes is reached: see ulimit -u, and the limit on pids")?.join());
    check_open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(EVER)
        .build()
        .context("starting up")?;
    drop(runtime.spawn_blocking(|| {}));
    let inside = runtime.enter();
    session::survive_limits_on_files().context("starting up: listening for signals")?;
    drop(inside);
    Ok(runtime)
}

/// Without that many, what is absent could not be told from what may not be opened. Sockets, since they need
/// no file to be there.
fn check_open_files() -> anyhow::Result<()> {
    let files = (0..OPEN_FILES).map(|_| UnixDatagram::unbound()).collect::<Result<Vec<_>, _>>();
    files
        .map(drop)
        .context("starting up: opening files")
        .hint("a limit of this user or container on open files is reached: see ulimit -n")
}

fn failed(error: &anyhow::Error) -> ExitCode {
    console::say(&console::message(&format!("error: {error:#}")));
    for detail in details_of(error) {
        console::say(&format!("\n{detail}\n"));
    }
    for hint in hints_of(error) {
        console::say(&console::message(&format!("hint: {hint}")));
    }
    ExitCode::from(exit_of(error).code())
}
