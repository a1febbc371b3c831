//! The protocol: what somebody who wants the lock does next, from what they see. Pure, so that the model in `tests` can play it in every
//! order that there is.
//!
//! - Whoever finds room and nobody waiting takes the lock; else they go to the end of the queue, and only its first one takes it.
//! - Whoever does not move is taken out: a waiter that misses its beats, a holder whose ttl has run out or whose PipelineRun is over.
//! - Every step is one compare-and-swap on the version that was seen. Who is a holder in the version that they wrote themselves holds the
//!   lock; what others wrote is never believed for that, it may be old.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::state::{Holder, Lock, Party, Terms};
use super::watchlist::Watchlist;

/// Somebody who wants the lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Who.
    pub party: Party,
    /// When they count as gone once they hold it.
    pub terms: Terms,
    /// Without a beat for this long they count as dead while they wait.
    pub patience: Duration,
    /// How many may hold it at once; `None` for as many as the object says.
    pub permits: Option<u32>,
    /// Whether to wait at all.
    pub waits: bool,
}

/// What somebody sees at a moment.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The object's state.
    pub lock: &'a Lock,
    /// The object's version as a number, 0 where the cluster does not count.
    pub version: u64,
    /// Whether what the lock stands for could be taken once nobody holds it.
    pub is_vacant: bool,
    /// The time on this process' own clock, from any beginning.
    pub now: Duration,
    /// The time for people.
    pub date: Timestamp,
}

/// What became of a holder's PipelineRun, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// It goes on.
    Running,
    /// It is over, or was deleted.
    Over,
    /// Not known yet.
    Unknown,
    /// It cannot be read, or the holder has none.
    Unreadable,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Put this into the object, if it is still the version that was seen.
    Write(Lock),
    /// Put this into the object, if it is still the version that was seen: with that the lock is held, under this fencing number.
    Take(Lock, u64),
    /// Nothing, until the object changes or, if there is a time, until then.
    Wait(Option<Duration>),
    /// It cannot be had: nobody waits, or the number of permits is another one.
    Refuse(Refusal),
}

/// Why the lock cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has it, or waits for it, and this one does not want to wait.
    Busy,
    /// The lock is in use with another number of permits.
    Permits(u32),
}

impl Candidate {
    /// The state of a lock that is made because there is none: its maker waits in it, and takes it in a second step, as the version of what
    /// does not exist yet is unknown.
    ///
    /// Where somebody has deleted the object while it was in use, the queue is put back, and so are holders whose command may still run:
    /// each ends it and goes, or its ttl runs out. Holders without a process have lost the lock by that; it is how a person frees it.
    pub fn first(&self, deleted: Option<&Lock>, date: Timestamp) -> Lock {
        let mut lock = deleted.cloned().unwrap_or_else(|| Lock { permits: self.permits.unwrap_or(1), ..Lock::default() });
        lock.holders.retain(|holder| holder.party.session.is_some());
        lock.enqueue(&self.party, self.patience, date, 0);
        lock
    }

    /// The next step.
    pub fn step(&self, view: View, watchlist: &Watchlist, life: impl Fn(&Holder) -> Life) -> Step {
        let View { lock, version, is_vacant, now, date } = view;
        if let Some(step) = self.again(lock) {
            return step;
        }
        let mut next = lock.clone();
        if let Some(permits) = self.permits.filter(|permits| *permits != lock.permits) {
            let others = lock.holders.iter().map(|holder| &holder.party).chain(lock.queue.iter().map(|waiter| &waiter.party));
            if others.into_iter().any(|party| *party != self.party) {
                return Step::Refuse(Refusal::Permits(lock.permits));
            }
            next.permits = permits;
        }
        let mut due = Due::default();
        let mut ahead = lock.queue.iter().take_while(|waiter| waiter.party != self.party);
        // Only the first one that lives acts, or all would write at the same time.
        if ahead.all(|waiter| due.is(watchlist.silent(waiter, now), waiter.patience())) {
            next.queue.retain(|waiter| waiter.party == self.party || watchlist.silent(waiter, now) < waiter.patience());
            next.holders.retain(|holder| !is_abandoned(holder, life(holder), watchlist.idle(holder, now), &mut due));
            if next.has_room() && is_vacant {
                let fence = next.grant(&self.party, &self.terms, date, version);
                return Step::Take(next, fence);
            }
        }
        if !self.waits {
            // What was found dead is taken out all the same, which leads to another look.
            return if next == *lock { Step::Refuse(Refusal::Busy) } else { Step::Write(next) };
        }
        next.enqueue(&self.party, self.patience, date, version);
        if next == *lock {
            return Step::Wait(due.next.map(|rest| now + rest));
        }
        watchlist.note(&mut next, now);
        Step::Write(next)
    }

    /// Somebody who holds the lock already says so once more: a retry of the same task, or a command inside what the run holds.
    fn again(&self, lock: &Lock) -> Option<Step> {
        let own = lock.holder(&self.party);
        let outer = || lock.holder(&Party { session: None, ..self.party.clone() });
        let fence = own.or_else(outer)?.fence;
        let mut next = lock.clone();
        let holder = next.holders.iter_mut().find(|holder| holder.fence == fence)?;
        holder.renewals += 1;
        holder.idle_millis = 0;
        if holder.party == self.party {
            holder.terms = self.terms.clone();
        }
        next.queue.retain(|waiter| waiter.party != self.party);
        Some(Step::Take(next, fence))
    }

    /// The state after this waiter has said that it is still there; `None` if it is not in the queue.
    pub fn beat(&self, view: View, watchlist: &Watchlist) -> Option<Lock> {
        let mut next = view.lock.clone();
        next.queue.iter_mut().find(|waiter| waiter.party == self.party)?.beats += 1;
        watchlist.note(&mut next, view.now);
        Some(next)
    }
}

/// Whether a holder's lock may be taken away.
fn is_abandoned(holder: &Holder, life: Life, idle: Duration, due: &mut Due) -> bool {
    let Terms { ttl_is_asked_for, pipeline_run, .. } = &holder.terms;
    let by_ttl = match (pipeline_run, life) {
        (Some(_), Life::Over) => return true,
        // Whatever the clock says, unless the ttl was meant to end it.
        (Some(_), Life::Running | Life::Unknown) => *ttl_is_asked_for,
        (Some(_), Life::Unreadable) | (None, _) => true,
    };
    by_ttl && holder.terms.ttl().is_some_and(|ttl| due.is(idle, ttl))
}

/// When the next of several terms runs out.
#[derive(Default)]
struct Due {
    next: Option<Duration>,
}

impl Due {
    /// Whether a term has run out; if not, it is noted how much of it is left.
    fn is(&mut self, spent: Duration, term: Duration) -> bool {
        let rest = term.saturating_sub(spent);
        if !rest.is_zero() {
            self.next = Some(self.next.map_or(rest, |next| next.min(rest)));
        }
        rest.is_zero()
    }
}
