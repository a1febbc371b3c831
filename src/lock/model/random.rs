//! Long random games with more players than all orders can be looked at of. What breaks a rule is shrunk to a
//! short trace.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::fair::Fairness;
use super::moves::Move;
use super::setting::{Faults, Guards, Role, Setting};
use super::trace;
use super::world::World;

/// Faults do not run out.
const MANY: Faults = Faults { late: u8::MAX, give_ups: u8::MAX, deletions: 0 };
/// How often something may go wrong, in as many moves.
const RARELY: u16 = 16;

/// Plays a game in which each number chooses one of the moves that there are, and tells how often the lock
/// was given.
fn play(setting: &Setting, choices: &[u16]) -> Result<u32, TestCaseError> {
    let mut world = World::new(setting);
    let mut moves = Vec::new();
    let fail = |rule: String, moves: &[Move]| {
        TestCaseError::fail(format!("{rule}\n{}", trace::tell(moves, setting)))
    };
    for choice in choices {
        let goes_wrong = |step: &Move| matches!(step, Move::ActLate(_) | Move::GiveUp(_) | Move::Lose(_));
        let mut open = world.moves(setting);
        if choice % RARELY > 0 && !open.iter().all(goes_wrong) {
            open.retain(|step| !goes_wrong(step));
        }
        let step = open[usize::from(choice / RARELY) % open.len()];
        moves.push(step);
        world = world.after(step, setting).map_err(|rule| fail(rule, &moves))?;
    }
    Fairness::default().check(&world, setting).map_err(|rule| fail(rule, &moves))?;
    Ok(world.ghost.grants)
}

fn roles() -> impl Strategy<Value = Vec<Role>> {
    let role = prop_oneof![
        3 => Just(Role::run as fn(&str) -> Role),
        1 => Just(Role::acquire as fn(&str) -> Role),
        1 => Just((|id| Role::acquire(id).with_ttl()) as fn(&str) -> Role),
    ];
    proptest::collection::vec(role, 5..=8).prop_map(|makers| {
        let named = makers.iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"]);
        named.map(|(make, id)| make(id)).collect()
    })
}

/// Plays so many games, and tells how often the lock was given in them.
fn play_games(games: u32, guards: Guards) -> Result<u32, String> {
    let config = ProptestConfig { cases: games, failure_persistence: None, ..ProptestConfig::default() };
    let grants = Cell::new(0);
    let choices = proptest::collection::vec(any::<u16>(), 300..1500);
    let game = (roles(), 1_u32..=3, 1_usize..=6, choices);
    let outcome = TestRunner::new(config).run(&game, |(roles, permits, lag, choices)| {
        let setting = Setting {
            lag,
            guards,
            faults: MANY,
            has_returns: true,
            ..Setting::new(roles).with_permits(permits)
        };
        grants.set(grants.get() + play(&setting, &choices)?);
        Ok(())
    });
    outcome.map(|()| grants.get()).map_err(|error| error.to_string())
}

#[test]
fn no_long_game_breaks_a_rule() {
    let games =
        std::env::var("TESTBED_TEST_GAMES").map_or(100, |games| games.parse().expect("a number of games"));
    let grants = play_games(games, Guards::default()).unwrap_or_else(|error| panic!("{error}"));
    println!("the lock was given {grants} times");
    assert!(grants > 5 * games, "the lock was given {grants} times only");
}

#[test]
fn long_games_show_that_the_compare_and_swap_is_gone() {
    let found = play_games(100, Guards { compare_and_swap: false, ..Guards::default() });
    assert!(found.is_err(), "nothing found, and the lock was given {found:?} times");
}
