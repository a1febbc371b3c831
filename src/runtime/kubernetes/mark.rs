//! What tells a run's own objects from others with its labels: whoever creates an object can give it any.
//!
//! Only Pods, and what makes Pods, speak for a run: they are what a run is, and whoever may create them can
//! do worse. All else is a run's own where it carries the mark that these carry.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::kinds::KindName;
use crate::manifest::stamp::{RECORD_ANNOTATION, RUN_HASH_ANNOTATION};

/// The record and the content that an object was made for. Objects of a testbed that knew no such hash, and
/// of one without an archive, lack one or both, which is a mark as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    record: Option<String>,
    hash: Option<String>,
}

impl Mark {
    pub fn of(metadata: &ObjectMeta) -> Self {
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).cloned();
        Self { record: annotation(RECORD_ANNOTATION), hash: annotation(RUN_HASH_ANNOTATION) }
    }

    /// Of the content; that of a testbed before this mark has none.
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }
}

pub fn speaks((api_version, kind): &KindName) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    matches!(
        (group, kind.as_str()),
        ("", "Pod" | "ReplicationController")
            | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job" | "CronJob")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_and_what_makes_them_speak() {
        let speaks = |version: &str, kind: &str| speaks(&(version.to_owned(), kind.to_owned()));
        assert!(
            speaks("v1", "Pod") && speaks("apps/v1", "StatefulSet") && speaks("batch/v1beta1", "CronJob")
        );
        assert!(
            !speaks("v1", "ConfigMap") && !speaks("example.com/v1", "Pod") && !speaks("v1", "Deployment")
        );
    }
}
