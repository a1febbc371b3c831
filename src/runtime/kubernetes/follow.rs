//! The log of a database's container, followed for what it says of the set-up.
//!
//! Needs `get` on `pods/log`; without that right nothing is said, and other evidence has to do.

use std::time::Duration;

use anyhow::Context;
use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Cluster;
use super::explain::is_forbidden;
use super::pods::{self, Pods};
use crate::database::Database;
use crate::probe::{Container, Log, Outside, change, marker};

/// The pause before a log is opened again whose connection was lost, or that was rotated.
const REOPEN: Duration = Duration::from_secs(1);

/// Follows the log of whichever container of the database runs, and notes in `to` what it says.
pub(super) async fn follow_log(
    cluster: Cluster,
    database: Database,
    pods: watch::Receiver<Pods>,
    to: watch::Sender<Outside>,
) {
    let api = cluster.api::<Pod>();
    let mut outside = to.subscribe();
    loop {
        let id = match &*outside.borrow_and_update() {
            Outside { container: Container::Running(id), log: Log::Unread | Log::SettingUp } => {
                Some(id.clone())
            }
            _ => None,
        };
        let pod = id.as_ref().and_then(|id| {
            pods::running(&pods.borrow(), &database.workload, &database.container, id).map(str::to_owned)
        });
        let (Some(id), Some(pod)) = (id, pod) else {
            change(&mut outside).await;
            continue;
        };
        let container = Container::Running(id);
        let ended = tokio::select! {
            ended = read(&api, &pod, &database, &container, &to) => ended,
            () = another(&mut outside, &container) => continue,
        };
        match ended {
            Err(error) if error.downcast_ref::<kube::Error>().is_some_and(is_forbidden) => return,
            _ => tokio::select! {
                () = sleep(REOPEN) => {}
                () = another(&mut outside, &container) => {}
            },
        }
    }
}

/// Waits until another container runs than this one, or none.
async fn another(outside: &mut watch::Receiver<Outside>, container: &Container) {
    while outside.borrow_and_update().container == *container {
        change(outside).await;
    }
}

/// Reads one container's log until it says that the set-up is over, or ends.
async fn read(
    api: &Api<Pod>,
    pod: &str,
    database: &Database,
    container: &Container,
    to: &watch::Sender<Outside>,
) -> anyhow::Result<()> {
    let params =
        LogParams { container: Some(database.container.clone()), follow: true, ..LogParams::default() };
    let stream = api.log_stream(pod, &params).await?;
    let mut log = Log::Unread;
    let mut lines = Lines { stream: Box::pin(stream), line: Vec::new() };
    while !matches!(log, Log::Final(_)) {
        let Some(line) = lines.next().await? else { return Ok(()) };
        let next = marker::after(log, database.engine, &line);
        if next != log {
            log = next;
            to.send_if_modified(|outside| {
                let fits = outside.container == *container;
                if fits {
                    outside.log = log;
                }
                fits
            });
        }
    }
    Ok(())
}

struct Lines<S> {
    stream: S,
    line: Vec<u8>,
}

impl<S: AsyncBufRead + Unpin> Lines<S> {
    async fn next(&mut self) -> anyhow::Result<Option<String>> {
        self.line.clear();
        let count =
            self.stream.read_until(b'\n', &mut self.line).await.context("reading a container's log")?;
        Ok((count > 0).then(|| String::from_utf8_lossy(&self.line).into_owned()))
    }
}
