//! What of a manifest's text is for testbed. A document in which nothing is of ours is no template: scripts,
//! dashboards and comments are full of `{{`, `${#` and the like, which mean something to others.

use std::collections::BTreeSet;

use super::parse;

/// The variables of a manifest.
const VARIABLES: [&str; 3] = ["context", "params", "generated_password"];
/// Those of other templates of testbed's, which somebody may take for a manifest's.
const ELSEWHERE: [&str; 1] = ["run_id"];
const FUNCTIONS: [&str; 2] = ["range", "throw"];
/// Tags of which the names in them tell nothing.
const NAMELESS: [&str; 4] = ["raw", "macro", "component", "filter"];
/// How like one of our names another has to be for a slip, by the measure of `strsim`.
const SLIP: f64 = 0.93;
const OPENINGS: [&str; 3] = ["{{", "{%", "{#"];

/// The text as a template, in which whatever is not for testbed stands for itself; `None` where nothing in
/// it is. `is_ours` tells what else a document may have of ours.
pub fn template(text: &str, is_ours: impl Fn(&str) -> bool) -> Option<String> {
    let mut known = Known::default();
    let mut out = String::with_capacity(text.len());
    let mut is_template = false;
    for (_, document) in parse::pieces(text) {
        // A block may hold several documents.
        let is_ours = !known.open.is_empty() || is_ours(document);
        if !known.read(document, is_ours) {
            escape(document, &mut out);
            continue;
        }
        is_template = true;
        let is_raw = document.contains("{% raw");
        for line in document.split_inclusive('\n') {
            // Tags may hide in comments, so that editors take the template for YAML.
            let is_comment = line.trim_start().starts_with('#') && !line.contains("{%");
            match is_comment && !known.have_in(line) {
                _ if is_raw => out.push_str(line),
                true => escape(line, &mut out),
                false => escape_lengths(line, &mut out),
            }
        }
    }
    is_template.then_some(out)
}

/// What the text has defined so far.
#[derive(Default)]
struct Known<'a> {
    names: BTreeSet<&'a str>,
    /// The blocks that have not ended: whether each is ours.
    open: Vec<bool>,
    /// Names that blocks over nobody's names define, which are known if the document is a template.
    doubtful: Vec<&'a str>,
}

impl<'a> Known<'a> {
    /// Whether a text is a template, because it uses something of ours or `is_ours` anyway. What its blocks define
    /// is known from there on.
    fn read(&mut self, text: &'a str, is_ours: bool) -> bool {
        let mut found = is_ours || self.have_in(text) || lines_begin_with_a_comment(text);
        self.doubtful.clear();
        for (before, tag) in between(text, "{%", "%}") {
            found |= self.tag(tag, begins_a_line(text, before));
        }
        // Only a template's block goes on in the next document.
        found |= !self.open.is_empty();
        // Once the names of all blocks are known.
        found = found || self.have_in(text);
        if found {
            self.open.fill(true);
            self.names.extend(self.doubtful.drain(..));
        }
        found
    }

    /// Whether a variable of ours is in a text.
    fn have_in(&self, text: &str) -> bool {
        between(text, "{{", "}}").any(|(_, expression)| self.have(expression))
    }

    /// Whether a tag is ours. One without any name may be anybody's, but where it begins a line there is no YAML that
    /// it could be a part of.
    fn tag(&mut self, tag: &'a str, begins_a_line: bool) -> bool {
        let tag = tag.trim_matches(['-', ' ', '\t', '\n', '\r']);
        let (word, rest) = tag.split_at(tag.find(|c: char| !is_name(c)).unwrap_or(tag.len()));
        let (defined, expression) = match word {
            "set" | "set_global" => rest.split_once('=').unwrap_or((rest, "")),
            "for" => rest.split_once(" in ").unwrap_or((rest, "")),
            "macro" | "component" => (rest.split('(').next().unwrap_or_default(), ""),
            "if" | "elif" | "filter" | "raw" | "block" | "include" | "import" => ("", rest),
            "break" | "continue" | "else" => return self.open.last() == Some(&true),
            word if word.starts_with("end") => return self.open.pop() == Some(true),
            _ => return false,
        };
        if expression.trim().is_empty() && ["if", "elif", "for"].contains(&word) {
            return false;
        }
        let is_doubtful = names(expression).next().is_none() || NAMELESS.contains(&word);
        let is_ours = self.have(expression) || (is_doubtful && begins_a_line);
        if is_ours || is_doubtful {
            let names = names(defined).map(|(name, _)| name).chain((word == "for").then_some("loop"));
            if is_ours {
                self.names.extend(names);
            } else {
                self.doubtful.extend(names);
            }
            let has_no_end = ["elif", "include", "import"].contains(&word)
                || (word.starts_with("set") && rest.contains('='));
            if !has_no_end {
                self.open.push(is_ours);
            }
        }
        is_ours
    }

    fn have(&self, expression: &str) -> bool {
        // Handlebars' blocks and comments.
        !expression.starts_with(['#', '/', '>', '!', '^', '&', '{'])
            && names(expression).any(|(name, is_called)| {
                let mut known = VARIABLES.iter().chain(&ELSEWHERE);
                self.names.contains(name)
                    || (is_called && FUNCTIONS.contains(&name))
                    || known.any(|known| {
                        name.len().abs_diff(known.len()) <= 2 && strsim::jaro(known, name) > SLIP
                    })
            })
    }
}

/// The names that stand for something in an expression, and whether each is called: no fields, filters, words
/// of texts or other languages' variables.
fn names(expression: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut quote = None;
    let mut start = None;
    let mut found = Vec::new();
    for (at, c) in expression.char_indices().chain([(expression.len(), ' ')]) {
        match (quote, start) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, None) if "\"'`".contains(c) => quote = Some(c),
            (None, None) if is_name(c) => start = Some(at),
            (None, Some(began)) if !is_name(c) => {
                start = None;
                quote = "\"'`".contains(c).then_some(c);
                let (before, after) = (&expression[..began], &expression[at..]);
                let is_part = before.ends_with(['.', '$', '-'])
                    || before.trim_end().ends_with('|')
                    || (after.starts_with('-') && after[1..].starts_with(is_name));
                let name = &expression[began..at];
                if !is_part && !name.starts_with(|c: char| c.is_ascii_digit()) && !WORDS.contains(&name) {
                    found.push((name, after.starts_with('(')));
                }
            }
            _ => {}
        }
    }
    found.into_iter()
}

/// Tera's own words, which name nothing.
const WORDS: [&str; 11] = ["true", "false", "none", "not", "and", "or", "in", "is", "if", "else", "defined"];

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What stands between each of these pairs, and where that begins; up to the line's end where the second is missing.
/// Nothing is looked at twice, however long the text.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let mut at = 0;
    let mut is_closed = true;
    std::iter::from_fn(move || {
        let begin = at + text[at..].find(open)?;
        let inside = &text[begin + open.len()..];
        let end = if is_closed { inside.find(close) } else { None };
        is_closed = end.is_some();
        let end = end.or_else(|| inside.find('\n')).unwrap_or(inside.len());
        at = begin + open.len() + end;
        Some((begin, &inside[..end]))
    })
}

/// Whether nothing but the mark of a comment stands before this on its line.
fn begins_a_line(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches(['#', ' ', '\t']);
    let is_line = before.is_empty() || before.ends_with('\n');
    is_line && (before.len() == at || text[before.len()..].starts_with('#'))
}

/// Whether a comment of Tera's is where there is no YAML that it could be a part of.
fn lines_begin_with_a_comment(text: &str) -> bool {
    let end = text.rfind("#}").unwrap_or_default();
    let begins = |at: usize| at < end && (at == 0 || text[..at].ends_with('\n'));
    text.match_indices("{#").any(|(at, _)| begins(at) && text[at + 2..].starts_with([' ', '-', '\n']))
}

/// A shell's `${#`, the length of something, begins no comment: all up to the next one's `#}` would be lost.
fn escape_lengths(line: &str, out: &mut String) {
    let mut done = 0;
    for (at, _) in line.match_indices("${#") {
        let before = &line[..=at];
        if before.rfind("{{") <= before.rfind("}}") {
            out.push_str(&line[done..=at]);
            escape("{#", out);
            done = at + "${#".len();
        }
    }
    out.push_str(&line[done..]);
}

fn escape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, here) = rest.split_at(at);
        out.push_str(before);
        rest = match OPENINGS.iter().find(|opening| here.starts_with(**opening)) {
            Some(opening) => {
                out.push_str(&format!("{{{{ \"{opening}\" }}}}"));
                &here[opening.len()..]
            }
            None => {
                out.push('{');
                &here[1..]
            }
        };
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_template(text: &str) -> bool {
        template(text, |_| false).is_some()
    }

    #[test]
    fn what_is_for_others_makes_no_template() {
        for text in [
            "for i in $(seq ${#A[@]}); do echo; done",
            "# size={{containerMemoryLimit * 3/4}}",
            "legendFormat: '{{instance}} {{ $labels.job }} {{ .context.x }}'",
            "summary: \"{{ range .Alerts }}{{ .params.x }}{{ end }}\"",
            "args: ['{{inputs.parameters.x}}', '{{workflow-params}}', '{{params-x}}']",
            "{{- if .Values.x }}{{ include \"context\" . | quote }}",
            "{{#if params}}{{/if}}",
            "printf '{%s}' x; date +{%Y}",
            "{% if grains['os'] == 'x' %}{{ salt.y }}{% endif %}",
            "{% for item in items %}{{ item }}{% endfor %}",
            "${{ secrets.X }} {{ 'params' }}",
            "a{#b}",
            "data:\n  a: |\n    {# managed by ansible #}\n",
            "data: {a: '{% raw %}{{ instance }}{% endraw %}'}",
            "data:\n  a: |\n    {% set x = \"a\" %}\n    {{ x }}\n",
            "  {% if true %}x{% else %}y{% endif %}",
            "  {% for n in [1, 2] %}{{ n }}{{ loop.index }}{% endfor %}",
            "  {% filter upper %}x{% endfilter %}",
            "  {% macro m(a) %}{{ a }}{% endmacro %}",
        ] {
            assert!(!is_template(text), "{text}");
        }
    }

    #[test]
    fn a_long_text_takes_a_moment() {
        for part in ["{{", "{%", "{# ", "{{ a }}\n", "# {{\n", "{{ aaaa"] {
            let text = part.repeat((1 << 20) / part.len());
            let began = crate::deadline::worked();
            assert!(!is_template(&text), "{part}");
            let took = crate::deadline::worked() - began;
            assert!(took.as_secs() < 8, "{part}: {took:?}");
        }
    }

    #[test]
    fn what_is_ours_makes_one() {
        for text in [
            "{{ context.pipelineRun.uid }}",
            "{{context.pipelineRun.uid}}",
            "{{ (params.x | int) * 2 }}",
            "{{ \"a\" ~ params['x'] }}",
            "{{- generated_password | quote -}}",
            "{{ contxt.uid }}",
            "{{ param.x }}",
            "{{ run_id }}",
            "{{ params.x",
            "{% for i in range(end=3) %}",
            "{% set x = 'a' %}\na: {{ x }}",
            "{%- if not params.x is defined %}",
            "  {% raw %}{{ params.x }}{% endraw %}",
            "{# comment #}\na: b",
            "# {% if true %}\na: b\n# {% endif %}",
            "  {% for n in ['a'] %}\n---\na: {{ n }}\n  {% endfor %}",
        ] {
            assert!(is_template(text), "{text}");
        }
        let several = "{% for n in ['a'] %}\na: {{ loop.index }}\n---\nb: {{ n }}\n---\nc: {{ m }}\n{% endfor %}\n---\n";
        assert_eq!(template(several, |_| false).unwrap(), several);
        let script = "a: {{ run_id }}\nb: |\n  if [ ${#} -gt 0 ]; then echo ${#A[@]} {{ run_id ~ \"${#\" }}; fi\n  {# all of ${#} #}\n";
        assert_eq!(
            template(script, |_| false).unwrap(),
            "a: {{ run_id }}\nb: |\n  if [ ${{ \"{#\" }}} -gt 0 ]; then echo ${{ \"{#\" }}A[@]} {{ run_id ~ \"${#\" }}; fi\n  {# all of ${{ \"{#\" }}} #}\n"
        );
        assert_eq!(
            template("a: {{ run_id }} # {{ x }}\n# {{ y }}\n---\nb: {{z}} ${#A[@]} {%{{%", |_| false)
                .unwrap(),
            "a: {{ run_id }} # {{ x }}\n# {{ \"{{\" }} y }}\n---\nb: {{ \"{{\" }}z}} ${{ \"{#\" }}A[@]} {{ \"{%\" }}{{ \"{{\" }}%"
        );
    }
}
