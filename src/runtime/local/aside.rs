//! Data folders that are made beside that of a server which goes on meanwhile: whole, with all logins, by a server of
//! their own that has ended cleanly, so that what takes the other one's place is never half made.

use std::cell::Cell;
use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::as_made::{ANEW, AsMade};
use super::planned::{Planned, Run};
use super::prepared::{Prepared, Stage};
use super::program::Setting;
use super::seeds::{Layers, Making};
use super::serve::{self, Told, is_postgres};
use super::{postgres, remove, scripts, start};
use crate::failure::{Advise, Exit};
use crate::files;
use crate::registry::{Server, Source};
use crate::state::STATE_HINT;

/// What the name of the folder ends with, behind that of the server's own.
const ASIDE: &str = ".aside";

/// A data folder in which no server works.
pub struct Aside {
    /// The folder above it, which goes when its work is done.
    folder: PathBuf,
    data: PathBuf,
    /// Where it came from, if it can go back there.
    source: Option<Source>,
}

/// Makes the data folder of a server as it was when the server was made, for the same logins.
///
/// # Errors
/// The step that failed; what was made is left, and removed by the next attempt or with the run.
pub async fn make(as_made: &AsMade, run: Run<'_>, report: &dyn Fn(Told<'_>)) -> anyhow::Result<Aside> {
    let planned = &as_made.planned;
    let setting = Setting { account: planned.account.as_ref(), run_id: run.run_id };
    // What an earlier call has left there, which was killed.
    remove(as_made, run).await?;
    let mut aside = open(planned, run, setting)?;
    report(Told::Stage("preparing", ""));
    let placing = async {
        match &as_made.seed {
            Some(source) => {
                let gone = async |_: Stage<'_>| Err(anyhow!("its seed is not kept any more")).hint(ANEW);
                Prepared::of(source).place_at(&aside.data, setting.account, gone).await
            }
            None => {
                let layers = Layers::of(planned, &run.area.cache);
                let making = Making {
                    layers: &layers,
                    run,
                    setting,
                    report,
                    first: Cell::default(),
                    command: Cell::default(),
                };
                making.place(&aside.data).await
            }
        }
    };
    let placed = tokio::time::timeout_at(run.deadline, placing).await;
    let placed = placed.unwrap_or_else(|_| Err(anyhow!("it takes too long")).exit(Exit::NotReady));
    let placed = placed.with_context(|| format!("{}: preparing its data folder", planned.database.name))?;
    let own = for_itself(planned);
    let mut serving = serve::serve(&own, run, &aside.data, setting, &placed, report).await?;
    // What has logins has had them all.
    if placed.logins.is_none() {
        let server = scripts::Server { data: &aside.data, port: serving.port, root: &serving.root };
        let ran = scripts::run(&own, "the set-up script", &own.scripts, &server, setting, run);
        ran.await.map_err(|error| serve::redacted(&own, &serving.root, &error, "set-up-failed"))?;
    }
    let ended = serve::end(&own, &mut serving, &aside.folder, run.deadline).await;
    ended.with_context(|| format!("{}: ending the server beside it", planned.database.name))?;
    aside.source = placed.source;
    Ok(aside)
}

/// An empty folder beside that of the server.
fn open(planned: &Planned, run: Run<'_>, setting: Setting<'_>) -> anyhow::Result<Aside> {
    let folder = folder(planned, run);
    start::make_folder(&folder, setting)
        .with_context(|| format!("making {}", folder.display()))
        .hint(STATE_HINT)?;
    Ok(Aside { data: folder.join("data"), folder, source: None })
}

/// The same server without what only the one needs that tests get to.
pub(super) fn for_itself(planned: &Planned) -> Planned {
    let mut own = planned.clone();
    (own.database.tls, own.port) = (None, None);
    if is_postgres(planned) {
        own.args.extend(postgres::for_a_seed(planned));
    }
    own
}

impl Aside {
    /// Puts it in the place of the data folder of a server that has ended, in one step where the file system can, and
    /// takes that one instead.
    ///
    /// # Errors
    /// The system's reason; the server has its own one then.
    pub fn exchange(&mut self, server: &mut Server) -> anyhow::Result<()> {
        let context = || format!("{}: putting the other data folder in its place", server.name);
        files::exchange(&server.data, &self.data).with_context(context).hint(STATE_HINT)?;
        std::mem::swap(&mut self.source, &mut server.source);
        Ok(())
    }

    /// Gives the data folder back to where it came from, and removes the rest.
    ///
    /// # Errors
    /// What is left.
    pub async fn close(self, run: Run<'_>) -> anyhow::Result<()> {
        remove::give_back(self.source.as_ref(), &self.data).await;
        remove::remove_server(&self.folder, run.run_id, &[]).await
    }
}

/// Removes what was not finished.
///
/// # Errors
/// What is left.
pub async fn remove(as_made: &AsMade, run: Run<'_>) -> anyhow::Result<()> {
    let programs = std::slice::from_ref(&as_made.planned.installed.program);
    remove::remove_server(&folder(&as_made.planned, run), run.run_id, programs).await
}

fn folder(planned: &Planned, run: Run<'_>) -> PathBuf {
    run.folder.join(format!("{}{ASIDE}", planned.folder))
}
