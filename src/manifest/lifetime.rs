//! How long a run may live: the deadline that the kubelet keeps for its pods, and the expiry that `testbed
//! gc` goes by.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Object;
use crate::time::Time;

/// When a run counts as left behind: RFC 3339 in UTC, in whole seconds.
pub const EXPIRES_ANNOTATION: &str = "testbed/expires";

/// What `--lifetime` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until somebody removes it.
    Unlimited,
    /// At most this long.
    For(Duration),
}

impl Lifetime {
    /// In a cluster, where nobody says anything else.
    pub const IN_CLUSTER: Self = Self::For(Duration::from_hours(2));

    /// Reads `2h` or `none`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Unlimited);
        }
        let duration = humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write a duration such as 2h, or none"))?;
        // Kubernetes takes the deadline as a positive number of seconds that fits 32 bits.
        if duration.as_secs() == 0 || i32::try_from(duration.as_secs()).is_err() {
            return Err("write a duration between 1s and 68years, or none".into());
        }
        Ok(Self::For(duration))
    }

    /// When that is over, seen from a moment; `None` if there is no end.
    pub fn end(self, now: Time) -> Option<Time> {
        let Self::For(duration) = self else { return None };
        Some(now.after(duration))
    }

    /// Seen from a moment.
    pub fn from(self, now: Timestamp) -> Option<Limit> {
        let Self::For(duration) = self else { return None };
        let expires = now.checked_add(duration).ok()?;
        Some(Limit { seconds: duration.as_secs(), expires: format!("{expires:.0}") })
    }
}

/// The end of a run's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Seconds that a pod may run.
    pub seconds: u64,
    /// The value of [`EXPIRES_ANNOTATION`].
    pub expires: String,
}

impl Limit {
    /// Sets the deadline of an object that makes pods which end: a Pod, a Job, and the Jobs of a CronJob.
    /// Pods that a Deployment or StatefulSet makes may have none. One that the manifest sets counts if it is
    /// shorter.
    pub(super) fn set_deadline(&self, object: &mut Object) {
        let kind = object.kind.clone();
        let Some(Value::Object(spec)) = object.body.get_mut("spec") else { return };
        match kind.as_str() {
            "Pod" | "Job" => self.cap(spec),
            "CronJob" => {
                if let Some(Value::Object(spec)) =
                    spec.get_mut("jobTemplate").and_then(|template| template.get_mut("spec"))
                {
                    self.cap(spec);
                }
            }
            _ => {}
        }
    }

    fn cap(&self, spec: &mut Map<String, Value>) {
        let own = spec.get("activeDeadlineSeconds").and_then(Value::as_u64);
        if own.is_none_or(|own| own > self.seconds) {
            spec.insert("activeDeadlineSeconds".into(), self.seconds.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn a_lifetime_is_a_duration_or_none() {
        assert_eq!(Lifetime::parse("90m"), Ok(Lifetime::For(Duration::from_secs(5400))));
        assert_eq!(Lifetime::parse("none"), Ok(Lifetime::Unlimited));
        for text in ["0s", "200ms", "100years", "x", ""] {
            assert!(Lifetime::parse(text).unwrap_err().contains("none"), "{text}");
        }
    }

    #[test]
    fn it_ends_at_a_time_that_every_object_can_tell() {
        let limit = Lifetime::parse("2h").unwrap().from(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(limit, Limit { seconds: 7200, expires: "1970-01-01T02:00:00Z".into() });
        assert_eq!(Lifetime::Unlimited.from(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn pods_and_jobs_get_a_deadline_unless_theirs_is_shorter() {
        let deadline = |head: &str, spec: &str, path: &str| {
            let text = format!("{head}\nmetadata: {{name: a}}\nspec: {spec}\n");
            let mut objects = parse("m.yaml", &text).unwrap();
            Limit { seconds: 60, expires: String::new() }.set_deadline(&mut objects[0]);
            Value::Object(objects.remove(0).body).pointer(path).cloned().unwrap_or_default()
        };
        let (pod, job, cron, deployment) = (
            "apiVersion: v1\nkind: Pod",
            "apiVersion: batch/v1\nkind: Job",
            "apiVersion: batch/v1\nkind: CronJob",
            "apiVersion: apps/v1\nkind: Deployment",
        );
        assert_eq!(deadline(pod, "{containers: []}", "/spec/activeDeadlineSeconds"), 60);
        assert_eq!(deadline(pod, "{activeDeadlineSeconds: 5}", "/spec/activeDeadlineSeconds"), 5);
        assert_eq!(deadline(pod, "{activeDeadlineSeconds: 500}", "/spec/activeDeadlineSeconds"), 60);
        assert_eq!(deadline(job, "{template: {}}", "/spec/activeDeadlineSeconds"), 60);
        assert_eq!(
            deadline(cron, "{jobTemplate: {spec: {}}}", "/spec/jobTemplate/spec/activeDeadlineSeconds"),
            60
        );
        assert_eq!(
            deadline(deployment, "{template: {spec: {containers: []}}}", "/spec/activeDeadlineSeconds"),
            Value::Null
        );
    }
}
