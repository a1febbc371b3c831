//! How a run in a cluster is noted on this machine, so that the next command removes it should testbed be
//! killed, and where its config file goes. In a pod there may be nowhere to write: then nothing is noted,
//! which is no loss where the pod's files end with it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tempfile::TempDir;

use crate::failure::Advise;
use crate::registry::{Claim, Found, Place, Record, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::Cluster;
use crate::session::config::Config;
use crate::session::{Call, Maker};

/// Notes a run of `testbed run`, before anything of it exists, and places its config file: returns the run,
/// and the folder of the file where that is not the run's own. What `testbed up` makes outlives it, and is
/// not noted here.
///
/// # Errors
/// A run of this id that is there already; no folder for the config file.
pub(super) fn take(call: &mut Call<'_>, cluster: &Cluster) -> anyhow::Result<(Claim, Option<TempDir>)> {
    let run_id = &call.plan.run_id;
    let record = Record::new(run_id, Place::Kubernetes(cluster.location.clone()));
    if matches!(call.maker, Maker::Up(_)) {
        return Ok((Claim::unnoted(record), None));
    }
    match Registry::open(Duration::MAX) {
        Ok(registry) => {
            let claim = add(&registry, run_id, record)?;
            call.config.place_in(claim.folder().unwrap_or(&registry.folder(run_id.as_str())));
            Ok((claim, None))
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
            Ok((Claim::unnoted(record), place(&mut call.config)?))
        }
    }
}

fn add(registry: &Registry, run_id: &RunId, record: Record) -> anyhow::Result<Claim> {
    match registry.claim(run_id)? {
        Found::Absent => registry.add(record),
        Found::Held(holder) => Err(holder.is_held()),
        Found::Free(_) => Err(anyhow!("run {run_id} is there already"))
            .hint(format!("remove it first: testbed down --run-id {run_id}")),
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
