//! What `testbed run` does with databases that are ready, wherever they are: the config file, the command, and what its end means.

use std::ffi::OsString;

use crate::cli::Run;
use crate::commands::attend::{self, Signals};
use crate::commands::config::Config;
use crate::failure::{Advise, Exit, hints_of};
use crate::output::{self, Model};
use crate::progress::Progress;
use crate::registry::{Claim, Phase};

/// From databases that are ready to the command's exit code.
///
/// # Errors
/// What failed besides the command.
pub async fn work(
    args: &Run,
    config: &Config,
    model: &Model,
    claim: &mut Claim,
    signals: &mut Signals,
    progress: &Progress,
) -> anyhow::Result<u8> {
    let text = config.text(model)?;
    claim.record.phase = Phase::Held;
    let written = config.write_noted(&text, claim)?;
    // The terminal has sent it to the processes that there were, and the command is not among them.
    if let Some(error) = signals.already_interrupted().await {
        return Err(error);
    }
    let environment = output::environment(model, written.as_deref());
    progress.say(&format!("ready after {:.2} s; running {}", progress.elapsed().as_secs_f64(), shown(&args.command)));
    let mut running = match attend::start(&args.command, &environment, &claim.record.run_id) {
        Ok(running) => running,
        Err(cannot) => return Ok(cannot.report(&args.command[0])),
    };
    claim.record.command = running.noted;
    claim.save()?;
    let code = running.attend(signals, progress).await;
    claim.record.command = None;
    code
}

/// The command as one text, for messages.
fn shown(command: &[OsString]) -> String {
    command[0].display().to_string()
}

/// What testbed ends with: the command's end counts, unless only the removal failed.
///
/// # Errors
/// What failed besides the command; [`Exit::TeardownIncomplete`] where that is the removal alone.
pub fn conclude(outcome: anyhow::Result<u8>, removed: anyhow::Result<()>, progress: &Progress) -> anyhow::Result<u8> {
    match (outcome, removed) {
        (outcome, Ok(())) => outcome,
        (Ok(0), Err(left)) => Err(left).exit(Exit::TeardownIncomplete),
        (Ok(code), Err(left)) => {
            progress.warn(&format!("the run could not be removed: {left:#}"));
            hints_of(&left).iter().for_each(|hint| progress.say(&format!("  {hint}")));
            Ok(code)
        }
        (Err(error), Err(left)) => Err(error).hint(format!("the run could not be removed: {left:#}")),
    }
}
