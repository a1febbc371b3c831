//! Removes the runs whose testbed was killed before it could do so itself, and the servers' data that a
//! restart of the machine has left; and ends the commands of those that were only used.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline;
use crate::failure::Advise;
use crate::location::Location;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::recorder::event::Asked;
use crate::recorder::origin::PipelineRun;
use crate::registry::{Abandoned, Claim, Found, Place, Record, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::removal::{self, Limit, Removal};
use crate::runtime::kubernetes::teardown::{DEFAULT_GRACE, Timeout};
use crate::runtime::local::area::Area;
use crate::runtime::local::{self, prepared, remove};

/// How long the teardown of abandoned runs in clusters may take, all of them together: the user waits for
/// something else.
const TEARDOWN: Duration = Duration::from_secs(30);

/// Why an abandoned run is removed: a word for programs, and the same for people.
pub(crate) fn why(abandoned: Abandoned) -> (&'static str, &'static str) {
    match abandoned {
        Abandoned::Killed => ("killed", "the testbed that worked on it was killed, or the machine restarted"),
        Abandoned::Expired => ("expired", "its lifetime has ended"),
    }
}

/// Removes what was abandoned. What cannot be removed, or not within the time of the command, is told, and left for
/// the next command.
pub(crate) async fn remove(registry: &Registry, recorder: &Recorder, within: Duration, progress: &Progress) {
    let (_, untaken) = sweep(registry, recorder, within, progress).await;
    untaken.iter().for_each(|error| progress.warn_of(error));
}

/// The same. Returns what is noted of what was removed, and why a run could not be looked at.
pub(crate) async fn sweep(
    registry: &Registry,
    recorder: &Recorder,
    within: Duration,
    progress: &Progress,
) -> (Vec<(Record, Abandoned)>, Vec<anyhow::Error>) {
    let mut removed = Vec::new();
    let (claims, untaken) = registry.abandoned().unwrap_or_else(|error| (Vec::new(), vec![error]));
    let looking = |error: anyhow::Error| error.context("looking for runs that were left behind");
    let untaken = untaken.into_iter().map(looking).collect();
    if claims.is_empty() {
        return (removed, untaken);
    }
    let deadline = deadline::after(within.min(TEARDOWN));
    for (claim, abandoned) in claims {
        let record = claim.record.clone();
        // Nothing but the note of it is left.
        if abandoned == Abandoned::Expired && record.location().is_some() {
            record.remove_outputs();
            let _ = claim.forget();
            continue;
        }
        let (run_id, because) = (&record.run_id, why(abandoned).1);
        match remove_one(claim, abandoned, recorder, deadline).await {
            Ok(()) => {
                progress.say(&format!("removed run {run_id}: {because}"));
                removed.push((record, abandoned));
            }
            Err(error) => {
                progress.warn_of(
                    &error.context(format!("run {run_id} cannot be removed, and has to be: {because}")),
                );
            }
        }
    }
    if let Ok(area) = Area::open() {
        prepared::sweep(&area.cache).await;
    }
    (removed, untaken)
}

/// Ends what a testbed that was killed was running on a run that stays.
pub(crate) async fn end_commands(progress: &Progress) {
    let Some(registry) = Registry::find() else { return };
    // What cannot be read is told by whoever needs it.
    let (records, _) = registry.records().unwrap_or_default();
    for record in
        records.iter().filter(|record| registry.has_stray_command(record) || record.has_stray_folders())
    {
        let run_id = &record.run_id;
        match end_stray(&registry, run_id).await {
            Ok(true) => progress.say(&format!("ended what a killed testbed was running on run {run_id}")),
            Ok(false) => {}
            Err(error) => progress.warn_of(
                &error.context(format!("what a killed testbed was running on run {run_id} is still there")),
            ),
        }
    }
}

/// Tells whether it was there to be ended.
async fn end_stray(registry: &Registry, run_id: &str) -> anyhow::Result<bool> {
    let Found::Free(mut claim) = registry.claim(&RunId::parse(run_id)?)? else { return Ok(false) };
    let is_left = registry.has_stray_command(&claim.record);
    if is_left {
        remove::end_commands(&claim).await?;
        claim.record.command = None;
    }
    let has_folders = claim.record.has_stray_folders();
    if let Place::Local(local) = &mut claim.record.place
        && has_folders
    {
        remove::remove_strays(local, run_id).await?;
        if let Ok(area) = Area::open() {
            prepared::sweep(&area.snapshots()).await;
        }
    } else if !is_left {
        return Ok(false);
    }
    claim.save().map(|()| true)
}

async fn remove_one(
    claim: Claim,
    abandoned: Abandoned,
    recorder: &Recorder,
    deadline: Instant,
) -> anyhow::Result<()> {
    let (reason, because) = why(abandoned);
    let asked = Asked::Abandoned(reason, because.to_owned());
    match claim.record.location().cloned() {
        None => {
            let recording = local::removal::recording(recorder, &claim);
            local::removal::remove(claim, &recording, asked).await.map(drop)
        }
        Some(location) => remove_in_cluster(claim, location, recorder, asked, deadline).await,
    }
}

async fn remove_in_cluster(
    claim: Claim,
    location: Location,
    recorder: &Recorder,
    asked: Asked,
    deadline: Instant,
) -> anyhow::Result<()> {
    // Before its databases go: a command that loses them would only fail in another way.
    remove::end_commands(&claim).await?;
    let folder = claim.folder().map(Path::to_owned).unwrap_or_default();
    let removed = async {
        let cluster = Cluster::connect_to(location).await?;
        let run_id = RunId::parse(&claim.record.run_id)?;
        let record = claim.record.history.clone();
        let recording = removal::recording(recorder, &cluster, &run_id, record, PipelineRun::default());
        let removal = Removal::new(&cluster, &run_id, &recording).within(deadline::left(deadline) / 2);
        let limit = Limit::By(Timeout { told: deadline::left(deadline), deadline });
        removal.tear_down(asked, DEFAULT_GRACE, limit, |_| {}).await
    };
    removed.await.hint(format!("if its cluster is gone for good, delete {}", folder.display()))?;
    claim.record.remove_outputs();
    claim.forget()
}
