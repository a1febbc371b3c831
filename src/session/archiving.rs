//! The recorder that a command's flags ask for.

use futures::FutureExt;
use tokio::time::timeout;

use crate::cli::{self, Archiving, said};
use crate::history::place::Place;
use crate::history::results::ResultsApi;
use crate::history::store::Store;
use crate::progress::Progress;
use crate::recorder::origin::PipelineRun;
use crate::recorder::{Recorder, Sinks};
use crate::run_id::RunId;
use crate::runtime::kubernetes::own;

/// Begins to listen.
///
/// # Errors
/// A usage error about one of the flags.
pub(crate) fn open(args: &Archiving) -> anyhow::Result<Recorder> {
    let named = Place::named(args.history.as_deref())?;
    let results = said(&args.results_api)
        .map(|url| ResultsApi::new(&url, args.results_token_file.clone(), said(&args.results_ca).as_deref()));
    let own_result = || own::result().boxed();
    Ok(Recorder::open(Sinks { named, results: results.transpose()?, own_result }, args.archive_timeout))
}

/// The same for a command that removes: a wrong flag is told, and keeps nothing from being removed.
pub(crate) fn of_removal(args: &Archiving, progress: &Progress) -> Recorder {
    open(args).unwrap_or_else(|error| {
        progress.warn_of(&error.context("going on without the archive"));
        Recorder::none(args.archive_timeout)
    })
}

/// Whether the archive has a record of the run. One that cannot be asked has none.
pub(crate) async fn knows(args: &Archiving, run_id: &RunId) -> bool {
    let Ok(named) = Place::named(args.history.as_deref()) else { return false };
    let Some(place) = named.unwrap_or_else(Place::usual) else { return false };
    let ask = async {
        let store = Store::open_to_read(&place).await.ok()??;
        store.find(run_id.as_str()).await.ok().filter(|records| !records.is_empty())
    };
    timeout(args.archive_timeout, ask).await.is_ok_and(|found| found.is_some())
}

pub(crate) fn pipeline_run(args: &cli::PipelineRun) -> PipelineRun {
    PipelineRun { name: said(&args.name), uid: said(&args.uid) }
}
