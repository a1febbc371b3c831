//! `--since`: how far back a question goes.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::deadline;
use crate::time::Time;

/// What to write there.
const FORMS: &str = "write a duration (7d, 90m), a day (2026-01-31) or a moment (2026-01-31T12:00:00Z)";

/// The first moment that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Ago(Duration),
    At(Time),
}

impl Since {
    /// Reads a duration, a day or a moment, in UTC unless it has an offset.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(duration) = deadline::parse(text) {
            return Ok(Self::Ago(duration));
        }
        let utc = |local: DateTime| local.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
        // A local time takes a text with an offset as well, and passes the offset over: the order matters.
        let moment = text.parse::<Timestamp>().or_else(|_| text.parse::<DateTime>().and_then(utc));
        moment.map(|moment| Self::At(moment.into())).map_err(|_| FORMS.to_owned())
    }

    /// The moment, for a question that is asked at another one.
    pub fn at(self, now: Time) -> Time {
        match self {
            Self::Ago(duration) => now.before(duration),
            Self::At(time) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_a_day_or_a_moment() {
        let now = Time::parse("2026-02-01T00:00:00Z").unwrap();
        for (text, moment) in [
            ("36h", "2026-01-30T12:00:00.000Z"),
            ("1d 12h", "2026-01-30T12:00:00.000Z"),
            ("2026-01-31", "2026-01-31T00:00:00.000Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31 12:00:00", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31T12:00:00.250+02:00", "2026-01-31T10:00:00.250Z"),
            ("2026-01-31T12:00:00-05:30", "2026-01-31T17:30:00.000Z"),
        ] {
            assert_eq!(Since::parse(text).unwrap().at(now).to_string(), moment, "{text}");
        }
        let wrong = [
            "",
            "yesterday",
            "2026-13-01",
            "2026-01-31T",
            "2026-01-31T12:00:00+2",
            "2026-01-31T12:00:00Z+01:00",
            "7",
            "größe-01-31",
        ];
        for text in wrong {
            assert_eq!(Since::parse(text), Err(FORMS.to_owned()), "{text}");
        }
    }
}
