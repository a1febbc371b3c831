//! A candidacy: what one process that wants one lock does next, from what it was told of the lock's object.
//!
//! No clock is read here and nothing is sent. [`on`](Candidacy::on) takes in what has happened,
//! [`next`](Candidacy::next) says what to do. So the model plays this very code in every order that there is,
//! and [`attempt`](super::attempt) carries out what it says in a cluster.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::Moment;
use super::object::{Answer, Event, Request, Unwritten, Version, WatchEvent};
use super::replicas::Vacancy;
use super::state::{Holder, Lock};
use super::step::{BEATS, Candidate, Refusal, Step, View};
use super::watchlist::Watchlist;
use crate::runtime::kubernetes::backoff::Pauses;
use crate::runtime::kubernetes::explain::Grant;
use crate::runtime::kubernetes::pipeline_run::Life;

/// How long a lock that was made anew is left alone before its maker takes it. A holder whose object somebody
/// has deleted puts itself back in that time, and whoever comes later cannot know that there was one.
const SETTLING: Duration = Duration::from_millis(100);
/// For how long at most somebody gives way at first.
const FIRST_WAY: Duration = Duration::from_millis(20);

/// A lock that is held.
#[derive(Debug)]
pub struct Held {
    /// The object as it was written.
    pub version: Arc<Version>,
    /// Greater than every earlier acquisition's: whoever keeps the shared thing can refuse smaller ones.
    pub fence: u64,
    /// When the write was sent that took or renewed it, on this process' clock: the ttl counts from then.
    pub asked_at: Duration,
    /// Whether it was held already, by the same holder.
    pub is_again: bool,
}

#[derive(Debug)]
pub enum Action {
    /// Send this request, and tell its answer. `is_turn`: with it, one that has waited takes the lock.
    Send { request: Request, is_turn: bool },
    /// Nothing, until something is heard or this time comes: this is how things are with the lock.
    Wait(Option<Duration>),
    /// The same, but it is not known how things are, or it is not the time to act on it.
    Pause(Option<Duration>),
    /// Nothing: the lock cannot be had now.
    Refuse(Refusal),
}

#[derive(Debug)]
pub enum News {
    Held(Box<Held>),
    /// The API server cannot be reached; it is tried again.
    Trouble(anyhow::Error),
}

#[derive(Debug, Clone, Default)]
pub enum Object {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// There is none; what the last one was, where somebody has deleted it.
    Gone(Option<Arc<Version>>),
    There(Arc<Version>),
}

/// A request that is under way.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Duration,
    /// The fencing number that it asks for, and whether that was held already.
    pub(super) take: Option<(u64, bool)>,
    /// When a beat was due before.
    owed: Duration,
    is_queued: bool,
    /// Whether it makes an object where nobody has seen one.
    makes_anew: bool,
}

/// Somebody's way to one lock.
#[derive(Debug, Clone, Default)]
pub struct Candidacy {
    pub candidate: Candidate,
    pub object: Object,
    pub(super) watchlist: Watchlist,
    /// When the API server was last heard, and whether the connection has broken since.
    pub(super) heard_at: Option<Duration>,
    pub(super) is_interrupted: bool,
    /// How often this waiter says that it is there: a third of its timeout.
    pub(super) pace: Duration,
    pub(super) beat_at: Duration,
    /// Whether the known version is not the newest: a write has met another one.
    pub(super) is_stale: bool,
    /// Until then it makes a pause, such as after it has made the object.
    pub retry_at: Option<Duration>,
    pauses: Pauses,
    /// Until then only what takes the lock is written; how often in a row that has met another write.
    way_until: Duration,
    collisions: u32,
    pub(super) sent: Option<Sent>,
    /// Whether there may be something of this candidacy in the object.
    pub is_touched: bool,
    /// What it has asked for, as fencing number and date: another process of the run may hold the lock too.
    pub asked: Vec<(u64, Timestamp)>,
    /// To write the object.
    grant: Grant,
}

impl Candidacy {
    /// One that knows nothing yet. While it waits, it says so [`BEATS`] times in its timeout.
    pub fn new(candidate: Candidate) -> Self {
        Self { pace: candidate.timeout / BEATS, candidate, ..Self::default() }
    }

    pub fn version(&self) -> Option<&Arc<Version>> {
        if let Object::There(version) = &self.object { Some(version) } else { None }
    }

    /// Takes in what has happened. Fails where a request was refused.
    pub fn on(&mut self, event: Event, now: &Moment) -> anyhow::Result<Option<News>> {
        match event {
            Event::Answered(answer) => return self.take_answer(answer, now),
            Event::Seen(WatchEvent::Trouble(error)) => {
                self.is_interrupted = true;
                return Ok(Some(News::Trouble(error)));
            }
            Event::Seen(WatchEvent::There(version)) => {
                self.hear(now.time);
                // Else it is from before the own write.
                if self.version().is_none_or(|known| version.is_news_to(known, self.is_stale)) {
                    self.learn(version, now.time);
                }
            }
            Event::Seen(WatchEvent::Gone(was)) => {
                self.hear(now.time);
                // Else it is the one before that.
                if self.version().zip(was.as_ref()).is_none_or(|(known, was)| known.uid == was.uid) {
                    self.object = Object::Gone(was);
                    self.is_stale = false;
                }
            }
        }
        Ok(None)
    }

    /// Whether it is the one to take the lock next. Only then the holders need to be watched.
    pub fn is_next(&self) -> bool {
        let first = self.version().and_then(|version| version.lock.queue.first());
        first.is_none_or(|first| first.identity == self.candidate.identity)
    }

    /// What to do now; `vacancy` tells whether what the lock stands for can be taken once nobody holds it.
    pub fn next(&mut self, now: &Moment, vacancy: &Vacancy, status: impl Fn(&Holder) -> Life) -> Action {
        let time = now.time;
        if self.is_stale {
            return Action::Pause(None);
        }
        if let Some(at) = self.retry_at.filter(|at| *at > time) {
            return Action::Pause(Some(at));
        }
        self.retry_at = None;
        self.excuse(time);
        let version = match &self.object {
            Object::Unknown => return Action::Pause(None),
            Object::Gone(was) => {
                let lock = self.candidate.first(was.as_ref().map(|was| &was.lock), now.date);
                return self.send(Request::Create(lock), None, now);
            }
            Object::There(version) => version.clone(),
        };
        let is_queued = version.lock.place(&self.candidate.identity).is_some();
        if *vacancy == Vacancy::Unknown && !is_queued {
            return Action::Pause(None);
        }
        let is_vacant = *vacancy == Vacancy::Vacant;
        let view =
            View { lock: &version.lock, version: version.number, is_vacant, now: time, date: now.date };
        let (lock, fence) = match self.candidate.step(view, &self.watchlist, status) {
            Step::Refuse(refusal) => return Action::Refuse(refusal),
            Step::Write(lock) => (lock, None),
            Step::Take(lock, fence) => (lock, Some(fence)),
            Step::Wait(until) => {
                let beat =
                    (self.beat_at <= time).then(|| self.candidate.beat(view, &self.watchlist)).flatten();
                let Some(lock) = beat else {
                    return Action::Wait(until.into_iter().chain(is_queued.then_some(self.beat_at)).min());
                };
                (lock, None)
            }
        };
        if fence.is_none() && self.way_until > time {
            return Action::Pause(Some(self.way_until));
        }
        self.send(Request::Write(version, lock), fence, now)
    }

    fn send(&mut self, request: Request, fence: Option<u64>, now: &Moment) -> Action {
        let before = self.version().map(|version| &version.lock);
        let is_queued = before.is_some_and(|lock| lock.place(&self.candidate.identity).is_some());
        let is_held =
            |fence: u64| before.is_some_and(|lock| lock.holders.iter().any(|holder| holder.fence == fence));
        let take = fence.map(|fence| (fence, is_held(fence)));
        let makes_anew = matches!(self.object, Object::Gone(None));
        self.sent = Some(Sent { at: now.time, take, owed: self.beat_at, is_queued, makes_anew });
        self.asked.extend(take.filter(|(_, is_again)| !is_again).map(|(fence, _)| (fence, now.date)));
        self.is_touched = true;
        if let Request::Create(lock) | Request::Write(_, lock) = &request {
            self.put_off_beat(lock, now);
        }
        Action::Send { request, is_turn: is_queued && take.is_some() }
    }

    /// What is written says that this waiter is there.
    fn put_off_beat(&mut self, lock: &Lock, now: &Moment) {
        if let Some(own) = lock.queue.iter().find(|waiter| waiter.identity == self.candidate.identity) {
            self.pace = own.timeout() / BEATS;
            self.beat_at = now.time + self.pace.mul_f64(0.8 + now.chance / 5.0);
        }
    }

    fn take_answer(&mut self, answer: Answer, now: &Moment) -> anyhow::Result<Option<News>> {
        let Some(sent) = self.sent.take() else { return Ok(None) };
        let time = now.time;
        match answer {
            Ok(Some(version)) => {
                self.pauses = Pauses::default();
                self.grant = Grant::granted();
                self.hear(time);
                self.retry_at = sent.makes_anew.then(|| time + SETTLING);
                self.learn(version.clone(), time);
                let held =
                    sent.take.map(|(fence, is_again)| Held { version, fence, asked_at: sent.at, is_again });
                return Ok(held.map(Box::new).map(News::Held));
            }
            Ok(None) | Err(Unwritten::Conflict) => {
                self.hear(time);
                self.retry_at = sent.makes_anew.then(|| time + SETTLING);
                self.is_stale = true;
            }
            Err(Unwritten::Refused(error)) => return Err(error),
            Err(Unwritten::Denied(error)) if self.grant.is_gone(time) => return Err(error),
            Err(Unwritten::Denied(error) | Unwritten::Unclear(error)) => {
                self.is_interrupted = true;
                self.retry_at = Some(time + self.pauses.pause(now.chance));
                self.beat_at = sent.owed.min(sent.at);
                return Ok(Some(News::Trouble(error)));
            }
        }
        // A beat that did not arrive is still owed.
        self.beat_at = sent.owed.min(sent.at);
        if sent.take.is_none() {
            self.give_way(sent.is_queued, now);
        }
        Ok(None)
    }

    /// The API server has said something.
    fn hear(&mut self, time: Duration) {
        if self.excuse(time) {
            // It answers again.
            self.retry_at = None;
        }
        self.heard_at = Some(time);
        self.is_interrupted = false;
    }

    /// While the API server is out of reach, nobody is heard who waits, and none of them is dead for that.
    /// Tells whether it is, or was until now.
    fn excuse(&mut self, time: Duration) -> bool {
        // Its own beats are answered more often.
        let is_late = self.heard_at.is_some_and(|at| time.saturating_sub(at) > self.pace * 3 / 2);
        let is_out_of_reach = self.is_interrupted || is_late;
        if is_out_of_reach {
            self.watchlist.excuse(time);
        }
        is_out_of_reach
    }

    /// All who have met another write would try again as soon as they see it, and of fifty only one would get
    /// through: so each waits by chance, the longer the more often, and less the sooner its place depends on
    /// a beat. Whoever takes the lock or releases it does not wait.
    fn give_way(&mut self, is_queued: bool, now: &Moment) {
        // Of its timeout of three beats, one is over when a beat is due.
        let left =
            if is_queued { (self.beat_at + self.pace * 2).saturating_sub(now.time) } else { self.pace * 2 };
        let window = (FIRST_WAY * 2u32.pow(self.collisions)).min(left / 8);
        self.collisions = (self.collisions + 1).min(16);
        self.way_until = now.time + window.mul_f64(now.chance);
    }

    fn learn(&mut self, version: Arc<Version>, time: Duration) {
        self.watchlist.look(&version.uid, &version.lock, time);
        self.object = Object::There(version);
        self.is_stale = false;
    }
}
