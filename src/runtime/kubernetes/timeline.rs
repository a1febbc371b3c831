//! What became of a database's container, in the order of its life, as far as its pod and events tell.
//!
//! Whoever looks has a clock that knows milliseconds; of what was before, Kubernetes tells whole seconds.

use std::convert::Infallible;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use tokio::sync::watch;

use super::disruption::Disruption;
use super::events::{Events, Note};
use super::pods::{Pods, container_status, made_by, name, uid};
use crate::database::Database;
use crate::history::record::{Moment, What};
use crate::probe::change;
use crate::recorder::{Event, Recording};
use crate::time::Time;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    pub what: What,
    /// That it is the nth of its kind, from 1.
    pub nth: usize,
    /// When, by the cluster's clock, where that is told.
    pub at: Option<Time>,
    pub detail: String,
}

pub fn signs(pod: &Pod, container: &str, events: &[Note]) -> Vec<Sign> {
    let once =
        |what, at: Option<Timestamp>, detail: String| Sign { what, nth: 1, at: at.map(Into::into), detail };
    let mut signs =
        vec![once(What::Created, pod.metadata.creation_timestamp.as_ref().map(|time| time.0), String::new())];
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    for condition in
        conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "True")
    {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let detail = node.map(|node| format!("on {node}")).unwrap_or_default();
        signs.push(once(What::Scheduled, condition.last_transition_time.as_ref().map(|time| time.0), detail));
    }
    let about = |reason: &str| {
        events.iter().find(|note| note.reason == reason && note.container.as_deref() == Some(container))
    };
    if let Some(pulled) = about("Pulled") {
        signs.push(once(What::Pulled, pulled.first, pull(&pulled.message)));
    }
    let Some(status) = container_status(pod, container) else { return signs };
    signs.extend(starts(status, about("Started")));
    if let Some(going) = &pod.metadata.deletion_timestamp
        && let Some(disruption) = Disruption::of(pod)
    {
        let nth = usize::try_from(status.restart_count).unwrap_or_default() + 1;
        let detail = format!("its pod {}: {}", disruption.what(), disruption.reason);
        // Unless its container has ended by then, which tells the moment and not the cause.
        signs.retain(|sign| (sign.what, sign.nth) != (What::Ended, nth));
        signs.push(Sign { what: What::Ended, nth, at: Some(going.0.into()), detail });
    }
    signs
}

/// How an image came to be there, from the words of the kubelet.
fn pull(message: &str) -> String {
    match message.rsplit_once(" in ") {
        Some((_, took)) if took.starts_with(|c: char| c.is_ascii_digit()) => {
            let took = took.split([' ', ',']).next().unwrap_or_default();
            format!("in {}", took.trim_end_matches('.'))
        }
        _ if message.contains("already present") => "it was there".into(),
        _ => String::new(),
    }
}

fn starts(status: &ContainerStatus, started: Option<&Note>) -> Vec<Sign> {
    let restarts = usize::try_from(status.restart_count).unwrap_or_default();
    let (now, last) = (status.state.as_ref(), status.last_state.as_ref());
    let running = now.and_then(|state| state.running.as_ref());
    let ended = now.and_then(|state| state.terminated.as_ref());
    let ended_before = last.and_then(|state| state.terminated.as_ref());
    let began = running.map(|running| &running.started_at).or(ended.map(|ended| &ended.started_at));
    let began = began.and_then(|time| time.as_ref()).map(|time| time.0);
    let mut signs = Vec::new();
    let mut add = |what, nth, at: Option<Timestamp>, detail| {
        signs.push(Sign { what, nth, at: at.map(Into::into), detail });
    };
    let first = match restarts {
        0 => began,
        1 => ended_before.and_then(|ended| ended.started_at.as_ref()).map(|time| time.0),
        _ => started.and_then(|note| note.first),
    };
    if running.is_some() || ended.is_some() || ended_before.is_some() {
        add(What::Started, 1, first, String::new());
    }
    if let Some(ended) = ended_before {
        add(What::Ended, restarts.max(1), ended.finished_at.as_ref().map(|time| time.0), how(ended));
    }
    if restarts > 0 && (running.is_some() || ended.is_some()) {
        add(
            What::Restarted,
            restarts,
            began,
            ended_before.map(|ended| format!("after {}", how(ended))).unwrap_or_default(),
        );
    }
    if let Some(ended) = ended {
        add(What::Ended, restarts + 1, ended.finished_at.as_ref().map(|time| time.0), how(ended));
    }
    signs
}

fn how(ended: &ContainerStateTerminated) -> String {
    format!("exit code {} ({})", ended.exit_code, ended.reason.as_deref().unwrap_or("no reason"))
}

/// Takes down what the watches on pods and events show.
pub struct Follower<'a> {
    pub databases: &'a [Database],
    pub recording: &'a Recording<'a>,
    /// Whether the pods were there before anybody looked, so that Kubernetes' own times count.
    pub is_past: bool,
}

impl Follower<'_> {
    /// Looks whenever something changes, for ever.
    pub async fn follow(
        &self,
        mut pods: watch::Receiver<Pods>,
        mut events: watch::Receiver<Events>,
    ) -> Infallible {
        loop {
            self.look(&pods.borrow_and_update(), &events.borrow_and_update());
            tokio::select! {
                () = change(&mut pods) => {}
                () = change(&mut events) => {}
            }
        }
    }

    pub fn look(&self, pods: &Pods, events: &Events) {
        let now = Time::now();
        for database in self.databases {
            for pod in pods.values().filter(|pod| made_by(pod) == Some(&database.workload)) {
                for Sign { what, nth, at, detail } in
                    signs(pod, &database.container, &events.about("Pod", name(pod), Some(uid(pod))))
                {
                    let at = at.filter(|_| self.is_past).unwrap_or(now);
                    self.recording.on(Event::Database {
                        name: database.name.clone(),
                        nth,
                        moment: Moment { what, at, detail },
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::note;
    use super::*;
    use serde_json::{Value, json};

    fn told(status: Value, events: &[Note]) -> Vec<(What, usize, Option<i64>, String)> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "db", "creationTimestamp": "1970-01-01T00:00:10Z"}, "spec": {"containers": [], "nodeName": "n"},
            "status": {
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:11Z"}],
                "containerStatuses": [status],
            },
        }))
        .unwrap();
        let told = |sign: Sign| (sign.what, sign.nth, sign.at.map(|at| at.millis() / 1000), sign.detail);
        signs(&pod, "db", events).into_iter().map(told).collect()
    }

    fn status(restarts: u8, state: Value, last: Value) -> Value {
        json!({"name": "db", "image": "", "imageID": "", "ready": true, "restartCount": restarts, "state": state, "lastState": last})
    }

    fn events() -> [Note; 2] {
        let note = |reason, message, at| Note { container: Some("db".into()), ..note(reason, message, at) };
        [
            note("Pulled", "Successfully pulled image \"mysql:9.7\" in 1.5s (1.5s including waiting)", 13),
            note("Started", "Started container db", 14),
        ]
    }

    #[test]
    fn a_life_without_trouble() {
        let running = json!({"running": {"startedAt": "1970-01-01T00:00:15Z"}});
        assert_eq!(
            told(status(0, running, json!({})), &events()),
            [
                (What::Created, 1, Some(10), String::new()),
                (What::Scheduled, 1, Some(11), "on n".into()),
                (What::Pulled, 1, Some(13), "in 1.5s".into()),
                (What::Started, 1, Some(15), String::new()),
            ]
        );
        assert_eq!(pull("Container image \"mysql:9.7\" already present on machine"), "it was there");
        assert_eq!(pull("Successfully pulled image \"x in y\" in 812.5ms"), "in 812.5ms");
    }

    #[test]
    fn ends_and_restarts_are_counted() {
        let ended = |code: u8| json!({"terminated": {"exitCode": code, "reason": "Error", "startedAt": "1970-01-01T00:00:16Z", "finishedAt": "1970-01-01T00:00:20Z"}});
        let running = json!({"running": {"startedAt": "1970-01-01T00:00:21Z"}});
        let how = |code| format!("exit code {code} (Error)");
        assert_eq!(
            told(status(1, running.clone(), ended(3)), &[])[2..],
            [
                (What::Started, 1, Some(16), String::new()),
                (What::Ended, 1, Some(20), how(3)),
                (What::Restarted, 1, Some(21), "after exit code 3 (Error)".into()),
            ]
        );
        let third = told(status(3, running, ended(3)), &events());
        assert_eq!(
            third[3..5],
            [(What::Started, 1, Some(14), String::new()), (What::Ended, 3, Some(20), how(3))]
        );
        assert_eq!(
            told(status(0, ended(1), json!({})), &[])[2..],
            [(What::Started, 1, Some(16), String::new()), (What::Ended, 1, Some(20), how(1))]
        );
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(told(status(2, waiting, ended(1)), &[])[3..], [(What::Ended, 2, Some(20), how(1))]);
    }
}
