//! Settings in Python: Django's `DATABASES`, and URLs in quotes, as SQLAlchemy's.

use super::{Hint, purpose, told};
use crate::init::dotenv::Variables;
use crate::init::{Findings, url};

/// How long a mapping of one database may be, in bytes.
const MOST: usize = 4 << 10;

pub(super) fn read(file: &str, text: &str, known: &Variables) -> Findings {
    let mut findings = Findings::default();
    let mut offset = 0;
    for (index, line) in text.lines().enumerate() {
        let start = offset;
        offset += line.len() + 1;
        let code = line.trim_start();
        if code.starts_with('#') || code.starts_with(';') {
            continue;
        }
        let hint = |what| Hint { file, line: index + 1, what, purpose: purpose(file, "") };
        if let Some(at) = line.find("'ENGINE'").or_else(|| line.find("\"ENGINE\"")) {
            let from = text.get(start + at..).unwrap_or_default();
            let Some(engine) = value(from, "ENGINE", known).as_deref().and_then(url::engine) else {
                continue;
            };
            let inner = own_part(from);
            let get = |key: &str| value(&inner, key, known);
            let has_password = inner.contains("PASSWORD");
            let told = told(engine, get("USER").as_deref(), get("NAME").as_deref(), has_password);
            hint("DATABASES").take(told, &mut findings);
        } else if line.contains("://") {
            // `sqlalchemy.url = postgresql://...` has no quotes.
            let bare = line.split_once('=').map(|(_, value)| value.trim());
            let told = line.split(['"', '\'']).chain(bare).find_map(url::read);
            if let Some(told) = told.filter(|told| told.engine.is_ok()) {
                hint("URL").take(told, &mut findings);
            }
        }
    }
    findings
}

/// What stands in the same mapping behind a key, without the mappings in it.
fn own_part(text: &str) -> String {
    let mut depth = 0_i32;
    let mut own = String::new();
    for c in text.chars().take(MOST) {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            c if depth == 0 => own.push(c),
            _ => {}
        }
    }
    own
}

/// The value of a key, as far as it is a text, or the default of an environment variable.
fn value(text: &str, key: &str, known: &Variables) -> Option<String> {
    let after = ['\'', '"'].iter().find_map(|quote| text.split_once(&format!("{quote}{key}{quote}")))?.1;
    let value = after.split_once(':')?.1.trim_start();
    let mut depth = 0_i32;
    let end = value.find(|c: char| {
        depth += i32::from(c == '(' || c == '[') - i32::from(c == ')' || c == ']');
        (c == ',' || c == '\n') && depth <= 0 || depth < 0
    });
    let value = value.get(..end.unwrap_or(value.len()))?.trim();
    let texts: Vec<&str> = value.split(['"', '\'']).skip(1).step_by(2).collect();
    match texts.as_slice() {
        [one] if value.starts_with(['"', '\'']) => Some((*one).to_owned()),
        [name, ..] if known.contains_key(*name) => known.get(*name).cloned(),
        [_, default] => Some((*default).to_owned()),
        _ => None,
    }
}
