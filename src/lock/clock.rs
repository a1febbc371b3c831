//! The clock by which a process measures how long something lasts. It goes on while the machine sleeps: a laptop that wakes up knows that its
//! lock has run out.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

/// The time since the machine was started. Not comparable with another machine's.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}

/// Waits until this clock shows `time`; for ever if there is none.
pub async fn until(time: Option<Duration>) {
    let Some(time) = time else { return std::future::pending().await };
    while let Some(rest) = time.checked_sub(now()).filter(|rest| !rest.is_zero()) {
        sleep_until(Instant::now() + rest).await;
    }
}
