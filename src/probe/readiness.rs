//! The verdict on one database, from what its container does and what its server answers. Pure: the clock is passed in.
//!
//! A database container starts a set-up server first and stops it again, so an answer alone proves nothing. Ready needs evidence that
//! the answering server is the final one:
//! 1. its process id inside the container is 1: the entrypoint has `exec`'ed it;
//! 2. else the same server (by its start time) stays up for the settling window. Another process id than 1 proves nothing in either
//!    direction: an init process such as tini, or a shared process namespace, leaves the final server with one.

use std::time::{Duration, Instant};

use super::{Container, NotYet};

/// How far two readings of one server's start time may lie apart: MySQL tells its uptime in whole seconds.
const START_TOLERANCE: Duration = Duration::from_millis(1500);

/// What a server said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its process id in its own process namespace, where it may be asked.
    pub process_id: Option<u32>,
    /// How long it has been up.
    pub uptime: Duration,
}

/// Why a database is believed to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The server is process 1 of its container.
    Process1,
    /// The same server has answered over the whole settling window.
    Settled(Duration),
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process1 => write!(f, "the server is process 1 of its container"),
            Self::Settled(window) => write!(f, "the same server for {:.1} s", window.as_secs_f64()),
        }
    }
}

/// What is known after an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No answer, and why.
    Waiting(String),
    /// Answers, and is ready if it goes on for this long.
    Settling(Duration),
    /// Ready, and why that is certain.
    Ready(Evidence),
}

/// The state of one database's readiness.
#[derive(Debug)]
pub struct Readiness {
    settle: Duration,
    container: Option<String>,
    server: Option<Seen>,
}

/// A server that answers.
#[derive(Debug, Clone, Copy)]
struct Seen {
    started: Instant,
    first: Instant,
}

impl Readiness {
    /// Nothing seen yet; `settle` is the settling window.
    pub fn new(settle: Duration) -> Self {
        Self { settle, container: None, server: None }
    }

    /// Notes the container's state; another container, or none, starts over.
    pub fn container(&mut self, state: &Container) {
        let id = match state {
            Container::Waiting(_) => None,
            Container::Running(id) => Some(id),
        };
        if self.container.as_ref() != id {
            self.container = id.cloned();
            self.server = None;
        }
    }

    /// Takes the outcome of an attempt that ended at `now`.
    pub fn answer(&mut self, now: Instant, outcome: &Result<Answer, NotYet>) -> Verdict {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(why) => {
                // A silent server is no longer the one that answered before.
                self.server = None;
                return Verdict::Waiting(why.clone());
            }
        };
        let started = now.checked_sub(answer.uptime).unwrap_or(now);
        let seen = match self.server {
            Some(seen) if distance(seen.started, started) <= START_TOLERANCE => seen,
            _ => Seen { started, first: now },
        };
        self.server = Some(seen);
        if answer.process_id == Some(1) {
            return Verdict::Ready(Evidence::Process1);
        }
        let stayed = now.saturating_duration_since(seen.first);
        if stayed >= self.settle {
            return Verdict::Ready(Evidence::Settled(stayed));
        }
        Verdict::Settling(self.settle - stayed)
    }
}

fn distance(a: Instant, b: Instant) -> Duration {
    if a > b { a - b } else { b - a }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds answers at given seconds and returns whether each was ready.
    struct Script {
        start: Instant,
        readiness: Readiness,
    }

    impl Script {
        fn new() -> Self {
            let mut readiness = Readiness::new(Duration::from_secs(5));
            readiness.container(&Container::Running("c1".into()));
            // Far from the clock's origin, so that uptimes can be subtracted.
            Self { start: Instant::now() + Duration::from_secs(10_000), readiness }
        }

        fn at(&mut self, second: f64, process_id: Option<u32>, started: f64) -> bool {
            let uptime = Duration::from_secs_f64(second - started);
            let answer = Ok(Answer { process_id, uptime });
            matches!(self.readiness.answer(self.start + Duration::from_secs_f64(second), &answer), Verdict::Ready(_))
        }

        fn silent_at(&mut self, second: f64) {
            let verdict = self.readiness.answer(self.start + Duration::from_secs_f64(second), &Err("connection refused".into()));
            assert_eq!(verdict, Verdict::Waiting("connection refused".into()));
        }
    }

    #[test]
    fn process_1_is_ready_at_once() {
        assert!(Script::new().at(3.0, Some(1), 2.9));
    }

    #[test]
    fn any_other_process_id_has_to_settle() {
        for process_id in [Some(47), None] {
            let mut script = Script::new();
            assert!(!script.at(0.0, process_id, -1.0));
            assert!(!script.at(4.9, process_id, -1.0));
            assert!(script.at(5.0, process_id, -1.0));
        }
    }

    #[test]
    fn a_server_that_was_up_long_before_still_has_to_be_seen_over_the_window() {
        let mut script = Script::new();
        assert!(!script.at(100.0, None, 0.0));
        assert!(script.at(105.0, None, 0.0));
    }

    #[test]
    fn another_start_time_starts_over_even_without_a_gap_in_the_answers() {
        let mut script = Script::new();
        assert!(!script.at(0.0, None, -1.0));
        assert!(!script.at(4.0, None, 3.9));
        assert!(!script.at(6.0, None, 3.9));
        assert!(script.at(9.0, None, 3.9));
    }

    #[test]
    fn silence_starts_over() {
        let mut script = Script::new();
        assert!(!script.at(0.0, None, -1.0));
        script.silent_at(2.0);
        assert!(!script.at(5.0, None, -1.0));
        assert!(script.at(10.0, None, -1.0));
    }

    #[test]
    fn uptimes_in_whole_seconds_do_not_look_like_a_restart() {
        let mut script = Script::new();
        assert!(!script.at(0.0, None, 0.0));
        for tenth in 1..50 {
            let now = f64::from(tenth) / 10.0;
            assert!(!script.at(now, None, now - now.floor()));
        }
        assert!(script.at(5.0, None, 0.0));
    }

    #[test]
    fn another_container_starts_over() {
        let mut script = Script::new();
        assert!(!script.at(0.0, None, -1.0));
        script.readiness.container(&Container::Running("c2".into()));
        assert!(!script.at(5.5, None, -1.0));
        script.readiness.container(&Container::Running("c2".into()));
        assert!(script.at(10.5, None, -1.0));
    }
}
