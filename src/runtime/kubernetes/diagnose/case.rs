//! What a diagnosis starts from: one pod with its surroundings, and what was seen of it before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
};

use super::super::events::Note;
use super::{Kind, Trouble};
use crate::database::is_sidecar;

/// What the manifest tells of a pod's workload.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The manifest's object, as `Kind/name`.
    pub workload: String,
    /// The containers with databases in them.
    pub databases: Vec<String>,
    /// Whether its pods are meant to end (a Job).
    pub ends: bool,
    /// The start of a kubectl command in its namespace.
    pub kubectl: String,
    /// How many of its pods have to be there.
    pub replicas: usize,
    /// Whether it is no run's: it was there before, and stays.
    pub stays: bool,
}

impl Subject {
    /// Whether the manifest has the pod itself, which nobody makes anew when it is gone.
    pub fn is_plain_pod(&self) -> bool {
        self.workload.starts_with("Pod/")
    }

    /// The command that waits for its pods.
    pub(super) fn command(&self) -> &'static str {
        if self.stays { "`testbed lock acquire`" } else { "`testbed up`" }
    }

    /// What to run so that its pods are made anew.
    pub(super) fn anew(&self) -> &'static str {
        if self.stays { self.command() } else { "`testbed down` and `testbed up`" }
    }
}

/// How long faults may last that can mend.
#[derive(Debug, Clone, Copy)]
pub struct Budgets {
    /// A registry that fails for the moment (`--pull-timeout`).
    pub pull: Duration,
    /// A cluster or a quota that is full (`--capacity-timeout`).
    pub capacity: Duration,
}

/// One pod and what is known around it.
pub struct Case<'a> {
    pub pod: &'a Pod,
    pub subject: &'a Subject,
    /// The events about it, from old to new; none where they may not be read.
    pub events: &'a [Note],
    pub budgets: Budgets,
}

impl<'a> Case<'a> {
    /// The pod's containers that have a status, those that run first (init containers) first.
    pub(super) fn containers(&self) -> Vec<View<'a>> {
        let Some(status) = &self.pod.status else { return Vec::new() };
        let spec = self.pod.spec.as_ref();
        let init = spec.and_then(|spec| spec.init_containers.as_ref());
        let main = spec.map(|spec| &spec.containers);
        let view = |list: Option<&'a Vec<Container>>, status: &'a ContainerStatus, init| {
            let container = list.into_iter().flatten().find(|container| container.name == status.name);
            let init = init && !container.is_some_and(is_sidecar);
            View { container, status, init, database: !init && self.subject.databases.contains(&status.name) }
        };
        let before = status.init_container_statuses.iter().flatten().map(|status| view(init, status, true));
        before
            .chain(status.container_statuses.iter().flatten().map(|status| view(main, status, false)))
            .collect()
    }

    pub(super) fn restart_policy(&self) -> &str {
        self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
    }

    pub(super) fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }
}

pub(super) struct View<'a> {
    pub container: Option<&'a Container>,
    pub status: &'a ContainerStatus,
    /// Whether it has to end before the others start.
    pub init: bool,
    pub database: bool,
}

impl<'a> View<'a> {
    pub(super) fn name(&self) -> &'a str {
        &self.status.name
    }

    pub(super) fn image(&self) -> &'a str {
        self.container.and_then(|container| container.image.as_deref()).unwrap_or(&self.status.image)
    }

    /// `container mysql`, `init container prepare`.
    pub(super) fn label(&self) -> String {
        format!("{}container {}", if self.init { "init " } else { "" }, self.name())
    }

    pub(super) fn waiting(&self) -> Option<&'a ContainerStateWaiting> {
        self.status.state.as_ref()?.waiting.as_ref()
    }

    /// The reason and the message that the container waits with.
    pub(super) fn waits_for(&self) -> Option<(&'a str, &'a str)> {
        let waiting = self.waiting()?;
        Some((waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default()))
    }

    pub(super) fn runs(&self) -> bool {
        matches!(&self.status.state, Some(ContainerState { running: Some(_), .. }))
    }

    /// How it ended last.
    pub(super) fn end(&self) -> Option<&'a ContainerStateTerminated> {
        let ended =
            |state: &'a Option<ContainerState>| state.as_ref().and_then(|state| state.terminated.as_ref());
        ended(&self.status.state).or_else(|| ended(&self.status.last_state))
    }
}

/// What was seen of one pod: when each fault that lasts began, and what its status has forgotten since.
#[derive(Debug, Default)]
pub struct History {
    began: BTreeMap<(Kind, Option<String>), Instant>,
    pulls: BTreeMap<String, String>,
    restarts: BTreeMap<String, i32>,
}

impl History {
    /// Takes note of what a later status will not show any more.
    pub(super) fn note(&mut self, case: &Case) {
        for container in case.containers() {
            // Restarts from before the first look, in a container that runs, are of the past.
            let past = if container.runs() { container.status.restart_count } else { 0 };
            self.restarts.entry(container.name().to_owned()).or_insert(past);
            if let Some(("ErrImagePull", message)) = container.waits_for() {
                self.pulls.insert(container.name().to_owned(), message.to_owned());
            }
        }
    }

    /// Why the last pull for the container failed.
    pub(super) fn pull(&self, container: &str) -> Option<&str> {
        self.pulls.get(container).map(String::as_str)
    }

    pub(super) fn exits(&self, container: &View) -> i32 {
        let past = self.restarts.get(container.name()).copied().unwrap_or_default();
        let now = i32::from(!container.runs() && container.end().is_some());
        container.status.restart_count - past + now
    }

    pub(super) fn keep(&mut self, troubles: &[Trouble]) {
        self.began.retain(|(kind, container), _| {
            troubles.iter().any(|trouble| trouble.kind == *kind && trouble.cause.container == *container)
        });
    }

    /// When the fault was first seen; that is now, unless it is known.
    pub(super) fn since(&mut self, trouble: &Trouble, now: Instant) -> Instant {
        *self.began.entry((trouble.kind, trouble.cause.container.clone())).or_insert(now)
    }
}
