//! What the shared object says: who holds the lock, who waits for it, and in which order.
//!
//! A value, changed by functions that return the next one. Nothing of it counts before a compare-and-swap has
//! put it into the object, so that two that change the same version exclude each other.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A lock, as its object's annotation has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lock {
    /// How many may hold it at once.
    pub permits: u32,
    /// The fencing number that was given last. A later acquisition always has a greater one.
    pub fence: u64,
    /// Who holds it, the longest holding first.
    pub holders: Vec<Holder>,
    /// Who waits for it, the next one first.
    pub queue: Vec<Waiter>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { permits: 1, fence: 0, holders: Vec::new(), queue: Vec::new() }
    }
}

/// Somebody who wants the lock or has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The run id.
    pub id: String,
    /// Tells the process of one `lock run` from another one of the same run, which it excludes. `lock
    /// acquire` has none: whoever has the run's id speaks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// A Tekton PipelineRun, in the lock's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PipelineRun {
    pub name: String,
    /// Its uid, which tells it from a later one of the same name; unknown where nobody could look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// When a holder that is not heard of counts as gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Without a renewal for this long, in milliseconds; never if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_millis: Option<u64>,
    /// Whether somebody asked for that ttl: only then it counts against a PipelineRun that still runs.
    #[serde(default)]
    pub ttl_is_asked_for: bool,
    /// The PipelineRun with which the holder ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_run: Option<PipelineRun>,
}

impl Terms {
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl_millis.map(Duration::from_millis)
    }
    /// Empty where there is none.
    pub fn pipeline_run_name(&self) -> &str {
        self.pipeline_run.as_ref().map_or("", |run| &run.name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    #[serde(flatten)]
    pub identity: Identity,
    #[serde(flatten)]
    pub terms: Terms,
    /// Since when, by its own clock: for people, nothing goes by it.
    pub since: Timestamp,
    /// The fencing number of this acquisition.
    pub fence: u64,
    /// How often it has said that it is still there. Others see whether the number changes, and need no clock
    /// in common.
    #[serde(default)]
    pub renewals: u64,
    /// For how long it is known not to have renewed, in milliseconds: what those who wait have measured, each
    /// on a clock of its own, so that one who comes later need not begin from nothing.
    #[serde(default)]
    pub idle_millis: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiter {
    #[serde(flatten)]
    pub identity: Identity,
    /// The version of the object that this place in the queue was taken on.
    pub ticket: u64,
    pub since: Timestamp,
    /// How often it has said that it is still there.
    #[serde(default)]
    pub beats: u64,
    /// Without a beat for this long, in milliseconds, it counts as dead.
    #[serde(rename = "patienceMillis")]
    pub timeout_millis: u64,
}

impl Waiter {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_millis)
    }
}

impl Lock {
    /// Whether nobody has it and nobody wants it.
    pub fn is_unused(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.holders.len() < self.permits as usize
    }

    pub fn holder(&self, identity: &Identity) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.identity == *identity)
    }

    /// The place in the queue, from 0.
    pub fn place(&self, identity: &Identity) -> Option<usize> {
        self.queue.iter().position(|waiter| waiter.identity == *identity)
    }

    /// Puts somebody at the end of the queue. `version` is that of the object that this changes.
    pub fn enqueue(&mut self, identity: &Identity, timeout: Duration, since: Timestamp, version: u64) {
        if self.place(identity).is_none() {
            let timeout_millis = millis(timeout);
            self.queue.push(Waiter {
                identity: identity.clone(),
                ticket: version,
                since,
                beats: 0,
                timeout_millis,
            });
        }
    }

    /// Makes somebody a holder; the queue loses them. The fencing number is the version that this changes,
    /// which is greater than every one before it even where the object was deleted in between, as the cluster
    /// counts versions of all objects together; and greater than the last one in any case.
    pub fn grant(&mut self, identity: &Identity, terms: &Terms, since: Timestamp, version: u64) -> u64 {
        self.queue.retain(|waiter| waiter.identity != *identity);
        self.fence = version.max(self.fence + 1);
        let fence = self.fence;
        let (identity, terms) = (identity.clone(), terms.clone());
        self.holders.push(Holder { identity, terms, since, fence, renewals: 0, idle_millis: 0 });
        fence
    }

    /// A holder says that it is still there. `false`: it is no holder any more.
    pub fn renew(&mut self, identity: &Identity, fence: u64) -> bool {
        let holder =
            self.holders.iter_mut().find(|holder| holder.identity == *identity && holder.fence == fence);
        let Some(holder) = holder else { return false };
        holder.renewals += 1;
        holder.idle_millis = 0;
        true
    }

    /// Takes somebody out, as a holder and as a waiter. `false`: they were neither.
    pub fn remove(&mut self, is_meant: impl Fn(&Identity) -> bool) -> bool {
        let before = self.holders.len() + self.queue.len();
        self.holders.retain(|holder| !is_meant(&holder.identity));
        self.queue.retain(|waiter| !is_meant(&waiter.identity));
        self.holders.len() + self.queue.len() < before
    }

    /// Takes out one acquisition, and no later one of the same holder. `false`: it was not there.
    pub fn give_back(&mut self, fence: u64) -> bool {
        let before = self.holders.len();
        self.holders.retain(|holder| holder.fence != fence);
        self.holders.len() < before
    }

    /// Takes out somebody who gives up. `asked` tells the holds that they have asked for, as fencing number
    /// and date: they may not know whether they got them. What another process has, or has confirmed, that
    /// speaks for the same run stays. `false`: there was nothing.
    pub fn withdraw(&mut self, identity: &Identity, asked: &[(u64, Timestamp)]) -> bool {
        let before = self.holders.len() + self.queue.len();
        let is_own = |holder: &Holder| {
            let is_unconfirmed = holder.renewals == 0 && asked.contains(&(holder.fence, holder.since));
            holder.identity == *identity && (identity.session.is_some() || is_unconfirmed)
        };
        self.holders.retain(|holder| !is_own(holder));
        self.queue.retain(|waiter| waiter.identity != *identity);
        self.holders.len() + self.queue.len() < before
    }
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DATE: Timestamp = Timestamp::UNIX_EPOCH;

    fn identity(id: &str) -> Identity {
        Identity { id: id.into(), session: None }
    }

    fn process(id: &str) -> Identity {
        Identity { id: id.into(), session: Some("5e551017".into()) }
    }

    fn terms() -> Terms {
        let pipeline_run = Some(PipelineRun { name: "p".into(), uid: Some("u".into()) });
        Terms { ttl_millis: Some(1500), ttl_is_asked_for: true, pipeline_run }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut lock = Lock { permits: 2, ..Lock::default() };
        lock.grant(&identity("a"), &terms(), DATE, 7);
        lock.enqueue(&process("b"), Duration::from_secs(3), DATE, 8);
        let text = serde_json::to_string(&lock).unwrap();
        assert_eq!(serde_json::from_str::<Lock>(&text).unwrap(), lock, "{text}");
        let expected = json!({
            "permits": 2,
            "fence": 7,
            "holders": [{
                "id": "a", "ttlMillis": 1500, "ttlIsAskedFor": true, "pipelineRun": {"name": "p", "uid": "u"},
                "since": "1970-01-01T00:00:00Z", "fence": 7, "renewals": 0, "idleMillis": 0,
            }],
            "queue": [{"id": "b", "session": "5e551017", "ticket": 8, "since": "1970-01-01T00:00:00Z", "beats": 0, "patienceMillis": 3000}],
        });
        assert_eq!(serde_json::to_value(&lock).unwrap(), expected);
    }

    #[test]
    fn what_is_missing_is_nothing_and_what_is_unknown_is_passed_over() {
        assert_eq!(serde_json::from_str::<Lock>("{}").unwrap(), Lock::default());
        let sparse = json!({
            "holders": [{"id": "a", "since": "2026-01-01T00:00:00Z", "fence": 3}],
            "queue": [{"id": "b", "ticket": 4, "since": "2026-01-01T00:00:00Z", "patienceMillis": 1}],
            "colour": "blue",
        });
        let lock: Lock = serde_json::from_value(sparse).unwrap();
        let Holder { terms, renewals, idle_millis, .. } = &lock.holders[0];
        assert_eq!(
            (terms, *renewals, *idle_millis),
            (&Terms { ttl_millis: None, ttl_is_asked_for: false, pipeline_run: None }, 0, 0)
        );
        assert_eq!((lock.permits, lock.queue[0].beats), (1, 0));
        assert!(
            serde_json::from_str::<Lock>(r#"{"holders": [{"id": "a"}]}"#).is_err(),
            "nobody holds a lock without a number"
        );
    }

    #[test]
    fn fencing_numbers_grow_wherever_the_versions_come_from() {
        let mut lock = Lock::default();
        let mut grant = |id: &str, version: u64| lock.grant(&identity(id), &terms(), DATE, version);
        // Another cluster's versions, after a restore; and none at all.
        assert_eq!([grant("a", 7), grant("b", 3), grant("c", 0), grant("d", 20)], [7, 8, 9, 20]);
    }

    #[test]
    fn nobody_has_two_entries() {
        let mut lock = Lock::default();
        lock.enqueue(&identity("a"), Duration::ZERO, DATE, 1);
        lock.enqueue(&identity("a"), Duration::ZERO, DATE, 2);
        assert_eq!((lock.queue.len(), lock.queue[0].ticket), (1, 1));
        lock.grant(&identity("a"), &terms(), DATE, 3);
        assert!(lock.queue.is_empty() && lock.holder(&identity("a")).is_some());
    }

    #[test]
    fn only_a_holder_renews_and_only_under_its_own_number() {
        let mut lock = Lock::default();
        let fence = lock.grant(&identity("a"), &terms(), DATE, 3);
        lock.holders[0].idle_millis = 900;
        assert!(!lock.renew(&identity("a"), fence + 1) && !lock.renew(&process("a"), fence));
        assert!(lock.renew(&identity("a"), fence));
        assert_eq!((lock.holders[0].renewals, lock.holders[0].idle_millis), (1, 0));
        assert!(
            lock.remove(|identity| identity.id == "a")
                && !lock.remove(|identity| identity.id == "a")
                && lock.is_unused()
        );
    }

    #[test]
    fn who_gives_up_takes_no_hold_from_others_of_the_same_run() {
        let mut lock = Lock::default();
        let fence = lock.grant(&identity("a"), &terms(), DATE, 3);
        lock.enqueue(&process("a"), Duration::ZERO, DATE, 4);
        let after = |identity: Identity, asked: &[(u64, Timestamp)], renewals: u64| {
            let mut lock = lock.clone();
            lock.holders[0].renewals = renewals;
            lock.withdraw(&identity, asked);
            (lock.holders.len(), lock.queue.len())
        };
        assert_eq!(after(identity("a"), &[], 0), (1, 1), "another process has it");
        assert_eq!(after(identity("a"), &[(fence, DATE)], 0), (0, 1), "its own, whose answer did not come");
        assert_eq!(
            after(identity("a"), &[(fence, DATE + Duration::from_nanos(1))], 0),
            (1, 1),
            "another one's for the same version"
        );
        assert_eq!(after(identity("a"), &[(fence, DATE)], 1), (1, 1), "another process has confirmed it");
        assert_eq!(after(process("a"), &[], 0), (1, 0));
    }
}
