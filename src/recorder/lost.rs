//! Closes records of runs that are gone and whose end could not be written, because the disk was full then,
//! or the testbed was killed between the removal and its last word about it: the registry beside the store
//! does not know them any more.

use std::time::Duration;

use anyhow::Context;

use super::event::Asked;
use crate::history::place::Place;
use crate::history::query::Summary;
use crate::history::record::Record;
use crate::history::store::Store;
use crate::registry::Registry;
use crate::time::Time;

/// For how long, from its begin, a run without an end is looked for: the next command finds it.
const RECENT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const WHY: &str = "it is gone, and its end could not be written when it came";

/// Closes them in the store of this user, the only one that is known to hold no others' runs.
pub async fn close(place: &Place, store: &Store) -> anyhow::Result<()> {
    let lost = find(place, store).await?;
    if lost.is_empty() {
        return Ok(());
    }
    // It may have been opened only to be asked.
    let store = Store::open(place).await.with_context(|| format!("opening {place}"))?;
    for run in lost {
        store.change(&run.id, Vec::new(), None, over).await?;
    }
    Ok(())
}

async fn find(place: &Place, store: &Store) -> anyhow::Result<Vec<Summary>> {
    let is_usual = Place::usual().is_some_and(|usual| usual == *place);
    let Some(registry) = Registry::find().filter(|_| is_usual) else { return Ok(Vec::new()) };
    let mut runs = store.open_here(Time::now().before(RECENT)).await?;
    runs.retain(|run| registry.has_lost(&run.run_id, &run.id));
    Ok(runs)
}

fn over(record: &mut Record) {
    if !record.is_over() {
        Asked::Abandoned("end-unknown", WHY.to_owned()).put_into(record);
        record.ended = Some(Time::now());
    }
}
