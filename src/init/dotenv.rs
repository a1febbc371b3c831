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
    let mut rest = text;
    let mut next = 1;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (this, after) = rest.split_once('\n').unwrap_or((rest, ""));
            let (number, whole) = (next, rest);
            (rest, next) = (after, number + 1);
            let Some((name, at)) = named(this) else { continue };
            // In quotes a value may go on for several lines.
            let Some((value, end)) = quoted(&whole[at..]) else {
                return Some((
                    number,
                    name.to_owned(),
                    bare(&this[at..]).to_owned(),
                    !this[at..].starts_with('\''),
                ));
            };
            let fills = whole[at..].starts_with('"');
            if at + end > this.len() {
                let taken = &whole[..at + end];
                next = number + taken.matches('\n').count() + 1;
                rest = whole[taken.len()..].split_once('\n').map_or("", |(_, rest)| rest);
            }
            return Some((number, name.to_owned(), value, fills));
        }
        None
    })
}

/// The name of a line `NAME=VALUE` or `NAME: VALUE`, and where its value begins.
fn named(line: &str) -> Option<(&str, usize)> {
    let at = line.find(['=', ':'])?;
    let name = line[..at].trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let value = &line[at + 1..];
    let is_one = !name.is_empty() && !name.contains(['#', ' ', '\t', '"', '\'']);
    is_one.then(|| (name, line.len() - value.trim_start().len()))
}

/// The value up to its closing quote, and where that ends; `None` without one.
fn quoted(text: &str) -> Option<(String, usize)> {
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).take(LONGEST);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                // It stays one once variables are filled in.
                '$' => value.push_str("$$"),
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    None
}

/// How long a value in quotes may be, in characters.
const LONGEST: usize = 64 << 10;

/// A value without quotes, up to a comment.
fn bare(text: &str) -> &str {
    let comment = text.match_indices('#').map(|(at, _)| at).find(|at| text[..*at].ends_with([' ', '\t']));
    text[..comment.unwrap_or(text.len())].trim()
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
        } else if let Some(after) = after.strip_prefix('{') {
            let (inside, after) = braces(after)?;
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
    // `${NAME:?message}` insists on a value. What cuts or replaces parts of one is rare.
    known.filter(|_| operator.is_empty() || operator.starts_with('?')).cloned()
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
    fn values_end_where_compose_ends_them() {
        let read: Vec<_> = lines(
            "A: b\nB=\"a\\\"b\\\\\" # c\nC=\"1\nD=2\n3\" # x\nE='a\\'\nF=\"é\nG=1\t# t\nno: te: xt\na b: c\n",
        )
        .map(|(line, name, value, _)| format!("{line} {name} {value}"))
        .collect();
        let expected = ["1 A b", "2 B a\"b\\", "3 C 1\nD=2\n3", "6 E a\\", "7 F \"é", "8 G 1", "9 no te: xt"];
        assert_eq!(read, expected);
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
        ] {
            assert_eq!(fill(text).as_deref(), Some(filled), "{text}");
        }
        let long = Variables::from([("A".into(), "x".repeat(1 << 20))]);
        assert_eq!(interpolate(&"$A".repeat(1 << 20), &long), None);
        // A brace that is not closed, and what cuts a value, is nothing to guess about.
        for text in ["é${", "postgres:${TAG:-15", "${TAG#1}", "${TAG%%7}", "${TAG/7/8}", "${TAG:0:1}"] {
            assert_eq!(fill(text), None, "{text}");
        }
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
