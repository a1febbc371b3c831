//! Settings in Python: Django's `DATABASES`, and URLs in quotes, as SQLAlchemy's.

use super::{Hint, purpose, told};
use crate::init::dotenv::Variables;
use crate::init::{Findings, Read, url};

/// How long a mapping of one database may be, in bytes.
const MOST: usize = 4 << 10;

pub(super) fn read(file: &str, text: &str, known: &Variables, _: Read) -> Findings {
    let mut findings = Findings::default();
    let plain = without_comments(text);
    let mut offset = 0;
    for ((index, line), code) in text.lines().enumerate().zip(plain.lines()) {
        let start = offset;
        offset += code.len() + 1;
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let hint = |what| Hint { file, line: index + 1, what, purpose: purpose(file, "") };
        if let Some(at) = code.find("'ENGINE'").or_else(|| code.find("\"ENGINE\"")) {
            let inner = mapping(&plain, start + at);
            let Some(engine) = value(&inner, "ENGINE", known).as_deref().and_then(url::engine) else {
                continue;
            };
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

/// The text without what follows `#` outside of quotes, line by line.
fn without_comments(text: &str) -> String {
    let code = |line: &str| -> String {
        let mut quote = None;
        let is_code = |c: &char| {
            match (quote, *c) {
                (None, '"' | '\'') => quote = Some(*c),
                (Some(open), c) if open == c => quote = None,
                _ => {}
            }
            quote.is_some() || *c != '#'
        };
        line.chars().take_while(is_code).chain(['\n']).collect()
    };
    text.lines().map(code).collect()
}

/// What stands in the mapping around a place, without the mappings in it.
fn mapping(text: &str, at: usize) -> String {
    let (before, after) = text.split_at(at);
    let before: String = own_part(before.chars().rev(), '}', '{').chars().rev().collect();
    before + &own_part(after.chars(), '{', '}')
}

/// What stands up to the end of a mapping, without the mappings in it.
fn own_part(text: impl Iterator<Item = char>, opens: char, closes: char) -> String {
    let mut depth = 0_i32;
    let mut own = String::new();
    for c in text.take(MOST) {
        match c {
            c if c == opens => depth += 1,
            c if c == closes && depth == 0 => break,
            c if c == closes => depth -= 1,
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
