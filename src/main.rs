//! Parses, runs, prints the error once, and chooses the exit code.

use std::process::ExitCode;

use testbed::failure::{details_of, exit_of, hints_of};
use testbed::settings::fill;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = testbed::commands::aside(&args) {
        return ExitCode::from(code);
    }
    let arguments = match fill::arguments(&args) {
        Ok(arguments) => arguments,
        Err(error) => {
            if let Some(error) = error.downcast_ref::<clap::Error>() {
                error.exit();
            }
            return failed(&error);
        }
    };
    // One thread is enough: the program waits on sockets nearly all the time, and starts faster without others.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: starting up: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(testbed::commands::run(arguments));
    // A name lookup may still sit in the system's resolver; nobody waits for it.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    for detail in details_of(error) {
        eprintln!("\n{detail}\n");
    }
    for hint in hints_of(error) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(exit_of(error).code())
}
