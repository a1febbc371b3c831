//! The formats of the config file: which one the user chose, where it goes by default, and what it makes of
//! the model.

use std::path::{Path, PathBuf};

use super::dotenv::dotenv;
use super::template::OwnTemplate;
use super::testing_databases::testing_databases;
use super::url::urls;
use super::{Model, Names, RENAME, check_names};
use crate::failure::{Advise, usage};

/// What `--format` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A JSON list of `[driver, connection arguments]`.
    TestingDatabases,
    /// Variables for a shell or a dotenv library.
    Dotenv,
    /// A JSON object of URLs.
    Urls,
    /// The user's own template.
    Tera(PathBuf),
}

impl Format {
    /// Reads `testing-databases`, `dotenv`, `urls` or `tera:FILE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("tera", "")) => Err("name the template's file: tera:FILE".into()),
            Some(("tera", file)) => Ok(Self::Tera(file.into())),
            _ => match text {
                "testing-databases" => Ok(Self::TestingDatabases),
                "dotenv" => Ok(Self::Dotenv),
                "urls" => Ok(Self::Urls),
                _ => Err("known are testing-databases, dotenv, urls and tera:FILE".into()),
            },
        }
    }

    /// Where the file goes unless `--output` says otherwise, in the current folder. Never to `.env`, which is
    /// the user's own.
    ///
    /// # Errors
    /// A usage error for a template whose name does not tell what it makes.
    pub fn default_output(&self) -> anyhow::Result<PathBuf> {
        match self {
            Self::TestingDatabases => Ok("testing-databases.json".into()),
            Self::Dotenv => Ok(".env.testbed".into()),
            Self::Urls => Ok("testing-databases.urls.json".into()),
            Self::Tera(template) => made_by(template)
                .ok_or_else(|| usage(format!("--format tera:{}: the template's name does not tell the config file's", template.display()))),
        }
        .hint("name the config file with --output, or the template after it, such as database.yml.tera or database.yml.j2")
    }

    /// Makes the format ready to render: reads and parses the template.
    pub fn renderer(&self) -> anyhow::Result<Renderer> {
        Ok(match self {
            Self::TestingDatabases => Renderer::TestingDatabases,
            Self::Dotenv => Renderer::Dotenv,
            Self::Urls => Renderer::Urls,
            Self::Tera(path) => Renderer::Template(OwnTemplate::read(path)?),
        })
    }
}

/// The template's file name without its last part.
fn made_by(template: &Path) -> Option<PathBuf> {
    let name = template.file_name()?.to_str()?;
    let name = [".tera", ".j2"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    (!name.is_empty() && name != ".env").then(|| name.into())
}

/// A format with everything that it needs.
#[derive(Debug)]
pub enum Renderer {
    TestingDatabases,
    Dotenv,
    Urls,
    Template(OwnTemplate),
}

impl Renderer {
    /// Refuses names of databases that the format cannot tell apart.
    pub fn check_names(&self, names: &[&str]) -> anyhow::Result<()> {
        match self {
            Self::Dotenv => check_names(names),
            Self::Urls => match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name))
            {
                Some((_, name)) => {
                    Err(usage(format!("--format urls: two databases are called {name}"))).hint(RENAME)
                }
                None => Ok(()),
            },
            Self::TestingDatabases | Self::Template(_) => Ok(()),
        }
    }

    /// The text of the config file.
    ///
    /// # Errors
    /// A usage error for names that [`Renderer::check_names`] refuses, a value that the format cannot hold,
    /// or a template that does not fit.
    pub fn render(&self, model: &Model, names: &Names) -> anyhow::Result<String> {
        self.check_names(&model.names())?;
        match self {
            Self::TestingDatabases => testing_databases(model),
            Self::Dotenv => dotenv(model, names),
            Self::Urls => urls(model),
            Self::Template(template) => template.render(model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{model, named};
    use super::*;
    use crate::database::Engine;
    use crate::failure::{Exit, exit_of};

    #[test]
    fn the_file_is_called_after_its_format() {
        for (format, file) in [
            ("testing-databases", "testing-databases.json"),
            ("dotenv", ".env.testbed"),
            ("urls", "testing-databases.urls.json"),
            ("tera:config/database.yml.tera", "database.yml"),
            ("tera:c:/d.toml.j2", "d.toml"),
        ] {
            assert_eq!(Format::parse(format).unwrap().default_output().unwrap(), Path::new(file));
        }
    }

    #[test]
    fn a_template_whose_name_tells_nothing_needs_an_output() {
        for format in ["tera:database.yml", "tera:.tera", "tera:.env.j2", "tera:folder/.."] {
            let error = Format::parse(format).unwrap().default_output().unwrap_err();
            assert!(format!("{error:#}").contains(format) && exit_of(&error) == Exit::Usage, "{error:#}");
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for text in ["", "json", "tera", "tera:", "dotenv:x", "Urls"] {
            assert!(Format::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn databases_of_one_name_fit_formats_without_names_only() {
        let (a, b) = (named(Engine::Mysql, "db"), named(Engine::Postgres, "db"));
        for (format, fits) in
            [(Format::TestingDatabases, true), (Format::Urls, false), (Format::Dotenv, false)]
        {
            assert_eq!(
                format.renderer().unwrap().render(&model(&[&a, &b]), &Names::default()).is_ok(),
                fits,
                "{format:?}"
            );
        }
        let error = Format::Urls.renderer().unwrap().check_names(&["a", "db", "db"]).unwrap_err();
        assert_eq!(format!("{error:#}"), "--format urls: two databases are called db");
    }
}
