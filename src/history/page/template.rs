//! The templates, compiled in, and how a page is made of one.

use anyhow::Context;
use serde::Serialize;
use tera::Tera;

use crate::console::cleaned;

/// Names and texts. Values are escaped where a name ends in `.html`, as all with values do.
const TEMPLATES: [(&str, &str); 10] = [
    ("style.css", include_str!("../../../templates/history/style.css")),
    ("timeline.css", include_str!("../../../templates/history/timeline.css")),
    ("report.css", include_str!("../../../templates/history/report.css")),
    ("page.html", include_str!("../../../templates/history/page.html")),
    ("marks.html", include_str!("../../../templates/history/marks.html")),
    ("facts.html", include_str!("../../../templates/history/facts.html")),
    ("timeline.html", include_str!("../../../templates/history/timeline.html")),
    ("logs.html", include_str!("../../../templates/history/logs.html")),
    ("run.html", include_str!("../../../templates/history/run.html")),
    ("report.html", include_str!("../../../templates/history/report.html")),
];

pub(super) fn fill(name: &str, view: &impl Serialize) -> anyhow::Result<String> {
    let view = cleaned(serde_json::to_value(view)?);
    let mut tera = Tera::new();
    tera.autoescape_on(vec![".html"]);
    tera.add_raw_templates(TEMPLATES).context("reading the templates of the pages")?;
    let context = tera::Context::from_serialize(&view).context("filling a page")?;
    tera.render(name, &context).with_context(|| format!("filling {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_around_the_escaping() {
        for (name, text) in TEMPLATES {
            let has_values = text.contains("{{");
            assert!(!has_values || name.ends_with(".html"), "{name} has values, which nothing escapes there");
            let is_safe = |tag: &str| tag.split(['}', '%']).next().is_some_and(|tag| tag.contains("safe"));
            assert!(!text.split("{{").skip(1).chain(text.split("{%").skip(1)).any(is_safe), "{name}");
        }
    }
}
