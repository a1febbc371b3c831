//! Moments by which something has to be done.

use std::time::Duration;

use tokio::time::Instant;

/// What stands for ever: no clock gets further than this at once.
pub const EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Reads a duration that a user has typed; one that no clock could be asked for stands for ever.
///
/// # Errors
/// Why it is none.
pub fn parse(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).map(|duration| duration.min(EVER));
    read.map_err(|error| match error {
        humantime::DurationError::NumberExpected(_) => "no duration such as 90s, 5m or 1h 30m".to_owned(),
        error => error.to_string(),
    })
}

/// The moment so long from now, which may be any time that a user has typed.
pub fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(EVER)
}

/// What is left until a moment.
pub fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// When to stop waiting, so that there is time by the deadline to look at what is left: a fifth of the whole
/// time, and no more than a second.
pub fn before(deadline: Instant, whole: Duration) -> Instant {
    let reserve = (whole / 5).min(Duration::from_secs(1));
    deadline.checked_sub(reserve).unwrap_or(deadline)
}

/// The processor time that this thread has had: what a test that computes is measured by, however busy the
/// machine is.
#[cfg(test)]
pub fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_too_long() {
        let far = after(Duration::MAX);
        assert!(parse("500000000000y").unwrap() == EVER && parse("soon").is_err());
        assert!(left(far) > Duration::from_secs(3600));
        assert!(
            before(after(Duration::from_secs(5)), Duration::from_secs(5))
                < after(Duration::from_millis(4100))
        );
    }
}
