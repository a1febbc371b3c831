//! A whole run's health: every workload and its pods, looked at again whenever something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::events::Events;
use super::super::pods::{Pods, made_by, phase, uid};
use super::case::View;
use super::{Budgets, Case, Cause, Health, History, Log, Subject, creation, diagnose, ending};

/// How many pods of one workload may end before their time: the controller's next one may fare better.
const PODS: usize = 2;

/// Something that can never become ready.
#[derive(Debug, Clone)]
pub struct Finding {
    /// `Pod`, `StatefulSet`, ...
    pub kind: String,
    pub name: String,
    /// The object's UID, where it is known.
    pub uid: Option<String>,
    /// The pod whose log tells more: the object itself, or one that it has made.
    pub pod: String,
    /// The manifest's object behind it, as `Kind/name`.
    pub workload: String,
    pub cause: Cause,
}

/// Something that fails for now.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The manifest's object, as `Kind/name`.
    pub workload: String,
    pub why: String,
    /// When it is given up; `None` leaves that to the overall timeout.
    pub until: Option<Instant>,
}

#[derive(Debug, Default)]
pub struct Findings {
    pub lost: Vec<Finding>,
    pub waiting: Vec<Waiting>,
}

/// The memory of a run's looks.
pub struct Run {
    subjects: Vec<Subject>,
    budgets: Budgets,
    pods: BTreeMap<String, History>,
    makers: BTreeMap<String, History>,
    ended: BTreeMap<String, BTreeSet<String>>,
}

impl Run {
    pub fn new(subjects: Vec<Subject>, budgets: Budgets) -> Self {
        Self { subjects, budgets, pods: BTreeMap::new(), makers: BTreeMap::new(), ended: BTreeMap::new() }
    }

    /// `pods` has to be a complete list: a pod of the manifest that is not in it is gone.
    pub fn examine(&mut self, pods: &Pods, events: &Events, now: Instant) -> Findings {
        let mut findings = Findings::default();
        let present: BTreeSet<&str> = pods.values().map(uid).collect();
        self.pods.retain(|uid, _| present.contains(uid.as_str()));
        for subject in std::mem::take(&mut self.subjects) {
            let own: Vec<&Pod> =
                pods.values().filter(|pod| made_by(pod) == Some(subject.workload.as_str())).collect();
            self.examine_maker(&subject, &own, events, now, &mut findings);
            for pod in own {
                self.examine_pod(&subject, pod, events, now, &mut findings);
            }
            self.subjects.push(subject);
        }
        findings
    }

    fn examine_maker(
        &mut self,
        subject: &Subject,
        pods: &[&Pod],
        events: &Events,
        now: Instant,
        findings: &mut Findings,
    ) {
        let (kind, name) = subject.workload.split_once('/').unwrap_or_default();
        let health = if subject.is_plain_pod() {
            if !pods.is_empty() {
                return;
            }
            let pod = Pod {
                metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
                ..Pod::default()
            };
            let about = events.about("Pod", name, None);
            Health::Doomed(ending::deleted(&Case {
                pod: &pod,
                subject,
                events: &about,
                budgets: self.budgets,
            }))
        } else {
            let history = self.makers.entry(subject.workload.clone()).or_default();
            let ended = |pod: &&&Pod| subject.ends || phase(pod) != Some("Failed");
            if pods.iter().filter(ended).count() >= subject.replicas && !subject.ends {
                return;
            }
            creation::diagnose(subject, &events.about_maker(kind, name), self.budgets, history, now)
        };
        match health {
            Health::Doomed(cause) if subject.ends => {
                findings.lost.push(self.with_log(subject, pods, kind, name, cause));
            }
            health => findings.add(health, kind, name, None, subject),
        }
    }

    /// A Job's end, with the log of a pod of it that has failed.
    fn with_log(
        &self,
        subject: &Subject,
        pods: &[&Pod],
        kind: &str,
        name: &str,
        mut cause: Cause,
    ) -> Finding {
        let mut log_of = name.to_owned();
        for pod in pods.iter().filter(|pod| phase(pod) == Some("Failed")) {
            let case = Case { pod, subject, events: &[], budgets: self.budgets };
            let failed = case
                .containers()
                .iter()
                .find(|view| view.end().is_some_and(|end| end.exit_code != 0))
                .map(View::name);
            if let Some(container) = failed {
                (cause.container, cause.log) = (Some(container.to_owned()), Some(Log::Latest));
                log_of = case.name().to_owned();
            }
        }
        let (kind, name, workload) = (kind.to_owned(), name.to_owned(), subject.workload.clone());
        Finding { kind, name, uid: None, pod: log_of, workload, cause }
    }

    fn examine_pod(
        &mut self,
        subject: &Subject,
        pod: &Pod,
        events: &Events,
        now: Instant,
        findings: &mut Findings,
    ) {
        let (name, uid) = (pod.metadata.name.clone().unwrap_or_default(), uid(pod));
        let about = events.about("Pod", &name, Some(uid));
        let case = Case { pod, subject, events: &about, budgets: self.budgets };
        let mut health = diagnose(&case, self.pods.entry(uid.to_owned()).or_default(), now);
        if !subject.is_plain_pod() && phase(pod) == Some("Failed") {
            if subject.ends {
                // A Job counts its failures itself, and says when they are too many.
                return;
            }
            let ended = self.ended.entry(subject.workload.clone()).or_default();
            ended.insert(uid.to_owned());
            if let (Health::Doomed(cause), true) = (&health, ended.len() < PODS) {
                health = Health::Wait { why: cause.what.clone(), until: None };
            }
        }
        findings.add(health, "Pod", &name, Some(uid.to_owned()), subject);
    }
}

impl Findings {
    fn add(&mut self, health: Health, kind: &str, name: &str, uid: Option<String>, subject: &Subject) {
        let workload = subject.workload.clone();
        match health {
            Health::Fine => {}
            Health::Wait { why, until } => self.waiting.push(Waiting { workload, why, until }),
            Health::Doomed(cause) => {
                self.lost.push(Finding {
                    kind: kind.into(),
                    name: name.into(),
                    uid,
                    pod: name.into(),
                    workload,
                    cause,
                });
            }
        }
    }

    /// The next moment at which something is not waited for any more.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiting| waiting.until).min()
    }
}
