//! A log of any length in bounded memory: its head and its tail.
//!
//! It is cut between lines only: half of a secret at the edge of a cut would not be found.

use std::collections::VecDeque;

/// In bytes.
pub const HEAD: usize = 256 * 1024;
pub const TAIL: usize = 768 * 1024;

#[derive(Debug)]
pub struct Clip {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    bytes: u64,
    limits: (usize, usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clipped {
    /// Its text; where something is left out, a line says so in its place.
    pub text: String,
    pub bytes: u64,
    /// What is left out, in words; `None` where it is whole.
    pub cut: Option<String>,
}

impl Default for Clip {
    fn default() -> Self {
        Self::with_limits(HEAD, TAIL)
    }
}

impl Clip {
    fn with_limits(head: usize, tail: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), bytes: 0, limits: (head, tail) }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let (for_head, rest) = bytes.split_at(bytes.len().min(self.limits.0 - self.head.len()));
        self.head.extend_from_slice(for_head);
        // No more than what stays of it.
        self.tail.extend(&rest[rest.len().saturating_sub(self.limits.1)..]);
        let over = self.tail.len().saturating_sub(self.limits.1);
        self.tail.drain(..over);
    }

    /// That were read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Passes over bytes that are not even read: no more than is sure to be left out.
    pub fn pass_over(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// What is kept. Bytes that are no UTF-8 are replaced.
    pub fn finish(self) -> Clipped {
        let Self { mut head, tail, bytes, .. } = self;
        let mut tail = Vec::from(tail);
        let is_whole = (head.len() + tail.len()) as u64 == bytes;
        if is_whole {
            head.append(&mut tail);
            return Clipped { text: String::from_utf8_lossy(&head).into_owned(), bytes, cut: None };
        }
        head.truncate(head.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        let begin = tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |end| end + 1);
        let tail = &tail[begin..];
        let left_out = bytes - (head.len() + tail.len()) as u64;
        let cut = format!("{left_out} of {bytes} bytes are left out");
        let text = format!(
            "{}[testbed: {cut} here]\n{}",
            String::from_utf8_lossy(&head),
            String::from_utf8_lossy(tail)
        );
        Clipped { text, bytes, cut: Some(cut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clipped(pieces: &[&str]) -> Clipped {
        let mut clip = Clip::with_limits(10, 12);
        pieces.iter().for_each(|piece| clip.push(piece.as_bytes()));
        clip.finish()
    }

    #[test]
    fn what_fits_is_whole() {
        let text = "one\ntwo\nthree\nfour\nfi";
        assert_eq!(clipped(&[text]), Clipped { text: text.into(), bytes: 21, cut: None });
        assert_eq!(clipped(&["one\n", "two\nthree\nfo", "ur\nfi"]).text, text);
        assert_eq!(clipped(&[]), Clipped { text: String::new(), bytes: 0, cut: None });
    }

    #[test]
    fn the_middle_goes_first_and_lines_stay_whole() {
        let text = "one\ntwo\nthree\nfour\nfive\nand so on: six\nseven\n";
        let found = clipped(&[text]);
        assert_eq!(
            (found.text.as_str(), found.bytes),
            ("one\ntwo\n[testbed: 31 of 45 bytes are left out here]\nseven\n", 45)
        );
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(
            clipped(&bytes.iter().map(String::as_str).collect::<Vec<_>>()),
            found,
            "however it arrives"
        );
    }

    #[test]
    fn a_line_longer_than_the_limit_is_left_out() {
        let found = clipped(&["secret-secret-secret-secret-secret-secret"]);
        assert_eq!(found.text, "[testbed: 41 of 41 bytes are left out here]\n");
        assert_eq!(found.cut.as_deref(), Some("41 of 41 bytes are left out"));
    }

    #[test]
    fn bytes_of_no_encoding_are_replaced() {
        let mut clip = Clip::default();
        clip.push(b"a\xffb\n");
        assert_eq!(clip.finish().text, "a\u{fffd}b\n");
    }
}
