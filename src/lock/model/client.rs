//! What a process does between two calls of the protocol's functions: what [`attempt`](crate::lock::attempt) and
//! [`release`](crate::lock::release) do around them, and [`keep`](crate::lock::keep) for `lock run`, without sockets and clocks.

use std::rc::Rc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::server::{Event, Reply, Request, Version};
use super::setting::{Role, Setting, UNIT};
use crate::lock::keep::with;
use crate::lock::state::{Holder, Lock, Terms};
use crate::lock::step::{Life, Step, View};
use crate::lock::watchlist::Watchlist;

#[derive(Debug, Clone)]
pub enum Phase {
    /// Not begun.
    Off,
    /// On the way to the lock.
    Wanting,
    /// It has been told that it holds the lock, by its own write.
    Holding(Hold),
    /// On the way out: it looks, and takes itself out.
    Leaving(Exit),
    /// The last one's second step.
    Deleting(Rc<Version>),
    /// Nothing more comes.
    Done,
}

/// Whose entries somebody takes out who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// What it holds.
    Release,
    /// Its place in the queue, and the holds that it has asked for.
    GiveUp(Vec<(u64, Timestamp)>),
}

#[derive(Debug, Clone)]
pub struct Hold {
    pub fence: u64,
    /// When the write was sent that said so last, on its own clock.
    pub asked_at: Duration,
    /// By which terms.
    pub terms: Terms,
    /// Whether it is the run's hold, inside of which this process only works.
    pub is_outer: bool,
}

/// What is known of the object.
#[derive(Debug, Clone)]
pub enum Known {
    Nothing,
    Gone(Option<Rc<Version>>),
    There(Rc<Version>),
}

/// A request that is under way.
#[derive(Debug, Clone)]
pub struct Flight {
    /// `None` once it was served.
    pub request: Option<Request>,
    pub reply: Option<Reply>,
    pub fence: Option<u64>,
    pub sent_at: Duration,
}

/// When it goes on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    Awake,
    Until(Duration),
    /// Only something new wakes it.
    ForEver,
}

#[derive(Debug, Clone)]
pub struct Client {
    pub phase: Phase,
    pub known: Known,
    pub watchlist: Rc<Watchlist>,
    pub is_stale: bool,
    pub beat_at: Duration,
    pub is_touched: bool,
    /// The holds that it has asked for.
    pub asked: Vec<(u64, Timestamp)>,
    pub sleep: Sleep,
    /// What its watch will tell, the next one first.
    pub inbox: Vec<Event>,
    /// What it knows of the PipelineRuns, by number of party; `None` of those that it does not follow.
    pub lives: Vec<Option<Life>>,
    pub flight: Option<Flight>,
}

impl Client {
    pub fn new(parties: usize) -> Self {
        Self {
            phase: Phase::Off,
            known: Known::Nothing,
            watchlist: Rc::default(),
            is_stale: false,
            beat_at: Duration::ZERO,
            is_touched: false,
            asked: Vec::new(),
            sleep: Sleep::ForEver,
            inbox: Vec::new(),
            lives: vec![None; parties],
            flight: None,
        }
    }

    /// Whether it looks at the object all the time.
    pub fn watches(&self, role: &Role) -> bool {
        matches!(self.phase, Phase::Wanting) || matches!(self.phase, Phase::Holding(_)) && role.has_process()
    }

    pub fn is_awake(&self, now: Duration) -> bool {
        match self.sleep {
            Sleep::Awake => true,
            Sleep::Until(time) => time <= now,
            Sleep::ForEver => false,
        }
    }

    /// The watch tells something: `Attempt::see`.
    pub fn see(&mut self, event: Event, stage: &Stage) {
        self.sleep = Sleep::Awake;
        match event {
            Event::There(version) => {
                if let Known::There(known) = &self.known
                    && known.uid == version.uid
                    && (version.number < known.number || (version.number == known.number && !self.is_stale))
                {
                    return;
                }
                if let (false, Phase::Wanting, Some(holder)) =
                    (stage.setting.guards.own_write_only, &self.phase, version.lock.holder(&stage.role.candidate.party))
                {
                    let (fence, terms) = (holder.fence, holder.terms.clone());
                    self.phase = Phase::Holding(Hold { fence, asked_at: stage.now, terms, is_outer: false });
                }
                self.learn(version, stage.now);
            }
            Event::Gone(was) => {
                if let (Known::There(known), Some(was)) = (&self.known, &was)
                    && known.uid != was.uid
                {
                    return;
                }
                self.known = Known::Gone(was);
                self.is_stale = false;
            }
        }
    }

    /// What it does next: a request, with the fencing number that a success means. `None`: it sleeps, or is done.
    pub fn act(&mut self, object: Option<&Rc<Version>>, stage: &Stage) -> Option<(Request, Option<u64>)> {
        match self.phase.clone() {
            Phase::Wanting => self.want(stage),
            Phase::Holding(hold) => self.keep(&hold, stage).map(|request| (request, None)),
            Phase::Leaving(exit) => self.leave(&exit, object, stage).map(|request| (request, None)),
            Phase::Deleting(version) => Some((Request::Delete(version), None)),
            Phase::Off | Phase::Done => None,
        }
    }

    /// One round of `Attempt::advance`.
    fn want(&mut self, stage: &Stage) -> Option<(Request, Option<u64>)> {
        let Stage { setting, role, now } = *stage;
        let candidate = &role.candidate;
        self.sleep = Sleep::ForEver;
        if self.is_stale {
            return None;
        }
        let version = match &self.known {
            Known::Nothing => return None,
            Known::Gone(was) => {
                let lock = candidate.first(was.as_ref().map(|was| &was.lock), role.date);
                self.is_touched = true;
                self.beat_at = now + UNIT;
                return Some((Request::Create(lock), None));
            }
            Known::There(version) => version.clone(),
        };
        if version.lock.queue.first().is_none_or(|first| first.party == candidate.party) {
            for holder in version.lock.holders.iter().filter(|holder| holder.terms.pipeline_run.is_some()) {
                self.lives[setting.number_of(&holder.party)].get_or_insert(Life::Unknown);
            }
        }
        let hurry = if setting.guards.honest_clock { Duration::ZERO } else { UNIT };
        let view = View { lock: &version.lock, version: version.number, is_vacant: true, now: now + hurry, date: role.date };
        let life = |holder: &Holder| match self.lives[setting.number_of(&holder.party)] {
            _ if holder.terms.pipeline_run.is_none() => Life::Unreadable,
            Some(Life::Running) if !setting.guards.asks_pipeline_run => Life::Unreadable,
            life => life.unwrap_or(Life::Unknown),
        };
        let is_queued = version.lock.place(&candidate.party).is_some();
        let (lock, fence) = match candidate.step(view, &self.watchlist, life) {
            Step::Refuse(refusal) => panic!("nobody here is refused: {refusal:?}"),
            Step::Wait(_) if is_queued && self.beat_at <= now => match candidate.beat(view, &self.watchlist) {
                Some(lock) => (lock, None),
                None => return None,
            },
            Step::Wait(until) => {
                let until = until.into_iter().chain(is_queued.then_some(self.beat_at)).min();
                self.sleep = until.map_or(Sleep::ForEver, Sleep::Until);
                return None;
            }
            Step::Write(lock) => (lock, None),
            Step::Take(lock, fence) => (lock, Some(fence)),
        };
        if lock.place(&candidate.party).is_some() {
            self.beat_at = now + UNIT;
        }
        self.is_touched = true;
        let is_again = version.lock.holders.iter().any(|holder| Some(holder.fence) == fence);
        self.asked.extend(fence.filter(|_| !is_again).map(|fence| (fence, stage.role.date)));
        Some((Request::Write(version, lock), fence))
    }

    /// The renewals of `lock run`: `Keeper::ask`.
    fn keep(&mut self, hold: &Hold, stage: &Stage) -> Option<Request> {
        let due = hold.asked_at + UNIT;
        self.sleep = if due > stage.now { Sleep::Until(due) } else { Sleep::ForEver };
        if self.is_stale || hold.is_outer {
            return None;
        }
        let own = |holder: &&Holder| holder.fence == hold.fence && holder.party == stage.role.candidate.party;
        let (Known::There(version) | Known::Gone(Some(version))) = &self.known else { return None };
        let entry = version.lock.holders.iter().find(own)?;
        if matches!(self.known, Known::There(_)) {
            return (due <= stage.now).then(|| Request::Write(version.clone(), with(&version.lock, entry)));
        }
        // Whoever's hold is deleted by hand puts it back.
        let mut lock = version.lock.clone();
        lock.holders.retain(|holder| holder.party.session.is_some() || own(&holder));
        Some(Request::Create(if stage.setting.guards.puts_back_renewed { with(&lock, entry) } else { lock }))
    }

    /// One round of `release`.
    fn leave(&mut self, exit: &Exit, object: Option<&Rc<Version>>, stage: &Stage) -> Option<Request> {
        let written = object.and_then(|version| {
            let mut lock = version.lock.clone();
            self.take_out(exit, stage, &mut lock).then(|| Request::Write(version.clone(), lock))
        });
        if written.is_none() {
            self.phase = Phase::Done;
        }
        written
    }

    fn take_out(&self, exit: &Exit, stage: &Stage, lock: &mut Lock) -> bool {
        let party = &stage.role.candidate.party;
        match exit {
            Exit::Release if !stage.setting.guards.release_spares_processes => lock.remove(|other| other.id == party.id),
            Exit::Release => lock.remove(|other| other == party),
            Exit::GiveUp(asked) => lock.withdraw(party, asked),
        }
    }

    /// The answer to a request, or that none came: `Post::learn_from`.
    pub fn hear(&mut self, flight: &Flight, stage: &Stage) {
        self.sleep = Sleep::Awake;
        match (&self.phase, &flight.reply) {
            (Phase::Wanting, Some(Reply::Done(Some(version)))) => {
                self.learn(version.clone(), stage.now);
                if let Some(holder) = version.lock.holders.iter().find(|holder| Some(holder.fence) == flight.fence) {
                    let is_outer = holder.party != stage.role.candidate.party;
                    let terms = holder.terms.clone();
                    self.phase = Phase::Holding(Hold { fence: holder.fence, asked_at: flight.sent_at, terms, is_outer });
                }
            }
            (Phase::Holding(hold), Some(Reply::Done(Some(version)))) => {
                self.phase = Phase::Holding(Hold { asked_at: flight.sent_at, ..hold.clone() });
                self.learn(version.clone(), stage.now);
            }
            (Phase::Wanting | Phase::Holding(_), Some(Reply::Conflict)) => {
                self.is_stale = true;
                self.sleep = Sleep::ForEver;
                self.beat_at = self.beat_at.min(flight.sent_at);
            }
            (Phase::Leaving(_), Some(Reply::Done(Some(version)))) if version.lock.is_unused() => {
                self.phase = Phase::Deleting(version.clone());
            }
            (Phase::Leaving(_), Some(Reply::Done(_))) | (Phase::Deleting(_), _) => self.phase = Phase::Done,
            // It is not known; the pause before the next try is slowness, which may always be.
            (Phase::Wanting, None) => self.beat_at = self.beat_at.min(flight.sent_at),
            _ => {}
        }
    }

    fn learn(&mut self, version: Rc<Version>, now: Duration) {
        Rc::make_mut(&mut self.watchlist).look(&version.uid.to_string(), &version.lock, now);
        self.known = Known::There(version);
        self.is_stale = false;
    }
}

/// Where a client acts.
pub struct Stage<'a> {
    pub setting: &'a Setting,
    pub role: &'a Role,
    /// Its own clock.
    pub now: Duration,
}
