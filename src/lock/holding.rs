//! A lock that is held: when it is renewed, and when it counts as lost and why.
//!
//! No clock is read here and nothing is sent. [`on`](Holding::on) takes in what has happened,
//! [`next`](Holding::next) says what to do. So the model plays this very code in every order that there is,
//! and [`keep`](super::keep) carries out what it says in a cluster.
//!
//! A renewal is a compare-and-swap on the newest version, which the watch tells: whoever waits changes the
//! object as well. The holder believes only what it has written itself, and counts from when it sent that,
//! see [`Deadlines`].

use std::sync::Arc;
use std::time::Duration;

use super::candidacy::Held;
use super::clock::Moment;
use super::deadlines::Deadlines;
use super::object::{Answer, Event, REQUEST, Request, Unwritten, Version, WatchEvent};
use super::state::{Holder, Lock};
use crate::runtime::kubernetes::backoff::Pauses;

#[derive(Debug)]
pub enum News {
    /// It was renewed, so that there are new deadlines.
    Renewed,
    /// A renewal has failed, for this reason. The next one may not.
    Trouble(String),
    Lost(Loss),
}

#[derive(Debug)]
pub enum Loss {
    /// No renewal was taken for too long. It is still held, but not for long.
    Silence {
        since: Duration,
        /// What the last attempt came to; nothing where there was none, as testbed itself was stopped.
        trouble: Option<String>,
    },
    /// Somebody has deleted the object. Those who wait put it back together with its holders, as far as these
    /// run commands, and so does this holder.
    Deleted {
        /// Whether this kind of object can be put back at all.
        can_return: bool,
    },
    /// Somebody has taken the holder out. This is how the lock was seen then.
    Removed(Box<Lock>),
}

#[derive(Debug)]
pub enum Action {
    /// Send this request, and tell its answer, or that none came within this time.
    Send(Request, Duration),
    /// Nothing, until something is heard or, if there is a time, until then.
    Wait(Option<Duration>),
    /// The lock is lost by the clock alone.
    Lost(Loss),
}

#[derive(Debug, Clone)]
pub(super) enum Object {
    There(Arc<Version>),
    /// Somebody has deleted it; what to put back.
    Gone(Lock),
}

#[derive(Debug, Clone)]
pub struct Holding {
    /// The holder's own entry, as it was last seen.
    pub(super) entry: Holder,
    pub(super) object: Object,
    /// Whether the object can be made anew.
    can_return: bool,
    deadlines: Option<Deadlines>,
    /// When the last renewal was sent that was taken.
    pub(super) kept_at: Duration,
    /// When the first of those renewals was sent of which it is unknown whether they were taken.
    pub(super) unclear_at: Option<Duration>,
    /// The request that is under way: when it was sent, and how long its answer may take.
    pub(super) sent: Option<(Duration, Duration)>,
    /// Whether the known version is not the newest.
    pub(super) is_stale: bool,
    /// When to write next.
    pub(super) due: Option<Duration>,
    pauses: Pauses,
    trouble: Option<String>,
    pub(super) is_silence_told: bool,
    pub(super) is_deletion_told: bool,
}

impl Holding {
    /// A lock that was just taken; `None` where the holder is not in it.
    pub fn new(held: Held, can_return: bool) -> Option<Self> {
        let entry = held.version.lock.holders.iter().find(|holder| holder.fence == held.fence)?.clone();
        let deadlines = entry.terms.ttl().map(Deadlines::of);
        Some(Self {
            entry,
            object: Object::There(held.version),
            can_return,
            deadlines,
            kept_at: held.asked_at,
            unclear_at: None,
            sent: None,
            is_stale: false,
            due: deadlines.map(|deadlines| held.asked_at + deadlines.renewal()),
            pauses: Pauses::default(),
            trouble: None,
            is_silence_told: false,
            is_deletion_told: false,
        })
    }

    /// When the command has to be dead, unless the lock is renewed; `None` if time alone does not lose it.
    pub fn kill_at(&self) -> Option<Duration> {
        self.deadlines.map(|deadlines| self.kept_at + deadlines.kill())
    }

    /// When somebody else has to have killed it.
    pub fn last_moment(&self) -> Option<Duration> {
        self.deadlines.map(|deadlines| self.kept_at + deadlines.last())
    }

    /// What to do now. After a loss the lock is kept as far as possible: the command needs time to end.
    pub fn next(&mut self, now: &Moment) -> Action {
        // The clock first: this process may have been stopped for any time, and the machine asleep.
        if let Some(loss) = self.overdue(now.time) {
            return Action::Lost(loss);
        }
        if self.due.is_none_or(|due| due > now.time) {
            let silence = self
                .deadlines
                .filter(|_| !self.is_silence_told)
                .map(|deadlines| self.kept_at + deadlines.end());
            return Action::Wait(self.due.into_iter().chain(silence).min());
        }
        let request = match &self.object {
            _ if self.is_stale => Request::Read,
            Object::There(version) => Request::Write(version.clone(), with(&version.lock, &self.entry)),
            Object::Gone(lock) => Request::Create(lock.clone()),
        };
        let timeout = self.timeout(now.time);
        self.sent = Some((now.time, timeout));
        Action::Send(request, timeout)
    }

    /// Whether the lock is lost by the clock alone; told once.
    pub fn overdue(&mut self, time: Duration) -> Option<Loss> {
        let deadlines = self.deadlines.filter(|_| !self.is_silence_told)?;
        let at = self.kept_at + deadlines.end();
        if time < at {
            return None;
        }
        self.is_silence_told = true;
        // Whoever comes this late was stopped: a request without an answer says nothing of the API server.
        let trouble = self.trouble.clone().filter(|_| time < at + deadlines.request());
        Some(Loss::Silence { since: time.saturating_sub(self.kept_at), trouble })
    }

    /// For how long to wait for an answer: not beyond what has to be done next.
    fn timeout(&self, time: Duration) -> Duration {
        let Some(deadlines) = self.deadlines else { return REQUEST };
        let next = if self.is_silence_told { deadlines.kill() } else { deadlines.end() };
        deadlines.request().min(REQUEST).min((self.kept_at + next).saturating_sub(time))
    }

    pub fn on(&mut self, event: Event, now: &Moment) -> Option<News> {
        match event {
            Event::Answered(answer) => {
                let is_gone = matches!(self.object, Object::Gone(_));
                let news = self.take_answer(answer, now);
                if is_gone
                    && !matches!(news, Some(News::Lost(_)))
                    && !std::mem::replace(&mut self.is_deletion_told, true)
                {
                    return Some(News::Lost(Loss::Deleted { can_return: true }));
                }
                news
            }
            Event::Seen(event) => self.see(event, now.time).map(News::Lost),
        }
    }

    /// The answer to a renewal, or to what makes the next one possible.
    fn take_answer(&mut self, answer: Answer, now: &Moment) -> Option<News> {
        let (sent_at, timeout) = self.sent.take()?;
        match answer {
            Ok(Some(version)) if self.is_stale => self.learn(version, now.time).map(News::Lost),
            Ok(None) => self.lose_object(None, now.time).map(News::Lost),
            Ok(Some(version)) => {
                self.kept_at = sent_at;
                self.unclear_at = None;
                self.trouble = None;
                self.pauses = Pauses::default();
                self.due = self.deadlines.map(|deadlines| sent_at + deadlines.renewal());
                Some(self.learn(version, now.time).map_or(News::Renewed, News::Lost))
            }
            Err(Unwritten::Conflict) => {
                // The watch is about to tell; if it does not, it is worth a request.
                self.is_stale = true;
                self.due = Some(now.time + timeout);
                None
            }
            // Rights may come back as well as connections.
            Err(
                Unwritten::Unclear(ref error) | Unwritten::Refused(ref error) | Unwritten::Denied(ref error),
            ) => {
                if matches!(answer, Err(Unwritten::Unclear(_))) {
                    self.unclear_at = self.unclear_at.or(Some(sent_at));
                }
                let trouble = format!("{error:#}");
                self.trouble = Some(trouble.clone());
                self.due = Some(now.time + self.pauses.pause(now.chance));
                Some(News::Trouble(trouble))
            }
        }
    }

    fn see(&mut self, event: WatchEvent, time: Duration) -> Option<Loss> {
        match (event, &self.object) {
            // From before the own write.
            (WatchEvent::There(version), Object::There(known))
                if !version.is_news_to(known, self.is_stale) =>
            {
                None
            }
            (WatchEvent::There(version), known) => {
                let was_stale = self.is_stale || matches!(known, Object::Gone(_));
                let loss = self.learn(version, time);
                if was_stale && self.due.is_some() {
                    self.due = Some(time);
                }
                loss
            }
            // What was put back since.
            (WatchEvent::Gone(Some(was)), Object::There(known)) if was.uid != known.uid => None,
            (WatchEvent::Gone(None), Object::There(_)) => {
                // Maybe from before that.
                self.is_stale = true;
                self.due = Some(time);
                None
            }
            (WatchEvent::Gone(Some(was)), Object::There(_)) => self.lose_object(Some(was.lock.clone()), time),
            (WatchEvent::Gone(_), Object::Gone(_)) => None,
            (WatchEvent::Trouble(error), _) => {
                self.trouble = Some(format!("{error:#}"));
                None
            }
        }
    }

    /// Takes note of a version, and looks whether the holder is still in it.
    fn learn(&mut self, version: Arc<Version>, time: Duration) -> Option<Loss> {
        self.is_stale = false;
        let Some(own) = entry_in(&version.lock, &self.entry).cloned() else {
            let is_out =
                matches!(&self.object, Object::There(known) if entry_in(&known.lock, &self.entry).is_none());
            if (is_out || matches!(self.object, Object::Gone(_))) && version.lock.has_room() {
                // Somebody who did not know of a holder has made the deleted object, and does not hold it yet.
                self.object = Object::There(version);
                self.due = Some(time);
                return None;
            }
            return Some(Loss::Removed(Box::new(version.lock.clone())));
        };
        // Of an entry that nobody else renews: one of the unclear ones was taken.
        if own.renewals > self.entry.renewals
            && own.identity.session.is_some()
            && let Some(sent_at) = self.unclear_at.take()
        {
            self.kept_at = self.kept_at.max(sent_at);
        }
        self.entry = own;
        // Somebody who waits was faster in putting it back.
        let is_another = matches!(&self.object, Object::There(known) if known.uid != version.uid);
        self.object = Object::There(version);
        (is_another && !std::mem::replace(&mut self.is_deletion_told, true))
            .then_some(Loss::Deleted { can_return: true })
    }

    /// Prepares to put back what somebody has deleted, with all holders whose commands may still run.
    fn lose_object(&mut self, was: Option<Lock>, time: Duration) -> Option<Loss> {
        self.is_stale = false;
        if let Object::There(version) = &self.object {
            let mut lock = was.unwrap_or_else(|| version.lock.clone());
            if entry_in(&lock, &self.entry).is_none() {
                return Some(Loss::Removed(Box::new(lock)));
            }
            lock.holders.retain(|holder| holder.identity.session.is_some() || is_same(holder, &self.entry));
            self.object = Object::Gone(with(&lock, &self.entry));
        }
        self.due = self.can_return.then_some(time);
        (!self.can_return).then_some(Loss::Deleted { can_return: false })
    }
}

fn is_same(one: &Holder, other: &Holder) -> bool {
    one.fence == other.fence && one.identity == other.identity
}

fn entry_in<'a>(lock: &'a Lock, entry: &Holder) -> Option<&'a Holder> {
    lock.holders.iter().find(|holder| is_same(holder, entry))
}

/// The state with a holder's entry renewed, or put back into it. What is put back is renewed as well: its
/// holder counts anew from there, and so must those who wait, whatever they had told of it before.
fn with(lock: &Lock, entry: &Holder) -> Lock {
    let mut lock = lock.clone();
    if entry_in(&lock, entry).is_none() {
        lock.fence = lock.fence.max(entry.fence);
        lock.holders.push(entry.clone());
    }
    lock.renew(&entry.identity, entry.fence);
    lock
}

#[cfg(test)]
mod tests {
    use super::super::state::{Identity, Terms};
    use super::*;

    #[test]
    fn an_entry_is_renewed_or_put_back_with_its_number() {
        let identity = |id: &str| Identity { id: id.into(), session: Some("s".into()) };
        let terms = Terms { ttl_millis: Some(1_000), ttl_is_asked_for: true, pipeline_run: None };
        let mut lock = Lock::default();
        lock.grant(&identity("one"), &terms, jiff::Timestamp::UNIX_EPOCH, 17);
        lock.holders[0].idle_millis = 900;
        let entry = lock.holders[0].clone();
        let renewed = with(&lock, &entry);
        assert_eq!(
            (renewed.holders.len(), renewed.holders[0].renewals, renewed.holders[0].idle_millis),
            (1, 1, 0)
        );
        // A later acquisition of the same process is another one.
        let later = Holder { fence: 18, ..entry.clone() };
        assert_eq!(entry_in(&lock, &later), None);
        let back = with(&Lock::default(), &entry);
        assert_eq!((back.holders, back.fence), (renewed.holders, 17));
    }
}
