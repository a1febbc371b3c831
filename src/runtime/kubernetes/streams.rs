//! The logs of a run's databases as their containers write them, over restarts, and for as long as there are
//! pods.

use std::time::Duration;

use anyhow::Context;
use futures::future::{FutureExt, join_all};
use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::collect::Followed;
use super::explain::is_forbidden;
use super::pods::{PodWatch, Pods, Whose, container_status, is_over, name, pods_of};
use super::{Cluster, explain};
use crate::probe::change;
use crate::redact::{Redactor, Stream};
use crate::run_id::RunId;

/// The pause before a log is opened again that ended although its container runs: a connection was lost, or
/// the log was rotated.
const REOPEN: Duration = Duration::from_secs(1);

/// How long a controller gets to make a pod in the place of one that is gone.
const REPLACED: Duration = Duration::from_secs(30);

/// As much as is looked through at once.
const BLOCK: usize = 64 << 10;

/// Reads these logs, the last lines or all of them, and gives their lines away together with the log's
/// number; and if they are to be followed, what comes later, for as long as the databases have pods.
///
/// # Errors
/// A log that may not be read; what `give` fails with.
pub async fn follow(
    cluster: &Cluster,
    run_id: RunId,
    logs: &[&Followed],
    redactor: &Redactor,
    tail: Option<u32>,
    goes_on: bool,
    mut give: impl AsyncFnMut(usize, Vec<String>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (to, mut from) = mpsc::channel(1);
    let log = |number: usize| Log {
        api: cluster.api(),
        of: logs[number],
        number,
        stream: Stream::new(redactor),
        last: None,
        tail: tail.map(i64::from),
        is_silent: false,
        to: to.clone(),
    };
    let explained = |error: kube::Error| explain(cluster, error, "reading the logs");
    let reading = async {
        if !goes_on {
            // One after the other, as there is nothing to wait for. One that cannot be read, such as that of a
            // container that waits for its start, keeps no other from it.
            let mut failed = Ok(());
            for (number, of) in logs.iter().enumerate() {
                let mut log = log(number);
                failed = failed.and(log.read(&of.pod, false).await.map_err(explained));
                log.finish().await;
            }
            return failed;
        }
        let (watch, mut failure) = PodWatch::start(cluster, Whose::Run(run_id), |_| {});
        let all = join_all((0..logs.len()).map(|number| log(number).follow(watch.pods())));
        tokio::select! {
            ended = all => ended.into_iter().collect::<Result<(), _>>().map_err(explained),
            error = failure.reason() => Err(error),
        }
    };
    let mut reading = std::pin::pin!(reading);
    let ended = loop {
        tokio::select! {
            biased;
            Some((number, lines)) = from.recv() => give(number, lines).await?,
            ended = &mut reading => break ended,
        }
    };
    while let Ok((number, lines)) = from.try_recv() {
        give(number, lines).await?;
    }
    ended
}

/// The log of one database.
struct Log<'a> {
    api: Api<Pod>,
    of: &'a Followed,
    number: usize,
    stream: Stream<'a>,
    /// When the last line was written that was read.
    last: Option<Timestamp>,
    tail: Option<i64>,
    /// Whether lines are read for their times alone.
    is_silent: bool,
    to: mpsc::Sender<(usize, Vec<String>)>,
}

impl Log<'_> {
    async fn follow(mut self, mut pods: watch::Receiver<Pods>) -> Result<(), kube::Error> {
        change(&mut pods).await;
        loop {
            let pod = pods_of(&pods.borrow_and_update(), &self.of.workload).next().cloned();
            let Some(pod) = pod else {
                // Nobody makes a pod of the manifest anew.
                let is_final = self.of.workload.starts_with("Pod/");
                if is_final || timeout(REPLACED, change(&mut pods)).await.is_err() {
                    self.finish().await;
                    return Ok(());
                }
                continue;
            };
            if self.tail == Some(0) {
                // What is there by now is passed over, and only that: also when the log is opened again.
                (self.tail, self.is_silent) = (Some(1), true);
                let _ = self.read(name(&pod), false).await;
                (self.tail, self.is_silent) = (None, false);
            }
            let read = self.read(name(&pod), true).await;
            self.tail = self.tail.filter(|_| read.is_err());
            match read {
                Err(error) if is_forbidden(&error) => return Err(error),
                // It has not begun, or cannot be reached for a moment.
                Err(_) | Ok(()) => {}
            }
            if is_over(&pod) {
                self.finish().await;
                return Ok(());
            }
            // One that is started again has more to say, and until then there is nothing to ask for.
            let runs = || {
                let pods = pods.borrow();
                let now = pods.get(name(&pod)).and_then(|pod| container_status(pod, &self.of.container));
                now.is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
            };
            if runs() {
                sleep(REOPEN).await;
            } else {
                change(&mut pods).await;
            }
        }
    }

    /// Reads on from the last line that is known, up to the log's end.
    async fn read(&mut self, pod: &str, goes_on: bool) -> Result<(), kube::Error> {
        let params = LogParams {
            container: Some(self.of.container.clone()),
            follow: goes_on,
            timestamps: true,
            since_time: self.last.and_then(whole_second),
            tail_lines: self.tail.filter(|_| self.last.is_none()),
            ..LogParams::default()
        };
        let log = self.api.log_stream(pod, &params).await?;
        // Where it breaks off, it is opened again.
        let _ = self.take(Box::pin(log)).await;
        Ok(())
    }

    async fn take(&mut self, mut log: impl AsyncBufRead + Unpin) -> anyhow::Result<()> {
        let (mut raw, mut block) = (Vec::new(), Vec::new());
        loop {
            // All that is there is looked through at once, and is shown before more is waited for.
            let is_waiting = log.fill_buf().now_or_never().is_none();
            if (is_waiting || block.len() > BLOCK) && !block.is_empty() {
                self.give(&std::mem::take(&mut block)).await;
            }
            let bytes = log.fill_buf().await.context("reading a container's log")?;
            let count = bytes.len();
            raw.extend_from_slice(bytes);
            log.consume_unpin(count);
            let whole = match raw.iter().rposition(|byte| *byte == b'\n') {
                _ if count == 0 => raw.len(),
                None if raw.len() < BLOCK => continue,
                end => end.map_or(raw.len(), |end| end + 1),
            };
            for line in raw.drain(..whole).as_slice().split_inclusive(|byte| *byte == b'\n') {
                self.line(line, &mut block);
            }
            if count == 0 {
                self.give(&block).await;
                return Ok(());
            }
        }
    }

    /// Takes a line without the time before it, unless it was read before. What has no time goes on with a
    /// line that was too long.
    fn line(&mut self, line: &[u8], block: &mut Vec<u8>) {
        let space = line.iter().position(|byte| *byte == b' ');
        let time =
            space.and_then(|space| std::str::from_utf8(&line[..space]).ok()?.parse::<Timestamp>().ok());
        match (time, space) {
            (Some(time), Some(_)) if self.last.is_some_and(|last| time <= last) => {}
            (Some(time), _) if self.is_silent => self.last = Some(time),
            (Some(time), Some(space)) => {
                self.last = Some(time);
                block.extend_from_slice(&line[space + 1..]);
            }
            _ => block.extend_from_slice(line),
        }
    }

    async fn give(&mut self, block: &[u8]) {
        let lines = self.stream.push(block);
        if !lines.is_empty() {
            let _ = self.to.send((self.number, lines)).await;
        }
    }

    async fn finish(&mut self) {
        let lines = self.stream.finish();
        let _ = self.to.send((self.number, lines)).await;
    }
}

/// From when on a log is asked for: the API server takes whole seconds, to which kube would round up as well, past lines
/// that nobody has read. Those of that second which were read are passed over.
fn whole_second(last: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(last.as_millisecond().div_euclid(1000)).ok()
}

#[cfg(test)]
mod tests {
    use kube::core::Request;

    use super::*;

    #[test]
    fn no_line_is_lost_between_two_requests() {
        for (last, asked) in [
            ("2026-12-01T01:32:46.574Z", "2026-12-01T01%3A32%3A46Z"),
            ("2026-12-01T01:32:46.499999999Z", "2026-12-01T01%3A32%3A46Z"),
            ("2026-12-01T01:32:47Z", "2026-12-01T01%3A32%3A47Z"),
        ] {
            let since_time = whole_second(last.parse().unwrap());
            let request =
                Request::new("/pods").logs("a", &LogParams { since_time, ..LogParams::default() }).unwrap();
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains(&format!("sinceTime={asked}")), "{last}: {query}");
        }
    }
}
