//! What has to be true of the log and of the Lease's history. Each check returns what is wrong, in words, and
//! each can fail: see the tests below.

use std::collections::{BTreeMap, BTreeSet};

use super::history::Version;
use super::log::{Entry, Line};

/// At no moment two holders. Once a holder has entered, nothing is ever heard of an earlier one; it enters
/// only after the one before it has left, or after something was done to that one; and the fencing numbers
/// grow.
pub fn exclusion(lines: &[Line]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: Option<(&Entry, bool)> = None;
    let mut disturbed = BTreeSet::new();
    for line in lines {
        match line {
            Line::Disturb(id) => {
                disturbed.insert(id.as_str());
            }
            Line::Enter(entry) => {
                if let Some((before, has_left)) = last {
                    if entry.fence <= before.fence {
                        wrong
                            .push(format!("{} has number {}, after {}", entry.id, entry.fence, before.fence));
                    }
                    if !has_left && !disturbed.contains(before.id.as_str()) {
                        wrong.push(format!("{} enters while {} is in", entry.id, before.id));
                    }
                }
                last = Some((entry, false));
            }
            Line::At(entry) | Line::Leave(entry) => match &mut last {
                Some((inside, has_left @ false)) if *inside == entry => {
                    *has_left = matches!(line, Line::Leave(_));
                }
                Some((inside, _)) => {
                    wrong.push(format!(
                        "{} (number {}) writes after {} (number {})",
                        entry.id, entry.fence, inside.id, inside.fence
                    ));
                }
                None => wrong.push(format!("{} writes and has not entered", entry.id)),
            },
        }
    }
    wrong
}

/// The same by the Lease: one holder in each version, and numbers that grow.
pub fn holders(history: &[Version]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last = 0;
    for Version { state, .. } in history {
        if state.holders.len() > 1 {
            wrong.push(format!("several holders at once: {:?}", state.holders));
        }
        for holder in &state.holders {
            if holder.fence < last {
                wrong.push(format!("{} has number {} after {last}", holder.id, holder.fence));
            }
            last = last.max(holder.fence);
        }
    }
    wrong
}

/// First come, first served, among those that stayed alive. Who came first is what the Lease says: the
/// version in which a turn has got into the queue, the one that it holds without having queued, or, of
/// several new ones after a gap, the place in the queue. Who is served first is what the log says. A turn may
/// be overtaken only once something was done to it.
pub fn order(history: &[Version], lines: &[Line]) -> Vec<String> {
    let places = places(history);
    let mut turns: Vec<(&str, Place)> = places.into_iter().collect();
    turns.sort_by_key(|(_, place)| *place);
    let (mut entered, mut disturbed) = (BTreeMap::new(), BTreeMap::new());
    for (index, line) in lines.iter().enumerate() {
        match line {
            Line::Enter(entry) => drop(entered.entry(entry.id.as_str()).or_insert(index)),
            Line::Disturb(id) => drop(disturbed.entry(id.as_str()).or_insert(index)),
            Line::At(_) | Line::Leave(_) => {}
        }
    }
    let moment = |of: &BTreeMap<&str, usize>, id: &str| of.get(id).copied().unwrap_or(usize::MAX);
    let mut wrong = Vec::new();
    for (index, (early, _)) in turns.iter().enumerate() {
        // Overtaken up to the moment in which it has entered, or was kept from it.
        let until = moment(&entered, early).min(moment(&disturbed, early));
        let overtaking = turns[index + 1..].iter().find(|(late, _)| moment(&entered, late) < until);
        wrong.extend(overtaking.map(|(late, _)| format!("{late} came after {early} and entered before it")));
    }
    wrong
}

/// A place in the order of arrival: the version, and the position in it.
type Place = (usize, usize);

/// Where each turn has come last, as far as its coming was seen.
fn places(history: &[Version]) -> BTreeMap<&str, Place> {
    let mut places = BTreeMap::new();
    let mut before: BTreeSet<&str> = BTreeSet::new();
    for (index, Version { state, .. }) in history.iter().enumerate() {
        let holders = state.holders.iter().map(|holder| holder.id.as_str());
        let present: Vec<&str> = holders.chain(state.queue.iter().map(|waiter| waiter.id.as_str())).collect();
        for (position, id) in present.iter().enumerate().filter(|(_, id)| !before.contains(*id)) {
            places.insert(*id, (index, position));
        }
        before = present.into_iter().collect();
    }
    places
}

/// Nobody leaves the queue but to hold the lock, unless something was done to it. Nobody here gives up
/// waiting.
pub fn places_are_kept(history: &[Version], lines: &[Line]) -> Vec<String> {
    let disturbed: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| if let Line::Disturb(id) = line { Some(id.as_str()) } else { None })
        .collect();
    let entered = super::log::entered(lines);
    let mut wrong = Vec::new();
    for pair in history.windows(2) {
        let [before, after] = pair else { continue };
        let is_there = |id: &str| {
            after.state.queue.iter().any(|waiter| waiter.id == id)
                || after.state.holders.iter().any(|holder| holder.id == id)
        };
        for waiter in &before.state.queue {
            let id = waiter.id.as_str();
            let may_have_been_held = after.is_after_gap && entered.contains(id);
            if !is_there(id) && !disturbed.contains(id) && !may_have_been_held {
                wrong.push(format!("{id} has lost its place in the queue"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::history::{Holder, State, Waiter};
    use super::*;

    /// The log of a text such as `enter 5 a; leave 5 a; disturb b`.
    fn log(text: &str) -> Vec<Line> {
        let line = |line: &str| {
            let line = if line.starts_with("disturb") { line.to_owned() } else { format!("{line} 17 0.5") };
            Line::parse(&line).unwrap_or_else(|| panic!("{line}"))
        };
        text.split("; ").map(line).collect()
    }

    /// The history of a text such as `5 a: b c; : b c`: each version's holders with their numbers, and its
    /// queue; `~` in front after a gap.
    fn history(text: &str) -> Vec<Version> {
        let version = |text: &str| {
            let is_after_gap = text.starts_with('~');
            let (holders, queue) = text.trim_start_matches('~').split_once(':').expect("a colon");
            let holders: Vec<&str> = holders.split_whitespace().collect();
            let holder = |pair: &[&str]| Holder {
                fence: pair[0].parse().expect("a number"),
                id: pair[1].to_owned(),
                since: Timestamp::UNIX_EPOCH,
            };
            let queue = queue.split_whitespace().map(|id| Waiter { id: id.to_owned() }).collect();
            let state = State { holders: holders.chunks(2).map(holder).collect(), queue };
            Version { seen_at: Timestamp::UNIX_EPOCH, is_after_gap, state }
        };
        text.split("; ").map(version).collect()
    }

    #[test]
    fn turns_exclude_each_other() {
        let right = [
            "enter 5 a; at 5 a; leave 5 a; enter 7 b; leave 7 b",
            "enter 5 a; at 5 a; disturb a; enter 7 b; at 7 b; leave 7 b",
        ];
        for text in right {
            assert_eq!(exclusion(&log(text)), [""; 0], "{text}");
        }
        let wrong = [
            ("enter 5 a; enter 7 b; leave 7 b", "b enters while a is in"),
            ("enter 5 a; disturb b; enter 7 b; leave 7 b", "b enters while a is in"),
            ("enter 5 a; disturb a; enter 7 b; at 5 a", "a (number 5) writes after b (number 7)"),
            (
                "enter 5 a; disturb a; enter 7 b; leave 7 b; leave 5 a",
                "a (number 5) writes after b (number 7)",
            ),
            ("enter 5 a; leave 5 a; at 5 a", "a (number 5) writes after a (number 5)"),
            ("enter 7 a; leave 7 a; enter 5 b; leave 5 b", "b has number 5, after 7"),
            ("enter 7 a; leave 7 a; enter 7 b; leave 7 b", "b has number 7, after 7"),
            ("at 7 a", "a writes and has not entered"),
        ];
        for (text, word) in wrong {
            assert_eq!(exclusion(&log(text)), [word], "{text}");
        }
    }

    #[test]
    fn the_lease_has_one_holder() {
        assert_eq!(holders(&history(": a; 5 a: b; 5 a: b; : b; 7 b:")), [""; 0]);
        assert_eq!(holders(&history("5 a 6 b:")).len(), 1);
        assert_eq!(holders(&history("7 a:; :; 5 b:")), ["b has number 5 after 7"]);
    }

    #[test]
    fn who_comes_first_is_served_first() {
        let (abc, entering) = (history("4 x:; 4 x: a; 4 x: a b; 4 x: a b c"), |text: &str| log(text));
        assert_eq!(
            order(
                &abc,
                &entering("enter 4 x; leave 4 x; enter 5 a; leave 5 a; enter 6 b; leave 6 b; enter 7 c")
            ),
            [""; 0]
        );
        assert_eq!(
            order(
                &abc,
                &entering("enter 4 x; leave 4 x; enter 5 b; leave 5 b; enter 6 a; leave 6 a; enter 7 c")
            ),
            ["b came after a and entered before it"]
        );
        assert_eq!(
            order(&abc, &entering("enter 4 x; leave 4 x; disturb a; enter 5 b; leave 5 b; enter 6 c")),
            [""; 0]
        );
        // Too late for an excuse.
        assert_eq!(
            order(&abc, &entering("enter 4 x; leave 4 x; enter 5 b; disturb a; leave 5 b; enter 6 c")),
            ["b came after a and entered before it"]
        );
        assert_eq!(
            order(&abc, &entering("enter 4 x; leave 4 x; enter 5 a; enter 7 c; enter 8 b")),
            ["c came after b and entered before it"]
        );
        // Who never enters is overtaken.
        assert_eq!(order(&abc, &entering("enter 4 x; leave 4 x; enter 5 b; leave 5 b; enter 6 c")).len(), 1);
        // A newcomer that takes the lock although somebody waits.
        assert_eq!(
            order(
                &history("4 x: a; : a; 6 n: a"),
                &entering("enter 4 x; leave 4 x; enter 6 n; leave 6 n; enter 7 a")
            ),
            ["n came after a and entered before it"]
        );
        // Who has queued up again has a later place.
        assert_eq!(
            order(
                &history("4 x: a b; 4 x: b; 4 x: b a"),
                &entering("enter 4 x; leave 4 x; enter 5 b; leave 5 b; enter 6 a")
            ),
            [""; 0]
        );
    }

    #[test]
    fn places_are_lost_for_a_reason() {
        let held = "enter 4 x; leave 4 x; enter 5 a; leave 5 a";
        assert_eq!(places_are_kept(&history("4 x: a; : a; 5 a:"), &log(held)), [""; 0]);
        assert_eq!(
            places_are_kept(&history("4 x: a b; 4 x: b"), &log(held)),
            ["a has lost its place in the queue"]
        );
        assert_eq!(places_are_kept(&history("4 x: a b; 4 x: b"), &log("disturb a")), [""; 0]);
        assert_eq!(places_are_kept(&history("4 x: a b; ~6 b:"), &log(held)), [""; 0]);
        assert_eq!(
            places_are_kept(&history("4 x: a b; ~6 b:"), &log("enter 4 x")),
            ["a has lost its place in the queue"]
        );
    }
}
