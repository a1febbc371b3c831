//! How a run in a cluster is noted on this machine, so that the next command removes it should testbed be killed, and where its config
//! file goes. In a pod there may be nowhere to write: then nothing is noted, which is no loss where the pod's files end with it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tempfile::TempDir;

use crate::commands::config::Config;
use crate::commands::reap;
use crate::failure::Advise;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::registry::{Claim, Found, Place, Record, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::Cluster;

/// A noted run, and the folder of its config file where that is not the run's own.
pub(super) struct Note {
    /// The run.
    pub claim: Claim,
    folder: Option<TempDir>,
}

impl Note {
    /// Notes the run, before anything of it exists, and places its config file. Runs that were left behind are removed first.
    ///
    /// # Errors
    /// A run of this id that is there already; no folder for the config file.
    pub(super) async fn take(
        run_id: &RunId,
        cluster: &Cluster,
        config: &mut Config,
        recorder: &Recorder,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let record = Record::new(run_id, Place::Kubernetes(cluster.location.clone()));
        match Registry::open(Duration::MAX) {
            Ok(registry) => {
                reap::reap(&registry, recorder, Duration::MAX, progress).await;
                let claim = add(&registry, run_id, record)?;
                config.place_in(claim.folder().unwrap_or(&registry.folder(run_id.as_str())));
                Ok(Self { claim, folder: None })
            }
            Err(error) => {
                let why = format!("run {run_id} is not noted on this machine, and stays should testbed be killed: {error:#}");
                if cluster.inside {
                    progress.explain(&why);
                } else {
                    progress.warn(&why);
                }
                Ok(Self { claim: Claim::unnoted(record), folder: place(config)? })
            }
        }
    }

    /// Notes which record is the run's. Its objects carry it as well, so that not to have noted it is no loss.
    pub(super) fn remember_record(&mut self, id: Option<String>) {
        self.claim.record.history = id;
        let _ = self.claim.save();
    }

    /// Leaves the folder of the config file where it is.
    pub(super) fn keep_folder(&mut self) {
        if let Some(folder) = self.folder.take() {
            drop(folder.keep());
        }
    }
}

fn add(registry: &Registry, run_id: &RunId, record: Record) -> anyhow::Result<Claim> {
    match registry.claim(run_id)? {
        Found::Absent => registry.add(record),
        Found::Held(holder) => Err(holder.is_held()),
        Found::Free(_) => Err(anyhow!("run {run_id} is there already")).hint(format!("remove it first: testbed down --run-id {run_id}")),
    }
}

/// A private folder for a config file that nobody has named a place for.
fn place(config: &mut Config) -> anyhow::Result<Option<TempDir>> {
    if !config.is_private() {
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("testbed-").tempdir();
    let folder = folder.context("making a temporary folder for the config file");
    let folder = folder.hint("name a file in a folder that can be written with --output, or set XDG_STATE_HOME or TMPDIR to one")?;
    config.place_in(folder.path());
    Ok(Some(folder))
}
