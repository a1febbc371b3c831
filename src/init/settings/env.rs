//! `.env` files: URLs, and the names that frameworks give the parts of one.

use super::{Hint, purpose, told};
use crate::database::Engine;
use crate::init::dotenv::{self, Variables, interpolate};
use crate::init::{Findings, Read, url};

pub(super) fn read(file: &str, text: &str, known: &Variables, _: Read) -> Findings {
    let mut findings = Findings::default();
    let filled = dotenv::filled(text, known);
    for (line, name, value, _) in dotenv::lines(text) {
        let value = interpolate(&value, &filled).unwrap_or(value);
        if let Some(told) = url::read(&value) {
            let hint = Hint { file, line, what: &name, purpose: purpose(file, &name) };
            hint.take(told, &mut findings);
        }
    }
    parts(file, text, &filled, &mut findings);
    findings
}

/// `DB_CONNECTION=pgsql` with `DB_DATABASE`, or the variables of a database's own programs.
fn parts(file: &str, text: &str, variables: &Variables, findings: &mut Findings) {
    let line = |name: &str| dotenv::lines(text).find(|line| line.1 == name).map_or(1, |line| line.0);
    let get = |names: &[&str]| names.iter().find_map(|name| variables.get(*name)).map(String::as_str);
    let engines =
        ["DB_CONNECTION", "DB_ENGINE", "DB_DRIVER", "DB_TYPE", "DB_DIALECT", "DB_ADAPTER", "DATABASE_TYPE"];
    let named = engines
        .iter()
        .find_map(|name| Some((*name, url::engine(variables.get(*name)?)?)))
        .map(|(name, engine)| (name, engine, "DB"));
    let own = [
        ("POSTGRES_DB", Engine::Postgres, "POSTGRES"),
        ("PGDATABASE", Engine::Postgres, "PG"),
        ("MYSQL_DATABASE", Engine::Mysql, "MYSQL"),
        ("MARIADB_DATABASE", Engine::Mariadb, "MARIADB"),
    ];
    let own = own.into_iter().find(|(name, ..)| variables.contains_key(*name));
    let own = own.map(|(name, engine, prefix)| (name, Ok(engine), prefix));
    let Some((what, engine, prefix)) = named.or(own) else { return };
    let key = |end: &str| format!("{prefix}_{end}");
    let all = |ends: &[&str]| -> Vec<String> {
        ends.iter().flat_map(|end| [key(end), format!("{prefix}{end}")]).collect()
    };
    let of = |ends: &[&str]| {
        let names = all(ends);
        get(&names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let hint = Hint { file, line: line(what), what, purpose: purpose(file, what) };
    let user = of(&["USERNAME", "USER"]);
    let told = told(
        engine,
        user,
        of(&["DATABASE", "NAME", "DB"]),
        of(&["PASSWORD", "PASS"]).is_some_and(|text| !text.is_empty()),
    );
    // The same as a URL of the file says.
    let is_known =
        findings.found.iter().any(|found| Ok(found.engine) == told.engine && !found.places.is_empty());
    if !is_known {
        hint.take(told, findings);
    }
}
