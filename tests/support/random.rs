//! Random choices. A failure shows the seed; `TESTBED_TEST_SEED` repeats them.

use std::time::{Duration, SystemTime};

/// Random numbers that can be had again (Knuth's MMIX generator).
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos().into();
        let seed = std::env::var("TESTBED_TEST_SEED")
            .map_or_else(|_| now(), |text| text.parse().expect("a number in TESTBED_TEST_SEED"));
        eprintln!("TESTBED_TEST_SEED={seed}");
        Self(seed)
    }

    /// Those of a seed, of which nobody is told.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to 1.
    fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A moment before the end.
    pub fn below(&mut self, end: Duration) -> Duration {
        end.mul_f64(self.part())
    }

    /// A number from 0 up to, and without, the end.
    pub fn number(&mut self, end: usize) -> usize {
        (self.part() * end as f64) as usize
    }

    /// One of these.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.number(of.len())]
    }
}
