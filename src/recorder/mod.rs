//! Listens to what happens to runs, and writes their records to the history.
//!
//! What is written goes into a queue and is written in the background, so that nobody waits for a store that
//! is slow or down. What could not be written is told once, at the end, and fails nothing.

pub mod event;
pub mod lost;
mod merge;
pub mod origin;
mod recording;
pub mod timeline;
mod writer;

use std::cell::Cell;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::failure::{hints_of, kind_of};
use crate::history::place::Place;
use crate::history::results::ResultsApi;
use crate::history::store::NO_SPACE;
use crate::progress::Progress;

pub use event::Event;
pub use recording::Recording;
use writer::{Job, Which, Writer, Written};

/// How long an archive is waited for that was waited for in vain.
const AGAIN: Duration = Duration::from_millis(500);

/// The recorder of one command; of no use, and no trouble, where no history is kept.
pub struct Recorder {
    timeout: Duration,
    queue: Option<Queue>,
    /// Whether somebody has waited for it in vain.
    is_late: Cell<bool>,
    /// How long a run has waited for it so far.
    spent: Cell<Duration>,
}

struct Queue {
    /// Whether the user has asked for an archive.
    is_named: bool,
    jobs: mpsc::UnboundedSender<Job>,
    written: watch::Receiver<Written>,
    sent: Cell<usize>,
}

/// Where records go.
pub struct Sinks {
    /// The store that the user has named, or wants none; `None` where nothing was said.
    pub named: Option<Option<Place>>,
    pub results: Option<ResultsApi>,
    /// Tells the Result that this pod's TaskRun belongs to.
    pub own_result: fn() -> BoxFuture<'static, Option<String>>,
}

impl Recorder {
    /// Begins to listen for what there is to write; no store is opened before.
    pub fn open(Sinks { named, results, own_result }: Sinks, timeout: Duration) -> Self {
        let is_named = named.is_some() || results.is_some();
        let place = named.unwrap_or_else(Place::usual);
        let queue = (place.is_some() || results.is_some()).then(|| {
            let (jobs, to_do) = mpsc::unbounded_channel();
            let (to, written) = watch::channel(Written::default());
            tokio::spawn(Writer::new(place, results, own_result).write(to_do, to));
            Queue { is_named, jobs, written, sent: Cell::new(0) }
        });
        Self { timeout, queue, is_late: Cell::new(false), spent: Cell::default() }
    }

    /// The recorder of a command that keeps no history.
    pub fn none(timeout: Duration) -> Self {
        Self { timeout, queue: None, is_late: Cell::new(false), spent: Cell::default() }
    }

    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// How long a command may wait for the archive, collecting included.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Takes note of how long a run has waited for it: what comes at the end gets the rest.
    pub fn took(&self, time: Duration) {
        self.spent.set(self.spent.get().max(time));
    }

    fn send(&self, job: Job) {
        if let Some(queue) = &self.queue
            && queue.jobs.send(job).is_ok()
        {
            queue.sent.set(queue.sent.get() + 1);
        }
    }

    /// Waits until all that was sent is written, or cannot be; the rest goes on being written while this
    /// process runs. An archive that was waited for in vain is hardly waited for again.
    pub async fn settle(&self, within: Duration) {
        let Some(queue) = &self.queue else { return };
        let sent = queue.sent.get();
        let mut written = queue.written.clone();
        let within = if self.is_late.get() { within.min(AGAIN) } else { within };
        let settled = timeout(within, written.wait_for(|written| written.jobs >= sent)).await;
        self.is_late.set(settled.is_err());
    }

    /// The same, and tells what could not be written: the last thing that a command does with it.
    pub async fn finish(self, progress: &Progress) {
        self.settle(self.timeout.saturating_sub(self.spent.get()).max(AGAIN.min(self.timeout))).await;
        let Some(queue) = &self.queue else { return };
        let written = queue.written.borrow();
        let late = (written.jobs < queue.sent.get()).then(|| {
            format!("it took longer than {} (--archive-timeout)", humantime::format_duration(self.timeout))
        });
        let failures =
            written.failures.iter().map(|error| (format!("{error:#}"), hints_of(error), is_full(error)));
        for (what, hints, is_full) in failures.chain(late.map(|late| (late, Vec::new(), false))) {
            let what = format!("the run's story is not complete in the archive: {what}");
            if queue.is_named || is_full {
                progress.warn(&what);
                hints.iter().for_each(|hint| progress.say(&format!("  {hint}")));
            } else {
                // Nobody has asked for it: a folder that cannot be written is no complaint at every call.
                progress.explain(&what);
            }
        }
    }
}

/// Whether the disk had no room: unlike a folder that is closed, that passes, and is worth a word.
fn is_full(error: &anyhow::Error) -> bool {
    use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
    let is_full = |link: &(dyn std::error::Error + 'static)| {
        let of_system = link
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull);
        let code = link.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
        of_system || matches!(code, Some(DiskFull | SystemIoFailure))
    };
    error.chain().any(is_full) || kind_of(error).is_some_and(|kind| kind.word == NO_SPACE)
}
