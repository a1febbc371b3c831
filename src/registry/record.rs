//! What is noted about a run: enough to show it and to remove all of it, by whatever process comes next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use crate::database::Engine;
use crate::failure::Advise;
use crate::files;
use crate::location::Location;
use crate::output::Connection;
use crate::process::{self, Process};
use crate::redact::Redactor;
use crate::run_id::RunId;
use crate::state::{self, Ready};
use crate::time::Time;

/// How long the note of a run in a cluster is kept once its lifetime has ended.
const KEPT_EXPIRED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The variable of [`Record::mark`].
pub const OWNER: &str = "TESTBED_OWNER";

/// What is noted about a run. Holds its databases' passwords: the file is for its owner alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    pub run_id: String,
    pub phase: Phase,
    /// The process that works on it, if any does.
    pub owner: Option<Process>,
    /// Where its processes are told by their numbers, as [`process::namespace`] has it; an older testbed has not
    /// noted that.
    #[serde(default)]
    pub namespace: Option<String>,
    /// When it was made.
    pub made: Time,
    /// The folder that testbed was called in.
    pub called_in: PathBuf,
    /// The folder of the project: that of its `testbed.yaml`, else the one that testbed was called in.
    #[serde(default)]
    pub project: PathBuf,
    /// Whether the user has chosen the run's id: then only who says it means this run.
    #[serde(default)]
    pub is_named: bool,
    /// When it has lived long enough.
    #[serde(default)]
    pub expires: Option<Time>,
    /// The config files that were written, and the hashes of their contents.
    #[serde(default)]
    pub outputs: BTreeMap<PathBuf, String>,
    pub command: Option<Command>,
    /// Where it lives.
    pub place: Place,
    /// The id of the run's record in the archive, if it has one.
    #[serde(default)]
    pub history: Option<String>,
    /// The databases as the tests see them, once they are ready.
    #[serde(default)]
    pub databases: Vec<Connection>,
    /// In a cluster: what proved that each database was ready, by its workload (`Kind/name`) and container.
    #[serde(default)]
    pub ready: BTreeMap<String, BTreeMap<String, Ready>>,
    /// In a cluster: the databases that have had a seed put in, by their names.
    #[serde(default)]
    pub seeded: BTreeSet<String>,
}

/// Why nobody needs a run any more whose lock is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// The process that worked on it was killed, or the machine was restarted under its servers.
    Killed,
    /// Its lifetime has ended.
    Expired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Being made: to be removed if its maker is gone.
    Starting,
    /// In use by the process that made it, and to be removed with it.
    Held,
    /// Up until somebody removes it.
    Up,
    Stopping,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    Local(LocalRun),
    Kubernetes(Location),
}

/// The parts of a run on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRun {
    /// The machine's time of running in which it was made.
    pub boot: String,
    /// The folder above the servers' data folders.
    pub data: PathBuf,
    /// The server programs, links resolved.
    pub programs: Vec<PathBuf>,
    /// The hashes of the objects that were asked for, by kind and name: whether a second `up` asks for the
    /// same.
    #[serde(default)]
    pub objects: BTreeMap<String, String>,
    /// The servers that are up.
    pub servers: Vec<Server>,
    /// The servers' logs, by the databases' names: also of those that are not up.
    #[serde(default)]
    pub logs: Vec<(String, PathBuf)>,
    /// What must not be shown of these logs, in every form: the manifest's passwords, and what else in it is
    /// secret.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Whether somebody makes data folders beside those of its servers.
    #[serde(default)]
    pub at_work: bool,
}

/// A server of a run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub name: String,
    /// What the manifest asks for.
    pub engine: String,
    /// What serves it, such as `PostgreSQL 15.18`.
    pub server: String,
    pub port: u16,
    pub process: Process,
    /// The tests' user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The tests' database.
    pub database: Option<String>,
    pub log: PathBuf,
    pub data: PathBuf,
    /// Where that came from, and can go back to.
    pub source: Option<Source>,
    /// What proved that it was ready.
    pub ready: Ready,
    /// How it is started again.
    #[serde(default)]
    pub start: Option<Start>,
    #[serde(default)]
    pub restarts: Vec<Restart>,
    /// The server of which it is a copy, if it is a fork.
    #[serde(default)]
    pub fork_of: Option<String>,
    /// The command that has stopped it, until it has started it again: one that was killed in between has not.
    #[serde(default)]
    pub stopped_by: Option<String>,
}

/// A server's program and arguments, without what is for its first start alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// The manifest's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// That somebody had a server restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// When the one before was ready.
    pub was_ready: Time,
    pub at: Time,
}

impl LocalRun {
    /// Knows what must not be shown.
    pub fn redactor(&self, run_id: &str) -> Redactor {
        let mut redactor = Redactor::with_texts(run_id, &self.secrets);
        self.servers.iter().for_each(|server| redactor.add(&server.password));
        redactor
    }

    /// Whether a path leads into its folder: a record may be damaged.
    pub fn has(&self, path: &Path) -> bool {
        path != self.data
            && path.starts_with(&self.data)
            && path.components().all(|part| part != Component::ParentDir)
    }

    /// Fails where a path is none of the run's.
    pub fn check(&self, run_id: &str, path: &Path) -> anyhow::Result<()> {
        let name = self.data.file_name().unwrap_or_default().to_string_lossy();
        if self.has(path) && name.rsplit_once('.').is_some_and(|(before, _)| before == run_id) {
            return Ok(());
        }
        let error = anyhow!("the record of run {run_id} is damaged: {} is not in its folder", path.display());
        Err(error).hint(format!("testbed down --run-id {run_id} removes what is left of it"))
    }

    /// Whether a server runs, or may: each holds its log as long as it does, wherever it is.
    fn may_serve(&self) -> bool {
        let mut logs =
            self.logs.iter().map(|(_, log)| log).chain(self.servers.iter().map(|server| &server.log));
        let is_held = |log: &PathBuf| match files::if_there(files::open(log)) {
            Ok(Some(log)) => log.try_lock().is_err(),
            // One that was never started has none.
            Ok(None) => false,
            Err(_) => true,
        };
        // What another container keeps to itself cannot be looked at.
        let has_none = self.logs.is_empty() && self.servers.is_empty();
        let is_hidden = !has_none && !self.data.is_dir();
        is_hidden || logs.any(is_held)
    }
}

impl Server {
    /// Whose copy it is, or its own name.
    pub fn origin(&self) -> &str {
        self.fork_of.as_ref().unwrap_or(&self.name)
    }

    pub fn engine(&self) -> Option<Engine> {
        Engine::parse(&self.engine).ok()
    }

    /// What proved that it is ready; nothing, if it was started again since.
    pub fn proof(&self) -> Option<&Ready> {
        Some(&self.ready).filter(|ready| self.restarts.last().is_none_or(|last| last.at <= ready.at))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub process: Process,
    /// Whether it has a process group of its own.
    pub has_group: bool,
}

impl Record {
    /// A run that this process is about to make.
    pub fn new(run_id: &RunId, place: Place) -> Self {
        Self {
            run_id: run_id.as_str().to_owned(),
            phase: Phase::Starting,
            owner: Process::with_id(std::process::id()),
            namespace: process::namespace(),
            made: Time::now(),
            called_in: std::env::current_dir().unwrap_or_default(),
            project: PathBuf::new(),
            is_named: false,
            expires: None,
            outputs: BTreeMap::new(),
            command: None,
            place,
            history: None,
            databases: Vec::new(),
            ready: BTreeMap::new(),
            seeded: BTreeSet::new(),
        }
    }

    /// Removes the config files, unless somebody has changed them since.
    pub fn remove_outputs(&self) {
        for (path, written) in &self.outputs {
            let _ = state::remove_written(path, written);
        }
    }

    /// The run's part on this machine.
    pub fn local(&self) -> Option<&LocalRun> {
        match &self.place {
            Place::Local(local) => Some(local),
            Place::Kubernetes(_) => None,
        }
    }

    /// Where in a cluster the run is.
    pub fn location(&self) -> Option<&Location> {
        match &self.place {
            Place::Kubernetes(location) => Some(location),
            Place::Local(_) => None,
        }
    }

    /// The variable that tells the processes of this run's command from all others, `NAME=value`: every
    /// process passes it on to those that it starts.
    pub fn mark(&self) -> Option<String> {
        self.owner.map(mark)
    }

    /// This process works on it from now on.
    pub fn own(&mut self) {
        self.owner = Process::with_id(std::process::id());
        self.namespace = process::namespace();
    }

    /// Whether the numbers of its processes mean others here: they are of another container of this machine.
    pub fn is_of_another_namespace(&self) -> bool {
        self.namespace.is_some()
            && process::namespace().is_some_and(|own| self.namespace.as_ref() != Some(&own))
    }

    /// Whether it has servers in another container of this machine, as far as can be told: there they run, though
    /// no such process is seen here.
    pub fn is_elsewhere(&self) -> bool {
        self.is_of_another_namespace()
            && self.local().is_some_and(|local| {
                process::boot_id().is_ok_and(|boot| boot == local.boot) && local.may_serve()
            })
    }

    /// Fails where only another container can work with the run.
    pub fn check_is_here(&self) -> anyhow::Result<()> {
        if self.is_elsewhere() { Err(self.elsewhere()) } else { Ok(()) }
    }

    /// The error of a command that would have to see the run's processes.
    pub fn elsewhere(&self) -> anyhow::Error {
        let run_id = &self.run_id;
        let folder = state::folder().unwrap_or_default().join("runs").join(run_id);
        let error = anyhow!(
            "run {run_id} is of another container of this machine, whose processes cannot be seen from here"
        );
        error.hint(format!(
            "call testbed in that container; if it is gone for good, delete {}",
            folder.display()
        ))
    }

    /// Whether this process is part of the run's own command.
    fn is_around_us(&self) -> bool {
        let own = std::env::var(OWNER).map(|value| format!("{OWNER}={value}"));
        self.command.is_some() && self.mark() == own.ok()
    }

    /// The error of a command that needs the run for itself, while another process works on it.
    pub fn is_held(&self) -> anyhow::Error {
        if self.is_around_us() {
            // It would wait for itself.
            return anyhow!("run {} is up for this command, which `testbed run` has started", self.run_id).hint(
                "its databases are where the variables and the file TESTBED_CONFIG say; another run is made with --run-id NAME",
            );
        }
        let owner = self.owner.map_or_else(String::new, |owner| format!(" (process {})", owner.pid));
        let error = anyhow!("another testbed{owner} works on run {}", self.run_id);
        error.hint("take another --run-id, or wait for it")
    }

    /// Whether a testbed that was killed has left its command on a run that stays.
    pub fn has_stray_command(&self) -> bool {
        self.phase == Phase::Up && self.command.is_some() && !self.owner.is_some_and(Process::is_alive)
    }

    /// Whether a testbed that was killed has left data folders, and perhaps servers, beside those of a run that
    /// stays.
    pub fn has_stray_folders(&self) -> bool {
        let is_left = self.phase == Phase::Up && !self.owner.is_some_and(Process::is_alive);
        is_left && !self.is_of_another_namespace() && self.local().is_some_and(|local| local.at_work)
    }

    /// Whether a run whose lock is free is to be removed, and why.
    pub fn is_abandoned(&self, boot: &str, now: Time) -> Option<Abandoned> {
        if self.is_elsewhere() {
            return None;
        }
        if self.phase != Phase::Up || self.local().is_some_and(|local| local.boot != boot) {
            return Some(Abandoned::Killed);
        }
        // In a cluster the objects end by themselves, and may have been given more time there.
        let grace = if self.local().is_some() { Duration::ZERO } else { KEPT_EXPIRED };
        self.expires.filter(|expires| expires.after(grace) <= now).map(|_| Abandoned::Expired)
    }
}

/// The variable that tells the processes of a command by the testbed that has started it.
pub(super) fn mark(Process { pid, start }: Process) -> String {
    format!("{OWNER}={pid}.{start}")
}

/// Where a data folder came from: its prepared folder, in a state that a later one of the same recipe is told
/// from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub cache: PathBuf,
    pub key: String,
    pub id: String,
}
