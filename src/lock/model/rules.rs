//! What has to be true in every state, and of every change of the object.

use super::client::{Hold, Phase};
use super::setting::{Setting, UNIT};
use super::world::World;
use crate::lock::object::Version;
use crate::lock::state::{Holder, Identity, Lock, Waiter};

/// What the rules remember of the past; no player sees it.
#[derive(Debug, Clone)]
pub(super) struct Ghost {
    /// The last fencing number that was given.
    pub fence: u64,
    /// How often the lock was given.
    pub grants: u32,
    /// When each identity's place in the queue last said that it is alive.
    pub beat_at: Vec<u32>,
    /// When each identity's hold did.
    pub renewed_at: Vec<u32>,
}

impl Ghost {
    pub(super) fn new(identities: usize) -> Self {
        Self { fence: 0, grants: 0, beat_at: vec![0; identities], renewed_at: vec![0; identities] }
    }
}

/// The fencing number under which somebody believes to hold the lock, if they do.
pub(super) fn belief(world: &World, index: usize, setting: &Setting) -> Option<u64> {
    let Phase::Holding(hold) = &world.clients[index].phase else { return None };
    let Hold { fence, terms, .. } = hold;
    let role = &setting.roles[index];
    let run = Identity { session: None, ..role.candidate.identity.clone() };
    let has_pipeline_run = terms.pipeline_run.is_some();
    if has_pipeline_run && world.ended[setting.number_of(&run)] {
        return None;
    }
    let counts = (!has_pipeline_run || terms.ttl_is_asked_for) && setting.guards.ends_in_time;
    let is_in_time = terms.ttl().is_none_or(|ttl| world.now(role) < hold.asked_at() + ttl);
    (is_in_time || !counts).then_some(*fence)
}

/// Of a state.
///
/// # Errors
/// Which rule it breaks.
pub(super) fn check(world: &World, setting: &Setting) -> Result<(), String> {
    let mut beliefs: Vec<u64> =
        (0..world.clients.len()).filter_map(|index| belief(world, index, setting)).collect();
    beliefs.sort_unstable();
    beliefs.dedup();
    if beliefs.len() > setting.permits as usize {
        return Err(format!(
            "{} permits, and these fencing numbers believe to hold one: {beliefs:?}",
            setting.permits
        ));
    }
    Ok(())
}

/// Of a change of the object that somebody has made, and takes note of it.
///
/// # Errors
/// Which rule it breaks.
pub(super) fn judge(
    world: &mut World,
    before: Option<&Version>,
    index: usize,
    setting: &Setting,
) -> Result<(), String> {
    if setting.is_exclusion_only {
        return Ok(());
    }
    let Some(after) = world.server.object.clone() else {
        let was = before.map(|before| &before.lock).filter(|lock| !lock.is_unused());
        return was.map_or(Ok(()), |_| Err("a lock in use was deleted".into()));
    };
    well_formed(&after.lock)?;
    if let Some(before) = before {
        let change = Change {
            world,
            before: &before.lock,
            after: &after.lock,
            writer: setting.number_of(&setting.roles[index].candidate.identity),
            setting,
        };
        change.queue()?;
        change.holders()?;
        change.order()?;
    }
    note(world, before.map(|before| &before.lock), &after.lock, setting);
    Ok(())
}

fn well_formed(lock: &Lock) -> Result<(), String> {
    let mut identities: Vec<_> = lock
        .holders
        .iter()
        .map(|holder| &holder.identity)
        .chain(lock.queue.iter().map(|waiter| &waiter.identity))
        .collect();
    let count = identities.len();
    identities.sort_unstable();
    identities.dedup();
    if identities.len() < count {
        return Err("a identity has two entries".into());
    }
    if lock.holders.len() > lock.permits as usize {
        return Err("more holders than permits".into());
    }
    if !lock.queue.is_sorted_by_key(|waiter| waiter.ticket) {
        return Err("the tickets of the queue are not in order".into());
    }
    Ok(())
}

struct Change<'a> {
    world: &'a World,
    before: &'a Lock,
    after: &'a Lock,
    writer: usize,
    setting: &'a Setting,
}

impl Change<'_> {
    fn is_dead(&self, waiter: &Waiter) -> bool {
        let silent =
            UNIT * (self.world.time - self.world.ghost.beat_at[self.setting.number_of(&waiter.identity)]);
        silent >= waiter.timeout()
    }

    /// Those who leave the queue leave it themselves, or are dead; newcomers come last.
    fn queue(&self) -> Result<(), String> {
        let stays = |waiter: &&Waiter| self.after.place(&waiter.identity).is_some();
        let is_own = |waiter: &Waiter| self.setting.number_of(&waiter.identity) == self.writer;
        let mut gone = self.before.queue.iter().filter(|waiter| !stays(waiter));
        if let Some(waiter) = gone.find(|waiter| !is_own(waiter) && !self.is_dead(waiter)) {
            return Err(format!("{} was taken out of the queue, and is alive", waiter.identity.id));
        }
        let stayed = self.before.queue.iter().filter(stays).map(|waiter| &waiter.identity);
        if !stayed.eq(self
            .after
            .queue
            .iter()
            .map(|waiter| &waiter.identity)
            .take(self.before.queue.iter().filter(stays).count()))
        {
            return Err("the order of the queue has changed".into());
        }
        Ok(())
    }

    /// Those who lose the lock give it back, or have abandoned it.
    fn holders(&self) -> Result<(), String> {
        let is_abandoned = |holder: &Holder| {
            let number = self.setting.number_of(&holder.identity);
            let idle = UNIT * (self.world.time - self.world.ghost.renewed_at[number]);
            let runs = holder.terms.pipeline_run.is_some() && !self.world.ended[number];
            let is_over = holder.terms.pipeline_run.is_some() && self.world.ended[number];
            is_over
                || (!runs || holder.terms.ttl_is_asked_for)
                    && holder.terms.ttl().is_some_and(|ttl| idle >= ttl)
        };
        let mut gone =
            self.before.holders.iter().filter(|holder| self.after.holder(&holder.identity).is_none());
        match gone
            .find(|holder| self.setting.number_of(&holder.identity) != self.writer && !is_abandoned(holder))
        {
            Some(holder) => {
                Err(format!("the lock was taken from {}, which has not abandoned it", holder.identity.id))
            }
            None => Ok(()),
        }
    }

    /// Whoever gets the lock is the first one alive, and has a greater number than all before.
    fn order(&self) -> Result<(), String> {
        for holder in
            self.after.holders.iter().filter(|holder| {
                self.before.holder(&holder.identity).is_none_or(|was| was.fence != holder.fence)
            })
        {
            if holder.fence <= self.world.ghost.fence {
                return Err(format!(
                    "fencing number {} comes after {}",
                    holder.fence, self.world.ghost.fence
                ));
            }
            let mut ahead = self.before.queue.iter().take_while(|waiter| waiter.identity != holder.identity);
            if let Some(waiter) = ahead.find(|waiter| !self.is_dead(waiter)) {
                return Err(format!(
                    "{} got the lock, and {} is alive and was first",
                    holder.identity.id, waiter.identity.id
                ));
            }
        }
        Ok(())
    }
}

fn note(world: &mut World, before: Option<&Lock>, after: &Lock, setting: &Setting) {
    for holder in &after.holders {
        world.ghost.grants += u32::from(holder.fence > world.ghost.fence);
        world.ghost.fence = world.ghost.fence.max(holder.fence);
        let was = before.and_then(|before| before.holder(&holder.identity));
        if was.is_some_and(|was| (was.fence, was.renewals) != (holder.fence, holder.renewals))
            || before.is_some() && was.is_none()
        {
            world.ghost.renewed_at[setting.number_of(&holder.identity)] = world.time;
        }
    }
    for waiter in &after.queue {
        let was = before.and_then(|before| before.queue.iter().find(|was| was.identity == waiter.identity));
        if was.is_none_or(|was| (was.ticket, was.beats) != (waiter.ticket, waiter.beats)) {
            world.ghost.beat_at[setting.number_of(&waiter.identity)] = world.time;
        }
    }
}
