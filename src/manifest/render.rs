//! Templates to text: Tera's `{{ ... }}` and Tekton's `$(context.*)` and `$(params.*)` in one pass.
//!
//! The Tekton forms are rewritten into Tera expressions on the same line and then rendered with everything
//! else, so a value that happens to hold `{{` or `$(` is never read as a template. Other `$(NAME)` forms
//! belong to Kubernetes and pass through.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use serde_json::{Map, Value, json};

use super::ours;
use crate::failure::{Advise, Exit};
use crate::run_id::RunId;
pub use crate::template::Template;

/// Template parameters, by name. A dot makes a group: `mysql.memory` is `{{ params.mysql.memory }}`.
pub type Params = BTreeMap<String, String>;

/// Where the project's settings say a thing, such as `testbed.yaml:4: databases.orders.init`: by the name of the
/// parameter or database, the path of the manifest, or the flag.
pub type Places = BTreeMap<String, String>;

/// Whether a parameter can have this name: letters, digits, `_` and `-`, with dots between groups.
pub fn is_param_name(name: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.chars().all(fit) && !name.split('.').any(str::is_empty)
}

/// What a template can refer to.
#[derive(Debug)]
pub struct Variables<'a> {
    /// `context.pipelineRun.uid`
    pub run_id: &'a RunId,
    /// `params.*`
    pub params: &'a Params,
    /// Further top-level variables (those of the built-in templates).
    pub extra: Map<String, Value>,
}

/// Renders one template.
///
/// # Errors
/// A usage error with file, line and name for an undefined variable or a syntax error.
pub fn render(template: &Template, variables: &Variables) -> anyhow::Result<String> {
    render_text(template, variables).exit(Exit::Usage)
}

/// Renders a manifest of the user's: text in which nothing is for testbed stays as it is.
///
/// # Errors
/// As [`render`].
pub fn render_manifest(name: &str, text: &str, variables: &Variables) -> anyhow::Result<String> {
    let Some(parts) = ours::template(text, has_tekton_variables) else { return Ok(text.to_owned()) };
    let rendered = render_as(&Template { name, text, parts: &[] }, &parts, variables).exit(Exit::Usage);
    match rendered {
        Err(error) if !format!("{error:#}").contains("--param") => Err(error.hint(AS_IT_IS)),
        rendered => rendered,
    }
}

const AS_IT_IS: &str = "what is not for testbed in a document with variables of its own is kept by {% raw %} before it and {% endraw %} after it";

fn render_text(template: &Template, variables: &Variables) -> anyhow::Result<String> {
    render_as(template, template.text, variables)
}

/// Renders `text`, which was made from the template's line by line.
fn render_as(template: &Template, text: &str, variables: &Variables) -> anyhow::Result<String> {
    let text = rewrite_tekton_variables(template.name, text, variables.params)?;
    let mut globals = variables.extra.clone();
    globals.insert("context".into(), json!({"pipelineRun": {"uid": variables.run_id.as_str()}}));
    globals.insert("params".into(), nest(variables.params)?);
    template.render(&text, &globals)
}

/// `{"a.b": "c"}` to `{"a": {"b": "c"}}`.
fn nest(params: &Params) -> anyhow::Result<Value> {
    let mut root = Map::new();
    for (name, value) in params {
        let mut groups: Vec<&str> = name.split('.').collect();
        let leaf = groups.pop().unwrap_or_default();
        let mut place = &mut root;
        for group in groups {
            let next = place.entry(group).or_insert_with(|| json!({}));
            let Value::Object(inner) = next else {
                bail!("the parameter {name} needs {group} to be a group, but {group} has a value")
            };
            place = inner;
        }
        if place.insert(leaf.into(), value.as_str().into()).is_some() {
            bail!("the parameter {name} has a value and is a group of parameters as well");
        }
    }
    Ok(Value::Object(root))
}

fn has_tekton_variables(text: &str) -> bool {
    text.match_indices("$(").any(|(at, _)| !text[..at].ends_with('$') && is_ours(&text[at + 2..]))
}

fn rewrite_tekton_variables(name: &str, text: &str, params: &Params) -> anyhow::Result<String> {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some(start) = rest.find("$(") {
            let (before, form) = rest.split_at(start);
            out.push_str(before);
            // `$$(...)` is Kubernetes' escape for a literal `$(...)`.
            let escaped = before.ends_with('$');
            match form.find(')') {
                Some(end) if !escaped && is_ours(&form[2..end]) => {
                    let expression = expression(&form[2..end], params);
                    out.push_str(&expression.map_err(|why| anyhow!("{name}:{}: {why}", index + 1))?);
                    rest = &form[end + 1..];
                }
                _ => {
                    out.push_str("$(");
                    rest = &form[2..];
                }
            }
        }
        out.push_str(rest);
    }
    Ok(out)
}

fn is_ours(name: &str) -> bool {
    ["context.", "params.", "params["].iter().any(|prefix| name.starts_with(prefix))
}

/// The Tera expression for a Tekton variable, or why there is none.
fn expression(name: &str, params: &Params) -> Result<String, String> {
    if name == "context.pipelineRun.uid" {
        return Ok("{{ context.pipelineRun.uid }}".into());
    }
    if name.starts_with("context.") {
        return Err(format!(
            "$({name}) is not defined; of Tekton's context, context.pipelineRun.uid (the run id) is known here"
        ));
    }
    let param = name
        .strip_prefix("params.")
        .or_else(|| {
            let quoted = name.strip_prefix("params[")?.strip_suffix(']')?;
            ['"', '\''].iter().find_map(|quote| quoted.strip_prefix(*quote)?.strip_suffix(*quote))
        })
        .ok_or_else(|| format!("$({name}) is not a parameter; write $(params.NAME)"))?;
    if !params.contains_key(param) {
        return Err(format!("$({name}) is not defined; pass --param {param}=VALUE"));
    }
    let path: String = param.split('.').map(|part| format!("[{}]", Value::from(part))).collect();
    Ok(format!("{{{{ params{path} }}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, params: &[(&str, &str)]) -> anyhow::Result<String> {
        let run_id = RunId::parse("run-1")?;
        let params: Params = params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let variables = Variables { run_id: &run_id, params: &params, extra: Map::new() };
        render(&Template { name: "m.yaml", text, parts: &[] }, &variables)
    }

    fn error(text: &str, params: &[(&str, &str)]) -> String {
        format!("{:#}", rendered(text, params).unwrap_err())
    }

    #[test]
    fn all_three_spellings_of_a_variable_render() {
        let text = "a: {{ context.pipelineRun.uid }}\nb: mysql-$(context.pipelineRun.uid)\nc: $(params.x) $(params[\"x\"]) $(params['y-z'])\n";
        assert_eq!(
            rendered(text, &[("x", "1"), ("y-z", "2")]).unwrap(),
            "a: run-1\nb: mysql-run-1\nc: 1 1 2\n"
        );
    }

    #[test]
    fn kubernetes_own_variables_pass_through() {
        let text = "command: [sh, -c, 'echo $(POD_NAME) $$(params.x) $(date) $( params.x']\n";
        assert_eq!(rendered(text, &[]).unwrap(), text);
    }

    #[test]
    fn a_value_is_never_read_as_a_template() {
        assert_eq!(
            rendered("a: $(params.x)", &[("x", "{{ params.y }} $(params.y)")]).unwrap(),
            "a: {{ params.y }} $(params.y)"
        );
    }

    #[test]
    fn undefined_variables_name_file_line_and_variable() {
        assert_eq!(
            error("a: 1\nb: $(params.size)\n", &[]),
            "m.yaml:2: $(params.size) is not defined; pass --param size=VALUE"
        );
        assert!(
            error("$(context.taskRun.name)", &[])
                .contains("m.yaml:1: $(context.taskRun.name) is not defined")
        );
        let tera = error("a: 1\n\nb: {{ params.size }}\n", &[]);
        assert_eq!(
            tera,
            "m.yaml:3: params.size is not defined; pass --param size=VALUE, in: b: {{ params.size }}"
        );
        let tera = error("a: {{ contxt.uid }}\n", &[]);
        assert!(tera.starts_with("m.yaml:1: ") && tera.contains("contxt"), "{tera}");
    }

    #[test]
    fn syntax_errors_and_unknown_filters_name_file_and_line() {
        assert!(error("a: 1\nb: {{ x\n", &[]).starts_with("m.yaml:"));
        assert!(error("a: 1\nb: {{ 'x' | shout }}\n", &[]).starts_with("m.yaml:2: "));
    }

    #[test]
    fn params_group_by_dots() {
        assert_eq!(rendered("{{ params.a.b }}$(params.a.b)", &[("a.b", "1")]).unwrap(), "11");
        assert!(error("", &[("a", "1"), ("a.b", "2")]).contains("a.b"));
    }

    #[test]
    fn quote_makes_any_text_a_yaml_scalar() {
        let text = rendered("p: {{ params.p | quote }}", &[("p", "yes: \"x\" # \\ 'y'")]).unwrap();
        let value = crate::yaml::Node::parse("m.yaml", &text).unwrap().typed();
        assert_eq!(value["p"], "yes: \"x\" # \\ 'y'");
    }
}
