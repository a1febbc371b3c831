//! What the cluster said about a run's objects, and about what these made, gone by now or not.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::{Error, ResourceExt};
use tokio::time::{Instant, timeout_at};

use super::kind;
use crate::failure::innermost;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::events::{Note, is_part, note};
use crate::runtime::kubernetes::explain::is_forbidden;
use crate::runtime::kubernetes::teardown::part::makes_pods;

/// How many events one request asks for: a namespace in which many runs come and go has thousands.
const PAGE: u32 = 500;

/// How many are kept: the latest.
const KEPT: usize = 500;

/// The events from old to new, and why some may be missing.
pub(super) async fn about(
    cluster: &Cluster,
    objects: &[DynamicObject],
    deadline: Instant,
) -> (Vec<Note>, Option<String>) {
    let mut found = Vec::new();
    let reading = read(cluster, objects, &mut found);
    let note = match timeout_at(deadline, reading).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) if is_forbidden(&error) => {
            Some("events may not be read: that needs the verb list on events".to_owned())
        }
        Ok(Err(error)) => Some(format!("events could not be read: {}", innermost(&error))),
        Err(_) => Some("events could not be read in time".to_owned()),
    };
    found.sort_by_key(|note| note.at);
    let over = found.len().saturating_sub(KEPT);
    found.drain(..over);
    (found, note)
}

async fn read(cluster: &Cluster, objects: &[DynamicObject], found: &mut Vec<Note>) -> Result<(), Error> {
    let run = Run::of(objects);
    let api = cluster.api::<Event>();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&params).await?;
        found.extend(
            list.items.into_iter().filter_map(note).map(|(_, note)| note).filter(|note| run.has(note)),
        );
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

struct Run {
    uids: BTreeMap<(String, String), String>,
    makers: Vec<String>,
}

impl Run {
    fn of(objects: &[DynamicObject]) -> Self {
        let uids = objects
            .iter()
            .map(|object| ((kind(object).to_owned(), object.name_any()), object.uid().unwrap_or_default()))
            .collect();
        Self {
            uids,
            makers: objects.iter().filter(|object| makes_pods(object)).map(ResourceExt::name_any).collect(),
        }
    }

    fn has(&self, note: &Note) -> bool {
        match self.uids.get(&(note.kind.clone(), note.name.clone())) {
            // An earlier object had the same name.
            Some(uid) => *uid == note.uid,
            None => {
                ["Pod", "ReplicaSet", "Job"].contains(&note.kind.as_str())
                    && self.makers.iter().any(|maker| is_part(&note.name, maker))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runtime::kubernetes::events::tests::note;

    #[test]
    fn events_are_told_from_those_of_others() {
        let object = |kind: &str, name: &str, spec: serde_json::Value| {
            serde_json::from_value(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "uid": "1"}, "spec": spec})).unwrap()
        };
        let run =
            Run::of(&[object("Pod", "db", json!({})), object("Deployment", "app", json!({"template": {}}))]);
        let about = |kind: &str, name: &str, uid: &str| {
            run.has(&Note { kind: kind.into(), name: name.into(), uid: uid.into(), ..note("Failed", "", 1) })
        };
        assert!(
            about("Pod", "db", "1")
                && about("Deployment", "app", "1")
                && about("ReplicaSet", "app-5d", "7")
                && about("Pod", "app-5d-x", "8")
        );
        assert!(
            !about("Pod", "db", "2")
                && !about("Pod", "db-0", "1")
                && !about("Service", "app-1", "1")
                && !about("Pod", "other", "1")
        );
    }
}
