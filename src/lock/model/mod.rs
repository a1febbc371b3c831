//! All that can happen, in every order: the lock's own code, run by a few clients on an abstract API server.
//!
//! [`server`] is one object with compare-and-swap, [`client`] a process with the real
//! [`Candidacy`](super::candidacy::Candidacy) and [`Holding`](super::holding::Holding), [`world`] a state of
//! all of it, [`moves`] all that can happen next, [`rules`] what must be true, and [`fair`] that nobody waits
//! for ever. [`search`] looks at all states, and [`random`] plays long games.
//!
//! What is bounded: the number of clients, each of which wants the lock once, and how many faults a game has
//! (see [`setting::Faults`]). Time is not, nor is slowness: [`print`](mod@print) tells states apart by what
//! is left of each term alone, so that there are finitely many. Two players with every order of hearing and
//! acting show what two can do to each other; with three and more, everybody hears at once, and what they
//! show is the queue: one who dies between two others, and permits that are free while somebody waits. What
//! is not in it: clocks that go faster than others, what a command does after its holder was told that the
//! lock is lost, and how several locks are waited for at once.

mod client;
mod fair;
mod moves;
mod print;
mod random;
mod rules;
mod search;
mod server;
mod setting;
mod trace;
mod world;

use search::{Findings, Search};
use setting::{Guards, Role, Setting};

/// Of more states a test of every day does not look at.
const LIMIT: usize = 120_000;

/// Looks at all states, of which there have to be some: a search that stops early would find nothing as well.
fn is_sound(setting: &Setting, at_least: usize) {
    is_sound_up_to(LIMIT, setting, at_least);
}

fn is_sound_up_to(limit: usize, setting: &Setting, at_least: usize) {
    match (Search { limit, liveness_of: 16 }).run(setting) {
        Findings::Sound { states } => {
            println!("{states} states");
            assert!(states >= at_least, "only {states} states");
        }
        Findings::Broken { rule, trace } => panic!("{rule}\n{trace}"),
    }
}

/// Takes a guard out, and looks for two that hold one lock. With the guard, the same settings are sound, as
/// other tests show.
fn finds_two_holders(mut setting: Setting, take_out: impl Fn(&mut Guards)) -> String {
    take_out(&mut setting.guards);
    setting.is_exclusion_only = true;
    match (Search { limit: LIMIT, liveness_of: 0 }).run(&setting) {
        Findings::Broken { rule, trace } => {
            assert!(rule.contains("believe to hold one"), "{rule}\n{trace}");
            trace
        }
        Findings::Sound { states } => panic!("nothing found in {states} states"),
    }
}

fn runs(ids: &[&str]) -> Setting {
    let mut setting = Setting::new(ids.iter().map(|id| Role::run(id)).collect());
    setting.is_attentive = ids.len() > 2;
    setting.lag = 1;
    setting
}

fn attentive(roles: Vec<Role>) -> Setting {
    Setting { is_attentive: true, lag: 1, ..Setting::new(roles) }
}

#[test]
fn two_whose_watches_lag_behind() {
    is_sound(&runs(&["a", "b"]), 3_000);
}

#[test]
fn two_with_a_request_that_is_late_or_lost() {
    let mut setting = runs(&["a", "b"]);
    (setting.faults.late, setting.is_attentive) = (1, true);
    is_sound(&setting, 3_000);
}

#[test]
fn three_in_a_row() {
    is_sound(&runs(&["a", "b", "c"]), 2_000);
}

#[test]
fn three_and_two_permits() {
    is_sound(&runs(&["a", "b", "c"]).with_permits(2), 3_000);
}

#[test]
fn a_pipeline_run_that_goes_on_or_ends() {
    is_sound(&attentive(vec![Role::acquire("a"), Role::run("b"), Role::run("c")]), 10_000);
}

#[test]
fn a_ttl_that_ends_a_pipeline_runs_hold() {
    is_sound(&attentive(vec![Role::acquire("a").with_ttl(), Role::acquire("b")]), 500);
}

#[test]
fn an_object_that_is_deleted_by_hand() {
    let mut setting = runs(&["a", "b"]);
    (setting.faults.deletions, setting.faults.late) = (1, 0);
    is_sound(&setting, 10_000);
}

#[test]
fn an_object_that_is_deleted_by_hand_while_a_request_is_lost() {
    let mut setting = attentive(vec![Role::run("a"), Role::run("b")]);
    (setting.faults.deletions, setting.faults.late) = (1, 1);
    setting.ticks = Some(1);
    is_sound(&setting, 5_000);
}

#[test]
fn two_processes_of_one_run_of_which_one_gives_up() {
    let mut setting = attentive(vec![Role::acquire("a"), Role::acquire("a"), Role::run("b")]);
    (setting.faults.give_ups, setting.ticks) = (1, Some(1));
    is_sound(&setting, 5_000);
}

#[test]
fn a_lock_run_inside_of_what_its_run_holds() {
    is_sound(&attentive(vec![Role::acquire("a"), Role::run("a"), Role::run("b")]), 10_000);
}

#[test]
fn without_the_compare_and_swap_there_are_two_holders() {
    let trace = finds_two_holders(runs(&["a", "b"]), |guards| guards.compare_and_swap = false);
    assert!(trace.matches("BELIEVES").count() > 0, "{trace}");
}

#[test]
fn a_release_that_deletes_whatever_is_there_makes_two_holders() {
    finds_two_holders(runs(&["a", "b", "c"]), |guards| guards.delete_precondition = false);
}

#[test]
fn who_believes_what_they_see_is_wrong() {
    let mut setting = runs(&["a", "b"]);
    (setting.faults.late, setting.ticks) = (1, Some(2));
    finds_two_holders(setting, |guards| guards.own_write_only = false);
}

#[test]
fn who_goes_on_beyond_the_ttl_is_wrong() {
    finds_two_holders(runs(&["a", "b"]), |guards| guards.ends_in_time = false);
}

#[test]
fn who_takes_the_lock_of_a_pipeline_run_that_runs_is_wrong() {
    finds_two_holders(attentive(vec![Role::acquire("a"), Role::run("b")]), |guards| {
        guards.asks_pipeline_run = false;
    });
}

#[test]
fn who_counts_too_fast_is_wrong() {
    finds_two_holders(runs(&["a", "b"]), |guards| guards.honest_clock = false);
}

#[test]
fn who_puts_back_a_deleted_object_as_it_was_is_wrong() {
    let mut setting = runs(&["a", "b"]);
    setting.faults.deletions = 1;
    finds_two_holders(setting, |guards| guards.puts_back_renewed = false);
}

#[test]
fn a_release_in_a_runs_name_that_takes_a_lock_run_out_makes_two_holders() {
    let roles = attentive(vec![Role::acquire("a"), Role::run("a"), Role::run("b")]);
    finds_two_holders(roles, |guards| guards.release_spares_processes = false);
}

#[test]
#[ignore = "minutes: see make soak"]
fn four_in_a_row() {
    is_sound_up_to(usize::MAX, &runs(&["a", "b", "c", "d"]), 20_000);
    is_sound_up_to(usize::MAX, &runs(&["a", "b", "c", "d"]).with_permits(2), 20_000);
}

#[test]
#[ignore = "minutes: see make soak"]
fn more_goes_wrong() {
    let mut two = runs(&["a", "b"]);
    (two.lag, two.faults.late) = (2, 1);
    is_sound_up_to(usize::MAX, &two, 50_000);
    let mut three = runs(&["a", "b", "c"]);
    three.faults.late = 1;
    is_sound_up_to(usize::MAX, &three, 100_000);
    let mut shared = attentive(vec![Role::acquire("a"), Role::acquire("a"), Role::acquire("b")]);
    (shared.faults.late, shared.faults.give_ups, shared.ticks) = (1, 1, Some(1));
    is_sound_up_to(usize::MAX, &shared, 100_000);
}
