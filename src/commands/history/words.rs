//! Times, sizes and causes as people read them.

use std::time::Duration;

use crate::history::record::{Cause, LogInfo};
use crate::history::time::Time;

/// How long ago something was, in its largest unit: `3h ago`, `just now`.
pub fn ago(then: Time, now: Time) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0 => "just now".to_owned(),
        1..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// A duration with as much of it as matters: `120 ms`, `4.2 s`, `2m 13s`, `3h 5m`, `2d 4h`.
pub fn took(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `17 B`, `4.2 KiB`, `3.0 MiB`.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let in_units = |power: u32| bytes as f64 / 1024f64.powi(power.cast_signed());
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", in_units(1)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", in_units(2)),
        _ => format!("{:.1} GiB", in_units(3)),
    }
}

/// `1 run`, `2 runs`.
pub fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A cause in a few words: `not-ready (mysql)`.
pub fn cause(cause: &Cause) -> String {
    match &cause.database {
        Some(database) => format!("{} ({database})", cause.kind),
        None => cause.kind.clone(),
    }
}

/// Whose log it is: `mysql`, `mysql-42/init`, `mysql (before its last restart)`.
pub fn log(info: &LogInfo) -> String {
    let name = match (&info.database, info.container.is_empty()) {
        (Some(database), _) => database.clone(),
        (None, true) => info.source.clone(),
        (None, false) => format!("{}/{}", info.source, info.container),
    };
    if info.previous { format!("{name} (before its last restart)") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let at = |seconds: i64| ago(Time::from_millis(0), Time::from_millis(seconds * 1000));
        let told = [-5, 0, 1, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map(at);
        assert_eq!(told, ["just now", "just now", "1s ago", "59s ago", "1m ago", "59m ago", "1h ago", "23h ago", "1d ago", "10d ago"]);
        let told = [0, 123, 999, 1000, 59_940, 60_000, 3_599_000, 3_600_000, 187_200_000].map(|millis| took(Duration::from_millis(millis)));
        assert_eq!(told, ["0 ms", "123 ms", "999 ms", "1.0 s", "59.9 s", "1m 0s", "59m 59s", "1h 0m", "2d 4h"]);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!([0, 1023, 1024, 1536, 3 << 20, 5 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 MiB", "5.0 GiB"]);
        assert_eq!([count(1, "run"), count(0, "run")], ["1 run", "0 runs"]);
    }
}
