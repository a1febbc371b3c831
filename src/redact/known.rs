//! Finds known secrets in every form that they take: as they are, escaped, percent-encoded, in base64.

use std::ops::Range;

use base64::engine::GeneralPurpose;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD, Engine as _};

/// Secrets shorter than this are found as whole words only: a password `1` must not take every digit away.
const SHORT: usize = 4;

/// Pieces of base64 shorter than this are found by chance.
const PIECE: usize = 8;

#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    texts: Vec<String>,
    /// The texts by their first byte, the longest first: a secret may be a part of another one.
    by_first: Vec<Vec<usize>>,
}

impl Known {
    /// Takes a secret in, and its forms in base64.
    pub(super) fn add(&mut self, secret: &str) {
        self.add_text(secret);
        self.add_bytes(secret.as_bytes());
    }

    /// Takes bytes in that are no text: they can be met in base64 alone.
    pub(super) fn add_bytes(&mut self, secret: &[u8]) {
        for form in base64_forms(secret) {
            self.add_text(&form);
        }
    }

    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Takes one text in, in no other form.
    pub(super) fn add_text(&mut self, text: &str) {
        let Some(first) = text.bytes().next() else { return };
        self.by_first.resize(256, Vec::new());
        if self.by_first[usize::from(first)].iter().any(|known| self.texts[*known] == text) {
            return;
        }
        self.texts.push(text.to_owned());
        let (texts, index) = (&self.texts, self.texts.len() - 1);
        let group = &mut self.by_first[usize::from(first)];
        group.push(index);
        group.sort_by_key(|index| std::cmp::Reverse(texts[*index].len()));
    }

    /// Where they stand in a line, from left to right.
    pub(super) fn find(&self, line: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let has_escapes = line.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b'+' | b'\'' | b'"' | b'`'));
        let mut at = 0;
        while !self.texts.is_empty() && at < line.len() {
            match self.find_at(line, at, has_escapes) {
                Some(end) => {
                    found.push(at..end);
                    at = end;
                }
                None => at += 1,
            }
        }
        found
    }

    /// The end of the longest secret that begins here.
    fn find_at(&self, line: &str, at: usize, has_escapes: bool) -> Option<usize> {
        let first = line.as_bytes()[at];
        let group = &self.by_first[usize::from(first)];
        let is_escape = matches!(first, b'%' | b'\\' | b'+');
        if (group.is_empty() && !is_escape) || !line.is_char_boundary(at) {
            return None;
        }
        let fits = |index: &usize| {
            let text = &self.texts[*index];
            let end = if has_escapes {
                end_of(line.as_bytes(), at, text)?
            } else {
                line[at..].starts_with(text).then_some(at + text.len())?
            };
            (text.len() >= SHORT || stands_alone(line, at..end)).then_some(end)
        };
        let plain = group.iter().find_map(fits);
        // An escape may stand for any first byte.
        if plain.is_none() && is_escape {
            self.by_first.iter().flatten().filter_map(fits).max()
        } else {
            plain
        }
    }
}

/// Where a text ends that begins here, each of its characters as it is or as an escape.
fn end_of(line: &[u8], at: usize, text: &str) -> Option<usize> {
    // Of these it is not certain what they are: `%25` may be an escape, or what it looks like.
    let is_clear = |c: char| !matches!(c, '%' | '\\' | '\'' | '"' | '`');
    // Nearly every look ends here: where the two part, there is no escape, nor before.
    let is_plain = |byte: &u8| !matches!(byte, b'%' | b'\\' | b'+' | b'\'' | b'"' | b'`');
    let same = line[at..]
        .iter()
        .zip(text.as_bytes())
        .take_while(|(here, there)| here == there && is_plain(here))
        .count();
    if same < text.len() && line.get(at + same).is_none_or(is_plain) {
        return None;
    }
    let mut end = at;
    let mut rest = text.chars();
    for c in rest.by_ref() {
        if !is_clear(c) {
            return ends_of(line, end, c, rest);
        }
        end = plain(line, end, c).or_else(|| percent(line, end, c)).or_else(|| backslash(line, end, c))?;
    }
    Some(end)
}

/// The same from the first character on that may stand there in several ways.
fn ends_of(line: &[u8], at: usize, first: char, rest: std::str::Chars<'_>) -> Option<usize> {
    let mut ends = vec![at];
    for c in std::iter::once(first).chain(rest) {
        let forms =
            |at| [plain(line, at, c), doubled(line, at, c), percent(line, at, c), backslash(line, at, c)];
        ends = ends.into_iter().flat_map(forms).flatten().collect();
        ends.sort_unstable();
        ends.dedup();
        if ends.is_empty() {
            return None;
        }
    }
    ends.pop()
}

fn plain(line: &[u8], at: usize, c: char) -> Option<usize> {
    let mut buffer = [0; 4];
    let bytes = c.encode_utf8(&mut buffer).as_bytes();
    let end = at + bytes.len();
    (line.get(at..end)? == bytes).then_some(end)
}

/// SQL's way to write a quote in a text.
fn doubled(line: &[u8], at: usize, c: char) -> Option<usize> {
    let end = plain(line, at, c).filter(|_| matches!(c, '\'' | '"' | '`'))?;
    plain(line, end, c)
}

/// `%C3%BC`, and `+` for a space.
fn percent(line: &[u8], mut at: usize, c: char) -> Option<usize> {
    if c == ' ' && line.get(at) == Some(&b'+') {
        return Some(at + 1);
    }
    let mut buffer = [0; 4];
    for byte in c.encode_utf8(&mut buffer).bytes() {
        let digits = line.get(at..at + 3)?.strip_prefix(b"%")?;
        (u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? == byte).then_some(())?;
        at += 3;
    }
    Some(at)
}

/// `\"`, `\\`, `\t`, `\u00fc`, and `\ud83d\ude00` for what is beyond 16 bits.
fn backslash(line: &[u8], at: usize, c: char) -> Option<usize> {
    let escape = line.get(at..)?.strip_prefix(b"\\")?;
    if let Some(end) = units(line, at, c) {
        return Some(end);
    }
    let letter = match c {
        '\t' => b't',
        '\r' => b'r',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        c if c.is_ascii_punctuation() => u8::try_from(c).ok()?,
        _ => return None,
    };
    (escape.first() == Some(&letter)).then_some(at + 2)
}

/// JSON's escapes with four digits, as many as the character takes.
fn units(line: &[u8], mut at: usize, c: char) -> Option<usize> {
    let mut buffer = [0; 2];
    for unit in c.encode_utf16(&mut buffer) {
        let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
        (u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? == *unit).then_some(())?;
        at += 6;
    }
    Some(at)
}

fn stands_alone(line: &str, piece: Range<usize>) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    !line[..piece.start].chars().next_back().is_some_and(in_word)
        && !line[piece.end..].chars().next().is_some_and(in_word)
}

/// In both alphabets: alone, with a line's end, and inside a longer text, from any of three places on.
fn base64_forms(secret: &[u8]) -> Vec<String> {
    if secret.len() < SHORT {
        return Vec::new();
    }
    let forms = |alphabet: GeneralPurpose| {
        let whole = [alphabet.encode(secret), alphabet.encode([secret, b"\n"].concat())];
        let inside = (0..3).filter_map(move |offset| {
            let text = alphabet.encode([&vec![0; offset], secret].concat());
            // The first and the last character may hold bits of what stands beside it.
            let (begin, end) = ((offset * 8).div_ceil(6), (offset + secret.len()) * 8 / 6);
            (end.saturating_sub(begin) >= PIECE).then(|| text[begin..end].to_owned())
        });
        whole.into_iter().chain(inside)
    };
    [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD].into_iter().flat_map(forms).collect()
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn found(secrets: &[&str], line: &str) -> Vec<String> {
        let mut known = Known::default();
        secrets.iter().for_each(|secret| known.add(secret));
        known.find(line).into_iter().map(|range| line[range].to_owned()).collect()
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret = "p/w d'ü\"x+%";
        for form in [
            "p/w d'ü\"x+%",
            "p/w d'ü\"x+%25",
            "p%2Fw%20d%27%c3%BC%22x%2B%25",
            "p%2Fw+d'%C3%BC%22x%2B%25",
            "p/w d''ü\"x+%",
            r#"p/w d'ü\"x+%"#,
            r"p/w d\'\u00fc\u0022x\u002b%",
            "cC93IGQnw7wieCsl",
        ] {
            assert_eq!(found(&[secret], &format!("a {form} z")), [form]);
        }
        assert!(found(&[secret], "p/w d'ü\"x").is_empty());
    }

    /// A tab has a letter of its own there, and what is beyond 16 bits is written as two numbers.
    #[test]
    fn every_escape_of_json_is_read() {
        let secret = "a\tb\u{8}c\u{c}d\re\u{1}f\u{1f600}/g";
        for form in [
            r"a\tb\bc\fd\re\u0001f\ud83d\ude00/g",
            r"a\tb\bc\fd\re\u0001f\uD83D\uDE00\/g",
            r"a\u0009b\u0008c\u000cd\u000de\u0001f😀\u002fg",
        ] {
            assert_eq!(found(&[secret], &format!("a {form} z")), [form]);
        }
        assert!(found(&["a😀b"], r"a\ud83d\ud83db a\ud83db a\ude00b a\ud83d").is_empty());
        // Half of a pair is a part of none.
        assert!(found(&["😀😀"], r"\ud83d").is_empty());
    }

    #[test]
    fn base64_of_more_than_the_secret_holds_it_too() {
        for user in ["", "u:", "us:", "use:", "root:"] {
            let text = BASE64_STANDARD.encode(format!("{user}correct-horse\n"));
            let left = found(&["correct-horse"], &text)
                .iter()
                .fold(text.clone(), |text, piece| text.replace(piece, "*"));
            assert!(left.len() < 14 && left.contains('*'), "{user}: {left}");
        }
    }

    #[test]
    fn short_secrets_are_words() {
        assert_eq!(found(&["abc"], "abc abcd _abc 'abc'"), ["abc", "abc"]);
        assert_eq!(found(&["hush", "hushhush"], "hushhush hush"), ["hushhush", "hush"]);
        assert!(found(&[], "anything").is_empty());
        assert!(found(&[""], "anything").is_empty());
    }
}
