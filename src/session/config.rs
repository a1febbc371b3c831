//! The config file that a call is going to write: its format, its place and what the user adds to it, all of
//! it checked before anything is created.

use std::io::ErrorKind;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::Access;

use super::plan::Plan;
use super::work;
use crate::cli::{Making, OfProject};
use crate::database::{Certificate, Database};
use crate::environment::is_in_pod;
use crate::failure::{Advise, Exit, usage};
use crate::output::{self, ConnArg, Environment, Format, Model, Names, Renderer};
use crate::progress::Progress;
use crate::registry::{Claim, Registry};
use crate::{files, state};

pub(crate) struct Config {
    renderer: Renderer,
    path: PathBuf,
    mode: u32,
    connargs: Vec<ConnArg>,
    /// How many of these are the project's, and may be about databases that the run does not have.
    of_others: usize,
    /// What the project calls the variables.
    pub names: Names,
    /// What it says where the run has other databases, until they are known.
    of_project: OfProject,
    /// Whether it goes into the run's own folder.
    pub is_private: bool,
    /// That folder, once it is known.
    folder: Option<PathBuf>,
    /// Whether what the servers' certificates are known by is in it, for whoever uses this model.
    has_authorities: bool,
}

impl Config {
    /// Reads the flags, and the template that one of them may name.
    ///
    /// # Errors
    /// A usage error that names the flag or the template's file and line.
    pub(crate) fn new(args: &Making) -> anyhow::Result<Self> {
        let path = args.output.clone().map_or_else(|| args.format.default_output(), Ok);
        let config = Self::at(path, args, false)?;
        if let Some(path) = config.path() {
            if let Some(word @ ("json" | "yaml" | "text" | "table")) = path.to_str() {
                return Err(usage(format!("--output {word} names the config file")))
                    .hint(format!("-o json prints the run as JSON; for a file of that name: ./{word}"));
            }
            check_path(path)?;
            spare_template(path, &args.format)?;
            older(path)?;
        }
        Ok(config)
    }

    /// The same for `testbed run`, whose command is told where the file is: in the run's own folder, unless
    /// the user names a place.
    pub(crate) fn for_run(args: &Making) -> anyhow::Result<Self> {
        if args.output.is_some() {
            return Self::new(args);
        }
        let name = args.format.default_output().unwrap_or_else(|_| "testing-databases".into());
        let name = name.file_name().map(PathBuf::from).unwrap_or(name);
        Self::at(Ok(name), args, true)
    }

    fn at(path: anyhow::Result<PathBuf>, args: &Making, is_private: bool) -> anyhow::Result<Self> {
        let of_project = args.own.of_project.clone();
        let connargs = of_project.connargs.iter().chain(&args.connarg);
        let connargs = connargs.map(|text| ConnArg::parse(text)).collect::<Result<_, _>>()?;
        let names = Names::new(&args.own.preset, &args.own.env)?;
        Ok(Self {
            renderer: match args.source.places.get("--format") {
                Some(place) => args.format.renderer().with_context(|| place.clone())?,
                None => args.format.renderer()?,
            },
            path: path?,
            mode: args.mode,
            connargs,
            of_others: of_project.connargs.len(),
            names,
            of_project,
            is_private,
            folder: None,
            has_authorities: false,
        })
    }

    /// Tells the run's own folder, for a file that goes there.
    pub(crate) fn place_in(&mut self, folder: &Path) {
        self.folder = Some(folder.to_owned());
        if self.is_private {
            self.path = folder.join(&self.path);
        }
    }

    /// Where the file goes; `None` for standard output.
    pub(crate) fn path(&self) -> Option<&Path> {
        (self.path.as_os_str() != "-").then_some(self.path.as_path())
    }

    /// Refuses what would fail only once the databases are up: by making the file's text, with the addresses
    /// inside the cluster. What comes from Secrets that only the cluster knows is looked at as soon as it is
    /// there.
    ///
    /// # Errors
    /// A usage error that names the flag, the database, the variable or the template's file and line.
    pub(crate) fn check(&mut self, plan: &Plan, progress: &Progress) -> anyhow::Result<()> {
        output::check_connargs(&self.connargs[self.of_others..], &plan.discovery.databases)?;
        let model = self.model(plan, |_, database| (&database.host, database.port));
        self.renderer.check_names(&model.names())?;
        if plan.discovery.missing.is_empty() {
            let (names, of_project) = (mem::take(&mut self.names), mem::take(&mut self.of_project));
            self.names = work::with_project(names, &of_project, &model, &model, progress)?;
            self.names.variables(&model)?;
            self.renderer.render(&model, &self.names)?;
        }
        Ok(())
    }

    /// What the file's permissions let others do with the passwords in it. The users of a pod's volume are nobody
    /// else.
    pub(crate) fn warn_of_readers(&self, progress: &Progress) {
        const OTHERS: u32 = 0o006;
        let (mode, file) = (self.mode, self.path.display());
        if self.mode & OTHERS == 0 || self.path().is_none() || self.is_private || is_in_pod() {
            return;
        }
        progress.warn(&format!(
            "{file} holds passwords, and mode {mode:o} opens it to every user of this machine: --mode 600 is for \
             you alone, 640 for its group as well"
        ));
    }

    /// What the tests get to know, with the host and port that `address` tells for each server by its index.
    pub(crate) fn model<'a>(
        &self,
        plan: &'a Plan,
        address: impl Fn(usize, &'a Database) -> (&'a str, u16),
    ) -> Model {
        let folder = self.folder.as_deref().filter(|_| self.has_authorities);
        Model::new(&plan.run_id, &plan.entries(address), &self.connargs, folder)
    }

    /// A database that a seed is put into, at an address, and whether that was reached over TLS. What its certificate is
    /// known by goes into the folder.
    pub(crate) fn model_of_seed(
        &self,
        plan: &Plan,
        database: &Database,
        (host, port): (&str, u16),
        over_tls: bool,
        folder: Option<&Path>,
    ) -> anyhow::Result<Model> {
        let entry = output::Entry::Server(database, host, port);
        let authority = folder.zip(database.tls.as_ref());
        if let Some((folder, certificate)) = authority {
            keep_authority(folder, &database.name, certificate)?;
        }
        let mut model =
            Model::new(&plan.run_id, &[entry], &self.connargs, authority.map(|(folder, _)| folder));
        model.note_tls([over_tls]);
        Ok(model)
    }

    /// The variables of a seed's command: of its database alone. Files that they name go into the folder.
    pub(crate) fn for_a_seed(&self, model: &Model, folder: &Path) -> anyhow::Result<Environment> {
        work::variables(model, &self.names.of(model), None, Some(folder))
    }

    /// Notes for each seed how the variables of its command are made: it may read all of them.
    pub(crate) fn tell_seeds(&self, plan: &mut Plan) {
        for database in &plan.discovery.databases {
            if let Some(seed) = plan.asked.get_mut(&database.name).and_then(|asked| asked.seed.as_mut()) {
                let entry = output::Entry::Server(database, "127.0.0.1", 1);
                let model = Model::new(&plan.run_id, &[entry], &self.connargs, None);
                seed.variables = format!("{:?}", self.names.of(&model));
            }
        }
    }

    /// Writes what clients of this machine know the servers' certificates by into the run's own folder. A plan
    /// that has made certificates anew leaves what is there: it is of a server that is there.
    pub(crate) fn keep_authorities(&mut self, plan: &Plan, is_current: bool) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        for database in &plan.discovery.databases {
            let file = output::ca_file(folder, &database.name);
            let Some(certificate) = database.tls.as_ref().filter(|_| is_current || !file.exists()) else {
                continue;
            };
            keep_authority(folder, &database.name, certificate)?;
        }
        self.has_authorities = true;
        Ok(())
    }

    /// Does not tell users of the model where these files are.
    pub(crate) fn leave_out_authorities(&mut self) {
        self.has_authorities = false;
    }

    pub(crate) fn text(&self, model: &Model) -> anyhow::Result<String> {
        self.renderer.render(model, &self.names)
    }

    /// Removes an older file that testbed has written: its presence would mean that the databases are ready.
    ///
    /// # Errors
    /// A usage error about a file that is somebody else's; what kept it from being removed.
    pub(crate) fn remove_older(&self) -> anyhow::Result<()> {
        let Some(path) = self.path().filter(|_| !self.is_private) else { return Ok(()) };
        let Some(written) = older(path)? else { return Ok(()) };
        state::remove_written(path, &written)
            .with_context(|| format!("removing the older {}", path.display()))
    }

    /// Writes the file for a run that is noted on this machine, in the place of an older one; returns its
    /// absolute path. It is noted first, so that a file is never there of which whoever removes the run does
    /// not know.
    pub(crate) fn write_noted(&self, text: &str, claim: &mut Claim) -> anyhow::Result<Option<PathBuf>> {
        self.remove_older()?;
        let written = self.path().map(std::path::absolute).transpose()?;
        claim.record.outputs.extend(written.clone().map(|path| (path, state::hash(text.as_bytes()))));
        claim.save()?;
        self.path().map_or(Ok(()), |path| files::write(path, text, self.mode))?;
        Ok(written)
    }
}

/// Writes what a server's certificate is known by.
fn keep_authority(folder: &Path, name: &str, certificate: &Certificate) -> anyhow::Result<()> {
    let file = output::ca_file(folder, name);
    files::write_bytes(&output::keystore_file(&file), &certificate.keystore()?, 0o600)?;
    files::write(&file, &certificate.authority, 0o600)
}

/// The hash of the file that is there, if there is one. It is removed and replaced, and so has to be testbed's.
///
/// # Errors
/// A usage error about a file that no run of this user has written, or that somebody has changed since.
fn older(path: &Path) -> anyhow::Result<Option<String>> {
    let Some(content) = files::if_there(files::read(path, files::MOST)).transpose() else { return Ok(None) };
    let hash = content.as_ref().ok().map(|content| state::hash(content));
    let is_empty = content.is_ok_and(|content| content.is_empty());
    // A pod knows of no run but its own, and what a PipelineRun before has left in a workspace is none of those.
    if is_empty || is_in_pod() || hash.as_ref().is_some_and(|hash| was_written(path, hash)) {
        return Ok(hash);
    }
    Err(usage(format!("{} is there, and not as a run of testbed has written it", path.display()))).hint(
        "it would be replaced, and removed with the run: name another file with --output, or remove this one",
    )
}

/// Whether a run of this user has noted that it wrote this content there.
fn was_written(path: &Path, hash: &str) -> bool {
    let is_same = |(noted, written): (&PathBuf, &String)| written == hash && same_file(noted, path);
    let records = Registry::find()
        .and_then(|registry| registry.records().ok())
        .map(|(records, _)| records)
        .unwrap_or_default();
    records.iter().flat_map(|record| &record.outputs).any(is_same)
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn check_path(output: &Path) -> anyhow::Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let closed = || format!("--output {}: the folder cannot be written", output.display());
    if output.is_dir() {
        return Err(usage(format!("--output {} is a folder; name a file in it", output.display())));
    }
    match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(error).with_context(closed).exit(Exit::Usage).hint(whose());
        }
        _ => {
            return Err(usage(format!(
                "--output {}: the folder {} does not exist",
                output.display(),
                folder.display()
            )));
        }
    }
    files::check_kind(output).context("--output").exit(Exit::Usage)?;
    files::check_names(&[output])?;
    // Nothing is made to find out: a testbed that is killed in between would leave it.
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .with_context(closed)
        .exit(Exit::Usage)
        .hint(whose())
}

/// Who this is, and what makes a volume of a pod this user's.
fn whose() -> String {
    let user = rustix::process::geteuid().as_raw();
    let in_pod = "; a pod's securityContext gives it its volumes with fsGroup, or another user with runAsUser (of a PipelineRun: \
                  taskRunTemplate.podTemplate.securityContext)";
    format!("this is user {user}{}", if is_in_pod() { in_pod } else { "" })
}

/// An older config file is removed, and the template must not be taken for one.
fn spare_template(output: &Path, format: &Format) -> anyhow::Result<()> {
    let Format::Tera(template) = format else { return Ok(()) };
    match (output.canonicalize(), template.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => Err(usage(format!(
            "--output {} is the template of --format; it would be overwritten",
            output.display()
        ))),
        _ => Ok(()),
    }
}
