//! When a holder that lives has to do what: how long after it has sent its last renewal that was taken.
//!
//! Others take the lock over once they have seen no renewal for the ttl, and nobody can have seen one before
//! it was sent. So whatever happens before the ttl is over, counted from the sending and on the holder's own
//! clock, happens before anybody else can hold the lock.

use std::time::Duration;

/// At the end: clocks do not run alike, and a process is not run at once when its time has come.
const LEAST_MARGIN: Duration = Duration::from_millis(100);
/// A server under load may take as long as this.
const LEAST_REQUEST: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    ttl: Duration,
}

impl Deadlines {
    pub fn of(ttl: Duration) -> Self {
        Self { ttl }
    }

    pub fn renewal(self) -> Duration {
        self.ttl / 3
    }

    /// Two requests can get no answer before the command is asked to end, unless the ttl is very short.
    pub fn request(self) -> Duration {
        (self.ttl / 6).max(LEAST_REQUEST.min(self.ttl / 3))
    }

    pub fn end(self) -> Duration {
        self.ttl * 2 / 3
    }

    pub fn kill(self) -> Duration {
        self.ttl.saturating_sub(self.margin())
    }

    /// When somebody else has to kill it, because whoever should have done so has not.
    pub fn last(self) -> Duration {
        self.ttl.saturating_sub(self.margin() / 2)
    }

    fn margin(self) -> Duration {
        (self.ttl / 10).max(LEAST_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_in_its_order_and_before_the_ttl_is_over() {
        for millis in [1_000, 1_500, 30_000, 3_600_000] {
            let ttl = Duration::from_millis(millis);
            let of = Deadlines::of(ttl);
            let order = [of.renewal(), of.end(), of.kill(), of.last(), ttl];
            assert!(order.is_sorted_by(|earlier, later| earlier < later), "{order:?}");
            assert!(of.renewal() + of.request() <= of.end(), "{of:?}");
            assert!(of.last() + LEAST_MARGIN / 2 <= ttl && of.kill() + LEAST_MARGIN <= ttl, "{order:?}");
        }
    }

    #[test]
    fn thirty_seconds() {
        let of = Deadlines::of(Duration::from_secs(30));
        let seconds =
            [of.renewal(), of.request(), of.end(), of.kill(), of.last()].map(|time| time.as_secs_f64());
        assert_eq!(seconds, [10.0, 5.0, 20.0, 27.0, 28.5]);
    }

    #[test]
    fn a_ttl_that_no_flag_takes_is_over_at_once() {
        let of = Deadlines::of(Duration::from_millis(40));
        assert_eq!((of.kill(), of.last()), (Duration::ZERO, Duration::ZERO));
    }
}
