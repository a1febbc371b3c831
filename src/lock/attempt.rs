//! The way to a lock, or to one of several: looks at the objects through a watch each, and takes one [step](super::step) after another until
//! one of them is held.

use std::time::Duration;

use anyhow::anyhow;
use futures::future::select_all;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::backoff::{Pauses, fraction};
use super::clock::{now, until};
use super::lives::Lives;
use super::object::{Denied, Kind, Sighting, Target, Unwritten, Version};
use super::release::withdraw;
use super::replicas::{Tenants, Vacancy};
use super::state::{Lock, Party};
use super::step::{BEATS, Candidate, Life, Refusal, Step, View};
use super::watchlist::Watchlist;
use crate::deadline;
use crate::failure::{Advise, Exit};
use crate::runtime::kubernetes::Cluster;

/// A request that takes longer is tried again.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a lock that was made anew is left alone before its maker takes it. A holder whose object somebody has deleted puts itself back in that
/// time, and whoever comes later cannot know that there was one.
const SETTLING: Duration = Duration::from_millis(100);
/// How long to try to reach an API server that nobody has reached yet: it may be starting again, or it may be the wrong address.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// A process that wakes up so much too late was stopped.
const OVERSLEPT: Duration = Duration::from_secs(1);
/// For how long at most somebody gives way at first.
const FIRST_WAY: Duration = Duration::from_millis(20);
/// How long to try to get out of the queues of locks that nobody wants any more.
const LEAVING: Duration = Duration::from_secs(10);

/// A lock that is held.
#[derive(Debug)]
pub struct Held {
    /// Which of the targets.
    pub index: usize,
    /// The object as it was written.
    pub version: Version,
    /// The number of this acquisition, greater than every earlier one's: whoever keeps the shared thing can refuse smaller ones.
    pub fence: u64,
    /// When the write was sent that took it or said that it is still held, on [`now`]'s clock: the ttl is not over before that much later.
    pub asked_at: Duration,
    /// Whether it was held already, by the same holder.
    pub is_again: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// The lock is held.
    Held(Box<Held>),
    /// It cannot be had now; nobody waits for it.
    Refused(Refusal),
}

/// What happens on the way.
pub enum Telling<'a> {
    /// This is how things are with one of the locks, for which nothing can be done just now; what keeps one that nobody holds from being
    /// taken.
    State(&'a Target, &'a Version, Option<&'a str>),
    /// The API server cannot be reached; it is tried again.
    Trouble(&'a anyhow::Error),
    /// What a holder's PipelineRun does cannot be known, so that its ttl counts.
    Blind(&'a str),
    /// Somebody who waited or held was taken out.
    Removed(&'a Target, &'a Lock, &'a Lock),
}

/// One of the locks that would do.
struct Post {
    target: Target,
    sightings: BoxStream<'static, anyhow::Result<Sighting>>,
    known: Known,
    tenants: Tenants,
    /// Why the lock cannot be taken although nobody holds it.
    obstacle: Option<String>,
    watchlist: Watchlist,
    /// When the API server was last heard, and whether the connection has broken since.
    heard_at: Option<Duration>,
    is_interrupted: bool,
    /// How often this waiter says that it is there: a third of its patience.
    pace: Duration,
    /// Whether the known version is not the newest: a write has met another one.
    is_stale: bool,
    /// Not before this moment.
    retry_at: Option<Duration>,
    /// Until then, nothing is written that does not take the lock; how often in a row that has met another write.
    way_until: Option<Duration>,
    collisions: u32,
    pauses: Pauses,
    beat_at: Duration,
    /// Whether there may be a trace of this attempt in the object.
    is_touched: bool,
    /// The holds that this attempt has asked for, as fencing number and date. Another process of the same run may have the lock as well.
    asked: Vec<(u64, Timestamp)>,
    /// Whether a write was taken, so that there was the right to it.
    has_written: bool,
    denied: Denied,
}

enum Known {
    /// Nobody has looked yet.
    Nothing,
    /// There is no object; what the last one was, where somebody has deleted it.
    Gone(Option<Box<Version>>),
    /// This version.
    There(Box<Version>),
}

/// An attempt to get one of the locks.
pub struct Attempt<T> {
    candidate: Candidate,
    posts: Vec<Post>,
    lives: Lives,
    tell: T,
    /// When all of it is to be over, on [`now`]'s clock, and how long it may take then to get out of the queues.
    until: Option<Duration>,
    leaving: Duration,
}

enum Next {
    Held(Box<Held>),
    Refused(Refusal),
    Wait(Option<Duration>),
}

impl<T: FnMut(Telling)> Attempt<T> {
    /// Begins to look at the targets; they are preferred in their order. While it waits, the candidate says so [`BEATS`] times in the time of its
    /// patience.
    pub fn new(cluster: &Cluster, targets: Vec<Target>, candidate: Candidate, tell: T) -> Self {
        let pace = candidate.patience / BEATS;
        let posts = targets.into_iter().map(|target| Post {
            sightings: target.watch(),
            target,
            known: Known::Nothing,
            tenants: Tenants::default(),
            obstacle: None,
            watchlist: Watchlist::default(),
            heard_at: None,
            is_interrupted: false,
            pace,
            is_stale: false,
            retry_at: None,
            way_until: None,
            collisions: 0,
            pauses: Pauses::default(),
            beat_at: Duration::ZERO,
            is_touched: false,
            asked: Vec::new(),
            has_written: false,
            denied: Denied::default(),
        });
        Self { candidate, posts: posts.collect(), lives: Lives::new(cluster), tell, until: None, leaving: LEAVING }
    }

    /// The same for an attempt that is to be over at a moment: no request goes on beyond it, and none of what has to be done then takes much
    /// longer than a tenth of the time again.
    pub fn by(&mut self, deadline: Instant, whole: Duration) -> &mut Self {
        self.until = Some(now() + deadline::left(deadline));
        self.leaving = (whole / 10).clamp(Duration::from_millis(500), LEAVING);
        self
    }

    /// The lock, as soon as it can be had. What `stop` resolves with ends the attempt between two requests, and not amid one that may have
    /// made it a holder.
    ///
    /// # Errors
    /// What `stop` says; a request that was refused. No trace of the attempt is left in the queues, unless the error says so.
    pub async fn hold(&mut self, stop: impl Future<Output = anyhow::Error>) -> anyhow::Result<Outcome> {
        let outcome = self.try_to_hold(stop).await;
        let held = if let Ok(Outcome::Held(held)) = &outcome { Some(held.index) } else { None };
        let is_late = self.until.is_some_and(|until| until <= now());
        let within = if is_late { self.leaving } else { LEAVING };
        let left = timeout(within, self.leave(held)).await.unwrap_or_else(|_| Err(anyhow!("the API server does not answer")));
        match (outcome, left) {
            (Err(error), Err(left)) => {
                Err(error).hint(format!("it may still be in the queue, and is taken out there when it does not move: {left:#}"))
            }
            // It drops out by itself.
            (outcome, _) => outcome,
        }
    }

    async fn try_to_hold(&mut self, stop: impl Future<Output = anyhow::Error>) -> anyhow::Result<Outcome> {
        let mut stop = std::pin::pin!(stop);
        // What is free counts before the queues of what is not.
        let mut is_first_look = self.posts.len() > 1;
        let mut contact_until = Some(now() + FIRST_CONTACT);
        let mut trouble = None;
        loop {
            let mut due = None;
            if self.posts.iter().all(|post| !matches!(post.known, Known::Nothing)) {
                contact_until = None;
                let waits = self.candidate.waits && !is_first_look;
                let mut refusals = Vec::new();
                for index in self.order(waits) {
                    match self.advance(index, waits).await? {
                        Next::Held(held) => return Ok(Outcome::Held(held)),
                        Next::Refused(refusal) => refusals.push(refusal),
                        Next::Wait(until) => due = earliest(due, until),
                    }
                    if is_first_look && self.posts[index].retry_at.is_some() {
                        // One that was just made for this will do.
                        break;
                    }
                }
                let all_refuse = refusals.len() == self.posts.len();
                if let Some(refusal) =
                    refusals.into_iter().find(|refusal| all_refuse && (!self.candidate.waits || *refusal != Refusal::Busy))
                {
                    return Ok(Outcome::Refused(refusal));
                }
                if is_first_look && all_refuse {
                    is_first_look = false;
                    continue;
                }
            }
            let seen = select_all(self.posts.iter_mut().map(|post| Box::pin(post.next()))).map(|(sighting, index, _)| (sighting, index));
            tokio::select! {
                error = &mut stop => return Err(error),
                (sighting, index) = seen => match sighting? {
                    Some(Sighting::Trouble(error)) => {
                        (self.tell)(Telling::Trouble(&error));
                        self.posts[index].is_interrupted = true;
                        trouble = Some(error);
                    }
                    Some(sighting) => self.see(index, sighting),
                    None => {}
                },
                news = self.lives.next() => if let Some(obstacle) = news.obstacle {
                    (self.tell)(Telling::Blind(obstacle));
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

    /// The order in which the locks are looked at. Those who wait for several of them get into all queues in the same order, so that nobody
    /// is first in one and last in another.
    fn order(&self, waits: bool) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.posts.len()).collect();
        let is_queued = |index: &usize| self.posts[*index].is_touched;
        if waits && !order.iter().all(is_queued) {
            order.sort_by(|a, b| self.posts[*a].target.name.cmp(&self.posts[*b].target.name));
        }
        order
    }

    fn see(&mut self, index: usize, sighting: Sighting) {
        let post = &mut self.posts[index];
        post.hear();
        match sighting {
            Sighting::There(version) => {
                if let Known::There(known) = &post.known
                    && known.uid == version.uid
                    && version.number != 0
                    && (version.number < known.number || (version.number == known.number && !post.is_stale))
                {
                    // From before the own write.
                    return;
                }
                post.learn(version);
            }
            Sighting::Gone(was) => {
                if let (Known::There(known), Some(was)) = (&post.known, &was)
                    && known.uid != was.uid
                {
                    // The one before that.
                    return;
                }
                post.known = Known::Gone(was);
                post.is_stale = false;
            }
            Sighting::Trouble(_) => {}
        }
    }

    fn tell_state(&mut self, index: usize) {
        if let Known::There(version) = &self.posts[index].known {
            (self.tell)(Telling::State(&self.posts[index].target, version, self.posts[index].obstacle.as_deref()));
        }
    }

    /// Steps until there is nothing to do for now.
    async fn advance(&mut self, index: usize, waits: bool) -> anyhow::Result<Next> {
        loop {
            let time = now();
            let within = self.until.map_or(REQUEST, |until| until.saturating_sub(time).min(REQUEST));
            let post = &mut self.posts[index];
            if post.is_stale {
                return Ok(Next::Wait(None));
            }
            if let Some(at) = post.retry_at.filter(|at| *at > time) {
                return Ok(Next::Wait(Some(at)));
            }
            post.retry_at = None;
            post.excuse(time);
            let version = match &post.known {
                Known::Nothing => return Ok(Next::Wait(None)),
                Known::Gone(was) => {
                    if post.target.kind != Kind::Lease {
                        return Err(anyhow!("{} does not exist", post.target.object_name())).exit(Exit::Usage);
                    }
                    let lock = self.candidate.first(was.as_ref().map(|was| &was.lock), Timestamp::now());
                    post.is_touched = true;
                    if let Some(next) = next_beat(&lock, &self.candidate.party, time) {
                        (post.pace, post.beat_at) = next;
                    }
                    let outcome = timeout(within, post.target.create(&lock)).await;
                    // Whoever has seen the last one end knows that nobody is to come back.
                    post.retry_at = was.is_none().then(|| now() + SETTLING);
                    if let Some(until) = post.learn_from(outcome, &mut self.tell)? {
                        return Ok(Next::Wait(until));
                    }
                    continue;
                }
                Known::There(version) => version,
            };
            // Only whoever is next needs to know.
            let is_next = version.lock.queue.first().is_none_or(|first| first.party == self.candidate.party);
            if is_next {
                version.lock.holders.iter().for_each(|holder| self.lives.follow(holder));
            }
            let is_queued = version.lock.place(&self.candidate.party).is_some();
            let vacancy = post.tenants.vacancy(&post.target, version, is_next)?;
            if vacancy == Vacancy::Unknown && !is_queued {
                return Ok(Next::Wait(None));
            }
            let is_vacant = vacancy == Vacancy::Vacant;
            post.obstacle = vacancy.obstacle();
            let date = Timestamp::now();
            let view = View { lock: &version.lock, version: version.number, is_vacant, now: time, date };
            let candidate = Candidate { waits, ..self.candidate.clone() };
            let step = candidate.step(view, &post.watchlist, |holder| self.lives.of(holder));
            let (lock, fence) = match step {
                Step::Refuse(refusal) => {
                    if refusal == Refusal::Busy
                        && let Some(until) = self.lives.answer_due(&version.lock)
                    {
                        // Whether the holder is gone is being asked just now.
                        return Ok(Next::Wait(Some(until)));
                    }
                    self.tell_state(index);
                    return Ok(Next::Refused(refusal));
                }
                Step::Wait(until) if is_queued && post.beat_at <= time => match self.candidate.beat(view, &post.watchlist) {
                    Some(lock) => (lock, None),
                    None => return Ok(Next::Wait(until)),
                },
                Step::Wait(until) => {
                    let until = earliest(until, is_queued.then_some(post.beat_at));
                    self.tell_state(index);
                    return Ok(Next::Wait(until));
                }
                Step::Write(lock) => (lock, None),
                Step::Take(lock, fence) => (lock, Some(fence)),
            };
            // While somebody waits, what they wait for can have lost its point.
            if fence.is_some() && is_queued && self.lives.of_waiting(&self.candidate.terms, within).await == Life::Over {
                let name = self.candidate.terms.pipeline_run.as_ref().map(|pipeline_run| pipeline_run.name.as_str()).unwrap_or_default();
                return Err(anyhow!("its turn has come, but PipelineRun {name}, for which it waited, is over or deleted"));
            }
            if let Some(until) = post.way_until.filter(|until| *until > time && fence.is_none()) {
                return Ok(Next::Wait(Some(until)));
            }
            let owed = post.beat_at;
            if let Some(next) = next_beat(&lock, &self.candidate.party, time) {
                (post.pace, post.beat_at) = next;
            }
            post.is_touched = true;
            let before = version.lock.clone();
            let is_again = version.lock.holders.iter().any(|holder| Some(holder.fence) == fence);
            post.asked.extend(fence.filter(|_| !is_again).map(|fence| (fence, date)));
            let outcome = timeout(within, post.target.write(version, &lock)).await;
            let is_written = matches!(outcome, Ok(Ok(_)));
            if let Some(until) = post.learn_from(outcome, &mut self.tell)? {
                // A beat that did not arrive is still owed.
                post.beat_at = owed.min(time);
                if until.is_none() && fence.is_none() {
                    post.give_way(is_queued);
                }
                return Ok(Next::Wait(until));
            }
            (self.tell)(Telling::Removed(&post.target, &before, &lock));
            if let (Known::There(version), Some(fence), true) = (&post.known, fence, is_written) {
                let version = (**version).clone();
                return Ok(Next::Held(Box::new(Held { index, version, fence, asked_at: time, is_again })));
            }
        }
    }

    /// Takes the candidate out of the queues of all other locks.
    async fn leave(&mut self, held: Option<usize>) -> anyhow::Result<()> {
        for (index, post) in self.posts.iter().enumerate() {
            if post.is_touched && held != Some(index) {
                withdraw(&post.target, &self.candidate.party, &post.asked).await?;
            }
        }
        Ok(())
    }
}

impl Post {
    /// The next sighting; nothing where it is not the object itself that has changed.
    async fn next(&mut self) -> anyhow::Result<Option<Sighting>> {
        tokio::select! {
            sighting = self.sightings.next() => {
                sighting.unwrap_or_else(|| Err(anyhow!("the watch on {} has ended", self.target))).map(Some)
            }
            change = self.tenants.change() => change.map(|()| None),
        }
    }

    /// The API server has said something.
    fn hear(&mut self) {
        let time = now();
        if self.excuse(time) {
            // It answers again.
            self.retry_at = None;
        }
        self.heard_at = Some(time);
        self.is_interrupted = false;
    }

    /// While the API server is out of reach, nobody is heard who waits, and none of them is dead for that. Tells whether it is, or was until now.
    fn excuse(&mut self, time: Duration) -> bool {
        // Its own beats are answered more often.
        let is_late = self.heard_at.is_some_and(|at| time.saturating_sub(at) > self.pace * 3 / 2);
        let is_out_of_reach = self.is_interrupted || is_late;
        if is_out_of_reach {
            self.watchlist.excuse(time);
        }
        is_out_of_reach
    }

    /// All who have met another write would try again as soon as they see it, and of fifty only one would get through: so each waits by chance, the
    /// longer the more often, and less the sooner its place depends on a beat. Whoever takes the lock or releases it does not wait.
    fn give_way(&mut self, is_queued: bool) {
        let time = now();
        // Of its patience of three beats, one is over when a beat is due.
        let left = if is_queued { (self.beat_at + self.pace * 2).saturating_sub(time) } else { self.pace * 2 };
        let window = (FIRST_WAY * 2u32.pow(self.collisions)).min(left / 8);
        self.collisions = (self.collisions + 1).min(16);
        self.way_until = Some(time + window.mul_f64(fraction()));
    }

    fn learn(&mut self, version: Box<Version>) {
        self.watchlist.look(&version.uid, &version.lock, now());
        self.known = Known::There(version);
        self.is_stale = false;
    }

    /// Takes over what a write has led to. `Some`: it has failed, and there is nothing to do before the object changes or, if there is a time,
    /// until then.
    fn learn_from(
        &mut self,
        outcome: Result<Result<Version, Unwritten>, tokio::time::error::Elapsed>,
        tell: &mut impl FnMut(Telling),
    ) -> anyhow::Result<Option<Option<Duration>>> {
        match outcome.unwrap_or_else(|_| Err(Unwritten::Unclear(anyhow!("the API server does not answer")))) {
            Ok(version) => {
                self.pauses = Pauses::default();
                self.denied = Denied::default();
                self.has_written = true;
                self.hear();
                self.learn(Box::new(version));
                Ok(None)
            }
            Err(Unwritten::Conflict) => {
                self.hear();
                self.is_stale = true;
                Ok(Some(None))
            }
            Err(Unwritten::Refused(error)) => Err(error),
            Err(Unwritten::Denied(error)) if self.denied.is_for_good() || !self.has_written => Err(error),
            Err(Unwritten::Denied(error) | Unwritten::Unclear(error)) => {
                tell(Telling::Trouble(&error));
                self.is_interrupted = true;
                self.retry_at = self.pauses.next().map(|pause| now() + pause);
                Ok(Some(self.retry_at))
            }
        }
    }
}

/// At which pace a waiter of this state says that it is there, and when next.
fn next_beat(lock: &Lock, party: &Party, time: Duration) -> Option<(Duration, Duration)> {
    let own = lock.queue.iter().find(|waiter| waiter.party == *party)?;
    let pace = own.patience() / BEATS;
    Some((pace, time + pace.mul_f64(0.8 + fraction() / 5.0)))
}

fn earliest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
