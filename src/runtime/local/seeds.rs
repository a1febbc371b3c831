//! Seeds: what a project puts into a database once, as prepared data folders on top of the one that the server's
//! build alone shapes; one for each step, so that a new last step costs no more than itself.
//!
//! A seed is made by the server itself: on a copy of the folder below it, with the files and the command of its
//! step, and ended cleanly, so that nobody is connected to what is kept.

use std::cell::Cell;
use std::path::Path;
use std::pin::Pin;

use anyhow::{Context, anyhow};
use tokio::time::{Instant, timeout_at};

use super::orphans::Orphans;
use super::planned::{Planned, Run, Script};
use super::prepared::{self, Kept, Placed, Prepared, Stage};
use super::program::Setting;
use super::scripts::{self, Server};
use super::sealed::Sealed;
use super::serve::{self, Serving, Told, is_postgres};
use super::{mysql, postgres, processes};
use crate::failure::{Advise, Exit};
use crate::manifest::seed::{Part, Seed, Step, differences};
use crate::manifest::setup::OWN_SCRIPT;
use crate::runtime::seeding;
use crate::time::Time;

/// What is said of a data folder that takes longer, because there is none to copy.
pub(super) const FIRST: &str = "a data folder for the first time";

/// The prepared folders that one database starts from, one on top of the other.
pub(super) struct Layers<'a> {
    planned: &'a Planned,
    base: Prepared<'a>,
    /// With what each is made of, that of those below it included.
    seeds: Vec<(Prepared<'a>, Vec<Part>)>,
}

impl<'a> Layers<'a> {
    pub(super) fn of(planned: &'a Planned, cache: &'a Path) -> Self {
        let recipe = if is_postgres(planned) { postgres::recipe(planned) } else { mysql::recipe(planned) };
        let base = Prepared::new(cache, &format!("{recipe} {:?}", planned.account));
        let mut parts = parts_below(planned);
        let mut seeds = Vec::new();
        let seed = planned.seed.as_ref();
        for index in 0..seed.map_or(0, |seed| seed.steps.len()) {
            parts.extend(seed.map(|seed| seed.parts(index)).unwrap_or_default());
            let recipe = format!("seed {recipe} {:?} {parts:?}", planned.account);
            seeds.push((Prepared::new(cache, &recipe), parts.clone()));
        }
        Self { planned, base, seeds }
    }

    fn all(&self) -> impl Iterator<Item = &Prepared<'a>> {
        std::iter::once(&self.base).chain(self.seeds.iter().map(|(prepared, _)| prepared))
    }

    /// Removes them unless somebody else has replaced them by now.
    pub(super) async fn discard_as_broken(&self) -> anyhow::Result<()> {
        for prepared in self.all() {
            prepared.discard_as_broken().await?;
        }
        Ok(())
    }
}

/// One step of a seed: what is kept of it, and why it was made or will be.
pub struct Look {
    pub kept: Option<Kept>,
    pub because: Vec<String>,
}

/// Looks at the steps of one database's seed, in their order.
pub fn look(planned: &Planned, cache: &Path, project: &Path) -> Vec<Look> {
    let layers = Layers::of(planned, cache);
    let mut all = prepared::kept(cache);
    let why = layers.seeds.last().map(|(_, parts)| because(cache, project, &planned.database.name, parts));
    let step = |(prepared, _): &(Prepared<'_>, _)| {
        let at = all.iter().position(|kept| kept.key == prepared.key());
        let kept = at.map(|at| all.swap_remove(at));
        let because = kept.as_ref().map(|kept| kept.sealed.because.clone()).or_else(|| why.clone());
        Look { kept, because: because.unwrap_or_default() }
    };
    layers.seeds.iter().map(step).collect()
}

/// What the data depends on besides a seed's own steps. Passwords are no part of it: each run gets its own.
fn parts_below(planned: &Planned) -> Vec<Part> {
    let database = &planned.database;
    let passwords: Vec<&str> = [&database.login]
        .into_iter()
        .chain(&database.admin)
        .map(|login| login.password.reveal())
        .filter(|password| !password.is_empty())
        .collect();
    let variables: Vec<_> =
        planned.variables.iter().filter(|(_, value)| !passwords.contains(&value.as_str())).collect();
    let own = if is_postgres(planned) { postgres::own(planned) } else { mysql::own(planned) };
    let settings = format!(
        "{:?}",
        (
            (
                &database.login.user,
                &database.login.database,
                database.admin.as_ref().map(|admin| &admin.user)
            ),
            (&planned.postgres, &planned.args, variables, own)
        )
    );
    let script = |script: &Script| {
        let what = format!("the set-up script {}", script.name);
        if script.file != OWN_SCRIPT {
            return Part::of(what, &script.bytes);
        }
        let mut text = String::from_utf8_lossy(&script.bytes).into_owned();
        for password in &passwords {
            for escaped in [password.replace('\'', "''"), password.replace('\\', "\\\\").replace('\'', "''")]
            {
                for before in ["PASSWORD", "IDENTIFIED BY"] {
                    text = text.replace(&format!("{before} '{escaped}'"), before);
                }
            }
        }
        Part::of(what, text.as_bytes())
    };
    let server = Part::new("the server's build", &planned.installed.build);
    let settings = Part::of("what the database is asked for", settings.as_bytes());
    let zones = planned.zones.as_ref().map(|zones| Part::new("the time zones", zones));
    [server, settings].into_iter().chain(zones).chain(planned.scripts.iter().map(script)).collect()
}

/// The making of one database's data folder.
pub(super) struct Making<'a> {
    pub layers: &'a Layers<'a>,
    pub run: Run<'a>,
    pub setting: Setting<'a>,
    pub report: &'a dyn Fn(Told<'_>),
    /// What had to be made first.
    pub first: Cell<Option<&'static str>>,
    /// The seed's command that runs.
    pub command: Cell<Option<String>>,
}

type Work<'f> = Pin<Box<dyn Future<Output = anyhow::Result<Placed>> + 'f>>;

impl Making<'_> {
    /// Puts a copy of the topmost folder at `to`, and makes what of it is not there yet.
    pub(super) async fn place(&self, to: &Path) -> anyhow::Result<Placed> {
        let placed = self.place_layer(self.layers.seeds.len(), to).await?;
        if self.first.get().is_some() && placed.logins.is_some() {
            prepared::keep_within(self.layers.base.cache(), self.run.seed_limit);
        }
        Ok(placed)
    }

    fn place_layer<'f>(&'f self, count: usize, to: &'f Path) -> Work<'f> {
        let account = self.setting.account;
        if let Some(snapshot) = &self.layers.planned.from {
            return Box::pin(snapshot.place(self.run.area, to, account));
        }
        Box::pin(async move {
            match count.checked_sub(1).and_then(|index| Some((index, self.layers.seeds.get(index)?))) {
                None => {
                    let make = async |stage: Stage<'_>| self.prepare(stage).await;
                    self.layers.base.place_at(to, account, make).await
                }
                Some((index, (prepared, _))) => {
                    let make = async |stage: Stage<'_>| self.seed(index, stage).await;
                    prepared.place_at(to, account, make).await
                }
            }
        })
    }

    async fn prepare(&self, stage: Stage<'_>) -> anyhow::Result<()> {
        let planned = self.layers.planned;
        (self.report)(Told::Stage("preparing", FIRST));
        self.first.set(self.first.get().or(Some(FIRST)));
        let made = if is_postgres(planned) {
            postgres::prepare(planned, &stage, self.setting).await
        } else {
            mysql::prepare(planned, &stage, self.setting).await
        };
        made.context("preparing a data folder")
            .exit(Exit::Never)
            .kind("not-prepared", Some(&planned.database.name))
    }

    /// Makes one step's folder out of the one below it.
    async fn seed(&self, index: usize, stage: Stage<'_>) -> anyhow::Result<()> {
        let planned = self.layers.planned;
        let name = &planned.database.name;
        let (Some(seed), Some((_, parts))) = (&planned.seed, self.layers.seeds.get(index)) else {
            return Err(anyhow!("{name} has no step {} of a seed", index + 1));
        };
        let Some(step) = seed.steps.get(index) else {
            return Err(anyhow!("{name} has no step {} of a seed", index + 1));
        };
        self.first.set(Some("a seed"));
        let because = self.because();
        let began = Instant::now();
        let below = self.place_layer(index, &stage.data).await?;
        (self.report)(Told::Stage("seeding", &because.join(", ")));
        // Without what only a run's own server needs.
        let mut own = planned.clone();
        (own.database.tls, own.port) = (None, None);
        if is_postgres(planned) {
            own.args.extend(postgres::for_a_seed(planned));
        }
        // For scripts as well: what they start may work elsewhere.
        let mark = processes::seeding(stage.folder);
        own.variables.extend(mark.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
        let quiet = |_: Told<'_>| {};
        let mut serving = serve::serve(&own, self.run, &stage.data, self.setting, &below, &quiet).await?;
        let orphans = Orphans::of_a_seed();
        let filled = self.fill(&own, seed, step, &serving, &stage, below.logins.is_none()).await;
        let ended = processes::end(|| processes::with_variable(&mark)).await;
        let ended = ended.and(orphans.end().await);
        let filled = filled.and(ended.map_err(|left| anyhow!("what it has started does not end: {left:?}")));
        filled.map_err(|error| serve::redacted(&own, &serving.root, &error, "seed-failed"))?;
        let logins = if is_postgres(&own) {
            postgres::seal(&own, &stage, serving.port).await
        } else {
            mysql::seal(&own, &stage.data, serving.port, &serving.root).await
        };
        let logins = logins
            .with_context(|| format!("{name}: looking for the logins of the seed"))
            .exit(Exit::Never)?;
        serve::end(&own, &mut serving, stage.folder, self.run.deadline)
            .await
            .with_context(|| format!("{name}: ending the server of the seed"))?;
        let changed = step.changed(&seed.folder).with_context(|| name.clone())?;
        if !changed.is_empty() {
            return Err(anyhow!(
                "{name}: inputs of the seed have changed while it was made: {}",
                changed.join(", ")
            ))
            .hint("call it again; what the command itself writes is no input")
            .exit(Exit::Never)
            .kind("seed-failed", Some(name));
        }
        let sealed = Sealed {
            made: Time::now(),
            took: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            project: self.run.project.to_owned(),
            database: name.clone(),
            step: index + 1,
            steps: seed.steps.len(),
            parts: parts.clone(),
            because,
            logins,
        };
        sealed.write(stage.folder)
    }

    /// Why a seed is made.
    fn because(&self) -> Vec<String> {
        let (planned, base) = (self.layers.planned, &self.layers.base);
        let parts = self.layers.seeds.last().map(|(_, parts)| parts.as_slice()).unwrap_or_default();
        because(base.cache(), self.run.project, &planned.database.name, parts)
    }

    async fn fill(
        &self,
        own: &Planned,
        seed: &Seed,
        step: &Step,
        serving: &Serving,
        stage: &Stage<'_>,
        is_first: bool,
    ) -> anyhow::Result<()> {
        let server = Server { data: &stage.data, port: serving.port, root: &serving.root };
        if is_first {
            scripts::run(own, "the set-up script", &own.scripts, &server, self.setting, self.run).await?;
        }
        let script = |file: &crate::manifest::seed::SeedFile| Script {
            name: file.name.clone(),
            file: file.name.clone(),
            bytes: file.bytes.clone(),
        };
        let files: Vec<Script> = step.files.iter().map(script).collect();
        scripts::run(own, "the seed's", &files, &server, self.setting, self.run).await?;
        let Some(command) = &step.run else { return Ok(()) };
        let what = || format!("{}: the seed's command `{command}`", own.database.name);
        self.command.set(Some(what()));
        let environment = (self.run.environment)(&own.database, serving.port, stage.folder)?;
        let mark = processes::seeding(stage.folder);
        let work = seeding::run(command, &seed.folder, environment, &mark);
        let outcome = timeout_at(self.run.deadline, work).await;
        if outcome.is_ok() {
            self.command.take();
        }
        let too_late = || anyhow!("it still runs after {}", humantime::format_duration(self.run.timeout));
        outcome.unwrap_or_else(|_| Err(too_late()).exit(Exit::NotReady)).with_context(what)
    }
}

/// Why a seed of these parts is made: what differs from the last one of the same database of the same project.
fn because(cache: &Path, project: &Path, database: &str, parts: &[Part]) -> Vec<String> {
    let seeds = prepared::kept(cache).into_iter().map(|kept| kept.sealed);
    let before = seeds.filter(|sealed| {
        sealed.project == project
            && sealed.database == database
            && sealed.step == sealed.steps
            && sealed.parts != parts
    });
    match before.max_by_key(|sealed| sealed.made) {
        None => vec!["there is none yet".to_owned()],
        Some(before) => differences(&before.parts, parts),
    }
}
