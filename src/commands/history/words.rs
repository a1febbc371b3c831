//! Moments, causes and the names of logs as people read them.

use crate::history::record::{Cause, LogInfo};
use crate::time::Time;

/// How long ago something was, in its largest unit: `3h ago`, `just now`.
pub(super) fn ago(then: Time, now: Time) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0 => "just now".to_owned(),
        1..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// A cause in a few words: `not-ready (mysql)`.
pub(super) fn cause(cause: &Cause) -> String {
    match &cause.database {
        Some(database) => format!("{} ({database})", cause.kind),
        None => cause.kind.clone(),
    }
}

/// Whose log it is: `mysql`, `mysql-42/init`, `mysql (before its last restart)`.
pub(super) fn log(info: &LogInfo) -> String {
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
        assert_eq!(
            told,
            [
                "just now", "just now", "1s ago", "59s ago", "1m ago", "59m ago", "1h ago", "23h ago",
                "1d ago", "10d ago"
            ]
        );
    }
}
