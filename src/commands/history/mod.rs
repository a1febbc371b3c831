//! `testbed history`: what became of runs, asked of their store, and of where they are while they are up.

mod list;
mod logs;
mod prune;
mod report;
mod show;
mod which;
mod words;

use std::path::Path;

use anyhow::Context;

use crate::cli::{Asking, Global, History};
use crate::console;
use crate::failure::{Advise, usage};
use crate::files;
use crate::history::place::Place;
use crate::history::store::Store;
use crate::progress::Progress;
use crate::recorder::lost;

pub(super) async fn history(args: History, global: &Global) -> anyhow::Result<()> {
    let progress = global.progress();
    let named = Place::named(args.history.as_deref())?;
    if named == Some(None) {
        return Err(usage("--history none keeps nothing, so there is nothing to ask for"))
            .hint("name the place that runs were written to");
    }
    let place = named.flatten().or_else(Place::usual);
    match args.command {
        Asking::List(args) => list::list(&args, global, &Kept::at(place)?, &progress).await,
        Asking::Show(args) => show::show(&args, &Kept::at(place)?, &progress).await,
        Asking::Logs(args) => logs::logs(&args, global, place.map(|place| Kept { place }), &progress).await,
        Asking::Prune(args) => prune::prune(&args, &Kept::at(place)?, &progress).await,
        Asking::Report(args) => report::report(&args, global, &Kept::at(place)?, &progress).await,
    }
}

struct Kept {
    place: Place,
}

impl Kept {
    fn at(place: Option<Place>) -> anyhow::Result<Self> {
        let place = place.ok_or_else(|| {
            usage("no history is kept here: in a pod, whose files end with it, there is no usual place")
        });
        Ok(Self {
            place: place.hint(
                "name one with --history or TESTBED_HISTORY: sqlite:PATH, postgres://USER@HOST/DATABASE",
            )?,
        })
    }

    /// The store; `None` where nothing was ever written.
    async fn store(&self) -> anyhow::Result<Option<Store>> {
        let store = Store::open_to_read(&self.place)
            .await
            .with_context(|| format!("reading the history in {}", self.place))?;
        if let Some(store) = &store {
            // The answer does not depend on it.
            let _ = lost::close(&self.place, store).await;
        }
        Ok(store)
    }

    /// The same for a question that can be answered with nothing, which is told then.
    async fn store_or_tell(&self, progress: &Progress) -> anyhow::Result<Option<Store>> {
        let store = self.store().await?;
        if store.is_none() {
            progress.say(&self.nothing());
        }
        Ok(store)
    }

    /// What a question says that there is no answer to.
    fn nothing(&self) -> String {
        format!("nothing is kept yet in {}", self.place)
    }
}

/// Writes a page to a file, which is for its owner alone, or to standard output.
fn write_page(path: &Path, page: &str, progress: &Progress) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        return console::print(page);
    }
    files::write(path, page, 0o600)?;
    progress.say(&format!("written to {}", path.display()));
    Ok(())
}
