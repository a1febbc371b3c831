//! `.env` files, and the `${VARIABLE:-default}` that compose files fill from them.

use std::collections::BTreeMap;

pub type Variables = BTreeMap<String, String>;

/// Reads `NAME=VALUE` lines; what is none is skipped, as it is no concern of ours.
pub fn parse(text: &str) -> Variables {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let quoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote).map(|(inner, _)| inner));
    let bare = || value.split(" #").next().unwrap_or(value).trim_end();
    (!name.is_empty() && !name.starts_with('#'))
        .then(|| (name.to_owned(), quoted.unwrap_or_else(bare).to_owned()))
}

/// The longest text once variables are filled in: a few references to a long one would make it endless.
const MOST: usize = 4 << 10;

/// Fills `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}` and `$$`; `None` where one is unknown.
pub fn interpolate(text: &str, variables: &Variables) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled += before;
        rest = if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            after
        } else if let Some((inside, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}'))
        {
            filled += &value(inside, variables)?;
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

fn value(inside: &str, variables: &Variables) -> Option<String> {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, operator) = inside.split_at(end);
    if operator.contains('$') {
        // A default with a variable of its own: whoever does that knows the value better.
        return None;
    }
    let known = variables.get(name);
    match (operator.strip_prefix(":-"), operator.strip_prefix('-')) {
        (Some(default), _) => {
            Some(known.filter(|value| !value.is_empty()).cloned().unwrap_or_else(|| default.into()))
        }
        (_, Some(default)) => Some(known.cloned().unwrap_or_else(|| default.into())),
        // `${NAME:?message}` insists on a value; anything else of that kind is rare.
        _ => known.cloned(),
    }
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
            ("é${", "é${"),
        ] {
            assert_eq!(fill(text).as_deref(), Some(filled), "{text}");
        }
        let long = Variables::from([("A".into(), "x".repeat(1 << 20))]);
        assert_eq!(interpolate(&"$A".repeat(1 << 20), &long), None);
        assert_eq!((fill("${NO}"), fill("$NO"), fill("${NO:-${TAG}}")), (None, None, None));
    }
}
