//! Ends the wait as soon as something can never become ready: follows pods and events, and says why others
//! take their time.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::failure_report::{self, Report};
use crate::database::Discovery;
use crate::failure::{Advise, Exit};
use crate::probe::change;
use crate::progress::Progress;
use crate::redact::Redactor;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::diagnose::run::{Finding, Findings, Run};
use crate::runtime::kubernetes::diagnose::{Budgets, Subject};
use crate::runtime::kubernetes::events::{EventWatch, Events, Past};
use crate::runtime::kubernetes::observe::Observer;

pub(crate) struct Scope<'a> {
    pub discovery: &'a Discovery,
    /// Knows their secrets.
    pub redactor: Redactor,
    /// Whether what fails is still there afterwards, to be looked at.
    pub stays: bool,
    /// What the events of before mean.
    pub past: Past,
}

/// Looks out for what can never become ready.
pub(crate) struct FailureWatcher<'a> {
    scope: Scope<'a>,
    cluster: &'a Cluster,
    events: EventWatch,
    run: RefCell<Run>,
}

impl<'a> FailureWatcher<'a> {
    pub(crate) fn start(scope: Scope<'a>, cluster: &'a Cluster, budgets: Budgets) -> Self {
        let workloads = &scope.discovery.workloads;
        let names =
            workloads.iter().filter_map(|workload| Some(workload.id.split_once('/')?.1.to_owned())).collect();
        let run = RefCell::new(Run::new(
            subjects(scope.discovery, &cluster.kubectl, scope.past == Past::IsPast),
            budgets,
        ));
        Self { cluster, events: EventWatch::start(cluster, names, scope.past), run, scope }
    }

    /// Resolves when something can never become ready, with all that is known by then; never, as long as all
    /// is well.
    pub(crate) async fn lost(&self, observer: &Observer, progress: &Progress) -> Vec<Finding> {
        let (mut pods, mut events) = (observer.pods(), self.events.events());
        let mut said = BTreeSet::new();
        // From the first complete list on: before it, a pod that is not there means nothing.
        change(&mut pods).await;
        loop {
            let findings = self.run.borrow_mut().examine(
                &pods.borrow_and_update(),
                &events.borrow_and_update(),
                Instant::now(),
            );
            if !findings.lost.is_empty() {
                return findings.lost;
            }
            self.say(&findings, &mut said, progress);
            let next = findings.next();
            tokio::select! {
                () = change(&mut pods) => {}
                () = change(&mut events) => {}
                () = sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {}
            }
        }
    }

    /// What a timeout has to add: where else to look when events may not be read.
    pub(crate) fn unread(&self) -> Option<String> {
        let look = format!("{} get events --sort-by=.lastTimestamp", self.cluster.kubectl);
        let forbidden = self.events.events().borrow().forbidden;
        forbidden.then(|| {
            format!(
                "events, which would tell of volumes, networks and quotas, may not be read (verbs list and watch on events); \
                 somebody who may looks with: {look}"
            )
        })
    }

    fn database(&self, finding: &Finding) -> Option<&str> {
        let container = finding.cause.container.as_ref();
        let mut of_workload =
            self.scope.discovery.databases.iter().filter(|database| database.workload == finding.workload);
        Some(&of_workload.find(|database| container.is_none_or(|name| database.container == *name))?.name)
    }

    pub(crate) fn events(&self) -> watch::Receiver<Events> {
        self.events.events()
    }

    /// A text of Kubernetes without the secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.scope.redactor.redact(text)
    }

    /// Says of each fault once that it is there, and how long it gets.
    fn say(&self, findings: &Findings, said: &mut BTreeSet<(String, String)>, progress: &Progress) {
        for waiting in findings.waiting.iter().filter(|waiting| !waiting.why.is_empty()) {
            let name =
                self.scope.discovery.databases.iter().find(|database| database.workload == waiting.workload);
            let name = name.map_or(&waiting.workload, |database| &database.name);
            let why = self.redact(&waiting.why);
            let left = waiting
                .until
                .map(|until| until.saturating_duration_since(Instant::now()).as_secs_f64().round());
            let left = left.map(|seconds| format!(" (gives up in {seconds:.0} s)")).unwrap_or_default();
            if said.insert((name.clone(), why.clone())) {
                progress.say(&format!("{name}: {why}{left}"));
            }
        }
    }

    /// The error (exit code 4) with all that a person needs: reads the logs.
    pub(crate) async fn report(&self, lost: Vec<Finding>) -> anyhow::Error {
        let events = self.events.events().borrow().clone();
        let Scope { discovery, redactor, stays, .. } = &self.scope;
        let report = Report { discovery, cluster: self.cluster, redactor, events: &events };
        let first = lost.first();
        let word = first.and_then(|finding| finding.cause.word()).unwrap_or("never-ready");
        let database = first.and_then(|finding| self.database(finding));
        let error = anyhow!(failure_report::headline(&lost)).kind(word, database).exit(Exit::Never);
        let blocks = report.blocks(&lost).await;
        let error = if blocks.is_empty() { error } else { error.detail(blocks) };
        let looks = if *stays { failure_report::looks(&lost, &self.cluster.kubectl) } else { Vec::new() };
        failure_report::advice(&lost).into_iter().chain(looks).fold(error, Advise::hint)
    }
}

fn subjects(discovery: &Discovery, kubectl: &str, is_lasting: bool) -> Vec<Subject> {
    let workloads = discovery.workloads.iter().map(|workload| {
        let databases = discovery.databases.iter().filter(|database| database.workload == workload.id);
        Subject {
            workload: workload.id.clone(),
            databases: databases.map(|database| database.container.clone()).collect(),
            // What a schedule starts, ends as well.
            ends: workload.ends || workload.id.starts_with("CronJob/"),
            kubectl: kubectl.to_owned(),
            replicas: workload.replicas,
            stays: is_lasting,
        }
    });
    workloads.collect()
}
