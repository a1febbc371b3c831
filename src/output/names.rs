//! The names that a project has for its databases' variables: `env:` in `testbed.yaml`, `--env` and
//! `--preset`.

use anyhow::anyhow;

use super::presets::Preset;
use super::{Connection, Model, template};
use crate::failure::{Advise, Exit, usage};
use crate::template::Template;

/// Variables by which programs are found, and by which a shell or the loader runs what they name.
const OF_PROGRAMS: [&str; 6] = ["BASH_ENV", "ENV", "HOME", "IFS", "PATH", "SHELL"];
/// The same by how they begin, and testbed's own.
const BEGINNINGS: [&str; 3] = ["DYLD_", "LD_", "TESTBED_"];

/// What the system takes as one variable, in bytes.
const MOST: usize = 128 << 10;

/// One `--preset PRESET[=DATABASE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    preset: Preset,
    database: Option<String>,
}

impl Chosen {
    /// Reads `rails` or `rails=orders`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, database) =
            text.split_once('=').map_or((text, None), |(name, database)| (name, Some(database)));
        let known = Preset::ALL.map(Preset::name);
        let preset = Preset::with_name(name).ok_or_else(|| format!("known are {}", known.join(", ")))?;
        if database == Some("") {
            return Err(format!("name a database after the =: {name}=NAME"));
        }
        Ok(Self { preset, database: database.map(Into::into) })
    }

    /// The same for a preset and a database apart.
    pub fn of(preset: &str, database: Option<&str>) -> Result<Self, String> {
        let alone = Self::parse(preset)?;
        match (database, &alone.database) {
            (Some(database), Some(other)) if database != other => {
                Err(format!("{preset} names a database already, and it is not {database}"))
            }
            (Some(database), _) => Ok(Self { database: Some(database.into()), ..alone }),
            (None, _) => Ok(alone),
        }
    }

    fn database<'a>(&self, model: &'a Model) -> anyhow::Result<&'a Connection> {
        let preset = self.preset.name();
        let has = model.names().join(", ");
        let Some(name) = &self.database else {
            return match model.databases.as_slice() {
                [only] => Ok(only),
                [] => Err(usage(format!("preset {preset}: the run has no database"))),
                [first, ..] => Err(usage(format!("preset {preset} is for one database, and the run has {has}")))
                    .hint(format!(
                        "say which: --preset {preset}={0}, or env: {{preset: {preset}, database: {0}}} in testbed.yaml",
                        first.name
                    )),
            };
        };
        let mut found = model.databases.iter().filter(|connection| connection.name == *name);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => {
                Err(usage(format!("preset {preset}: two databases are called {name}"))).hint(super::RENAME)
            }
            (None, _) => {
                Err(usage(format!("preset {preset}: the run has no database {name:?}; it has: {has}")))
            }
        }
    }
}

/// All of a call's own names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    presets: Vec<Chosen>,
    /// Variables and the templates of their values.
    templates: Vec<(String, String)>,
}

impl Names {
    /// From `--preset`, and from `--env` as typed.
    ///
    /// # Errors
    /// A usage error that names the variable.
    pub fn new(presets: &[Chosen], templates: &[String]) -> anyhow::Result<Self> {
        let templates = templates
            .iter()
            .map(|text| {
                let (name, template) = text
                    .split_once('=')
                    .ok_or_else(|| usage(format!("--env {text}: write NAME=TEMPLATE")))?;
                check(name, template).exit(Exit::Usage)?;
                Ok((name.to_owned(), template.to_owned()))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { presets: presets.to_vec(), templates })
    }

    /// The same with what a project says of its databases, for a command that may get others: what does not fit is
    /// left out. Tells why, unless all databases of the run would fit.
    ///
    /// # Errors
    /// As [`Names::new`].
    pub fn with_project(
        self,
        presets: &[Chosen],
        templates: &[String],
        model: &Model,
        whole: &Model,
    ) -> anyhow::Result<(Self, Vec<anyhow::Error>)> {
        let mut all = Self::new(presets, templates)?;
        let mut left_out = Vec::new();
        let mut fits = |outcome: &dyn Fn(&Model) -> anyhow::Result<()>| {
            let why = outcome(model).err();
            let is_fit = why.is_none();
            left_out.extend(why.filter(|_| outcome(whole).is_err()));
            is_fit
        };
        all.presets.retain(|chosen| fits(&|model| chosen.database(model).map(drop)));
        all.templates.retain(|(name, text)| {
            fits(&|model| template::over(&template_of(&format!("env {name}"), text), model).map(drop))
        });
        all.presets.extend(self.presets);
        // What was typed stands behind, and counts for more.
        all.templates.extend(self.templates);
        Ok((all, left_out))
    }

    /// Those that this model has the databases for.
    #[must_use]
    pub fn of(&self, model: &Model) -> Self {
        let fits = |names: Self| names.variables(model).is_ok();
        let presets =
            self.presets.iter().filter(|one| fits(Self { presets: vec![(*one).clone()], ..Self::default() }));
        let templates = self
            .templates
            .iter()
            .filter(|one| fits(Self { templates: vec![(*one).clone()], ..Self::default() }));
        Self { presets: presets.cloned().collect(), templates: templates.cloned().collect() }
    }

    /// The variables, each name once: those of presets, which one of the project's own replaces.
    ///
    /// # Errors
    /// A usage error that names preset or variable. No value of the model is in it.
    pub fn variables(&self, model: &Model) -> anyhow::Result<Vec<(String, String)>> {
        let mut variables: Vec<(String, String)> = Vec::new();
        for chosen in &self.presets {
            let name = chosen.preset.name();
            let pairs = chosen
                .preset
                .variables(chosen.database(model)?)
                .map_err(|why| usage(format!("preset {name}: {why}")))?;
            for (variable, value) in pairs {
                match variables.iter().find(|(known, _)| known == variable) {
                    Some((_, known)) if *known == value => {}
                    Some(_) if self.templates.iter().any(|(own, _)| own == variable) => {}
                    Some(_) => {
                        return Err(usage(format!("preset {name} and one before it both set {variable}")))
                            .hint(
                                "leave out one of them, or say what the variable holds: --env NAME=TEMPLATE",
                            );
                    }
                    None => variables.push((variable.to_owned(), value)),
                }
            }
        }
        for (name, text) in &self.templates {
            let called = format!("env {name}");
            let value = template::over(&template_of(&called, text), model).exit(Exit::Usage)?;
            if value.len() + name.len() >= MOST {
                return Err(usage(format!(
                    "env {name}: its value is longer than a variable may be, {MOST} bytes"
                )));
            }
            if value.contains('\0') {
                return Err(usage(format!("env {name}: its value has a zero byte in it")));
            }
            if leads_elsewhere(name, &value, model) {
                return Err(usage(format!(
                    "env {name}: it would lead clients to a server that is not the run's"
                )))
                .hint("take what the run has, such as {{ orders.host }} and {{ orders.port }}");
            }
            set(&mut variables, name, value);
        }
        Ok(variables)
    }

    /// What the presets' frameworks read besides, and the command must not see.
    pub(super) fn also_read(&self) -> impl Iterator<Item = &'static str> {
        self.presets.iter().flat_map(|chosen| chosen.preset.also_read()).copied()
    }
}

/// Puts a variable in the place of one of the same name, or behind the others.
pub(super) fn set(variables: &mut Vec<(String, String)>, name: &str, value: String) {
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// Refuses a name that is none, or not the project's to set, and a template with a fault in it.
///
/// # Errors
/// What is wrong, with the variable's name.
pub fn check(name: &str, template: &str) -> anyhow::Result<()> {
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(anyhow!(
            "env: {name:?} is no name of a variable: letters, digits and _, and no digit at its beginning"
        ));
    }
    if let Some(beginning) = BEGINNINGS.iter().find(|beginning| name.starts_with(**beginning)) {
        let whose = if *beginning == "TESTBED_" { "testbed's own" } else { "the loader's" };
        return Err(anyhow!("env {name}: variables that begin with {beginning} are {whose}"));
    }
    if OF_PROGRAMS.contains(&name) {
        return Err(anyhow!(
            "env {name}: programs are found and run by this variable, and it stays as it is"
        ));
    }
    if leads_away(name) {
        return Err(anyhow!("env {name}: it would lead clients to a server that is not the run's"));
    }
    template_of(&format!("env {name}"), template).parse(template).map(|_| ())
}

/// What clients read by themselves, and what names a server of the user's own or a file that does.
const AWAY: [&str; 11] = [
    "MARIADB_GROUP_SUFFIX",
    "MARIADB_HOME",
    "MYSQL_GROUP_SUFFIX",
    "MYSQL_HOME",
    "MYSQL_TEST_LOGIN_FILE",
    "MYSQL_UNIX_PORT",
    "PGHOSTADDR",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
];

/// Whether no value of a variable leads to a server of the run.
fn leads_away(name: &str) -> bool {
    AWAY.contains(&name)
}

/// Whether the clients that read a variable by themselves would go to a place that is none of the run's.
fn leads_elsewhere(name: &str, value: &str, model: &Model) -> bool {
    let mut servers = model.databases.iter();
    match name {
        "PGHOST" | "MYSQL_HOST" => !servers.any(|server| server.host.as_deref() == Some(value)),
        "PGPORT" | "MYSQL_TCP_PORT" => {
            !servers.any(|server| server.port.is_some_and(|port| port.to_string() == value))
        }
        _ => false,
    }
}

fn template_of<'a>(name: &'a str, text: &'a str) -> Template<'a> {
    Template { name, text, parts: &[] }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed, model, named};
    use super::*;
    use crate::database::Engine;
    use crate::failure::exit_of;

    fn names(presets: &[&str], templates: &[&str]) -> anyhow::Result<Names> {
        let presets: Vec<Chosen> = presets.iter().map(|text| Chosen::parse(text).unwrap()).collect();
        Names::new(&presets, &templates.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_template_sees_each_database_by_its_name() {
        let model = mixed(&[&named(Engine::Postgres, "orders"), &named(Engine::Mysql, "my-shop")]);
        let own = names(
            &[],
            &[
                "DB_NAME={{ orders.database }}",
                "SHOP={{ my_shop.host }}:{{ database['my-shop'].port }}",
                "URL=mysql2://{{ my_shop.user | urlencode }}:{{ my_shop.password | urlencode }}@h",
                "PLAIN=a=b",
            ],
        );
        let expected = [
            ("DB_NAME", "striv_test"),
            ("SHOP", "my-shop-run-1:3306"),
            ("URL", "mysql2://striv:p%22w@h"),
            ("PLAIN", "a=b"),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(own.unwrap().variables(&model).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let model = mixed(&[&named(Engine::Postgres, "orders")]);
        for (presets, templates, part) in [
            (&[][..], &["A-B=1"][..], "env: \"A-B\" is no name of a variable"),
            (&[], &["1A=1"], "is no name of a variable"),
            (&[], &["A"], "--env A: write NAME=TEMPLATE"),
            (
                &[],
                &["TESTBED_RUN_ID=1"],
                "env TESTBED_RUN_ID: variables that begin with TESTBED_ are testbed's own",
            ),
            (&[], &["LD_PRELOAD=x"], "begin with LD_ are the loader's"),
            (&[], &["PATH=x"], "env PATH: programs are found"),
            (&[], &["PGSERVICEFILE=x"], "env PGSERVICEFILE: it would lead clients to a server"),
            (&[], &["PGHOST=production.example"], "env PGHOST: it would lead clients to a server"),
            (&[], &["DB={{ orders.urll }}"], "env DB:1: the field urll is not defined; known are "),
            (&[], &["DB={{ ordres.url }}"], "env DB:1: the variable ordres is not defined; known are "),
            (&[], &["DB={{ orders.url"], "env DB:1: "),
            (&["rails"], &[], "preset rails is for one database, and the run has sqlite, orders"),
            (&["rails=shop"], &[], "preset rails: the run has no database \"shop\"; it has: sqlite, orders"),
            (
                &["rails=orders", "prisma=orders"],
                &[],
                "preset prisma and one before it both set DATABASE_URL",
            ),
        ] {
            let error = names(presets, templates).and_then(|names| names.variables(&model)).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains(part) && exit_of(&error) == Exit::Usage, "{text}");
            assert!(!text.contains("p\"w"), "{text}");
        }
        for text in ["rials", "rails=", ""] {
            assert!(Chosen::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ones_own_variable_counts_for_more_than_a_presets() {
        let model = model(&[&database(Engine::Mysql)]);
        let own = names(&["rails", "django"], &["DATABASE_URL={{ mysql.url }}", "PGHOST={{ mysql.host }}"]);
        let variables = own.unwrap().variables(&model).unwrap();
        assert_eq!(
            variables[0],
            ("DATABASE_URL".into(), "mysql://striv:p%22w@mysql-run-1:3306/striv_test".into())
        );
        assert!(variables.contains(&("DB_ENGINE".into(), "django.db.backends.mysql".into())));
    }
}
