//! What one process has seen of the others: for how long each of them has not moved.
//!
//! Clocks of different machines are never compared, as in client-go's leader election: a holder counts its
//! renewals and a waiter its beats, and whoever watches measures on a clock of its own since when the count
//! has stood still.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::{Holder, Identity, Lock, Waiter, millis};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Watchlist {
    uid: String,
    seen: BTreeMap<Entry, Sight>,
}

/// One entry of the object: somebody who comes again has another number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Entry {
    Holder(Identity, u64),
    Waiter(Identity, u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sight {
    count: u64,
    /// When, on this process' clock.
    at: Duration,
    /// For how long it had not moved by then.
    still_for: Duration,
}

impl Watchlist {
    /// Takes note of the object's state; `uid` tells the object from a later one of the same name.
    pub fn look(&mut self, uid: &str, lock: &Lock, now: Duration) {
        if self.uid != uid {
            uid.clone_into(&mut self.uid);
            self.seen.clear();
        }
        let holders = lock
            .holders
            .iter()
            .map(|holder| (entry_of(holder), holder.renewals, Duration::from_millis(holder.idle_millis)));
        let waiters = lock.queue.iter().map(|waiter| (place_of(waiter), waiter.beats, Duration::ZERO));
        let mut seen = BTreeMap::new();
        for (entry, count, told) in holders.chain(waiters) {
            let known = self.seen.remove(&entry).filter(|known| known.count == count);
            let sight = match known {
                Some(known) if known.still_for + now.saturating_sub(known.at) >= told => known,
                _ => Sight { count, at: now, still_for: told },
            };
            seen.insert(entry, sight);
        }
        self.seen = seen;
    }

    /// Gives all who wait the whole time again: nobody could be heard for a while. A holder's ttl runs on.
    pub fn excuse(&mut self, now: Duration) {
        for (entry, sight) in &mut self.seen {
            if matches!(entry, Entry::Waiter(..)) {
                *sight = Sight { count: sight.count, at: now, still_for: Duration::ZERO };
            }
        }
    }

    /// For how long a holder is known not to have renewed.
    pub fn idle(&self, holder: &Holder, now: Duration) -> Duration {
        self.still(&entry_of(holder), now)
    }

    /// For how long a waiter is known not to have moved.
    pub fn silent(&self, waiter: &Waiter, now: Duration) -> Duration {
        self.still(&place_of(waiter), now)
    }

    /// Writes into the state for how long its holders are known not to have renewed. Only the
    /// compare-and-swap makes it true: that the object is still the one that was looked at means that no
    /// renewal came in between.
    pub fn note(&self, lock: &mut Lock, now: Duration) {
        for holder in &mut lock.holders {
            holder.idle_millis = holder.idle_millis.max(millis(self.idle(holder, now)));
        }
    }

    fn still(&self, entry: &Entry, now: Duration) -> Duration {
        self.seen.get(entry).map_or(Duration::ZERO, |sight| sight.still_for + now.saturating_sub(sight.at))
    }
}

fn entry_of(holder: &Holder) -> Entry {
    Entry::Holder(holder.identity.clone(), holder.fence)
}

fn place_of(waiter: &Waiter) -> Entry {
    Entry::Waiter(waiter.identity.clone(), waiter.ticket)
}

#[cfg(test)]
mod tests {
    use super::super::state::Terms;
    use super::*;

    #[test]
    fn an_outage_excuses_who_waits_and_nobody_who_holds() {
        let seconds = Duration::from_secs;
        let identity = |id: &str| Identity { id: id.into(), session: None };
        let mut lock = Lock::default();
        lock.grant(
            &identity("holder"),
            &Terms { ttl_millis: Some(9_000), ttl_is_asked_for: true, pipeline_run: None },
            "2026-01-01T00:00:00Z".parse().unwrap(),
            1,
        );
        lock.enqueue(&identity("waiter"), seconds(3), "2026-01-01T00:00:00Z".parse().unwrap(), 2);
        let mut watchlist = Watchlist::default();
        watchlist.look("uid", &lock, seconds(10));
        watchlist.excuse(seconds(14));
        // The same state again, after the outage.
        watchlist.look("uid", &lock, seconds(15));
        assert_eq!(
            (watchlist.silent(&lock.queue[0], seconds(16)), watchlist.idle(&lock.holders[0], seconds(16))),
            (seconds(2), seconds(6))
        );
    }

    fn held() -> Lock {
        let mut lock = Lock::default();
        let terms = Terms { ttl_millis: Some(9_000), ttl_is_asked_for: true, pipeline_run: None };
        lock.grant(&Identity { id: "holder".into(), session: None }, &terms, jiff::Timestamp::UNIX_EPOCH, 1);
        lock
    }

    #[test]
    fn a_renewal_counts_from_when_it_is_seen() {
        let seconds = Duration::from_secs;
        let (mut lock, mut watchlist) = (held(), Watchlist::default());
        assert_eq!(watchlist.idle(&lock.holders[0], seconds(5)), Duration::ZERO, "not seen yet");
        watchlist.look("uid", &lock, seconds(10));
        watchlist.look("uid", &lock, seconds(12));
        assert_eq!(watchlist.idle(&lock.holders[0], seconds(14)), seconds(4));
        lock.renew(&Identity { id: "holder".into(), session: None }, 1);
        watchlist.look("uid", &lock, seconds(14));
        assert_eq!(watchlist.idle(&lock.holders[0], seconds(15)), seconds(1));
        // The same counts in another object, or of another acquisition, say nothing.
        watchlist.look("another", &lock, seconds(20));
        assert_eq!(watchlist.idle(&lock.holders[0], seconds(20)), Duration::ZERO);
        lock.holders[0].fence = 2;
        watchlist.look("another", &lock, seconds(25));
        assert_eq!(watchlist.idle(&lock.holders[0], seconds(26)), seconds(1));
    }

    #[test]
    fn the_longer_of_what_is_seen_and_what_is_told_counts() {
        let seconds = Duration::from_secs;
        let (mut lock, mut watchlist) = (held(), Watchlist::default());
        lock.holders[0].idle_millis = 4_000;
        watchlist.look("uid", &lock, seconds(10));
        assert_eq!(watchlist.idle(&lock.holders[0], seconds(11)), seconds(5));
        // Somebody who has looked for less long, and one who has for longer.
        lock.holders[0].idle_millis = 1_000;
        watchlist.look("uid", &lock, seconds(12));
        assert_eq!(watchlist.idle(&lock.holders[0], seconds(12)), seconds(6));
        lock.holders[0].idle_millis = 8_000;
        watchlist.look("uid", &lock, seconds(12));
        watchlist.note(&mut lock, seconds(13));
        assert_eq!(lock.holders[0].idle_millis, 9_000);
        // What is told already is never made less.
        Watchlist::default().note(&mut lock, seconds(13));
        assert_eq!(lock.holders[0].idle_millis, 9_000);
    }
}
