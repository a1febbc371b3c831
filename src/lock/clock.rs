//! The clock by which a process measures how long something lasts. It goes on while the machine sleeps: a
//! laptop that wakes up knows that its lock has run out.

use std::os::fd::OwnedFd;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// A moment, and what chance has in store for it. Whoever decides is told, and never looks by itself.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// On the process' own clock, from any beginning.
    pub time: Duration,
    /// For people.
    pub date: Timestamp,
    /// Between 0 and 1.
    pub chance: f64,
}

impl Moment {
    pub fn now() -> Self {
        Self { time: now(), date: Timestamp::now(), chance: fastrand::f64() }
    }
}

/// The time since the machine was started. Not comparable with another machine's.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}

/// Waits until this clock shows `time`; for ever if there is none.
pub async fn until(time: Option<Duration>) {
    let Some(time) = time else { return std::future::pending().await };
    if time <= now() {
        return;
    }
    // Timers of the runtime stand still while the machine sleeps. Where there is no other, they have to do.
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for handles that do not stay what they are; one that is owned does"
    )]
    let alarm = alarm(time).and_then(|timer| AsyncFd::with_interest(timer, Interest::READABLE));
    if let Ok(alarm) = alarm
        && alarm.readable().await.is_ok()
    {
        return;
    }
    while let Some(rest) = time.checked_sub(now()).filter(|rest| !rest.is_zero()) {
        sleep_until(Instant::now() + rest).await;
    }
}

/// A timer of the system: readable from a time of this clock on.
pub fn alarm(time: Duration) -> std::io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    // No time at all would mean no timer.
    let it_value = Timespec::try_from(time.max(Duration::from_nanos(1)))
        .map_err(|_| std::io::ErrorKind::InvalidInput)?;
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval: zero, it_value })?;
    Ok(timer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_for_its_time_and_not_for_one_that_has_passed() {
        let start = now();
        until(Some(Duration::ZERO)).await;
        until(Some(start)).await;
        until(Some(start + Duration::from_millis(30))).await;
        assert!(now() >= start + Duration::from_millis(30));
        let never = tokio::time::timeout(Duration::from_millis(30), until(None)).await;
        assert!(never.is_err());
    }
}
