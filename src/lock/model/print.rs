//! One number for all states that go on in the same way: versions, fencing numbers, renewals and beats count
//! by their order alone, times by what is left of them. So the number of states is finite although time and
//! the versions are not.

use std::time::Duration;

use jiff::Timestamp;

use super::client::{Client, Exit, Flight, Phase, Sleep};
use super::server::{Change, Reply};
use super::setting::{Setting, TIMEOUT, TTL, UNIT};
use super::world::World;
use crate::lock::candidacy::{self, Candidacy};
use crate::lock::holding::{self, Holding};
use crate::lock::object::{Request, Version};
use crate::lock::state::{Lock, millis};
use crate::runtime::kubernetes::pipeline_run::Life;

/// The longest time that makes a difference.
const LONGEST: Duration = if TIMEOUT.as_millis() > TTL.as_millis() { TIMEOUT } else { TTL };

/// The numbers of versions, whose order counts, with those of fencing and tickets.
const VERSIONS: u64 = 1;
/// The first of the counts, of which each identity has one for its holds and one for its places.
const COUNTS: u64 = 2;

/// The fingerprint of a state.
pub(super) fn fingerprint(world: &World, setting: &Setting) -> u128 {
    let order = order(world, setting);
    let mut ranks = vec![0; order.len()];
    order.iter().enumerate().for_each(|(rank, index)| ranks[*index] = rank);
    let mut print = Print { setting, ranks, words: Vec::with_capacity(256), versions: Vec::new() };
    print.world(world, &order);
    print.contents();
    mixed(ranked(&mut print.words))
}

/// Players of the same kind are the same but for their names. They are told in the order in which they hold
/// and wait, and so on: any order is right that depends on the state alone, and the fewer ties it leaves, the
/// fewer states there are.
fn order(world: &World, setting: &Setting) -> Vec<usize> {
    let mut order: Vec<usize> = (0..world.clients.len()).collect();
    if setting.is_shared() {
        return order;
    }
    let lock = world.server.object.as_ref().map(|object| &object.lock);
    let mut keys = Vec::with_capacity(order.len());
    for index in &order {
        let role = &setting.roles[*index].candidate;
        let client = &world.clients[*index];
        let known = client.known().map_or(0, |version| version.number);
        let is_stale = match &client.phase {
            Phase::Wanting(candidacy) => candidacy.is_stale,
            Phase::Holding(hold) => hold.holding.as_ref().is_some_and(|holding| holding.is_stale),
            _ => false,
        };
        keys.push((
            (role.identity.session.is_some(), role.terms.ttl_is_asked_for),
            lock.map(|lock| {
                (
                    lock.holders.iter().position(|holder| holder.identity == role.identity),
                    lock.place(&role.identity),
                )
            }),
            (phase_number(&client.phase), known, client.inbox.len(), is_stale),
            (client.flight.is_some(), world.orphans.iter().position(|(sender, _)| sender == index)),
        ));
    }
    order.sort_by(|one, other| keys[*one].cmp(&keys[*other]));
    order
}

fn phase_number(phase: &Phase) -> u64 {
    match phase {
        Phase::Off => 0,
        Phase::Done => 1,
        Phase::Wanting(_) => 2,
        Phase::Holding(hold) => 3 + u64::from(hold.is_outer),
        Phase::Leaving(exit) => 5 + u64::from(*exit != Exit::Release),
        Phase::Deleting(_) => 7,
    }
}

/// Puts the rank in its class in place of each number that has one. Zero stays zero.
fn ranked(words: &mut [(u64, u64)]) -> &[(u64, u64)] {
    let mut numbers: Vec<(u64, u64)> = words.iter().copied().filter(|(class, _)| *class > 0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for word in words.iter_mut().filter(|(class, number)| *class > 0 && *number > 0) {
        let first = numbers.partition_point(|(class, _)| *class < word.0);
        word.1 = 1 + numbers.partition_point(|number| number < word).abs_diff(first) as u64;
    }
    words
}

fn mixed(words: &[(u64, u64)]) -> u128 {
    const FACTORS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F];
    let mut sums = [0x1234_5678_9ABC_DEF0_u64, 0x0FED_CBA9_8765_4321];
    for (class, number) in words {
        for (sum, factor) in sums.iter_mut().zip(FACTORS) {
            *sum = (*sum ^ number ^ (class << 56)).wrapping_mul(factor);
            *sum ^= *sum >> 29;
        }
    }
    u128::from(sums[0]) << 64 | u128::from(sums[1])
}

struct Print<'a> {
    setting: &'a Setting,
    /// The number under which each identity is told.
    ranks: Vec<usize>,
    words: Vec<(u64, u64)>,
    versions: Vec<&'a Version>,
}

impl<'a> Print<'a> {
    fn plain(&mut self, number: impl Into<u64>) {
        self.words.push((0, number.into()));
    }

    fn age(&mut self, time: Duration) {
        self.plain(millis(time.min(LONGEST)));
    }

    fn world(&mut self, world: &'a World, order: &[usize]) {
        if let Some(ticks) = self.setting.ticks {
            self.plain(u32::from(ticks).saturating_sub(world.time));
        }
        self.version(world.server.object.as_deref());
        self.plain(world.is_lost);
        self.plain(world.faults.late);
        self.plain(world.faults.give_ups);
        self.plain(world.faults.deletions);
        if let Some(object) = &world.server.object {
            let of = |identity| self.setting.number_of(identity);
            let renewed =
                object.lock.holders.iter().map(|holder| world.ghost.renewed_at[of(&holder.identity)]);
            let beat = object.lock.queue.iter().map(|waiter| world.ghost.beat_at[of(&waiter.identity)]);
            renewed
                .chain(beat)
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|time| self.age(UNIT * (world.time - time)));
        }
        self.words.push((VERSIONS, world.ghost.fence));
        self.plain(world.orphans.len() as u64);
        for (sender, request) in &world.orphans {
            self.plain(self.ranks[*sender] as u64);
            self.request(request);
        }
        for index in order {
            self.plain(world.ended[*index]);
            self.client(&world.clients[*index], world.now(&self.setting.roles[*index]), order);
        }
    }

    fn client(&mut self, client: &'a Client, now: Duration, order: &[usize]) {
        self.plain(phase_number(&client.phase));
        if let Some(flight) = &client.flight {
            self.flight(flight);
        }
        match &client.phase {
            Phase::Leaving(Exit::GiveUp(asked)) => return self.asked(asked),
            Phase::Deleting(request) => return self.request(request),
            Phase::Off | Phase::Done | Phase::Leaving(Exit::Release) => return,
            Phase::Holding(hold) => {
                self.words.push((VERSIONS, hold.fence));
                self.age(now - hold.asked_at());
                self.plain(hold.terms.ttl_is_asked_for);
                let Some(holding) = &hold.holding else { return };
                self.holding(holding, now);
            }
            Phase::Wanting(candidacy) => {
                order.iter().for_each(|index| self.plain(client.statuses[*index].map_or(0, code)));
                self.candidacy(candidacy, now);
            }
        }
        match client.sleep {
            Sleep::Until(time) if time > now => self.plain(millis(time - now)),
            Sleep::Awake | Sleep::Until(_) => self.plain(0_u64),
            Sleep::ForEver => self.plain(1_u64),
        }
        self.plain(client.inbox.len() as u64);
        client.inbox.iter().for_each(|change| self.change(change));
    }

    /// Without what pauses depend on: there are none.
    fn candidacy(&mut self, candidacy: &'a Candidacy, now: Duration) {
        if self.setting.faults.give_ups > 0 {
            self.plain(candidacy.is_touched);
            self.asked(&candidacy.asked);
        }
        if let Some(sent) = &candidacy.sent {
            self.age(now - sent.at);
            self.words.push((VERSIONS, sent.take.map_or(0, |(fence, _)| fence)));
        }
        self.age(candidacy.beat_at.saturating_sub(now));
        self.age(candidacy.heard_at.map_or(Duration::ZERO, |at| now - at));
        self.plain(candidacy.is_interrupted);
        self.plain(candidacy.is_stale);
        match &candidacy.object {
            candidacy::Object::Unknown => self.plain(0_u64),
            candidacy::Object::Gone(was) => {
                self.plain(1_u64);
                self.version(was.as_deref());
            }
            candidacy::Object::There(version) => {
                self.plain(2_u64);
                self.version(Some(version));
                // All that the watchlist tells: it has the entries of the version that was looked at last.
                version
                    .lock
                    .holders
                    .iter()
                    .for_each(|holder| self.age(candidacy.watchlist.idle(holder, now)));
                version
                    .lock
                    .queue
                    .iter()
                    .for_each(|waiter| self.age(candidacy.watchlist.silent(waiter, now)));
            }
        }
    }

    fn holding(&mut self, holding: &'a Holding, now: Duration) {
        if let Some((sent_at, timeout)) = holding.sent {
            self.age(now - sent_at);
            self.plain(millis(timeout));
        }
        self.plain(millis(holding.due.map_or(Duration::MAX, |due| due.saturating_sub(now))));
        self.age(holding.unclear_at.map_or(Duration::MAX, |at| now - at));
        self.plain(holding.unclear_at.is_some());
        self.plain(holding.is_stale);
        self.plain(holding.is_silence_told);
        let number = self.ranks[self.setting.number_of(&holding.entry.identity)] as u64;
        self.words.push((COUNTS + 2 * number, holding.entry.renewals + 1));
        match &holding.object {
            holding::Object::There(version) => self.version(Some(version)),
            holding::Object::Gone(lock) => self.lock(lock),
        }
    }

    fn asked(&mut self, asked: &[(u64, Timestamp)]) {
        self.plain(asked.len() as u64);
        self.words.extend(asked.iter().map(|(fence, _)| (VERSIONS, *fence)));
    }

    fn change(&mut self, change: &'a Change) {
        match change {
            Change::There(version) => self.version(Some(version)),
            Change::Gone(was) => {
                self.plain(1_u64);
                self.version(was.as_deref());
            }
        }
    }

    fn flight(&mut self, flight: &'a Flight) {
        match (&flight.request, &flight.reply) {
            (Some(request), _) => self.request(request),
            (None, Some(Reply::Done(version))) => {
                self.plain(3_u64);
                self.version(version.as_deref());
            }
            (None, _) => self.plain(4_u64),
        }
    }

    fn request(&mut self, request: &'a Request) {
        match request {
            Request::Create(lock) => {
                self.plain(0_u64);
                self.lock(lock);
            }
            Request::Write(seen, lock) => {
                self.plain(1_u64);
                self.version(Some(seen));
                self.lock(lock);
            }
            Request::Delete(seen) => {
                self.plain(2_u64);
                self.version(Some(seen));
            }
            Request::Read => self.plain(5_u64),
        }
    }

    /// By its number; what it says comes once, at the end.
    fn version(&mut self, version: Option<&'a Version>) {
        self.words.push((VERSIONS, version.map_or(0, |version| version.number)));
        self.versions.extend(version);
    }

    fn contents(&mut self) {
        let mut versions = std::mem::take(&mut self.versions);
        versions.sort_unstable_by_key(|version| version.number);
        versions.dedup_by_key(|version| version.number);
        for version in versions {
            self.words.push((VERSIONS, version.uid.parse().expect("the number of a version")));
            self.lock(&version.lock);
        }
    }

    fn lock(&mut self, lock: &Lock) {
        self.words.push((VERSIONS, lock.fence));
        self.plain(lock.holders.len() as u64);
        for holder in &lock.holders {
            let number = self.ranks[self.setting.number_of(&holder.identity)] as u64;
            self.plain(number);
            self.words.push((VERSIONS, holder.fence));
            if self.setting.is_shared() {
                self.plain(holder.since.as_second().unsigned_abs());
            }
            self.words.push((COUNTS + 2 * number, holder.renewals + 1));
            self.age(Duration::from_millis(holder.idle_millis));
        }
        self.plain(lock.queue.len() as u64);
        for waiter in &lock.queue {
            let number = self.ranks[self.setting.number_of(&waiter.identity)] as u64;
            self.plain(number);
            self.words.push((VERSIONS, waiter.ticket));
            self.words.push((COUNTS + 2 * number + 1, waiter.beats + 1));
        }
    }
}

fn code(life: Life) -> u64 {
    match life {
        Life::Running => 1,
        Life::Over(_) | Life::Gone => 2,
        Life::Unasked => 3,
        Life::Unreadable => 4,
    }
}
