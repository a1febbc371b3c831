//! The way to a lock, or to one of several: carries out in a cluster what the [candidacy](super::candidacy)
//! for each of them asks for, and tells it what comes of that, until one of them is held.

use std::time::Duration;

use anyhow::anyhow;
use futures::future::select_all;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout};

use super::candidacy::{Action, Candidacy, Held, News, Object};
use super::clock::{Moment, now, until};
use super::object::{Event, REQUEST, Request, Target, Version, WatchEvent};
use super::pipeline_run_watch::PipelineRunWatch;
use super::release::release;
use super::replicas::{Vacancy, WorkloadPods};
use super::state::Lock;
use super::step::{Candidate, Refusal};
use crate::deadline;
use crate::failure::Advise;
use crate::runtime::kubernetes::Cluster;

/// How long to try an API server that nobody has reached yet: it may be starting, or the address be wrong.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// A process that wakes up so much too late was stopped.
const OVERSLEPT: Duration = Duration::from_secs(1);
/// How long to try to get out of the queues of locks that nobody wants any more.
const LEAVING: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum Outcome {
    /// One of the targets is held: which one, and how.
    Held(usize, Box<Held>),
    /// It cannot be had now; nobody waits for it.
    Refused(Refusal),
}

/// What happens on the way.
pub enum Report<'a> {
    /// This is how things are with one of the locks, for which nothing can be done just now; what keeps one
    /// that nobody holds from being taken.
    State(&'a Target, &'a Version, Option<&'a str>),
    /// The API server cannot be reached; it is tried again.
    Trouble(&'a anyhow::Error),
    /// What a holder's PipelineRun does cannot be known, so that its ttl counts.
    Blind(&'a str),
    /// Somebody who waited or held was taken out.
    Removed(&'a Target, &'a Lock, &'a Lock),
}

/// One of the locks that would do.
struct Alternative {
    target: Target,
    candidacy: Candidacy,
    events: BoxStream<'static, anyhow::Result<WatchEvent>>,
    pods: WorkloadPods,
}

pub struct Attempt<T> {
    candidate: Candidate,
    alternatives: Vec<Alternative>,
    pipeline_runs: PipelineRunWatch,
    report: T,
    /// When all of it is to be over, on [`now`]'s clock, and how long getting out of the queues may take then.
    until: Option<Duration>,
    leaving: Duration,
}

enum Next {
    Held(Box<Held>),
    Refused(Refusal),
    Wait(Option<Duration>),
}

impl<T: FnMut(Report)> Attempt<T> {
    /// Begins to look at the targets; they are preferred in their order.
    pub fn new(cluster: &Cluster, targets: Vec<Target>, candidate: Candidate, report: T) -> Self {
        // What is free counts before the queues of what is not.
        let at_first = Candidate { waits: candidate.waits && targets.len() == 1, ..candidate.clone() };
        let alternatives = targets.into_iter().map(|target| Alternative {
            events: target.watch(),
            target,
            candidacy: Candidacy::new(at_first.clone()),
            pods: WorkloadPods::default(),
        });
        Self {
            candidate,
            alternatives: alternatives.collect(),
            pipeline_runs: PipelineRunWatch::new(cluster),
            report,
            until: None,
            leaving: LEAVING,
        }
    }

    /// The same for an attempt that is to be over at a moment: no request goes on beyond it, and none of what
    /// has to be done then takes much longer than a tenth of the time again.
    pub fn by(&mut self, deadline: Instant, whole: Duration) -> &mut Self {
        self.until = Some(now() + deadline::left(deadline));
        self.leaving = (whole / 10).clamp(Duration::from_millis(500), LEAVING);
        self
    }

    /// The lock, as soon as it can be had. What `stop` resolves with ends the attempt between two requests,
    /// and not amid one that may have made it a holder.
    /// An error that does not say so leaves no trace of the attempt in the queues.
    pub async fn hold(&mut self, stop: impl Future<Output = anyhow::Error>) -> anyhow::Result<Outcome> {
        let outcome = self.try_to_hold(stop).await;
        let held = if let Ok(Outcome::Held(index, _)) = &outcome { Some(*index) } else { None };
        let is_late = self.until.is_some_and(|until| until <= now());
        let within = if is_late { self.leaving } else { LEAVING };
        let left = timeout(within, self.leave(held))
            .await
            .unwrap_or_else(|_| Err(anyhow!("the API server does not answer")));
        match (outcome, left) {
            (Err(error), Err(left)) => Err(error).hint(format!(
                "it may still be in the queue, and is taken out there when it does not move: {left:#}"
            )),
            // It drops out by itself.
            (outcome, _) => outcome,
        }
    }

    async fn try_to_hold(&mut self, stop: impl Future<Output = anyhow::Error>) -> anyhow::Result<Outcome> {
        let mut stop = std::pin::pin!(stop);
        let mut is_first_look = self.alternatives.len() > 1;
        let mut contact_until = Some(now() + FIRST_CONTACT);
        let mut trouble = None;
        loop {
            let mut due = None;
            if self
                .alternatives
                .iter()
                .all(|alternative| !matches!(alternative.candidacy.object, Object::Unknown))
            {
                contact_until = None;
                let mut refusals = Vec::new();
                for index in self.order(is_first_look) {
                    match self.advance(index).await? {
                        Next::Held(held) => return Ok(Outcome::Held(index, held)),
                        Next::Refused(refusal) => refusals.push(refusal),
                        Next::Wait(until) => due = due.into_iter().chain(until).min(),
                    }
                    if is_first_look && self.alternatives[index].candidacy.retry_at.is_some() {
                        // One that was just made for this will do.
                        break;
                    }
                }
                let all_refuse = refusals.len() == self.alternatives.len();
                if let Some(refusal) = refusals
                    .into_iter()
                    .find(|refusal| all_refuse && (!self.candidate.waits || *refusal != Refusal::Busy))
                {
                    return Ok(Outcome::Refused(refusal));
                }
                if is_first_look && all_refuse {
                    is_first_look = false;
                    self.alternatives
                        .iter_mut()
                        .for_each(|alternative| alternative.candidacy.candidate.waits = self.candidate.waits);
                    continue;
                }
            }
            let seen =
                select_all(self.alternatives.iter_mut().map(|alternative| Box::pin(alternative.next())))
                    .map(|(event, index, _)| (event, index));
            tokio::select! {
                error = &mut stop => return Err(error),
                (event, index) = seen => if let Some(event) = event?
                    && let Some(News::Trouble(error)) = self.alternatives[index].candidacy.on(Event::Seen(event), &Moment::now())?
                {
                    (self.report)(Report::Trouble(&error));
                    trouble = Some(error);
                },
                change = self.pipeline_runs.next() => if let Some(obstacle) = change.obstacle {
                    (self.report)(Report::Blind(obstacle));
                },
                () = until(due) => {}
                () = until(contact_until) => {
                    if contact_until.is_some_and(|until| now() < until + OVERSLEPT) {
                        return Err(trouble.unwrap_or_else(|| anyhow!("the API server does not answer")));
                    }
                    // It was not the API server: this process was stopped, or the machine asleep.
                    contact_until = Some(now() + FIRST_CONTACT);
                }
            }
        }
    }

    /// The order in which the locks are looked at. Those who wait for several of them get into all queues in
    /// the same order, so that nobody is first in one and last in another.
    fn order(&self, is_first_look: bool) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.alternatives.len()).collect();
        let is_queued = |index: &usize| self.alternatives[*index].candidacy.is_touched;
        if self.candidate.waits && !is_first_look && !order.iter().all(is_queued) {
            order.sort_by(|a, b| self.alternatives[*a].target.name.cmp(&self.alternatives[*b].target.name));
        }
        order
    }

    /// Does what can be done for one of the locks now.
    async fn advance(&mut self, index: usize) -> anyhow::Result<Next> {
        let Self { candidate, alternatives, pipeline_runs, report, until, .. } = self;
        let Alternative { target, candidacy, pods, .. } = &mut alternatives[index];
        loop {
            let now = Moment::now();
            let within = until.map_or(REQUEST, |until| until.saturating_sub(now.time).min(REQUEST));
            let mut vacancy = Vacancy::Unknown;
            if let Some(version) = candidacy.version() {
                let is_next = candidacy.is_next();
                version
                    .lock
                    .holders
                    .iter()
                    .filter(|_| is_next)
                    .for_each(|holder| pipeline_runs.follow(holder));
                vacancy = pods.vacancy(target, version, is_next)?;
            }
            let action = candidacy.next(&now, &vacancy, |holder| pipeline_runs.of(holder));
            if let (Action::Wait(_) | Action::Refuse(_), Some(version)) = (&action, candidacy.version()) {
                if let (Action::Refuse(Refusal::Busy), Some(until)) =
                    (&action, pipeline_runs.answer_due(&version.lock))
                {
                    // Whether the holder is gone is being asked just now.
                    return Ok(Next::Wait(Some(until)));
                }
                report(Report::State(target, version, vacancy.obstacle()));
            }
            let request = match action {
                Action::Refuse(refusal) => return Ok(Next::Refused(refusal)),
                Action::Wait(until) | Action::Pause(until) => return Ok(Next::Wait(until)),
                Action::Send { request, is_turn } => {
                    // While somebody waits, what they wait for can have lost its point.
                    if is_turn && pipeline_runs.of_waiting(&candidate.terms, within).await.is_over() {
                        let name = candidate.terms.pipeline_run_name();
                        return Err(anyhow!(
                            "its turn has come, but PipelineRun {name}, for which it waited, is over or deleted"
                        ));
                    }
                    request
                }
            };
            let answer = target.send(&request, within).await;
            let is_written = answer.is_ok();
            match candidacy.on(Event::Answered(answer), &Moment::now())? {
                Some(News::Trouble(error)) => report(Report::Trouble(&error)),
                held => {
                    if let (Request::Write(before, after), true) = (&request, is_written) {
                        report(Report::Removed(target, &before.lock, after));
                    }
                    if let Some(News::Held(held)) = held {
                        return Ok(Next::Held(held));
                    }
                }
            }
        }
    }

    /// Takes the candidate out of the queues of all other locks.
    async fn leave(&mut self, held: Option<usize>) -> anyhow::Result<()> {
        for (index, alternative) in self.alternatives.iter().enumerate() {
            if alternative.candidacy.is_touched && held != Some(index) {
                release(&alternative.target, |lock| {
                    lock.withdraw(&self.candidate.identity, &alternative.candidacy.asked)
                })
                .await?;
            }
        }
        Ok(())
    }
}

impl Alternative {
    /// The next change; nothing where it is not the object itself that has changed.
    async fn next(&mut self) -> anyhow::Result<Option<WatchEvent>> {
        tokio::select! {
            event = self.events.next() => event.unwrap_or_else(|| Err(anyhow!("the watch on {} has ended", self.target))).map(Some),
            change = self.pods.change() => change.map(|()| None),
        }
    }
}
