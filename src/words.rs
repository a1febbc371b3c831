//! Counts, durations and sizes for people, and paths for their shells.

use std::path::Path;
use std::time::Duration;

/// Three digits or two units: `345 ms`, `8.42 s`, `42.1 s`, `2 min 3 s`, `1 h 58 min`, `2 d 3 h`.
pub fn brief(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = (millis + 500) / 1000;
    match millis {
        0 => "0 s".to_owned(),
        1..1000 => format!("{millis} ms"),
        1000..9_995 => format!("{:.2} s", duration.as_secs_f64()),
        9_995..59_950 => format!("{:.1} s", duration.as_secs_f64()),
        59_950..3_599_500 => two(seconds, 60, ("min", "s")),
        3_599_500..86_370_000 => two((seconds + 30) / 60, 60, ("h", "min")),
        _ => two((seconds + 1800) / 3600, 24, ("d", "h")),
    }
}

fn two(small: u128, ratio: u128, (large_unit, small_unit): (&str, &str)) -> String {
    match small % ratio {
        0 => format!("{} {large_unit}", small / ratio),
        rest => format!("{} {large_unit} {rest} {small_unit}", small / ratio),
    }
}

/// To the millisecond: `0.345 s`, `2:03.400` and `1:58:03.000`, which are minutes and hours.
pub fn exact(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (hours, minutes, seconds, rest) =
        (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60, millis % 1000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}.{rest:03} s"),
        (0, _) => format!("{minutes}:{seconds:02}.{rest:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{rest:03}"),
    }
}

/// `12 bytes`, `3.4 KiB`, `1 MiB`.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let bytes_f = bytes as f64;
    let shown = |number: f64, unit: &str| format!("{} {unit}", format!("{number:.1}").trim_end_matches(".0"));
    match bytes {
        1 => "1 byte".to_owned(),
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_525 => shown(bytes_f / 1024.0, "KiB"),
        _ => shown(bytes_f / 1_048_576.0, "MiB"),
    }
}

/// A name, also where there is none: a heading without text leads nowhere.
pub fn named(name: &str) -> &str {
    if name.is_empty() { "unnamed" } else { name }
}

/// The one of some words that is most like another, if any is: by the measure and near the bound by which clap
/// suggests flags.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let likeness = |known: &str| strsim::jaro(&word, known);
    let alike = known.into_iter().filter(|known| likeness(known) > 0.7);
    alike.max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// `1 run`, `2 runs`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_few_digits() {
        for (millis, expected) in [
            (0, "0 s"),
            (7, "7 ms"),
            (999, "999 ms"),
            (1000, "1.00 s"),
            (9_994, "9.99 s"),
            (9_999, "10.0 s"),
            (59_949, "59.9 s"),
            (59_990, "1 min"),
            (123_400, "2 min 3 s"),
            (3_599_700, "1 h"),
            (7_083_000, "1 h 58 min"),
            (86_399_000, "1 d"),
            (180_000_000, "2 d 2 h"),
        ] {
            assert_eq!(brief(Duration::from_millis(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn an_exact_duration_has_milliseconds() {
        for (millis, expected) in
            [(0, "0.000 s"), (59_999, "59.999 s"), (123_400, "2:03.400"), (7_200_001, "2:00:00.001")]
        {
            assert_eq!(exact(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn a_size_has_a_unit() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1_048_576, "1 MiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!((count(1, "run"), count(0, "run")), ("1 run".into(), "0 runs".into()));
    }
}
