//! Removes a run of this machine: its config file, whose presence means that the databases are ready, whatever runs for it, its data, and what
//! is noted of it, in this order, so that a removal that is cut short is finished by whoever comes next.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::time::sleep;

use super::processes::{self, Mark};
use crate::failure::{Advise, Exit};
use crate::registry::{Claim, Command, LocalRun, Phase};
use crate::state::{self, Remembered};

/// How long a server gets to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Between two attempts to delete a folder.
const RETRY: Duration = Duration::from_millis(10);

/// Removes the config file, ends everything that a run has started, deletes its data and its record, and tells how many servers it had.
///
/// # Errors
/// What is left ([`Exit::TeardownIncomplete`]).
pub async fn remove(mut claim: Claim) -> anyhow::Result<usize> {
    let Some(local) = claim.record.local().cloned() else { return Err(anyhow!("run {} is not on this machine", claim.record.run_id)) };
    if claim.record.phase != Phase::Stopping {
        claim.record.phase = Phase::Stopping;
        // On a full disk it cannot be noted, and what follows makes room.
        let _ = claim.save();
    }
    state::remove_written(claim.record.output.as_ref());
    // After a restart of the machine the processes' numbers belong to others.
    if local.boot == processes::boot_id() {
        end(&local, claim.record.command, &claim.record.run_id).await?;
    }
    delete(&local.data).await.with_context(|| format!("deleting {}", local.data.display())).exit(Exit::TeardownIncomplete)?;
    // One that a killed testbed was just about to start finds no data, and is not waited for but ended.
    let mark = Mark { folder: &local.data, run_id: &claim.record.run_id, programs: &local.programs };
    processes::end(|| processes::of_run(mark)).await.map_err(|left| still_there("server processes", &left))?;
    Remembered::forget_run_of(&claim.record.called_in, &claim.record.run_id);
    claim.forget()?;
    Ok(local.servers.len())
}

async fn end(local: &LocalRun, command: Option<Command>, run_id: &str) -> anyhow::Result<()> {
    if let Some(Command { process, has_group }) = command {
        let left = processes::end(|| processes::of_command(process, has_group, run_id)).await;
        left.map_err(|left| still_there("processes of the command", &left))?;
    }
    let mark = Mark { folder: &local.data, run_id, programs: &local.programs };
    processes::quit_postgres(&processes::of_run(mark), GRACE).await;
    processes::end(|| processes::of_run(mark)).await.map_err(|left| still_there("server processes", &left))
}

fn still_there(what: &str, left: &[u32]) -> anyhow::Error {
    let ids: Vec<String> = left.iter().map(u32::to_string).collect();
    let error = anyhow!("{what} do not end: {}", ids.join(", "));
    Err::<(), _>(error).hint("look at what they wait for, then call testbed down again").exit(Exit::TeardownIncomplete).unwrap_err()
}

/// Deletes a folder that may not be there, and into which a copy that was interrupted may still be writing its last files.
async fn delete(folder: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + GRACE;
    loop {
        let doomed = folder.to_owned();
        match tokio::task::spawn_blocking(move || std::fs::remove_dir_all(doomed)).await? {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && Instant::now() < deadline => sleep(RETRY).await,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => return Ok(()),
        }
    }
}
