//! From a plan to servers that take logins, noted in the registry; and the other way round when it fails.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::future::try_join_all;
use serde_json::Value;
use tokio::process::Child;
use tokio::time::Instant;

use crate::bug;
use crate::cli::{Making, OnFailure};
use crate::commands::config::Config;
use crate::commands::plan::Plan;
use crate::commands::{archiving, reap};
use crate::database::Password;
use crate::failure::{Advise, Exit, exit_of, usage};
use crate::history::record::{Database, Moment, What};
use crate::manifest::stamp::HASH_ANNOTATION;
use crate::output::Model;
use crate::progress::{Progress, READY};
use crate::recorder::event::{Asked, Failure};
use crate::recorder::{Event, Recorder, Recording, origin};
use crate::registry::{Claim, Found, LocalRun, Phase, Place, Record, Registry, Server};
use crate::runtime::local::area::{self, Area, in_memory};
use crate::runtime::local::plan::{self as local, LocalPlan, Wishes};
use crate::runtime::local::planned::{Planned, Run};
use crate::runtime::local::start::{self, Started, Told};
use crate::runtime::local::{prepared, removal};
use crate::state::{self, Remembered, STATE_HINT};
use crate::time::Time;
use crate::{files, process};

/// A run that is up, and that this process works on.
pub(crate) struct Session<'a> {
    /// Its record.
    pub recording: Recording<'a>,
    /// The run.
    pub claim: Claim,
    /// The servers' processes, with the databases' names; none where they are those of an earlier `up`.
    pub children: Vec<(String, Child)>,
    /// What the tests get to know.
    pub model: Model,
    /// Whether an earlier `up` has made the run.
    pub is_adopted: bool,
}

impl Session<'_> {
    /// Notes for a later command in the folder which run was made there: a convenience.
    pub(crate) fn remember(&self) {
        let Some(folder) = state::folder() else { return };
        let record = &self.claim.record;
        let remembered = Remembered {
            folder: record.called_in.clone(),
            run_id: record.run_id.clone(),
            local: true,
            output: record.output.clone(),
            ..Remembered::default()
        };
        let _ = remembered.save(&folder);
    }

    /// The servers.
    pub(crate) fn servers(&self) -> &[Server] {
        self.claim.record.local().map_or(&[], |local| &local.servers)
    }
}

/// A call that makes a run.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The subcommand.
    pub name: &'static str,
    /// Its flags.
    pub making: &'a Making,
    /// What listens to the run.
    pub recorder: &'a Recorder,
}

/// Finds the servers, claims the run and starts everything; finds it all as it is when an earlier `up` has made it.
///
/// # Errors
/// What failed. What this call has made is removed again, unless it deserves a look and the user wants one.
pub(crate) async fn bring_up<'a>(
    plan: &mut Plan,
    config: &Config,
    call: Call<'a>,
    interrupt: impl Future<Output = anyhow::Error>,
    progress: &Progress,
) -> anyhow::Result<Session<'a>> {
    let Call { name, making: args, recorder } = call;
    let registry = Registry::open(args.timeout)?;
    reap::reap(&registry, recorder, Duration::MAX, progress).await;
    let area = Area::open()?;
    let wishes = Wishes { params: &plan.params, any_version: &plan.any_version };
    let servers = local::plan(&plan.discovery, &plan.data, &wishes, &area)?;
    tell_differences(&servers, args.strict, progress)?;
    let content = content(plan);
    match registry.claim(&plan.run_id)? {
        Found::Absent => {}
        Found::Free(claim) => return adopt(*claim, plan, config, &content, recorder),
        Found::Held(record) => return Err(record.is_held()),
    }
    config.remove_older()?;
    let pipeline_run = archiving::pipeline_run(&args.source.pipeline_run);
    let record = origin::begin(name, plan.run_id.as_str(), "local", &pipeline_run);
    let recording = Recording::of_maker(recorder, record, pipeline_run);
    let redactor = plan.redactor();
    let data = data_folder(&area, &servers, plan, progress);
    let run = LocalRun {
        boot: process::boot_id()?,
        logs: servers.servers.iter().map(|planned| (planned.database.name.clone(), planned.log(&data))).collect(),
        secrets: redactor.texts().to_vec(),
        data,
        programs: servers.servers.iter().map(|server| server.installed.program.clone()).collect(),
        content,
        servers: Vec::new(),
    };
    let claim = registry.add(Record { history: recording.id(), ..Record::new(&plan.run_id, Place::Local(run)) })?;
    recording.on(Event::Begun {
        objects: plan.objects.iter().filter(|_| recorder.is_on()).map(|object| Value::Object(object.body.clone())).collect(),
        databases: servers.servers.iter().map(planned).collect(),
        redactor,
    });
    let outcome = tokio::select! {
        outcome = bug::caught(start_all(&claim, &servers, &area, args, &recording, progress)) => outcome,
        error = interrupt => Err(error),
    };
    progress.finish();
    match outcome {
        Ok(started) => {
            let session = session(claim, started, plan, config, recording);
            let databases: Vec<Database> = session.servers().iter().map(removal::database).collect();
            let at = databases.iter().filter_map(|database| database.first(What::Ready)).max().unwrap_or_else(Time::now);
            session.recording.on(Event::Ready { databases, at });
            Ok(session)
        }
        Err(error) => {
            let error = undo(error, claim, &recording, args).await;
            // What was being prepared for it, and for nobody else.
            prepared::sweep(&area.cache).await;
            Err(error)
        }
    }
}

/// What is known of a database before its server runs.
fn planned(server: &Planned) -> Database {
    Database {
        name: server.database.name.clone(),
        engine: server.database.engine.name().to_owned(),
        version: Some(server.installed.version.to_string()),
        user: Some(server.database.login.user.clone()),
        database: server.database.login.database.clone(),
        ..Database::default()
    }
}

/// A folder that no other run has ever had: one whose record was lost, with all of the state folder, may have left its own.
fn data_folder(area: &Area, servers: &LocalPlan, plan: &Plan, progress: &Progress) -> PathBuf {
    let mut base = area.data.clone();
    if !servers.servers.is_empty() && servers.servers.iter().all(|server| server.in_memory) {
        match in_memory() {
            Ok(memory) => base = memory,
            Err(error) => progress.say(&format!("note: the data is kept on disk: {error:#}")),
        }
    }
    let unique = uuid::Uuid::new_v4().simple().to_string();
    base.join(format!("{}.{}", plan.run_id, &unique[..8]))
}

fn tell_differences(servers: &LocalPlan, strict: bool, progress: &Progress) -> anyhow::Result<()> {
    match servers.differences.as_slice() {
        [] => {}
        differences if strict => {
            return Err(usage(format!("--strict: on this machine the run would differ: {}", differences.join("; "))))
                .hint("leave --strict away to accept it, or run it in a cluster: --runtime kubernetes");
        }
        differences => differences.iter().for_each(|difference| progress.say(&format!("note: {difference}"))),
    }
    Ok(())
}

/// Tells whether two plans ask for the same: by the hashes of their objects, which pass over passwords that were made up.
fn content(plan: &Plan) -> String {
    let hash = |object: &crate::manifest::Object| {
        let hash = object.metadata("annotations").and_then(|annotations| annotations.get(HASH_ANNOTATION)).cloned();
        format!("{} {}\n", object.label(), hash.unwrap_or_default())
    };
    state::hash(plan.objects.iter().map(hash).collect::<String>().as_bytes())
}

async fn start_all(
    claim: &Claim,
    servers: &LocalPlan,
    area: &Area,
    args: &Making,
    recording: &Recording<'_>,
    progress: &Progress,
) -> anyhow::Result<Vec<Started>> {
    let Some(local) = claim.record.local() else { return Err(anyhow!("the run is not on this machine")) };
    files::make_folder(&local.data).with_context(|| format!("making {}", local.data.display())).hint(STATE_HINT)?;
    if let Some(folder) = claim.folder() {
        area::note_registry(&local.data, folder)?;
    }
    let run =
        Run { run_id: &claim.record.run_id, folder: &local.data, area, deadline: Instant::now() + args.timeout, timeout: args.timeout };
    let starts = servers.servers.iter().map(|planned| async move {
        let name = &planned.database.name;
        let report = |told: Told<'_>| match told {
            Told::Stage(stage, detail) => progress.stage(name, stage, detail),
            Told::Moment(what, detail) => {
                let moment = Moment { what, at: Time::now(), detail: detail.to_owned() };
                recording.on(Event::Database { name: name.clone(), nth: 1, moment });
            }
        };
        let started = start::start(planned, run, report).await?;
        progress.stage(name, READY, &format!("{} on 127.0.0.1:{}", started.server.server, started.server.port));
        Ok::<_, anyhow::Error>(started)
    });
    let started = try_join_all(starts).await?;
    bug::provoke("ready", started.first().map_or("", |started| &started.server.password));
    Ok(started)
}

fn session<'a>(mut claim: Claim, started: Vec<Started>, plan: &Plan, config: &Config, recording: Recording<'a>) -> Session<'a> {
    let ports: Vec<u16> = started.iter().map(|started| started.server.port).collect();
    let model = config.model(plan, |index, _| ("127.0.0.1", ports[index]));
    let mut children = Vec::new();
    if let Place::Local(local) = &mut claim.record.place {
        for Started { server, child } in started {
            children.push((server.name.clone(), child));
            local.servers.push(server);
        }
    }
    Session { recording, claim, children, model, is_adopted: false }
}

/// Takes over what an earlier `up` with this run id has made, if it is the same and runs.
fn adopt<'a>(claim: Claim, plan: &mut Plan, config: &Config, content: &str, recorder: &'a Recorder) -> anyhow::Result<Session<'a>> {
    let down = format!("testbed down --run-id {}", plan.run_id);
    let Some(local) = claim.record.local() else {
        return Err(anyhow!("run {} is there already, in a cluster", plan.run_id)).hint(down);
    };
    if local.content != content {
        return Err(usage(format!("run {} is there already, with other databases", plan.run_id))).hint(format!("remove it first: {down}"));
    }
    if let Some(dead) = local.servers.iter().find(|server| !server.process.is_alive()) {
        return Err(anyhow!("run {} is there already, and its {} has ended", plan.run_id, dead.name))
            .hint(format!("look at {}, then remove it: {down}", dead.log.display()));
    }
    if local.servers.len() != plan.discovery.databases.len() {
        return Err(anyhow!("run {} is there already, and has not become ready", plan.run_id))
            .hint(format!("look at {}, then remove it: {down}", local.data.display()));
    }
    // The passwords that were made up then.
    for (database, server) in plan.discovery.databases.iter_mut().zip(&local.servers) {
        database.login.password = Password::new(&server.password);
    }
    let ports: Vec<u16> = local.servers.iter().map(|server| server.port).collect();
    let model = config.model(plan, |index, _| ("127.0.0.1", ports.get(index).copied().unwrap_or_default()));
    Ok(Session { recording: removal::recording(recorder, &claim), claim, children: Vec::new(), model, is_adopted: true })
}

/// What becomes of a run that did not come up.
async fn undo(error: anyhow::Error, mut claim: Claim, recording: &Recording<'_>, args: &Making) -> anyhow::Error {
    let run_id = claim.record.run_id.clone();
    recording.on(Event::Failed(Failure::of(&error)));
    let deserves_a_look = matches!(exit_of(&error), Exit::NotReady | Exit::Never);
    if deserves_a_look && args.on_failure == Some(OnFailure::Keep) {
        let data = claim.record.local().map(|local| local.data.clone()).unwrap_or_default();
        claim.record.phase = Phase::Up;
        removal::collect(&claim, recording).await;
        let kept = claim.save().err().map(|left| format!("it could not be noted: {left:#}"));
        let look = format!("look at it: {}; remove it: testbed down --run-id {run_id}", data.display());
        return Err::<(), _>(error).hint(kept.unwrap_or(look)).unwrap_err();
    }
    match removal::remove(claim, recording, Asked::ByMaker).await {
        Ok(_) => error,
        Err(left) => Err::<(), _>(error).hint(format!("not all of it could be removed again: {left:#}")).unwrap_err(),
    }
}
