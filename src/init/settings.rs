//! What a program's own settings say about its database: not how the server is, but what the program wants to
//! find there.

mod django;
mod env;
mod prisma;
mod rails;
mod spring;

use super::dotenv::Variables;
use super::project::folder;
use super::service::{is_default_user, name};
use super::url::{self, Told};
use super::{Findings, Found, Place, Purpose, Read, one_line};
use crate::database::Engine;

/// How many databases of one file are told of.
const MOST: usize = 20;

/// Reads a file, by its name, its text, what variables are known, and the files beside it.
type Reader = fn(&str, &str, &Variables, Read) -> Findings;

/// Reads a file by the kind that its name tells; `None` if it is of no known kind.
pub fn reader(path: &str) -> Option<Reader> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let inner = folder(path).rsplit('/').next().unwrap_or_default();
    let is_env = name == ".env" || name.starts_with(".env.");
    let is_spring = name.starts_with("application")
        && [".yml", ".yaml", ".properties"].iter().any(|end| name.ends_with(end));
    let is_python = name.ends_with(".py")
        && (inner == "settings"
            || name.contains("settings")
            || ["config.py", "database.py", "conftest.py"].contains(&name));
    if is_env {
        Some(env::read)
    } else if name == "database.yml" && (inner == "config" || inner.is_empty()) {
        Some(rails::read)
    } else if name.ends_with(".prisma") {
        Some(prisma::read)
    } else if is_python || name == "alembic.ini" {
        Some(django::read)
    } else if is_spring {
        Some(spring::read)
    } else {
        None
    }
}

/// One place in which a database is named.
struct Hint<'a> {
    file: &'a str,
    line: usize,
    /// What names it: a key, a variable or a section.
    what: &'a str,
    purpose: Purpose,
}

impl Hint<'_> {
    /// Takes in what a URL, or keys beside each other, tell.
    fn take(&self, told: Told, findings: &mut Findings) {
        let place = format!("{}:{}: {}", self.file, self.line, one_line(self.what));
        if findings.found.len() + findings.left.len() >= MOST {
            return;
        }
        let engine = match told.engine {
            Ok(engine) => engine,
            Err(other) => {
                findings.left.push(format!("{place}: {other} is no database that testbed has"));
                return;
            }
        };
        let is_server = engine != Engine::Sqlite;
        findings.found.push(Found {
            tag: told.tag,
            user: told.user.filter(|user| is_server && !is_default_user(engine, user)),
            database: told.database.filter(|_| is_server),
            has_password: told.has_password,
            purpose: self.purpose,
            is_server: false,
            ..Found::new(
                name(engine.name(), engine),
                engine,
                Place { group: format!("{}:{}", self.file, self.line), text: place },
            )
        });
    }
}

/// What a file is for, and a name in it.
fn purpose(file: &str, name: &str) -> Purpose {
    let by_name = Purpose::of(name);
    if matches!(by_name, Purpose::Tests | Purpose::Other) { by_name } else { of_file(file) }
}

/// That a setting is in a folder is how programs have it, and tells no part of the project.
fn of_file(file: &str) -> Purpose {
    match Purpose::of(file) {
        Purpose::Part => Purpose::Development,
        // The example of an `.env` is what developers begin with.
        Purpose::Other if file.rsplit('/').next().is_some_and(|name| name.starts_with(".env.")) => {
            Purpose::Development
        }
        other => other,
    }
}

/// What keys beside each other tell: an engine, a user, a database.
fn told(
    engine: Result<Engine, String>,
    user: Option<&str>,
    database: Option<&str>,
    has_password: bool,
) -> Told {
    let part = |text: Option<&str>| text.and_then(url::known);
    Told { engine, tag: None, user: part(user), database: part(database), has_password }
}
