//! Removes a run of this machine: its config file, whose presence means that the databases are ready,
//! whatever runs for it, its data, and what is noted of it, in this order, so that a removal that is cut
//! short is finished by whoever comes next.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use futures::future::join_all;
use tokio::time::sleep;

use super::account::Account;
use super::area;
use super::beside::POOLS;
use super::processes::{self, Mark};
use super::shared_memory;
use crate::background;
use crate::bug;
use crate::failure::{Advise, Exit};
use crate::files;
use crate::process::{self, Process};
use crate::registry::{Claim, Command, Exec, LocalRun, Phase, Pooled, Source};

/// How long a server gets to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Between two attempts to delete a folder.
const RETRY: Duration = Duration::from_millis(10);

/// Removes the config file, ends everything that a run has started, deletes its data and its record, and
/// tells how many servers it had. Nothing is deleted before `kept`, in which the servers may be ending
/// already.
///
/// # Errors
/// What is left ([`Exit::TeardownIncomplete`]).
pub async fn remove(mut claim: Claim, kept: impl Future<Output = ()>) -> anyhow::Result<usize> {
    let Some(local) = claim.record.local().cloned() else {
        return Err(anyhow!("run {} is not on this machine", claim.record.run_id));
    };
    claim.record.check_is_here().exit(Exit::TeardownIncomplete)?;
    check_place(&claim, &local).exit(Exit::TeardownIncomplete)?;
    if claim.record.phase != Phase::Stopping {
        claim.record.phase = Phase::Stopping;
        // On a full disk it cannot be noted, and what follows makes room.
        let _ = claim.save();
    }
    bug::provoke("removal", "");
    let run_id = claim.record.run_id.clone();
    claim.record.remove_outputs();
    // After a restart of the machine the processes' numbers belong to others.
    let may_run = local.boot == process::boot_id()?;
    let end = async {
        if may_run {
            if let Some(run) = claim.folder() {
                end_pool(run).await?;
            }
            end_commands(&claim).await?;
            end_servers(&local, &run_id).await?;
            shared_memory::remove(&local.servers).await;
        }
        anyhow::Ok(())
    };
    let (ended, ()) = tokio::join!(end, kept);
    ended?;
    if may_run {
        join_all(local.servers.iter().map(|server| give_back(server.source.as_ref(), &server.data))).await;
    }
    delete(&local.data)
        .await
        .with_context(|| format!("deleting {}", local.data.display()))
        .exit(Exit::TeardownIncomplete)?;
    let is_own = claim.record.owner.is_some_and(|owner| owner.pid == std::process::id());
    if may_run && !is_own {
        // One that a killed testbed was just about to start, or what one of the others was just about to
        // write.
        end_servers(&local, &run_id).await?;
        delete(&local.data)
            .await
            .with_context(|| format!("deleting {}", local.data.display()))
            .exit(Exit::TeardownIncomplete)?;
    }
    claim.forget()?;
    Ok(local.servers.len())
}

/// What a record says may be damage: nothing is deleted but a folder that has the run's own name, and in which
/// this run is noted or nothing is.
pub(super) fn check_place(claim: &Claim, local: &LocalRun) -> anyhow::Result<()> {
    let run_id = &claim.record.run_id;
    let name = local.data.file_name().unwrap_or_default().to_string_lossy();
    let is_own = name.rsplit_once('.').is_some_and(|(before, _)| before == run_id);
    let is_same = |noted: &Path, folder: &Path| {
        noted == folder || matches!((noted.canonicalize(), folder.canonicalize()), (Ok(a), Ok(b)) if a == b)
    };
    let is_noted = match (claim.folder(), area::registry_of(&local.data)?) {
        (Some(folder), Some(noted)) => is_same(&noted, folder),
        (None, Some(_)) => true,
        // It was made a moment before its maker was killed, or is gone.
        (_, None) => std::fs::read_dir(&local.data).map_or(true, |mut entries| entries.next().is_none()),
    };
    if is_own && is_noted {
        return Ok(());
    }
    let folder = claim.folder().unwrap_or(Path::new("")).display();
    Err(anyhow!("the record in {folder} is damaged: run {run_id} has no data in {}", local.data.display()))
        .hint(format!("if nothing of the run is left, delete {folder}"))
}

/// Ends the commands that killed testbeds were running, with all of their processes; wherever their databases are,
/// they are on this machine.
///
/// # Errors
/// The processes that do not end ([`Exit::TeardownIncomplete`]).
pub async fn end_commands(claim: &Claim) -> anyhow::Result<()> {
    let record = &claim.record;
    // Those of its group, and those that have left it: unless they serve a run of their own, or are this very
    // process.
    let is_left = |other: &Process| {
        other.pid != std::process::id() && !processes::is_of_another_run(other.pid, &record.run_id)
    };
    let marked = |mark: &str| processes::with_variable(mark).into_iter().filter(is_left);
    let failed = |left: Vec<u32>| still_there("processes of the command", &left);
    // One that was just about to be noted is told by its mark alone.
    let is_own = record.owner.is_some_and(|owner| owner.pid == std::process::id());
    if record.command.is_some() || (!is_own && record.phase != Phase::Up) {
        let find = || {
            let noted = record.command.iter();
            let mut found: Vec<Process> = noted
                .flat_map(|Command { process, has_group }| {
                    processes::of_command(*process, *has_group, &record.run_id)
                })
                .collect();
            found.extend(record.mark().iter().flat_map(|mark| marked(mark)));
            found
        };
        processes::end(find).await.map_err(failed)?;
    }
    let left = claim.folder().map(Exec::left).unwrap_or_default();
    for exec in &left {
        processes::end(|| marked(&exec.mark).collect()).await.map_err(failed)?;
    }
    if let Some(folder) = claim.folder() {
        processes::end(|| processes::seeding_below(folder)).await.map_err(failed)?;
    }
    process::check().exit(Exit::TeardownIncomplete)?;
    left.into_iter().for_each(Exec::forget);
    Ok(())
}

/// Ends whoever serves the pool of the run in this folder, with all that was started for that.
///
/// # Errors
/// The processes that do not end ([`Exit::TeardownIncomplete`]).
pub async fn end_pool(run: &Path) -> anyhow::Result<()> {
    if !Pooled::log(run).exists() {
        return Ok(());
    }
    let (name, folder) = Pooled::mark(run);
    let mark = format!("{name}={}", folder.display());
    let ended = processes::end(|| processes::with_variable(&mark)).await;
    ended.map_err(|left| still_there("processes of its pool", &left))
}

/// Gives a server's data folder back to where it came from, without what the run has done to it. What cannot
/// go back is deleted with the rest.
pub(super) async fn give_back(source: Option<&Source>, data: &Path) {
    let (Some(source), Ok(folder)) = (source, data.symlink_metadata()) else { return };
    let is_root = rustix::process::geteuid().is_root();
    // In a folder of the account's own, as an older testbed has made them, the name could lead elsewhere by
    // now.
    let above = data.parent().and_then(|above| above.symlink_metadata().ok());
    if is_root && (folder.uid() == 0 || above.is_none_or(|above| above.uid() != 0)) {
        return;
    }
    let owner = Account { name: String::new(), uid: folder.uid(), gid: folder.gid() };
    source.keep(data, is_root.then_some(&owner)).await;
}

/// Ends the servers that work in a run's folder, of which nothing else is known any more, and deletes it.
///
/// # Errors
/// What is left ([`Exit::TeardownIncomplete`]).
pub async fn remove_data(folder: &Path) -> anyhow::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let run_id = name.rsplit_once('.').map_or(&*name, |(run_id, _)| run_id);
    remove_server(folder, run_id, &processes::servers_in(folder)).await
}

/// Removes what is beside the folders of a run's servers and pools, with whoever works in it, and forgets the logs of
/// servers that are not there.
///
/// # Errors
/// What is left ([`Exit::TeardownIncomplete`]).
pub async fn remove_strays(local: &mut LocalRun, run_id: &str) -> anyhow::Result<()> {
    let context = || format!("looking into {}", local.data.display());
    for entry in std::fs::read_dir(&local.data).with_context(context)? {
        let entry = entry.with_context(context)?;
        let is_own = entry.file_name() == POOLS
            || local.servers.iter().any(|server| server.data.parent() == Some(&entry.path()));
        if !is_own && entry.file_type().with_context(context)?.is_dir() {
            remove_server(&entry.path(), run_id, &local.programs).await?;
        }
    }
    local.logs.retain(|(name, _)| local.servers.iter().any(|server| server.name == *name));
    local.at_work = false;
    Ok(())
}

/// Ends a server of a run that works in this folder, and deletes the folder.
///
/// # Errors
/// What is left ([`Exit::TeardownIncomplete`]).
pub async fn remove_server(folder: &Path, run_id: &str, programs: &[PathBuf]) -> anyhow::Result<()> {
    let local = LocalRun { data: folder.to_owned(), programs: programs.to_vec(), ..LocalRun::default() };
    end_servers(&local, run_id).await?;
    delete(folder)
        .await
        .with_context(|| format!("deleting {}", folder.display()))
        .exit(Exit::TeardownIncomplete)
}

async fn end_servers(local: &LocalRun, run_id: &str) -> anyhow::Result<()> {
    let mark = Mark { folder: &local.data, run_id, programs: &local.programs };
    processes::quit_postgres(&processes::of_run(mark), GRACE).await;
    processes::end(|| processes::of_run(mark))
        .await
        .map_err(|left| still_there("server processes", &left))?;
    // Its data is deleted only if nobody was overlooked.
    process::check().exit(Exit::TeardownIncomplete)
}

fn still_there(what: &str, left: &[u32]) -> anyhow::Error {
    let ids: Vec<String> = left.iter().map(u32::to_string).collect();
    let error = anyhow!("{what} do not end: {}", ids.join(", "));
    error.hint("look at what they wait for, then call testbed down again").exit(Exit::TeardownIncomplete)
}

/// Deletes a folder that may not be there, and into which a copy that was interrupted may still be writing
/// its last files.
async fn delete(folder: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + GRACE;
    loop {
        let doomed = folder.to_owned();
        match background::run(move || files::remove_all(&doomed)).await? {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && Instant::now() < deadline => {
                sleep(RETRY).await;
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => break,
        }
    }
    area::leave_memory(folder);
    Ok(())
}
