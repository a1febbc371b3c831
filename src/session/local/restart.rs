//! Work on a server of this machine for which it is stopped and started again. From the moment on at which it is
//! stopped, its next one is started and noted, whatever comes: what ends the wait for that ends nothing else.

use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use crate::background;
use crate::database::Engine;
use crate::deadline;
use crate::failure::{Advise, Exit, exit_of};
use crate::output::Connection;
use crate::process;
use crate::progress::Progress;
use crate::recorder::event::Part;
use crate::recorder::{Event, Recorder, Recording};
use crate::registry::{self, Claim, Found, LocalRun, Phase, Place, Record, Registry, Server};
use crate::run_id::RunId;
use crate::runtime::local::{removal, remove, restart as server};
use crate::session::is_interruption;
use crate::session::pooled;
use crate::session::restart::late;
use crate::session::which;
use crate::state::Ready;
use crate::time::Time;

/// What a command has that works on a server.
pub(crate) struct Task<'a> {
    /// The command's name.
    pub command: &'static str,
    pub database: &'a Connection,
    pub deadline: Instant,
    /// The time that this is, as the user said it.
    pub timeout: Duration,
    pub recorder: &'a Recorder,
    pub progress: &'a Progress,
}

/// A server of a run that nobody else works on meanwhile.
pub(crate) struct Work<'a> {
    pub task: Task<'a>,
    pub claim: Box<Claim>,
    recording: Recording<'a>,
}

/// Restarts it. `interrupted` resolves when somebody will not wait.
pub(crate) async fn restart(
    run: &Record,
    task: Task<'_>,
    interrupted: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<()> {
    let registry = Registry::find().map(|registry| registry.by(task.deadline));
    let run_id = RunId::parse(&run.run_id)?;
    let mut work = match registry.as_ref().map_or(Ok(Found::Absent), |registry| registry.claim(&run_id))? {
        Found::Free(claim) => Work::of(claim, task)?,
        Found::Held(record) => return Err(record.is_held()),
        Found::Absent => return Err(which::unknown(registry.as_ref(), &run_id, "it is gone")),
    };
    work.restart(async |_, _| Ok(()), interrupted).await
}

impl<'a> Work<'a> {
    /// Takes the run, once whoever else works on it is done. `interrupted` resolves when somebody will not wait.
    ///
    /// # Errors
    /// It is gone, or held for longer than there is time.
    pub(crate) async fn begin(
        run: &Record,
        task: Task<'a>,
        interrupted: impl Future<Output = anyhow::Error>,
    ) -> anyhow::Result<Self> {
        tokio::select! {
            work = Self::taken(run, task) => work,
            error = interrupted => Err(error),
        }
    }

    async fn taken(run: &Record, task: Task<'a>) -> anyhow::Result<Self> {
        let registry = Registry::find().map(|registry| registry.by(task.deadline));
        let run_id = RunId::parse(&run.run_id)?;
        let mut is_told = false;
        loop {
            let Some(known) = &registry else { return Err(which::unknown(None, &run_id, "it is gone")) };
            match known.claim(&run_id)? {
                Found::Free(mut claim) => {
                    claim.record.check_is_here()?;
                    if let Place::Local(local) = &mut claim.record.place
                        && local.at_work
                    {
                        // What others have left who were killed.
                        remove::remove_strays(local, run_id.as_str()).await?;
                    }
                    claim.record.own();
                    claim.save()?;
                    return Self::of(claim, task);
                }
                Found::Held(record) if record.phase == Phase::Up => {
                    if !std::mem::replace(&mut is_told, true) {
                        task.progress.say("another testbed works on the run: waiting for it");
                    }
                    let (known, run_id, left) =
                        (known.clone(), run_id.clone(), deadline::left(task.deadline));
                    let is_free = background::run_aside(move || known.wait(&run_id, left)).await?;
                    if !is_free {
                        return Err(record.is_held()).exit(Exit::NotReady);
                    }
                }
                Found::Held(record) => return Err(record.is_held()),
                Found::Absent => return Err(which::unknown(registry.as_ref(), &run_id, "it is gone")),
            }
        }
    }

    /// Notes whether something is made beside the servers, which whoever comes next removes if this process is killed.
    ///
    /// # Errors
    /// It cannot be noted.
    pub(crate) fn note_work(&mut self, is_at_work: bool) -> anyhow::Result<()> {
        if let Place::Local(local) = &mut self.claim.record.place {
            local.at_work = is_at_work;
        }
        self.claim.save()
    }

    fn of(claim: Box<Claim>, task: Task<'a>) -> anyhow::Result<Self> {
        let recording = removal::recording(task.recorder, &claim);
        if claim.record.local().is_none() {
            return Err(anyhow!("run {} is not on this machine", claim.record.run_id));
        }
        Ok(Self { task, claim, recording })
    }

    pub(crate) fn local(&self) -> anyhow::Result<&LocalRun> {
        let local = self.claim.record.local();
        local.ok_or_else(|| anyhow!("run {} is not on this machine", self.claim.record.run_id))
    }

    /// The server of the database, which may have several.
    pub(crate) fn server(&mut self) -> anyhow::Result<&mut Server> {
        let run_id = self.claim.record.run_id.clone();
        let servers = match &mut self.claim.record.place {
            Place::Local(local) => local.servers.as_mut_slice(),
            Place::Kubernetes(_) => &mut [],
        };
        let database = self.task.database;
        let found = servers.iter_mut().find(|server| Some(server.port) == database.port);
        found.ok_or_else(|| anyhow!("run {run_id} has no server of {} any more", database.name))
    }

    /// Tells the run's recording of a server.
    pub(crate) fn tell(&self, server: &Server) {
        let part = Part { databases: vec![removal::database(server)], ..Part::default() };
        self.recording.on(Event::Collected { parts: vec![(self.recording.id(), part)], notes: Vec::new() });
    }

    /// Stops the server, does what has to be done while nobody is connected, starts it again and waits until it
    /// takes the tests' login. What is done is told whether the server has ended cleanly. `interrupted` resolves when somebody will not wait.
    pub(crate) async fn restart(
        &mut self,
        between: impl AsyncFnOnce(&mut Server, bool) -> anyhow::Result<()>,
        interrupted: impl Future<Output = anyhow::Error>,
    ) -> anyhow::Result<()> {
        let Task { command, database, deadline, timeout, progress, .. } = self.task;
        let run_id = self.claim.record.run_id.clone();
        let redactor = self.local()?.redactor(&run_id);
        let mut before = self.server()?.clone();
        server::check(&self.claim, &before)?;
        if Instant::now() >= deadline {
            return Err(late(database, timeout)).hint("nothing was stopped");
        }
        // It has databases in what is copied or replaced.
        let pool = match self
            .claim
            .folder()
            .filter(|_| command != "restart" && before.engine() == Some(Engine::Postgres))
        {
            Some(folder) => pooled::end(folder).await?,
            None => None,
        };
        self.server()?.stopped_by = Some(command.to_owned());
        self.claim.save()?;
        let mut interrupted = pin!(interrupted);
        progress.stage(&before.name, "stopping", &before.server);
        let interruption = server::ask(&before, &run_id, deadline, interrupted.as_mut()).await;
        let is_clean = server::has_ended_cleanly(&before);
        server::end(&before, &run_id).await?;
        let done = match interruption {
            Some(error) => Err(error),
            None => between(&mut before, is_clean).await,
        };
        let at = Time::now();
        progress.stage(&before.name, "starting", &before.server);
        let mut restarted = server::start(&before, &run_id)?;
        let process = restarted.process;
        // The others of the run have ended, if they were another container's.
        self.claim.record.namespace = process::namespace();
        let server = self.server()?;
        server.process = process;
        server.source.clone_from(&before.source);
        server.stopped_by = None;
        server.restarts.push(registry::Restart { was_ready: server.ready.at, at });
        self.claim.save()?;
        let wait = server::until_ready(&before, &mut restarted, &redactor, deadline, timeout);
        let ready = match done {
            Err(error) if is_interruption(&error) => Err(error),
            done => tokio::select! {
                ready = wait => done.and(ready),
                error = interrupted.as_mut() => Err(error),
            },
        };
        let server = self.server()?;
        if ready.is_ok() {
            let detail =
                format!("the server that was restarted (process {}) takes the tests' login", process.pid);
            server.ready = Ready { evidence: server.ready.evidence.clone(), detail, at: Time::now() };
        }
        let server = server.clone();
        self.tell(&server);
        let name = &before.name;
        let Err(error) = ready else {
            self.claim.save()?;
            let (Some(way), Some(folder)) = (pool, self.claim.folder()) else { return Ok(()) };
            return tokio::select! {
                served = pooled::serve(folder, &run_id, way, deadline, progress) => served,
                error = interrupted => Err(error),
            }
            .hint(format!(
                "the server of {name} was started again, and its pool is not served: testbed up --pool"
            ));
        };
        let error = match pool {
            Some(_) => error.hint("its pool is not served any more: testbed up --pool"),
            None => error,
        };
        match error {
            error if exit_of(&error) == Exit::Never => Err(error),
            error => Err(error).hint(format!(
                "{name} was started again, and may take logins later: testbed logs {name} tells more"
            )),
        }
    }
}
