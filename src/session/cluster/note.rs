//! How a run in a cluster is noted on this machine, so that the next command removes it should testbed be
//! killed, and where its config file goes. In a pod there may be nowhere to write: then nothing is noted,
//! which is no loss where the pod's files end with it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tempfile::TempDir;

use crate::failure::Advise;
use crate::registry::{Claim, Found, Place, Record, Registry};
use crate::runtime::kubernetes::{Choice, Cluster};
use crate::session::config::Config;
use crate::session::{Call, Maker};

/// What was noted.
pub(super) struct Noted {
    pub claim: Claim,
    /// The folder of the config file, where that is not the run's own.
    pub folder: Option<TempDir>,
    /// Whether an earlier call has made the run.
    pub is_adopted: bool,
}

/// Notes a run before anything of it exists, and places its config file.
///
/// # Errors
/// A run of this id that is there already, and not to be shared; no folder for the config file.
pub(super) fn take(call: &mut Call<'_>, cluster: &Cluster) -> anyhow::Result<Noted> {
    let run_id = &call.plan.run_id;
    let record = call.record(Place::Kubernetes(cluster.location.clone()));
    match Registry::open(Duration::MAX) {
        Ok(registry) => {
            let (claim, is_adopted) = add(&registry, call, record)?;
            call.config.place_in(claim.folder().unwrap_or(&registry.folder(call.plan.run_id.as_str())));
            Ok(Noted { claim, folder: None, is_adopted })
        }
        // What `up` makes is meant to outlive it.
        Err(error) if matches!(call.maker, Maker::Up(_)) => {
            call.progress.explain(&format!(
                "run {run_id} is not noted on this machine, and testbed down needs its id: {error:#}"
            ));
            Ok(Noted { claim: Claim::unnoted(record), folder: None, is_adopted: false })
        }
        Err(error) => {
            let why = format!(
                "run {run_id} is not noted on this machine, and stays should testbed be killed: {error:#}"
            );
            if cluster.inside {
                call.progress.explain(&why);
            } else {
                call.progress.warn(&why);
            }
            let folder = place(&mut call.config)?;
            Ok(Noted { claim: Claim::unnoted(record), folder, is_adopted: false })
        }
    }
}

/// Notes it, or takes over what is noted of it, and tells which.
fn add(registry: &Registry, call: &Call<'_>, record: Record) -> anyhow::Result<(Claim, bool)> {
    let run_id = &call.plan.run_id;
    let is_up = matches!(call.maker, Maker::Up(_));
    match registry.claim(run_id)? {
        Found::Absent => Ok((registry.add(record)?, false)),
        // Each creates what is missing of the run, and nobody else removes it.
        Found::Held(_) if is_up => Ok((Claim::unnoted(record), false)),
        Found::Held(holder) => Err(holder.is_held()),
        Found::Free(mut claim) => match (claim.record.location(), record.location()) {
            (Some(noted), Some(now)) if noted.is_same_place(now) => {
                claim.record.expires = record.expires;
                claim.record.owner = record.owner;
                Ok((*claim, true))
            }
            (Some(noted), Some(_)) if is_up => {
                call.progress.say(&format!(
                    "run {run_id} may still be in namespace {} as well: testbed down --run-id {run_id} -n {}{}",
                    noted.namespace,
                    noted.namespace,
                    Choice::from(noted).of_command()
                ));
                claim.record = record;
                Ok((*claim, false))
            }
            _ => Err(anyhow!("run {run_id} is there already, in another place"))
                .hint(format!("remove it first: testbed down --run-id {run_id}")),
        },
    }
}

/// A private folder for a config file that nobody has named a place for.
fn place(config: &mut Config) -> anyhow::Result<Option<TempDir>> {
    if !config.is_private {
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("testbed-").tempdir();
    let folder = folder.context("making a temporary folder for the config file");
    let folder = folder.hint(
        "name a file in a folder that can be written with --output, or set XDG_STATE_HOME or TMPDIR to one",
    )?;
    config.place_in(folder.path());
    Ok(Some(folder))
}
