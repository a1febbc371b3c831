//! The lines of a log that a page shows at once: the last ones, and errors before them.

use serde::Serialize;

use crate::words::count;

/// How many of the last lines.
const LAST: usize = 15;
/// How many error lines before those, the newest ones.
const ERRORS: usize = 10;
/// How many characters of a line.
const WIDTH: usize = 1000;
/// What a line of trouble has in it as a word of its own, in either case.
const TROUBLE: [&str; 4] = ["error", "fatal", "panic", "crash"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// Its number in the stored log, from 1.
    pub number: usize,
    /// The text, or its beginning.
    pub text: String,
    pub is_error: bool,
    /// What is left out before it, if anything is.
    pub gap: Option<String>,
}

pub(super) fn excerpt(text: &str) -> Vec<Line> {
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.len().saturating_sub(LAST);
    let errors: Vec<usize> = (0..tail).filter(|index| is_error(lines[*index])).collect();
    let earlier = errors.iter().skip(errors.len().saturating_sub(ERRORS)).copied();
    let mut next = 0;
    let mut shown = Vec::new();
    for index in earlier.chain(tail..lines.len()) {
        let gap = (index > next).then(|| format!("{} left out here", count(index - next, "line")));
        shown.push(Line {
            number: index + 1,
            text: shortened(lines[index]),
            is_error: is_error(lines[index]),
            gap,
        });
        next = index + 1;
    }
    shown
}

pub(super) fn is_error(line: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    line.split(|c| !is_inside(c)).any(|word| TROUBLE.iter().any(|trouble| word.eq_ignore_ascii_case(trouble)))
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => {
            format!("{} ... (and {})", &line[..end], count(line[end..].chars().count(), "character"))
        }
        None => line.to_owned(),
    }
}

/// The last whole lines of a text that is too long, and how many bytes come before them.
pub(super) fn tail(text: &str, bytes: usize) -> (usize, &str) {
    if text.len() <= bytes {
        return (0, text);
    }
    let at = (text.len() - bytes..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    // Where that is inside a line, what is left of it would be no line.
    let at = text[at..].find('\n').map_or(at, |end| at + end + 1);
    (at, &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_word_of_its_own() {
        for line in [
            "2024-01-01T00:00:00Z 0 [ERROR] [MY-010119] [Server] Aborting",
            "2024-01-01 00:00:00.000 UTC [1] FATAL:  password authentication failed",
            "ERROR 1045 (28000): Access denied",
            "psql: error: connection refused",
            "PANIC:  could not write",
        ] {
            assert!(is_error(line), "{line}");
        }
        for line in [
            "0 errors",
            "log_error=/var/log/mysql",
            "--log-error set",
            "/var/log/error.log",
            "LOG:  ready",
            "",
        ] {
            assert!(!is_error(line), "{line}");
        }
    }

    #[test]
    fn the_last_lines_and_errors_before_them_are_shown() {
        let text: String = (1..=100)
            .map(|n| if n % 10 == 3 { format!("ERROR: {n}\n") } else { format!("line {n}\n") })
            .collect();
        let shown = excerpt(&text);
        let numbers: Vec<usize> = shown.iter().map(|line| line.number).collect();
        assert_eq!(
            numbers,
            [[3, 13, 23, 33, 43, 53, 63, 73, 83].as_slice(), &(86..=100).collect::<Vec<_>>()].concat()
        );
        assert_eq!(shown[0].gap.as_deref(), Some("2 lines left out here"));
        assert_eq!(
            (shown[9].gap.as_deref(), shown[10].gap.as_deref()),
            (Some("2 lines left out here"), None)
        );
        assert!(shown[0].is_error && !shown[9].is_error && shown[16].is_error, "93 is among the last ones");
        let many: String = "ERROR\n".repeat(100);
        assert_eq!(excerpt(&many).len(), ERRORS + LAST);
        assert_eq!(excerpt(""), []);
    }

    #[test]
    fn a_long_line_is_told_to_be_one() {
        let shown = excerpt(&"ü".repeat(1001));
        assert!(shown[0].text.ends_with("ü ... (and 1 character)"), "{}", shown[0].text);
        assert_eq!(excerpt(&"ü".repeat(1000))[0].text.len(), 2000);
    }

    #[test]
    fn a_tail_is_made_of_whole_lines() {
        assert_eq!(tail("one\ntwo\nthree", 20), (0, "one\ntwo\nthree"));
        assert_eq!(tail("one\ntwo\nthree", 7), (8, "three"));
        assert_eq!(tail("größe", 3), (4, "ße"));
        assert_eq!(tail("größe", 2), (6, "e"));
    }
}
