//! What `--ttl` says.

use std::time::Duration;

/// After how long without a renewal a lock counts as abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    Never,
    After(Duration),
}

impl Ttl {
    /// Reads `30s` or `none`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Never);
        }
        parse(text).map(Self::After).map_err(|error| format!("{error}, or none"))
    }
}

/// Reads `30s`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration =
        crate::deadline::parse(text).map_err(|error| format!("{error}; write a duration such as 1h"))?;
    if duration < SHORTEST {
        return Err("a lock that is lost within a second is of no use; write 1s or more".into());
    }
    Ok(duration)
}

/// A Lease counts in seconds.
pub const SHORTEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_a_duration_of_a_second_or_more_or_none() {
        assert_eq!(Ttl::parse("none"), Ok(Ttl::Never));
        assert_eq!(Ttl::parse("1s"), Ok(Ttl::After(SHORTEST)));
        assert_eq!(Ttl::parse("1h 30m"), Ok(Ttl::After(Duration::from_secs(5400))));
        for wrong in ["999ms", "0s", "30", "", "-1s", "never"] {
            assert!(Ttl::parse(wrong).unwrap_err().ends_with(", or none"), "{wrong}");
        }
    }
}
