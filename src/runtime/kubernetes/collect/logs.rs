//! The logs of all containers of a run, also from before a restart, in bounded memory.

use futures::{AsyncBufReadExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, LogParams};
use tokio::time::{Instant, timeout_at};

use super::references::Secrets;
use crate::failure::innermost;
use crate::history::clip::Clip;
use crate::history::record::LogInfo;
use crate::runtime::kubernetes::explain::is_forbidden;
use crate::runtime::kubernetes::pods::name;
use crate::runtime::kubernetes::{AT_ONCE, Cluster};

/// A log as it was read, secrets included.
pub(super) struct Read {
    pub info: LogInfo,
    pub text: String,
}

#[derive(Default)]
pub(super) struct Logs {
    pub logs: Vec<Read>,
    pub notes: Vec<String>,
}

enum Lack {
    Forbidden,
    Failed(String),
}

/// Reads them by the deadline, but for those of pods whose secrets are not known.
pub(super) async fn read_all(cluster: &Cluster, pods: &[Pod], secrets: &Secrets, deadline: Instant) -> Logs {
    let api = cluster.api::<Pod>();
    let wanted = pods.iter().filter(|pod| secrets.are_known(name(pod))).flat_map(of_pod);
    let reads = wanted.map(|info| async {
        let mut clip = Clip::default();
        let lack = match timeout_at(deadline, read(&api, &info, &mut clip)).await {
            Ok(Ok(())) => None,
            Ok(Err(lack)) => Some(lack),
            Err(_) => Some(Lack::Failed("it was not there in time".into())),
        };
        (info, clip, lack)
    });
    let mut read = Logs::default();
    let mut is_forbidden = false;
    // In their own order, whichever comes first.
    let mut reads = stream::iter(reads).buffered(AT_ONCE);
    while let Some((info, clip, lack)) = reads.next().await {
        match lack {
            Some(Lack::Forbidden) => is_forbidden = true,
            Some(Lack::Failed(why)) => read.add(info, clip, Some(why)),
            None => read.add(info, clip, None),
        }
    }
    if is_forbidden {
        read.notes.push("logs may not be read: that needs the verb get on pods/log".into());
    }
    read
}

impl Logs {
    fn add(&mut self, info: LogInfo, clip: Clip, lack: Option<String>) {
        let LogInfo { source: pod, container, previous, .. } = &info;
        let before = if *previous { " before its last restart" } else { "" };
        let is_empty = clip.bytes() == 0;
        let clipped = clip.finish();
        let mut cut = clipped.cut;
        if let Some(why) = lack {
            let what = if is_empty { "the log" } else { "the rest of the log" };
            self.notes
                .push(format!("{what} of container {container} of Pod {pod}{before} is missing: {why}"));
            cut = Some(cut.map(|cut| cut + "; ").unwrap_or_default() + "the rest is missing: " + &why);
        }
        if !is_empty {
            self.logs.push(Read { info: LogInfo { bytes: clipped.bytes, cut, ..info }, text: clipped.text });
        }
    }
}

async fn read(api: &Api<Pod>, info: &LogInfo, clip: &mut Clip) -> Result<(), Lack> {
    let params = LogParams {
        container: Some(info.container.clone()),
        previous: info.previous,
        ..LogParams::default()
    };
    let stream = api.log_stream(&info.source, &params).await.map_err(|error| match error {
        error if is_forbidden(&error) => Lack::Forbidden,
        error => Lack::Failed(innermost(&error)),
    })?;
    let mut stream = Box::pin(stream);
    loop {
        let bytes = stream.fill_buf().await.map_err(|error| Lack::Failed(innermost(&error)))?;
        let count = bytes.len();
        if count == 0 {
            return Ok(());
        }
        clip.push(bytes);
        stream.consume_unpin(count);
    }
}

/// The logs that a pod has: of every container that has run.
fn of_pod(pod: &Pod) -> Vec<LogInfo> {
    let Some(status) = &pod.status else { return Vec::new() };
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let mut found = Vec::new();
    for container in lists.into_iter().flatten().flatten() {
        let info = |previous| LogInfo {
            source: name(pod).to_owned(),
            container: container.name.clone(),
            previous,
            ..LogInfo::default()
        };
        let (runs, ran) = runs(container);
        if runs && ran {
            found.push(info(true));
        }
        // One that waits for its next start has the log of the last one.
        if runs || ran {
            found.push(info(false));
        }
    }
    found
}

/// Whether a container has been started, and whether one before it has ended.
fn runs(container: &ContainerStatus) -> (bool, bool) {
    let runs =
        container.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    // The end of the one before may not be told yet.
    let ran = container.restart_count > 0
        || container.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    (runs, ran)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_container_that_has_run_has_a_log() {
        let status = |name: &str, state: Value, last: Value| json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state, "lastState": last});
        let (running, ended) = (json!({"running": {}}), json!({"terminated": {"exitCode": 1}}));
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {
            "initContainerStatuses": [status("init", ended.clone(), json!({}))],
            "containerStatuses": [
                status("new", running.clone(), json!({})), status("again", running, ended.clone()),
                status("looping", waiting.clone(), ended), status("not-yet", waiting, json!({})),
            ],
        }}))
        .unwrap();
        let found: Vec<(String, bool)> =
            of_pod(&pod).into_iter().map(|info| (info.container, info.previous)).collect();
        let expected =
            [("init", false), ("new", false), ("again", true), ("again", false), ("looping", false)];
        assert_eq!(found, expected.map(|(name, previous)| (name.to_owned(), previous)));
    }

    #[test]
    fn what_is_missing_is_told() {
        let info =
            || LogInfo { source: "p".into(), container: "c".into(), previous: true, ..LogInfo::default() };
        let mut logs = Logs::default();
        let mut clip = Clip::default();
        clip.push(b"one\n");
        logs.add(info(), clip, Some("it was not there in time".into()));
        logs.add(info(), Clip::default(), Some("no such container".into()));
        logs.add(info(), Clip::default(), None);
        assert_eq!(logs.logs.len(), 1);
        assert_eq!(logs.logs[0].info.cut.as_deref(), Some("the rest is missing: it was not there in time"));
        assert_eq!(
            logs.notes,
            [
                "the rest of the log of container c of Pod p before its last restart is missing: it was not there in time",
                "the log of container c of Pod p before its last restart is missing: no such container",
            ]
        );
    }
}
