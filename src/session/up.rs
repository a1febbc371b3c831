//! `testbed up`: creates databases, waits until every one is ready, writes the config file and leaves.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, timeout};

use super::chosen::Chosen;
use super::config::Config;
use super::plan::Plan;
use super::{
    Backend, Call, Maker, Session, Stop, archiving, cluster, ended, interrupted, local, pooled, which, work,
};
use crate::background;
use crate::bug;
use crate::cli::{Global, Up, UpFormat};
use crate::console;
use crate::failure::{Advise, usage};
use crate::output::json::Told;
use crate::output::{Model, ResultFile, pool_url};
use crate::pool::{self, Size};
use crate::progress::Progress;
use crate::recorder::event::Asked;
use crate::registry::{Phase, Registry, Turn};
use crate::words::count;

/// How long it may take to note what proved the databases ready.
const PUBLICATION: Duration = Duration::from_secs(5);

/// Makes a run that stays up when this has ended, or for as long as nobody ends this. Tells the exit code.
pub(crate) async fn up(mut args: Up, global: &Global, progress: &Progress) -> anyhow::Result<u8> {
    let place = Chosen::of(global)?;
    let recorder = archiving::open(&args.making.archiving)?;
    let mut config = Config::new(&args.making)?;
    if config.path().is_none() && args.result.iter().any(ResultFile::needs_config_file) {
        return Err(usage("--result config=FILE tells where the config file is, and --output - writes none"));
    }
    if config.path().is_none() && args.print == UpFormat::Json {
        return Err(usage("-o json and --output - both want standard output; name a file with --output"));
    }
    args.result.iter().try_for_each(ResultFile::check)?;
    if place.is_cluster() && wanted(&args).is_some() {
        return Err(usage("up --pool serves a pool on this machine, and the run is in a cluster")).hint(
            "testbed run --pool -- COMMAND, or testbed exec --pool -- COMMAND, has one for a command there",
        );
    }
    let project = which::project(global)?;
    let is_named = args.making.source.run_id.is_some();
    // What is held ends with this call, and is a run of its own.
    let _turn = if is_named || args.forward {
        None
    } else {
        let turn = turn(&project, &mut args.making.timeout, progress).await?;
        args.making.source.run_id = which::to_go_on_with(&project, &place).await?;
        turn
    };
    let plan = Plan::make(&args.making.source, place.is_cluster())?;
    config.check(&plan, progress)?;
    pool::check(args.pool, plan.discovery.databases.iter().map(|one| one.engine.name()))?;
    config.warn_of_readers(progress);
    plan.warnings.iter().for_each(|warning| progress.warn(warning));
    let call = Call { is_named, ..Call::new(Maker::Up(&args), plan, config, &recorder, progress, project) };
    call.check_at(&place)?;
    let outcome = match place {
        Chosen::Local(why) => make::<local::Servers>(why, &args, global, call).await,
        Chosen::Cluster(choice) => make::<cluster::Pods>(choice, &args, global, call).await,
    };
    recorder.finish(progress).await;
    outcome
}

/// Waits until no other `up` makes a run of this project, which this one would go on with; `None` where nothing
/// can be noted. What it has waited is taken off the time that all of it may take.
async fn turn(project: &Path, time: &mut Duration, progress: &Progress) -> anyhow::Result<Option<Turn>> {
    let within = *time;
    // What keeps it from being opened is told by whoever needs it.
    let Ok(registry) = Registry::open(within) else { return Ok(None) };
    if let Some(turn) = registry.turn(project, Duration::ZERO)? {
        return Ok(Some(turn));
    }
    progress.say("another testbed up is at work in this folder: waiting for it");
    let (own, began) = (project.to_owned(), Instant::now());
    let turn = background::run(move || registry.turn(&own, within)).await??;
    // Whole seconds, in which it is told.
    *time = within.min(Duration::from_secs(within.saturating_sub(began.elapsed()).as_secs() + 1));
    turn.map(Some).ok_or_else(|| {
        let within = humantime::format_duration(within);
        anyhow!("another testbed up has been at work in {} for {within}", project.display())
            .hint("wait for it, or give this one more time with --timeout; a run of its own has a --run-id")
    })
}

async fn make<B: Backend>(place: B::Place, args: &Up, global: &Global, call: Call<'_>) -> anyhow::Result<u8> {
    // One listener for the whole command: a signal between two of them would be lost.
    let mut interrupt = pin!(interrupted());
    let mut interrupt: Stop<'_> = interrupt.as_mut();
    let (mut backend, mut session) = B::begin(place, call, interrupt.as_mut()).await?;
    let made = backend.make(&mut session, interrupt.as_mut()).await;
    session.call.progress.finish();
    let up = match made {
        Ok(up) => up,
        // A second signal ends the process at once.
        Err(failed) => return Err(backend.give_up(session, failed, pending()).await),
    };
    let held = backend.holds(&up).filter(|_| args.forward);
    let told = bug::caught(async {
        // Whoever finds it up, be this killed in the next moment, finds its story so.
        tokio::select! {
            () = session.call.recorder.settle(session.call.recorder.timeout()) => {}
            error = interrupt.as_mut() => return Err(error),
        }
        let (text, written) = note(&backend, &mut session, &up, args, held.is_some())?;
        tokio::select! {
            served = serve(&session, args, global) => served?,
            error = interrupt.as_mut() => return Err(error),
        }
        let result = finish(&backend, &session, &up, args, text, written.as_deref())?;
        tokio::select! {
            done = console::hand_over(result) => done?,
            error = interrupt.as_mut() => return Err(error),
        }
        tokio::select! {
            _ = timeout(PUBLICATION, backend.publish(&session.call, &up)) => Ok(()),
            error = interrupt.as_mut() => Err(error),
        }
    });
    if let Err(error) = told.await {
        return Err(backend.abandon(session, error).await);
    }
    let Some(held) = held else { return Ok(0) };
    session.call.progress.say(held);
    bug::provoke("held", "");
    let signal = tokio::select! {
        signal = bug::or(interrupt) => signal,
        never = backend.hold(&session, &up) => match never {},
    };
    drop(up);
    backend.remove(session, Asked::Down, pending()).await?;
    ended(signal)
}

/// Writes the config file, and notes that the run is up. Returns the file's text, and where it is.
fn note<B: Backend>(
    backend: &B,
    session: &mut Session<'_>,
    up: &B::Up,
    args: &Up,
    holds: bool,
) -> anyhow::Result<(String, Option<PathBuf>)> {
    let model = backend.model(up).clone().with_earlier(&session.claim.record.databases);
    let text = session.call.config.text(&model.clone().without_forks())?;
    let written = session.call.config.write_noted(&text, &mut session.claim)?;
    args.result
        .iter()
        .try_for_each(|result| result.write(session.call.config.path(), model.databases.len()))?;
    session.claim.record.phase = if holds { Phase::Held } else { Phase::Up };
    session.claim.record.databases = model.databases;
    session.claim.save()?;
    bug::provoke("written", &text);
    Ok((text, written))
}

/// How many databases the pool is to have ready, if there is to be one.
fn wanted(args: &Up) -> Option<Size> {
    args.pool.filter(|size| !size.is_none())
}

/// Serves the pool that is asked for, in the background, or ends the one that there is.
async fn serve(session: &Session<'_>, args: &Up, global: &Global) -> anyhow::Result<()> {
    let Session { call, claim, .. } = session;
    let (Some(size), Some(run)) = (args.pool, claim.folder()) else { return Ok(()) };
    if size.is_none() {
        return pooled::end(run).await.map(drop);
    }
    let way = pooled::way(&claim.record, size, global);
    pooled::serve(run, call.plan.run_id.as_str(), way, call.deadline, call.progress).await
}

/// Says what is there, and returns what is for programs.
fn finish<B: Backend>(
    backend: &B,
    session: &Session<'_>,
    up: &B::Up,
    args: &Up,
    text: String,
    written: Option<&Path>,
) -> anyhow::Result<String> {
    let asked = backend.model(up);
    let Session { call: Call { config, progress, plan, .. }, claim, .. } = session;
    let model = &Model { run_id: plan.run_id.as_str().to_owned(), databases: claim.record.databases.clone() };
    let holds = claim.record.phase == Phase::Held;
    let ready = format!(
        "{} ready after {:.2} s",
        count(model.databases.len(), "database"),
        progress.elapsed().as_secs_f64()
    );
    let Some(path) = config.path() else {
        progress.say(&ready);
        return Ok(text);
    };
    progress.say(&format!("{ready}: {}", path.display()));
    let (all, asked) = (model.names(), asked.names());
    let earlier: Vec<&str> = all.into_iter().filter(|name| !asked.contains(name)).collect();
    if !earlier.is_empty() {
        let (names, down) = (earlier.join(", "), backend.down_command(session));
        progress.say(&format!(
            "note: of an earlier up the run still has {names}: {down} && testbed up is without"
        ));
    }
    if wanted(args).is_some() {
        progress.say(&format!(
            "fresh databases for tests: testbed exec and testbed env tell their address, {}",
            pool_url::VARIABLES[0]
        ));
    }
    if !holds {
        progress.say(&format!("when you are done: {}", backend.down_command(session)));
    }
    if args.print == UpFormat::Json {
        let mut environment = work::variables(model, &config.names, written, claim.folder())?;
        pooled::tell(None, claim.folder(), plan.run_id.as_str(), &mut environment);
        let told = Told { model, location: claim.record.location(), config: written };
        return told.json(&environment);
    }
    Ok(format!("{}\n", plan.run_id))
}
