//! Tera, as manifests and templates for the config file use it: two filters of testbed's own, and errors with
//! file and line.

pub mod apart;

use std::io::{Error, ErrorKind, Write};

use anyhow::{anyhow, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tera::{Context, Kwargs, State, Tera};

/// The most that a rendered text may have, in bytes.
pub const MOST: usize = 16 << 20;

/// How much of a line an error shows, in characters.
const SHOWN: usize = 200;

/// A template and the name that errors call it by.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    /// The file's path, or what stands for it.
    pub name: &'a str,
    pub text: &'a str,
    /// Names and texts of what it may include.
    pub parts: &'a [(&'a str, &'a str)],
}

impl Template<'_> {
    /// Parses `text`, which is the template's or was made from it line by line.
    ///
    /// # Errors
    /// A syntax error with file and line.
    pub fn parse(&self, text: &str) -> anyhow::Result<Tera> {
        let mut tera = Tera::new();
        // What a file's name ends in changes nothing: a password in an .xml file is escaped where the
        // template says so.
        tera.autoescape_on(Vec::<&str>::new());
        tera.register_filter("quote", quote);
        tera.register_filter("urlencode", urlencode);
        tera.add_raw_templates(self.parts.iter().copied().chain([(self.name, text)]))
            .map_err(|error| self.explain(&error))?;
        Ok(tera)
    }

    /// Renders `text`, which comes from outside, over the fields of `globals`.
    ///
    /// # Errors
    /// As [`Template::parse`]; also an undefined variable, an operation that does not fit a value, and what
    /// takes too long or grows too large.
    pub fn render(&self, text: &str, globals: &impl Serialize) -> anyhow::Result<String> {
        // Templates with parts are testbed's own. In a unit test, this program is another one.
        if cfg!(test) || !self.parts.is_empty() || apart::is_simple(text) {
            return self.render_here(text, globals);
        }
        apart::render(self, text, &serde_json::to_value(globals)?)
    }

    /// The same for testbed's own templates, whose time and memory are known. Only the text's length is
    /// bounded.
    pub fn render_here(&self, text: &str, globals: &impl Serialize) -> anyhow::Result<String> {
        let tera = self.parse(text)?;
        let context = Context::from_serialize(globals).map_err(|error| self.explain(&error))?;
        let mut rendered = Bounded(Vec::new());
        let outcome = tera.render_to(self.name, &context, &mut rendered);
        if rendered.0.len() > MOST {
            bail!("{}: the rendered text has more than {} MiB", self.name, MOST >> 20);
        }
        outcome.map_err(|error| self.explain(&error))?;
        Ok(String::from_utf8(rendered.0)?)
    }

    /// `FILE:LINE: what, in: the line as written`.
    fn explain(&self, error: &tera::Error) -> anyhow::Error {
        use tera::ErrorKind::{RenderingError, SyntaxError};
        let (line, message) = match error.kind() {
            SyntaxError(report) | RenderingError(report) => {
                (report.span().start_line, report.message().to_owned())
            }
            _ => match located(self.name, &error.to_string()) {
                Some(located) => located,
                None => return anyhow!("{}: {error}", self.name),
            },
        };
        let written = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
        let written: String = written.chars().take(SHOWN).collect();
        anyhow!("{}:{line}: {}, in: {written}", self.name, reworded(message.trim_end_matches('.'), &written))
    }
}

/// Takes what is rendered, and no more of it than it may have.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = (MOST + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room { Err(Error::from(ErrorKind::FileTooLarge)) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Tera's message, with the flag that would help and without the value that did not fit: it may be a
/// password.
fn reworded(message: &str, written: &str) -> String {
    if let Some(text) = undefined(message, written) {
        return text;
    }
    match message.strip_prefix("The string `").and_then(|rest| rest.rsplit_once("` ")) {
        Some((_, why)) => format!("the text {why}"),
        None => message.to_owned(),
    }
}

/// "Field `x` is not defined. Available fields: b, a", and the same of a variable.
fn undefined(message: &str, written: &str) -> Option<String> {
    let kinds = [("Field `", "field"), ("Variable `", "variable")];
    let (kind, rest) = kinds.iter().find_map(|(prefix, kind)| Some((kind, message.strip_prefix(prefix)?)))?;
    let (name, rest) = rest.split_once("` is not defined")?;
    let param = format!("params.{name}");
    if written.contains(&param) {
        return Some(format!("{param} is not defined; pass --param {name}=VALUE"));
    }
    let mut known: Vec<&str> =
        rest.split_once(": ").map(|(_, names)| names.split(", ").collect()).unwrap_or_default();
    // Tera's maps have no order.
    known.sort_unstable();
    let known = if known.is_empty() { String::new() } else { format!("; known are {}", known.join(", ")) };
    Some(format!("the {kind} {name} is not defined{known}"))
}

/// Line and message of an error that tells its place in its text only: `error: MESSAGE`, then `-->
/// FILE:LINE:COLUMN`.
fn located(name: &str, text: &str) -> Option<(usize, String)> {
    let mut lines = text.lines();
    let message = lines.next()?.trim_start_matches("error: ").to_owned();
    let place = lines.find_map(|line| line.trim_start().strip_prefix("--> "))?;
    let line = place.strip_prefix(name)?.strip_prefix(':')?.split(':').next()?.parse().ok()?;
    Some((line, message))
}

/// The filter `quote`: any text as a YAML scalar (a JSON string is one), so that quotes, colons and leading
/// zeros survive.
fn quote(value: String, _: Kwargs, _: &State) -> String {
    Value::String(value).to_string()
}

/// The filter `urlencode`: any text as the user, the password or a path's segment of a URL.
fn urlencode(value: String, _: Kwargs, _: &State) -> String {
    url_encoded(&value)
}

/// Everything but the unreserved characters of RFC 3986 is escaped: drivers differ in what else they take.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub fn url_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(name: &str, text: &str) -> anyhow::Result<String> {
        Template { name, text, parts: &[] }.render(text, &json!({"password": "<hu.sh>"}))
    }

    #[test]
    fn nothing_is_escaped_by_a_files_name() {
        assert_eq!(rendered("settings.xml", "{{ password }}").unwrap(), "<hu.sh>");
    }

    #[test]
    fn what_is_undefined_is_told_with_what_there_is() {
        let template = Template { name: "t", text: "", parts: &[] };
        let globals = json!({"params": {"b": 1, "a": 2}, "run": {"x": 1, "w": 2}});
        for (text, expected) in [
            ("{{ run.y }}", "t:1: the field y is not defined; known are w, x"),
            ("{{ ran.y }}", "t:1: the variable ran is not defined; known are params, run"),
            ("{{ params.c }}", "t:1: params.c is not defined; pass --param c=VALUE"),
        ] {
            let template = Template { text, ..template.clone() };
            let error = format!("{:#}", template.render(text, &globals).unwrap_err());
            assert_eq!(error, format!("{expected}, in: {text}"));
        }
    }

    #[test]
    fn a_value_that_does_not_fit_stays_out_of_the_error() {
        for filter in ["int", "float", "upper | int"] {
            let error =
                format!("{:#}", rendered("t", &format!("\n{{{{ password | {filter} }}}}")).unwrap_err());
            assert!(error.starts_with("t:2: the text cannot be converted to a"), "{error}");
            assert!(!error.to_lowercase().contains("hu.sh"), "{error}");
        }
    }
}
