//! What a database was doing from one moment to the next.

use serde::Serialize;

use crate::history::record::{Database, What};
use crate::time::Time;

/// What goes on between two moments, in the order of a start; `texts` says what each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Scheduling,
    Preparing,
    /// The image is pulled, and volumes are mounted.
    Pulling,
    Creating,
    Starting,
    /// A set-up server answers, which is not the final one.
    SettingUp,
    Restarting,
    InUse,
    /// Its server is not there, although it should be.
    Down,
    Deleting,
}

impl Phase {
    /// The name, as JSON spells it.
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    /// The name that a bar has room for.
    pub fn label(self) -> &'static str {
        self.texts().1
    }

    pub fn words(self) -> &'static str {
        self.texts().2
    }

    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Scheduling => ("scheduling", "node", "waiting for a node"),
            Self::Preparing => ("preparing", "data", "preparing the data folder"),
            Self::Pulling => ("pulling", "image", "getting the image"),
            Self::Creating => ("creating", "container", "making the container"),
            Self::Starting => ("starting", "start", "server starting"),
            Self::SettingUp => ("setting-up", "set-up", "set-up server at work"),
            Self::Restarting => ("restarting", "restart", "server starting again"),
            Self::InUse => ("in-use", "ready", "ready, in use"),
            Self::Down => ("down", "down", "server not there"),
            Self::Deleting => ("deleting", "removal", "being removed"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub phase: Phase,
    pub from: Time,
    /// When it was over; `None` where it went on when the record was last written.
    pub to: Option<Time>,
}

/// The phases of a database, from old to new; `end` is when the whole run was gone.
///
/// The moments are told by two clocks (this machine's, and the cluster's, which counts whole seconds), so a
/// step of the start can seem to be earlier than the one before it. Such a step changes nothing any more.
pub(super) fn phases(database: &Database, end: Option<Time>) -> Vec<Span> {
    let steps = steps(database);
    let mut spans: Vec<Span> = Vec::new();
    for (index, (what, at)) in steps.iter().enumerate() {
        if let Some(last) = spans.last_mut() {
            last.to.get_or_insert(*at);
        }
        let next = steps.get(index + 1).map(|(what, _)| *what);
        if let Some(phase) = after(*what, next, database) {
            spans.push(Span { phase, from: *at, to: None });
        }
    }
    if let Some(last) = spans.last_mut() {
        last.to = last.to.or(end.map(|end| end.max(last.from)));
    }
    spans
}

/// The moments that change what goes on, in order.
fn steps(database: &Database) -> Vec<(What, Time)> {
    let mut moments: Vec<_> = database.timeline.iter().map(|moment| (moment.at, moment.what)).collect();
    moments.sort();
    let mut steps: Vec<(What, Time)> = Vec::new();
    let mut far = None;
    for (at, what) in moments {
        let last = steps.last().map(|(what, _)| *what);
        // Who is started after an end is started again.
        let what = if what == What::Started && last == Some(What::Ended) { What::Restarted } else { what };
        let is_news = match what {
            What::Created | What::Scheduled | What::Prepared | What::Pulled | What::Started => {
                Some(what) > far
            }
            What::SetUpServer | What::Ready => {
                !matches!(last, Some(What::Ready | What::Deleting | What::Deleted))
            }
            What::Restarted | What::Ended => {
                last != Some(what) && !matches!(last, Some(What::Deleting | What::Deleted))
            }
            What::Deleting | What::Deleted => Some(what) > far,
        };
        if is_news {
            far = far.max(Some(what));
            steps.push((what, at));
        }
    }
    steps
}

/// What goes on after a moment; the one that follows tells what was waited for.
fn after(what: What, next: Option<What>, database: &Database) -> Option<Phase> {
    use What::{Created, Prepared, Pulled, Ready, Scheduled, SetUpServer, Started};
    let phase = match (what, next) {
        (Created | Scheduled | Pulled, Some(Ready | SetUpServer)) => Phase::Starting,
        (Created | Scheduled, Some(Started)) => Phase::Creating,
        (Created, Some(Pulled)) => Phase::Pulling,
        (Created, Some(Prepared)) => Phase::Preparing,
        // Without a workload it is on this machine.
        (Created, next)
            if next != Some(Scheduled) && database.workload.is_none() && database.image.is_none() =>
        {
            Phase::Preparing
        }
        (Created, _) => Phase::Scheduling,
        (Scheduled, _) => Phase::Pulling,
        (Pulled, _) => Phase::Creating,
        (Prepared | Started, _) => Phase::Starting,
        (SetUpServer, _) => Phase::SettingUp,
        (What::Restarted, _) => Phase::Restarting,
        (Ready, _) => Phase::InUse,
        (What::Ended, _) => Phase::Down,
        (What::Deleting, _) => Phase::Deleting,
        (What::Deleted, _) => return None,
    };
    Some(phase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::record::Moment;
    use What::{
        Created, Deleted, Deleting, Ended, Prepared, Pulled, Ready, Restarted, Scheduled, SetUpServer,
        Started,
    };

    /// `name FROM-TO` for each phase, in milliseconds.
    fn shown(moments: &[(What, i64)], end: Option<i64>) -> String {
        let timeline = moments
            .iter()
            .map(|(what, at)| Moment { what: *what, at: Time::from_millis(*at), detail: String::new() })
            .collect();
        let image = moments.iter().any(|(what, _)| *what == Scheduled).then(String::new);
        let spans = phases(&Database { timeline, image, ..Database::default() }, end.map(Time::from_millis));
        let words = spans.iter().map(|span| {
            let to = span.to.map(|to| to.millis().to_string()).unwrap_or_default();
            format!("{} {}-{to}", span.phase.name(), span.from.millis())
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_start_goes_through_its_phases() {
        let moments = [
            (Created, 0),
            (Scheduled, 1),
            (Pulled, 5),
            (Started, 6),
            (SetUpServer, 8),
            (Ready, 11),
            (Deleting, 20),
            (Deleted, 22),
        ];
        let whole = "scheduling 0-1, pulling 1-5, creating 5-6, starting 6-8, setting-up 8-11, in-use 11-20, deleting 20-22";
        assert_eq!(shown(&moments, Some(30)), whole);
        assert_eq!(
            shown(&[(Created, 0), (Prepared, 4), (Started, 5), (Ready, 9)], None),
            "preparing 0-4, starting 4-5, starting 5-9, in-use 9-"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(shown(&[], Some(9)), "");
        assert_eq!(shown(&[(Created, 0), (Ready, 5)], Some(9)), "starting 0-5, in-use 5-9");
        assert_eq!(
            shown(&[(Created, 0), (Scheduled, 2), (Started, 4), (Ready, 5)], None),
            "scheduling 0-2, creating 2-4, starting 4-5, in-use 5-"
        );
        assert_eq!(shown(&[(Created, 0)], Some(9)), "preparing 0-9");
        assert_eq!(shown(&[(Created, 0), (Scheduled, 2)], Some(9)), "scheduling 0-2, pulling 2-9");
    }

    #[test]
    fn a_server_that_goes_comes_back() {
        let start = [(Created, 0), (Started, 1), (Ready, 3)];
        let again = [(Ended, 5), (Restarted, 6), (Started, 6), (Ready, 8)];
        assert_eq!(
            shown(&[start.as_slice(), &again].concat(), None),
            "creating 0-1, starting 1-3, in-use 3-5, down 5-6, restarting 6-8, in-use 8-"
        );
        assert_eq!(
            shown(&[(Created, 0), (Started, 1), (Ended, 3), (Started, 4)], None),
            "creating 0-1, starting 1-3, down 3-4, restarting 4-"
        );
    }

    #[test]
    fn a_clock_that_counts_seconds_turns_nothing_around() {
        // Scheduled and started in the same second, which began before the object was made.
        let moments = [
            (Created, 12_700),
            (Scheduled, 12_000),
            (Pulled, 13_000),
            (Started, 13_000),
            (Ready, 13_400),
            (Started, 14_000),
        ];
        assert_eq!(
            shown(&moments, None),
            "pulling 12000-13000, creating 13000-13000, starting 13000-13400, in-use 13400-"
        );
    }
}
