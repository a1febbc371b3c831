//! Runs of this machine: their databases are server processes, noted in the registry.

pub(super) mod down;
pub(super) mod fork;
pub(super) mod gc;
pub(super) mod restart;
pub(super) mod restore;
pub(super) mod snapshot;
pub(super) mod status;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::future::try_join_all;
use serde_json::Value;
use tokio::process::Child;

use super::plan::Plan;
use super::{Backend, Call, Failed, Maker, Session, Stop, abandoned, archiving};
use crate::bug;
use crate::database::{self, Password};
use crate::deadline;
use crate::failure::{Advise, usage};
use crate::files;
use crate::history::record::{Database, Moment, What};
use crate::manifest::seed::{self, Part};
use crate::manifest::stamp::HASH_ANNOTATION;
use crate::manifest::{Object, setup};
use crate::output::Model;
use crate::ports;
use crate::process;
use crate::progress::{Progress, READY};
use crate::recorder::event::{Asked, Failure};
use crate::recorder::{Event, Recording, origin};
use crate::registry::{Claim, Found, LocalRun, Phase, Place, Record, Registry, Server};
use crate::runtime::local::area::{self, Area, in_memory};
use crate::runtime::local::plan::{self as local, LocalPlan, Wishes};
use crate::runtime::local::planned::{Planned, Run};
use crate::runtime::local::start::{self, Started, Told};
use crate::runtime::local::{prepared, processes, removal, remove};
use crate::state::STATE_HINT;
use crate::time::Time;

/// A run of which testbed starts the servers.
pub(super) struct Servers {
    area: Area,
    /// Those to be started.
    servers: LocalPlan,
    /// The hashes of the objects that are asked for, by kind and name.
    objects: BTreeMap<String, String>,
}

pub(crate) struct Up {
    /// The servers' processes, with the databases' names; none where they are those of an earlier `up`.
    children: Vec<(String, Child)>,
    model: Model,
}

impl Backend for Servers {
    type Place = &'static str;
    type Up = Up;

    async fn begin<'a>(
        why: &'static str,
        mut call: Call<'a>,
        stop: Stop<'_>,
    ) -> anyhow::Result<(Self, Session<'a>)> {
        let (progress, recorder, args) = (call.progress, call.recorder, call.maker.making());
        progress.say(&format!("run {} on this machine ({why})", call.plan.run_id.brief()));
        let registry = Registry::open(args.timeout)?;
        call.config.place_in(&registry.folder(call.plan.run_id.as_str()));
        abandoned::remove(&registry, recorder, Duration::MAX, progress).await;
        let area = Area::open()?;
        let plan = &call.plan;
        let objects = objects(plan);
        // Before a server is looked for that nobody would start.
        if let Some(noted) = registry.read(plan.run_id.as_str())? {
            check_same(&noted, plan, &objects)?;
        }
        let wishes = Wishes { params: &plan.params, asked: &plan.asked, project: &call.project };
        let servers = tokio::select! {
            servers = local::plan(&plan.discovery, &plan.data, &wishes, &area) => servers?,
            error = stop => return Err(error),
        };
        tell_differences(&servers, args.strict, progress)?;
        if !servers.servers.is_empty() {
            ports::check_loopback()?;
        }
        match claim(&registry, &call).await? {
            Found::Absent => {}
            Found::Free(mut claim) => {
                claim.record.check_is_here()?;
                // Those of testbeds that were killed while they used the run.
                remove::end_commands(&claim).await?;
                claim.record.command = None;
                let recording = removal::recording(recorder, &claim);
                if let Some(lifetime) = call.maker.making().source.lifetime {
                    claim.record.expires = lifetime.end(Time::now());
                }
                claim.record.own();
                claim.save()?;
                let session = Session { call, claim: *claim, recording, is_adopted: true };
                return Ok((Self { area, servers, objects }, session));
            }
            Found::Held(record) => return Err(record.is_held()),
        }
        check_ports(&servers)?;
        call.config.remove_older()?;
        let pipeline_run = archiving::pipeline_run(&args.source.pipeline_run);
        let record = origin::begin(call.maker.name(), plan.run_id.as_str(), "local", &pipeline_run);
        let recording = Recording::of_maker(recorder, record, pipeline_run);
        let redactor = plan.redactor();
        let data = data_folder(&area, &servers, plan, progress);
        let run = LocalRun {
            boot: process::boot_id()?,
            logs: servers
                .servers
                .iter()
                .map(|planned| (planned.database.name.clone(), planned.log(&data)))
                .collect(),
            secrets: redactor.texts().to_vec(),
            data,
            programs: servers.servers.iter().map(|server| server.installed.program.clone()).collect(),
            objects: objects.clone(),
            servers: Vec::new(),
            at_work: false,
        };
        let claim = registry.add(Record { history: recording.id(), ..call.record(Place::Local(run)) })?;
        recording.on(Event::Begun {
            objects: plan
                .objects
                .iter()
                .filter(|_| recorder.is_on())
                .map(|object| Value::Object(object.body.clone()))
                .collect(),
            databases: servers.servers.iter().map(planned).collect(),
            redactor,
        });
        Ok((Self { area, servers, objects }, Session { call, claim, recording, is_adopted: false }))
    }

    async fn make(&mut self, session: &mut Session<'_>, stop: Stop<'_>) -> Result<Up, Failed> {
        let before = session.claim.record.clone();
        if session.is_adopted {
            let stale = self.adopt(session).map_err(Failed::Before)?;
            for folder in stale {
                let record = &session.claim.record;
                let programs = record.local().map(|local| local.programs.as_slice()).unwrap_or_default();
                remove::remove_server(&folder, &record.run_id, programs).await.map_err(Failed::Before)?;
            }
        }
        let started = tokio::select! {
            started = bug::caught(self.start_all(session)) => started,
            error = stop => Err(error),
        };
        let started = match started {
            Ok(started) => started,
            Err(error) if session.is_adopted => {
                return Err(Failed::Before(self.take_back(session, before, error).await));
            }
            Err(error) => return Err(Failed::Amid(error)),
        };
        let Session { call, claim, recording, is_adopted } = session;
        call.config.keep_authorities(&call.plan, false).map_err(Failed::Amid)?;
        let mut children = Vec::new();
        let is_new = !*is_adopted || !started.is_empty();
        if let Place::Local(local) = &mut claim.record.place {
            for Started { server, child } in started {
                children.push((server.name.clone(), child));
                local.servers.push(server);
            }
        }
        let port = |database: &database::Database| {
            servers(claim).iter().find(|server| server.name == database.name).map(|server| server.port)
        };
        let model =
            call.config.model(&call.plan, |_, database| ("127.0.0.1", port(database).unwrap_or_default()));
        if !is_new {
            return Ok(Up { children, model });
        }
        let databases: Vec<Database> = servers(claim).iter().map(removal::database).collect();
        let at = databases
            .iter()
            .filter_map(|database| database.first(What::Ready))
            .max()
            .unwrap_or_else(Time::now);
        recording.on(Event::Ready { databases, at });
        Ok(Up { children, model })
    }

    async fn give_up(
        self,
        mut session: Session<'_>,
        failed: Failed,
        _insisted: impl Future<Output = ()>,
    ) -> anyhow::Error {
        let error = match failed {
            // What an earlier `up` has made is not this one's to remove.
            Failed::Before(error) => return error,
            Failed::Amid(error) => error,
        };
        session.recording.on(Event::Failed(Failure::of(&error)));
        let error = if session.call.maker.keeps(&error) {
            self.collect(&session).await;
            let local = session.claim.record.local();
            let data = local.map(|local| local.data.clone()).unwrap_or_default();
            let kept = session.stays_up().err().map(|left| format!("it could not be noted: {left:#}"));
            let look = format!("look at it: {}; remove it: {}", data.display(), self.down_command(&session));
            error.hint(kept.unwrap_or(look))
        } else {
            undo(session, error).await
        };
        // What was being prepared for it, and for nobody else.
        prepared::sweep(&self.area.cache).await;
        error
    }

    fn model<'u>(&self, up: &'u Up) -> &'u Model {
        &up.model
    }

    async fn publish(&self, _call: &Call<'_>, _up: &Up) {}

    async fn follow(&self, _call: &Call<'_>, _recording: &Recording<'_>, _up: &Up) -> Infallible {
        pending().await
    }

    async fn tell_losses(&self, session: &Session<'_>, up: &mut Up) {
        for ((name, child), server) in up.children.iter_mut().zip(servers(&session.claim)) {
            // Its other threads may take a moment longer than the first one.
            let within = if server.process.is_alive() { Duration::ZERO } else { Duration::from_secs(1) };
            if let Ok(Ok(status)) = tokio::time::timeout(within, child.wait()).await {
                session
                    .call
                    .progress
                    .warn(&format!("{name} ended by itself while the command ran ({status})"));
                let moment = Moment { what: What::Ended, at: Time::now(), detail: status.to_string() };
                session.recording.on(Event::Database { name: name.clone(), nth: 1, moment });
            }
        }
    }

    fn holds(&self, _up: &Up) -> Option<&'static str> {
        Some("the databases stay up until Ctrl-C, which removes them")
    }

    async fn hold(&self, _session: &Session<'_>, _up: &Up) -> Infallible {
        pending().await
    }

    async fn collect(&self, session: &Session<'_>) {
        removal::collect(&session.claim, &session.recording).await;
    }

    fn keep(&mut self, session: &mut Session<'_>) -> anyhow::Result<()> {
        session.stays_up()
    }

    fn how_to_use(&self, session: &Session<'_>, _up: &Up) -> Vec<String> {
        let line = |server: &Server| {
            format!(
                "{} on 127.0.0.1:{} as {}; log {}",
                server.name,
                server.port,
                server.user,
                server.log.display()
            )
        };
        servers(&session.claim).iter().map(line).collect()
    }

    fn down_command(&self, session: &Session<'_>) -> String {
        format!("testbed down --run-id {}", session.call.plan.run_id.brief())
    }

    async fn abandon(self, mut session: Session<'_>, error: anyhow::Error) -> anyhow::Error {
        // What an earlier `up` has made, with a file of its own, is not this one's to remove, nor the next
        // command's.
        if session.is_adopted {
            return match session.stays_up() {
                Ok(()) => error,
                Err(left) => error.hint(format!("it could not be noted that the run stays up: {left:#}")),
            };
        }
        session.recording.on(Event::Failed(Failure::of(&error)));
        undo(session, error).await
    }

    async fn remove(
        self,
        session: Session<'_>,
        asked: Asked,
        _insisted: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Session { call: Call { plan, progress, .. }, claim, recording, .. } = session;
        let is_told = matches!(asked, Asked::Down);
        removal::remove(claim, &recording, asked).await?;
        let gone = format!("run {} is gone", plan.run_id);
        if is_told {
            progress.say(&gone);
        } else {
            progress.explain(&gone);
        }
        Ok(())
    }
}

/// Removes what this call has made, and adds to the error what could not be removed.
async fn undo(session: Session<'_>, error: anyhow::Error) -> anyhow::Error {
    match removal::remove(session.claim, &session.recording, Asked::ByMaker).await {
        Ok(_) => error,
        Err(left) => error.hint(format!("not all of it could be removed again: {left:#}")),
    }
}

fn servers(claim: &Claim) -> &[Server] {
    claim.record.local().map_or(&[], |local| &local.servers)
}

impl Servers {
    async fn start_all(&self, session: &Session<'_>) -> anyhow::Result<Vec<Started>> {
        let Session { call, claim, recording, .. } = session;
        let Call { maker, progress, .. } = call;
        let (timeout, area, progress) = (maker.making().timeout, &self.area, *progress);
        let Some(local) = claim.record.local() else { return Err(anyhow!("the run is not on this machine")) };
        files::make_folder(&local.data)
            .with_context(|| format!("making {}", local.data.display()))
            .hint(STATE_HINT)?;
        if let Some(folder) = claim.folder() {
            area::note_registry(&local.data, folder)?;
        }
        let environment = |database: &database::Database, port: u16, folder: &Path| {
            let address = ("127.0.0.1", port);
            let model = call.config.model_of_seed(&call.plan, database, address, false, Some(folder))?;
            call.config.for_a_seed(&model, folder)
        };
        let ports: Vec<u16> = self.servers.servers.iter().filter_map(|planned| planned.port).collect();
        let run = Run {
            run_id: &claim.record.run_id,
            folder: &local.data,
            area,
            ports: &ports,
            deadline: deadline::after(timeout),
            timeout,
            project: &call.project,
            environment: &environment,
            seed_limit: maker.making().seed_limit.bytes(),
        };
        let starts = self.servers.servers.iter().map(|planned| async move {
            let name = &planned.database.name;
            let report = |told: Told<'_>| match told {
                Told::Stage(stage, detail) => progress.stage(name, stage, detail),
                Told::Moment(what, detail) => {
                    let moment = Moment { what, at: Time::now(), detail: detail.to_owned() };
                    recording.on(Event::Database { name: name.clone(), nth: 1, moment });
                }
            };
            let started = start::start(planned, run, report).await?;
            progress.stage(
                name,
                READY,
                &format!("{} on 127.0.0.1:{}", started.server.server, started.server.port),
            );
            Ok::<_, anyhow::Error>(started)
        });
        let started = try_join_all(starts).await?;
        bug::provoke("ready", started.first().map_or("", |started| &started.server.password));
        Ok(started)
    }

    /// Takes over what an earlier `up` has made of the run, so that what it does not have is left to be started.
    /// Returns the folders of what another one that was killed has left half made.
    ///
    /// # Errors
    /// What it has, and is not as it is asked for now, or does not run any more.
    fn adopt(&mut self, session: &mut Session<'_>) -> anyhow::Result<Vec<PathBuf>> {
        let Session { call: Call { plan, progress, .. }, claim, recording, .. } = session;
        let down = format!("testbed down --run-id {}", plan.run_id);
        check_same(&claim.record, plan, &self.objects)?;
        let Place::Local(local) = &mut claim.record.place else {
            return Err(anyhow!("run {} is there already, in a cluster", plan.run_id)).hint(down);
        };
        let mut stale = Vec::new();
        for database in &mut plan.discovery.databases {
            let name = &database.name;
            let Some(server) = local.servers.iter().find(|server| server.name == *name) else {
                let Some((_, log)) = local.logs.iter().find(|(known, _)| known == name) else { continue };
                if local.servers.is_empty() {
                    return Err(anyhow!(
                        "run {} is there already, and its {name} has not become ready",
                        plan.run_id
                    ))
                    .hint(format!("look at {}, then remove it: {down}", local.data.display()));
                }
                stale.extend(log.parent().map(Path::to_owned));
                continue;
            };
            if !server.process.is_alive() {
                return Err(anyhow!("run {} is there already, and its {name} has ended", plan.run_id))
                    .hint(format!("testbed logs {name} tells why; testbed restart {name} starts it again, and {down} removes the run"));
            }
            // The one that was made up then.
            database.login.password = Password::new(&server.password);
        }
        self.servers
            .servers
            .retain(|planned| !local.servers.iter().any(|server| server.name == planned.database.name));
        if self.servers.servers.is_empty() {
            progress.say("its databases are up already");
            return Ok(stale);
        }
        check_ports(&self.servers)?;
        let redactor = plan.redactor();
        for planned in &self.servers.servers {
            local.logs.retain(|(known, _)| *known != planned.database.name);
            local.logs.push((planned.database.name.clone(), planned.log(&local.data)));
            local.programs.push(planned.installed.program.clone());
        }
        local.secrets.extend(redactor.texts().iter().cloned());
        local.objects.extend(self.objects.clone());
        recording.know(redactor);
        claim.save().map(|()| stale)
    }

    /// Removes what was to join the run of an earlier `up`, and leaves that as it was.
    async fn take_back(
        &self,
        session: &mut Session<'_>,
        before: Record,
        mut error: anyhow::Error,
    ) -> anyhow::Error {
        let claim = &mut session.claim;
        if let Some(local) = claim.record.local() {
            for planned in &self.servers.servers {
                let folder = local.data.join(&planned.folder);
                let removed = remove::remove_server(&folder, &claim.record.run_id, &local.programs).await;
                if let Err(left) = removed {
                    error = error.hint(format!("not all of it could be removed again: {left:#}"));
                }
            }
        }
        claim.record = before;
        match claim.save() {
            Ok(()) => error,
            Err(left) => error.hint(format!("that could not be noted: {left:#}")),
        }
    }
}

/// Refuses to take what an earlier `up` has made for what is asked for now, where that is not the same.
fn check_same(record: &Record, plan: &Plan, objects: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let Some(local) = record.local() else { return Ok(()) };
    let is_changed = |object: &&Object| {
        let label = object.label();
        local.objects.get(&label).is_some_and(|noted| Some(noted) != objects.get(&label))
    };
    let databases = &plan.discovery.databases;
    let named = |object: &Object| {
        let workload = object.label().replacen(' ', "/", 1);
        let database = databases.iter().find(|database| database.workload == workload);
        let built_in = object.origin.file.strip_prefix("--with ");
        let name = database.map(|database| database.name.as_str()).or(built_in);
        name.map_or_else(|| format!("{} of {}", object.label(), object.origin.file), str::to_owned)
    };
    // Each once, with what differs where that is known.
    let mut changed: Vec<(String, Vec<String>)> = Vec::new();
    let mut tell = |name: String, what: Option<&str>| {
        let at = changed.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            changed.push((name, Vec::new()));
            changed.len() - 1
        });
        changed[at].1.extend(what.map(str::to_owned));
    };
    plan.objects.iter().filter(is_changed).for_each(|object| tell(named(object), None));
    for database in databases {
        let Some(noted) = local.servers.iter().find(|server| server.name == database.name) else { continue };
        let seed = seed_of(&database.name);
        let (before, now) = (local.objects.get(&seed), objects.get(&seed));
        if before != now {
            let is_snapshot = |noted: Option<&String>| noted.is_some_and(|id| id.starts_with("snapshot "));
            let is_of_one = is_snapshot(before) || is_snapshot(now);
            tell(database.name.clone(), Some(if is_of_one { "its snapshot" } else { "its seed" }));
        }
        if noted.fork_of.is_some() {
            tell(database.name.clone(), Some("it is a fork"));
        }
        if noted.engine != database.engine.name() {
            tell(database.name.clone(), None);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let told = changed.into_iter().map(|(name, mut what)| {
        let before = parts(&local.objects, &name);
        // An older testbed has noted none.
        if !before.is_empty() {
            what.splice(0..0, seed::differences(&before, &parts(objects, &name)));
        }
        if what.is_empty() { name } else { format!("{name} ({})", what.join(", ")) }
    });
    let changed: Vec<String> = told.collect();
    let run_id = &plan.run_id;
    Err(usage(format!("run {run_id} is there already, and was asked for otherwise: {}", changed.join(", "))))
        .hint(format!("remove it first: testbed down --run-id {run_id}"))
}

/// Claims the run. While another `up` works on a run that is up, it is waited for: both want the same.
async fn claim(registry: &Registry, call: &Call<'_>) -> anyhow::Result<Found> {
    let mut is_told = false;
    loop {
        let found = registry.claim(&call.plan.run_id)?;
        let Found::Held(record) = &found else { return Ok(found) };
        let holder = record.owner.filter(|owner| owner.is_alive() && record.command.is_none());
        let is_up = matches!(call.maker, Maker::Up(_)) && record.phase == Phase::Up;
        let (Some(holder), true) = (holder, is_up) else { return Ok(found) };
        if !std::mem::replace(&mut is_told, true) {
            call.progress.say(&format!("waiting for process {}, which works on it", holder.pid));
        }
        if !processes::gone(holder, deadline::left(call.deadline)).await {
            return Ok(found);
        }
    }
}

/// Refuses ports that somebody has, before anything is made.
fn check_ports(plan: &LocalPlan) -> anyhow::Result<()> {
    let mut asked = plan.servers.iter().filter_map(|server| Some((server.port?, &server.database.name)));
    asked.try_for_each(|(port, name)| ports::check_for_server(port, name))
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

/// A folder that no other run has ever had: one whose record was lost, with all of the state folder, may have
/// left its own.
fn data_folder(area: &Area, servers: &LocalPlan, plan: &Plan, progress: &Progress) -> PathBuf {
    let mut base = area.data.clone();
    if servers.is_in_memory() {
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
            return Err(usage(format!(
                "--strict: on this machine the run would differ: {}",
                differences.join("; ")
            )))
            .hint("leave out --strict to accept it, or run it in a cluster: --runtime kubernetes");
        }
        differences => differences.iter().for_each(|difference| progress.say(&format!("note: {difference}"))),
    }
    Ok(())
}

/// Under which a seed, or the snapshot in its place, is noted beside the objects.
fn seed_of(name: &str) -> String {
    format!("Seed {name}")
}

/// The same for one of its other parts, and for all of them without `what`.
fn part_of(name: &str, what: &str) -> String {
    format!("Part {name} {what}")
}

/// The parts of a database that are noted beside the objects.
fn parts(objects: &BTreeMap<String, String>, name: &str) -> Vec<Part> {
    let beginning = part_of(name, "");
    let part = |(label, value): (&String, &String)| Some(Part::new(label.strip_prefix(&beginning)?, value));
    objects.iter().filter_map(part).collect()
}

/// The hashes of a plan's objects and seeds, by kind and name, and the parts of its built-in databases. They pass
/// over passwords that were made up.
fn objects(plan: &Plan) -> BTreeMap<String, String> {
    let hash = |object: &Object| {
        let annotations = object.metadata("annotations");
        let hash = annotations.and_then(|annotations| annotations.get(HASH_ANNOTATION)?.as_str());
        (object.label(), hash.unwrap_or_default().to_owned())
    };
    let seed = |(name, asked): (&String, &setup::Asked)| {
        let snapshot = asked.from.as_ref().map(|from| format!("snapshot {from}"));
        Some((seed_of(name), snapshot.or_else(|| Some(asked.seed.as_ref()?.id()))?))
    };
    let parts = plan.asked.iter().flat_map(|(name, asked)| {
        asked.parts.iter().map(|part| (part_of(name, &part.what), part.value.clone()))
    });
    plan.objects.iter().map(hash).chain(plan.asked.iter().filter_map(seed)).chain(parts).collect()
}
