//! A run that is up, as the commands find it that work with it and leave it as it is: its databases as they
//! were noted, and where files for their clients go.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{which, work};
use crate::cli::{Global, OwnNames, Which};
use crate::failure::{Advise, usage};
use crate::files;
use crate::output::{self, Connection, Model, Names};
use crate::progress::Progress;
use crate::registry::{Phase, Record, Registry};
use crate::state;
use crate::time::Time;

pub(super) struct Standing {
    pub record: Record,
    /// The run's own folder.
    folder: PathBuf,
}

impl Standing {
    /// # Errors
    /// There is no such run, or more than one, or it is not up.
    pub(super) fn find(which: &Which, global: &Global) -> anyhow::Result<Self> {
        let registry = Registry::find();
        let record = which::in_use(registry.as_ref(), global, which.run_id.as_deref())?;
        record.check_is_here()?;
        let run_id = &record.run_id;
        let down = || format!("testbed status shows it, and testbed down --run-id {run_id} removes it");
        match record.phase {
            Phase::Starting => {
                return Err(anyhow!("run {run_id} is not ready: it is being made")).hint(down());
            }
            Phase::Stopping => return Err(anyhow!("run {run_id} is being removed")).hint(down()),
            Phase::Up if record.expires.is_some_and(|expires| expires <= Time::now()) => {
                // Not to be looked at: on this machine the next `status` removes it.
                return Err(anyhow!("run {run_id} has outlived its lifetime")).hint(format!(
                    "testbed down --run-id {run_id} removes it, and testbed up makes another"
                ));
            }
            Phase::Held | Phase::Up if record.databases.is_empty() => {
                return Err(anyhow!("run {run_id} has no database that has become ready")).hint(down());
            }
            Phase::Held | Phase::Up => {}
        }
        let folder = registry.map(|registry| registry.folder(run_id)).unwrap_or_default();
        Ok(Self { record, folder })
    }

    /// What variables are called: as somebody has typed, and as the project says of these databases.
    ///
    /// # Errors
    /// As for [`Names::new`].
    pub(super) fn names(&self, own: &OwnNames, model: &Model, progress: &Progress) -> anyhow::Result<Names> {
        let whole = Model { run_id: self.record.run_id.clone(), databases: self.record.databases.clone() };
        let names = Names::new(&own.preset, &own.env)?;
        work::with_project(names, &own.of_project, model, &whole, progress)
    }

    /// The run's own folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Some of its databases, or all, in their own order.
    ///
    /// # Errors
    /// A usage error about a name that none has; a server of this machine that has ended.
    pub(super) fn model(&self, wanted: &[String]) -> anyhow::Result<Model> {
        let all = &self.record.databases;
        if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
            return Err(self.has_no(unknown));
        }
        let is_wanted = |one: &&Connection| wanted.is_empty() || wanted.contains(&one.name);
        let mut databases: Vec<Connection> = all.iter().filter(is_wanted).cloned().collect();
        // Without the first database of its server, the next one is.
        for index in 0..databases.len() {
            let is_same =
                |one: &Connection| (&one.host, one.port) == (&databases[index].host, databases[index].port);
            databases[index].is_further &= databases[..index].iter().any(is_same);
        }
        // A fork is aside as long as there is what it is a copy of.
        if databases.iter().all(|one| one.is_fork) {
            databases.iter_mut().for_each(|one| one.is_fork = false);
        }
        let model = Model { run_id: self.record.run_id.clone(), databases };
        output::check_names(&model.names())?;
        model.databases.iter().try_for_each(|database| self.check_server(database))?;
        Ok(model)
    }

    /// The one that is named, or the only one.
    ///
    /// # Errors
    /// As for [`Standing::model`]; a usage error where there are several and none is named.
    pub(super) fn one(&self, wanted: Option<&str>, command: &str) -> anyhow::Result<Connection> {
        let own = self.record.databases.iter().filter(|one| !one.is_fork);
        let names: Vec<&str> = own.map(|one| one.name.as_str()).collect();
        let name = match (wanted, names.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only,
            (None, _) => {
                return Err(usage(format!(
                    "run {} has several databases: {}",
                    self.record.run_id,
                    names.join(", ")
                )))
                .hint(format!("say which one: testbed {command} {}, with all else as before", names[0]));
            }
        };
        let found = self.record.databases.iter().find(|one| one.name == name);
        found.cloned().ok_or_else(|| self.has_no(name))
    }

    /// The same for what is done to a server of this machine.
    ///
    /// # Errors
    /// As for [`Standing::one`]; a usage error about what is no such server.
    pub(super) fn server_here(&self, wanted: Option<&str>, command: &str) -> anyhow::Result<Connection> {
        let database = self.one(wanted, command)?;
        let (name, run_id) = (&database.name, &self.record.run_id);
        if let Some(location) = self.record.location() {
            return Err(usage(format!(
                "testbed {command} is for databases of this machine, and run {run_id} is in namespace {} of a cluster",
                location.namespace
            )))
            .hint("make a run on this machine: testbed up --runtime local");
        }
        if database.host.is_none() {
            return Err(usage(format!(
                "{name} is {}, in memory: testbed {command} is for servers",
                database.engine
            )));
        }
        Ok(database)
    }

    fn has_no(&self, name: &str) -> anyhow::Error {
        let names: Vec<&str> = self.record.databases.iter().map(|one| one.name.as_str()).collect();
        usage(format!("run {} has no database {name}", self.record.run_id))
            .hint(format!("it has {}", names.join(", ")))
    }

    fn check_server(&self, database: &Connection) -> anyhow::Result<()> {
        let servers = self.record.local().map(|local| local.servers.as_slice()).unwrap_or_default();
        let Some(server) = servers.iter().find(|server| Some(server.port) == database.port) else {
            return Ok(());
        };
        let (name, run_id) = (&server.name, &self.record.run_id);
        if let Some(command) = &server.stopped_by {
            return Err(anyhow!(
                "a testbed {command} was stopping the server of {name} in run {run_id}, and has not started it again"
            ))
            .hint(format!("if it is not at work any more: testbed restart {name} --run-id {run_id} starts it, with the data of before or of after"));
        }
        if server.process.is_alive() {
            return Ok(());
        }
        Err(anyhow!("the server of {name} in run {run_id} has ended"))
            .hint(format!("testbed logs {name} --run-id {run_id} tells why; testbed restart {name} --run-id {run_id} starts it again"))
    }

    /// The config file that an `up` has written, or the one that a `run` keeps in the run's own folder, where it
    /// is clear which one that is.
    pub(super) fn config(&self) -> Option<&Path> {
        let there = self.record.outputs.keys().map(PathBuf::as_path).filter(|path| path.exists());
        let (own, named): (Vec<_>, Vec<_>) = there.partition(|path| path.starts_with(&self.folder));
        match (named.as_slice(), own.as_slice()) {
            ([only], _) | ([], [only]) => Some(*only),
            _ => None,
        }
    }

    /// The folder for the files of clients of these databases: the run's own, or one in it where these are not
    /// all. What is in it goes with the run.
    pub(super) fn folder_for(&self, model: &Model) -> anyhow::Result<PathBuf> {
        if model.names().into_iter().eq(self.record.databases.iter().map(|one| one.name.as_str())) {
            return Ok(self.folder.clone());
        }
        let names = state::hash(model.names().join(" ").as_bytes());
        let folder = self.folder.join(format!("only-{}", &names[..16]));
        files::make_folder(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// A folder for the files of one call alone, whose databases have addresses of their own.
    pub(super) fn own_folder(&self) -> anyhow::Result<tempfile::TempDir> {
        let folder = tempfile::Builder::new().prefix("call-").tempdir_in(&self.folder);
        folder.with_context(|| format!("making a folder in {}", self.folder.display()))
    }
}
