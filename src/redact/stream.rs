//! A log that is shown as it is written, without its secrets. What stands on a line may be secret for what
//! stands on the lines before it, which is why some of these are kept. What a later line would tell of an
//! earlier one comes too late here; known secrets are found all the same.

use std::collections::VecDeque;

use super::Redactor;

/// How many lines are kept to be read together with the next ones: more than a private key has.
const KEPT: usize = 64;

/// Of a line that is longer than this, the rest is left out.
const LONGEST: usize = 256 << 10;

/// What is left out before that as well: a secret may begin there.
const EDGE: usize = 4 << 10;

/// Takes a log in by pieces, and gives its lines back.
#[derive(Debug)]
pub struct Stream<'a> {
    redactor: &'a Redactor,
    before: VecDeque<String>,
    /// The bytes of a line whose end is yet to come.
    rest: Vec<u8>,
    /// Whether the rest of a line is being left out.
    is_skipping: bool,
}

impl<'a> Stream<'a> {
    pub fn new(redactor: &'a Redactor) -> Self {
        Self { redactor, before: VecDeque::new(), rest: Vec::new(), is_skipping: false }
    }

    /// The lines that are whole by now.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<String> {
        if self.is_skipping {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Vec::new() };
            bytes = &bytes[end + 1..];
            self.is_skipping = false;
        }
        self.rest.extend_from_slice(bytes);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        match end {
            None if self.rest.len() < LONGEST => Vec::new(),
            None => {
                self.is_skipping = true;
                let mut lines = self.finish();
                if let Some(last) = lines.last_mut() {
                    last.truncate(last.floor_char_boundary(last.len().saturating_sub(EDGE)));
                    last.push_str(" ... (the rest of this line is left out)");
                }
                lines
            }
            Some(end) => {
                let rest = self.rest.split_off(end);
                let whole = std::mem::replace(&mut self.rest, rest);
                self.lines(&String::from_utf8_lossy(&whole))
            }
        }
    }

    /// What was written of a line without its end.
    pub fn finish(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.rest);
        self.lines(&String::from_utf8_lossy(&rest))
    }

    fn lines(&mut self, text: &str) -> Vec<String> {
        let before = self.before.len();
        let all: String = self
            .before
            .iter()
            .map(String::as_str)
            .chain(text.lines())
            .flat_map(|line| [line, "\n"])
            .collect();
        self.before.extend(text.lines().map(str::to_owned));
        self.before.drain(..self.before.len().saturating_sub(KEPT));
        self.redactor.redact_text(&all).lines().skip(before).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_make_the_lines_of_the_whole() {
        let mut redactor = Redactor::new("r");
        redactor.add("hush-hush");
        let text = "one hush-hush\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\n\
                    größe\npassword:\n  'other'\n\nlast hush-hush";
        let whole: Vec<String> = redactor.redact_text(text).lines().map(str::to_owned).collect();
        assert!(!whole.join("").contains("hush") && !whole.join("").contains("MIIE"), "{whole:?}");
        for size in 1..text.len() {
            let mut stream = Stream::new(&redactor);
            let mut lines: Vec<String> =
                text.as_bytes().chunks(size).flat_map(|piece| stream.push(piece)).collect();
            lines.extend(stream.finish());
            assert_eq!(lines, whole, "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept_for_ever() {
        let redactor = Redactor::new("r");
        let mut stream = Stream::new(&redactor);
        let lines: Vec<String> = (0..9).flat_map(|_| stream.push(&[b'x'; 100 << 10])).collect();
        assert!(lines.len() == 1 && lines[0].len() < 300 << 10 && lines[0].ends_with("is left out)"));
        assert_eq!(stream.push(b"xx\nnext\n"), ["next"]);
    }

    #[test]
    fn no_part_of_a_secret_is_shown_where_a_line_is_cut() {
        let mut redactor = Redactor::new("r");
        redactor.add("hush-hush");
        for before in (LONGEST - 20)..(LONGEST + 20) {
            let mut stream = Stream::new(&redactor);
            let text = format!("{}hush-hush tail", "a".repeat(before));
            let mut shown: Vec<String> =
                text.as_bytes().chunks(1000).flat_map(|piece| stream.push(piece)).collect();
            shown.extend(stream.push(b"\n"));
            assert!(!shown.join("").contains("hu") && !shown.join("").contains("sh"), "{before}");
        }
    }
}
