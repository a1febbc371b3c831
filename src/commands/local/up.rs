//! `testbed up` on this machine: the servers stay up when it has ended.

use std::pin::pin;

use super::session::{self, Call, Session};
use crate::bug;
use crate::cli::Up;
use crate::commands::config::{Config, write_results};
use crate::commands::interrupted;
use crate::commands::plan::Plan;
use crate::console;
use crate::failure::Advise;
use crate::progress::Progress;
use crate::recorder::event::{Asked, Failure};
use crate::recorder::{Event, Recorder};
use crate::registry::Phase;
use crate::runtime::local::removal;
use crate::words::count;

/// Starts the databases, writes the config file and leaves.
///
/// # Errors
/// What failed; nothing is left then, unless `--on-failure keep` wants it.
pub(crate) async fn up(
    args: Up,
    config: Config,
    mut plan: Plan,
    why: &str,
    recorder: &Recorder,
    progress: &Progress,
) -> anyhow::Result<()> {
    progress.say(&format!("run {} on this machine ({why})", plan.run_id));
    let mut interrupt = pin!(interrupted());
    let call = Call { name: "up", making: &args.making, recorder };
    let mut session = session::bring_up(&mut plan, &config, call, &mut interrupt, progress).await?;
    let finish = bug::caught(async {
        let result = finish(&mut session, &config, &args, progress)?;
        tokio::select! {
            done = console::hand_over(result) => done,
            error = &mut interrupt => Err(error),
        }
    });
    if let Err(error) = finish.await {
        // What an earlier `up` has made, with a file of its own, is not this one's to remove.
        if session.is_adopted {
            return Err(error);
        }
        session.recording.on(Event::Failed(Failure::of(&error)));
        return match removal::remove(session.claim, &session.recording, Asked::ByMaker).await {
            Ok(_) => Err(error),
            Err(left) => Err(error).hint(format!("not all of it could be removed again: {left:#}")),
        };
    }
    if args.forward {
        progress.say("the databases stay up until Ctrl-C, which removes them");
        bug::provoke("held", "");
        let signal = bug::or(interrupt).await;
        let run_id = session.claim.record.run_id.clone();
        removal::remove(session.claim, &session.recording, Asked::Down).await?;
        progress.say(&format!("run {run_id} is gone"));
        return Err(signal);
    }
    Ok(())
}

/// Writes the config file, says what is there, and returns what is for programs.
fn finish(session: &mut Session<'_>, config: &Config, args: &Up, progress: &Progress) -> anyhow::Result<String> {
    let hold = args.forward;
    let text = config.text(&session.model)?;
    config.write_noted(&text, &mut session.claim)?;
    write_results(&args.result, config.path(), session.model.databases.len())?;
    session.claim.record.phase = if hold { Phase::Held } else { Phase::Up };
    session.claim.save()?;
    if !hold {
        session.remember();
    }
    bug::provoke("written", &text);
    let count = count(session.model.databases.len(), "database");
    let seconds = progress.elapsed().as_secs_f64();
    let run_id = &session.claim.record.run_id;
    let Some(path) = config.path() else {
        progress.say(&format!("{count} ready after {seconds:.2} s"));
        return Ok(text);
    };
    progress.say(&format!("{count} ready after {seconds:.2} s: {}", path.display()));
    if !hold {
        progress.say(&format!("when you are done: testbed down --run-id {run_id}"));
    }
    Ok(format!("{run_id}\n"))
}
