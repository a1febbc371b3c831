//! Forks: further servers of a run, each with a copy of what another one of its servers held.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::as_made::AsMade;
use super::planned::{Planned, Run};
use super::prepared::Placed;
use super::program::Setting;
use super::start::{self, Started, Told};
use super::taking::copied;
use super::tls;
use crate::failure::Advise;
use crate::state::STATE_HINT;

/// A server that is about to be.
pub struct Fork {
    pub name: String,
    made: AsMade,
}

impl Fork {
    /// One of this name of a server.
    pub fn of(made: &AsMade, name: String) -> Self {
        let mut made = AsMade { seed: None, ..made.clone() };
        let planned = &mut made.planned;
        planned.database.name.clone_from(&name);
        planned.folder = format!("fork-{name}");
        planned.scripts.clear();
        (planned.from, planned.port) = (None, None);
        Self { name, made }
    }

    fn planned(&self) -> &Planned {
        &self.made.planned
    }

    pub fn folder(&self, run: &Path) -> PathBuf {
        run.join(&self.planned().folder)
    }

    /// Copies the data of a server that has ended cleanly, or of another fork that has not been started.
    ///
    /// # Errors
    /// The system's reason.
    pub async fn copy(&self, data: &Path, run: Run<'_>) -> anyhow::Result<()> {
        let (folder, planned) = (self.folder(run.folder), self.planned());
        let setting = Setting { account: planned.account.as_ref(), run_id: run.run_id };
        start::make_folder(&folder, setting)
            .with_context(|| format!("making {}", folder.display()))
            .hint(STATE_HINT)?;
        copied(data, &folder.join("data"), setting.account).await
    }

    /// Starts it, and waits until it takes the tests' login.
    ///
    /// # Errors
    /// The step that failed, with the end of the server's log.
    pub async fn start(&self, run: Run<'_>, report: impl Fn(Told<'_>)) -> anyhow::Result<Started> {
        let planned = self.planned();
        let setting = Setting { account: planned.account.as_ref(), run_id: run.run_id };
        let data = self.folder(run.folder).join("data");
        if let Some(certificate) = &planned.database.tls {
            tls::write(planned, &data, certificate, setting)?;
        }
        let placed = Placed {
            password: self.made.root.password.reveal().to_owned(),
            source: None,
            logins: Some(Vec::new()),
        };
        start::start_on(planned, run, &data, setting, &placed, &report).await
    }
}
