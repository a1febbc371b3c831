//! The archive as the commands use it: what is written goes into a queue and is written in the background, so that nobody waits for a
//! store that is slow or down. What could not be written is told once, at the end, and fails nothing.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::story::checked_out;
use super::warn;
use crate::cli::Archiving;
use crate::failure::{Advise, usage};
use crate::history::log::Log;
use crate::history::place::Place;
use crate::history::record::{Origin, Record};
use crate::history::store::Store;
use crate::progress::Progress;

/// A change of a record that is stored.
type Change = Box<dyn FnOnce(&mut Record) + Send>;

/// The archive of one command; of no use, and no trouble, where none is kept.
pub struct Archive {
    patience: Duration,
    writer: Option<Writer>,
}

struct Writer {
    place: Place,
    /// Whether the user has named it.
    is_named: bool,
    queue: mpsc::UnboundedSender<Job>,
    progress: watch::Receiver<Written>,
    sent: std::cell::Cell<usize>,
}

/// What the background has done so far.
#[derive(Default)]
struct Written {
    jobs: usize,
    failure: Option<anyhow::Error>,
}

/// Something to write.
enum Job {
    Begin(Box<Record>),
    Put(Box<Record>, Vec<Log>),
    Change(Box<Changing>),
}

struct Changing {
    id: String,
    change: Change,
    logs: Vec<Log>,
    otherwise: Option<Record>,
}

impl Archive {
    /// Begins to open the store, in the background.
    ///
    /// # Errors
    /// A usage error about `--history`.
    pub fn open(args: &Archiving) -> anyhow::Result<Self> {
        let named = place(args.history.as_deref())?;
        let is_named = named.is_some();
        let place = named.unwrap_or_else(Place::usual);
        let writer = place.map(|place| {
            let (queue, jobs) = mpsc::unbounded_channel();
            let (to, progress) = watch::channel(Written::default());
            tokio::spawn(write(place.clone(), jobs, to));
            Writer { place, is_named, queue, progress, sent: 0.into() }
        });
        Ok(Self { patience: args.archive_timeout, writer })
    }

    /// Whether anything is written at all.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// How long a command may wait for the archive, collecting included.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Writes the record of a run that is about to be made, with the commit that is checked out in its folder.
    pub fn begin(&self, record: Record) {
        self.send(Job::Begin(Box::new(record)));
    }

    /// Writes a record, in the place of an older one with its id.
    pub fn put(&self, record: Record, logs: Vec<Log>) {
        self.send(Job::Put(Box::new(record), logs));
    }

    /// Changes a stored record, and adds logs. Where it is not stored (it could not be when it began), `otherwise` is changed and put.
    pub fn change(&self, id: &str, logs: Vec<Log>, otherwise: Option<Record>, change: impl FnOnce(&mut Record) + Send + 'static) {
        let change: Change = Box::new(change);
        self.send(Job::Change(Box::new(Changing { id: id.to_owned(), change, logs, otherwise })));
    }

    fn send(&self, job: Job) {
        if let Some(writer) = &self.writer
            && writer.queue.send(job).is_ok()
        {
            writer.sent.set(writer.sent.get() + 1);
        }
    }

    /// Waits until all is written that was sent so far, or cannot be, at most as long as told. What is not written by then goes on being
    /// written while this process runs. Whether all of it is.
    pub async fn settle(&self, within: Duration) -> bool {
        let Some(writer) = &self.writer else { return true };
        let sent = writer.sent.get();
        let mut progress = writer.progress.clone();
        let settled = progress.wait_for(|written| written.jobs >= sent || written.failure.is_some());
        matches!(timeout(within, settled).await, Ok(Ok(written)) if written.failure.is_none())
    }

    /// The same, and tells what could not be written: the last thing that a command does with it.
    pub async fn finish(self, within: Duration, progress: &Progress) {
        if self.settle(within).await {
            return;
        }
        let Some(Writer { place, is_named, progress: mut written, .. }) = self.writer else { return };
        let what = format!("the run's story is not complete in {place}");
        let error = match written.borrow_and_update().failure.as_ref() {
            Some(error) => format!("{what}: {error:#}"),
            None => format!("{what}: it took longer than {}", humantime::format_duration(self.patience)),
        };
        if is_named {
            warn(&anyhow::Error::msg(error), progress);
        } else {
            // Nobody has asked for it: a folder that cannot be written is no reason to complain at every call.
            progress.explain(&error);
        }
    }
}

/// The place that a flag, a variable or the settings name: `None` where none does, and `Some(None)` for `none`.
///
/// # Errors
/// A usage error; also for a password that everybody on the machine can read in the process list.
pub fn place(history: Option<&str>) -> anyhow::Result<Option<Option<Place>>> {
    let Some(text) = history.filter(|text| !text.is_empty()) else { return Ok(None) };
    let place = Place::parse(text)?;
    let is_visible = || std::env::args().any(|arg| arg.contains(text));
    if place.as_ref().is_some_and(Place::has_password) && is_visible() {
        return Err(usage("--history: others can see a password on the command line in the process list"))
            .hint("set TESTBED_HISTORY to the URL, or leave the password away and set PGPASSWORD or PGPASSFILE");
    }
    Ok(Some(place))
}

/// Works the queue off, until it fails or the command ends.
async fn write(place: Place, mut jobs: mpsc::UnboundedReceiver<Job>, to: watch::Sender<Written>) {
    let mut store = None;
    while let Some(job) = jobs.recv().await {
        match work(&place, &mut store, job).await {
            Ok(()) => to.send_modify(|written| written.jobs += 1),
            Err(error) => {
                to.send_modify(|written| written.failure = Some(error));
                return;
            }
        }
    }
}

async fn work(place: &Place, store: &mut Option<Store>, job: Job) -> anyhow::Result<()> {
    let store = match store {
        Some(store) => store,
        None => store.insert(Store::open(place).await.with_context(|| format!("opening {place}"))?),
    };
    match job {
        Job::Begin(mut record) => {
            if let Origin { git_commit: commit @ None, folder: Some(folder), .. } = &mut record.origin {
                *commit = checked_out(folder).await;
            }
            store.put(*record, Vec::new()).await
        }
        Job::Put(record, logs) => store.put(*record, logs).await,
        Job::Change(changing) => {
            let Changing { id, change, logs, otherwise } = *changing;
            store.change(&id, logs, otherwise, change).await.map(drop)
        }
    }
}
