//! A client: the protocol's own [`Candidacy`], [`Holding`] and [release](crate::lock::release), told what the
//! model's server and clock have in store for them.
//!
//! What is left of the driver here is what [`attempt`](crate::lock::attempt), [`keep`](crate::lock::keep) and
//! [`until_done`](crate::lock::object::until_done) do with what these say: to send it, to sleep, and to try
//! again. So are the faults that [`Guards`](super::setting::Guards) ask for.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;

use super::server::{Change, Reply};
use super::setting::{Role, Setting, UNIT};
use crate::lock::candidacy::{self, Candidacy, Held};
use crate::lock::clock::Moment;
use crate::lock::holding::{self, Holding, Loss};
use crate::lock::object::{Event, Request, Unwritten, Version};
use crate::lock::release::{cleanup, removal};
use crate::lock::replicas::Vacancy;
use crate::lock::state::{Holder, Lock, Terms};
use crate::runtime::kubernetes::pipeline_run::Life;

#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Not begun.
    Off,
    /// On the way to the lock.
    Wanting(Rc<Candidacy>),
    /// It has been told that it holds the lock, by its own write.
    Holding(Hold),
    /// On the way out: it looks, and takes itself out.
    Leaving(Exit),
    /// The last one's second step.
    Deleting(Request),
    /// Nothing more comes.
    Done,
}

/// Whose entries somebody takes out who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exit {
    /// What it holds.
    Release,
    /// Its place in the queue, and the holds that it has asked for.
    GiveUp(Vec<(u64, Timestamp)>),
}

#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub fence: u64,
    /// By which terms.
    pub terms: Terms,
    /// Whether it is the run's hold, inside of which this process only works.
    pub is_outer: bool,
    asked_at: Duration,
    /// What keeps it, for as long as it is not lost for good.
    pub holding: Option<Rc<Holding>>,
}

impl Hold {
    pub(super) fn new(held: Held, role: &Role) -> Self {
        let holder = held
            .version
            .lock
            .holders
            .iter()
            .find(|holder| holder.fence == held.fence)
            .expect("it holds the lock");
        let (fence, terms, is_outer) =
            (held.fence, holder.terms.clone(), holder.identity != role.candidate.identity);
        let asked_at = held.asked_at;
        let holding = role.has_process().then(|| {
            let holding = Holding::new(held, true).expect("it holds the lock");
            Rc::new(holding)
        });
        Self { fence, terms, is_outer, asked_at, holding }
    }

    /// When the write was sent that said so last, on its own clock.
    pub(super) fn asked_at(&self) -> Duration {
        self.holding.as_ref().map_or(self.asked_at, |holding| holding.kept_at)
    }

    /// Keeps the lock, until the command has to be dead.
    fn act(&mut self, stage: &Stage) -> (Option<Request>, Option<Duration>) {
        match self.holding.as_mut() {
            Some(holding) if holding.kill_at().is_none_or(|kill_at| stage.now < kill_at) => {
                keep(Rc::make_mut(holding), stage)
            }
            _ => {
                self.end();
                (None, None)
            }
        }
    }

    /// Until the ttl is over, the command counts as running, whatever its holder has heard.
    fn take_news(&mut self, news: Option<holding::News>) {
        if let Some(holding::News::Lost(Loss::Removed(_))) = news {
            self.end();
        }
    }

    fn end(&mut self) {
        self.asked_at = self.asked_at();
        self.holding = None;
    }
}

/// A request that is under way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    /// `None` once it was served.
    pub request: Option<Request>,
    pub reply: Option<Reply>,
}

/// When it goes on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleep {
    Awake,
    Until(Duration),
    /// Only something new wakes it.
    ForEver,
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    pub phase: Phase,
    pub sleep: Sleep,
    /// What its watch will tell, the next one first.
    pub inbox: Vec<Change>,
    /// What it knows of the PipelineRuns, by number of identity; `None` of those that it does not follow.
    pub statuses: Vec<Option<Life>>,
    pub flight: Option<Flight>,
}

impl Client {
    pub(super) fn new(identities: usize) -> Self {
        Self {
            phase: Phase::Off,
            sleep: Sleep::ForEver,
            inbox: Vec::new(),
            statuses: vec![None; identities],
            flight: None,
        }
    }

    /// Begins to want the lock.
    pub(super) fn start(&mut self, role: &Role, listed: Change) {
        *self = Self::new(self.statuses.len());
        self.phase = Phase::Wanting(Rc::new(Candidacy::new(role.candidate.clone())));
        self.inbox = vec![listed];
    }

    /// Whether it looks at the object all the time.
    pub(super) fn watches(&self) -> bool {
        matches!(&self.phase, Phase::Wanting(_) | Phase::Holding(Hold { holding: Some(_), .. }))
    }

    /// The version that it knows.
    pub(super) fn known(&self) -> Option<&Arc<Version>> {
        match &self.phase {
            Phase::Wanting(candidacy) => candidacy.version(),
            Phase::Holding(Hold { holding: Some(holding), .. }) => match &holding.object {
                holding::Object::There(version) => Some(version),
                holding::Object::Gone(_) => None,
            },
            _ => None,
        }
    }

    pub(super) fn is_awake(&self, now: Duration) -> bool {
        match self.sleep {
            Sleep::Awake => !matches!(&self.phase, Phase::Holding(hold) if hold.holding.is_none()),
            Sleep::Until(time) => time <= now,
            Sleep::ForEver => false,
        }
    }

    /// The watch tells something.
    pub(super) fn see(&mut self, change: Change, stage: &Stage) {
        self.sleep = Sleep::Awake;
        let guards = &stage.setting.guards;
        let seen_at = if guards.honest_clock { stage.now } else { stage.now - UNIT };
        let now = Moment { time: seen_at, ..stage.moment() };
        let believed = match &change {
            Change::There(version) if !guards.own_write_only => {
                version.lock.holder(&stage.role.candidate.identity)
            }
            _ => None,
        };
        let believed = believed.map(|holder| holder.fence).zip(if let Change::There(version) = &change {
            Some(version.clone())
        } else {
            None
        });
        match &mut self.phase {
            Phase::Wanting(candidacy) => {
                Rc::make_mut(candidacy)
                    .on(Event::Seen(change.into()), &now)
                    .expect("nothing here is refused");
                if let Some((fence, version)) = believed {
                    self.hold(Held { version, fence, asked_at: stage.now, is_again: false }, stage);
                }
            }
            Phase::Holding(hold) => {
                let news = hold
                    .holding
                    .as_mut()
                    .and_then(|holding| Rc::make_mut(holding).on(Event::Seen(change.into()), &now));
                hold.take_news(news);
            }
            _ => {}
        }
    }

    fn hold(&mut self, held: Held, stage: &Stage) {
        self.phase = Phase::Holding(Hold::new(held, stage.role));
    }

    /// What it does next: a request. `None`: it sleeps, or is done.
    pub(super) fn act(&mut self, object: Option<&Arc<Version>>, stage: &Stage) -> Option<Request> {
        let (request, sleep) = match &mut self.phase {
            Phase::Wanting(candidacy) => {
                let candidacy = Rc::make_mut(candidacy);
                // No pause is made that spares others, as whoever is slow makes it as well.
                candidacy.retry_at = None;
                if let Some(version) = candidacy.version().filter(|_| candidacy.is_next()) {
                    for holder in
                        version.lock.holders.iter().filter(|holder| holder.terms.pipeline_run.is_some())
                    {
                        self.statuses[stage.setting.number_of(&holder.identity)].get_or_insert(Life::Unasked);
                    }
                }
                match candidacy
                    .next(&stage.moment(), &Vacancy::Vacant, |holder| stage.status(holder, &self.statuses))
                {
                    candidacy::Action::Send { request, .. } => (Some(request), None),
                    candidacy::Action::Wait(until) | candidacy::Action::Pause(until) => (None, until),
                    candidacy::Action::Refuse(refusal) => panic!("nobody here is refused: {refusal:?}"),
                }
            }
            Phase::Holding(hold) => hold.act(stage),
            Phase::Leaving(exit) => {
                let removal = object.and_then(|version| removal(version, |lock| take_out(exit, stage, lock)));
                if removal.is_none() {
                    self.phase = Phase::Done;
                }
                (removal, None)
            }
            Phase::Deleting(request) => (Some(request.clone()), None),
            Phase::Off | Phase::Done => (None, None),
        };
        self.sleep = sleep.map_or(Sleep::ForEver, Sleep::Until);
        request
    }

    /// The answer to a request, or that none came.
    pub(super) fn hear(&mut self, reply: Option<Reply>, stage: &Stage) {
        self.sleep = Sleep::Awake;
        let now = stage.moment();
        match &mut self.phase {
            Phase::Wanting(candidacy) => {
                let news = Rc::make_mut(candidacy)
                    .on(Event::Answered(answer(reply)), &now)
                    .expect("nothing here is refused");
                if let Some(candidacy::News::Held(held)) = news {
                    self.hold(*held, stage);
                }
            }
            Phase::Holding(hold) => {
                let news = hold.holding.as_mut().and_then(|holding| {
                    let holding = Rc::make_mut(holding);
                    let news = holding.on(Event::Answered(answer(reply)), &now);
                    if let Some(holding::News::Trouble(_)) = &news {
                        // Without the pause.
                        holding.due = Some(now.time);
                    }
                    news
                });
                hold.take_news(news);
            }
            Phase::Leaving(_) => {
                if let Some(Reply::Done(written)) = reply {
                    self.phase = written.as_ref().and_then(cleanup).map_or(Phase::Done, Phase::Deleting);
                }
            }
            Phase::Deleting(_) => self.phase = Phase::Done,
            Phase::Off | Phase::Done => {}
        }
        // That is what it would say itself.
        if matches!(&self.phase, Phase::Wanting(candidacy) if candidacy.is_stale) {
            self.sleep = Sleep::ForEver;
        }
    }
}

fn answer(reply: Option<Reply>) -> Result<Option<Arc<Version>>, Unwritten> {
    match reply {
        Some(Reply::Done(version)) => Ok(version),
        Some(Reply::Conflict) => Err(Unwritten::Conflict),
        None => Err(Unwritten::Unclear(anyhow!("no answer"))),
    }
}

fn keep(holding: &mut Holding, stage: &Stage) -> (Option<Request>, Option<Duration>) {
    let before = holding.entry.clone();
    loop {
        match holding.next(&stage.moment()) {
            // Its command is asked to end, and it keeps the lock for so long.
            holding::Action::Lost(_) => {}
            holding::Action::Wait(until) => return (None, until),
            holding::Action::Send(Request::Create(mut lock), _)
                if !stage.setting.guards.puts_back_renewed =>
            {
                lock.holders
                    .iter_mut()
                    .filter(|holder| holder.fence == before.fence)
                    .for_each(|holder| holder.clone_from(&before));
                return (Some(Request::Create(lock)), None);
            }
            holding::Action::Send(request, _) => return (Some(request), None),
        }
    }
}

fn take_out(exit: &Exit, stage: &Stage, lock: &mut Lock) -> bool {
    let identity = &stage.role.candidate.identity;
    match exit {
        Exit::Release if !stage.setting.guards.release_spares_processes => {
            lock.remove(|other| other.id == identity.id)
        }
        Exit::Release => lock.remove(|other| other == identity),
        Exit::GiveUp(asked) => lock.withdraw(identity, asked),
    }
}

/// Where a client acts.
pub(super) struct Stage<'a> {
    pub setting: &'a Setting,
    pub role: &'a Role,
    /// Its own clock.
    pub now: Duration,
}

impl Stage<'_> {
    fn status(&self, holder: &Holder, statuses: &[Option<Life>]) -> Life {
        match statuses[self.setting.number_of(&holder.identity)] {
            _ if holder.terms.pipeline_run.is_none() => Life::Unreadable,
            Some(Life::Running) if !self.setting.guards.asks_pipeline_run => Life::Unreadable,
            status => status.unwrap_or(Life::Unasked),
        }
    }

    fn moment(&self) -> Moment {
        Moment { time: self.now, date: self.role.date, chance: 0.0 }
    }
}
