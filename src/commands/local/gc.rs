//! `testbed gc` on this machine: abandoned runs, runs whose servers have all ended, and prepared data folders that nobody has used for a
//! month.

use super::story;
use crate::cli::Gc;
use crate::commands::archive::Archive;
use crate::commands::gc::Leftover;
use crate::commands::reap;
use crate::progress::Progress;
use crate::registry::{Claim, Found, Record, Registry};
use crate::run_id::RunId;
use crate::runtime::local::area::Area;
use crate::runtime::local::{prepared, processes};
use crate::words;

/// Removes it, or tells what would be removed.
///
/// # Errors
/// What could not be removed.
pub async fn gc(args: &Gc, archive: &Archive, found: &mut Vec<Leftover>, progress: &Progress) -> anyhow::Result<()> {
    let Some(registry) = Registry::find() else { return Ok(()) };
    if args.dry_run {
        dry_run(&registry, found, progress);
        return Ok(());
    }
    found.extend(
        reap::reap(&registry, archive, args.timeout / 2, progress)
            .await
            .iter()
            .map(|record| Leftover { removed: true, ..abandoned(record) }),
    );
    for record in registry.records().iter().filter(|record| is_dead(record)) {
        if let Found::Free(claim) = registry.claim(&RunId::parse(&record.run_id)?)? {
            remove_dead(*claim, archive, progress).await?;
            found.push(Leftover { removed: true, ..dead(record) });
        }
    }
    if let Ok(area) = Area::open() {
        let count = prepared::remove_unused(&area.cache);
        if count > 0 {
            let folders = words::count(count, "prepared data folder");
            progress.say(&format!("removed {folders} that nobody has used for a month"));
        }
    }
    Ok(())
}

fn dry_run(registry: &Registry, found: &mut Vec<Leftover>, progress: &Progress) {
    let boot = processes::boot_id();
    for record in registry.records() {
        let is_held = record.owner.is_some_and(|owner| owner.is_alive());
        let leftover = if !is_held && record.is_abandoned(&boot) {
            abandoned(&record)
        } else if is_dead(&record) {
            dead(&record)
        } else {
            continue;
        };
        progress.say(&format!("would remove run {}: {}", record.run_id, leftover.because));
        found.push(leftover);
    }
}

/// Whether a run that is up has no server left.
fn is_dead(record: &Record) -> bool {
    record.local().is_some_and(|local| !local.servers.is_empty() && local.servers.iter().all(|server| !server.process.is_alive()))
}

async fn remove_dead(claim: Claim, archive: &Archive, progress: &Progress) -> anyhow::Result<()> {
    let run_id = claim.record.run_id.clone();
    story::remove(claim, archive, story::abandoned("servers-ended", DEAD.to_owned())).await?;
    progress.say(&format!("removed run {run_id}: {DEAD}"));
    Ok(())
}

const DEAD: &str = "its servers have ended";

fn dead(record: &Record) -> Leftover {
    leftover(record, "servers-ended", DEAD)
}

fn abandoned(record: &Record) -> Leftover {
    leftover(record, "abandoned", reap::WHY)
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
