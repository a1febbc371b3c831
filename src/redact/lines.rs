//! Finds secrets in several lines: a value may stand on the line after its name, or go over several.

use std::ops::Range;

use super::names::{Called, called};
use super::phrases;

/// How much of a line is kept to be read together with the next one.
const KEPT: usize = 200;

/// How many lines a value in quotes may have. One whose end is not among them was never closed.
const MOST_LINES: usize = 16;

/// What looks like a value, and says that it is yet to come: of shells, and of YAML.
const GOES_ON: [&str; 5] = ["\\", "|", "|-", ">", ">-"];

/// Where in each line secrets stand, in no order. Ranges may overlap.
pub(super) fn find(lines: &[&str]) -> Vec<Vec<Range<usize>>> {
    let mut found = vec![Vec::new(); lines.len()];
    let mut before: Option<Open> = None;
    for (at, line) in lines.iter().enumerate() {
        // An empty line separates nothing.
        if before.is_some() && line.trim().is_empty() {
            continue;
        }
        let mut alone = phrases::find(line);
        alone.retain(|range| !GOES_ON.contains(&&line[range.clone()]));
        if let Some(range) =
            alone.iter().find(|range| range.end == line.len() && quote_before(line, range.start).is_some())
        {
            go_on(lines, at, quote_before(line, range.start).unwrap_or_default(), &mut found);
        }
        found[at].extend(alone);
        let joined =
            before.take().map(|open| (open.takes_word, open.text.len() + 1, format!("{} {line}", open.text)));
        if let Some((takes_word, here, joined)) = &joined {
            for range in phrases::find(joined).into_iter().filter(|range| range.end > *here) {
                let begin = range.start.max(*here);
                let quote = quote_before(joined, begin);
                if !takes_word && quote.is_none() {
                    continue;
                }
                if let (Some(quote), true) = (quote, range.end == joined.len()) {
                    go_on(lines, at, quote, &mut found);
                }
                let indent = joined[begin..range.end].len() - joined[begin..range.end].trim_start().len();
                found[at].push(begin + indent - here..range.end - here);
            }
        }
        before = Open::at_end_of(joined.as_ref().map_or(line, |(_, _, joined)| joined.as_str()));
    }
    found
}

/// Takes what follows a line in which a quote was opened, up to its end. Nothing where it has none.
fn go_on(lines: &[&str], at: usize, quote: &str, found: &mut [Vec<Range<usize>>]) {
    let end = lines
        .iter()
        .enumerate()
        .skip(at + 1)
        .take(MOST_LINES)
        .find_map(|(at, line)| Some((at, line.find(quote)?)));
    let Some((last, end)) = end else { return };
    for between in at + 1..last {
        found[between].push(0..lines[between].len());
    }
    found[last].push(0..end);
}

fn quote_before(line: &str, at: usize) -> Option<&'static str> {
    ["$$", "'", "\"", "`"].into_iter().find(|quote| line[..at].ends_with(quote))
}

/// A line's end behind which a secret may follow on the next one.
struct Open {
    text: String,
    /// Whether that may be a word without quotes.
    takes_word: bool,
}

impl Open {
    fn at_end_of(line: &str) -> Option<Self> {
        let line = line.rfind(" -- ").map_or(line, |comment| &line[..comment]).trim_end();
        let goes_on = line.strip_suffix('\\');
        let text = goes_on.unwrap_or(line).trim_end();
        let word = text.rsplit(char::is_whitespace).next().unwrap_or_default();
        let is_flag = word.starts_with("--") && called(word).is_some();
        let is_block = is_block(text);
        let is_open = is_flag
            || is_block
            || called(word) == Some(Called::Password)
            || is_assigned(text)
            || is_identified(text);
        let from = text.ceil_char_boundary(text.len().saturating_sub(KEPT));
        is_open.then(|| Self {
            text: text[from..].to_owned(),
            takes_word: is_block || (is_flag && goes_on.is_some()),
        })
    }
}

/// `password:`, `"token" =`, `PASSWORD(`.
fn is_assigned(text: &str) -> bool {
    let name = text.trim_end_matches([':', '=', '>', '(']);
    name.len() < text.len() && is_called(name)
}

/// `password: |`, behind which YAML has a text.
fn is_block(text: &str) -> bool {
    let name = text
        .trim_end_matches(['+', '-'])
        .strip_suffix(['|', '>'])
        .and_then(|text| text.trim_end().strip_suffix(':'));
    name.is_some_and(is_called)
}

fn is_called(text: &str) -> bool {
    let text = text.trim_end().trim_end_matches(['"', '\'', '`', '\\']);
    let begin = text.rfind(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).map_or(0, |at| at + 1);
    text.get(begin..).is_some_and(|name| called(name).is_some())
}

/// `IDENTIFIED WITH plugin BY`, or less of it.
fn is_identified(text: &str) -> bool {
    text.split_whitespace().rev().take(6).any(|word| word.eq_ignore_ascii_case("identified"))
}
