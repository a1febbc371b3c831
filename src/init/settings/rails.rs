//! Rails' `config/database.yml`, whose values may be Ruby.

use super::{Hint, purpose, told};
use crate::init::dotenv::Variables;
use crate::init::{Findings, url};
use crate::yaml::Node;

pub(super) fn read(file: &str, text: &str, known: &Variables) -> Findings {
    let mut findings = Findings::default();
    let root = match Node::parse(file, &without_ruby(text, known)) {
        Ok(root) => root.merged(),
        Err(error) => {
            findings.notes.push(format!("{error:#}"));
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

/// Of `ENV.fetch("A") { "b" }`, `ENV.fetch("A", "b")` and `ENV["A"] || "b"` what there is of A, else b.
fn default(code: &str, known: &Variables) -> Option<String> {
    if !code.contains("ENV") || code.contains('\n') {
        return None;
    }
    let parts: Vec<&str> = code.split(['"', '\'']).collect();
    let name = *parts.get(1)?;
    let plain = |text: &str| !text.contains(['#', '"', '\'', '\n']);
    known
        .get(name)
        .cloned()
        .or_else(|| parts.get(3).map(|text| (*text).to_owned()))
        .or_else(|| {
            let inner = code.split_once('{')?.1.split_once('}')?.0.trim();
            Some(inner.to_owned())
        })
        .filter(|text| plain(text) && !text.is_empty())
}
