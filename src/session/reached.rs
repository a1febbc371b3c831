//! The databases of a run that is up by addresses that lead there from here: on this machine and inside a
//! cluster as they were noted, from outside through port-forwards.

use std::path::Path;

use tempfile::TempDir;

use super::cluster::standing::{self, Ways};
use super::standing::Standing;
use super::work;
use crate::cli::Global;
use crate::output::{Environment, Model, Names};
use crate::progress::Progress;

pub(super) struct Reached {
    pub model: Model,
    /// What leads there for as long as this lives, and where files about it go.
    forwarded: Option<(Ways, TempDir)>,
}

impl Reached {
    pub(super) async fn open(
        run: &Standing,
        model: Model,
        global: &Global,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let Some(location) = run.record.location() else { return Ok(Self { model, forwarded: None }) };
        let mut verified = model.clone();
        verified.note_authorities(run.folder());
        let found = standing::reach(location, &verified, global, progress).await?;
        let Some((model, ways)) = found else { return Ok(Self { model, forwarded: None }) };
        Ok(Self { model, forwarded: Some((ways, run.own_folder()?)) })
    }

    /// Whether it is over when this process is.
    pub(super) fn is_forwarded(&self) -> bool {
        self.forwarded.is_some()
    }

    /// What a command gets, as `run` would give it.
    pub(super) fn environment(
        &self,
        run: &Standing,
        names: &Names,
        progress: &Progress,
    ) -> anyhow::Result<Environment> {
        match &self.forwarded {
            // The config file tells other addresses.
            Some((_, folder)) => work::environment(&self.model, names, None, Some(folder.path()), progress),
            None => {
                let folder = run.folder_for(&self.model)?;
                work::environment(&self.model, names, run.config(), Some(&folder), progress)
            }
        }
    }

    /// Where the files are that the environment names.
    pub(super) fn folder<'a>(&'a self, run: &'a Standing) -> anyhow::Result<std::borrow::Cow<'a, Path>> {
        Ok(match &self.forwarded {
            Some((_, folder)) => folder.path().into(),
            None => run.folder_for(&self.model)?.into(),
        })
    }
}
