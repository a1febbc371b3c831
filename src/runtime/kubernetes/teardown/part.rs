//! One kind's part of a run: listing it, and deleting one object of it.

use std::collections::BTreeSet;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Preconditions, PropagationPolicy};
use kube::{Error, ResourceExt};

use crate::manifest::stamp::KINDS_ANNOTATION;
use crate::run_id::Selector;
use crate::runtime::kubernetes::explain::is_absent;
use crate::runtime::kubernetes::kinds::{self, KindName};
use crate::runtime::kubernetes::mark;

pub struct Part {
    pub kind: KindName,
    pub api: Api<DynamicObject>,
    pub objects: Vec<DynamicObject>,
    /// The list's version, from which a watch goes on.
    pub resource_version: String,
}

impl Part {
    /// Lists the kind as it is in the moment of the call.
    pub async fn list(api: &Api<DynamicObject>, kind: KindName, selector: &Selector) -> Result<Self, Error> {
        let list = api.list(&ListParams::default().labels(selector.as_str())).await?;
        let resource_version = list.metadata.resource_version.unwrap_or_default();
        let objects = list.items.into_iter().filter(|object| selector.selects(object.labels())).collect();
        Ok(Self { kind, api: api.clone(), objects, resource_version })
    }

    /// Whether it holds Pods or Services, which every Role of testbed is about.
    pub fn is_core(&self) -> bool {
        let (version, kind) = &self.kind;
        version == "v1" && (kind == "Pod" || kind == "Service")
    }
}

/// How many kinds are looked for at most: each costs a request or two, and anybody may have named them.
const MOST_KINDS: usize = 100;

/// The kinds that the objects record; those of what [speaks](mark::speaks) for the run come first.
pub fn recorded<'a>(objects: impl Iterator<Item = (&'a KindName, &'a DynamicObject)>) -> BTreeSet<KindName> {
    let (first, others): (Vec<_>, Vec<_>) = objects.partition(|(kind, _)| mark::speaks(kind));
    let mut found = BTreeSet::new();
    for (_, object) in first.into_iter().chain(others) {
        let kinds = object
            .annotations()
            .get(KINDS_ANNOTATION)
            .into_iter()
            .flat_map(|text| text.split(',').take(MOST_KINDS));
        for kind in kinds.filter_map(kinds::parse) {
            if found.len() == MOST_KINDS {
                return found;
            }
            found.insert(kind);
        }
    }
    found
}

/// Whether an object makes others, pods as a rule.
pub fn makes_pods(object: &DynamicObject) -> bool {
    let spec = &object.data["spec"];
    spec.get("template").is_some() || spec.get("jobTemplate").is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    Gone,
    /// It was gone before, or another one has taken its name.
    Absent,
    /// It goes on existing for a while: a grace period, a finalizer.
    Pending,
    /// Nothing was deleted: the object is another version than the one that was asked for.
    Changed,
}

/// Deletes an object if it is still the same. Pods get `grace` seconds; what makes pods outlives them.
pub async fn delete(
    api: &Api<DynamicObject>,
    kind: &str,
    object: &DynamicObject,
    grace: u32,
) -> Result<Deletion, Error> {
    delete_if(api, kind, object, grace, None).await
}

/// The same as long as the object is still of this version.
pub async fn delete_if(
    api: &Api<DynamicObject>,
    kind: &str,
    object: &DynamicObject,
    grace: u32,
    version: Option<String>,
) -> Result<Deletion, Error> {
    let fails = if version.is_some() { Deletion::Changed } else { Deletion::Absent };
    let params = DeleteParams {
        propagation_policy: makes_pods(object).then_some(PropagationPolicy::Foreground),
        grace_period_seconds: (kind == "Pod").then_some(grace),
        preconditions: Some(Preconditions { uid: object.uid(), resource_version: version }),
        ..DeleteParams::default()
    };
    match api.delete(&object.name_any(), &params).await {
        // Where an object lingers, the answer is the object with the time of its deletion. Once it is gone,
        // the answer is a status, or, for some kinds and in later versions for Services too, the object as it
        // was. Of a Service that a finalizer holds, the answer is the same.
        Ok(answer) => {
            let lingers = !object.finalizers().is_empty()
                || answer.left().is_some_and(|object| object.metadata.deletion_timestamp.is_some());
            Ok(if lingers { Deletion::Pending } else { Deletion::Gone })
        }
        Err(error) if is_absent(&error) => Ok(Deletion::Absent),
        // The UID or the version is another one.
        Err(Error::Api(status)) if status.code == 409 && status.message.contains("recondition") => Ok(fails),
        Err(error) => Err(error),
    }
}
