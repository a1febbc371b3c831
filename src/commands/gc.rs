//! `testbed gc`: removes what runs of this machine have left behind: abandoned ones, those whose servers have all ended, and prepared data
//! folders that nobody has used for a month.

use super::{progress, reap};
use crate::cli::{Gc, Global};
use crate::progress::Progress;
use crate::registry::{Claim, Found, Record, Registry};
use crate::run_id::RunId;
use crate::runtime::local::area::Area;
use crate::runtime::local::processes;
use crate::runtime::local::{prepared, remove};

pub async fn gc(args: Gc, global: &Global) -> anyhow::Result<()> {
    let progress = progress(global);
    let Some(registry) = Registry::find() else { return Ok(()) };
    if args.dry_run {
        dry_run(&registry, &progress);
        return Ok(());
    }
    reap::reap(&registry, &progress).await;
    for record in registry.records().iter().filter(|record| is_dead(record)) {
        if let Found::Free(claim) = registry.claim(&RunId::parse(&record.run_id)?)? {
            remove_dead(*claim, &progress).await?;
        }
    }
    if let Ok(area) = Area::open() {
        let count = prepared::remove_unused(&area.cache);
        if count > 0 {
            let folders = if count == 1 { "1 prepared data folder".to_owned() } else { format!("{count} prepared data folders") };
            progress.say(&format!("removed {folders} that nobody has used for a month"));
        }
    }
    Ok(())
}

fn dry_run(registry: &Registry, progress: &Progress) {
    let boot = processes::boot_id();
    for record in registry.records() {
        let is_held = record.owner.is_some_and(|owner| owner.is_alive());
        if (!is_held && record.is_abandoned(&boot)) || is_dead(&record) {
            progress.say(&format!("would remove run {}", record.run_id));
        }
    }
}

/// Whether a run that is up has no server left.
fn is_dead(record: &Record) -> bool {
    record.local().is_some_and(|local| !local.servers.is_empty() && local.servers.iter().all(|server| !server.process.is_alive()))
}

async fn remove_dead(claim: Claim, progress: &Progress) -> anyhow::Result<()> {
    let run_id = claim.record.run_id.clone();
    remove::remove(claim).await?;
    progress.say(&format!("removed run {run_id}: its servers have ended"));
    Ok(())
}
