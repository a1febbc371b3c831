//! What `testbed run` does with databases that are ready, wherever they are: the config file, the command,
//! and what its end means.

use std::ffi::OsString;
use std::path::Path;

use super::leftovers::Leftovers;
use super::{Backend, Call, Session, Signals, attend, pooled};
use crate::bug;
use crate::cli::{OfProject, Run};
use crate::failure::{Advise, Exit, hints_of};
use crate::files;
use crate::history::record;
use crate::output::{self, Connection, Environment, Model, Names};
use crate::pool::{self, Served};
use crate::progress::Progress;
use crate::recorder::Event;
use crate::recorder::event::Failure;
use crate::registry::{Claim, Exec, Phase};
use crate::time::Time;

pub(crate) struct Worked {
    /// Its exit code, or what failed besides it.
    pub outcome: anyhow::Result<u8>,
    /// The command, if it came to that.
    command: record::Command,
    /// Whether testbed was asked to end meanwhile, and passed that on.
    was_asked_to_end: bool,
    leftovers: Leftovers,
    /// On a run that stays.
    exec: Option<Exec>,
}

impl Worked {
    /// What the run's record is to know of it.
    pub(crate) fn event(&self) -> Event {
        let command =
            record::Command { exit_code: self.outcome.as_ref().ok().copied(), ..self.command.clone() };
        let failure = self.outcome.as_ref().err().map(Failure::of);
        Event::CommandEnded { command, failure, was_asked_to_end: self.was_asked_to_end }
    }
}

/// From databases that are ready to the command's exit code.
pub(crate) async fn work<B: Backend>(
    args: &Run,
    backend: &B,
    session: &mut Session<'_>,
    up: &B::Up,
    signals: &mut Signals,
) -> Worked {
    let program = Path::new(&args.command[0]).file_name().unwrap_or(&args.command[0]);
    let command = record::Command { program: program.display().to_string(), ..record::Command::default() };
    let Session { call, claim, recording, .. } = session;
    let leftovers = Leftovers::of_next_command(&claim.record);
    let mut worked = Worked { outcome: Ok(0), command, was_asked_to_end: false, leftovers, exec: None };
    let work = async {
        tokio::select! {
            outcome = work_on(args, call, backend.model(up), claim, signals, &mut worked) => outcome,
            never = backend.follow(call, recording, up) => match never {},
        }
    };
    worked.outcome = bug::caught(work).await;
    worked.leftovers.end(worked.outcome.is_ok(), call.progress).await;
    claim.record.command = None;
    worked.exec.take().into_iter().for_each(Exec::forget);
    worked
}

async fn work_on(
    args: &Run,
    call: &Call<'_>,
    model: &Model,
    claim: &mut Claim,
    signals: &mut Signals,
    worked: &mut Worked,
) -> anyhow::Result<u8> {
    let Call { config, progress, .. } = call;
    let text = config.text(model)?;
    // A run of an earlier `up` outlives this call, however it ends.
    if claim.record.phase != Phase::Up {
        claim.record.phase = Phase::Held;
    }
    claim.record.databases = noted(call, claim, model);
    let written = config.write_noted(&text, claim)?;
    // The terminal has sent it to the processes that there were, and the command is not among them.
    if let Some(error) = signals.already_interrupted().await {
        return Err(error);
    }
    let mut environment = environment(model, &config.names, written.as_deref(), claim.folder(), progress)?;
    let mark = claim.record.mark();
    environment.set.extend(
        mark.as_deref()
            .and_then(|mark| mark.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    progress.say(&format!(
        "ready after {:.2} s; running {}",
        progress.elapsed().as_secs_f64(),
        shown(&args.command)
    ));
    let admins = call.plan.discovery.databases.iter();
    let admins = admins.filter_map(|one| Some((one.name.as_str(), one.admin.as_ref()?))).collect();
    let size = pooled::unless_served(args.pooling.pool, claim.folder());
    let served = tokio::select! {
        served = pool::serve(size, model, &config.names, &claim.record, &admins) => served?,
        error = signals.interrupted() => return Err(error),
    };
    pooled::tell(served.as_ref(), claim.folder(), &claim.record.run_id, &mut environment);
    // Whoever comes next finds the command also where this process is killed before it has noted it.
    let folder = claim.folder().filter(|_| claim.record.phase == Phase::Up);
    worked.exec = folder.and_then(Exec::note);
    let mut running = match attend::start(&args.command, &environment, &claim.record.run_id, signals).await {
        Ok(running) => running,
        Err(cannot) => return Ok(cannot.report(&args.command[0])),
    };
    worked.command.began = Some(Time::now());
    claim.record.command = running.noted;
    claim.save()?;
    bug::provoke("work", &text);
    let code = running.attend_with(&worked.leftovers, signals, progress).await;
    worked.command.ended = Some(Time::now());
    worked.was_asked_to_end = running.was_asked_to_end();
    let stays = claim.record.phase == Phase::Up || (args.keep_on_failure && !matches!(code, Ok(0)));
    match served {
        Some(served) if stays => clear(served, progress).await,
        Some(served) => served.end().await,
        None => {}
    }
    code
}

/// Removes what a command's fresh databases have left on servers that stay.
pub(super) async fn clear(served: Served, progress: &Progress) {
    if let Err(left) = served.clear().await {
        progress.warn(&format!("{left:#}; the next command with --pool removes them"));
    }
}

/// The variables of a run's databases, and in the folder what they name.
pub(super) fn variables(
    model: &Model,
    names: &Names,
    config: Option<&Path>,
    folder: Option<&Path>,
) -> anyhow::Result<Environment> {
    if let (Some(folder), Some(text)) = (folder, output::option_file(model)) {
        files::write(&folder.join("my.cnf"), &text, 0o600)?;
    }
    Environment::new(model, names, config, folder)
}

/// What variables are called, also as the project says where that fits the databases; tells what does not.
///
/// # Errors
/// As for [`Names::new`].
pub(super) fn with_project(
    names: Names,
    OfProject { presets, env, .. }: &OfProject,
    model: &Model,
    whole: &Model,
    progress: &Progress,
) -> anyhow::Result<Names> {
    let (names, left_out) = names.with_project(presets, env, model, whole)?;
    for why in left_out {
        progress.say(&format!(
            "note: of testbed.yaml this does not fit the run's databases, and is left out: {why:#}"
        ));
    }
    Ok(names)
}

/// The variables that the command gets, and those of the caller that it must not see; names those of the
/// latter that are there.
pub(super) fn environment(
    model: &Model,
    names: &Names,
    config: Option<&Path>,
    folder: Option<&Path>,
    progress: &Progress,
) -> anyhow::Result<Environment> {
    let environment = variables(model, names, config, folder)?;
    let kept_back: Vec<&str> = (environment.removed.iter().map(String::as_str))
        .filter(|name| std::env::var_os(name).is_some())
        .collect();
    if !kept_back.is_empty() {
        progress.say(&format!(
            "note: the command does not get {}, which could lead it to another server",
            kept_back.join(", ")
        ));
    }
    if let Some(path) = output::other_option_file(model) {
        let file = path.display();
        progress.warn(&format!(
            "{file} counts for more than the run's server and login: call the clients of MySQL and MariaDB with \
             --defaults-file=\"$MYSQL_HOME/my.cnf\""
        ));
    }
    Ok(environment)
}

/// The databases as they are noted for other commands: those of a cluster by their addresses in it, for
/// port-forwards end with this call.
fn noted(call: &Call<'_>, claim: &Claim, model: &Model) -> Vec<Connection> {
    let model = if claim.record.location().is_some() {
        let mut inside = call.config.model(&call.plan, |_, database| (&database.host, database.port));
        let is_server = |one: &&Connection| one.host.is_some() && !one.is_further;
        let servers = model.databases.iter().filter(is_server);
        inside.note_tls(servers.map(|connection| connection.over_tls));
        inside
    } else {
        model.clone()
    };
    model.with_earlier(&claim.record.databases).databases
}

/// The command as one text, for messages.
fn shown(command: &[OsString]) -> String {
    command[0].display().to_string()
}

/// What testbed ends with: the command's end counts, unless only the removal failed.
///
/// # Errors
/// What failed besides the command; [`Exit::TeardownIncomplete`] where that is the removal alone.
pub(crate) fn conclude(
    outcome: anyhow::Result<u8>,
    removed: anyhow::Result<()>,
    progress: &Progress,
) -> anyhow::Result<u8> {
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
