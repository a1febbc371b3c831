//! Who plays, by which terms, what may go wrong, and which of the protocol's guards are on.

use std::time::Duration;

use jiff::Timestamp;

use crate::lock::state::{Identity, PipelineRun, Terms, millis};
use crate::lock::step::Candidate;

/// The unit of time. A waiter beats, and a `lock run` renews, once in it. It is what a waiter may at most
/// hear nothing for without thinking that the API server is out of reach.
pub(super) const UNIT: Duration = Duration::from_millis(1500);
/// A waiter that has not moved for this long counts as dead. The fewest units with which one beat can be
/// missed.
pub(super) const TIMEOUT: Duration = Duration::from_millis(3000);
/// The same for a holder.
pub(super) const TTL: Duration = Duration::from_millis(3000);

/// One process of a client, or several after one another: the wait, and for `acquire` the later release.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub candidate: Candidate,
    /// What its own clock shows when the game begins: nobody compares clocks.
    pub clock: Duration,
    /// What it calls the date. No two processes write the same.
    pub date: Timestamp,
}

impl Role {
    /// `testbed lock run`: renews, and believes in its hold for a ttl.
    pub(super) fn run(id: &str) -> Self {
        Self::new(
            id,
            Some(format!("{id}-process")),
            Terms { ttl_millis: Some(millis(TTL)), ttl_is_asked_for: true, pipeline_run: None },
        )
    }

    /// `testbed lock acquire` in a PipelineRun: nobody renews, and the default ttl means nothing as long as
    /// that runs.
    pub(super) fn acquire(id: &str) -> Self {
        let pipeline_run = Some(PipelineRun { name: id.to_owned(), uid: Some(id.to_owned()) });
        Self::new(id, None, Terms { ttl_millis: Some(millis(TTL)), ttl_is_asked_for: false, pipeline_run })
    }

    /// The same with `--ttl`, which counts although the PipelineRun runs.
    pub(super) fn with_ttl(mut self) -> Self {
        self.candidate.terms.ttl_is_asked_for = true;
        self
    }

    fn new(id: &str, session: Option<String>, terms: Terms) -> Self {
        let identity = Identity { id: id.to_owned(), session };
        let candidate = Candidate { identity, terms, timeout: TIMEOUT, permits: None, waits: true };
        Self { candidate, clock: Duration::ZERO, date: Timestamp::UNIX_EPOCH }
    }

    /// Whether a process keeps the hold, which renews it and gives it back.
    pub(super) fn has_process(&self) -> bool {
        self.candidate.identity.session.is_some()
    }
}

/// How often something may go wrong in one game. What may happen without limit has no number here: whoever is
/// slow, stopped or dead just does not move, and their watch lags behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Requests that take time: they arrive late, or their answer does or never comes.
    pub late: u8,
    /// Waits that somebody ends.
    pub give_ups: u8,
    /// Deletions of the object by hand.
    pub deletions: u8,
}

/// What keeps the protocol safe; a test takes one out, and the checker has to notice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guards {
    /// A write is refused unless it is made on the newest version.
    pub compare_and_swap: bool,
    /// The same for a deletion.
    pub delete_precondition: bool,
    /// A holder believes its own write, and no snapshot.
    pub own_write_only: bool,
    /// A holder ends its command a ttl after it has sent its last renewal.
    pub ends_in_time: bool,
    /// A PipelineRun that runs keeps its lock.
    pub asks_pipeline_run: bool,
    /// Nobody thinks that more time has passed than has.
    pub honest_clock: bool,
    /// What is released in a run's name is what the run has acquired, not what a `lock run` of it holds.
    pub release_spares_processes: bool,
    /// A holder that puts back an object that was deleted renews its hold with that.
    pub puts_back_renewed: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            compare_and_swap: true,
            delete_precondition: true,
            own_write_only: true,
            ends_in_time: true,
            asks_pipeline_run: true,
            honest_clock: true,
            release_spares_processes: true,
            puts_back_renewed: true,
        }
    }
}

/// A game.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub roles: Vec<Role>,
    pub permits: u32,
    pub faults: Faults,
    pub guards: Guards,
    /// How many changes a watch may lag behind. One that lags more begins anew, with the object as it is
    /// then.
    pub lag: usize,
    /// Whether the rule is the only one that counts that nobody believes to hold the lock beside others.
    pub is_exclusion_only: bool,
    /// Whether everybody hears at once of every change. Then only late requests meet conflicts, and there can
    /// be more players.
    pub is_attentive: bool,
    /// Whether whoever is done comes again, as long as its PipelineRun goes on.
    pub has_returns: bool,
    /// How many units of time pass; `None` for any number.
    pub ticks: Option<u8>,
}

impl Setting {
    /// These roles and one permit; nothing goes wrong but slowness and death.
    pub(super) fn new(roles: Vec<Role>) -> Self {
        let mut setting = Self {
            roles,
            permits: 1,
            faults: Faults::default(),
            guards: Guards::default(),
            lag: 2,
            is_attentive: false,
            has_returns: false,
            is_exclusion_only: false,
            ticks: None,
        };
        for (index, role) in setting.roles.iter_mut().enumerate() {
            role.clock = UNIT * (1000 - 300 * u32::try_from(index % 3).unwrap_or(0));
            role.date += UNIT * u32::try_from(index).unwrap_or(0);
        }
        setting.with_permits(1)
    }

    /// With more than one permit.
    pub(super) fn with_permits(mut self, permits: u32) -> Self {
        self.permits = permits;
        self.roles.iter_mut().for_each(|role| role.candidate.permits = Some(permits));
        self
    }

    /// Whether several of them speak for the same run.
    pub(super) fn is_shared(&self) -> bool {
        let ids: std::collections::BTreeSet<_> =
            self.roles.iter().map(|role| &role.candidate.identity.id).collect();
        ids.len() < self.roles.len()
    }

    /// The number of a identity, the same for all processes of a run that speak for it.
    pub(super) fn number_of(&self, identity: &Identity) -> usize {
        self.roles
            .iter()
            .position(|role| role.candidate.identity == *identity)
            .expect("a identity that plays")
    }
}
