//! `testbed run`: databases up, a command with their addresses in its environment, and always down again.

use std::pin::pin;

use rustix::process::Signal;

use super::chosen::Chosen;
use super::config::Config;
use super::plan::Plan;
use super::work::{conclude, work};
use super::{Backend, Call, Maker, Session, Signals, archiving, cluster, local, program, which};
use crate::cli::{Global, OnFailure, Run};
use crate::output;
use crate::pool;
use crate::progress::Progress;
use crate::recorder::event::Asked;

/// The exit code is the command's own.
pub(crate) async fn run(mut args: Run, global: &Global, progress: &Progress) -> anyhow::Result<u8> {
    let place = Chosen::of(global)?;
    if args.keep_on_failure {
        args.making.on_failure.get_or_insert(OnFailure::Keep);
    }
    let recorder = archiving::open(&args.making.archiving)?;
    let mut config = Config::for_run(&args.making)?;
    let plan = Plan::make(&args.making.source, place.is_cluster())?;
    config.check(&plan, progress)?;
    let model = config.model(&plan, |_, database| (&database.host, database.port));
    output::check_names(&model.names())?;
    let engines = model.databases.iter().map(|database| database.engine);
    pool::check(args.pooling.pool, engines)?;
    // Not after half a minute of creating databases.
    if let Err(cannot) = program::look_up(&args.command[0]) {
        return Ok(cannot.report(&args.command[0]));
    }
    config.warn_of_readers(progress);
    plan.warnings.iter().for_each(|warning| progress.warn(warning));
    let signals = Signals::new()?;
    let project = which::project(global)?;
    let call = Call::new(Maker::Run(&args), plan, config, &recorder, progress, project);
    call.check_at(&place)?;
    let outcome = match place {
        Chosen::Local(why) => make::<local::Servers>(why, &args, call, signals).await,
        Chosen::Cluster(choice) => make::<cluster::Pods>(choice, &args, call, signals).await,
    };
    recorder.finish(progress).await;
    outcome
}

async fn make<B: Backend>(
    place: B::Place,
    args: &Run,
    call: Call<'_>,
    mut signals: Signals,
) -> anyhow::Result<u8> {
    let progress = call.progress;
    let (mut backend, mut session) = B::begin(place, call, pin!(signals.interrupted())).await?;
    let made = backend.make(&mut session, pin!(signals.interrupted())).await;
    progress.finish();
    let mut up = match made {
        Ok(up) => up,
        Err(failed) => return Err(backend.give_up(session, failed, insisted(&mut signals, progress)).await),
    };
    let worked = work(args, &backend, &mut session, &up, &mut signals).await;
    backend.tell_losses(&session, &mut up).await;
    session.recording.on(worked.event());
    let outcome = worked.outcome;
    if session.is_adopted {
        progress.say(&format!("run {} stays up, as it was before", session.call.plan.run_id));
        backend.keep(&mut session)?;
        return outcome;
    }
    if args.keep_on_failure && !matches!(outcome, Ok(0)) {
        backend.collect(&session).await;
        backend.keep(&mut session)?;
        tell_kept(&backend, &session, &up);
        return outcome;
    }
    drop(up);
    let logs = session.recording.id().map(|_| format!("testbed history logs {}", session.call.plan.run_id));
    let removed = backend.remove(session, Asked::ByMaker, insisted(&mut signals, progress)).await;
    if let Some(logs) = logs.filter(|_| matches!(outcome, Ok(1..))) {
        progress.say(&format!("the databases' logs: {logs}"));
    }
    conclude(outcome, removed, progress)
}

/// Says how to reach a run that stays up, and how to remove it.
fn tell_kept<B: Backend>(backend: &B, session: &Session<'_>, up: &B::Up) {
    let Call { plan, progress, .. } = &session.call;
    progress.say(&format!("run {} stays up, as --keep-on-failure asks for:", plan.run_id));
    let outputs = session.claim.record.outputs.keys();
    let output = outputs.map(|path| format!("logins are in {}", path.display()));
    let remove = format!("remove it: {}", backend.down_command(session));
    backend
        .how_to_use(session, up)
        .into_iter()
        .chain(output)
        .chain([remove])
        .for_each(|line| progress.say(&format!("  {line}")));
}

/// Resolves when somebody at the terminal insists. One Ctrl-C is not enough: it may be the one that has ended
/// the command.
async fn insisted(signals: &mut Signals, progress: &Progress) {
    while signals.next().await != Signal::INT {}
    progress.say("removing the run; Ctrl-C once more leaves the rest of it for the next testbed command");
    while signals.next().await != Signal::INT {}
}
