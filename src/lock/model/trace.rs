//! Tells moves to people: what was done, and how the object and the players are after it.

use std::fmt::Write;

use super::client::{Client, Phase};
use super::moves::Move;
use super::rules::belief;
use super::setting::Setting;
use super::world::World;
use crate::lock::object::Version;
use crate::lock::state::{Identity, Lock};

/// The trace of these moves from the beginning.
pub(super) fn tell(moves: &[Move], setting: &Setting) -> String {
    let mut world = World::new(setting);
    let mut trace = String::new();
    for (index, role) in setting.roles.iter().enumerate() {
        let _ = writeln!(trace, "player {index}: {}", name(&role.candidate.identity));
    }
    for (count, step) in moves.iter().enumerate() {
        let _ = writeln!(trace, "{:>3}. {step}", count + 1);
        match world.after(*step, setting) {
            Ok(next) => world = next,
            Err(rule) => {
                let _ = writeln!(trace, "     => {rule}");
                break;
            }
        }
        let _ = writeln!(trace, "     at {}: {}", world.time, object(world.server.object.as_deref()));
        for index in 0..world.clients.len() {
            let holds = belief(&world, index, setting)
                .map(|fence| format!(", BELIEVES in {fence}"))
                .unwrap_or_default();
            let _ = writeln!(trace, "       {index} {}{holds}", client(&world.clients[index]));
        }
    }
    trace
}

fn client(client: &Client) -> String {
    let (phase, is_stale) = match &client.phase {
        Phase::Wanting(candidacy) => ("wants it".into(), candidacy.is_stale),
        Phase::Holding(hold) => {
            let is_stale = hold.holding.as_ref().is_some_and(|holding| holding.is_stale);
            (format!("holds {} since {:?}", hold.fence, hold.asked_at()), is_stale)
        }
        Phase::Deleting(_) => ("deletes".into(), false),
        other => (format!("{other:?}"), false),
    };
    let known = client.known().map_or("nothing".into(), |version| format!("v{}", version.number));
    let stale = if is_stale { " (stale)" } else { "" };
    let flight = client
        .flight
        .as_ref()
        .map(|flight| format!(", sent {:?}", flight.request.is_some()))
        .unwrap_or_default();
    format!("{phase}, knows {known}{stale}, {} to hear, {:?}{flight}", client.inbox.len(), client.sleep)
}

fn object(version: Option<&Version>) -> String {
    version.map_or("no object".into(), |version| {
        format!("v{} of {} {}", version.number, version.uid, lock(&version.lock))
    })
}

fn lock(lock: &Lock) -> String {
    let holders: Vec<String> = lock
        .holders
        .iter()
        .map(|holder| {
            format!(
                "{}#{} renewed {} idle {}",
                name(&holder.identity),
                holder.fence,
                holder.renewals,
                holder.idle_millis
            )
        })
        .collect();
    let queue: Vec<String> = lock
        .queue
        .iter()
        .map(|waiter| format!("{}@{} beat {}", name(&waiter.identity), waiter.ticket, waiter.beats))
        .collect();
    format!("held by [{}], queue [{}]", holders.join("; "), queue.join("; "))
}

fn name(identity: &Identity) -> String {
    identity.session.as_ref().map_or_else(|| identity.id.clone(), |_| format!("{}(process)", identity.id))
}
