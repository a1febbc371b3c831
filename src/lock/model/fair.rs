//! Whether everybody who lives gets the lock in the end: from a state, time goes on, the news arrive, whoever
//! holds the lock gives it back, and some are dead. Each goes on only when the code says that it would wake
//! up: a wake-up that is missing shows here.

use std::collections::HashSet;
use std::rc::Rc;

use super::client::{Client, Hold, Phase};
use super::moves::Move;
use super::print::fingerprint;
use super::setting::Setting;
use super::world::World;

/// After so many units nobody waits any more: each of the dead is noticed within a few.
const PATIENT: u32 = 40;

/// Remembers the states from which it is known.
#[derive(Default)]
pub(super) struct Fairness {
    good: HashSet<(usize, u128)>,
}

impl Fairness {
    /// Checks it with everybody alive, and with each one dead.
    ///
    /// # Errors
    /// Who waits for ever.
    pub(super) fn check(&mut self, world: &World, setting: &Setting) -> Result<(), String> {
        (0..=world.clients.len()).try_for_each(|dead| self.check_without(dead, world, setting))
    }

    fn check_without(&mut self, dead: usize, world: &World, setting: &Setting) -> Result<(), String> {
        let is_waiting = |world: &World| {
            world.clients.iter().any(|client| !matches!(client.phase, Phase::Off | Phase::Done))
        };
        let mut world = world.clone();
        if let Some(client) = world.clients.get_mut(dead) {
            *client = Rc::new(Client { phase: Phase::Done, ..Client::new(world.ended.len()) });
        }
        let mut passed = Vec::new();
        let end = world.time + PATIENT;
        while is_waiting(&world) {
            let print = (dead, fingerprint(&world, setting));
            if self.good.contains(&print) {
                break;
            }
            passed.push(print);
            if world.time == end {
                return Err(format!("somebody waits for ever, with {dead} dead: {:?}", phases(&world)));
            }
            for index in 0..world.clients.len() {
                settle(&mut world, index, setting)?;
            }
            end_of_pipeline_runs(&mut world, setting)?;
            world = world.after(Move::Tick, setting)?;
        }
        self.good.extend(passed);
        Ok(())
    }
}

/// One client does all that it can do now.
fn settle(world: &mut World, index: usize, setting: &Setting) -> Result<(), String> {
    // Conflicts are bounded: nobody else moves.
    for _ in 0..50 {
        let moves = world.moves(setting);
        let is_next = |step: &&Move| match **step {
            Move::Arrive(of)
            | Move::Answer(of)
            | Move::Hear(of)
            | Move::Act(of)
            | Move::Learn(of, _)
            | Move::Release(of) => of == index,
            _ => false,
        };
        let Some(step) = moves.iter().find(is_next) else { return Ok(()) };
        *world = world.after(*step, setting)?;
    }
    Err(format!("{index} does not come to rest: {:?}", phases(world)))
}

/// The PipelineRun of which no process lives ends some day.
fn end_of_pipeline_runs(world: &mut World, setting: &Setting) -> Result<(), String> {
    let is_at_rest = |number: usize| {
        let mut processes = (0..world.clients.len())
            .filter(|index| setting.number_of(&setting.roles[*index].candidate.identity) == number);
        processes.all(|index| matches!(world.clients[index].phase, Phase::Off | Phase::Done))
    };
    let is_end = |step: &Move| matches!(step, Move::End(number) if is_at_rest(*number));
    let ends: Vec<Move> = world.moves(setting).into_iter().filter(is_end).collect();
    for end in ends {
        *world = world.after(end, setting)?;
    }
    Ok(())
}

fn phases(world: &World) -> Vec<String> {
    let phase = |phase: &Phase| match phase {
        Phase::Holding(Hold { fence, .. }) => format!("holds {fence}"),
        Phase::Wanting(_) => "wants it".into(),
        Phase::Deleting(_) => "deletes".into(),
        other => format!("{other:?}"),
    };
    world.clients.iter().map(|client| phase(&client.phase)).collect()
}
