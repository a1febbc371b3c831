//! `.env` files, and the `${VARIABLE:-default}` that compose files fill from them.

use std::collections::BTreeMap;

pub type Variables = BTreeMap<String, String>;

/// Reads `NAME=VALUE` lines; what is none is skipped, as it is no concern of ours.
pub fn parse(text: &str) -> Variables {
    lines(text).map(|(_, name, value, _)| (name, value)).collect()
}

/// The same with each value filled in from the lines before it and from `known`; a value that needs more than
/// these stays as it was typed.
pub fn filled(text: &str, known: &Variables) -> Variables {
    let mut all = known.clone();
    let mut own = Variables::new();
    let mut left = TOTAL;
    for (_, name, value, fills) in lines(text) {
        let value = Some(&value)
            .filter(|_| fills && left > 0)
            .and_then(|value| interpolate(value, &all))
            .unwrap_or(value);
        left = left.saturating_sub(value.len());
        all.insert(name.clone(), value.clone());
        own.insert(name, value);
    }
    own
}

/// The most text that the variables of one file are filled to, in bytes: each may repeat another.
const TOTAL: usize = 1 << 20;

/// The line's number from 1, the name, the value, and whether variables in the value mean something.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, String, String, bool)> {
    text.lines().enumerate().filter_map(|(index, text)| {
        let (name, value, fills) = line(text)?;
        Some((index + 1, name, value, fills))
    })
}

fn line(line: &str) -> Option<(String, String, bool)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let quoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote).map(|(inner, _)| inner));
    let bare = || value.split(" #").next().unwrap_or(value).trim_end();
    (!name.is_empty() && !name.starts_with('#'))
        .then(|| (name.to_owned(), quoted.unwrap_or_else(bare).to_owned(), !value.starts_with('\'')))
}

/// The longest text once variables are filled in: a few references to a long one would make it endless.
const MOST: usize = 4 << 10;
/// How deep defaults may stand in defaults.
const DEPTH: usize = 16;

/// Fills `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:+instead}`, `${NAME+instead}` and
/// `$$`; `None` where one is unknown.
pub fn interpolate(text: &str, variables: &Variables) -> Option<String> {
    fill(text, variables, DEPTH)
}

fn fill(text: &str, variables: &Variables, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled += before;
        rest = if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            after
        } else if let Some((inside, after)) = after.strip_prefix('{').and_then(braces) {
            filled += &value(inside, variables, depth)?;
            after
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            filled += if end == 0 { "$" } else { variables.get(&after[..end])? };
            &after[end..]
        };
        if filled.len() > MOST {
            return None;
        }
    }
    Some(filled + rest)
}

/// What stands before the closing brace, and what behind it.
fn braces(text: &str) -> Option<(&str, &str)> {
    let mut open = 0;
    let mut before = ' ';
    for (index, c) in text.char_indices().take(MOST) {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some((&text[..index], &text[index + 1..])),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

fn value(inside: &str, variables: &Variables, depth: usize) -> Option<String> {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, operator) = inside.split_at(end);
    let known = variables.get(name);
    // With a colon, an empty value counts as none.
    let (given, operator) = match operator.strip_prefix(':') {
        Some(operator) => (known.filter(|value| !value.is_empty()), operator),
        None => (known, operator),
    };
    if let Some(default) = operator.strip_prefix('-') {
        return given.cloned().or_else(|| fill(default, variables, depth));
    }
    if let Some(instead) = operator.strip_prefix('+') {
        return if given.is_some() { fill(instead, variables, depth) } else { Some(String::new()) };
    }
    // `${NAME:?message}` insists on a value; anything else of that kind is rare.
    known.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_shells_and_compose_do() {
        let read = parse("# no\nA=1\nexport B = \"x # y\" # z\nC='q'\nD=a b # c\nnothing\nE=\n");
        let expected = [("A", "1"), ("B", "x # y"), ("C", "q"), ("D", "a b"), ("E", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.into(), value.into())).into());
    }

    #[test]
    fn variables_are_filled_in() {
        let variables = parse("TAG=17\nEMPTY=\n");
        let fill = |text: &str| interpolate(text, &variables);
        for (text, filled) in [
            ("postgres:$TAG", "postgres:17"),
            ("postgres:${TAG}-alpine", "postgres:17-alpine"),
            ("${NO:-16}${EMPTY:-x}${EMPTY-y}${NO-z}", "16xz"),
            ("a$$b$", "a$b$"),
            ("${TAG:?set it}", "17"),
            ("${NO:-${EMPTY:-${TAG}-x}}y", "17-xy"),
            ("${TAG:+a}${NO:+b}${EMPTY+c}${EMPTY:+d}", "ac"),
            ("é${", "é${"),
        ] {
            assert_eq!(fill(text).as_deref(), Some(filled), "{text}");
        }
        let long = Variables::from([("A".into(), "x".repeat(1 << 20))]);
        assert_eq!(interpolate(&"$A".repeat(1 << 20), &long), None);
        assert_eq!((fill("${NO}"), fill("$NO"), fill("${NO:-${ALSO_NO}}")), (None, None, None));
        assert_eq!(interpolate(&"${A:-".repeat(1 << 18), &variables), None);
        let deep = format!("{}x{}", "${A:-".repeat(100), "}".repeat(100));
        assert_eq!(interpolate(&deep, &variables), None);
    }

    #[test]
    fn values_are_filled_in_from_the_lines_before() {
        let read = filled("A=1\nB=${A}2\nC='$A'\nD=$NO\n", &Variables::new());
        let expected = [("A", "1"), ("B", "12"), ("C", "$A"), ("D", "$NO")];
        assert_eq!(read, expected.map(|(name, value)| (name.into(), value.into())).into());
        let long = format!(
            "A={}\n{}",
            "x".repeat(4000),
            (0..10_000).map(|n| format!("B{n}=$A\n")).collect::<String>()
        );
        assert!(filled(&long, &Variables::new()).values().map(String::len).sum::<usize>() < 2 << 20);
    }
}
