//! The protocol: what somebody who wants the lock does next, from what they see. Pure, so that the model
//! beside it can play it in every order that there is.
//!
//! - Whoever finds room and nobody waiting takes the lock; else they go to the end of the queue, and only its
//!   first one takes it.
//! - Whoever does not move is taken out: a waiter that misses its beats, a holder whose ttl has run out or
//!   whose PipelineRun is over.
//! - Every step is one compare-and-swap on the version that was seen. Who is a holder in the version that
//!   they wrote themselves holds the lock; what others wrote is never believed for that, it may be old.

use std::time::Duration;

use jiff::Timestamp;

use super::abandonment::Abandonment;
use super::state::{Holder, Identity, Lock, Terms};
use super::watchlist::Watchlist;
use crate::runtime::kubernetes::pipeline_run::Life;

/// A waiter that misses this many beats in a row counts as dead.
pub const BEATS: u32 = 3;

/// For each of those who wait already, somebody who comes later has so much time for three beats: five beats
/// a second are those of all together.
const CROWD: Duration = Duration::from_millis(600);

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub identity: Identity,
    /// When they count as gone once they hold it.
    pub terms: Terms,
    /// Without a beat for this long they count as dead while they wait; longer where many wait.
    pub timeout: Duration,
    /// How many may hold it at once; `None` for as many as the object says.
    pub permits: Option<u32>,
    /// Whether to wait at all.
    pub waits: bool,
}

/// What somebody sees at a moment.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Put this into the object, if it is still the version that was seen.
    Write(Lock),
    /// The same: with that the lock is held, under this fencing number.
    Take(Lock, u64),
    /// Nothing, until the object changes or, if there is a time, until then.
    Wait(Option<Duration>),
    /// It cannot be had: nobody waits, or the number of permits is another one.
    Refuse(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has it, or waits for it, and this one does not want to wait.
    Busy,
    /// The lock is in use with another number of permits.
    Permits(u32),
}

impl Candidate {
    /// The state of a lock that is made because there is none: its maker waits in it, and takes it in a
    /// second step, as the version of what does not exist yet is unknown.
    ///
    /// Where somebody has deleted the object while it was in use, the queue is put back, and so are holders
    /// whose command may still run: each ends it and goes, or its ttl runs out. Holders without a process
    /// have lost the lock by that; it is how a person frees it.
    pub fn first(&self, deleted: Option<&Lock>, date: Timestamp) -> Lock {
        let mut lock = deleted
            .cloned()
            .unwrap_or_else(|| Lock { permits: self.permits.unwrap_or(1), ..Lock::default() });
        // Nor has whoever waits: the answer that would have told it that it holds the lock has not come.
        lock.holders.retain(|holder| holder.identity.session.is_some() && holder.identity != self.identity);
        // Behind those who wait already.
        let ticket = lock.queue.last().map_or(0, |last| last.ticket);
        let timeout = self.timeout_among(&lock);
        lock.enqueue(&self.identity, timeout, date, ticket);
        lock
    }

    pub fn step(&self, view: View, watchlist: &Watchlist, status: impl Fn(&Holder) -> Life) -> Step {
        let View { lock, version, is_vacant, now, date } = view;
        if let Some(step) = self.again(lock) {
            return step;
        }
        let mut next = lock.clone();
        if let Some(permits) = self.permits.filter(|permits| *permits != lock.permits) {
            let others = lock
                .holders
                .iter()
                .map(|holder| &holder.identity)
                .chain(lock.queue.iter().map(|waiter| &waiter.identity));
            if others.into_iter().any(|identity| *identity != self.identity) {
                return Step::Refuse(Refusal::Permits(lock.permits));
            }
            next.permits = permits;
        }
        let mut due = Due::default();
        let mut ahead = lock.queue.iter().take_while(|waiter| waiter.identity != self.identity);
        // Only the first one that lives acts, or all would write at the same time.
        if ahead.all(|waiter| due.is(waiter.timeout().saturating_sub(watchlist.silent(waiter, now)))) {
            next.queue.retain(|waiter| {
                waiter.identity == self.identity || watchlist.silent(waiter, now) < waiter.timeout()
            });
            next.holders.retain(|holder| {
                !Abandonment::of(holder, status(holder), watchlist.idle(holder, now))
                    .rest()
                    .is_some_and(|rest| due.is(rest))
            });
            if next.has_room() && is_vacant {
                let fence = next.grant(&self.identity, &self.terms, date, version);
                return Step::Take(next, fence);
            }
        }
        if !self.waits {
            // What was found dead is taken out all the same, which leads to another look.
            return if next == *lock { Step::Refuse(Refusal::Busy) } else { Step::Write(next) };
        }
        next.enqueue(&self.identity, self.timeout_among(lock), date, version);
        if next == *lock {
            return Step::Wait(due.next.map(|rest| now + rest));
        }
        watchlist.note(&mut next, now);
        if lock.place(&self.identity).is_some() {
            // Whatever it writes, it is there: the next beat is put off by this.
            self.count_beat(&mut next);
        }
        Step::Write(next)
    }

    /// The more wait, the rarer are the beats of each: all of them change one object.
    fn timeout_among(&self, lock: &Lock) -> Duration {
        self.timeout.max(CROWD * u32::try_from(lock.queue.len()).unwrap_or(u32::MAX))
    }

    /// Of one who holds the lock already: a retry of the task, or a command inside what the run holds.
    fn again(&self, lock: &Lock) -> Option<Step> {
        let own = lock.holder(&self.identity);
        let outer = || lock.holder(&Identity { session: None, ..self.identity.clone() });
        let fence = own.or_else(outer)?.fence;
        let mut next = lock.clone();
        let holder = next.holders.iter_mut().find(|holder| holder.fence == fence)?;
        holder.renewals += 1;
        holder.idle_millis = 0;
        if holder.identity == self.identity {
            holder.terms = self.terms.clone();
        }
        next.queue.retain(|waiter| waiter.identity != self.identity);
        Some(Step::Take(next, fence))
    }

    /// The state after this waiter has said that it is still there; `None` if it is not in the queue.
    pub fn beat(&self, view: View, watchlist: &Watchlist) -> Option<Lock> {
        let mut next = view.lock.clone();
        watchlist.note(&mut next, view.now);
        self.count_beat(&mut next).then_some(next)
    }

    /// `false`: it does not wait.
    fn count_beat(&self, lock: &mut Lock) -> bool {
        let own = lock.queue.iter_mut().find(|waiter| waiter.identity == self.identity);
        own.map(|waiter| waiter.beats += 1).is_some()
    }
}

/// When the next of several terms runs out.
#[derive(Default)]
struct Due {
    next: Option<Duration>,
}

impl Due {
    /// Whether nothing is left of a term; else it is noted how much.
    fn is(&mut self, rest: Duration) -> bool {
        if !rest.is_zero() {
            self.next = Some(self.next.map_or(rest, |next| next.min(rest)));
        }
        rest.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::PipelineRun;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);
    const UID: &str = "uid";

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn identity(id: &str) -> Identity {
        Identity { id: id.into(), session: None }
    }

    fn process(id: &str) -> Identity {
        Identity { id: id.into(), session: Some("5e551017".into()) }
    }

    fn ttl(seconds: u64) -> Terms {
        Terms { ttl_millis: Some(seconds * 1000), ttl_is_asked_for: true, pipeline_run: None }
    }

    fn of_pipeline_run(ttl_is_asked_for: bool) -> Terms {
        Terms { ttl_is_asked_for, pipeline_run: Some(PipelineRun { name: "p".into(), uid: None }), ..ttl(10) }
    }

    fn candidate(identity: Identity) -> Candidate {
        Candidate { identity, terms: ttl(10), timeout: TIMEOUT, permits: None, waits: true }
    }

    /// A lock with these holders and waiters, written one after another as versions 1, 2 and so on.
    fn lock(holders: &[(Identity, Terms)], queue: &[Identity]) -> Lock {
        let mut lock = Lock::default();
        let mut versions = 1..;
        for (identity, terms) in holders {
            lock.grant(identity, terms, Timestamp::UNIX_EPOCH, versions.next().unwrap());
        }
        for identity in queue {
            lock.enqueue(identity, TIMEOUT, Timestamp::UNIX_EPOCH, versions.next().unwrap());
        }
        lock
    }

    fn view(lock: &Lock, now: u64) -> View<'_> {
        View { lock, version: 100, is_vacant: true, now: seconds(now), date: Timestamp::UNIX_EPOCH }
    }

    /// What somebody does at second `now` who has looked at this lock since second 0, and knows this of
    /// PipelineRuns.
    fn step(candidate: &Candidate, lock: &Lock, now: u64, status: Life) -> Step {
        let mut watchlist = Watchlist::default();
        watchlist.look(UID, lock, Duration::ZERO);
        candidate.step(view(lock, now), &watchlist, |_| status)
    }

    fn written(step: Step) -> Lock {
        match step {
            Step::Write(lock) => lock,
            other => panic!("{other:?}"),
        }
    }

    fn taken(step: Step) -> (Lock, u64) {
        match step {
            Step::Take(lock, fence) => (lock, fence),
            other => panic!("{other:?}"),
        }
    }

    fn ids(lock: &Lock) -> (Vec<&str>, Vec<&str>) {
        let holders = lock.holders.iter().map(|holder| holder.identity.id.as_str());
        (holders.collect(), lock.queue.iter().map(|waiter| waiter.identity.id.as_str()).collect())
    }

    #[test]
    fn a_lock_that_nobody_has_or_wants_is_taken_under_the_version_it_was_seen_in() {
        let (lock, fence) = taken(step(&candidate(identity("a")), &Lock::default(), 0, Life::Unreadable));
        assert_eq!((ids(&lock), fence), ((vec!["a"], vec![]), 100));
    }

    #[test]
    fn first_come_first_served() {
        let free = lock(&[], &[identity("a"), identity("b")]);
        assert_eq!(
            ids(&written(step(&candidate(identity("c")), &free, 0, Life::Unreadable))).1,
            ["a", "b", "c"]
        );
        assert_eq!(step(&candidate(identity("b")), &free, 1, Life::Unreadable), Step::Wait(Some(seconds(3))));
        assert_eq!(
            ids(&taken(step(&candidate(identity("a")), &free, 0, Life::Unreadable)).0),
            (vec!["a"], vec!["b"])
        );
    }

    #[test]
    fn the_first_one_alive_takes_out_the_dead_and_nobody_else_does() {
        let holders = [(identity("h"), ttl(100))];
        let lock = lock(&holders, &[identity("dead"), identity("b"), identity("c")]);
        let mut watchlist = Watchlist::default();
        watchlist.look(UID, &lock, Duration::ZERO);
        let mut later = lock.clone();
        later.queue[1].beats += 1;
        later.queue[2].beats += 1;
        watchlist.look(UID, &later, seconds(2));
        let step = |id: &str| candidate(identity(id)).step(view(&later, 4), &watchlist, |_| Life::Unreadable);
        assert_eq!(ids(&written(step("b"))), (vec!["h"], vec!["b", "c"]));
        assert_eq!(step("c"), Step::Wait(Some(seconds(5))));
    }

    #[test]
    fn whatever_a_waiter_writes_says_that_it_is_there() {
        let lock = lock(&[(identity("h"), ttl(100))], &[identity("dead"), identity("b")]);
        assert_eq!(written(step(&candidate(identity("b")), &lock, 3, Life::Unreadable)).queue[0].beats, 1);
    }

    #[test]
    fn a_ttl_runs_out() {
        let held = lock(&[(identity("h"), ttl(10))], &[identity("a")]);
        assert_eq!(
            step(&candidate(identity("a")), &held, 9, Life::Unreadable),
            Step::Wait(Some(seconds(10)))
        );
        assert_eq!(
            ids(&taken(step(&candidate(identity("a")), &held, 10, Life::Unreadable)).0),
            (vec!["a"], vec![])
        );
        let for_ever = lock(&[(identity("h"), Terms { ttl_millis: None, ..ttl(1) })], &[identity("a")]);
        assert_eq!(step(&candidate(identity("a")), &for_ever, 1_000_000, Life::Unreadable), Step::Wait(None));
    }

    #[test]
    fn a_pipeline_run_keeps_its_lock_as_long_as_it_runs() {
        let a = candidate(identity("a"));
        let held = |terms: Terms| lock(&[(identity("h"), terms)], &[identity("a")]);
        let is_taken = |is_asked_for: bool, now: u64, status: Life| match step(
            &a,
            &held(of_pipeline_run(is_asked_for)),
            now,
            status,
        ) {
            Step::Take(..) => true,
            Step::Wait(_) => false,
            other => panic!("{other:?}"),
        };
        assert!(is_taken(false, 0, Life::Gone));
        assert!(!is_taken(false, 1_000_000, Life::Running));
        assert!(!is_taken(false, 1_000_000, Life::Unasked));
        assert!(!is_taken(true, 9, Life::Running) && is_taken(true, 10, Life::Running));
        assert!(!is_taken(false, 9, Life::Unreadable) && is_taken(false, 10, Life::Unreadable));
    }

    #[test]
    fn who_comes_later_goes_on_counting_where_others_are() {
        let held = lock(&[(identity("h"), ttl(10))], &[identity("a")]);
        let mut watchlist = Watchlist::default();
        watchlist.look(UID, &held, Duration::ZERO);
        let beaten = candidate(identity("a")).beat(view(&held, 7), &watchlist).unwrap();
        assert_eq!((beaten.queue[0].beats, beaten.holders[0].idle_millis), (1, 7_000));
        assert!(candidate(identity("b")).beat(view(&held, 7), &watchlist).is_none(), "it does not wait");
        // On another clock, three seconds later.
        let mut own = beaten.clone();
        own.queue.remove(0);
        let mut watchlist = Watchlist::default();
        watchlist.look(UID, &own, seconds(500));
        assert_eq!(
            ids(&taken(candidate(identity("b")).step(view(&own, 503), &watchlist, |_| Life::Unreadable)).0),
            (vec!["b"], vec![])
        );
    }

    #[test]
    fn permits_are_what_the_first_one_says() {
        let asks = |permits: u32| Candidate { permits: Some(permits), ..candidate(identity("a")) };
        assert_eq!(taken(step(&asks(2), &Lock::default(), 0, Life::Unreadable)).0.permits, 2);
        let held = lock(&[(identity("h"), ttl(10))], &[]);
        assert_eq!(step(&asks(2), &held, 0, Life::Unreadable), Step::Refuse(Refusal::Permits(1)));
        let two = Lock { permits: 2, ..held };
        assert_eq!(ids(&taken(step(&asks(2), &two, 0, Life::Unreadable)).0).0, ["h", "a"]);
        assert_eq!(ids(&taken(step(&candidate(identity("a")), &two, 0, Life::Unreadable)).0).0, ["h", "a"]);
    }

    #[test]
    fn who_does_not_wait_is_refused_and_leaves_no_trace() {
        let hasty = Candidate { waits: false, ..candidate(identity("a")) };
        assert_eq!(
            step(&hasty, &lock(&[(identity("h"), ttl(10))], &[]), 9, Life::Unreadable),
            Step::Refuse(Refusal::Busy)
        );
        assert_eq!(
            step(&hasty, &lock(&[], &[identity("b")]), 1, Life::Unreadable),
            Step::Refuse(Refusal::Busy)
        );
        let mut full = lock(&[(identity("h"), ttl(100))], &[identity("dead")]);
        full = written(step(&hasty, &full, 3, Life::Unreadable));
        assert_eq!(ids(&full), (vec!["h"], vec![]));
        assert_eq!(step(&hasty, &full, 3, Life::Unreadable), Step::Refuse(Refusal::Busy));
        assert!(matches!(step(&hasty, &Lock::default(), 0, Life::Unreadable), Step::Take(..)));
    }

    #[test]
    fn what_is_not_vacant_is_waited_for() {
        let free = lock(&[], &[identity("a")]);
        let watchlist = Watchlist::default();
        let view = View { is_vacant: false, ..view(&free, 0) };
        assert_eq!(candidate(identity("a")).step(view, &watchlist, |_| Life::Unreadable), Step::Wait(None));
    }

    #[test]
    fn a_retry_holds_what_its_run_holds_by_its_own_terms() {
        let again = Candidate { terms: ttl(20), ..candidate(identity("a")) };
        let (lock, fence) =
            taken(step(&again, &lock(&[(identity("a"), ttl(10))], &[identity("b")]), 50, Life::Unreadable));
        assert_eq!((fence, lock.holders[0].renewals, lock.holders[0].terms.ttl_millis), (1, 1, Some(20_000)));
        assert_eq!(ids(&lock), (vec!["a"], vec!["b"]));
    }

    #[test]
    fn a_lock_run_works_inside_of_what_its_run_holds() {
        let (lock, fence) = taken(step(
            &candidate(process("a")),
            &lock(&[(identity("a"), ttl(20))], &[process("a")]),
            0,
            Life::Unreadable,
        ));
        assert_eq!(
            (fence, ids(&lock), lock.holders[0].terms.ttl_millis),
            (1, (vec!["a"], vec![]), Some(20_000))
        );
        // Not the other way round.
        let step = step(
            &candidate(identity("a")),
            &self::lock(&[(process("a"), ttl(20))], &[]),
            0,
            Life::Unreadable,
        );
        assert_eq!(ids(&written(step)), (vec!["a"], vec!["a"]));
    }

    #[test]
    fn what_was_deleted_by_hand_is_put_back_but_for_holds_without_a_process() {
        let first = |deleted: Option<&Lock>| candidate(process("w")).first(deleted, Timestamp::UNIX_EPOCH);
        assert_eq!(ids(&first(None)), (vec![], vec!["w"]));
        let mut deleted =
            lock(&[(process("runs"), ttl(10)), (identity("acquired"), ttl(10))], &[identity("x")]);
        let back = first(Some(&deleted));
        assert_eq!(ids(&back), (vec!["runs"], vec!["x", "w"]));
        assert!(
            back.queue.is_sorted_by_key(|waiter| waiter.ticket) && back.fence == deleted.fence,
            "{back:?}"
        );
        // Its own hold, of which it was not told.
        deleted.grant(&process("w"), &ttl(10), Timestamp::UNIX_EPOCH, 9);
        assert_eq!(ids(&first(Some(&deleted))), (vec!["runs"], vec!["x", "w"]));
    }
}
