//! A moment, to the millisecond: RFC 3339 in JSON, a whole number in a database.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    /// The moment of the call.
    pub fn now() -> Self {
        Timestamp::now().into()
    }

    /// From milliseconds since 1970.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339, as Kubernetes and this program write it; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<Timestamp>().ok().map(Into::into)
    }

    /// The time since an earlier moment; zero if that was later, which clocks of two machines can say.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }

    /// A later moment.
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// An earlier moment.
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time.as_millisecond())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A number from a database may be beyond the years that four digits can tell.
        let time = Timestamp::from_millisecond(self.0.max(0)).unwrap_or(Timestamp::MAX);
        write!(f, "{time:.3}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no time in RFC 3339")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_text_in_json_and_a_number_elsewhere() {
        let time = Time::from_millis(1_700_000_000_123);
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Time>("\"2023-11-14T22:13:20.123Z\"").unwrap(), time);
        assert_eq!(Time::parse("2023-11-14T22:13:20Z"), Some(Time::from_millis(1_700_000_000_000)));
        assert_eq!(Time::parse("yesterday"), None);
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
        assert_eq!(time.since(Time::from_millis(0)), Duration::from_millis(1_700_000_000_123));
        assert_eq!(Time::from_millis(0).since(time), Duration::ZERO);
        // What a database's column holds may be any number.
        assert_eq!(
            Time::from_millis(i64::MAX).since(Time::from_millis(i64::MIN)),
            Duration::from_millis(i64::MAX as u64)
        );
    }
}
