//! Which run a command means: the one whose id is given, or that begins with the letters that are given, or
//! those of the current folder.

use std::collections::BTreeSet;
use std::env::current_dir;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::chosen::Chosen;
use crate::cli::Global;
use crate::failure::{Advise, usage};
use crate::registry::{Phase, Record, Registry};
use crate::run_id::{RunId, is_uuid};
use crate::runtime::kubernetes::Cluster;
use crate::settings::find;

/// As many runs of other folders are told.
const MOST_TOLD: usize = 3;

/// From so many letters on they may stand for the whole id.
const LETTERS: usize = 4;

/// The folder of the project in which this command is called.
pub(crate) fn project(global: &Global) -> anyhow::Result<PathBuf> {
    Ok(find::project(named_file(global), &current_dir().context("finding the current folder")?))
}

fn named_file(global: &Global) -> Option<&Path> {
    global.settings.as_deref().filter(|name| !name.is_empty()).map(Path::new)
}

/// The runs that are up of the current folder, or of the nearest one above it that has any.
///
/// # Errors
/// A record that cannot be read, where it may be the one that is looked for.
pub(crate) fn here(registry: Option<&Registry>, global: &Global) -> anyhow::Result<Vec<Record>> {
    // Of a current folder that was deleted nothing is known.
    let (Some(registry), Ok(here)) = (registry, current_dir()) else { return Ok(Vec::new()) };
    let found = registry.of_folders(&find::folders(named_file(global), &here))?;
    // Another container's are meant only where there are no others.
    let (elsewhere, here): (Vec<_>, Vec<_>) = found.into_iter().partition(Record::is_elsewhere);
    Ok(if here.is_empty() { elsewhere } else { here })
}

/// The run of the project that another `up` goes on with: one at the same place whose id was made up.
pub(crate) async fn to_go_on_with(project: &Path, place: &Chosen) -> anyhow::Result<Option<String>> {
    let (records, _) = Registry::find().map_or(Ok(Default::default()), |registry| registry.records())?;
    let mut records = records
        .into_iter()
        .filter(|record| record.project == project && record.phase == Phase::Up && !record.is_named)
        .filter(|record| !record.is_elsewhere())
        .peekable();
    if records.peek().is_none() {
        return Ok(None);
    }
    let found = match place {
        Chosen::Local(_) => records.find(|record| record.local().is_some()),
        // What keeps it from being told is told by whoever needs the cluster.
        Chosen::Cluster(choice) => match Cluster::location(choice).await {
            Ok(location) => {
                records.find(|record| record.location().is_some_and(|noted| noted.is_same_place(&location)))
            }
            Err(_) => None,
        },
    };
    Ok(found.map(|record| record.run_id))
}

/// The run that a command works with while it is up: the one that is named, else that of the current folder.
///
/// # Errors
/// A usage error where there is none in this folder, or more than one.
pub(crate) fn in_use(
    registry: Option<&Registry>,
    global: &Global,
    given: Option<&str>,
) -> anyhow::Result<Record> {
    // A namespace is refused where no cluster is in play, before it is taken for something else.
    if !global.is_local() && global.choice().namespace.is_some() {
        Chosen::of(global)?;
    }
    if let Some(given) = given {
        let run_id = named(registry, given)?;
        let noted = registry.map_or(Ok(None), |registry| registry.read(run_id.as_str()))?;
        let why = match Chosen::of(global) {
            Ok(Chosen::Local(why)) => why,
            _ => "only the machine that has made it knows its logins",
        };
        return noted.ok_or_else(|| unknown(registry, &run_id, why));
    }
    let mut here = here(registry, global)?;
    match (here.pop(), here.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => {
            let others = others(registry);
            Err(usage("no run is up in this folder")).hint(match others.is_empty() {
                true => "testbed up makes one".to_owned(),
                false => format!(
                    "testbed up makes one, and --run-id takes one of another folder: {}",
                    told(&others)
                ),
            })
        }
        (Some(last), false) => {
            let ids: Vec<&str> = here.iter().chain([&last]).map(|record| record.run_id.as_str()).collect();
            Err(usage(format!("several runs are up in this folder: {}", ids.join(", "))))
                .hint(format!("say which one: --run-id {}", last.run_id))
        }
    }
}

/// The runs that are up of all folders, the newest first.
fn others(registry: Option<&Registry>) -> Vec<Record> {
    let records = registry.and_then(|registry| registry.records().ok()).map(|(records, _)| records);
    records.into_iter().flatten().filter(|record| record.phase == Phase::Up).rev().collect()
}

/// Where those are, the first few of them.
fn told(others: &[Record]) -> String {
    let one = |record: &Record| {
        let folder = if record.project.as_os_str().is_empty() { &record.called_in } else { &record.project };
        // One that was renamed may be the current one.
        let gone = if folder.exists() { "" } else { ", which is gone" };
        format!("{} of {}{gone}", record.run_id, folder.display())
    };
    let mut told: Vec<String> = others.iter().take(MOST_TOLD).map(one).collect();
    told.extend((others.len() > MOST_TOLD).then(|| "and those that testbed status lists".to_owned()));
    told.join("; ")
}

/// What there is to say where a `down` finds no run of the current folder.
pub(crate) fn nothing_here(registry: Option<&Registry>) -> String {
    let nothing = "no run is up in this folder: nothing to do";
    match others(registry).as_slice() {
        [] => nothing.to_owned(),
        others => format!("{nothing}; --run-id removes one of another folder: {}", told(others)),
    }
}

/// The run that a command means which changes nothing: by its id, or the first letters of it.
pub(crate) fn named(registry: Option<&Registry>, given: &str) -> anyhow::Result<RunId> {
    resolve(registry, given, |_| true)
}

/// The same for one that removes it: a run whose name somebody has chosen is not removed for a shorter one, which
/// may be that of another run that is gone. UUIDs are nobody's choice.
pub(crate) fn to_remove(registry: Option<&Registry>, given: &str) -> anyhow::Result<RunId> {
    resolve(registry, given, |record| is_uuid(&record.run_id))
}

fn resolve(
    registry: Option<&Registry>,
    given: &str,
    may_be_short: impl Fn(&Record) -> bool,
) -> anyhow::Result<RunId> {
    let may_be_short_of_one = |registry: &&Registry| {
        given.chars().count() >= LETTERS && registry.folder(given).symlink_metadata().is_err()
    };
    // Letters may look like what no id may be, such as a number.
    let Some(registry) = registry else { return RunId::parse(given) };
    if !may_be_short_of_one(&registry) {
        return RunId::parse(given).map_err(|wrong| too_short(registry, given).unwrap_or(wrong));
    }
    let (records, _) = registry.records()?;
    let ids: BTreeSet<&str> = records
        .iter()
        .filter(|record| record.run_id.starts_with(given) && may_be_short(record))
        .map(|record| record.run_id.as_str())
        .collect();
    match ids.first() {
        None => RunId::parse(given).map_err(|wrong| too_short(registry, given).unwrap_or(wrong)),
        Some(id) if ids.len() == 1 => RunId::parse(id),
        Some(_) => {
            let ids: Vec<&str> = ids.into_iter().collect();
            Err(anyhow!("{given} is the beginning of several runs: {}", ids.join(", ")))
                .hint("write more of the one that is meant")
        }
    }
}

/// The error about letters that no id may be, but that ids begin with: it is one of those that is meant.
fn too_short(registry: &Registry, given: &str) -> Option<anyhow::Error> {
    let (records, _) = registry.records().ok()?;
    let ids = records
        .into_iter()
        .map(|record| record.run_id)
        .filter(|id| !given.is_empty() && id.starts_with(given));
    let ids: Vec<String> = ids.collect();
    let hint = format!("say all of it: --run-id {}", ids.first()?);
    Some(usage(format!("there is no run {given}; it is the beginning of {}", ids.join(", "))).hint(hint))
}

/// The error about a run that nothing is known of, with those that there are.
pub(crate) fn unknown(registry: Option<&Registry>, run_id: &RunId, why: &str) -> anyhow::Error {
    let records = registry.and_then(|registry| registry.records().ok()).map(|(records, _)| records);
    let ids: Vec<String> = records.into_iter().flatten().map(|record| record.run_id).collect();
    let there = if ids.is_empty() {
        "no run is up here".to_owned()
    } else {
        format!("there are: {}", ids.join(", "))
    };
    anyhow!("nothing is known of run {run_id} on this machine ({why})").hint(there)
}
