//! The order of what happened to a database, whoever tells it and however often: pods, events and probes are
//! watched at once, and the first word counts.

use std::collections::BTreeMap;

use crate::history::record::{Moment, What};

/// Adds to a timeline what is the `nth` of its kind, unless it has as many already. Its order is kept: what
/// is of one moment stands as it happens.
pub fn add(timeline: &mut Vec<Moment>, nth: usize, moment: Moment) {
    let known = timeline.iter().filter(|known| known.what == moment.what).count();
    if known < nth {
        timeline.push(moment);
        lead_to_the_start(timeline);
        timeline.sort_by_key(|moment| (moment.at, in_life(moment.what)));
    }
}

/// What a start needs was there when it happened, however late the word of it came: events tell of a pull
/// after the pod tells of its container.
fn lead_to_the_start(timeline: &mut [Moment]) {
    let Some(started) =
        timeline.iter().filter(|moment| moment.what == What::Started).map(|moment| moment.at).min()
    else {
        return;
    };
    timeline
        .iter_mut()
        .filter(|moment| moment.what < What::Started)
        .for_each(|moment| moment.at = moment.at.min(started));
}

/// The order of what happened at one moment: a container ends before it is started again.
fn in_life(what: What) -> (What, bool) {
    if what == What::Ended { (What::Restarted, false) } else { (what, true) }
}

/// Adds to a timeline what another one has besides.
pub fn merge(timeline: &mut Vec<Moment>, other: Vec<Moment>) {
    let mut counts: BTreeMap<What, usize> = BTreeMap::new();
    for moment in other {
        let nth = counts.entry(moment.what).or_default();
        *nth += 1;
        add(timeline, *nth, moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    fn moment(what: What, at: i64) -> Moment {
        Moment { what, at: Time::from_millis(at), detail: String::new() }
    }

    fn told(timeline: &[Moment]) -> Vec<(What, i64)> {
        timeline.iter().map(|moment| (moment.what, moment.at.millis())).collect()
    }

    #[test]
    fn the_first_word_counts_and_the_order_is_that_of_time() {
        let mut timeline = Vec::new();
        for (what, at) in
            [(What::Started, 30), (What::Created, 10), (What::Started, 40), (What::Scheduled, 10)]
        {
            add(&mut timeline, 1, moment(what, at));
        }
        assert_eq!(told(&timeline), [(What::Created, 10), (What::Scheduled, 10), (What::Started, 30)]);
    }

    #[test]
    fn word_of_a_pull_that_comes_late_is_put_before_the_start() {
        let mut timeline = Vec::new();
        for (what, at) in [(What::Created, 10), (What::Started, 20), (What::Pulled, 25), (What::Ready, 30)] {
            add(&mut timeline, 1, moment(what, at));
        }
        assert_eq!(
            told(&timeline),
            [(What::Created, 10), (What::Pulled, 20), (What::Started, 20), (What::Ready, 30)]
        );
    }

    #[test]
    fn what_happens_again_is_counted() {
        let mut timeline = Vec::new();
        for (nth, at) in [(1, 10), (1, 11), (2, 20), (2, 21)] {
            add(&mut timeline, nth, moment(What::Restarted, at));
        }
        assert_eq!(told(&timeline), [(What::Restarted, 10), (What::Restarted, 20)]);
    }

    #[test]
    fn an_end_comes_before_the_restart_of_the_same_second() {
        let mut timeline = Vec::new();
        for (what, at) in [(What::Restarted, 20), (What::Ended, 20), (What::Ready, 20), (What::Started, 20)] {
            add(&mut timeline, 1, moment(what, at));
        }
        let order: Vec<What> = timeline.iter().map(|moment| moment.what).collect();
        assert_eq!(order, [What::Started, What::Ended, What::Restarted, What::Ready]);
    }

    #[test]
    fn a_timeline_is_filled_up_from_another_one() {
        let mut timeline = vec![moment(What::Created, 10), moment(What::Restarted, 30)];
        let other = [(What::Created, 9), (What::Started, 20), (What::Restarted, 31), (What::Restarted, 50)];
        merge(&mut timeline, other.into_iter().map(|(what, at)| moment(what, at)).collect());
        assert_eq!(
            told(&timeline),
            [(What::Created, 10), (What::Started, 20), (What::Restarted, 30), (What::Restarted, 50)]
        );
    }
}
