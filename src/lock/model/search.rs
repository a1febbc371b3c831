//! Looks at every state that can be reached, the ones with the fewest moves first.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::fair::Fairness;
use super::moves::Move;
use super::print::fingerprint;
use super::setting::Setting;
use super::trace;
use super::world::World;

/// What there was to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Findings {
    /// Every rule holds, in so many states.
    Sound { states: usize },
    /// A rule is broken; the shortest trace of it.
    Broken { rule: String, trace: String },
}

/// How the search goes.
pub(super) struct Search {
    /// More states are not looked at: the setting is too large.
    pub limit: usize,
    /// From one state of so many, on average, it is checked that everybody alive gets the lock. 0: from none.
    pub liveness_of: u128,
}

struct Step {
    before: usize,
    step: Move,
}

impl Search {
    /// Plays all of it.
    pub(super) fn run(&self, setting: &Setting) -> Findings {
        let first = World::new(setting);
        let mut seen = HashMap::from([(fingerprint(&first, setting), ())]);
        let mut steps: Vec<Step> = Vec::new();
        // The number of a state is that of the step to it, from 1.
        let mut open = VecDeque::from([(0, first)]);
        let mut fairness = Fairness::default();
        while let Some((number, world)) = open.pop_front() {
            for step in world.moves(setting) {
                let next = match world.after(step, setting) {
                    Ok(next) => next,
                    Err(rule) => return broken(rule, &steps, number, step, setting),
                };
                let print = fingerprint(&next, setting);
                let Entry::Vacant(entry) = seen.entry(print) else { continue };
                entry.insert(());
                assert!(seen.len() <= self.limit, "more than {} states: bound the setting", self.limit);
                if self.liveness_of > 0
                    && print.is_multiple_of(self.liveness_of)
                    && let Err(rule) = fairness.check(&next, setting)
                {
                    return broken(rule, &steps, number, step, setting);
                }
                steps.push(Step { before: number, step });
                open.push_back((steps.len(), next));
            }
        }
        Findings::Sound { states: seen.len() }
    }
}

fn broken(rule: String, steps: &[Step], number: usize, last: Move, setting: &Setting) -> Findings {
    let mut moves = vec![last];
    let mut number = number;
    while number > 0 {
        let Step { before, step } = &steps[number - 1];
        moves.push(*step);
        number = *before;
    }
    moves.reverse();
    Findings::Broken { trace: trace::tell(&moves, setting), rule }
}
