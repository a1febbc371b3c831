//! `testbed down` for a run of this machine, and for one that a `testbed run` on this machine works on.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use rustix::process::Signal;

use crate::cli::{Down, Runtime};
use crate::failure::{Advise, Exit};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::recorder::event::Asked;
use crate::registry::{Claim, Found, Record, Registry};
use crate::run_id::RunId;
use crate::runtime::local::{processes, removal};
use crate::words::count;

pub(crate) enum Known {
    /// Nothing.
    Nothing,
    Gone,
    /// It is in a cluster, and nobody else works on it now.
    InCluster(Box<Claim>),
}

/// Removes a run that is on this machine. One that another testbed works on, wherever it is, is left to that
/// one, which is asked to end. With `runtime`, a run elsewhere counts as unknown.
pub(crate) async fn down(
    run_id: &RunId,
    args: &Down,
    registry: &Registry,
    runtime: Option<Runtime>,
    recorder: &Recorder,
    progress: &Progress,
) -> anyhow::Result<Known> {
    let deadline = Instant::now() + args.timeout;
    let is_elsewhere = |record: &Record| {
        runtime.is_some_and(|runtime| (runtime == Runtime::Local) != record.local().is_some())
    };
    let mut was_held = false;
    loop {
        match registry.claim(run_id).exit(Exit::TeardownIncomplete)? {
            Found::Absent if was_held => {
                progress.say(&format!("run {run_id} is gone"));
                return Ok(Known::Gone);
            }
            Found::Absent => return Ok(Known::Nothing),
            Found::Held(record) if is_elsewhere(&record) => return Ok(Known::Nothing),
            Found::Free(claim) if is_elsewhere(&claim.record) => return Ok(Known::Nothing),
            Found::Held(record) if record.is_of_another_namespace() => {
                return Err(record.elsewhere()).exit(Exit::TeardownIncomplete);
            }
            Found::Held(record) => ask_to_end(&record, deadline, progress).await?,
            Found::Free(claim) if claim.record.local().is_some() => {
                return remove_run(*claim, recorder, progress).await.map(|()| Known::Gone);
            }
            Found::Free(claim) => return Ok(Known::InCluster(claim)),
        }
        was_held = true;
    }
}

async fn remove_run(claim: Claim, recorder: &Recorder, progress: &Progress) -> anyhow::Result<()> {
    let run_id = claim.record.run_id.clone();
    let recording = removal::recording(recorder, &claim);
    let servers = removal::remove(claim, &recording, Asked::Down).await?;
    progress.say(&format!("run {run_id} is gone ({})", count(servers, "server")));
    Ok(())
}

/// Another testbed works on the run: it is asked to end, which removes the run, or brings it to where this
/// process can.
async fn ask_to_end(record: &Record, deadline: Instant, progress: &Progress) -> anyhow::Result<()> {
    let Some(owner) = record.owner.filter(|owner| owner.is_alive()) else {
        // Between its maker's end and its lock's, or just being noted.
        tokio::time::sleep(Duration::from_millis(10)).await;
        return wait_over(record, deadline);
    };
    owner.signal(Signal::TERM);
    progress.say(&format!(
        "run {} belongs to a testbed that still runs (process {}); asking it to end",
        record.run_id, owner.pid
    ));
    if !processes::gone(owner, deadline.saturating_duration_since(Instant::now())).await {
        return wait_over(record, Instant::now());
    }
    Ok(())
}

fn wait_over(record: &Record, deadline: Instant) -> anyhow::Result<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    let owner =
        record.owner.map_or_else(|| "another process".to_owned(), |owner| format!("process {}", owner.pid));
    Err(anyhow!("run {} is not removed: {owner} still works on it", record.run_id))
        .hint("end that process, with SIGKILL if need be, and call testbed down again")
        .exit(Exit::TeardownIncomplete)
}
