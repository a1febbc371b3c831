//! What there is to know of a run, gathered before it is deleted: its objects, the events about them, its
//! containers' logs. All of it is free of secrets by the time that it leaves this module.
//!
//! Nothing here fails: what may not be read, or is not there in time, is told in a note.

mod databases;
mod events;
mod logs;
mod references;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{DynamicObject, TypeMeta};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::Cluster;
use super::events::Note;
use super::kinds;
use super::mark;
use super::teardown::{Found, find};
use crate::background;
use crate::deadline;
use crate::history::log::Log;
use crate::history::record;
use crate::manifest::owner::Owner;
use crate::manifest::stamp::RECORD_ANNOTATION;
use crate::recorder::Event;
use crate::recorder::event::Part;
use crate::redact::Redactor;
use crate::run_id::RunId;

pub use databases::{READY_ANNOTATION, describe, noted_ready};
use logs::Read;
use references::Secrets;

/// How long after the deadline the secrets may still be looked for in what was read by then.
const GRACE: Duration = Duration::from_secs(1);

/// What somebody knows of a run's secrets before anything is read.
#[derive(Debug, Clone)]
pub struct Known {
    pub redactor: Redactor,
    /// The Secrets all of whose values it knows, by their names.
    pub secrets: BTreeSet<String>,
}

impl Known {
    /// Nothing is known but the run's id, which is no secret.
    pub fn nothing(run_id: &RunId) -> Self {
        Self { redactor: Redactor::new(run_id.as_str()), secrets: BTreeSet::new() }
    }
}

/// Gathers everything of a run by the deadline, and tells what belongs to which record, by the id that the
/// objects carry: `None` for those of a run without a record. Two calls of `up` at once may have made one
/// run, each with a record of its own.
pub async fn collect(cluster: &Cluster, run_id: &RunId, known: Known, deadline: Instant) -> Event {
    let nothing = |note: String| Event::Collected { parts: Vec::new(), notes: vec![note] };
    // So that what was read can be looked through by the deadline.
    let (whole, deadline) = (deadline, deadline::before(deadline, deadline::left(deadline)));
    let mut gathering = match gather(cluster, run_id, known, deadline).await {
        Ok(gathering) => gathering,
        Err(note) => return nothing(note),
    };
    let Gathering { objects, pods, secrets, .. } = &gathering;
    let reads = futures::future::join(
        events::about(cluster, objects, deadline),
        logs::read_all(cluster, pods, secrets, deadline),
    );
    let ((notes, unread), read) = reads.await;
    gathering.notes.extend(unread);
    gathering.notes.extend(read.notes);
    // A log of a megabyte takes a while to look through.
    let run_id = run_id.clone();
    let sorting = background::run(move || gathering.sort(&notes, read.logs, &run_id, deadline));
    match timeout_at(whole + GRACE, sorting).await {
        Ok(Ok(sorted)) => sorted,
        Ok(Err(error)) => nothing(format!("what was collected is lost: {error:#}")),
        Err(_) => nothing("what was collected could not be looked through in time".into()),
    }
}

/// The logs of a run's containers as they are now, and what could not be read.
pub async fn live_logs(
    cluster: &Cluster,
    run_id: &RunId,
    within: Duration,
) -> anyhow::Result<(Vec<Log>, Vec<String>)> {
    let deadline = deadline::after(within);
    let gathering =
        gather(cluster, run_id, Known::nothing(run_id), deadline).await.map_err(anyhow::Error::msg)?;
    let read = logs::read_all(cluster, &gathering.pods, &gathering.secrets, deadline).await;
    let mut notes = gathering.notes.clone();
    notes.extend(read.notes);
    let run_id = run_id.clone();
    let logs = background::run(move || gathering.logs(read.logs, &run_id)).await?;
    Ok((logs, notes))
}

/// A database's log that can be followed.
pub struct Followed {
    pub name: String,
    pub workload: String,
    pub container: String,
    /// The pod that it is in now.
    pub pod: String,
}

/// What there is to follow of a run, and how to show it.
pub struct ToFollow {
    pub logs: Vec<Followed>,
    pub redactor: Redactor,
    /// What cannot be followed, or is not known.
    pub notes: Vec<String>,
}

/// The logs of a run's databases, but for those of pods whose secrets are not known.
pub async fn to_follow(cluster: &Cluster, run_id: &RunId, within: Duration) -> anyhow::Result<ToFollow> {
    let deadline = deadline::after(within);
    let gathering =
        gather(cluster, run_id, Known::nothing(run_id), deadline).await.map_err(anyhow::Error::msg)?;
    let followed = |found: databases::Found| {
        let database = found.database;
        Followed {
            name: database.name,
            workload: database.workload.unwrap_or_default(),
            container: database.container.unwrap_or_default(),
            pod: found.pod,
        }
    };
    let found = gathering.databases(run_id, &[]).into_iter();
    let logs = found.filter(|found| gathering.secrets.are_known(&found.pod)).map(followed).collect();
    Ok(ToFollow { logs, redactor: gathering.redactor, notes: gathering.notes })
}

/// What is known of a run before its events and logs are read.
struct Gathering {
    objects: Vec<DynamicObject>,
    pods: Vec<Pod>,
    redactor: Redactor,
    secrets: Secrets,
    notes: Vec<String>,
}

/// The objects, and all secrets that they hold or refer to.
async fn gather(
    cluster: &Cluster,
    run_id: &RunId,
    known: Known,
    deadline: Instant,
) -> Result<Gathering, String> {
    let Found { parts: found, failures, .. } = match timeout_at(deadline, find(cluster, run_id)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(format!("its objects could not be read: {error:#}")),
        Err(_) => return Err("its objects could not be read in time".into()),
    };
    let mut notes: Vec<String> =
        failures.iter().map(|error| format!("some of its objects are missing here: {error:#}")).collect();
    let mut objects = Vec::new();
    for part in found {
        let (api_version, kind) = kinds::plain(&part.kind);
        let typed = |object| DynamicObject {
            types: Some(TypeMeta { api_version: api_version.clone(), kind: kind.clone() }),
            ..object
        };
        objects.extend(part.objects.into_iter().map(typed));
    }
    let Known { mut redactor, secrets: mut known } = known;
    for object in &objects {
        if let Ok(Value::Object(object)) = serde_json::to_value(object) {
            redactor.add_object(&object);
        }
        if is(object, "v1", "Secret") {
            known.insert(object.name_any());
        }
    }
    let pods: Vec<Pod> = typed(&objects, "Pod");
    let secrets = references::read(cluster, &pods, known, &mut redactor, deadline).await;
    notes.extend(secrets.notes());
    Ok(Gathering { objects, pods, redactor, secrets, notes })
}

impl Gathering {
    /// Takes the secrets out of everything, and tells what belongs to which record.
    fn sort(mut self, notes: &[Note], logs: Vec<Read>, run_id: &RunId, deadline: Instant) -> Event {
        let databases = self.databases(run_id, notes);
        let mut parts: BTreeMap<Option<String>, Part> = BTreeMap::new();
        let records = records(&self.objects);
        let of = |kind: &str, name: &str| records.get(&(kind.to_owned(), name.to_owned())).cloned();
        for object in &self.objects {
            let part = parts.entry(of(kind(object), &object.name_any()).flatten()).or_default();
            part.began = [part.began, object.metadata.creation_timestamp.as_ref().map(|made| made.0.into())]
                .into_iter()
                .flatten()
                .min();
            part.pipeline_run = part.pipeline_run.take().or_else(|| Owner::all_of(&object.metadata).next());
            part.objects.push(self.bare(object));
        }
        let some = records.values().next().cloned().flatten();
        for note in notes {
            // What is said of a pod that is gone belongs to what has made it, whose record is as good as any.
            let record = of(&note.kind, &note.name).unwrap_or_else(|| some.clone());
            parts.entry(record).or_default().events.push(self.event(note));
        }
        for log in logs {
            if Instant::now() > deadline + GRACE {
                self.notes.push(format!(
                    "the log of container {} of Pod {} could not be looked through in time",
                    log.info.container, log.info.source
                ));
                continue;
            }
            let record = of("Pod", &log.info.source).unwrap_or_else(|| some.clone());
            parts.entry(record).or_default().logs.push(self.log(log, &databases));
        }
        for database in databases {
            parts
                .entry(of("Pod", &database.pod).unwrap_or_else(|| some.clone()))
                .or_default()
                .databases
                .push(database.database);
        }
        join(&mut parts);
        Event::Collected { parts: parts.into_iter().collect(), notes: self.notes }
    }

    fn logs(&self, logs: Vec<Read>, run_id: &RunId) -> Vec<Log> {
        let databases = self.databases(run_id, &[]);
        logs.into_iter().map(|log| self.log(log, &databases)).collect()
    }

    fn databases(&self, run_id: &RunId, notes: &[Note]) -> Vec<databases::Found> {
        let services: Vec<Service> = typed(&self.objects, "Service");
        databases::find(&self.pods, &services, run_id, notes, &self.redactor)
    }

    fn log(&self, log: Read, databases: &[databases::Found]) -> Log {
        let mut info = log.info;
        let of = databases.iter().find(|found| {
            found.pod == info.source && found.database.container.as_deref() == Some(&info.container)
        });
        info.database = of.map(|found| found.database.name.clone());
        Log::new(info, &self.redactor.redact_text(&log.text))
    }

    fn event(&self, note: &Note) -> record::Event {
        record::Event {
            at: note.at.map(Into::into),
            warning: note.warning,
            object: format!("{}/{}", note.kind, note.name),
            reason: note.reason.clone(),
            message: self.redactor.redact(&note.message),
            count: u32::try_from(note.count).unwrap_or(1),
        }
    }

    /// The object without secrets, and without what only the API server has a use for.
    fn bare(&self, object: &DynamicObject) -> Value {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
        let mut value = serde_json::to_value(&object).unwrap_or_default();
        self.redactor.redact_object(&mut value);
        value
    }
}

/// Objects without a record go with those that have one.
fn join(parts: &mut BTreeMap<Option<String>, Part>) {
    if parts.len() > 1
        && let Some(lone) = parts.remove(&None)
        && let Some(first) = parts.values_mut().next()
    {
        first.objects.extend(lone.objects);
        first.events.extend(lone.events);
        first.logs.extend(lone.logs);
        first.databases.extend(lone.databases);
        first.began = first.began.or(lone.began);
        first.pipeline_run = first.pipeline_run.take().or(lone.pipeline_run);
    }
    parts.values_mut().for_each(|part| part.events.sort_by_key(|event| event.at));
}

/// The record of each object, by its kind and name. Where pods or workloads are left, only records that these
/// carry are the run's own: others would have somebody else's story changed.
fn records(objects: &[DynamicObject]) -> BTreeMap<(String, String), Option<String>> {
    let speaks = |object: &&DynamicObject| {
        object
            .types
            .as_ref()
            .is_some_and(|types| mark::speaks(&(types.api_version.clone(), types.kind.clone())))
    };
    let own: BTreeSet<Option<String>> = objects.iter().filter(speaks).map(record_of).collect();
    let is_own = |record: &String| own.is_empty() || own.contains(&Some(record.clone()));
    objects
        .iter()
        .map(|object| ((kind(object).to_owned(), object.name_any()), record_of(object).filter(is_own)))
        .collect()
}

pub fn record_of(object: &DynamicObject) -> Option<String> {
    object.annotations().get(RECORD_ANNOTATION).cloned()
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

fn is(object: &DynamicObject, api_version: &str, kind: &str) -> bool {
    object.types.as_ref().is_some_and(|types| types.api_version == api_version && types.kind == kind)
}

/// The objects of one of the core's kinds.
fn typed<K: serde::de::DeserializeOwned + kube::Resource<DynamicType = ()>>(
    objects: &[DynamicObject],
    kind: &str,
) -> Vec<K> {
    objects
        .iter()
        .filter(|object| is(object, "v1", kind))
        .filter_map(|object| object.clone().try_parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, record: &str) -> DynamicObject {
        let metadata = json!({"name": "x", "annotations": {RECORD_ANNOTATION: record}});
        serde_json::from_value(json!({"apiVersion": "v1", "kind": kind, "metadata": metadata})).unwrap()
    }

    #[test]
    fn a_record_that_no_pod_carries_is_somebody_elses() {
        let of = |objects: &[DynamicObject]| {
            records(objects).into_iter().map(|((kind, _), record)| (kind, record)).collect::<Vec<_>>()
        };
        let (pod, secret, forged) =
            (object("Pod", "own"), object("Secret", "own"), object("ConfigMap", "other"));
        let own = Some("own".to_owned());
        let expected = [("ConfigMap".to_owned(), None), ("Pod".into(), own.clone()), ("Secret".into(), own)];
        assert_eq!(of(&[pod, secret, forged.clone()]), expected);
        assert_eq!(of(&[forged]), [("ConfigMap".to_owned(), Some("other".to_owned()))]);
    }
}
