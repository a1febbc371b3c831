//! Removes a run of a cluster: collects what there is to know, deletes its objects, and has both recorded.
//!
//! Collecting comes first, within the recorder's time, and keeps nothing from being removed: nobody can
//! remove a run and forget its logs.

use std::time::Duration;

use tokio::time::Instant;

use super::Cluster;
use super::collect::{Known, collect};
use super::teardown::{self, DEFAULT_GRACE, Taken, Timeout};
use crate::deadline;
use crate::history::record::Record;
use crate::recorder::event::Asked;
use crate::recorder::origin::PipelineRun;
use crate::recorder::{Event, Recorder, Recording};
use crate::run_id::RunId;

/// How long collecting may take where the API server is in trouble.
const IN_TROUBLE: Duration = Duration::from_millis(750);

pub struct Removal<'a> {
    cluster: &'a Cluster,
    run_id: &'a RunId,
    recording: &'a Recording<'a>,
    known: Option<Known>,
    within: Duration,
}

pub enum Limit {
    /// So long from its own beginning on.
    For(Duration),
    /// Until a moment that is set already.
    By(Timeout),
}

/// The recording of a run that somebody else has made: with the id of its record, if that is known.
pub fn recording<'a>(
    recorder: &'a Recorder,
    cluster: &Cluster,
    run_id: &RunId,
    id: Option<String>,
    pipeline_run: PipelineRun,
) -> Recording<'a> {
    let mut record =
        Record { name: run_id.as_str().to_owned(), ..Record::begin(run_id.as_str(), "kubernetes") };
    record.origin.cluster = Some(cluster.server.clone());
    record.origin.namespace = Some(cluster.namespace.clone());
    Recording::of_remover(recorder, record, id, pipeline_run)
}

impl<'a> Removal<'a> {
    /// Of a run of whose secrets no more is known than what its objects tell.
    pub fn new(cluster: &'a Cluster, run_id: &'a RunId, recording: &'a Recording<'a>) -> Self {
        Self {
            cluster,
            run_id,
            recording,
            known: Some(Known::nothing(run_id)),
            within: recording.recorder().timeout(),
        }
    }

    #[must_use]
    pub fn knowing(self, known: Known) -> Self {
        Self { known: Some(known), ..self }
    }

    /// Less time for collecting.
    #[must_use]
    pub fn within(self, most: Duration) -> Self {
        Self { within: self.within.min(most), ..self }
    }

    /// Collects and records what is there, once.
    #[must_use]
    pub async fn collect(mut self) -> Self {
        let recorder = self.recording.recorder();
        let Some(known) = self.known.take().filter(|_| recorder.is_on()) else { return self };
        let begun = Instant::now();
        // From a server that does not answer there is nothing to be had.
        let within = if self.cluster.trouble().is_some() { self.within.min(IN_TROUBLE) } else { self.within };
        let deadline = deadline::after(within);
        self.recording.on(collect(self.cluster, self.run_id, known, deadline).await);
        recorder.settle(deadline::left(deadline)).await;
        recorder.took(begun.elapsed());
        self
    }

    /// Collects, and deletes all of the run. Returns how many objects there were.
    pub async fn tear_down(
        self,
        asked: Asked,
        grace: u32,
        limit: Limit,
        tell: impl FnMut(&str),
    ) -> anyhow::Result<usize> {
        self.take_away(asked, grace, limit, None, tell).await.map(|taken| taken.count)
    }

    /// The same for what one call has made, by the hash that its objects carry; whether that was all there is.
    pub async fn undo(
        self,
        made_by: Option<&str>,
        within: Duration,
        tell: impl FnMut(&str),
    ) -> anyhow::Result<bool> {
        let taken = self.take_away(Asked::ByMaker, DEFAULT_GRACE, Limit::For(within), made_by, tell).await;
        taken.map(|taken| !taken.has_others)
    }

    async fn take_away(
        self,
        asked: Asked,
        grace: u32,
        limit: Limit,
        made_by: Option<&str>,
        tell: impl FnMut(&str),
    ) -> anyhow::Result<Taken> {
        self.recording.on(Event::RemovalAsked(asked));
        let Self { cluster, run_id, recording, .. } = self.collect().await;
        let time = match limit {
            Limit::For(time) => Timeout { told: time, deadline: deadline::after(time) },
            Limit::By(timeout) => timeout,
        };
        let taken = teardown::take_away(cluster, run_id, grace, time, made_by, tell).await;
        recording.on(Event::of_removal(&taken));
        taken
    }
}
