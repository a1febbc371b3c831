//! How a snapshot is taken: the data of a server that has ended is copied, and looked at by a server of its own once the
//! other one goes on.

use std::path::Path;

use anyhow::Context;

use super::account::{self, Account};
use super::area::Area;
use super::as_made::AsMade;
use super::planned::Run;
use super::prepared::{InMaking, Placed};
use super::program::Setting;
use super::serve::{self, Told, is_postgres};
use super::snapshot::{FILE, Noted, Snapshot};
use super::{aside, copy, mysql, postgres, room};
use crate::background;
use crate::failure::{Advise, Exit, usage};
use crate::files;
use crate::registry::Server;
use crate::state::STATE_HINT;

/// Begins to take a snapshot. Nobody else takes one of its name meanwhile.
///
/// # Errors
/// A usage error where there is one already, and it is not to be replaced.
pub async fn begin(snapshot: Snapshot, area: &Area, replaces: bool) -> anyhow::Result<Taking> {
    let cache = area.snapshots();
    files::make_folder(&cache).with_context(|| format!("making {}", cache.display())).hint(STATE_HINT)?;
    let prepared = snapshot.entry(&cache);
    let lock = prepared.lock(true).await?;
    if prepared.entry().is_some() && !replaces {
        return Err(usage(format!("{} has a snapshot {} already", snapshot.database, snapshot.name))).hint(
            format!("--replace takes its place; testbed snapshot rm {} removes it", snapshot.called()),
        );
    }
    Ok(Taking { making: prepared.begin(lock).await?, snapshot })
}

/// A snapshot that is being taken.
pub struct Taking {
    snapshot: Snapshot,
    making: InMaking,
}

impl Taking {
    /// Copies the data of a server that has ended cleanly.
    ///
    /// # Errors
    /// The system's reason.
    pub async fn copy(&self, server: &Server, account: Option<&Account>) -> anyhow::Result<()> {
        copied(&server.data, &self.making.stage().data, account).await.with_context(|| server.name.clone())
    }

    /// Has a server of its own look at it, which takes the run's passwords out of it, and keeps it.
    ///
    /// # Errors
    /// The step that failed; nothing is kept then.
    pub async fn finish(
        &self,
        as_made: &AsMade,
        run: Run<'_>,
        report: &dyn Fn(Told<'_>),
    ) -> anyhow::Result<()> {
        let (planned, stage) = (&as_made.planned, self.making.stage());
        let setting = Setting { account: planned.account.as_ref(), run_id: run.run_id };
        let own = aside::for_itself(planned);
        let placed = Placed {
            password: as_made.root.password.reveal().to_owned(),
            source: None,
            logins: Some(Vec::new()),
        };
        let mut serving = serve::serve(&own, run, &stage.data, setting, &placed, report).await?;
        let logins = if is_postgres(&own) {
            postgres::seal(&own, &stage, serving.port).await
        } else {
            mysql::seal(&own, &stage.data, serving.port, &serving.root).await
        };
        let name = &planned.database.name;
        let logins =
            logins.with_context(|| format!("{name}: looking for the logins in it")).exit(Exit::Never)?;
        let ended = serve::end(&own, &mut serving, stage.folder, run.deadline).await;
        ended.with_context(|| format!("{name}: ending the server of the snapshot"))?;
        let noted = Noted { snapshot: self.snapshot.clone(), logins };
        let file = stage.folder.join(FILE);
        files::write(&file, &serde_json::to_string(&noted)?, 0o600)?;
        self.making.finish(setting.account, &[file]).await
    }

    /// Removes what there is of it.
    ///
    /// # Errors
    /// What is left.
    pub async fn give_up(&self) -> anyhow::Result<()> {
        self.making.give_up().await
    }
}

/// Copies a data folder in which no server works, for the same account.
pub(super) async fn copied(from: &Path, to: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    let context = format!("copying the data folder {}", from.display());
    let (from, to, account) = (from.to_owned(), to.to_owned(), account.cloned());
    let work = move || copy::copy(&from, account::owner(account.as_ref()), &to, account.as_ref()).map(drop);
    room::copied(background::run(work).await?, context, STATE_HINT)
}
