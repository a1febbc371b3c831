//! `testbed gc` on this machine: abandoned runs, runs whose servers have all ended, and prepared data folders
//! that nobody has used for a month.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::anyhow;

use crate::cli::Gc;
use crate::deadline;
use crate::failure::{Advise, Exit};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::recorder::event::Asked;
use crate::registry::{Abandoned, Found, Record, Registry, Unreadable};
use crate::run_id::RunId;
use crate::runtime::local::area::{self, Area};
use crate::runtime::local::{prepared, removal, remove};
use crate::session::abandoned;
use crate::session::gc::Leftover;
use crate::state;
use crate::time::Time;
use crate::{process, words};

/// Removes it, or tells what would be removed. Returns how much there was beside runs.
pub(crate) async fn gc(
    args: &Gc,
    recorder: &Recorder,
    found: &mut Vec<Leftover>,
    progress: &Progress,
) -> anyhow::Result<usize> {
    let Some(registry) = Registry::find().map(|registry| registry.by(deadline::after(args.timeout))) else {
        return Ok(0);
    };
    if args.dry_run {
        return dry_run(&registry, found, progress);
    }
    let (reaped, mut failed) = abandoned::sweep(&registry, recorder, args.timeout / 2, progress).await;
    found.extend(reaped.iter().map(|(record, why)| Leftover { removed: true, ..abandoned(record, *why) }));
    let (records, unreadable) = registry.records()?;
    // A server that cannot be looked at has not ended.
    process::check()?;
    for record in records.iter().filter(|record| is_dead(record)) {
        match remove_dead(&registry, record, recorder).await {
            Ok(true) => Leftover { removed: true, ..dead(record) }.tell(found, progress),
            Ok(false) => {}
            Err(error) => failed.push(error),
        }
    }
    for damaged in unreadable {
        match remove_unreadable(&registry, &damaged, progress).await {
            Ok(true) => found.push(Leftover { removed: true, ..unreadable_leftover(&damaged) }),
            Ok(false) => {}
            Err(error) => failed.push(error),
        }
    }
    let mut others = 0;
    if let Some(area) = area()? {
        for folder in orphans(&area)? {
            remove::remove_data(&folder).await?;
            progress.say(&format!("removed {}: {ORPHAN}", folder.display()));
            others += 1;
        }
        let count = prepared::remove_unused(&area.cache);
        if count > 0 {
            let folders = words::count(count, "prepared data folder");
            progress.say(&format!("removed {folders} that nobody has used for a month"));
        }
        others += count;
        let count = prepared::keep_within(&area.cache, args.seed_limit.bytes());
        if count > 0 {
            progress.say(&format!("removed {}, so that the others fit", words::count(count, "seed")));
        }
        others += count;
    }
    let last = failed.pop();
    failed.iter().for_each(|error| progress.warn_of(error));
    last.map_or(Ok(others), Err)
}

/// Removes a run whose servers have ended, unless another process works on it, and tells which.
async fn remove_dead(registry: &Registry, record: &Record, recorder: &Recorder) -> anyhow::Result<bool> {
    let Found::Free(claim) = registry.claim(&RunId::parse(&record.run_id)?)? else { return Ok(false) };
    let recording = removal::recording(recorder, &claim);
    removal::remove(*claim, &recording, Asked::Abandoned("servers-ended", DEAD.to_owned())).await?;
    Ok(true)
}

/// Where data is; `None` where testbed has never kept anything.
fn area() -> anyhow::Result<Option<Area>> {
    let has_state = state::folder().is_some_and(|folder| folder.symlink_metadata().is_ok());
    has_state.then(Area::open).transpose()
}

const ORPHAN: &str = "the run that it belongs to is not noted any more";

/// Data folders whose run has no folder in the registry that they name.
fn orphans(area: &Area) -> anyhow::Result<Vec<PathBuf>> {
    let mut orphans = Vec::new();
    for folder in area.runs()? {
        let Some(registry) = area::registry_of(&folder)? else { continue };
        if registry.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            orphans.push(folder);
        }
    }
    Ok(orphans)
}

/// Removes the data of a run that is not noted any more, with its servers, and tells whether there was any.
pub(crate) async fn remove_orphans_of(run_id: &RunId) -> anyhow::Result<bool> {
    let Some(area) = area()? else { return Ok(false) };
    let prefix = format!("{run_id}.");
    let mut orphans = orphans(&area)?;
    orphans
        .retain(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)));
    for folder in &orphans {
        remove::remove_data(folder).await?;
    }
    Ok(!orphans.is_empty())
}

/// Removes what the folders of a run hold whose record is of no use, and tells whether it was there to be
/// removed. What it may have in a cluster is for a `testbed down` that says where.
async fn remove_unreadable(
    registry: &Registry,
    found: &Unreadable,
    progress: &Progress,
) -> anyhow::Result<bool> {
    if !found.is_damaged {
        return Err(found.error());
    }
    let Some(damaged) = registry.take_unreadable(found)? else { return Ok(false) };
    let area = Area::open()?;
    let prefix = format!("{}.", found.run_id);
    let mut was_local = false;
    for folder in area.runs()? {
        if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            && area::registry_of(&folder)?.is_none_or(|registry| registry == damaged.folder())
        {
            remove::remove_data(&folder).await?;
            was_local = true;
        }
    }
    damaged.forget()?;
    let run_id = &found.run_id;
    progress.say(&format!("removed run {run_id}: its record could not be read: {}", found.why));
    match &found.in_cluster {
        Some(place) => {
            let error = anyhow!("run {run_id} was in a cluster, and what it has in a cluster is still there");
            return Err(error).hint(format!("testbed down --run-id {run_id}{place}")).exit(Exit::TeardownIncomplete);
        }
        None if !was_local => progress.say(&format!(
            "no data of run {run_id} is on this machine; if it was in a cluster, remove it there: testbed down --run-id {run_id} -n NAMESPACE"
        )),
        None => {}
    }
    Ok(true)
}

fn unreadable_leftover(found: &Unreadable) -> Leftover {
    let because = format!("its record cannot be read: {}", found.why);
    Leftover {
        run_id: found.run_id.clone(),
        runtime: if found.in_cluster.is_some() { "kubernetes" } else { "local" },
        namespace: None,
        objects: None,
        reason: "unreadable",
        because,
        removed: false,
        error: None,
    }
}

fn dry_run(registry: &Registry, found: &mut Vec<Leftover>, progress: &Progress) -> anyhow::Result<usize> {
    let boot = process::boot_id()?;
    process::check()?;
    let (records, unreadable) = registry.records()?;
    for damaged in unreadable.iter().filter(|damaged| damaged.is_damaged) {
        unreadable_leftover(damaged).tell(found, progress);
    }
    for record in records {
        let is_held = record.owner.is_some_and(crate::process::Process::is_alive);
        if !is_held && let Some(why) = record.is_abandoned(&boot, Time::now()) {
            abandoned(&record, why).tell(found, progress);
        } else if is_dead(&record) {
            dead(&record).tell(found, progress);
        } else if registry.has_stray_command(&record) {
            progress.say(&format!("would end what a killed testbed was running on run {}", record.run_id));
        }
    }
    let mut others = 0;
    // Nothing is made to find out.
    if state::folder().is_some_and(|folder| folder.join("data").exists())
        && let Some(area) = area()?
    {
        for folder in orphans(&area)? {
            progress.say(&format!("would remove {}: {ORPHAN}", folder.display()));
            others += 1;
        }
    }
    unreadable.iter().find(|damaged| !damaged.is_damaged).map_or(Ok(others), |damaged| Err(damaged.error()))
}

/// Whether a run that is up has no server left.
fn is_dead(record: &Record) -> bool {
    record.local().is_some_and(|local| {
        !local.servers.is_empty() && local.servers.iter().all(|server| !server.process.is_alive())
    }) && !record.is_elsewhere()
}

const DEAD: &str = "its servers have ended";

fn dead(record: &Record) -> Leftover {
    leftover(record, "servers-ended", DEAD)
}

fn abandoned(record: &Record, why: Abandoned) -> Leftover {
    // The word of the report before there was any other reason.
    let (reason, because) = match abandoned::why(why) {
        ("killed", because) => ("abandoned", because),
        told => told,
    };
    leftover(record, reason, because)
}

fn leftover(record: &Record, reason: &'static str, because: &str) -> Leftover {
    Leftover {
        run_id: record.run_id.clone(),
        // A `testbed run` of this machine may have worked in a cluster.
        runtime: if record.location().is_some() { "kubernetes" } else { "local" },
        namespace: record.location().map(|location| location.namespace.clone()),
        objects: None,
        reason,
        because: because.to_owned(),
        removed: false,
        error: None,
    }
}
