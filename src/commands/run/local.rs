//! `testbed run` on this machine.

use std::time::Duration;

use super::work::{conclude, work};
use crate::cli::Run;
use crate::commands::attend::Signals;
use crate::commands::config::Config;
use crate::commands::local::session::{self, Call, Session};
use crate::commands::plan::Plan;
use crate::history::record::{Moment, What};
use crate::progress::Progress;
use crate::recorder::event::Asked;
use crate::recorder::{Event, Recorder};
use crate::registry::{Phase, Registry};
use crate::runtime::local::removal;
use crate::time::Time;

/// Up, the command, and always down.
///
/// # Errors
/// What failed besides the command.
pub(super) async fn run(
    args: &Run,
    mut config: Config,
    mut plan: Plan,
    why: &str,
    mut signals: Signals,
    recorder: &Recorder,
    progress: &Progress,
) -> anyhow::Result<u8> {
    progress.say(&format!("run {} on this machine ({why})", plan.run_id));
    config.place_in(&Registry::open(args.making.timeout)?.folder(plan.run_id.as_str()));
    let call = Call { name: "run", making: &args.making, recorder };
    let session = session::bring_up(&mut plan, &config, call, signals.interrupted(), progress).await?;
    use_it(args, &config, session, &mut signals, progress).await
}

/// Runs the command, and removes the run.
async fn use_it(args: &Run, config: &Config, mut session: Session<'_>, signals: &mut Signals, progress: &Progress) -> anyhow::Result<u8> {
    let worked = work(args, config, &session.model, &mut session.claim, signals, progress).await;
    for (name, moment) in tell_of_dead_servers(&mut session, progress).await {
        session.recording.on(Event::Database { name, nth: 1, moment });
    }
    session.recording.on(worked.event());
    let outcome = worked.outcome;
    let has_failed = !matches!(outcome, Ok(0));
    if args.keep_on_failure && has_failed {
        removal::collect(&session.claim, &session.recording).await;
        keep(session, progress)?;
        return outcome;
    }
    let run_id = session.claim.record.run_id.clone();
    let removed = removal::remove(session.claim, &session.recording, Asked::ByMaker).await;
    if removed.is_ok() {
        progress.explain(&format!("run {run_id} is gone"));
    }
    conclude(outcome, removed.map(drop), progress)
}

/// A test that failed because its database had ended should not look like any other failure. Tells which, and how they ended.
async fn tell_of_dead_servers(session: &mut Session<'_>, progress: &Progress) -> Vec<(String, Moment)> {
    let mut dead = Vec::new();
    let servers: Vec<_> = session.servers().iter().map(|server| server.process).collect();
    for ((name, child), server) in session.children.iter_mut().zip(servers) {
        // Its other threads may take a moment longer than the first one.
        let within = if server.is_alive() { Duration::ZERO } else { Duration::from_secs(1) };
        if let Ok(Ok(status)) = tokio::time::timeout(within, child.wait()).await {
            progress.warn(&format!("{name} ended by itself while the command ran ({status})"));
            dead.push((name.clone(), Moment { what: What::Ended, at: Time::now(), detail: status.to_string() }));
        }
    }
    dead
}

/// Leaves the run up, as `testbed up` would.
fn keep(mut session: Session<'_>, progress: &Progress) -> anyhow::Result<()> {
    session.claim.record.phase = Phase::Up;
    session.claim.save()?;
    session.remember();
    let record = &session.claim.record;
    progress.say(&format!("run {} stays up, as --keep-on-failure asks for:", record.run_id));
    for server in session.servers() {
        progress.say(&format!("  {} on 127.0.0.1:{} as {}; log {}", server.name, server.port, server.user, server.log.display()));
    }
    if let Some((path, _)) = &record.output {
        progress.say(&format!("  logins are in {}", path.display()));
    }
    progress.say(&format!("  remove it: testbed down --run-id {}", record.run_id));
    Ok(())
}
