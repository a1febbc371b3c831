//! The format `tera:FILE`: a template of the user's own over the [`Model`].

use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};

use super::{Connection, Model, url};
use crate::failure::{Advise, Exit, usage};
use crate::reading;
use crate::redact::Redactor;
use crate::template::Template;

/// A template that has been read and parsed.
#[derive(Debug)]
pub struct OwnTemplate {
    name: String,
    text: String,
}

/// Where no template is: the tokens that a pod gets, and what the system tells of its processes. A link in
/// somebody's checkout would bring them into a file that the tests read.
const NO_TEMPLATES: [&str; 4] = ["/run/secrets", "/var/run/secrets", "/proc", "/sys"];

impl OwnTemplate {
    /// Reads and parses the file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("--format tera: reading the template {}", path.display());
        let found = path.canonicalize().with_context(context).exit(Exit::Usage)?;
        if NO_TEMPLATES.iter().any(|folder| found.starts_with(folder)) {
            return Err(usage(format!(
                "--format tera:{}: {} is no template",
                path.display(),
                found.display()
            )));
        }
        let text = reading::text(path, reading::MOST).with_context(context).exit(Exit::Usage)?;
        let own = Self { name: path.display().to_string(), text };
        own.template().parse(&own.text).exit(Exit::Usage)?;
        Ok(own)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// A usage error with file and line, without a value of the model.
    pub(super) fn render(&self, model: &Model) -> anyhow::Result<String> {
        over(&self.template(), model).exit(Exit::Usage)
    }

    fn template(&self) -> Template<'_> {
        Template { name: &self.name, text: &self.text, parts: &[] }
    }
}

/// Renders a template over the model.
///
/// # Errors
/// As [`Template::render`], without a value of the model.
pub(super) fn over(template: &Template<'_>, model: &Model) -> anyhow::Result<String> {
    let rendered = template.render(template.text, &globals(model)?);
    rendered.map_err(|error| {
        // Tera's messages quote values where an operation does not fit them.
        let told = redactor(model).redact(&format!("{error:#}"));
        match further(&told, model) {
            Some(hint) => anyhow!(told).hint(hint),
            None => anyhow!(told),
        }
    })
}

/// What a further database of a server is called, where its own name is not known.
fn further(error: &str, model: &Model) -> Option<String> {
    let is_meant = |one: &&Connection| {
        let name = one.database.as_deref().unwrap_or_default();
        one.is_further
            && ["field", "variable"]
                .iter()
                .any(|kind| error.contains(&format!("the {kind} {name} is not defined")))
    };
    let found = model.databases.iter().find(is_meant)?;
    Some(format!(
        "a further database goes by its server's name and its own: {{{{ {}.url }}}}",
        word(&found.name)
    ))
}

/// A database's name as a variable's.
fn word(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// What a template can refer to: the fields of the model, each database by its name in `database`, and by its
/// name alone, with `_` for what no variable's name has. A name that two databases have stands for neither.
fn globals(model: &Model) -> anyhow::Result<Map<String, Value>> {
    let names = model.names();
    let unique = |name: &str, of: &dyn Fn(&str) -> String| {
        names.iter().filter(|other| of(other) == of(name)).count() == 1
    };
    let mut globals = Map::new();
    let mut by_name = Map::new();
    for connection in &model.databases {
        let name = connection.name.as_str();
        if unique(name, &str::to_owned) {
            by_name.insert(name.to_owned(), json!(connection));
        }
        if unique(name, &word) {
            globals.insert(word(name), json!(connection));
        }
    }
    // A database called like one of these is in `database` only.
    if let Value::Object(fields) = serde_json::to_value(model)? {
        globals.extend(fields);
    }
    globals.insert("database".into(), by_name.into());
    Ok(globals)
}

fn redactor(model: &Model) -> Redactor {
    let mut redactor = Redactor::new(&model.run_id);
    for connection in &model.databases {
        for password in connection.password.iter().filter(|password| !password.is_empty()) {
            redactor.add(password);
            redactor.add(&url::escape(password));
        }
        // An argument that was added may be a secret as well.
        for (name, value) in &connection.arguments {
            value.as_str().into_iter().for_each(|value| redactor.add_variable(name, value));
        }
    }
    redactor
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed, model, named};
    use super::*;
    use crate::database::{Engine, Password};
    use crate::failure::exit_of;

    fn render(text: &str, model: &Model) -> anyhow::Result<String> {
        OwnTemplate { name: "t.tera".into(), text: text.into() }.render(model)
    }

    #[test]
    fn a_template_sees_the_run_its_databases_and_each_by_name() {
        let model = mixed(&[&named(Engine::Postgres, "orders"), &named(Engine::Mysql, "my-shop")]);
        let text = "{{ run_id }}\n{% for d in databases %}{{ d.name }} {{ d.port }} {{ d.arguments.user | default(value='-') }}\n{% endfor %}\
                    {{ database.orders.password | quote }} {{ database['my-shop'].url }} [{{ database.sqlite.host }}]\n";
        let expected = "run-1\nsqlite  -\norders 5432 striv\nmy-shop 3306 striv\n\
                        \"p\\\"w\" mysql://striv:p%22w@my-shop-run-1:3306/striv_test []\n";
        assert_eq!(render(text, &model).unwrap(), expected);
    }

    #[test]
    fn undefined_fields_name_file_and_line() {
        let model = model(&[&database(Engine::Mysql)]);
        for (text, part) in [
            (
                "\n{{ database.orders.url }}",
                "t.tera:2: the field orders is not defined; known are mysql, in: ",
            ),
            (
                "\n{{ database.mysql.urll }}",
                "t.tera:2: the field urll is not defined; known are arguments, ca, database, driver, ",
            ),
            ("\n{{ params.x }}", "t.tera:2: "),
            ("{% for d in databases %}\n\n{{ d.uri }}{% endfor %}", "t.tera:3: "),
        ] {
            let error = render(text, &model).unwrap_err();
            let message = format!("{error:#}");
            assert!(message.starts_with(part) && exit_of(&error) == Exit::Usage, "{message}");
            assert!(!message.contains("p\"w") && !message.contains("--param"), "{message}");
        }
    }

    #[test]
    fn a_name_of_two_databases_stands_for_neither() {
        let (a, b) = (named(Engine::Mysql, "db"), named(Engine::Postgres, "db"));
        let model = model(&[&a, &b]);
        assert_eq!(
            render("{% for d in databases %}{{ d.engine }} {% endfor %}", &model).unwrap(),
            "mysql postgres "
        );
        assert!(render("{{ database.db.url }}", &model).is_err());
    }

    #[test]
    fn a_value_stays_out_of_the_error() {
        let mut mysql = database(Engine::Mysql);
        mysql.login.password = Password::new("hu/sh");
        let model = model(&[&mysql]);
        for text in [
            "{{ database.mysql.password | int }}",
            "{{ database | get(key=database.mysql.url) }}",
            "{{ database[database.mysql.password].x }}",
        ] {
            let message = format!("{:#}", render(text, &model).unwrap_err());
            assert!(
                message.starts_with("t.tera:1: ")
                    && !message.contains("hu/sh")
                    && !message.contains("hu%2Fsh"),
                "{message}"
            );
        }
    }
}
