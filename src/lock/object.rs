//! The object that carries a lock: a Lease, or the workload that the lock is for. Its state is an annotation,
//! and every change is a compare-and-swap on the object's version.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::runtime::watcher::Config;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::state::Lock;
use crate::failure::{Advise, Exit, usage};
use crate::run_id::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::runtime::kubernetes::backoff::Pauses;
use crate::runtime::kubernetes::explain::is_object_absent;
use crate::runtime::kubernetes::updates::{Update, updates};
use crate::runtime::kubernetes::{Cluster, FIELD_MANAGER, explain};

/// The annotation with the lock's state.
pub const LOCK_ANNOTATION: &str = "testbed/lock";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Lease,
    /// A Deployment, whose one replica is the lock.
    Deployment,
    StatefulSet,
}

impl Kind {
    /// How Kubernetes calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lease => "Lease",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Lease => ApiResource::erase::<Lease>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        }
    }
}

/// One object that carries a lock, whether it is there or not.
#[derive(Clone)]
pub struct Target {
    pub kind: Kind,
    pub name: String,
    pub cluster: Cluster,
    api: Api<DynamicObject>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Lease => write!(f, "lock {}", self.name),
            Kind::Deployment => write!(f, "deployment/{}", self.name),
            Kind::StatefulSet => write!(f, "statefulset/{}", self.name),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Version {
    /// The lock's state; an unused lock where the object has none yet.
    pub lock: Lock,
    /// Tells the object from a later one of the same name.
    pub uid: String,
    /// The version, as the API server calls it.
    pub resource_version: String,
    /// The same as a number, which grows with every change in the cluster; 0 where it is none.
    pub number: u64,
    /// Whether the object goes away with its last holder: testbed has made it.
    pub is_ours: bool,
    pub object: DynamicObject,
}

impl Version {
    /// Whether this may be newer than a known version, which `is_stale` if it is known not to be the newest.
    pub fn is_news_to(&self, known: &Self, is_stale: bool) -> bool {
        self.number == 0 || self.number > known.number || self.number == known.number && is_stale
    }
}

/// A request that is longer under way is tried again.
pub const REQUEST: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub enum Request {
    Read,
    Create(Lock),
    /// To put another state into the object, if it is still this version.
    Write(Arc<Version>, Lock),
    /// To delete the object, if it is still this version.
    Delete(Arc<Version>),
}

/// The object after the request; nothing where there is none.
pub type Answer = Result<Option<Arc<Version>>, Unwritten>;

#[derive(Debug)]
pub enum Event {
    Seen(WatchEvent),
    Answered(Answer),
}

/// Why a change was not made.
#[derive(Debug)]
pub enum Unwritten {
    /// The object is another version by now, or gone; or there is one already that should have been made.
    Conflict,
    /// Nobody knows whether it was made: the connection broke, or the server is in trouble. Worth a retry.
    Unclear(anyhow::Error),
    /// The right to it is missing. An API server that has just started says so to all: it knows no Roles yet.
    Denied(anyhow::Error),
    /// It never will be.
    Refused(anyhow::Error),
}

#[derive(Debug)]
pub enum WatchEvent {
    /// The object as it is now.
    There(Arc<Version>),
    /// There is none. If it was deleted just now, what it was then.
    Gone(Option<Arc<Version>>),
    /// The watch is interrupted, and comes back by itself.
    Trouble(anyhow::Error),
}

/// The Leases of the cluster's namespace that are locks; with a label, also those that nobody has used yet.
///
/// # Errors
/// A failed request, explained; a Lease with the label that is no lock.
pub async fn list(cluster: &Cluster, selector: Option<&str>) -> anyhow::Result<Vec<(Target, Version)>> {
    let api = Target::new(cluster, Kind::Lease, "").api;
    let params = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
    let found = api.list(&params).await.map_err(|error| explain(cluster, error, "listing Leases"))?;
    let is_meant =
        |lease: &DynamicObject| selector.is_some() || lease.annotations().contains_key(LOCK_ANNOTATION);
    let leases = found.items.into_iter().filter(is_meant).map(|lease| {
        let target = Target::new(cluster, Kind::Lease, &lease.name_any());
        let version = target.version(lease)?;
        Ok((target, version))
    });
    leases.collect()
}

impl Target {
    /// A lock of this name in the cluster's namespace.
    pub fn new(cluster: &Cluster, kind: Kind, name: &str) -> Self {
        let api = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind.resource());
        Self { kind, name: name.to_owned(), cluster: cluster.clone(), api }
    }

    /// How Kubernetes calls the object.
    pub fn object_name(&self) -> String {
        format!("{} {}", self.kind.name(), self.name)
    }

    /// The object as it is now; `None` if there is none.
    ///
    /// # Errors
    /// A failed request, explained; an object that is no lock.
    pub async fn read(&self) -> anyhow::Result<Option<Version>> {
        let found = self.api.get_opt(&self.name).await;
        found.map_err(|error| self.explain(error, "reading"))?.map(|object| self.version(object)).transpose()
    }

    /// Sends a request, and waits this long for its answer.
    pub async fn send(&self, request: &Request, within: Duration) -> Answer {
        timeout(within, self.answer(request))
            .await
            .unwrap_or_else(|_| Err(Unwritten::Unclear(anyhow!("the API server does not answer"))))
    }

    /// The same, for as long as it takes.
    pub async fn answer(&self, request: &Request) -> Answer {
        match request {
            Request::Read => {
                let found =
                    self.api.get_opt(&self.name).await.map_err(|error| self.unwritten(error, "reading"))?;
                found.map(|object| self.version(object).map(Arc::new)).transpose().map_err(Unwritten::Refused)
            }
            Request::Create(lock) => self.create(lock).await.map(Some),
            Request::Write(seen, lock) => self.write(seen, lock).await.map(Some),
            Request::Delete(seen) => self.delete(seen).await.map(|()| None),
        }
    }

    /// The object and all its changes. Lost connections are taken up again.
    pub fn watch(&self) -> BoxStream<'static, anyhow::Result<WatchEvent>> {
        let config = Config::default().fields(&format!("metadata.name={}", self.name));
        let target = self.clone();
        let told = updates(self.api.clone(), config, Some).map(move |update| {
            let version = |object| target.version(object).map(Arc::new);
            match update.map_err(|error| target.explain(error, "watching"))? {
                Update::All(mut all) => all
                    .pop()
                    .map_or(Ok(WatchEvent::Gone(None)), |object| version(object).map(WatchEvent::There)),
                Update::Changed(object) => version(object).map(WatchEvent::There),
                // What it was does not matter if it was no lock.
                Update::Deleted(object) => Ok(WatchEvent::Gone(version(object).ok())),
                Update::Interrupted(error) => Ok(WatchEvent::Trouble(target.explain(error, "watching"))),
            }
        });
        told.boxed()
    }

    async fn create(&self, lock: &Lock) -> Result<Arc<Version>, Unwritten> {
        if self.kind != Kind::Lease {
            return Err(Unwritten::Refused(usage(format!("{} does not exist", self.object_name()))));
        }
        let resource = self.kind.resource();
        let body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": self.name,
                "labels": {MANAGED_BY_LABEL: MANAGED_BY},
                "annotations": {LOCK_ANNOTATION: encoded(lock)},
            },
            "spec": lease_spec(lock, None),
        });
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let object = serde_json::from_value(body).map_err(|error| Unwritten::Refused(error.into()))?;
        self.outcome(self.api.create(&params, &object).await, "creating")
    }

    async fn write(&self, seen: &Version, lock: &Lock) -> Result<Arc<Version>, Unwritten> {
        let spec = match self.kind {
            Kind::Lease => lease_spec(lock, Some(seen)),
            // Touched with its holder only: what somebody else has made of it in between is to be seen.
            _ if seen.lock.holders.len() != lock.holders.len() => json!({"replicas": lock.holders.len()}),
            _ => json!({}),
        };
        self.patch(seen, spec, lock).await
    }

    async fn patch(&self, seen: &Version, spec: Value, lock: &Lock) -> Result<Arc<Version>, Unwritten> {
        let body = json!({
            "metadata": {"resourceVersion": seen.resource_version, "uid": seen.uid, "annotations": {LOCK_ANNOTATION: encoded(lock)}},
            "spec": spec,
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        self.outcome(self.api.patch(&self.name, &params, &Patch::Merge(&body)).await, "changing")
    }

    /// Gives a workload this many replicas, if it is still this version.
    pub async fn scale(&self, seen: &Version, replicas: u32) -> Answer {
        self.patch(seen, json!({"replicas": replicas}), &seen.lock).await.map(Some)
    }

    async fn delete(&self, seen: &Version) -> Result<(), Unwritten> {
        let preconditions = Preconditions {
            uid: Some(seen.uid.clone()),
            resource_version: Some(seen.resource_version.clone()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = self.api.delete(&self.name, &params).await;
        deleted.map(drop).map_err(|error| self.unwritten(error, "deleting"))
    }

    fn outcome(
        &self,
        outcome: Result<DynamicObject, kube::Error>,
        action: &str,
    ) -> Result<Arc<Version>, Unwritten> {
        let object = outcome.map_err(|error| self.unwritten(error, action))?;
        self.version(object).map(Arc::new).map_err(Unwritten::Refused)
    }

    fn unwritten(&self, error: kube::Error, action: &str) -> Unwritten {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Unwritten::Conflict,
            // Of the object; a missing namespace is for good.
            error if is_object_absent(error, &self.name) => Unwritten::Conflict,
            kube::Error::Api(status) if status.code == 403 => Unwritten::Denied(self.explain(error, action)),
            kube::Error::Api(status)
                if (400..500).contains(&status.code) && !matches!(status.code, 408 | 429) =>
            {
                Unwritten::Refused(self.explain(error, action))
            }
            _ => Unwritten::Unclear(self.explain(error, action)),
        }
    }

    fn explain(&self, error: kube::Error, action: &str) -> anyhow::Error {
        explain(&self.cluster, error, &format!("{action} {}", self.object_name()))
    }

    fn version(&self, mut object: DynamicObject) -> anyhow::Result<Version> {
        // Most of its size, and of no use here.
        object.metadata.managed_fields = None;
        let lock = self.decoded(&object)?;
        let metadata = &object.metadata;
        let resource_version = metadata.resource_version.clone().unwrap_or_default();
        let managed_by = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
        Ok(Version {
            lock,
            uid: metadata.uid.clone().unwrap_or_default(),
            number: resource_version.parse().unwrap_or(0),
            resource_version,
            is_ours: self.kind == Kind::Lease && managed_by.is_some_and(|name| name == MANAGED_BY),
            object,
        })
    }

    fn decoded(&self, object: &DynamicObject) -> anyhow::Result<Lock> {
        let text =
            object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(LOCK_ANNOTATION));
        if let Some(text) = text {
            let lock = serde_json::from_str(text)
                .with_context(|| format!("reading annotation {LOCK_ANNOTATION} of {}", self.object_name()));
            return lock.hint(format!(
                "if nobody holds it, take the annotation away: {} annotate {} {} {LOCK_ANNOTATION}-",
                self.cluster.kubectl,
                self.kind.resource().plural,
                self.name
            ));
        }
        let holder = object.data["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if self.kind == Kind::Lease && !holder.is_empty() {
            let error = anyhow!(
                "{} is held by {holder}, and is no lock of testbed: it has no annotation {LOCK_ANNOTATION}",
                self.object_name()
            );
            return Err(error)
                .exit(Exit::Usage)
                .hint("take another name; a Lease like that may be a controller's leader election");
        }
        Ok(Lock::default())
    }
}

/// How often the API server is tried that cannot be reached: for about ten seconds.
const TRIES: u32 = 16;

/// Tries a change, which looks at the object anew each time. `action` is such as `releasing lock db`.
pub(super) async fn until_done<T>(
    action: &str,
    change: impl AsyncFn() -> Result<T, Unwritten>,
) -> anyhow::Result<T> {
    let mut pauses = Pauses::default();
    let mut tries = 0;
    loop {
        let error = match timeout(REQUEST, change()).await {
            Ok(Ok(done)) => return Ok(done),
            // Somebody was faster: the next look sees what they did.
            Ok(Err(Unwritten::Conflict)) => continue,
            Ok(Err(Unwritten::Refused(error) | Unwritten::Denied(error))) => return Err(error),
            Ok(Err(Unwritten::Unclear(error))) => error,
            Err(_) => anyhow!("the API server does not answer"),
        };
        tries += 1;
        if tries == TRIES {
            return Err(error.context(action.to_owned()));
        }
        sleep(pauses.next().unwrap_or_default()).await;
    }
}

fn encoded(lock: &Lock) -> String {
    // Texts and numbers only: there is nothing that JSON cannot hold.
    serde_json::to_string(lock).unwrap_or_default()
}

/// What `kubectl get leases` and other tools show of the lock.
fn lease_spec(lock: &Lock, before: Option<&Version>) -> Value {
    let names: Vec<&str> = lock.holders.iter().map(|holder| holder.identity.id.as_str()).collect();
    let holder = (!names.is_empty()).then(|| names.join(", "));
    let first = lock.holders.first();
    let seconds =
        first.and_then(|holder| holder.terms.ttl()).map(|ttl| ttl.as_secs().clamp(1, i32::MAX as u64));
    let was = before.map(|before| &before.lock);
    let marks =
        |lock: &Lock| lock.holders.iter().map(|holder| (holder.fence, holder.renewals)).collect::<Vec<_>>();
    let mut spec = json!({
        "holderIdentity": holder,
        "leaseDurationSeconds": seconds,
        "acquireTime": first.map(|holder| micro(holder.since)),
    });
    if first.is_none() {
        spec["renewTime"] = Value::Null;
    } else if was.is_none_or(|was| marks(was) != marks(lock)) {
        spec["renewTime"] = micro(Timestamp::now()).into();
    }
    if was.is_some_and(|was| was.fence != lock.fence) {
        let count =
            before.and_then(|before| before.object.data["spec"]["leaseTransitions"].as_i64()).unwrap_or(0);
        spec["leaseTransitions"] = (count + 1).min(i32::MAX.into()).into();
    }
    spec
}

/// As Kubernetes writes a MicroTime.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}
