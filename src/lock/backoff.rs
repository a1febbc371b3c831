//! The pauses before a broken connection is tried again: short, since somebody may wait for the lock to be handed over.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The first pause.
const FIRST: Duration = Duration::from_millis(50);
/// The longest. After an outage everybody who waits has to be heard again before three of their beats are over.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that double.
#[derive(Debug, Clone)]
pub struct Pauses {
    first: Duration,
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: FIRST, next: FIRST }
    }
}

impl Pauses {
    /// Pauses that take no time.
    #[cfg(test)]
    pub fn none() -> Self {
        Self { first: Duration::ZERO, next: Duration::ZERO }
    }

    /// The next one. Those who lost their connection together need not come back together: `chance`, between 0 and 1, tells them apart.
    pub fn pause(&mut self, chance: f64) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause.mul_f64(0.5 + chance / 2.0)
    }

    /// Begins with the first one again.
    pub fn restart(&mut self) {
        self.next = self.first;
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause(chance()))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.restart();
    }
}

/// Somewhere between 0 and 1.
pub fn chance() -> f64 {
    let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
    (bits >> 32) as f64 / f64::from(u32::MAX)
}
