//! Texts that show what is in them: without a terminal's colours, and with what is invisible made visible.

use serde_json::Value;

/// Characters that turn the order of others around, so that a line reads as something else than it says.
/// Beside them, what some programs take for a line break.
const MISLEADING: [char; 14] = [
    '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202b}', '\u{202c}',
    '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// The same value with every text of it cleaned, keys excepted: these are the templates' own.
pub fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(values) => values.into_iter().map(cleaned).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, cleaned(value))).collect(),
        other => other,
    }
}

/// Line breaks and tabs stay. A terminal's escape sequences go; other controls and turning characters are
/// spelled out.
pub fn clean(text: &str) -> String {
    if !text.chars().any(|c| is_odd(c) || c == '\r') {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    let text = text.replace("\r\n", "\n");
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => rest = after_sequence(rest.as_str()).chars(),
            c if is_odd(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

fn is_odd(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || MISLEADING.contains(&c)
}

/// What follows an escape sequence, whose first character is gone already: `[`, numbers, and a letter.
fn after_sequence(text: &str) -> &str {
    let Some(rest) = text.strip_prefix('[') else { return text };
    let rest = rest.trim_start_matches(|c| ('\u{20}'..='\u{3f}').contains(&c));
    rest.strip_prefix(|c| ('\u{40}'..='\u{7e}').contains(&c)).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_misleads_is_shown() {
        for (text, shown) in [
            ("a\tb\r\nc größe", "a\tb\nc größe"),
            ("\u{1b}[1;31mERROR\u{1b}[0m: x\u{1b}", "ERROR: x"),
            ("\u{1b}[31", ""),
            ("\u{1b}größe", "größe"),
            ("50%\r100%", "50%\\u{d}100%"),
            ("nul\0 \u{7f}", "nul\\u{0} \\u{7f}"),
            ("file\u{202e}fdp.exe", "file\\u{202e}fdp.exe"),
            ("\u{1b}]0;title\u{7}\u{9b}2J\u{2028}x\u{61c}", "]0;title\\u{7}\\u{9b}2J\\u{2028}x\\u{61c}"),
        ] {
            assert_eq!(clean(text), shown, "{text:?}");
        }
        assert_eq!(
            cleaned(json!({"a": ["\0", 1, null], "b": {"c": "\u{8}"}})),
            json!({"a": ["\\u{0}", 1, null], "b": {"c": "\\u{8}"}})
        );
    }
}
