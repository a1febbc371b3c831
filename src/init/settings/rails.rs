//! Rails' `config/database.yml`, whose values may be Ruby.

use super::{Hint, purpose, told};
use crate::init::dotenv::Variables;
use crate::init::{Findings, Read, url};
use crate::yaml::Node;

pub(super) fn read(file: &str, text: &str, known: &Variables, _: Read) -> Findings {
    let mut findings = Findings::default();
    let root = match Node::parse(file, &without_ruby(text, known)) {
        Ok(root) => root.merged(),
        Err(error) => {
            // Ruby may choose between parts that are no YAML together.
            let is_chosen = text.match_indices("<%").any(|(at, _)| !text[at..].starts_with("<%="));
            let told = if is_chosen { &mut findings.notes } else { &mut findings.broken };
            told.push(format!("{error:#}"));
            return findings;
        }
    };
    for section in root.entries() {
        let own = [(section.key.as_str(), &section.value)];
        let is_one = |node: &Node| node.get("adapter").is_some() || node.get("url").is_some();
        let several = section.value.entries().iter().map(|entry| (entry.key.as_str(), &entry.value));
        let databases: Vec<(&str, &Node)> =
            own.into_iter().chain(several).filter(|(_, node)| is_one(node)).collect();
        // What only others take over is no section of its own.
        if section.key.starts_with("default") {
            continue;
        }
        for (name, node) in databases {
            let what = if name == section.key { name.to_owned() } else { format!("{}, {name}", section.key) };
            let hint = Hint { file, line: section.line, what: &what, purpose: purpose(file, &section.key) };
            let text = |key: &str| node.get(key).and_then(Node::text);
            let read = text("url").and_then(url::read).or_else(|| {
                let engine = url::engine(text("adapter")?)?;
                Some(told(engine, text("username"), text("database"), text("password").is_some()))
            });
            if let Some(told) = read {
                hint.take(told, &mut findings);
            }
        }
    }
    findings
}

/// The file with what its Ruby stands for, where that can be told: the default of an environment variable.
fn without_ruby(text: &str, known: &Variables) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<%") {
        let Some((code, after)) = after.split_once("%>") else { break };
        filled += before;
        match code.strip_prefix('=') {
            Some(code) => filled += &default(code.trim(), known).unwrap_or_else(|| "$unknown".into()),
            None => filled.extend(std::iter::repeat_n('\n', code.matches('\n').count())),
        }
        rest = after;
    }
    filled + rest
}

/// Of `ENV.fetch("A") { "b" }`, `ENV.fetch("A", "b")` and `ENV["A"] || "b"` what there is of A, else b. Of
/// `ENV["A"]` alone nothing, which is an empty text in Ruby.
fn default(code: &str, known: &Variables) -> Option<String> {
    if !code.contains("ENV") || code.contains('\n') {
        return None;
    }
    let choices = code.split("||").map(|choice| choice.trim().trim_end_matches(".presence"));
    let value = choices.map(|choice| choice_of(choice, known)).find(|value| *value != Some(None));
    let text = value.unwrap_or(Some(Some(String::new())))??;
    (!text.contains(['#', '"', '\'', '\n'])).then_some(text)
}

/// What one side of `||` comes to: `None` if that is not known, and nothing for a variable that is not there.
fn choice_of(choice: &str, known: &Variables) -> Option<Option<String>> {
    let parts: Vec<&str> = choice.split(['"', '\'']).collect();
    let text = |text: &str| Some(Some(text.to_owned()));
    match parts.as_slice() {
        ["", literal, ""] => text(literal),
        ["ENV[", name, "]"] => Some(known.get(*name).cloned()),
        ["ENV.fetch(", name, ..] if known.contains_key(*name) => Some(known.get(*name).cloned()),
        ["ENV.fetch(", _, ")"] => None,
        ["ENV.fetch(", _, _, default, ..] => text(default),
        ["ENV.fetch(", _, block] => text(block.split_once('{')?.1.split_once('}')?.0.trim()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ruby_comes_to_what_it_is_without_variables() {
        let known = [("SET".to_owned(), "given".to_owned())].into();
        for (code, expected) in [
            ("ENV.fetch(\"A\") { \"b\" }", Some("b")),
            ("ENV.fetch('A') { 5 }", Some("5")),
            ("ENV.fetch('A', 'b')", Some("b")),
            ("ENV.fetch('A')", None),
            ("ENV.fetch('SET')", Some("given")),
            ("ENV['A']", Some("")),
            ("ENV['A'] || ENV['B'] || 'c'", Some("c")),
            ("ENV['A'] || ENV['SET'] || 'c'", Some("given")),
            ("ENV['A'].presence || 'c'", Some("c")),
            ("ENV['A'] ? 'b' : 'c'", None),
            ("ENV['A'] || Rails.env", None),
            ("'x'", None),
            ("ENV[", None),
        ] {
            assert_eq!(default(code, &known).as_deref(), expected, "{code}");
        }
    }
}
